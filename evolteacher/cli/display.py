"""The progress of a run on stderr: a table that renews itself on a terminal, else a line now and then.

A thread looks at the run's counters; the run itself knows nothing of it.
"""

from __future__ import annotations

import math
import os
import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich.cells import cell_len
from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from evolteacher.cli.suspension import Suspension
from evolteacher.cli.terminal import bare_terminal, console, count, duration, note, plain
from evolteacher.money import paid
from evolteacher.progress import Progress

LOOKS_PER_SECOND = 4
SECONDS_BETWEEN_LINES = 10.0
ROUNDS_SHOWN = 6
FILTERS_SHOWN = 4

CUTTERS = ("XTERM_VERSION", "STY")
"""Variables of the terminals that cut lines off when they become narrower, and wrap none: xterm and GNU screen."""

BAR = 30
SHORTEST_BAR = 6
BESIDE_THE_BAR = 50
"""Columns for what stands beside a bar, with numbers of five digits."""


@dataclass
class Pace:
    """How fast a run is, by the time in which it bought replies.

    What a resume replays would make it look faster, and a model that is fetched or loaded slower.

    Attributes:
        seconds: spent so far, without the intervals in which stored replies were replayed or a backend was opened.
        rounds: rounds that lineages left in that time.
        tokens: completion tokens bought in that time.
    """

    seconds: float = 0.0
    rounds: int = 0
    tokens: int = 0
    _seen: tuple[float, int, int, int] | None = None

    def look(self, progress: Progress, now: float) -> None:
        """Take the counters' growth since the last look into account."""
        replayed = progress.replayed + progress.forked
        seen = (now, sum(progress.left.values()), progress.completion_tokens, replayed)
        asking = progress.calls + progress.waiting and not progress.opening
        if self._seen is not None and self._seen[3] == replayed and asking:
            self.seconds += seen[0] - self._seen[0]
            self.rounds += seen[1] - self._seen[1]
            self.tokens += seen[2] - self._seen[2]
        self._seen = seen

    def pause(self) -> None:
        """Leave out the time until the next look."""
        self._seen = None

    @property
    def tokens_per_second(self) -> float | None:
        """Completion tokens a second; None before the first reply."""
        return self.tokens / self.seconds if self.tokens and self.seconds > 0 else None

    def seconds_left(self, progress: Progress) -> float | None:
        """Return the seconds until every lineage has left its last round, at the pace so far; None while unknown."""
        left = progress.seeds * progress.rounds - sum(progress.left.values())
        return left * self.seconds / self.rounds if left and self.rounds and self.seconds > 1 else None


class Display:
    """Shows a run's counters while the block lasts.

    Args:
        progress: the counters.
        on: whether anything is shown; otherwise it only measures.
        alone: whether no other bar is on this terminal, since the run is in another process.
    """

    def __init__(self, progress: Progress, *, on: bool = True, alone: bool = False) -> None:
        self.progress = progress
        self._on = on
        self._alone = alone
        self.pace = Pace()
        self.stopping = False
        self._console = console(stderr=True)
        self._redraws = self._console.is_terminal and not bare_terminal()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="display", daemon=True)
        self._live: Live | None = None
        self._drawn: tuple[int, list[int]] = 0, []  # columns of the terminal, and of each line, when it was last drawn
        self._suspension = Suspension()
        self._announced = False
        self._said = ""

    def __enter__(self) -> Self:
        """Begin to look."""
        if self._on and self._redraws:
            self._suspension.__enter__()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Look a last time, and give the terminal back as it was."""
        self._over.set()
        self._thread.join()
        self._suspension.__exit__(kind, error, trace)
        self._hide()
        if self._on and not self._redraws and self.progress.seeds:
            self._say()

    def note(self, line: str) -> None:
        """Show a line for good, above the table."""
        if not self._on:
            return
        if self._live is not None:
            self._console.print(Text(plain(line)))
        else:
            note(line)

    @property
    def terminal(self) -> bool:
        """Whether stderr is a terminal that is redrawn."""
        return self._redraws

    def _watch(self) -> None:
        said = time.monotonic()
        while not self._over.wait(1 / LOOKS_PER_SECOND):
            now = time.monotonic()
            if self._suspension.look(self._hide):
                self.pace.pause()
                continue
            self.pace.look(self.progress, now)
            if self.stopping and not self._announced:
                self._announced = True
                self.note("stopping: what has settled is being written (Ctrl-C again ends at once)")
            if not self._on:
                continue
            if self._redraws:
                self._renew()
            elif now - said >= SECONDS_BETWEEN_LINES and self.progress.seeds:
                said = now
                self._say()

    def _renew(self) -> None:
        # A backend that is being opened may fetch a model and draws a bar of its own.
        progress = self.progress
        begun = progress.calls + progress.waiting + progress.replayed + progress.forked > 0
        if not self._alone and (progress.opening or not begun):
            self._hide()
            return
        if self._live is None:
            self._live = Live(console=self._console, transient=True, auto_refresh=False)
            self._live.start()
        table = self.table()
        self._erase_wrapped()
        # Measured before it is drawn: a terminal that becomes narrower from then on has wrapped what was drawn.
        drawn = self._console.width, [cell_len("".join(s.text for s in line)) for line in self._lines(table)]
        self._live.update(table, refresh=True)
        self._drawn = drawn

    def _lines(self, table: Group) -> list[list[Segment]]:
        """Return a table's lines as they are drawn."""
        return self._console.render_lines(table, pad=False)[: self._console.height]

    def _erase_wrapped(self) -> None:
        """Erase the lines that a terminal has added by wrapping the table when it became narrower."""
        width, (drawn, lines) = self._console.width, self._drawn
        if width < drawn and not any(os.environ.get(name) for name in CUTTERS):
            more = sum(max(math.ceil(cells / width), 1) - 1 for cells in lines)
            self._console.file.write(f"\r\x1b[{more}A\x1b[J" if more else "")

    def _hide(self) -> None:
        if self._live is not None:
            self._erase_wrapped()
            self._live.stop()
            self._live = None
            self._drawn = 0, []

    def _say(self) -> None:
        line = self.line()
        if line != self._said:
            self._said = line
            note(line)

    def line(self) -> str:
        """Return the counters as one line."""
        progress = self.progress
        parts = [
            duration(progress.seconds),
            f"lineages {progress.lineages:,}/{progress.seeds:,}",
            f"calls {self._calls()}",
            f"kept {sum(progress.kept.values()) - progress.kept[0]:,}",
            f"rejected {sum(progress.rejected.values()):,}",
        ]
        return "  ".join([*parts, *([cost] if (cost := self._cost()) else []), *self._speed()])

    def table(self) -> Group:
        """Return the counters as a table of at most 80 columns and a dozen lines; a narrow terminal gets no bars."""
        progress = self.progress
        width = min(BAR, self._console.width - BESIDE_THE_BAR)
        bars = Table.grid(padding=(0, 2))
        bars.add_column(style="dim", no_wrap=True)
        if width >= SHORTEST_BAR:
            bars.add_column(width=width)
        bars.add_column(justify="right", no_wrap=True)
        bars.add_column(no_wrap=True)
        lineages, seeds = progress.lineages, progress.seeds
        bars.add_row(" lineages", *_bar(lineages, seeds, width), f"{lineages:,}/{seeds:,}")
        for round in self._rounds():
            settled = f"{progress.kept[round]:,} kept, {progress.rejected[round]:,} rejected"
            left = progress.left[round]
            bars.add_row(f" round {round}", *_bar(left, seeds, width), f"{left:,}/{seeds:,}", settled)
        facts = Table.grid(padding=(0, 2))
        facts.add_column(style="dim", no_wrap=True)
        facts.add_column()
        if progress.opening:
            facts.add_row(" model   ", "is being fetched or loaded")
        facts.add_row(" calls   ", self._calls())
        if progress.filters:
            facts.add_row(" rejected", self._filters())
        if progress.pending:
            facts.add_row(" pending ", Text(f"{count(progress.pending, 'lineage')}: the retries ran out", "yellow"))
        if cost := self._cost():
            facts.add_row(" cost    ", cost)
        for trouble in list(progress.trouble.values()):
            facts.add_row(" trouble ", Text(plain(trouble), "yellow"))
        facts.add_row(" time    ", " · ".join([duration(progress.seconds), *self._speed()]))
        return Group(bars, facts)

    def _rounds(self) -> range:
        """Return the rounds to show: all where they are few, else those that lineages are in, and the one before."""
        progress = self.progress
        if progress.rounds <= ROUNDS_SHOWN:
            return range(1, progress.rounds + 1)
        open_rounds = (r for r in range(1, progress.rounds + 1) if progress.left[r] < progress.seeds)
        first = max(1, min(next(open_rounds, progress.rounds) - 1, progress.rounds - ROUNDS_SHOWN + 1))
        return range(first, first + ROUNDS_SHOWN)

    def _calls(self) -> str:
        progress = self.progress
        parts = [f"{progress.calls:,} done", f"{progress.in_flight:,} in flight"]
        if progress.retries:
            parts.append(f"{progress.retries:,} asked again")
        if progress.replayed:
            parts.append(f"{progress.replayed:,} replayed")
        if progress.forked:
            parts.append(f"{progress.forked:,} from the forked run")
        if progress.results:
            parts.append(f"{count(progress.results, 'result')} worked out")
        return ", ".join(parts)

    def _cost(self) -> str:
        """Return what was paid, or what counts against the budget; empty where no price is known."""
        progress = self.progress
        if progress.spent is not None:
            return f"${progress.spent[0]:,.4f} and {progress.spent[1]:,} tokens of the budget"
        return paid(progress.cost)

    def _filters(self) -> str:
        most = self.progress.filters.most_common()
        shown = [f"{name} {number:,}" for name, number in most[:FILTERS_SHOWN]]
        rest = sum(number for _, number in most[FILTERS_SHOWN:])
        return ", ".join([*shown, *([f"others {rest:,}"] if rest else [])])

    def _speed(self) -> list[str]:
        rate, left = self.pace.tokens_per_second, self.pace.seconds_left(self.progress)
        speed = [] if rate is None else [f"{rate:,.0f} tokens/s" if rate >= 10 else f"{rate:.1f} tokens/s"]
        return speed if left is None else [*speed, f"about {duration(left)} to go"]


def _bar(done: int, of: int, width: int) -> list[ProgressBar]:
    """Return the cell of a bar; none where there is no room."""
    return [ProgressBar(total=max(of, 1), completed=done, width=width)] if width >= SHORTEST_BAR else []
