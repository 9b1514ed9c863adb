"""Pace: how many calls or tokens leave in a window of time, and how many were let through lately."""

from __future__ import annotations

import math
from collections import deque

CATCH_UP = 0.1
"""Seconds' worth that may leave together."""

MARGIN = 1.003
"""Windows are held this much longer than the provider's: calls reach it with a delay that differs from call to call."""

TICK = 0.1
"""Seconds: how finely departures are counted."""


class Spent:
    """What one departure took from a window; corrected once the true figure is known."""

    __slots__ = ("at", "units")

    def __init__(self, at: float, units: float) -> None:
        self.at = at
        self.units = units


class Window:
    """A token bucket that lets units leave at a steady pace, and never more than the limit in any window.

    Units are spread evenly; at most a tenth of a second's worth leaves together, which makes up for the event loop
    being late. The start is empty (one call and not a full window's worth), and what left in the last window is
    counted, so that the limit holds in every window and not only on the average.

    Args:
        most: units in any window; below 1 it is one unit in a window that is longer in proportion.
        seconds: the window's length.
    """

    def __init__(self, most: float, seconds: float) -> None:
        self._left: deque[Spent] = deque()
        self._sum = 0.0
        self._next = -math.inf
        self._length = seconds
        self.allow(most)

    def allow(self, most: float) -> None:
        """Change the limit; what has left stays counted."""
        self.most = max(1, math.floor(most))
        self._seconds = (self._length if most >= 1 else self._length / most) * MARGIN
        self._pace = self._seconds / self.most

    def ready(self, units: float, now: float) -> float:
        """Return when so many units may leave; the past where they may leave now."""
        while self._left and self._left[0].at + self._seconds <= now:
            self._sum -= self._left.popleft().units
        excess = self._sum + min(units, self.most) - self.most
        if excess <= 1e-9:
            return self._next
        for spent in self._left:
            excess -= spent.units
            if excess <= 1e-9:
                return max(self._next, spent.at + self._seconds)
        return self._next

    def take(self, units: float, now: float) -> Spent:
        """Let so many units leave now."""
        spent = Spent(now, min(units, self.most))
        self._left.append(spent)
        self._sum += spent.units
        step = spent.units * self._pace
        self._next = max(self._next + step, now - CATCH_UP + step)
        return spent

    def correct(self, spent: Spent, units: float) -> None:
        """Say how many units a departure came to; the difference is given back, or owed."""
        difference = min(units, self.most) - spent.units
        spent.units += difference
        self._next += difference * self._pace
        if self._left and spent.at >= self._left[0].at:
            self._sum += difference


class Tally:
    """Counts what was let through in the last minute, by tenths of a second."""

    def __init__(self) -> None:
        self._ticks: deque[list[int]] = deque()
        self._sum = 0

    def add(self, now: float, number: int = 1) -> None:
        """Count a call that left at a time; ``-1`` takes one back that turned out to be refused."""
        tick = math.floor(now / TICK)
        for entry in reversed(self._ticks):
            if entry[0] <= tick:
                if entry[0] == tick:
                    entry[1] += number
                    self._sum += number
                    return
                break
        if number > 0:
            self._ticks.append([tick, number])
            self._sum += number

    def count(self, now: float) -> int:
        """Return how many were let through in the last minute."""
        self._drop(now)
        return self._sum

    def oldest(self, now: float) -> float | None:
        """Return when the oldest of them left; None where there is none."""
        self._drop(now)
        return next((tick * TICK for tick, number in self._ticks if number), None)

    def _drop(self, now: float) -> None:
        last = math.floor((now - 60.0) / TICK)
        while self._ticks and self._ticks[0][0] < last:
            self._sum -= self._ticks.popleft()[1]
