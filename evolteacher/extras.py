"""The optional dependencies: which extras are installed, and what is missing of the others."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version

DISTRIBUTION = "evolteacher"

FOR_DEVELOPERS = frozenset({"all", "docs", "test"})
"""Extras that only put others together, or that users do not need."""

_REQUIREMENT = re.compile(
    r"""(?P<name>[A-Za-z0-9][\w.-]*)\s*(\[(?P<extras>[\w\s,-]+)\])?\s*\(?(?P<wanted>[^;)]*)\)?\s*"""
    r"""(;\s*(?P<marker>.*))?"""
)
_OF_EXTRA = re.compile(r"""extra\s*==\s*['"](?P<extra>[\w.-]+)['"]""")


@dataclass(frozen=True, slots=True)
class Package:
    """One package that an extra needs.

    Attributes:
        name: as on PyPI.
        wanted: the version specifier, such as ``>=1.2``; may be empty.
        version: what is installed; empty where nothing is.
    """

    name: str
    wanted: str
    version: str

    @property
    def problem(self) -> str:
        """What keeps it from being used: missing, or too old; else empty."""
        if not self.version:
            return f"{self.name} is not installed"
        least = re.search(r">=\s*([\d.]+)", self.wanted)
        if least is not None and _numbers(self.version) < _numbers(least[1]):
            return f"{self.name} {self.version} is too old ({self.wanted})"
        return ""


@dataclass(frozen=True, slots=True)
class Extra:
    """One extra and its packages, those of extras that it includes among them."""

    name: str
    packages: tuple[Package, ...]

    @property
    def installed(self) -> bool:
        """Whether all of it is there."""
        return not self.problems

    @property
    def problems(self) -> tuple[str, ...]:
        """What is missing or too old."""
        return tuple(package.problem for package in self.packages if package.problem)


def extras() -> tuple[Extra, ...]:
    """Return the extras of evolteacher as it is installed, by name; none where it runs without its metadata."""
    try:
        lines = requires(DISTRIBUTION) or []
    except PackageNotFoundError:
        return ()
    return read_extras(lines)


def read_extras(lines: Iterable[str]) -> tuple[Extra, ...]:
    """Read the extras out of a distribution's requirements, and look up what is installed of each."""
    needs: dict[str, list[tuple[str, str, str]]] = {}
    for line in lines:
        match = _REQUIREMENT.fullmatch(line.strip())
        of = _OF_EXTRA.search(match["marker"] or "") if match else None
        if match is not None and of is not None:
            needs.setdefault(of["extra"], []).append((match["name"], match["extras"] or "", match["wanted"].strip()))
    return tuple(
        Extra(name, tuple(Package(package, wanted, _installed(package)) for package, wanted in _flat(name, needs)))
        for name in sorted(needs.keys() - FOR_DEVELOPERS)
    )


def _flat(extra: str, needs: dict[str, list[tuple[str, str, str]]]) -> list[tuple[str, str]]:
    found: dict[str, str] = {}
    for name, inner, wanted in needs.get(extra, ()):
        if name == DISTRIBUTION:
            for other in re.split(r"[\s,]+", inner.strip()):
                found.update(_flat(other, needs))
        else:
            found[name] = wanted
    return list(found.items())


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _numbers(text: str) -> list[int]:
    """Return a version's numbers without noughts at the end: 1.2 is as new as 1.2.0."""
    numbers = [int(number) for number in re.findall(r"\d+", text.partition("+")[0])]
    while numbers and not numbers[-1]:
        numbers.pop()
    return numbers
