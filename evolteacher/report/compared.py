"""A report's comparisons of two datasets: the verdict, the tables behind it, and whether the controls allow any."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from evolteacher.comparing.running import FIGURES
from evolteacher.comparing.summary import HEADINGS, about_intervals, benchmark_rows, loss_rows
from evolteacher.report.files import Held, cut, given, held, label
from evolteacher.training.card import public_path

_NAME, _LINE, _LINES = 120, 600, 30
"""Characters of a name and of a line that are shown, and how many lines."""

Number = Annotated[float, Field(ge=-1e9, le=1e9)]
Count = Annotated[int, Field(ge=0, le=10**12)]
Named = Annotated[str, Field(max_length=_NAME)]


class Difference(Held):
    """B's less A's, with the ends of its interval."""

    mean: Number
    low: Number
    high: Number


class Pair(Held):
    """A figure of both."""

    a: Number
    b: Number


class Compared(Pair):
    """A figure of both, and how far they are apart."""

    difference: Difference


class Losses(Held):
    """By whose held-out rows they were measured on."""

    a: Compared
    b: Compared


class Comparison(Held):
    """What came of one way to match the two."""

    matched: Named
    loss: Losses
    benchmarks: dict[Named, Compared] = Field({}, max_length=_LINES)


class Base(Held):
    """What the model had learnt before."""

    loss: Pair
    benchmarks: dict[Named, Number] = Field({})


class Size(Held):
    """How much there is."""

    rows: Count
    lineages: Count


class Side(Held):
    """One of the two datasets."""

    source: str
    learnt: Size
    held_out: Size


class Control(Held):
    """What came of one control."""

    passed: bool
    text: str


class Figures(Held):
    """What a report needs of ``compare.json``."""

    a: Side
    b: Side
    model: str
    seeds: Count
    level: float = Field(gt=0, lt=1)
    base: Base
    comparisons: list[Comparison] = Field(max_length=10)
    controls: list[Control] | None
    verdict: list[str]
    notes: list[str] = Field([])

    @model_validator(mode="after")
    def _whole(self) -> Figures:
        if any(one.benchmarks.keys() - self.base.benchmarks.keys() for one in self.comparisons):
            raise ValueError("a benchmark that the untrained model was not measured on")
        return self


@dataclass(frozen=True)
class Shown:
    """A comparison, as texts.

    Attributes:
        title: its folder's name.
        verdict: what it says, a sentence or two a line.
        sides: A and B: the source, what was learnt of it, what was held out.
        head: of the tables.
        losses: rows of the table of losses.
        scores: of the one of benchmarks.
        intervals: what the intervals are.
        controls: whether each passed, and what was found; None where they were left out.
        notes: what else is to be known, the model first.
    """

    title: str
    verdict: Sequence[str]
    sides: Sequence[tuple[str, str, Size, Size]]
    head: Sequence[str]
    losses: Sequence[tuple[str, ...]]
    scores: Sequence[tuple[str, ...]]
    intervals: str
    controls: Sequence[tuple[bool, str]] | None
    notes: Sequence[str]


def comparisons(folders: Sequence[Path]) -> tuple[list[Shown], list[str]]:
    """Read comparisons; return them, and a line for each that cannot be read.

    Raises:
        UsageError: one of the folders is no comparison's.
    """
    found, broken = [], []
    for folder in [given(folder, [FIGURES], "--comparison", "compare") for folder in folders]:
        try:
            found.append(_shown(label(folder), held(folder / FIGURES, Figures)))
        except ValueError as error:
            broken.append(f"{label(folder)}/{error}")
    return found, broken


def _shown(title: str, figures: Figures) -> Shown:
    def public(line: str) -> str:
        for side in (figures.a, figures.b):
            line = line.replace(side.source, public_path(side.source)) if side.source else line
        return cut(line, _LINE)

    plain: dict[str, Any] = figures.model_dump()
    sides = [
        (name, cut(public_path(side.source), _NAME), side.learnt, side.held_out)
        for name, side in (("A", figures.a), ("B", figures.b))
    ]
    model = f"model: {cut(public_path(figures.model), _NAME)}, random seeds: {figures.seeds:,}"
    controls = None
    if figures.controls is not None:
        controls = [(control.passed, public(control.text)) for control in figures.controls[:_LINES]]
    return Shown(
        title,
        [public(line) for line in figures.verdict[:_LINES]],
        sides,
        HEADINGS,
        list(loss_rows(plain)),
        list(benchmark_rows(plain)),
        about_intervals(plain),
        controls,
        [model, *(public(line) for line in figures.notes[:_LINES])],
    )
