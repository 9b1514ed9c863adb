"""``evolteacher plugins new``: a package to begin with."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from evolteacher.cli.terminal import count, emit, load_catalog, path_word, plain, program
from evolteacher.scaffold import Package


def new(
    name: Annotated[
        str, typer.Argument(help="The plugin's name: lower-case words joined by hyphens.", show_default=False)
    ],
    out: Annotated[
        Path | None, typer.Option("--out", help="The folder to write. [default: evolteacher-NAME]", show_default=False)
    ] = None,
) -> None:
    """Write a package with an operator, a filter, their tests and a recipe; it installs and passes as it stands."""
    package = Package.called(name, load_catalog(quiet=True))
    folder = out if out is not None else Path(package.distribution)
    written = package.write(folder)
    emit(Text(f"{plain(folder)}: {count(len(written), 'file')} written. What it does is in:"))
    emit(Text(f"  {plain(folder / package.module / '__init__.py')}"), Text(), Text("Next:"))
    for command in (
        f"cd {shlex.quote(path_word(folder))}",
        "pip install -e '.[test]'",
        "pytest",
        f"{program()} run recipe.yaml",
        f"{program()} plugins check {package.distribution}",
    ):
        emit(Text(f"  {plain(command)}"))
