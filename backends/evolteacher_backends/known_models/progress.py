"""Progress of a fetch on stderr: a bar on a terminal, else a line now and then."""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TaskID, TimeRemainingColumn, TransferSpeedColumn
from rich.progress import Progress as Bar

from evolteacher_backends.known_models import megabytes

_SECONDS_BETWEEN_LINES = 10.0


class Progress:
    """Says on stderr how far a fetch is. Used as a context manager; not for several threads at once."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._bar: Bar | None = None
        self._task = TaskID(0)
        self._source = ""
        self._total: int | None = None
        self._begun = self._said = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def say(self, text: str) -> None:
        """Print one line."""
        self._console.print(text, markup=False)

    def start(self, total: int | None, done: int) -> None:
        """Begin.

        Args:
            total: bytes of the whole file, where known.
            done: bytes that an earlier attempt left.
        """
        self._total = total
        self._begun = self._said = time.monotonic()
        size = f" ({megabytes(total)})" if total else ""
        going_on = f", going on after {megabytes(done)}" if done else ""
        self.say(f"fetching {self._name}{size}{going_on}")
        if self._console.is_terminal:
            columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
            self._bar = Bar(*columns, console=self._console, transient=True)
            self._task = self._bar.add_task(self._name, total=total, completed=done)
            self._bar.start()
        self.at(done, total)

    def source(self, label: str) -> None:
        """Say where the bytes come from, once for each change."""
        if label != self._source:
            self._source = label
            self.say(f"  from {label}")

    def at(self, done: int, total: int | None = None) -> None:
        """Report the number of bytes that are there, and the whole where it became known."""
        self._total = total or self._total
        now = time.monotonic()
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=self._total)
        elif now - self._said >= _SECONDS_BETWEEN_LINES:
            self._said = now
            whole = f" of {megabytes(self._total)}" if self._total else ""
            self.say(f"  {megabytes(done)}{whole}")

    def finish(self, path: Path) -> None:
        """Say that the file is there and right."""
        if self._bar is not None:
            self._bar.stop()
        seconds = time.monotonic() - self._begun
        self.say(f"fetched {self._name}: {megabytes(path.stat().st_size)} in {seconds:.0f} s, checked, in {path}")
