"""Whether a run's dataset may go under the recipe's ``licence:``, and the word of who lets it go all the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from evolteacher.catalog import Catalog
from evolteacher.certifying import certificate_of
from evolteacher.database import DATABASE
from evolteacher.errors import UsageError
from evolteacher.history import summarise
from evolteacher.lock import locked
from evolteacher.outputs import write_card
from evolteacher.recipe import Recipe
from evolteacher.rights import Clearance, clearance, held_licence, let_go
from evolteacher.runner import unfinished, why_pending
from evolteacher.store import Store


def held_recipe(store: Store, catalog: Catalog) -> Recipe:
    """Return the recipe that a run's folder holds.

    Raises:
        UsageError: the run never began.
        RecipeError: what it names is not installed.
    """
    held = store.meta("recipe")
    if held is None:
        raise UsageError(f"{store.path.parent}: this run never began, so there is nothing in it; run its recipe first")
    return Recipe.from_dict(held, catalog=catalog)


def partial_because(store: Store) -> str:
    """Return why a run's dataset is not the whole one; empty when it is."""
    pending = summarise(store).pending
    return unfinished(pending, why_pending(store)) if pending else ""


def check_licence(folder: Path, *, despite: str | None = None, catalog: Catalog, dry_run: bool = False) -> Clearance:
    """Let a run's dataset go where its licence allows it.

    Args:
        folder: the run's.
        despite: why it goes all the same; put on record in the folder and its card, for this licence and these kinds
            of rows.
        catalog: what is installed.
        dry_run: put nothing on record.

    Raises:
        LicenceRefused: the licence does not allow the mix.
        UsageError: there is no run, or the reason is blank.
        RunError: the reason cannot be put on record: the run is going on, or the folder cannot be written.
    """
    if despite is not None and not despite.strip():
        raise UsageError("--despite needs a reason: it goes into the card")
    with Store(folder / DATABASE, read_only=True) as store:
        found = clearance(store, held_licence(store))
    if found.refused and despite is not None and dry_run:
        return replace(found, despite=despite.strip())
    if found.refused and despite is not None:
        with locked(folder), Store(folder / DATABASE) as store:
            recipe = held_recipe(store, catalog)
            let_go(store, clearance(store, recipe.licence), despite.strip())
            found = clearance(store, recipe.licence)
            write_card(store, folder, recipe, partial_because(store), certificate_of(store, recipe))
    found.check(str(folder))
    return found
