"""What a recipe's operators and filters need of this machine, asked before the first call."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from evolteacher.errors import UsageError, plugin_fault
from evolteacher.recipe import Recipe
from evolteacher.use import Use


def check_requirements(recipe: Recipe) -> None:
    """Ask each operator and filter whether it can work here.

    Raises:
        UsageError: with a line for each that cannot, and its place in the recipe.
        PluginError: a plugin's ``require`` is at fault.
    """
    lines: list[str] = []
    for kind in ("operators", "filters", "dataset_filters"):
        lines += missing(kind, getattr(recipe, kind))
    if lines:
        origin = f"{recipe.origin}: " if recipe.origin is not None else ""
        raise UsageError("\n".join(f"{origin}{line}" for line in lines))


def cautions(recipe: Recipe) -> Iterator[str]:
    """Yield what operators and filters have to say before they work here, each sentence once.

    Raises:
        PluginError: a plugin's ``caution`` is at fault.
    """
    uses: list[Use[Any]] = [*recipe.operators, *recipe.filters, *recipe.dataset_filters]
    said: dict[str, list[str]] = {}
    for use in uses:
        try:
            text = use.component.caution()
        except Exception as error:
            raise plugin_fault(f"{use.component.kind} '{use.label}', warning of something,", error) from error
        if text:
            said.setdefault(text, []).append(use.label)
    for text, labels in said.items():
        yield f"{', '.join(labels)}: {text}"


def missing(kind: str, uses: Iterable[Use[Any]]) -> list[str]:
    """Return a line for each component of a list that cannot work here: its place, what it needs, and how to get it.

    Raises:
        PluginError: a plugin's ``require`` is at fault.
    """
    lines = []
    for index, use in enumerate(uses):
        try:
            use.component.require()
        except UsageError as error:
            lines.append(f"{kind}[{index}]: {error}")
        except Exception as error:
            raise plugin_fault(f"{use.component.kind} '{use.label}', saying what it needs,", error) from error
    return lines
