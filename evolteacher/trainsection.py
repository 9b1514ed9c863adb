"""What a recipe says about training: which model, on which data, how."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from evolteacher.arguments import GONE, OWNERS, RENAMED, Config, arguments, complaints
from evolteacher.evalsection import Evaluate
from evolteacher.licensing import refuse_terms
from evolteacher.problems import Problems
from evolteacher.sections import Section
from evolteacher.shapes import Format


class Data(Section):
    """What is trained on: a run folder, or a dataset that ``evolteacher convert`` reads."""

    path: str = Field(min_length=1, description="A run folder, a file (relative to the recipe), or `hf:owner/name`.")
    format: Format = Field("auto", description="The shape of a row; auto recognises each by itself.")
    instruction: str | None = Field(None, description="Name of the column that holds the instruction.")
    response: str | None = Field(None, description="Name of the column that holds the response.")
    reader: str | None = Field(None, description="The seed reader, where the file's name does not tell it.")
    licence: str = Field("", description="Of the rows that name none; it goes into the model card.")
    on_bad_row: Literal["skip", "fail"] = Field("skip", description="What a row that cannot be read costs.")

    @field_validator("licence")
    @classmethod
    def _check_licence(cls, licence: str) -> str:
        refuse_terms(licence, "a column `terms` of the rows")
        return licence


class Train(Section):
    """How a model is tuned, with TRL's SFTTrainer."""

    model: str = Field(min_length=1, description="A checkpoint's folder, or a name on the Hugging Face hub.")
    revision: str | None = Field(None, description="Branch, tag or commit on the hub.")
    data: str | Data | None = Field(None, description="What is trained on; the run's own dataset by default.")
    method: Literal["full", "lora", "qlora"] = Field(
        "full", description="full: all weights; lora: an adapter; qlora: an adapter on weights in 4 bits (NF4)."
    )
    form: Literal["auto", "alpaca", "chat"] = Field(
        "auto", description="Prompt form; auto: the model's chat template where it has one, else Alpaca."
    )
    template_options: dict[str, Any] = Field(
        default_factory=dict, description="Handed to the chat template, such as `enable_thinking: false`."
    )
    too_long: Literal["drop", "truncate", "fail"] = Field(
        "drop", description="What becomes of a row of more than `sft.max_length` tokens; both are counted and said."
    )
    validation: float = Field(
        0.05, ge=0, lt=1, description="Share of the lineages held out; 0 for none. Their loss is reported."
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="Number format of the weights; auto: float32 where they are tuned, else bfloat16."
    )
    trust_remote_code: str | None = Field(
        None, description="Run Python code that the model brings along, and why: a text. Off by default."
    )
    merge: bool = Field(False, description="Write a LoRA adapter's whole model too, its weights merged.")
    licence: str = Field("", description="Of the tuned model, for its card.")
    sft: dict[str, Any] = Field(default_factory=dict, description="Arguments of TRL's SFTConfig, by its own names.")
    lora: dict[str, Any] = Field(default_factory=dict, description="Arguments of peft's LoraConfig, by its own names.")

    @field_validator("trust_remote_code", mode="before")
    @classmethod
    def _ask_why(cls, value: Any) -> Any:
        if value is False:
            return None
        if value is True or (isinstance(value, str) and not value.strip()):
            raise ValueError("say why, as a text: who read the model's code, and at which revision")
        return value

    @field_validator("licence")
    @classmethod
    def _check_licence(cls, licence: str) -> str:
        refuse_terms(licence, "`terms` of the recipe that made the dataset")
        return licence

    @property
    def source(self) -> Data | None:
        """What is trained on, in full; None where the recipe names nothing."""
        return Data(path=self.data) if isinstance(self.data, str) else self.data

    def place(self, origin: Path | None) -> str | None:
        """Return the data's path made absolute (relative to the recipe's folder), or a source such as ``hf:…``."""
        if self.source is None:
            return None
        written = self.source.path
        base = origin.parent if origin is not None else Path.cwd()
        path = os.path.abspath(base / Path(written).expanduser())
        return written if ":" in written.split("/")[0] and not os.path.exists(path) else path

    @property
    def max_length(self) -> int | None:
        """Most tokens of a row; TRL's 1024 unless ``sft.max_length`` says otherwise, None without a bound."""
        found: int | None = self.sft.get("max_length", 1024)
        return found


class TrainRecipe(Section):
    """A recipe that only trains; it takes no key of a dataset's evolution."""

    evolteacher: Literal[1] = Field(description="Version of the recipe language.")
    name: str = Field(max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="Names the folder.")
    description: str = Field("", description="What it is for, in a sentence.")
    seed: int = Field(42, description="Of the random choices.")
    train: Train
    evaluate: Evaluate | None = Field(None, description="How base and tuned model are measured after that.")
    origin: Path | None = Field(None, exclude=True)


def is_training_only(data: Any) -> bool:
    """Whether a recipe as written trains and evolves nothing; such a one is a :class:`TrainRecipe`."""
    return isinstance(data, dict) and "train" in data and not {"seeds", "operators", "backends"} & data.keys()


def only_trains(problems: Problems) -> None:
    """Stop at a recipe that holds nothing to evolve, and say which command it is for."""
    if is_training_only(problems.located.data):
        problems.add((), "this recipe trains and evolves nothing: evolteacher train RECIPE carries it out")
        problems.raise_any()


FREE_ARGUMENTS = frozenset(
    {
        "dataloader_num_workers",
        "dataloader_persistent_workers",
        "dataloader_pin_memory",
        "dataloader_prefetch_factor",
        "ddp_timeout",
        "hub_model_id",
        "hub_private_repo",
        "hub_strategy",
        "log_level",
        "logging_first_step",
        "logging_steps",
        "logging_strategy",
        "project",
        "push_to_hub",
        "report_to",
        "run_name",
        "save_steps",
        "save_strategy",
        "save_total_limit",
    }
)
"""Arguments that change how a training is watched and kept, and never what is learnt: free to differ on resume."""


def read_train(section: Any, problems: Problems) -> Any:
    """Check the arguments in a ``train:`` section as written, all of them, whatever else is wrong with it.

    Returns:
        The section without arguments of SFTConfig that stand a level too high; each of these is a problem.
    """
    if not isinstance(section, dict):
        return section
    known = arguments("sft")
    high = [key for key in section if key not in Train.model_fields and RENAMED.get(key, key) in {*known, *GONE}]
    for key in high:
        wrong = next((f"{text}. " for _, text in complaints("sft", {key: section[key]})), "")
        problems.add(("train", key), f"{wrong}Arguments of {OWNERS['sft']} stand under sft")
    configs: tuple[Config, ...] = ("sft", "lora")
    for config in configs:
        given = section.get(config)
        for name, message in complaints(config, given) if isinstance(given, dict) else ():
            problems.add(("train", config, name), message)
    return {key: value for key, value in section.items() if key not in high}


def check_train(train: Train, problems: Problems) -> None:
    """Find what does not go together in a training."""
    if train.method == "full" and train.lora:
        problems.add(("train", "lora"), "this is for method: lora or qlora, and method is full")
    if train.merge and train.method != "lora":
        message = f"only method: lora has an adapter that can be merged, and method is {train.method}"
        problems.add(("train", "merge"), message)
    if train.sft.get("bf16") is True and train.sft.get("fp16") is True:
        problems.add(("train", "sft", "fp16"), "bf16 and fp16 exclude each other: leave one out")
    length = train.max_length
    if isinstance(length, int) and length < 1:
        problems.add(("train", "sft", "max_length"), f"must be 1 or more, not {length}")
    if train.sft.get("packing") is True and length is None:
        problems.add(("train", "sft", "packing"), "rows are packed up to max_length, which is none: give a number")
