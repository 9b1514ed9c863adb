"""Each fault of docs/faults.md, done by a provider that is a process of its own, over both HTTP backends."""

from __future__ import annotations

import importlib.util
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from experiment import go, write_seeds
from loopback import Provider

from evolteacher import errors

LITELLM = pytest.param(
    "litellm",
    marks=pytest.mark.skipif(
        importlib.util.find_spec("litellm") is None, reason="the extra 'litellm' is not installed"
    ),
)
BACKENDS = ["openai-compatible", LITELLM]
KEY = "sk-loopback-9f3c1d7be2"

AGAIN, LATER, SETTLES, KEPT, STOPS = "again", "again, then pending", "settles", "kept", "stops"

CASES = {
    "429, too many requests": [("429", LATER, "", False)],
    "429 with `insufficient_quota`, 402": [("quota", STOPS, "quota", False)],
    "500, 502, 503, 504, 529": [(status, LATER, "", False) for status in ("500", "502", "503", "504", "529")],
    "no answer in time": [("hang", LATER, "", True)],
    "connection cut halfway": [("cut", LATER, "", True), ("reset", LATER, "", True), ("short-body", LATER, "", True)],
    "body that is not JSON": [("not-json", AGAIN, "bad-reply", True), ("half-json", AGAIN, "bad-reply", True)],
    "JSON without choices": [("no-choices", AGAIN, "bad-reply", True), ("empty-choices", AGAIN, "bad-reply", True)],
    "empty answer": [("empty", AGAIN, "bad-reply", True), ("null-content", AGAIN, "bad-reply", True)],
    "`finish_reason: length`": [("length", KEPT, "truncated", False)],
    "`finish_reason: content_filter`": [("content-filter", SETTLES, "refused", False)],
    "refused by policy (400)": [("policy", SETTLES, "refused", False)],
    "context too long (400)": [("too-long", SETTLES, "too-long", False)],
    "a request that the server takes for wrong (400, 422)": [("400", SETTLES, "bad-reply", False)],
    "redirect": [("redirect", STOPS, "", False)],
    "wrong key (401, 403)": [("401", STOPS, "key", False), ("403", STOPS, "key", False)],
    "unknown model (404)": [("404", STOPS, "loopback", False)],
    "usage missing": [("no-usage", KEPT, "", False), ("null-usage", KEPT, "", False)],
}
"""Row of the table -> faults of the provider, what becomes of the call, a word of that, whether it leaves a charge."""

ELSEWHERE = {"connection refused", "empty answer with `finish_reason: length`"}
"""Rows that have a test of their own."""

FAULTS = [case for cases in CASES.values() for case in cases]


def of(*outcomes):
    found = [pytest.param(*case, id=case[0]) for case in FAULTS if case[1] in outcomes]
    assert found
    return pytest.mark.parametrize(("fault", "outcome", "word", "charged"), found)


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("LOOPBACK_KEY", KEY)


@pytest.fixture
def provider():
    with Provider(key=KEY) as started:
        yield started


@pytest.fixture(params=BACKENDS)
def ask(request, provider, tmp_path):
    """Return what runs three seeds through one round."""
    seeds = write_seeds(tmp_path, 3)
    options = {"api_key": "env:LOOPBACK_KEY", "timeout": 0.6}
    if request.param == "litellm":
        backend = {"litellm": {"model": "openai/loopback", "api_base": provider.url, **options}}
    else:
        backend = {"openai-compatible": {"model": "loopback", "base_url": provider.url, **options}}

    def run(*, retries=2, filters=(), **changes):
        recipe = {
            "rounds": 1,
            "operators": ["harder"],
            "filters": list(filters),
            "backends": {"evolve": backend},
            "concurrency": 1,
            "limits": {"retries": retries, "first_wait": 0.01, "longest_wait": 0.05},
        }
        return go(seeds, tmp_path / "run", **{**recipe, **changes})

    return run


def on_the_last(fault, **more):
    """A rule that hits the evolving call of the third seed alone, after others were answered."""
    return [{"fault": fault, "containing": "task2 needs", **more}]


def charges(folder):
    with closing(sqlite3.connect(folder / "run.db")) as db:
        return [row[0] for row in db.execute("SELECT why FROM charges")]


def asked(provider):
    """Return how often each request was asked, those that were asked more than once."""
    return [row["asked"] for row in provider.requests() if row["asked"] > 1]


@of(AGAIN, LATER)
def test_a_passing_fault_is_asked_again_and_leaves_no_trace(fault, outcome, word, charged, provider, ask, tmp_path):
    provider.configure(script=on_the_last(fault, first=1))
    result = ask()
    assert (result.pending, result.records, result.calls) == (0, 6, 6)
    assert result.summary.rejected == {}
    assert asked(provider) == [2]
    assert len(charges(tmp_path / "run")) == charged


@of(LATER)
def test_where_it_does_not_pass_the_lineage_is_pending_and_is_asked_again(
    fault, outcome, word, charged, provider, ask, tmp_path
):
    provider.configure(script=on_the_last(fault))
    first = ask(retries=1)
    assert (first.pending, first.records, first.summary.rejected) == (1, 5, {})
    assert first.reason
    provider.configure(script=[])
    second = ask()
    assert (second.pending, second.records, second.calls) == (0, 6, 2)


@of(AGAIN)
def test_a_body_that_stays_broken_settles_and_is_not_asked_again(
    fault, outcome, word, charged, provider, ask, tmp_path
):
    provider.configure(script=on_the_last(fault))
    first = ask(retries=1)
    assert (first.pending, first.records) == (0, 5)
    assert first.summary.filters == {("evolve", word): 1}
    assert asked(provider) == [2]
    assert len(charges(tmp_path / "run")) == 2
    provider.configure(script=[])
    assert ask().calls == 0


@of(SETTLES)
def test_a_last_word_settles_and_is_not_asked_again(fault, outcome, word, charged, provider, ask, tmp_path):
    provider.configure(script=on_the_last(fault))
    first = ask()
    assert (first.pending, first.records) == (0, 5)
    assert first.summary.filters == {("evolve", word): 1}
    assert asked(provider) == []
    assert charges(tmp_path / "run") == []
    provider.configure(script=[])
    assert ask().calls == 0


@of(KEPT)
def test_an_odd_answer_is_an_answer(fault, outcome, word, charged, provider, ask, tmp_path):
    provider.configure(script=on_the_last(fault))
    result = ask(filters=[word] if word else [])
    assert result.pending == 0
    assert result.summary.filters == ({("instruction", word): 1} if word else {})
    assert asked(provider) == []
    assert charges(tmp_path / "run") == []


@of(STOPS)
def test_what_nothing_can_follow_stops_the_run_and_it_goes_on_once_mended(
    fault, outcome, word, charged, provider, ask, tmp_path
):
    provider.configure(script=on_the_last(fault))
    with pytest.raises(errors.FatalError) as caught:
        ask()
    assert word in str(caught.value)
    assert KEY not in str(caught.value)
    assert asked(provider) == []
    assert charges(tmp_path / "run") in ([], ["given up before the answer came"])
    provider.configure(script=[])
    assert ask().records == 6


def test_a_wrong_request_before_any_answer_stops_the_run(provider, ask):
    provider.configure(script=[{"fault": "400"}])
    with pytest.raises(errors.FatalError):
        ask()
    provider.configure(script=[])
    assert ask().records == 6


def test_a_refused_connection_is_asked_again(provider, ask, tmp_path):
    provider.configure(script=on_the_last("500", first=1))
    provider.stop_listening(0.3)
    result = ask(retries=60, limits={"retries": 60, "first_wait": 0.05, "longest_wait": 0.05})
    assert (result.pending, result.records) == (0, 6)
    assert charges(tmp_path / "run") == []


def test_an_answer_that_reasoning_used_up_settles_at_its_tokens(provider, ask, tmp_path):
    provider.configure(answer="", script=[{"fault": "length"}])
    result = ask()
    assert (result.pending, result.summary.filters) == (0, {("evolve", "bad-reply"): 3})
    assert asked(provider) == []
    assert charges(tmp_path / "run") == []
    assert ask().calls == 0


def test_the_table_has_the_rows_that_are_tested():
    page = (Path(__file__).parents[1] / "docs" / "faults.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (.+?) \| .+ \| .+ \|$", page, re.MULTILINE)
    rows = [row for row in rows if row not in ("fault", "---")]
    rows = [row for row in rows if not row.startswith("---")]
    assert len(rows) == len(set(rows)) == 19
    assert set(rows) == CASES.keys() | ELSEWHERE
    assert len(FAULTS) == len({fault for fault, *_ in FAULTS}) == 28
