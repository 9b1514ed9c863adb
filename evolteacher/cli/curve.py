"""What a stop measured and decided after each round, as a table for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from evolteacher.cli.terminal import plain
from evolteacher.roundsection import Point

BAR = 20
"""Characters of the longest bar."""

_DECISIONS = {"continue": "goes on", "stop": "ends here", "last": "the last round"}


def curve_table(points: Sequence[Point]) -> Table:
    """Draw a curve: a line a round, with a bar for the value beside the largest one."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column(" round", justify="right", no_wrap=True)
    table.add_column(plain(points[0].signal), justify="right", no_wrap=True)
    table.add_column("", no_wrap=True, min_width=BAR)
    for heading in ("best so far", "evolving"):
        table.add_column(heading, justify="right" if heading == "best so far" else "left", no_wrap=True)
    largest = max((point.value for point in points if point.value is not None), default=0.0)
    for point in points:
        share = point.value / largest if point.value is not None and largest > 0 else 0.0
        bar = "#" * round(BAR * max(0.0, share))
        table.add_row(str(point.round), _number(point.value), bar, _number(point.best), _DECISIONS[point.decision])
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
