"""Whether a run's dataset may go under the recipe's ``licence:``, and the word of who lets it go all the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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
from evolteacher.record import clean_text
from evolteacher.rights import Clearance, clearance, held_licence, let_go
from evolteacher.runner import unfinished, why_pending
from evolteacher.store import Store


def held_recipe(store: Store, catalog: Catalog) -> Recipe:
    """Return the recipe that a run's folder holds.

    Raises:
        UsageError: the run never began.
        RecipeError: what it names is not installed.
    """
    _check_begun(store)
    return Recipe.from_dict(store.meta("recipe"), catalog=catalog)


def _check_begun(store: Store) -> None:
    if store.meta("recipe") is None:
        raise UsageError(f"{store.path.parent}: this run never began, so there is nothing in it; run its recipe first")


def partial_because(store: Store) -> str:
    """Return why a run's dataset is not the whole one; empty when it is."""
    pending = summarise(store).pending
    return unfinished(pending, why_pending(store)) if pending else ""


@contextmanager
def cleared(
    folder: Path, *, despite: str | None = None, catalog: Catalog, dry_run: bool = False
) -> Iterator[tuple[Store, Clearance]]:
    """Open a run whose licence lets its dataset go; what is read in the block is what the licence was compared with.

    A run that goes on adds rows meanwhile: the block does not see them, so none goes out that was not looked at.

    Args:
        folder: the run's.
        despite: why it goes all the same; put on record in the folder and its card, for this licence and these kinds
            of rows.
        catalog: what is installed.
        dry_run: put nothing on record; the clearance is as if it were.

    Raises:
        LicenceRefused: the licence does not allow the mix.
        UsageError: there is no run, or it never began; or the reason is blank.
        RecipeError: the folder names something that is no licence; or what the card needs to tell of the reason is
            not installed.
        RunError: the reason cannot be put on record: the run is going on, or the folder cannot be written.
    """
    why = None if despite is None else clean_text(despite)[0].strip()
    if why == "":
        raise UsageError("--despite needs a reason: it goes into the card")
    if why is not None and not dry_run:
        _put_on_record(folder, why, catalog)
    with Store(folder / DATABASE, read_only=True) as store, store.snapshot():
        _check_begun(store)
        found = clearance(store, held_licence(store))
        if found.refused and why is not None and dry_run:
            found = replace(found, despite=why)
        found.check(str(folder))
        yield store, found


def _put_on_record(folder: Path, why: str, catalog: Catalog) -> None:
    with Store(folder / DATABASE, read_only=True) as store:
        if not clearance(store, held_licence(store)).refused:
            return
    with locked(folder), Store(folder / DATABASE) as store:
        recipe = held_recipe(store, catalog)
        let_go(store, clearance(store, recipe.licence), why)
        write_card(store, folder, recipe, partial_because(store), certificate_of(store, recipe))
