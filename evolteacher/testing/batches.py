"""Checks of provider batches."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Coroutine, Iterator
from dataclasses import replace
from typing import Any, TypeVar

import pytest

from evolteacher.backend import Backend, BatchState
from evolteacher.errors import BackendError
from evolteacher.messages import Message, Reply, Request
from evolteacher.testing.answers import is_count, wrong_fields
from evolteacher.testing.description import alike
from evolteacher.testing.harness import Session, describe, tasks_left, within
from evolteacher.testing.leftovers import describe_growth, live_once
from evolteacher.testing.promises import Promises

T = TypeVar("T")


class BatchChecks(Promises):
    """Checks of provider batches."""

    @pytest.fixture
    def _batching(self, backend: Backend, batches: Backend | None) -> Iterator[Session]:
        """A backend that answers in batches, open."""
        if batches is None and type(backend).submit is Backend.submit:
            pytest.skip(f"backend '{backend.name}' knows no batches")
        if batches is None:
            self.not_covered("the fixture `batches` gives no backend that answers in batches")
        if not batches.in_batches():
            pytest.fail("the fixture `batches` gives a backend whose in_batches() is false", pytrace=False)
        with self.session(batches) as session:
            yield session

    def test_a_batch_is_answered(self, _batching: Session) -> None:
        """A batch ends, and its results are a Reply or an error for each request, by the id it was submitted under."""
        asked = self._requests()
        batch = self._submit(_batching, asked)
        state = self._wait(_batching, batch)
        if state.failed:
            self.violated(f"the batch failed: {state.failed}")
        if state.results.keys() != asked.keys():
            self.violated(f"submitted were {sorted(asked)}, and results came for {sorted(state.results)}")
        for name, result in state.results.items():
            if not isinstance(result, Reply):
                self.violated(f"the result of a plain request was {result!r}")
            if wrong := wrong_fields(result):
                self.violated(f"the reply to '{name}' has {'; '.join(wrong)}")

    def test_each_result_belongs_to_its_request(self, _batching: Session) -> None:
        """Results never get under one another's ids."""
        asked = self._requests()
        results = self._wait(_batching, self._submit(_batching, asked)).results
        told = {name: self.belongs(asked[name], each) for name, each in results.items() if isinstance(each, Reply)}
        if not any(own is not None for own in told.values()):
            self.not_covered("nothing tells results apart: override belongs()")
        for name, own in told.items():
            if own is False:
                self.violated(f"under the id of {asked[name].text!r} came {results[name]}")

    def test_sizes_are_no_smaller_than_the_requests(self, _batching: Session) -> None:
        """size_in_batch() counts at least the bytes of a request's text, where most_bytes_in_batch is set."""
        backend = _batching.backend
        if backend.most_bytes_in_batch is None:
            pytest.skip(f"backend '{backend.name}' sets no bound of bytes in a batch")
        for name, request in self._requests().items():
            for text in (request.text, "é🙂\n" * 1000):
                sized = replace(request, messages=(Message("user", text),))
                size: Any = self._do(_batching, backend.size_in_batch(name, sized), "size_in_batch()")
                if not is_count(size) or size < len(text.encode()):
                    self.violated(f"for a text of {len(text.encode()):,} bytes, size_in_batch() returned {size!r}")

    def test_a_batch_is_found_by_its_tag(self, _batching: Session) -> None:
        """find() gives the id of the batch that was submitted with this tag, whoever asks, and None where none was."""
        tags = [uuid.uuid4().hex for _ in range(3)]
        submitted = [self._submit(_batching, self._requests(), tag) for tag in tags[:2]]
        with self._another(_batching) as other:
            for session, which in ((_batching, "the backend itself"), (other, "another with the same options")):
                found = [self._do(session, session.backend.find(tag), "find()") for tag in tags]
                if found != [*submitted, None]:
                    self.violated(f"of two batches, {submitted}, and a tag that is none's, {which} found {found}")

    def test_a_batch_outlives_its_submitter(self, _batching: Session) -> None:
        """A batch may be collected again, also by another backend with the same options: runs are resumed."""
        batch = self._submit(_batching, self._requests())
        texts = _texts(self._wait(_batching, batch))
        again = _texts(self._wait(_batching, batch))
        if again != texts:
            self.violated(f"collected twice, it was first {texts}, and then {again}")
        with self._another(_batching) as other:
            if (later := _texts(self._wait(other, batch))) != texts:
                self.violated(f"the one that submitted it got {texts}, and another one {later}")

    def test_batches_leave_nothing_behind(self, _batching: Session) -> None:
        """close() lets go of all that submit(), find() and collect() took; a batch itself lies with the provider."""
        backend = _batching.backend
        _batching.close()

        def live() -> list[str]:
            with self.session(backend) as session:
                tag = uuid.uuid4().hex
                batch = self._submit(session, self._requests(), tag)
                self._do(session, backend.find(tag), "find()")
                self._wait(session, batch)
                session.run(backend.close())
                left = session.run(tasks_left(set(), self.grace))
                session.end()
            return left

        if found := describe_growth(live_once(live, self.grace), live_once(live, self.grace)):
            self.violated("; ".join(found))

    def _another(self, session: Session) -> Session:
        """Return another backend with the same options, as that of a run that goes on after a crash."""
        return self.session(alike(session.backend))

    def _requests(self) -> dict[str, Request]:
        """Return requests by ids of the longest kind that the core uses, 64 letters and digits."""
        return {uuid.uuid4().hex * 2: self.request(f"Repeat: mark-{n:03}") for n in range(3)}

    def _submit(self, session: Session, asked: dict[str, Request], tag: str | None = None) -> str:
        batch: Any = self._do(session, session.backend.submit(asked, tag or uuid.uuid4().hex), "submit()")
        if not isinstance(batch, str) or not batch:
            self.violated(f"submit() returned {batch!r}, which is no id")
        return batch

    def _wait(self, session: Session, batch: str) -> BatchState:
        """Collect until the batch has ended."""
        deadline, pause = time.monotonic() + self.patience, 0.002
        while True:
            state: Any = self._do(session, session.backend.collect(batch), "collect()")
            if not isinstance(state, BatchState):
                self.violated(f"collect() returned {state!r}, which is no BatchState")
            wrong = [each for each in state.results.values() if not isinstance(each, Reply | BackendError)]
            if wrong or not isinstance(state.ended, bool) or not is_count(state.answered):
                self.violated(f"collect() returned {state!r}")
            if state.ended:
                return state
            if time.monotonic() > deadline:
                self.violated(
                    f"after {self.patience:g} seconds it had not ended (the attribute `patience` allows more)"
                )
            session.run(asyncio.sleep(pause))
            pause = min(1.0, pause * 2)

    def _do(self, session: Session, work: Coroutine[Any, Any, T], what: str) -> T:
        try:
            return session.run(within(work, self.patience, what))
        except Exception as error:
            self.violated(f"{what} raised {describe(error)}")


def _texts(state: BatchState) -> dict[str, str]:
    return {name: each.text if isinstance(each, Reply) else repr(each) for name, each in state.results.items()}
