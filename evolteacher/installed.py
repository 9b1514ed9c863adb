"""What installed packages say of the plugins in them, read from their metadata: nothing is imported.

An entry point of the group ``evolteacher`` makes a module a plugin. A package may declare besides, in the groups of
:data:`DECLARING`, which module brings which component; such a module is imported when one of them is needed.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib.metadata import Distribution, EntryPoint, entry_points
from typing import Any

from evolteacher.hookspecs import PROJECT

FIRST_PARTY = "evolteacher"
"""The distribution whose entry points are always used."""

ENVIRONMENT = "EVOLTEACHER_PLUGINS"
"""Names, separated by commas, of the third-party entry points to use; unset means all, empty means none."""

DECLARING = {
    f"{PROJECT}.{kind.replace(' ', '-')}s": kind
    for kind in ("operator", "filter", "backend", "seed reader", "benchmark")
}
"""Groups of entry points that declare components, and their kinds: ``translate = "my_package.plugin"``."""

COMMANDS = f"{PROJECT}.commands"
"""The group in which a package may declare the commands that its plugins bring, so that a shell completes their names
without an import."""

Declared = frozenset[tuple[str, str]]
"""Kind and name of components."""


@dataclass(frozen=True, slots=True)
class Plugin:
    """One entry point.

    Attributes:
        name: the entry point's name.
        distribution: what was pip-installed; empty for one registered in Python.
        version: of the distribution.
        error: why it is not used; empty when it is.
        place: among all plugins: evolteacher's own come first, then others by name, then those registered in Python.
    """

    name: str
    distribution: str = ""
    version: str = ""
    error: str = ""
    place: int = field(default=0, compare=False)

    def __str__(self) -> str:
        """Name it as messages do: ``plugin 'shout' (evolteacher-shout 1.0)``."""
        origin = f" ({self.distribution} {self.version})" if self.distribution else ""
        return f"plugin '{self.name}'{origin}"


@dataclass(frozen=True, slots=True)
class Installed:
    """A plugin that is not imported yet.

    Attributes:
        plugin: what is known of it; with an error where it is not to be used.
        load: imports it.
        declares: the components that it brings, as its package says; None where the package does not say.
    """

    plugin: Plugin
    load: Callable[[], object]
    declares: Declared | None


def wanted_plugins() -> set[str] | None:
    """Return the names of the third-party plugins to use; None for all."""
    listed = os.environ.get(ENVIRONMENT)
    return None if listed is None else {name.strip() for name in listed.split(",") if name.strip()}


def installed_plugins() -> list[Installed]:
    """Return every plugin that is installed, evolteacher's own first."""
    wanted = wanted_plugins()
    found = entry_points()
    declared = _declarations(point for group in DECLARING for point in found.select(group=group))
    plugins = []
    for place, point in enumerate(sorted(found.select(group=PROJECT), key=_first_party_first)):
        distribution, version = _distribution(point)
        plugin = Plugin(point.name, distribution, version, place=place)
        if distribution != FIRST_PARTY and wanted is not None and point.name not in wanted:
            plugin = replace(plugin, error=f"{ENVIRONMENT} leaves it out")
        plugins.append(Installed(plugin, point.load, declared.get((distribution, point.value))))
    return plugins


def of_others() -> list[Installed]:
    """Return the plugins of other distributions than evolteacher's own, but for those that are left out."""
    return [one for one in installed_plugins() if one.plugin.distribution != FIRST_PARTY and not one.plugin.error]


def declared_commands() -> list[str]:
    """Return the names of the commands that evolteacher's own package declares."""
    return sorted(p.name for p in entry_points(group=COMMANDS) if _distribution(p)[0] == FIRST_PARTY)


def declarations(distribution: Distribution) -> dict[str, Declared]:
    """Return what a package declares, by module."""
    found = distribution.entry_points
    declared = _declarations(point for group in DECLARING for point in found.select(group=group))
    return {module: components for (_, module), components in declared.items()}


def _declarations(points: Iterable[EntryPoint]) -> dict[tuple[str, str], Declared]:
    found: dict[tuple[str, str], set[tuple[str, str]]] = defaultdict(set)
    for point in points:
        found[_distribution(point)[0], point.value].add((DECLARING[point.group], point.name))
    return {where: frozenset(components) for where, components in found.items()}


def _first_party_first(point: EntryPoint) -> tuple[bool, str, str]:
    distribution, _ = _distribution(point)
    return distribution != FIRST_PARTY, point.name, distribution


def _distribution(point: EntryPoint) -> tuple[str, str]:
    return _named(point.dist) if point.dist else ("", "")


@lru_cache(maxsize=64)
def _named(distribution: Distribution) -> tuple[str, str]:
    """Return a distribution's name and version: its metadata are parsed each time they are asked for."""
    metadata: Any = distribution.metadata
    return metadata["Name"], metadata["Version"]
