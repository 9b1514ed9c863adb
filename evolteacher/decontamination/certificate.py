"""The certificate: which benchmarks were looked for and how, what was found, and the pairs side by side."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from evolteacher import __version__
from evolteacher.decontamination.against import NamedBenchmark
from evolteacher.decontamination.index import ContaminationHit
from evolteacher.decontamination.running import Solves
from evolteacher.markdown import cell, table
from evolteacher.record import clean_text

FILE = "decontamination.json"

EXCERPT = 600
"""Characters of each text of a pair."""

SHOWN = 10
"""Pairs of a card."""


@dataclass(frozen=True, slots=True)
class ContaminationPair:
    """A row beside the problem that was found in it.

    Attributes:
        row: where the row is from, such as ``lineage 4, round 1`` or ``file:line``.
        place: ``instruction`` or ``response``.
        text: the row's, of that place.
        benchmark: as it was named.
        problem: its id.
        part: of the problem: ``prompt``, ``task``, ``solution``, or ``tests`` where a function passes those.
        method: that found it.
        score: see :class:`ContaminationHit`; 1 for tests.
        beside: the problem's text.
        reason: in a line.
    """

    row: str
    place: str
    text: str
    benchmark: str
    problem: str
    part: str
    method: str
    score: float
    beside: str
    reason: str

    @classmethod
    def of_hit(cls, row: str, place: str, text: str, hit: ContaminationHit) -> ContaminationPair:
        """Make a pair of what was found in a text."""
        part = hit.part
        score = round(hit.score, 4)
        return cls(row, place, text, part.benchmark, part.problem, part.name, hit.method, score, part.text, hit.reason)

    @classmethod
    def of_solved(cls, row: str, text: str, found: Solves) -> ContaminationPair:
        """Make a pair of a response that solves a problem."""
        beside = found.problem.solution or found.problem.prompt
        return cls(
            row, "response", text, found.benchmark, found.problem.id, "tests", "tests", 1.0, beside, found.reason
        )

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values, texts cut to :data:`EXCERPT`."""
        return {
            "row": self.row, "place": self.place, "benchmark": self.benchmark, "problem": self.problem,
            "part": self.part, "method": self.method, "score": self.score, "reason": self.reason,
            "row_text": excerpt(self.text), "problem_text": excerpt(self.beside),
        }  # fmt: skip


def excerpt(text: str, most: int = EXCERPT) -> str:
    """Return the beginning of a text."""
    text = clean_text(text)[0].strip()
    return text if len(text) <= most else f"{text[: most - 1]}…"


@runtime_checkable
class Certifies(Protocol):
    """What a row filter has whose findings a run certifies."""

    @property
    def benchmarks(self) -> Sequence[NamedBenchmark]:
        """The benchmarks, read."""
        ...

    def certified(self) -> Mapping[str, Any]:
        """Return its methods and thresholds."""
        ...

    def pairs(self, row: str, instruction: str, response: str, reason: str) -> list[ContaminationPair]:
        """Return what is wrong with a row that it rejected for a reason, side by side; nothing is asked or run."""
        ...


@dataclass(frozen=True)
class Certificate:
    """What a decontamination came to.

    Attributes:
        benchmarks: that were looked for.
        checks: name of the check -> its methods and thresholds.
        checked: rows that were looked at, those that were found among them; rows that other filters rejected are not.
        removed: rows of these that are not in the dataset since something was found in them.
        pairs: what was found, in the order of the rows.
    """

    benchmarks: Sequence[NamedBenchmark]
    checks: Mapping[str, Mapping[str, Any]]
    checked: int
    removed: int
    pairs: Sequence[ContaminationPair]

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values: the same for the same run, with no time and no place on this machine."""
        return {
            "evolteacher": __version__,
            "benchmarks": [benchmark.as_dict() for benchmark in self.benchmarks],
            "checks": {name: dict(settings) for name, settings in self.checks.items()},
            "rows_checked": self.checked,
            "rows_found": len({pair.row for pair in self.pairs}),
            "rows_removed": self.removed,
            "pairs": [pair.as_dict() for pair in self.pairs],
        }

    def as_json(self) -> str:
        """Return the certificate's file."""
        return json.dumps(self.as_dict(), ensure_ascii=False, indent=2) + "\n"

    def as_markdown(self) -> str:
        """Return the section of a card, its heading included."""
        names = [(f"`{cell(b.name)}`", f"{len(b.problems):,}", f"`{b.hash}`") for b in self.benchmarks]
        parts = ["## Decontamination\n", table(("benchmark", "problems", "hash"), names)]
        parts.append(
            table(("check", "settings"), [(f"`{name}`", settings_words(how)) for name, how in self.checks.items()])
        )
        parts.append(f"{self.checked:,} rows were checked, and {self.removed:,} removed (`{FILE}` holds the pairs).\n")
        if self.pairs:
            head = ("row", "text of the row", "text of the problem", "what was found")
            rows: Iterable[tuple[str, ...]] = [
                (f"{pair.row}, {pair.place}", excerpt(pair.text, 120), excerpt(pair.beside, 120), pair.reason)
                for pair in self.pairs[:SHOWN]
            ]
            parts.append(table(head, rows))
            if len(self.pairs) > SHOWN:
                parts.append(f"… and {len(self.pairs) - SHOWN:,} more.\n")
        return "\n".join(parts)


def settings_words(settings: Mapping[str, Any]) -> str:
    """Write a check's methods and thresholds in a line."""
    return ", ".join(
        f"{name} {' + '.join(map(str, value)) if isinstance(value, list) else value}"
        for name, value in settings.items()
    )
