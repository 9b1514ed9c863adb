"""One summary of a run and all that followed on it: ``summary.json`` for programs, ``summary.md`` for people."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from evolteacher.database import DATABASE
from evolteacher.history import summarise
from evolteacher.markdown import table
from evolteacher.money import paid
from evolteacher.stages.clock import read_times
from evolteacher.stages.measuring import Measurement, differences
from evolteacher.store import Store
from evolteacher.training.trainer import TrainResult
from evolteacher.writing import atomic

JSON, MARKDOWN = "summary.json", "summary.md"

FLOOR = 0.05
"""Where no interval begins above this, the benchmark is at its floor: a few lucky problems, and no room to fall."""

_TRAINED = ("rows", "held_out", "steps", "tokens", "first_loss", "loss", "eval_loss", "first_eval_loss")


def summary(
    name: str, folder: Path, trained: TrainResult, measured: Sequence[Measurement], ks: tuple[int, ...]
) -> dict[str, Any]:
    """Return what came of all stages, as JSON.

    Args:
        name: the recipe's.
        folder: the run's, or the training's where nothing evolved.
        trained: the training.
        measured: base and tuned model on the benchmarks; empty where the recipe measures nothing.
        ks: of pass@k.
    """
    found: dict[str, Any] = {"name": name}
    if (folder / DATABASE).exists():
        found["dataset"] = _dataset(folder)
    found["training"] = {key: trained.results[key] for key in _TRAINED if trained.results.get(key) is not None}
    found["scores"] = [
        {"benchmark": one.benchmark, "model": one.model, "k": k, "score": score, "low": low, "high": high}
        | {"problems": len(one.found.tallies), "of": one.found.problems}
        for one in measured
        for k, (score, low, high) in one.found.scores(ks).items()
    ]
    found["differences"] = [
        {"benchmark": each.benchmark, "k": each.k, "mean": each.mean, "low": each.low, "high": each.high}
        | {"within_noise": each.noise, "words": each.words()}
        for each in differences(list(measured), ks)
    ]
    found["stages"] = {
        stage: {"seconds": round(spent.seconds, 3), "peak_bytes": spent.peak_bytes}
        for stage, spent in read_times(folder).items()
    }
    return found


def _dataset(folder: Path) -> dict[str, Any]:
    with Store(folder / DATABASE, read_only=True) as store:
        sums = summarise(store)
    rejects: dict[str, int] = {}
    for (_, label), number in sums.filters.items():
        rejects[label] = rejects.get(label, 0) + number
    return {
        "seeds": sums.seeds,
        "rows": {str(round): number for round, number in sorted(sums.kept.items())},
        "rejected": {str(round): number for round, number in sorted(sums.rejected.items())},
        "rejected_by": dict(sorted(rejects.items(), key=lambda pair: -pair[1])),
        "calls": sum(calls for calls, _, _ in sums.calls.values()),
        "prompt_tokens": sum(prompt for _, prompt, _ in sums.calls.values()),
        "completion_tokens": sum(completion for _, _, completion in sums.calls.values()),
        "usd": sums.cost,
    }


def as_markdown(found: dict[str, Any]) -> str:
    """Write a summary for people, as Markdown."""
    parts = [f"# {found['name']}\n"]
    if dataset := found.get("dataset"):
        rounds = sorted({*dataset["rows"], *dataset["rejected"]}, key=int)
        rows = [[round, dataset["rows"].get(round, 0), dataset["rejected"].get(round, 0)] for round in rounds]
        parts += ["## Dataset\n", table(["round", "rows", "rejected"], rows)]
        if dataset["rejected_by"]:
            parts.append("\nRejected by " + ", ".join(f"{k} {n:,}" for k, n in dataset["rejected_by"].items()) + ".\n")
        cost = f", {paid(dataset['usd'])}" if dataset["usd"] else ""
        asked, given = dataset["prompt_tokens"], dataset["completion_tokens"]
        parts.append(f"\n{dataset['calls']:,} calls, {asked:,} prompt and {given:,} completion tokens{cost}.\n")
    parts += ["\n## Training\n", table(["", ""], [[_TITLES[k], _figure(v)] for k, v in found["training"].items()])]
    if found["scores"]:
        lines = [
            (s["benchmark"], s["model"], f"pass@{s['k']}", *_shares(s), f"{s['problems']:,} of {s['of']:,}")
            for s in found["scores"]
        ]
        parts += ["\n## Scores\n", table(["benchmark", "model", "", "score", "95 % interval", "problems"], lines)]
        parts += [f"\n{words}\n" for words in verdicts(found)]
    if found["stages"]:
        rows = [
            [stage, f"{s['seconds']:,.0f} s", f"{s['peak_bytes'] / 1e9:.2f} GB"] for stage, s in found["stages"].items()
        ]
        parts += ["\n## Stages\n", table(["stage", "wall time", "peak memory"], rows)]
    return "\n".join(part.rstrip("\n") for part in parts) + "\n"


_TITLES = {
    "rows": "rows learnt",
    "held_out": "rows held out",
    "steps": "steps",
    "tokens": "tokens an epoch",
    "first_loss": "loss at the beginning",
    "loss": "loss at the end",
    "first_eval_loss": "loss of the rows held out, before",
    "eval_loss": "loss of the rows held out, after",
}


def _figure(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"


def _shares(score: dict[str, Any]) -> tuple[str, str]:
    return f"{score['score']:.1%}", f"{score['low']:.1%} to {score['high']:.1%}"


def verdicts(found: dict[str, Any]) -> Iterator[str]:
    """Yield what the scores say, and what they cannot."""
    for each in found["differences"]:
        yield f"{each['words']}."
    for benchmark in dict.fromkeys(score["benchmark"] for score in found["scores"]):
        scores = [score for score in found["scores"] if score["benchmark"] == benchmark]
        if all(score["low"] < FLOOR for score in scores):
            yield (
                f"{benchmark} is at its floor for this model: with so few problems solved it can tell nothing of the "
                "data. Look at the loss of the rows held out, or take a larger model."
            )


def write(found: dict[str, Any], folder: Path) -> None:
    """Write both files.

    Raises:
        RunError: one cannot be written.
    """
    with atomic(folder / JSON) as out:
        out.write((json.dumps(found, indent=2, ensure_ascii=False) + "\n").encode())
    with atomic(folder / MARKDOWN) as out:
        out.write(as_markdown(found).encode())
