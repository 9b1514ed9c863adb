"""The choice of operators: the bandit's rule, and that it follows from outcomes alone, however a run came about."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time

import pytest
from experiment import catalog, dataset_bytes, go, recipe, replies, write_seeds
from hypothesis import given, settings
from hypothesis import strategies as st
from test_crash import DRIVER

import evolteacher as et
from evolteacher import errors
from evolteacher.bandit import Bandit, Outcome, Standing
from evolteacher.choice import trajectory
from evolteacher.runner import run
from evolteacher.store import Store

SEEDS = 40
BANDIT = {"bandit": {"block": 4, "least": 0.1}}
LABELS = ("harder", "longer", "two-steps")


def chosen(out):
    """Return the stored trajectory, and the operator of each lineage and round."""
    with Store(out / "run.db", read_only=True) as store:
        operators = store.query("SELECT ord, round, operator FROM steps WHERE round > 0 ORDER BY ord, round").fetchall()
        return trajectory(store), operators


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted run: its folder of seeds, its bytes, its trajectory."""
    folder = tmp_path_factory.mktemp("whole")
    seeds = write_seeds(folder, SEEDS)
    go(seeds, folder / "run", choose=BANDIT)
    return seeds, dataset_bytes(folder / "run"), chosen(folder / "run")


outcomes = st.lists(
    st.builds(Outcome, st.sampled_from("abc"), st.sampled_from([0.0, 1.0]), st.integers(0, 5000)), max_size=60
)


class TestRule:
    @given(
        blocks=st.lists(outcomes, max_size=5),
        weights=st.tuples(*[st.floats(0, 1e6)] * 3).filter(any),
        least=st.floats(0, 1 / 3),
        sharpness=st.floats(0, 16),
        cost=st.floats(0, 4),
    )
    def test_shares_are_shares_whatever_came(self, blocks, weights, least, sharpness, cost):
        base = dict(zip("abc", weights, strict=True))
        standing = Standing(Bandit(least=least, sharpness=sharpness, cost=cost), base)
        for block in blocks:
            standing.add(block)
        shares = standing.shares()
        assert sum(shares.values()) == pytest.approx(1)
        for label, weight in base.items():
            assert shares[label] >= least - 1e-9 if weight else shares[label] == 0

    def test_before_anything_is_known_the_weights_hold(self):
        assert Standing(Bandit(least=0), {"a": 3, "b": 1}).shares() == {"a": 0.75, "b": 0.25}

    def test_where_nothing_is_ever_kept_the_weights_hold(self):
        standing = Standing(Bandit(least=0), {"a": 3, "b": 1})
        standing.add([Outcome("a", 0.0, 10), Outcome("b", 0.0, 90)] * 20)
        assert standing.shares() == {"a": 0.75, "b": 0.25}

    def test_what_is_kept_more_often_is_drawn_more_often(self):
        standing = Standing(Bandit(cost=0), {"a": 1, "b": 1})
        standing.add([Outcome("a", 1.0, 10), Outcome("b", 0.0, 10), Outcome("b", 1.0, 10)] * 20)
        assert standing.shares()["a"] > 0.6

    def test_twice_the_tokens_are_worth_half_at_cost_one_and_nothing_at_cost_zero(self):
        for cost, ratio in ((0, 1), (0.5, 2**0.5), (1, 2)):
            standing = Standing(Bandit(cost=cost, least=0), {"a": 1, "b": 1})
            standing.add([Outcome("a", 1.0, 100), Outcome("b", 1.0, 200)] * 100_000)
            shares = standing.shares()
            assert shares["a"] / shares["b"] == pytest.approx(ratio, rel=1e-3)

    def test_what_changes_is_followed(self):
        standing = Standing(Bandit(discount=0.5), {"a": 1, "b": 1})
        standing.add([Outcome("a", 1.0, 10), Outcome("b", 0.0, 10)] * 50)
        before = standing.shares()["a"]
        for _ in range(5):
            standing.add([Outcome("a", 0.0, 10), Outcome("b", 1.0, 10)] * 50)
        assert before > 0.8 and standing.shares()["a"] < 0.2

    def test_what_an_operator_once_cost_is_forgotten_like_what_it_once_gained(self):
        standing = Standing(Bandit(discount=0.5, cost=1, least=0), {"a": 1, "b": 1})
        standing.add([Outcome("a", 1.0, 1000), Outcome("b", 1.0, 100)] * 50)
        assert standing.shares()["a"] < 0.2
        for _ in range(12):
            standing.add([Outcome("a", 1.0, 100), Outcome("b", 1.0, 100)] * 50)
        assert standing.shares()["a"] == pytest.approx(0.5, abs=0.01)


class TestRun:
    def test_the_trajectory_is_stored_and_changes(self, whole):
        blocks, operators = whole[2]
        assert [block for block, _ in blocks] == list(range(SEEDS // 4))
        shares = [state["shares"] for _, state in blocks]
        assert shares[0] == shares[1] == pytest.approx({"harder": 0.275, "longer": 0.45, "two-steps": 0.275})
        assert len({json.dumps(each) for each in shares}) >= 8
        assert {label for _, _, label in operators} == set(LABELS)
        tried = [sum(tried for tried, _ in state["seen"].values()) for _, state in blocks]
        first = sum(1 for order, _, _ in operators if order < 4)
        assert tried[:3] == [0, 0, first]

    @settings(deadline=None, max_examples=6)
    @given(concurrency=st.sampled_from([1, 3, 64]), latency=st.sampled_from([0, 0.002, 0.01]))
    def test_no_order_of_arrival_changes_anything(self, whole, concurrency, latency, tmp_path_factory):
        seeds, expected, choices = whole
        out = tmp_path_factory.mktemp("run") / "run"
        backends = {"evolve": {"logged": {"latency": [0, latency]}}}
        go(seeds, out, choose=BANDIT, concurrency=concurrency, backends=backends)
        assert (dataset_bytes(out), chosen(out)) == (expected, choices)

    def test_a_replay_asks_nothing_and_chooses_alike(self, whole, tmp_path):
        seeds, expected, choices = whole
        go(seeds, tmp_path / "run", choose=BANDIT)
        again = go(seeds, tmp_path / "run", choose=BANDIT, concurrency=1)
        assert again.calls == 0
        assert (dataset_bytes(tmp_path / "run"), chosen(tmp_path / "run")) == (expected, choices)

    def test_a_larger_limit_is_the_run_that_had_it_from_the_start(self, whole, tmp_path):
        seeds, expected, choices = whole
        for limit in (3, 6, 18, SEEDS):
            go(seeds, tmp_path / "run", choose=BANDIT, limit=limit)
        assert (dataset_bytes(tmp_path / "run"), chosen(tmp_path / "run")) == (expected, choices)

    def test_a_fork_chooses_alike_and_asks_nothing(self, whole, tmp_path):
        seeds, expected, choices = whole
        go(seeds, tmp_path / "old", choose=BANDIT)
        forked = go(seeds, tmp_path / "new", choose=BANDIT, fork=tmp_path / "old")
        assert forked.calls == 0
        assert (dataset_bytes(tmp_path / "new"), chosen(tmp_path / "new")) == (expected, choices)

    def test_what_is_stored_holds_against_what_would_be_chosen_now(self, whole, tmp_path):
        seeds, _, _ = whole
        go(seeds, tmp_path / "run", choose=BANDIT, limit=8)
        with sqlite3.connect(tmp_path / "run" / "run.db") as db:
            state = {"shares": {"harder": 0.0, "longer": 0.0, "two-steps": 1.0}, "seen": {}}
            db.execute("INSERT INTO meta VALUES ('choice/3', ?)", (json.dumps(state),))
        db.close()
        go(seeds, tmp_path / "run", choose=BANDIT)
        _, operators = chosen(tmp_path / "run")
        assert {label for order, _, label in operators if 12 <= order < 16} == {"two-steps"}
        assert {label for order, _, label in operators if order >= 16} == set(LABELS)

    def test_killed_at_random_points_it_ends_the_same(self, whole, tmp_path):
        seeds, expected, choices = whole
        pick, kills, out = random.Random(3), 0, tmp_path / "run"
        command = [sys.executable, str(DRIVER), str(seeds), str(out), "0.02", json.dumps({"choose": BANDIT})]
        for _ in range(30):
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            begun = replies(out)
            deadline = time.monotonic() + pick.uniform(5, 20)
            while process.poll() is None and replies(out) < begun + 40 and time.monotonic() < deadline:
                time.sleep(0.02)
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                kills += 1
            if process.wait() == 0:
                break
        assert kills >= 3
        assert (dataset_bytes(out), chosen(out)) == (expected, choices)

    def test_the_run_says_that_it_is_a_barrier(self, whole, tmp_path):
        said = []
        go(whole[0], tmp_path / "run", choose="bandit", limit=2, note=said.append)
        assert "a bandit chooses operators: lineages go in blocks of 64, two at once at most" in said


class Faulty:
    """Brings a backend that meets a passing fault at one task, while it is out of order."""

    broken = True

    @et.hookimpl
    def register_backends(self):
        async def complete(backend, request):
            await asyncio.sleep(0)
            if Faulty.broken and "doubles 5" in request.text:
                raise errors.Transient("reset")
            return et.Reply(f"task {len(request.text)} {request.slot[:6]}", et.Usage(1, 1))

        return [type("Faulty", (et.Backend,), {"complete": complete}, name="faulty")]


def test_blocks_that_learn_from_a_pending_lineage_wait_and_a_resume_goes_on_as_if_nothing_had_been(tmp_path):
    seeds = write_seeds(tmp_path, SEEDS)
    changes = {"choose": BANDIT, "backends": {"evolve": "faulty"}, "filters": ["shaky"]}
    Faulty.broken = True
    first = go(seeds, tmp_path / "run", [Faulty()], **changes)
    begun = {order for order, _, _ in chosen(tmp_path / "run")[1]}
    assert first.reason == "Transient: reset" and first.pending == SEEDS - 11
    assert begun <= set(range(12)) and 5 not in begun  # 5 is in block 1, from which block 3 learns: 12 and later
    Faulty.broken = False
    assert go(seeds, tmp_path / "run", [Faulty()], **changes).pending == 0
    go(seeds, tmp_path / "straight", [Faulty()], **changes)
    assert chosen(tmp_path / "run") == chosen(tmp_path / "straight")
    assert dataset_bytes(tmp_path / "run") == dataset_bytes(tmp_path / "straight")


def test_a_budget_that_ends_within_a_block_hangs_nothing_and_a_larger_one_goes_on(whole, tmp_path):
    seeds, expected, choices = whole
    stops = 0
    for tokens in (6_000, 9_000, 10_000_000):
        sampling = {"max_tokens": 100}
        result = go(seeds, tmp_path / "run", choose=BANDIT, budget={"tokens": tokens}, sampling=sampling)
        stops += bool(result.budget)
    assert stops >= 1 and result.pending == 0
    assert chosen(tmp_path / "run") == choices
    assert dataset_bytes(tmp_path / "run") == expected


class NotLonger(et.InstructionFilter, name="not-longer"):
    """Reject whatever one operator brings."""

    def reject(self, evolution):
        return "never" if evolution.operator == "longer" else None


class Strict:
    @et.hookimpl
    def register_filters(self):
        return [NotLonger]


def test_an_operator_that_is_always_rejected_is_drawn_ever_less(tmp_path):
    seeds = write_seeds(tmp_path, 160)
    changes = {"filters": ["not-longer"], "on_pruned": "retry", "operators": ["harder", "longer", "two-steps"]}
    go(seeds, tmp_path / "run", [Strict()], choose={"bandit": {"block": 8, "cost": 0}}, **changes)
    blocks, operators = chosen(tmp_path / "run")
    shares = [state["shares"]["longer"] for _, state in blocks]
    assert len(shares) == 20 and shares[0] == pytest.approx(1 / 3)
    assert shares[-1] < 0.1 and shares[5] < shares[2] < shares[0]
    late = [label for order, _, label in operators if order >= 80]
    assert late.count("longer") / len(late) < 0.15 < late.count("harder") / len(late)


def test_least_shares_that_cannot_all_be_are_refused_and_bandit_alone_has_defaults(tmp_path):
    seeds = write_seeds(tmp_path, 1)
    with pytest.raises(errors.RecipeError, match=r"choose\.bandit\.least: 3 operators cannot .* 0\.333 is the most"):
        recipe(seeds, choose={"bandit": {"least": 0.4}})
    made = recipe(seeds, choose="bandit")
    assert made == recipe(seeds, choose={"bandit": {}})
    assert made.to_plain()["choose"] == {"bandit": Bandit().model_dump()}
    changed = made.changed(set=["choose.bandit.block=8"], catalog=catalog())
    assert changed.choose.bandit.block == 8


def test_another_rule_is_another_experiment(whole, tmp_path):
    seeds = whole[0]
    go(seeds, tmp_path / "run", choose=BANDIT, limit=2)
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    with pytest.raises(errors.UsageError, match=r"choose\.bandit\.block: the folder has 4, the recipe 5"):
        run(recipe(seeds, choose={"bandit": {"block": 5, "least": 0.1}}), tmp_path / "copy", catalog=catalog())


class Grade(et.InstructionFilter, name="grade"):
    """Score what two steps made high, all else low; reject nothing."""

    def reject(self, evolution):
        return et.Judgement(score=9.0 if evolution.operator == "two-steps" else 5.0)


class Graded:
    @et.hookimpl
    def register_filters(self):
        return [Grade]


def shares_with(tmp_path, name, bandit, on):
    changes = {"filters": [{"grade": {"on": on}}], "operators": list(LABELS)}
    out = tmp_path / name
    choose = {"bandit": {"block": 8, "cost": 0, **bandit}}
    go(write_seeds(tmp_path, 120), out, [Graded()], choose=choose, **changes)
    before = chosen(out)
    again = go(tmp_path / "seeds.jsonl", out, [Graded()], choose=choose, **changes)
    assert again.calls == 0 and chosen(out) == before
    return before[0][-1][1]["shares"]["two-steps"]


def test_what_a_judge_scores_above_the_parent_is_followed_and_replays(tmp_path):
    without = shares_with(tmp_path, "without", {}, ["instruction", "seeds"])
    following = shares_with(tmp_path, "following", {"gain": "grade"}, ["instruction", "seeds"])
    assert without == pytest.approx(1 / 3, abs=0.01) and following > 0.45
    # Without scores of seeds, what the first round gains is not known, and later rounds still tell.
    assert without + 0.02 < shares_with(tmp_path, "unscored", {"gain": "grade"}, ["instruction"]) < following


def test_a_gain_by_a_judge_that_is_not_there_is_refused_with_the_nearest(tmp_path):
    with pytest.raises(
        errors.RecipeError, match=r"choose\.bandit\.gain: no filter .* 'grades'\. Did you mean 'grade'\?"
    ):
        recipe(write_seeds(tmp_path, 1), [Graded()], choose={"bandit": {"gain": "grades"}}, filters=["grade", "judged"])
    with pytest.raises(errors.RecipeError, match=r"no filter here that judges instructions is called 'judged'"):
        recipe(write_seeds(tmp_path, 1), choose={"bandit": {"gain": "judged"}}, filters=["judged"])
