"""One recipe executed into one folder; always resumable."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from evolteacher.answerer import Answerer
from evolteacher.asking import Desk
from evolteacher.awaiting import carried_out
from evolteacher.backend import Workload
from evolteacher.bandit import ByBandit
from evolteacher.budget import Till
from evolteacher.catalog import Catalog
from evolteacher.database import DATABASE
from evolteacher.engine import Engine
from evolteacher.errors import EvolteacherError, UsageError
from evolteacher.events import EvolutionSettled, RoundFinished, RunFinished, RunStarted
from evolteacher.gate import Gate
from evolteacher.heartbeat import Heartbeat
from evolteacher.history import Summary, records, summarise, unanswered
from evolteacher.intake import take_in
from evolteacher.ledger import Ledger
from evolteacher.lock import locked
from evolteacher.messages import ROLES
from evolteacher.outputs import exports, lock_recipe, write_outputs
from evolteacher.prices import check_budget, given_prices, known_prices
from evolteacher.progress import Progress
from evolteacher.provenance import note_plugins
from evolteacher.recipe import Recipe
from evolteacher.requirements import cautions, check_requirements
from evolteacher.rights import note_rights, seeds_not_allowed
from evolteacher.runfolder import begin_anew, check_experiment, check_free
from evolteacher.selecting import selected
from evolteacher.stopping import WAITS
from evolteacher.store import Store
from evolteacher.training.proxy import tune_proxy
from evolteacher.writing import make_folder

_STOP = "stop"

STOPPED = "The run stopped:"
"""How the sentence begins that says by what error a run was stopped."""


@dataclass(frozen=True)
class RunResult:
    """What came of a run.

    Attributes:
        folder: the run folder.
        summary: the sums of the folder, earlier processes included.
        pending: lineages that are not finished.
        reason: why the first of them is not; empty when all are.
        calls: replies that this process bought.
        replayed: asks that the folder answered.
        forked: asks that the forked run answered.
        tokens: completion tokens that this process bought.
        seconds: that this process took.
        cost: US dollars that this process paid; None where no price is known.
        budget: why the budget stopped the run; empty when it did not.
        results: that this process worked out without an LLM.
        results_replayed: results that the folder held.
        results_forked: results that the forked run held.
        needed: ``usd`` and ``tokens`` of the least budget in which the next call would have fitted; empty when the
            budget did not stop the run.
    """

    folder: Path
    summary: Summary
    pending: int
    reason: str
    calls: int
    replayed: int
    forked: int
    tokens: int
    seconds: float
    cost: float | None = None
    budget: str = ""
    results: int = 0
    results_replayed: int = 0
    results_forked: int = 0
    needed: Mapping[str, float] = field(default_factory=dict)

    @property
    def records(self) -> int:
        """Rows of the dataset."""
        return self.summary.records


def run(recipe: Recipe | str | Path, out: Path | str | None = None, **options: Any) -> RunResult:
    """Run a recipe to its end; see :func:`arun`. Inside a running event loop (Jupyter), ``await et.arun(…)``.

    Raises:
        UsageError: an event loop is running already; all other errors are those of :func:`arun`.
    """
    return carried_out("run", arun, recipe, out, **options)


async def arun(
    recipe: Recipe | str | Path,
    out: Path | str | None = None,
    *,
    set: Iterable[str] = (),
    backend: str | None = None,
    limit: int | None = None,
    fork: Path | str | None = None,
    catalog: Catalog | None = None,
    progress: Progress | None = None,
    note: Callable[[str], None] = lambda line: None,
) -> RunResult:
    """Run a recipe into a folder, or go on with one.

    What the folder holds is never asked again. However the run ends, what has settled is written.

    Args:
        recipe: a recipe, its path, or the name of a shipped one.
        out: the run folder; ``runs/<recipe name>`` by default.
        set: ``dotted.key=value`` changes to the recipe.
        backend: ``NAME`` or ``NAME:MODEL`` that answers every role.
        limit: take the first N unique seeds.
        fork: another run folder; it is only read, and a reply is reused where slot and fingerprint are equal.
        catalog: what is installed; that of the recipe, or loaded, when None.
        progress: counters that a display may watch.
        note: told lines for the user.

    Returns:
        What came of it; ``pending`` above 0 means that some lineages ran out of retries, and that running the same
        again goes on with them.

    Raises:
        UsageError: recipe, seeds or folder do not go together.
        RunError: the folder is in use or cannot be written.
        BackendError: a backend cannot answer at all.
    """
    catalog = catalog or (recipe.catalog if isinstance(recipe, Recipe) else Catalog.load())
    changes = [*set, *([f"seeds.limit={limit}"] if limit is not None else [])]
    if not isinstance(recipe, Recipe):
        recipe = Recipe.load(recipe, set=changes, backend=backend, catalog=catalog)
    elif changes or backend is not None:
        recipe = recipe.changed(set=changes, backend=backend, catalog=catalog)
    folder = Path(out) if out is not None else Path("runs") / recipe.name
    run = Run(recipe, folder, catalog, progress or Progress(), note)
    return await run.go(Path(fork) if fork is not None else None)


class Run:
    """One execution of a recipe in its folder."""

    def __init__(
        self, recipe: Recipe, folder: Path, catalog: Catalog, progress: Progress, note: Callable[[str], None]
    ) -> None:
        self.recipe = recipe
        self.folder = folder
        self.catalog = catalog
        self.progress = progress
        self.note = note
        self._budget = ""
        self._needed: Mapping[str, float] = {}

    async def go(self, fork: Path | None) -> RunResult:
        """Open everything, run the engine, write what has settled, close everything."""
        check_budget(self.recipe)
        check_requirements(self.recipe)
        begun = (self.folder / DATABASE).exists()
        formats = exports(self.recipe, (lambda line: None) if begun else self.note)
        with ExitStack() as stack:
            forked = self._fork(fork, stack)
            if not begun:
                check_free(self.folder)
            make_folder(self.folder)
            stack.enter_context(locked(self.folder))
            store = stack.enter_context(Store(self.folder / DATABASE, full_sync=self.recipe.synchronous == "full"))
            if begun and not store.was_asked():
                begin_anew(store)
            check_experiment(store, self.recipe)
            stack.enter_context(Heartbeat(store.path, self.progress))
            report = take_in(store, self.recipe, self.catalog)
            for line in report.lines()[1:]:
                self.note(f"seeds: {line}")
            store.set_meta("experiment", self.recipe.experiment())
            store.set_meta("recipe", self.recipe.to_plain())
            note_rights(store, self.recipe)
            for line in [] if begun else seeds_not_allowed(self.recipe, store.seed_licences()):
                self.note(f"licence: {line}")
            for line in note_plugins(store, self.recipe, self.catalog):
                self.note(line)
            lock_recipe(self.folder, self.recipe, self.catalog)
            seeds = store.seed_count()
            self.progress.seeds, self.progress.rounds = seeds, self.recipe.rounds
            resumed = store.reply_count() > 0
            self._tell("run_started", RunStarted(self.folder, self.recipe.name, seeds, self.recipe.rounds, resumed))
            try:
                await self._evolve(store, forked, seeds)
                drop_rows(store, self.recipe, self.progress)
            except BaseException as error:
                self._write_partial(store, formats, _why(error))
                raise
            note_stop(store, "")
            return self._finish(store, formats)

    def _write_partial(self, store: Store, formats: tuple[str, ...], why: str) -> None:
        """Write what has settled; where even that fails, the error that stopped the run is the one to be seen."""
        try:
            note_stop(store, why)
            write_outputs(store, self.folder, self.recipe, formats, why)
        except EvolteacherError as error:
            self.note(f"the dataset so far could not be written: {error}")

    def _fork(self, fork: Path | None, stack: ExitStack) -> Store | None:
        if fork is None:
            return None
        if fork.resolve() == self.folder.resolve():
            raise UsageError(f"--fork {fork}: a run cannot be forked into itself; give the new one another --out")
        return stack.enter_context(Store(fork / DATABASE, read_only=True))

    async def _evolve(self, store: Store, forked: Store | None, seeds: int) -> None:
        recipe = self.recipe
        samplings = {role: recipe.sampling.of(role) for role in ROLES}
        workload = Workload(recipe.concurrency, max(s.max_tokens for s in samplings.values()), store.longest_seed())
        async with AsyncExitStack() as stack:
            answerers = {}
            till = Till(Ledger(store), recipe.budget, given_prices(recipe), known_prices(recipe), self.progress)
            gate = Gate(recipe.concurrency, recipe.limits, till, self.progress)
            for key, use in recipe.backends.items():
                answerers[key] = Answerer(key, use.component, workload, gate)
                stack.push_async_exit(partial(self._close, answerers[key]))
                if answerers[key].batcher is not None:
                    self.note(f"{use.written} answers in provider batches: each step of a round waits for its batch")
            for caution in cautions(recipe):
                self.note(caution)
            desk = Desk(store, gate, answerers, samplings, self.progress, forked)
            engine = Engine(recipe, desk, seeds, note=self.note)
            if isinstance(recipe.choose, ByBandit):
                size = recipe.choose.bandit.block
                self.note(f"a bandit chooses operators: lineages go in blocks of {size:,}, two at once at most")
            if recipe.stop is not None:
                most = f"{recipe.rounds} at the most"
                self.note(f"evol stop by {recipe.stop.signal}: a round ends before the next begins, {most}")
                engine.proxy = tune_proxy
            if self.catalog.observed("evolution_settled"):
                engine.settled = self._settled
            engine.round_finished = self._round_finished
            try:
                await engine.run()
            finally:
                self._budget, self._needed = till.exhausted, till.needed
            for answerer in answerers.values():
                answerer.finish()

    async def _close(self, answerer: Answerer, kind: object, error: BaseException | None, trace: object) -> None:
        """Close a backend; where even that fails, the error that stopped the run is the one to be seen."""
        try:
            await answerer.close()
        except EvolteacherError as fault:
            if error is None:
                raise
            self.note(str(fault))

    def _finish(self, store: Store, formats: tuple[str, ...]) -> RunResult:
        progress, summary = self.progress, summarise(store)
        pending, reason = summary.pending, why_pending(store) if summary.pending else ""
        write_outputs(store, self.folder, self.recipe, formats, unfinished(pending, reason))
        rejected = sum(summary.rejected.values())
        finished = RunFinished(self.folder, summary.records, rejected, pending, replayed=not progress.calls)
        self._tell("run_finished", finished)
        return RunResult(
            self.folder, summary, pending, reason, progress.calls, progress.replayed, progress.forked,
            progress.completion_tokens, progress.seconds, progress.cost, self._budget,
            progress.results, progress.results_replayed, progress.results_forked, self._needed,
        )  # fmt: skip

    def _settled(self, event: EvolutionSettled) -> None:
        self._tell("evolution_settled", event)

    def _round_finished(self, event: RoundFinished) -> None:
        self._tell("round_finished", event)

    def _tell(self, hook: str, event: object) -> None:
        for complaint in self.catalog.observe(hook, event):
            self.note(complaint)


def why_pending(store: Store) -> str:
    """Return why the first of the lineages that are not finished is not."""
    # Of lineages that wait for the others to leave a round, the others tell why.
    query = "SELECT pending FROM lineages WHERE pending != '' ORDER BY pending = ?, ord LIMIT 1"
    found = store.query(query, (WAITS,)).fetchone()
    return str(found[0]) if found is not None else "not started"


def note_stop(store: Store, why: str) -> None:
    """Store what stopped a run, in a sentence; empty where nothing did."""
    if why or store.meta(_STOP) is not None:
        store.set_meta(_STOP, why)


def stop_of(store: Store) -> str:
    """Return what stopped a run's last process before its end, in a sentence; empty where nothing did."""
    return str(store.meta(_STOP) or "")


def unfinished(pending: int, reason: str) -> str:
    """Return what the card says of lineages that are not finished; nothing where all are."""
    are = "lineage is" if pending == 1 else "lineages are"
    return f"{pending:,} {are} not finished ({reason})." if pending else ""


def drop_rows(store: Store, recipe: Recipe, progress: Progress) -> None:
    """Run the dataset filters in recipe order, each on what is left; none while lineages are pending."""
    store.clear_drops()
    if progress.pending:
        return
    for use in recipe.dataset_filters:
        # A snippet is no task, so no row is compared with it.
        seeds = unanswered(store) if recipe.material == "task" else ()
        dropped = [(r.round, r.order, use.label, reason) for r, reason in selected(use, partial(records, store), seeds)]
        store.add_drops(dropped)
        progress.filters[use.label] += len(dropped)


def _why(error: BaseException) -> str:
    if isinstance(error, EvolteacherError):
        return f"{STOPPED} {str(error).rstrip('.')}."
    return "The run was interrupted."
