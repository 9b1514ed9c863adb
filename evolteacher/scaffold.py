"""Writes a complete plugin package, for ``evolteacher plugins new``: it installs and passes its tests as it stands."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template

from evolteacher import __version__
from evolteacher.catalog import Catalog
from evolteacher.errors import UsageError

PREFIX = "evolteacher-"
"""What names of distributions begin with, so that they are found on PyPI."""

SUFFIX = ".in"
"""Of the template files, so that no tool takes them for source files."""

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")

_LONGEST = 50
"""Characters of a name; folders, modules and lines of code hold it."""


@dataclass(frozen=True, slots=True)
class Package:
    """A package to be written.

    Attributes:
        plugin: the entry point's name, and the operator's.
    """

    plugin: str

    @classmethod
    def called(cls, name: str, catalog: Catalog) -> Package:
        """Return the package of a name: the plugin's, or the distribution's with ``evolteacher-`` before it.

        Raises:
            UsageError: it is no name, or it is taken by something that is installed.
        """
        plugin = name.removeprefix(PREFIX)
        if not _NAME.fullmatch(plugin) or len(plugin) > _LONGEST or plugin == "evolteacher":
            raise UsageError(
                f"'{name}' is no name for a plugin: lower-case words joined by hyphens, beginning with a letter, of "
                f"{_LONGEST} characters at most.{_hint(name)}"
            )
        package = cls(plugin)
        for taken in package._taken(catalog):
            raise UsageError(f"{taken}; choose another name, since recipes could not tell the two apart")
        return package

    @property
    def distribution(self) -> str:
        """What is pip-installed."""
        return f"{PREFIX}{self.plugin}"

    @property
    def module(self) -> str:
        """What is imported."""
        return self.distribution.replace("-", "_")

    @property
    def words(self) -> dict[str, str]:
        """What the templates are filled in with."""
        return {
            "plugin": self.plugin,
            "distribution": self.distribution,
            "module": self.module,
            "version": __version__,
        }

    def write(self, folder: Path) -> list[Path]:
        """Write the files into a folder that is empty or not there; return them.

        Raises:
            UsageError: the folder holds something, or cannot be written.
        """
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            what = "this folder holds files already" if folder.is_dir() else "this is a file"
            raise UsageError(f"{folder}: {what}, and nothing is overwritten; choose another with --out")
        written = []
        try:
            for path, text in self._files():
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_text(text, encoding="utf-8")
                written.append(folder / path)
        except OSError as error:
            raise UsageError(f"{error.filename}: cannot be written: {error.strerror}; choose another --out") from None
        return written

    def _files(self) -> Iterator[tuple[Path, str]]:
        root = files("evolteacher") / "templates" / "plugin"
        for place, template in _templates(root):
            named = place.removesuffix(SUFFIX).replace("package/", f"{self.module}/")
            text = Template(template.read_text(encoding="utf-8")).substitute(self.words)
            yield Path(".gitignore" if named == "gitignore" else named), text

    def _taken(self, catalog: Catalog) -> Iterator[str]:
        """Yield what is installed under one of the names that the package would bring."""
        for plugin in catalog.plugins:
            if plugin.name == self.plugin or plugin.distribution == self.distribution:
                yield f"{plugin} is installed already"
        for entry in catalog.entries():
            if entry.cls.name in (self.plugin, f"{self.plugin}-unchanged"):
                yield f"there is {entry.cls.kind} '{entry.cls.name}' already, brought by {entry.plugin}"
        if importlib.util.find_spec(self.module) is not None:
            yield f"there is a module '{self.module}' already"


def _templates(folder: Traversable, place: str = "") -> Iterator[tuple[str, Traversable]]:
    for entry in sorted(folder.iterdir(), key=lambda each: each.name):
        if entry.is_dir():
            yield from _templates(entry, f"{place}{entry.name}/")
        elif entry.name.endswith(SUFFIX):
            yield f"{place}{entry.name}", entry


def _hint(name: str) -> str:
    """Return the nearest name that is one."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower()
    mended = re.sub(r"[^a-z0-9]+", "-", parted).removeprefix(PREFIX).strip("-0123456789")[:_LONGEST].strip("-")
    return f" Did you mean '{mended}'?" if _NAME.fullmatch(mended) and mended != "evolteacher" else ""
