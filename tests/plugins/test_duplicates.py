"""Filters of duplicates: a planted pair is found, the earlier row stays, and a second look drops nothing."""

import os
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rows import OTHER, TASK, TEXTS, WORDS, dropped, row

import evolteacher as et
from evolteacher.errors import MissingExtra
from evolteacher_plugins.duplicates import NearDuplicates, SemanticDuplicates
from evolteacher_plugins.meaning import shipped_vectors
from evolteacher_plugins.selection import Deita
from evolteacher_plugins.shingles import PERMUTATIONS, ByWords, bands, shingles_of, words_of

MEASURES = {"words": NearDuplicates(), "meaning": SemanticDuplicates()}


def rows_of(texts):
    return [row(text, n % 7, n // 7) for n, text in enumerate(texts)]


@pytest.mark.parametrize("filter", MEASURES.values(), ids=MEASURES)
@pytest.mark.parametrize("again", [TASK, TASK.upper(), f"  {TASK.replace(' ', '  ').replace(',', ';')}\n"])
def test_a_planted_duplicate_is_found_and_names_the_row_it_resembles(filter, again):
    rows = [row(OTHER, 0), row(TASK, 1, lineage="ab" * 16), row(again, 2, 1), row(TASK[::-1], 3, 2)]
    found = dropped(filter, rows)
    assert list(found) == [rows[2].id]
    likeness = found[rows[2].id].split()[3]
    assert float(likeness) >= 0.97
    where = f"lineage 1, round 0 ({'ab' * 16}/0, a.jsonl:1)"
    assert found[rows[2].id] == f"its instruction is {likeness} like that of {where}"


def test_a_few_words_more_are_near_and_a_new_demand_is_not():
    longer = f"Please {TASK}"
    harder = f"{TASK} It must run in linear time, keep no second copy of the sentence, and cope with tabs."
    assert list(dropped(NearDuplicates(), [row(TASK), row(longer, 1)])) == [row(longer, 1).id]
    assert dropped(NearDuplicates(), [row(TASK), row(harder, 1)]) == {}


def test_a_paraphrase_is_no_near_duplicate_but_a_semantic_one():
    plain, other = "Find the largest number in a list of numbers.", "In a list of numbers, find the largest number!"
    rows = [row(plain), row(other, 1)]
    assert dropped(NearDuplicates(), rows) == {}
    assert list(dropped(SemanticDuplicates(), rows)) == [rows[1].id]


@pytest.mark.parametrize("filter", MEASURES.values(), ids=MEASURES)
@settings(max_examples=30, deadline=None)
@given(texts=st.lists(TEXTS, max_size=25))
def test_laws(filter, texts):
    """What is kept stays when it is looked at again; each that goes resembles an earlier one that stays."""
    rows = rows_of(texts)
    gone = dropped(filter, rows)
    left = [row for row in rows if row.id not in gone]
    assert dropped(filter, left) == {}
    places = {row.id: place for place, row in enumerate(rows)}
    for id, reason in gone.items():
        (like,) = [row.id for row in left if f"({row.id}," in reason]
        assert places[like] < places[id]
    equal = {}
    for one in rows:
        first = equal.setdefault(" ".join(one.instruction.text.split()), one)
        if first is not one and one.instruction.text.strip():
            assert one.id in gone, "one of two equal texts is always left out"


@pytest.mark.parametrize("filter", MEASURES.values(), ids=MEASURES)
def test_blocks_change_nothing(filter, monkeypatch):
    """More rows than one block, with duplicates inside blocks and across them, in a measure of another block size."""
    texts = [" ".join(WORDS[n % 900 * step % 26] for step in range(1, 9)) + f" {n % 900}" for n in range(1300)]
    gone = dropped(filter, rows_of(texts))
    assert len(gone) > 300
    made = type(filter).likeness

    def small(self):
        measure = made(self)
        measure.block = 37
        return measure

    monkeypatch.setattr(type(filter), "likeness", small)
    assert dropped(filter, rows_of(texts)) == gone


def test_seeds_without_a_row_count_against_what_evolved_and_not_against_other_seeds():
    seeds = [et.Seed(et.Instruction(TASK), None, "a.jsonl:7"), et.Seed(et.Instruction(OTHER), None, "a.jsonl:8")]
    rows = [row(f"{TASK} Now.", 0), row(OTHER, 1, 1)]
    for filter in MEASURES.values():
        found = dropped(filter, rows, seeds)
        assert list(found) == [rows[1].id]
        assert found[rows[1].id].endswith("like that of a seed without a response (a.jsonl:8)")
        assert dropped(filter.model_copy(update={"text": "response"}), [rows[1]], seeds) == {}


def test_own_lineage_can_be_left_out_of_it():
    mine, yours = row(TASK, 0), row(f"{TASK} Please.", 0, 1)
    assert list(dropped(NearDuplicates(), [mine, yours])) == [yours.id]
    assert dropped(NearDuplicates(own_lineage=False), [mine, yours]) == {}
    stranger = row(TASK, 5, 1)
    assert list(dropped(NearDuplicates(own_lineage=False), [mine, yours, stranger])) == [stranger.id]
    unanswered = [et.Seed(et.Instruction(TASK))]
    own = row(TASK, 0, 1, lineage=et.Instruction(TASK).id)
    assert list(dropped(NearDuplicates(), [own], unanswered)) == [own.id]
    assert dropped(NearDuplicates(own_lineage=False), [own], unanswered) == {}


@pytest.mark.parametrize("text", ["instruction", "response", "both"])
def test_what_is_compared_is_an_option(text):
    same_task = [row(TASK, 0, response=OTHER), row(TASK, 1, response=TASK)]
    same_answer = [row(TASK, 0, response=OTHER), row(OTHER, 1, response=OTHER)]
    for filter in (NearDuplicates(text=text), SemanticDuplicates(text=text)):
        assert len(dropped(filter, same_task)) == (text == "instruction")
        assert len(dropped(filter, same_answer)) == (text == "response")
        assert len(dropped(filter, [*same_task, row(TASK, 2, response=TASK)])) >= 1


def test_a_text_with_nothing_in_it_is_no_duplicate():
    rows = [row("", 0), row(" \n", 1), row("", 2), row("?!", 3), row(" ?!", 4)]
    assert list(dropped(NearDuplicates(), rows)) == [rows[4].id]


def test_words():
    assert words_of("Sort (a) list: C++, C# & `x[0]`!") == ["sort", "a", "list", "c++", "c#", "&", "x", "0"]
    assert words_of("日本語の文… “Straße”") == ["日", "本", "語", "の", "文", "strasse"]
    assert shingles_of("a b c d", 3) == ["a b c", "b c d"]
    assert shingles_of("A b.", 3) == ["a b"] and shingles_of(" \n", 3) == []


@pytest.mark.parametrize("percent", range(30, 101))
def test_the_index_hardly_misses_a_pair_at_the_threshold(percent):
    threshold, count = percent / 100, bands(percent / 100)
    assert PERMUTATIONS % count == 0
    assert (1 - threshold ** (PERMUTATIONS // count)) ** count <= 0.005


def test_the_estimate_is_near_the_true_similarity():
    measure, errors = ByWords(0.5, 1), []
    for n in range(200):
        shared, own = [f"s{n}x{i}" for i in range(40)], 5 + n % 10
        one, two = (" ".join([*shared, *(f"{side}{n}x{i}" for i in range(own))]) for side in "ab")
        first, second = measure.sketch([one, two])
        errors.append(first.jaccard(second) - 40 / (40 + 2 * own))
    assert abs(sum(errors) / 200) < 0.01
    assert (sum(error**2 for error in errors) / 200) ** 0.5 < 0.044


def test_the_same_whatever_hashes_a_process_has():
    script = (
        "from evolteacher_plugins.shingles import ByWords;"
        "print(*next(iter(ByWords(0.8, 3).sketch(['write a function of two words']))).digest())"
    )
    seeds = ("1", "2")
    said = {
        subprocess.check_output([sys.executable, "-c", script], env={**os.environ, "PYTHONHASHSEED": seed})
        for seed in seeds
    }
    assert len(said) == 1 and len(said.pop().split()) == PERMUTATIONS


def test_without_the_vectors_it_says_what_to_install(monkeypatch):
    shipped_vectors.cache_clear()
    monkeypatch.setitem(sys.modules, "wordllama", None)
    with pytest.raises(MissingExtra, match=r"filter 'semantic-duplicates' needs the extra 'semantic': pip install"):
        dropped(SemanticDuplicates(), [row(TASK)])
    shipped_vectors.cache_clear()
    for filter in (SemanticDuplicates(), Deita(most=1)):
        with pytest.raises(MissingExtra, match=f"filter '{filter.name}' needs the extra 'semantic'"):
            filter.require()
    Deita(most=1, by="words").require()


def test_memory_is_a_signature_for_each_row_that_is_kept():
    measure = ByWords(0.8, 3)
    items = measure.walk(_items(300))
    assert sum(match is None for _, match in items) == len(measure.kept) == len(measure._signatures) == 100


def _items(count):
    from evolteacher_plugins.alike import Item

    return (Item(str(n), str(n), f"{WORDS[n % 100 // 4]} {n % 100} {n % 100 * 7} of a kind") for n in range(count))
