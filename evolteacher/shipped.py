"""Recipes by name: those that ship with evolteacher, and those that plugins bring."""

from __future__ import annotations

from pathlib import Path

from evolteacher.catalog import Catalog
from evolteacher.errors import RecipeError, did_you_mean


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
    """Return the file that a path or a name means; an existing file wins over a name.

    Raises:
        RecipeError: there is neither; with the nearest name.
    """
    path = Path(recipe).expanduser()
    if path.exists() or path.suffix in (".yaml", ".yml") or len(path.parts) > 1:
        if not path.exists():
            names = recipe_names(catalog)
            hint = f" A recipe called '{path.stem}' ships: leave out the ending." if path.stem in names else ""
            raise RecipeError(f"{recipe}: there is no such file.{hint}")
        return path.resolve()
    names = recipe_names(catalog)
    if str(recipe) not in names:
        raise RecipeError(
            f"no recipe is called '{recipe}', and there is no such file.{did_you_mean(str(recipe), names)}"
        )
    return names[str(recipe)]
