"""A recipe's filters, sorted into the places where they run, each as one callable."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from evolteacher.filter import Filter, InstructionFilter, ReplyFilter, ResponseFilter, TextFilter
from evolteacher.operator import Ask
from evolteacher.record import Evolution, Record
from evolteacher.use import Use

T = TypeVar("T")


@dataclass(frozen=True)
class Check:
    """One filter at one place.

    Attributes:
        use: the filter as the recipe uses it.
        quick: gives the reason or None without asking; None for a filter that asks.
        judge: gives the reason or None, asking; None for a filter that does not.
    """

    use: Use[Filter]
    quick: Callable[[Any], str | None] | None = None
    judge: Callable[[Any, Ask], Awaitable[str | None]] | None = None


@dataclass(frozen=True)
class Pipeline:
    """The checks of a recipe by place, those that ask nothing first, else in recipe order.

    Attributes:
        seed_instruction: on a seed's evolution, before anything is asked.
        seed_response: on a seed's record, where it has a response.
        instruction: on a new evolution, before its response is bought.
        response: on the record.
    """

    seed_instruction: tuple[Check, ...]
    seed_response: tuple[Check, ...]
    instruction: tuple[Check, ...]
    response: tuple[Check, ...]

    @classmethod
    def of(cls, filters: tuple[Use[Filter], ...]) -> Pipeline:
        """Sort a recipe's filters into their places."""
        places: dict[str, list[Check]] = {
            "seed_instruction": [],
            "seed_response": [],
            "instruction": [],
            "response": [],
        }
        for use in filters:
            for place in use.on:
                targets = ("seed_instruction", "seed_response") if place == "seeds" else (place,)
                for target in targets:
                    check = _check(use, response=target.endswith("response"))
                    if check is not None:
                        places[target].append(check)
        return cls(**{place: tuple(sorted(checks, key=lambda c: c.quick is None)) for place, checks in places.items()})


def _check(use: Use[Filter], *, response: bool) -> Check | None:
    component = use.component
    if isinstance(component, TextFilter):
        text = component.reject
        return Check(use, quick=(lambda r: text(r.response)) if response else (lambda e: text(e.child.text)))
    if isinstance(component, ReplyFilter):
        reply = component.reject
        return Check(use, quick=lambda subject: reply(subject.reply))
    if isinstance(component, InstructionFilter) and not response:
        return Check(use, judge=component.judge) if component.asks() else Check(use, quick=component.reject)
    if isinstance(component, ResponseFilter) and response:
        return Check(use, judge=component.judge) if component.asks() else Check(use, quick=component.reject)
    return None


Subject = Evolution | Record
"""What a check looks at: an evolution before its response, a record after."""
