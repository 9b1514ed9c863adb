"""The arguments and options that several commands share, each described once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

RecipeName = Annotated[
    str, typer.Argument(metavar="RECIPE", help="A recipe's file, or the name of one that ships.", show_default=False)
]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.", show_default=False)]
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
    ),
]
Limit = Annotated[
    int | None, typer.Option("--limit", min=1, metavar="N", help="Take the first N seeds.", show_default=False)
]
OutFolder = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="The run's folder; runs/<name of the recipe> by default."),
]


def with_limit(changes: list[str] | None, limit: int | None) -> list[str]:
    """Return the changes to a recipe that ``--set`` and ``--limit`` ask for together."""
    return [*(changes or []), *([f"seeds.limit={limit}"] if limit is not None else [])]
