"""``evolteacher evaluate``: pass@k of a model, or of a file of samples."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from evolteacher.benchmark import Benchmark, Problem
from evolteacher.cli import values
from evolteacher.cli.harness import measure
from evolteacher.cli.hubwords import say_once
from evolteacher.cli.options import benchmark_spec
from evolteacher.cli.scores import Bar, ended_kindly, show_scores, tell_end, tell_start
from evolteacher.cli.scores import show_failures as show_failed
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
from evolteacher.cli.telling import LogJson, Quiet, Telling, Verbose, Voice
from evolteacher.cli.terminal import count, load_catalog
from evolteacher.decontamination.against import make_benchmark
from evolteacher.errors import UsageError
from evolteacher.evalsection import answer_sampling
from evolteacher.evaluation.asking import Asking
from evolteacher.evaluation.asking import evaluate as evaluate_model
from evolteacher.evaluation.harness import PREFIX
from evolteacher.evaluation.naming import component_words, default_folder, make_backend
from evolteacher.evaluation.programs import read_samples
from evolteacher.evaluation.score import RESULTS, Evaluation, facts, runnable, score
from evolteacher.evaluation.spending import Spending
from evolteacher.messages import Sampling
from evolteacher.sandbox import Sandbox
from evolteacher.writing import make_folder

SECONDS = 3.0
"""Of processor time that a sample has unless something else is asked for."""


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
    seconds: Annotated[
        float | None, typer.Option("--seconds", help=f"Processor seconds of one sample. [default: {SECONDS:g}]")
    ] = None,
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
    quiet: Quiet = False,
    verbose: Verbose = False,
    log_json: LogJson = None,
) -> None:
    """Measure a model, or a file of samples, on a benchmark. The same command goes on where it was stopped."""
    telling = Telling.of(quiet, verbose, log_json)
    say_once(quiet=telling.quiet)
    ks = sorted(set(k or [1]))
    _check(model, samples, ks, n, seconds)
    if quiet and show_failures:
        raise UsageError("--quiet and --show-failures do not go together; give one of them")
    spending = bounds(
        budget_usd, budget_tokens, requests_per_minute, requests_per_second, tokens_per_minute, retries, price
    )
    if samples is not None and spending != Spending():
        raise UsageError("a file of samples asks nothing: leave out --budget-…, limits and --price")
    if benchmark.startswith(PREFIX):
        of_ours = {"--k": k, "--seconds": seconds is not None, "--packages": packages, "--show-failures": show_failures}
        _check_harness(benchmark, model, n, of_ours)
        drawn = _sampling(temperature, max_tokens, seed, 1)
        assert model is not None
        measure(benchmark, model, lm_eval_tasks, limit, drawn, concurrency, spending, out, telling, as_json=as_json)
        return
    if lm_eval_tasks is not None:
        raise UsageError("--lm-eval-tasks goes with --benchmark lm-eval:TASK")
    catalog, sandbox = load_catalog(), Sandbox(seconds=SECONDS if seconds is None else seconds, packages=packages)
    _, chosen = make_benchmark(benchmark_spec(benchmark, "--benchmark"), catalog)
    problems = runnable(chosen, limit)
    if samples is not None:
        found = _score_file(samples, chosen, problems, sandbox, chat, partial, telling, ks, out)
    else:
        assert model is not None
        drawn = _sampling(temperature, max_tokens, seed, n)
        backend = make_backend(model, catalog, "--model")
        spending.known(backend)
        out = out or default_folder(chosen.name, backend)
        asking = Asking(backend, chosen, tuple(problems), sandbox, drawn, n, concurrency, spending)
        found = _ask(asking, telling, ks, out)
    if as_json:
        print(json.dumps(found.as_dict(ks), indent=2))
    elif telling.quiet:
        _result(found, telling, ks, out)
    else:
        show_scores(found, ks, out)
    show_failed(found, show_failures)


def _check(model: str | None, samples: Path | None, ks: list[int], n: int, seconds: float | None) -> None:
    """See that the options go together.

    Raises:
        UsageError: they do not.
    """
    if (model is None) == (samples is None):
        raise UsageError("give one of --model and --samples: what is to be measured")
    if seconds is not None and not 0 < seconds <= 3600:
        raise UsageError(f"--seconds {seconds:g}: a number above 0, up to 3600, is needed")
    if model is not None and max(ks) > n:
        raise UsageError(f"--k {max(ks)}: pass@{max(ks)} needs at least {max(ks)} samples a problem: --n {max(ks)}")


def _check_harness(benchmark: str, model: str | None, n: int, of_ours: Mapping[str, object]) -> None:
    """See that a task of lm-eval is given what it takes; before anything is loaded.

    Raises:
        UsageError: it is not.
    """
    if model is None or n > 1:
        raise UsageError(f"{benchmark}: a task of lm-eval takes --model, and no --samples or --n")
    given = [option for option, there in of_ours.items() if there]
    if given:
        raise UsageError(
            f"{benchmark}: a task of lm-eval scores answers in its own way, and takes no {' or '.join(given)}"
        )


def _sampling(temperature: float | None, max_tokens: int, seed: int, n: int) -> Sampling:
    if n > 1 and temperature == 0:
        raise UsageError("--temperature 0 draws the same sample each time: leave out --n, or choose another")
    try:
        return answer_sampling(n, temperature, max_tokens, seed)
    except ValueError as error:
        raise UsageError(f"--temperature: {error}") from None


def _score_file(
    path: Path,
    benchmark: Benchmark,
    problems: list[Problem],
    sandbox: Sandbox,
    chat: bool,
    partial: bool,
    telling: Telling,
    ks: list[int],
    out: Path | None,
) -> Evaluation:
    samples = read_samples(path, problems, chat=chat)
    missing = [problem.id for problem in problems if problem.id not in {sample.problem.id for sample in samples}]
    if missing and not partial:
        raise UsageError(
            f"{path}: {len(missing):,} of {count(len(problems), 'problem')} without a sample, '{missing[0]}' first; "
            "--partial scores those that have one"
        )
    about = {"samples_file": str(path), "chat": chat, **facts(benchmark, problems, sandbox)}
    with Bar(len(samples), on=not telling.quiet) as bar, telling.begun(bar.note) as voice:
        tell_start(voice, benchmark.name, str(path), len(problems), len(samples), out)
        found = Evaluation(about, asyncio.run(score(samples, sandbox, bar.telling(voice))), len(problems))
        _keep(found, voice, ks, out)
    return found


def _ask(asking: Asking, telling: Telling, ks: list[int], out: Path) -> Evaluation:
    total = len(asking.problems) * asking.samples
    words = component_words({asking.backend.name: asking.backend.options()})
    with Bar(total, on=not telling.quiet) as bar, telling.begun(bar.note) as voice:
        tell_start(voice, asking.benchmark.name, words, len(asking.problems), asking.samples, out)
        with ended_kindly():
            found = asyncio.run(evaluate_model(asking, out, done=bar.telling(voice)))
        _keep(found, voice, ks, out)
    return found


def _keep(found: Evaluation, voice: Voice, ks: list[int], out: Path | None) -> None:
    if out is not None:
        make_folder(out)
        found.write(out, ks)
    tell_end(voice, found, out, ks)


def _result(found: Evaluation, telling: Telling, ks: list[int], out: Path | None) -> None:
    """Print where the results are; what was written nowhere is printed itself."""
    if out is not None:
        telling.result(out / RESULTS)
        return
    for k, (value, _, _) in found.scores(ks).items():
        print(f"pass@{k} {value:.4f}")
