"""What a run would ask, before it asks: calls at most, and an estimate of tokens.

The estimate is :mod:`evolteacher.expected`'s rule of thumb, in whose place the folder's own mean is used where it holds
ten replies or more of a kind.

Dollars. Likely is the likely number of calls at these tokens; where the folder has no rates, the most but for verdicts
that are asked for again. Low is the same with answers of half the length, high is the most calls with answers of twice
it. Where the folder's own replies are used, the answers' mean goes down and up by two of its standard errors instead.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from evolteacher.catalog import Catalog
from evolteacher.errors import plugin_fault
from evolteacher.expected import Calls, SeedSums, evolving, judging, preparing, read_seeds, responding
from evolteacher.ledger import Ledger
from evolteacher.limits import Rates
from evolteacher.messages import ROLES, Role, Usage
from evolteacher.money import Price
from evolteacher.operator import Operator
from evolteacher.prices import Dollars, all_prices
from evolteacher.recipe import Recipe
from evolteacher.store import Store

MEASURED_FROM = 10
"""Replies of a kind, or evolutions, from which a folder's own figures are used."""


@dataclass(frozen=True)
class Row:
    """The calls of one role.

    Attributes:
        role: who asks.
        backend: key of the recipe's backend that answers.
        calls: that there are at most.
        again: of these, those that are made only where a verdict could not be read.
        likely: that there are if the folder's rates go on; None where it has too few evolutions to tell.
        prompt_tokens: of ``calls``, estimated.
        completion_tokens: of ``calls``, estimated.
        most_tokens: completion tokens that ``max_tokens`` allows for ``calls``.
        dollars: that the calls come to; None where no price is known.
        stored: calls that the folder holds an outcome of.
    """

    role: Role
    backend: str
    calls: int
    likely: int | None
    prompt_tokens: int
    completion_tokens: int
    most_tokens: int
    stored: int = 0
    dollars: Dollars | None = None
    again: int = 0

    @property
    def share(self) -> float:
        """Of ``calls``, the share that is likely."""
        return (self.calls - self.again if self.likely is None else self.likely) / self.calls


@dataclass(frozen=True)
class Plan:
    """What a run would ask.

    Attributes:
        seeds: unique seeds, up to the limit.
        answered: of these, that bring a response.
        unread: why the seeds could not be read; then ``seeds`` is an assumption. Empty when they were read.
        rounds: M.
        rows: by role and backend.
        own_way: labels of the operators that ask in a way of their own; they are counted with one call.
        minutes: that the limits allow at the least; None without any.
        measured: whether means of the folder's own replies were used.
        paid: US dollars and tokens that the folder has paid so far.
        advice: what the backends that are asked know of a better way.
    """

    seeds: int
    answered: int
    unread: str
    rounds: int
    rows: tuple[Row, ...]
    own_way: tuple[str, ...]
    minutes: float | None
    measured: bool
    paid: tuple[float, int] = (0.0, 0)
    advice: tuple[str, ...] = ()

    @property
    def dollars(self) -> Dollars | None:
        """Of all roles; None where a price is not known."""
        found = [row.dollars for row in self.rows if row.dollars is not None]
        return sum(found, Dollars()) if len(found) == len(self.rows) else None

    @property
    def again(self) -> int:
        """Of the calls, those that are made only where a verdict could not be read."""
        return sum(row.again for row in self.rows)

    @property
    def calls(self) -> int:
        """At most, of all roles."""
        return sum(row.calls for row in self.rows)


def make_plan(recipe: Recipe, catalog: Catalog, store: Store | None = None) -> Plan:
    """Plan a run.

    Args:
        recipe: the experiment.
        catalog: what is installed; it brings the seed reader.
        store: of a folder that holds a run of the same experiment; what it holds is counted and measured.

    Raises:
        SeedError: the seeds' file is there and cannot be used. Seeds that are missing, or need an extra or a network,
            are assumed instead.
    """
    seeds = read_seeds(recipe, catalog)
    measured = _Measured.of(store) if store is not None else _Measured()
    calls = [
        *preparing(recipe, seeds),
        *evolving(recipe, seeds),
        *responding(recipe, seeds),
        *judging(recipe, seeds),
    ]
    prices = all_prices(recipe)
    rows = _rows(recipe, calls, measured, prices)
    return Plan(
        seeds=seeds.count,
        answered=seeds.answered,
        unread=seeds.unread,
        rounds=recipe.rounds,
        rows=rows,
        own_way=tuple(use.label for use in recipe.operators if type(use.component).evolve is not Operator.evolve),
        minutes=_least_minutes(recipe, rows),
        measured=any((row.role, row.backend) in measured.means for row in rows),
        paid=Ledger(store).paid(prices) if store is not None else (0.0, 0),
        advice=tuple(_advice(recipe, dict.fromkeys(row.backend for row in rows))),
    )


def _advice(recipe: Recipe, keys: Iterable[str]) -> Iterator[str]:
    for key in keys:
        try:
            advice = recipe.backends[key].component.advice()
        except Exception as error:
            raise plugin_fault(f"backend '{key}', giving advice,", error) from error
        if advice:
            yield f"Backend '{key}': {advice}"


def price_rest(recipe: Recipe, store: Store, rest: Mapping[tuple[Role, str], tuple[int, float]]) -> tuple[Row, ...]:
    """Estimate calls that are counted already, by the lengths of the folder's own replies.

    Args:
        recipe: the experiment.
        store: of the run.
        rest: (role, backend key) -> (calls at most, likely calls).

    Returns:
        A row for each.
    """
    seeds = SeedSums()
    for _, seed in store.seeds():
        seeds.add(seed)
    kinds = {
        (k.role, k.backend): k for k in (*judging(recipe, seeds), *responding(recipe, seeds), *evolving(recipe, seeds))
    }
    calls = [
        replace(kinds[key], number=most, likely=likely, again=0) for key, (most, likely) in rest.items() if key in kinds
    ]
    return _rows(recipe, calls, _Measured.of(store), all_prices(recipe))


@dataclass(frozen=True)
class _Measured:
    """What a folder tells: replies by role, their mean tokens and the completion's standard error, and rates so far."""

    stored: dict[tuple[str, str], int] = field(default_factory=dict)
    means: dict[tuple[str, str], tuple[float, float, float]] = field(default_factory=dict)
    kept: float | None = None
    answered: float | None = None
    asked: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, store: Store) -> _Measured:
        stored: dict[tuple[str, str], int] = {}
        means = {}
        rows = store.query(
            "SELECT CASE WHEN step LIKE 'filter:%' THEN 'judge' WHEN step LIKE 'prepare:%' THEN 'prepare' "
            "ELSE step END AS role, backend, count(*), sum(outcome = 'reply'), total(prompt_tokens), "
            "total(completion_tokens), total(1.0 * completion_tokens * completion_tokens) "
            "FROM replies GROUP BY role, backend"
        )
        for step, backend, number, replies, prompt, completion, squares in rows:
            role = "evolve" if step == "prepare" else step  # whichever asked there: an operator's preparation did
            stored[role, backend] = stored.get((role, backend), 0) + number
            if step == "prepare":
                continue
            if replies >= MEASURED_FROM and prompt and completion:
                mean = completion / replies
                error = math.sqrt(max(0.0, squares / replies - mean**2) / replies)
                means[role, backend] = (prompt / replies, mean, error)
        tried, kept, answered = store.query(
            "SELECT count(*), total(filter = '' OR stage = 'lineage'), total(respond_reply IS NOT NULL) FROM steps "
            "WHERE round > 0"
        ).fetchone()
        if tried < MEASURED_FROM:
            return cls(stored, means)
        asked = store.query(
            "SELECT substr(step, 8), count(*), count(DISTINCT hex(lineage) || round || step) FROM replies "
            "WHERE step LIKE 'filter:%' GROUP BY step"
        )
        times: dict[str, tuple[int, int]] = {}
        for step, replies, texts in asked:
            label = step.split(":")[0]
            before = times.get(label, (0, 0))
            times[label] = before[0] + replies, before[1] + texts
        often = {label: replies / texts for label, (replies, texts) in times.items() if texts >= MEASURED_FROM}
        return cls(stored, means, kept / tried, answered / tried, often)


def _rows(recipe: Recipe, calls: list[Calls], measured: _Measured, prices: dict[str, Price]) -> tuple[Row, ...]:
    rows = []
    for role in ROLES:
        most = recipe.sampling.of(role).max_tokens
        for backend in dict.fromkeys(call.backend for call in calls if call.role == role):
            own = [call for call in calls if call.role == role and call.backend == backend and call.number]
            number = sum(_most(call) for call in own)
            means = measured.means.get((role, backend))
            prompt = sum(_most(call) * (means[0] if means else call.prompt_tokens) for call in own)
            completion = sum(_most(call) * min(means[1] if means else call.completion_tokens, most) for call in own)
            known = measured.kept is not None or all(call.likely is not None for call in own)
            likely = None if not known else round(sum(_likely(recipe, call, measured) for call in own))
            stored = measured.stored.get((role, backend), 0)
            if number:
                row = Row(role, backend, number, likely, round(prompt), round(completion), number * most, stored)
                row = replace(row, again=number - sum(call.number for call in own))
                price = prices.get(backend)
                spread = 2 * means[2] / means[1] if means else None
                rows.append(row if price is None else replace(row, dollars=_dollars(row, price, spread)))
    return tuple(rows)


def _most(call: Calls) -> int:
    return call.number * (1 + call.again)


def _dollars(row: Row, price: Price, spread: float | None) -> Dollars:
    """Price the calls of a role.

    Args:
        row: the calls, at most and likely, and the tokens of the most.
        price: of its backend.
        spread: by which share the answers' mean may be off; None where it is not measured.
    """
    share = row.share
    lower, upper = (0.5, 2.0) if spread is None else (max(0.0, 1 - spread), 1 + spread)
    prompt = price.cost(Usage(row.prompt_tokens, 0))
    answers = price.cost(Usage(0, row.completion_tokens))
    most = prompt + price.cost(Usage(0, row.most_tokens))
    return Dollars(
        share * (prompt + lower * answers), share * (prompt + answers), min(prompt + upper * answers, most), most
    )


def _least_minutes(recipe: Recipe, rows: tuple[Row, ...]) -> float | None:
    """Return the least time that the limits allow for all calls: of the provider that takes longest.

    Backends of one account share its limits, and what goes out in provider batches has none.
    """
    accounts: dict[str, tuple[Rates, int, int]] = {}
    for row in rows:
        backend = recipe.backends[row.backend].component
        if backend.in_batches():
            continue
        rates, calls, tokens = accounts.get(backend.account(), (Rates(), 0, 0))
        rates = rates.within(recipe.limits.rates_of(row.backend))
        used = row.prompt_tokens + row.completion_tokens
        once = (row.calls - row.again) / row.calls  # what has to be asked again is not known
        accounts[backend.account()] = (rates, calls + row.calls - row.again, tokens + round(used * once))
    times = []
    for rates, calls, tokens in accounts.values():
        pairs = ((calls, rates.requests_per_minute, 1), (calls, rates.requests_per_second, 60),
                 (tokens, rates.tokens_per_minute, 1), (tokens, rates.tokens_per_second, 60))  # fmt: skip
        times += [number / (rate * per) for number, rate, per in pairs if rate is not None]
    return max(times, default=None)


def _likely(recipe: Recipe, call: Calls, measured: _Measured) -> float:
    """Return the calls of a kind if the folder's rates go on."""
    if call.likely is not None:
        return call.likely
    times = min(1.0 + call.again, max(1.0, measured.asked.get(call.filter, 1.0) / call.asks)) if call.again else 1.0
    if measured.kept is None or measured.answered is None or call.stage in ("seed", "prepare"):
        return call.number * times
    share = 1.0
    if recipe.on_pruned == "retire":
        share = sum(measured.kept**round for round in range(recipe.rounds)) / recipe.rounds
    # A rewrite that fails before it is answered buys no response, and is judged on none.
    answered = measured.answered if call.stage in ("respond", "response") else 1.0
    return call.number * times * share * answered
