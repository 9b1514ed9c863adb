"""``evolteacher diff``: what differs between two runs, and which of it may be chance."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from evolteacher.cli import values
from evolteacher.cli.summary import figure_table
from evolteacher.cli.terminal import count, emit, one_line, plain
from evolteacher.contrast import Contrast, Shares, contrast
from evolteacher.database import DATABASE
from evolteacher.errors import UsageError
from evolteacher.store import Store


def diff(
    a: Annotated[
        Path, typer.Argument(metavar="A", help="The folder of a run.", show_default=False, autocompletion=values.runs)
    ],
    b: Annotated[
        Path, typer.Argument(metavar="B", help="The folder of another.", show_default=False, autocompletion=values.runs)
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Write all of it as JSON to stdout.")] = False,
) -> None:
    """Say what differs between two runs: recipes, acceptance by round and operator, lengths, rejects, rows.

    A difference in acceptance comes with its 95 % interval; where that reaches 0 it is within noise.
    """
    with Store(a / DATABASE, read_only=True) as one, Store(b / DATABASE, read_only=True) as two:
        for run, store in ((a, one), (b, two)):
            if not store.seed_count():
                raise UsageError(f"{run}: no seed was taken in, so there is nothing to compare")
        found = contrast(one, two)
    if as_json:
        print(json.dumps(found.as_dict(), ensure_ascii=False, indent=2))
        return
    _show(found, a, b)


def _show(found: Contrast, a: Path, b: Path) -> None:
    emit(Text(f"A = {a}\nB = {b}", "bold"), Text())
    if found.recipe:
        emit(Text(f" {count(len(found.recipe), 'difference')} between the recipes", "bold"))
        emit(*(Text(f"   {one_line(line, 200)}") for line in found.recipe), Text())
    else:
        emit(Text(" The recipes ask for the same experiment."), Text())
    in_a, in_b, both = found.seeds
    emit(Text(f" seeds  {in_a:,} in A, {in_b:,} in B, {both:,} in both"))
    emit(Text(f" rows   {found.rows[0]:,} in A, {found.rows[1]:,} in B; {found.shared:,} evolved ones in both"), Text())
    for name, pending in zip("AB", found.pending, strict=True):
        if pending:
            emit(
                Text(f" {name}: {count(pending, 'lineage')} not finished; what was rejected ended first", "yellow"),
                Text(),
            )
    emit(_acceptance("kept by round", found.rounds), Text(), _acceptance("kept by operator", found.operators))
    if found.lengths:
        lengths = ((name, _figure(one), _figure(two)) for name, (one, two) in found.lengths.items())
        emit(Text(), _pairs("median characters of kept instructions", lengths))
    if found.rejects:
        emit(Text(), _pairs("rejected by", ((k, f"{x:,}", f"{y:,}") for k, (x, y) in found.rejects.items())))


def _pairs(title: str, rows: Iterable[tuple[str, str, str]]) -> Table:
    table = figure_table(f" {title}", "A", "B")
    for name, one, two in rows:
        table.add_row(f" {plain(name)}", one, two)
    return table


def _acceptance(title: str, rows: Iterable[Shares]) -> Table:
    table = figure_table(f" {title}", "A", "B", "B minus A", "95 % interval", "")
    for row in rows:
        cells = [f" {plain(row.what)}", *(_share(*pair) for pair in (row.a, row.b))]
        found = row.difference
        if found is not None:
            middle, low, high = found
            cells += [f"{middle:+.0%}", f"{low:+.0%} to {high:+.0%}", "within noise" if row.noise else "differs"]
        table.add_row(*cells)
    return table


def _share(kept: int, tried: int) -> str:
    return f"{kept:,} of {tried:,}" if tried else "none"


def _figure(value: float | None) -> str:
    return "none" if value is None else f"{value:,.0f}"
