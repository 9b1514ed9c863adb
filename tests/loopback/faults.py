"""What can go wrong with an answer, and which request it happens to."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from loopback.chance import Draw
from loopback.chat import MARKER, echo, escape
from loopback.limiter import retry_after
from loopback.settings import At, Settings
from loopback.wire import Answer, response

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Error:
    """An error answer: status, OpenAI's ``type`` and ``code``, and the message."""

    status: int
    type: str
    code: str | None
    message: str

    def body(self, echo: str = "") -> bytes:
        """Write it as OpenAI does; ``echo`` is what a hostile provider adds to the message."""
        message = f"{self.message} ({echo})" if echo else self.message
        return json.dumps(
            {"error": {"message": message, "type": self.type, "param": None, "code": self.code}}, ensure_ascii=False
        ).encode()


_INVALID = "invalid_request_error"

ERRORS: dict[str, Error] = {
    "400": Error(400, _INVALID, None, "We could not parse the body of your request."),
    "401": Error(401, _INVALID, "invalid_api_key", "Incorrect API key provided."),
    "403": Error(403, _INVALID, "unsupported_country_region_territory", "Your key may not use this service."),
    "404": Error(404, _INVALID, "model_not_found", "The model does not exist or you do not have access to it."),
    "404-path": Error(404, _INVALID, None, "Invalid URL: there is nothing here."),
    "too-long": Error(
        400, _INVALID, "context_length_exceeded", "Your request exceeds this model's maximum context length."
    ),
    "policy": Error(
        400, _INVALID, "content_policy_violation", "Your request was rejected: it violates our content policy."
    ),
    "429": Error(429, "requests", "rate_limit_exceeded", "Rate limit reached. Please slow down."),
    "quota": Error(429, "insufficient_quota", "insufficient_quota", "You exceeded your current quota; check billing."),
    "500": Error(500, "server_error", None, "The server had an error while processing your request."),
    "502": Error(502, "server_error", None, "Bad gateway."),
    "503": Error(503, "server_error", None, "The engine is overloaded, please try again later."),
    "504": Error(504, "server_error", None, "The gateway timed out."),
    "529": Error(529, "overloaded_error", None, "Overloaded."),
}
"""Fault name -> the error answer."""


def _message(completion: Body) -> Body:
    message: Body = completion["choices"][0]["message"]
    return message


def _with(completion: Body, **changes: Any) -> Body:
    return {**completion, **changes}


def _content(completion: Body, content: str | None, finish_reason: str = "stop", **more: Any) -> Body:
    message = {**_message(completion), "content": content, **more}
    return _with(completion, choices=[{**completion["choices"][0], "message": message, "finish_reason": finish_reason}])


def _without(completion: Body, name: str) -> Body:
    return {key: value for key, value in completion.items() if key != name}


BODIES: dict[str, Callable[[Body], Body]] = {
    "no-choices": lambda c: _without(c, "choices"),
    "empty-choices": lambda c: _with(c, choices=[]),
    "error-200": lambda c: {"error": {"message": "The upstream provider failed.", "code": 502}},
    "empty": lambda c: _content(c, ""),
    "null-content": lambda c: _content(c, None),
    "length": lambda c: _content(c, _message(c)["content"][: len(_message(c)["content"]) // 2], "length"),
    "content-filter": lambda c: _content(c, "", "content_filter"),
    "refusal": lambda c: _content(c, None, refusal="I'm sorry, I can't help with that."),
    "no-usage": lambda c: _without(c, "usage"),
    "null-usage": lambda c: _with(c, usage=None),
}
"""Fault name -> what it makes of a good completion; the answer stays a whole 200."""


def _half(good: bytes) -> bytes:
    return good[: len(good) // 2]


BYTES: dict[str, Callable[[bytes], bytes]] = {
    "not-json": lambda good: b"<html><body>It works!</body></html>",
    "half-json": _half,
    "bad-utf8": lambda good: good.replace(b'"content":"', b'"content":"\xff\xfe', 1),
    "no-body": lambda good: b"",
}
"""Fault name -> what it makes of a good body; the answer stays a whole 200 that is called JSON."""

WIRE: dict[str, str] = {
    "hang": "never answers",
    "cut": "closes the connection after some bytes of a good answer, or before the first",
    "reset": "the same, with a reset instead of an orderly end",
    "short-body": "announces more bytes than it has, and closes",
    "drip": "sends a good answer byte by byte",
    "huge": "a good answer of huge_bytes",
    "wrong-type": "a good answer that is called text/html",
    "html": "a proxy's 502 page",
    "redirect": "307 to redirect_to",
}

FAULTS: dict[str, str] = (
    {name: f"{error.status} {error.code or error.type}" for name, error in ERRORS.items()}
    | dict.fromkeys(BODIES, "a whole answer with other contents")
    | dict.fromkeys(BYTES, "a whole answer that is not JSON")
    | WIRE
)
"""Every fault's name, and what it is."""

ON_THE_WIRE = frozenset({"hang", "cut", "reset", "short-body", "drip"})
"""Faults under which the request took effect all the same; elsewhere than in chat, others mean that it did not."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A fault that a request gets, with what its rule or marker says about it."""

    fault: str
    at: At | None = None
    retry_after: float | None = None


class FaultPlan:
    """Decides which request gets which fault; remembers how often each rule and marker has hit."""

    def __init__(self, settings: Settings) -> None:
        self._script = settings.script
        self._rates = settings.faults
        self._hits: Counter[object] = Counter()

    def chat(self, last: str, digest: bytes, draw: Draw) -> Hit | None:
        """Decide on a chat request.

        Args:
            last: text of its last message.
            digest: of its messages.
            draw: its random numbers; the first decides by the rates.
        """
        if "[[fault:" in last:
            for marker in MARKER.finditer(last):
                name, at, times = marker.groups()
                if known_fault(name) and self._counts((marker.group(), digest), 0, int(times) if times else None):
                    return Hit(name, int(at) if at and at.isdecimal() else cast(At | None, at))
        if self._script and (hit := self.scripted("POST", "/v1/chat/completions", last, digest)):
            return hit if hit.fault != "ok" else None
        if self._rates:
            mark = draw.unit(0)
            for name, rate in self._rates.items():
                mark -= rate
                if mark < 0:
                    return Hit(name)
        return None

    def scripted(self, method: str, path: str, text: str, digest: bytes) -> Hit | None:
        """Return what the first fitting rule of the script says."""
        for index, rule in enumerate(self._script):
            if path != rule.path and not path.startswith(rule.path + "/"):
                continue
            if (rule.method and method != rule.method) or rule.containing not in text:
                continue
            if self._counts((index, digest if rule.per == "body" else None), rule.skip, rule.first):
                return Hit(rule.fault, rule.at, rule.retry_after)
        return None

    def _counts(self, key: object, skip: int, first: int | None) -> bool:
        if not skip and first is None:
            return True
        number = self._hits[key]
        self._hits[key] = number + 1
        return number >= skip and (first is None or number < skip + first)


def known_fault(name: str) -> bool:
    """Tell whether a fault is called so."""
    return name in FAULTS


def error_answer(error: Error, settings: Settings, headers: bytes = b"", authorization: str = "") -> bytes:
    """Return the whole response of an error."""
    body = escape(error.body(echo(settings, "error", authorization)), settings, authorization)
    return response(error.status, body, headers)


def misbehave(hit: Hit, good: bytes, headers: bytes, settings: Settings, draw: Draw, authorization: str) -> Answer:
    """Return the answer under a fault.

    Args:
        hit: the fault.
        good: body of the answer without it.
        headers: further header lines of any answer.
        settings: for what neither the fault nor its rule says.
        draw: the second number decides where a cut happens.
        authorization: the request's header, for a hostile provider.
    """
    name = hit.fault
    if error := ERRORS.get(name):
        if error.status in (429, 503, 529) and name != "quota":
            seconds = settings.fault_retry_after if hit.retry_after is None else hit.retry_after
            headers += retry_after(settings.retry_after, seconds)
        return Answer(error_answer(error, settings, headers, authorization))
    if name in BODIES:
        changed = BODIES[name](json.loads(good))
        return Answer(response(200, json.dumps(changed).encode("ascii"), headers))
    if name in BYTES:
        return Answer(response(200, BYTES[name](good), headers))
    return _WIRE[name](hit, good, headers, settings, draw)


def _hang(hit: Hit, good: bytes, headers: bytes, settings: Settings, draw: Draw) -> Answer:
    return Answer(b"", hang=True)


def _cut(hit: Hit, good: bytes, headers: bytes, settings: Settings, draw: Draw) -> Answer:
    data = response(200, good, headers)
    at = settings.cut_at if hit.at is None else hit.at
    head = data.index(b"\r\n\r\n") + 4
    if isinstance(at, int):
        upto = min(at, len(data) - 1)
    else:
        low, high = {"head": (1, head), "body": (head, len(data)), None: (0, len(data))}[at]
        upto = low + int(draw.unit(1) * (high - low))
    return Answer(data, upto=upto, reset=hit.fault == "reset")


def _short_body(hit: Hit, good: bytes, headers: bytes, settings: Settings, draw: Draw) -> Answer:
    whole = response(200, good + b" " * 64, headers)
    return Answer(whole, upto=len(whole) - 64)


def _drip(hit: Hit, good: bytes, headers: bytes, settings: Settings, draw: Draw) -> Answer:
    return Answer(response(200, good, headers), interval=settings.drip_interval)


def _huge(hit: Hit, good: bytes, headers: bytes, settings: Settings, draw: Draw) -> Answer:
    filling = b"x" * max(0, settings.huge_bytes - len(good))
    return Answer(response(200, good.replace(b'"content":"', b'"content":"' + filling, 1), headers))


def _wrong_type(hit: Hit, good: bytes, headers: bytes, settings: Settings, draw: Draw) -> Answer:
    return Answer(response(200, good, headers, b"text/html; charset=utf-8"))


def _html(hit: Hit, good: bytes, headers: bytes, settings: Settings, draw: Draw) -> Answer:
    page = b"<html><head><title>502 Bad Gateway</title></head><body>proxy</body></html>"
    return Answer(response(502, page, headers, b"text/html"))


def _redirect(hit: Hit, good: bytes, headers: bytes, settings: Settings, draw: Draw) -> Answer:
    return Answer(response(307, b"", b"Location: %b\r\n" % settings.redirect_to.encode() + headers))


_WIRE: Mapping[str, Callable[[Hit, bytes, bytes, Settings, Draw], Answer]] = {
    "hang": _hang,
    "cut": _cut,
    "reset": _cut,
    "short-body": _short_body,
    "drip": _drip,
    "huge": _huge,
    "wrong-type": _wrong_type,
    "html": _html,
    "redirect": _redirect,
}
