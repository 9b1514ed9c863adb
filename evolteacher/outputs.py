"""What a run folder holds besides ``run.db``: the dataset in its formats, the card, the locked recipe."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from evolteacher import __version__
from evolteacher.card import dataset_card
from evolteacher.catalog import Catalog
from evolteacher.certifying import certificate_of
from evolteacher.database import LOCKED_RECIPE
from evolteacher.dataset import DatasetFormat, write_dataset
from evolteacher.decontamination import certificate as certificates
from evolteacher.decontamination.certificate import Certificate
from evolteacher.errors import MissingExtra
from evolteacher.history import records, summarise
from evolteacher.preparing import prepared_uses
from evolteacher.provenance import stored_plugins, used_plugins
from evolteacher.recipe import Recipe
from evolteacher.rights import Clearance, clearance
from evolteacher.stopping import curve, rounds_of
from evolteacher.store import Store
from evolteacher.writing import atomic
from evolteacher.yamlfile import dump

FILES: dict[str, tuple[DatasetFormat, str]] = {
    "evol": ("evol", "dataset.json"),
    "jsonl": ("jsonl", "dataset.jsonl"),
    "chat": ("chat", "dataset.chat.jsonl"),
    "parquet": ("parquet", "dataset.parquet"),
}
"""Formats of the whole dataset and their file names; ``rounds`` is one file a round besides."""

READ_BY_HUBS = ("jsonl", "parquet", "chat", "evol")
"""Formats that a card names for hubs to read, the first that there is."""

EXPORTS = ("evol", "rounds", "jsonl", "chat", "parquet")

PREPARED_OPERATORS = "prepared.yaml"
CARD = "README.md"

_ROUND_FILE = re.compile(r"round-(0|[1-9][0-9]*)\.json")


def round_file(round: int) -> str:
    """Return the name of a round's file."""
    return f"round-{round}.json"


def round_files(folder: Path) -> list[Path]:
    """Return what a folder holds of such files, by name; ``round-robin.json`` is none."""
    return sorted(path for path in folder.glob("round-*.json") if _ROUND_FILE.fullmatch(path.name))


def exports(recipe: Recipe, note: Callable[[str], None]) -> tuple[str, ...]:
    """Return the formats to write: the recipe's, else all that the installed packages can.

    Raises:
        MissingExtra: the recipe names Parquet, and what writes it is not installed; said before the run.
    """
    if recipe.export is not None:
        if "parquet" in recipe.export and not _writes_parquet():
            raise MissingExtra("export: parquet", "parquet")
        return recipe.export
    if not _writes_parquet():
        note("no Parquet file is written: that needs the extra 'parquet': pip install 'evolteacher[parquet]'")
        return tuple(name for name in EXPORTS if name != "parquet")
    return EXPORTS


def _writes_parquet() -> bool:
    return importlib.util.find_spec("pyarrow") is not None


def write_outputs(store: Store, folder: Path, recipe: Recipe, formats: tuple[str, ...], partial: str) -> None:
    """Write what has settled, each file at once or not at all.

    A file that is there already is written anew, also where its format is no longer asked for: what an earlier process
    left would be an old dataset that looks like this one's.

    Args:
        store: the run's.
        folder: the run folder.
        recipe: the experiment.
        formats: of :data:`EXPORTS`.
        partial: why the dataset is not the whole one; empty when it is.
    """
    there = [name for name, (_, file) in FILES.items() if (folder / file).exists()]
    there += ["rounds"] if (folder / round_file(0)).exists() else []
    for name in dict.fromkeys((*formats, *there)):
        if name == "parquet" and name not in formats and not _writes_parquet():
            continue
        if name == "rounds":
            rounds = rounds_of(recipe, store)
            for round in range(rounds + 1):
                write_dataset(records(store, round), folder / round_file(round), "evol")
            for round in range(rounds + 1, recipe.rounds + 1):  # of before a stop ended the rounds
                (folder / round_file(round)).unlink(missing_ok=True)
        else:
            format, file = FILES[name]
            write_dataset(records(store), folder / file, format)
    _write_prepared(store, folder, recipe)
    certificate = certificate_of(store, recipe)
    if certificate is None:
        (folder / certificates.FILE).unlink(missing_ok=True)  # of before a rejudge left the filter out
    else:
        _write(folder / certificates.FILE, certificate.as_json())
    write_card(store, folder, recipe, partial, certificate)


def write_card(
    store: Store,
    folder: Path,
    recipe: Recipe,
    partial: str,
    certificate: Certificate | None,
    rights: Clearance | None = None,
) -> None:
    """Write the dataset's card beside what the folder holds of it.

    Args:
        store: the run's.
        folder: with the dataset's files.
        recipe: the experiment.
        partial: why the dataset is not the whole one; empty when it is.
        certificate: of the decontamination.
        rights: what the recipe's licence says of the rows; looked up when None.
    """
    data_file = next((FILES[name][1] for name in READ_BY_HUBS if (folder / FILES[name][1]).exists()), "")
    summary, plugins = summarise(store), stored_plugins(store)
    card = dataset_card(
        recipe,
        summary,
        partial=partial,
        data_file=data_file,
        plugins=plugins,
        certificate=certificate,
        rights=rights or clearance(store, recipe.licence),
        curve=curve(store),
    )
    _write(folder / CARD, card)


def _write_prepared(store: Store, folder: Path, recipe: Recipe) -> None:
    """Write the operators that the run prepared, as a recipe pins them; nothing where it prepared none."""
    found = prepared_uses(recipe, store)
    if found:
        head = ["What operators found out before the first lineage. In place of theirs in the recipe, it is pinned."]
        head += [line for _, notes in found for note in notes for line in note.splitlines()]
        comments = "".join(f"# {line}\n" for line in head)
        _write(folder / PREPARED_OPERATORS, comments + dump({"operators": [use for use, _ in found]}))


def lock_recipe(folder: Path, recipe: Recipe, catalog: Catalog, plain: dict[str, Any] | None = None) -> None:
    """Write the recipe with every default spelt out, and the versions of the plugins that it uses.

    Args:
        folder: where to.
        recipe: which.
        catalog: what is installed.
        plain: the recipe as it is to be written; with the places of this machine's files when None.
    """
    head = [f"Written by evolteacher {__version__}. The recipe uses these plugins:"]
    head += [f"  {plugin}: {', '.join(plugin.components)}" for plugin in used_plugins(recipe, catalog)]
    _write(folder / LOCKED_RECIPE, "".join(f"# {line}\n" for line in head) + dump(plain or recipe.to_plain()))


def _write(path: Path, text: str) -> None:
    with atomic(path) as out:
        out.write(text.encode("utf-8"))
