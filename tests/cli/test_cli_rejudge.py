"""evolteacher rejudge: what it says, and how a run goes on after it."""

import json
import re
import shlex

import pytest
from commands import RECIPE, TASKS, write_seeds

TIGHT = "filters=[empty, {few-words: {words: 18, on: [instruction, response]}}]"


@pytest.fixture
def done(cli, folder):
    """A finished run whose filters rejected nothing."""
    write_seeds(folder / "seeds.jsonl", [f"{task} {'Please. ' * n}" for n, task in enumerate(TASKS * 2)])
    assert cli("run", "recipe.yaml").code == 0
    return folder / "runs/small"


def test_tighter_filters_say_what_changed_and_the_old_ones_bring_it_back(cli, done):
    before = (done / "dataset.json").read_bytes()
    result = cli("rejudge", "runs/small", "--set", TIGHT)
    assert result.code == 0
    assert re.search(r"^ rows +8 +8 → \d", result.out, re.MULTILINE)
    assert re.search(r"^ rejected by few-words +0 +0 → \d", result.out, re.MULTILINE)
    assert re.search(r"^ lost +lineage \d+, round \d, \S+; rejected by few-words: it has", result.out, re.MULTILINE)
    assert "pending" not in result.out
    shown = re.search(r"evolteacher (show .*--rejected-by few-words)", result.out)[1]
    assert cli(*shlex.split(shown)).code == 0
    assert (done / "dataset.json").read_bytes() != before
    assert cli("rejudge", "runs/small", "--recipe", "recipe.yaml").code == 0
    assert (done / "dataset.json").read_bytes() == before


def test_nothing_changed_is_said(cli, done):
    result = cli("rejudge", "runs/small", "--recipe", "recipe.yaml")
    assert result.code == 0
    assert "Nothing changed" in result.out


def test_what_is_pending_is_counted_and_complete_asks_for_it(cli, done, folder):
    assert cli("rejudge", "runs/small", "--set", TIGHT).code == 0
    (folder / "other.yaml").write_text(RECIPE)
    assert cli("run", "recipe.yaml", "--set", TIGHT, "--out", "tight").code == 0
    result = cli("rejudge", "tight", "--recipe", "other.yaml")
    assert result.code == 0
    assert re.search(r"^ pending +\d lineages; the first: a reply is needed", result.out, re.MULTILINE)
    assert re.search(r"^ calls left +\d+ at most, \d+ likely \(evolve \d+, respond \d+\)", result.out, re.MULTILINE)
    complete = shlex.split(re.search(r"evolteacher (rejudge .*--complete)", result.out)[1])
    completed = cli(*complete)
    assert completed.code == 0
    assert "small: done in" in completed.out
    assert cli("run", "other.yaml", "--out", "fresh").code == 0
    names = ("dataset.json", "dataset.jsonl")
    assert [(folder / "tight" / n).read_bytes() for n in names] == [(folder / "fresh" / n).read_bytes() for n in names]
    assert "0 asked" in cli("run", "other.yaml", "--out", "tight").out
    assert "Nothing changed" in cli(*complete).out


def test_complete_stops_at_the_budget_with_the_command_that_goes_on(cli, done, folder):
    assert cli("run", "recipe.yaml", "--set", TIGHT, "--out", "tight").code == 0
    stopped = cli("rejudge", "tight", "--recipe", "recipe.yaml", "--set", "budget.tokens=10", "--complete")
    stopped.refused(3, "not finished: the budget is spent", "rejudge tight --complete --set budget.tokens=10240")
    assert cli("rejudge", "tight", "--complete", "--set", "budget.tokens=900000").code == 0


def test_a_dry_run_writes_nothing(cli, done):
    files = {path: path.read_bytes() for path in done.iterdir() if not path.name.startswith("run.db-")}
    result = cli("rejudge", "runs/small", "--set", TIGHT, "--dry-run")
    assert result.code == 0
    assert "would be in the dataset" in result.out
    assert "Nothing was written" in result.err
    assert {path: path.read_bytes() for path in files} == files


def test_json(cli, done):
    found = json.loads(cli("rejudge", "runs/small", "--set", TIGHT, "--json").out)
    assert found["rows_lost"] > 0
    assert found["pending"]["lineages"] == 0
    assert found["rejected"]["few-words"]["1"][0] == 0


def test_mistakes(cli, done, folder):
    cli("rejudge", "runs/small", "--set", "rounds=1").refused(2, "rounds: the folder has 2, the recipe 1", "--fork")
    cli("rejudge", "runs/small", "--set", "filters=[emty]").refused(2, "'emty'", "Did you mean 'empty'")
    cli("rejudge", "nowhere").refused(2, "nowhere: there is no run here")
    cli("rejudge", "runs/small", "--complete", "--dry-run").refused(2, "do not go together")
    cli("rejudge", "runs/small", "--recipe", "nothing.yaml").refused(2, "nothing.yaml")
    cli("run", "recipe.yaml", "--set", TIGHT).refused(2, "another experiment", "rejudge")
