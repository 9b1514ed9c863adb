"""``evolteacher report``: a run as one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evolteacher.cli.options import RunFolder
from evolteacher.cli.terminal import count, note


def report(
    run: RunFolder,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Where to write it; RUN/report.html by default.")
    ] = None,
    sample: Annotated[
        int | None,
        typer.Option(
            "--sample", min=0, metavar="N", help="How many lineages come with all prompts and replies; 200 by default."
        ),
    ] = None,
    evaluation: Annotated[
        list[Path] | None,
        typer.Option(
            "--evaluation",
            metavar="DIR",
            help="Show this evaluation too, a folder that `evolteacher evaluate` wrote. May be repeated.",
            show_default=False,
        ),
    ] = None,
    training: Annotated[
        list[Path] | None,
        typer.Option(
            "--training",
            metavar="DIR",
            help="Show this training too, a folder that `evolteacher train` wrote. May be repeated.",
            show_default=False,
        ),
    ] = None,
    comparison: Annotated[
        list[Path] | None,
        typer.Option(
            "--comparison",
            metavar="DIR",
            help="Show this comparison too, a folder that `evolteacher compare` wrote. May be repeated.",
            show_default=False,
        ),
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="All prompts and replies of all lineages.")] = False,
    open_it: Annotated[bool, typer.Option("--open", help="Open it in a browser.")] = False,
) -> None:
    """Write a run as one HTML file that needs no network and no server: sums, charts, and every lineage.

    What followed on the run and is in its folder is shown too: training, evaluation, what each stage took. The run may
    be going on. What a model wrote is text in it and never markup.
    """
    from evolteacher.errors import UsageError
    from evolteacher.report.files import Besides
    from evolteacher.report.page import FILE, SAMPLE, write_report

    if full and sample is not None:
        raise UsageError("--full and --sample do not go together; give one of them")
    target = out if out is not None else run / FILE
    besides = Besides(tuple(evaluation or ()), tuple(training or ()), tuple(comparison or ()))
    whole = write_report(run, target, None if full else SAMPLE if sample is None else sample, besides)
    megabytes = target.stat().st_size / 1e6
    note(f"{target}: {megabytes:.1f} MB, {count(whole, 'lineage')} with all prompts and replies")
    if open_it:
        import webbrowser

        if not webbrowser.open(target.resolve().as_uri()):
            note("no browser could be opened; open that file in one")
