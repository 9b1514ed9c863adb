"""Which plugins made a run, in which versions: in the locked recipe, on the card, and when a resume has others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from evolteacher.catalog import Catalog
from evolteacher.installed import FIRST_PARTY
from evolteacher.recipe import Recipe
from evolteacher.store import Store
from evolteacher.use import Use

_KEY = "plugins"


@dataclass(frozen=True, slots=True)
class UsedPlugin:
    """A plugin of which a recipe uses something.

    Attributes:
        name: of the entry point.
        distribution: what was pip-installed; empty for one that was registered in Python.
        versions: of the distribution, each that took part in the run, the latest last.
        components: what the recipe uses of it, by name.
    """

    name: str
    distribution: str
    versions: tuple[str, ...]
    components: tuple[str, ...]

    def __str__(self) -> str:
        """Name it as messages do: ``shout (evolteacher-shout 1.0, then 1.1)``."""
        versions = ", then ".join(self.versions)
        return f"{self.name} ({self.distribution} {versions})" if self.distribution else self.name


def used_plugins(recipe: Recipe, catalog: Catalog) -> list[UsedPlugin]:
    """Return the plugins that bring what a recipe names, by name."""
    uses: list[Use[Any]] = [*recipe.operators, *recipe.filters, *recipe.dataset_filters, *recipe.backends.values()]
    if recipe.seeds.reader is not None:
        uses.append(recipe.seeds.reader)
    found: dict[tuple[str, str, str], set[str]] = {}
    for use in uses:
        entry = catalog.entry(type(use.component))
        if entry is not None:
            plugin = entry.plugin
            found.setdefault((plugin.name, plugin.distribution, plugin.version), set()).add(entry.cls.name)
    return [
        UsedPlugin(name, distribution, (version,) if version else (), tuple(sorted(names)))
        for (name, distribution, version), names in sorted(found.items())
    ]


def note_plugins(store: Store, recipe: Recipe, catalog: Catalog) -> Iterator[str]:
    """Store which plugins take part from now on, and yield a line for each that has another version than before.

    It is a note and no error: replies are facts, whoever asked for them. What a changed operator asks in other words is
    asked anew.
    """
    known = {(each.name, each.distribution): each.versions for each in stored_plugins(store)}
    taking_part = []
    changed: dict[str, tuple[str, str]] = {}
    for plugin in used_plugins(recipe, catalog):
        before = known.pop((plugin.name, plugin.distribution), ())
        if before and plugin.versions and before[-1] != plugin.versions[-1]:
            changed[plugin.distribution] = (before[-1], plugin.versions[-1])
        versions = before if before[-1:] == plugin.versions else (*before, *plugin.versions)
        taking_part.append([plugin.name, plugin.distribution, versions, plugin.components])
    store.set_meta(_KEY, taking_part)
    for distribution, (old, new) in changed.items():
        what = "evolteacher" if distribution == FIRST_PARTY else f"the plugin {distribution}"
        yield (
            f"{what} is now {new}, and this folder was last run with {old}: what is stored stays, and what {new} asks "
            "in other words is asked anew"
        )


def stored_plugins(store: Store) -> list[UsedPlugin]:
    """Return the plugins that took part in a run, with all their versions; none for a run of an older evolteacher."""
    return [
        UsedPlugin(name, distribution, tuple(versions), tuple(components))
        for name, distribution, versions, components in store.meta(_KEY) or ()
    ]
