"""What an evaluation shows: a bar while it lasts, each sample where all is told, and pass@k at its end."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from evolteacher.cli import INTERRUPTED
from evolteacher.cli.telling import Voice
from evolteacher.cli.terminal import bare_terminal, command_line, console, count, emit, note, one_line, plain, shortened
from evolteacher.errors import BudgetExceeded
from evolteacher.evaluation.naming import component_words
from evolteacher.evaluation.score import RESULTS, SAMPLES, Evaluation, Scored

SECONDS_BETWEEN_LINES = 10.0


class Bar:
    """How many samples are done: a bar on a terminal, else a line now and then.

    Args:
        total: samples.
        on: whether it is shown at all.
        clock: returns seconds.
    """

    def __init__(self, total: int, *, on: bool = True, clock: Callable[[], float] = time.monotonic) -> None:
        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("samples"), TimeRemainingColumn())
        screen = console(stderr=True)
        self._on, self._total, self._clock = on, total, clock
        self._shown = on and screen.is_terminal and not bare_terminal()
        self._bar = Progress(*columns, console=screen, transient=True, disable=not self._shown)
        self._task = self._bar.add_task("", total=total)
        self._done = 0
        self._said_at = clock()

    def telling(self, voice: Voice) -> Callable[[Scored], None]:
        """Return what takes one more sample that is done."""

        def done(one: Scored) -> None:
            self._advance()
            sample, result = one.sample, one.result
            reason = None if result.passed else result.reason
            what = {"problem": sample.problem.id, "sample": sample.number, "passed": result.passed, "reason": reason}
            voice.event("sample_scored", **what)
            voice.detail(f"{sample.problem.id}, sample {sample.number}: {one_line(reason or 'passed', 200)}")

        return done

    def _advance(self) -> None:
        self._bar.advance(self._task)
        self._done += 1
        if self._on and not self._shown and (now := self._clock()) - self._said_at >= SECONDS_BETWEEN_LINES:
            self._said_at = now
            note(f"{self._done:,} of {count(self._total, 'sample')}")

    def note(self, line: str) -> None:
        """Show a line for good, above the bar."""
        if self._shown:
            self._bar.console.print(Text(plain(line)))
        else:
            note(line)

    def __enter__(self) -> Bar:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()


@contextmanager
def ended_kindly() -> Iterator[None]:
    """Say how to go on where Ctrl-C, or a budget that is spent, ends what the block asks.

    Raises:
        typer.Exit: with the exit code of an interrupt.
        BudgetExceeded: with a note.
    """
    try:
        yield
    except KeyboardInterrupt:
        note(f"stopped; what was answered is kept. Go on with:\n  {command_line(*sys.argv[1:])}")
        raise typer.Exit(INTERRUPTED) from None
    except BudgetExceeded as error:
        error.add_note("What was answered is kept. The same command with a larger budget goes on.")
        raise


def tell_start(voice: Voice, benchmark: str, model: str, problems: int, samples: int, folder: Path | None) -> None:
    """Write into the log what is measured."""
    what = {"benchmark": benchmark, "model": model, "problems": problems, "samples": samples, "folder": folder}
    voice.event("evaluation_started", **what)


def tell_end(voice: Voice, found: Evaluation, folder: Path | None, ks: Sequence[int] = (1,)) -> None:
    """Write into the log what came of it."""
    scores = {f"pass@{k}": value for k, (value, _, _) in found.scores(ks).items()}
    voice.event("evaluation_finished", folder=folder, scores=scores)


def show_scores(found: Evaluation, ks: list[int], out: Path | None) -> None:
    """Print pass@k with its interval, what failed how, and where the details are."""
    tallies = found.tallies
    subject = found.about.get("samples_file") or component_words(found.about["model"])
    emit(Text(f"{component_words(found.about['benchmark'])}: {one_line(subject, 60)}", "bold"))
    table = Table(box=None, pad_edge=False)
    for heading in ("score", "", "95 % interval", "solved"):
        table.add_column(heading, justify="left" if heading == "score" else "right")
    solved = sum(passed > 0 for _, passed in tallies.values())
    for k, (value, low, high) in found.scores(ks).items():
        table.add_row(f"pass@{k}", f"{value:.1%}", f"{low:.1%} to {high:.1%}", f"{solved:,} of {len(tallies):,}")
    emit(table)
    if len(tallies) < found.problems:
        emit(Text(f"of {len(tallies):,} problems only; the benchmark has {found.problems:,}"))
    failed = [one for one in found.scored if not one.result.passed]
    kinds: dict[str, int] = {}
    for one in failed:
        kind = _kind(one.sample.ending, one.result.status, one.result.error)
        kinds[kind] = kinds.get(kind, 0) + 1
    if failed:
        listed = ", ".join(f"{kind} {n:,}" for kind, n in sorted(kinds.items(), key=lambda pair: -pair[1])[:6])
        emit(Text(f"{count(len(failed), 'sample')} failed: {plain(listed)}"))
    if out is not None:
        emit(Text(f"details: {out / RESULTS}, {out / SAMPLES}"))


def _kind(ending: str, status: str, error: str) -> str:
    if ending not in ("", "stop"):
        return "cut at --max-tokens" if ending == "length" else ending.split(":")[0]
    return error if status == "raised" else status


def show_failures(found: Evaluation, number: int) -> None:
    """Print the first samples that failed, with their programs."""
    for one in [one for one in found.scored if not one.result.passed][:number]:
        sample = one.sample
        head = Text(f"\n{plain(sample.problem.id)}, sample {sample.number}: ", "bold")
        head.append(one_line(one.result.reason, 200), "red")
        emit(head, Text(shortened(sample.program, 40)))
