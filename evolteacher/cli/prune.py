"""``evolteacher prune``: filters over a dataset, without a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from evolteacher.cli import values
from evolteacher.cli.convert import shape
from evolteacher.cli.options import DatasetFile, InstructionColumn, ReaderName, ResponseColumn, Shape, Strict
from evolteacher.cli.terminal import load_catalog, note
from evolteacher.dataset import DATASET_FORMATS
from evolteacher.errors import UsageError
from evolteacher.sieve import prune as prune_dataset
from evolteacher.yamlfile import parse_value


def prune(
    source: DatasetFile,
    filters: Annotated[
        list[str],
        typer.Option(
            "--filter",
            metavar="FILTER",
            help="As a recipe lists it: near-duplicates, or 'near-duplicates: {threshold: 0.7}'. May be repeated.",
            show_default=False,
            autocompletion=values.components("filter"),
        ),
    ],
    out: Annotated[
        str, typer.Option("--out", metavar="FILE", help="Where to write what is kept; - is stdout.", show_default=False)
    ],
    rejects: Annotated[
        Path | None,
        typer.Option("--rejects", metavar="FILE", help="Where to write what is rejected, with reasons (JSON Lines)."),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="FORMAT",
            help=f"{', '.join(DATASET_FORMATS)}; else as --out ends (.json is evol).",
            autocompletion=values.one_of(DATASET_FORMATS),
        ),
    ] = None,
    format: Shape = "auto",
    instruction: InstructionColumn = None,
    response: ResponseColumn = None,
    reader: ReaderName = None,
    strict: Strict = False,
) -> None:
    """Apply filters to a dataset, without a run: duplicates, bad text and code, too many rows of one kind."""
    report = prune_dataset(
        source,
        [_spec(text) for text in filters],
        out,
        to,
        rejects=rejects,
        format=shape(format),
        instruction=instruction,
        response=response,
        on_bad_row="fail" if strict else "skip",
        reader=reader,
        catalog=load_catalog(),
    )
    for line in report.lines():
        note(line)


def _spec(text: str) -> Any:
    """Read what a recipe would list.

    Raises:
        UsageError: it is no YAML.
    """
    try:
        return parse_value(text)
    except ValueError as error:
        raise UsageError(
            f"--filter {text}: {error}. Write a name, or a name with options: 'cap: {{per: operator, most: 100}}'"
        ) from None
