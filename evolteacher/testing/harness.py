"""What the checks are made of: an event loop with a backend open on it, time limits, and how a fault is said."""

from __future__ import annotations

import asyncio
import inspect
import traceback
from collections.abc import Awaitable, Coroutine
from typing import Any, NoReturn, TypeVar

import pytest

from evolteacher.backend import Backend, Workload
from evolteacher.messages import Reply, Request

T = TypeVar("T")


def violated(rule: str, seen: str) -> NoReturn:
    """Fail the running check: what the contract says, and what was seen in its place."""
    # What was seen says all; the error in whose handling this is called would only be shown a second time.
    raise pytest.fail.Exception(f"the contract: {rule}\nseen: {seen}", pytrace=False) from None


class Checks:
    """The base of all checks: a check's docstring is the rule that it states when it fails."""

    _rule: str = ""

    @pytest.fixture(autouse=True)
    def _read_rule(self, request: pytest.FixtureRequest) -> None:
        """Take the rule that a failing check states from the check's docstring."""
        self._rule = " ".join((inspect.getdoc(request.function) or "").split())

    def violated(self, seen: str) -> NoReturn:
        """Fail the running check, with its own docstring as the rule."""
        violated(self._rule, seen)

    def not_covered(self, why: str) -> NoReturn:
        """Report the running check as one that could not be made."""
        pytest.skip(f"{type(self).__name__}: not covered: {why}")


def describe(error: BaseException) -> str:
    """Return an error's class and message, and the way that it took."""
    trace = "".join(traceback.format_exception(error)).rstrip()
    return f"{type(error).__name__}: {error}\n{trace}"


async def within(work: Awaitable[T], seconds: float, what: str) -> T:
    """Await something that must end in time; what it raises is let through."""
    task = asyncio.ensure_future(work)
    done, _ = await asyncio.wait({task}, timeout=seconds)
    if not done:
        task.cancel()
        await asyncio.wait({task}, timeout=1)
        violated(f"{what} ends", f"it had not ended after {seconds:g} seconds (the attribute `patience` allows more)")
    return task.result()


async def answer(backend: Backend, request: Request, patience: float) -> Reply:
    """Ask what any backend can answer."""
    rule = "complete() answers a plain request with a Reply"
    try:
        reply = await within(backend.complete(request), patience, "complete()")
    except Exception as error:
        violated(rule, f"it raised {describe(error)}")
    if not isinstance(reply, Reply):
        violated(rule, f"it returned {reply!r}")
    return reply


async def tasks_left(before: set[asyncio.Task[Any]], grace: float) -> list[str]:
    """Return the tasks of this event loop that were not there before and do not end within the grace, in seconds."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + grace
    known = before | {task for task in [asyncio.current_task()] if task is not None}
    while (left := asyncio.all_tasks() - known) and loop.time() < deadline:
        await asyncio.sleep(0.01)
    return sorted(repr(task.get_coro()) for task in left)


class Session:
    """A backend that is opened, asked and closed on an event loop of its own.

    Args:
        backend: the one under test.
        workload: what it is opened for.
        patience: seconds that opening, closing and any one answer may take.
    """

    def __init__(self, backend: Backend, workload: Workload, patience: float) -> None:
        self.backend = backend
        self._workload = workload
        self._patience = patience
        self._runner: asyncio.Runner | None = None

    def __enter__(self) -> Session:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def is_open(self) -> bool:
        """Whether the backend is open."""
        return self._runner is not None

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the session's event loop."""
        if self._runner is None:
            self._runner = asyncio.Runner()
        return self._runner.run(work)

    def open(self) -> None:
        """Open the backend; one that cannot be opened fails the check."""
        try:
            self.run(within(self.backend.open(self._workload), self._patience, "open()"))
        except Exception as error:
            self.end()
            violated("the fixture `backend` gives a backend that can be opened", f"open() raised {describe(error)}")

    def close(self) -> None:
        """Close the backend, and then the event loop; nothing happens where both are closed."""
        if self._runner is None:
            return
        try:
            self.run(within(self.backend.close(), self._patience, "close()"))
        except Exception as error:
            violated("close() lets go of what open() took", f"it raised {describe(error)}")
        finally:
            self.end()

    def end(self) -> None:
        """Close the event loop without closing the backend."""
        runner, self._runner = self._runner, None
        if runner is not None:
            runner.close()

    def reopen(self) -> None:
        """Close the backend and open it again, on another event loop."""
        self.close()
        self.open()

    def ask(self, request: Request) -> Reply:
        """Return the answer to a plain request."""
        return self.run(answer(self.backend, request, self._patience))
