"""Operators that find out, before the first lineage, what they had best be.

What they ask has slots under the run itself, outside any lineage: stored, counted, budgeted and resumable like every
call. What comes of it, the options that the operator evolves with, is a fact of the run, stored once.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from typing import Any

from evolteacher.asking import Asker, Desk, Memory
from evolteacher.errors import CallError, EvolteacherError, PluginError, Unreadable, plugin_fault
from evolteacher.messages import ROLES, Role
from evolteacher.operator import Operator, Prepared
from evolteacher.recipe import Recipe
from evolteacher.record import clean_text
from evolteacher.store import Store
from evolteacher.use import Use

SEEDS_SHOWN = 256
"""Of the run's first seeds, those that a preparation may look at."""

PREPARED = "prepared/"
"""Beginning of the keys, in the store's ``meta``, of what was found; the operator's label follows."""

RUN = ""
"""The lineage of what is asked outside any: for the run itself."""


async def prepare_operators(
    recipe: Recipe, desk: Desk, keys: dict[Role, str], note: Callable[[str], None]
) -> tuple[Use[Operator], ...]:
    """Return the recipe's operators, each as it was prepared by this run or an earlier one on the folder.

    Args:
        recipe: the experiment.
        desk: asks with a memory.
        keys: backend key by role.
        note: told what came of a preparation that this process made.

    Raises:
        BudgetExceeded: the budget ends before the preparation.
        RetryableError: a call of it ran out of retries.
        PluginError: a plugin is at fault.
    """
    uses = []
    for use in recipe.operators:
        if preparation_of(use):
            found = desk.store.meta(f"{PREPARED}{use.label}")
            if found is None:
                found = await _prepare(use, recipe, desk, keys)
                desk.store.set_meta(f"{PREPARED}{use.label}", found)
                for line in found["notes"]:
                    note(f"operator '{use.label}': {line}")
            use = replace(use, component=_with_options(use, found["options"]))
        uses.append(use)
    return tuple(uses)


def prepared_uses(recipe: Recipe, store: Store) -> list[tuple[dict[str, Any], list[str]]]:
    """Return the operators that a run prepared, as a recipe would pin them, each with its notes."""
    found = store.metas(PREPARED)
    uses = []
    for use in recipe.operators:
        if PREPARED + use.label in found:
            prepared = found[PREPARED + use.label]
            component = _with_options(use, prepared["options"])
            given = type(component).model_fields
            ((written, words),) = replace(use, component=component).to_plain().items()
            told = {name: value for name, value in words.items() if name not in given or value != given[name].default}
            uses.append(({written: told}, prepared["notes"]))
    return uses


def preparation_of(use: Use[Operator]) -> dict[Role, int]:
    """Return what a preparation asks at most, by role; nothing for an operator that is never drawn.

    Raises:
        PluginError: the operator cannot say.
    """
    asks = asks_by_role(use, "preparation")
    return asks if use.weight else {}


def asks_by_role(use: Use[Any], method: str) -> dict[Role, int]:
    """Return what a component's ``judging()`` or ``preparation()`` says: how much it asks at most, by role.

    Raises:
        PluginError: it cannot say.
    """
    who = f"{use.component.kind} '{use.label}'"
    try:
        asks = {role: number for role, number in getattr(use.component, method)().items() if number}
    except Exception as error:
        raise plugin_fault(f"{who}, saying what its {method}() asks,", error) from error
    if asks.keys() - set(ROLES):
        raise PluginError(f"{who}: {method}() names a role that there is not: {sorted(asks)}")
    return asks


async def _prepare(use: Use[Operator], recipe: Recipe, desk: Desk, keys: dict[Role, str]) -> dict[str, Any]:
    """Carry one preparation out; return the options found, and the notes."""
    who = f"operator '{use.label}'"
    pinned = recipe.backend_keys[use.backend] if use.backend is not None else None
    ask = Asker(Memory(desk, RUN), 0, f"prepare:{use.label}", "evolve", keys, who, pinned)
    seeds = tuple(seed.instruction for _, seed in islice(desk.store.seeds(), SEEDS_SHOWN))
    try:
        found = await ask.finish(use.component.prepare(seeds, ask))
        if not isinstance(found, Prepared) or type(found.operator) is not type(use.component):
            raise PluginError(f"{who}: prepare() returned {found!r:.200}; a Prepared with the same operator is needed")
        options = found.operator.options(with_free=False)
        _with_options(use, options)
        notes = [clean_text(str(line))[0] for line in found.notes]
    except (CallError, Unreadable) as error:
        raise PluginError(f"{who} could not be prepared: {error}") from None
    except EvolteacherError:
        raise
    except Exception as error:
        raise plugin_fault(f"{who}, being prepared,", error) from error
    return {"options": options, "notes": notes}


def _with_options(use: Use[Operator], options: dict[str, Any]) -> Operator:
    """Return the operator with options that were found, validated as those of a recipe are."""
    component = use.component
    data = {**component.options(), **options}
    return type(component).model_validate_json(json.dumps(data), strict=True)
