"""Checks of one answer: its fields, its tokens, and how far it heeds the sampling."""

from __future__ import annotations

import math
import time
from dataclasses import fields

from evolteacher.messages import RateLimits, Reply, Usage
from evolteacher.testing.harness import Session
from evolteacher.testing.promises import Promises


def is_number(value: object) -> bool:
    """Whether this is a finite number of 0 or more."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0


def is_count(value: object) -> bool:
    """Whether this is a whole number of 0 or more."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def is_usage(value: object) -> bool:
    """Whether this is a Usage of two counts."""
    return isinstance(value, Usage) and is_count(value.prompt_tokens) and is_count(value.completion_tokens)


def is_limits(value: object) -> bool:
    """Whether these are limits that the core can keep."""
    if not isinstance(value, RateLimits):
        return False
    figures = [getattr(value, each.name) for each in fields(value)]
    return all(figure is None or is_number(figure) for figure in figures)


def wrong_fields(reply: Reply) -> list[str]:
    """Name the fields that are not of the type that Reply promises, with what they hold."""
    promised = {
        "text": isinstance(reply.text, str),
        "usage": is_usage(reply.usage),
        "finish_reason": isinstance(reply.finish_reason, str) and bool(reply.finish_reason),
        "model": isinstance(reply.model, str),
        "latency": is_number(reply.latency),
        "cost": reply.cost is None or is_number(reply.cost),
        "limits": reply.limits is None or is_limits(reply.limits),
    }
    return [f"{name} = {getattr(reply, name)!r}" for name, kept in promised.items() if not kept]


def stop_text(text: str) -> str | None:
    """Return a letter or digit before whose first place a text has something, the rearmost one; None where none is."""
    for place in range(len(text) - 1, 0, -1):
        if text[place].isascii() and text[place].isalnum() and text[: text.index(text[place])].strip():
            return text[place]
    return None


class AnswerChecks(Promises):
    """Checks of one answer."""

    def test_a_reply_is_whole(self, _opened: Session) -> None:
        """A Reply has a text, a Usage of whole numbers, a finish_reason, a model, and sane figures for the rest."""
        reply = _opened.ask(self.request())
        wrong = wrong_fields(reply)
        if wrong:
            self.violated("; ".join(wrong))

    def test_latency_is_the_calls_own(self, _opened: Session) -> None:
        """Latency is seconds from the request's leaving to its answer's arrival; 0 leaves it to the core to measure."""
        began = time.perf_counter()
        reply = _opened.ask(self.request())
        passed = time.perf_counter() - began
        if is_number(reply.latency) and reply.latency > passed + 0.05:
            self.violated(f"latency {reply.latency:g}, of a call that took {passed:g} seconds")

    def test_tokens_are_counted(self, _opened: Session) -> None:
        """Usage counts the tokens of the prompt and of the answer; the budget and the limits rest on it."""
        if not self.usage_known:
            self.not_covered("the attribute `usage_known` is False")
        usage = _opened.ask(self.request()).usage
        if is_usage(usage) and not (usage.prompt_tokens and usage.completion_tokens):
            self.violated(f"{usage}")

    def test_max_tokens_cuts_an_answer(self, _opened: Session) -> None:
        """An answer has at most max_tokens tokens; one that was cut says so with the finish_reason 'length'."""
        if not self.heeds_max_tokens:
            self.not_covered("the attribute `heeds_max_tokens` is False")
        reply = _opened.ask(self.request(max_tokens=1))
        if reply.finish_reason != "length" or reply.usage.completion_tokens > 1:
            self.violated(f"with max_tokens 1: {reply}")

    def test_stop_texts_end_an_answer(self, _opened: Session) -> None:
        """An answer ends before the first of the stop texts, which is no part of it, with the finish_reason 'stop'."""
        if not self.heeds_stop:
            self.not_covered("the attribute `heeds_stop` is False")
        whole = _opened.ask(self.request())
        stop = stop_text(whole.text)
        if stop is None:
            self.not_covered(f"the answer {whole.text!r} holds nothing to stop at; set `max_tokens` higher")
        cut = _opened.ask(self.request(stop=("no such text", stop)))
        if stop in cut.text:
            self.violated(f"with the stop text {stop!r} the answer was {cut.text!r}, and without it {whole.text!r}")
        if self.deterministic and cut.finish_reason != "stop":
            self.violated(f"the answer ended at the stop text {stop!r} with the finish_reason {cut.finish_reason!r}")

    def test_the_same_request_gets_the_same_answer(self, _opened: Session) -> None:
        """Where `deterministic` is set, temperature 0 or a seed gives the same text again, also after reopening."""
        if not self.deterministic:
            self.not_covered("the attribute `deterministic` is False")
        asked = {"temperature 0": self.request(), "seed 7": self.request(temperature=1.0, seed=7)}
        first, second = ({how: _opened.ask(each).text for how, each in asked.items()} for _ in range(2))
        _opened.reopen()
        third = {how: _opened.ask(each).text for how, each in asked.items()}
        for how, text in first.items():
            if second[how] != text:
                self.violated(f"with {how}: first {text!r}, and then {second[how]!r}")
            if third[how] != text:
                self.violated(f"with {how}: first {text!r}, and after closing and opening {third[how]!r}")
