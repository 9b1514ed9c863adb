"""What is measured of each model: the loss of every held-out row, and which of a benchmark's problems it solves."""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evolteacher.backend import Backend
from evolteacher.benchmark import Benchmark, Problem
from evolteacher.catalog import Catalog
from evolteacher.comparing.losses import measure
from evolteacher.comparing.matching import Item
from evolteacher.comparing.outcome import SIDES, Measurement
from evolteacher.comparing.request import CompareOptions
from evolteacher.comparing.trainings import LEAST_HELD
from evolteacher.comparing.verdict import Measured
from evolteacher.decontamination.against import make_benchmark
from evolteacher.errors import RunError, UsageError
from evolteacher.evaluation.asking import Asking, evaluate
from evolteacher.evaluation.score import runnable
from evolteacher.messages import Sampling
from evolteacher.sandbox import Sandbox
from evolteacher.training.watch import TrainProgress
from evolteacher.trainsection import Train


class Measuring:
    """Measures one model after the other in the same way.

    Args:
        held: whose -> held-out items.
        options: which benchmarks.
        catalog: what is installed.

    Raises:
        UsageError: a benchmark cannot be read, or has too few problems.
    """

    def __init__(self, held: Mapping[Measured, Sequence[Item]], options: CompareOptions, catalog: Catalog) -> None:
        self._rows = [item.tokens for side in SIDES for item in held[side]]
        self._split = len(held["a"])
        self._max_tokens, self._catalog = options.max_tokens, catalog
        self._made = [make_benchmark(spec, catalog) for spec in options.on]
        self._problems = {name: runnable(benchmark, options.problems) for name, benchmark in self._made}
        for name, problems in self._problems.items():
            if len(problems) < LEAST_HELD:
                raise UsageError(f"--on {name}: {len(problems)} problems are too few; at least {LEAST_HELD} are needed")

    @property
    def benchmarks(self) -> list[str]:
        """Their names."""
        return list(self._problems)

    @property
    def problems(self) -> Mapping[str, Sequence[Problem]]:
        """Those of each that a model is asked."""
        return self._problems

    def missing(self, found: Measurement) -> list[str]:
        """Return the benchmarks that a model was not measured on, or not on these problems."""
        wanted = {name: [problem.id for problem in problems] for name, problems in self._problems.items()}
        return [name for name, ids in wanted.items() if list(found.benchmarks.get(name, ())) != ids]

    def of(
        self, section: Train, tuned: Path | None, folder: Path, progress: TrainProgress, *, ask: bool = True
    ) -> Measurement:
        """Measure a model on held-out rows, and on the benchmarks.

        Args:
            section: which model, and how it is trained.
            tuned: the folder of the tuned model or adapter; None for the model as it was.
            folder: where its answers to benchmarks are kept, so that none is asked for twice.
            progress: is told what goes on.
            ask: whether it is asked the benchmarks' problems.

        Raises:
            RunError: a loss is not finite.
        """
        progress.doing, progress.steps, started = "measuring on held-out rows", 0, time.monotonic()
        losses = measure(section, tuned, self._rows)
        if not all(map(math.isfinite, losses)):
            raise RunError(
                f"{folder.name}: the loss on held-out rows is not finite, so the training ran away: lower "
                "sft.learning_rate, and choose another folder with --out"
            )
        found = Measurement({"a": losses[: self._split], "b": losses[self._split :]})
        for name, benchmark in self._made if ask else ():
            progress.doing = f"measuring on {name}"
            asking = self._asking(section, tuned, benchmark, self._problems[name])
            scored = asyncio.run(evaluate(asking, folder / re.sub(r"[^\w.-]+", "-", name)))
            found.benchmarks[name] = {id: bool(passed) for id, (_, passed) in scored.tallies.items()}
        found.results["measuring_seconds"] = round(time.monotonic() - started, 3)
        return found

    def _asking(self, section: Train, tuned: Path | None, benchmark: Benchmark, problems: Sequence[Problem]) -> Asking:
        """Return what a model is asked, greedily, in the form in which it is trained."""
        options: dict[str, Any] = {"model": str(tuned) if tuned is not None else section.model}
        if tuned is None:
            options |= {"form": section.form, "revision": section.revision}
        options["template_options"] = section.template_options
        options["trust_remote_code"] = section.trust_remote_code is not None
        options["device"] = "cpu" if section.sft.get("use_cpu") else "auto"
        backend = self._catalog.find(Backend, "transformers").model_validate(options)
        sampling = Sampling(0.0, 1.0, self._max_tokens, seed=0)
        return Asking(backend, benchmark, tuple(problems), Sandbox(seconds=3.0), sampling)
