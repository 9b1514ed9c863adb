"""``evolteacher run``: run a recipe, show how it goes, and say at the end what came of it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, Self

import typer

from evolteacher.cli import INTERRUPTED, values
from evolteacher.cli.hubwords import say_once
from evolteacher.cli.options import BackendName, Changes, Limit, OutFolder, RecipeName, with_limit
from evolteacher.cli.telling import ALOUD, LogJson, Quiet, Telling, Verbose, Voice
from evolteacher.cli.terminal import command_line, complain, count, load_catalog, note
from evolteacher.errors import BudgetExceeded, EvolteacherError, UsageError

if TYPE_CHECKING:  # what carries a run out is imported when one is, and not for --help or a completion
    from evolteacher.catalog import Catalog
    from evolteacher.cli.display import Display
    from evolteacher.recipe import Recipe
    from evolteacher.runner import RunResult


def run(
    recipe: RecipeName,
    out: OutFolder = None,
    limit: Limit = None,
    changes: Changes = None,
    backend: BackendName = None,
    fork: Annotated[
        Path | None,
        typer.Option(
            "--fork",
            metavar="OLD",
            help="Reuse the replies of this other run where they fit; it is only read.",
            autocompletion=values.runs,
        ),
    ] = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
    log_json: LogJson = None,
) -> None:
    """Run a recipe into a folder, or go on with a run.

    The same command goes on where it stopped: what was answered is on disk and is not asked again. Ctrl-C stops
    cleanly and prints that command.
    """
    from evolteacher.recipe import Recipe

    telling = Telling.of(quiet, verbose, log_json)
    say_once(quiet=telling.quiet)
    resume = resume_command(recipe, out, limit, changes or [], backend, fork)
    catalog = load_catalog()
    loaded = Recipe.load(recipe, set=with_limit(changes, limit), backend=backend, catalog=catalog)
    folder = out if out is not None else Path("runs") / loaded.name
    kept = [change for change in changes or [] if not change.startswith("budget")]

    def with_more(needed: Mapping[str, float]) -> str:
        return resume_command(recipe, out, limit, [*kept, *larger(loaded, needed)], backend, fork)

    if loaded.train is None:
        carry_out(loaded, folder, catalog, resume, with_more, fork, telling)
        return
    from evolteacher.cli.stages import follow, planned
    from evolteacher.cli.train import carry_out as train
    from evolteacher.stages.clock import timed
    from evolteacher.training.job import Training

    training = Training.of_run(loaded, folder)
    training.check_extra()  # before anything is paid for
    ahead = planned(training, folder, catalog)
    with timed(folder, "evolve") as spent:
        result = carry_out(loaded, folder, catalog, resume, with_more, fork, telling)
        spent.counts = bool(result.calls or result.results or result.forked)
    trained = train(training, folder, catalog, resume, telling)
    if trained is not None:
        follow(training, ahead, trained, folder, resume, telling)


def carry_out(
    loaded: Recipe,
    folder: Path,
    catalog: Catalog,
    resume: str,
    with_more: Callable[[Mapping[str, float]], str],
    fork: Path | None = None,
    telling: Telling = ALOUD,
) -> RunResult:
    """Run a loaded recipe with a display, and say what came of it; return that where the run is finished.

    Args:
        loaded: the recipe.
        folder: the run folder.
        catalog: what is installed.
        resume: the command that goes on where it stopped.
        with_more: returns the same with a larger budget, given the least that is needed.
        fork: another run whose replies are reused.
        telling: how much of it is told.
    """
    from evolteacher.cli.display import Display
    from evolteacher.cli.summary import dataset_place, show_result
    from evolteacher.progress import Progress
    from evolteacher.runner import arun

    progress = Progress()
    display = Display(progress, on=not telling.quiet)
    display.note(_heading(loaded, folder))
    with _told(telling, catalog, display) as voice, Interruption(display, resume) as interruption:
        try:
            with display:
                result = interruption.run(
                    arun(loaded, folder, fork=fork, catalog=catalog, progress=progress, note=voice.note)
                )
        except asyncio.CancelledError:
            raise typer.Exit(_interrupted(resume)) from None
        except EvolteacherError as error:
            if progress.seeds and not isinstance(error, UsageError):
                error.add_note(f"What was answered is stored. Once that is mended, go on with:\n  {resume}")
            raise
    telling.result(dataset_place(result.folder, loaded))
    if not telling.quiet:
        show_result(result, loaded, display.pace.tokens_per_second)
    if result.budget:
        _budget(result, with_more(result.needed))
    if result.pending:
        _pending(result, resume)
    return result


@contextmanager
def _told(telling: Telling, catalog: Catalog, display: Display) -> Iterator[Voice]:
    """Observe the run as was asked for while the block lasts."""
    from evolteacher.cli.eventlog import Lines

    with telling.begun(display.note) as voice:
        if telling.verbose:
            catalog.register(Lines(voice.detail), "verbose")
        if voice.log is not None:
            catalog.register(voice.log, "log-json")
        yield voice


def resume_command(
    recipe: str, out: Path | None, limit: int | None, changes: list[str], backend: str | None, fork: Path | None
) -> str:
    """Return the command that goes on with a run: the one that was typed, quoted for a shell."""
    words: list[str | Path] = ["run", recipe]
    for option, value in (("--out", out), ("--limit", limit), ("--backend", backend), ("--fork", fork)):
        if value is not None:
            words += [option, value if isinstance(value, Path) else str(value)]
    for change in changes:
        words += ["--set", change]
    return command_line(*words)


def _heading(recipe: Recipe, folder: Path) -> str:
    backends = {}
    for role in ("evolve", "respond"):
        key = recipe.backend_of(role)
        component = recipe.backends[key].component
        model = getattr(component, component.primary, None)
        backends[key] = f"{recipe.backends[key].written}{f' ({model})' if model else ''}"
    most = " at the most" if recipe.stop is not None else ""
    return f"{recipe.name}: {count(recipe.rounds, 'round')}{most} by {' and '.join(backends.values())}, into {folder}"


def _interrupted(resume: str) -> int:
    note(f"stopped; what was answered is stored. Go on with:\n  {resume}")
    return INTERRUPTED


def _pending(result: RunResult, resume: str) -> NoReturn:
    are = "lineage is" if result.pending == 1 else "lineages are"
    complain("error", f"{result.pending:,} {are} not finished, because retries ran out. The first: {result.reason}")
    note(f"What was answered is stored. Ask for the rest with:\n  {resume}")
    raise typer.Exit(1)


def larger(recipe: Recipe, needed: Mapping[str, float]) -> list[str]:
    """Return changes that double a recipe's budget, as often as it takes until the next call fits.

    Args:
        recipe: with the budget that is spent.
        needed: ``usd`` and ``tokens`` of the least budget in which the next call fits.
    """
    given = recipe.budget.model_dump(exclude_none=True) if recipe.budget is not None else {}
    changes = []
    for name, most in given.items():
        more = 2 * most
        while more < needed.get(name, 0):
            more *= 2
        changes.append(f"budget.{name}={more:.12g}")
    return changes


def _budget(result: RunResult, resume: str) -> NoReturn:
    complain("error", f"{count(result.pending, 'lineage')} not finished: {result.budget}")
    note(f"What was answered is stored. Go on with a larger budget, such as this one:\n  {resume}")
    raise typer.Exit(BudgetExceeded.exit_code)


class Interruption:
    """Turns the first Ctrl-C or SIGTERM into a cancelled run, which writes what settled, and the second into the end.

    Args:
        display: told to say that the run is stopping.
        resume: printed at a second Ctrl-C.
    """

    def __init__(self, display: Display, resume: str) -> None:
        self._display = display
        self._resume = resume
        self._task: asyncio.Task[RunResult] | None = None
        self._old: dict[int, Any] = {}

    def __enter__(self) -> Self:
        """Take the signals."""
        for number in (signal.SIGINT, signal.SIGTERM):
            self._old[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the signals back."""
        for number, handler in self._old.items():
            signal.signal(number, handler)

    def run(self, work: Coroutine[Any, Any, RunResult]) -> RunResult:
        """Run to the end.

        Raises:
            CancelledError: a signal stopped it.
        """
        return asyncio.run(self._hold(work))

    async def _hold(self, work: Coroutine[Any, Any, RunResult]) -> RunResult:
        self._task = asyncio.ensure_future(work)
        if self._display.stopping:
            self._task.cancel()
        return await self._task

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        # A handler runs between any two instructions: it may set flags and write to a descriptor, and no more.
        if self._display.stopping:
            shown = "\x1b[?25h" if self._display.terminal else ""
            words = f"{shown}\nended at once; what was answered is stored. Go on with:\n  {self._resume}\n"
            os.write(2, words.encode("utf-8", "backslashreplace"))
            os._exit(INTERRUPTED)
        self._display.stopping = True
        if self._task is not None:
            self._task.get_loop().call_soon_threadsafe(self._task.cancel)
