"""The catalog: what is installed, and which plugin brought it."""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.metadata import Distribution, EntryPoint, entry_points
from pathlib import Path
from typing import Any, TypeVar

import pluggy

from evolteacher import hookspecs
from evolteacher.backend import Backend
from evolteacher.benchmark import Benchmark
from evolteacher.component import Component
from evolteacher.errors import PluginError, RecipeError, did_you_mean
from evolteacher.filter import Filter
from evolteacher.operator import Operator
from evolteacher.seeds import SeedReader

FIRST_PARTY = "evolteacher"
"""The distribution whose entry points are always loaded."""

ENVIRONMENT = "EVOLTEACHER_PLUGINS"
"""Names, separated by commas, of the third-party entry points to load; unset means all, empty means none."""

_LONGEST_REASON = 400
"""Characters of a plugin's error that are shown; some libraries raise pages."""

C = TypeVar("C", bound=Component)

_HOOKS: dict[str, type[Component]] = {
    "register_operators": Operator,
    "register_filters": Filter,
    "register_backends": Backend,
    "register_seed_readers": SeedReader,
    "register_benchmarks": Benchmark,
}


@dataclass(frozen=True, slots=True)
class Plugin:
    """One entry point.

    Attributes:
        name: the entry point's name.
        distribution: what was pip-installed; empty for one registered in Python.
        version: of the distribution.
        error: why it is not used; empty when it is.
    """

    name: str
    distribution: str = ""
    version: str = ""
    error: str = ""

    def __str__(self) -> str:
        """Name it as messages do: ``plugin 'shout' (evolteacher-shout 1.0)``."""
        origin = f" ({self.distribution} {self.version})" if self.distribution else ""
        return f"plugin '{self.name}'{origin}"


@dataclass(frozen=True, slots=True)
class Entry:
    """One component class and who brought it."""

    cls: type[Component]
    plugin: Plugin

    @property
    def qualified(self) -> str:
        """``plugin/name``, which is never ambiguous between plugins of different names."""
        return f"{self.plugin.name}/{self.cls.name}"


@dataclass(frozen=True, slots=True)
class _Brought:
    """What the registering hooks of one plugin returned, checked."""

    entries: list[Entry]
    folders: list[Path]
    commands: dict[str, tuple[str, str]]


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
        self._folders: list[Path] = []
        self._commands: dict[str, tuple[tuple[str, str], Plugin]] = {}

    @classmethod
    def load(cls) -> Catalog:
        """Load every installed plugin; one that fails costs only itself, and is warned of by name and reason."""
        catalog = cls()
        wanted = os.environ.get(ENVIRONMENT)
        names = None if wanted is None else {name.strip() for name in wanted.split(",") if name.strip()}
        found = entry_points(group=hookspecs.PROJECT)
        for point in sorted(found, key=_first_party_first):
            plugin = Plugin(point.name, *_distribution(point))
            if plugin.distribution == FIRST_PARTY or names is None or point.name in names:
                catalog._take(point.load, plugin)
            else:
                catalog.plugins.append(replace(plugin, error=f"{ENVIRONMENT} leaves it out"))
        for name in sorted((names or set()) - {point.name for point in found}):
            hint = did_you_mean(name, [p.name for p in catalog.plugins if p.distribution != FIRST_PARTY])
            warnings.warn(f"{ENVIRONMENT}: no installed plugin is called '{name}'.{hint}", PluginWarning, stacklevel=2)
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
            brought = self._collect(load(), plugin)
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:  # a plugin may raise anything while it is imported, SystemExit included
            failed = replace(plugin, error=_reason(error))
            self.plugins.append(failed)
            if plugin.distribution:
                warnings.warn(f"{plugin} is left out: {failed.error}", PluginWarning, stacklevel=3)
            return
        self.plugins.append(plugin)
        self._folders += brought.folders
        for entry in brought.entries:
            self._entries[entry.cls.kind].setdefault(entry.cls.name, []).append(entry)
        for name, command in brought.commands.items():
            _, owner = self._commands.setdefault(name, (command, plugin))
            if owner is not plugin:
                what = f"the command '{name}' of {plugin} is left out: {owner} brings one of that name"
                warnings.warn(what, PluginWarning, stacklevel=3)

    def _collect(self, module: object, plugin: Plugin) -> _Brought:
        key = str(plugin)
        if self._manager.has_plugin(key):
            raise PluginError("a plugin of that name is there already")
        if (other := self._manager.get_name(module)) is not None:
            raise PluginError(f"this module is {other} already")
        try:
            self._manager.register(module, key)
            self._check_hooks(module)
            return _Brought(
                entries=list(self._components(key, plugin)),
                folders=list(self._recipe_folders(key)),
                commands=self._command_table(key),
            )
        except BaseException:
            if self._manager.has_plugin(key):
                self._manager.unregister(name=key)
            raise

    def _check_hooks(self, module: object) -> None:
        for hook in self._manager.get_hookcallers(module) or ():
            implementation = next(found for found in hook.get_hookimpls() if found.plugin is module)
            if not hook.has_spec() and not implementation.optionalhook:
                known = [name for name, caller in vars(self._manager.hook).items() if caller.has_spec()]
                raise PluginError(f"there is no hook '{hook.name}'.{did_you_mean(hook.name, known)}")
            if inspect.iscoroutinefunction(implementation.function):
                raise PluginError(f"{hook.name}() is async; hooks are plain functions")

    def _components(self, key: str, plugin: Plugin) -> Iterator[Entry]:
        for hook, base in _HOOKS.items():
            names: set[str] = set()
            for cls in self._returned(hook, key, "component classes"):
                if not (isinstance(cls, type) and issubclass(cls, base)):
                    raise PluginError(
                        f"{hook}() returned {cls!r}: a list of subclasses of evolteacher.{base.__name__} is needed"
                    )
                if not cls.name:
                    raise PluginError(f'{cls.__qualname__} has no name: class {cls.__name__}(…, name="…")')
                if cls.name in names:
                    raise PluginError(f"{hook}() returned two classes called '{cls.name}'")
                names.add(cls.name)
                yield Entry(cls, plugin)

    def _recipe_folders(self, key: str) -> Iterator[Path]:
        for folder in self._returned("register_recipes", key, "paths of folders"):
            path = Path(folder)
            if not path.is_dir():
                raise PluginError(f"register_recipes() returned {str(folder)!r}, which is no folder")
            yield path

    def _command_table(self, key: str) -> dict[str, tuple[str, str]]:
        table = hookspecs.CommandTable()
        for implementation in self._implementations("register_commands", key):
            _call(implementation, table)
        return table.commands

    def _returned(self, hook: str, key: str, what: str) -> Iterator[Any]:
        for implementation in self._implementations(hook, key):
            found = _call(implementation)
            if isinstance(found, str | type) or not isinstance(found, Iterable):
                raise PluginError(f"{hook}() returned {found!r}: a list of {what} is needed")
            yield from found

    def _implementations(self, hook: str, key: str | None = None) -> list[pluggy.HookImpl]:
        found = getattr(self._manager.hook, hook).get_hookimpls()
        return [implementation for implementation in found if key in (None, implementation.plugin_name)]

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
        if len({entry.cls for entry in found}) > 1:
            names = sorted({entry.qualified for entry in found})
            if len(names) == 1:
                names = sorted(f"{entry.plugin.distribution}/{short}" for entry in found)
            article = "an" if kind[0] in "aeiou" else "a"
            raise RecipeError(
                f"more than one plugin brings {article} {kind} called '{name}': write {' or '.join(names)}"
            )
        if not found:
            known = [entry.qualified if plugin else entry.cls.name for entry in self.entries(kind)]
            unused = [f"{plugin.name} ({plugin.error})" for plugin in self.plugins if plugin.error]
            hint = f" These plugins are not loaded: {'; '.join(unused)}." if unused else ""
            raise RecipeError(f"no {kind} is called '{name}'.{did_you_mean(name, known)}{hint}")
        cls = found[0].cls
        if not issubclass(cls, base):
            own = next(parent for parent in cls.__mro__ if parent.__module__ == base.__module__)
            raise RecipeError(f"'{name}' is of the kind {own.__name__}, and a {base.__name__} is needed here")
        return cls

    def entry(self, cls: type[Component]) -> Entry | None:
        """Return who brought a class; None for one that is not in the catalog."""
        return next((e for e in self._entries.get(cls.kind, {}).get(cls.name, []) if e.cls is cls), None)

    def recipe_folders(self) -> list[Path]:
        """Return the folders of recipes that plugins bring."""
        return list(self._folders)

    def commands(self) -> dict[str, tuple[str, str]]:
        """Return the commands that plugins add: name -> (import path, one line of help)."""
        return {name: command for name, (command, _) in self._commands.items()}

    def observe(self, hook: str, event: object) -> list[str]:
        """Call an observer hook; an exception in one is returned as a line that names its plugin.

        Args:
            hook: ``run_started``, ``evolution_settled``, ``round_finished`` or ``run_finished``.
            event: the frozen event of that hook.
        """
        complaints = []
        for implementation in self._implementations(hook):
            try:
                _call(implementation, event)
            except (Exception, SystemExit) as error:  # an observer must not cost a run
                complaints.append(f"{implementation.plugin_name}: {hook}: {_reason(error)}")
        return complaints

    def observed(self, hook: str) -> bool:
        """Whether any plugin implements an observer hook."""
        return bool(self._implementations(hook))


class PluginWarning(UserWarning):
    """A plugin was left out; the message names it and says why."""


def _call(implementation: pluggy.HookImpl, *arguments: object) -> Any:
    """Call a hook implementation with as many of the hook's arguments as it takes."""
    return implementation.function(*arguments[: len(implementation.argnames)])


def _first_party_first(point: EntryPoint) -> tuple[bool, str, str]:
    distribution, _ = _distribution(point)
    return distribution != FIRST_PARTY, point.name, distribution


def _distribution(point: EntryPoint) -> tuple[str, str]:
    return _named(point.dist) if point.dist else ("", "")


@lru_cache(maxsize=64)
def _named(distribution: Distribution) -> tuple[str, str]:
    """Return a distribution's name and version: both are parsed from its metadata each time they are asked for."""
    return distribution.name, distribution.version


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split())
    if len(text) > _LONGEST_REASON:
        text = f"{text[: _LONGEST_REASON - 1]}…"
    if isinstance(error, PluginError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
