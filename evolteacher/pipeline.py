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
    """Return the filter as it runs on evolutions, or on records; None where it does not look."""
    component = use.component
    if isinstance(component, TextFilter):
        return _seeing(use, component, (lambda r: r.response) if response else (lambda e: e.child.text))
    if isinstance(component, ReplyFilter):
        return _seeing(use, component, lambda subject: subject.reply)
    if isinstance(component, ResponseFilter if response else InstructionFilter):
        return _seeing(use, component, lambda subject: subject)
    return None


def _seeing(use: Use[Filter], component: Any, part: Callable[[Any], Any]) -> Check:
    if component.asks():
        return Check(use, judge=lambda subject, ask: component.judge(part(subject), ask))
    return Check(use, quick=lambda subject: component.reject(part(subject)))


Subject = Evolution | Record
"""What a check looks at: an evolution before its response, a record after."""
