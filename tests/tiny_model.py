"""A real causal model of two layers with random weights, and a byte-level tokenizer: made here, nothing fetched."""

import json

CHAT = (
    "{% for m in messages %}{{ '<|user|>' if m['role'] == 'user' else '<|model|>' }}{{ m['content'] }}<|end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|model|>{% endif %}"
)


def tokenizer(template=CHAT, *, begins=False, end="<|end|>"):
    """Return a byte-level tokenizer; with `begins` it puts a token at the beginning of each text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = ["<|end|>", "<|user|>", "<|model|>", "<|begin|>"]
    vocabulary = {token: n for n, token in enumerate([*special, *sorted(pre_tokenizers.ByteLevel.alphabet())])}
    made = Tokenizer(models.BPE(vocabulary, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(special)
    if begins:
        made.post_processor = processors.TemplateProcessing("<|begin|> $A", special_tokens=[("<|begin|>", 3)])
    fast = PreTrainedTokenizerFast(tokenizer_object=made, eos_token=end, bos_token="<|begin|>" if begins else None)
    fast.chat_template = template
    return fast


def write_model(folder, template=CHAT, *, positions=512):
    """Write a checkpoint of 30,000 weights."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.set_num_threads(1)  # threads that share cores with other processes wait for each other
    tokens = tokenizer(template)
    tokens.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokens), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=positions, bos_token_id=None, eos_token_id=0,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def write_rows(path, count=20):
    """Write Evol rows of some 70 tokens."""
    rows = [
        {"instruction": f"Write a function that adds {n} to a number.", "output": f"def add(x):\n    return x + {n}"}
        for n in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def write_recipe(path, model, data, sft=None, **train):
    """Write a recipe that trains: ten rows at a time, one epoch, unless something else is said."""
    arguments = {
        "max_length": 256, "num_train_epochs": 1, "per_device_train_batch_size": 4, "logging_steps": 1,
        "learning_rate": 0.001, "save_strategy": "no", **(sft or {}),
    }  # fmt: skip
    section = {"model": str(model), "data": str(data), "validation": 0.2, "sft": arguments, **train}
    recipe = {"evolteacher": 1, "name": "tiny", "train": section}
    path.write_text(json.dumps(recipe), encoding="utf-8")  # JSON is YAML
    return path
