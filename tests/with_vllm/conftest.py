"""A real checkpoint for the tests that run vLLM: tiny, with random weights, made here; or the folder that
EVOLTEACHER_TEST_CHECKPOINT names."""

import json
import os
import shutil
import tempfile
from pathlib import Path

import pytest

CHAT = "{% for m in messages %}<{{ m.role }}>{{ m.content }}<end>{% endfor %}<assistant>"
MARKS = ("<end>", "<system>", "<user>", "<assistant>")
LETTERS = "abcdefghijklmnopqrstuvwxyzĠ"
"""What the model writes; Ġ stands for a space."""


def build(folder):
    """Make a Llama of two layers that reads bytes and writes letters."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokens = [*MARKS, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE({token: n for n, token in enumerate(tokens)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(MARKS))
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>")
    fast.chat_template = CHAT
    fast.save_pretrained(folder)
    torch.manual_seed(5)
    config = LlamaConfig(
        vocab_size=len(tokens), hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, head_dim=32, max_position_embeddings=2048, bos_token_id=None, eos_token_id=0,
        initializer_range=0.3, tie_word_embeddings=False,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    written = torch.tensor([token in LETTERS for token in tokens])
    with torch.no_grad():
        model.lm_head.weight.mul_(written[:, None])
    model.save_pretrained(folder)


@pytest.fixture(scope="session", autouse=True)
def remove_logs():
    """Remove the logs that errors have named."""
    before = set(Path(tempfile.gettempdir()).glob("evolteacher-vllm-*"))
    yield
    for folder in set(Path(tempfile.gettempdir()).glob("evolteacher-vllm-*")) - before:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """A checkpoint's folder."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    given = os.environ.get("EVOLTEACHER_TEST_CHECKPOINT")
    if given:
        return Path(given)
    folder = tmp_path_factory.mktemp("checkpoint")
    build(folder)
    return folder


@pytest.fixture(scope="session")
def adapter(checkpoint, tmp_path_factory):
    """A LoRA adapter of rank 12 for the checkpoint that changes its answers, as peft saves one."""
    import torch
    from safetensors.torch import save_file

    config = json.loads((checkpoint / "config.json").read_text())
    size = config["hidden_size"]
    out = config["num_attention_heads"] * config.get("head_dim", size // config["num_attention_heads"])
    generator = torch.Generator().manual_seed(7)
    weights = {}
    for layer in range(config["num_hidden_layers"]):
        name = f"base_model.model.model.layers.{layer}.self_attn.q_proj"
        weights[f"{name}.lora_A.weight"] = torch.randn(12, size, generator=generator)
        weights[f"{name}.lora_B.weight"] = torch.randn(out, 12, generator=generator)
    folder = tmp_path_factory.mktemp("adapter")
    save_file(weights, folder / "adapter_model.safetensors")
    settings = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 12, "lora_alpha": 12, "target_modules": ["q_proj"],
        "lora_dropout": 0.0, "bias": "none", "base_model_name_or_path": str(checkpoint),
    }  # fmt: skip
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    return folder
