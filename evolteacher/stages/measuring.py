"""Base and tuned model on the benchmarks of a recipe, asked in the same prompt form; each goes on by itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evolteacher.backend import Backend
from evolteacher.benchmark import Benchmark, Problem
from evolteacher.catalog import Catalog
from evolteacher.decontamination.against import make_benchmark
from evolteacher.errors import UsageError
from evolteacher.evalsection import Evaluate
from evolteacher.evaluation.asking import Asking, evaluate
from evolteacher.evaluation.naming import RUNNER
from evolteacher.evaluation.score import STAGE, Evaluation, Scored, runnable
from evolteacher.passk import paired_interval, pass_at_k
from evolteacher.progress import Progress
from evolteacher.sandbox import Sandbox
from evolteacher.training.folder import MODEL
from evolteacher.training.job import Training

Tallies = Mapping[str, tuple[int, int]]
"""Problem -> samples, and how many of them passed."""


@dataclass(frozen=True)
class Measurement:
    """One model on one benchmark.

    Attributes:
        benchmark: as it was named.
        model: ``base`` or ``tuned``.
        folder: where its ``evaluation.json`` is.
        found: what came of it.
    """

    benchmark: str
    model: str
    folder: Path
    found: Evaluation


@dataclass(frozen=True)
class Job:
    """A model that is to be measured on a benchmark; its problems have been read."""

    benchmark: str
    model: str
    folder: Path
    asking: Asking


def jobs(section: Evaluate, training: Training, folder: Path, catalog: Catalog) -> list[Job]:
    """Return what a recipe measures; the benchmarks are read, and no model is loaded.

    Args:
        section: the recipe's ``evaluate:``.
        training: whose model, before and after.
        folder: the run's, or the training's.
        catalog: what is installed.

    Raises:
        RecipeError: there is no such benchmark.
        UsageError: its options are wrong, it cannot be read, or holds nothing that can be run.
        MissingExtra: what reads it is not installed.
    """
    sandbox = Sandbox(seconds=section.seconds, packages=section.packages)
    found = []
    for name, benchmark, problems in read_benchmarks(section, catalog):
        for model in section.models:
            backend = _backend(model, section, training, catalog)
            asking = Asking(
                backend, benchmark, tuple(problems), sandbox, section.sampling, section.samples, section.concurrency
            )
            place = folder / STAGE / f"{re.sub(r'[^A-Za-z0-9_.-]+', '-', name).strip('-.')[:80]}-{model}"
            found.append(Job(name, model, place, asking))
    places = [job.folder for job in found]
    twice = next((place for place in places if places.count(place) > 1), None)
    if twice is not None:
        raise UsageError(f"evaluate.benchmarks: two of them would go into {twice}: name each once")
    return found


def read_benchmarks(section: Evaluate, catalog: Catalog) -> Iterator[tuple[str, Benchmark, list[Problem]]]:
    """Yield the benchmarks that a recipe names, with the problems that are asked; see :func:`jobs` for errors."""
    for spec in section.benchmarks:
        name, benchmark = make_benchmark(spec, catalog)
        yield name, benchmark, runnable(benchmark, section.limit)


def _backend(model: str, section: Evaluate, training: Training, catalog: Catalog) -> Backend:
    cls, train = catalog.find(Backend, RUNNER), training.train
    if model == "tuned":  # its folder holds the prompt form that it was trained with
        options: dict[str, Any] = {"model": str(training.folder / MODEL)}
    else:
        options = {"model": train.model, "revision": train.revision, "form": train.form}
    options |= {
        "template_options": train.template_options,
        "trust_remote_code": train.trust_remote_code is not None,
        "batch_size": section.concurrency,
    }
    return cls(**options)


async def measure(
    planned: list[Job],
    progress: Progress | None = None,
    begin: Callable[[Job], None] = lambda job: None,
    done: Callable[[Scored], None] = lambda one: None,
) -> list[Measurement]:
    """Ask the models one after the other, so that one is in memory at a time. What is stored is not asked again.

    Args:
        planned: what :func:`jobs` returned; the trained model must be there by now.
        progress: counters, of all together.
        begin: told of each before it begins.
        done: given each sample as it ends.

    Raises:
        BackendError: a model cannot be loaded or breaks down.
        RunError: a folder is in use or cannot be written.
        SandboxError: the sandbox itself failed.
    """
    found = []
    for job in planned:
        begin(job)
        evaluation = await evaluate(job.asking, job.folder, progress=progress, done=done)
        found.append(Measurement(job.benchmark, job.model, job.folder, evaluation))
    return found


@dataclass(frozen=True)
class Difference:
    """How much better the tuned model is than the base model on a benchmark.

    Attributes:
        benchmark: as it was named.
        k: of pass@k.
        mean: tuned minus base.
        low: end of the 95 % interval, over problems drawn in pairs.
        high: its other end.
        one: what the model that is compared against is called.
        other: what the other one is called.
    """

    benchmark: str
    k: int
    mean: float
    low: float
    high: float
    one: str = "base"
    other: str = "tuned"

    @property
    def noise(self) -> bool:
        """Whether no difference could come out like this, too."""
        return self.low <= 0 <= self.high

    def words(self) -> str:
        """Say it in a sentence."""
        figures = f"{self.mean:+.1%} [{self.low:+.1%}, {self.high:+.1%}]"
        said = f"{self.benchmark}, pass@{self.k}: {self.other} minus {self.one} {figures}"
        if self.noise:
            return f"{said}: within noise, no difference is shown"
        return f"{said}: the {self.other} model is {'better' if self.mean > 0 else 'worse'}"


def differences(measured: list[Measurement], ks: tuple[int, ...]) -> list[Difference]:
    """Compare tuned and base model where both were measured, problem by problem."""
    by = {(one.benchmark, one.model): one.found.tallies for one in measured}
    found = []
    for benchmark in dict.fromkeys(one.benchmark for one in measured):
        base, tuned = by.get((benchmark, "base")), by.get((benchmark, "tuned"))
        if base is not None and tuned is not None:
            found += [difference(benchmark, k, base, tuned) for k in ks]
    return found


def difference(
    benchmark: str, k: int, base: Tallies, tuned: Tallies, one: str = "base", other: str = "tuned"
) -> Difference:
    """Compare two models over the same problems, each of which has at least ``k`` samples of both."""
    gains = [pass_at_k(*tuned[id], k) - pass_at_k(*base[id], k) for id in base]
    return Difference(benchmark, k, sum(gains) / len(gains), *paired_interval(gains), one, other)
