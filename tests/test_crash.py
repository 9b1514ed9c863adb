"""kill -9 at any moment loses at most the calls in flight."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from experiment import dataset_bytes, go, write_seeds

SEEDS = 60
CONCURRENCY = 8
DRIVER = Path(__file__).parent / "experiment.py"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted run: its seeds, its bytes, its number of calls."""
    folder = tmp_path_factory.mktemp("whole")
    seeds = write_seeds(folder, SEEDS)
    result = go(seeds, folder / "run")
    return seeds, dataset_bytes(folder / "run"), result.calls


def start(seeds, out, log):
    command = [sys.executable, str(DRIVER), str(seeds), str(out), "0.02"]
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
    pick = random.Random(7)
    kills = 0
    for attempt in range(10):  # on a busy machine a run may be over before it was killed as often as was meant
        kills += kill_until_it_ends(whole, tmp_path / f"{attempt}", pick)
        if kills >= 5:
            break
    assert kills >= 5


def kill_until_it_ends(whole, folder, pick):
    """Kill a run at random points until it has ended, check what it left, and return how often it was killed."""
    folder.mkdir()
    seeds, expected, calls = whole
    out, log = folder / "run", folder / "calls"
    kills = 0
    while True:
        stored, logged = stored_slots(out), len(calls_of(log))
        process = start(seeds, out, log)
        target = logged + pick.randint(1, calls // 6)
        deadline = time.monotonic() + 60
        while process.poll() is None and len(calls_of(log)) < target and time.monotonic() < deadline:
            time.sleep(pick.random() * 0.01)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
        assert not stored & set(calls_of(log)[logged:])
        if process.returncode == 0:
            break
    assert dataset_bytes(out) == expected
    times = Counter(calls_of(log))
    assert len(times) == calls
    assert sum(times.values()) - calls <= kills * CONCURRENCY
    assert len(stored_slots(out)) == calls
    return kills


def test_killed_while_it_starts_the_run_still_starts(whole, tmp_path):
    seeds, expected, _ = whole
    out, log = tmp_path / "run", tmp_path / "calls"
    for pause in (0.2, 0.4, 0.5, 0.6, 0.7):
        process = start(seeds, out, log)
        time.sleep(pause)
        process.kill()
        process.wait()
    process = start(seeds, out, log)
    assert process.wait(timeout=60) == 0
    assert dataset_bytes(out) == expected
