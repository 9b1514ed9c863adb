"""Looks an installed plugin over, for ``evolteacher plugins check``: what is wrong, where, and how to mend it."""

from __future__ import annotations

import difflib
import importlib
import inspect
import os
import re
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import Distribution, EntryPoint, PackageNotFoundError, distribution, distributions
from pathlib import Path
from types import ModuleType

from evolteacher import __version__, hookspecs
from evolteacher.catalog import Catalog, Entry
from evolteacher.component import Component
from evolteacher.errors import PluginError, did_you_mean
from evolteacher.installed import DECLARING, ENVIRONMENT, declarations
from evolteacher.recipecheck import recipe_faults
from evolteacher.trials import faults

GROUP = hookspecs.PROJECT
"""Of the entry points that are plugins."""

HOOKS = tuple(name for name, value in vars(hookspecs).items() if hasattr(value, f"{GROUP}_spec"))

_BOUND = re.compile(rf"{GROUP}\s*(\[[^]]*\])?\s*\(?[^;]*(>=|==|~=|>)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        what: it, and where.
        mend: how to mend it.
    """

    what: str
    mend: str


@dataclass
class Report:
    """What was looked at, and what is wrong.

    Attributes:
        package: the distribution and its version; what was asked for, where there is none.
        brings: ``operator 'translate'`` and the like.
        findings: in the order in which they are best mended.
    """

    package: str
    brings: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def add(self, what: str, mend: str) -> None:
        """Note a finding."""
        self.findings.append(Finding(what, mend))


def check_package(name: str, catalog: Catalog) -> Report:
    """Look a package over.

    Args:
        name: of the distribution, or of one of its entry points.
        catalog: all that is installed, for names that clash.
    """
    found = _find(name)
    if found is None:
        report = Report(name)
        known = [each.name for each in distributions() if each.entry_points.select(group=GROUP) and each.name]
        report.add(
            f"no package '{name}' is installed for {sys.executable}.{did_you_mean(name, known)}",
            "install it there: `pip install NAME`, or in its folder `pip install -e .`",
        )
        return report
    report = Report(f"{found.name} {found.version}")
    points = list(found.entry_points.select(group=GROUP))
    if not points:
        _no_entry_point(found, report)
    modules: list[tuple[EntryPoint, object]] = []
    for point in points:
        _check_left_out(point, report)
        module = _load(point, found, report)
        if module is not None:
            modules.append((point, module))
    for point, module in modules:
        _check_module(point, module, catalog, found, report)
    for module in sorted(declarations(found).keys() - {point.value for point in points}):
        report.add(
            f"its entry points say what '{module}' brings, and that is no plugin of its",
            f'below [project.entry-points.{GROUP}] write NAME = "{module}", or mend the declarations',
        )
    _check_metadata(found, report)
    return report


def _find(name: str) -> Distribution | None:
    try:
        return distribution(name)
    except (PackageNotFoundError, ValueError):
        pass
    for each in distributions():
        if name in {point.name for point in each.entry_points.select(group=GROUP)}:
            return each
    return None


def _no_entry_point(found: Distribution, report: Report) -> None:
    groups = {point.group for point in found.entry_points}
    near = difflib.get_close_matches(GROUP, groups, n=1, cutoff=0.6) or [each for each in groups if "evol" in each]
    module = next(iter(_top_level(found)), "your_module")
    if near:
        report.add(
            f"its entry points are in the group '{near[0]}', where evolteacher does not look",
            f"in pyproject.toml write [project.entry-points.{GROUP}] for [project.entry-points.{_quoted(near[0])}], "
            "and install it again: entry points are read when a package is installed",
        )
        return
    report.add(
        f"it has no entry point in the group '{GROUP}', so evolteacher never sees it",
        f'in pyproject.toml write [project.entry-points.{GROUP}] and below it NAME = "{module}", and install it again: '
        "entry points are read when a package is installed",
    )


def _check_left_out(point: EntryPoint, report: Report) -> None:
    wanted = os.environ.get(ENVIRONMENT)
    names = [name.strip() for name in (wanted or "").split(",") if name.strip()]
    if wanted is not None and point.name not in names:
        report.add(
            f"{ENVIRONMENT}={wanted} leaves the plugin '{point.name}' out",
            f"unset it, or write {ENVIRONMENT}={','.join([*names, point.name])}",
        )


def _load(point: EntryPoint, found: Distribution, report: Report) -> object | None:
    """Import what an entry point names; a failure is a finding."""
    where = f"entry point {point.name} = '{point.value}'"
    try:
        module = importlib.import_module(point.module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a plugin may raise anything while it is imported, SystemExit included
        report.findings.append(_import_finding(where, point, found, error))
        return None
    loaded: object = module
    for name in point.attr.split(".") if point.attr else ():
        if not hasattr(loaded, name):
            known = [each for each in vars(loaded) if not each.startswith("_")] if hasattr(loaded, "__dict__") else []
            report.add(
                f"{where}: {point.module} has no '{name}'.{did_you_mean(name, known)}",
                f'an entry point of a plugin names its module: {point.name} = "{point.module}"',
            )
            return None
        loaded = getattr(loaded, name)
    return loaded


def _import_finding(where: str, point: EntryPoint, found: Distribution, error: BaseException) -> Finding:
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if isinstance(error, ModuleNotFoundError) and error.name and f"{point.module}.".startswith(f"{error.name}."):
        hint = did_you_mean(point.module, [*_top_level(found), *_modules(found)])
        return Finding(
            f"{where}: there is no module '{error.name}'.{hint}",
            "name a module that the package holds, or have the build take it into the wheel "
            "([tool.hatch.build.targets.wheel] packages, for hatchling)",
        )
    place = _cause(error, found)
    if isinstance(error, ModuleNotFoundError) and error.name:
        mend = (
            f"write what brings '{error.name}' into the package's dependencies; a heavy library is imported inside the "
            "function that needs it, and belongs into an extra"
        )
        if error.name.split(".")[0] == GROUP:
            mend = (
                "import from `evolteacher`, `evolteacher.errors` and `evolteacher.testing` alone: the rest may change"
            )
    elif isinstance(error, TypeError) and ("hides" in str(error) or "reserved" in str(error)):
        mend = "rename the option: recipes and components have a meaning of their own for that word"
    elif isinstance(error, SystemExit):
        mend = 'a plugin is imported, not run: put what runs below `if __name__ == "__main__":`'
    else:
        mend = "mend what is raised there; what may fail belongs into a function, not into the import of the module"
    return Finding(f"{where}: importing it raised {said}{place}", mend)


def _check_module(point: EntryPoint, module: object, catalog: Catalog, found: Distribution, report: Report) -> None:
    """Look at the hooks of a plugin, and at what they bring."""
    where = f"plugin '{point.name}'"
    unmarked = list(_unmarked(module))
    for name, hook in unmarked:
        called = "" if name == hook else f", and the hook is called {hook}()"
        report.add(
            f"{where}: the function {name}() is no hook: it is not marked as one{called}",
            f"write @et.hookimpl above `def {hook}(…)`",
        )
    own = Catalog()
    try:
        own.register(module, point.name)
    except PluginError as error:
        report.add(str(error), _mend_hook(str(error)))
        return
    entries = own.entries()
    commands = own.commands()
    observers = [hook for hook in HOOKS if not hook.startswith("register_") and own.observed(hook)]
    if not (entries or commands or observers or own.recipe_folders() or unmarked):
        report.add(
            f"{where}: it brings nothing: no hook of {point.value} returns anything",
            "write a function such as `@et.hookimpl` `def register_operators(): return [Mine]`",
        )
    report.brings += [f"{entry.cls.kind} '{entry.cls.name}'" for entry in entries]
    report.brings += [f"command '{name}'" for name in commands]
    report.brings += [f"recipes in {folder.name}" for folder in own.recipe_folders()]
    report.brings += [f"observer {hook}()" for hook in observers]
    _check_declared(point, found, entries, observers, report)
    for entry in entries:
        _check_component(entry, catalog, found, report)
    for name, (target, _) in commands.items():
        _check_command(name, target, found, report)
    if any(each.name == point.name and each.distribution == found.name for each in catalog.plugins):
        for folder in own.recipe_folders():  # of a plugin that is left out, they would lack their own components
            for what, mend in recipe_faults(folder, catalog):
                report.add(f"{where}: {what}", mend)


def _check_declared(
    point: EntryPoint, found: Distribution, entries: list[Entry], observers: list[str], report: Report
) -> None:
    """Compare what the package's entry points say that a module brings with what it brings."""
    declared = declarations(found).get(point.value)
    if declared is None:
        return
    where, groups = f"plugin '{point.name}'", {kind: group for group, kind in DECLARING.items()}
    brought = {(entry.cls.kind, entry.cls.name) for entry in entries}
    for kind, name in sorted(declared ^ brought):
        line = f"{name} = \"{point.value}\" in the group '{groups[kind]}'"
        if (kind, name) in brought:
            report.add(f"{where} brings {kind} '{name}', which its entry points do not declare", f"add {line}")
        else:
            report.add(f"{where} does not bring {kind} '{name}', which its entry points declare", f"remove {line}")
    if observers:
        report.add(
            f"{where} observes runs ({', '.join(observers)}), and its components are declared: it would not be "
            "imported where none of them is used",
            "remove what is declared of it, or let a module of its own observe",
        )


def _unmarked(module: object) -> Iterator[tuple[str, str]]:
    """Yield functions that look like hooks and are not marked, with the hook that is meant."""
    if not isinstance(module, ModuleType):
        return
    for name, value in list(vars(module).items()):
        marked = hasattr(value, f"{GROUP}_impl")
        if inspect.isfunction(value) and not marked and value.__module__ == module.__name__:
            near = difflib.get_close_matches(name, HOOKS, n=1, cutoff=0.85)
            if near:
                yield name, near[0]


def _mend_hook(problem: str) -> str:
    if "there is no hook" in problem:
        return f"call the function by the hook's name. There are: {', '.join(f'{hook}()' for hook in HOOKS)}"
    if "subclasses of" in problem:
        return "return the classes themselves, without parentheses: `return [Mine]`, never `return [Mine()]`"
    if "has no name" in problem:
        return 'give it the name by which recipes call it: `class Mine(et.Operator, name="mine")`'
    if "returned two classes" in problem:
        return "give each class a name of its own"
    if "are declared in the hookimpl" in problem:
        return "give the function the arguments that the hook has, or fewer of them; docs/plugins.md has a table of all"
    if "is async" in problem:
        return "write `def` in place of `async def`"
    return "mend what the function returns; docs/plugins.md has a table of all hooks"


def _check_component(entry: Entry, catalog: Catalog, found: Distribution, report: Report) -> None:
    cls = entry.cls
    what = f"{cls.kind} '{cls.name}' ({_place(cls, found)})"
    for other in catalog.entries(cls.kind):
        if other.cls.name == cls.name and other.plugin.distribution != found.name:
            report.add(
                f"{what}: {other.plugin} brings one of that name, so recipes with '{cls.name}' no longer load where "
                "both are installed",
                f"choose another name; until then recipes write {entry.qualified}",
            )
    if not cls.documentation().strip():
        report.add(f"{what}: it has no docstring", "write what it does in one line: `evolteacher plugins` shows it")
    for name, option in cls.model_fields.items():
        if not (option.description or "").strip():
            report.add(
                f"{what}: the option '{name}' has no description",
                f'{name}: … = Field(…, description="…"), which `plugins show` and editors tell the user',
            )
    for fault in faults(cls):
        cause = f" ({_cause(fault.error, found).strip(' ()')})" if fault.error is not None else ""
        report.add(f"{what}: {fault.what}{cause}", fault.mend)


def _check_command(name: str, target: str, found: Distribution, report: Report) -> None:
    module, _, attribute = target.partition(":")
    try:
        getattr(importlib.import_module(module), attribute)
    except (Exception, SystemExit) as error:
        said = f"{type(error).__name__}: {error}{_cause(error, found)}"
        report.add(f"command '{name}': {target} cannot be imported: {said}", "name a function: module:function")


def _check_metadata(found: Distribution, report: Report) -> None:
    if "Requires-Python" not in found.metadata:
        report.add("it does not say which Python it needs", 'in pyproject.toml, [project]: requires-python = ">=3.11"')
    needed = [each for each in found.requires or () if re.match(rf"{GROUP}(?![\w.-])", each, re.IGNORECASE)]
    if not any(_BOUND.match(each) for each in needed):
        what = "with no least version" if needed else "not among its dependencies"
        report.add(
            f"evolteacher stands {what}, so it may be installed beside one that it does not work with",
            f'in pyproject.toml, [project]: dependencies = ["evolteacher>={__version__}"]',
        )


def _cause(error: BaseException, found: Distribution) -> str:
    """Return where an error came from: the last line of the package's own code, or of any, with file and line."""
    if isinstance(error, SyntaxError) and error.filename:
        return f" ({_short(error.filename, found)}:{error.lineno})"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<frozen")]
    own = {str(path) for path in _files(found)}
    mine = [frame for frame in frames if os.path.realpath(frame.filename) in own]
    tops = tuple(_top_level(found))
    mine = mine or [frame for frame in frames if any(top in Path(frame.filename).parts for top in tops)]
    chosen = (mine or frames)[-1:]
    return "".join(f" ({_short(frame.filename, found)}:{frame.lineno})" for frame in chosen)


def _place(cls: type[Component], found: Distribution) -> str:
    try:
        return f"{_short(inspect.getfile(cls), found)}:{inspect.getsourcelines(cls)[1]}"
    except (OSError, TypeError):
        return cls.__module__


def _short(filename: str, found: Distribution) -> str:
    """Return a file's name as the package's author knows it."""
    parts = Path(filename).parts
    for top in _top_level(found):
        if top in parts:
            return str(Path(*parts[parts.index(top) :]))
    return Path(filename).name


def _files(found: Distribution) -> Iterator[str]:
    for path in found.files or ():
        yield os.path.realpath(str(found.locate_file(path)))


def _modules(found: Distribution) -> list[str]:
    paths = [str(path) for path in found.files or () if str(path).endswith(".py")]
    return [path.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for path in paths]


def _top_level(found: Distribution) -> list[str]:
    """Return the packages that a distribution brings; of an editable one those that its entry points name."""
    named = {point.module.split(".")[0] for point in found.entry_points}
    tops = {module.split(".")[0] for module in _modules(found)}
    return sorted(tops or named)


def _quoted(group: str) -> str:
    return f'"{group}"' if "." in group else group
