"""A model asked for its answers to a benchmark, into a folder: resumable, and nothing is asked twice."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from evolteacher.answerer import Answerer
from evolteacher.asking import Asker, Desk, Memory
from evolteacher.backend import Backend, Workload
from evolteacher.benchmark import Benchmark, Problem
from evolteacher.budget import Till
from evolteacher.database import DATABASE
from evolteacher.differences import differences
from evolteacher.errors import CallError, UsageError
from evolteacher.evaluation.programs import Sample, answered, question
from evolteacher.evaluation.score import Evaluation, Scored, check, facts
from evolteacher.evaluation.spending import Spending
from evolteacher.gate import Gate
from evolteacher.ledger import Ledger
from evolteacher.lock import locked
from evolteacher.messages import ROLES, Reply, Sampling
from evolteacher.progress import Progress
from evolteacher.promptform import FILE, PromptForm
from evolteacher.record import text_id
from evolteacher.sandbox import CheckResult, Sandbox
from evolteacher.store import Store
from evolteacher.writing import make_folder

MODEL = "model"
"""The key that the evaluated backend answers under."""

_FACT = "evaluation"
"""Of the store's ``meta``: what the folder is an evaluation of."""


@dataclass(frozen=True)
class Asking:
    """What to ask of which model.

    Attributes:
        backend: the model.
        benchmark: where the problems come from.
        problems: those that are asked.
        sandbox: where answers are run.
        sampling: how they are drawn.
        samples: a problem; each of several has a seed of its own.
        concurrency: most calls in flight.
        spending: what they may cost, and how fast they may leave.
    """

    backend: Backend
    benchmark: Benchmark
    problems: tuple[Problem, ...]
    sandbox: Sandbox
    sampling: Sampling
    samples: int = 1
    concurrency: int = 8
    spending: Spending = field(default_factory=Spending)

    def experiment(self) -> dict[str, Any]:
        """Return what may not change from one process to the next in one folder; more problems and samples may come."""
        return {
            "benchmark": {self.benchmark.name: self.benchmark.options()},
            "model": identity(self.backend),
            "sampling": json.loads(json.dumps(asdict(self.sampling))),
        }


async def evaluate(
    asking: Asking, folder: Path, *, progress: Progress | None = None, done: Callable[[Scored], None] = lambda one: None
) -> Evaluation:
    """Ask a model for its answers, run them, and return what came of it. What the folder holds is not asked again.

    Args:
        asking: what to ask.
        folder: the evaluation's; made when missing.
        progress: counters.
        done: given each sample as it ends.

    Raises:
        UsageError: the folder holds another evaluation.
        RunError: the folder is in use or cannot be written.
        BackendError: the model cannot answer.
        BudgetExceeded: the budget allows no further call; what was answered is kept.
        SandboxError: the sandbox itself failed.
    """
    progress = progress or Progress()
    with ExitStack() as stack:
        make_folder(folder)
        stack.enter_context(locked(folder))
        store = stack.enter_context(Store(folder / DATABASE))
        check_folder(store, asking.experiment())
        scored = await _ask(asking, store, progress, done)
    about = {
        "model": {asking.backend.name: asking.backend.options()},
        "prompt_form": _form(asking.backend),
        "sampling": asdict(asking.sampling),
        **facts(asking.benchmark, asking.problems, asking.sandbox),
    }
    return Evaluation(about, scored, len(asking.problems))


def check_folder(store: Store, experiment: dict[str, Any]) -> None:
    """Note what a folder is an evaluation of.

    Raises:
        UsageError: it holds another one, or a run.
    """
    stored, folder = store.meta(_FACT), store.path.parent
    if stored is None and store.seed_count():
        raise UsageError(f"{folder}: this folder holds a run; choose another for the evaluation with --out")
    different = list(differences(stored, experiment)) if stored is not None else []
    if different:
        head = f"{folder}: this folder holds an evaluation of another kind. What differs:"
        raise UsageError("\n".join([head, *different, "Put these back, or choose another folder with --out."]))
    store.set_meta(_FACT, experiment)


async def _ask(asking: Asking, store: Store, progress: Progress, done: Callable[[Scored], None]) -> tuple[Scored, ...]:
    longest = max(len(question(problem)) for problem in asking.problems)
    backend, spending, drawn = asking.backend, asking.spending, asking.sampling
    async with open_desk(backend, spending, asking.concurrency, drawn, longest, store, progress) as desk:
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(_solve(asking, problem, desk, done)) for problem in asking.problems]
        except BaseExceptionGroup as group_error:
            raise group_error.exceptions[0] from None
    return tuple(scored for task in tasks for scored in task.result())


@asynccontextmanager
async def open_desk(
    backend: Backend,
    spending: Spending,
    concurrency: int,
    sampling: Sampling,
    longest: int,
    store: Store,
    progress: Progress,
) -> AsyncIterator[Desk]:
    """Give a desk where one backend answers under the key ``MODEL``, within its bounds, and close it after.

    Args:
        backend: the model.
        spending: its bounds.
        concurrency: most calls in flight.
        sampling: how answers are drawn unless an ask says otherwise.
        longest: characters of the longest prompt.
        store: where replies are kept.
        progress: counters.
    """
    known = spending.known(backend)
    prices = {MODEL: known} if known is not None else {}
    till = Till(Ledger(store), spending.budget, {MODEL: spending.price} if spending.price else {}, prices, progress)
    gate = Gate(concurrency, spending.limits, till, progress)
    answerer = Answerer(MODEL, backend, Workload(concurrency, sampling.max_tokens, longest), gate)
    desk = Desk(store, gate, {MODEL: answerer}, dict.fromkeys(ROLES, sampling), progress)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(answerer.close)
        stack.push_async_callback(desk.stop)
        yield desk
        answerer.finish()


async def _solve(asking: Asking, problem: Problem, desk: Desk, done: Callable[[Scored], None]) -> list[Scored]:
    """Ask for and run all samples of one problem."""
    memory = Memory(desk, text_id(f"{problem.id}\n{problem.prompt}"))
    ask = Asker(memory, 0, "respond", "respond", dict.fromkeys(ROLES, MODEL), f"evaluation of '{problem.id}'")
    text, seed = question(problem), asking.sampling.seed

    async def one(number: int) -> Scored:
        changes: dict[str, Any] = {"seed": (seed or 0) + number} if asking.samples > 1 else {}
        try:
            reply = await ask(text, key=str(number), **changes)
        except CallError as error:
            reply = Reply("", finish_reason=f"{error.outcome}: {error}")
        program = answered(problem, reply.text)
        sample = Sample(problem, number, program, reply.text, reply.finish_reason)

        async def run() -> dict[str, Any]:
            return (await check(sample, asking.sandbox)).as_dict()

        # Of equal programs one is run; a verdict near the time limit stays what it was.
        what = {"program": program, "tests": problem.tests, "sandbox": asking.sandbox.identity()}
        result = CheckResult.from_dict(await ask.once(what, run))
        scored = Scored(sample, result)
        done(scored)
        return scored

    async def every() -> list[Scored]:
        return list(await asyncio.gather(*(one(number) for number in range(asking.samples))))

    return await ask.finish(every())


def _form(backend: Backend) -> str:
    """Say by which prompt form a model is asked: the one that a training saved in its folder, where there is one."""
    folder = os.path.expanduser(str(getattr(backend, "model", "")))
    form = PromptForm.read(Path(folder)) if os.path.isdir(folder) else None
    return f"{form.kind}, as saved in {FILE}" if form is not None else "the backend's chat template"


def identity(backend: Backend) -> Any:
    """Return what tells a backend from others, as JSON."""
    try:
        return json.loads(backend.identity())
    except ValueError:
        return str(backend)
