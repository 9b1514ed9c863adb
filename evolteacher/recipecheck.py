"""The recipes that a plugin brings, loaded and validated for ``evolteacher plugins check``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from evolteacher.catalog import Catalog
from evolteacher.errors import RecipeError, UsageError
from evolteacher.recipe import Recipe
from evolteacher.requirements import check_requirements
from evolteacher.shipped import recipe_names


def recipe_faults(folder: Path, catalog: Catalog) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the recipes of a folder, with file and line, and how to mend it.

    Args:
        folder: that ``register_recipes`` returned.
        catalog: all that is installed, the plugin included.
    """
    files = sorted(folder.glob("*.yaml"))
    for other in sorted(folder.glob("*.yml")):
        yield f"{_short(other, folder)}: recipes are found by the ending .yaml", f"rename it: {other.stem}.yaml"
    if not files:
        yield (
            f"register_recipes(): there is no *.yaml in {folder.name}",
            "write a recipe into it, and have the build take it into the wheel: files that are no Python are left out "
            "by some build backends unless they are told",
        )
    named = recipe_names(catalog)
    for path in files:
        yield from _faults_of(path, folder, catalog)
        taken = named.get(path.stem)
        if taken is not None and taken.resolve() != path.resolve():
            yield (
                f"{_short(path, folder)}: `evolteacher run {path.stem}` runs another recipe of that name",
                "rename the file: evolteacher's own recipes win, and then the plugin that was installed first",
            )


def _faults_of(path: Path, folder: Path, catalog: Catalog) -> Iterator[tuple[str, str]]:
    try:
        recipe = Recipe.load(path, catalog=catalog)
    except RecipeError as error:
        for problem in error.problems or (str(error),):
            yield _shortened(problem, path, folder), _mend(problem)
        return
    try:
        check_requirements(recipe)
    except UsageError as error:
        for line in str(error).splitlines():
            yield (
                _shortened(line, path, folder),
                "write it into the package's dependencies, or name it in its README",
            )
    source = recipe.seeds_source()
    if ":" not in source.split("/")[0] and not Path(source).exists():
        yield (
            f"{_short(path, folder)}: its seeds are not there: {recipe.seeds.path}",
            "put the file beside the recipe, and into the wheel; a path is relative to the recipe's folder",
        )


def _mend(problem: str) -> str:
    if "is called" in problem and "no " in problem:
        return "use a name that is installed, and write the package that brings it into the dependencies"
    if "credential" in problem or "a recipe names a key" in problem:
        return "write env:NAME, and take the key out of the package's history"
    return "mend the line; `evolteacher validate FILE` says the same of a file that is being changed"


def _short(path: Path, folder: Path) -> str:
    return f"{folder.name}/{path.name}"


def _shortened(problem: str, path: Path, folder: Path) -> str:
    """Return a problem whose file is named from the package's own folder on."""
    place, found, rest = problem.partition(path.name)
    return f"{_short(path, folder)}{rest}" if found and " " not in place else f"{_short(path, folder)}: {problem}"
