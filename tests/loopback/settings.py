"""What a test may tell the provider, checked where it is said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, Self, get_args

RetryAfter = Literal["seconds", "date", "milliseconds", "none"]
At = int | Literal["head", "body"]


def _known(cls: type, what: str, values: Mapping[str, Any]) -> None:
    names = [f.name for f in fields(cls)]
    if unknown := sorted(set(values) - set(names)):
        raise ValueError(f"{what}: nothing is called {', '.join(unknown)}; there is: {', '.join(names)}")


def _fault(name: str, where: str) -> None:
    from loopback.faults import known_fault

    if not known_fault(name):
        raise ValueError(f"{where}: no fault is called {name!r}; the keys of loopback.faults.FAULTS are")


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of the fault script.

    Attributes:
        fault: its name, or ``ok`` to spare what later rules and rates would hit.
        first: how many requests it hits before it is used up; None for no end.
        skip: how many fitting requests it lets pass before that.
        per: what ``first`` and ``skip`` count by: each distinct body, or the server.
        containing: only requests whose last message (elsewhere than in chat: whose body) contains this text.
        path: only this path, or paths below it.
        method: only this method.
        at: where a cut or reset happens: a byte offset of the whole response, or somewhere in its head or body.
        retry_after: seconds that a 429 or 503 names, instead of the settings'.
    """

    fault: str
    first: int | None = None
    skip: int = 0
    per: Literal["body", "server"] = "body"
    containing: str = ""
    path: str = "/v1/chat/completions"
    method: str = ""
    at: At | None = None
    retry_after: float | None = None

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        _known(cls, "script", values)
        rule = cls(**values)
        if rule.fault != "ok":
            _fault(rule.fault, "script")
        if rule.per not in ("body", "server"):
            raise ValueError(f"script: per is 'body' or 'server', not {rule.per!r}")
        _at(rule.at)
        return rule


def _rates(faults: Mapping[str, float]) -> None:
    for name, rate in faults.items():
        _fault(name, "faults")
        if not 0 <= rate <= 1:
            raise ValueError(f"faults: {name} is a share from 0 to 1, not {rate!r}")
    if sum(faults.values()) > 1 + 1e-9:
        raise ValueError("faults: the shares add up to more than 1")


def _at(at: Any) -> None:
    if at is not None and at not in ("head", "body") and (isinstance(at, bool) or not isinstance(at, int) or at < 0):
        raise ValueError(f"a cut happens at a byte offset, in the 'head' or in the 'body', not at {at!r}")


@dataclass(frozen=True, slots=True)
class Settings:
    """All options, with the provider that never fails and answers at once as their default.

    Who may ask:
        key: the one API key; None lets everybody in.
        models: the models there are; None knows every model (and lists ``loopback``).
        context: tokens of the context window (prompt and ``max_tokens`` together); None for no end.
        echo_key: a hostile provider: the Authorization header comes back in the answer's text, or in error messages;
            ``escaped``: in both, written in escapes of JSON, of which every other one is left when the JSON is read.

    What it answers:
        answer: the text; ``{digest}``, ``{words}`` and ``{last}`` are replaced.
        answer_words: how many ``{words}``.
        answer_last: how many characters of the last message ``{last}`` holds.
        seed: of all random choices.

    When:
        latency: mean seconds from request to answer.
        latency_sigma: standard deviation of the underlying normal; 0 makes the latency fixed, more makes it lognormal.
        latency_in_turn: the nth chat request meets the nth latency, whatever it asks, so that clients which ask
            different things can be compared; else a latency belongs to a request's messages.

    How often:
        requests_per_minute, tokens_per_minute: limits; None for none. They are for a ``window``, by name a minute.
        tokens_counted: prompt and ``max_tokens`` (``reserved``, as OpenAI does), or prompt and answer (``used``).
        limiter: ``sliding`` window, or token ``bucket`` with continuous refill.
        window: seconds of the window; shorter makes a test shorter.
        burst: what the bucket holds when full, in requests (and as many average requests' worth of tokens).
        tell: x-ratelimit headers on every answer.
        retry_after: how a 429 says when to come back: Retry-After in ``seconds`` or as a ``date``, ``retry-after-ms``
            in ``milliseconds``, or ``none``.

    What goes wrong:
        faults: fault name -> share of requests, from 0 to 1.
        script: rules that come before the rates.
        cut_at: where a cut or reset happens, when no rule says: a byte offset, ``head``, ``body``; None: anywhere.
        fault_retry_after: seconds that a 429 or 503 by fault (not by limit) names.
        drip_interval: seconds between the bytes of a drip.
        huge_bytes: length of a huge body.
        redirect_to: where a redirect points.
        requests_per_connection: answers after which a connection is closed without a word; None for never.
        idle_close: seconds after which an idle connection is closed without a word; None for never.

    Batches:
        batch_validating, batch_running: seconds in ``validating`` and in ``in_progress``.
        batch_outcomes: the ends of the first batches, in order of submission: ``completed``, ``failed``, ``expired``;
            later ones complete.
        batch_answered: share of the lines that an expired or cancelled batch has answered.
        batch_max_lines: a batch of more lines fails validation.

    keep: how many requests the log holds.
    """

    key: str | None = None
    models: tuple[str, ...] | None = None
    context: int | None = None
    echo_key: Literal["answer", "error", "escaped"] | None = None

    answer: str = "Write a Python function task_{digest} that handles {words}."
    answer_words: int = 12
    answer_last: int = 80
    seed: int = 0

    latency: float = 0.0
    latency_sigma: float = 0.0
    latency_in_turn: bool = False

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    tokens_counted: Literal["reserved", "used"] = "reserved"
    limiter: Literal["sliding", "bucket"] = "sliding"
    window: float = 60.0
    burst: int = 10
    tell: bool = False
    retry_after: RetryAfter = "seconds"

    faults: Mapping[str, float] = field(default_factory=dict)
    script: tuple[Rule, ...] = ()
    cut_at: At | None = None
    fault_retry_after: float = 1.0
    drip_interval: float = 0.01
    huge_bytes: int = 20_000_000
    redirect_to: str = "/elsewhere/v1/chat/completions"
    requests_per_connection: int | None = None
    idle_close: float | None = None

    batch_validating: float = 0.0
    batch_running: float = 0.0
    batch_outcomes: tuple[Literal["completed", "failed", "expired"], ...] = ()
    batch_answered: float = 0.5
    batch_max_lines: int = 50_000

    keep: int = 0

    def changed(self, values: Mapping[str, Any]) -> Self:
        """Return these settings with some replaced.

        Raises:
            ValueError: an unknown option or a value that cannot be, with what there is.
        """
        _known(type(self), "settings", values)
        values = dict(values)
        for name in ("models", "batch_outcomes"):
            if values.get(name) is not None:
                values[name] = tuple(values[name])
        if "script" in values:
            values["script"] = tuple(r if isinstance(r, Rule) else Rule.of(r) for r in values["script"])
        settings = replace(self, **values)
        settings._check()
        return settings

    def _check(self) -> None:
        _rates(self.faults)
        _at(self.cut_at)
        for name, known in _CHOICES.items():
            value = getattr(self, name)
            for one in value if isinstance(value, tuple) else (value,):
                if one not in known:
                    raise ValueError(f"{name} is one of {known}, not {one!r}")
        for name in ("latency", "latency_sigma", "batch_validating", "batch_running"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is 0 or more, not {getattr(self, name)!r}")
        for name in ("window", "drip_interval", "burst"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is more than 0, not {getattr(self, name)!r}")


_CHOICES: dict[str, tuple[Any, ...]] = {
    "retry_after": get_args(RetryAfter),
    "limiter": ("sliding", "bucket"),
    "echo_key": (None, "answer", "error", "escaped"),
    "tokens_counted": ("reserved", "used"),
    "batch_outcomes": ("completed", "failed", "expired"),
}
