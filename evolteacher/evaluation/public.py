"""``et.evaluate`` and ``et.aevaluate``: a model measured from Python, as ``evolteacher evaluate`` does it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from evolteacher.awaiting import carried_out
from evolteacher.backend import Backend
from evolteacher.benchmark import Benchmark
from evolteacher.catalog import Catalog
from evolteacher.decontamination.against import BenchmarkSpec, make_benchmark
from evolteacher.errors import UsageError
from evolteacher.evalsection import Evaluate
from evolteacher.evaluation.asking import Asking
from evolteacher.evaluation.asking import evaluate as ask_all
from evolteacher.evaluation.naming import default_folder, make_backend
from evolteacher.evaluation.score import Evaluation, runnable
from evolteacher.evaluation.spending import Spending
from evolteacher.money import Price
from evolteacher.progress import Progress
from evolteacher.sandbox import Sandbox


def evaluate(
    model: Backend | str | Path | Mapping[str, Any],
    benchmark: Benchmark | BenchmarkSpec = "humaneval",
    out: Path | str | None = None,
    **options: Any,
) -> Evaluation:
    """Measure a model on a benchmark; see :func:`aevaluate`, which Jupyter awaits.

    Raises:
        UsageError: an event loop is running already; all other errors are those of :func:`aevaluate`.
    """
    return carried_out("evaluate", aevaluate, model, benchmark, out, **options)


async def aevaluate(
    model: Backend | str | Path | Mapping[str, Any],
    benchmark: Benchmark | BenchmarkSpec = "humaneval",
    out: Path | str | None = None,
    *,
    samples: int = 1,
    k: Iterable[int] = (1,),
    limit: int | None = None,
    temperature: float | None = None,
    max_tokens: int = 1024,
    seed: int = 0,
    concurrency: int = 8,
    seconds: float = 3.0,
    packages: bool = False,
    budget: Mapping[str, Any] | None = None,
    limits: Mapping[str, Any] | None = None,
    price: Mapping[str, Any] | Price | None = None,
    catalog: Catalog | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Ask a model for its answers to a benchmark, run them, and write what came of it. It goes on where it stopped.

    Args:
        model: a backend; ``NAME:MODEL`` or ``{NAME: {options}}`` that means one; or a checkpoint's folder.
        benchmark: one, or as a recipe names it: ``humaneval``, ``mbpp:FILE``, ``{mbpp: {path: FILE}}``.
        out: the folder; ``evaluations/BENCHMARK-MODEL`` by default.
        samples: a problem; a single one is greedy.
        k: for pass@k; none above ``samples``.
        limit: only the first so many problems.
        temperature: 0 for a single sample and 0.2 for several, by default.
        max_tokens: most new tokens of an answer.
        seed: of the first sample; each further one has the next.
        concurrency: most calls in flight.
        seconds: processor seconds of one sample.
        packages: samples may import installed packages.
        budget: ``{"usd": 2}`` or ``{"tokens": 100_000}``, as of a recipe: what the folder may cost in all.
        limits: such as ``{"requests_per_minute": 60}``, as of a recipe.
        price: dollars for a million tokens, ``{"input": 0.4, "output": 1.6}``; the backend's own by default.
        catalog: what is installed; loaded when None.
        progress: counters that a display may watch.

    Raises:
        RecipeError: there is no such backend or benchmark, or its options are wrong.
        UsageError: something else that was given is wrong, or the folder holds another evaluation.
        BudgetExceeded: the budget allows no further call; what was answered is kept.
        BackendError: the model cannot answer.
        RunError: the folder is in use or cannot be written.
        SandboxError: the sandbox itself failed.
    """
    given = {"samples": samples, "k": tuple(sorted({*k})), "limit": limit, "temperature": temperature, "seed": seed}
    given |= {"max_tokens": max_tokens, "concurrency": concurrency, "seconds": seconds, "packages": packages}
    section, spending = _section(given), Spending.of(budget, limits, price)
    catalog = catalog or Catalog.load()
    chosen = benchmark if isinstance(benchmark, Benchmark) else make_benchmark(benchmark, catalog)[1]
    backend = model if isinstance(model, Backend) else make_backend(model, catalog, "model")
    spending.known(backend)  # before a benchmark is fetched
    problems = tuple(runnable(chosen, section.limit))
    sandbox = Sandbox(seconds=section.seconds, packages=section.packages)
    asking = Asking(backend, chosen, problems, sandbox, section.sampling, samples, concurrency, spending)
    folder = Path(out) if out is not None else default_folder(chosen.name, backend)
    found = await ask_all(asking, folder, progress=progress)
    found.write(folder, section.k)
    return found


def _section(given: dict[str, Any]) -> Evaluate:
    try:
        return Evaluate.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UsageError(f"evaluate: {where}{': ' if where else ''}{first['msg']}") from None
