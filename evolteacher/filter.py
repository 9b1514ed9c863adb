"""Filters: pruning rules. A filter gives a reason to reject, or None to keep.

A filter on one row may return a :class:`~evolteacher.record.Judgement` instead: a score that is stored, and a reason or
None. A bare reason is a judgement without a score. A filter of responses may repair what it keeps: its judgement then
has the response that takes the other's place.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal, get_args

from evolteacher.component import Component
from evolteacher.messages import Reply, Role
from evolteacher.operator import Ask
from evolteacher.record import Evolution, Judgement, Lineage, Record, Seed

Place = Literal["instruction", "response", "seeds"]
"""Where a row filter looks: a recipe's ``on:``, which also takes a list, and ``both`` for the first two.

``instruction`` is a new instruction before its response is bought, ``response`` is its response, and ``seeds`` are the
source's own rows, instruction and response, which no filter touches unless the recipe says so.
"""


Finding = Judgement | str | None
"""What a row filter returns: a judgement, or its reason alone, or None to keep."""


class Filter(Component):
    """What all filters share; write a subclass of one of the six bases below, never of this.

    Attributes:
        default_on: where the filter looks when the recipe does not say.
        allowed_on: where a recipe may let it look.
        always_on: where the filter looks, whatever the recipe says.
        row_seconds: what it takes for a row beside all calls, where a plan should say so: code that it runs.
        verdict_tokens: what an answer of the judge comes to, for the plan's estimate.
    """

    kind: ClassVar[str] = "filter"
    default_on: ClassVar[tuple[Place, ...]] = ()
    allowed_on: ClassVar[tuple[Place, ...]] = ()
    always_on: ClassVar[tuple[Place, ...]] = ()
    row_seconds: ClassVar[float] = 0.0
    verdict_tokens: ClassVar[int] = 20

    def __init_subclass__(cls, name: str = "", **kwargs: Any) -> None:
        """Refuse a filter that would never be called, or whose answer would be misread.

        Raises:
            TypeError: it has not exactly one base, defines no rule, has an ``async`` rule where a plain one belongs
                (or the other way round), or looks at places that there are not.
        """
        super().__init_subclass__(name=name, **kwargs)
        if name:
            _check(cls)

    @classmethod
    def asks(cls) -> bool:
        """Whether it asks an LLM; such filters run after those that do not."""
        base = next((base for base in _BASES if issubclass(cls, base)), None)
        own = getattr(base, "judge", None)
        return own is not None and getattr(cls, "judge", None) is not own

    def judging(self) -> Mapping[Role, int]:
        """Return how often ``judge`` asks at most for one row, by role; ``evolteacher plan`` counts these calls."""
        return {"judge": 1} if self.asks() else {}

    def repeats(self) -> int:
        """Return how often each of these is asked again at most, where its answer could not be read."""
        return 0


class InstructionFilter(Filter):
    """Judges an evolution before its response is bought; on seeds, the seed's own."""

    default_on: ClassVar[tuple[Place, ...]] = ("instruction",)
    allowed_on: ClassVar[tuple[Place, ...]] = ("instruction", "seeds")

    def reject(self, evolution: Evolution) -> Finding:
        """Return why this evolution is no good, or None. Pure and quick; asks nothing."""
        raise NotImplementedError(f"filter '{self.name}' defines neither reject() nor judge()")

    async def judge(self, evolution: Evolution, ask: Ask) -> Finding:
        """Like :meth:`reject`, for filters that ask an LLM."""
        return self.reject(evolution)


class ResponseFilter(Filter):
    """Judges an instruction with its response; on seeds, those that have one."""

    default_on: ClassVar[tuple[Place, ...]] = ("response",)
    allowed_on: ClassVar[tuple[Place, ...]] = ("response", "seeds")

    def reject(self, record: Record) -> Finding:
        """Return why this example is no good, or None. Pure and quick; asks nothing."""
        raise NotImplementedError(f"filter '{self.name}' defines neither reject() nor judge()")

    async def judge(self, record: Record, ask: Ask) -> Finding:
        """Like :meth:`reject`, for filters that ask an LLM."""
        return self.reject(record)


class TextFilter(Filter):
    """Judges a text by itself, wherever the recipe's ``on:`` points it; on seeds, instruction and response in turn."""

    default_on: ClassVar[tuple[Place, ...]] = ("instruction", "response")
    allowed_on: ClassVar[tuple[Place, ...]] = ("instruction", "response", "seeds")

    def reject(self, text: str) -> Finding:
        """Return why this text is no good, or None. Pure and quick; asks nothing."""
        raise NotImplementedError(f"filter '{self.name}' defines neither reject() nor judge()")

    async def judge(self, text: str, ask: Ask) -> Finding:
        """Like :meth:`reject`, for filters that ask an LLM."""
        return self.reject(text)


class ReplyFilter(Filter):
    """Judges what a backend said about its own answer (why it ended, its tokens), and not the text that was read.

    On an instruction that is the operator's last reply, on a response the responding one. What no backend answered (a
    seed's own response, an operator without an LLM) comes as :data:`~evolteacher.messages.NO_REPLY`. A reply that was
    cut off behind the end marker of the rewrite comes with the finish reason ``stop``: the rewrite is whole.
    """

    default_on: ClassVar[tuple[Place, ...]] = ("instruction", "response")
    allowed_on: ClassVar[tuple[Place, ...]] = ("instruction", "response", "seeds")

    def reject(self, reply: Reply) -> Finding:
        """Return why this reply is no good, or None. Pure and quick; asks nothing."""
        raise NotImplementedError(f"filter '{self.name}' defines neither reject() nor judge()")

    async def judge(self, reply: Reply, ask: Ask) -> Finding:
        """Like :meth:`reject`, for filters that ask an LLM."""
        return self.reject(reply)


class LineageFilter(Filter):
    """Judges all versions of one lineage together, once it has left its rounds; never decides what evolves.

    It runs after every row filter, on a lineage of which at least one row was kept. What it rejects is no row of the
    dataset. A seed's row it rejects only where the recipe says ``on: [response, seeds]``; the score is stored anyway.
    """

    default_on: ClassVar[tuple[Place, ...]] = ("response",)
    allowed_on: ClassVar[tuple[Place, ...]] = ("response", "seeds")

    async def judge(self, lineage: Lineage, ask: Ask) -> Mapping[int, Judgement]:
        """Return round -> judgement, for as many of the lineage's rounds as it has one for.

        Args:
            lineage: every step, kept or rejected, round 0 first.
            ask: to ask an LLM with. A refusal that is let through rejects every row that the filter may reject.
        """
        raise NotImplementedError(f"filter '{self.name}' does not define judge()")


class DatasetFilter(Filter):
    """Judges the finished dataset as a whole; never decides what evolves."""

    def select(self, records: Iterable[Record]) -> Iterable[tuple[str, str]]:
        """Return the ``(record.id, reason)`` pairs to drop.

        Args:
            records: all records, round 0 first, each round in seed order; a stream that can be read once. Where two
                rows compete, the earlier is to be preferred.
        """
        raise NotImplementedError(f"filter '{self.name}' defines neither select() nor compare()")

    def compare(self, records: Iterable[Record], seeds: Iterable[Seed]) -> Iterable[tuple[str, str]]:
        """Like :meth:`select`, for filters that look at the seeds without a row, too; define one of the two.

        Args:
            records: as above.
            seeds: those that evolve and have no response, and so are no rows themselves, in the source's order; a
                stream that can be read once, before, after or while the records are.
        """
        return self.select(records)

    def scored_by(self) -> tuple[str, ...]:
        """Return the labels of the filters whose scores it reads (:attr:`Record.scores`); none by default.

        A recipe must have a filter of each label. Even so a row may lack a score: the judge's verdict could not be
        read, or the filter does not look at seeds.
        """
        return ()


_BASES: tuple[type[Filter], ...] = (
    InstructionFilter,
    ResponseFilter,
    TextFilter,
    ReplyFilter,
    LineageFilter,
    DatasetFilter,
)


def _check(cls: type[Filter]) -> None:
    bases = [base for base in _BASES if issubclass(cls, base)]
    if len(bases) != 1:
        names = ", ".join(base.__name__ for base in _BASES)
        raise TypeError(f"{cls.__qualname__}: a filter is a subclass of exactly one of {names}")
    rules = [rule for rule in ("reject", "judge", "select", "compare") if hasattr(bases[0], rule)]
    if all(getattr(cls, rule) is getattr(bases[0], rule) for rule in rules):
        raise TypeError(f"{cls.__qualname__}: define {'() or '.join(rules)}()")
    for rule in rules:
        if inspect.iscoroutinefunction(getattr(cls, rule)) != (rule == "judge"):
            # A coroutine counts as true, so an async reject() would reject everything.
            raise TypeError(f"{cls.__qualname__}: judge() is async, and no other rule is: mend {rule}()")
    for attribute in ("default_on", "allowed_on", "always_on"):
        places = getattr(cls, attribute)
        if not isinstance(places, tuple) or not set(places) <= set(get_args(Place)):
            raise TypeError(f"{cls.__qualname__}: {attribute} is a tuple of {', '.join(get_args(Place))}")
    if not {*cls.default_on, *cls.always_on} <= set(cls.allowed_on):
        raise TypeError(f"{cls.__qualname__}: default_on or always_on names a place that allowed_on does not")
