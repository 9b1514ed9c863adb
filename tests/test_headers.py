"""What the headers of an answer tell about a provider's limits."""

import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

import evolteacher as et

NAMES = [
    "retry-after",
    "retry-after-ms",
    *[
        name
        for kind in ("requests", "tokens", "input-tokens", "output-tokens")
        for part in ("limit", "remaining", "reset")
        for name in (f"x-ratelimit-{part}-{kind}", f"anthropic-ratelimit-{kind}-{part}")
    ],
]


def date(seconds):
    return datetime.now(UTC) + timedelta(seconds=seconds)


class TestRetryAfter:
    @pytest.mark.parametrize(
        ("headers", "seconds"),
        [
            ({}, None),
            ({"retry-after": "7"}, 7),
            ({"retry-after": " 7 "}, 7),
            ({"retry-after": "0"}, 0),
            ({"retry-after": "2.5"}, 2.5),
            ({"retry-after": "86400"}, 86400),
            ({"retry-after-ms": "350"}, 0.35),
            ({"retry-after-ms": "350", "retry-after": "1"}, 0.35),
            ({"retry-after-ms": "soon", "retry-after": "1"}, 1),
            ({"retry-after": ""}, None),
            ({"retry-after": "soon"}, None),
            ({"retry-after": "-5"}, None),
            ({"retry-after": "1e3"}, None),
            ({"retry-after": "inf"}, None),
            ({"retry-after": "nan"}, None),
            ({"retry-after": "\u0663"}, None),  # a digit, but no ASCII one
            ({"retry-after": "9" * 400}, None),
            ({"retry-after": "Wed, 99 Foo 2025 07:28:00 GMT"}, None),
            ({"retry-after": "Wed, 21 Oct 99999 07:28:00 GMT"}, None),
        ],
    )
    def test_seconds(self, headers, seconds):
        assert et.retry_after(headers) == seconds

    @pytest.mark.parametrize("zone", ["GMT", "+0000", "-0000"])
    def test_a_date(self, zone):
        """As RFC 9110 writes it; a date that does not say its zone is UTC."""
        text = format_datetime(date(30), usegmt=True).replace("GMT", zone)
        assert 28 <= et.retry_after({"retry-after": text}) <= 30

    def test_a_date_that_is_past(self):
        assert et.retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0

    def test_names_in_any_case(self):
        assert et.retry_after(CIMultiDict({"Retry-After": "7"})) == 7


class TestRateLimits:
    def test_none_is_told(self):
        assert et.rate_limits({}) is None
        assert et.rate_limits({"content-type": "application/json", "x-request-id": "1"}) is None

    def test_openai(self):
        headers = {
            "x-ratelimit-limit-requests": "500",
            "x-ratelimit-remaining-requests": "499",
            "x-ratelimit-reset-requests": "120ms",
            "x-ratelimit-limit-tokens": "30000",
            "x-ratelimit-remaining-tokens": "29977",
            "x-ratelimit-reset-tokens": "46ms",
        }
        assert et.rate_limits(headers) == et.RateLimits(500, 30000)
        assert et.rate_limits(CIMultiDict({name.title(): text for name, text in headers.items()})) == et.RateLimits(
            500, 30000
        )

    def test_anthropic(self):
        """Input and output are limited apart; the smaller is the figure for both."""
        soon = date(20).strftime("%Y-%m-%dT%H:%M:%SZ")
        headers = {
            "anthropic-ratelimit-requests-limit": "1000",
            "anthropic-ratelimit-requests-reset": soon,
            "anthropic-ratelimit-tokens-limit": "90000",
            "anthropic-ratelimit-tokens-reset": soon,
            "anthropic-ratelimit-input-tokens-limit": "80000",
            "anthropic-ratelimit-output-tokens-limit": "16000",
        }
        assert et.rate_limits(headers) == et.RateLimits(1000, 16000)

    def test_groq_counts_requests_by_the_day(self):
        headers = {
            "x-ratelimit-limit-requests": "14400",
            "x-ratelimit-reset-requests": "2h59m.56s",
            "x-ratelimit-limit-tokens": "6000",
            "x-ratelimit-reset-tokens": "7.66s",
        }
        for reset in ("2h52m12s", "1d", "23h59m59.99s", "1m26.4s", "86400"):
            assert et.rate_limits(headers | {"x-ratelimit-reset-requests": reset}) == et.RateLimits(None, 6000), reset

    @pytest.mark.parametrize(
        "reset", ["1s", "59.9s", "60s", "1m", "1m0s", "1m5s", "120ms", "0s", "0", "60", "soon", "", None]
    )
    def test_a_minute_or_less_is_a_figure(self, reset):
        """Also where the reset says nothing that can be read."""
        headers = {"x-ratelimit-limit-requests": "60"} | (
            {} if reset is None else {"x-ratelimit-reset-requests": reset}
        )
        assert et.rate_limits(headers) == et.RateLimits(60)

    @pytest.mark.parametrize("text", ["0", "-1", "many", "", "1e6", "inf", "500, 500;w=60", "9" * 400, "\u0663"])
    def test_what_is_no_limit(self, text):
        assert et.rate_limits({"x-ratelimit-limit-requests": text, "x-ratelimit-limit-tokens": text}) is None

    def test_one_dialect_does_for_the_other(self):
        headers = {"x-ratelimit-limit-requests": "0", "anthropic-ratelimit-requests-limit": "50"}
        assert et.rate_limits(headers) == et.RateLimits(50)


@given(
    st.dictionaries(
        st.sampled_from(NAMES),
        st.text(max_size=40)
        | st.sampled_from(["1e999", "0001-01-01", "9999-12-31T23:59:59+23:59", "0001-01-01T00:00:00", "1m", "24:00:00"])
        | st.from_regex(r"[0-9a-zA-Z:, .+-]{0,40}", fullmatch=True)
        | st.datetimes().map(lambda when: format_datetime(when)),
    )
)
def test_whatever_stands_there_raises_nothing_and_is_no_nonsense(headers):
    limits, wait = et.rate_limits(headers), et.retry_after(headers)
    assert wait is None or 0 <= wait < float("inf")
    if limits is not None:
        figures = [figure for figure in (limits.requests_per_minute, limits.tokens_per_minute) if figure is not None]
        assert figures
        assert all(0 < figure < float("inf") for figure in figures)


@pytest.mark.alone
def test_headers_that_tell_nothing_cost_next_to_nothing():
    """Every answer of a server without limits is looked at: far less than a call's own time."""
    headers = CIMultiDict({"Content-Type": "application/json", "Content-Length": "512", "Server": "uvicorn"})
    times = []
    for _ in range(20):
        started = time.perf_counter()
        for _ in range(100):
            et.rate_limits(headers)
        times.append((time.perf_counter() - started) / 100)
    assert min(times) < 50e-6
