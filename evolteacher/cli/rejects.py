"""What a run rejected: counts by filter and round, and one filter's texts with their reasons, a page at a time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.table import Table
from rich.text import Text

from evolteacher.cli.summary import fact_table
from evolteacher.cli.terminal import command_line, emit, one_line, plain, shortened
from evolteacher.errors import UsageError, did_you_mean
from evolteacher.history import rejected, rejections
from evolteacher.record import Step
from evolteacher.store import Store

LINES_SHOWN = 8


@dataclass(frozen=True)
class Page:
    """Which rejected texts to show.

    Attributes:
        filter: that rejected them.
        round: only this one's; None for all.
        limit: how many at most.
        skip: how many to leave out first.
        full: whether texts are shown whole.
    """

    filter: str
    round: int | None
    limit: int
    skip: int
    full: bool

    def command(self, run: Path, skip: int) -> str:
        """Return the command of another page."""
        words: list[str | Path] = ["show", run, "--rejected-by", self.filter, "--skip", str(skip)]
        words += ["--round", str(self.round)] if self.round is not None else []
        words += ["--limit", str(self.limit)] if self.limit != 10 else []
        return command_line(*words, *(["--full"] if self.full else []))


def show_counts(store: Store, run: Path) -> None:
    """Print how often each filter rejected, by round."""
    found = rejections(store)
    if not found:
        emit(Text(f"{run}: nothing was rejected"))
        return
    rounds = sorted({round for numbers in found.values() for round in numbers})
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column(" rejected by", no_wrap=True)
    for heading in (*("seeds" if round == 0 else f"round {round}" for round in rounds), "in all"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, numbers in found.items():
        cells = (*(numbers.get(round, 0) for round in rounds), sum(numbers.values()))
        table.add_row(Text(f" {plain(name)}"), *(f"{number:,}" for number in cells))
    first = next(iter(found))
    emit(table, Text(), Text(f" Its texts: {command_line('show', run, '--rejected-by', first)}"))


def show_rejected(store: Store, run: Path, page: Page) -> None:
    """Print a page of what one filter rejected.

    Raises:
        UsageError: it rejected nothing there; with those that did.
    """
    found = rejections(store)
    numbers = found.get(page.filter, {})
    there = sum(numbers.values()) if page.round is None else numbers.get(page.round, 0)
    if page.skip >= there:
        raise UsageError(_nothing(run, page, found, there))
    shown = rejected(store, page.filter, page.round, limit=page.limit, skip=page.skip)
    where = "" if page.round is None else f" in round {page.round}"
    span = f"{page.skip + 1:,} to {page.skip + len(shown):,} of " if len(shown) < there else ""
    emit(Text(f"{plain(page.filter)}: {span}{there:,} rejected{where}, in {run}", "bold"))
    for order, step in shown:
        emit(Text(), _entry(order, step, page.full))
    left = there - page.skip - len(shown)
    if left:
        emit(Text(), Text(f" {left:,} more: {page.command(run, page.skip + len(shown))}"))
    example = command_line("show", run, str(shown[0][0]))
    emit(Text(), Text(f" A lineage with all its versions: {example}"))


def _nothing(run: Path, page: Page, found: dict[str, dict[int, int]], there: int) -> str:
    if there:
        return f"{run}: '{page.filter}' rejected {there:,} there; --skip {page.skip} leaves none to show"
    numbers = found.get(page.filter)
    if numbers:
        rounds = ", ".join(f"{number:,} in round {round}" for round, number in numbers.items())
        return f"{run}: '{page.filter}' rejected nothing in round {page.round} (it rejected {rounds})"
    known = ", ".join(f"{name} {sum(numbers.values()):,}" for name, numbers in found.items()) or "nothing at all"
    return f"{run}: nothing was rejected by '{page.filter}'.{did_you_mean(page.filter, found)} What did reject: {known}"


def _entry(order: int, step: Step, full: bool) -> Table:
    def show(text: str) -> Text:
        return Text(plain(text) if full else shortened(text, LINES_SHOWN))

    table = fact_table()
    made = "seed" if step.round == 0 else f"round {step.round}, {plain(step.operator)}"
    title = f" lineage {order}, {made}, {_place(step)}"
    table.add_row(Text(title, "bold"))
    facts = fact_table()
    facts.add_row("  reason", Text(plain(step.verdict.reason), "red"))
    if step.round:
        facts.add_row("  parent", show(step.parent.text) if full else Text(one_line(step.parent.text, 300)))
    if step.evolution is not None:
        facts.add_row("  text", show(step.evolution.child.text))
    elif step.raw:
        facts.add_row("  came back", show(step.raw))
    if step.original is not None:
        facts.add_row("  original", show(step.original))
    if step.response is not None:
        facts.add_row("  response", show(step.response))
    table.add_row(facts)
    return table


def _place(step: Step) -> str:
    stage = {"evolve": "while evolving", "dataset": "from the dataset"}.get(step.verdict.stage)
    return stage or f"at the {step.verdict.stage}"
