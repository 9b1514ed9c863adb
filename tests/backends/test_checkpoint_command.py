"""`evolteacher models checkpoint`: a GGUF file, written here, becomes a checkpoint that loads with equal weights."""

import importlib.util

import pytest

from evolteacher.cli import main

# Neither is imported before a test needs it: that takes seconds, and every process that collects the tests would pay.
pytestmark = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("gguf", "torch", "transformers"))),
    reason="the extra 'transformers' is not installed",
)

WIDTH, INNER, LAYERS = 32, 64, 2


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A llama of two layers with a byte-level tokenizer and a chat template, in float32."""
    import gguf
    import numpy
    from tokenizers import pre_tokenizers

    tokens = ["<end>", *sorted(pre_tokenizers.ByteLevel.alphabet()), "ab"]
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_block_count(LAYERS)
    writer.add_context_length(128)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(2)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_dimension_count(16)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([3, *[1] * (len(tokens) - 1)])
    writer.add_token_merges(["a b"])
    for special in (writer.add_bos_token_id, writer.add_eos_token_id, writer.add_unk_token_id):
        special(0)
    writer.add_chat_template("{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}")
    shapes = {"token_embd": (len(tokens), WIDTH), "output": (len(tokens), WIDTH), "output_norm": (WIDTH,)}
    for n in range(LAYERS):
        shapes |= {f"blk.{n}.attn_{name}": (WIDTH, WIDTH) for name in ("q", "k", "v", "output")}
        shapes |= {f"blk.{n}.{name}_norm": (WIDTH,) for name in ("attn", "ffn")}
        shapes |= {f"blk.{n}.ffn_gate": (INNER, WIDTH), f"blk.{n}.ffn_up": (INNER, WIDTH)}
        shapes |= {f"blk.{n}.ffn_down": (WIDTH, INNER)}
    numbers = numpy.random.default_rng(1)
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", numbers.normal(size=shape).astype(numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_it_makes_a_checkpoint_that_loads_without_the_file(file, tmp_path, capsys):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    out = tmp_path / "made"
    assert main(["models", "checkpoint", str(file), str(out)]) == 0
    printed = capsys.readouterr()
    assert printed.out.strip() == str(out) and "takes a minute" in printed.err
    made = AutoModelForCausalLM.from_pretrained(out)
    assert getattr(made.config, "quantization_config", None) is None
    source = AutoModelForCausalLM.from_pretrained(str(file.parent), gguf_file=file.name).state_dict()
    weights = made.state_dict()
    assert weights.keys() == source.keys() and len(weights) >= 20
    assert all((weights[name] == source[name]).all() for name in weights)
    tokenizer = AutoTokenizer.from_pretrained(out)
    said = tokenizer.apply_chat_template([{"role": "user", "content": "ab"}], tokenize=False)
    assert said == "<user>ab"
    assert [path.name for path in tmp_path.iterdir()] == ["made"], "no draft is left"


def test_nothing_is_overwritten_and_what_is_no_model_is_refused(file, tmp_path, capsys):
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "mine.txt").write_text("mine")
    assert main(["models", "checkpoint", str(file), str(taken)]) == 2
    assert "nothing is overwritten" in capsys.readouterr().err
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(64))
    assert main(["models", "checkpoint", str(broken), str(tmp_path / "out")]) == 1
    assert "holds no model" in capsys.readouterr().err
    assert main(["models", "checkpoint", str(tmp_path / "gone.gguf"), str(tmp_path / "out")]) == 2
    assert "there is no such file" in capsys.readouterr().err
    assert main(["models", "checkpoint", "smollm", str(tmp_path / "out")]) == 2
    assert "smollm2-135m-instruct" in capsys.readouterr().err
    assert not (tmp_path / "out").exists() and (taken / "mine.txt").read_text() == "mine"
