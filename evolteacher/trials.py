"""The part of the conformance suites that takes a moment and needs no pytest: what most often goes wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from evolteacher.component import Component
from evolteacher.errors import Unreadable, UsageError
from evolteacher.filter import DatasetFilter, Filter
from evolteacher.operator import Operator
from evolteacher.record import Judgement
from evolteacher.specimens import TEXTS, Asked, Script, Trial, attempt, specimens


@dataclass(frozen=True, slots=True)
class Fault:
    """What a component did wrong, how to mend it, and the error, where it was one."""

    what: str
    mend: str
    error: BaseException | None = None


def faults(cls: type[Component]) -> Iterator[Fault]:
    """Try an operator or a filter with its default options, and yield what goes wrong, one of each kind.

    One that has required options, or needs a library that is not installed (a UsageError or ImportError), is not tried.
    """
    if any(field.is_required() for field in cls.model_fields.values()):
        return
    try:
        component = cls()
    except ValidationError as error:
        yield Fault(f"it cannot be made with its default options: {error.errors()[0]['msg']}", "mend the defaults")
        return
    yield from _options(component)
    if not isinstance(component, Operator | Filter):
        return
    seen: set[str] = set()
    for what, specimen in specimens(component).items():
        trial = attempt(component, specimen, Script(_answer))
        if isinstance(trial.error, UsageError | ImportError):
            return
        for kind, fault in _trial(component, what, specimen, trial):
            if kind not in seen:
                seen.add(kind)
                yield fault


def _answer(asked: Asked) -> str:
    return f"Write a function that adds a list of numbers, and explain attempt {asked.label.lstrip('=')}."


def _options(component: Component) -> Iterator[Fault]:
    try:
        again = type(component).model_validate_json(json.dumps(component.options()), strict=True)
        same = again == component
    except (TypeError, ValueError):
        same = False
    if not same:
        yield Fault(
            f"of its options, {component.options()}, the same one cannot be made again",
            "give options types of JSON: texts, numbers, true and false, lists, mappings",
        )


def _trial(component: Component, what: str, specimen: object, trial: Trial) -> Iterator[tuple[str, Fault]]:
    if trial.error is not None:
        if not (isinstance(component, Operator) and isinstance(trial.error, Unreadable)):
            said = f"{type(trial.error).__name__}: {trial.error}"
            mend = (
                "a text is data: join it to the prompt by an f-string or +, never by format() or %; expect any text, "
                "and any answer, also an empty one"
            )
            if "is a `return` missing?" in said:
                mend = "return the prompt: prompt() gave None"
            yield "error", Fault(f"with {what} it raised {said}", mend, trial.error)
        return
    if isinstance(component, Operator) and not isinstance(trial.result, str):
        yield "result", Fault(f"with {what} evolve() returned {trial.result!r}", "return the new task's text")
    if isinstance(component, Filter) and not isinstance(component, DatasetFilter):
        found = trial.result.reason if isinstance(trial.result, Judgement) else trial.result
        if found is not None and not (isinstance(found, str) and found.strip()) and not isinstance(found, Mapping):
            yield (
                "result",
                Fault(f"with {what} it returned {trial.result!r}", "return a reason in words, or None to keep"),
            )
    again = attempt(component, specimen, Script(_answer))
    if str(again) != str(trial):
        mend = "take out what changes from call to call: chance, time, the order of a set, what it saw before"
        yield "pure", Fault(f"with {what}, the same twice, it did not do the same", mend)
    text = TEXTS.get(what, "").strip()
    if isinstance(component, Operator) and trial.asked and not any(text in asked.text for asked in trial.asked):
        mend = "put the parent's text into the prompt as it is"
        yield "prompt", Fault(f"with {what}, {text!r}, the prompt does not hold the task", mend)
