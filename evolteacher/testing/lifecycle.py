"""Checks of opening and closing."""

from __future__ import annotations

import asyncio

import pytest

from evolteacher.backend import Backend
from evolteacher.errors import FatalError
from evolteacher.messages import Reply
from evolteacher.testing.harness import Session, describe, tasks_left, within
from evolteacher.testing.leftovers import describe_growth, live_once
from evolteacher.testing.promises import Promises


class LifecycleChecks(Promises):
    """Checks of opening and closing."""

    def test_closing_what_was_never_opened(self, _closed: Backend) -> None:
        """close() may be called on a backend that was never opened."""
        self._close(self.session(_closed), "on a backend that was never opened")

    def test_closing_twice(self, _closed: Backend) -> None:
        """close() may be called twice."""
        session = self.session(_closed)
        session.open()
        self._close(session, "the first time", end=False)
        self._close(session, "the second time")

    def test_asking_what_is_not_open(self, _closed: Backend) -> None:
        """complete() of a backend that is not open raises a FatalError, unless it needs no opening and answers."""
        if _closed.in_batches():
            pytest.skip("in_batches() is true: this backend answers no single requests")
        session = self.session(_closed)
        self._ask_closed(session, "before open()")
        session.open()
        session.run(_closed.close())
        self._ask_closed(session, "after close()")
        session.end()

    def test_opening_again(self, _closed: Backend) -> None:
        """A backend may be opened again after it was closed, on the same event loop or on another."""
        session = self.session(_closed)
        for again in (False, True, False):
            where = "the same event loop" if again else "an event loop of its own"
            try:
                session.run(within(_closed.open(self.workload), self.patience, "open()"))
                if not _closed.in_batches():
                    session.run(within(_closed.complete(self.request()), self.patience, "complete()"))
                session.run(within(_closed.close(), self.patience, "close()"))
            except Exception as error:
                session.end()
                self.violated(f"opened, asked and closed on {where}, it raised {describe(error)}")
            if again:
                session.end()
        session.end()

    def test_an_interrupted_opening(self, _closed: Backend) -> None:
        """open() that is cancelled ends with CancelledError; close() then lets go, and open() may be called again."""
        session = self.session(_closed)

        async def interrupt() -> asyncio.Task[None]:
            task = asyncio.create_task(_closed.open(self.workload))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait({task}, timeout=self.patience)
            return task

        task = session.run(interrupt())
        error = None if task.cancelled() or not task.done() else task.exception()
        if error is not None or not task.done():
            session.end()
            self.violated(f"open() raised {describe(error)}" if error else "open() went on")
        self._close(session, "after an interrupted open()")
        with session:
            if not _closed.in_batches():
                session.ask(self.request())

    def test_nothing_is_left_behind(self, _closed: Backend) -> None:
        """close() lets go of all that open() and complete() took: tasks, threads, processes, files and connections."""

        def live() -> list[str]:
            with self.session(_closed) as session:
                if not _closed.in_batches():
                    session.ask(self.request())
                session.run(_closed.close())
                left = session.run(tasks_left(set(), self.grace))
                session.end()
            return left

        first, second = live_once(live, self.grace), live_once(live, self.grace)
        if found := describe_growth(first, second):
            self.violated("; ".join(found))

    def test_nothing_is_printed(self, _closed: Backend, capfd: pytest.CaptureFixture[str]) -> None:
        """A backend writes nothing to the standard output, which belongs to the command line."""
        capfd.readouterr()
        with self.session(_closed) as session:
            if not _closed.in_batches():
                session.ask(self.request())
        printed = capfd.readouterr().out
        if printed:
            self.violated(f"{printed!r}")

    def _close(self, session: Session, when: str, *, end: bool = True) -> None:
        try:
            session.run(within(session.backend.close(), self.patience, "close()"))
        except Exception as error:
            self.violated(f"called {when}, it raised {describe(error)}")
        finally:
            if end:
                session.end()

    def _ask_closed(self, session: Session, when: str) -> None:
        try:
            reply = session.run(within(session.backend.complete(self.request()), self.patience, "complete()"))
        except FatalError:
            return
        except Exception as error:
            session.end()
            self.violated(f"{when} it raised {describe(error)}")
        if not isinstance(reply, Reply):
            self.violated(f"{when} it returned {reply!r}")
