"""``evolteacher evaluate --benchmark lm-eval:TASK``: tasks of lm-eval, through our backends."""

from __future__ import annotations

import json
import os
from pathlib import Path

from rich.table import Table
from rich.text import Text

from evolteacher.cli.scores import ended_kindly
from evolteacher.cli.telling import Telling
from evolteacher.cli.terminal import emit, load_catalog, plain
from evolteacher.errors import UsageError
from evolteacher.evaluation.harness import PREFIX, RESULTS, HarnessAsking, figures, run_harness
from evolteacher.evaluation.naming import component_words, default_folder, make_backend
from evolteacher.evaluation.spending import Spending
from evolteacher.messages import Sampling


def measure(
    benchmark: str,
    model: str,
    include: Path | None,
    limit: int | None,
    sampling: Sampling,
    concurrency: int,
    spending: Spending,
    out: Path | None,
    telling: Telling,
    *,
    as_json: bool,
) -> None:
    """Measure a model on the tasks that stand behind ``lm-eval:``, with commas between them, and print the figures."""
    tasks = tuple(dict.fromkeys(name.strip() for name in benchmark.removeprefix(PREFIX).split(",") if name.strip()))
    if not tasks:
        raise UsageError(f"--benchmark {benchmark}: name a task, such as lm-eval:gsm8k")
    backend = make_backend(model, load_catalog(), "--model")
    words = component_words({backend.name: backend.options()})
    if out is None:
        out = default_folder(f"lm-eval-{'-'.join(tasks)}", backend)
    asking = HarnessAsking(backend, tasks, include, limit, sampling, concurrency, spending)
    if telling.quiet:  # lm-eval draws bars of its own
        os.environ["TQDM_DISABLE"] = "1"
    with telling.begun() as voice:
        voice.event("evaluation_started", benchmark=benchmark, model=words, folder=out)
        with ended_kindly():
            found = run_harness(asking, out)
        voice.event("evaluation_finished", folder=out, scores={f"{row[0]} {row[1]}": row[2] for row in figures(found)})
    if as_json:
        print(json.dumps(found, indent=2, default=str))
        return
    if telling.quiet:
        telling.result(out / RESULTS)
        return
    emit(Text(plain(f"lm-eval: {words}"), "bold"))
    table = Table(box=None, pad_edge=False)
    for heading in ("task", "metric", "value", "standard error"):
        table.add_column(heading, justify="left" if heading in ("task", "metric") else "right")
    for row in figures(found):
        table.add_row(*(Text(plain(cell)) for cell in row))
    emit(table)
    emit(Text(plain(f"details: {out / RESULTS}")))
