"""What does not go together in a recipe whose parts are right each by itself."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from evolteacher.errors import did_you_mean
from evolteacher.filter import Filter, InstructionFilter, TextFilter
from evolteacher.messages import ROLES
from evolteacher.problems import Problems
from evolteacher.use import Use
from evolteacher.yamlfile import Key


def check_scorer(label: str, path: Key, filters: tuple[Use[Filter], ...], problems: Problems) -> None:
    """Find a judge that something goes by and that scores no instruction of this recipe.

    Args:
        label: the judge's.
        path: where the recipe names it.
        filters: of the recipe.
        problems: where what is wrong goes.
    """
    able = [use.label for use in filters if isinstance(use.component, InstructionFilter | TextFilter)]
    if label not in able:
        problems.add(path, f"no filter here that judges instructions is called '{label}'.{did_you_mean(label, able)}")


def check_scores(data: Mapping[str, Any], problems: Problems) -> None:
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


def check_backend_names(data: Mapping[str, Any], problems: Problems) -> None:
    """Find a misspelt role: a backend that nothing names, called nearly like a role."""
    specs = problems.located.data.get("backends")
    named = {use.backend for kind in ("operators", "filters") for use in data[kind]}
    for name in data["backend_keys"]:
        if name in ROLES or name in named or name in (list(specs.values()) if isinstance(specs, dict) else ()):
            continue
        if near := difflib.get_close_matches(name, ROLES, n=1):
            message = f"no role is called '{name}', and no component names it. Did you mean '{near[0]}'?"
            problems.add(("backends", name), message)
