"""A run's decontamination certificate, as a report shows it. Only what the file says, whoever wrote that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from evolteacher.decontamination.certificate import FILE, settings_words
from evolteacher.report.files import Held, held

PAIRS = 50
"""Pairs of a report; the certificate's file holds all."""

_MOST = 10**12


class Benchmark(Held):
    """What was looked for."""

    name: str
    problems: int = Field(ge=0, le=_MOST)
    hash: str


class Pair(Held):
    """A row beside the problem that was found in it."""

    row: str
    place: str
    benchmark: str
    problem: str
    part: str
    reason: str
    row_text: str
    problem_text: str


class Certificate(Held):
    """What a report needs of ``decontamination.json``."""

    benchmarks: list[Benchmark]
    checks: dict[str, dict[str, Any]]
    rows_checked: int = Field(ge=0, le=_MOST)
    rows_found: int = Field(ge=0, le=_MOST)
    rows_removed: int = Field(ge=0, le=_MOST)
    pairs: list[Pair]

    @property
    def methods(self) -> list[tuple[str, str]]:
        """Each check, and its methods and thresholds in a line."""
        return [(name, settings_words(how)) for name, how in self.checks.items()]

    @property
    def shown(self) -> list[Pair]:
        """The first pairs."""
        return self.pairs[:PAIRS]


def certified(run: Path) -> tuple[Certificate | None, list[str]]:
    """Return a run's certificate, None where there is none, and a line for one that cannot be read."""
    if not (run / FILE).exists():
        return None, []
    try:
        return held(run / FILE, Certificate), []
    except ValueError as error:
        return None, [str(error)]
