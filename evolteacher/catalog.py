"""The catalog: what is installed, and which plugin brought it."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, TypeVar

import pluggy

from evolteacher import hookspecs
from evolteacher.backend import Backend
from evolteacher.component import Component
from evolteacher.errors import PluginError, RecipeError, did_you_mean
from evolteacher.filter import Filter
from evolteacher.operator import Operator
from evolteacher.seeds import SeedReader

FIRST_PARTY = "evolteacher"
"""The distribution whose entry points are always loaded."""

ENVIRONMENT = "EVOLTEACHER_PLUGINS"
"""Names, separated by commas, of the third-party entry points to load; unset means all, empty means none."""

C = TypeVar("C", bound=Component)

_HOOKS: dict[str, type[Component]] = {
    "register_operators": Operator,
    "register_filters": Filter,
    "register_backends": Backend,
    "register_seed_readers": SeedReader,
}


@dataclass(frozen=True, slots=True)
class Plugin:
    """One entry point.

    Attributes:
        name: the entry point's name.
        distribution: what was pip-installed; empty for one registered in Python.
        version: of the distribution.
        error: why it could not be used; empty when it could.
    """

    name: str
    distribution: str = ""
    version: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One component class and who brought it."""

    cls: type[Component]
    plugin: Plugin

    @property
    def qualified(self) -> str:
        """``plugin/name``, which is never ambiguous between plugins of different names."""
        return f"{self.plugin.name}/{self.cls.name}"


class Catalog:
    """Finds components by name.

    Use :meth:`load` for what is installed; an empty catalog and :meth:`register` build one by hand, in tests or in a
    notebook.
    """

    def __init__(self) -> None:
        self.plugins: list[Plugin] = []
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._entries: dict[str, dict[str, list[Entry]]] = {base.kind: {} for base in _HOOKS.values()}

    @classmethod
    def load(cls) -> Catalog:
        """Load every installed plugin; one that fails costs only itself, and is warned of by name and reason."""
        catalog = cls()
        wanted = os.environ.get(ENVIRONMENT)
        names = None if wanted is None else {name.strip() for name in wanted.split(",")}
        found = entry_points(group=hookspecs.PROJECT)
        for point in sorted(found, key=lambda point: (_distribution(point)[0] != FIRST_PARTY, point.name)):
            distribution, version = _distribution(point)
            if distribution == FIRST_PARTY or names is None or point.name in names:
                catalog._take(point.load, Plugin(point.name, distribution, version))
        return catalog

    def register(self, module: object, name: str) -> None:
        """Add a plugin that is already imported: a module, or any object with hook implementations.

        Raises:
            PluginError: it breaks the contract of a hook.
        """
        self._take(lambda: module, Plugin(name))
        if self.plugins[-1].error:
            raise PluginError(f"plugin '{name}': {self.plugins[-1].error}")

    def _take(self, load: Callable[[], object], plugin: Plugin) -> None:
        try:
            module = load()
            found = self._collect(module, plugin)
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:  # a plugin may raise anything while it is imported, SystemExit included
            failed = Plugin(plugin.name, plugin.distribution, plugin.version, _reason(error))
            self.plugins.append(failed)
            if plugin.distribution:
                warnings.warn(
                    f"plugin '{plugin.name}' ({plugin.distribution} {plugin.version}) is left out: {failed.error}",
                    PluginWarning,
                    stacklevel=3,
                )
            return
        self.plugins.append(plugin)
        for entry in found:
            self._entries[entry.cls.kind].setdefault(entry.cls.name, []).append(entry)

    def _collect(self, module: object, plugin: Plugin) -> list[Entry]:
        key = f"{plugin.name} of {plugin.distribution}" if plugin.distribution else plugin.name
        self._manager.register(module, key)
        try:
            self._manager.check_pending()
            return [entry for hook, base in _HOOKS.items() for entry in self._registered(key, hook, base, plugin)]
        except BaseException:
            self._manager.unregister(module)
            raise

    def _registered(self, key: str, hook: str, base: type[Component], plugin: Plugin) -> Iterator[Entry]:
        for function in self._functions(hook, key):
            for cls in function():
                if not (isinstance(cls, type) and issubclass(cls, base)):
                    raise PluginError(f"{hook} returned {cls!r}, which is no subclass of evolteacher.{base.__name__}")
                if not cls.name:
                    raise PluginError(f'{cls.__qualname__} has no name: class {cls.__name__}(…, name="…")')
                yield Entry(cls, plugin)

    def _functions(self, hook: str, key: str | None = None) -> Iterator[Callable[..., Any]]:
        for implementation in getattr(self._manager.hook, hook).get_hookimpls():
            if key is None or implementation.plugin_name == key:
                yield implementation.function

    def entries(self, kind: str | None = None) -> list[Entry]:
        """Return what is installed, by kind, name and plugin."""
        kinds = self._entries if kind is None else {kind: self._entries[kind]}
        return [entry for names in kinds.values() for name in sorted(names) for entry in names[name]]

    def find(self, base: type[C], name: str) -> type[C]:
        """Return the class that a recipe means by a short or qualified name.

        Raises:
            RecipeError: no such component, or several plugins bring one; the message says what to write.
        """
        kind = base.kind
        plugin, _, short = name.rpartition("/")
        found = self._entries[kind].get(short, [])
        if plugin:
            found = [entry for entry in found if plugin in (entry.plugin.name, entry.plugin.distribution)]
        article = "an" if kind[0] in "aeiou" else "a"
        if len(found) > 1:
            names = sorted({entry.qualified for entry in found})
            if len(names) == 1:
                names = sorted(f"{entry.plugin.distribution}/{short}" for entry in found)
            written = " or ".join(names)
            raise RecipeError(f"more than one plugin brings {article} {kind} called '{name}': write {written}")
        if not found:
            known = [entry.qualified if plugin else entry.cls.name for entry in self.entries(kind)]
            broken = [f"{p.name} ({p.error})" for p in self.plugins if p.error]
            hint = f" These plugins failed to load: {'; '.join(broken)}." if broken else ""
            raise RecipeError(f"no {kind} is called '{name}'.{did_you_mean(name, known)}{hint}")
        cls = found[0].cls
        if not issubclass(cls, base):
            raise RecipeError(f"'{name}' is a {cls.__mro__[1].__name__}, and a {base.__name__} is needed here")
        return cls

    def entry(self, cls: type[Component]) -> Entry | None:
        """Return who brought a class; None for one that is not in the catalog."""
        return next((e for e in self._entries.get(cls.kind, {}).get(cls.name, []) if e.cls is cls), None)

    def recipe_folders(self) -> list[Path]:
        """Return the folders of recipes that plugins bring."""
        return [Path(folder) for function in self._functions("register_recipes") for folder in function()]

    def commands(self) -> dict[str, tuple[str, str]]:
        """Return the commands that plugins add: name -> (import path, one line of help)."""
        table = hookspecs.CommandTable()
        for function in self._functions("register_commands"):
            function(table)
        return table.commands

    def observe(self, hook: str, event: object) -> Iterable[str]:
        """Call an observer hook; an exception in one is returned as a line that names its plugin.

        Args:
            hook: ``run_started``, ``evolution_settled``, ``round_finished`` or ``run_finished``.
            event: the frozen event of that hook.
        """
        complaints = []
        for implementation in getattr(self._manager.hook, hook).get_hookimpls():
            try:
                implementation.function(*([event] if implementation.argnames else []))
            except Exception as error:  # an observer must not cost a run
                complaints.append(f"plugin '{implementation.plugin_name}': {hook}: {_reason(error)}")
        return complaints

    def observed(self, hook: str) -> bool:
        """Whether any plugin implements an observer hook."""
        return bool(getattr(self._manager.hook, hook).get_hookimpls())


class PluginWarning(UserWarning):
    """A plugin was left out; the message names it and says why."""


def _distribution(point: EntryPoint) -> tuple[str, str]:
    return (point.dist.name, point.dist.version) if point.dist else ("", "")


def _reason(error: BaseException) -> str:
    if isinstance(error, PluginError):
        return str(error)
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
