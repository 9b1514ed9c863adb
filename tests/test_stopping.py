"""Evol stop: each signal, what it decides, that it is stored first, and that a resume decides alike."""

import asyncio
import importlib.util
import json
import math
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from experiment import catalog, go, recipe, replies, write_seeds
from hypothesis import given
from hypothesis import strategies as st
from tiny_model import write_model

import evolteacher as et
from evolteacher import errors
from evolteacher.benchmark import Benchmark
from evolteacher.catalog import Catalog
from evolteacher.messages import NO_REPLY
from evolteacher.plan import make_plan
from evolteacher.report.figures import figures
from evolteacher.roundsection import STOPS, Acceptance, ProxyLoss, decide
from evolteacher.schema import recipe_schema
from evolteacher.stopping import curve, novelty
from evolteacher.store import Store
from evolteacher.training.proxy import tune_proxy
from evolteacher.training.rows import Row, split

DRIVER = Path(__file__).parent / "experiment.py"
ROUNDS = {"max": 6, "stop": {"acceptance": {"patience": 2}}}
RETRIED = {"rounds": ROUNDS, "on_pruned": "retry"}
trains = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("trl", "peft"))), reason="the extra 'train' is not installed"
)


def points(out):
    with Store(out / "run.db", read_only=True) as store:
        return curve(store)


def steps(out):
    with sqlite3.connect(out / "run.db") as db:
        found = db.execute("SELECT ord, round, operator, child, filter, stage FROM steps ORDER BY 1, 2").fetchall()
    db.close()
    return found


def files(out):
    return {path.name: path.read_bytes() for path in sorted(out.glob("*.json*"))}


def outcome(out):
    return points(out), steps(out), files(out)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted run that is stopped: its seeds, the result, and what came of it."""
    folder = tmp_path_factory.mktemp("whole")
    seeds = write_seeds(folder, 40)
    result = go(seeds, folder / "run", **RETRIED)
    found = outcome(folder / "run")
    assert found[0][-1].decision == "stop" and 2 < found[0][-1].round < 6
    return seeds, result, found, folder / "run"


class TestTheRule:
    def values(self, stop, values, most=100):
        found = []
        for value in values:
            found.append(decide(stop, found, value, most))
        return [point.decision for point in found]

    def test_patience_counts_rounds_in_a_row(self):
        assert self.values(Acceptance(), [0.5, 0.6, 0.6]) == ["continue", "continue", "stop"]
        assert self.values(Acceptance(patience=2), [0.5, 0.4, 0.6, 0.6, 0.5]) == [*["continue"] * 4, "stop"]

    def test_a_little_better_is_no_improvement_and_a_negative_delta_allows_a_fall(self):
        assert self.values(Acceptance(min_delta=0.1), [0.5, 0.59]) == ["continue", "stop"]
        assert self.values(Acceptance(min_delta=-0.1), [0.5, 0.41, 0.39]) == ["continue", "continue", "stop"]

    def test_least_and_most_rounds_hold(self):
        assert self.values(Acceptance(min_rounds=3), [0.5, 0.4, 0.3]) == ["continue", "continue", "stop"]
        assert self.values(Acceptance(patience=9), [0.5, 0.4, 0.3], most=3) == ["continue", "continue", "last"]

    def test_of_a_loss_the_lower_one_is_better(self):
        loss = ProxyLoss(model="m")
        assert self.values(loss, [3.0, 2.0, 1.5, 1.6]) == ["continue", "continue", "continue", "stop"]
        patient = ProxyLoss(model="m", patience=2)
        assert self.values(patient, [2.0, 1.0, 1.5, 1.2])[-1] == "stop", "better than the last, not than the best"

    def test_what_cannot_be_measured_is_no_improvement_once_there_was_a_value(self):
        assert self.values(Acceptance(), [None, None, 0.1, None]) == ["continue", "continue", "continue", "stop"]

    @given(
        st.lists(st.none() | st.floats(-1, 1), min_size=1, max_size=12),
        st.integers(1, 4), st.floats(-0.5, 0.5), st.integers(1, 12),
    )  # fmt: skip
    def test_it_ends_where_so_many_rounds_in_a_row_have_not_beaten_the_best(self, values, patience, delta, least):
        stop, found = Acceptance(patience=patience, min_delta=delta, min_rounds=least), []
        for value in values:
            found.append(decide(stop, found, value, 12))
            known = [each for each in values[: len(found)] if each is not None]
            assert found[-1].best == (max(known) if known else None)
            ends = found[-1].stale >= patience and len(found) >= least
            assert found[-1].decision == ("last" if len(found) == 12 else "stop" if ends else "continue")
            assert found[-1].stale <= len(found) - 1


class TestARun:
    def test_it_ends_at_the_stop_and_nothing_is_pending_or_rejected_for_it(self, whole):
        _, result, (found, rows, _), out = whole
        last = found[-1].round
        assert result.pending == 0 and {round for _, round, *_ in rows} == set(range(last + 1))
        assert not (out / f"round-{last + 1}.json").exists() and (out / f"round-{last}.json").exists()
        tried = {number: [row for row in rows if row[1] == number] for number in range(1, last + 1)}
        kept = [sum(not row[4] for row in tried[number]) / len(tried[number]) for number in range(1, last + 1)]
        assert [point.value for point in found] == kept
        card = (out / "README.md").read_text()
        assert (
            f"over {last} rounds by" in card and "6 rounds at the most" in card and "ended it before the last" in card
        )

    def test_no_lineage_begins_a_round_before_all_have_left_the_one_before(self, tmp_path):
        events = []

        class Watcher:
            @et.hookimpl
            def evolution_settled(self, event):
                events.append(event.step.round)

            @et.hookimpl
            def round_finished(self, event):
                events.append(("finished", event.round, event.kept, event.rejected))

        said = []
        changes = {**RETRIED, "backends": {"evolve": {"logged": {"latency": [0, 0.01]}}}}
        go(write_seeds(tmp_path, 20), tmp_path / "run", [Watcher()], note=said.append, **changes)
        last = points(tmp_path / "run")[-1].round
        settled = [event for event in events if isinstance(event, int)]
        assert settled == sorted(settled) and len(settled) == 20 * (last + 1)
        ends = [event for event in events if not isinstance(event, int)]
        assert [(end[1], end[2] + end[3]) for end in ends] == [(number, 20) for number in range(1, last + 1)]
        assert said[0] == "evol stop by acceptance: a round ends before the next begins, 6 at the most"
        assert f"evol stop, round {last}: " in said[last] and said[last].endswith("evolving ends here")

    def test_a_replay_asks_nothing_and_counts_each_reply_once(self, whole):
        seeds, first, found, out = whole
        again = go(seeds, out, **RETRIED)
        assert (again.calls, again.replayed) == (0, first.calls) and first.replayed == 0
        assert outcome(out) == found

    def test_the_rounds_up_to_the_stop_are_those_of_a_run_of_so_many(self, whole, tmp_path):
        seeds, _, (found, rows, dataset), _ = whole
        go(seeds, tmp_path / "run", rounds=found[-1].round, on_pruned="retry")
        assert (steps(tmp_path / "run"), files(tmp_path / "run")) == (rows, dataset)
        assert points(tmp_path / "run") == []

    def test_a_fork_decides_alike_and_asks_nothing(self, whole, tmp_path):
        seeds, _, found, out = whole
        assert go(seeds, tmp_path / "run", fork=out, **RETRIED).calls == 0
        assert outcome(tmp_path / "run") == found

    def test_a_fork_with_another_rule_decides_anew(self, whole, tmp_path):
        seeds, _, _, out = whole
        result = go(seeds, tmp_path / "run", fork=out, rounds={"max": 6}, on_pruned="retry")
        assert result.calls and points(tmp_path / "run") == []
        assert {row[1] for row in steps(tmp_path / "run")} == set(range(7))

    def test_another_rule_is_another_experiment(self, whole):
        seeds, _, _, out = whole
        with pytest.raises(errors.UsageError, match=r"rounds\.stop\.acceptance\.patience: the folder has 2, the recip"):
            go(seeds, out, rounds={"max": 6, "stop": {"acceptance": {"patience": 3}}}, on_pruned="retry")

    def test_what_is_stored_holds_against_what_would_be_decided_now(self, whole, tmp_path):
        seeds, _, (found, _, _), _ = whole
        go(seeds, tmp_path / "run", **RETRIED, limit=10)
        before = points(tmp_path / "run")
        go(seeds, tmp_path / "run", **RETRIED)
        assert points(tmp_path / "run") == before != found
        assert max(row[1] for row in steps(tmp_path / "run")) == before[-1].round

    def test_a_lineage_that_ran_out_of_retries_holds_the_decision_up(self, tmp_path):
        seeds, changes = write_seeds(tmp_path, 12), {**RETRIED, "backends": {"evolve": "faulty"}}
        changes["filters"] = ["shaky"]
        Faulty.broken = True
        first = go(seeds, tmp_path / "run", [Faulty()], **changes)
        assert first.pending == 12 and first.reason == "Transient: reset"
        assert [point.round for point in points(tmp_path / "run")] == [1]
        Faulty.broken = False
        assert go(seeds, tmp_path / "run", [Faulty()], **changes).pending == 0
        go(seeds, tmp_path / "straight", [Faulty()], **changes)
        assert outcome(tmp_path / "run") == outcome(tmp_path / "straight")

    def test_a_budget_that_ends_leaves_it_pending_and_a_larger_one_goes_on(self, whole, tmp_path):
        seeds, _, found, _ = whole
        stops = 0
        for tokens in (9_000, 14_000, 10_000_000):
            more = {"budget": {"tokens": tokens}, "sampling": {"max_tokens": 100}}
            result = go(seeds, tmp_path / "run", **RETRIED, **more)
            stops += bool(result.budget)
        assert stops >= 1 and result.pending == 0 and outcome(tmp_path / "run") == found

    def test_killed_at_random_points_it_ends_the_same(self, whole, tmp_path):
        seeds, _, found, _ = whole
        pick, kills, out = random.Random(5), 0, tmp_path / "run"
        command = [sys.executable, str(DRIVER), str(seeds), str(out), "0.02", json.dumps(RETRIED)]
        for _ in range(20):
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            begun, deadline = replies(out), time.monotonic() + 20
            wanted = begun + pick.randrange(20, 120)
            while process.poll() is None and replies(out) < wanted and time.monotonic() < deadline:
                time.sleep(0.01)
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                kills += 1
            if process.wait() == 0:
                break
        assert kills >= 3 and outcome(out) == found

    @pytest.mark.parametrize("after", [1, 2, 3])
    def test_ended_between_rounds_before_or_after_the_decision_it_ends_the_same(self, whole, tmp_path, after):
        """As if the process had been killed right after a round's last reply, and right after its decision."""
        seeds, _, found, _ = whole
        for decided in (False, True):
            out = tmp_path / f"run-{decided}"

            def end(line, decided=decided):
                if line.startswith(f"evol stop, round {after}:"):
                    raise KeyboardInterrupt

            with pytest.raises(KeyboardInterrupt):
                go(seeds, out, note=end, **RETRIED)
            if not decided:
                with sqlite3.connect(out / "run.db") as db:
                    db.execute("DELETE FROM meta WHERE key = ?", (f"stop/{after}",))
                db.close()
            go(seeds, out, **RETRIED)
            assert outcome(out) == found

    @pytest.mark.parametrize("changes", [{"concurrency": 1}, {"concurrency": 30, "latency": [0, 0.01]}])
    def test_no_order_of_arrival_changes_anything(self, whole, tmp_path, changes):
        seeds, _, found, _ = whole
        backend = {"evolve": {"logged": {"latency": changes.pop("latency", 0)}}}
        go(seeds, tmp_path / "run", backends=backend, **changes, **RETRIED)
        assert outcome(tmp_path / "run") == found


class Faulty:
    """Brings a backend that meets a passing fault in round 2 of one lineage, while it is out of order."""

    broken = True

    @et.hookimpl
    def register_backends(self):
        async def complete(backend, request):
            await asyncio.sleep(0)
            if Faulty.broken and "/2/" in request.slot and request.slot[0] in "0123":
                raise errors.Transient("reset")
            return et.Reply(f"task {len(request.text)} {request.slot[:9]}", et.Usage(1, 1))

        return [type("Faulty", (et.Backend,), {"complete": complete}, name="faulty")]


class Graded:
    """Brings a judge of instructions whose score rises by 2, then by 1 a round, and one of lineages."""

    @et.hookimpl
    def register_filters(self):
        def reject(use, evolution):
            return et.Judgement(score=float({0: 1, 1: 3, 2: 6, 3: 7}.get(evolution.round, 7)))

        async def judge(use, lineage, ask):
            return {step.round: et.Judgement(reason="no") for step in lineage.steps if step.round}

        return [
            type("Grade", (et.InstructionFilter,), {"reject": reject}, name="grade"),
            type("Late", (et.LineageFilter,), {"judge": judge}, name="late"),
        ]


class TestDifficulty:
    def test_it_is_the_mean_gain_over_parents_by_round(self, tmp_path):
        stop = {"difficulty": {"filter": "grade"}}
        filters = [{"grade": {"on": ["instruction", "seeds"]}}]
        go(write_seeds(tmp_path, 6), tmp_path / "run", [Graded()], rounds={"max": 9, "stop": stop}, filters=filters)
        found = points(tmp_path / "run")
        assert [point.value for point in found] == [2.0, 3.0, 1.0] and found[-1].decision == "stop"

    def test_without_scores_of_seeds_the_first_round_has_no_value(self, tmp_path):
        stop = {"difficulty": {"filter": "grade"}}
        seeds = write_seeds(tmp_path, 6)
        go(seeds, tmp_path / "run", [Graded()], rounds={"max": 9, "stop": stop}, filters=["grade"])
        assert [point.value for point in points(tmp_path / "run")] == [None, 3.0, 1.0]

    def test_a_judge_of_whole_lineages_changes_no_decision(self, tmp_path):
        seeds, rounds = write_seeds(tmp_path, 6), {"max": 3, "stop": {"acceptance": {"patience": 3}}}
        go(seeds, tmp_path / "run", [Graded()], rounds=rounds, filters=["late"])
        assert [point.value for point in points(tmp_path / "run")] == [1.0, 1.0, 1.0]
        assert {row[5] for row in steps(tmp_path / "run") if row[1]} == {"lineage"}

    def test_a_judge_that_is_not_there_or_scores_no_instructions_is_refused(self, tmp_path):
        seeds = write_seeds(tmp_path, 1)
        rounds = {"max": 3, "stop": {"difficulty": {"filter": "grades"}}}
        with pytest.raises(errors.RecipeError, match=r"rounds\.stop\.difficulty\.filter: no .*Did you mean 'grade'\?"):
            recipe(seeds, [Graded()], rounds=rounds, filters=["grade"])
        with pytest.raises(errors.RecipeError, match=r"no filter here that judges instructions is called 'difficulty'"):
            recipe(seeds, rounds={"max": 3, "stop": "difficulty"}, filters=["judged"])


class TestNovelty:
    def test_it_is_the_share_of_runs_of_words_that_no_earlier_row_has(self, tmp_path):
        rules = [
            {"step": "evolve", "round": 1, "reply": "one two three four five"},
            {"step": "evolve", "round": 2, "reply": "one two three four five six"},
            {"step": "evolve", "round": 3, "reply": "one two three four five six"},
        ]
        backends = {"evolve": {"scripted": {"rules": rules}}}
        changes = {"backends": backends, "operators": ["harder"], "filters": []}
        rounds = {"max": 9, "stop": {"novelty": {"patience": 3}}}
        go(write_seeds(tmp_path, 2), tmp_path / "run", rounds={**rounds, "max": 3}, **changes)
        # Of two rows alike the first is new and the second is not: its place in the dataset decides.
        assert [point.value for point in points(tmp_path / "run")] == [0.5, 0.125, 0.0]
        with Store(tmp_path / "run" / "run.db", read_only=True) as store:
            assert novelty(store, 1, 99) == 0.5 and novelty(store, 9, 3) is None

    def test_only_kept_rows_count_and_of_many_a_share_of_the_runs_comes_near(self, whole):
        _, _, (_, rows, _), out = whole
        assert sum(bool(row[4]) for row in rows) > 5
        with Store(out / "run.db", read_only=True) as store:
            texts = dict(store.query("SELECT ord, text FROM seeds"))
            earlier, shares = set(), []
            for order, round, _, child, filter_, _ in sorted(rows, key=lambda row: (row[1], row[0])):
                if round <= 2 and not filter_:
                    words = re.findall(r"\w+", (child or texts[order]).casefold())
                    runs = {tuple(words[n : n + 2]) for n in range(len(words) - 1)}
                    shares += [len(runs - earlier) / len(runs)] if round == 2 else []
                    earlier |= runs
            assert novelty(store, 2, 2) == pytest.approx(sum(shares) / len(shares))
            sampled = novelty(store, 2, 2, sampled_from=60)
            assert sampled != novelty(store, 2, 2) and sampled == pytest.approx(novelty(store, 2, 2), abs=0.2)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model"))


@trains
class TestProxyLoss:
    def rounds(self, model, most=3, **options):
        given = {"model": str(model), "steps": 3, "batch": 2, "max_length": 256, "learning_rate": 0.01, **options}
        return {"max": most, "stop": {"proxy-loss": {"patience": 3, **given}}}

    def test_it_is_measured_after_each_round_stored_and_not_measured_again(self, model, tmp_path):
        seeds, rounds = write_seeds(tmp_path, 10), self.rounds(model)
        go(seeds, tmp_path / "run", rounds=rounds, filters=["shaky"])
        found = points(tmp_path / "run")
        assert len(found) == 3 and all(0 < point.value < 10 for point in found)
        assert len({point.value for point in found}) > 1
        again = go(seeds, tmp_path / "run", rounds=rounds, filters=["shaky"])
        assert again.calls == 0 and points(tmp_path / "run") == found
        go(seeds, tmp_path / "twice", rounds=rounds, filters=["shaky"])
        assert outcome(tmp_path / "twice") == outcome(tmp_path / "run")

    def test_it_learns(self, model, tmp_path):
        seeds = write_seeds(tmp_path, 10)
        values = []
        for steps_ in (1, 40):
            out = tmp_path / str(steps_)
            go(seeds, out, rounds=self.rounds(model, most=1, steps=steps_), filters=[])
            values.append(points(out)[0].value)
        assert values[1] < values[0] - 0.5

    def test_later_rows_of_lineages_held_out_are_neither_learnt_nor_measured(self, model):
        def made(number, round):
            task = et.Instruction(f"task {number} of round {round}")
            evolution = replace(et.Evolution.of_seed(task), round=round)
            return et.Record(evolution, f"answer {number}", NO_REPLY, f"l{number}", number, "s", "", {})

        section = ProxyLoss(model=str(model), steps=5, batch=2, learning_rate=0.01, max_length=256)
        first = [made(number, round) for number in range(8) for round in (0, 1)]
        rows = [Row(r.instruction.text, r.response, r.lineage, r.round) for r in first]
        held = {row.lineage for row in split(rows, section.validation, 7)[1]}
        later = [made(number, 2) for number in range(8)]
        outside, learnt = ([r for r in later if (r.lineage in held) == side] for side in (True, False))
        assert outside and learnt
        loss = tune_proxy(section, first, 7)
        assert tune_proxy(section, first + outside, 7) == loss != tune_proxy(section, first + learnt, 7)

    def test_a_rejudge_tunes_nothing(self, model, tmp_path):
        seeds, out = write_seeds(tmp_path, 8), tmp_path / "run"
        go(seeds, out, rounds=self.rounds(model, most=2), filters=["shaky"])
        with sqlite3.connect(out / "run.db") as db:
            db.execute("DELETE FROM meta WHERE key LIKE 'stop/%'")
        db.close()
        done = et.rejudge(out, catalog=catalog())
        assert points(out) == [] and done.pending == 8

    def test_no_model_there_is_said_before_the_first_call(self, model, tmp_path):
        (tmp_path / "empty").mkdir()
        for place in (tmp_path / "nowhere", tmp_path / "empty"):
            with pytest.raises(errors.UsageError, match=r"rounds\.stop\.proxy-loss\.model: .* is no checkpoint"):
                go(write_seeds(tmp_path, 4), tmp_path / "run", rounds=self.rounds(place))
        assert replies(tmp_path / "run") == 0

    def test_rows_that_cannot_be_held_out_or_do_not_fit_are_said(self, model, tmp_path):
        with pytest.raises(errors.UsageError, match="rows of two lineages are needed"):
            go(write_seeds(tmp_path, 1), tmp_path / "one", rounds=self.rounds(model), filters=[])
        with pytest.raises(errors.UsageError, match=r"not one of .* rows to learn fits into 8 tokens"):
            go(write_seeds(tmp_path, 6), tmp_path / "long", rounds=self.rounds(model, max_length=8), filters=[])

    def test_a_loss_that_is_not_finite_is_an_error_and_no_value(self, model, tmp_path):
        import torch
        from transformers import AutoModelForCausalLM

        broken = Path(shutil.copytree(model, tmp_path / "broken"))
        loaded = AutoModelForCausalLM.from_pretrained(model)
        with torch.no_grad():
            for weights in loaded.parameters():
                weights.fill_(math.nan)
        loaded.save_pretrained(broken)
        with pytest.raises(errors.RunError, match=r"rounds\.stop\.proxy-loss: .* not finite"):
            go(write_seeds(tmp_path, 6), tmp_path / "run", rounds=self.rounds(broken), filters=[])
        assert points(tmp_path / "run") == []


class TestRejudge:
    def test_the_stored_decision_stands_whatever_the_filters_say_now(self, whole, tmp_path):
        seeds, _, _, _ = whole
        out = tmp_path / "run"
        go(seeds, out, **RETRIED)
        before = points(out)
        done = et.rejudge(out, set=["filters=[shaky]"], catalog=catalog())
        assert done.changes.gained and points(out) == before
        assert max(row[1] for row in steps(out)) == before[-1].round
        finished = go(seeds, out, **RETRIED, filters=["shaky"])
        assert finished.pending == 0 and points(out) == before
        assert done.calls >= finished.calls >= done.pending > 0

    def test_another_stop_is_for_a_fork(self, whole):
        with pytest.raises(errors.UsageError, match=r"rounds\.stop"):
            et.rejudge(whole[3], set=["rounds={max: 6, stop: novelty}"], catalog=catalog())


WRONG = {
    "{max: 0, stop: acceptance}": r"rounds\.max: must be 1 or more, not 0",
    "{max: 101}": r"rounds\.max: must be 100 or less, not 101",
    "{max: two}": r"rounds\.max: a whole number is needed, not 'two'",
    "{stop: acceptance}": r"rounds: 'rounds' needs 'max': the most rounds",
    "{max: 5, stopp: acceptance}": r"rounds\.stopp: 'rounds' has no 'stopp'\. Did you mean 'stop'\?",
    "{max: 5, stop: aceptance}": r"rounds\.stop: no signal is called 'aceptance'\. Did you mean 'acceptance'\?",
    "{max: 5, stop: {aceptance: {}}}": r"rounds\.stop\.aceptance: no signal .*Did you mean 'acceptance'\?",
    "{max: 5, stop: humaneval}": r"rounds\.stop: 'humaneval' is what results are reported on",
    "{max: 5, stop: {mbpp: {patience: 2}}}": r"rounds\.stop\.mbpp: 'mbpp' is what results are reported on",
    "{max: 5, stop: pass@1}": r"'pass@1' is what results are reported on",
    "{max: 5, stop: 7}": r"rounds\.stop: one signal is needed",
    "{max: 5, stop: {acceptance: {}, novelty: {}}}": r"rounds\.stop: one signal is needed",
    "{max: 5, stop: {acceptance: 3}}": r"rounds\.stop\.acceptance: options are needed.*not 3",
    "{max: 5, stop: {acceptance: {patience: 0}}}": r"acceptance\.patience: must be 1 or more, not 0",
    "{max: 5, stop: {acceptance: {min_delta: .nan}}}": r"acceptance\.min_delta: .*number",
    "{max: 5, stop: {acceptance: {pateince: 2}}}": r"has no 'pateince'\. Did you mean 'patience'\?",
    "{max: 5, stop: {acceptance: {min_rounds: 6}}}": r"min_rounds: there are 5 rounds at the most",
    "{max: 5, stop: proxy-loss}": r"signal 'proxy-loss' needs 'model'",
    "{max: 5, stop: {novelty: {words: 0}}}": r"novelty\.words: must be 1 or more",
}


class TestTheRecipe:
    @pytest.mark.parametrize("written", WRONG)
    def test_each_mistake_is_told_with_its_place(self, written, tmp_path):
        with pytest.raises(errors.RecipeError, match=WRONG[written]):
            recipe(write_seeds(tmp_path, 1)).changed(set=[f"rounds={written}"])

    def test_a_wrong_max_is_one_mistake_and_not_two(self, tmp_path):
        with pytest.raises(errors.RecipeError) as caught:
            recipe(write_seeds(tmp_path, 1)).changed(set=["rounds={max: 101, stop: {acceptance: {min_rounds: 5}}}"])
        assert "must be 100 or less" in str(caught.value) and "min_rounds" not in str(caught.value)

    def test_every_installed_benchmark_is_refused_as_a_signal(self, tmp_path):
        installed, made = Catalog.load().entries(Benchmark.kind), recipe(write_seeds(tmp_path, 1))
        assert len(installed) >= 2
        for entry in installed:
            with pytest.raises(errors.RecipeError, match="has been fitted to it"):
                made.changed(set=[f"rounds={{max: 3, stop: {entry.cls.name}}}"])

    def test_with_a_bandit_it_is_refused(self, tmp_path):
        with pytest.raises(errors.RecipeError, match=r"rounds\.stop: a bandit learns from lineages .* give up one"):
            recipe(write_seeds(tmp_path, 1), choose="bandit", rounds=ROUNDS)

    def test_numbers_and_changes_from_the_command_line_keep_working(self, tmp_path):
        made = recipe(write_seeds(tmp_path, 1), rounds=ROUNDS)
        assert made.rounds == 6 and made.stop == Acceptance(patience=2)
        assert made.to_plain()["rounds"]["stop"]["acceptance"]["patience"] == 2
        assert made.changed().to_plain() == made.to_plain() and made.changed().stop == made.stop
        fewer = made.changed(set=["rounds=2"])
        assert (fewer.rounds, fewer.stop, fewer.to_plain()["rounds"]) == (2, None, 2)
        assert made.changed(set=["rounds.max=4"]).rounds == 4
        assert made.changed(set=["rounds.stop=null"]).stop is None
        assert made.changed(set=["rounds.stop.acceptance.patience=3"]).stop == Acceptance(patience=3)

    def test_the_schema_says_what_loads(self):
        validate = pytest.importorskip("jsonschema").Draft7Validator(recipe_schema(Catalog.load())).is_valid
        smallest = {
            "evolteacher": 1,
            "name": "a",
            "seeds": "a",
            "operators": ["more-steps"],
            "backends": {"evolve": "x"},
        }
        right = [2, {"max": 3}, ROUNDS, {"max": 3, "stop": None}, *({"max": 3, "stop": name} for name in STOPS)]
        right = [rounds for rounds in right if rounds != {"max": 3, "stop": "proxy-loss"}]
        right.append({"max": 3, "stop": {"proxy-loss": {"model": "m"}}})
        wrong = [
            0,
            {"max": 0},
            {"stop": "acceptance"},
            {"max": 3, "stop": "mbpp"},
            {"max": 3, "stop": {"novelty": {"x": 1}}},
        ]
        wrong += [{"max": 3, "stop": "proxy-loss"}, {"max": 3, "stop": {"novelty": {}, "acceptance": {}}}]
        assert [rounds for rounds in right if not validate({**smallest, "rounds": rounds})] == []
        assert [rounds for rounds in wrong if validate({**smallest, "rounds": rounds})] == []

    def test_a_plan_counts_all_rounds(self, tmp_path):
        seeds = write_seeds(tmp_path, 4)
        counted = [make_plan(recipe(seeds, rounds=rounds), catalog()).calls for rounds in (ROUNDS, 6)]
        assert counted[0] == counted[1] > 0


def evolteacher(*words):
    done = subprocess.run(
        [sys.executable, "-m", "evolteacher", *map(str, words)], capture_output=True, text=True,
        env={**os.environ, "COLUMNS": "160"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_terminal_and_the_report_show_the_curve(whole, tmp_path):
    _, _, (found, _, _), out = whole
    shown = evolteacher("show", out)
    assert "acceptance" in shown and "goes on" in shown and "ends here" in shown and f"{found[-1].value:.4g}" in shown
    with Store(out / "run.db", read_only=True) as store:
        (figure,) = [figure for figure in figures(store) if figure.name == "stop"]
    assert [row[1] for row in figure.rows] == [point.value for point in found]
    assert figure.rows[-1][0] == f"round {found[-1].round} (ends here)"
    evolteacher("report", out, "--out", tmp_path / "report.html")
    assert "Evol stop: acceptance after each round" in (tmp_path / "report.html").read_text()
    path = tmp_path / "r.yaml"
    path.write_text(
        "evolteacher: 1\nname: r\nseeds: s.jsonl\noperators: [more-steps]\nbackends: {evolve: scripted}\n"
        "rounds: {max: 4, stop: novelty}\n"
    )
    write_seeds(tmp_path, 3).rename(tmp_path / "s.jsonl")
    assert "All 4 rounds are counted; evolving ends sooner where novelty says so." in evolteacher("plan", path)
    assert "4 rounds at the most, by novelty" in evolteacher("validate", path)
