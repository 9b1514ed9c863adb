"""The interval of a paired difference over random seeds and held-out units, when there are few of the former.

A difference stands in a table: a row for each random seed, a column for each held-out unit (a lineage, or a problem of
a benchmark), a figure in each cell. Seeds and units are both drawn, so both are resampled, independently of each other
(the pigeonhole bootstrap: Owen 2007, arXiv 0712.1111). Of a handful of seeds such a bootstrap is far too sure: of three
it finds two thirds of the variance, and none of the tails that two degrees of freedom have. So the interval is at least
Student's, about the unbiased variance of a two-way analysis, at the degrees of freedom that Satterthwaite (1946) gives;
where the bootstrap has heavier tails than the normal distribution, it is wider by as much.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist, pstdev

RESAMPLES = 4_000
"""Of the bootstrap: 50 of them lie beyond the ends of a 98.75 % interval."""

_STEPS = 100
"""Of the numerical integral behind Student's distribution."""

_MANY = 400
"""Degrees of freedom above which that is the normal distribution, to a third of a per cent."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A mean difference and where it may lie.

    Attributes:
        mean: over all seeds and units.
        low: lower end of the interval.
        high: upper end.
        level: of the interval, such as 0.95.
        seeds: random seeds; with one alone the interval knows nothing of what another would have brought.
        units: held-out units.
    """

    mean: float
    low: float
    high: float
    level: float
    seeds: int
    units: int

    @property
    def noise(self) -> bool:
        """Whether no difference at all would be no surprise."""
        return self.low <= 0 <= self.high


def difference(table: Sequence[Sequence[float]], level: float = 0.95, resamples: int = RESAMPLES) -> Difference:
    """Return the mean of a table of differences with its interval.

    Args:
        table: by seed, then by unit; all rows of equal length.
        level: that the interval is to hold.
        resamples: of the bootstrap.

    Raises:
        ValueError: no seed, fewer than two units, rows of unequal length, or a figure that is not finite.
    """
    seeds, units = len(table), len(table[0]) if table else 0
    if not seeds or units < 2 or any(len(row) != units for row in table):
        raise ValueError(f"a table of {seeds} seeds by {units} units has no interval: two units are needed at least")
    if not all(math.isfinite(value) for row in table for value in row):
        raise ValueError("a difference is not finite")
    mean = math.fsum(value for row in table for value in row) / (seeds * units)
    variance, freedom = _spread(table, mean)
    means = pigeonhole(table, resamples)
    found = pstdev(means)
    if not variance or not found:
        return Difference(mean, mean, mean, level, seeds, units)
    tail = (1 - level) / 2
    beyond = sorted(abs(value - mean) for value in means)[math.ceil(level * resamples) - 1]
    heavier = max(1.0, beyond / (NormalDist().inv_cdf(1 - tail) * found))
    reach = student(1 - tail, freedom) * math.sqrt(variance) * heavier
    return Difference(mean, mean - reach, mean + reach, level, seeds, units)


def _spread(table: Sequence[Sequence[float]], mean: float) -> tuple[float, float]:
    """Return the variance of the table's mean, and its degrees of freedom."""
    seeds, units = len(table), len(table[0])
    columns = [math.fsum(row[unit] for row in table) / seeds - mean for unit in range(units)]
    of_units = seeds * math.fsum(value * value for value in columns) / (units - 1)
    if seeds == 1:
        return of_units / units, units - 1.0
    rows = [math.fsum(row) / units - mean for row in table]
    of_seeds = units * math.fsum(value * value for value in rows) / (seeds - 1)
    rest = math.fsum(
        (table[seed][unit] - mean - rows[seed] - columns[unit]) ** 2 for seed in range(seeds) for unit in range(units)
    ) / ((seeds - 1) * (units - 1))
    # Seeds and units each hold the rest once, so that it would count twice; where it is all there is, once it stays,
    # also where it happens to cancel out in every row and column.
    total = max(of_seeds + of_units - rest, of_seeds, of_units, rest)
    parts = ((of_seeds, seeds - 1), (of_units, units - 1), (rest, (seeds - 1) * (units - 1)))
    below = math.fsum(part * part / freedom for part, freedom in parts)
    return total / (seeds * units), max(total * total / below, 1.0) if below else 1.0


def pigeonhole(table: Sequence[Sequence[float]], resamples: int) -> list[float]:
    """Return the means of resampled tables; the random numbers are the same each time."""
    draw = random.Random(0)
    seeds, units = len(table), len(table[0])
    columns: dict[tuple[int, ...], list[float]] = {}
    means = []
    for _ in range(resamples):
        drawn = tuple(sorted(draw.choices(range(seeds), k=seeds)))
        if drawn not in columns:
            columns[drawn] = [math.fsum(table[seed][unit] for seed in drawn) / seeds for unit in range(units)]
        means.append(math.fsum(draw.choices(columns[drawn], k=units)) / units)
    return means


def student(share: float, freedom: float) -> float:
    """Return below what a number of Student's distribution stays with this chance.

    With ``x = sqrt(freedom) tan(angle)`` the distribution is an integral of a power of the cosine, by Simpson's rule.

    Args:
        share: the chance, at least 0.5 and below 1.
        freedom: degrees of freedom, at least 1; need not be whole.
    """
    return _student(round(share, 9), round(freedom, 2))


@lru_cache(maxsize=256)
def _student(share: float, freedom: float) -> float:
    if freedom > _MANY:
        return NormalDist().inv_cdf(share)
    whole = _integral(math.pi / 2, freedom)
    low, high = 0.0, math.pi / 2
    for _ in range(40):
        middle = (low + high) / 2
        if _integral(middle, freedom) / whole < 2 * share - 1:
            low = middle
        else:
            high = middle
    return math.sqrt(freedom) * math.tan(low)


def _integral(end: float, freedom: float) -> float:
    step = end / _STEPS
    weights = [1, *(4 if n % 2 else 2 for n in range(1, _STEPS)), 1]
    powers = (weight * max(math.cos(n * step), 0.0) ** (freedom - 1) for n, weight in enumerate(weights))
    return math.fsum(powers) * step / 3
