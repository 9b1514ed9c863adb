"""What a component works out without an LLM: stored, replayed, forked and counted as results, never as calls.

Run as a script, it carries out one recipe and kills itself at the piece of work that it is told to.
"""

import asyncio
import os
import signal
import subprocess
import sys
from itertools import count
from pathlib import Path

import pytest
from experiment import catalog, dataset_bytes, go, recipe, write_seeds

import evolteacher as et
from evolteacher.cli.show import _facts
from evolteacher.cli.terminal import emit
from evolteacher.errors import PluginError, Transient
from evolteacher.history import summarise
from evolteacher.rejudging import rejudge
from evolteacher.store import Store

SEEDS = 6
LOG = os.environ.get("WORK_LOG")
KILL_AT = int(os.environ.get("KILL_AT_WORK", "0"))
worked = count(1)


class Weighed(et.ResponseFilter, name="weighed"):
    """Weigh the answer twice at once, the second a little faster, and ask a judge in between."""

    unit: int = 7
    least: int = 2

    async def judge(self, record, ask):
        first, second = await asyncio.gather(
            ask.once({"text": record.response, "unit": self.unit}, lambda: self.weigh(record, 0.002)),
            ask.once({"unit": self.unit + 1, "text": record.response}, lambda: self.weigh(record, 0.0)),
        )
        reply = await ask(f"Weigh {first['weight']} and {second['weight']}")
        weight = sum(f"{first}{second}{reply.text}".encode()) % 10
        return f"{weight} is under {self.least}" if weight < self.least else None

    async def weigh(self, record, pause):
        if KILL_AT and next(worked) == KILL_AT:
            os.kill(os.getpid(), signal.SIGKILL)
        WORK.append(record.id)
        if LOG:
            with open(LOG, "a") as log:
                log.write(f"{record.id} {pause}\n")
        await asyncio.sleep(pause)
        return {"weight": len(record.response) % self.unit, "parts": (1, 2)}


class Odd(et.ResponseFilter, name="odd"):
    """Do what should not be done."""

    what: str

    async def judge(self, record, ask):
        return await getattr(self, self.what)(record, ask)

    async def no_json(self, record, ask):
        await ask.once(record, self.nothing)

    async def no_json_result(self, record, ask):
        await ask.once("what", self.something)

    async def swallow(self, record, ask):
        try:
            await ask.once("what", self.fail)
        except ValueError:
            return None

    async def passing(self, record, ask):
        await ask.once("what", self.transient)

    async def late(self, record, ask):
        WORK.append(asyncio.create_task(self.later(ask)))

    async def later(self, ask):
        await asyncio.sleep(0.05)
        await ask.once("what", self.nothing)

    async def twice(self, record, ask):
        results = await asyncio.gather(*(ask.once("the same", self.number) for _ in range(3)))
        WORK.append(results)

    async def nothing(self):
        return None

    async def something(self):
        return {1, 2}

    async def number(self):
        await asyncio.sleep(0.001)
        WORK.append("number")
        return 7

    async def fail(self):
        raise ValueError("the scales are broken")

    async def transient(self):
        raise Transient("the scales are in use")


class More:
    @et.hookimpl
    def register_filters(self):
        return [Weighed, Odd]


WORK: list = []


def start(seeds, out, /, **changes):
    WORK.clear()
    return go(seeds, out, (More(),), **{"filters": ["weighed"], **changes})


def judge_anew(seeds, out, /, *, dry_run=False, **changes):
    WORK.clear()
    return rejudge(out, recipe=recipe(seeds, (More(),), **changes), dry_run=dry_run, catalog=catalog(More()))


def stored(out, table="results"):
    with Store(Path(out) / "run.db", read_only=True) as store:
        return store.query(f"SELECT * FROM {table} ORDER BY id").fetchall()


@pytest.fixture
def seeds(tmp_path):
    return write_seeds(tmp_path, SEEDS)


def test_a_replay_works_nothing_out_and_gives_the_same(seeds, tmp_path):
    first = start(seeds, tmp_path / "run")
    assert first.results == len(WORK) > SEEDS
    before, rows = dataset_bytes(tmp_path / "run"), stored(tmp_path / "run")
    again = start(seeds, tmp_path / "run")
    assert (again.calls, again.results, again.results_replayed, WORK) == (0, 0, first.results, [])
    assert (dataset_bytes(tmp_path / "run"), stored(tmp_path / "run")) == (before, rows)


def test_results_are_no_calls(seeds, tmp_path, capsys):
    result = start(seeds, tmp_path / "run", prices={"evolve": {"input": 1.0, "output": 2.0}})
    assert result.calls == len(stored(tmp_path / "run", "replies"))
    with Store(tmp_path / "run" / "run.db", read_only=True) as store:
        summary = summarise(store)
    assert sum(calls for calls, _, _ in summary.calls.values()) == result.calls
    assert (summary.results, summary.results_forked) == (result.results, 0)
    emit(_facts(summary))
    shown = " ".join(capsys.readouterr().out.split())
    assert f"{result.results:,} worked out without a model" in shown
    assert f"{result.calls:,} answered by" in shown


def test_a_fork_takes_results_over(seeds, tmp_path):
    first = start(seeds, tmp_path / "run")
    forked = start(seeds, tmp_path / "other", fork=tmp_path / "run", name="other")
    assert (forked.calls, forked.results, forked.results_forked, WORK) == (0, 0, first.results, [])
    assert [row[1:7] for row in stored(tmp_path / "other")] != []
    assert sorted(row[1:7] for row in stored(tmp_path / "other")) == sorted(
        row[1:7] for row in stored(tmp_path / "run")
    )
    assert all(row[-1] for row in stored(tmp_path / "other"))
    assert dataset_bytes(tmp_path / "other") == dataset_bytes(tmp_path / "run")


def test_a_rejudge_takes_results_from_the_store_and_works_out_what_is_missing(seeds, tmp_path):
    start(seeds, tmp_path / "run", filters=[{"weighed": {"least": 1}}])
    replies, results = stored(tmp_path / "run", "replies"), stored(tmp_path / "run")
    moved = judge_anew(seeds, tmp_path / "run", filters=[{"weighed": {"least": 5}}])
    assert (moved.pending, moved.changes.lost > 0, WORK) == (0, True, [])
    other = [{"weighed": {"unit": 11, "least": 0}}]
    judge_anew(seeds, tmp_path / "run", filters=other, dry_run=True)
    assert WORK and stored(tmp_path / "run") == results
    done = judge_anew(seeds, tmp_path / "run", filters=other)
    assert WORK and len(stored(tmp_path / "run")) > len(results)
    assert stored(tmp_path / "run", "replies") == replies
    # What was weighed anew is asked about in other words.
    assert done.reason.startswith("a reply is needed that is not stored: filter:weighed:response")


@pytest.mark.parametrize("point", [1, 8, 21])
def test_killed_while_it_works_it_loses_only_the_work_in_flight(seeds, tmp_path, point):
    whole = start(seeds, tmp_path / "whole")
    expected, log = dataset_bytes(tmp_path / "whole"), tmp_path / "log"
    assert whole.results > 21
    command = [sys.executable, __file__, str(seeds), str(tmp_path / "run")]
    environment = {**os.environ, "WORK_LOG": str(log)}
    killed = subprocess.run(command, env={**environment, "KILL_AT_WORK": str(point)}, timeout=60, check=False)
    assert killed.returncode == -signal.SIGKILL
    kept = len(stored(tmp_path / "run"))
    result = start(seeds, tmp_path / "run")
    assert (result.results, result.results_replayed) == (whole.results - kept, kept)
    assert dataset_bytes(tmp_path / "run") == expected


def test_the_same_what_is_worked_out_once_in_a_step(seeds, tmp_path):
    start(seeds, tmp_path / "run", filters=[{"odd": {"what": "twice"}}], rounds=1)
    assert WORK.count("number") == SEEDS
    assert [made for made in WORK if made != "number"] == [[7, 7, 7]] * SEEDS
    start(seeds, tmp_path / "run", filters=[{"odd": {"what": "twice"}}], rounds=1)
    assert WORK == [[7, 7, 7]] * SEEDS


@pytest.mark.parametrize(
    ("what", "message"),
    [("no_json", "what it is a result of is no JSON"), ("no_json_result", "the result is no JSON"),
     ("swallow", "the scales are broken")],
)  # fmt: skip
def test_what_is_wrong_stops_the_run_whatever_the_plugin_catches(seeds, tmp_path, what, message):
    with pytest.raises(PluginError, match=f"filter 'odd'.*{message}"):
        start(seeds, tmp_path / "run", filters=[{"odd": {"what": what}}])
    assert stored(tmp_path / "run") == []


def test_a_passing_fault_of_the_work_leaves_the_lineage_pending(seeds, tmp_path):
    result = start(seeds, tmp_path / "run", filters=[{"odd": {"what": "passing"}}])
    assert (result.pending, "the scales are in use" in result.reason) == (SEEDS, True)


async def test_a_step_that_has_ended_works_nothing_out(seeds, tmp_path):
    WORK.clear()
    made = recipe(seeds, (More(),), filters=[{"odd": {"what": "late"}}], rounds=1)
    await et.arun(made, tmp_path / "run", catalog=catalog(More()))
    ends = await asyncio.gather(*WORK, return_exceptions=True)
    assert len(ends) == SEEDS
    assert all("once(): the step has ended" in str(end) for end in ends)


if __name__ == "__main__":
    start(sys.argv[1], sys.argv[2])
