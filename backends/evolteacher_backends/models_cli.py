"""``evolteacher models``: the models that the embedded backend knows by name, and what of them is in the cache."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evolteacher.errors import UsageError
from evolteacher_backends.known_models import DEFAULT, KNOWN, ModelFile, cache_folder, find_model, megabytes

app = typer.Typer(
    help="List, fetch and remove models of the embedded backend.",
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
    add_completion=False,
)


def _names() -> list[str]:
    return [*KNOWN, *(model.name for model in _fetched_hub_files())]


Name = Annotated[
    str,
    typer.Argument(help="A known name, or hf:owner/repo/file.gguf.", show_default=False, autocompletion=_names),
]


@app.callback()
def models(context: typer.Context) -> None:
    """List the models that have a name (as `list` does), or fetch, remove or locate one."""
    if context.invoked_subcommand is None:
        list_models()


@app.command("list")
def list_models() -> None:
    """List the models that have a name, and the hub files that were fetched."""
    rows = [("name", "size", "licence", "file")]
    for model in [*KNOWN.values(), *_fetched_hub_files()]:
        path = model.path()
        size = megabytes(model.size or path.stat().st_size)
        name = f"{model.name} (default)" if model.name == DEFAULT else model.name
        rows.append((name, size, model.licence or "unknown", str(path) if model.fetched() else "not fetched"))
    names, sizes, licences = (max(len(row[column]) for row in rows) for column in range(3))
    for name, size, licence, file in rows:
        typer.echo(f"{name:{names}}  {size:>{sizes}}  {licence:{licences}}  {file}")
    typer.echo(f"\nThe cache folder is {cache_folder()}; EVOLTEACHER_CACHE moves it.")


@app.command()
def fetch(name: Name) -> None:
    """Fetch a model into the cache, and print its path."""
    from evolteacher_backends.known_models.fetching import fetch as fetch_model

    typer.echo(fetch_model(_model(name)))


@app.command()
def remove(name: Name) -> None:
    """Delete a fetched model, and what an interrupted fetch left of it."""
    from evolteacher_backends.known_models.fetching import remove as remove_model

    freed = remove_model(_model(name))
    typer.echo(f"removed {name}: {megabytes(freed)} freed" if freed else f"{name} was not in the cache")


@app.command()
def checkpoint(
    name: Annotated[
        str,
        typer.Argument(
            help="A known name, hf:owner/repo/file.gguf, or a .gguf file.", show_default=False, autocompletion=_names
        ),
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to write.", show_default=False)],
) -> None:
    """Make a model into a checkpoint folder that can be trained, fetching it first; needs no hub.

    Its weights are what the file holds: those of a quantised file stay as coarse as they were.
    """
    from evolteacher_backends.dequantised import make_checkpoint
    from evolteacher_backends.known_models.fetching import fetch as fetch_model

    found = find_model(name)
    file = found if isinstance(found, Path) else fetch_model(found)
    if not file.is_file():
        raise UsageError(f"{file}: there is no such file")
    typer.echo("making a checkpoint of it, which takes a minute", err=True)
    make_checkpoint(file, out)
    typer.echo(out)


@app.command()
def path(name: Name) -> None:
    """Print where a fetched model lies; exit code 1 when it is not there."""
    model = _model(name)
    if not model.fetched():
        typer.echo(f"{name} is not fetched: evolteacher models fetch {name}", err=True)
        raise typer.Exit(1)
    typer.echo(model.path())


def _model(name: str) -> ModelFile:
    found = find_model(name)
    if isinstance(found, Path):
        raise UsageError(f"'{name}' is a file of yours, which needs no fetching and is not removed: name a model")
    return found


def _fetched_hub_files() -> list[ModelFile]:
    folder = cache_folder() / "hf"
    found = [find_model(f"hf:{path.relative_to(folder).as_posix()}") for path in sorted(folder.rglob("*.gguf"))]
    return [model for model in found if isinstance(model, ModelFile)]
