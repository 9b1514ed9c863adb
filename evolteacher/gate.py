"""Letting calls out: which account's turn, what it may cost, and what its outcome means for the next try."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import replace

from evolteacher.account import Account, Slots
from evolteacher.backend import Backend
from evolteacher.batches import Batcher
from evolteacher.budget import Bought, Hold, Till
from evolteacher.errors import (
    BackendError,
    BadReply,
    BrokenReply,
    CallError,
    FatalError,
    PluginError,
    RateLimited,
    RetryableError,
    Transient,
)
from evolteacher.ledger import OUT
from evolteacher.limits import Limits
from evolteacher.messages import Reply, Request, Usage
from evolteacher.progress import Progress
from evolteacher.record import clean_text
from evolteacher.secrets import hide

CHARACTERS_PER_TOKEN = 4
"""Of English and code on average; a prompt's tokens are estimated so, for limits of tokens a minute."""

Keep = Callable[[Bought], Awaitable[None]]
"""Stores what a call came to."""


class Gate:
    """Lets calls out to the backends of one run.

    Args:
        concurrency: most calls in flight at once.
        limits: the recipe's.
        till: counts what calls cost.
        progress: where calls in flight and retries are counted.
    """

    def __init__(self, concurrency: int, limits: Limits, till: Till, progress: Progress) -> None:
        self.till = till
        self.progress = progress
        self.limits = limits
        self._slots = Slots(concurrency)
        self._accounts: dict[str, Account] = {}
        self._account_of: dict[str, Account] = {}
        self._secrets: tuple[str, ...] = ()

    def register(self, key: str, backend: Backend) -> None:
        """Find the account of one of the recipe's backends, before it is called.

        Backends of one account share its limits; where both name one, the stricter holds.
        """
        name = backend.account()
        rates = self.limits.rates_of(key)
        if name in self._accounts:
            self._accounts[name].tighten(rates)
        else:
            shown = f"'{key}'" if name == backend.identity() else f"'{key}' ({name})"
            self._accounts[name] = Account(f"backend {shown}", rates, self.limits, self._slots, self.progress)
        self._account_of[key] = self._accounts[name]

    def learn_secrets(self, backend: Backend) -> None:
        """Remember what no answer and no error of any backend may show."""
        secrets = {*self._secrets, *backend.secrets()}
        self._secrets = tuple(sorted(secrets, key=len, reverse=True))

    async def call(
        self, key: str, backend: Backend, request: Request, batcher: Batcher | None = None, keep: Keep | None = None
    ) -> Bought:
        """Ask, and ask again after passing faults; a reply's latency is without the time in our own queue.

        A call is in flight, and takes a place among those that may be, until its outcome is stored.

        Args:
            key: of the recipe's backends.
            backend: that one, open.
            request: what to ask.
            batcher: gathers the calls of a backend that takes batches; None where calls go out one by one.
            keep: stores the outcome; None for whoever stores nothing.

        Raises:
            RetryableError: the retries ran out; not a verdict on the request.
            BudgetExceeded: the budget allows no further call.
            FatalError: no request can succeed.
        """
        attempt = 0
        while True:
            try:
                if batcher is not None:
                    return await _kept(await self._batched(key, batcher, request), keep)
                return await self._once(key, backend, request, attempt, keep)
            except RetryableError as error:
                self._scrub(error)
                if attempt >= self.limits.retries:
                    if isinstance(error, BrokenReply):
                        # Each attempt has been counted by itself.
                        bought = Bought(BadReply(f"{error} ({attempt + 1} attempts)"), None, None, None)
                        return await _kept(bought, keep)
                    raise
                # A rate-limit answer pauses the whole account, and this call with it.
                pause = 0.0 if isinstance(error, RateLimited) or batcher else self._account_of[key].backoff(attempt)
            attempt += 1
            self.progress.retries += 1
            if pause:
                await asyncio.sleep(pause)

    async def _once(self, key: str, backend: Backend, request: Request, attempt: int, keep: Keep | None) -> Bought:
        account = self._account_of[key]
        prompt = sum(len(message.content) for message in request.messages) // CHARACTERS_PER_TOKEN
        ticket = await account.enter(prompt, request.sampling.max_tokens)
        hold = None
        try:
            hold = await self.till.reserve(key, request)
            loop = asyncio.get_running_loop()
            started = loop.time()
            reply = await backend.complete(request)
            latency = loop.time() - started
            reply = _sound(reply, key)
        except CallError as error:
            assert hold is not None
            try:
                return await _kept(self._refused(key, error, hold), keep)
            finally:
                account.answered(ticket, error.usage, None)
        except RateLimited as error:
            assert hold is not None
            self.till.unpaid(hold)
            account.limited(ticket, error, attempt)
            raise
        except RetryableError as error:
            assert hold is not None
            self._scrub(error)
            self._count_fault(hold, error)
            account.failed(ticket, error)
            raise
        except BaseException as error:
            account.forget(ticket)
            if hold is not None:
                self._count_fault(hold, error)
            if isinstance(error, BackendError):
                self._scrub(error)
            raise
        try:
            return await _kept(self._sold(key, reply, hold, latency), keep)
        finally:
            account.answered(ticket, reply.usage, reply.limits)

    async def _batched(self, key: str, batcher: Batcher, request: Request) -> Bought:
        hold = await self.till.reserve_batched(key, request, out=batcher.is_out(request))
        try:
            reply = _sound(await batcher.ask(request), key)
        except CallError as error:
            return self._refused(key, error, hold)
        except BaseException as error:
            if isinstance(error, RetryableError):
                self._scrub(error)
                self._count_fault(hold, error)
            elif batcher.is_out(request):
                self.till.unknown(hold, OUT)  # until the next run collects it
            else:
                self.till.unpaid(hold)
            raise
        return self._sold(key, reply, hold)

    def _sold(self, key: str, reply: Reply, hold: Hold, latency: float = 0.0) -> Bought:
        """Take a reply as the outcome; an empty one was paid and is asked for again.

        Args:
            key: of the backend.
            reply: its.
            hold: what was set aside for the call.
            latency: stands in where the backend has measured none.
        """
        cost = self.till.cost(key, reply, hold)
        if not reply.text.strip() and reply.finish_reason == "length":
            # Asked again it would pay for the same once more.
            error = BadReply(
                "the answer is empty and max_tokens are used up, as by hidden reasoning: allow more of them"
            )
            return Bought(error, hold, reply.usage, cost)
        if not reply.text.strip():
            self.till.unknown(hold, "the answer was empty", reply.usage, cost)
            raise BrokenReply("the answer was empty")
        text, model, reason = reply.text, reply.model, reply.finish_reason
        if self._secrets:
            text, model, reason = (hide(part, self._secrets) for part in (text, model, reason))
        sold = Reply(text, reply.usage, reason, model, reply.latency or latency, cost)
        return Bought(sold, hold, reply.usage, cost)

    def _refused(self, key: str, error: CallError, hold: Hold) -> Bought:
        self._scrub(error)
        cost = self.till.cost(key, Reply("", error.usage), hold) if error.usage is not None else None
        return Bought(error, hold, error.usage, cost)

    def _count_fault(self, hold: Hold, error: BaseException) -> None:
        """Count a call that failed: not at all where it was certainly not billed, else at its worst case."""
        if isinstance(error, FatalError | RateLimited) or (isinstance(error, Transient) and error.unpaid):
            self.till.unpaid(hold)
        else:
            why = clean_text(hide(str(error), self._secrets))[0]
            self.till.unknown(hold, why or "given up before the answer came")

    def _scrub(self, error: BackendError) -> None:
        """Take secrets out of a message that will be stored or shown."""
        text = str(error)
        if self._secrets and (hidden := hide(text, self._secrets)) != text:
            error.args = (hidden, *error.args[1:])


async def _kept(bought: Bought, keep: Keep | None) -> Bought:
    if keep is not None:
        await keep(bought)
    return bought


def _sound(reply: Reply, key: str) -> Reply:
    """Return a reply that can be stored: lone surrogates replaced.

    Raises:
        PluginError: a field has not the type that :class:`~evolteacher.messages.Reply` promises.
    """
    if not isinstance(reply, Reply):
        found = type(reply).__name__
        raise PluginError(f"backend '{key}' returned no Reply: {found}; complete() has to return an evolteacher.Reply")
    usage = reply.usage
    promised = {
        "text": isinstance(reply.text, str),
        "finish_reason": isinstance(reply.finish_reason, str),
        "model": isinstance(reply.model, str),
        "usage": isinstance(usage, Usage)
        and all(isinstance(n, int) and 0 <= n < 2**63 for n in (usage.prompt_tokens, usage.completion_tokens)),
        "latency": isinstance(reply.latency, int | float) and math.isfinite(reply.latency),
        "cost": reply.cost is None or (isinstance(reply.cost, int | float) and math.isfinite(reply.cost)),
    }
    for name, kept in promised.items():
        if not kept:
            raise PluginError(f"backend '{key}' gave a Reply whose {name} is {getattr(reply, name)!r}")
    if clean_text(reply.text + reply.model + reply.finish_reason)[1]:
        text, model, reason = (clean_text(part)[0] for part in (reply.text, reply.model, reply.finish_reason))
        return replace(reply, text=text, model=model, finish_reason=reason)
    return reply
