"""What goes together in a recipe, once each of its parts has been read by itself."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from evolteacher.bandit import ByBandit
from evolteacher.errors import CALL_ERRORS, did_you_mean
from evolteacher.evalsection import check_evaluate
from evolteacher.filter import Filter, InstructionFilter, TextFilter
from evolteacher.licensing import LICENCES, TERMS, licence_id, split_terms
from evolteacher.messages import ROLES
from evolteacher.operator import Operator
from evolteacher.problems import Problems
from evolteacher.record import SEED_OPERATOR
from evolteacher.roundsection import Difficulty
from evolteacher.trainsection import check_train
from evolteacher.use import Use
from evolteacher.yamlfile import Key

if TYPE_CHECKING:
    from evolteacher.recipe import Recipe


def check_sense(data: Mapping[str, Any], recipe: Recipe | None, problems: Problems) -> None:
    """Add to the problems each thing that fits its own place and not the rest of the recipe."""
    _check_operators(data["operators"], recipe, problems)
    labels = [(kind, use.label) for kind in ("operators", "filters", "dataset_filters") for use in data[kind]]
    for kind, label in labels:
        taken = (SEED_OPERATOR,) if kind == "operators" else (*CALL_ERRORS, "unreadable")
        if label in taken:
            problems.add((kind,), f"'{label}' has a meaning of its own in records; give it another name with 'as:'")
        if kind == "dataset_filters" and ("filters", label) in labels:
            problems.add((kind,), f"'{label}' is among filters, too; tell them apart with 'as: other-name'")
    _check_scores(data, problems)
    _check_backend_names(data, problems)
    if recipe is not None:
        _check_signals(recipe, problems)
        _check_keys(recipe, problems)
        _check_terms(recipe, problems)
        _check_stages(recipe, problems)


def _check_stages(recipe: Recipe, problems: Problems) -> None:
    """Check what follows on the run."""
    if recipe.train is not None:
        check_train(recipe.train, problems)
    if recipe.evaluate is not None:
        check_evaluate(recipe.evaluate, recipe.train is not None, problems)


def _check_operators(operators: tuple[Use[Operator], ...], recipe: Recipe | None, problems: Problems) -> None:
    """Find weights that leave nothing to draw, or that the choice ignores."""
    if not problems.located.data.get("operators"):
        problems.add(("operators",), "at least one operator is needed; `evolteacher plugins` lists them")
    if operators and not any(use.weight for use in operators):
        problems.add(("operators",), "every operator has weight 0; at least one must be above 0")
    if recipe is not None and recipe.choose == "uniform" and any(use.weight != 1 for use in operators):
        problems.add(("choose",), "'uniform' ignores the weights that are given; write 'choose: weights'")
    drawn = sum(use.weight > 0 for use in operators)
    if recipe is not None and isinstance(recipe.choose, ByBandit) and recipe.choose.bandit.least * drawn > 1:
        message = f"{drawn} operators cannot each have that share; {1 / drawn:.3g} is the most"
        problems.add(("choose", "bandit", "least"), message)


def _check_signals(recipe: Recipe, problems: Problems) -> None:
    """Find what a bandit or a stop cannot go by, and that both are asked for."""
    stop, bandit = recipe.stop, recipe.choose.bandit if isinstance(recipe.choose, ByBandit) else None
    if bandit is not None and bandit.gain is not None:
        _check_scorer(bandit.gain, ("choose", "bandit", "gain"), recipe.filters, problems)
    if isinstance(stop, Difficulty):
        _check_scorer(stop.filter, ("rounds", "stop", stop.signal, "filter"), recipe.filters, problems)
    if stop is not None and bandit is not None:
        message = (
            "a bandit learns from lineages that have left all rounds, and a stop lets no lineage begin a round before "
            "all have left the one before: give up one of the two"
        )
        problems.add(("rounds", "stop"), message)


def _check_scorer(label: str, path: Key, filters: tuple[Use[Filter], ...], problems: Problems) -> None:
    """Find a judge that something goes by and that scores no instruction of this recipe."""
    able = [use.label for use in filters if isinstance(use.component, InstructionFilter | TextFilter)]
    if label not in able:
        problems.add(path, f"no filter here that judges instructions is called '{label}'.{did_you_mean(label, able)}")


def _check_scores(data: Mapping[str, Any], problems: Problems) -> None:
    """Find scores that a dataset filter reads and that no filter of this recipe gives."""
    labels = [use.label for use in data["filters"]]
    judges = [use.label for use in data["filters"] if use.component.asks()]
    for use in data["dataset_filters"]:
        for label in [score.removesuffix(":response") for score in use.component.scored_by()]:
            if label not in labels:
                message = (
                    f"'{use.label}' reads the score of '{label}', and no filter here is called so: list that judge "
                    f"under filters; docs/judges.md tells which there are.{did_you_mean(label, judges)}"
                )
                problems.add(("dataset_filters",), message)


def _check_keys(recipe: Recipe, problems: Problems) -> None:
    """Find prices, limits and terms of backends that there are not."""
    for path, given in (
        (("prices",), recipe.prices),
        (("limits", "backends"), recipe.limits.backends),
        (("terms",), recipe.terms),
    ):
        for name in given:
            if name not in recipe.backend_keys:
                message = f"no backend is called '{name}'.{did_you_mean(name, recipe.backend_keys)}"
                problems.add((*path, name), message)


def _check_terms(recipe: Recipe, problems: Problems) -> None:
    """Find terms whose name is nearly a known one."""
    given = {("terms", name): text for name, text in recipe.terms.items()} | {("seeds", "terms"): recipe.seeds.terms}
    for path, terms in given.items():
        for name in map(licence_id, split_terms(terms)):
            near = difflib.get_close_matches(name, {*TERMS, *LICENCES}, n=1, cutoff=0.8)
            if near and name not in TERMS and name not in LICENCES:
                problems.add(path, f"no terms are known as '{name}'. Did you mean '{near[0]}'?")


def _check_backend_names(data: Mapping[str, Any], problems: Problems) -> None:
    """Find a misspelt role: a backend that nothing names, called nearly like a role."""
    specs = problems.located.data.get("backends")
    named = {use.backend for kind in ("operators", "filters") for use in data[kind]}
    for name in data["backend_keys"]:
        if name in ROLES or name in named or name in (list(specs.values()) if isinstance(specs, dict) else ()):
            continue
        if near := difflib.get_close_matches(name, ROLES, n=1):
            message = f"no role is called '{name}', and no component names it. Did you mean '{near[0]}'?"
            problems.add(("backends", name), message)
