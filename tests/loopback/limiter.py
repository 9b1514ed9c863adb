"""Rate limits as providers hold them: a sliding window, or a token bucket with continuous refill."""

from __future__ import annotations

import math
import time
from collections import deque
from dataclasses import dataclass
from email.utils import formatdate
from typing import Protocol

from loopback.settings import RetryAfter, Settings


class Limit(Protocol):
    """A limit on something countable, requests or tokens. Times are seconds of one monotonic clock."""

    size: int

    def wait(self, now: float, amount: int) -> float:
        """Return the seconds until ``amount`` more would be let in: 0 for now, infinity for never."""
        ...

    def take(self, now: float, amount: int) -> None:
        """Count ``amount`` as let in."""
        ...

    def remaining(self, now: float) -> int:
        """Return how much would be let in now."""
        ...

    def reset(self, now: float) -> float:
        """Return the seconds until all of it is free again, if nothing more comes."""
        ...


class SlidingWindow:
    """No more than ``size`` within any ``window`` seconds."""

    def __init__(self, size: int, window: float) -> None:
        self.size = size
        self.window = window
        self._taken: deque[tuple[float, int]] = deque()
        self._sum = 0

    def _forget(self, now: float) -> None:
        while self._taken and self._taken[0][0] + self.window <= now:
            self._sum -= self._taken.popleft()[1]

    def wait(self, now: float, amount: int) -> float:
        self._forget(now)
        over = self._sum + amount - self.size
        if over <= 0:
            return 0.0
        for moment, taken in self._taken:
            over -= taken
            if over <= 0:
                return moment + self.window - now
        return math.inf

    def take(self, now: float, amount: int) -> None:
        self._taken.append((now, amount))
        self._sum += amount

    def remaining(self, now: float) -> int:
        self._forget(now)
        return max(0, self.size - self._sum)

    def reset(self, now: float) -> float:
        self._forget(now)
        return self._taken[-1][0] + self.window - now if self._taken else 0.0


class Bucket:
    """Full at ``burst``; refilled without pause, ``size`` in ``window`` seconds."""

    def __init__(self, size: int, window: float, burst: int) -> None:
        self.size = size
        self.rate = size / window
        self.burst = float(burst)
        self._level = float(burst)
        self._at = -math.inf

    def _refill(self, now: float) -> None:
        self._level = min(self.burst, self._level + (now - self._at) * self.rate)
        self._at = now

    def wait(self, now: float, amount: int) -> float:
        self._refill(now)
        if amount > self.burst:
            return math.inf
        return max(0.0, (amount - self._level) / self.rate)

    def take(self, now: float, amount: int) -> None:
        self._level -= amount

    def remaining(self, now: float) -> int:
        self._refill(now)
        return int(self._level)

    def reset(self, now: float) -> float:
        self._refill(now)
        return (self.burst - self._level) / self.rate


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request may not enter: which limit, and the seconds to wait (infinity: it never fits)."""

    what: str
    size: int
    wait: float


class Limits:
    """The limits of one provider, by the settings; changing them keeps what was let in."""

    def __init__(self, settings: Settings) -> None:
        self._limits: dict[str, Limit] = {}
        self._made_for: dict[str, tuple[object, ...]] = {}
        self.change(settings)

    def change(self, settings: Settings) -> None:
        """Hold to these settings from now on."""
        self.tell = settings.tell
        for what, size in (("requests", settings.requests_per_minute), ("tokens", settings.tokens_per_minute)):
            if size is None:
                self._limits.pop(what, None)
                self._made_for.pop(what, None)
                continue
            there = self._limits.get(what)
            if isinstance(there, SlidingWindow) and settings.limiter == "sliding":
                there.size, there.window = size, settings.window
                continue
            made_for = (size, settings.limiter, settings.window, settings.burst, settings.requests_per_minute)
            if self._made_for.get(what) != made_for:
                self._limits[what] = _limit(what, size, settings)
                self._made_for[what] = made_for

    def enter(self, tokens: int) -> Refusal | None:
        """Let a request in, or say why not; a refused one takes nothing."""
        if not self._limits:
            return None
        now = time.monotonic()
        amounts = {"requests": 1, "tokens": tokens}
        for what, limit in self._limits.items():
            if wait := limit.wait(now, amounts[what]):
                return Refusal(what, limit.size, wait)
        for what, limit in self._limits.items():
            limit.take(now, amounts[what])
        return None

    def headers(self) -> bytes:
        """Return the x-ratelimit header lines, as OpenAI writes them; none when the provider does not tell."""
        if not self.tell:
            return b""
        now = time.monotonic()
        lines = []
        for what, limit in self._limits.items():
            lines.append(f"x-ratelimit-limit-{what}: {limit.size}\r\n")
            lines.append(f"x-ratelimit-remaining-{what}: {limit.remaining(now)}\r\n")
            lines.append(f"x-ratelimit-reset-{what}: {go_duration(limit.reset(now))}\r\n")
        return "".join(lines).encode()


def _limit(what: str, size: int, settings: Settings) -> Limit:
    if settings.limiter == "sliding":
        return SlidingWindow(size, settings.window)
    burst = settings.burst
    if what == "tokens":
        burst = max(1, size * burst // settings.requests_per_minute) if settings.requests_per_minute else size
    return Bucket(size, settings.window, burst)


def go_duration(seconds: float) -> str:
    """Write a duration as Go does, to the millisecond: ``120ms``, ``59.5s``, ``1m2s``, ``2h0m3s``."""
    thousandths = math.ceil(seconds * 1000)
    if thousandths < 1000:
        return f"{thousandths}ms"
    minutes, rest = divmod(thousandths, 60_000)
    text = f"{rest / 1000:.3f}".rstrip("0").rstrip(".") + "s"
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text


def retry_after(form: RetryAfter, seconds: float) -> bytes:
    """Return the header line that says when to come back, never too early; none for a wait without end."""
    if form == "none" or math.isinf(seconds):
        return b""
    if form == "milliseconds":
        return b"retry-after-ms: %d\r\n" % math.ceil(seconds * 1000)
    if form == "date":
        return f"Retry-After: {formatdate(math.ceil(time.time() + seconds), usegmt=True)}\r\n".encode()
    return b"Retry-After: %d\r\n" % math.ceil(seconds)
