"""kill -9 at any moment loses at most the calls in flight."""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest
from experiment import dataset_bytes, write_seeds

SEEDS = 60
CONCURRENCY = 8
DRIVER = Path(__file__).parent / "experiment.py"

JUDGED = {
    "filters": [
        "shaky",
        {"difficulty": {"least": 4, "on": ["instruction", "seeds"]}},
        {"quality": {"least": 3}},
        {"deita-complexity": {"least": 2, "on_unreadable": "reject"}},
    ],
    "rules": [
        {"step": "filter:difficulty", "share": 0.7, "reply": [f"Score: {n}" for n in range(3, 10)]},
        {"step": "filter:quality", "share": 0.7, "reply": [f"Score: {n}" for n in range(1, 10)]},
        *(
            {
                "contains": f"Your {versions} lines",
                "share": 0.7,
                "reply": ["\n".join(f"[{n}] Score: {1 + (n + least) % 5}" for n in range(1, versions + 1))
                          for least in range(5)],
            }
            for versions in range(1, 5)
        ),
        {"step": "filter", "reply": "That is hard to say."},
    ],
}  # fmt: skip
"""A judge at every place that there is, whose verdicts are asked for a second time in three cases of ten."""

JUDGES = ("difficulty", "quality", "deita-complexity")


class Whole(NamedTuple):
    """An uninterrupted run: its seeds, what differs from the usual recipe, and what came of it."""

    seeds: Path
    changes: dict
    dataset: dict
    verdicts: list
    calls: int


def whole_run(folder, count, changes):
    seeds = write_seeds(folder, count)
    process = start(seeds, folder / "run", folder / "calls", changes, 0)
    assert process.wait(timeout=120) == 0
    calls = calls_of(folder / "calls")
    assert len(calls) == len(set(calls)) == len(stored_slots(folder / "run"))
    return Whole(seeds, changes, dataset_bytes(folder / "run"), verdicts(folder / "run"), len(calls))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return whole_run(tmp_path_factory.mktemp("whole"), SEEDS, {})


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    return whole_run(tmp_path_factory.mktemp("judged"), SEEDS // 2, JUDGED)


def verdicts(out):
    """Return every step's verdict and scores."""
    with sqlite3.connect(out / "run.db") as db:
        return db.execute("SELECT ord, round, filter, reason, stage, scores FROM steps ORDER BY ord, round").fetchall()


def start(seeds, out, log, changes, latency=0.02):
    command = [sys.executable, str(DRIVER), str(seeds), str(out), str(latency), json.dumps(changes)]
    return subprocess.Popen(command, env={**os.environ, "CALL_LOG": str(log)}, stdout=subprocess.DEVNULL)


def stored_slots(out):
    if not (out / "run.db").exists():
        return set()
    with sqlite3.connect(out / "run.db") as db:
        try:
            rows = db.execute("SELECT lower(hex(lineage)), round, step, nth FROM replies").fetchall()
        except sqlite3.OperationalError:
            return set()
    return {f"{lineage}/{round}/{step}/{nth}" for lineage, round, step, nth in rows}


def calls_of(log):
    return log.read_text().splitlines() if log.exists() else []


def test_killed_at_random_points_the_run_ends_the_same_and_asks_no_stored_reply_again(whole, tmp_path):
    assert len(kill_again_and_again(whole, tmp_path, 5, whole.calls // 6)) >= 5


def test_killed_among_its_judgements_the_run_ends_the_same_and_asks_for_no_verdict_again(judged, tmp_path):
    rejecting = Counter(row[2] for row in judged.verdicts)
    assert {"shaky", "difficulty", "quality", "deita-complexity"} <= set(rejecting)  # each judge decides something
    stored = kill_again_and_again(judged, tmp_path, 3, judged.calls // 2)
    asked = {judge: max(sum(f"/filter:{judge}" in slot for slot in slots) for slots in stored) for judge in JUDGES}
    assert all(asked.values()), asked  # a kill came after verdicts of each
    assert any(slot.rpartition("/")[2] == "1" and "/filter:" in slot for slots in stored for slot in slots)


def kill_again_and_again(whole, folder, least, most):
    """Kill runs after `most` new calls or fewer, until there were so many kills; return the slots stored at each."""
    pick = random.Random(7)
    left = []
    for attempt in range(10):  # on a busy machine a run may be over before it was killed as often as was meant
        left += kill_until_it_ends(whole, folder / f"{attempt}", pick, most)
        if len(left) >= least:
            break
    assert len(left) >= least
    return left


def kill_until_it_ends(whole, folder, pick, most):
    """Kill a run at random points until it has ended, check what it left, and return the slots stored at each kill."""
    folder.mkdir()
    out, log = folder / "run", folder / "calls"
    left = []
    while True:
        stored, logged = stored_slots(out), len(calls_of(log))
        process = start(whole.seeds, out, log, whole.changes)
        target = logged + pick.randint(1, most)
        deadline = time.monotonic() + 60
        while process.poll() is None and len(calls_of(log)) < target and time.monotonic() < deadline:
            time.sleep(pick.random() * 0.01)
        process.send_signal(signal.SIGKILL)
        if process.wait() == -signal.SIGKILL:
            left.append(stored_slots(out))
        assert not stored & set(calls_of(log)[logged:])
        if process.returncode == 0:
            break
    assert dataset_bytes(out) == whole.dataset
    assert verdicts(out) == whole.verdicts
    times = Counter(calls_of(log))
    assert len(times) == whole.calls
    assert sum(times.values()) - whole.calls <= len(left) * CONCURRENCY
    assert len(stored_slots(out)) == whole.calls
    return left


def test_killed_while_it_starts_the_run_still_starts(whole, tmp_path):
    out, log = tmp_path / "run", tmp_path / "calls"
    for pause in (0.2, 0.4, 0.5, 0.6, 0.7):
        process = start(whole.seeds, out, log, whole.changes)
        time.sleep(pause)
        process.kill()
        process.wait()
    process = start(whole.seeds, out, log, whole.changes)
    assert process.wait(timeout=60) == 0
    assert dataset_bytes(out) == whole.dataset
