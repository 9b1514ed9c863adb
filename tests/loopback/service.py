"""The provider itself: takes a request, decides what becomes of it, counts it."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections import deque
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from loopback import chat as chats
from loopback.batches import Batches, Line, Reply
from loopback.chance import Draw, latency
from loopback.counters import Counters
from loopback.faults import BODIES, ERRORS, ON_THE_WIRE, Error, FaultPlan, error_answer, misbehave
from loopback.limiter import Limits, Refusal, retry_after
from loopback.settings import Settings
from loopback.wire import Answer, Connection, Request, response


class Decided(NamedTuple):
    """What becomes of a request: its name in the counters, the answer, and the digest where it is a good chat's."""

    kind: str
    answer: Answer
    digest: bytes | None = None


class Service:
    """One provider: its settings, its limits, its faults and its counters."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.connections: set[Connection] = set()
        self._batches = Batches(self._line)
        self.reset()

    def reset(self) -> None:
        """Forget counters, log, what limits let in and how often rules hit; files and batches stay."""
        self.counters = Counters()
        self.counters.open_connections = len(self.connections)
        self.log: deque[dict[str, Any]] = deque(maxlen=self.settings.keep)
        self._limits = Limits(self.settings)
        self._plan = FaultPlan(self.settings)

    def configure(self, settings: Settings) -> None:
        """Change the settings; rules and markers count from nothing again when the script is another one."""
        old, self.settings = self.settings, settings
        self._limits.change(settings)
        if (old.script, old.faults) != (settings.script, settings.faults):
            self._plan = FaultPlan(settings)
        if old.keep != settings.keep:
            self.log = deque(self.log, maxlen=settings.keep)

    def opened(self, connection: Connection, here: bool) -> None:
        """Count a connection that came or went."""
        if here:
            self.counters.connections += 1
            self.connections.add(connection)
        else:
            self.connections.discard(connection)
        self.counters.open_connections = len(self.connections)

    def handle(self, request: Request, connection: Connection) -> Answer:
        """Decide the answer of one request."""
        settings = self.settings
        counters = self.counters
        counters.arrived()
        connection.idle_close = settings.idle_close
        if request.path == "/v1/chat/completions" and request.method == "POST":
            kind, answer, digest = self._chat(request)
        else:
            kind, answer, digest = self._other(request)
        counters.outcomes[kind] += 1
        answer.ended = partial(counters.left, kind, digest)
        if settings.requests_per_connection and connection.answered + 1 >= settings.requests_per_connection:
            answer.close = True
        if settings.keep:
            self._remember(request, kind)
        return answer

    def _remember(self, request: Request, kind: str) -> None:
        self.log.append(
            {
                "at": time.monotonic(),
                "method": request.method,
                "path": request.path,
                "headers": request.headers,
                "body": request.body.decode("utf-8", "replace"),
                "outcome": kind,
            }
        )

    def _refuse(self, kind: str, message: str, request: Request) -> Decided:
        authorization = request.headers.get("authorization", "")
        return Decided(kind, Answer(error_answer(_error(kind, message), self.settings, b"", authorization)))

    def _stranger(self, request: Request) -> bool:
        key = self.settings.key
        return key is not None and request.headers.get("authorization") != f"Bearer {key}"

    def _objection(self, chat: chats.Chat) -> tuple[str, str] | None:
        """Return the name of the error that this request earns, and the message."""
        settings = self.settings
        if settings.models is not None and chat.model not in settings.models:
            return "404", f"The model '{chat.model}' does not exist."
        size = chat.prompt_tokens + (chat.max_tokens or 0)
        if settings.context is not None and size > settings.context:
            most = f"This model's maximum context length is {settings.context} tokens."
            return "too-long", f"{most} You requested {size} tokens."
        return None

    def _line(self, body: Any) -> Line:
        """Answer one line of a batch: the same answer and the same faults as a call's, without latency and limits."""
        try:
            chat = chats.chat(body)
        except chats.NotAChat as complaint:
            return Line("400", 400, _error("400", str(complaint)).body())
        nth = self.counters.asks(chat.digest)
        if objection := self._objection(chat):
            return Line(objection[0], ERRORS[objection[0]].status, _error(*objection).body())
        good = chats.body(chat, chats.complete(chat, self.settings))
        hit = self._plan.chat(chat.last, chat.digest, Draw(self.settings.seed, chat.digest, nth))
        if hit is None:
            self.counters.asked[chat.digest][1] += 1
            return Line("ok", 200, good)
        if error := ERRORS.get(hit.fault):
            return Line(hit.fault, error.status, error.body())
        if hit.fault in BODIES:
            good = json.dumps(BODIES[hit.fault](json.loads(good))).encode()
        return Line(hit.fault, 200, good)

    def _chat(self, request: Request) -> Decided:
        settings = self.settings
        if self._stranger(request):
            return self._refuse("401", "", request)
        try:
            chat = chats.parse(request.body)
        except chats.NotAChat as error:
            return self._refuse("400", str(error), request)
        nth = self.counters.asks(chat.digest)
        if objection := self._objection(chat):
            return self._refuse(*objection, request)
        authorization = request.headers.get("authorization", "")
        completion = chats.complete(chat, settings, authorization)
        reserved = (chat.max_tokens or 0) if settings.tokens_counted == "reserved" else completion.tokens
        refusal = self._limits.enter(chat.prompt_tokens + reserved)
        headers = b"x-request-id: req_%d\r\n" % self.counters.requests + self._limits.headers()
        if refusal is not None:
            return Decided("limited", self._limited(refusal, headers))
        self.counters.accepted()
        draw = Draw(settings.seed, chat.digest, nth)
        hit = self._plan.chat(chat.last, chat.digest, draw)
        good = chats.escape(chats.body(chat, completion), settings, authorization)
        in_turn = Draw(settings.seed, b"", self.counters.chats) if settings.latency_in_turn else draw
        delay = latency(settings.latency, settings.latency_sigma, in_turn)
        if hit is not None:
            answer = misbehave(hit, good, headers, settings, draw, authorization)
            answer.delay = delay
            return Decided(hit.fault, answer)
        return Decided("ok", Answer(response(200, good, headers), delay=delay), chat.digest)

    def _limited(self, refusal: Refusal, headers: bytes) -> Answer:
        if math.isinf(refusal.wait):
            message = f"Request too large for your limit of {refusal.size} {refusal.what} a minute."
        else:
            message = f"Rate limit reached: {refusal.size} {refusal.what} a minute."
            headers += retry_after(self.settings.retry_after, refusal.wait)
        error = Error(429, refusal.what, "rate_limit_exceeded", message)
        return Answer(error_answer(error, self.settings, headers))

    def _other(self, request: Request) -> Decided:
        """Answer what is no chat; a scripted fault on the wire comes after the effect, any other instead of it."""
        if self._stranger(request):
            return self._refuse("401", "", request)
        digest = hashlib.blake2b(request.path.encode() + b" " + request.body, digest_size=16).digest()
        text = request.body.decode("utf-8", "replace")
        hit = self._plan.scripted(request.method, request.path, text, digest) if self.settings.script else None
        if hit is not None and hit.fault == "ok":
            hit = None
        good = Reply("", 200, b"{}") if hit and hit.fault not in ON_THE_WIRE else self._endpoint(request)
        if hit is None:
            return Decided(good.kind, Answer(response(good.status, good.body, b"", good.content_type)))
        draw = Draw(self.settings.seed, digest, self.counters.requests)
        authorization = request.headers.get("authorization", "")
        return Decided(hit.fault, misbehave(hit, good.body, b"", self.settings, draw, authorization))

    def _endpoint(self, request: Request) -> Reply:
        if request.method == "GET" and request.path == "/v1/models":
            return Reply("models", 200, self._models())
        reply = self._batches.handle(request, self.settings, self.counters)
        return reply or Reply("404-path", 404, ERRORS["404-path"].body())

    def _models(self) -> bytes:
        names = self.settings.models if self.settings.models is not None else ("loopback",)
        data = [{"id": name, "object": "model", "created": chats.CREATED, "owned_by": "loopback"} for name in names]
        return json.dumps({"object": "list", "data": data}).encode()


def _error(kind: str, message: str) -> Error:
    """Return the error of this name, with a message of its own if there is one."""
    error = ERRORS[kind]
    return replace(error, message=message) if message else error
