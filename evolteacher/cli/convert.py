"""``evolteacher convert``: a dataset in another format, without a run."""

from __future__ import annotations

from typing import Annotated

import typer

from evolteacher.cli import values
from evolteacher.cli.options import DatasetFile, InstructionColumn, ReaderName, ResponseColumn, Shape, Strict
from evolteacher.cli.terminal import load_catalog, note
from evolteacher.dataset import DATASET_FORMATS
from evolteacher.dataset import convert as convert_dataset
from evolteacher.errors import UsageError
from evolteacher.shapes import FORMATS, Format


def convert(
    source: DatasetFile,
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="FORMAT",
            help=f"{', '.join(DATASET_FORMATS)}.",
            show_default=False,
            autocompletion=values.one_of(DATASET_FORMATS),
        ),
    ],
    out: Annotated[
        str, typer.Option("--out", metavar="FILE", help="Where to write it; - is stdout. May be the same file.")
    ] = "-",
    format: Shape = "auto",
    instruction: InstructionColumn = None,
    response: ResponseColumn = None,
    reader: ReaderName = None,
    keep_unanswered: Annotated[
        bool, typer.Option("--keep-unanswered", help="Write rows without a response too; else they are left out.")
    ] = False,
    strict: Strict = False,
) -> None:
    """Convert a dataset to another format, without a run. Its shape is recognised; duplicates stay."""
    report = convert_dataset(
        source,
        out,
        to,
        format=shape(format),
        instruction=instruction,
        response=response,
        on_bad_row="fail" if strict else "skip",
        keep_unanswered=keep_unanswered,
        reader=reader,
        catalog=load_catalog(),
    )
    for line in report.lines():
        note(line)


def shape(name: str) -> Format:
    """Return the shape that ``--format`` names.

    Raises:
        UsageError: there is none of that name.
    """
    from evolteacher.errors import did_you_mean

    for known in FORMATS:
        if name == known:
            return known
    raise UsageError(f"--format {name}: rows have no such shape.{did_you_mean(name, FORMATS)}")
