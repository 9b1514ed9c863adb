"""How calls are let out: concurrency, requests a minute, and retries with jittered exponential backoff."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import replace

from pydantic import BaseModel, ConfigDict, Field

from evolteacher.backend import Backend
from evolteacher.errors import BadReply, BrokenReply, RateLimited, RetryableError
from evolteacher.messages import Reply, Request


class Limits(BaseModel):
    """How hard the backends are pushed; every one of these may change on resume."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    requests_per_minute: float | None = Field(None, gt=0, description="Held with a token bucket; none by default.")
    retries: int = Field(8, ge=0, description="How often a call that met a passing fault is asked again.")
    first_wait: float = Field(1.0, gt=0, description="Seconds before the first retry; doubled each time, with jitter.")
    longest_wait: float = Field(60.0, gt=0, description="Most seconds between two tries.")


class TokenBucket:
    """Lets ``rate`` events a second through, after an empty start of one; waiters are served in order.

    Starting with one token and not with a full bucket keeps the first minute within the limit too.
    """

    def __init__(self, rate: float) -> None:
        self._interval = 1.0 / rate
        self._next = 0.0

    async def take(self) -> None:
        """Wait for one event's turn."""
        now = time.monotonic()
        turn = max(now, self._next)
        self._next = turn + self._interval
        if turn > now:
            await asyncio.sleep(turn - now)


class Gate:
    """Lets calls out to the backends of one run.

    Args:
        concurrency: most calls in flight at once.
        limits: the recipe's.
    """

    def __init__(self, concurrency: int, limits: Limits) -> None:
        self._free = asyncio.Semaphore(concurrency)
        self._limits = limits
        rate = limits.requests_per_minute
        self._bucket = TokenBucket(rate / 60.0) if rate is not None else None
        # Only the length of pauses hangs on it, never what a run yields.
        self._random = random.Random()
        self.in_flight = 0
        self.retries = 0

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
            self.retries += 1
            await asyncio.sleep(pause)

    async def _once(self, backend: Backend, request: Request) -> Reply:
        async with self._free:
            if self._bucket is not None:
                await self._bucket.take()
            self.in_flight += 1
            started = time.perf_counter()
            try:
                reply = await backend.complete(request)
            finally:
                self.in_flight -= 1
        if not reply.text.strip():
            raise BrokenReply("the answer was empty")
        return reply if reply.latency else replace(reply, latency=time.perf_counter() - started)

    def pause(self, attempt: int, error: RetryableError) -> float:
        """Return the seconds to wait before the next try: doubled each time, with full upper-half jitter.

        A provider's Retry-After is a lower bound.
        """
        limits = self._limits
        longest: float = min(limits.longest_wait, limits.first_wait * 2.0 ** min(attempt, 30))
        pause = longest * (0.5 + 0.5 * self._random.random())
        if isinstance(error, RateLimited) and error.retry_after is not None:
            pause = max(pause, error.retry_after)
        return pause
