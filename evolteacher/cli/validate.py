"""``evolteacher validate``: check a recipe without running it."""

from __future__ import annotations

from pathlib import Path

from evolteacher.cli.options import BackendName, Changes, RecipeName
from evolteacher.cli.terminal import complain, count, load_catalog, plain
from evolteacher.outputs import exports
from evolteacher.recipe import Recipe
from evolteacher.seeds import SeedReader
from evolteacher.sources import reader_for


def validate(recipe: RecipeName, changes: Changes = None, backend: BackendName = None) -> None:
    """Check a recipe against what is installed: keys, types, components, options. Nothing is asked or written."""
    catalog = load_catalog()
    loaded = Recipe.load(recipe, set=changes or [], backend=backend, catalog=catalog)
    exports(loaded, lambda line: None)
    source = loaded.seeds_source()
    reader: SeedReader | None = loaded.seeds.reader.component if loaded.seeds.reader is not None else None
    if reader is None:
        reader_for(catalog, source)
    if ":" not in source.split("/")[0] and not Path(source).exists():
        complain("warning", f"the seeds are not there: {source}")
    parts = [
        count(loaded.rounds, "round"),
        count(len(loaded.operators), "operator"),
        count(len(loaded.filters) + len(loaded.dataset_filters), "filter"),
        f"backends: {', '.join(dict.fromkeys(use.written for use in loaded.backends.values()))}",
    ]
    print(plain(f"{recipe}: valid ({', '.join(parts)})"))
