"""The nouns: ids, surrogates, what a lineage yields."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

import evolteacher as et
from evolteacher.record import clean_text, text_id


@given(st.text(), st.text())
def test_an_id_is_that_of_the_text_alone(one, two):
    assert (et.Instruction(one).id == et.Instruction(two).id) == (one == two)
    assert len(text_id(one)) == 32
    assert bytes.fromhex(text_id(one)).hex() == text_id(one)


def test_ids_stay_what_they_are():
    assert et.Instruction("Add two numbers.").id == "f280bcab3c20a8262dd53401ec77fa1c"


@given(st.text(st.characters() | st.characters(categories=["Cs"])))
def test_cleaning_replaces_lone_surrogates_and_nothing_else(text):
    clean, count = clean_text(text)
    clean.encode("utf-8")
    odd = [place for place, char in enumerate(text) if "\ud800" <= char <= "\udfff"]
    assert count == len(odd)
    assert len(clean) == len(text)
    assert all(
        new == ("\ufffd" if place in odd else old) for place, (new, old) in enumerate(zip(clean, text, strict=True))
    )
    assert clean_text(clean) == (clean, 0)


def step(round, *, filter="", response="answer", child="child", dropped=False):
    parent = et.Instruction("parent")
    evolution = et.Evolution(parent, et.Instruction(child), "op", round) if child else None
    stage = "dataset" if dropped else "response"
    return et.Step("op", round, parent, et.Verdict(stage, filter, "why" if filter else ""), evolution, response)


def test_a_lineage_yields_what_was_kept_and_answered():
    seed = et.Seed(et.Instruction("seed"), "answer", "f:1", "mit")
    first = et.Step("seed", 0, seed.instruction, et.Verdict("seed"), et.Evolution.of_seed(seed.instruction), "answer")
    steps = (first, step(1), step(2, filter="empty"), step(3, child=""), step(4, response=None),
             step(5, filter="near-duplicates", dropped=True), step(6))  # fmt: skip
    records = et.Lineage(seed, 7, steps).records()
    assert [record.round for record in records] == [0, 1, 6]
    assert {(r.lineage, r.order, r.source, r.licence) for r in records} == {(seed.instruction.id, 7, "f:1", "mit")}
    assert [record.id for record in records] == [f"{seed.instruction.id}/{round}" for round in (0, 1, 6)]
    assert records[0].evolution.is_seed
    assert records[0].evolution.depth == 0
    assert records[1].instruction.text == "child"


def test_nothing_can_be_changed():
    seed = et.Instruction("x")
    things = [
        seed,
        et.Seed(seed),
        et.Evolution.of_seed(seed),
        et.Verdict("seed"),
        et.Record(et.Evolution.of_seed(seed), "r"),
    ]
    for thing in things:
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(thing, dataclasses.fields(thing)[0].name, "other")
