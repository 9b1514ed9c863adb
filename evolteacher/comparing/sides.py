"""The two datasets of a comparison, as they are named on the command line: whole, or a part of a run's rows."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from evolteacher.catalog import Catalog
from evolteacher.database import DATABASE
from evolteacher.errors import UsageError, did_you_mean
from evolteacher.training.rows import Row, Rows, read_rows

PARTS: dict[str, Callable[[Row], bool]] = {
    "all": lambda row: True,
    "seeds": lambda row: row.round == 0,
    "evolved": lambda row: row.round > 0,
}
"""Name of a part of a run's rows -> whether a row belongs to it; ``round2`` is one, too."""


@dataclass(frozen=True)
class Side:
    """One dataset of the two.

    Attributes:
        source: as it was named.
        rows: what is compared of it.
    """

    source: str
    rows: Rows


def read_sides(a: str, b: str | None, catalog: Catalog) -> tuple[Side, Side]:
    """Read both datasets.

    Args:
        a: a run's folder, a dataset's file or ``hf:owner/name``; with ``:seeds``, ``:evolved``, ``:all`` or
            ``:round2`` behind it, only those rows.
        b: the other; None where ``a`` is a run's folder, whose seeds are then compared with what evolved from them.
        catalog: where seed readers are looked for.

    Raises:
        UsageError: there is no such dataset or part, a part is empty, or both are one.
        SeedError: a file cannot be read.
    """
    if b is None:
        if not (Path(a) / DATABASE).exists():
            raise UsageError(
                f"{a}: a single name must be a run's folder, whose seeds are compared with its evolved rows; "
                "else name two datasets: evolteacher compare A B"
            )
        a, b = f"{a}:seeds", f"{a}:evolved"
    read: dict[str, Rows] = {}
    sides = []
    for text in (a, b):
        path, part = _divided(text)
        if path not in read:
            read[path] = read_rows(path, None, catalog)
        sides.append(Side(text, _part(read[path], text, part)))
    if sides[0].rows.digest == sides[1].rows.digest:
        raise UsageError(
            f"{a} and {b} hold the same rows: there is nothing to compare. (That a dataset against itself comes out "
            "as noise is a control that each comparison brings along.)"
        )
    return sides[0], sides[1]


def _divided(text: str) -> tuple[str, str]:
    """Return the path of ``PATH:PART``, and the part; all where none is named."""
    path, colon, part = text.rpartition(":")
    if not colon or os.path.exists(text):
        return text, "all"
    if part in PARTS or re.fullmatch(r"round\d+", part):
        return path, part
    if os.path.exists(path):
        raise UsageError(f"{text}: a dataset has no part '{part}'.{did_you_mean(part, [*PARTS, 'round1', 'round2'])}")
    return text, "all"


def _part(rows: Rows, text: str, part: str) -> Rows:
    number = int(part.removeprefix("round")) if part not in PARTS else None
    belongs = PARTS[part] if number is None else lambda row: row.round == number
    found = tuple(row for row in rows.rows if belongs(row))
    if not found:
        there = ", ".join(f"round {n}" for n in sorted({row.round for row in rows.rows}))
        raise UsageError(f"{text}: there is no such row (its rows are of {there}; round 0 are the seeds)")
    return replace(rows, rows=found, source=text)
