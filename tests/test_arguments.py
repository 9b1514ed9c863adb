"""The arguments of SFTConfig and LoraConfig, read from source: all, with types, and old names led to new ones."""

import dataclasses
import importlib.util
import subprocess
import sys

import pytest

from evolteacher import arguments as module
from evolteacher.arguments import GONE, OURS, RENAMED, Argument, arguments, complaints

# Neither is imported before a test needs it: that takes seconds, and every process that collects the tests would pay.
pytestmark = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("trl", "peft"))), reason="the extra 'train' is not installed"
)


def config(name):
    import peft
    import trl

    return {"sft": trl.SFTConfig, "lora": peft.LoraConfig}[name]


def complaint(which, **given):
    return dict(complaints(which, given))


@pytest.mark.parametrize(("name", "least"), [("sft", 120), ("lora", 35)])
def test_what_is_read_from_source_is_what_the_class_takes(name, least):
    taken = {field.name for field in dataclasses.fields(config(name)) if field.init}
    assert len(taken) >= least
    assert set(arguments(name)) == taken


def test_every_default_is_a_value_that_is_accepted():
    seen = 0
    for name in ("sft", "lora"):
        for field in dataclasses.fields(config(name)):
            if field.default is not dataclasses.MISSING and type(field.default) in (bool, int, float, str, type(None)):
                assert field.name in OURS or not arguments(name)[field.name].wrong(field.default), field.name
                seen += 1
    assert seen >= 130


def test_a_layout_that_is_not_understood_falls_back_on_the_class(monkeypatch):
    elsewhere = {**module._CLASSES, "lora": (("peft", "nowhere.py", "LoraConfig"),)}
    monkeypatch.setattr(module, "_CLASSES", elsewhere)
    arguments.cache_clear()
    try:
        assert {"r", "lora_alpha", "target_modules"} <= set(arguments("lora"))
        assert "lora_alph" in complaint("lora", lora_alph=3)
    finally:
        arguments.cache_clear()


def test_nothing_heavy_is_imported():
    words = "import sys; from evolteacher.arguments import arguments; print(len(arguments('sft')))"
    probe = f"{words}; print({{'torch', 'trl', 'transformers', 'peft'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=60, check=True)
    number, found = done.stdout.splitlines()
    assert int(number) >= 120 and found == "set()"


def test_old_names_are_old_and_new_ones_are_there():
    known = {**arguments("sft"), **arguments("lora")}
    assert len(RENAMED) >= 15 and len(GONE) >= 10
    assert [name for name in (*RENAMED, *GONE) if name in known] == []
    assert [name for name in RENAMED.values() if name not in known] == []
    assert [name for name in OURS if name not in known] == []


@pytest.mark.parametrize(
    ("old", "value", "advice"),
    [
        ("evaluation_strategy", "no", "eval_strategy"),
        ("warmup_ratio", 0.03, "warmup_steps: 0.03"),
        ("model_max_length", 2000, "max_length"),
        ("max_seq_length", 2000, "max_length"),
        ("no_cuda", True, "use_cpu"),
        ("group_by_length", True, "train_sampling_strategy: group_by_length"),
        ("output_dir", "x", "--out"),
        ("hub_token", "hf_abc", "HF_TOKEN"),
        ("completion_only_loss", False, "response only"),
        ("learning_rat", 1e-5, "Did you mean 'learning_rate'?"),
    ],
)
def test_what_cannot_be_given_is_led_to_what_can(old, value, advice):
    told = complaint("sft", **{old: value})
    assert list(told) == [old] and advice in told[old]
    assert "hf_abc" not in told[old]


# TRL sets what transformers is giving up; evolteacher hears of neither while it trains.
@pytest.mark.filterwarnings("ignore:`gradient_checkpointing` is deprecated:FutureWarning")
def test_a_fraction_of_warm_up_steps_is_one_in_the_installed_trl(tmp_path):
    made = config("sft")(str(tmp_path), warmup_steps=0.03, use_cpu=True, bf16=False)
    assert made.get_warmup_steps(1000) == 30


@pytest.mark.parametrize(
    ("name", "value", "right"),
    [
        ("learning_rate", 2e-5, ""),
        ("learning_rate", 1, ""),
        ("learning_rate", "2e-5", "a number is needed"),
        ("num_train_epochs", True, "a number is needed"),
        ("max_length", None, ""),
        ("max_length", 1.5, "a whole number is needed"),
        ("bf16", "yes", "true or false is needed"),
        ("report_to", ["wandb"], ""),
        ("report_to", "wandb", ""),
        ("lr_scheduler_type", "cosine", ""),
        ("eval_strategy", False, "a text is needed"),
        ("packing_strategy", "tight", "must be one of bfd"),
        ("model_init_kwargs", {"attn_implementation": "sdpa"}, ""),
    ],
)
def test_values_are_checked_by_type(name, value, right):
    told = complaint("sft", **{name: value}).get(name, "")
    assert told.startswith(right) and bool(told) == bool(right)


def test_what_cannot_be_told_is_let_through():
    assert not Argument(frozenset()).wrong(object())
    assert not complaint("lora", init_lora_weights="pissa", bias="none")
