"""Every hook that a plugin may implement: a signature and a sentence.

A plugin is a module named by an entry point of the group ``evolteacher``; it marks its functions with
``@evolteacher.hookimpl``. Hooks return classes, never instances.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from evolteacher.backend import Backend
    from evolteacher.benchmark import Benchmark
    from evolteacher.events import EvolutionSettled, RoundFinished, RunFinished, RunStarted
    from evolteacher.filter import Filter
    from evolteacher.operator import Operator
    from evolteacher.seeds import SeedReader

PROJECT = "evolteacher"

_COMMAND = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_TARGET = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks a function of a plugin as the implementation of the hook of that name."""


class CommandTable:
    """What ``register_commands`` is handed: commands by name, imported only when they are typed."""

    def __init__(self) -> None:
        self.commands: dict[str, tuple[str, str]] = {}

    def add(self, name: str, target: str, help: str) -> None:
        """Add a command.

        Args:
            name: what is typed after ``evolteacher``.
            target: ``module:attribute`` of a typer application (or click command), imported when the command is used.
            help: one line for ``evolteacher --help``.

        Raises:
            ValueError: the name cannot be typed as one word, the target is no import path, or the name is taken.
        """
        if not _COMMAND.fullmatch(name):
            raise ValueError(f"'{name}' is no name for a command: use lower-case words joined by hyphens")
        if not _TARGET.fullmatch(target):
            raise ValueError(f"command '{name}': '{target}' is no import path; write module:attribute")
        if name in self.commands:
            raise ValueError(f"command '{name}' is added twice")
        self.commands[name] = (target, help)


@hookspec
def register_operators() -> Sequence[type[Operator]]:  # type: ignore[empty-body]
    """Return operator classes."""


@hookspec
def register_filters() -> Sequence[type[Filter]]:  # type: ignore[empty-body]
    """Return filter classes, of rows and of whole datasets."""


@hookspec
def register_backends() -> Sequence[type[Backend]]:  # type: ignore[empty-body]
    """Return backend classes."""


@hookspec
def register_benchmarks() -> Sequence[type[Benchmark]]:  # type: ignore[empty-body]
    """Return benchmark classes."""


@hookspec
def register_seed_readers() -> Sequence[type[SeedReader]]:  # type: ignore[empty-body]
    """Return seed reader classes."""


@hookspec
def register_recipes() -> Sequence[Path]:  # type: ignore[empty-body]
    """Return folders of YAML recipes, usable by name."""


@hookspec
def register_commands(cli: CommandTable) -> None:
    """Add commands to ``evolteacher``, by name and import path."""


@hookspec
def run_started(event: RunStarted) -> None:
    """Observe the start of a run, before the first call."""


@hookspec
def evolution_settled(event: EvolutionSettled) -> None:
    """Observe one evolution that was kept or rejected."""


@hookspec
def round_finished(event: RoundFinished) -> None:
    """Observe that the last lineage left a round."""


@hookspec
def run_finished(event: RunFinished) -> None:
    """Observe the end of a run, also of one that stopped early."""
