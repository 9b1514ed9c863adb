"""What the limits of one provider allow: the recipe's, those that its answers tell, and one learned from refusals.

Where a limit is given it holds; where it is not, what headers tell does; and where nothing is told, what was let
through in the last minute is taken for it, once a refusal has shown that there is one.
"""

from __future__ import annotations

import math

from evolteacher.limits import Rates
from evolteacher.messages import RateLimits
from evolteacher.pace import MARGIN, TICK, Spent, Tally, Window

MINUTE = 60.0

PROBE_GROWTH = 1.01
PROBE_SECONDS = 15.0
"""A limit that was learned from refusals is raised by a hundredth after so many quiet seconds, doubled with each
refusal that follows from it."""


class Allowance:
    """Counts what leaves to one provider, and says when more may.

    Args:
        rates: given in the recipe.
    """

    def __init__(self, rates: Rates) -> None:
        self._rates = Rates()
        self.tighten(rates)
        self._told: dict[str, Window] = {}
        self._learned: Window | None = None
        self._learned_rate = 0.0
        self._raise_at = self._raise_after = 0.0
        self._tally = Tally()
        self._begun: float | None = None

    def tighten(self, rates: Rates) -> None:
        """Hold another backend's limits too, before any call has left."""
        self._rates = rates = self._rates.within(rates)
        self._requests = _windows((rates.requests_per_minute, MINUTE), (rates.requests_per_second, 1.0))
        self._tokens = _windows((rates.tokens_per_minute, MINUTE), (rates.tokens_per_second, 1.0))

    def ready(self, tokens: int, now: float) -> float:
        """Return when a call of so many tokens may leave; the past where it may leave now."""
        when = -math.inf
        for window in self._requests:
            when = max(when, window.ready(1, now))
        for window in self._tokens:
            when = max(when, window.ready(tokens, now))
        return when

    def take(self, tokens: int, now: float) -> list[tuple[Window, Spent]]:
        """Let a call leave; return what it took from windows that count tokens, for them to be corrected."""
        if self._begun is None:
            self._begun = now
        if self._learned is not None and now >= self._raise_at:
            self._raise(self._learned, now)
        for window in self._requests:
            window.take(1, now)
        self._tally.add(now)
        return [(window, window.take(tokens, now)) for window in self._tokens]

    def refuse(self, at: float) -> None:
        """Take a call that left at a time out of what was let through."""
        self._tally.add(at, -1)

    def free_at(self, now: float) -> float:
        """Return when the oldest of what was let through lately no longer counts; infinity where nothing was."""
        oldest = self._tally.oldest(now)
        return math.inf if oldest is None else oldest + MINUTE * MARGIN + TICK

    def adopt(self, told: RateLimits, now: float) -> None:
        """Hold the limits that headers tell, where the recipe gives none."""
        for name, windows in (("requests_per_minute", self._requests), ("tokens_per_minute", self._tokens)):
            rate = getattr(told, name)
            if rate is None or getattr(self._rates, name) is not None:
                continue
            if name not in self._told:
                window = self._told[name] = Window(rate, MINUTE)
                windows.append(window)
                if name == "requests_per_minute":
                    self._count_past(window, now)
                    self._unlearn()
            elif rate != self._told[name].most:
                self._told[name].allow(rate)

    def learn(self, now: float, flying: int) -> None:
        """Take what was let through in the last minute for the limit, where nobody told it.

        Only after a whole minute: what a burst at the start came to says nothing about a minute.

        Args:
            now: the time.
            flying: calls of which it is not known yet whether they were let through.
        """
        told = self._rates.requests_per_minute is not None or "requests_per_minute" in self._told
        if told or self._begun is None or now - self._begun < MINUTE:
            return
        rate = max(1, self._tally.count(now) - flying)
        if self._learned is None:
            self._learned = Window(rate, MINUTE)
            self._requests.append(self._learned)
            self._count_past(self._learned, now)
            self._raise_after = PROBE_SECONDS
        else:
            self._learned.allow(rate)
            self._raise_after = min(self._raise_after * 2, 20 * MINUTE)
        self._learned_rate = rate
        self._raise_at = now + self._raise_after

    def _raise(self, learned: Window, now: float) -> None:
        self._learned_rate = max(self._learned_rate + 1, self._learned_rate * PROBE_GROWTH)
        learned.allow(self._learned_rate)
        self._raise_at = now + self._raise_after

    def _unlearn(self) -> None:
        if self._learned is not None:
            self._requests.remove(self._learned)
            self._learned = None

    def _count_past(self, window: Window, now: float) -> None:
        """Let a window know of what left before it was there."""
        for _ in range(min(self._tally.count(now), window.most)):
            window.take(1, now)


def _windows(*given: tuple[float | None, float]) -> list[Window]:
    return [Window(most, seconds) for most, seconds in given if most is not None]
