"""The catalog: what is installed, and which plugin brought it."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import pluggy

from evolteacher import hookspecs
from evolteacher.backend import Backend
from evolteacher.benchmark import Benchmark
from evolteacher.component import Component
from evolteacher.errors import PluginError, RecipeError, did_you_mean
from evolteacher.filter import Filter
from evolteacher.installed import (
    ENVIRONMENT,
    FIRST_PARTY,
    Declared,
    Installed,
    Plugin,
    installed_plugins,
    wanted_plugins,
)
from evolteacher.operator import Operator
from evolteacher.seeds import SeedReader

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
    notebook. A plugin whose package declares what it brings is imported when something of it is looked for, and all
    are when everything is listed, or when nobody has said to bring what is looked for.
    """

    def __init__(self) -> None:
        self._plugins: list[Plugin] = []
        self._waiting: list[Installed] = []
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._entries: dict[str, dict[str, list[Entry]]] = {base.kind: {} for base in _HOOKS.values()}
        self._folders: list[tuple[int, Path]] = []
        self._commands: dict[str, tuple[tuple[str, str], Plugin]] = {}

    @classmethod
    def load(cls) -> Catalog:
        """Find every installed plugin; one that fails costs only itself, and is warned of by name and reason.

        Those of which it is not declared what they bring are imported now.
        """
        catalog = cls()
        for each in installed_plugins():
            if each.plugin.error:
                catalog._plugins.append(each.plugin)
            elif each.declares is not None:
                catalog._waiting.append(each)
            else:
                catalog._take(each.load, each.plugin)
        known = {each.name: each.distribution for each in (*catalog._plugins, *(w.plugin for w in catalog._waiting))}
        for name in sorted((wanted_plugins() or set()) - known.keys()):
            hint = did_you_mean(name, [other for other, origin in known.items() if origin != FIRST_PARTY])
            warnings.warn(f"{ENVIRONMENT}: no installed plugin is called '{name}'.{hint}", PluginWarning, stacklevel=2)
        return catalog

    def register(self, module: object, name: str) -> None:
        """Add a plugin that is already imported: a module, or any object with hook implementations.

        Raises:
            PluginError: it breaks the contract of a hook.
        """
        self._take(lambda: module, Plugin(name, place=len(self._plugins) + len(self._waiting)))
        if self._plugins[-1].error:
            raise PluginError(f"plugin '{name}': {self._plugins[-1].error}")

    @property
    def plugins(self) -> list[Plugin]:
        """Every plugin, used or not; evolteacher's own first."""
        self._import()
        return sorted(self._plugins, key=lambda plugin: plugin.place)

    def _import(self, wanted: Callable[[Declared], bool] = lambda declared: True) -> None:
        """Import the plugins that wait, or those of them whose declaration is wanted."""
        ready = [each for each in self._waiting if wanted(each.declares or frozenset())]
        self._waiting = [each for each in self._waiting if each not in ready]
        for each in ready:
            self._take(each.load, each.plugin, each.declares)

    def _take(self, load: Callable[[], object], plugin: Plugin, declared: Declared | None = None) -> None:
        try:
            brought = self._collect(load(), plugin, declared is not None)
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:  # a plugin may raise anything while it is imported, SystemExit included
            failed = replace(plugin, error=_reason(error))
            self._plugins.append(failed)
            if plugin.distribution:
                warnings.warn(f"{plugin} is left out: {failed.error}", PluginWarning, stacklevel=3)
            return
        self._plugins.append(plugin)
        self._folders += [(plugin.place, folder) for folder in brought.folders]
        for entry in brought.entries:
            named = self._entries[entry.cls.kind].setdefault(entry.cls.name, [])
            named.append(entry)
            named.sort(key=lambda entry: entry.plugin.place)
        for name, command in brought.commands.items():
            self._add_command(name, command, plugin)
        if declared is not None and declared != (found := {(e.cls.kind, e.cls.name) for e in brought.entries}):
            differ = ", ".join(f"{kind} '{name}'" for kind, name in sorted(declared ^ found))
            what = f"{plugin}: what its package declares is not what it brings ({differ}); install the package again"
            warnings.warn(what, PluginWarning, stacklevel=3)

    def _add_command(self, name: str, command: tuple[str, str], plugin: Plugin) -> None:
        _, owner = self._commands.setdefault(name, (command, plugin))
        if owner is plugin:
            return
        first, second = sorted((owner, plugin), key=lambda plugin: plugin.place)
        if first is plugin:
            self._commands[name] = command, plugin
        what = f"the command '{name}' of {second} is left out: {first} brings one of that name"
        warnings.warn(what, PluginWarning, stacklevel=4)

    def _collect(self, module: object, plugin: Plugin, declared: bool) -> _Brought:
        key = str(plugin)
        if self._manager.has_plugin(key):
            raise PluginError("a plugin of that name is there already")
        if (other := self._manager.get_name(module)) is not None:
            raise PluginError(f"this module is {other} already")
        try:
            self._manager.register(module, key)
            self._check_hooks(module, declared)
            return _Brought(
                entries=list(self._components(key, plugin)),
                folders=list(self._recipe_folders(key)),
                commands=self._command_table(key),
            )
        except BaseException:
            if self._manager.has_plugin(key):
                self._manager.unregister(name=key)
            raise

    def _check_hooks(self, module: object, declared: bool) -> None:
        for hook in self._manager.get_hookcallers(module) or ():
            implementation = next(found for found in hook.get_hookimpls() if found.plugin is module)
            if not hook.has_spec() and not implementation.optionalhook:
                known = [name for name, caller in vars(self._manager.hook).items() if caller.has_spec()]
                raise PluginError(f"there is no hook '{hook.name}'.{did_you_mean(hook.name, known)}")
            if inspect.iscoroutinefunction(implementation.function):
                raise PluginError(f"{hook.name}() is async; hooks are plain functions")
            if declared and hook.has_spec() and not hook.name.startswith("register_"):
                raise PluginError(
                    f"{hook.name}() would go untold where none of the declared components is used: its package must "
                    "not declare them"
                )

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
        self._import(lambda declared: kind is None or any(each == kind for each, _ in declared))
        kinds = self._entries if kind is None else {kind: self._entries[kind]}
        return [entry for names in kinds.values() for name in sorted(names) for entry in names[name]]

    def find(self, base: type[C], name: str) -> type[C]:
        """Return the class that a recipe means by a short or qualified name.

        Raises:
            RecipeError: no such component, or several plugins bring one; the message says what to write.
        """
        kind = base.kind
        plugin, _, short = name.rpartition("/")
        self._import(lambda declared: (kind, short) in declared)
        found = self._found(kind, short, plugin)
        if not found:
            self._import()  # for one that is not declared, and for the nearest name
            found = self._found(kind, short, plugin)
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

    def _found(self, kind: str, name: str, plugin: str) -> list[Entry]:
        found = self._entries[kind].get(name, [])
        return [entry for entry in found if plugin in ("", entry.plugin.name, entry.plugin.distribution)]

    def entry(self, cls: type[Component]) -> Entry | None:
        """Return who brought a class; None for one that is not in the catalog."""
        self._import(lambda declared: (cls.kind, cls.name) in declared)
        return next((e for e in self._entries.get(cls.kind, {}).get(cls.name, []) if e.cls is cls), None)

    def recipe_folders(self) -> list[Path]:
        """Return the folders of recipes that plugins bring."""
        self._import()
        return [folder for _, folder in sorted(self._folders, key=lambda brought: brought[0])]

    def commands(self) -> dict[str, tuple[str, str]]:
        """Return the commands that plugins add: name -> (import path, one line of help)."""
        self._import()
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


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split())
    if len(text) > _LONGEST_REASON:
        text = f"{text[: _LONGEST_REASON - 1]}…"
    if isinstance(error, PluginError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
