"""A training on stderr: a bar on a terminal, else a line now and then; and the label mask in colours."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from evolteacher.cli.suspension import Suspension
from evolteacher.cli.telling import Voice
from evolteacher.cli.terminal import bare_terminal, console, duration, note, plain
from evolteacher.training.mask import Shown
from evolteacher.training.watch import TrainProgress

LOOKS_PER_SECOND = 4
SECONDS_BETWEEN_LINES = 15.0
BAR = 14
CHARACTERS_SHOWN = 600
"""Of each piece of a row, half at its beginning and half at its end."""


class TrainDisplay:
    """Shows a training's counters while the block lasts.

    Args:
        progress: the counters.
        on: whether anything is shown; of several processes one is enough.
    """

    def __init__(self, progress: TrainProgress, *, on: bool = True) -> None:
        self.progress = progress
        self._on = on
        self._console = console(stderr=True)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="display", daemon=True)
        self._live: Live | None = None
        self._suspension = Suspension()
        self._began: float | None = None
        self._said = ""

    def __enter__(self) -> Self:
        """Begin to look."""
        if self._on:
            if self._console.is_terminal and not bare_terminal():
                self._live = Live(console=self._console, refresh_per_second=LOOKS_PER_SECOND, transient=True)
                self._live.start()
                self._suspension.__enter__()
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the terminal back as it was."""
        self._over.set()
        if self._on:
            self._thread.join()
        self._suspension.__exit__(kind, error, trace)
        if self._live is not None:
            self._live.stop()

    def note(self, line: str) -> None:
        """Show a line for good, above the bar."""
        if self._live is not None:
            self.show(Text(plain(line)))
        elif self._on:
            note(line)

    def show(self, text: Text) -> None:
        """Show a text for good, in its colours where the terminal has any."""
        if self._on:
            self._console.print(text)

    @property
    def colours(self) -> bool:
        """Whether colours can be seen."""
        return self._console.color_system is not None

    def _watch(self) -> None:
        said = time.monotonic()
        while not self._over.wait(1 / LOOKS_PER_SECOND):
            now = time.monotonic()
            if self._began is None and self.progress.steps:
                self._began = now
            if self._live is not None:
                if self._suspension.look(self._live.stop):
                    continue
                self._live.start()  # does something after a suspension only
                self._live.update(self._bar(now))
            elif now - said >= SECONDS_BETWEEN_LINES:
                said = now
                self._say(now)

    def _words(self, now: float) -> str:
        progress = self.progress
        if not progress.steps:
            return progress.doing
        words = [f"{progress.doing}: step {progress.step:,} of {progress.steps:,}"]
        if progress.loss is not None:
            words.append(f"loss {progress.loss:.3f}")
        if progress.held_out is not None:
            words.append(f"held out {progress.held_out:.3f}")
        done = progress.step - progress.first_step
        if done and self._began is not None:
            left = (progress.steps - progress.step) * (now - self._began) / done
            words.append(f"{duration(left)} left")
        return ", ".join(words)

    def _say(self, now: float) -> None:
        words = self._words(now)
        if words != self._said:
            note(words)
            self._said = words

    def _bar(self, now: float) -> Table:
        line = Table.grid(padding=(0, 1))
        steps = self.progress.steps
        bar = ProgressBar(total=steps or None, completed=self.progress.step, width=BAR, pulse=not steps)
        line.add_row(bar, Text(self._words(now), no_wrap=True, overflow="ellipsis"))
        return line


def tell_step(voice: Voice) -> Callable[[dict[str, Any]], None]:
    """Return what tells the metrics of a training's steps, as a line where all is to be told, and as events."""

    def told(row: dict[str, Any]) -> None:
        voice.event("training_step", **row)
        figures = {"loss": row.get("loss"), "held out": row.get("eval_loss")}
        words = [f"{name} {value:.3f}" for name, value in figures.items() if isinstance(value, float)]
        if words:
            voice.detail(f"step {row['step']:,}: {', '.join(words)}")

    return told


def show_row(row: Shown, display: TrainDisplay) -> None:
    """Show a row's label mask: what the loss counts in green, or between marks where there is no colour."""
    colours = display.colours
    text = Text()
    text.append(f"a row of {row.tokens:,} tokens, the loss counts {row.counted:,} of them:\n", "bold")
    for piece, counted in row.pieces:
        shown = plain(shortened(piece))
        if colours:
            text.append(shown, "green" if counted else "dim")
        else:
            text.append(f"[[{shown}]]" if counted else shown)
    display.show(text)


def shortened(piece: str) -> str:
    """Return a text of which a long middle is left out."""
    half = CHARACTERS_SHOWN // 2
    return piece if len(piece) <= CHARACTERS_SHOWN else f"{piece[:half]} … {piece[-half:]}"
