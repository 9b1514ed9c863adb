"""What differs between two runs: recipes, acceptance, lengths, rejects, rows; and which of it may be chance."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from evolteacher.differences import differences
from evolteacher.history import rejections, summarise
from evolteacher.passk import wilson
from evolteacher.report.figures import figures, flow
from evolteacher.store import Store

_EVOLVED = """
SELECT s.child FROM steps s LEFT JOIN drops ON drops.ord = s.ord AND drops.round = s.round
WHERE s.round > 0 AND s.filter = '' AND drops.filter IS NULL AND s.child IS NOT NULL
"""


@dataclass(frozen=True)
class Shares:
    """How many of those that were tried are kept, in both runs.

    Attributes:
        what: a round or an operator.
        a: kept and tried in the first run.
        b: kept and tried in the second.
    """

    what: str
    a: tuple[int, int]
    b: tuple[int, int]

    @property
    def difference(self) -> tuple[float, float, float] | None:
        """Second minus first share, with the ends of its 95 % interval (Newcombe 1998, method 10); None without both.

        It takes the runs for independent. Where they evolve the same seeds they are not, and the interval is rather too
        wide than too narrow.
        """
        if not self.a[1] or not self.b[1]:
            return None
        (one, low_one, high_one), (two, low_two, high_two) = (
            (kept / tried, *wilson(kept, tried)) for kept, tried in (self.a, self.b)
        )
        middle = two - one
        low = middle - math.hypot(two - low_two, high_one - one)
        return middle, low, middle + math.hypot(high_two - two, one - low_one)

    @property
    def noise(self) -> bool:
        """Whether no difference could come out like this, too."""
        found = self.difference
        return found is None or found[1] <= 0 <= found[2]


@dataclass(frozen=True)
class Contrast:
    """Two runs beside each other.

    Attributes:
        recipe: a line for each place where the experiments differ.
        seeds: unique seeds of each, and of both.
        pending: lineages of each that are not finished.
        rounds: acceptance by round.
        operators: acceptance by operator.
        lengths: round -> median characters of kept instructions in each; None where it has none.
        rejects: filter -> rejections in each.
        rows: rows of each dataset.
        shared: evolved instructions that are in both datasets, word for word.
    """

    recipe: tuple[str, ...]
    seeds: tuple[int, int, int]
    pending: tuple[int, int]
    rounds: tuple[Shares, ...]
    operators: tuple[Shares, ...]
    lengths: dict[str, tuple[float | None, float | None]]
    rejects: dict[str, tuple[int, int]]
    rows: tuple[int, int]
    shared: int

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "recipe": list(self.recipe),
            "seeds": dict(zip(("a", "b", "both"), self.seeds, strict=True)),
            "pending": dict(zip(("a", "b"), self.pending, strict=True)),
            "rounds": [_as_dict(shares) for shares in self.rounds],
            "operators": [_as_dict(shares) for shares in self.operators],
            "lengths": {name: {"a": one, "b": two} for name, (one, two) in self.lengths.items()},
            "rejects": {name: {"a": one, "b": two} for name, (one, two) in self.rejects.items()},
            "rows": {"a": self.rows[0], "b": self.rows[1], "evolved_in_both": self.shared},
        }


def _as_dict(shares: Shares) -> dict[str, Any]:
    return {
        "what": shares.what,
        "a": {"kept": shares.a[0], "tried": shares.a[1]},
        "b": {"kept": shares.b[0], "tried": shares.b[1]},
        "difference": shares.difference,
        "within_noise": shares.noise,
    }


@dataclass
class _Side:
    """The figures of one run."""

    store: Store
    tried: dict[str, tuple[int, int]] = field(default_factory=dict)
    lengths: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.summary = summarise(self.store)
        for row in flow(self.store):
            if row["round"]:
                self.tried[f"round {row['round']}"] = (row["kept"], row["tried"])
        for figure in figures(self.store):
            if figure.name == "lengths":
                self.lengths = {str(row[0]): float(row[2]) for row in figure.rows if isinstance(row[2], int | float)}
        self.rejects = {name: sum(numbers.values()) for name, numbers in rejections(self.store).items()}
        self.experiment = self.store.meta("experiment") or self.store.meta("recipe") or {}
        self.seeds = {id for (id,) in self.store.query("SELECT id FROM seeds")}
        self.evolved = {text for (text,) in self.store.query(_EVOLVED)}


def contrast(a: Store, b: Store) -> Contrast:
    """Compare two runs' stores; they are only read."""
    one, two = _Side(a), _Side(b)
    operators = [{name: (kept, tried) for name, (tried, kept) in side.summary.operators.items()} for side in (one, two)]
    return Contrast(
        tuple(line.strip() for line in differences(one.experiment, two.experiment, names=("A", "B"))),
        (len(one.seeds), len(two.seeds), len(one.seeds & two.seeds)),
        (one.summary.pending, two.summary.pending),
        tuple(_shares(one.tried, two.tried, key=_by_round)),
        tuple(_shares(*operators)),
        {
            name: (one.lengths.get(name), two.lengths.get(name))
            for name in sorted({*one.lengths, *two.lengths}, key=_by_round)
        },
        {name: (one.rejects.get(name, 0), two.rejects.get(name, 0)) for name in sorted({*one.rejects, *two.rejects})},
        (one.summary.records, two.summary.records),
        len(one.evolved & two.evolved),
    )


def _by_round(name: str) -> int:
    """Return where ``seeds`` or ``round 12`` belongs."""
    number = name.removeprefix("round ")
    return int(number) if number.isdecimal() else 0


def _shares(
    one: dict[str, tuple[int, int]], two: dict[str, tuple[int, int]], *, key: Callable[[str], Any] | None = None
) -> Iterator[Shares]:
    for name in sorted({*one, *two}, key=key):
        yield Shares(name, one.get(name, (0, 0)), two.get(name, (0, 0)))
