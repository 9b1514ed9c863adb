"""evolteacher watch: a run in another process, seen until it ends, is killed, or has ended already."""

import json
import signal
import sqlite3
import subprocess
import time
from contextlib import closing

import pytest
from commands import RECIPE, SCRIPT, read_terminal

SLOW = RECIPE.replace("scripted}", "{scripted: {latency: 0.3}}}\nconcurrency: 1")


def hearing():
    """Let a process hear Ctrl-C: what runs in a shell's background is started deaf to it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def change(path, **values):
    """Change what the last heartbeat says."""
    with closing(sqlite3.connect(path)) as db, db:
        beat = json.loads(db.execute("SELECT value FROM meta WHERE key = 'heartbeat'").fetchone()[0])
        db.execute("UPDATE meta SET value = ? WHERE key = 'heartbeat'", (json.dumps({**beat, **values}),))


@pytest.fixture
def running(folder):
    """A run in a process of its own, once it beats; ended with the test."""
    yield from beating(folder, SLOW)


@pytest.fixture
def endless(folder):
    """One that goes on for minutes."""
    yield from beating(folder, SLOW.replace("0.3", "20"))


def beating(folder, recipe):
    (folder / "recipe.yaml").write_text(recipe)
    process = subprocess.Popen([SCRIPT, "run", "recipe.yaml", "--out", "out"], stdout=-3, stderr=-3)
    for _ in range(200):
        time.sleep(0.1)
        if (folder / "out/dataset.json").exists() or subprocess.run(
            [SCRIPT, "watch", "out", "--once"], capture_output=True
        ).stdout.startswith(b"running"):
            break
    yield process
    process.kill()
    process.wait()


def test_a_run_is_watched_to_its_end(running, script):
    result = script("watch", "out")
    assert result.code == 0, result.err
    assert "the run finished" in result.err and "12 rows, all lineages finished" in result.err
    assert "lineages 4/4" in result.err
    assert running.wait(30) == 0


def test_who_watches_first_may_wait_for_a_run_to_begin_or_to_go_on(folder, cli):
    for again in range(2):
        watching = subprocess.Popen([SCRIPT, "watch", "out", "--wait"], stderr=-1, text=True)
        try:
            assert "out: no run goes on here yet; waiting for one" in watching.stderr.readline()
            time.sleep(1)
            assert watching.poll() is None
            assert cli("run", "recipe.yaml", "--out", "out", "--set", f"concurrency={again + 1}").code == 0
            assert "the run finished" in watching.communicate(timeout=30)[1]
            assert watching.returncode == 0
        finally:
            watching.kill()
            watching.communicate()


def test_ctrl_c_ends_the_watching_only(endless):
    watching = subprocess.Popen([SCRIPT, "watch", "out"], stdout=-1, stderr=-1, text=True, preexec_fn=hearing)
    time.sleep(4)
    watching.send_signal(signal.SIGINT)
    out, err = watching.communicate(timeout=30)
    assert watching.returncode == 130
    assert "Traceback" not in out + err and "error" not in err
    assert endless.poll() is None


def test_a_finished_run_is_said_to_be(cli):
    cli("run", "recipe.yaml", "--out", "out")
    assert "the run finished" in cli("watch", "out").err
    found = json.loads(cli("watch", "out", "--once", "--json").out)
    assert (found["state"], found["lineages"], found["calls"]) == ("finished", 4, 16)
    assert cli("watch", "out", "--once").out.startswith("finished  ")


def test_a_run_that_stopped_before_its_end_is_said_to_have(cli):
    assert cli("run", "recipe.yaml", "--out", "out", "--set", "budget.tokens=900").code == 3
    cli("watch", "out").refused(
        1, "the run stopped", "before its end", "not finished", "the command that began it once more"
    )
    once = cli("watch", "out", "--once", "--json")
    assert (once.code, json.loads(once.out)["state"]) == (1, "stopped")


def test_a_silent_run_is_said_to_be_dead_or_suspended(cli, folder):
    cli("run", "recipe.yaml", "--out", "out")
    change(folder / "out/run.db", state="running", at=time.time() - 60)
    cli("watch", "out").refused(1, "no sign of life for 1:00 min", "died, or is suspended", "the command that began it")
    once = cli("watch", "out", "--once", "--json")
    assert (once.code, json.loads(once.out)["state"]) == (1, "stale")


def test_a_terminal_is_told_that_the_model_of_a_watched_run_is_being_fetched_or_loaded(cli, folder):
    cli("run", "recipe.yaml", "--out", "out")
    change(folder / "out/run.db", state="running", opening=1, calls=0, at=time.time() - 6)
    code, seen, _ = read_terminal(["watch", "out"], folder)
    assert code == 1 and "no sign of life" in seen
    assert "is being fetched or loaded" in seen


def test_bad_heartbeats_and_options_are_refused(cli, folder):
    words = (
        "nowhere: there is no run here",
        "evolteacher run RECIPE --out nowhere`",
        "evolteacher watch nowhere --wait`",
    )
    cli("watch", "nowhere").refused(2, *words)
    cli("watch", "nowhere", "--once", "--wait").refused(2, "do not go together")
    cli("run", "recipe.yaml", "--out", "out")
    cli("watch", "out", "--json").refused(2, "--json goes with --once")
    change(folder / "out/run.db", trouble={"a": "\x1b[31m\u202e"}, filters={"\x1b[2J": 3})
    assert "\x1b" not in cli("watch", "out", "--once").out
    for bad in ({"at": "soon"}, {"kept": 3}, {"kept": {"x": 1}}, {"seconds": None}):
        change(folder / "out/run.db", kept={}, seconds=1, at=1)
        change(folder / "out/run.db", **bad)
        cli("watch", "out").refused(1, "heartbeat cannot be read")


def test_a_run_of_before_heartbeats_is_told_by_its_sums(cli, folder):
    cli("run", "recipe.yaml", "--out", "out")
    with closing(sqlite3.connect(folder / "out/run.db")) as db, db:
        db.execute("DELETE FROM meta WHERE key = 'heartbeat'")
    cli("watch", "out").refused(1, "no heartbeat", "12 rows, all lineages finished")
