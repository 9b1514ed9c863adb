"""What a recipe's operators and filters need of this machine, asked before the first call."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from evolteacher.arguments import installed
from evolteacher.errors import MissingExtra, UsageError, plugin_fault
from evolteacher.recipe import Recipe
from evolteacher.roundsection import ProxyLoss
from evolteacher.use import Use


def check_requirements(recipe: Recipe) -> None:
    """Ask each operator and filter whether it can work here.

    Raises:
        UsageError: with a line for each that cannot, and its place in the recipe.
        MissingExtra: the recipe's stop tunes a model, and what does that is not installed.
        PluginError: a plugin's ``require`` is at fault.
    """
    if isinstance(recipe.stop, ProxyLoss):
        _check_proxy(recipe.stop)
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


def _check_proxy(stop: ProxyLoss) -> None:
    if not installed("sft"):
        raise MissingExtra(f"rounds.stop: {stop.signal}", "train")
    folder = Path(stop.model).expanduser()
    named = stop.model.startswith((".", "~", "/"))
    if (named or folder.is_dir()) and not (folder / "config.json").is_file():
        raise UsageError(
            f"rounds.stop.{stop.signal}.model: '{stop.model}' is no checkpoint: give a folder that holds config.json, "
            "tokenizer and weights, or a name on the hub"
        )


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
