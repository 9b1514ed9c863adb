"""From what was measured of each training to the figures of a comparison."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from evolteacher.comparing.matching import Item, Matching, facts
from evolteacher.comparing.paired import Difference, difference
from evolteacher.comparing.trainings import Design
from evolteacher.comparing.verdict import (
    Control,
    Measured,
    again_control,
    claim,
    claim_of_benchmark,
    conclude,
    overfit_control,
    shuffled_control,
)
from evolteacher.passk import can_differ

SIDES: tuple[Measured, Measured] = ("a", "b")


@dataclass
class Measurement:
    """What was measured of one model.

    Attributes:
        losses: whose held-out rows -> the loss of each, in their order.
        results: of the training, as :class:`TrainResult` has them.
        benchmarks: name -> problem -> whether it was solved.
        overfit: of the control on eight rows: its last training loss; None of any other.
    """

    losses: dict[str, list[float]] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)
    benchmarks: dict[str, dict[str, bool]] = field(default_factory=dict)
    overfit: float | None = None


class Outcome:
    """The figures of a comparison whose trainings are all measured.

    Args:
        design: what was compared with what.
        held: whose -> held-out items, in the order in which they were measured.
        measured: name of a training -> what was measured.
        base: the same of the model as it was.
        benchmarks: names of those that were asked for.
    """

    def __init__(
        self,
        design: Design,
        held: Mapping[Measured, Sequence[Item]],
        measured: Mapping[str, Measurement],
        base: Measurement,
        benchmarks: Sequence[str],
    ) -> None:
        self._design, self._held, self._measured, self._base = design, held, measured, base
        self._benchmarks = benchmarks
        self.intervals = len(design.main) * (len(SIDES) + len(benchmarks))
        self.level = 1 - 0.05 / self.intervals
        """Of each interval; all that a claim rests on hold together at 95 % (Bonferroni)."""

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON."""
        controls = self._controls()
        comparisons, claims = [], []
        lowest: dict[Measured, float] = dict.fromkeys(SIDES, math.inf)
        for way, pairs in self._design.main.items():
            runs = len({name for pair in pairs for name in pair})
            differences = {side: self._difference(pairs, side) for side in SIDES}
            said = [claim(differences, runs, way)]
            found: dict[str, Any] = {"matched": way, "drawn": self._drawn(way), "runs": runs, "loss": {}}
            for side in SIDES:
                means = [self._mean([pair[n] for pair in pairs], side) for n in (0, 1)]
                lowest[side] = min(lowest[side], *means)
                found["loss"][side] = {"a": means[0], "b": means[1], "difference": asdict(differences[side])}
            found["benchmarks"] = {}
            for name in self._benchmarks:
                figures, shown = self._benchmark(name, pairs)
                found["benchmarks"][name] = figures
                said.append(claim_of_benchmark(name, shown, runs, way))
            comparisons.append({**found, "claims": said})
            claims += said
        base = {side: self._average(self._by_group(self._base, side)) for side in SIDES}
        trusted, lines = conclude(claims, controls, {side: (base[side], lowest[side]) for side in SIDES})
        return {
            "level": self.level,
            "base": {
                "loss": base,
                "benchmarks": {name: _share(self._base.benchmarks[name].values()) for name in self._benchmarks},
            },
            "comparisons": comparisons,
            "controls": None if controls is None else [asdict(control) for control in controls],
            "trusted": trusted,
            "verdict": lines,
        }

    def _controls(self) -> list[Control] | None:
        design = self._design
        if design.overfit is None:
            return None
        overfit = self._measured[design.overfit]
        assert overfit.overfit is not None
        return [
            shuffled_control(self._difference(design.shuffled, "a")),
            again_control({side: self._difference(design.again, side) for side in SIDES}),
            overfit_control(overfit.overfit, overfit.results["steps"]),
        ]

    def _drawn(self, way: Matching) -> dict[str, Any]:
        drawn = self._design.drawn[way]
        return {side: [facts(pair[n]) for pair in drawn] for n, side in enumerate(SIDES)}

    def _difference(self, pairs: Sequence[tuple[str, str]], side: Measured) -> Difference:
        """Return the second's loss less the first's, on held-out rows of one side."""
        tables = [[self._by_group(self._measured[name], side) for name in pair] for pair in pairs]
        return difference([[y - x for x, y in zip(*table, strict=True)] for table in tables], self.level)

    def _mean(self, names: Sequence[str], side: Measured) -> float:
        return self._average([self._average(self._by_group(self._measured[name], side)) for name in names])

    def _benchmark(self, name: str, pairs: Sequence[tuple[str, str]]) -> tuple[dict[str, Any], Difference]:
        tables = [[self._measured[one].benchmarks[name] for one in pair] for pair in pairs]
        gains = [[float(b[id]) - float(a[id]) for id in a] for a, b in tables]
        found = difference(gains, self.level)
        if not can_differ([math.fsum(column) for column in zip(*gains, strict=True)], self.level):
            found = replace(found, low=min(found.low, 0.0), high=max(found.high, 0.0))
        shares = {side: self._average([_share(t[n].values()) for t in tables]) for n, side in enumerate(SIDES)}
        return {**shares, "difference": asdict(found)}, found

    def _by_group(self, measurement: Measurement, side: Measured) -> list[float]:
        """Return the loss of each held-out lineage: the mean of its rows', so that each lineage counts alike."""
        sums: dict[str, list[float]] = {}
        for item, loss in zip(self._held[side], measurement.losses[side], strict=True):
            sums.setdefault(item.group, []).append(loss)
        return [self._average(losses) for losses in sums.values()]

    @staticmethod
    def _average(values: Sequence[float]) -> float:
        return math.fsum(values) / len(values)


def _share(solved: Iterable[bool]) -> float:
    values = [bool(value) for value in solved]
    return sum(values) / len(values)
