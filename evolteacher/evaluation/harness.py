"""Tasks of lm-eval (EleutherAI's lm-evaluation-harness), asked through our backends: stored, bounded, resumable.

A backend answers in words, so it can do tasks of the kind ``generate_until``. Tasks that compare the likelihood of
given answers need the model's own probabilities: those are left to lm-eval's own reader of Hugging Face checkpoints.
"""

from __future__ import annotations

import asyncio
import difflib
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from evolteacher.asking import Asker, Desk, Memory
from evolteacher.backend import Backend
from evolteacher.database import DATABASE
from evolteacher.errors import CallError, EvolteacherError, MissingExtra, UsageError
from evolteacher.evaluation.asking import MODEL, check_folder, identity, open_desk
from evolteacher.evaluation.naming import RUNNER
from evolteacher.evaluation.spending import Spending
from evolteacher.lock import locked
from evolteacher.messages import ROLES, Sampling
from evolteacher.progress import Progress
from evolteacher.record import text_id
from evolteacher.store import Store
from evolteacher.writing import atomic, make_folder

PREFIX = "lm-eval:"
RESULTS = "lm-eval.json"

GENERATES = "generate_until"

_STOPS = 4
"""Most stop texts that the strictest of the usual APIs takes; a reply is cut at all of them when it is there."""


@dataclass(frozen=True)
class HarnessAsking:
    """What to ask of which model.

    Attributes:
        backend: the model.
        tasks: names of lm-eval.
        include: a folder of more tasks, as YAML.
        limit: only the first so many rows of a task.
        sampling: most tokens, and the seed; a task's own ``generation_kwargs`` win.
        concurrency: most calls in flight.
        spending: what they may cost, and how fast they may leave.
    """

    backend: Backend
    tasks: tuple[str, ...]
    include: Path | None
    limit: int | None
    sampling: Sampling
    concurrency: int = 8
    spending: Spending = field(default_factory=Spending)


def run_harness(asking: HarnessAsking, folder: Path) -> dict[str, Any]:
    """Measure a model on tasks of lm-eval; return its results by task, and write them to ``lm-eval.json``.

    Raises:
        MissingExtra: lm-eval is not installed.
        UsageError: there is no such task, its data cannot be read, or it needs what the backend cannot give.
        BudgetExceeded: the budget allows no further call; what was answered is kept.
        BackendError: the model cannot answer.
        RunError: the folder is in use or cannot be written.
    """
    MissingExtra.unless(["lm_eval"], "a task of lm-eval", "lm-eval")
    if asking.include is not None and not asking.include.is_dir():
        raise UsageError(f"--lm-eval-tasks {asking.include}: there is no such folder")
    asking.spending.known(asking.backend)
    from lm_eval.tasks import TaskManager

    with _told(asking):
        manager = TaskManager(include_path=str(asking.include) if asking.include is not None else None)
    for name in asking.tasks:
        if name not in manager.all_tasks:
            near = difflib.get_close_matches(name, manager.all_tasks, n=1)
            hint = f"Did you mean '{near[0]}'?" if near else "`lm-eval ls tasks` prints the thousands that there are"
            raise UsageError(f"lm-eval has no task '{name}'. {hint}")
    with _told(asking):
        kinds = {name: task.OUTPUT_TYPE for name, task in manager.load(list(asking.tasks))["tasks"].items()}
    unlikely = [name for name, kind in kinds.items() if kind != GENERATES]
    if unlikely and asking.backend.name != RUNNER:
        raise UsageError(
            f"the task '{unlikely[0]}' is of the kind {kinds[unlikely[0]]}: it needs the model's probabilities, and "
            f"'{asking.backend.name}' gives words. Measure a checkpoint, --model {RUNNER}:FOLDER, or take a task of "
            f"the kind {GENERATES}"
        )
    if unlikely and asking.spending != Spending():
        raise UsageError(
            f"the task '{unlikely[0]}' is of the kind {kinds[unlikely[0]]}: lm-eval runs the checkpoint itself, where "
            "no budget, limit or price can be kept: leave them out, or take tasks of the kind " + GENERATES
        )
    with ExitStack() as stack:
        make_folder(folder)
        stack.enter_context(locked(folder))
        store = stack.enter_context(Store(folder / DATABASE))
        check_folder(store, _experiment(asking))
        model = _checkpoint(asking) if unlikely else _answering(asking, store)
        with _told(asking):
            found = _measured(model, asking, manager)
        with atomic(folder / RESULTS) as out:
            out.write((json.dumps(found, indent=2, ensure_ascii=False, default=str) + "\n").encode())
    return found


@contextmanager
def _told(asking: HarnessAsking) -> Iterator[None]:
    """Turn what a task's file, its templates or its code raise into a line: they are the user's, or lm-eval's."""
    try:
        yield
    except EvolteacherError:
        raise
    except Exception as error:
        names = ", ".join(asking.tasks)
        raise UsageError(f"lm-eval cannot do {names}: {type(error).__name__}: {error}") from error


def _experiment(asking: HarnessAsking) -> dict[str, Any]:
    return {
        "benchmark": {"lm-eval": list(asking.tasks)},
        "model": identity(asking.backend),
        "sampling": json.loads(json.dumps(asdict(asking.sampling))),
    }


def _measured(model: Any, asking: HarnessAsking, manager: Any) -> dict[str, Any]:
    from lm_eval import simple_evaluate

    found = simple_evaluate(
        model=model, tasks=list(asking.tasks), task_manager=manager, limit=asking.limit, log_samples=False
    )
    assert found is not None
    return {
        "model": {asking.backend.name: asking.backend.options()},
        "lm-eval": version("lm-eval"),
        "limit": asking.limit,
        "results": found["results"],
        "n-samples": found["n-samples"],
        "versions": found["versions"],
    }


def _checkpoint(asking: HarnessAsking) -> Any:
    """Return lm-eval's own model of a checkpoint: what it works out is not stored, and has no budget to keep."""
    MissingExtra.unless(["torch", "transformers"], "a checkpoint's probabilities", "transformers")
    from lm_eval.models.huggingface import HFLM

    options = asking.backend.options()
    try:
        return HFLM(
            pretrained=options["model"],
            revision=options.get("revision") or "main",
            trust_remote_code=bool(options.get("trust_remote_code")),
            device=_device(str(options.get("device", "auto"))),
            batch_size=asking.concurrency,
        )
    except (OSError, ValueError) as error:
        raise UsageError(f"the checkpoint {options['model']} cannot be loaded: {error}") from None


def _device(wanted: str) -> str:
    """Return where a checkpoint runs; lm-eval's own default is a GPU, whether there is one or not."""
    import torch

    if wanted != "auto":
        return wanted
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _answering(asking: HarnessAsking, store: Store) -> Any:
    from lm_eval.api.model import LM

    class Answering(LM):  # type: ignore[misc, unused-ignore]
        """A backend, as lm-eval wants a model."""

        def generate_until(self, requests: list[Any]) -> list[str]:
            return asyncio.run(_ask_all(asking, store, requests))

        def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
            raise UsageError("a backend that answers in words knows no probabilities")

        def loglikelihood_rolling(self, requests: list[Any]) -> list[float]:
            raise UsageError("a backend that answers in words knows no probabilities")

    return Answering()


async def _ask_all(asking: HarnessAsking, store: Store, requests: Sequence[Any]) -> list[str]:
    longest = max(len(request.args[0]) for request in requests)
    async with open_desk(
        asking.backend, asking.spending, asking.concurrency, asking.sampling, longest, store, Progress()
    ) as desk:
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(_ask(asking, desk, n, one)) for n, one in enumerate(requests)]
        except BaseExceptionGroup as error:
            raise error.exceptions[0] from None
    return [task.result() for task in tasks]


async def _ask(asking: HarnessAsking, desk: Desk, number: int, request: Any) -> str:
    prompt, arguments = request.args[0], dict(request.args[1])
    name, where = request.task_name, f"{request.task_name}\n{request.doc_id}\n{request.idx}"
    memory = Memory(desk, text_id(where if name is not None else f"{number}\n{prompt}"))
    ask = Asker(memory, 0, "respond", "respond", dict.fromkeys(ROLES, MODEL), f"lm-eval task '{name}'")
    until = arguments.get("until") or []
    stops = tuple(stop for stop in ([until] if isinstance(until, str) else until) if stop)
    drawn = _drawn(asking.sampling, arguments, stops)
    changes = {key: getattr(drawn, key) for key in ("temperature", "top_p", "max_tokens", "stop")}
    try:
        text = (await ask.finish(ask(prompt, **changes))).text
    except CallError:  # refused, or too long: an empty answer, which is wrong
        return ""
    for stop in stops:
        text = text.split(stop)[0]
    return text


def _drawn(sampling: Sampling, arguments: dict[str, Any], stops: tuple[str, ...]) -> Sampling:
    """Return how a task wants its answer drawn; greedily unless it says that it wants samples."""
    greedy = not arguments.get("do_sample", bool(arguments.get("temperature")))
    try:
        return replace(
            sampling,
            temperature=0.0 if greedy else float(arguments.get("temperature", 1.0)),
            top_p=1.0 if greedy else float(arguments.get("top_p", 1.0)),
            max_tokens=int(arguments.get("max_gen_toks", sampling.max_tokens)),
            stop=stops[:_STOPS],
        )
    except (TypeError, ValueError) as error:
        raise UsageError(f"generation_kwargs of the task: {error}") from None


def figures(found: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    """Return task, metric, value and standard error of all results, as texts."""
    rows = []
    for task, results in found["results"].items():
        for key, value in results.items():
            metric, _, kind = key.partition(",")
            if not kind or metric.endswith("_stderr") or not isinstance(value, int | float):
                continue
            error = results.get(f"{metric}_stderr,{kind}")
            shown = f"± {error:.4f}" if isinstance(error, int | float) else ""
            rows.append((task, metric if kind == "none" else f"{metric} ({kind})", f"{value:.4f}", shown))
    return rows
