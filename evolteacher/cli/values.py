"""What the shell may offer for a value: recipes, runs, models, components. Called by completion alone.

Each function takes what has been typed of the value and returns what it may become. Nothing is imported for it that
is not needed, and a folder that cannot be read holds nothing. Where nothing is offered, the shell offers files.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator

Complete = Callable[[str], list[str]]

RECIPE_ENDINGS = (".yaml", ".yml")
_PLAIN = (".json", ".jsonl", ".ndjson", ".jl", ".csv", ".tsv", ".parquet", ".pq", ".txt")
DATASET_ENDINGS = (*_PLAIN, *(f"{ending}.gz" for ending in _PLAIN))
"""Of what evolteacher's own seed readers claim, which are not imported for a completion."""

_DEEPEST = 16
"""Folders that are entered at once, because each is the only thing in the one above."""


def one_of(words: Iterable[str]) -> Complete:
    """Return a completion that offers some fixed words."""
    known = list(words)

    def complete(incomplete: str) -> list[str]:
        return known

    return complete


def recipes(incomplete: str) -> list[str]:
    """Offer the recipes that have a name, YAML files, and folders to look into."""
    named = [] if "/" in incomplete else recipe_names(incomplete)
    return [*named, *_files(incomplete, RECIPE_ENDINGS, named)]


def recipe_names(incomplete: str) -> list[str]:
    """Offer the recipes that have a name: evolteacher's own, and those that plugins of others bring."""
    from evolteacher.installed import of_others
    from evolteacher.shipped import recipe_names, shipped_folder

    if of_others():
        from evolteacher.cli.terminal import load_catalog

        return list(recipe_names(load_catalog(quiet=True)))
    return sorted(path.stem for path in shipped_folder().glob("*.yaml"))


def runs(incomplete: str) -> list[str]:
    """Offer the run folders in the folder that is typed so far, and in a folder ``runs`` there."""
    typed = _folder_of(incomplete)
    found = []
    for folder in (typed, f"{typed}runs/"):
        begin = incomplete[len(folder) :]
        found += [f"{folder}{e.name}" for e in _entries(folder) if e.name.startswith(begin) and _is_run(e)]
    return found


def runs_or_datasets(incomplete: str) -> list[str]:
    """Offer run folders, dataset files, and folders to look into."""
    found = runs(incomplete)
    return [*found, *(name for name in _files(incomplete, DATASET_ENDINGS, found) if name.rstrip("/") not in found)]


def models(incomplete: str) -> list[str]:
    """Offer backends, and ``backend:value`` for the values that a backend gives as examples of its first option."""
    from evolteacher.backend import Backend
    from evolteacher.cli.terminal import load_catalog

    found = []
    for entry in load_catalog(quiet=True).entries(Backend.kind):
        found.append(entry.cls.name)
        field = entry.cls.model_fields.get(getattr(entry.cls, "primary", ""))
        found += [f"{entry.cls.name}:{value}" for value in (field.examples if field is not None else None) or ()]
    return found


def components(*kinds: str) -> Complete:
    """Return a completion that offers the names of what is installed, of some kinds; of all where none is named."""

    def complete(incomplete: str) -> list[str]:
        return _components(kinds)

    return complete


def packages(incomplete: str) -> list[str]:
    """Offer the distributions that bring plugins, but for evolteacher's own."""
    from evolteacher.installed import of_others

    return sorted({each.plugin.distribution for each in of_others()})


def _components(kinds: tuple[str, ...]) -> list[str]:
    """Return names as packages declare them; a package that declares nothing has to be imported for that."""
    from evolteacher.installed import installed_plugins

    installed = [each for each in installed_plugins() if not each.plugin.error]
    names = {name for each in installed for kind, name in each.declares or () if not kinds or kind in kinds}
    if any(each.declares is None for each in installed):
        from evolteacher.cli.terminal import load_catalog

        names |= {e.cls.name for e in load_catalog(quiet=True).entries() if not kinds or e.cls.kind in kinds}
    return sorted(names)


def _folder_of(incomplete: str) -> str:
    """Return what is typed of a folder, with its slash: ``runs/`` of ``runs/tri``, nothing of ``tri``."""
    return incomplete[: incomplete.rfind("/") + 1]


def _entries(folder: str) -> Iterator[os.DirEntry[str]]:
    """Yield what lies in a folder by name; nothing where it cannot be read."""
    try:
        with os.scandir(os.path.expanduser(folder) or ".") as found:
            yield from sorted(found, key=lambda entry: entry.name)
    except (OSError, ValueError):
        return


def _is_run(entry: os.DirEntry[str]) -> bool:
    from evolteacher.database import DATABASE

    return _is_folder(entry) and os.path.isfile(os.path.join(entry.path, DATABASE))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _files(incomplete: str, endings: tuple[str, ...], others: Iterable[str]) -> list[str]:
    """Return the files of some endings and the folders that go on from what is typed.

    A folder that is alone in that is looked into: a shell takes what is alone for the whole value.
    """
    rivals = any(other.startswith(incomplete) for other in others)
    found = list(_named(incomplete, endings))
    for _ in range(_DEEPEST):
        if rivals or len(found) != 1 or not found[0].endswith("/"):
            break
        found = list(_named(found[0], endings))
    return found


def _named(incomplete: str, endings: tuple[str, ...]) -> Iterator[str]:
    folder = _folder_of(incomplete)
    begin = incomplete[len(folder) :]
    for entry in _entries(folder):
        name = entry.name
        if not name.startswith(begin) or name.startswith(".") > begin.startswith("."):
            continue
        if _is_folder(entry):
            yield f"{folder}{name}/"
        elif name.lower().endswith(endings):
            yield f"{folder}{name}"
