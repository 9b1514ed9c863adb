"""The provider's limits: their law, and what it says about them."""

import copy
import re
import time
from email.utils import parsedate_to_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopback import Provider
from loopback.asking import ask
from loopback.limiter import Bucket, SlidingWindow, go_duration

STEPS = st.lists(st.tuples(st.floats(0, 3), st.integers(1, 4)), min_size=1, max_size=60)


@given(steps=STEPS, size=st.integers(4, 12))
def test_a_sliding_window_never_holds_more_and_never_refuses_what_fits(steps, size):
    limit, now, taken = SlidingWindow(size, 5.0), 0.0, []
    for pause, amount in steps:
        now += pause
        inside = sum(n for moment, n in taken if moment + 5.0 > now)
        wait = limit.wait(now, amount)
        assert (wait == 0) == (inside + amount <= size)
        assert limit.remaining(now) == size - inside
        if wait:
            assert copy.deepcopy(limit).wait(now + wait + 1e-9, amount) == 0, "who waits as long as told is let in"
            assert copy.deepcopy(limit).wait(now + wait - 1e-9, amount) > 0, "and not before"
        else:
            limit.take(now, amount)
            taken.append((now, amount))
    assert limit.remaining(now + limit.reset(now) + 1e-9) == size


@given(steps=STEPS, size=st.integers(4, 12), burst=st.integers(4, 8))
def test_a_bucket_lets_in_its_burst_and_what_flows_in(steps, size, burst):
    limit, now, let_in = Bucket(size, 5.0, burst), 0.0, 0
    for pause, amount in steps:
        now += pause
        if wait := limit.wait(now, amount):
            assert limit.wait(now + wait + 1e-6, amount) == pytest.approx(0, abs=1e-9)
            now += wait + 1e-6
        limit.take(now, amount)
        let_in += amount
        assert let_in <= burst + now * size / 5.0 + 1e-6
    assert SlidingWindow(4, 1.0).wait(0.0, 5) == Bucket(4, 1.0, 4).wait(0.0, 5) == float("inf")


@given(st.floats(0, 20_000))
def test_durations_are_written_as_go_does(seconds):
    text = go_duration(seconds)
    match = re.fullmatch(r"(?:(\d+)ms|(?:(?:(\d+)h)?(\d+)m)?(\d+(?:\.\d{1,3})?)s)", text)
    assert match, text
    thousandths, hours, minutes, rest = (float(group or 0) for group in match.groups())
    assert 0 <= hours * 3600 + minutes * 60 + rest + thousandths / 1000 - seconds <= 0.001 + 1e-6
    assert rest < 60 and minutes < 60


def test_known_durations():
    known = {0.12: "120ms", 59: "59s", 62: "1m2s", 7203: "2h0m3s", 8.64: "8.64s", 360: "6m0s", 0: "0ms"}
    assert {seconds: go_duration(seconds) for seconds in known} == known


def test_over_the_limit_and_in_again():
    with Provider(requests_per_minute=5, window=1.0, tell=True) as provider:
        seen = [ask(provider, f"task {number}") for number in range(7)]
        assert [one.status for one in seen] == [200] * 5 + [429] * 2
        assert [one.headers["x-ratelimit-remaining-requests"] for one in seen] == ["4", "3", "2", "1", "0", "0", "0"]
        assert {one.headers["x-ratelimit-limit-requests"] for one in seen} == {"5"}
        assert re.fullmatch(r"\d+ms|1s", seen[0].headers["x-ratelimit-reset-requests"])
        last = seen[-1]
        assert last.headers["retry-after"] == "1" and last.error["code"] == "rate_limit_exceeded"
        time.sleep(1)
        assert ask(provider, "task 8").status == 200
        counters = provider.counters()
    assert counters["outcomes"] == {"ok": 6, "limited": 2}
    assert counters["accepted"] == 6 and counters["accepted_by_window"] == counters["accepted_by_second"] == [5, 1]


@pytest.mark.parametrize("form", ["seconds", "date", "milliseconds", "none"])
@pytest.mark.parametrize("by", ["limit", "fault"])
def test_a_429_says_when_to_come_back_as_told(form, by):
    options = {"requests_per_minute": 1} if by == "limit" else {"faults": {"429": 1.0}, "fault_retry_after": 60}
    with Provider(retry_after=form, **options) as provider:
        ask(provider, "one")
        answer = ask(provider, "two")
    assert answer.status == 429 and not [name for name in answer.headers if name.startswith("x-ratelimit")]
    after, milliseconds = answer.headers.get("retry-after"), answer.headers.get("retry-after-ms")
    if form == "seconds":
        assert 59 <= int(after) <= 60
    elif form == "date":
        assert 58 <= parsedate_to_datetime(after).timestamp() - time.time() <= 62
    elif form == "milliseconds":
        assert 59_000 < int(milliseconds) <= 60_000
    assert (after is None, milliseconds is None) == (form not in ("seconds", "date"), form != "milliseconds")


def test_tokens_are_limited_too():
    with Provider(tokens_per_minute=300, tell=True) as provider:
        first = ask(provider, "hi", max_tokens=200)
        assert first.status == 200 and first.headers["x-ratelimit-remaining-tokens"] == "96"
        second = ask(provider, "hi", max_tokens=200)
        assert second.status == 429 and int(second.headers["retry-after"]) in (59, 60)
        never = ask(provider, "hi", max_tokens=400)
        assert never.status == 429 and "retry-after" not in never.headers and "too large" in never.error["message"]
        provider.configure(tokens_counted="used")
        third = ask(provider, "hi", max_tokens=400)
        assert third.status == 200
        used = third.json["usage"]["total_tokens"]
        assert third.headers["x-ratelimit-remaining-tokens"] == str(96 - used)


def test_a_refused_request_takes_nothing():
    with Provider(requests_per_minute=3, tokens_per_minute=20, tell=True) as provider:
        assert [ask(provider, "hi", max_tokens=10).status for _ in range(4)] == [200, 429, 429, 429]
        provider.configure(tokens_per_minute=None)
        assert [ask(provider, "hi").status for _ in range(3)] == [200, 200, 429]


def test_a_bucket_on_the_wire():
    with Provider(requests_per_minute=2, window=1.0, limiter="bucket", burst=3, retry_after="milliseconds") as provider:
        seen = [ask(provider, f"{number}") for number in range(4)]
        assert [one.status for one in seen] == [200, 200, 200, 429]
        wait = int(seen[3].headers["retry-after-ms"])
        assert 0 < wait <= 500
        time.sleep(wait / 1000)
        assert [ask(provider, "again").status for _ in range(2)] == [200, 429]


def test_a_limit_that_changes_remembers_what_it_let_in():
    with Provider(requests_per_minute=2) as provider:
        assert [ask(provider, f"{number}").status for number in range(3)] == [200, 200, 429]
        provider.configure(requests_per_minute=4)
        assert [ask(provider, f"{number}").status for number in range(3)] == [200, 200, 429]
        provider.configure(requests_per_minute=None)
        assert ask(provider, "free").status == 200
