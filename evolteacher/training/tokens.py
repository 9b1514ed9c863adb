"""Rows as a model sees them: tokens, and which of them the loss counts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from evolteacher.errors import UsageError
from evolteacher.promptform import PromptForm
from evolteacher.sources import counted
from evolteacher.training.rows import Row

NOT_COUNTED = -100
"""The label of a token that the loss leaves out, as torch's cross entropy has it."""


@dataclass(slots=True)
class Tokens:
    """Rows in tokens.

    Attributes:
        rows: ``input_ids`` and ``labels`` of each, of equal length.
        dropped: rows left out because they are too long.
        cut: rows whose response was cut off.
        longest: tokens of the longest row before anything was done about it.
    """

    rows: list[dict[str, list[int]]] = field(default_factory=list)
    dropped: int = 0
    cut: int = 0
    longest: int = 0

    @property
    def tokens(self) -> int:
        """All tokens."""
        return sum(len(row["input_ids"]) for row in self.rows)

    @property
    def learnt(self) -> int:
        """Tokens that the loss counts."""
        return sum(len(row["labels"]) - row["labels"].count(NOT_COUNTED) for row in self.rows)

    def notes(self, most: int | None) -> list[str]:
        """Return what was done about long rows, a fact a line."""
        lines = []
        if self.dropped:
            lines.append(
                f"{counted(self.dropped, 'row')} of more than {most:,} tokens dropped; the longest has {self.longest:,}"
            )
        if self.cut:
            lines.append(
                f"{counted(self.cut, 'response')} cut off at {most:,} tokens; the longest row has {self.longest:,}"
            )
        return lines


def tokenise(
    rows: Iterable[Row],
    form: PromptForm,
    tokenizer: Any,
    most: int | None,
    too_long: Literal["drop", "truncate", "fail"],
) -> Tokens:
    """Turn rows into tokens whose loss is on the response, and the token that ends it, only.

    Prompt and response are tokenised apart: a model that is asked sees the tokens of the prompt alone, and these are
    the same ones. A response that was cut off has no end token, so that nobody learns to stop there.

    Args:
        rows: the rows.
        form: how they are laid out.
        tokenizer: the model's.
        most: tokens of a row; None for no bound.
        too_long: what becomes of longer ones. One whose prompt alone fills the bound is always dropped.

    Raises:
        UsageError: ``fail``, and a row is too long.
    """
    made = Tokens()
    for row in rows:
        parts = form.split(tokenizer, row.instruction, row.response)
        prompt, answer = (list(tokenizer(part, add_special_tokens=False)["input_ids"]) for part in parts)
        length = len(prompt) + len(answer)
        made.longest = max(made.longest, length)
        if most is not None and length > most:
            if too_long == "fail":
                raise UsageError(
                    f"a row has {length:,} tokens, and sft.max_length is {most:,}: {row.instruction[:80]!r}. Raise "
                    "max_length, or write too_long: drop or truncate"
                )
            if too_long == "drop" or len(prompt) >= most:
                made.dropped += 1
                continue
            made.cut += 1
            answer = answer[: most - len(prompt)]
        made.rows.append({"input_ids": prompt + answer, "labels": [NOT_COUNTED] * len(prompt) + answer})
    return made
