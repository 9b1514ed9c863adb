"""The pairs that were labelled by hand, and the script that measures judges on them, with judges of known answers."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict

import pytest
from benchmarks import judge_agreement

import evolteacher as et
from evolteacher.shipped import recipe_names


@pytest.fixture(scope="module")
def pairs():
    return judge_agreement.load_pairs()


def test_the_pairs_are_forty_and_labelled(pairs):
    assert len(pairs) == 40
    for pair in pairs:
        texts = (pair.id, pair.parent, pair.child, pair.operator, pair.model)
        assert all(isinstance(text, str) and text == text.strip() != "" for text in texts), pair
        assert isinstance(pair.gain, bool)
        assert pair.kind in ("more", "copy", "other", "broken")
        assert pair.harder in ("child", "same", "parent")
        assert (pair.kind == "more") <= pair.gain <= (pair.kind in ("more", "other")), pair
        assert pair.gain <= (pair.harder == "child"), pair
    rows = [json.loads(line) for line in judge_agreement.PAIRS.read_text(encoding="utf-8").splitlines()]
    assert rows == [asdict(pair) for pair in pairs]


def test_no_text_of_a_pair_is_there_twice(pairs):
    assert len({pair.id for pair in pairs}) == 40
    assert len({" ".join(text.split()).casefold() for pair in pairs for text in (pair.parent, pair.child)}) == 80


def test_the_pairs_are_varied_and_both_labels_about_even(pairs):
    assert 16 <= sum(pair.gain for pair in pairs) <= 24
    for field, least in (("kind", 4), ("harder", 3), ("model", 2), ("operator", 10)):
        assert len({getattr(pair, field) for pair in pairs}) >= least, field
    assert min(Counter(pair.model for pair in pairs).values()) >= 15
    operators = {entry.cls.name for entry in et.Catalog.load().entries("operator")}
    assert {pair.operator for pair in pairs} <= operators


def test_a_constant_judge_is_no_better_than_itself_and_is_asked_once(tmp_path, capsys, pairs):
    told = [str(tmp_path), "--judges", "no-gain", "--set", "backends.judge={scripted: {default: Equal}}"]
    judge_agreement.main(told)
    shown = capsys.readouterr().out
    gains = sum(pair.gain for pair in pairs)
    assert shown.count(f"agrees with the label in {40 - gains}/40") == 2
    assert shown.count(f"always says 'gain': {gains}/40") == 2
    assert shown.count("better than these: not shown") == 2
    assert "the same in both orders: 40/40" in shown
    judge_agreement.main([*told[:3], "--read"])  # without the script, the embedded model would have to answer
    assert capsys.readouterr().out == shown


def test_a_judge_that_knows_the_labels_is_better_than_a_constant(tmp_path, capsys, pairs):
    rules = [
        {"contains": f"\n{text}\n", "reply": "Not Equal" if pair.gain else "Equal"}
        for pair in pairs
        for text in (pair.parent, pair.child)
    ]
    rules.sort(key=lambda rule: -len(rule["contains"]))
    script = tmp_path / "judge.jsonl"
    script.write_text("".join(json.dumps(rule) + "\n" for rule in rules))
    judge_agreement.main(
        [str(tmp_path / "runs"), "--judges", "no-gain", "--set", f"backends.judge={{scripted: {{file: {script}}}}}"]
    )
    shown = capsys.readouterr().out
    assert shown.count("agrees with the label in 40/40") == 2
    assert shown.count("better than these: yes") == 2


def test_a_judge_that_goes_by_the_place_contradicts_itself_when_swapped(tmp_path, capsys, pairs):
    second = "{scripted: {default: '[1] Score: 2\n\n[2] Score: 3'}}"
    judge_agreement.main([str(tmp_path), "--judges", "deita-complexity", "--set", f"backends.judge={second}"])
    shown = capsys.readouterr().out
    harder = Counter(pair.harder for pair in pairs)
    assert f"harder: agrees with the label in {harder['child']}/40" in shown
    assert f"harder: agrees with the label in {harder['parent']}/40" in shown
    assert "the same in both orders: 0/40" in shown


@pytest.mark.parametrize(("judge", "runs"), [("no-gain", 2), ("difficulty", 1)])
def test_what_cannot_be_read_agrees_with_none(tmp_path, capsys, judge, runs):
    judge_agreement.main([str(tmp_path), "--judges", judge, "--set", "backends.judge={scripted: {default: Hm}}"])
    shown = capsys.readouterr().out
    assert shown.count("40 of 40 pairs judged, 40 unreadable") == runs
    assert shown.count("gain: agrees with the label in 0/40") == runs


def test_equal_scores_say_that_the_two_are_equally_hard(tmp_path, capsys, pairs):
    told = [str(tmp_path), "--judges", "difficulty", "--set", "backends.judge={scripted: {default: 'Score: 4'}}"]
    judge_agreement.main(told)
    harder = Counter(pair.harder for pair in pairs)
    assert f"harder: agrees with the label in {harder['same']}/40" in capsys.readouterr().out


def test_an_empty_folder_is_reported_as_nothing(tmp_path, capsys):
    judge_agreement.main([str(tmp_path), "--read"])
    assert "pairs judged" not in capsys.readouterr().out


def test_no_shipped_recipe_has_a_judge_on_a_small_model_of_this_machine():
    catalog = et.Catalog.load()
    judged = {}
    for name in (name for name in recipe_names(catalog) if not name.startswith("train-")):  # these evolve nothing
        recipe = et.Recipe.load(name, catalog=catalog)
        judges = [use for use in recipe.filters if use.component.asks()]
        judged |= {(name, use.label): recipe.backends[recipe.backend_of("judge", use)].component for use in judges}
    assert {name for name, _ in judged} >= {"wizardcoder", "wizardlm", "wizardcoder-vllm", "mixed"}
    assert not [where for where, backend in judged.items() if backend.name == "embedded"]
