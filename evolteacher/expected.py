"""The calls that a run comes to, and the tokens of each, by a rule of thumb.

A token is four characters, as in English and code on average. A rewrite is longer than its parent by 60 characters
(WizardCoder's operators ask for about ten more words); a task that is made of a snippet of code has 600. An evolving
prompt is what the operator makes of the first 200 seeds; a responding prompt is the rewrite. A response has 300
tokens, or as many as the responses that the seeds bring where those are longer, and never more than ``max_tokens``:
chat models explain what they answer, where seeds are often bare code (docs/notebook.md: 37 tokens of a seed's own,
330 of a model's). A judge is asked in 150 tokens beside the texts that it judges, and answers in 20 unless it says
otherwise; one that judges a whole lineage is asked once a lineage, with all versions, and answers as long for each.
What a filter asks in another role than the judge's, to have a response repaired, is answered by a response. What a
judge asks again, where it could not read the answer, is counted among the most and, unless the folder tells how often
that happens, not among the likely.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from evolteacher.catalog import Catalog
from evolteacher.errors import MissingExtra, plugin_fault
from evolteacher.filter import Filter, LineageFilter, ResponseFilter, TextFilter
from evolteacher.intake import seed_stream
from evolteacher.messages import Role, as_messages
from evolteacher.operator import Operator
from evolteacher.preparing import asks_by_role, preparation_of
from evolteacher.recipe import Recipe
from evolteacher.record import Instruction, Seed
from evolteacher.sources import SeedReport
from evolteacher.use import Use

CHARACTERS_PER_TOKEN = 4
GROWTH = 60
PROBLEM = 600
"""Characters of a task that is made of a snippet of code."""

SAMPLE = 200
RESPONSE_TOKENS = 300
"""Tokens of a chat model's response, at the least."""

JUDGE_PROMPT_TOKENS = 150
SEEDS_ASSUMED = 1000
INSTRUCTION_ASSUMED = 150
"""Characters of an instruction where the seeds cannot be read: about Code Alpaca's mean, its input included."""


@dataclass
class SeedSums:
    """Sums over the seeds."""

    count: int = 0
    answered: int = 0
    characters: int = 0
    response_characters: int = 0
    sample: list[Instruction] = field(default_factory=list)
    unread: str = ""

    def add(self, seed: Seed) -> None:
        """Take in a seed."""
        self.count += 1
        self.characters += len(seed.instruction.text)
        if seed.response is not None:
            self.answered += 1
            self.response_characters += len(seed.response)
        if len(self.sample) < SAMPLE:
            self.sample.append(seed.instruction)

    @property
    def length(self) -> float:
        """Mean characters of an instruction."""
        return self.characters / self.count if self.count else 0.0

    @property
    def response_tokens(self) -> float:
        """Mean tokens of a model's response."""
        own = self.response_characters / self.answered / CHARACTERS_PER_TOKEN if self.answered else 0.0
        return max(own, RESPONSE_TOKENS)


@dataclass(frozen=True)
class Calls:
    """Calls of a kind, and the estimated tokens of each.

    Attributes:
        number: of calls whose answers can all be read.
        again: how often each is asked again at most.
        filter: label of the filter that asks; empty for others.
        asks: calls that the filter makes for one text, if it can read all answers.
    """

    role: Role
    backend: str
    number: int
    prompt_tokens: float
    completion_tokens: float
    stage: str
    likely: float | None = None
    again: int = 0
    filter: str = ""
    asks: int = 1


def read_seeds(recipe: Recipe, catalog: Catalog) -> SeedSums:
    """Sum the recipe's seeds up; those that cannot be read here are assumed.

    Raises:
        SeedError: their file is there and cannot be used.
    """
    source = recipe.seeds_source()
    if not Path(source).exists():
        elsewhere = ":" in source.split("/")[0]
        why = "is not on this machine, and a plan fetches nothing" if elsewhere else "there is no such file"
        return _assumed(recipe, f"{source}{'' if elsewhere else ':'} {why}")
    seeds = SeedSums()
    try:
        for seed in seed_stream(recipe, catalog, SeedReport()):
            seeds.add(seed)
    except MissingExtra as error:
        return _assumed(recipe, str(error))
    return seeds


def _assumed(recipe: Recipe, why: str) -> SeedSums:
    number = recipe.seeds.limit or SEEDS_ASSUMED
    sample = [Instruction("x" * INSTRUCTION_ASSUMED)]
    return SeedSums(number, number, number * INSTRUCTION_ASSUMED, number * RESPONSE_TOKENS * 4, sample, why)


def preparing(recipe: Recipe, seeds: SeedSums) -> Iterator[Calls]:
    """Count what operators ask before the first lineage, as if each call were one of its role in a run."""
    parent = (seeds.length + GROWTH) / CHARACTERS_PER_TOKEN
    for use in recipe.operators:
        for role, number in preparation_of(use).items():
            prompt = parent if role == "respond" else parent + _overhead(use, seeds.sample) / CHARACTERS_PER_TOKEN
            completion = seeds.response_tokens if role == "respond" else parent
            yield Calls(role, recipe.backend_of(role, use), number, prompt, completion, "prepare")


def evolving(recipe: Recipe, seeds: SeedSums) -> Iterator[Calls]:
    """Count what operators ask in all rounds, if every evolution is kept."""
    if recipe.material == "task":
        parent = seeds.length + GROWTH * (recipe.rounds - 1) / 2
        yield from _drawing(recipe, seeds, recipe.operators_of("task"), recipe.rounds, parent, parent + GROWTH)
        return
    yield from _drawing(recipe, seeds, recipe.operators_of("snippet"), 1, seeds.length, PROBLEM)
    if later := recipe.rounds - 1:
        parent = PROBLEM + GROWTH * (later - 1) / 2
        yield from _drawing(recipe, seeds, recipe.operators_of("task"), later, parent, parent + GROWTH)


def _drawing(
    recipe: Recipe, seeds: SeedSums, operators: tuple[Use[Operator], ...], rounds: int, parent: float, child: float
) -> Iterator[Calls]:
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
            yield Calls("evolve", backend, number, prompt, child / CHARACTERS_PER_TOKEN, "evolve")


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


def _child(recipe: Recipe, seeds: SeedSums) -> float:
    """Return the mean characters of the rewrites of all rounds."""
    first = seeds.length + GROWTH if recipe.material == "task" else PROBLEM
    return first + GROWTH * (recipe.rounds - 1) / 2


def responding(recipe: Recipe, seeds: SeedSums) -> Iterator[Calls]:
    """Count the responses to all rewrites, and to seeds where they are answered."""
    backend = recipe.backend_of("respond")
    child = _child(recipe, seeds) / CHARACTERS_PER_TOKEN
    number = seeds.count * recipe.rounds
    yield Calls("respond", backend, number, child, seeds.response_tokens, "respond")
    missing = seeds.count - seeds.answered
    if recipe.answers_seeds and missing:
        prompt = seeds.length / CHARACTERS_PER_TOKEN
        yield Calls("respond", backend, missing, prompt, seeds.response_tokens, "seed")


def judging(recipe: Recipe, seeds: SeedSums) -> Iterator[Calls]:
    """Count what filters ask, wherever the recipe has them look."""
    pair = (2 * _child(recipe, seeds) - GROWTH) / CHARACTERS_PER_TOKEN
    for use in recipe.filters:
        for role, asks in judging_of(use).items():
            backend, verdict = recipe.backend_of(role, use), float(use.component.verdict_tokens)
            again, each = repeats_of(use), sum(judging_of(use).values())
            if isinstance(use.component, LineageFilter):
                versions = recipe.rounds + 1
                texts = versions * (pair / 2 + seeds.response_tokens)
                number, prompt = seeds.count * asks, JUDGE_PROMPT_TOKENS + texts
                yield Calls(
                    role, backend, number, prompt, versions * verdict, "seed", again=again, filter=use.label, asks=each
                )
                continue
            answer = verdict if role == "judge" else seeds.response_tokens
            for place in use.on:
                number = seeds.count * recipe.rounds
                texts = pair + (seeds.response_tokens if place != "instruction" else 0)
                stage = {"instruction": "judge", "response": "response"}.get(place, "seed")
                if stage == "seed":
                    number = _seed_judgements(use.component, recipe, seeds)
                prompt = JUDGE_PROMPT_TOKENS + texts
                yield Calls(
                    role, backend, number * asks, prompt, answer, stage, again=again, filter=use.label, asks=each
                )


def judging_of(use: Use[Filter]) -> dict[Role, int]:
    """Return how often a filter asks at most for one row, by role.

    Raises:
        PluginError: the filter cannot say.
    """
    return asks_by_role(use, "judging")


def repeats_of(use: Use[Filter]) -> int:
    """Return how often a filter asks the same again at most.

    Raises:
        PluginError: the filter cannot say.
    """
    try:
        return max(0, int(use.component.repeats()))
    except Exception as error:
        raise plugin_fault(f"filter '{use.label}', saying how often it asks again,", error) from error


def _seed_judgements(component: Filter, recipe: Recipe, seeds: SeedSums) -> int:
    responses = seeds.count if recipe.answers_seeds else seeds.answered
    if isinstance(component, ResponseFilter):
        return responses
    return seeds.count + responses if isinstance(component, TextFilter) else seeds.count
