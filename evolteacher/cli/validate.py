"""``evolteacher validate``: check a recipe without running it."""

from __future__ import annotations

from pathlib import Path

from evolteacher.catalog import Catalog
from evolteacher.cli.options import BackendName, Changes, RecipeName
from evolteacher.cli.terminal import complain, count, load_catalog, plain
from evolteacher.outputs import exports
from evolteacher.recipe import Recipe
from evolteacher.requirements import check_requirements
from evolteacher.seeds import SeedReader
from evolteacher.sources import reader_for
from evolteacher.stages.measuring import read_benchmarks
from evolteacher.training.job import Training, read_recipe


def validate(recipe: RecipeName, changes: Changes = None, backend: BackendName = None) -> None:
    """Check a recipe against what is installed: keys, types, components, options. Nothing is asked or written."""
    catalog = load_catalog()
    loaded = read_recipe(recipe, set=changes or [], backend=backend, catalog=catalog)
    if not isinstance(loaded, Recipe):
        training = Training.of_recipe(loaded)
        _check_training(training, catalog)
        tunes = f"tunes {training.train.model}, {training.train.method}, on {training.data}"
        print(plain(f"{recipe}: valid ({', '.join([tunes, *_measures(training)])})"))
        return
    check_requirements(loaded)
    exports(loaded, lambda line: None)
    source = loaded.seeds_source()
    reader: SeedReader | None = loaded.seeds.reader.component if loaded.seeds.reader is not None else None
    if reader is None:
        reader_for(catalog, source)
    if ":" not in source.split("/")[0] and not Path(source).exists():
        complain("warning", f"the seeds are not there: {source}")
    if loaded.train is not None:
        _check_training(Training.of_run(loaded, Path("runs") / loaded.name), catalog)
    stopping = f" at the most, by {loaded.stop.signal}" if loaded.stop is not None else ""
    parts = [
        f"{count(loaded.rounds, 'round')}{stopping}",
        count(len(loaded.operators), "operator"),
        count(len(loaded.filters) + len(loaded.dataset_filters), "filter"),
        f"backends: {', '.join(dict.fromkeys(use.written for use in loaded.backends.values()))}",
    ]
    if loaded.train is not None:
        parts.append(f"tunes {loaded.train.model}, {loaded.train.method}")
    parts += _measures(loaded)
    print(plain(f"{recipe}: valid ({', '.join(parts)})"))


def _measures(recipe: Recipe | Training) -> list[str]:
    """Say what is measured at the end; nothing where nothing is."""
    return [f"measures {' and '.join(recipe.evaluate.models)}"] if recipe.evaluate is not None else []


def _check_training(training: Training, catalog: Catalog) -> None:
    """Check what can be told of a training, and of what follows on it, without loading a model."""
    training.check_extra()
    if training.evaluate is not None:
        list(read_benchmarks(training.evaluate, catalog))
    model = training.train.model
    folder = Path(model).expanduser()
    if not folder.exists() and (len(Path(model).parts) != 2 or model.startswith((".", "~", "/"))):
        complain("warning", f"the model is not there: {model}")
    named = training.train.data is not None and ":" not in training.data.split("/")[0]
    if named and not Path(training.data).exists():
        complain("warning", f"the data is not there: {training.data}")
