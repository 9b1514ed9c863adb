"""Changed filters over a finished (or unfinished) run: what is stored is judged anew, and nothing is asked.

The engine replays the run under the new recipe, with a gate that lets no call out. All that is derived (steps,
verdicts, drops) and the folder's experiment are rewritten in one transaction, so that a process that is killed leaves
the old run or the new one; the files beside ``run.db`` follow, and either a rejudge or a run writes them anew.

To ask is to ask an LLM. A result that needs none (:meth:`~evolteacher.operator.Ask.once`: a sandbox's) and that the
folder does not hold is worked out here, since it costs nothing but time; it is kept with the rest of the transaction.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evolteacher.asking import Desk
from evolteacher.awaiting import carried_out
from evolteacher.backend import Workload
from evolteacher.catalog import Catalog
from evolteacher.changes import Changes, compare, snapshot
from evolteacher.database import DATABASE
from evolteacher.differences import differences
from evolteacher.engine import Engine
from evolteacher.errors import UsageError
from evolteacher.history import summarise
from evolteacher.lock import locked
from evolteacher.messages import ROLES
from evolteacher.outputs import exports, lock_recipe, write_outputs
from evolteacher.plan import Row, price_rest
from evolteacher.prices import check_budget
from evolteacher.progress import Progress
from evolteacher.recipe import Recipe
from evolteacher.requirements import check_requirements
from evolteacher.rest import ClosedAnswerer, ClosedGate, Rest
from evolteacher.rights import note_rights
from evolteacher.runner import drop_rows, unfinished, why_pending
from evolteacher.store import Store

PRUNING = ("filters", "dataset_filters", "on_pruned")
"""Parts of the experiment that a rejudge may change, besides the judge's backend and sampling."""

EXAMPLES = 3


@dataclass(frozen=True)
class Rejudged:
    """What came of a rejudge.

    Attributes:
        folder: the run folder.
        recipe: the new experiment, which ``run`` goes on with.
        differs: a line for each difference between the old experiment and the new one.
        changes: rows and verdicts, before and after.
        lineages: that the run has.
        pending: lineages that are not finished.
        was_pending: that were not finished before.
        reason: why the first of them is not; empty when all are.
        rest: calls that pending lineages have left, by role and backend, estimated as a plan does.
        records: rows of the dataset.
        dry_run: whether all was left as it was.
    """

    folder: Path
    recipe: Recipe
    differs: tuple[str, ...]
    changes: Changes
    lineages: int
    pending: int
    was_pending: int
    reason: str
    rest: tuple[Row, ...]
    records: int
    dry_run: bool

    @property
    def calls(self) -> int:
        """That pending lineages have left at most."""
        return sum(row.calls for row in self.rest)

    @property
    def likely(self) -> int:
        """Calls that pending lineages have left if what is stored fits, and the folder's rates go on."""
        return sum(row.likely or 0 for row in self.rest)

    @property
    def dollars(self) -> float | None:
        """What these likely come to; None where a price is not known."""
        found = [row.dollars.likely for row in self.rest if row.dollars is not None]
        return sum(found) if len(found) == len(self.rest) else None


def rejudge(run: Path | str, **options: Any) -> Rejudged:
    """Judge a run anew; see :func:`arejudge`. Inside a running event loop (Jupyter), ``await et.arejudge(…)``.

    Raises:
        UsageError: an event loop is running already; all other errors are those of :func:`arejudge`.
    """
    return carried_out("rejudge", arejudge, run, **options)


async def arejudge(
    run: Path | str,
    *,
    set: Iterable[str] = (),
    recipe: Recipe | str | Path | None = None,
    dry_run: bool = False,
    catalog: Catalog | None = None,
    note: Callable[[str], None] = lambda line: None,
) -> Rejudged:
    """Apply changed filters to what a run folder holds; nothing is asked, and no backend is opened.

    A lineage that would need a reply is left pending; ``et.run(done.recipe, done.folder)`` asks for it. Observers are
    told nothing.

    Args:
        run: the run folder.
        set: ``dotted.key=value`` changes to the recipe.
        recipe: the new recipe, its path or name; the folder's own when None.
        dry_run: say what would change, and leave the folder as it is.
        catalog: what is installed; loaded when None.
        note: told lines for the user.

    Returns:
        What changed.

    Raises:
        UsageError: the new recipe is another experiment in more than its pruning; with what differs.
        RunError: the folder is in use or cannot be written.
    """
    catalog, folder, changes = catalog or Catalog.load(), Path(run), [*set]
    with Store(folder / DATABASE, read_only=True) as store:
        held, old = store.meta("recipe"), store.meta("experiment")
    if held is None or old is None:
        raise UsageError(f"{folder}: this run never began, so there is nothing to judge anew; run its recipe first")
    if recipe is None:
        recipe = Recipe.from_dict(held, set=changes, catalog=catalog)
    elif isinstance(recipe, Recipe):
        recipe = recipe.changed(set=changes, catalog=catalog) if changes else recipe
    else:
        recipe = Recipe.load(recipe, set=changes, catalog=catalog)
    check_budget(recipe)
    check_requirements(recipe)
    formats = exports(recipe, lambda line: None)
    with ExitStack() as stack:
        stack.enter_context(locked(folder))
        store = stack.enter_context(Store(folder / DATABASE, full_sync=recipe.synchronous == "full"))
        old, new = store.meta("experiment"), json.loads(json.dumps(recipe.experiment()))
        check_pruning_only(folder, old, new)
        with store.transaction(keep=not dry_run):
            done = await _replay(store, folder, recipe, tuple(differences(old, new)), dry_run)
        if not dry_run:
            lock_recipe(folder, recipe, catalog)
            write_outputs(store, folder, recipe, formats, unfinished(done.pending, done.reason))
    return done


async def _replay(store: Store, folder: Path, recipe: Recipe, differs: tuple[str, ...], dry_run: bool) -> Rejudged:
    """Rewrite what is derived, inside the caller's transaction."""
    was_pending, seeds, progress = summarise(store).pending, store.seed_count(), Progress()
    snapshot(store, "before")
    store.set_meta("experiment", recipe.experiment())
    store.set_meta("recipe", recipe.to_plain())
    note_rights(store, recipe)
    rest = Rest(recipe, store)
    gate = ClosedGate(recipe, store, progress, rest)
    samplings = {role: recipe.sampling.of(role) for role in ROLES}
    workload = Workload(recipe.concurrency, max(s.max_tokens for s in samplings.values()), store.longest_seed())
    answerers = {key: ClosedAnswerer(key, use.component, workload, gate) for key, use in recipe.backends.items()}
    engine = Engine(recipe, Desk(store, gate, dict(answerers), samplings, progress), seeds)
    rest.follow(engine)
    await engine.run()
    drop_rows(store, recipe, progress)
    snapshot(store, "after")
    summary = summarise(store)
    return Rejudged(
        folder, recipe, differs, compare(store, "before", "after", EXAMPLES), seeds, summary.pending, was_pending,
        why_pending(store) if summary.pending else "", price_rest(recipe, store, rest.calls), summary.records, dry_run,
    )  # fmt: skip


def check_pruning_only(folder: Path, old: dict[str, Any], new: dict[str, Any]) -> None:
    """Stop where two experiments differ in more than their pruning.

    Raises:
        UsageError: with a line for each difference.
    """
    different = list(differences(_asked(old), _asked(new)))
    if different:
        raise UsageError(
            "\n".join(
                [
                    f"{folder}: a rejudge changes how a run is pruned (filters, dataset_filters, on_pruned, and the "
                    "judge's backend and sampling). What else differs is another experiment:",
                    *different,
                    f"Put these back, or start another run: --out NEW, and --fork {folder} to reuse the replies that "
                    "still fit.",
                ]
            )
        )


def _asked(experiment: dict[str, Any]) -> dict[str, Any]:
    """Return the part of an experiment that decides how instructions evolve and are answered."""
    rest = {key: value for key, value in experiment.items() if key not in PRUNING}
    backends, names = experiment["backends"], {"evolve", "respond"}
    for use in experiment["operators"]:
        names.update(options["backend"] for options in use.values() if "backend" in options)
    rest["backends"] = {name: _resolved(backends, name) for name in sorted(names)}
    rest["sampling"] = {role: value for role, value in experiment["sampling"].items() if role != "judge"}
    return rest


def _resolved(backends: dict[str, Any], name: str) -> Any:
    """Return the backend that a name means; a text is the key of another entry."""
    found = backends.get(name)
    return backends.get(found) if isinstance(found, str) else found
