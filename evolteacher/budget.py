"""The till of a run: what a call may cost is set aside before it leaves, and what it did cost is counted after it.

Every reply counts with its tokens and its cost. A call whose outcome is unknown (given up, cut off, in flight when the
process was killed) may have been billed: it counts at its worst case, in the store's ``charges``. With a budget each
call has its row there while it is in flight; without one only what turned out unknown is written, so that a budget
which is set later counts it too.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from evolteacher.errors import BudgetExceeded, CallError
from evolteacher.ledger import OUT, QUEUED, Ledger
from evolteacher.messages import Reply, Request, Usage
from evolteacher.money import Budget, Price
from evolteacher.progress import Progress

MESSAGE_TOKENS = 16
"""Most tokens that a chat template puts around one message."""

IN_FLIGHT = "in flight"
"""Why a call counts whose reply has not come yet; a row that still says so was left by a process that was killed."""


def worst_case(request: Request) -> Usage:
    """Return the most tokens that a request can come to: a token is at least one byte of UTF-8."""
    prompt = sum(len(message.content.encode("utf-8", "replace")) + MESSAGE_TOKENS for message in request.messages)
    return Usage(prompt, request.sampling.max_tokens)


@dataclass(slots=True)
class Hold:
    """What is set aside for one call. Its worst case is worked out when somebody asks: without a budget few do.

    Attributes:
        backend: key of the recipe's backend.
        request: what is asked.
        price: of the backend, where one is known.
        row: in ``charges``; None while none is written.
    """

    backend: str
    request: Request
    price: Price | None
    row: int | None = None
    _worst: Usage | None = None

    @property
    def slot(self) -> str:
        """Of the request."""
        return self.request.slot

    @property
    def worst(self) -> Usage:
        """The most tokens that the call can come to."""
        if self._worst is None:
            self._worst = worst_case(self.request)
        return self._worst

    @property
    def tokens(self) -> int:
        """At the worst."""
        return self.worst.total_tokens

    @property
    def usd(self) -> float:
        """At the worst; 0 where no price is known."""
        return self.price.cost(self.worst) if self.price is not None else 0.0


@dataclass(frozen=True, slots=True)
class Bought:
    """A call whose outcome is final; whoever stores it settles it with the till.

    Attributes:
        outcome: the reply, with its cost, or the backend's last word on the request.
        hold: what was set aside for it; None where every attempt has been counted already.
        usage: tokens that were billed; None where nothing was.
        cost: US dollars; None where no price is known.
    """

    outcome: Reply | CallError
    hold: Hold | None
    usage: Usage | None
    cost: float | None


class Till:
    """Counts what a folder pays, and lets no call leave that could break its budget.

    Args:
        ledger: the folder's.
        budget: of the recipe; None where there is none.
        given: the recipe's prices, by backend key.
        known: the backends' own prices, by backend key.
        progress: told what is spent.

    Attributes:
        ledger: where what is paid without a reply is written.
        exhausted: why no call may leave any more; empty while one may.
        needed: ``usd`` and ``tokens`` of the least budget in which the call would have fitted for which none was left;
            empty while one may leave.
    """

    def __init__(
        self,
        ledger: Ledger,
        budget: Budget | None,
        given: dict[str, Price],
        known: dict[str, Price],
        progress: Progress,
    ) -> None:
        self.exhausted = ""
        self.needed: dict[str, float] = {}
        self._given = given
        self._prices = {**known, **given}
        self.ledger = ledger
        self._budget = budget
        self._progress = progress
        self._held_usd, self._held_tokens, self._holds = 0.0, 0, 0
        self._waiting: list[asyncio.Future[None]] = []
        ledger.end_charges(IN_FLIGHT, "the process was killed")
        self._submitted = ledger.submitted_charges()
        self._usd, self._tokens = ledger.paid(self._prices)
        self._show()

    async def reserve(self, backend: str, request: Request) -> Hold:
        """Set the worst case of a call aside; wait for calls in flight to settle where it does not fit beside them.

        Raises:
            BudgetExceeded: it does not fit, and nothing is in flight that could give anything back.
        """
        return await self._reserve(self._hold(backend, request), IN_FLIGHT)

    async def reserve_batched(self, backend: str, request: Request, *, out: bool) -> Hold:
        """Do the same for a call that goes out in a provider batch; one that is ``out`` already is paid, fit or not.

        Raises:
            BudgetExceeded: it is not out, it does not fit, and nothing is in flight that could give anything back.
        """
        hold = self._hold(backend, request)
        left = self._submitted.pop((backend, request.slot), None)
        if left is not None:
            self._usd -= left.usd
            self._tokens -= left.tokens
            if out:
                hold.row = left.row
            else:  # the provider never got the batch, or left the call unanswered
                self.ledger.remove_charge(left.row)
        if not out:
            return await self._reserve(hold, QUEUED)
        if self._budget is not None:
            self._set_aside(hold, OUT)
        return hold

    def _hold(self, backend: str, request: Request) -> Hold:
        return Hold(backend, request, self._prices.get(backend))

    async def _reserve(self, hold: Hold, why: str) -> Hold:
        if self._budget is None:
            return hold
        while not self._fits(hold):
            if self.exhausted or not self._holds:
                self._exhaust(hold)
                raise BudgetExceeded(self.exhausted)
            waiting = asyncio.get_running_loop().create_future()
            self._waiting.append(waiting)
            await waiting
        self._set_aside(hold, why)
        return hold

    def _set_aside(self, hold: Hold, why: str) -> None:
        self._held_usd += hold.usd
        self._held_tokens += hold.tokens
        self._holds += 1
        if hold.row is None:
            hold.row = self.ledger.add_charge(hold.backend, hold.slot, hold.tokens, hold.usd, why)

    def _fits(self, hold: Hold) -> bool:
        assert self._budget is not None
        if self.exhausted:
            return False
        usd, tokens = self._budget.usd, self._budget.tokens
        if usd is not None and self._usd + self._held_usd + hold.usd > usd:
            return False
        return tokens is None or self._tokens + self._held_tokens + hold.tokens <= tokens

    def _exhaust(self, hold: Hold) -> None:
        if self.exhausted:
            return
        assert self._budget is not None
        parts = []
        if self._budget.usd is not None:
            parts.append(
                f"${self._usd:,.4f} of ${self._budget.usd:,.4f}, and the next call could cost ${hold.usd:,.4f}"
            )
        if self._budget.tokens is not None:
            parts.append(
                f"{self._tokens:,} of {self._budget.tokens:,} tokens, and the next call could take {hold.tokens:,}"
            )
        self.needed = {"usd": self._usd + hold.usd, "tokens": self._tokens + hold.tokens}
        self.exhausted = f"the budget is spent: {'; '.join(parts)}"
        self._wake()

    def cost(self, backend: str, reply: Reply, hold: Hold) -> float | None:
        """Return the US dollars of a reply; None where no price is known.

        The recipe's price wins over the provider's own word, and that over the backend's price list. Where no tokens
        are told, it is the worst case.
        """
        price = self._prices.get(backend)
        if reply.cost is not None and backend not in self._given:
            return reply.cost
        if price is None:
            return None
        return price.cost(reply.usage) if reply.usage.total_tokens else hold.usd

    def settle(self, bought: Bought) -> None:
        """Count a call whose outcome has been stored, in place of its row in ``charges``."""
        if bought.hold is None:
            return
        if bought.usage is not None:
            self._usd += bought.cost or 0.0
            self._tokens += bought.usage.total_tokens or bought.hold.tokens
        self._release(bought.hold)

    def unpaid(self, hold: Hold) -> None:
        """Give back what was set aside for a call that the provider did not bill."""
        if hold.row is not None:
            self.ledger.remove_charge(hold.row)
        self._release(hold)

    def unknown(self, hold: Hold, why: str, usage: Usage | None = None, usd: float | None = None) -> None:
        """Count a call that leaves no reply and may have been billed: at its worst case, or at what it came to."""
        tokens = usage.total_tokens if usage is not None and usage.total_tokens else hold.tokens
        cost = usd if usd is not None else hold.usd
        if hold.row is None:
            self.ledger.add_charge(hold.backend, hold.slot, tokens, cost, why)
        else:
            self.ledger.change_charge(hold.row, tokens, cost, why)
        self._usd += cost
        self._tokens += tokens
        self._release(hold)

    def _release(self, hold: Hold) -> None:
        if self._budget is not None:
            self._held_usd -= hold.usd
            self._held_tokens -= hold.tokens
            self._holds -= 1
            if not self._holds:
                self._held_usd = 0.0  # what rounding left over
            self._wake()
        self._show()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    def _show(self) -> None:
        if self._budget is not None:
            self._progress.spent = (self._usd, self._tokens)
