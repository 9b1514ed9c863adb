"""One provider as one key sees it: its pace, how many calls fly at once, and what happens when it says no.

Waiting calls stand in one line. The first leaves when there is a free slot, when each limit allows it, and when no
pause is on. A pause begins with a rate-limit answer, or where the provider answers nothing at all; it ends with one
call that goes ahead of the others and is answered.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections import deque
from dataclasses import dataclass, field
from typing import NoReturn

from evolteacher.allowance import Allowance
from evolteacher.errors import FatalError, RateLimited, RetryableError
from evolteacher.limits import Limits, Rates
from evolteacher.messages import RateLimits, Usage
from evolteacher.pace import Spent, Window
from evolteacher.progress import Progress

CUT = 0.5
"""What a rate-limit answer leaves of the calls in flight: the multiplicative decrease of AIMD (as in TCP, RFC 5681)."""

DOWN_FAILURES = 10
DOWN_SECONDS = 10.0
"""A provider counts as down after so many failures without an answer between them, over so many seconds."""

SLOWER = 3
"""Pauses without a word from the provider grow with each refusal, yet not faster than this ahead of the single call's
tries: a few calls that are refused for what they are must not hold up all others."""

DOWN_STREAK = 2
"""The first pause of a provider that is down is ``first_wait`` doubled so often."""

MEAN_OF = 50
"""Answers over which the tokens of an answer are averaged."""


class Slots:
    """The calls in flight of a whole run: never more than the recipe's ``concurrency``.

    Attributes:
        most: at once.
        taken: now.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.taken = 0
        self.accounts: list[Account] = []

    def give_back(self, account: Account) -> None:
        """Free one; the accounts that share the slots take it in turn."""
        self.taken -= 1
        if len(self.accounts) > 1:
            self.accounts.remove(account)
            self.accounts.append(account)
        for waiting in self.accounts:
            waiting.pump()


@dataclass(slots=True)
class Ticket:
    """One call that has left.

    Attributes:
        at: when, on the event loop's clock.
        probe: it goes ahead of the others to see whether a pause is over.
        spent: what it took from windows that count tokens.
    """

    at: float
    probe: bool = False
    spent: list[tuple[Window, Spent]] = field(default_factory=list)


class Account:
    """Lets calls out to one provider.

    Args:
        name: what the limits hang on, for messages.
        rates: given in the recipe.
        limits: the recipe's.
        slots: shared by all accounts of a run.
        progress: where calls in flight and trouble are told.
    """

    def __init__(self, name: str, rates: Rates, limits: Limits, slots: Slots, progress: Progress) -> None:
        self.name = name
        self.limits = limits
        self.allowed: float = slots.most
        self._slots = slots
        self._progress = progress
        self._least = min(limits.least_concurrency, slots.most)
        self._threshold: float = slots.most
        self._line: deque[tuple[int, asyncio.Future[Ticket]]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._flying = 0
        self._allowance = Allowance(rates)
        self._mean_tokens: float | None = None
        self._answers = 0
        self._pause_began = -math.inf
        self._pause_until = -math.inf
        self._paused = self._probing = False
        self._streak = 0
        self._failures = 0
        self._failing_since = 0.0
        self.down = False
        # Only the length of pauses hangs on it, never what a run yields.
        self._random = random.Random()
        slots.accounts.append(self)

    def tighten(self, rates: Rates) -> None:
        """Hold another backend's limits too, before any call has left."""
        self._allowance.tighten(rates)

    async def enter(self, prompt_tokens: int, max_tokens: int) -> Ticket:
        """Wait for this call's turn; the call has left when this returns.

        Args:
            prompt_tokens: an estimate.
            max_tokens: most tokens of the answer.
        """
        loop = asyncio.get_running_loop()
        tokens = prompt_tokens + (max_tokens if self._mean_tokens is None else min(max_tokens, int(self._mean_tokens)))
        if not self._line:
            now = loop.time()
            when = self._ready(tokens, now)
            if when is not None and when <= now:
                return self._depart(tokens, now)
        waiting: asyncio.Future[Ticket] = loop.create_future()
        self._line.append((tokens, waiting))
        self.pump()
        try:
            return await waiting
        except asyncio.CancelledError:
            if waiting.done() and not waiting.cancelled():
                self.forget(waiting.result())
            else:
                self.pump()  # the one behind it in the line may be ready
            raise

    def pump(self) -> None:
        """Let out of the line whoever may leave now, and look again when the next may."""
        line = self._line
        if not line:
            return
        loop = asyncio.get_running_loop()
        now = loop.time()
        while line:
            tokens, waiting = line[0]
            if waiting.done():
                line.popleft()
                continue
            when = self._ready(tokens, now)
            if when is None:
                return
            if when > now:
                self._look_again(loop, when)
                return
            line.popleft()
            waiting.set_result(self._depart(tokens, now))

    def _look_again(self, loop: asyncio.AbstractEventLoop, when: float) -> None:
        if self._timer is not None:
            if not self._timer.cancelled() and self._timer.when() <= when:
                return
            self._timer.cancel()
        self._timer = loop.call_at(when, self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        self.pump()

    def _ready(self, tokens: int, now: float) -> float | None:
        """Return when the next call may leave; None while it waits for another's return."""
        if self._slots.taken >= self._slots.most:
            return None
        when = now
        if self._paused:
            # One goes ahead when the pause is over; those that left before it are no word on whether it is.
            if self._probing:
                return None
            when = self._pause_until
        elif self._flying >= math.floor(self.allowed):
            return None
        return max(when, self._allowance.ready(tokens, now))

    def _depart(self, tokens: int, now: float) -> Ticket:
        self._slots.taken += 1
        self._flying += 1
        self._progress.in_flight += 1
        self._probing = self._paused
        return Ticket(now, self._paused, self._allowance.take(tokens, now))

    def _return(self, ticket: Ticket) -> None:
        self._flying -= 1
        self._progress.in_flight -= 1
        if ticket.probe:
            self._probing = False
        self._slots.give_back(self)

    def forget(self, ticket: Ticket) -> None:
        """Take a call back of whose outcome nothing is known: it was given up."""
        self._return(ticket)

    def answered(self, ticket: Ticket, usage: Usage | None, told: RateLimits | None) -> None:
        """Take a call back that the provider answered, be it with a refusal of its own.

        Args:
            ticket: the call's.
            usage: tokens that it came to, where that is known.
            told: the limits that the answer told.
        """
        if self._paused and (ticket.probe or self.down):
            self._paused = False
            self._streak = 0
        if self._failures:
            self._failures, self.down = 0, False
            self._progress.trouble.pop(self.name, None)
        if self.allowed < self._slots.most:
            more = 1.0 if self.allowed < self._threshold else 1 / self.allowed
            self.allowed = min(self._slots.most, self.allowed + more)
        if usage is not None and usage.total_tokens:
            for window, spent in ticket.spent:
                window.correct(spent, usage.total_tokens)
            self._answers = min(MEAN_OF, self._answers + 1)
            mean = self._mean_tokens if self._mean_tokens is not None else float(usage.completion_tokens)
            self._mean_tokens = mean + (usage.completion_tokens - mean) / self._answers
        if told is not None:
            self._allowance.adopt(told, asyncio.get_running_loop().time())
        self._return(ticket)

    def limited(self, ticket: Ticket, error: RateLimited, attempt: int) -> None:
        """Take a call back that was refused for its pace; ``attempt`` is how often it had been asked before.

        Raises:
            FatalError: the provider asks to wait longer than a run waits.
        """
        now = asyncio.get_running_loop().time()
        self._allowance.refuse(ticket.at)
        for window, spent in ticket.spent:
            window.correct(spent, 0)
        if error.limits is not None:
            self._allowance.adopt(error.limits, now)
        if ticket.at >= self._pause_began and (ticket.probe or not self._paused):
            if not self._paused:
                self._threshold = self.allowed = max(self._least, min(self.allowed, self._flying) * CUT)
                self._allowance.learn(now, self._flying)
            self._streak += 1
            self._begin_pause(now, self._refused_for(now, error, attempt))
        elif error.retry_after is not None and math.isfinite(error.retry_after):
            self._pause_until = max(self._pause_until, now + error.retry_after)
        self._return(ticket)
        wait = self._pause_until - now
        if wait > self.limits.give_up:
            raise FatalError(
                f"{self.name} asks to wait {wait / 60:,.0f} minutes: {error}. What was answered is stored; the same "
                "command goes on (`limits.give_up` says how long a run waits)"
            )

    def _begin_pause(self, now: float, seconds: float) -> None:
        self._paused = True
        self._pause_began = now
        self._pause_until = now + seconds
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refused_for(self, now: float, error: RateLimited, attempt: int) -> float:
        """Return the length of a pause: what the provider asks for, else a guess that grows.

        Most limits count the last minute. Where so much left in it that this may be why, the pause ends when the
        oldest of it no longer counts.
        """
        asked = error.retry_after
        if asked is not None and math.isfinite(asked) and asked > 0:
            return asked
        guess = self.backoff(min(self._streak - 1, attempt + SLOWER))
        free = self._allowance.free_at(now) - now
        return min(guess, free) if free > 0 else guess

    def backoff(self, attempt: int) -> float:
        """Return seconds to wait: ``first_wait``, doubled each time up to ``longest_wait``, with upper-half jitter."""
        limits = self.limits
        longest: float = min(limits.longest_wait, limits.first_wait * 2.0 ** min(attempt, 30))
        return longest * (0.5 + 0.5 * self._random.random())

    def failed(self, ticket: Ticket, error: RetryableError) -> None:
        """Take a call back that met a passing fault; where nothing at all is answered, the account pauses.

        Raises:
            FatalError: nothing was answered for too long.
        """
        now = asyncio.get_running_loop().time()
        if not self._failures:
            self._failing_since = ticket.at
        self._failures += 1
        silent = now - self._failing_since
        if self.down and silent >= self.limits.give_up:
            self._return(ticket)
            self._give_up(silent, error)
        opens = not self.down and self._failures >= DOWN_FAILURES and silent >= DOWN_SECONDS
        if opens or ticket.probe:
            self.down = self.down or opens
            self._streak = DOWN_STREAK if opens else self._streak + 1
            self._begin_pause(now, self.backoff(self._streak))
        if self.down:
            self._progress.trouble[self.name] = (
                f"{self.name} has answered nothing for {silent:,.0f} s ({error}). One call at a time asks whether it "
                f"is back; after {self.limits.give_up:,.0f} s the run stops"
            )
        self._return(ticket)

    def _give_up(self, silent: float, error: RetryableError) -> NoReturn:
        raise FatalError(
            f"{self.name} has answered nothing for {silent:,.0f} s. The last it said: {error}. Look whether the "
            "provider is up and the address is right; what was answered is stored, and the same command goes on "
            "(`limits.give_up` says how long a run waits)"
        ) from None
