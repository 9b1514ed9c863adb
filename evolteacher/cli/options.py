"""The arguments and options that several commands share, each described once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evolteacher.cli import values
from evolteacher.errors import UsageError
from evolteacher.shapes import FORMATS

if TYPE_CHECKING:
    from evolteacher.decontamination.against import BenchmarkSpec

RecipeName = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE",
        help="A recipe's file, or the name of one that ships.",
        show_default=False,
        autocompletion=values.recipes,
    ),
]
RunFolder = Annotated[
    Path,
    typer.Argument(metavar="RUN", help="The folder of a run.", show_default=False, autocompletion=values.runs),
]
Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change the recipe: a dotted key and a YAML value, such as rounds=2 or backends.evolve.scripted={}. "
        "May be repeated.",
        show_default=False,
    ),
]
BackendName = Annotated[
    str | None,
    typer.Option(
        "--backend",
        metavar="NAME[:MODEL]",
        help="Let this backend answer everything, such as embedded:qwen2.5-coder-1.5b-instruct or scripted.",
        show_default=False,
        autocompletion=values.models,
    ),
]
Limit = Annotated[
    int | None, typer.Option("--limit", min=1, metavar="N", help="Take the first N seeds.", show_default=False)
]
OutFolder = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="The run's folder; runs/<name of the recipe> by default."),
]

DatasetFile = Annotated[
    str, typer.Argument(metavar="FILE", help="A dataset's file, or hf:owner/name.", show_default=False)
]
Shape = Annotated[
    str,
    typer.Option(
        "--format",
        metavar="SHAPE",
        help=f"The shape of its rows: {', '.join(FORMATS)}.",
        autocompletion=values.one_of(FORMATS),
    ),
]
InstructionColumn = Annotated[
    str | None, typer.Option("--instruction", metavar="COLUMN", help="The column that holds the instruction.")
]
ResponseColumn = Annotated[
    str | None, typer.Option("--response", metavar="COLUMN", help="The column that holds the response.")
]
ReaderName = Annotated[
    str | None,
    typer.Option(
        "--reader",
        metavar="NAME",
        help="The seed reader, where the file's name does not tell it.",
        autocompletion=values.components("seed reader"),
    ),
]
Strict = Annotated[bool, typer.Option("--strict", help="Stop at the first bad row; else it is left out.")]

Despite = Annotated[
    str | None,
    typer.Option(
        "--despite",
        metavar="WHY",
        help="Let rows go that the recipe's licence does not allow; the reason goes into the card.",
        show_default=False,
    ),
]


def with_limit(changes: list[str] | None, limit: int | None) -> list[str]:
    """Return the changes to a recipe that ``--set`` and ``--limit`` ask for together."""
    return [*(changes or []), *([f"seeds.limit={limit}"] if limit is not None else [])]


def benchmark_spec(text: str, option: str) -> BenchmarkSpec:
    """Read how a command line names a benchmark: ``humaneval``, ``mbpp:FILE``, or as a recipe does, ``mbpp: {…}``.

    Raises:
        UsageError: it is neither.
    """
    from evolteacher.yamlfile import parse_value

    if "{" not in text:
        return text
    try:
        spec = parse_value(text)
    except ValueError as error:
        raise UsageError(f"{option} {text}: {error}. Write a name, or 'mbpp: {{path: mbpp.jsonl}}'") from None
    if not isinstance(spec, dict) or not all(isinstance(options, dict) for options in spec.values()):
        raise UsageError(f"{option} {text}: write a name, or 'mbpp: {{path: mbpp.jsonl}}'")
    return spec
