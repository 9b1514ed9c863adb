"""``evolteacher stats``: the figures of a run as tables, or as JSON for programs."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from evolteacher.cli.options import RunFolder
from evolteacher.cli.summary import add_rows, fact_table, figure_table
from evolteacher.cli.terminal import emit, plain
from evolteacher.database import DATABASE
from evolteacher.errors import UsageError
from evolteacher.history import Summary, summarise
from evolteacher.money import paid
from evolteacher.passk import wilson
from evolteacher.report.figures import Figure, figures, flow
from evolteacher.store import Store

_CHARTS = frozenset({"speed", "cost", "shares", "acceptance"})
"""Figures of many rows that are there to be drawn, and one that says less than the table of operators."""


def stats(
    run: RunFolder,
    as_json: Annotated[bool, typer.Option("--json", help="Write all figures as JSON to stdout.")] = False,
) -> None:
    """Print a run's figures: rows and rejects by round, operators, lengths, scores, latency, tokens and cost.

    The same figures as in `evolteacher report`. --json has all of them, those over time among them.
    """
    with Store(run / DATABASE, read_only=True) as store:
        summary, recipe = summarise(store), store.meta("recipe") or {}
        if not summary.seeds:
            raise UsageError(f"{run}: no seed was taken in, so there is nothing to count")
        found, rounds = list(figures(store)), flow(store)
    name = str(recipe.get("name", run.name))
    if as_json:
        print(json.dumps(_as_json(name, summary, rounds, found), ensure_ascii=False, indent=2))
        return
    facts = fact_table()
    add_rows(facts, summary)
    if summary.pending:
        facts.add_row(" not finished", f"{summary.pending:,}; what was rejected ended first, so the shares are too low")
    for label, text in _asked(summary):
        facts.add_row(label, text)
    emit(Text(f"{plain(name)}, in {run}", "bold"), Text(), facts, Text(), _operators(summary))
    for figure in found:
        if figure.name not in _CHARTS:
            emit(Text(), Text(f" {plain(figure.title)} ({plain(figure.unit)})", "bold"), _table(figure))


def _asked(summary: Summary) -> list[tuple[str, str]]:
    calls = sum(number for number, _, _ in summary.calls.values())
    prompt = sum(number for _, number, _ in summary.calls.values())
    completion = sum(number for _, _, number in summary.calls.values())
    rows = [(" calls", f"{calls:,}; {prompt:,} prompt and {completion:,} completion tokens")]
    if cost := paid(summary.cost):
        rows.append((" paid", cost))
    return rows


def _operators(summary: Summary) -> Table:
    table = figure_table(" operator", "tried", "kept", "share", "95 % interval")
    for name, (tried, kept) in sorted(summary.operators.items()):
        low, high = wilson(kept, tried)
        table.add_row(f" {plain(name)}", f"{tried:,}", f"{kept:,}", f"{kept / tried:.0%}", f"{low:.0%} to {high:.0%}")
    return table


def _table(figure: Figure) -> Table:
    table = figure_table(f" {figure.head[0]}", *figure.head[1:])
    for first, *rest in figure.rows:
        table.add_row(f" {plain(first)}", *(_cell(value) for value in rest))
    return table


def _cell(value: str | float | None) -> str:
    if value is None or isinstance(value, str):
        return plain(value or "")
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"


def _as_json(name: str, summary: Summary, rounds: list[dict[str, Any]], found: list[Figure]) -> dict[str, Any]:
    return {
        "name": name,
        "seeds": summary.seeds,
        "lineages": summary.lineages,
        "rounds": rounds,
        "operators": {
            operator: {"tried": tried, "kept": kept, "interval": wilson(kept, tried)}
            for operator, (tried, kept) in sorted(summary.operators.items())
        },
        "rejected_by": [
            {"stage": stage, "filter": label, "number": number} for (stage, label), number in summary.filters.items()
        ],
        "calls": [
            {"backend": key, "model": model, "calls": calls, "prompt_tokens": prompt, "completion_tokens": completion}
            for (key, model), (calls, prompt, completion) in summary.calls.items()
        ],
        "usd": summary.cost,
        "seconds_of_backends": summary.latency,
        "figures": [asdict(figure) for figure in found],
    }
