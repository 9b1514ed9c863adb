"""stats and diff: a run's figures, and what differs between two."""

import json
import re

import pytest
from commands import RECIPE, TASKS, write_seeds
from hypothesis import given
from hypothesis import strategies as st

from evolteacher.contrast import Shares

REJECTING = RECIPE.replace("few-words]", "{few-words: {words: 18, on: [instruction, response]}}]")


@pytest.fixture
def runs(cli, folder):
    """Two runs of the same twelve seeds, the second with a stricter filter."""
    (folder / "recipe.yaml").write_text(REJECTING)
    write_seeds(folder / "seeds.jsonl", [f"{task} {'Please. ' * n}" for n, task in enumerate(TASKS * 3)])
    assert cli("run", "recipe.yaml", "--out", "one").code == 0
    assert cli("run", "recipe.yaml", "--out", "two", "--set", "filters=[{few-words: {words: 60}}]").code == 0


def test_stats_prints_the_sums_and_the_tables_of_the_report(cli, runs):
    result = cli("stats", "one")
    assert result.code == 0
    assert re.search(r"^ seeds +12, 12 with a response$", result.out, re.MULTILINE)
    assert "95 % interval" in result.out and "Length of kept instructions by round" in result.out
    assert "Rejected, by filter and round" in result.out and "few-words" in result.out
    assert "tokens a second" not in result.out, "what is there to be drawn stays out"


def test_stats_as_json_holds_every_figure_and_agrees_with_show(cli, runs):
    found = json.loads(cli("stats", "one", "--json").out)
    assert found["seeds"] == found["lineages"] == 12
    tried = sum(operator["tried"] for operator in found["operators"].values())
    assert tried == sum(row["tried"] for row in found["rounds"] if row["round"]) > 12
    assert sum(each["number"] for each in found["rejected_by"]) == sum(row["rejected"] for row in found["rounds"]) > 0
    assert {"lengths", "acceptance", "rejects", "latency"} <= {figure["name"] for figure in found["figures"]}
    shown = re.search(r"few-words (\d+)", cli("show", "one").out)
    assert int(shown[1]) == found["rejected_by"][0]["number"]


def test_stats_counts_the_same_rows_as_json_and_as_a_table_where_seeds_have_no_response(cli, folder):
    rows = [
        {"instruction": f"{task} Please.", **({"output": "Done."} if n % 2 else {})} for n, task in enumerate(TASKS)
    ]
    (folder / "seeds.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    limited = "dataset_filters=[{cap: {per: round, most: 2}}]"
    assert cli("run", "recipe.yaml", "--out", "one", "--set", limited).code == 0
    shown = re.findall(r"^ round (\d).* (\d+) kept, ", cli("stats", "one").out, re.MULTILINE)
    found = json.loads(cli("stats", "one", "--json").out)["rounds"]
    assert [(str(row["round"]), str(row["kept"])) for row in found] == shown and len(shown) == 3
    assert (found[0]["kept"], found[0]["unanswered"], sum(row["kept"] for row in found)) == (2, 2, 6)
    assert [row["dropped"] for row in found] == [0, 2, 2]
    assert all(row["tried"] == sum(row[key] for key in ("kept", "unanswered", "rejected", "dropped")) for row in found)
    page = cli("report", "one")
    assert page.code == 0
    assert "<b>2 kept</b>, 0 rejected, 2 without a response" in (folder / "one/report.html").read_text()


def test_diff_names_what_the_recipes_ask_otherwise_and_what_came_of_it(cli, runs):
    result = cli("diff", "one", "two")
    assert result.code == 0
    assert "filters" in result.out and "A has" in result.out
    assert "12 in A, 12 in B, 12 in both" in result.out
    assert re.search(r"round 1 +\d+ of 12 +0 of 12 +-\d+% .* differs", result.out)
    found = json.loads(cli("diff", "one", "two", "--json").out)
    assert found["rows"]["evolved_in_both"] == 0 and found["rejects"]["few-words"]["b"] > 0
    assert found["rounds"][0]["within_noise"] is False


def test_a_run_beside_itself_differs_in_nothing(cli, runs):
    result = cli("diff", "one", "one")
    assert "The recipes ask for the same experiment." in result.out
    assert "differs" not in result.out and "within noise" in result.out
    found = json.loads(cli("diff", "one", "one", "--json").out)
    assert found["recipe"] == [] and all(row["within_noise"] for row in found["rounds"] + found["operators"])
    evolved = sum(row["a"]["kept"] for row in found["rounds"])
    assert found["rows"]["evolved_in_both"] == evolved > 0


def test_rounds_stand_in_their_order_after_the_seeds(cli, runs):
    assert cli("run", "recipe.yaml", "--out", "long", "--set", "rounds=11", "--set", "on_pruned=retry").code == 0
    found = json.loads(cli("diff", "one", "long", "--json").out)
    assert [row["what"] for row in found["rounds"]] == [f"round {number}" for number in range(1, 12)]
    lengths = list(found["lengths"])
    assert lengths[:2] == ["seeds", "round 1"] and lengths[-1] == "round 11"


@pytest.mark.parametrize("words", [("stats", "one"), ("diff", "one", "two")])
def test_a_narrow_terminal_breaks_words_and_cuts_nothing_off(cli, runs, monkeypatch, words):
    monkeypatch.setenv("COLUMNS", "40")
    out = cli(*words).out
    assert max(map(len, out.splitlines())) <= 40
    assert "…" not in out


def test_a_run_that_is_not_finished_is_said_to_be_so(cli, runs):
    assert cli("run", "recipe.yaml", "--out", "cut", "--set", "budget.tokens=900").code == 3
    assert "not finished" in cli("stats", "cut").out
    assert "not finished" in cli("diff", "one", "cut").out and "not finished" not in cli("diff", "one", "two").out
    assert json.loads(cli("diff", "one", "cut", "--json").out)["pending"]["b"] > 0


@pytest.mark.parametrize("command", [("stats", "nowhere"), ("diff", "one", "nowhere"), ("diff", "nowhere", "one")])
def test_a_folder_that_holds_no_run_is_named(cli, runs, command):
    cli(*command).refused(2, "nowhere")


counts = st.integers(1, 400).flatmap(lambda tried: st.tuples(st.integers(0, tried), st.just(tried)))


@given(counts, counts)
def test_the_interval_of_a_difference_holds_it_and_turns_with_the_runs(a, b):
    middle, low, high = Shares("x", a, b).difference
    assert -1 - 1e-9 <= low <= middle + 1e-9 and middle - 1e-9 <= high <= 1 + 1e-9
    turned = Shares("x", b, a).difference
    assert turned == pytest.approx((-middle, -high, -low))
    if a == b:
        assert Shares("x", a, b).noise


def test_the_interval_is_newcombes():
    # Newcombe 1998 (Statistics in Medicine 17:873), table II, example (a): 56/70 and 48/80, method 10.
    middle, low, high = Shares("x", (48, 80), (56, 70)).difference
    assert (round(middle, 4), round(low, 4), round(high, 4)) == (0.2, 0.0524, 0.3339)
