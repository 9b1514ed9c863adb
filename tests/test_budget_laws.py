"""The law of a budget, in virtual time: what was billed and what may yet be never come to more, whatever happens."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import PrivateAttr
from test_limits import limits, run

import evolteacher as et
from evolteacher import errors
from evolteacher.budget import Till, worst_case
from evolteacher.gate import Gate
from evolteacher.ledger import Ledger
from evolteacher.money import Budget
from evolteacher.progress import Progress
from evolteacher.store import Store

PRICE = et.Price(input=10.0, output=30.0)
MOST_TOKENS = 50
OUTCOMES = ("answered", "unpriced", "empty", "refused", "too long", "429", "500", "cut")


class Billing(et.Backend, name="billing"):
    """A provider with a bill: does what the script says, and adds up what it may ask money for."""

    script: tuple = ()
    _bill: list = PrivateAttr(default_factory=list)
    _flying: dict = PrivateAttr(default_factory=dict)
    _seen: list = PrivateAttr(default_factory=list)

    async def complete(self, request):
        number = len(self._seen)
        outcome, seconds, completion = self.script[number % len(self.script)]
        worst = worst_case(request)
        self._flying[number] = worst
        self._seen.append((outcome, self.usd(), self.tokens()))
        billed = worst
        try:
            await asyncio.sleep(seconds)
            billed = None
            usage = et.Usage(min(len(request.text), worst.prompt_tokens), completion)
            if outcome == "429":
                raise errors.RateLimited("slow down", 1.0)
            if outcome == "500":
                raise errors.Transient("500", unpaid=True)
            if outcome == "too long":
                raise errors.TooLong("too long")
            if outcome == "cut":
                billed = worst
                raise errors.Transient("cut")
            billed = worst if outcome == "unpriced" else usage
            if outcome == "refused":
                raise errors.Refused("no", usage)
            return et.Reply("" if outcome == "empty" else "fine", et.Usage() if outcome == "unpriced" else usage)
        finally:
            del self._flying[number]
            self._bill += [billed] if billed is not None else []

    def usd(self):
        return sum(PRICE.cost(usage) for usage in (*self._bill, *self._flying.values()))

    def tokens(self):
        return sum(usage.total_tokens for usage in (*self._bill, *self._flying.values()))


calls = st.lists(st.tuples(st.integers(0, 60), st.none() | st.floats(0, 6)), min_size=1, max_size=25)
"""Of each call: the length of its prompt, and after how many seconds it is given up, if it is."""


@settings(deadline=None, max_examples=150)
@given(
    st.lists(
        st.tuples(st.sampled_from(OUTCOMES), st.floats(0, 3), st.integers(0, MOST_TOKENS)), min_size=1, max_size=12
    ),
    calls,
    st.integers(1, 8),
    st.floats(0.0005, 0.05),
    st.none() | st.integers(50, 3000),
)
def test_what_is_billed_and_may_yet_be_is_never_more_than_the_budget(script, asked, concurrency, usd, tokens):
    provider = Billing(script=tuple(script))
    budget = Budget(usd=usd, tokens=tokens)

    async def buy(gate, number, length, patience):
        request = et.Request((et.Message("user", "x" * length),), et.Sampling(max_tokens=MOST_TOKENS), f"{number}")
        async with asyncio.timeout(patience):
            bought = await gate.call("billing", provider, request)
        if bought.hold is not None:
            gate.till.ledger.remove_charge(bought.hold.row)  # as the store does with the reply
        gate.till.settle(bought)

    async def main(store):
        till = Till(Ledger(store), budget, {"billing": PRICE}, {}, Progress())
        gate = Gate(concurrency, limits(retries=2), till, Progress())
        gate.register("billing", provider)
        buying = [buy(gate, number, *one) for number, one in enumerate(asked)]
        ends = await asyncio.wait_for(asyncio.gather(*buying, return_exceptions=True), 10_000)
        assert all(end is None or isinstance(end, errors.EvolteacherError | TimeoutError) for end in ends)
        assert any(isinstance(end, errors.BudgetExceeded) for end in ends) == bool(till.exhausted)
        assert (till._holds, till._held_tokens, round(till._held_usd, 9)) == (0, 0, 0)
        assert till._usd >= provider.usd() - 1e-9 and till._tokens >= provider.tokens()
        assert till._usd <= usd + 1e-9 and (tokens is None or till._tokens <= tokens)

    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "run.db")
        try:
            run(main(store))
        finally:
            store.close()
    for outcome, spent, counted in provider._seen:
        assert spent <= usd + 1e-9, outcome
        assert tokens is None or counted <= tokens, outcome
