"""The dataset card: what it says, and that nothing in a recipe or a source can break it."""

from __future__ import annotations

import re

import pytest
from kit import CATALOG, SMALLEST, recipe

from evolteacher.card import dataset_card
from evolteacher.history import Summary
from evolteacher.recipe import Recipe
from evolteacher.rights import Clearance, RefusedRows
from evolteacher.yamlfile import parse

SUMMARY = Summary(
    seeds=1200, answered=3, lineages=1200, kept={0: 3, 1: 1100, 2: 1}, rejected={1: 100},
    filters={("instruction", "plain"): 90, ("evolve", "refused"): 10}, operators={"translate": (1200, 1100)},
    calls={("evolve", "big|model"): (2300, 1000, 500), ("judge", ""): (1, 2, 3)}
)  # fmt: skip
RIGHTS = Clearance("", {("mit", "openai"): 1103, ("", ""): 1})
EMPTY = Summary(seeds=1, answered=0, lineages=0, kept={}, rejected={}, filters={}, operators={})


def test_it_says_what_is_in_the_dataset(tmp_path):
    card = dataset_card(recipe("rounds: 2\ndescription: For trying.\n", tmp_path), SUMMARY, rights=RIGHTS)
    assert card.startswith("---\npretty_name: small\n")
    for line in (
        "# small", "For trying.",
        "1,104 instruction-response pairs, evolved from 1,200 seeds over 2 rounds by evolteacher",
        "| 0 (seeds) | 3 | 0 |", "| 1 | 1,100 | 100 |", "| 2 | 1 | 0 |",
        "| `plain` | instruction | 90 |", "| `refused` | evolve | 10 |", "| `translate` | 1,200 | 1,100 |",
        "| `evolve` | big\\|model | 2,300 | 1,000 | 500 |", "| `judge` | ? | 1 | 2 | 3 |",
        "| unknown | 1 |", "| mit | 1,103 |", "| `openai` | 1,103 | Understood to forbid",
    ):  # fmt: skip
        assert line in card
    assert "Partial" not in card
    assert "another run" not in card


def test_one_of_each_and_nothing_rejected(tmp_path):
    card = dataset_card(recipe("rounds: 1\n", tmp_path), EMPTY)
    assert "0 instruction-response pairs, evolved from 1 seed over 1 round by" in card
    assert "Nothing was rejected." in card
    assert "No licence of the seeds is known" in card


def test_a_partial_dataset_says_why_in_one_line(tmp_path):
    card = dataset_card(recipe("", tmp_path), SUMMARY, partial="The run stopped: a\nb.")
    assert "> **Partial.** The run stopped: a b. The rows below are those that have settled;" in card


def test_the_recipe_in_it_loads_again_and_tells_no_path_of_this_machine(tmp_path):
    fences = "Use ``` and ````:\n{{ instruction }}"
    for seeds, shown in ((str(tmp_path / "a" / "s.jsonl"), "s.jsonl"), ("~/s.jsonl", "s.jsonl"), ("hf:a/b", "hf:a/b"),
                         ("data/s.jsonl", "data/s.jsonl")):  # fmt: skip
        text = SMALLEST.replace("seeds.jsonl", f"'{seeds}'")
        path = tmp_path / "r.yaml"
        path.write_text(text)
        loaded = Recipe.load(path, catalog=CATALOG).changed(set=["rounds=2"], catalog=CATALOG)
        data = {**loaded.to_plain(), "operators": [{"translate": {"template": fences}}]}
        loaded = Recipe.from_dict({**data, "seeds": seeds}, catalog=CATALOG)
        card = dataset_card(loaded, SUMMARY)
        assert str(tmp_path) not in card
        found = re.search(r"## Recipe\n\n(`{5})yaml\n(.*)\n\1\n\Z", card, re.DOTALL)
        assert found is not None
        written = parse(found[2], "card").data
        assert written["seeds"]["path"] == shown
        again = Recipe.from_dict(written, catalog=CATALOG)
        assert again.experiment() == loaded.experiment()


@pytest.mark.parametrize("odd", ["a|b", "a\nb", "a\r\nb", "a\\|b", "<script>", "a\tb", "é😀"])
def test_a_table_keeps_its_form_whatever_a_source_says(odd, tmp_path):
    summary = Summary(**{**vars(EMPTY), "calls": {("evolve", odd): (1, 1, 1)}})
    rights = Clearance("mit", {(odd, odd): 1}, (RefusedRows(odd, odd, 1, odd),), odd)
    card = dataset_card(recipe("", tmp_path), summary, rights=rights)
    rows = [line for line in card.splitlines() if line.startswith("|")]
    tables = re.split(r"\n\n", card)
    for table in tables:
        widths = {len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in table.splitlines() if line.startswith("|")}
        assert len(widths) <= 1
    assert len(rows) == 20
    assert "<script" not in card


def test_the_front_matter_names_the_one_file_that_hubs_read(tmp_path):
    card = dataset_card(recipe("", tmp_path), SUMMARY, data_file="dataset.jsonl")
    front = parse(card.split("---\n")[1], "card").data
    assert front["configs"] == [{"config_name": "default", "data_files": "dataset.jsonl"}]
    assert "configs" not in dataset_card(recipe("", tmp_path), SUMMARY)


def test_the_front_matter_is_yaml_whatever_the_name(tmp_path):
    card = dataset_card(recipe("name: '1.0'\n".replace("name", "description"), tmp_path), SUMMARY)
    front = parse(card.split("---\n")[1], "front").data
    assert front == {
        "pretty_name": "small", "tags": ["evol-instruct", "synthetic"], "language_creators": ["machine-generated"]
    }  # fmt: skip
