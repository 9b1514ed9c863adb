"""The model card: what a model was trained on and how, in which form it is to be asked, and under what licences."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evolteacher import __version__
from evolteacher.licencecard import said_of
from evolteacher.markdown import fenced, table
from evolteacher.promptform import PromptForm
from evolteacher.published import public
from evolteacher.training.job import Training
from evolteacher.training.rows import Rows
from evolteacher.yamlfile import dump

_NAMES = {
    "rows": "rows learnt",
    "lineages": "lineages learnt",
    "held_out": "rows held out",
    "dropped": "rows dropped as too long",
    "cut": "responses cut off",
    "tokens": "tokens a round",
    "learnt": "of these, counted by the loss",
    "steps": "steps",
    "weights": "weights",
    "trained": "of these, trained",
    "first_loss": "loss at the beginning",
    "loss": "loss at the end",
    "eval_loss": "loss of the rows held out",
}


def model_card(training: Training, rows: Rows, form: PromptForm, tokenizer: Any, figures: Mapping[str, Any]) -> str:
    """Write the card as Markdown with the front matter that model hubs read.

    Args:
        training: what was trained and how.
        rows: on what.
        form: how it is to be asked.
        tokenizer: the model's.
        figures: of the training, by name.
    """
    section = training.train
    base = public_path(section.model)
    front: dict[str, Any] = {"library_name": "peft" if section.method != "full" else "transformers"}
    if section.licence:
        front["license"] = section.licence
    front |= {"base_model": base, "pipeline_tag": "text-generation", "tags": ["evol-instruct", "sft", "trl"]}
    parts = [f"---\n{dump(front)}---\n\n# {training.name}\n"]
    if training.description:
        parts.append(f"{training.description}\n")
    how = {"full": "all its weights", "lora": "a LoRA adapter", "qlora": "a LoRA adapter on weights in 4 bits"}
    parts.append(f"`{base}`, tuned ({how[section.method]}) by evolteacher {__version__} with TRL's SFTTrainer.\n")
    parts.append(
        "## How to ask it\n\nIt was trained with one prompt form, which its chat template renders "
        f"({form.kind}; also in `prompt_form.json`):\n"
    )
    prompt, answer = form.split(tokenizer, "{instruction}", "{response}")
    parts.append(f"{fenced(prompt, 'text')}\nThe loss was on what follows, and on nothing else:\n")
    parts.append(fenced(answer, "text"))
    parts.append("## Training\n")
    told = [(name, _shown(figures.get(key))) for key, name in _NAMES.items() if figures.get(key) is not None]
    parts.append(table(("", ""), told))
    parts += _data(training, rows)
    parts.append(f"## Recipe\n\n{fenced(dump(_public(training)), 'yaml')}")
    return "\n".join(parts)


def public_path(text: str) -> str:
    """Return a path without the folders of this machine, a hub name as it is: cards are published."""
    return os.path.basename(os.path.normpath(text)) if os.path.isabs(os.path.expanduser(text)) else text


def _data(training: Training, rows: Rows) -> list[str]:
    source = public_path(rows.source)
    by_round = Counter(row.round for row in rows.rows)
    parts = [f"## Data\n\n{len(rows.rows):,} rows of `{source}`.\n"]
    if len(by_round) > 1:
        told = [(f"{n}{' (seeds)' if n == 0 else ''}", f"{by_round[n]:,}") for n in sorted(by_round)]
        parts.append(table(("round", "rows"), told))
    known = {name: number for name, number in rows.licences.items() if name}
    if known:
        named = [(name or "unknown", f"{number:,}") for name, number in rows.licences.items()]
        parts.append(table(("licence of the rows", "rows"), named))
        parts.append("What holds for the rows and for the base model holds for this model too.\n")
    else:
        parts.append(
            "No licence of the rows is known. What holds for them and for the base model holds for this model too: "
            "check both before you publish it.\n"
        )
    if rows.terms:
        parts.append("Rows by the terms of the models that wrote them, a summary and no legal advice:\n")
        terms = [(f"`{name}`", f"{number:,}", said_of(name)) for name, number in rows.terms.items()]
        parts.append(table(("terms", "rows", "in short"), terms))
    parts.append("### Decontamination\n")
    if rows.certificate is None:
        parts.append(
            "Nothing is on record of the rows having been compared with benchmarks: scores on public ones may be "
            "too high.\n"
        )
    else:
        parts.append(fenced(json.dumps(rows.certificate, ensure_ascii=False, indent=2), "json"))
    return parts


def _public(training: Training) -> dict[str, Any]:
    section = training.train.model_dump(mode="json")
    section["model"] = public_path(section["model"])
    data = section["data"]
    if isinstance(data, dict):
        data["path"] = public_path(data["path"])
    else:
        section["data"] = public_path(data or Path(training.data).name)
    return {"evolteacher": 1, "name": training.name, "seed": training.seed, "train": public(section)}


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
