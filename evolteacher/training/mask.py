"""The label mask, looked at before the first step: on what the loss is, of the very batches that will be trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from evolteacher.errors import RunError
from evolteacher.training.tokens import NOT_COUNTED

LOOKED_AT = 8
"""Rows that are checked."""


@dataclass(frozen=True)
class Shown:
    """A row in pieces.

    Attributes:
        pieces: text and whether the loss counts it, in order.
        tokens: of the row, without padding.
        counted: of these, those that the loss counts.
    """

    pieces: tuple[tuple[str, bool], ...]
    tokens: int
    counted: int


def check_mask(batch: Any, tokenizer: Any, most: int = LOOKED_AT) -> list[Shown]:
    """Check a batch as the trainer's own collator makes it, and return its rows to be shown.

    Args:
        batch: ``input_ids`` and ``labels``, and ``attention_mask`` where there is padding, as tensors.
        tokenizer: the model's.
        most: rows to look at.

    Raises:
        RunError: a row's loss is on nothing, on everything, or on another token than the one that stands there.
    """
    found = []
    masks = batch["attention_mask"].tolist() if "attention_mask" in batch else [None] * len(batch["input_ids"])
    triples = zip(batch["input_ids"].tolist(), batch["labels"].tolist(), masks, strict=True)
    for number, (ids, labels, mask) in enumerate(list(triples)[:most]):
        real = [(i, t) for i, t, keep in zip(ids, labels, mask or [1] * len(ids), strict=True) if keep]
        _check_row(number, real)
        padded = [t for t, keep in zip(labels, mask or [1] * len(ids), strict=True) if not keep]
        if any(label != NOT_COUNTED for label in padded):
            raise RunError(
                f"row {number}: the loss counts padding; nothing was trained. This is a fault in the collator"
            )
        found.append(Shown(_pieces(real, tokenizer), len(real), sum(label != NOT_COUNTED for _, label in real)))
    return found


def _check_row(number: int, real: Sequence[tuple[int, int]]) -> None:
    counted = sum(label != NOT_COUNTED for _, label in real)
    if not counted:
        raise RunError(
            f"row {number}: the loss counts none of its {len(real)} tokens, so nothing would be learnt; nothing was "
            "trained. Look at form and at sft.max_length"
        )
    if counted == len(real):
        raise RunError(
            f"row {number}: the loss counts all of its {len(real)} tokens, the prompt included; nothing was trained. "
            "Look at form: it leaves no prompt"
        )
    if any(label not in (NOT_COUNTED, token) for token, label in real):
        raise RunError(f"row {number}: a label is another token than the one that stands there; nothing was trained")


def _pieces(real: Sequence[tuple[int, int]], tokenizer: Any) -> tuple[tuple[str, bool], ...]:
    runs: list[tuple[list[int], bool]] = []
    for token, label in real:
        counted = label != NOT_COUNTED
        if not runs or runs[-1][1] != counted:
            runs.append(([], counted))
        runs[-1][0].append(token)
    return tuple((tokenizer.decode(tokens), counted) for tokens, counted in runs)
