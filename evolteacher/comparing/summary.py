"""A comparison as a page of Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from evolteacher.comparing.verdict import SHOWN
from evolteacher.markdown import cell, table
from evolteacher.sources import counted


def loss_rows(figures: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """Yield rows of the two-by-two table: how matched, measured on, untrained, trained on A, on B, and B's less A's."""
    for comparison in figures["comparisons"]:
        for side, found in comparison["loss"].items():
            yield (
                comparison["matched"],
                f"held-out rows of {SHOWN[side]}",
                f"{figures['base']['loss'][side]:.3f}",
                f"{found['a']:.3f}",
                f"{found['b']:.3f}",
                interval(found["difference"]),
            )


def benchmark_rows(figures: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """Yield the same rows of each benchmark."""
    for comparison in figures["comparisons"]:
        for name, found in comparison["benchmarks"].items():
            base = figures["base"]["benchmarks"][name]
            share = found["difference"]
            yield (
                comparison["matched"],
                name,
                f"{base:.1%}",
                f"{found['a']:.1%}",
                f"{found['b']:.1%}",
                f"{share['mean']:+.1%} ({share['low']:+.1%} to {share['high']:+.1%})",
            )


HEADINGS = ("matched by", "measured on", "untrained", "trained on A", "trained on B", "B less A")


def interval(found: dict[str, Any]) -> str:
    """Write a difference with its interval."""
    return f"{found['mean']:+.3f} ({found['low']:+.3f} to {found['high']:+.3f})"


def about_intervals(figures: dict[str, Any]) -> str:
    """Say what the intervals are."""
    number = round(0.05 / (1 - figures["level"]))
    return (
        f"{100 * figures['level']:g} % intervals over held-out lineages and random seeds: all {number} hold together "
        "at 95 %."
    )


def as_markdown(figures: dict[str, Any]) -> str:
    """Write the summary."""
    a, b = (f"`{figures[side]['source']}`".replace("\n", " ") for side in SHOWN)
    lines = [f"# {a} and {b}: which teaches more?", "", *(f"- {cell(line)}" for line in figures["verdict"]), ""]
    lines += [f"Model: {cell(figures['model'])}, {counted(figures['seeds'], 'random seed')}.", ""]
    head = ("", "rows to learn from", "lineages", "rows held out", "lineages")
    rows = [
        (f"{SHOWN[side]}, {one['source']}", *(str(one[k][n]) for k in ("learnt", "held_out") for n in _COUNTS))
        for side in SHOWN
        if (one := figures[side])
    ]
    lines += [table(head, rows), f"{counted(figures['common_lineages'], 'lineage')} in both.", ""]
    lines += ["## Loss on held-out rows", "", table(HEADINGS, loss_rows(figures)), about_intervals(figures), ""]
    scores = list(benchmark_rows(figures))
    if scores:
        lines += ["## Benchmarks", "", table(HEADINGS, scores)]
    lines += ["## Controls", ""]
    if figures["controls"] is None:
        lines += ["None: they were left out.", ""]
    else:
        lines += [f"- {'passed' if c['passed'] else 'FAILED'}: {cell(c['text'])}" for c in figures["controls"]] + [""]
    lines += ["## Trainings", "", table(_TRAINING, (_training(one) for one in figures["trainings"]))]
    if figures["notes"]:
        lines += ["## Notes", "", *(f"- {cell(line)}" for line in figures["notes"]), ""]
    return "\n".join(lines).rstrip("\n") + "\n"


_COUNTS = ("rows", "lineages")
_TRAINING = ("training", "seed", "rows", "tokens", "steps", "last loss", "seconds", "peak GB")


def _training(one: dict[str, Any]) -> tuple[str, ...]:
    tokens = "" if one["tokens"] is None else f"{one['tokens']:,}"
    loss = "" if one["loss"] is None else f"{one['loss']:.3f}"
    return (
        one["name"],
        str(one["seed"]),
        str(one["rows"]),
        tokens,
        str(one["steps"]),
        loss,
        f"{one['seconds']:.0f}",
        f"{one['peak_bytes'] / 1e9:.2f}",
    )
