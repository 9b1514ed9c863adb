"""What is held out and what is drawn: laws of the two draws, and that no version of a seed is on both sides."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolteacher.comparing.matching import Item, draw_orders, groups_of, held_out, matched, shuffled_responses
from evolteacher.comparing.trainings import as_data
from evolteacher.record import text_id
from evolteacher.training.rows import Row


def items(counts, length=lambda number: 10, prefix="l"):
    """Return items of lineages l0, l1, … with so many rows each."""
    found = []
    for lineage, count in enumerate(counts):
        for version in range(count):
            number = len(found)
            tokens = {"input_ids": [1] * length(number), "labels": [1] * length(number)}
            name = f"{prefix}{lineage}"
            found.append(Item(Row(f"{name} v{version}", "r", name, version), name, tokens, number))
    return found


COUNTS = st.lists(st.integers(0, 4), min_size=1, max_size=12)


class TestDraws:
    @given(COUNTS, COUNTS, st.integers(0, 5))
    def test_an_order_holds_each_item_once_and_is_the_same_each_time(self, a, b, seed):
        a, b = items(a), items(b)
        orders = draw_orders(a, b, seed)
        for order, given_items in zip(orders, (a, b), strict=True):
            assert sorted(item.number for item in order) == [item.number for item in given_items]
        assert orders == draw_orders(a, b, seed)

    @given(COUNTS, COUNTS, st.integers(0, 5))
    def test_what_can_be_paired_by_lineage_is_paired_first(self, a, b, seed):
        first, second = draw_orders(items(a), items(b), seed)
        pairs = sum(min(x, y) for x, y in zip(a, b, strict=False))
        assert [item.group for item in first[:pairs]] == [item.group for item in second[:pairs]]

    @given(COUNTS, COUNTS, st.integers(0, 5), st.none() | st.integers(1, 20))
    def test_as_many_rows_of_each_in_their_own_order(self, a, b, seed, most):
        a, b = items(a), items(b)
        first, second = matched(a, b, "samples", seed, most)
        assert len(first) == len(second) == min(len(a), len(b), most or len(a))
        for drawn in (first, second):
            assert [item.number for item in drawn] == sorted({item.number for item in drawn})

    @given(COUNTS, COUNTS, st.integers(0, 5), st.none() | st.integers(1, 20))
    def test_as_many_tokens_of_each_but_for_a_row(self, a, b, seed, most):
        a, b = items(a, lambda number: 5 + number % 7), items(b, lambda number: 8 + number % 5)
        drawn = matched(a, b, "tokens", seed, most)
        sums = [sum(item.length for item in one) for one in drawn]
        if a and b:
            assert abs(sums[0] - sums[1]) < 13
        assert all(len(one) <= (most or len(one)) for one in drawn)

    def test_the_smaller_side_is_whole_and_other_seeds_draw_other_rows(self):
        a, b = items([1] * 10), items([3] * 10)
        draws = [matched(a, b, "samples", seed, None) for seed in (1, 2)]
        assert draws[0][0] == draws[1][0] == a
        assert draws[0][1] != draws[1][1]
        assert {item.group for item in draws[0][1]} == {item.group for item in a}, "one of each lineage"


class TestHoldingOut:
    def test_a_file_without_lineages_shares_them_with_the_run_it_was_made_from(self):
        seed = text_id("Add.")
        run = [Row("Add.", "r", seed, 0), Row("Add twice.", "r", seed, 1)]
        flat = [Row("Add twice.", "r", text_id("Add twice."), 0), Row("Sort.", "r", text_id("Sort."), 0)]
        groups = groups_of([*run, *flat])
        assert groups[seed] == groups[text_id("Add twice.")] != groups[text_id("Sort.")]

    @given(COUNTS, COUNTS, st.integers(0, 9), st.sampled_from([0.1, 0.2, 0.5]))
    def test_the_same_share_of_what_both_have_and_of_what_one_has(self, a, b, seed, share):
        a, b = items(a), items(b) + items([1] * 10, prefix="b")
        held = held_out(a, b, share, seed)
        of_a, of_b = {item.group for item in a}, {item.group for item in b}
        for groups in (of_a & of_b, of_a - of_b, of_b - of_a):
            assert len(held & groups) == round(share * len(groups))
        assert held == held_out(a[::-1], b[::-1], share, seed), "the order of rows is nothing"


@pytest.mark.parametrize("count", [2, 3, 17])
def test_no_row_keeps_its_response_and_all_responses_stay(count):
    rows = [Row(f"i{n}", f"r{n}", f"l{n}", n, "mit", "llama") for n in range(count)]
    found = shuffled_responses(rows, 7)
    assert [replace(row, response="") for row in found] == [replace(row, response="") for row in rows]
    assert sorted(row.response for row in found) == sorted(row.response for row in rows)
    assert not any(new.response == old.response for new, old in zip(found, rows, strict=True))
    assert found == shuffled_responses(rows, 7) and (count < 4 or found != shuffled_responses(rows, 8))


def test_the_rows_of_a_training_keep_their_rights():
    (written,) = as_data([Row("i", "r", "l", 2, "mit", "llama")])
    assert (written["licence"], written["terms"], written["lineage"], written["round"]) == ("mit", "llama", "l", 2)
