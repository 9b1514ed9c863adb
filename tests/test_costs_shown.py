"""What a run cost is told by ``show`` and by the card: in all, by round, what is unknown, and what a fork took over."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from experiment import go, recipe, write_seeds

from evolteacher.cli.summary import show_result
from evolteacher.database import DATABASE
from evolteacher.history import summarise
from evolteacher.ledger import Ledger
from evolteacher.money import paid
from evolteacher.store import Store

PRICES = {"evolve": {"input": 10.0, "output": 30.0}}
TIMED_OUT = {"logged": {"rules": [{"share": 0.2, "times": 1, "error": "transient", "reply": "timed out"}]}}


def shown(folder, command="show"):
    command = [str(Path(sys.executable).with_name("evolteacher")), command, str(folder)]
    done = subprocess.run(command, env={**os.environ, "COLUMNS": "200"}, capture_output=True, text=True, check=True)
    return done.stdout


def test_costs_in_all_by_round_unknown_and_forked(tmp_path):
    seeds = write_seeds(tmp_path, 12)
    go(seeds, tmp_path / "run", prices=PRICES, backends={"evolve": TIMED_OUT})
    with Store(tmp_path / "run" / DATABASE, read_only=True) as store:
        summary = summarise(store)
    assert sorted(summary.round_costs) == [1, 2, 3]
    assert sum(summary.round_costs.values()) == pytest.approx(summary.cost)
    assert summary.unknown > 0
    assert summary.unknown_cost > 0
    out = shown(tmp_path / "run")
    assert f"${summary.cost:,.4f} (round 1 ${summary.round_costs[1]:,.4f}, round 2" in out
    assert f"{summary.unknown} calls without a reply may have been billed, ${summary.unknown_cost:,.4f}" in out
    assert f"The calls cost ${summary.cost:,.4f}." in (tmp_path / "run" / "README.md").read_text()
    go(seeds, tmp_path / "new", prices=PRICES, backends={"evolve": TIMED_OUT}, fork=tmp_path / "run")
    assert f"which paid ${summary.cost:,.4f} for them" in shown(tmp_path / "new")


def test_a_run_from_before_there_were_charges_is_shown(tmp_path):
    seeds = write_seeds(tmp_path, 3)
    go(seeds, tmp_path / "run", prices=PRICES)
    with closing(sqlite3.connect(tmp_path / "run" / DATABASE)) as database:
        database.execute("DROP TABLE charges")
    before = (tmp_path / "run" / DATABASE).read_bytes()
    assert "test: 3 rows, finished" in shown(tmp_path / "run")
    with Store(tmp_path / "run" / DATABASE, read_only=True) as store:
        summary = summarise(store)
        assert (summary.unknown, summary.unknown_cost) == (0, 0.0)
        assert Ledger(store).paid({})[0] == pytest.approx(summary.cost) and summary.cost > 0
    assert (tmp_path / "run" / DATABASE).read_bytes() == before


def test_what_costs_nothing_is_not_said_to_be_paid(tmp_path, capfd):
    """A local model has a price, which is none: no command, card or summary speaks of money."""
    free = {"evolve": {"input": 0.0, "output": 0.0}}
    seeds = write_seeds(tmp_path, 3)
    result = go(seeds, tmp_path / "run", prices=free)
    assert result.summary.cost == 0.0
    capfd.readouterr()
    show_result(result, recipe(seeds, prices=free))
    go(seeds, tmp_path / "new", prices=free, fork=tmp_path / "run")
    texts = [capfd.readouterr().out, (tmp_path / "run" / "README.md").read_text()]
    texts += [shown(tmp_path / name, command) for name in ("run", "new") for command in ("show", "stats")]
    assert len(texts) == 6
    assert [text for text in texts if re.search(r"\$\d|paid|The calls cost", text)] == []


def test_very_little_is_not_said_to_be_nothing():
    assert [paid(dollars) for dollars in (None, 0.0, 1e-9, 0.00004, 0.00005, 0.25, 1234.5)] == [
        "", "", "less than $0.0001", "less than $0.0001", "$0.0001", "$0.2500", "$1,234.5000",
    ]  # fmt: skip
