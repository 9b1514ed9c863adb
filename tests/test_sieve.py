"""prune(): filters over a file, without a run; and its command."""

import json
from pathlib import Path

import pytest
from rows import OTHER, TASK

import evolteacher as et
from evolteacher.errors import RecipeError, RunError, SeedError, UsageError

NEAR = "near-duplicates"


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda rows, name="data.jsonl": _write(tmp_path / name, rows)


def _write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path.name


def pair(instruction, output="def f(): ...", **more):
    return {"instruction": instruction, "output": output, **more}


def lines(path):
    with open(path) as file:
        return [json.loads(line) for line in file]


def test_what_is_kept_and_what_is_rejected_with_its_reason(file):
    name = file([pair(TASK), pair(OTHER), pair(f"{TASK} Please.", "x = 1"), pair("Draw.", "\u200b")])
    report = et.prune(name, [NEAR, "empty"], "out.jsonl", rejects="why.jsonl")
    assert report.lines() == ["4 rows read, 2 written", "empty: 1 row rejected", f"{NEAR}: 1 row rejected"]
    assert [row["instruction"] for row in lines("out.jsonl")] == [TASK, OTHER]
    near, empty = lines("why.jsonl")
    assert (near["source"], near["filter"], near["instruction"]) == ("data.jsonl:3", NEAR, f"{TASK} Please.")
    assert "like that of lineage 0, round 0 (" in near["reason"] and near["reason"].endswith("data.jsonl:1)")
    assert empty["reason"] == "it holds nothing but white space and invisible characters"
    assert list(near) == ["order", "source", "filter", "reason", "instruction", "output"]


def test_doing_it_again_in_place_changes_nothing(file):
    name = file([pair(f"{TASK} {n % 5}", f"{n % 3}") for n in range(30)], "data.json")
    et.prune(name, [NEAR], name, rejects="why.jsonl")
    once = Path(name).read_bytes()
    assert 1 <= len(json.loads(once)) < 6 and len(lines("why.jsonl")) + len(json.loads(once)) == 30
    again = et.prune(name, [NEAR], name, rejects="why.jsonl")
    assert (again.rejected, Path(name).read_bytes(), lines("why.jsonl")) == ({}, once, [])


def test_each_dataset_filter_sees_what_those_before_it_left(file):
    name = file([pair(TASK, "```python\nx\n```"), pair(TASK, "```python\ny\n```"), pair(OTHER, "```python\nz\n```")])
    cap = {"cap": {"per": "language", "most": 1}}
    assert et.prune(name, [NEAR, cap], "a.jsonl").rejected == {NEAR: 1, "cap": 1}
    assert et.prune(name, [cap, NEAR], "b.jsonl").rejected == {"cap": 2}


def test_rows_without_a_response_are_judged_by_their_instruction_and_stay(file):
    name = file([{"instruction": TASK}, {"instruction": TASK}, {"instruction": OTHER}])
    assert et.prune(name, [NEAR, "code-parses", "refusal"], "out.jsonl").rejected == {NEAR: 1}
    assert [row["output"] for row in lines("out.jsonl")] == [None, None]


def test_on_points_a_row_filter_as_in_a_recipe(file):
    name = file([pair("Sort.", "Sort a list of ten numbers in place."), pair("Sort a long list of numbers.", "x")])
    for place, kept in (("response", 1), ("both", 0)):
        assert et.prune(name, [{"few-words": {"on": place}}], "out.jsonl").written == kept


def test_provenance_and_scores_of_a_row_are_its_own(file):
    run = {"id": "", "depth": 1, "parent_id": None, "model": None, "evolve_model": None, "source": None}
    run |= {"lineage": "ab", "operator": "harder", "licence": None}
    name = file([pair(f"task {n}", round=n % 3, scores={"q": n, "x": "9"}, **run) for n in range(6)])
    assert et.prune(name, [{"cap": {"per": "operator", "most": 2}}], "out.jsonl").written == 4  # two are of round 0
    assert et.prune(name, [{"deita": {"most": 2, "scores": ["q"], "by": "words"}}], "out.jsonl").written == 2
    assert [(row["instruction"], row["round"]) for row in lines("out.jsonl")] == [("task 4", 1), ("task 5", 2)]


BAD = {
    "asks": (["no-gain"], RecipeError, r"prune: filters\[0\]: 'no-gain' asks an LLM, which only a run does"),
    "compares": (["too-similar"], RecipeError, "'too-similar' judges a rewrite beside its parent"),
    "misspelt": (["near-duplicate"], RecipeError, "Did you mean 'near-duplicates'?"),
    "twice": ([NEAR, NEAR], RecipeError, "'near-duplicates' is there twice"),
    "option": ([{"cap": {"most": 1}}], RecipeError, "filter 'cap' needs 'per'"),
    "no name": ([3], RecipeError, r"filters\[0\]: a filter is needed here"),
    "none": ([], UsageError, "there is no filter: name one or more"),
    "no scores": ([{"deita": {"most": 1, "by": "words"}}], RunError, "not one of 1 rows has the scores"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_cannot_be_done_is_refused_and_nothing_is_written(file, tmp_path, what):
    filters, kind, message = BAD[what]
    name = file([pair(TASK)])
    with pytest.raises(kind, match=message):
        et.prune(name, filters, "out.jsonl", rejects="why.jsonl")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_files_in_each_others_way_and_sources_without_a_row(file, tmp_path):
    name, empty = file([pair(TASK)]), file([], "empty.jsonl")
    Path("link.jsonl").symlink_to(name)
    for rejects in (name, "out.jsonl", "link.jsonl"):
        with pytest.raises(UsageError, match="the rejects need a file of their own"):
            et.prune(name, [NEAR], "out.jsonl", rejects=rejects)
    with pytest.raises(SeedError, match="there is no row in it"):
        et.prune(empty, [NEAR], "out.jsonl", rejects="why.jsonl")
    with pytest.raises(RunError, match="cannot be written"):
        et.prune(name, [NEAR], "no/such/folder/out.jsonl", rejects="why.jsonl")
    assert sorted(path.name for path in tmp_path.iterdir()) == [name, empty, "link.jsonl"]


def test_a_score_that_is_no_number_of_this_world_is_none(file):
    name = file([pair("one", scores={"q": 10**400}), pair("two", scores={"q": 1}), pair("three", scores={"q": None})])
    et.prune(name, [{"deita": {"most": 1, "scores": ["q"], "by": "words"}}], "out.jsonl")
    assert [row["instruction"] for row in lines("out.jsonl")] == ["two"]


def test_a_filter_that_repairs_is_sent_to_a_run(file, tmp_path):
    class Trimming(et.ResponseFilter, name="trimming"):
        def reject(self, record):
            return et.Judgement(response=record.response.strip()) if record.response.endswith(" ") else None

    class Brought:
        @et.hookimpl
        def register_filters(self):
            return [Trimming]

    catalog = et.Catalog.load()
    catalog.register(Brought(), "trimming")
    name = file([pair(TASK)])
    assert et.prune(name, ["trimming"], "out.jsonl", catalog=catalog).written == 1
    name = file([pair(TASK), pair(OTHER, "x = 1 ")])
    with pytest.raises(UsageError, match="prune: 'trimming' repairs responses, which only a run keeps"):
        et.prune(name, ["trimming"], "other.jsonl", catalog=catalog)
    assert not (tmp_path / "other.jsonl").exists()
