"""What is made ready before a training: rows in tokens, configurations, and figures of what it will come to."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evolteacher.errors import RecipeError, UsageError
from evolteacher.promptform import PromptForm
from evolteacher.training.estimate import Estimate, memory_of, steps_of
from evolteacher.training.job import Training
from evolteacher.training.loading import dtype_of, explained, load_tokenizer, quiet
from evolteacher.training.rows import Rows, split
from evolteacher.training.tokens import Tokens, tokenise
from evolteacher.trainsection import Train


@dataclass(frozen=True)
class Prepared:
    """Rows in tokens, and how they came about.

    Attributes:
        rows: what the source holds.
        learnt: the rows that are learnt, in tokens.
        held: those held out.
        form: the prompt form.
        tokenizer: the model's, with the form as its chat template.
        lineages: that are learnt, and that are held out.
    """

    rows: Rows
    learnt: Tokens
    held: Tokens
    form: PromptForm
    tokenizer: Any
    lineages: tuple[int, int]


def prepare(training: Training, rows: Rows, note: Callable[[str], None], *, fetch: bool = True) -> Prepared:
    """Split rows and turn them into tokens; what is left out is noted.

    Args:
        training: how.
        rows: what the source holds.
        note: told a line for each thing that was done about long rows.
        fetch: whether the tokenizer may come from the hub.

    Raises:
        UsageError: no row is left.
        BackendError: the tokenizer cannot be loaded.
    """
    section = training.train
    learnt, held = split(rows.rows, section.validation, training.seed)
    tokenizer = load_tokenizer(section, fetch=fetch)
    form = PromptForm.choose(section.form, tokenizer, section.template_options)
    tokenizer.chat_template = form.template
    made = [tokenise(part, form, tokenizer, section.max_length, section.too_long) for part in (learnt, held)]
    for tokens, where in zip(made, ("", " (held out)"), strict=True):
        for line in tokens.notes(section.max_length):
            note(f"{line}{where}")
    for tokens, part, where in zip(made, (learnt, held), ("", "held out "), strict=True):
        if part and not tokens.rows:
            raise UsageError(
                f"{rows.source}: every {where}row has more than {section.max_length:,} tokens (the longest has "
                f"{tokens.longest:,}): raise sft.max_length, or write too_long: truncate"
            )
    lineages = len({row.lineage for row in learnt}), len({row.lineage for row in held})
    return Prepared(rows, made[0], made[1], form, tokenizer, lineages)


def estimate(
    section: Train, prepared: Prepared, config: Any, weights: tuple[int, int], rows: int, *, accelerated: bool
) -> Estimate:
    """Say what a training comes to.

    Args:
        section: how.
        prepared: the rows.
        config: the model's configuration.
        weights: of the model, and those of them that are tuned.
        rows: that the trainer sees, packed where they are packed.
        accelerated: whether there is a GPU.
    """
    sft = section.sft
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    steps, a_step, epochs = steps_of(rows, sft, processes)
    longest = max(len(row["input_ids"]) for row in prepared.learnt.rows)
    mixed = bool(sft.get("fp16")) or bool(sft.get("bf16", accelerated))
    memory = memory_of(
        *weights,
        config,
        dtype=dtype_of(section, accelerated=accelerated),
        quantised=section.method == "qlora",
        batch=int(sft.get("per_device_train_batch_size", 8)),
        length=section.max_length or longest if sft.get("packing") else longest,
        checkpointing=bool(sft.get("activation_checkpointing", sft.get("gradient_checkpointing", True))),
        mixed=mixed,
        on_gpu=accelerated,
    )
    learnt = prepared.learnt
    return Estimate(
        len(learnt.rows), len(prepared.held.rows), learnt.tokens, learnt.learnt, steps, a_step, epochs, *weights, memory
    )


def has_accelerator(section: Train) -> bool:
    """Whether there is a GPU that the training is to use."""
    import torch

    if section.sft.get("use_cpu") is True:
        return False
    return bool(torch.cuda.is_available() or torch.backends.mps.is_available())


def lora_config(section: Train) -> Any:
    """Return peft's configuration of the adapter; None for full tuning.

    Raises:
        RecipeError: peft refuses the arguments.
    """
    if section.method == "full":
        return None
    from peft import LoraConfig

    # Where nothing is said, an adapter sits on every linear layer but the last, as in QLoRA (arXiv 2305.14314).
    given = {"target_modules": "all-linear", **section.lora}
    try:
        return LoraConfig(task_type="CAUSAL_LM", **given)
    except (TypeError, ValueError) as error:
        raise RecipeError(f"train.lora: {' '.join(str(error).split())}") from None


def sft_config(training: Training, checkpoints: Path) -> Any:
    """Return the SFTConfig: what the recipe gives over evolteacher's defaults, and what is not the recipe's to give.

    Raises:
        RecipeError: SFTConfig refuses a value, or what two of them mean together.
    """
    with explained(training.train), quiet():
        from trl import SFTConfig
    section = training.train
    given = {name: value for name, value in section.sft.items() if name != "model_init_kwargs"}
    defaults: dict[str, Any] = {"report_to": "none", "save_total_limit": 2}
    defaults["per_device_eval_batch_size"] = given.get("per_device_train_batch_size", 8)
    if section.validation:
        defaults["eval_strategy"] = "epoch"
    if not has_accelerator(section):
        defaults.update(use_cpu=True, bf16=False, dataloader_pin_memory=False)
    ours = {"output_dir": str(checkpoints), "seed": training.seed, "data_seed": training.seed}
    try:
        with quiet():
            return SFTConfig(**{**defaults, **given, **ours, "disable_tqdm": True})
    except (TypeError, ValueError, ImportError, RuntimeError) as error:
        raise RecipeError(f"train.sft: {' '.join(str(error).split())}") from None
