"""``evolteacher show``: a run in a screen, or one lineage as a tree of all its versions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from evolteacher.choice import trajectory
from evolteacher.cli import values
from evolteacher.cli.curve import curve_table
from evolteacher.cli.options import RunFolder
from evolteacher.cli.rejects import Page, show_counts, show_rejected
from evolteacher.cli.summary import add_rows, fact_table
from evolteacher.cli.terminal import command_line, count, duration, emit, one_line, paged, plain, shortened
from evolteacher.database import DATABASE
from evolteacher.errors import UsageError
from evolteacher.history import Summary, lineage, summarise
from evolteacher.money import paid
from evolteacher.record import Lineage, Step, Verdict
from evolteacher.stopping import curve
from evolteacher.store import Store

DEEPEST = 8
"""Levels that the tree is indented by at most; a chain that goes on stays at that level."""

_LINEAGES = """
SELECT seeds.ord, seeds.id, seeds.text, lineages.pending,
    (SELECT count(*) FROM steps WHERE steps.ord = seeds.ord AND round > 0),
    (SELECT count(*) FROM steps WHERE steps.ord = seeds.ord AND round > 0 AND filter = '')
FROM seeds LEFT JOIN lineages ON lineages.ord = seeds.ord
ORDER BY seeds.ord LIMIT ?
"""


def show(
    run: RunFolder,
    lineage_id: Annotated[
        str | None,
        typer.Argument(
            metavar="[LINEAGE]", help="A lineage: its number, or the beginning of its id.", show_default=False
        ),
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Show texts whole.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many lineages to list.")] = 10,
    rejected: Annotated[bool, typer.Option("--rejected", help="Count what was rejected, by filter and round.")] = False,
    rejected_by: Annotated[
        str | None,
        typer.Option(
            "--rejected-by",
            metavar="FILTER",
            help="Show the texts that this filter rejected.",
            autocompletion=values.components("filter"),
        ),
    ] = None,
    round: Annotated[int | None, typer.Option("--round", min=0, help="Only this round's rejected texts.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many rejected texts to show.")] = 10,
    skip: Annotated[int, typer.Option("--skip", min=0, help="How many of them to leave out first.")] = 0,
    weights: Annotated[
        bool, typer.Option("--weights", help="Show what a bandit chose operators by, block by block.")
    ] = False,
    no_pager: Annotated[bool, typer.Option("--no-pager", help="Print a long text as it is.")] = False,
) -> None:
    """Look at a run: its sums and its first lineages; or at one lineage with every version, verdict and reason.

    What was rejected is on record: --rejected counts it by filter, and --rejected-by shows a filter's texts with the
    reason, the operator and the text that was rewritten. An outcome such as unreadable counts as a filter.
    At a terminal, what is longer than it is shown in PAGER, or less; NO_COLOR takes colours away.
    """
    _check_options(lineage_id, rejected, rejected_by, round)
    with paged(pager=not no_pager), Store(run / DATABASE, read_only=True) as store:
        if lineage_id is not None:
            emit(tree(lineage(store, _find(store, run, lineage_id)), full=full))
            return
        if rejected:
            show_counts(store, run)
            return
        if rejected_by is not None:
            show_rejected(store, run, Page(rejected_by, round, limit, skip, full))
            return
        recipe = store.meta("recipe") or {}
        if weights:
            emit(_weights(run, recipe, trajectory(store)))
            return
        _overview(store, run, recipe, lines)


def _overview(store: Store, run: Path, recipe: dict[str, Any], lines: int) -> None:
    """Print a run's sums and its first lineages."""
    summary, points = summarise(store), curve(store)
    rows = store.query(_LINEAGES, (lines,)).fetchall()
    if not summary.seeds:
        emit(Text(f"{run}: no seed was taken in, so this run never began; the command that made it says why"))
        return
    emit(Text(f"{recipe.get('name', run.name)}: {_state(summary)}, in {run}", "bold"), Text(), _facts(summary), Text())
    if points:
        emit(curve_table(points), Text())
    if rows:
        emit(_table(rows), Text())
    rest = summary.seeds - len(rows)
    more = f" {rest:,} more: --lines {summary.seeds}." if rest else ""
    example = rows[0][0] if rows else 0
    emit(Text(f"{more} One with all its versions: {command_line('show', run, str(example))}"))


def _check_options(lineage_id: str | None, rejected: bool, rejected_by: str | None, round: int | None) -> None:
    """Stop where options do not go together."""
    asked = {"LINEAGE": lineage_id is not None, "--rejected": rejected, "--rejected-by": rejected_by is not None}
    given = [name for name, there in asked.items() if there]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} do not go together; give one of them")
    if round is not None and rejected_by is None:
        raise UsageError("--round goes with --rejected-by FILTER")


def _weights(run: Path, recipe: dict[str, Any], blocks: list[tuple[int, dict[str, Any]]]) -> Table:
    """Draw a bandit's trajectory: the share of each operator by block, and the evolutions that were known by then."""
    if not blocks:
        rule = recipe.get("choose", "nothing yet")
        raise UsageError(f"{run}: no weights are here: operators are chosen by {rule}, and a bandit alone learns")
    size = recipe["choose"]["bandit"]["block"]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column(" lineages", justify="right", no_wrap=True)
    for label in blocks[0][1]["shares"]:
        table.add_column(plain(label), justify="right")
    table.add_column("kept so far", justify="right")
    for block, state in blocks:
        shares = [f"{share:.3f}" for share in state["shares"].values()]
        tried, kept = (sum(column) for column in zip(*state["seen"].values(), strict=True))
        table.add_row(f"{block * size:,}-{(block + 1) * size - 1:,}", *shares, f"{kept:,} of {tried:,}")
    return table


def _find(store: Store, run: Path, wanted: str) -> int:
    found = store.find_lineage(wanted)
    if len(found) == 1:
        return found[0][0]
    if found:
        ids = ", ".join(f"{order} ({id[:12]})" for order, id in found)
        raise UsageError(
            f"{run}: more than one lineage's id begins with '{wanted}': {ids}; give its number or more digits"
        )
    seeds = store.seed_count()
    numbers = f"from 0 to {seeds - 1}" if seeds else "none yet"
    raise UsageError(
        f"{run}: no lineage has the number or id '{wanted}' (numbers: {numbers}); `{command_line('show', run)}` "
        "lists them"
    )


def _state(summary: Summary) -> str:
    rows = count(summary.records, "row")
    return f"{rows}, {count(summary.pending, 'lineage')} not finished" if summary.pending else f"{rows}, finished"


def _facts(summary: Summary) -> Table:
    facts = fact_table()
    add_rows(facts, summary)
    for name, (tried, kept) in summary.operators.items():
        facts.add_row(f" {name}", f"{kept:,} of {tried:,} kept")
    for (key, model), (calls, prompt, completion) in summary.calls.items():
        if not model and not completion:
            facts.add_row(f" calls of {key}", f"{calls:,} refused, too long, or answered with nothing of use")
            continue
        tokens = f"{prompt:,} prompt and {completion:,} completion tokens"
        facts.add_row(f" calls of {key}", f"{calls:,} answered by {plain(model) or 'an unnamed model'}; {tokens}")
    if summary.forked:
        there = f", which paid {cost} for them" if (cost := paid(summary.forked_cost)) else ""
        facts.add_row(" forked", f"{summary.forked:,} replies taken over from another run{there}")
    if summary.results:
        facts.add_row(
            " results", f"{summary.results:,} worked out without a model in {duration(summary.results_seconds)}"
        )
    if summary.results_forked:
        facts.add_row(" forked", f"{count(summary.results_forked, 'result')} taken over from another run")
    if total := paid(summary.cost):
        rounds = (f"round {number} {paid(cost)}" for number, cost in summary.round_costs.items() if cost)
        facts.add_row(" paid", f"{total} ({', '.join(rounds)})")
    if summary.unknown:
        worth = f", ${summary.unknown_cost:,.4f} at the most" if summary.unknown_cost else ""
        facts.add_row(" unknown", f"{count(summary.unknown, 'call')} without a reply may have been billed{worth}")
    return facts


def _table(rows: list[Any]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for heading, width in ((" lineage", 8), ("id", 8), ("kept", 5)):
        table.add_column(heading, justify="right" if heading == " lineage" else "left", no_wrap=True, min_width=width)
    table.add_column("instruction", no_wrap=True, overflow="ellipsis")
    for order, id, text, pending, tried, kept in rows:
        state = f"{kept}/{tried}{'' if pending == '' else ' …'}"
        table.add_row(str(order), id.hex()[:8], state, Text(one_line(text, 100)))
    return table


def tree(found: Lineage, *, full: bool = False) -> Tree:
    """Draw a lineage: each version below the one that it was rewritten from.

    Args:
        found: the lineage.
        full: whether texts are shown whole, or their first lines.
    """
    head = Text.assemble((f"lineage {found.order}", "bold"), f"  {found.id}  {plain(found.seed.source)}")
    root = Tree(head, guide_style="dim")
    if not found.steps:
        root.add(_version(Text("seed"), found.seed.instruction.text, _answers(found.seed.response), full))
    branches = [root]
    for step in found.steps:
        text = step.evolution.child.text if step.evolution is not None else None
        body = _version(_title(step), text, _answers(step.response, step.original), full, step.raw)
        node = branches[-1].add(body)
        if step.verdict.kept and len(branches) <= DEEPEST:
            branches.append(node)
    if found.pending:
        root.add(Text(f"not finished: {plain(found.pending)}", "yellow"))
    return root


def _title(step: Step) -> Text:
    title = Text("seed" if step.round == 0 else f"round {step.round}: {plain(step.operator)}", "bold")
    title.append(", ").append_text(_verdict(step.verdict))
    for name, score in step.scores.items():
        title.append(f", {plain(name)} {score:g}", "cyan")
    if step.repaired_by:
        title.append(f", repaired by {plain(step.repaired_by)}", "yellow")
    return title


def _verdict(verdict: Verdict) -> Text:
    if verdict.kept:
        return Text("kept", "green")
    stages = {"evolve": "while evolving", "lineage": "with its lineage", "dataset": "from the dataset"}
    stage = stages.get(verdict.stage, f"at the {verdict.stage}")
    return Text(f"rejected {stage} by {plain(verdict.filter)}: {one_line(verdict.reason, 400)}", "red")


def _answers(response: str | None, original: str | None = None) -> dict[str, str]:
    """Return what is shown of a step's answers, by their headings."""
    before = {} if original is None else {"response, before it was repaired:": original}
    return before if response is None else {**before, "response:": response}


def _version(title: Text, text: str | None, answers: dict[str, str], full: bool, raw: str = "") -> Group:
    parts = [title]
    if text is not None:
        parts.append(Text(_shown(text, full, 8)))
    elif raw:
        parts += [Text("what came back:", "dim"), Text(_shown(raw, full, 8))]
    for heading, answer in answers.items():
        parts += [Text(heading, "dim"), Text(_shown(answer, full, 5))]
    return Group(*parts, Text())


def _shown(text: str, full: bool, lines: int) -> str:
    return plain(text) if full else shortened(text, lines)
