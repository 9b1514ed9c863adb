"""Provider batches: each step of a round is one, nothing is submitted twice, and what comes out is the same."""

from __future__ import annotations

import asyncio
import os
import shlex
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from experiment import catalog, dataset_bytes, go, recipe, write_seeds

import evolteacher as et
from evolteacher import errors
from evolteacher.backend import BatchState
from evolteacher.budget import worst_case
from evolteacher.cli import main
from evolteacher.ledger import OUT
from evolteacher.runner import arun
from evolteacher_backends.scripted import Scripted

SERVER: dict[str, dict] = {}
"""What the provider holds; it outlives the run."""


class Batched(Scripted, name="batched"):
    """Answer a batch as scripted answers calls; misbehave as told."""

    trouble: str = et.free("", description="What goes wrong with the first batch.")

    looks: int = et.free(2, description="How often the provider is asked before a batch has ended.")

    def in_batches(self):
        return True

    async def submit(self, requests, tag):
        first = not SERVER
        if self.trouble == "dead":
            os._exit(9)
        batch = f"batch-{len(SERVER)}"
        SERVER[batch] = {"tag": tag, "requests": dict(requests), "looks": 0, "first": first, "by": self.name}
        if first and self.trouble == "killed":
            raise KeyboardInterrupt
        if first and self.trouble == "cut":
            raise errors.Transient("the connection was cut after the batch arrived")
        return batch

    async def find(self, tag):
        return next((name for name, batch in SERVER.items() if batch["tag"] == tag), None)

    async def collect(self, batch):
        held = SERVER[batch]
        held["looks"] += 1
        if held["first"] and self.trouble == "failed":
            return BatchState(True, failed="line 1: no such model")
        if held["looks"] < self.looks:
            return BatchState(False, answered=1)
        results = {}
        for number, (item, request) in enumerate(held["requests"].items()):
            if held["first"] and self.trouble == "expired" and number % 2:
                continue
            if held["first"] and self.trouble == "500" and number % 2:
                results[item] = errors.Transient("500", unpaid=True)
            else:
                results[item] = await self.complete(request)
        return BatchState(True, results, len(results))


class Narrow(Batched, name="narrow"):
    """Take few requests and bytes at a time."""

    most_in_batch = 5
    most_bytes_in_batch = 400

    async def size_in_batch(self, item, request):
        return len(request.text)


class Plugin:
    @et.hookimpl
    def register_backends(self):
        return [Batched, Narrow]


@pytest.fixture
def seeds(tmp_path):
    SERVER.clear()
    return write_seeds(tmp_path, 12)


def run(seeds, out, trouble="", looks=2, **options):
    limits = {"retries": 3, "first_wait": 0.001, "batch_poll": 0.01}
    backends = {"evolve": {"batched": {"trouble": trouble, "looks": looks}}}
    recipe = {"operators": ["harder"], "filters": ["judged"], "limits": limits, "backends": backends}
    return go(seeds, out, [Plugin()], **{**recipe, **options})


def calm(seeds, out):
    """Run the same without batches; the answers hang on the slot alone."""
    return go(seeds, out, operators=["harder"], filters=["judged"], backends={"evolve": "logged"})


def out(folder):
    """Return dollars and number of the charges, by reason."""
    with closing(sqlite3.connect(folder / "run.db")) as db:
        return {why: (usd, n) for why, usd, n in db.execute("SELECT why, total(usd), count(*) FROM charges GROUP BY 1")}


PRICES = {"evolve": {"input": 10.0, "output": 30.0}}
SMALL = {"prices": PRICES, "sampling": {"max_tokens": 100}, "rounds": 1}


def worst(requests):
    """Return the most dollars that these requests come to."""
    return sum(et.Price(**PRICES["evolve"]).cost(worst_case(request)) for request in requests)


def submitted():
    """Return how often each request was submitted."""
    counts: dict[str, int] = {}
    for batch in SERVER.values():
        for item in batch["requests"]:
            counts[item] = counts.get(item, 0) + 1
    return counts


def test_each_step_of_a_round_is_one_batch_and_the_dataset_is_the_same(seeds, tmp_path):
    notes = []
    result = run(seeds, tmp_path / "run", note=notes.append)
    assert result.pending == 0
    assert len(SERVER) == 9
    assert any("each step of a round waits for its batch" in note for note in notes)
    calm(seeds, tmp_path / "calm")
    assert dataset_bytes(tmp_path / "run") == dataset_bytes(tmp_path / "calm")


def test_more_than_a_batch_holds_goes_out_as_several(seeds, tmp_path):
    """Both bounds are kept and used: some batches are full by number, others by bytes."""
    result = run(seeds, tmp_path / "run", backends={"evolve": {"narrow": {}}})
    assert result.pending == 0
    held = [list(batch["requests"].values()) for batch in SERVER.values()]
    sizes = [(len(requests), sum(len(request.text) for request in requests)) for requests in held]
    assert all(1 <= number <= 5 and size <= 400 for number, size in sizes)
    assert any(number == 5 for number, _ in sizes) and any(1 < number < 5 and size > 300 for number, size in sizes)
    assert set(submitted().values()) == {1}
    calm(seeds, tmp_path / "calm")
    assert dataset_bytes(tmp_path / "run") == dataset_bytes(tmp_path / "calm")


def test_two_backends_send_batches_of_their_own_at_once(seeds, tmp_path):
    """Evolve goes to one provider and respond to another, each in its batches; the judge's calls go out one by one."""
    backends = {"evolve": {"batched": {}}, "respond": {"narrow": {}}, "judge": "logged"}
    assert run(seeds, tmp_path / "run", backends=backends).pending == 0
    steps = {}
    for batch in SERVER.values():
        steps.setdefault(batch["by"], set()).update(
            request.slot.split("/")[2] for request in batch["requests"].values()
        )
    assert steps == {"batched": {"evolve"}, "narrow": {"respond"}}
    assert set(submitted().values()) == {1} and len(submitted()) >= 2 * 12
    calm(seeds, tmp_path / "calm")
    assert dataset_bytes(tmp_path / "run") == dataset_bytes(tmp_path / "calm")


def test_a_request_that_no_batch_holds_settles_its_evolution_and_no_other(seeds, tmp_path):
    rows = seeds.read_text().splitlines()
    rows[3] = rows[3].replace("doubles 3", "doubles " + "3" * 400)
    seeds.write_text("\n".join(rows) + "\n")
    result = run(seeds, tmp_path / "run", backends={"evolve": {"narrow": {}}}, rounds=1)
    assert (result.pending, result.summary.filters["evolve", "too-long"]) == (0, 1)
    assert sum(1 for request in submitted()) == 11 * 3
    assert run(seeds, tmp_path / "run", backends={"evolve": {"narrow": {}}}, rounds=1).calls == 0


@pytest.mark.parametrize("trouble", ["cut", "expired", "500"])
def test_a_batch_that_goes_wrong_costs_nothing_that_was_answered(trouble, seeds, tmp_path):
    result = run(seeds, tmp_path / "run", trouble)
    assert result.pending == 0
    counts = submitted()
    assert max(counts.values()) == (1 if trouble == "cut" else 2)
    assert sum(counts.values()) - len(counts) == (0 if trouble == "cut" else 6)
    calm(seeds, tmp_path / "calm")
    assert dataset_bytes(tmp_path / "run") == dataset_bytes(tmp_path / "calm")


def test_a_batch_that_the_provider_takes_nothing_of_stops_the_run(seeds, tmp_path):
    with pytest.raises(errors.FatalError, match="line 1: no such model"):
        run(seeds, tmp_path / "run", "failed")


def test_a_batch_that_is_out_when_the_run_ends_is_collected_and_not_submitted_again(seeds, tmp_path):
    async def interrupted():
        limits = {"retries": 3, "first_wait": 0.001, "batch_poll": 5.0}
        plan = recipe(seeds, [Plugin()], operators=["harder"], filters=["judged"], limits=limits,
                      backends={"evolve": {"batched": {}}})  # fmt: skip
        task = asyncio.create_task(arun(plan, tmp_path / "run", catalog=catalog(Plugin())))
        while not SERVER:
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(interrupted())
    assert len(SERVER) == 1
    assert run(seeds, tmp_path / "run", looks=30).pending == 0
    assert len(SERVER) == 9
    assert set(submitted().values()) == {1}


def test_a_process_that_ends_before_the_id_is_stored_finds_the_batch_by_its_tag(seeds, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(seeds, tmp_path / "run", "killed")
    assert len(SERVER) == 1
    assert run(seeds, tmp_path / "run").pending == 0
    assert set(submitted().values()) == {1}


def test_a_batch_never_reserves_more_than_the_budget_and_a_larger_one_goes_on(seeds, tmp_path):
    first = run(seeds, tmp_path / "run", budget={"usd": 0.03}, **SMALL)
    assert first.pending == 12 - first.summary.lineages > 0
    assert "the budget is spent" in first.budget
    assert all(worst(batch["requests"].values()) <= 0.03 for batch in SERVER.values()) and SERVER
    assert 0 < first.cost <= 0.03 and out(tmp_path / "run") == {}
    last = run(seeds, tmp_path / "run", budget={"usd": 30}, **SMALL)
    assert (last.pending, last.budget) == (0, "")
    assert set(submitted().values()) == {1}
    assert len(submitted()) == first.calls + last.calls == 36


def test_a_batch_that_is_out_counts_and_is_collected_within_the_budget_that_it_fills(seeds, tmp_path):
    """Interrupted while it is out; the budget has no room for a second time, and needs none."""

    async def interrupted():
        limits = {"retries": 3, "first_wait": 0.001, "batch_poll": 5.0}
        plan = recipe(seeds, [Plugin()], operators=["harder"], filters=["judged"], limits=limits, budget={"usd": 0.06},
                      backends={"evolve": {"batched": {}}}, **SMALL)  # fmt: skip
        task = asyncio.create_task(arun(plan, tmp_path / "run", catalog=catalog(Plugin())))
        while not SERVER:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(interrupted())
    (batch,) = SERVER.values()
    most = worst(batch["requests"].values())
    assert 0.03 < most <= 0.06
    assert out(tmp_path / "run") == {OUT: (pytest.approx(most), len(batch["requests"]))}
    result = run(seeds, tmp_path / "run", budget={"usd": 0.06}, **SMALL)
    assert result.calls >= len(batch["requests"]) and set(submitted().values()) == {1}
    assert out(tmp_path / "run") == {} and result.summary.cost <= 0.06
    assert run(seeds, tmp_path / "run", budget={"usd": 60}, **SMALL).pending == 0
    assert set(submitted().values()) == {1}


PLUGIN = Plugin()

ON_THE_COMMAND_LINE = """\
evolteacher: 1
name: batched
seeds: {path: seeds.jsonl}
rounds: 1
operators: [add-constraints]
backends: {evolve: {batched: {}}}
sampling: {max_tokens: 100}
limits: {batch_poll: 0.01}
"""


def test_on_the_command_line_a_spent_budget_is_exit_code_3_and_the_printed_command_goes_on(
    seeds, tmp_path, monkeypatch, capsys
):
    info = tmp_path / "site/made_up_batched-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: made-up-batched\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[evolteacher]\nbatched = test_batches:PLUGIN\n")
    monkeypatch.syspath_prepend(str(info.parent))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.yaml").write_text(ON_THE_COMMAND_LINE.replace("seeds.jsonl", str(seeds)))
    words, codes = ["run", "recipe.yaml", "--set", "budget.tokens=1500"], []
    while not codes or codes[-1]:
        codes.append(main(words))
        told = capsys.readouterr().err
        assert "answers in provider batches" in told
        if codes[-1]:
            assert "not finished: the budget is spent" in told and len(codes) < 9
            (printed,) = [line for line in told.splitlines() if "budget.tokens=" in line and "evolteacher run" in line]
            words = shlex.split(printed)[1:]
    assert set(codes[:-1]) == {3}
    assert set(submitted().values()) == {1} and len(submitted()) == 24


KILLED = """
import sys
sys.path.insert(0, sys.argv[3])
from pathlib import Path
from test_batches import SMALL, run
run(Path(sys.argv[1]), Path(sys.argv[2]), "dead", budget={"usd": 0.06}, **SMALL)
"""


def test_what_a_killed_process_had_in_a_batch_that_never_arrived_is_not_counted_twice(seeds, tmp_path):
    command = [sys.executable, "-c", KILLED, str(seeds), str(tmp_path / "run"), str(Path(__file__).parent)]
    assert subprocess.run(command, timeout=60).returncode == 9
    ((why, (usd, number)),) = out(tmp_path / "run").items()
    assert (why, number > 3, usd > 0.03) == (OUT, True, True)
    result = run(seeds, tmp_path / "run", budget={"usd": 0.06}, **SMALL)
    assert result.calls > 0 and out(tmp_path / "run") == {}
