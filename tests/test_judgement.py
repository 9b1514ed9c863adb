"""Scores: what filters may return, where it is stored, and filters that judge a whole lineage; through whole runs."""

from __future__ import annotations

import json
import sqlite3

import pytest
from experiment import catalog, write_seeds

import evolteacher as et
from evolteacher.cli.show import tree
from evolteacher.errors import PluginError
from evolteacher.history import lineage, records
from evolteacher.plan import make_plan
from evolteacher.recipe import Recipe
from evolteacher.store import Store


class Characters(et.TextFilter, name="characters"):
    """Score a text by its characters."""

    most: int = 10_000

    def reject(self, text):
        return et.Judgement(len(text), "too long" if len(text) > self.most else None)


class Marks(et.InstructionFilter, name="marks"):
    """Score by a judge's number."""

    async def judge(self, evolution, ask):
        return et.Judgement(float((await ask("Mark: " + evolution.child.text)).text))


class Answer(et.ResponseFilter, name="answer"):
    """Score a row."""

    def reject(self, record):
        SEEN.append(dict(record.scores))
        return et.Judgement(1)


class Odd(et.TextFilter, name="odd"):
    """Return what it is told to."""

    what: str

    def reject(self, text):
        found = {"bool": et.Judgement(True), "nan": et.Judgement(float("nan")), "number": 3}
        found |= {"reason": et.Judgement(1, 5), "words": et.Judgement("9"), "empty": et.Judgement(2, "")}
        return found[self.what]


class Joint(et.LineageFilter, name="joint"):
    """Ask about all versions at once; the versions are scored by place, and those from a round on rejected."""

    reject_from: int = 99
    what: str = "fine"

    async def judge(self, lineage, ask):
        SEEN.append([(step.round, step.verdict.kept, dict(step.scores)) for step in lineage.steps])
        await ask("Joint: " + " | ".join(step.evolution.child.text for step in lineage.steps if step.evolution))
        if self.what == "unknown":
            return {7: et.Judgement(1)}
        if self.what == "list":
            return [et.Judgement(1)]
        if self.what == "crash":
            raise ValueError("oh")
        return {
            step.round: et.Judgement(step.round * 2, "too late" if step.round >= self.reject_from else None)
            for step in lineage.steps
        }


SEEN: list = []


class Mine:
    @et.hookimpl
    def register_filters(self):
        return [Characters, Marks, Answer, Odd, Joint]


def recipe_of(tmp_path, *filters, rules=(), seeds=2, rounds=2, **more):
    seed_file = tmp_path / "seeds.jsonl"
    data = {
        "evolteacher": 1,
        "name": "scores",
        "seeds": {"path": str(seed_file if seed_file.exists() else write_seeds(tmp_path, seeds))},
        "rounds": rounds,
        "operators": ["harder"],
        "filters": list(filters),
        "backends": {"evolve": {"scripted": {"rules": [*rules, {"contains": "Mark:", "reply": "7.5"}]}}},
        **more,
    }
    found = catalog(Mine())
    return Recipe.from_dict(data, catalog=found), found


def go(tmp_path, *filters, **more):
    recipe, found = recipe_of(tmp_path, *filters, **more)
    SEEN.clear()
    return et.run(recipe, tmp_path / "run", catalog=found)


def scores(tmp_path):
    with sqlite3.connect(tmp_path / "run" / "run.db") as database:
        rows = database.execute("SELECT round, scores FROM steps WHERE ord = 0 ORDER BY round").fetchall()
    database.close()
    return {round: json.loads(text) for round, text in rows}


def verdicts(tmp_path):
    with sqlite3.connect(tmp_path / "run" / "run.db") as database:
        rows = database.execute(
            "SELECT round, stage, filter, reason FROM steps WHERE ord = 0 ORDER BY round"
        ).fetchall()
    database.close()
    return rows


def test_scores_are_stored_by_label_and_place_and_come_back_from_the_folder(tmp_path):
    go(tmp_path, "characters", {"marks": {"as": "hard"}}, "answer", seeds=1)
    found = scores(tmp_path)
    assert found[0] == {}
    assert [list(found[round]) for round in (1, 2)] == [["characters", "hard", "characters:response", "answer"]] * 2
    with Store(tmp_path / "run" / "run.db", read_only=True) as store:
        step = lineage(store, 0).steps[1]
        assert step.scores == found[1]
        assert step.scores["characters"] == len(step.evolution.child.text)
        assert step.scores["characters:response"] == len(step.response)
        assert step.scores["hard"] == 7.5
        assert [record.scores for record in records(store, 1)] == [found[1]]
        assert [record.scores for record in lineage(store, 0).records()][1] == found[1]
    # A filter of the response is shown what its instruction scored.
    assert SEEN[0] == {name: found[1][name] for name in ("characters", "hard")}


def test_a_seed_is_scored_where_the_recipe_says_so(tmp_path):
    go(tmp_path, {"characters": {"on": ["instruction", "seeds"]}}, {"marks": {"on": ["instruction", "seeds"]}})
    found = scores(tmp_path)
    assert list(found[0]) == ["characters", "marks", "characters:response"]
    assert list(found[1]) == ["characters", "marks"]


def test_the_score_of_a_rejected_step_stays_and_show_prints_it(tmp_path):
    go(tmp_path, {"characters": {"most": 3}})
    assert verdicts(tmp_path)[1] == (1, "instruction", "characters", "too long")
    assert list(scores(tmp_path)[1]) == ["characters"]
    with Store(tmp_path / "run" / "run.db", read_only=True) as store:
        drawn = tree(lineage(store, 0))
    title = drawn.children[0].children[0].label.renderables[0].plain
    assert title.endswith(f"characters: too long, characters {scores(tmp_path)[1]['characters']:g}")


@pytest.mark.parametrize(
    ("what", "message"),
    [("bool", "gave the score True"), ("nan", "gave the score nan"), ("number", "returned 3"),
     ("reason", "returned Judgement"), ("words", "gave the score '9'")],
)  # fmt: skip
def test_what_is_no_judgement_is_the_plugins_fault(what, message, tmp_path):
    with pytest.raises(PluginError, match=f"filter 'odd' {message}"):
        go(tmp_path, {"odd": {"what": what}})


def test_an_empty_reason_rejects(tmp_path):
    go(tmp_path, {"odd": {"what": "empty"}})
    assert verdicts(tmp_path)[1] == (1, "instruction", "odd", "no reason given")


def test_a_lineage_filter_sees_all_versions_once_and_rejects_rows_but_no_evolution(tmp_path):
    result = go(tmp_path, "characters", {"joint": {"reject_from": 1}})
    assert len(SEEN) == 2
    assert [(round, kept) for round, kept, _ in SEEN[0]] == [(0, True), (1, True), (2, True)]
    assert set(SEEN[0][1][2]) == {"characters", "characters:response"}
    assert [row[1:] for row in verdicts(tmp_path)] == [
        ("seed", "", ""), ("lineage", "joint", "too late"), ("lineage", "joint", "too late")
    ]  # fmt: skip
    assert [found["joint"] for found in scores(tmp_path).values()] == [0, 2, 4]
    assert result.records == 2
    assert len(json.loads(dataset_text(tmp_path))) == 2


def dataset_text(tmp_path):
    return (tmp_path / "run" / "dataset.json").read_text()


def test_a_lineage_filter_rejects_seeds_only_where_it_is_told_to(tmp_path):
    go(tmp_path, {"joint": {"reject_from": 0, "on": ["response", "seeds"]}})
    assert [row[1] for row in verdicts(tmp_path)] == ["lineage"] * 3


def test_a_second_lineage_filter_sees_what_the_first_did_and_the_first_is_named(tmp_path):
    go(tmp_path, {"joint": {"as": "one", "reject_from": 2}}, {"joint": {"as": "two", "reject_from": 1}}, seeds=1)
    assert SEEN[1] == [(0, True, {"one": 0}), (1, True, {"one": 2}), (2, False, {"one": 4})]
    assert [row[2] for row in verdicts(tmp_path)] == ["", "two", "one"]
    assert scores(tmp_path)[2] == {"one": 4, "two": 4}


def test_a_lineage_filter_replays_and_has_a_slot_of_its_own(tmp_path):
    first = go(tmp_path, "marks", {"joint": {"reject_from": 2}})
    before = dataset_text(tmp_path), scores(tmp_path)
    again = go(tmp_path, "marks", {"joint": {"reject_from": 2}})
    assert (again.calls, again.replayed) == (0, first.calls)
    assert (dataset_text(tmp_path), scores(tmp_path)) == before
    with sqlite3.connect(tmp_path / "run" / "run.db") as database:
        slots = database.execute("SELECT round, step, count(*) FROM replies WHERE step LIKE '%joint%'").fetchall()
    database.close()
    assert slots == [(0, "filter:joint:lineage", 2)]


def test_a_refusal_of_a_lineage_filter_rejects_the_rows_that_it_may(tmp_path):
    go(tmp_path, "joint", rules=[{"contains": "Joint:", "error": "refused"}])
    assert [row[1:3] for row in verdicts(tmp_path)] == [("seed", ""), ("lineage", "joint"), ("lineage", "joint")]


def test_a_lineage_with_nothing_kept_asks_nothing(tmp_path):
    go(tmp_path, {"characters": {"most": 1, "on": ["instruction", "seeds"]}}, "joint")
    assert SEEN == []


@pytest.mark.parametrize(
    ("what", "message"), [("unknown", "judged round 7"), ("list", "round -> Judgement is needed"), ("crash", "oh")]
)
def test_a_lineage_filter_that_is_wrong_is_named(what, message, tmp_path):
    with pytest.raises(PluginError, match=f"filter 'joint'.*{message}"):
        go(tmp_path, {"joint": {"what": what}})


def test_the_plan_counts_one_call_a_lineage(tmp_path):
    without, found = recipe_of(tmp_path, seeds=5)
    with_it, _ = recipe_of(tmp_path, "joint", seeds=5)
    assert make_plan(with_it, found).calls == make_plan(without, found).calls + 5
    assert go(tmp_path, "joint").calls == make_plan(with_it, found).calls
