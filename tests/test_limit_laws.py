"""Laws of the limits, in virtual time: windows of tokens, the breaker, what is learned, who shares, who gives up."""

from __future__ import annotations

import asyncio
import itertools
import math
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_limits import REQUEST, Door, Scene, limits, run

import evolteacher as et
from evolteacher import errors
from evolteacher.headers import retry_after
from evolteacher.pace import MARGIN, Window

MANY = settings(deadline=None, max_examples=60)


@MANY
@given(
    st.integers(1, 5000),
    st.sampled_from([1.0, 60.0]),
    st.lists(st.tuples(st.floats(0, 2), st.integers(1, 3000), st.integers(0, 3000)), min_size=1, max_size=60),
)
def test_no_window_ever_holds_more_units_than_its_limit_as_far_as_is_known(most, seconds, steps):
    window, now, left = Window(most, seconds), 0.0, []
    for gap, units, really in steps:
        now += gap
        while (when := window.ready(units, now)) > now:
            now = when
        spent = window.take(units, now)
        left.append(spent)
        assert sum(one.units for one in left if one.at > now - seconds) <= most + 1e-6
        window.correct(spent, really)
        assert spent.units == min(really, most)
    assert len(left) == len(steps)


@pytest.mark.parametrize("name", ["tokens_per_minute", "tokens_per_second", "requests_per_second"])
def test_each_limit_holds_in_every_window_and_is_used_up(name):
    """Prompts of one token and answers of nine: a request is ten tokens; 100 calls at a limit of ten calls a window."""
    seconds = 60.0 if name == "tokens_per_minute" else 1.0
    rate = 10 if name.startswith("requests") else 100
    backend = Scene(script=(et.Reply("x", et.Usage(1, 9)),))
    request = et.Request((et.Message("user", "four"),), et.Sampling(max_tokens=9))

    async def main():
        door = Door(64, limits(**{name: rate}), backend)
        await asyncio.gather(*(door.call(request) for _ in range(100)))
        door.close()

    run(main())
    calls = backend._calls
    assert len(calls) == 100
    for start in calls:
        assert len([time for time in calls if start <= time < start + seconds - 1e-6]) <= 10
    assert calls[-1] <= 10.2 * seconds * MARGIN


def test_what_answers_came_to_takes_the_place_of_what_was_set_aside():
    """Set aside are 1,000 tokens an answer, really it is 9: the limit lets a hundred times as many calls leave."""
    backend = Scene(script=(et.Reply("x", et.Usage(1, 9)),))
    request = et.Request((et.Message("user", "four"),), et.Sampling(max_tokens=1000))

    async def main():
        door = Door(4, limits(tokens_per_minute=2000), backend)
        await asyncio.gather(*(door.call(request) for _ in range(200)))
        door.close()

    run(main())
    assert len(backend._calls) == 200
    assert backend._calls[-1] < 65


class Outage(Scene, name="outage"):
    """Fail until a time; answer from then on."""

    back: float = math.inf

    async def complete(self, request):
        loop = asyncio.get_running_loop()
        self._calls.append(loop.time())
        self._flying += 1
        self._most = max(self._most, self._flying)
        try:
            await asyncio.sleep(1.0)
            if loop.time() < self.back:
                raise errors.Transient("503", unpaid=True)
            return et.Reply("fine")
        finally:
            self._flying -= 1


def outage(back, concurrency=4, calls=8, **options):
    backend = Outage(back=back)
    troubles = []

    async def watch(door):
        while True:
            await asyncio.sleep(0.25)
            troubles.append((asyncio.get_running_loop().time(), dict(door.progress.trouble), backend._flying))

    async def main():
        door = Door(concurrency, limits(retries=10**6, **options), backend)
        watcher = asyncio.create_task(watch(door))
        results = await asyncio.gather(*(door.call(REQUEST) for _ in range(calls)), return_exceptions=True)
        watcher.cancel()
        await asyncio.gather(watcher, return_exceptions=True)
        assert len(asyncio.all_tasks()) == 1
        door.close()
        assert door.progress.in_flight == 0
        return results, dict(door.progress.trouble)

    return *run(main()), backend, troubles


def test_a_provider_that_is_down_is_asked_by_one_call_at_a_time_and_recovers():
    results, trouble, backend, troubles = outage(back=100.0)
    assert [reply.text for reply in results] == ["fine"] * 8
    assert trouble == {}
    began = next(time for time, shown, _ in troubles if shown)
    assert 10 <= began <= 20
    assert "One call at a time" in next(iter(next(shown for _, shown, _ in troubles if shown).values()))
    # Those that left before the pause return within a second; from then on one call is out at most.
    inside = [flying for time, shown, flying in troubles if shown and time > began + 1.25]
    assert len(inside) > 100
    assert max(inside) == 1
    probes = [time for time in backend._calls if began < time < 99]
    assert all(later - earlier >= 1.0 for earlier, later in itertools.pairwise(probes))
    assert [flying for time, _, flying in troubles if time > 100 and flying > 1]


def test_fewer_than_ten_failures_or_shorter_than_ten_seconds_is_no_outage():
    _, _, backend, troubles = outage(back=9.0)
    assert len(backend._calls) > 10 + 8
    assert [shown for _, shown, _ in troubles if shown] == []
    _, _, backend, troubles = outage(back=20.0, concurrency=1, calls=1, first_wait=5.0, longest_wait=5.0)
    assert len(backend._calls) < 10
    assert [shown for _, shown, _ in troubles if shown] == []


def test_a_provider_that_stays_down_stops_the_run_with_what_to_do():
    results, _, backend, _ = outage(back=math.inf, give_up=60.0)
    fatal = [error for error in results if isinstance(error, errors.FatalError)]
    assert fatal
    assert "has answered nothing for" in str(fatal[0])
    assert "The last it said: 503" in str(fatal[0])
    assert "`limits.give_up`" in str(fatal[0])
    first = next(time for time in backend._calls if time >= 60 - 5)
    assert 55 <= first <= 70


class Limited(Scene, name="limited"):
    """Hold a sliding window of a minute and tell nobody but by 429s; bear only so many at once."""

    rate: int = 10**9
    bears: int = 10**9
    takes: float = 0.2

    def model_post_init(self, context):
        super().model_post_init(context)
        self._taken = []
        self._refused = 0
        self._shares = []

    async def complete(self, request):
        now = asyncio.get_running_loop().time()
        self._taken = [time for time in self._taken if time > now - 60]
        if len(self._taken) >= self.rate or self._flying >= self.bears:
            self._refused += 1
            raise errors.RateLimited("429")
        self._taken.append(now)
        self._calls.append(now)
        self._flying += 1
        self._most = max(self._most, self._flying)
        try:
            await asyncio.sleep(self.takes)
            return et.Reply("fine")
        finally:
            self._flying -= 1


def test_a_limit_that_nobody_tells_is_learned_from_refusals():
    backend = Limited(rate=120)

    async def main():
        door = Door(16, limits(retries=1000, longest_wait=60.0), backend)
        replies = await asyncio.gather(*(door.call(REQUEST) for _ in range(1200)))
        door.close()
        return replies

    assert len(run(main())) == 1200
    # Ten windows of 120, of which the first may be a burst.
    assert backend._calls[-1] <= 10 * 60 * 1.1
    assert backend._refused <= 1200 * 0.05


@MANY
@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 12))
def test_concurrency_stays_between_its_bounds_and_only_refusals_cut_it(concurrency, least, bears):
    backend = Limited(bears=bears)
    seen = []

    async def main():
        door = Door(concurrency, limits(retries=1000, least_concurrency=least), backend)
        account = door.gate._account_of["scene"]

        async def call():
            reply = await door.call(REQUEST)
            seen.append(account.allowed)
            return reply

        replies = await asyncio.gather(*(call() for _ in range(100)))
        assert account.allowed <= concurrency
        door.close()
        return replies

    assert len(run(main())) == len(seen) == 100
    assert min(seen) >= min(least, concurrency)
    assert max(seen) <= concurrency
    assert backend._most <= min(concurrency, bears)
    if bears >= concurrency:
        assert set(seen) == {concurrency}


def test_it_is_cut_by_refusals_grows_back_and_other_faults_leave_it_alone():
    def allowed(script):
        backend = Scene(script=script)
        seen = []

        async def main():
            door = Door(8, limits(retries=50), backend)
            account = door.gate._account_of["scene"]

            async def call():
                await door.call(REQUEST)
                seen.append(account.allowed)

            await asyncio.gather(*(call() for _ in range(200)))
            door.close()

        run(main())
        return seen

    slow = (1.0,) * 199
    cut = allowed((*slow[:20], errors.RateLimited("429", 0.5), *slow))
    assert min(cut) < 8
    assert cut[-1] == 8
    assert set(allowed((1.0, 1.0, errors.Transient("500"), errors.BrokenReply("no JSON")))) == {8}


class Keyed(Scene, name="keyed"):
    """Belong to the account that its key names."""

    key: str = ""

    def account(self):
        return self.key


@pytest.mark.parametrize("keys", [("env:A", "env:A"), ("env:A", "env:B")])
def test_roles_that_share_a_key_share_one_limit_and_others_do_not(keys):
    first, second = (Keyed(key=key, script=(0.1,)) for key in keys)

    async def main():
        door = Door(64, limits(requests_per_second=10), first)
        door.gate.register("evolve", first)
        door.gate.register("judge", second)
        calls = [door.gate.call(*role, REQUEST) for role in (("evolve", first), ("judge", second)) for _ in range(50)]
        assert len(await asyncio.gather(*calls)) == 100
        door.close()
        return asyncio.get_running_loop().time()

    took = run(main())
    times = sorted(first._calls + second._calls)
    most = max(len([time for time in times if start <= time < start + 1 - 1e-6]) for start in times)
    assert most == (10 if keys[0] == keys[1] else 20)
    assert took == pytest.approx(10 if keys[0] == keys[1] else 5, abs=0.3)


def test_the_stricter_limit_of_a_shared_key_holds():
    first, second = (Keyed(key="env:A", script=(0.1,)) for _ in range(2))

    async def main():
        rates = {"evolve": {"requests_per_second": 50}, "judge": {"requests_per_second": 5}}
        door = Door(64, limits(backends=rates), Keyed(key="env:other"))
        door.gate.register("evolve", first)
        door.gate.register("judge", second)
        await asyncio.gather(*(door.gate.call("evolve", first, REQUEST) for _ in range(25)))
        door.close()
        return asyncio.get_running_loop().time()

    assert run(main()) == pytest.approx(5, abs=0.3)


@MANY
@given(
    st.lists(
        st.sampled_from([0.5, 3.0, errors.Transient("500"), errors.RateLimited("429", 1.5), errors.Refused("no")]),
        min_size=1, max_size=6,
    ),
    st.lists(st.floats(0, 40), min_size=1, max_size=12),
    st.sampled_from([{}, {"requests_per_minute": 20}, {"tokens_per_second": 3000}]),
)  # fmt: skip
def test_a_call_given_up_at_any_moment_leaves_nothing_taken_and_no_task_behind(script, moments, rates):
    backend = Scene(script=tuple(script))

    async def main():
        door = Door(2, limits(retries=3, **rates), backend)
        tasks = [asyncio.create_task(door.call(REQUEST)) for _ in moments]

        async def cancel(task, moment):
            await asyncio.sleep(moment)
            task.cancel()

        await asyncio.gather(*(cancel(*pair) for pair in zip(tasks, moments, strict=True)))
        await asyncio.gather(*tasks, return_exceptions=True)
        assert len(asyncio.all_tasks()) == 1
        slots, account = door.gate._slots, door.gate._account_of["scene"]
        assert (slots.taken, account._flying, door.progress.in_flight, backend._flying) == (0, 0, 0, 0)
        assert not account._probing
        # Whoever comes next is let out.
        backend._calls.clear()
        object.__setattr__(backend, "script", (0.1,))
        reply = await asyncio.wait_for(door.call(REQUEST), 200)
        door.close()
        return reply

    assert run(main()).text == "reply 0"


@pytest.mark.parametrize("form", ["seconds", "milliseconds", "date"])
def test_a_retry_after_in_any_form_is_waited_for(form):
    headers = {
        "seconds": {"retry-after": "30"},
        "milliseconds": {"retry-after-ms": "30000"},
        "date": {"retry-after": format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)},
    }
    backend = Scene(script=(errors.RateLimited("429", retry_after(headers[form])), 0.0))

    async def main():
        door = Door(1, limits(), backend)
        await door.call(REQUEST)
        door.close()

    run(main())
    assert backend._calls[1] - backend._calls[0] == pytest.approx(30, abs=2.0 if form == "date" else 1e-6)
