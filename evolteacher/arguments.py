"""The arguments of TRL's SFTConfig and peft's LoraConfig, checked by name and type without importing either.

Importing them takes seconds, and torch along. So names, types and choices are read from the source of the installed
packages: what is accepted is what that very version takes. Where a source is laid out in a way that is not understood,
the class is imported after all.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from evolteacher.errors import did_you_mean

Config = Literal["sft", "lora"]

_CLASSES: dict[Config, tuple[tuple[str, str, str], ...]] = {
    "sft": (
        ("transformers", "training_args.py", "TrainingArguments"),
        ("trl", "trainer/base_config.py", "_BaseConfig"),
        ("trl", "trainer/sft_config.py", "SFTConfig"),
    ),
    "lora": (
        ("peft", "config.py", "PeftConfigMixin"),
        ("peft", "config.py", "PeftConfig"),
        ("peft", "tuners/lora/config.py", "LoraConfig"),
    ),
}
"""Package, file and class, the base first."""

OWNERS: dict[Config, str] = {"sft": "TRL's SFTConfig", "lora": "peft's LoraConfig"}

RENAMED: dict[str, str] = {
    "batch_size": "per_device_train_batch_size",
    "epochs": "num_train_epochs",
    "evaluation_strategy": "eval_strategy",
    "lr": "learning_rate",
    "lr_scheduler": "lr_scheduler_type",
    "max_seq_length": "max_length",
    "model_max_length": "max_length",
    "no_cuda": "use_cpu",
    "num_epochs": "num_train_epochs",
    "per_gpu_eval_batch_size": "per_device_eval_batch_size",
    "per_gpu_train_batch_size": "per_device_train_batch_size",
    "alpha": "lora_alpha",
    "dropout": "lora_dropout",
    "lora_r": "r",
    "lora_rank": "r",
    "lora_target_modules": "target_modules",
    "rank": "r",
}
"""Names of earlier versions and of other programs -> the name that says the same today."""

GONE: dict[str, str] = {
    "warmup_ratio": "write warmup_steps: a number below 1 is the fraction of all steps, as in warmup_steps: 0.03",
    "group_by_length": "write train_sampling_strategy: group_by_length",
    "logging_dir": "set TENSORBOARD_LOGGING_DIR in the environment",
    "overwrite_output_dir": "leave it out: a training goes on with its folder, or gets another one with --out",
    "save_safetensors": "leave it out: weights are always saved as safetensors",
    "torch_dtype": "write dtype beside sft, as in train: {dtype: bfloat16}",
    "dataset_batch_size": "leave it out",
    "include_inputs_for_metrics": "leave it out",
    "fp16_backend": "leave it out",
    "half_precision_backend": "leave it out",
    "tpu_num_cores": "leave it out: `accelerate launch` says how many processes there are",
    "model_name_or_path": "write model beside sft, as in train: {model: NAME}",
    "data_path": "write data beside sft, as in train: {data: FILE}",
    "cache_dir": "set HF_HOME in the environment",
}
"""Names that have no successor of the same meaning -> what to do instead."""

OURS: dict[str, str] = {
    "output_dir": "--out says where the model goes",
    "seed": "the recipe's own seed is used",
    "data_seed": "the recipe's own seed is used",
    "resume_from_checkpoint": "the same command goes on from the last checkpoint by itself",
    "completion_only_loss": "the loss is always on the response only",
    "assistant_only_loss": "the loss is always on the response only",
    "dataset_text_field": "rows are read as `evolteacher convert` reads them",
    "dataset_kwargs": "rows are tokenised before TRL sees them",
    "truncation_mode": "too_long says what becomes of rows that are too long",
    "chat_template_path": "form says how prompts are laid out",
    "trust_remote_code": "write trust_remote_code beside sft, with the reason",
    "eos_token": "the model's own end token is learnt",
    "disable_tqdm": "progress is shown by evolteacher",
    "hub_token": "set HF_TOKEN in the environment: a recipe holds no secret",
    "local_rank": "the launcher sets it",
    "do_train": "leave it out",
    "do_eval": "leave it out",
    "do_predict": "leave it out",
    "task_type": "it is CAUSAL_LM",
    "peft_type": "it is LORA",
    "inference_mode": "leave it out",
    "base_model_name_or_path": "write model beside lora",
    "auto_mapping": "leave it out",
    "peft_version": "leave it out",
}
"""Arguments that exist and that a recipe does not set -> why."""


@dataclass(frozen=True)
class Argument:
    """One argument of a configuration class.

    Attributes:
        types: names in its annotation, such as ``{"int", "None"}``; empty where anything may be given.
        choices: the texts that it takes, where its class names them.
    """

    types: frozenset[str]
    choices: tuple[str, ...] = ()

    def wrong(self, value: Any) -> str:
        """Say what would be right in place of a value; nothing where the value will do, or it cannot be told."""
        if not self.types or _fits(value, self.types):
            if isinstance(value, str) and self.choices and value not in self.choices:
                return f"must be one of {', '.join(self.choices)}"
            return ""
        names = [_WORDS[name] for name in ("bool", "int", "float", "str", "list", "dict") if name in self.types]
        return f"{' or '.join(dict.fromkeys(names))} is needed" if names else ""


_WORDS = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "list": "a list",
    "dict": "a mapping",
}


def installed(config: Config) -> bool:
    """Whether the packages are there; nothing is imported."""
    return all(importlib.util.find_spec(package) is not None for package, _, _ in _CLASSES[config])


@cache
def arguments(config: Config) -> Mapping[str, Argument]:
    """Return the arguments that the installed version takes; empty where it is not installed."""
    if not installed(config):
        return {}
    found: dict[str, Argument] = {}
    for package, file, name in _CLASSES[config]:
        read = _from_source(package, file, name)
        if read is None:
            return _imported(config)
        found.update(read)
    return found


def complaints(config: Config, given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (name, what is wrong and what to do) for each argument that cannot be given so."""
    known = arguments(config)
    owner = OWNERS[config]
    for name, value in given.items():
        if name in OURS and (name in known or not known):
            yield name, f"a recipe does not set '{name}': {OURS[name]}"
        elif name not in known and name in RENAMED and (RENAMED[name] in known or not known):
            yield name, f"{owner} has no '{name}': it is called '{RENAMED[name]}'"
        elif name not in known and name in GONE:
            yield name, f"{owner} has no '{name}': {GONE[name]}"
        elif known and name not in known:
            yield name, f"{owner} has no '{name}'.{_nearest(name, known)}"
        elif known and (needed := known[name].wrong(value)):
            yield name, f"{needed}, not {value!r}"


def _nearest(name: str, known: Mapping[str, Argument]) -> str:
    near = did_you_mean(name, known)
    return near if near.startswith(" Did") else " Its documentation lists what there is."


def _fits(value: Any, types: frozenset[str]) -> bool:
    if value is None:
        return "None" in types
    if isinstance(value, bool):
        return "bool" in types
    if isinstance(value, int):
        return bool({"int", "float"} & types)
    if isinstance(value, float):
        return "float" in types
    return type(value).__name__ in types


def _from_source(package: str, file: str, name: str) -> dict[str, Argument] | None:
    """Read a dataclass's own fields from its source; None where that is not possible."""
    spec = importlib.util.find_spec(package)
    places = spec.submodule_search_locations if spec is not None else None
    try:
        text = (Path(next(iter(places or ()))) / file).read_text(encoding="utf-8")
        tree = ast.parse(text)
    except (OSError, StopIteration, ValueError, SyntaxError):
        return None
    cls = next((node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name), None)
    if cls is None:
        return None
    return {
        node.target.id: Argument(_types(node.annotation), _choices(node.value))
        for node in cls.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and not _is_class_variable(node)
    }


def _is_class_variable(node: ast.AnnAssign) -> bool:
    return "ClassVar" in ast.unparse(node.annotation) or ast.unparse(node.target).startswith("_")


def _types(annotation: ast.expr) -> frozenset[str]:
    """Return the names of the plain types that an annotation allows; empty where it allows what cannot be named."""
    names: set[str] = set()
    for part in _alternatives(annotation):
        text = ast.unparse(part)
        outer = text.partition("[")[0]
        if text == "None":
            names.add("None")
        elif outer in ("bool", "int", "float", "str", "list", "dict"):
            names.add(outer)
        elif text.endswith(("Strategy", "Type", "Names")):  # an enumeration of texts, whose values are given as such
            names.add("str")
        else:
            return frozenset()
    return frozenset(names)


def _alternatives(annotation: ast.expr) -> Iterator[ast.expr]:
    """Yield what a union is made of, however it is written."""
    if isinstance(annotation, ast.BinOp) and isinstance(annotation.op, ast.BitOr):
        yield from _alternatives(annotation.left)
        yield from _alternatives(annotation.right)
    elif isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value).endswith(("Optional", "Union")):
        inner = annotation.slice.elts if isinstance(annotation.slice, ast.Tuple) else [annotation.slice]
        for part in inner:
            yield from _alternatives(part)
        if ast.unparse(annotation.value).endswith("Optional"):
            yield ast.Constant(None)
    else:
        yield annotation


def _choices(value: ast.expr | None) -> tuple[str, ...]:
    """Return the ``choices`` that a field's metadata names."""
    for node in ast.walk(value) if value is not None else ():
        if isinstance(node, ast.Dict):
            for key, inner in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == "choices" and isinstance(inner, ast.List):
                    return tuple(str(item.value) for item in inner.elts if isinstance(item, ast.Constant))
    return ()


def _imported(config: Config) -> dict[str, Argument]:
    """Return the arguments by name alone, from the class itself."""
    module, name = ("trl", "SFTConfig") if config == "sft" else ("peft", "LoraConfig")
    cls = getattr(importlib.import_module(module), name)
    return {item.name: Argument(frozenset()) for item in dataclasses.fields(cls) if item.init}
