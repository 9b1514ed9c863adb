"""Dataset filters in whole runs: what they are given, what is told of what they drop, and no matter of arrival."""

import json

import pytest
from experiment import catalog, dataset_bytes, go, recipe, write_seeds

import evolteacher as et
from evolteacher.cli.show import tree
from evolteacher.errors import RecipeError, RunError
from evolteacher.history import lineage, records, rejected
from evolteacher.rejudging import rejudge
from evolteacher.store import Store

COPIES = [{"step": "evolve", "share": 0.3, "reply": "task0 needs a function that doubles 0."}]


class Mark(et.InstructionFilter, name="mark"):
    """Score by length, as a judge would."""

    def reject(self, evolution):
        return et.Judgement(float(len(evolution.child.text) % 7))


class Marks:
    @et.hookimpl
    def register_filters(self):
        return [Mark]


@pytest.fixture
def seeds(tmp_path):
    return write_seeds(tmp_path, 20, answered=False)


def scripted(latency=0.0):
    return {"evolve": {"logged": {"rules": COPIES, "latency": [0, latency]}}}


def run(seeds, out, **changes):
    return go(seeds, out, (Marks(),), **{"filters": [], "operators": ["harder"], "backends": scripted(), **changes})


def test_what_evolved_is_compared_with_seeds_that_are_no_rows(seeds, tmp_path):
    run(seeds, tmp_path / "run", dataset_filters=["near-duplicates"])
    with Store(tmp_path / "run" / "run.db", read_only=True) as store:
        found = [step for _, step in rejected(store, "near-duplicates", limit=100)]
        assert len(found) > 10 and all(step.round > 0 for step in found)
        reasons = [step.verdict.reason for step in found if step.evolution.child.text.startswith("task0 ")]
        assert len(reasons) > 5
        assert all(reason.endswith("like that of a seed without a response (seeds.jsonl:1)") for reason in reasons)
        assert not [row for row in records(store) if row.instruction.text.startswith("task0 ")]
        assert [row.order for row in records(store, 0)] == [order for order in range(20) if order % 5]


@pytest.mark.parametrize("filter", ["near-duplicates", "semantic-duplicates", {"cap": {"per": "round", "most": 5}}])
def test_the_order_in_which_replies_come_changes_nothing(seeds, tmp_path, filter):
    one = run(seeds, tmp_path / "one", dataset_filters=[filter], concurrency=1)
    run(seeds, tmp_path / "many", dataset_filters=[filter], concurrency=64, backends=scripted(0.02))
    assert dataset_bytes(tmp_path / "one") == dataset_bytes(tmp_path / "many")
    name = filter if isinstance(filter, str) else "cap"
    assert one.summary.filters[("dataset", name)] > 5


BEST = {"deita": {"most": 6, "scores": ["mark"], "by": "words"}}


def test_what_an_operator_kept_is_in_the_dataset(seeds, tmp_path):
    found = run(seeds, tmp_path / "run", operators=["harder", "longer"], dataset_filters=["near-duplicates"]).summary
    dropped = found.filters[("dataset", "near-duplicates")]
    assert dropped > 5
    kept = sum(kept for _, kept in found.operators.values())
    assert kept == sum(number for round, number in found.kept.items() if round)
    assert sum(tried for tried, _ in found.operators.values()) == kept + dropped + sum(found.rejected.values())


def test_scores_that_filters_gave_decide_and_rejudge_moves_the_choice(seeds, tmp_path):
    out = tmp_path / "run"
    assert run(seeds, out, filters=["mark"], dataset_filters=[BEST]).records == 6
    with Store(out / "run.db", read_only=True) as store:
        left = {row.id: row.scores["mark"] for row in records(store)}
        given = {row.id: row.scores["mark"] for row in records(store, dropped=True) if "mark" in row.scores}
    assert max(given.values()) in left.values() and len(given) > 20
    fewer = ["dataset_filters.deita.most=3"]
    assert rejudge(out, set=fewer, catalog=catalog(Marks())).records == 3
    run(seeds, tmp_path / "fresh", filters=["mark"], dataset_filters=[{"deita": {**BEST["deita"], "most": 3}}])
    assert dataset_bytes(out) == dataset_bytes(tmp_path / "fresh")


def test_show_tells_the_score_and_why_a_row_went(seeds, tmp_path):
    run(seeds, tmp_path / "run", filters=["mark"], dataset_filters=[BEST])
    with Store(tmp_path / "run" / "run.db", read_only=True) as store:
        texts = [str(_plain(tree(lineage(store, order), full=False))) for order in range(20)]
    assert any("6 rows that score as much or more are taken" in text and "mark" in text for text in texts)


def _plain(renderable):
    from rich.console import Console

    console = Console(width=300, no_color=True)
    with console.capture() as capture:
        console.print(renderable)
    return capture.get()


def problems(seeds, **changes):
    try:
        recipe(seeds, **changes)
    except RecipeError as error:
        return error.problems
    return ()


def test_a_recipe_that_lacks_the_judge_is_refused_with_what_to_do(seeds):
    told = (
        "no filter here is called so: list that judge under filters; docs/judges.md tells which there are. "
        "There is: judged."
    )
    assert problems(seeds, dataset_filters=[{"deita": {"most": 5}}]) == tuple(
        f"recipe: dataset_filters: 'deita' reads the score of '{label}', and {told}"
        for label in ("deita-complexity", "deita-quality")
    )
    found = {}
    for label in ("deita-qualty:response", "deita-quality"):
        best = {"deita": {"most": 5, "scores": [label]}}
        found[label] = problems(seeds, filters=["deita-quality"], dataset_filters=[best])
    assert found.pop("deita-qualty:response")[0].endswith("Did you mean 'deita-quality'?")
    assert found == {"deita-quality": ()}


def test_where_no_row_was_scored_the_run_stops_and_says_so(seeds, tmp_path):
    options = {"deita": {"most": 6, "scores": ["mark"], "by": "words"}}
    with pytest.raises(RunError, match="not one of 16 rows has the scores mark"):
        run(seeds, tmp_path / "run", filters=[{"mark": {}}, {"shaky": {"share": 1}}], dataset_filters=[options])
    card = (tmp_path / "run" / "README.md").read_text()
    assert "The run stopped: filter 'deita'" in card
    assert len(json.loads((tmp_path / "run" / "dataset.json").read_bytes())) == 16
