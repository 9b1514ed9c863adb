"""``evolteacher recipes``: those that ship, and a copy of one to change."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from evolteacher import yamlfile
from evolteacher.cli import values
from evolteacher.cli.schema import write_schema
from evolteacher.cli.terminal import command_line, emit, load_catalog, note, plain
from evolteacher.errors import RecipeError, RunError, UsageError
from evolteacher.schema import FILE
from evolteacher.shipped import find_recipe, recipe_names
from evolteacher.trainsection import is_training_only

app = typer.Typer(
    help="List the recipes that can be run by name, or copy one to change it.",
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def recipes(context: typer.Context) -> None:
    """List the recipes that can be run by name: evolteacher's own, and those that plugins bring."""
    if context.invoked_subcommand is not None:
        return
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    found = recipe_names(load_catalog())
    for name, path in found.items():
        table.add_row(f"  {plain(name)}", Text(plain(_description(path))))
    emit(table, Text())
    example = "quickstart" if "quickstart" in found else next(iter(found), "NAME")
    emit(
        Text(
            f"Run one: {command_line('run', example)} (those called train-… : {command_line('train', 'NAME')})\n"
            f"Copy one to change it: {command_line('recipes', 'copy', example)}"
        )
    )


@app.command("copy")
def copy(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="A recipe's name.", show_default=False, autocompletion=values.recipe_names),
    ],
    to: Annotated[
        Path, typer.Argument(metavar="[TO]", help="A file or an existing folder; NAME.yaml in this folder by default.")
    ] = Path("."),
) -> None:
    """Copy a recipe, with the seeds that lie beside it and the schema for editors. Nothing is overwritten."""
    catalog = load_catalog()
    source = find_recipe(name, catalog)
    target = to / source.name if to.is_dir() else to
    copies = [(source, target), *((source.parent / file, target.parent / file) for file in _seeds(source))]
    for _, new in copies:
        if new.exists():
            raise UsageError(f"{new}: this exists already, and nothing is overwritten; name another place")
    for old, new in copies:
        try:
            new.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(old, new)
        except OSError as error:
            raise RunError(f"{new}: cannot be written: {error.strerror}") from None
    # The schema tells what is installed: one that is there already is an older one, and nobody's work.
    write_schema(catalog, target.parent / FILE)
    for _, new in copies:
        note(f"written: {new}")
    note(f"written: {target.parent / FILE} (for editors)")
    verb = "train" if is_training_only(yamlfile.load(target).data) else "run"
    note(f"{verb} it: {command_line(verb, target)}")


def _description(path: Path) -> str:
    try:
        data = yamlfile.load(path).data
    except RecipeError as error:
        return f"cannot be read: {error}"
    return str(data.get("description", "")) if isinstance(data, dict) else ""


def _seeds(path: Path) -> list[Path]:
    """Return the file (or a folder's files) of seeds or data that a recipe refers to; none that lie elsewhere."""
    data: Any = yamlfile.load(path).data
    section = data.get("seeds") if isinstance(data, dict) else None
    if is_training_only(data) and isinstance(data["train"], dict):
        section = data["train"].get("data")
    written = section.get("path") if isinstance(section, dict) else section
    if not isinstance(written, str):
        return []
    relative = Path(written)
    if relative.is_absolute() or ".." in relative.parts:
        return []
    place = path.parent / relative
    files = [place] if place.is_file() else sorted(file for file in place.rglob("*") if file.is_file())
    return [file.relative_to(path.parent) for file in files if "__pycache__" not in file.parts]
