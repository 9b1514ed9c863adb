"""Checks of many requests at once, and of those that are given up."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from evolteacher.backend import Backend
from evolteacher.messages import Reply, Request
from evolteacher.testing.harness import Session, describe, tasks_left, within
from evolteacher.testing.promises import Promises

_PAUSES = (None, 0.0, 0.005, 0.03)
"""Seconds after which a request is given up; None before it has begun to run, 0 after its first step."""

_LEAST_SEEN = 0.25
"""Seconds that answers must take together for a blocked event loop to be told from a busy machine."""

_TRIES = 3
"""Times that the event loop must seem blocked: a busy machine holds a process up now and then, and not each time."""

_BEAT = 0.005
_LATE = 0.025
"""Seconds between two looks at the clock, and those beyond which the event loop was held up between them."""


class CompanyChecks(Promises):
    """Checks of concurrency and cancellation."""

    def test_many_requests_at_once_are_all_answered(self, _opened: Session) -> None:
        """complete() is called concurrently, and each call is answered."""
        asked = self._distinct_requests()
        answers = _opened.run(_all_at_once(_opened.backend, asked, self.patience))
        failed = [each for each in answers if not isinstance(each, Reply)]
        if failed:
            first = describe(failed[0]) if isinstance(failed[0], BaseException) else repr(failed[0])
            self.violated(f"{len(failed)} of {len(asked)} calls at once got no Reply; the first got {first}")

    def test_each_answer_belongs_to_its_request(self, _opened: Session) -> None:
        """Calls at once never get one another's answers."""
        asked = self._distinct_requests()
        alone = [_opened.ask(request).text for request in asked] if self.deterministic else []
        answers = [
            each for each in _opened.run(_all_at_once(_opened.backend, asked, self.patience)) if isinstance(each, Reply)
        ]
        if len(answers) < len(asked):
            self.not_covered("some calls at once were not answered at all")
        told = [
            self._mixed_by_word(asked, answers),
            self._mixed_by_tokens(answers),
            self._mixed_by_text(answers, alone),
        ]
        if all(each is None for each in told):
            self.not_covered("nothing tells answers apart: override belongs(), or let a test server count tokens")
        for seen in filter(None, told):
            self.violated(seen)

    def test_the_event_loop_goes_on_meanwhile(self, _opened: Session) -> None:
        """complete() never blocks the event loop, on which all other calls and the display live."""
        asked = self._distinct_requests()

        async def ask() -> tuple[float, float]:
            pauses: list[float] = []
            beat = asyncio.create_task(_measure_pauses(pauses))
            began = time.perf_counter()
            await _all_at_once(_opened.backend, asked, self.patience)
            passed = time.perf_counter() - began
            await asyncio.sleep(2 * _BEAT)
            beat.cancel()
            return passed, sum(pause for pause in pauses if pause > _LATE)

        for _ in range(_TRIES):
            passed, held_up = _opened.run(ask())
            if passed < _LEAST_SEEN or held_up < passed / 2:
                return
        self.violated(f"{len(asked)} calls took {passed:.2f} seconds, of which they held up all else {held_up:.2f}")

    def test_a_cancelled_request_ends_promptly(self, _opened: Session) -> None:
        """A cancelled complete() ends at once, with CancelledError and nothing else."""

        async def give_up(pause: float | None) -> None:
            task = asyncio.create_task(_opened.backend.complete(self.request()))
            if not await _cancel(task, pause):
                return
            done, _ = await asyncio.wait({task}, timeout=self.promptness)
            if not done:
                self.violated(f"{self.promptness:g} seconds later it had not ended")
            if not task.cancelled():
                error = task.exception()
                self.violated(f"it raised {describe(error)}" if error is not None else f"it returned {task.result()!r}")

        for pause in _PAUSES:
            _opened.run(give_up(pause))

    def test_a_cancelled_request_disturbs_no_other(self, _opened: Session) -> None:
        """A cancelled complete() neither fails those beside it nor those after it."""

        async def one_of_two(pause: float | None) -> None:
            first = asyncio.create_task(_opened.backend.complete(self.request()))
            second = asyncio.create_task(_opened.backend.complete(self.request("Say good morning.")))
            await _cancel(first, pause)
            await asyncio.wait({first}, timeout=self.promptness)
            for which, call in (
                ("beside", second),
                ("after", _opened.backend.complete(self.request("Say good night."))),
            ):
                try:
                    await within(call, self.patience, f"the call {which} the cancelled one")
                except Exception as error:
                    self.violated(f"the call {which} the cancelled one raised {describe(error)}")

        for pause in _PAUSES:
            _opened.run(one_of_two(pause))

    def test_a_cancelled_request_leaves_no_task(self, _opened: Session) -> None:
        """What complete() started ends with it when it is cancelled."""
        _opened.ask(self.request())  # what a backend starts with its first call may stay until it is closed

        async def give_up() -> list[str]:
            before = asyncio.all_tasks()
            for pause in _PAUSES:
                task = asyncio.create_task(_opened.backend.complete(self.request()))
                await _cancel(task, pause)
                await asyncio.wait({task}, timeout=self.promptness)
            return await tasks_left(before, self.grace)

        left = _opened.run(give_up())
        if left:
            self.violated(f"still running: {', '.join(left)}")

    def _distinct_requests(self) -> list[Request]:
        """Return requests that differ in a word and in length, the shortest first."""
        return [self.request(f"Repeat: {_mark(n)}.{' word' * 2 * n}") for n in range(self.concurrency)]

    def _mixed_by_word(self, asked: list[Request], answers: list[Reply]) -> str | None:
        """Say which answer is another request's, nothing where none is; None where :meth:`belongs` cannot tell."""
        known = None
        for request, reply in zip(asked, answers, strict=True):
            if (own := self.belongs(request, reply)) is False:
                return f"the answer to {request.text!r} was {reply.text!r}"
            known = "" if own else known
        return known

    def _mixed_by_tokens(self, answers: list[Reply]) -> str | None:
        """Likewise by the prompts' tokens, which grow with their length."""
        tokens = [reply.usage.prompt_tokens for reply in answers]
        if not self.usage_known or len(set(tokens)) == 1:
            return None
        return (
            "" if tokens == sorted(tokens) else f"to prompts of growing length came answers with prompt_tokens {tokens}"
        )

    def _mixed_by_text(self, answers: list[Reply], alone: list[str]) -> str | None:
        """Likewise by the answers that the requests got when asked one by one."""
        if len(set(alone)) < 2:
            return None
        for number, reply in enumerate(answers):
            if reply.text != alone[number] and alone.count(reply.text) == 1:
                other = alone.index(reply.text)
                return f"the answer to {_mark(number)!r} was {reply.text!r}, which alone {_mark(other)!r} got"
        return ""


def _mark(number: int) -> str:
    return f"mark-{number:03}"


async def _all_at_once(backend: Backend, asked: list[Request], patience: float) -> list[Any]:
    """Return what each call returned or raised."""
    calls = (within(backend.complete(request), patience, "complete()") for request in asked)
    return await asyncio.gather(*calls, return_exceptions=True)


async def _measure_pauses(pauses: list[float]) -> None:
    last = time.perf_counter()
    while True:
        await asyncio.sleep(_BEAT)
        now = time.perf_counter()
        pauses.append(now - last)
        last = now


async def _cancel(task: asyncio.Task[Any], pause: float | None) -> bool:
    """Cancel a call after a pause; return whether it was still running."""
    if pause == 0:
        await asyncio.sleep(0)
    elif pause is not None:
        await asyncio.wait({task}, timeout=pause)
    return task.cancel()
