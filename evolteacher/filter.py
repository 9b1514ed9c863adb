"""Filters: pruning rules. A filter gives a reason to reject, or None to keep."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Literal

from evolteacher.component import Component
from evolteacher.operator import Ask
from evolteacher.record import Evolution, Record

Place = Literal["instruction", "response", "seeds"]
"""Where a row filter looks: a recipe's ``on:``, which also takes a list, and ``both`` for the first two."""


class Filter(Component):
    """Base of all filters; write one of its subclasses.

    Attributes:
        default_on: where the filter looks when the recipe does not say.
        allowed_on: where a recipe may let it look.
    """

    kind: ClassVar[str] = "filter"
    default_on: ClassVar[tuple[Place, ...]] = ()
    allowed_on: ClassVar[tuple[Place, ...]] = ()

    @classmethod
    def asks(cls) -> bool:
        """Whether it asks an LLM; such filters run after those that do not."""
        base = next(base for base in cls.__mro__ if base in _BASES)
        return getattr(cls, "judge", None) is not getattr(base, "judge", None)


class InstructionFilter(Filter):
    """Judges an evolution before its response is bought."""

    default_on: ClassVar[tuple[Place, ...]] = ("instruction",)
    allowed_on: ClassVar[tuple[Place, ...]] = ("instruction", "seeds")

    def reject(self, evolution: Evolution) -> str | None:
        """Return why this evolution is no good, or None. Pure and quick; asks nothing."""
        raise NotImplementedError(f"filter '{self.name}' defines neither reject() nor judge()")

    async def judge(self, evolution: Evolution, ask: Ask) -> str | None:
        """Like :meth:`reject`, for filters that ask an LLM."""
        return self.reject(evolution)


class ResponseFilter(Filter):
    """Judges an instruction with its response."""

    default_on: ClassVar[tuple[Place, ...]] = ("response",)
    allowed_on: ClassVar[tuple[Place, ...]] = ("response", "seeds")

    def reject(self, record: Record) -> str | None:
        """Return why this example is no good, or None. Pure and quick; asks nothing."""
        raise NotImplementedError(f"filter '{self.name}' defines neither reject() nor judge()")

    async def judge(self, record: Record, ask: Ask) -> str | None:
        """Like :meth:`reject`, for filters that ask an LLM."""
        return self.reject(record)


class TextFilter(Filter):
    """Judges a text by itself, wherever the recipe's ``on:`` points it."""

    default_on: ClassVar[tuple[Place, ...]] = ("instruction", "response")
    allowed_on: ClassVar[tuple[Place, ...]] = ("instruction", "response", "seeds")

    def reject(self, text: str) -> str | None:
        """Return why this text is no good, or None. Pure and quick; asks nothing."""
        raise NotImplementedError(f"filter '{self.name}' does not define reject()")


class DatasetFilter(Filter):
    """Judges the finished dataset as a whole; never decides what evolves."""

    def select(self, records: Iterable[Record]) -> Iterable[tuple[str, str]]:
        """Return the ``(record.id, reason)`` pairs to drop.

        Args:
            records: all records, round 0 first, each round in seed order; a stream that can be read once. Where two
                rows compete, the earlier is to be preferred.
        """
        raise NotImplementedError(f"filter '{self.name}' does not define select()")


_BASES: tuple[type[Filter], ...] = (InstructionFilter, ResponseFilter, TextFilter, DatasetFilter)
