"""``scripted``: answers from rules, a file or another run; for tests, documentation, dry runs and benchmarks.

Nothing is drawn at random and nothing depends on the order of calls: an answer follows from the request and its slot
alone. Only rules with ``times`` keep count, for each slot by itself.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, field_validator, model_validator

import evolteacher as et
from evolteacher import errors
from evolteacher_backends import made_up
from evolteacher_backends.replay import Replay

MODEL = "scripted"
"""The model that replies name."""

CHARACTERS_PER_TOKEN = 4
"""The rule by which usage is counted: a text of n characters is ceil(n / 4) tokens."""

ErrorName = Literal["refused", "too-long", "bad-reply", "transient", "rate-limited", "not-authorised", "no-such-model"]

_ERRORS: dict[str, type[errors.BackendError]] = {
    **errors.CALL_ERRORS,
    "transient": errors.Transient,
    "rate-limited": errors.RateLimited,
    "not-authorised": errors.NotAuthorised,
    "no-such-model": errors.NoSuchModel,
}


class Rule(BaseModel):
    """One rule: when it holds, and what is answered then. Without a condition it always holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: str | None = Field(None, description="The whole prompt: all messages' texts, joined by blank lines.")
    contains: str | None = Field(None, description="A text that the prompt must hold.")
    matches: str | None = Field(None, description="A regular expression that must be found in the prompt.")
    step: str | None = Field(None, description="`evolve`, `respond`, `filter` (any), or `filter:NAME`.")
    round: int | None = Field(None, ge=0, description="The round of the call.")
    share: float = Field(1.0, gt=0, le=1, description="The share of slots that it holds for, chosen by slot.")
    times: int | None = Field(None, ge=1, description="It holds for the first so many calls of each slot only.")
    reply: str | tuple[str, ...] = Field("", description="The answer, or several of which each slot gets its own.")
    finish_reason: str = Field("stop", description="As a provider would say it; `length` marks a cut answer.")
    error: ErrorName | None = Field(None, description="Raise this in place of an answer; `reply` is its message.")
    retry_after: float | None = Field(None, ge=0, description="Seconds that a `rate-limited` error asks to wait.")

    @field_validator("matches")
    @classmethod
    def _check_pattern(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"no regular expression: {error}") from None
        return pattern

    @model_validator(mode="after")
    def _check_answer(self) -> Self:
        if self.reply == ():
            raise ValueError("reply is an empty list: give at least one text")
        if self.error is None and "reply" not in self.model_fields_set:
            raise ValueError("a rule answers: give it 'reply' or 'error'")
        if self.retry_after is not None and self.error != "rate-limited":
            raise ValueError("retry_after goes with error: rate-limited only")
        return self


class Scripted(et.Backend, name="scripted"):
    """Answer from a script, the same request in the same slot always alike.

    Looked up in this order; the first that has an answer gives it:

    1. `rules`: the first rule that holds.
    2. `file`: likewise, one rule a line.
    3. `run`: another run's reply to the same messages, else in the same slot.
    4. `default`: a fixed text, where one is given.
    5. A made-up answer: to an evolving call the given task with one more constraint, to a filter "Not equal.", to any
       other call a few lines of code. It follows from the slot and the prompt, and goes through the usual filters.

    Tokens are counted as characters / 4, rounded up. Sampling parameters change nothing; answers are never cut.

    For a fake with a logic of its own, subclass and override `answer`:

        class Shouting(Scripted, name="shouting"):
            def answer(self, request):
                return request.text.upper()
    """

    primary: ClassVar[str] = "file"

    rules: tuple[Rule, ...] = Field((), description="Rules, tried in order.")
    file: Path | None = Field(None, description="A JSON Lines file, one rule a line, in the form of `rules`.")
    run: Path | None = Field(None, description="A run's folder whose replies answer what it asked, too.")
    default: str | None = Field(None, description="What is answered when nothing is found; unset: it is made up.")
    strict: bool = Field(False, description="Stop the run, naming the slot, when nothing is found.")
    latency: float | tuple[float, float] = et.free(
        0.0, description="Seconds that an answer takes; a pair is a range of which each slot gets its own."
    )

    _script: _Script | None = PrivateAttr(None)

    @field_validator("latency")
    @classmethod
    def _check_latency(cls, latency: float | tuple[float, float]) -> float | tuple[float, float]:
        low, high = latency if isinstance(latency, tuple) else (latency, latency)
        if not 0 <= low <= high < float("inf"):
            raise ValueError("give seconds, 0 or more, or a pair [least, most]")
        return latency

    @model_validator(mode="after")
    def _check_strict(self) -> Self:
        if self.strict and self.default is not None:
            raise ValueError("strict and default exclude each other: a default answers everything")
        return self

    def identity(self) -> str:
        """Return name and options, a file by its content and not by its path."""
        options = self.options(with_free=False)
        if self.file is not None and self.file.is_file():
            options["file"] = blake2b(self.file.read_bytes(), digest_size=16).hexdigest()
        return json.dumps([self.name, options], sort_keys=True)

    async def open(self, workload: et.Workload) -> None:
        """Read the script and start the counts of `times` anew.

        Raises:
            UsageError: a file or run is missing or unreadable, or a line is no rule.
        """
        await self.close()
        self._script = self._read()

    async def close(self) -> None:
        """Forget the script and its counts."""
        if self._script is not None and self._script.replay is not None:
            self._script.replay.close()
        self._script = None

    def price(self) -> et.Price:
        """Nothing is paid for a script."""
        return et.FREE

    def terms(self) -> str:
        """Nobody's: what it says is made up."""
        return "none"

    async def complete(self, request: et.Request) -> et.Reply:
        """Answer after `latency` seconds; lets other tasks run once even when that is 0."""
        latency = self._latency(request)
        await asyncio.sleep(latency)
        answer = self.answer(request)
        return answer if isinstance(answer, et.Reply) else reply_of(answer, request, latency=latency)

    def answer(self, request: et.Request) -> str | et.Reply:
        """Return the answer to a request, as a text or as a whole reply, or raise a backend error.

        Override it to write a fake; keep it pure, so that a resumed run sees the same answers. Calling the original
        answers by the script.
        """
        if self._script is None:
            self._script = self._read()
        rule = self._script.find(request)
        if rule is not None:
            return _carry_out(rule, request)
        if self._script.replay is not None and (reply := self._script.replay.find(request)) is not None:
            return reply
        if self.default is not None:
            return self.default
        if self.strict:
            raise errors.FatalError(
                f"backend '{self.name}': nothing answers slot '{request.slot}' (prompt: {request.text[:60]!r}…): "
                "add a rule, or set strict: false"
            )
        return _make_up(request)

    def _read(self) -> _Script:
        rules = list(self.rules)
        if self.file is not None:
            rules.extend(_read_rules(self.file))
        return _Script(rules, None if self.run is None else Replay(self.run))

    def _latency(self, request: et.Request) -> float:
        if isinstance(self.latency, tuple):
            low, high = self.latency
            return low + (high - low) * _fraction("latency", request)
        return self.latency


def reply_of(text: str, request: et.Request, *, finish_reason: str = "stop", latency: float = 0.0) -> et.Reply:
    """Make a reply of a text, with usage counted as characters / 4, rounded up."""
    prompt = sum(len(message.content) for message in request.messages)
    usage = et.Usage(-(-prompt // CHARACTERS_PER_TOKEN), -(-len(text) // CHARACTERS_PER_TOKEN))
    return et.Reply(text, usage, finish_reason, MODEL, latency)


class _Indexed(NamedTuple):
    place: int
    rule: Rule
    pattern: re.Pattern[str] | None


class _Script:
    """What one opened backend answers from.

    Rules for a whole prompt lie in a hash table, the others in a list; of those that hold, the first as written wins.
    """

    def __init__(self, rules: list[Rule], replay: Replay | None) -> None:
        self.replay = replay
        self._exact: dict[str, list[_Indexed]] = {}
        self._general: list[_Indexed] = []
        self._calls: dict[tuple[int, str], int] = {}
        for place, rule in enumerate(rules):
            entry = _Indexed(place, rule, None if rule.matches is None else re.compile(rule.matches))
            if rule.prompt is None:
                self._general.append(entry)
            else:
                self._exact.setdefault(rule.prompt, []).append(entry)

    def find(self, request: et.Request) -> Rule | None:
        if not self._general and not self._exact:
            return None
        text = request.text
        for entry in self._candidates(text):
            if _holds(entry, request, text) and self._counts(entry, request):
                return entry.rule
        return None

    def _candidates(self, text: str) -> Iterator[_Indexed]:
        exact = self._exact.get(text)
        if exact is None:
            return iter(self._general)
        return iter(sorted(exact + self._general))

    def _counts(self, entry: _Indexed, request: et.Request) -> bool:
        if entry.rule.times is None:
            return True
        key = (entry.place, request.slot or request.text)
        calls = self._calls.get(key, 0)
        self._calls[key] = calls + 1
        return calls < entry.rule.times


def _holds(entry: _Indexed, request: et.Request, text: str) -> bool:
    rule = entry.rule
    if rule.contains is not None and rule.contains not in text:
        return False
    if entry.pattern is not None and entry.pattern.search(text) is None:
        return False
    if rule.step is not None or rule.round is not None:
        slot = Slot.of(request)
        if rule.step is not None and not slot.is_step(rule.step):
            return False
        if rule.round is not None and slot.round != str(rule.round):
            return False
    return rule.share >= 1 or _fraction(f"share {entry.place}", request) < rule.share


def _carry_out(rule: Rule, request: et.Request) -> et.Reply:
    text = rule.reply if isinstance(rule.reply, str) else rule.reply[_draw("reply", request) % len(rule.reply)]
    if rule.error is None:
        return reply_of(text, request, finish_reason=rule.finish_reason)
    message = text or f"scripted error '{rule.error}' in slot '{request.slot}'"
    if rule.error == "rate-limited":
        raise errors.RateLimited(message, rule.retry_after)
    raise _ERRORS[rule.error](message)


def _read_rules(path: Path) -> Iterator[Rule]:
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise errors.UsageError(f"{path}: backend 'scripted' cannot read its script: {error}") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield Rule.model_validate_json(line)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise errors.UsageError(
                f"{path}:{number}: no rule: {where + ': ' if where else ''}{first['msg']}"
            ) from None


class Slot(NamedTuple):
    """A request's slot, ``<lineage>/<round>/<step>/<nth>``, taken apart; empty texts where there is none."""

    lineage: str
    round: str
    rest: str

    @classmethod
    def of(cls, request: et.Request) -> Slot:
        """Take a request's slot apart."""
        lineage, _, rest = request.slot.partition("/")
        round_, _, rest = rest.partition("/")
        return cls(lineage, round_, rest)

    def is_step(self, step: str) -> bool:
        """Whether this is the step, ``filter`` being that of every filter."""
        return self.rest.startswith(step) and self.rest[len(step) : len(step) + 1] in ("", "/", ":")


def _draw(purpose: str, request: et.Request) -> int:
    """A number below 2**64 that follows from the slot (the prompt, where there is none) and what it is for."""
    key = f"{purpose}\0{request.slot or request.text}"
    return int.from_bytes(blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest())


def _fraction(purpose: str, request: et.Request) -> float:
    return _draw(purpose, request) / 2**64


_TAGGED = re.compile(r"<(given\w*)>\n(.*)\n</\1>", re.DOTALL)


def _make_up(request: et.Request) -> str:
    slot = Slot.of(request)
    if slot.is_step("filter"):
        return made_up.JUDGEMENT
    draw = _draw("make up", request)
    return made_up.rewrite(request.text, draw) if slot.is_step("evolve") else made_up.respond(draw)


@et.hookimpl
def register_backends() -> list[type[et.Backend]]:
    """Bring the scripted backend."""
    return [Scripted]
