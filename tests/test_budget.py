"""A budget is never overspent, counts all that a folder ever paid, and what it stops goes on later."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from experiment import dataset_bytes, go, write_seeds

import evolteacher as et
from evolteacher.errors import RecipeError
from evolteacher.progress import Progress

PRICES = {"evolve": {"input": 10.0, "output": 30.0}}


@pytest.fixture
def seeds(tmp_path):
    return write_seeds(tmp_path, 20)


def paid(folder):
    """Return dollars and tokens of replies and charges together, and the charges' reasons."""
    db = sqlite3.connect(Path(folder) / "run.db")
    try:
        replies = db.execute("SELECT total(cost), sum(prompt_tokens + completion_tokens) FROM replies").fetchone()
        charges = db.execute("SELECT total(usd), coalesce(sum(tokens), 0) FROM charges").fetchone()
        reasons = [row[0] for row in db.execute("SELECT why FROM charges")]
    finally:
        db.close()
    return replies[0] + charges[0], replies[1] + charges[1], reasons


@pytest.mark.parametrize("budget", [{"usd": 0.07}, {"tokens": 4_000}])
def test_a_run_stops_below_its_budget_and_a_larger_one_finishes_it(budget, seeds, tmp_path):
    options = {"prices": PRICES, "sampling": {"max_tokens": 100}, "concurrency": 1}
    go(seeds, tmp_path / "whole", **options)
    first = go(seeds, tmp_path / "run", budget=budget, **options)
    usd, tokens, reasons = paid(tmp_path / "run")
    assert first.pending == first.summary.pending == 20 - first.summary.lineages > 0
    assert "the budget is spent" in first.budget
    assert 0 < usd <= budget.get("usd", 1e9)
    assert 0 < tokens <= budget.get("tokens", 1e9)
    assert reasons == []
    assert "**Partial.**" in (tmp_path / "run" / "README.md").read_text()
    again = go(seeds, tmp_path / "run", budget=budget, **options)
    assert (again.calls, again.pending > 0) == (0, True)
    ((name, most),) = budget.items()
    assert again.needed[name] > most
    for share, asks in ((0.999, False), (1.001, True)):  # the least budget in which the next call fits
        tried = go(seeds, tmp_path / "run", budget={name: type(most)(again.needed[name] * share)}, **options)
        assert (tried.calls > 0) == asks, share
    last = go(seeds, tmp_path / "run", budget={name: most * 1000 for name, most in budget.items()}, **options)
    assert (last.pending, last.budget, dict(last.needed)) == (0, "", {})
    assert dataset_bytes(tmp_path / "run") == dataset_bytes(tmp_path / "whole")


def test_dollars_are_counted_live_and_by_the_price(seeds, tmp_path):
    progress = Progress()
    result = go(seeds, tmp_path / "run", prices=PRICES, progress=progress)
    usd, _, _ = paid(tmp_path / "run")
    assert result.cost == pytest.approx(usd)
    assert progress.cost == pytest.approx(usd)
    assert result.summary.cost == pytest.approx(usd)


def test_a_budget_that_holds_no_call_says_so_and_asks_nothing(seeds, tmp_path):
    result = go(seeds, tmp_path / "run", prices=PRICES, budget={"usd": 0.001})
    assert result.calls == 0
    assert "the next call could cost $" in result.budget


class Dear(et.Backend, name="dear"):
    """Tell no price."""

    async def complete(self, request):
        return et.Reply("harder")


class Plugin:
    @et.hookimpl
    def register_backends(self):
        return [Dear]


def test_a_budget_in_dollars_needs_a_price(seeds, tmp_path):
    with pytest.raises(RecipeError, match=r"no price is known for the backend 'evolve' \(dear\)"):
        go(seeds, tmp_path / "run", [Plugin()], backends={"evolve": "dear"}, budget={"usd": 1.0})


def test_a_call_that_may_have_been_billed_counts_at_its_worst_case(seeds, tmp_path):
    rules = [{"share": 0.2, "times": 1, "error": "transient", "reply": "timed out"}]
    result = go(seeds, tmp_path / "run", prices=PRICES, backends={"evolve": {"logged": {"rules": rules}}})
    _, _, reasons = paid(tmp_path / "run")
    assert result.pending == 0
    assert set(reasons) == {"timed out"}
    stored = result.summary.cost
    spent = Progress()
    go(seeds, tmp_path / "run", prices=PRICES, budget={"usd": 100.0}, progress=spent,
       backends={"evolve": {"logged": {"rules": rules}}})  # fmt: skip
    assert spent.spent[0] > stored


def test_calls_in_flight_at_a_kill_count_at_their_worst_case(seeds, tmp_path):
    script = (
        "import sys; sys.path.insert(0, sys.argv[3]); from experiment import go\n"
        "go(sys.argv[1], sys.argv[2], budget={'tokens': 10**9}, backends={'evolve': {'logged': {'latency': [1, 1]}}})"
    )
    folder = Path(__file__).parent
    command = [sys.executable, "-c", script, str(seeds), str(tmp_path / "run"), str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while not _in_flight(tmp_path / "run") and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert _in_flight(tmp_path / "run") > 0
    go(seeds, tmp_path / "run", budget={"tokens": 10**9}, backends={"evolve": {"logged": {"latency": [0, 0]}}})
    _, _, reasons = paid(tmp_path / "run")
    assert set(reasons) == {"the process was killed"}


def _in_flight(folder):
    try:
        return paid(folder)[2].count("in flight")
    except (sqlite3.Error, TypeError):
        return 0
