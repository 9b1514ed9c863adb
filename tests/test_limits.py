"""How calls are let out: never too many at once, never too fast, and asked again as the errors say.

Time is virtual: an event loop whose clock jumps to the next timer, so that minutes pass at once.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import selectors
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

import evolteacher as et
from evolteacher import errors
from evolteacher.budget import Till
from evolteacher.gate import Gate
from evolteacher.ledger import Ledger
from evolteacher.limits import Limits
from evolteacher.pace import Window
from evolteacher.progress import Progress
from evolteacher.store import Store

REQUEST = et.Request((et.Message("user", "hello"),))


class VirtualSelector(selectors.SelectSelector):
    def __init__(self):
        super().__init__()
        self.now = 0.0

    def select(self, timeout=None):
        ready = super().select(0)
        if not ready and timeout:
            self.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """The standard loop, on a clock that only waiting moves."""

    def __init__(self):
        self._virtual = VirtualSelector()
        super().__init__(self._virtual)

    def time(self):
        return self._virtual.now


def run(main):
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


class Scene(et.Backend, name="scene"):
    """Take the time and raise the errors that the test says, and note when each call began and ended."""

    script: tuple = ()

    def model_post_init(self, context):
        self._calls = []
        self._flying = 0
        self._most = 0

    def identity(self):
        return "scene"

    async def complete(self, request):
        number = len(self._calls)
        self._calls.append(asyncio.get_running_loop().time())
        self._flying += 1
        self._most = max(self._most, self._flying)
        step = self.script[number % len(self.script)] if self.script else 0.0
        try:
            if isinstance(step, int | float):
                await asyncio.sleep(step)
                return et.Reply(f"reply {number}")
            if isinstance(step, Exception):
                raise step
            return step
        finally:
            self._flying -= 1


class Door:
    """A gate with one backend behind it, and a store for what its calls may cost."""

    def __init__(self, concurrency, limits, backend):
        self.progress = Progress()
        self.backend = backend
        self._folder = tempfile.TemporaryDirectory()
        self.store = Store(Path(self._folder.name) / "run.db")
        self.gate = Gate(concurrency, limits, Till(Ledger(self.store), None, {}, {}, self.progress), self.progress)
        self.gate.register("scene", backend)

    async def call(self, request):
        outcome = (await self.gate.call("scene", self.backend, request)).outcome
        if isinstance(outcome, errors.CallError):
            raise outcome
        return outcome

    def close(self):
        self.store.close()
        self._folder.cleanup()


class Queue:
    """Waits for the turns of a window, in order."""

    def __init__(self, per_minute):
        self.window = Window(per_minute, 60.0)
        self.turn = asyncio.Lock()

    async def take(self):
        async with self.turn:
            loop = asyncio.get_running_loop()
            while (wait := self.window.ready(1, loop.time()) - loop.time()) > 0:
                await asyncio.sleep(wait)
            self.window.take(1, loop.time())


def limits(**options):
    return Limits.model_validate({"first_wait": 0.5, "longest_wait": 4.0, "give_up": 1e6, **options})


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 8),
    st.lists(st.floats(0, 3) | st.just(errors.Transient("x")) | st.just(errors.RateLimited("x", 2.0)), min_size=1),
    st.integers(1, 40),
    st.none() | st.floats(1, 500),
)
def test_never_more_in_flight_than_allowed_and_never_faster(concurrency, script, calls, rate):
    backend = Scene(script=tuple(script))

    async def main():
        gate = Door(concurrency, limits(requests_per_minute=rate, retries=3), backend)
        results = await asyncio.gather(*(gate.call(REQUEST) for _ in range(calls)), return_exceptions=True)
        gate.close()
        assert gate.progress.in_flight == 0
        return results

    results = run(main())
    assert len(results) == calls
    assert all(isinstance(found, et.Reply | errors.RetryableError) for found in results)
    assert backend._most <= concurrency
    if rate is not None:
        check_pace(backend._calls, rate)


def check_pace(departures, rate):
    """No minute holds more than the limit, and no shorter time more than its share and a tenth of a second's worth."""
    for first, start in enumerate(departures):
        inside = [time for time in departures[first:] if time < start + 60 - 1e-6]
        assert len(inside) <= max(1, math.floor(rate))
    pace = 60 / max(1, math.floor(rate))
    for first, start in enumerate(departures):
        for more, end in enumerate(departures[first:]):
            assert more <= (end - start + 0.1) / pace + 1 + 1e-6


@settings(deadline=None, max_examples=60)
@given(st.floats(0.2, 2000), st.lists(st.floats(0, 90) | st.just(0.0), min_size=1, max_size=80))
def test_the_pace_holds_whenever_calls_come(rate, gaps):
    departures = []

    async def leave(bucket):
        await bucket.take()
        departures.append(asyncio.get_running_loop().time())

    async def main():
        bucket, tasks = Queue(rate), []
        for gap in gaps:
            await asyncio.sleep(gap)
            tasks.append(asyncio.create_task(leave(bucket)))
        await asyncio.gather(*tasks)

    run(main())
    assert len(departures) == len(gaps)
    if rate >= 1:
        check_pace(departures, rate)
    else:
        assert all(later - earlier >= 60 / rate - 1e-6 for earlier, later in itertools.pairwise(departures))


def test_a_busy_queue_is_as_fast_as_the_limit_allows():
    async def main():
        bucket = Queue(600)
        await asyncio.gather(*(bucket.take() for _ in range(1201)))
        return asyncio.get_running_loop().time()

    assert run(main()) == pytest.approx(120, abs=0.5)


def test_waiters_leave_in_order_and_a_cancelled_one_gives_its_turn_away():
    left = []

    async def leave(bucket, name):
        await bucket.take()
        left.append((name, asyncio.get_running_loop().time()))

    async def main():
        bucket = Queue(6)
        tasks = [asyncio.create_task(leave(bucket, name)) for name in "abcde"]
        await asyncio.sleep(5)
        tasks[1].cancel()  # is next, and waits for its time
        tasks[3].cancel()  # waits for its turn to wait
        await asyncio.gather(*tasks, return_exceptions=True)

    run(main())
    assert [name for name, _ in left] == ["a", "c", "e"]
    assert [time for _, time in left] == pytest.approx([0, 10, 20], abs=0.2)


def test_a_cancelled_call_frees_its_slot():
    backend = Scene(script=(1000.0, 1.0))

    async def main():
        gate = Door(1, limits(), backend)
        slow = asyncio.create_task(gate.call(REQUEST))
        queued = asyncio.create_task(gate.call(REQUEST))
        await asyncio.sleep(1)
        slow.cancel()
        reply = await queued
        gate.close()
        assert slow.cancelled()
        return gate.progress.in_flight, reply.text, asyncio.get_running_loop().time()

    assert run(main()) == (0, "reply 1", 2.0)


def test_time_in_our_own_queue_is_no_latency():
    backend = Scene(script=(2.0,))

    async def main():
        gate = Door(1, limits(requests_per_minute=12), backend)
        replies = await asyncio.gather(*(gate.call(REQUEST) for _ in range(4)))
        gate.close()
        return replies

    replies = run(main())
    assert [reply.latency for reply in replies] == pytest.approx([2.0] * 4)
    assert len({reply.text for reply in replies}) == 4


def test_a_backends_own_latency_stays():
    reply = et.Reply("x", latency=0.25)
    assert attempts((reply,))[0] == reply


def attempts(script, **options):
    backend = Scene(script=script)
    gate = Door(2, limits(**options), backend)
    try:
        result = run(gate.call(REQUEST))
    except Exception as error:
        result = error
    gate.close()
    return result, backend._calls, gate


def test_passing_faults_are_asked_again_with_growing_pauses():
    fault = errors.Transient("reset")
    result, times, gate = attempts((fault, fault, fault, fault, fault, 0.0), retries=8)
    assert result.text == "reply 5"
    assert gate.progress.retries == 5
    pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
    for pause, longest in zip(pauses, [0.5, 1, 2, 4, 4], strict=True):
        assert longest / 2 <= pause <= longest


def test_retry_after_is_kept_to_also_above_the_longest_wait():
    script = (errors.RateLimited("slow", 30), errors.RateLimited("slow", 0.01), errors.RateLimited("slow"), 0.0)
    _, times, _ = attempts(script)
    pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert pauses[0] == pytest.approx(30)
    assert pauses[1] == pytest.approx(0.01)
    assert 1 <= pauses[2] <= 2


@pytest.mark.parametrize("odd", [math.inf, math.nan, -5.0])
def test_an_odd_retry_after_does_not_stop_the_clock(odd):
    result, times, _ = attempts((errors.RateLimited("slow", odd), 0.0))
    assert result.text == "reply 1"
    assert times[1] <= 0.5


@pytest.mark.parametrize("fault", [errors.Transient("reset"), errors.RateLimited("slow")])
@pytest.mark.parametrize("retries", [0, 2])
def test_exhausted_retries_raise_the_error_itself(fault, retries):
    result, times, _ = attempts((fault,), retries=retries)
    assert result is fault
    assert len(times) == retries + 1


@pytest.mark.parametrize("broken", [errors.BrokenReply("no JSON"), et.Reply(""), et.Reply(" \n")])
def test_broken_and_empty_answers_settle_after_the_last_attempt(broken):
    result, times, _ = attempts((broken,), retries=2)
    assert type(result) is errors.BadReply
    assert str(result).endswith("(3 attempts)")
    assert len(times) == 3
    assert attempts((broken, 0.0), retries=2)[0].text == "reply 1"


@pytest.mark.parametrize(
    "last", [errors.Refused("no"), errors.TooLong("no"), errors.NotAuthorised("no"), KeyError("no")]
)
def test_what_is_final_is_not_asked_again(last):
    result, times, gate = attempts((last,))
    assert result is last
    assert (len(times), gate.progress.in_flight, gate.progress.retries) == (1, 0, 0)


@pytest.mark.parametrize("nonsense", [None, "text", et.Reply(None), et.Reply(b"bytes")])
def test_what_is_no_reply_is_the_backends_fault(nonsense):
    result, _, _ = attempts((nonsense,))
    assert isinstance(result, errors.PluginError)
    assert str(result).startswith(("backend 'scene' returned no Reply", "backend 'scene' gave a Reply whose text"))


def test_limits_refuse_what_is_no_limit():
    for wrong in ({"requests_per_minute": 0}, {"retries": -1}, {"retries": True}, {"first_wait": math.inf},
                  {"longest_wait": "3"}, {"speed": 1}):  # fmt: skip
        with pytest.raises(ValidationError):
            Limits.model_validate(wrong)
