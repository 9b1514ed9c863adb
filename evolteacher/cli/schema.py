"""``evolteacher schema``: the JSON Schema of recipes, for editors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from evolteacher.catalog import Catalog
from evolteacher.cli.terminal import load_catalog, note
from evolteacher.schema import FILE, recipe_schema
from evolteacher.writing import atomic


def schema(
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE", help=f"Where to write it, such as {FILE} beside a recipe; else to stdout."
        ),
    ] = None,
) -> None:
    """Write the JSON Schema of recipes, made from what is installed, so that an editor completes and checks them.

    A recipe whose first line is `# yaml-language-server: $schema=recipe.schema.json` refers to that file beside it.
    """
    catalog = load_catalog()
    if out is None or str(out) == "-":
        print(schema_text(catalog), end="")
    else:
        write_schema(catalog, out)
        note(f"written: {out}")


def write_schema(catalog: Catalog, path: Path) -> None:
    """Write the schema to a file.

    Raises:
        RunError: the file cannot be written.
    """
    with atomic(path) as file:
        file.write(schema_text(catalog).encode("utf-8"))


def schema_text(catalog: Catalog) -> str:
    """Return the schema as JSON text."""
    return f"{json.dumps(recipe_schema(catalog), indent=2, ensure_ascii=False)}\n"
