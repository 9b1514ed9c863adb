"""What a run came to: shown at its end, and by ``evolteacher show``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich.table import Table
from rich.text import Text

from evolteacher.cli.terminal import command_line, count, duration, emit, one_line, plain, shortened
from evolteacher.database import DATABASE
from evolteacher.history import Summary, records
from evolteacher.money import paid
from evolteacher.outputs import FILES
from evolteacher.recipe import Recipe
from evolteacher.record import Record
from evolteacher.runner import RunResult
from evolteacher.store import Store

LINES_SHOWN = 8


def show_result(result: RunResult, recipe: Recipe, rate: float | None = None) -> None:
    """Print what came of a run: rows by round, rejects by filter, calls, the dataset, and one pair to read.

    Args:
        result: the run.
        recipe: of the run.
        rate: tokens a second while it asked; None takes those of the whole time.
    """
    state = "done" if not result.pending else f"{count(result.pending, 'lineage')} not finished"
    emit(Text(f"\n{recipe.name}: {state} in {duration(result.seconds)}", "bold"), Text())
    facts = fact_table()
    add_rows(facts, result.summary)
    calls = [f"{result.calls:,} asked"]
    if result.replayed:
        calls.append(f"{result.replayed:,} replayed")
    if result.forked:
        calls.append(f"{result.forked:,} from the forked run")
    facts.add_row(" calls", ", ".join(calls))
    worked = [f"{result.results:,} worked out", f"{result.results_replayed:,} replayed"]
    worked += [f"{result.results_forked:,} from the forked run"] if result.results_forked else []
    if result.results + result.results_replayed + result.results_forked:
        facts.add_row(" results", ", ".join(worked))
    if result.tokens:
        rate = rate or result.tokens / max(result.seconds, 1e-9)
        facts.add_row(" tokens", f"{result.tokens:,} generated, {rate:,.0f} a second")
    if cost := paid(result.summary.cost):
        facts.add_row(" paid", f"{cost} in all, {paid(result.cost) or 'nothing'} this time")
    facts.add_row(" dataset", f"{count(result.records, 'row')} in {dataset_place(result.folder, recipe)}")
    emit(facts)
    with Store(result.folder / DATABASE, read_only=True) as store:
        example = _example(store, recipe.rounds)
    if example is not None:
        emit(Text(), _pair(example))
    emit(Text(), _further(result.folder, example))


def fact_table() -> Table:
    """Return an empty table of names and facts."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    return table


def figure_table(*headings: str) -> Table:
    """Return an empty table of names with figures; a narrow terminal breaks its cells and cuts none off.

    Args:
        headings: of the columns; the first holds names, and one without a heading holds words.
    """
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for number, heading in enumerate(headings):
        table.add_column(plain(heading), justify="right" if number and heading else "left", overflow="fold")
    return table


def add_rows(facts: Table, summary: Summary) -> None:
    """Add seeds, rows by round and rejects by filter."""
    answered = f", {summary.answered:,} with a response" if summary.answered else ""
    facts.add_row(" seeds", f"{summary.seeds:,}{answered}")
    for round in sorted({*summary.kept, *summary.rejected}):
        kept, rejected = summary.kept.get(round, 0), summary.rejected.get(round, 0)
        facts.add_row(" round 0 (seeds)" if round == 0 else f" round {round}", f"{kept:,} kept, {rejected:,} rejected")
    if summary.filters:
        facts.add_row(" rejected by", ", ".join(_rejects(summary)))
    for names, number in summary.repaired.items():
        facts.add_row(" repaired", f"{count(number, 'response')} of these rows, by {plain(names)}")


def _rejects(summary: Summary) -> Iterator[str]:
    """Say how often each filter rejected, and at which stage where it did so at several."""
    stages: dict[str, dict[str, int]] = {}
    for (stage, name), number in summary.filters.items():
        stages.setdefault(name, {})[stage] = number
    for name, numbers in sorted(stages.items(), key=lambda item: -sum(item[1].values())):
        at = ", ".join(f"{number:,} at the {stage}" for stage, number in numbers.items())
        yield f"{plain(name)} {sum(numbers.values()):,}{f' ({at})' if len(numbers) > 1 else ''}"


def dataset_place(folder: Path, recipe: Recipe) -> str:
    """Return the first of the dataset's files that is there, else the folder."""
    written = [FILES[name][1] for name in recipe.export or FILES if name in FILES]
    there = [folder / file for file in written if (folder / file).exists()]
    return str(there[0] if there else folder)


def _example(store: Store, rounds: int) -> Record | None:
    """Return a kept row of the latest round that has one; None where nothing evolved."""
    for round in range(rounds, 0, -1):
        record = next(records(store, round), None)
        if record is not None:
            return record
    return None


def _pair(record: Record) -> Table:
    evolution = record.evolution
    table = fact_table()
    table.add_row(" from", Text(one_line(evolution.parent.text, 300)))
    table.add_row(" by", f"{evolution.operator}, round {record.round}")
    table.add_row(" task", Text(shortened(record.instruction.text, LINES_SHOWN)))
    table.add_row(" response", Text(shortened(record.response, LINES_SHOWN)))
    return table


def _further(folder: Path, example: Record | None) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_row(f" {command_line('show', folder)}", Text("its lineages, and what was rejected", "dim"))
    if example is not None:
        order = str(example.order)
        table.add_row(f" {command_line('show', folder, order)}", Text("the one of the task above", "dim"))
    return table
