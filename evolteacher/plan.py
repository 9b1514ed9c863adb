"""What a run would ask, before it asks: calls at most, and an estimate of tokens.

The rule of the estimate. A token is four characters, as in English and code on average. A rewrite is longer than its
parent by 60 characters (WizardCoder's operators ask for about ten more words); a task that is made of a snippet of code
has 600. An evolving prompt is what the operator makes of the first 200 seeds; a responding prompt is the rewrite. A
response is as long as the responses that the seeds bring, else 300 tokens, and never more than ``max_tokens``. A judge
is asked in 150 tokens beside the texts that it judges, and answers in 20; one that judges a whole lineage is asked once
a lineage, with all versions, and answers in 20 for each. A judge that asks again what it could not read is counted with
one call. Where the run's folder holds ten replies or more of a kind, their mean replaces the rule.

Dollars. Likely is the likely number of calls, or the most where the folder has no rates, at these tokens. Low is the
same with answers of half the length, high is the most calls with answers of twice it. Where the folder's own replies
are used, the answers' mean goes down and up by two of its standard errors instead.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from evolteacher.catalog import Catalog
from evolteacher.errors import MissingExtra, plugin_fault
from evolteacher.filter import Filter, LineageFilter, ResponseFilter, TextFilter
from evolteacher.intake import seed_stream
from evolteacher.ledger import Ledger
from evolteacher.limits import Rates
from evolteacher.messages import ROLES, Role, Usage, as_messages
from evolteacher.money import Price
from evolteacher.operator import Operator
from evolteacher.preparing import preparation_of
from evolteacher.prices import Dollars, all_prices
from evolteacher.recipe import Recipe
from evolteacher.record import Instruction, Seed
from evolteacher.sources import SeedReport
from evolteacher.store import Store
from evolteacher.use import Use

CHARACTERS_PER_TOKEN = 4
GROWTH = 60
PROBLEM = 600
"""Characters of a task that is made of a snippet of code."""

SAMPLE = 200
RESPONSE_TOKENS = 300
JUDGE_PROMPT_TOKENS = 150
JUDGE_REPLY_TOKENS = 20
MEASURED_FROM = 10
"""Replies of a kind, or evolutions, from which a folder's own figures are used."""

SEEDS_ASSUMED = 1000
INSTRUCTION_ASSUMED = 150
"""Characters of an instruction where the seeds cannot be read: about Code Alpaca's mean, its input included."""


@dataclass(frozen=True)
class Row:
    """The calls of one role.

    Attributes:
        role: who asks.
        backend: key of the recipe's backend that answers.
        calls: that there are at most.
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
    seeds = _read_seeds(recipe, catalog)
    measured = _Measured.of(store) if store is not None else _Measured()
    calls = [
        *_preparing(recipe, seeds),
        *_evolving(recipe, seeds),
        *_responding(recipe, seeds),
        *_judging(recipe, seeds),
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
    seeds = _Seeds()
    for _, seed in store.seeds():
        seeds.add(seed)
    kinds = {
        (k.role, k.backend): k
        for k in (*_judging(recipe, seeds), *_responding(recipe, seeds), *_evolving(recipe, seeds))
    }
    calls = [replace(kinds[key], number=most, likely=likely) for key, (most, likely) in rest.items() if key in kinds]
    return _rows(recipe, calls, _Measured.of(store), all_prices(recipe))


@dataclass
class _Seeds:
    """Sums over the seeds."""

    count: int = 0
    answered: int = 0
    characters: int = 0
    response_characters: int = 0
    sample: list[Instruction] = field(default_factory=list)
    unread: str = ""

    def add(self, seed: Seed) -> None:
        self.count += 1
        self.characters += len(seed.instruction.text)
        if seed.response is not None:
            self.answered += 1
            self.response_characters += len(seed.response)
        if len(self.sample) < SAMPLE:
            self.sample.append(seed.instruction)

    @property
    def length(self) -> float:
        return self.characters / self.count if self.count else 0.0

    @property
    def response_tokens(self) -> float:
        if not self.answered:
            return RESPONSE_TOKENS
        return self.response_characters / self.answered / CHARACTERS_PER_TOKEN


@dataclass(frozen=True)
class _Calls:
    """Calls of a kind, and the estimated tokens of each."""

    role: Role
    backend: str
    number: int
    prompt_tokens: float
    completion_tokens: float
    stage: str
    likely: float | None = None


@dataclass(frozen=True)
class _Measured:
    """What a folder tells: replies by role, their mean tokens and the completion's standard error, and rates so far."""

    stored: dict[tuple[str, str], int] = field(default_factory=dict)
    means: dict[tuple[str, str], tuple[float, float, float]] = field(default_factory=dict)
    kept: float | None = None
    answered: float | None = None

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
        return cls(stored, means, kept / tried, answered / tried)


def _read_seeds(recipe: Recipe, catalog: Catalog) -> _Seeds:
    source = recipe.seeds_source()
    if not Path(source).exists():
        elsewhere = ":" in source.split("/")[0]
        why = "is not on this machine, and a plan fetches nothing" if elsewhere else "there is no such file"
        return _assumed(recipe, f"{source}{'' if elsewhere else ':'} {why}")
    seeds = _Seeds()
    try:
        for seed in seed_stream(recipe, catalog, SeedReport()):
            seeds.add(seed)
    except MissingExtra as error:
        return _assumed(recipe, str(error))
    return seeds


def _assumed(recipe: Recipe, why: str) -> _Seeds:
    number = recipe.seeds.limit or SEEDS_ASSUMED
    sample = [Instruction("x" * INSTRUCTION_ASSUMED)]
    return _Seeds(number, number, number * INSTRUCTION_ASSUMED, number * RESPONSE_TOKENS * 4, sample, why)


def _preparing(recipe: Recipe, seeds: _Seeds) -> Iterator[_Calls]:
    """Count what operators ask before the first lineage, as if each call were one of its role in a run."""
    parent = (seeds.length + GROWTH) / CHARACTERS_PER_TOKEN
    for use in recipe.operators:
        for role, number in preparation_of(use).items():
            prompt = parent if role == "respond" else parent + _overhead(use, seeds.sample) / CHARACTERS_PER_TOKEN
            completion = seeds.response_tokens if role == "respond" else parent
            yield _Calls(role, recipe.backend_of(role, use), number, prompt, completion, "prepare")


def _evolving(recipe: Recipe, seeds: _Seeds) -> Iterator[_Calls]:
    if recipe.material == "task":
        parent = seeds.length + GROWTH * (recipe.rounds - 1) / 2
        yield from _drawing(recipe, seeds, recipe.operators_of("task"), recipe.rounds, parent, parent + GROWTH)
        return
    yield from _drawing(recipe, seeds, recipe.operators_of("snippet"), 1, seeds.length, PROBLEM)
    if later := recipe.rounds - 1:
        parent = PROBLEM + GROWTH * (later - 1) / 2
        yield from _drawing(recipe, seeds, recipe.operators_of("task"), later, parent, parent + GROWTH)


def _drawing(
    recipe: Recipe, seeds: _Seeds, operators: tuple[Use[Operator], ...], rounds: int, parent: float, child: float
) -> Iterator[_Calls]:
    """Yield the calls of some rounds, by backend: parents and children are of these lengths in the mean."""
    shares: dict[str, float] = {}
    overheads: dict[str, float] = {}
    for use in operators:
        backend = recipe.backend_of("evolve", use)
        shares[backend] = shares.get(backend, 0.0) + use.weight
        overheads[backend] = overheads.get(backend, 0.0) + use.weight * _overhead(use, seeds.sample)
    total = sum(shares.values())
    for backend, share in shares.items():
        if share:
            # Operators are drawn by weight: where they use several backends this is the mean of each, not the most.
            number = round(seeds.count * rounds * share / total)
            prompt = (overheads[backend] / share + parent) / CHARACTERS_PER_TOKEN
            yield _Calls("evolve", backend, number, prompt, child / CHARACTERS_PER_TOKEN, "evolve")


def _overhead(use: Use[Operator], sample: list[Instruction]) -> float:
    """Return the mean characters of an operator's prompts beside the instruction's own."""
    component = use.component
    if component.template is not None:
        return float(len(component.template))
    try:
        lengths = [
            sum(len(message.content) for message in as_messages(component.prompt(seed))) - len(seed.text)
            for seed in islice(sample, SAMPLE)
        ]
    except Exception:  # an operator that asks in its own way has no prompt() to call; a fault shows in the run
        return float(JUDGE_PROMPT_TOKENS * CHARACTERS_PER_TOKEN)
    return sum(lengths) / len(lengths) if lengths else 0.0


def _child(recipe: Recipe, seeds: _Seeds) -> float:
    """Return the mean characters of the rewrites of all rounds."""
    first = seeds.length + GROWTH if recipe.material == "task" else PROBLEM
    return first + GROWTH * (recipe.rounds - 1) / 2


def _responding(recipe: Recipe, seeds: _Seeds) -> Iterator[_Calls]:
    backend = recipe.backend_of("respond")
    child = _child(recipe, seeds) / CHARACTERS_PER_TOKEN
    number = seeds.count * recipe.rounds
    yield _Calls("respond", backend, number, child, seeds.response_tokens, "respond")
    missing = seeds.count - seeds.answered
    if recipe.answers_seeds and missing:
        prompt = seeds.length / CHARACTERS_PER_TOKEN
        yield _Calls("respond", backend, missing, prompt, seeds.response_tokens, "seed")


def _judging(recipe: Recipe, seeds: _Seeds) -> Iterator[_Calls]:
    pair = (2 * _child(recipe, seeds) - GROWTH) / CHARACTERS_PER_TOKEN
    for use in recipe.filters:
        if not type(use.component).asks():
            continue
        backend = recipe.backend_of("judge", use)
        if isinstance(use.component, LineageFilter):
            versions = recipe.rounds + 1
            texts = versions * (pair / 2 + seeds.response_tokens)
            answer = versions * JUDGE_REPLY_TOKENS
            yield _Calls("judge", backend, seeds.count, JUDGE_PROMPT_TOKENS + texts, answer, "seed")
            continue
        for place in use.on:
            number = seeds.count * recipe.rounds
            texts = pair + (seeds.response_tokens if place != "instruction" else 0)
            stage = {"instruction": "judge", "response": "response"}.get(place, "seed")
            if stage == "seed":
                number = _seed_judgements(use.component, recipe, seeds)
            yield _Calls("judge", backend, number, JUDGE_PROMPT_TOKENS + texts, JUDGE_REPLY_TOKENS, stage)


def _seed_judgements(component: Filter, recipe: Recipe, seeds: _Seeds) -> int:
    responses = seeds.count if recipe.answers_seeds else seeds.answered
    if isinstance(component, ResponseFilter):
        return responses
    return seeds.count + responses if isinstance(component, TextFilter) else seeds.count


def _rows(recipe: Recipe, calls: list[_Calls], measured: _Measured, prices: dict[str, Price]) -> tuple[Row, ...]:
    rows = []
    for role in ROLES:
        most = recipe.sampling.of(role).max_tokens
        for backend in dict.fromkeys(call.backend for call in calls if call.role == role):
            own = [call for call in calls if call.role == role and call.backend == backend and call.number]
            number = sum(call.number for call in own)
            means = measured.means.get((role, backend))
            prompt = sum(call.number * (means[0] if means else call.prompt_tokens) for call in own)
            completion = sum(call.number * min(means[1] if means else call.completion_tokens, most) for call in own)
            known = measured.kept is not None or all(call.likely is not None for call in own)
            likely = None if not known else round(sum(_likely(recipe, call, measured) for call in own))
            stored = measured.stored.get((role, backend), 0)
            if number:
                row = Row(role, backend, number, likely, round(prompt), round(completion), number * most, stored)
                price = prices.get(backend)
                spread = 2 * means[2] / means[1] if means else None
                rows.append(row if price is None else replace(row, dollars=_dollars(row, price, spread)))
    return tuple(rows)


def _dollars(row: Row, price: Price, spread: float | None) -> Dollars:
    """Price the calls of a role.

    Args:
        row: the calls, at most and likely, and the tokens of the most.
        price: of its backend.
        spread: by which share the answers' mean may be off; None where it is not measured.
    """
    share = 1.0 if row.likely is None else row.likely / row.calls
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
        accounts[backend.account()] = (rates, calls + row.calls, tokens + used)
    times = []
    for rates, calls, tokens in accounts.values():
        pairs = ((calls, rates.requests_per_minute, 1), (calls, rates.requests_per_second, 60),
                 (tokens, rates.tokens_per_minute, 1), (tokens, rates.tokens_per_second, 60))  # fmt: skip
        times += [number / (rate * per) for number, rate, per in pairs if rate is not None]
    return max(times, default=None)


def _likely(recipe: Recipe, call: _Calls, measured: _Measured) -> float:
    """Return the calls of a kind if the folder's rates go on."""
    if call.likely is not None:
        return call.likely
    if measured.kept is None or measured.answered is None or call.stage in ("seed", "prepare"):
        return call.number
    share = 1.0
    if recipe.on_pruned == "retire":
        share = sum(measured.kept**round for round in range(recipe.rounds)) / recipe.rounds
    # A rewrite that fails before it is answered buys no response, and is judged on none.
    return call.number * share * (measured.answered if call.stage in ("respond", "response") else 1.0)
