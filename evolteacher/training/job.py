"""What is to be trained, as a recipe says: one that evolves a dataset and has ``train:``, or one that only trains."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from evolteacher.arguments import installed
from evolteacher.catalog import Catalog
from evolteacher.errors import MissingExtra, RecipeError, UsageError, did_you_mean
from evolteacher.evalsection import Evaluate
from evolteacher.overrides import apply_set
from evolteacher.problems import Problems
from evolteacher.recipe import Recipe, check_version, shown_path
from evolteacher.sections import Section
from evolteacher.shipped import find_recipe
from evolteacher.trainsection import Train, TrainRecipe, check_train, is_training_only, read_train
from evolteacher.yamlfile import load

STAGE = "train"
"""The folder inside a run's that its training goes into."""


class Training(Section):
    """What is to be trained.

    Attributes:
        name: the recipe's.
        description: the recipe's.
        seed: of the split, of the order of rows, and of new weights.
        train: how.
        data: where the rows are: a run folder, a file, or a source such as ``hf:…``.
        folder: where it goes unless somebody says otherwise.
        evaluate: how base and tuned model are measured after it.
    """

    name: str
    description: str
    seed: int
    train: Train
    data: str
    folder: Path
    evaluate: Evaluate | None = None

    @classmethod
    def load(
        cls, recipe: str | Path, *, set: Iterable[str] = (), backend: str | None = None, catalog: Catalog | None = None
    ) -> Training:
        """Read what a recipe trains, by path or by the name of one that ships.

        Args:
            recipe: a path or a name.
            set: ``dotted.key=value`` changes, as ``--set`` on the command line.
            backend: as of :meth:`Recipe.load`; only for recipes that evolve.
            catalog: what is installed; loaded when None.

        Raises:
            RecipeError: one line a problem, each with file and line and what to do.
            UsageError: the recipe has no ``train:``.
        """
        catalog = catalog or Catalog.load()
        found = read_recipe(recipe, set=set, backend=backend, catalog=catalog)
        if isinstance(found, Recipe):
            return cls.of_run(found, Path("runs") / found.name, str(recipe))
        return cls.of_recipe(found)

    @classmethod
    def of_recipe(cls, recipe: TrainRecipe) -> Training:
        """Return what a recipe that only trains trains."""
        data = recipe.train.place(recipe.origin) or ""
        return cls(**_common(recipe), train=recipe.train, data=data, folder=Path("runs") / recipe.name)

    @classmethod
    def of_run(cls, recipe: Recipe, run: Path, name: str = "") -> Training:
        """Return what a recipe that evolves trains, once its run is finished: on the run's own dataset by default."""
        if recipe.train is None:
            raise UsageError(
                f"{name or recipe.name}: this recipe has no 'train:', so there is nothing to train. Add one, or take "
                f"one that ships: evolteacher train train-lora --set train.data={run}"
            )
        data = recipe.train.place(recipe.origin) or str(run)
        return cls(**_common(recipe), train=recipe.train, data=data, folder=run / STAGE)

    def check_extra(self) -> None:
        """Find out whether what trains is installed; nothing is imported.

        Raises:
            MissingExtra: it is not.
        """
        if not (installed("sft") and installed("lora")):
            raise MissingExtra("train", "train")


def _common(recipe: Recipe | TrainRecipe) -> dict[str, Any]:
    return {"name": recipe.name, "description": recipe.description, "seed": recipe.seed, "evaluate": recipe.evaluate}


def read_recipe(
    recipe: str | Path, *, set: Iterable[str] = (), backend: str | None = None, catalog: Catalog
) -> Recipe | TrainRecipe:
    """Load a recipe of either kind; see :meth:`Training.load`."""
    path = find_recipe(recipe, catalog)
    located = load(path, shown_path(path))
    if not is_training_only(located.data):
        return Recipe.load(recipe, set=set, backend=backend, catalog=catalog)
    if backend is not None:
        raise UsageError(f"--backend {backend}: this recipe trains and asks nothing, so no backend answers it")
    problems = Problems(located)
    check_version(problems)
    for change in set:
        try:
            apply_set(located, change, catalog)
        except RecipeError as error:
            problems.lines.extend(error.problems)
    known = [name for name in TrainRecipe.model_fields if name != "origin"]
    data: dict[str, Any] = {}
    for key, value in located.data.items():
        if key in known:
            data[key] = value
        else:
            problems.add((key,), f"a recipe that trains has no '{key}'.{did_you_mean(key, known)}")
    data["train"] = read_train(data["train"], problems)
    data["origin"] = path
    found = None
    try:
        found = TrainRecipe.model_validate(data)
    except ValidationError as error:
        problems.add_invalid((), error, TrainRecipe, "a recipe that trains", located.data)
    if found is not None:
        check_train(found.train, problems)
        if found.train.data is None:
            problems.add(("train",), "'data' is needed: a run folder, a file, or hf:owner/name")
    problems.raise_any()
    assert found is not None
    return found
