"""``--log-json``: what happens as JSON Lines, for programs; of a run, an observer like any plugin's."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Self

import typer

from evolteacher.hookspecs import hookimpl
from evolteacher.writing import cannot_write

if TYPE_CHECKING:
    from evolteacher.events import EvolutionSettled, RoundFinished, RunFinished, RunStarted

STANDARD_ERROR = "-"


class EventLog:
    """Writes one line an event, each with ``at`` (UTC, ISO 8601) and ``event``; they are whole, whoever reads along.

    Events: ``run_started`` (folder, recipe, seeds, rounds, resumed); ``evolution_settled`` (lineage, round, operator,
    kept, stage, filter, reason, replayed); ``round_finished`` (round, kept, rejected, replayed); ``note`` (text);
    ``run_finished`` (folder, records, rejected, pending, replayed); ``interrupted``; ``error`` (text). Of a training:
    ``training_started`` (name, model, data, folder), ``training_step`` (step, and what was measured),
    ``training_finished`` (folder, model, steps, loss). Of an evaluation: ``evaluation_started`` (benchmark, model,
    problems, samples, folder), ``sample_scored`` (problem, sample, passed, reason), ``evaluation_finished`` (folder,
    scores). Of a comparison: ``comparison_finished`` (folder, trusted, verdict).

    Args:
        path: a file that is appended to, or ``-`` for stderr.

    Raises:
        RunError: the file cannot be written.
    """

    def __init__(self, path: str) -> None:
        self._file: IO[str] = sys.stderr
        if path != STANDARD_ERROR:
            try:
                self._file = Path(path).open("a", encoding="utf-8", buffering=1)
            except OSError as error:
                raise cannot_write(path, error) from error

    def __enter__(self) -> Self:
        """Return the log."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Say what ended it before its end, where something did, and close the file."""
        if isinstance(error, typer.Exit | KeyboardInterrupt):  # how that ends which a signal has stopped
            self.write("interrupted")
        elif error is not None:
            self.write("error", text=str(error) or type(error).__name__)
        if self._file is not sys.stderr:
            with suppress(OSError):
                self._file.close()

    def write(self, event: str, **fields: Any) -> None:
        """Write one event. A full disk costs the line and not the run."""
        row = {"at": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, **fields}
        with suppress(OSError):
            self._file.write(json.dumps(row, ensure_ascii=True, default=str) + "\n")

    def note(self, text: str) -> None:
        """Write what a user is told."""
        self.write("note", text=text)

    @hookimpl
    def run_started(self, event: RunStarted) -> None:
        """Write it."""
        self.write("run_started", **asdict(event))

    @hookimpl
    def evolution_settled(self, event: EvolutionSettled) -> None:
        """Write what was tried and what became of it; the texts are in the run's folder."""
        step, verdict = event.step, event.step.verdict
        self.write(
            "evolution_settled",
            lineage=event.lineage,
            round=step.round,
            operator=step.operator,
            kept=verdict.kept,
            stage=verdict.stage,
            filter=verdict.filter or None,
            reason=verdict.reason or None,
            replayed=event.replayed,
        )

    @hookimpl
    def round_finished(self, event: RoundFinished) -> None:
        """Write it."""
        self.write("round_finished", **asdict(event))

    @hookimpl
    def run_finished(self, event: RunFinished) -> None:
        """Write it."""
        self.write("run_finished", **asdict(event))


class Lines:
    """``--verbose``: a line for each evolution as it settles.

    Args:
        say: shows a line.
    """

    def __init__(self, say: Any) -> None:
        self._say = say

    @hookimpl
    def evolution_settled(self, event: EvolutionSettled) -> None:
        """Say what was tried and what became of it."""
        step, verdict = event.step, event.step.verdict
        became = "kept" if verdict.kept else f"rejected by {verdict.filter}: {' '.join(verdict.reason.split())[:120]}"
        self._say(f"{event.lineage[:8]} round {step.round} {step.operator}: {became}")
