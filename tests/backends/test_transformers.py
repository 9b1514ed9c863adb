"""The transformers backend on tiny models with random weights, made here: real checkpoints, nothing downloaded."""

import asyncio
import importlib.util
import json
import shutil

import pytest
from pydantic import ValidationError

import evolteacher as et
from evolteacher import errors
from evolteacher_backends.transformers import ALPACA_PREFACE, Transformers, alpaca_prompt

# Neither is imported before a test needs it: that takes seconds, and every process that collects the tests would pay.
pytestmark = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("torch", "transformers"))),
    reason="the extra 'transformers' is not installed",
)

CHAT = "{% for m in messages %}<{{ m.role }}>{{ m.content }}<end>{% endfor %}<assistant>"
POSITIONS = 128


def build_tokenizer(folder, template):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: n for n, token in enumerate(["<end>", "<user>", "<assistant>", *letters])}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<end>", "<user>", "<assistant>"])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>")
    fast.chat_template = template
    fast.save_pretrained(folder)
    return len(vocabulary)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A checkpoint with a chat template, and one without."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.set_num_threads(1)  # the models are tiny; threads that share cores with other processes wait for each other

    made = {}
    for name, template in (("chat", CHAT), ("base", None)):
        folder = made[name] = tmp_path_factory.mktemp(name)
        size = build_tokenizer(folder, template)
        torch.manual_seed(5)
        config = LlamaConfig(
            vocab_size=size, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
            max_position_embeddings=POSITIONS, bos_token_id=None, eos_token_id=0, initializer_range=0.3,
        )  # fmt: skip
        LlamaForCausalLM(config).save_pretrained(folder)
    return made


@pytest.fixture
def chat(folders):
    return folders["chat"]


def request(text, system=None, **sampling):
    messages = (
        [et.Message("user", text)] if system is None else [et.Message("system", system), et.Message("user", text)]
    )
    return et.Request(tuple(messages), et.Sampling(**{"max_tokens": 12, "temperature": 0.0, **sampling}))


WORKLOAD = et.Workload(max_tokens=12)


def ask(backend, *requests, workload=WORKLOAD):
    """Open, ask all at once, close; errors are returned."""

    async def run():
        await backend.open(workload)
        try:
            return await asyncio.gather(*map(backend.complete, requests), return_exceptions=True)
        finally:
            await backend.close()

    return asyncio.run(run())


def greedy_tokens(folder, prompt, count):
    """Ask transformers itself, without any of our code."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="float32")
    inputs = tokenizer(f"<user>{prompt}<end><assistant>", return_tensors="pt", add_special_tokens=False)
    out = model.generate(**inputs, max_new_tokens=count, do_sample=False, pad_token_id=0)
    return out[0, inputs["input_ids"].shape[1] :].tolist()


PROMPTS = ["a", "Write a sort.", "x" * 60, "Ünïcode 🙂 {{ x }} %s"]


class TestAnswers:
    def test_greedy_is_the_same_alone_and_in_a_batch(self, chat):
        asked = [request(prompt) for prompt in PROMPTS]
        together = ask(Transformers(model=str(chat), batch_size=4, wait=1), *asked)
        alone = [ask(Transformers(model=str(chat), batch_size=1), each)[0] for each in asked]
        assert [reply.text for reply in together] == [reply.text for reply in alone]
        assert len({reply.text for reply in together}) == len(PROMPTS)

    def test_greedy_is_what_generate_gives(self, chat):
        from transformers import AutoTokenizer

        expected = AutoTokenizer.from_pretrained(chat).decode(greedy_tokens(chat, "Write a sort.", 12))
        (reply,) = ask(Transformers(model=str(chat)), request("Write a sort."))
        assert reply.text == expected
        assert reply.usage == et.Usage(len("Write a sort.") + 3, 12)

    def test_usage_counts_no_padding_and_lengths_are_each_rows_own(self, chat):
        replies = ask(
            Transformers(model=str(chat), batch_size=3, wait=1),
            request("a", max_tokens=3),
            request("b" * 50, max_tokens=9),
            request("c", max_tokens=1),
        )
        assert [reply.usage for reply in replies] == [et.Usage(4, 3), et.Usage(53, 9), et.Usage(4, 1)]
        assert {reply.finish_reason for reply in replies} == {"length"}
        assert {reply.model for reply in replies} == {str(chat)}
        assert 0 < replies[2].latency < replies[1].latency

    def test_a_drawn_answer_with_a_seed_is_the_same_in_any_company(self, chat):
        asked = [request("draw", temperature=1.0, seed=n) for n in range(8)]
        together = ask(Transformers(model=str(chat), batch_size=8, wait=1), *asked)
        alone = [ask(Transformers(model=str(chat)), each)[0] for each in asked[:3]]
        assert [reply.text for reply in together[:3]] == [reply.text for reply in alone]
        assert len({reply.text for reply in together}) == 8

    def test_without_a_seed_draws_differ(self, chat):
        replies = ask(Transformers(model=str(chat)), *[request("draw", temperature=1.0) for _ in range(8)])
        assert len({reply.text for reply in replies}) > 1

    @pytest.mark.parametrize("sampling", [{"temperature": 1e-30}, {"temperature": 1.0, "top_p": 1e-9}])
    def test_next_to_no_temperature_or_nucleus_is_greedy(self, chat, sampling):
        greedy, drawn = ask(Transformers(model=str(chat)), request("x"), request("x", **sampling))
        assert greedy.text == drawn.text

    def test_sampling_is_each_rows_own(self, chat):
        greedy, hot, alone = (
            request("x"),
            request("x", temperature=2.0, top_p=1.0, seed=1),
            request("x", temperature=1.0, top_p=0.5, seed=2),
        )
        mixed = ask(Transformers(model=str(chat), batch_size=3, wait=1), greedy, hot, alone)
        single = [ask(Transformers(model=str(chat)), each)[0] for each in (greedy, hot, alone)]
        assert [reply.text for reply in mixed] == [reply.text for reply in single]

    def test_the_distribution_is_the_nucleus(self, chat):
        """5,000 first tokens against the probabilities that the model itself gives."""
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(chat)
        model = AutoModelForCausalLM.from_pretrained(chat, dtype="float32")
        inputs = tokenizer("<user>x<end><assistant>", return_tensors="pt", add_special_tokens=False)
        with torch.no_grad():
            probabilities = (model(**inputs).logits[0, -1] / 0.7).softmax(-1)
        best, tokens = probabilities.sort(descending=True)
        size = int((best.cumsum(0) < 0.6).sum()) + 1
        expected = {int(token): float(p / best[:size].sum()) for token, p in zip(tokens[:size], best, strict=False)}
        assert len(expected) > 3
        draws = [request("x", temperature=0.7, top_p=0.6, max_tokens=1, seed=n) for n in range(5000)]
        replies = ask(Transformers(model=str(chat), batch_size=500), *draws)
        counts = {}
        for reply in replies:
            counts[reply.text] = counts.get(reply.text, 0) + 1
        shown = {}
        for token, p in expected.items():
            text = tokenizer.decode([token], skip_special_tokens=True)
            shown[text] = shown.get(text, 0) + p
        assert counts.keys() <= shown.keys()
        assert max(abs(counts.get(text, 0) / 5000 - p) for text, p in shown.items()) < 0.03

    def test_a_stop_text_ends_the_answer_and_is_no_part_of_it(self, chat):
        (whole,) = ask(Transformers(model=str(chat)), request("stop here", max_tokens=30))
        stop = whole.text[5:7]
        place = whole.text.index(stop)
        (cut, other) = ask(
            Transformers(model=str(chat)),
            request("stop here", max_tokens=30, stop=("no such text", stop)),
            request("stop here", max_tokens=30),
        )
        assert cut.text == whole.text[:place]
        assert (cut.finish_reason, other.finish_reason) == ("stop", "length")
        assert cut.usage.completion_tokens < 30
        assert other.text == whole.text

    def test_the_end_token_ends_the_answer(self, chat, tmp_path):
        """The checkpoint's own list of end tokens counts, besides the tokenizer's."""
        end = greedy_tokens(chat, "end", 5)[2]
        (whole,) = ask(Transformers(model=str(chat)), request("end", max_tokens=5))
        folder = shutil.copytree(chat, tmp_path / "copy")
        (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [0, end]}))
        (reply,) = ask(Transformers(model=str(folder)), request("end", max_tokens=5))
        assert reply.finish_reason == "stop"
        assert reply.usage.completion_tokens <= 3
        assert whole.text.startswith(reply.text)

    def test_a_checkpoints_own_sampling_defaults_change_nothing(self, chat, tmp_path):
        folder = shutil.copytree(chat, tmp_path / "copy")
        own = {"eos_token_id": 0, "repetition_penalty": 5.0, "top_k": 1, "no_repeat_ngram_size": 1, "do_sample": True}
        (folder / "generation_config.json").write_text(json.dumps(own))
        plain, penalised = (ask(Transformers(model=str(f)), request("y", max_tokens=40))[0] for f in (chat, folder))
        assert plain.text == penalised.text

    def test_many_more_calls_than_a_batch(self, chat):
        replies = ask(Transformers(model=str(chat), batch_size=4), *[request(f"q{n}", max_tokens=4) for n in range(30)])
        assert len([reply for reply in replies if isinstance(reply, et.Reply)]) == 30


class TestForms:
    def test_alpaca_where_there_is_no_template(self, folders):
        messages = (et.Message("user", "Sort {{ x }}"),)
        text = f"{ALPACA_PREFACE}\n\n### Instruction:\nSort {{{{ x }}}}\n\n### Response:"
        assert alpaca_prompt(messages) == text
        for model, form in ((folders["base"], "auto"), (folders["chat"], "alpaca")):
            # One byte is one token here; 3 are left to the answer's 12, so the form must be as long as said.
            fits, not_ = ask(
                Transformers(model=str(model), form=form), request("y", max_tokens=3), request("y" * 2000, max_tokens=3)
            )
            if isinstance(fits, et.Reply):
                assert fits.usage.prompt_tokens == len(alpaca_prompt((et.Message("user", "y"),)))
            assert isinstance(not_, errors.TooLong)

    def test_alpaca_with_more_than_one_message(self):
        messages = tuple(et.Message(*m) for m in (("system", "S"), ("user", "A"), ("assistant", "B"), ("user", "C")))
        assert alpaca_prompt(messages) == (
            "S\n\n### Instruction:\nA\n\n### Response:\nB\n\n### Instruction:\nC\n\n### Response:"
        )

    def test_chat_without_a_template_is_refused(self, folders):
        with pytest.raises(errors.FatalError, match="no chat template: set form: alpaca"):
            ask(Transformers(model=str(folders["base"]), form="chat"))

    def test_template_options_and_a_template_that_refuses(self, chat, tmp_path):
        folder = shutil.copytree(chat, tmp_path / "copy")
        (folder / "chat_template.jinja").write_text(
            "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
            "{{ messages[0].content }}{{ extra }}"
        )
        reply, refused = ask(
            Transformers(model=str(folder), template_options={"extra": "1234"}),
            request("ab"),
            request("ab", system="s"),
        )
        assert reply.usage.prompt_tokens == 6
        assert isinstance(refused, errors.FatalError)
        assert "no system role" in str(refused)


class TestLimits:
    def test_too_long_before_the_call_and_just_fitting(self, chat):
        most = POSITIONS - 12 - 3
        fits, not_ = ask(Transformers(model=str(chat)), request("x" * most), request("x" * (most + 1)))
        assert fits.usage.total_tokens == POSITIONS
        assert isinstance(not_, errors.TooLong)
        assert f"exceed the {POSITIONS} positions" in str(not_)

    def test_max_tokens_that_leave_no_room_stop_the_run(self, chat):
        with pytest.raises(errors.FatalError, match="set a smaller max_tokens"):
            ask(Transformers(model=str(chat)), workload=et.Workload(max_tokens=2048))

    def test_tokens_cost_nothing(self, chat):
        assert Transformers(model=str(chat)).price() == et.FREE

    async def test_a_cancelled_call_ends_at_the_next_token_and_others_go_on(self, chat):
        backend = Transformers(model=str(chat), batch_size=1)
        await backend.open(et.Workload(max_tokens=1))
        long = asyncio.create_task(backend.complete(request("a", max_tokens=POSITIONS - 10)))
        queued = asyncio.create_task(backend.complete(request("b", max_tokens=100)))
        await asyncio.sleep(0.05)
        long.cancel()
        queued.cancel()
        reply = await asyncio.wait_for(backend.complete(request("c", max_tokens=2)), 20)
        assert reply.usage.completion_tokens == 2
        assert long.cancelled()
        await backend.close()

    async def test_close_leaves_nobody_waiting_and_opening_again_works(self, chat):
        backend = Transformers(model=str(chat), batch_size=2)
        await backend.open(et.Workload(max_tokens=1))
        tasks = [asyncio.create_task(backend.complete(request("a", max_tokens=110))) for _ in range(5)]
        await asyncio.sleep(0.1)
        await backend.close()
        await backend.close()
        done, waiting = await asyncio.wait(tasks, timeout=10)
        assert not waiting
        assert {type(task.exception()) for task in done} <= {errors.Transient, type(None)}
        with pytest.raises(errors.FatalError, match="not open"):
            await backend.complete(request("a"))
        await backend.open(et.Workload(max_tokens=1))
        assert (await backend.complete(request("a", max_tokens=2))).usage.completion_tokens == 2
        await backend.close()


class TestLoading:
    @pytest.fixture(autouse=True)
    def offline(self, monkeypatch):
        import huggingface_hub.constants
        import transformers.utils.hub

        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        assert transformers.utils.hub.is_offline_mode()

    @pytest.mark.parametrize("name", ["/no/such/folder", "no-such-owner/no-such-model", "./x", "a b"])
    def test_an_unknown_model(self, name):
        with pytest.raises(errors.NoSuchModel, match="give a folder that holds"):
            ask(Transformers(model=name))

    def test_a_folder_that_is_no_checkpoint(self, tmp_path, chat):
        with pytest.raises(errors.NoSuchModel, match=r"holds no config\.json"):
            ask(Transformers(model=str(tmp_path)))
        folder = shutil.copytree(chat, tmp_path / "copy")
        for name in ("tokenizer.json", "tokenizer_config.json"):
            (folder / name).rename(tmp_path / name)
        with pytest.raises(errors.EvolteacherError, match="cannot be loaded"):
            ask(Transformers(model=str(folder)))
        for name in ("tokenizer.json", "tokenizer_config.json"):
            (tmp_path / name).rename(folder / name)
        (folder / "model.safetensors").unlink()
        with pytest.raises(errors.NoSuchModel):
            ask(Transformers(model=str(folder)))
        (folder / "model.safetensors").write_bytes(b"nonsense")
        with pytest.raises(errors.FatalError, match="cannot be loaded"):
            ask(Transformers(model=str(folder)))

    def test_an_unknown_device(self, chat):
        with pytest.raises(errors.FatalError, match="cannot be loaded"):
            ask(Transformers(model=str(chat), device="abacus"))

    def test_damaged_weights_are_named(self, chat, tmp_path):
        from safetensors.torch import load_file, save_file

        folder = shutil.copytree(chat, tmp_path / "copy")
        weights = load_file(folder / "model.safetensors")
        weights["model.norm.weight"].fill_(float("nan"))
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        (error,) = ask(Transformers(model=str(folder)), request("x"))
        assert isinstance(error, errors.FatalError)
        assert "no finite numbers" in str(error)

    def test_dtype(self, chat):
        (reply,) = ask(Transformers(model=str(chat), dtype="bfloat16"), request("x"))
        assert reply.usage.completion_tokens == 12

    def test_identity_follows_the_weights_and_not_what_is_free(self, chat, tmp_path):
        folder = shutil.copytree(chat, tmp_path / "copy")
        before = Transformers(model=str(folder)).identity()
        assert Transformers(model=str(folder), batch_size=3, device="cpu", threads=1).identity() == before
        assert Transformers(model=str(folder), dtype="float16").identity() != before
        data = bytearray((folder / "model.safetensors").read_bytes())
        data[-2] ^= 1
        (folder / "model.safetensors").write_bytes(data)
        assert Transformers(model=str(folder)).identity() != before

    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"model": ""},
            {"model": "x", "dtype": "int3"},
            {"model": "x", "batch_size": 0},
            {"model": "x", "top_k": 3},
        ],
    )
    def test_wrong_options(self, options):
        with pytest.raises(ValidationError):
            Transformers(**options)


CROWDED = """
import torch
from transformers import LlamaForCausalLM

class Crowded(LlamaForCausalLM):
    '''A model whose memory holds {rows} rows.'''

    def forward(self, input_ids=None, **kwargs):
        if input_ids is not None and input_ids.shape[0] > {rows}:
            raise torch.OutOfMemoryError("out of memory. Tried to allocate 9 GiB")
        return super().forward(input_ids=input_ids, **kwargs)
"""


class TestCodeOfItsOwn:
    """A checkpoint that brings Python code; what it does is to run out of memory."""

    @pytest.fixture
    def crowded(self, chat, tmp_path, monkeypatch):
        import transformers.dynamic_module_utils as dynamic

        monkeypatch.setattr(dynamic, "HF_MODULES_CACHE", str(tmp_path / "modules"))
        folder = shutil.copytree(chat, tmp_path / f"crowded-{tmp_path.name}")
        config = json.loads((folder / "config.json").read_text())
        config["auto_map"] = {"AutoModelForCausalLM": "modeling_crowded.Crowded"}
        config["model_type"] = "llama"
        (folder / "config.json").write_text(json.dumps(config))
        return folder

    def test_it_is_not_run_unless_trusted(self, crowded):
        marker = crowded / "was-run"
        (crowded / "modeling_crowded.py").write_text(
            f"from pathlib import Path\nPath({str(marker)!r}).touch()\n" + CROWDED.format(rows=9)
        )
        (reply,) = ask(Transformers(model=str(crowded)), request("x"))
        assert isinstance(reply, et.Reply)
        assert not marker.exists()
        ask(Transformers(model=str(crowded), trust_remote_code=True), request("x"))
        assert marker.exists()

    def test_a_batch_that_does_not_fit_is_halved_and_everybody_is_answered(self, crowded, chat):
        (crowded / "modeling_crowded.py").write_text(CROWDED.format(rows=3))
        asked = [request(f"q{n}") for n in range(12)]
        replies = ask(Transformers(model=str(crowded), trust_remote_code=True, batch_size=8, wait=1), *asked)
        plain = ask(Transformers(model=str(chat)), *asked)
        assert [reply.text for reply in replies] == [reply.text for reply in plain]

    def test_one_request_that_does_not_fit_is_fatal(self, crowded):
        (crowded / "modeling_crowded.py").write_text(CROWDED.format(rows=0))
        replies = ask(Transformers(model=str(crowded), trust_remote_code=True), request("x"), request("y"))
        assert {type(reply) for reply in replies} == {errors.FatalError}
        assert "too little memory" in str(replies[0])
