"""A report's licences and terms, in the sums of the dataset's card, and what of them restricts use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evolteacher.licencecard import MOST_SHOWN, NO_ADVICE, in_short, sums
from evolteacher.licensing import NO_TERMS, UNKNOWN, Kind, kind_of
from evolteacher.rights import KINDS, Clearance, clearance, held_licence
from evolteacher.store import Store

_ASKS: dict[Kind, str] = {
    "public domain": "nothing",
    "permissive": "its notice to be kept",
    "share-alike": "the same licence",
    "non-commercial": "no commercial use",
    "non-commercial share-alike": "no commercial use, and the same licence",
    "no derivatives": "no derivatives to be passed on",
    "restricted": "purposes that it names to be left alone",
    "unknown": "not in evolteacher's tables",
}
_FREE = ("public domain", "permissive")


@dataclass(frozen=True)
class Line:
    """Rows under one licence, or one model's terms.

    Attributes:
        name: of the licence or the terms.
        rows: of the dataset.
        asks: what it asks of what is made from it.
        restricts: whether that is more than a notice, or unknown.
        short: terms in a sentence; empty of a licence.
    """

    name: str
    rows: int
    asks: str
    restricts: bool
    short: str = ""


@dataclass(frozen=True)
class Rights:
    """What the card sums.

    Attributes:
        clearance: the recipe's licence, and what of the rows it does not allow.
        licences: of the seeds, most rows first.
        terms: of the models that wrote rows.
        advice: what the sums are worth.
    """

    clearance: Clearance
    licences: Sequence[Line]
    terms: Sequence[Line]
    advice: str = NO_ADVICE

    @property
    def refused(self) -> Sequence[tuple[str, str, int, str]]:
        """Licence, terms, rows, and why the recipe's licence does not allow them."""
        return [
            (group.licence[:MOST_SHOWN] or UNKNOWN, group.terms or NO_TERMS, group.rows, group.why)
            for group in self.clearance.refused[:KINDS]
        ]

    @property
    def refused_rows(self) -> int:
        """Rows that the recipe's licence does not allow."""
        return sum(group.rows for group in self.clearance.refused)


def rights(store: Store) -> Rights | None:
    """Return the licences and terms of a run's rows; None where there are no rows yet."""
    found = clearance(store, held_licence(store))
    if not found.rows:
        return None
    licences, terms = sums(found)
    return Rights(
        found,
        [_of_seed(name, rows) for name, rows in licences],
        [_of_model(name, rows) for name, rows in terms],
    )


def _of_seed(name: str, rows: int) -> Line:
    kind: Kind = "unknown" if name == NO_TERMS else kind_of(name)
    return Line(name or UNKNOWN, rows, _ASKS[kind], kind not in _FREE)


def _of_model(name: str, rows: int) -> Line:
    """Describe a model's terms; a permissive licence of one asks nothing of what the model writes."""
    kind = kind_of(name)
    free = kind in _FREE
    return Line(name, rows, _ASKS["public domain" if free else kind], not free, in_short(name))
