"""How calls are let out: concurrency, requests a minute, and retries with jittered exponential backoff."""

from __future__ import annotations

import asyncio
import math
import random
from collections import deque
from dataclasses import replace

from pydantic import BaseModel, ConfigDict, Field

from evolteacher.backend import Backend
from evolteacher.errors import BadReply, BrokenReply, PluginError, RateLimited, RetryableError
from evolteacher.messages import Reply, Request
from evolteacher.progress import Progress

_CATCH_UP = 0.1
"""Seconds' worth of calls that may leave together."""


class Limits(BaseModel):
    """How hard the backends are pushed; every one of these may change on resume."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    requests_per_minute: float | None = Field(None, gt=0, description="Held with a token bucket; none by default.")
    retries: int = Field(8, ge=0, description="How often a call that met a passing fault is asked again.")
    first_wait: float = Field(1.0, gt=0, description="Seconds before the first retry; doubled each time, with jitter.")
    longest_wait: float = Field(
        60.0, gt=0, description="Most seconds between two tries, unless the provider asks for more."
    )


class TokenBucket:
    """Lets calls leave at a steady pace, and never more than the limit in any minute.

    Calls are spread evenly; at most a tenth of a second's worth leaves together, which makes up for the event loop
    being late. The start is empty (one call and not a full minute's worth), and the departures of the last minute are
    counted, so that the limit holds in every window and not only on the average. Waiters leave in the order they came;
    one that is cancelled gives its turn to the next.

    Args:
        per_minute: the limit; below 1 it is one call in so many minutes.
    """

    def __init__(self, per_minute: float) -> None:
        self._most = max(1, math.floor(per_minute))
        self._window = 60.0 if per_minute >= 1 else 60.0 / per_minute
        self._pace = self._window / self._most
        self._next = -math.inf
        self._left: deque[float] = deque(maxlen=self._most)
        self._turn = asyncio.Lock()

    async def take(self) -> None:
        """Wait for one call's turn."""
        loop = asyncio.get_running_loop()
        async with self._turn:
            while (wait := self._ready() - loop.time()) > 0:
                await asyncio.sleep(wait)
            now = loop.time()
            self._left.append(now)
            self._next = max(self._next + self._pace, now - _CATCH_UP + self._pace)

    def _ready(self) -> float:
        """When the next call may leave, on the event loop's clock."""
        full = len(self._left) == self._most
        return max(self._next, self._left[0] + self._window if full else -math.inf)


class Gate:
    """Lets calls out to the backends of one run.

    Args:
        concurrency: most calls in flight at once.
        limits: the recipe's.
        progress: where calls in flight and retries are counted.
    """

    def __init__(self, concurrency: int, limits: Limits, progress: Progress | None = None) -> None:
        self._free = asyncio.Semaphore(concurrency)
        self._limits = limits
        rate = limits.requests_per_minute
        self._bucket = TokenBucket(rate) if rate is not None else None
        # Only the length of pauses hangs on it, never what a run yields.
        self._random = random.Random()
        self.progress = progress or Progress()

    async def call(self, backend: Backend, request: Request) -> Reply:
        """Ask, and ask again after passing faults; the reply's latency is without the time in our own queue.

        Raises:
            RetryableError: the retries ran out; not a verdict on the request.
            BadReply: the retries ran out on empty or broken bodies.
            CallError: the backend's last word on this request.
            FatalError: no request can succeed.
        """
        attempt = 0
        while True:
            try:
                return await self._once(backend, request)
            except RetryableError as error:
                if attempt >= self._limits.retries:
                    if isinstance(error, BrokenReply):
                        raise BadReply(f"{error} ({attempt + 1} attempts)") from error
                    raise
                pause = self.pause(attempt, error)
            attempt += 1
            self.progress.retries += 1
            await asyncio.sleep(pause)

    async def _once(self, backend: Backend, request: Request) -> Reply:
        async with self._free:
            # A slot first and then a turn: a turn that waited for a slot would leave late, together with others. While
            # calls wait here the pace is the limit, so the slots that they hold cost nothing.
            if self._bucket is not None:
                await self._bucket.take()
            self.progress.in_flight += 1
            loop = asyncio.get_running_loop()
            started = loop.time()
            try:
                reply = await backend.complete(request)
            finally:
                self.progress.in_flight -= 1
            latency = loop.time() - started
        if not isinstance(reply, Reply) or not isinstance(reply.text, str):
            raise PluginError(f"backend '{backend.name}' returned no Reply with a text: {type(reply).__name__}")
        if not reply.text.strip():
            raise BrokenReply("the answer was empty")
        return reply if reply.latency else replace(reply, latency=latency)

    def pause(self, attempt: int, error: RetryableError) -> float:
        """Return the seconds to wait before the next try: doubled each time, with full upper-half jitter.

        A provider's Retry-After is a lower bound.
        """
        limits = self._limits
        longest: float = min(limits.longest_wait, limits.first_wait * 2.0 ** min(attempt, 30))
        pause = longest * (0.5 + 0.5 * self._random.random())
        asked = error.retry_after if isinstance(error, RateLimited) else None
        return max(pause, asked) if asked is not None and math.isfinite(asked) else pause
