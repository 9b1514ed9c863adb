"""A report's trainings: the loss curve and the figures of each; and what each stage of a run took."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, RootModel

from evolteacher.report.files import MOST, Held, cut, given, held, is_figure, label, lines
from evolteacher.report.shown import gigabytes, took
from evolteacher.stages.clock import FILE as STAGES
from evolteacher.stages.summary import JSON as SUMMARY
from evolteacher.training.card import public_path
from evolteacher.training.curve import loss_curve
from evolteacher.training.folder import METRICS, STATE

OWN = "train"
"""The folder of a run's own training."""

_LONGEST = 120
_STAGES = 50

_COLOURS = {
    "#1f77b4": "var(--s0)", "#d62728": "var(--s1)", "#333": "var(--ink)", "#ddd": "var(--line)",
    'fill="white"': 'fill="none"',
}  # fmt: skip
"""Of the curve in a training's folder -> of the page, which differ by theme."""

_METHODS = {"full": "all weights", "lora": "LoRA", "qlora": "QLoRA, weights in 4 bits"}
_FIGURES = {
    "rows": "rows learnt",
    "lineages": "lineages learnt",
    "held_out": "rows held out",
    "dropped": "rows dropped as too long",
    "cut": "responses cut off",
    "steps": "steps",
    "tokens": "tokens an epoch",
    "learnt": "of these, counted by the loss",
    "weights": "weights",
    "trained": "of these, trained",
    "first_loss": "loss at the beginning",
    "loss": "loss at the end",
    "first_eval_loss": "loss of the rows held out, before",
    "eval_loss": "loss of the rows held out, after",
}


class State(Held):
    """What a report needs of ``training.json``."""

    experiment: dict[str, Any]
    finished: bool = False
    results: dict[str, Any] = Field({})
    seconds: float = Field(0.0, ge=0, lt=MOST)


class Spent(Held):
    """What a stage took."""

    seconds: float = Field(ge=0, lt=MOST)
    peak_bytes: int = Field(ge=0, lt=int(MOST))


class Times(RootModel[dict[str, Spent]]):
    """What a report needs of ``stages.json``."""


class Summary(Held):
    """What it needs of ``summary.json``, where the other is missing."""

    stages: dict[str, Spent] = Field({})


@dataclass(frozen=True)
class Trained:
    """A training.

    Attributes:
        label: its folder's name; empty of the run's own.
        curve: its losses as SVG; empty where none was measured.
        figures: what is known of it, as texts: name, value.
    """

    label: str
    curve: str
    figures: Sequence[tuple[str, str]]


def trainings(run: Path, more: Sequence[Path]) -> tuple[list[Trained], list[str]]:
    """Read the run's own training and others; return them, and a line for each file that cannot be read.

    Raises:
        UsageError: one of the others is no training's folder.
    """
    folders = [given(folder, [STATE], "--training", "train") for folder in more]
    found, broken = [], []
    for name, folder in (("", run / OWN), *((label(folder), folder) for folder in folders)):
        metrics = [line for line in map(_clean, lines(folder / METRICS)) if line]
        figures: list[tuple[str, str]] = []
        if (folder / STATE).exists():
            try:
                figures = list(_figures(held(folder / STATE, State)))
            except ValueError as error:
                broken.append(f"{label(folder)}/{error}")
        if metrics or figures:
            found.append(Trained(name, _curve(metrics) if metrics else "", figures))
    return found, broken


def _clean(line: Mapping[str, Any] | None) -> dict[str, float]:
    """Return what of a line of metrics can be drawn; nothing where nothing can."""
    values = {key: float(value) for key in ("step", "loss", "eval_loss") if is_figure(value := (line or {}).get(key))}
    return values if "step" in values and len(values) > 1 else {}


def _curve(metrics: Sequence[Mapping[str, float]]) -> str:
    svg = loss_curve([{key: round(value, 9) for key, value in line.items()} for line in metrics], "Loss over steps")
    for colour, own in _COLOURS.items():
        svg = svg.replace(colour, own)
    return svg


def _figures(state: State) -> Iterator[tuple[str, str]]:
    train = state.experiment.get("train")
    if isinstance(train, dict) and isinstance(model := train.get("model"), str):
        yield "model", cut(public_path(model), _LONGEST)
    if isinstance(train, dict) and isinstance(method := train.get("method"), str):
        yield "trained", _METHODS.get(method, cut(method, _LONGEST))
    if not state.finished:
        yield "state", "not finished"
    for key, name in _FIGURES.items():
        value = state.results.get(key)
        if is_figure(value):
            yield name, f"{value:,}" if isinstance(value, int) else f"{value:.4f}"
    yield "time", took(state.seconds)
    if is_figure(peak := state.results.get("peak_bytes")):
        yield "peak memory", gigabytes(peak)


def stages(run: Path) -> tuple[list[tuple[str, Spent]], list[str]]:
    """Return what each stage of a run took, in their order, and a line for a file that cannot be read."""
    broken = []
    for name in (STAGES, SUMMARY):
        if not (run / name).exists():
            continue
        try:
            found = held(run / name, Summary).stages if name == SUMMARY else held(run / name, Times).root
        except ValueError as error:
            broken.append(str(error))
            continue
        return [(cut(stage, _LONGEST), spent) for stage, spent in list(found.items())[:_STAGES]], broken
    return [], broken
