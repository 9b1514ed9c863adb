"""What the filters of duplicates share: a walk through texts that keeps those unlike all that it kept before."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Generic, Literal, TypeVar

import evolteacher as et

Part = Literal["instruction", "response", "both"]
"""Which text of a row is compared."""

S = TypeVar("S")
T = TypeVar("T")


@dataclass(slots=True)
class Item:
    """A text on its walk.

    Attributes:
        key: of the row, its id.
        name: the row in words, for reasons.
        text: what is compared.
        lineage: texts of one lineage are not compared with each other; an empty one is no lineage.
        known: whether it is there only to be compared with, and kept whatever it resembles.
    """

    key: str
    name: str
    text: str
    lineage: str = ""
    known: bool = False


@dataclass(frozen=True, slots=True)
class Match:
    """What a text resembles: the name of the likest text that was kept before it, and how much, up to 1."""

    name: str
    likeness: float


class Likeness(ABC, Generic[S]):
    """A measure of two texts, from a sketch of each; texts as alike as ``threshold`` or more are duplicates.

    Each text is compared with those that were kept before it, never with one that was itself left out: so of two that
    are alike one stays, and a second walk over what was kept leaves out nothing.
    """

    block: int = 512
    """Texts that are sketched at once."""

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self.kept: list[tuple[str, str]] = []

    def walk(self, items: Iterable[Item]) -> Iterator[tuple[Item, Match | None]]:
        """Yield each text with what it resembles; None where it is kept. Memory: a sketch for each that is kept."""
        return self.follow(self.sketched(items, lambda item: item.text))

    def sketched(self, things: Iterable[T], text: Callable[[T], str]) -> Iterator[tuple[T, S | None]]:
        """Yield each thing with the sketch of its text; None where there is nothing to be compared."""
        stream = iter(things)
        while block := list(islice(stream, self.block)):
            yield from zip(block, self.sketch([text(thing) for thing in block]), strict=True)

    def follow(self, items: Iterable[tuple[Item, S | None]]) -> Iterator[tuple[Item, Match | None]]:
        """Walk through items that are sketched already."""
        stream = iter(items)
        while block := list(islice(stream, self.block)):
            yield from self.go(block)

    def go(self, block: list[tuple[Item, S | None]]) -> Iterator[tuple[Item, Match | None]]:
        """Walk through one block."""
        for item, sketch in block:
            found = None if item.known or sketch is None else self.likest(sketch, item.lineage)
            if found is None and sketch is not None:
                self.keep(sketch)
                self.kept.append((item.name, item.lineage))
            yield item, None if found is None else Match(self.kept[found[0]][0], found[1])

    def stranger(self, place: int, lineage: str) -> bool:
        """Whether a kept text is of another lineage."""
        return not lineage or self.kept[place][1] != lineage

    @abstractmethod
    def sketch(self, texts: list[str]) -> Iterable[S | None]:
        """Return what stands for each text in comparisons: a few hundred bytes, the same whatever came before."""

    @abstractmethod
    def likest(self, sketch: S, lineage: str) -> tuple[int, float] | None:
        """Return the place and likeness of the likest that was kept, the earliest of equals; None below the threshold.

        Args:
            sketch: of a text.
            lineage: only a :meth:`stranger` counts.
        """

    @abstractmethod
    def keep(self, sketch: S) -> None:
        """Add a sketch to those that later texts are compared with; its place is how many were kept before."""


def text_of(record: et.Record, part: Part) -> str:
    """Return the part of a row that is compared."""
    if part == "both":
        return f"{record.instruction.text}\n\n{record.response}"
    return record.instruction.text if part == "instruction" else record.response


def name_of(record: et.Record) -> str:
    """Name a row so that it can be found: by ``evolteacher show``, in the dataset, and in the source."""
    where = f", {record.source}" if record.source else ""
    return f"lineage {record.order}, round {record.round} ({record.id}{where})"


def items_of(records: Iterable[et.Record], seeds: Iterable[et.Seed], part: Part, own_lineage: bool) -> Iterator[Item]:
    """Yield rows as items, and between round 0 and the others the seeds that are no rows.

    A seed that has no response is no row, so that it takes no other seed's place; what evolved is compared with it.
    """
    unanswered = iter(seeds if part == "instruction" else ())
    for record in records:
        if record.round:
            yield from (_of_seed(seed) for seed in unanswered)
        lineage = "" if own_lineage else record.lineage
        yield Item(record.id, name_of(record), text_of(record, part), lineage)


def _of_seed(seed: et.Seed) -> Item:
    name = f"a seed without a response ({seed.source or seed.instruction.id})"
    return Item("", name, seed.instruction.text, seed.instruction.id, known=True)
