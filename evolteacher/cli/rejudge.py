"""``evolteacher rejudge``: changed filters over what a run holds."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from evolteacher.changes import Change
from evolteacher.cli import values
from evolteacher.cli.options import Changes, RunFolder
from evolteacher.cli.run import carry_out, larger
from evolteacher.cli.summary import fact_table
from evolteacher.cli.terminal import command_line, count, emit, load_catalog, note, one_line, plain, usd
from evolteacher.errors import UsageError
from evolteacher.rejudging import Rejudged
from evolteacher.rejudging import rejudge as judge_anew


def rejudge(
    run: RunFolder,
    changes: Changes = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe",
            metavar="RECIPE",
            help="Take this recipe in place of the run's own.",
            show_default=False,
            autocompletion=values.recipes,
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change, and write nothing.")] = False,
    complete: Annotated[
        bool, typer.Option("--complete", help="Ask for the replies that are missing afterwards, as a run does.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Apply changed filters to a finished or unfinished run, in its folder. Nothing is asked.

    What may change is filters, dataset_filters, on_pruned, and the judge's backend and sampling; what else differs is
    another experiment, and is refused. Lineages that would need a reply are left pending and counted; --complete asks
    for theirs. What is rejected stays on record with its text, and the old filters give the old dataset back.
    """
    if complete and (dry_run or as_json):
        raise UsageError(f"--complete and {'--dry-run' if dry_run else '--json'} do not go together; give one of them")
    catalog = load_catalog()
    done = judge_anew(run, set=changes or [], recipe=recipe, dry_run=dry_run, catalog=catalog, note=note)
    if as_json:
        emit(Text(json.dumps(as_plain(done), ensure_ascii=False, indent=2)))
        return
    resume = command_line("rejudge", run, "--complete")
    _show(done, resume)
    if complete and done.pending:

        def with_more(needed: Mapping[str, float]) -> str:
            more = [word for change in larger(done.recipe, needed) for word in ("--set", change)]
            return command_line("rejudge", run, "--complete", *more)

        carry_out(done.recipe, run, catalog, resume, with_more)


def as_plain(done: Rejudged) -> dict[str, Any]:
    """Return the outcome as data for JSON: counts are [before, after]."""
    changes = done.changes
    rejected: dict[str, dict[str, list[int]]] = {}
    for (name, round), numbers in changes.rejected.items():
        rejected.setdefault(name, {})[str(round)] = list(numbers)
    return {
        "folder": str(done.folder),
        "dry_run": done.dry_run,
        "differs": [line.strip() for line in done.differs],
        "records": done.records,
        "lineages": done.lineages,
        "lineages_changed": changes.lineages,
        "rows_gained": changes.gained,
        "rows_lost": changes.lost,
        "kept": {str(round): list(numbers) for round, numbers in changes.kept.items()},
        "rejected": rejected,
        "pending": {
            "lineages": done.pending,
            "before": done.was_pending,
            "reason": done.reason,
            "calls": done.calls,
            "likely": done.likely,
            "dollars": done.dollars,
        },
    }


def _show(done: Rejudged, resume: str) -> None:
    changes = done.changes
    would = "would be " if done.dry_run else ""
    emit(Text(f"{done.recipe.name}: {count(done.records, 'row')} {would}in the dataset, in {done.folder}", "bold"))
    emit(*(Text(line) for line in done.differs or ("  The filters are the run's own.",)), Text())
    if not (changes.lineages or changes.gained or changes.lost or done.pending):
        emit(Text(" Nothing changed: each verdict is as it was, and nothing is pending."))
    else:
        emit(_table(done), Text(), _facts(done))
        for title, examples in (("lost", changes.examples_lost), ("gained", changes.examples_gained)):
            if examples:
                emit(Text(), _examples(title, examples))
        _further(done, resume)
    if done.dry_run:
        note("Nothing was written; the same command without --dry-run does it.")


def _table(done: Rejudged) -> Table:
    changes = done.changes
    rounds = sorted({*changes.kept, *(round for _, round in changes.rejected)})
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column(" before → after", no_wrap=True)
    for heading in (*("seeds" if round == 0 else f"round {round}" for round in rounds), "in all"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_row(" rows", *_cells([changes.kept.get(round, (0, 0)) for round in rounds]))
    for name in dict.fromkeys(name for name, _ in changes.rejected):
        numbers = [changes.rejected.get((name, round), (0, 0)) for round in rounds]
        table.add_row(Text(f" rejected by {plain(name)}"), *_cells(numbers))
    return table


def _cells(numbers: list[tuple[int, int]]) -> Iterator[str]:
    together = (sum(before for before, _ in numbers), sum(after for _, after in numbers))
    for before, after in (*numbers, together):
        yield f"{before:,}" if before == after else f"{before:,} → {after:,}"


def _facts(done: Rejudged) -> Table:
    changes, facts = done.changes, fact_table()
    facts.add_row(" lineages", f"{changes.lineages:,} of {done.lineages:,} changed")
    so_far = "; rows of pending lineages are counted as lost until they are complete" if done.pending else ""
    facts.add_row(" rows", f"{changes.gained:,} gained, {changes.lost:,} lost{so_far}")
    if done.pending:
        before = f", {done.was_pending:,} before" if done.was_pending else ""
        facts.add_row(" pending", f"{count(done.pending, 'lineage')}{before}; the first: {plain(done.reason)}")
        calls = f"{done.calls:,} at most, {done.likely:,} likely"
        by_role = ", ".join(f"{row.role} {row.calls:,}" for row in done.rest)
        facts.add_row(" calls left", f"{calls} ({by_role})" if len(done.rest) > 1 else calls)
        price = (
            usd(done.dollars) if done.dollars is not None else "not known: a price is missing (prices: in the recipe)"
        )
        facts.add_row(" cost", f"{price}{' likely' if done.dollars is not None else ''}")
        if done.recipe.dataset_filters:
            facts.add_row("", "dataset filters wait until no lineage is pending")
    return facts


def _examples(title: str, examples: tuple[Change, ...]) -> Table:
    table = fact_table()
    for example in examples:
        was = "was " if title == "gained" else ""
        why = f"; {was}rejected by {plain(example.filter)}: {one_line(example.reason, 160)}" if example.filter else ""
        head = "seed" if example.round == 0 else f"round {example.round}, {plain(example.operator)}"
        table.add_row(f" {title}", Text(f"lineage {example.order}, {head}{why}"))
        table.add_row("", Text(one_line(example.instruction, 160), "dim"))
    return table


def _further(done: Rejudged, resume: str) -> None:
    if done.dry_run:
        return
    table = Table.grid(padding=(0, 2))
    run: Path = done.folder
    more = [name for (name, _), (before, after) in done.changes.rejected.items() if after > before]
    words: list[str | Path] = ["show", run, *(["--rejected-by", more[0]] if more else ["--rejected"])]
    table.add_row(f" {command_line(*words)}", Text("what was rejected, with texts and reasons", "dim"))
    if done.pending:
        table.add_row(f" {resume}", Text("asks for what is pending", "dim"))
    emit(Text(), table)
