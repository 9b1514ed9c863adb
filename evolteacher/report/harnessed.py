"""A report's tasks of lm-eval, as ``evolteacher evaluate`` measured them: a table of metrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from evolteacher.evaluation.harness import RESULTS, figures
from evolteacher.report.files import Held, Name, component, cut, held, is_figure, label

_ROWS, _NAME = 100, 80


class Results(Held):
    """What a report needs of ``lm-eval.json``."""

    model: Name
    limit: int | None = Field(None, ge=1, le=10**9)
    results: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Tasks:
    """What one model came to.

    Attributes:
        label: its folder's name.
        about: the model, and how much of the tasks was asked.
        rows: task, metric, value, standard error.
        more: rows besides.
    """

    label: str
    about: str
    rows: Sequence[tuple[str, ...]]
    more: int


def harnessed(folders: Sequence[Path]) -> tuple[list[Tasks], list[str]]:
    """Read what lm-eval measured, of the folders that hold such; return it, and a line for each that is broken."""
    found, broken = [], []
    for folder in folders:
        if (folder / RESULTS).exists():
            try:
                found.append(_tasks(label(folder), held(folder / RESULTS, Results)))
            except ValueError as error:
                broken.append(f"{label(folder)}/{error}")
    return found, broken


def _tasks(name: str, read: Results) -> Tasks:
    sound = {
        task: {key: value for key, value in metrics.items() if is_figure(value)}
        for task, metrics in read.results.items()
    }
    rows = [tuple(cut(cell, _NAME) for cell in row) for row in figures({"results": sound})]
    about = component(read.model) + (f", the first {read.limit:,} rows of each task" if read.limit else "")
    return Tasks(name, about, rows[:_ROWS], max(0, len(rows) - _ROWS))
