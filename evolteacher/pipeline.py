"""A recipe's filters, sorted into the places where they run, each as one callable."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any, TypeVar

from evolteacher.errors import EvolteacherError, PluginError, Unreadable, plugin_fault
from evolteacher.filter import (
    Filter,
    Finding,
    InstructionFilter,
    LineageFilter,
    ReplyFilter,
    ResponseFilter,
    TextFilter,
)
from evolteacher.messages import Reply
from evolteacher.operator import Ask
from evolteacher.reading.ending import was_ended
from evolteacher.record import Evolution, Judgement, Record, clean_text
from evolteacher.use import Use

T = TypeVar("T")


@dataclass(frozen=True)
class Check:
    """One filter at one place.

    Attributes:
        use: the filter as the recipe uses it.
        score: the name that its score is stored under.
        quick: gives the finding without asking; None for a filter that asks.
        judge: gives the finding, asking; None for a filter that does not.
    """

    use: Use[Filter]
    score: str
    quick: Callable[[Any], Finding] | None = None
    judge: Callable[[Any, Ask], Awaitable[Finding]] | None = None


@dataclass(frozen=True)
class Pipeline:
    """The checks of a recipe by place, those that ask nothing first, else in recipe order.

    Attributes:
        seed_instruction: on a seed's evolution, before anything is asked.
        seed_response: on a seed's record, where it has a response.
        instruction: on a new evolution, before its response is bought.
        response: on the record.
        lineage: on the lineage that has left its rounds, in recipe order.
    """

    seed_instruction: tuple[Check, ...]
    seed_response: tuple[Check, ...]
    instruction: tuple[Check, ...]
    response: tuple[Check, ...]
    lineage: tuple[Use[Any], ...]

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
        joint = tuple(use for use in filters if isinstance(use.component, LineageFilter))
        ordered = {place: tuple(sorted(checks, key=lambda c: c.quick is None)) for place, checks in places.items()}
        return cls(**ordered, lineage=joint)


def _check(use: Use[Filter], *, response: bool) -> Check | None:
    """Return the filter as it runs on evolutions, or on records; None where it does not look."""
    component = use.component
    both = f"{use.label}:response" if response else use.label  # of a filter that may look at either
    if isinstance(component, TextFilter):
        return _seeing(use, both, component, (lambda r: r.response) if response else (lambda e: e.child.text))
    if isinstance(component, ReplyFilter):
        return _seeing(use, both, component, (lambda r: r.reply) if response else _reply_of)
    if isinstance(component, ResponseFilter if response else InstructionFilter):
        return _seeing(use, use.label, component, lambda subject: subject)
    return None


def _reply_of(evolution: Evolution) -> Reply:
    """Return a rewrite's reply; one that was cut off behind the rewrite's end marker counts as stopped there.

    So a model that rambles on is judged as if the recipe had named the marker among the texts that end a reply.
    """
    reply, parent, child = evolution.reply, evolution.parent.text, evolution.child.text
    if reply.finish_reason == "length" and was_ended(reply.text, child, parent, evolution.markers):
        return replace(reply, finish_reason="stop")
    return reply


def _seeing(use: Use[Filter], score: str, component: Any, part: Callable[[Any], Any]) -> Check:
    if component.asks():
        return Check(use, score, judge=lambda subject, ask: component.judge(part(subject), ask))
    return Check(use, score, quick=lambda subject: component.reject(part(subject)))


def read_finding(label: str, finding: object, *, may_repair: bool = False) -> Judgement:
    """Return what a filter found as a judgement.

    Args:
        label: the filter's.
        finding: what it returned.
        may_repair: whether it judges a response, and so may replace it.

    Raises:
        PluginError: it is neither a judgement, a reason nor None, its score is no finite number, or it repairs what it
            may not or rejects.
    """
    judgement = finding if isinstance(finding, Judgement) else Judgement(reason=finding)  # type: ignore[arg-type]
    score, reason = judgement.score, judgement.reason
    if reason is not None and not isinstance(reason, str):
        raise PluginError(f"filter '{label}' returned {finding!r}, and a reason or None is needed")
    if score is not None and (isinstance(score, bool) or not isinstance(score, int | float) or not isfinite(score)):
        raise PluginError(f"filter '{label}' gave the score {score!r}, and a finite number or None is needed")
    response = judgement.response
    if response is not None:
        _check_repair(label, response, reason, may_repair)
        response = clean_text(response)[0]
    return Judgement(None if score is None else float(score), reason, response)


def _check_repair(label: str, response: object, reason: str | None, may_repair: bool) -> None:
    if not may_repair:
        raise PluginError(
            f"filter '{label}' gave a response to put in another's place, and only a ResponseFilter, which judges a "
            "response with its instruction, may do that"
        )
    if not isinstance(response, str) or not response.strip():
        raise PluginError(
            f"filter '{label}' gave {response!r} for a response, and a text is needed that shows something"
        )
    if reason is not None:
        raise PluginError(f"filter '{label}' both rejects and repairs: a judgement has a reason or a response")


def read_judgements(label: str, found: object, rounds: int) -> dict[int, Judgement]:
    """Return what a lineage filter found, by round.

    Raises:
        PluginError: it is no mapping of the lineage's rounds (0 to ``rounds`` - 1) to judgements.
    """
    if not isinstance(found, Mapping) or not all(isinstance(one, Judgement) for one in found.values()):
        raise PluginError(f"filter '{label}' returned {found!r}, and round -> Judgement is needed")
    unknown = [round for round in found if round not in range(rounds)]
    if unknown:
        raise PluginError(f"filter '{label}' judged round {unknown[0]!r}, which its lineage does not have")
    return {round: read_finding(label, found[round]) for round in sorted(found)}


def filter_fault(label: str, error: Exception) -> EvolteacherError:
    """Return what to raise for an error inside a filter: one of our own as it is, any other as the plugin's.

    Unreadable is an operator's word, which a filter's reading may have let through.
    """
    if isinstance(error, EvolteacherError) and not isinstance(error, Unreadable):
        return error
    return plugin_fault(f"filter '{label}'", error)


Subject = Evolution | Record
"""What a check looks at: an evolution before its response, a record after."""
