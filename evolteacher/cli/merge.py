"""``evolteacher merge``: several datasets in one."""

from __future__ import annotations

from typing import Annotated

import typer

from evolteacher.cli import values
from evolteacher.cli.convert import shape
from evolteacher.cli.terminal import load_catalog, note
from evolteacher.dataset import DATASET_FORMATS
from evolteacher.dataset import merge as merge_datasets
from evolteacher.shapes import FORMATS


def merge(
    sources: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="Datasets, in any shape and format.", show_default=False)
    ],
    out: Annotated[
        str, typer.Option("--out", metavar="FILE", help="Where to write it; - is stdout.", show_default=False)
    ],
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="FORMAT",
            help=f"{', '.join(DATASET_FORMATS)}; else as --out ends (.json is evol).",
            autocompletion=values.one_of(DATASET_FORMATS),
        ),
    ] = None,
    unique: Annotated[
        bool, typer.Option("--unique", help="Keep only the first of rows with equal instruction and response.")
    ] = False,
    format: Annotated[
        str,
        typer.Option(
            "--format", metavar="SHAPE", help="The shape of all their rows.", autocompletion=values.one_of(FORMATS)
        ),
    ] = "auto",
    skip_bad_rows: Annotated[
        bool, typer.Option("--skip-bad-rows", help="Leave bad rows out; else the first one stops it.")
    ] = False,
) -> None:
    """Merge datasets into one, in the order given, as Evol-Teacher's merge_evolutions does."""
    report = merge_datasets(
        sources,
        out,
        to,
        unique=unique,
        format=shape(format),
        on_bad_row="skip" if skip_bad_rows else "fail",
        catalog=load_catalog(),
    )
    for line in report.lines():
        note(line)
