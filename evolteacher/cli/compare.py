"""``evolteacher compare``: which of two datasets teaches more."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evolteacher.cli import INTERRUPTED, values
from evolteacher.cli.hubwords import say_once
from evolteacher.cli.options import Changes, benchmark_spec
from evolteacher.cli.telling import LogJson, Quiet, Telling, Verbose, Voice
from evolteacher.cli.terminal import command_line, count, duration, emit, load_catalog, note, one_line, plain
from evolteacher.errors import UsageError

if TYPE_CHECKING:
    from evolteacher.comparing.matching import Matching
    from evolteacher.training.watch import TrainProgress

_MATCHED: dict[str, tuple[Matching, ...]] = {
    "samples": ("samples",),
    "tokens": ("tokens",),
    "both": ("samples", "tokens"),
}


def compare(
    a: Annotated[
        str,
        typer.Argument(
            metavar="A",
            help="A run's folder, a dataset's file or hf:owner/name; RUN:seeds, RUN:evolved, RUN:round2 are parts.",
            show_default=False,
            autocompletion=values.runs_or_datasets,
        ),
    ],
    b: Annotated[
        str | None,
        typer.Argument(
            metavar="B",
            help="The other. Left out, A is a run: its seeds and its evolved rows.",
            show_default=False,
            autocompletion=values.runs_or_datasets,
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            "--train",
            metavar="RECIPE",
            help="How to train: a recipe with `train:`. Its data is not used.",
            autocompletion=values.recipes,
        ),
    ] = None,
    changes: Changes = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="[default: comparisons/A-and-B]", show_default=False)
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", min=2, metavar="N", help="Random seeds of each training.")] = 3,
    matched: Annotated[
        str,
        typer.Option(
            "--matched",
            metavar="BY",
            help="Draw as many rows of each (samples), as many tokens, or both.",
            autocompletion=values.one_of(_MATCHED),
        ),
    ] = "both",
    rows: Annotated[
        int | None, typer.Option("--rows", min=8, metavar="N", help="Learn from at most N rows of each.")
    ] = None,
    on: Annotated[
        list[str] | None,
        typer.Option(
            "--on",
            metavar="NAME[:FILE]",
            help="Measure on this benchmark, too; may be repeated.",
            autocompletion=values.components("benchmark"),
        ),
    ] = None,
    problems: Annotated[
        int | None, typer.Option("--problems", min=5, metavar="N", help="With --on: only the first N problems.")
    ] = None,
    max_tokens: Annotated[
        int, typer.Option("--max-tokens", min=1, help="With --on: most new tokens of an answer.")
    ] = 512,
    controls: Annotated[
        bool, typer.Option("--controls/--no-controls", help="Without controls, the verdict says so.")
    ] = True,
    shuffled: Annotated[
        int | None,
        typer.Option("--shuffled", min=1, metavar="N", help="Random seeds of the shuffled control. [default: all]"),
    ] = None,
    keep_models: Annotated[bool, typer.Option("--keep-models", help="Keep the weights once measured.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how much there is to do.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    log_json: LogJson = None,
) -> None:
    """Say which of two datasets teaches more: train on both alike, and measure what neither has seen.

    `evolteacher compare RUN` compares a run's seeds with what evolved from them. The same command goes on where it
    was stopped.
    """
    telling = Telling.of(quiet, verbose, log_json)
    say_once(quiet=telling.quiet)
    if recipe is None:
        raise UsageError("--train RECIPE is needed: a recipe with 'train:', such as train-smollm2 or train-lora")
    if matched not in _MATCHED:
        raise UsageError(f"--matched {matched}: write samples, tokens or both")
    from evolteacher.cli.train import Stopping
    from evolteacher.comparing.request import CompareOptions
    from evolteacher.comparing.running import SUMMARY
    from evolteacher.comparing.running import compare as carry_out

    options = CompareOptions(
        seeds=seeds,
        matched=_MATCHED[matched],
        rows=rows,
        controls=controls,
        shuffled=shuffled,
        on=tuple(benchmark_spec(text, "--on") for text in on or ()),
        problems=problems,
        max_tokens=max_tokens,
        keep_models=keep_models,
    )
    catalog, resume = load_catalog(), command_line(*sys.argv[1:])
    with telling.begun() as voice, Stopping(resume, quiet=telling.quiet) as stopping:
        found = carry_out(
            a,
            b,
            train=recipe,
            out=out,
            set=changes or [],
            options=options,
            dry_run=dry_run,
            catalog=catalog,
            note=voice.note,
            watch=partial(_watched, voice),
            stop=stopping.asked,
        )
        if dry_run:
            voice.note(f"nothing was trained; without --dry-run it goes into {found.folder}")
            return
        if not found.finished:
            note(f"stopped; what is trained and measured is kept. Go on with:\n  {resume}")
            raise typer.Exit(INTERRUPTED)
        voice.event("comparison_finished", folder=found.folder, trusted=found.trusted, verdict=found.verdict)
    if as_json:
        print(json.dumps(found.figures, indent=2))
    elif telling.quiet:
        telling.result(found.folder / SUMMARY)
    else:
        _show(found.figures, found.folder)


@contextmanager
def _watched(voice: Voice, title: str) -> Iterator[TrainProgress]:
    """Show a training's counters while it lasts."""
    from evolteacher.cli.trainshow import TrainDisplay, tell_step
    from evolteacher.training.watch import TrainProgress

    progress = TrainProgress()
    voice.event("training_started", name=title)
    with TrainDisplay(progress, on=not voice.telling.quiet) as display:
        progress.told = tell_step(replace(voice, say=display.note))
        yield progress


def _show(figures: dict[str, Any], folder: Path) -> None:
    from rich.table import Table
    from rich.text import Text

    from evolteacher.comparing.running import FIGURES, SUMMARY
    from evolteacher.comparing.summary import HEADINGS, about_intervals, benchmark_rows, loss_rows

    for side in ("a", "b"):
        one = figures[side]
        told = f"{count(one['learnt']['rows'], 'row')} to learn from, {one['held_out']['rows']:,} held out"
        emit(Text(f"{side.upper()} = {one_line(one['source'], 60)}: {told}", "bold"))
    for rows, what in ((list(loss_rows(figures)), "loss on"), (list(benchmark_rows(figures)), "solved of")):
        if rows:
            table = Table(box=None, pad_edge=False)
            for number, heading in enumerate(HEADINGS):
                table.add_column(what if number == 1 else heading, justify="left" if number < 2 else "right")
            for row in rows:
                table.add_row(*(plain(text) for text in row))
            emit(Text(), table)
    emit(Text(about_intervals(figures)), Text())
    for control in figures["controls"] or ():
        head = Text("passed: " if control["passed"] else "FAILED: ", "green" if control["passed"] else "bold red")
        emit(head.append(plain(control["text"]), "not bold default"))
    trainings = figures["trainings"]
    seconds, peak = sum(one["seconds"] for one in trainings), max(one["peak_bytes"] for one in trainings)
    emit(
        Text(
            f"{count(len(trainings), 'training')} in {duration(seconds)}, at the peak {peak / 1e9:.1f} GB; "
            f"details: {plain(folder / SUMMARY)}, {plain(folder / FIGURES)}"
        ),
        Text(),
    )
    for line in figures["verdict"]:
        emit(Text(plain(line), "bold"))
