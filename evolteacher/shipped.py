"""Recipes by name: those that ship with evolteacher, and those that plugins bring."""

from __future__ import annotations

import difflib
import os
import re
import shlex
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from evolteacher.errors import RecipeError, did_you_mean

if TYPE_CHECKING:
    from evolteacher.catalog import Catalog

_RECIPE = re.compile(rb"^[\s{]*[\"']?evolteacher[\"']?\s*:", re.MULTILINE)
"""What every recipe begins with, in YAML or JSON, maybe after comments."""


def shipped_folder() -> Path:
    """Return the folder of the shipped recipes: inside the installed package, else the checkout's own."""
    package = Path(__file__).parent
    installed = package / "recipes"
    return installed if installed.is_dir() else package.parent / "recipes"


def recipe_names(catalog: Catalog) -> dict[str, Path]:
    """Return the recipes that can be named: name -> file; evolteacher's own win over a plugin's."""
    found: dict[str, Path] = {}
    for folder in [shipped_folder(), *catalog.recipe_folders()]:
        for path in sorted(folder.glob("*.yaml")):
            found.setdefault(path.stem, path)
    return found


def find_recipe(recipe: str | Path, catalog: Catalog) -> Path:
    """Return the file that a path or a name means; an existing file (not a folder) wins over a name.

    Raises:
        RecipeError: there is neither; with the nearest name.
    """
    path = Path(os.path.expanduser(recipe))
    if os.path.exists(path) and not os.path.isdir(path):
        if _is_dataset(path, catalog):
            raise RecipeError(
                f"{recipe}: this is a dataset, and a recipe is a YAML file or a name. A recipe names it as "
                f"'seeds.path', to evolve it: evolteacher run quickstart --set {shlex.quote(f'seeds.path={recipe}')}"
            )
        return Path(os.path.abspath(path))
    ours = shipped_folder() / f"{recipe}.yaml"
    if len(path.parts) == 1 and os.path.isfile(ours):
        return ours
    names = recipe_names(catalog)
    if str(recipe) in names:  # also where a folder, such as a run's, is called like it
        return names[str(recipe)]
    if os.path.isdir(path):
        raise RecipeError(f"{recipe}: this is a folder, and a recipe is a YAML file or a name{_resuming(recipe, path)}")
    if path.suffix in (".yaml", ".yml") or len(path.parts) > 1:
        hint = f" A recipe called '{path.stem}' ships: leave out folder and ending." if path.stem in names else ""
        near = difflib.get_close_matches(path.name, _recipe_files(path.parent), n=1)
        if near and not hint:
            hint = f" Did you mean '{path.with_name(near[0])}'?"
        raise RecipeError(f"{recipe}: there is no such file.{hint}")
    raise RecipeError(f"no recipe is called '{recipe}', and there is no such file.{did_you_mean(str(recipe), names)}")


def _is_dataset(path: Path, catalog: Catalog) -> bool:
    """Whether a seed reader takes a file by its name, and it does not begin as a recipe does."""
    from evolteacher.seeds import SeedReader

    if path.suffix in (".yaml", ".yml"):
        return False
    with suppress(OSError), path.open("rb") as file:
        if _RECIPE.search(file.read(10_000)):
            return False
    readers = (entry.cls for entry in catalog.entries(SeedReader.kind) if issubclass(entry.cls, SeedReader))
    return any(reader.claims(str(path)) for reader in readers)


def _resuming(recipe: str | Path, path: Path) -> str:
    """Return how to go on with a run whose folder was given in place of its recipe; nothing where it is none."""
    from evolteacher.database import DATABASE, LOCKED_RECIPE

    if not (path / DATABASE).is_file():
        return ""
    hint = ". It holds a run; to go on with it, give the command that began it once more"
    if not (path / LOCKED_RECIPE).is_file():
        return hint
    lock = os.path.join(recipe, LOCKED_RECIPE)
    return f"{hint}, or: evolteacher {shlex.join(['run', lock, '--out', str(recipe)])}"


def _recipe_files(folder: Path) -> list[str]:
    with suppress(OSError, ValueError):
        return sorted(name for name in os.listdir(folder) if name.endswith((".yaml", ".yml")))
    return []
