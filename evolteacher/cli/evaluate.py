"""``evolteacher evaluate``: pass@k of a model, or of a file of samples."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from evolteacher.benchmark import Benchmark, Problem
from evolteacher.cli import INTERRUPTED, values
from evolteacher.cli.harness import measure
from evolteacher.cli.options import benchmark_spec
from evolteacher.cli.spending import (
    BudgetTokens,
    BudgetUsd,
    ModelPrice,
    RequestsPerMinute,
    RequestsPerSecond,
    Retries,
    TokensPerMinute,
    bounds,
)
from evolteacher.cli.terminal import command_line, console, count, emit, load_catalog, note, one_line, plain, shortened
from evolteacher.decontamination.against import make_benchmark
from evolteacher.errors import BudgetExceeded, EvolteacherError, UsageError
from evolteacher.evalsection import answer_sampling
from evolteacher.evaluation.asking import Asking
from evolteacher.evaluation.asking import evaluate as evaluate_model
from evolteacher.evaluation.harness import PREFIX
from evolteacher.evaluation.naming import component_words, default_folder, make_backend
from evolteacher.evaluation.programs import read_samples
from evolteacher.evaluation.score import RESULTS, SAMPLES, Evaluation, facts, runnable, score
from evolteacher.evaluation.spending import Spending
from evolteacher.messages import Sampling
from evolteacher.sandbox import Sandbox
from evolteacher.writing import make_folder


def evaluate(
    benchmark: Annotated[
        str,
        typer.Option(
            "--benchmark",
            "-b",
            metavar="NAME[:FILE]",
            help="humaneval, mbpp, problems:FILE.jsonl, lm-eval:TASK,…",
            autocompletion=values.components("benchmark"),
        ),
    ] = "humaneval",
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            metavar="BACKEND:MODEL",
            help="Such as embedded:qwen2.5-coder-0.5b-instruct or transformers:FOLDER; or as a recipe writes it, "
            "'{litellm: {model: openai/gpt-4.1-mini, api_key: env:OPENAI_API_KEY}}'; or a trained model's folder.",
            autocompletion=values.models,
        ),
    ] = None,
    samples: Annotated[
        Path | None, typer.Option("--samples", metavar="FILE", help="Score these: rows of task_id and completion.")
    ] = None,
    chat: Annotated[bool, typer.Option("--chat", help="With --samples: the completions are chat answers.")] = False,
    partial: Annotated[bool, typer.Option("--partial", help="With --samples: not all problems need have one.")] = False,
    n: Annotated[int, typer.Option("--n", "-n", min=1, help="Samples a problem.")] = 1,
    k: Annotated[list[int] | None, typer.Option("--k", min=1, help="For pass@k; may be repeated. [default: 1]")] = None,
    temperature: Annotated[
        float | None, typer.Option("--temperature", min=0, help="[default: 0, which is greedy; 0.2 with --n]")
    ] = None,
    max_tokens: Annotated[int, typer.Option("--max-tokens", min=1, help="Most new tokens of an answer.")] = 1024,
    seed: Annotated[int, typer.Option("--seed", help="Of the first sample; each further one has the next.")] = 0,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Only the first N problems.")] = None,
    concurrency: Annotated[int, typer.Option("--concurrency", min=1, help="Most calls in flight.")] = 8,
    seconds: Annotated[float, typer.Option("--seconds", help="Processor seconds of one sample.")] = 3.0,
    packages: Annotated[bool, typer.Option("--packages", help="Samples may import installed packages.")] = False,
    budget_usd: BudgetUsd = None,
    budget_tokens: BudgetTokens = None,
    requests_per_minute: RequestsPerMinute = None,
    requests_per_second: RequestsPerSecond = None,
    tokens_per_minute: TokensPerMinute = None,
    retries: Retries = None,
    price: ModelPrice = None,
    lm_eval_tasks: Annotated[
        Path | None,
        typer.Option("--lm-eval-tasks", metavar="DIR", help="With lm-eval:TASK: a folder of more tasks, as YAML."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="[default: evaluations/BENCHMARK-MODEL; of a file none]"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    show_failures: Annotated[int, typer.Option("--show-failures", min=0, metavar="N", help="Print N failures.")] = 0,
) -> None:
    """Measure a model, or a file of samples, on a benchmark. The same command goes on where it was stopped."""
    ks = sorted(set(k or [1]))
    _check(model, samples, ks, n, seconds)
    spending = bounds(
        budget_usd, budget_tokens, requests_per_minute, requests_per_second, tokens_per_minute, retries, price
    )
    if samples is not None and spending != Spending():
        raise UsageError("a file of samples asks nothing: leave out --budget-…, limits and --price")
    if benchmark.startswith(PREFIX):
        if model is None or n > 1:
            raise UsageError(f"{benchmark}: a task of lm-eval takes --model, and no --samples or --n")
        drawn = _sampling(temperature, max_tokens, seed, 1)
        measure(benchmark, model, lm_eval_tasks, limit, drawn, concurrency, spending, out, as_json=as_json)
        return
    if lm_eval_tasks is not None:
        raise UsageError("--lm-eval-tasks goes with --benchmark lm-eval:TASK")
    catalog, sandbox = load_catalog(), Sandbox(seconds=seconds, packages=packages)
    _, chosen = make_benchmark(benchmark_spec(benchmark, "--benchmark"), catalog)
    problems = runnable(chosen, limit)
    if samples is not None:
        found = _score_file(samples, chosen, problems, sandbox, chat, partial)
    else:
        assert model is not None
        drawn = _sampling(temperature, max_tokens, seed, n)
        backend = make_backend(model, catalog, "--model")
        spending.known(backend)
        out = out or default_folder(chosen, backend)
        asking = Asking(backend, chosen, tuple(problems), sandbox, drawn, n, concurrency, spending)
        found = _ask(asking, out)
    if out is not None:
        make_folder(out)
        found.write(out, ks)
    if as_json:
        print(json.dumps(found.as_dict(ks), indent=2))
    else:
        show_scores(found, ks, out)
    _show_failures(found, show_failures)


def _check(model: str | None, samples: Path | None, ks: list[int], n: int, seconds: float) -> None:
    """See that the options go together.

    Raises:
        UsageError: they do not.
    """
    if (model is None) == (samples is None):
        raise UsageError("give one of --model and --samples: what is to be measured")
    if not 0 < seconds <= 3600:
        raise UsageError(f"--seconds {seconds:g}: a number above 0, up to 3600, is needed")
    if model is not None and max(ks) > n:
        raise UsageError(f"--k {max(ks)}: pass@{max(ks)} needs at least {max(ks)} samples a problem: --n {max(ks)}")


def _sampling(temperature: float | None, max_tokens: int, seed: int, n: int) -> Sampling:
    if n > 1 and temperature == 0:
        raise UsageError("--temperature 0 draws the same sample each time: leave out --n, or choose another")
    try:
        return answer_sampling(n, temperature, max_tokens, seed)
    except ValueError as error:
        raise UsageError(f"--temperature: {error}") from None


def _score_file(
    path: Path, benchmark: Benchmark, problems: list[Problem], sandbox: Sandbox, chat: bool, partial: bool
) -> Evaluation:
    samples = read_samples(path, problems, chat=chat)
    missing = [problem.id for problem in problems if problem.id not in {sample.problem.id for sample in samples}]
    if missing and not partial:
        raise UsageError(
            f"{path}: {len(missing):,} of {count(len(problems), 'problem')} without a sample, '{missing[0]}' first; "
            "--partial scores those that have one"
        )
    with Bar(len(samples)) as bar:
        scored = asyncio.run(score(samples, sandbox, bar.step))
    about = {"samples_file": str(path), "chat": chat, **facts(benchmark, problems, sandbox)}
    return Evaluation(about, scored, len(problems))


def _ask(asking: Asking, out: Path) -> Evaluation:
    try:
        with Bar(len(asking.problems) * asking.samples) as bar:
            return asyncio.run(evaluate_model(asking, out, done=bar.step))
    except KeyboardInterrupt:
        note(f"stopped; what was answered is kept. Go on with:\n  {command_line(*sys.argv[1:])}")
        raise typer.Exit(INTERRUPTED) from None
    except EvolteacherError as error:
        if isinstance(error, BudgetExceeded):
            error.add_note("What was answered is kept. The same command with a larger budget goes on.")
        raise


class Bar:
    """A bar on a terminal; nothing where nobody looks.

    Args:
        total: samples.
        on: whether it is shown at all.
    """

    def __init__(self, total: int, *, on: bool = True) -> None:
        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("samples"), TimeRemainingColumn())
        screen = console(stderr=True)
        self._bar = Progress(*columns, console=screen, transient=True, disable=not (on and screen.is_terminal))
        self._task = self._bar.add_task("", total=total)

    def step(self) -> None:
        """One more sample is done."""
        self._bar.advance(self._task)

    def __enter__(self) -> Bar:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()


def show_scores(found: Evaluation, ks: list[int], out: Path | None) -> None:
    """Print pass@k with its interval, what failed how, and where the details are."""
    tallies = found.tallies
    subject = found.about.get("samples_file") or component_words(found.about["model"])
    emit(Text(f"{component_words(found.about['benchmark'])}: {one_line(subject, 60)}", "bold"))
    table = Table(box=None, pad_edge=False)
    for heading in ("score", "", "95 % interval", "solved"):
        table.add_column(heading, justify="left" if heading == "score" else "right")
    solved = sum(passed > 0 for _, passed in tallies.values())
    for k, (value, low, high) in found.scores(ks).items():
        table.add_row(f"pass@{k}", f"{value:.1%}", f"{low:.1%} to {high:.1%}", f"{solved:,} of {len(tallies):,}")
    emit(table)
    if len(tallies) < found.problems:
        emit(Text(f"of {len(tallies):,} problems only; the benchmark has {found.problems:,}"))
    failed = [one for one in found.scored if not one.result.passed]
    kinds: dict[str, int] = {}
    for one in failed:
        kind = _kind(one.sample.ending, one.result.status, one.result.error)
        kinds[kind] = kinds.get(kind, 0) + 1
    if failed:
        listed = ", ".join(f"{kind} {n:,}" for kind, n in sorted(kinds.items(), key=lambda pair: -pair[1])[:6])
        emit(Text(f"{count(len(failed), 'sample')} failed: {plain(listed)}"))
    if out is not None:
        emit(Text(f"details: {out / RESULTS}, {out / SAMPLES}"))


def _kind(ending: str, status: str, error: str) -> str:
    if ending not in ("", "stop"):
        return "cut at --max-tokens" if ending == "length" else ending.split(":")[0]
    return error if status == "raised" else status


def _show_failures(found: Evaluation, number: int) -> None:
    for one in [one for one in found.scored if not one.result.passed][:number]:
        sample = one.sample
        head = Text(f"\n{plain(sample.problem.id)}, sample {sample.number}: ", "bold")
        head.append(one_line(one.result.reason, 200), "red")
        emit(head, Text(shortened(sample.program, 40)))
