"""``evolteacher licences``: what a run's rows are under, and whether the recipe's licence allows it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from evolteacher.cli import values
from evolteacher.cli.terminal import count, emit, one_line
from evolteacher.database import DATABASE
from evolteacher.errors import LicenceRefused
from evolteacher.licensing import LICENCES, TERMS, UNKNOWN
from evolteacher.rights import Clearance, clearance, held_licence
from evolteacher.store import Store


def licences(
    run: Annotated[
        Path | None,
        typer.Argument(
            metavar="[RUN]", help="The folder of a run; without it, what is known.", autocompletion=values.runs
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Show a run's rows by licence and terms, and those that its licence refuses (exit code 2)."""
    if run is None:
        _known(as_json)
        return
    with Store(run / DATABASE, read_only=True) as store:
        found = clearance(store, held_licence(store))
    if as_json:
        print(json.dumps(found.as_dict(), indent=2))
    else:
        _show(found)
    if found.refused and not found.despite:
        if as_json:
            raise typer.Exit(LicenceRefused.exit_code)
        found.check(str(run))


def _show(found: Clearance) -> None:
    from rich.text import Text

    under = (
        f"to be published under {found.licence}" if found.licence else "under a recipe that names no licence for them"
    )
    emit(Text(f"{count(found.rows, 'row')}, {under}"))
    emit(
        _table(("rows", "licence", "terms"), [(f"{n:,}", a or UNKNOWN, b or "none") for (a, b), n in found.mix.items()])
    )
    if found.despite:
        emit(Text(f"not allowed, and published all the same: {one_line(found.despite, 200)}"))


def _known(as_json: bool) -> None:
    if as_json:
        terms = {
            name: {"title": t.title, "link": t.link, "summary": t.summary, "kind": t.kind} for name, t in TERMS.items()
        }
        print(json.dumps({"licences": LICENCES, "terms": terms}, indent=2))
        return
    rows = [(name, kind, "") for name, kind in LICENCES.items()]
    rows += [(name, terms.kind, terms.summary) for name, terms in TERMS.items()]
    emit(_table(("name", "kind", "in short; no legal advice"), rows))


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for head in heads:
        table.add_column(head)
    for row in rows:
        table.add_row(*(Text(one_line(cell, 120)) for cell in row))
    return table
