"""How much is kept: a cap by kind, and DEITA's selection by score and diversity."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rows import OTHER, TASK, TEXTS, dropped, row

from evolteacher.errors import RunError
from evolteacher_plugins.selection import Cap, Deita

JUDGES = ("deita-complexity", "deita-quality")
CODE = {
    "python": "Here it is:\n```py\nprint(1)\n```\nAnd in C:\n```c\nint x;\n```",
    "java": "public class A {\n  public static void main(String[] a) { System.out.println(1); }\n}",
    "rust": "```\nfn main() {\n    let mut x = 1;\n}\n```",
}


def kept(filter, rows):
    gone = dropped(filter, rows)
    return [row.id for row in rows if row.id not in gone]


def made(count, rounds=3):
    return [row(f"task {n} of round {r}", n, r) for r in range(rounds + 1) for n in range(count)]


def scored(text, order, complexity, quality, round=0):
    return row(text, order, round, **dict(zip(("c", "q"), (complexity, quality), strict=True)))


def test_a_cap_keeps_the_first_of_each_operator_and_no_seed_is_counted():
    rows = made(10)
    found = dropped(Cap(per="operator", most=12), rows)
    assert [id for id in (row.id for row in rows) if id not in found] == [row.id for row in rows[:22]]
    assert set(found.values()) == {"there are 12 earlier rows of operator harder already"}


def test_a_cap_spreads_over_the_rounds_where_it_is_told_to():
    rows = made(10)
    left = [row for row in rows if row.id not in dropped(Cap(per="operator", most=6, keep="spread"), rows)]
    assert [sum(row.round == round for row in left) for round in range(4)] == [10, 2, 2, 2]


@pytest.mark.parametrize("per", ["lineage", "round"])
def test_a_cap_by_lineage_and_by_round(per):
    rows = made(5)
    assert kept(Cap(per=per, most=2), rows) == [
        row.id for row in rows if (row.round if per == "lineage" else row.order) < 2
    ]


def test_a_cap_by_programming_language_reads_the_fence_or_the_code():
    texts = [*CODE.values(), "No code.", "```\n?\n```"] * 3
    rows = [row(f"task {n}", n, response=text) for n, text in enumerate(texts)]
    found = dropped(Cap(per="language", most=2), rows)
    assert {reason.split()[-2] for reason in found.values()} == set(CODE)
    assert list(found) == [row.id for row in rows[10:13]]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 9), st.sampled_from(["first", "spread"]), st.lists(st.integers(0, 3), max_size=40))
def test_a_cap_is_kept_to_and_capping_again_drops_nothing(most, keep, rounds):
    rows = [row(f"task {n}", n, round) for n, round in enumerate(sorted(rounds))]
    cap = Cap(per="round", most=most, keep=keep)
    gone = dropped(cap, rows)
    left = [row for row in rows if row.id not in gone]
    assert dropped(cap, left) == {}
    for round in set(rounds):
        assert sum(row.round == round for row in left) == min(most, rounds.count(round))


BEST = Deita(most=2, scores=("c", "q"), by="words")


def test_deita_takes_the_best_products_of_scores():
    rows = [scored("one thing", 0, 2, 2), scored("another task", 1, 5, 1), scored("a third", 2, 3, 3)]
    found = dropped(BEST, rows)
    assert found == {rows[0].id: "2 rows that score as much or more are taken"}


@pytest.mark.parametrize("by", ["words", "meaning"])
def test_deita_passes_over_what_is_SIMILAR_to_a_better_row_and_never_over_what_is_not(by):
    """The sign that reimplementations get wrong: a near copy goes, and a row unlike all others stays."""
    rows = [scored(TASK, 0, 4, 4), scored(f"{TASK}!", 1, 5, 5), scored(OTHER, 2, 1, 1)]
    found = dropped(Deita(most=3, scores=("c", "q"), by=by), rows)
    assert list(found) == [rows[0].id]
    assert f"like that of lineage 1, round 0 ({rows[1].id}" in found[rows[0].id]
    assert found[rows[0].id].endswith("which scores as much or more")


def test_of_equal_scores_the_earlier_row_is_taken_and_rows_without_come_last():
    rows = [row("no score at all", 0), scored("first task", 1, 3, 2), scored("second thing", 2, 2, 3)]
    rows += [row("half a score", 3, c=6.0), scored("best of them", 4, 6, 6)]
    assert kept(BEST, rows) == [rows[1].id, rows[4].id]
    assert kept(Deita(most=4, scores=("c", "q"), by="words"), rows) == [rows[n].id for n in (0, 1, 2, 4)]


def test_nothing_is_compared_once_enough_is_taken():
    rows = [scored(f"{word} {n}", n, 6 - n, 1) for n, word in enumerate(["alpha", "beta", "gamma", "delta", "delta"])]
    rows[4] = scored(rows[3].instruction.text, 4, 1, 1)
    assert set(dropped(BEST, rows).values()) == {"2 rows that score as much or more are taken"}


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(TEXTS, st.integers(1, 6), st.integers(1, 6)), max_size=20), st.integers(1, 8))
def test_laws_of_the_selection(drawn, most):
    rows = [scored(text, n, complexity, quality) for n, (text, complexity, quality) in enumerate(drawn)]
    filter = Deita(most=most, scores=("c", "q"), by="words", text="instruction")
    gone = dropped(filter, rows)
    left = [row for row in rows if row.id not in gone]
    assert len(left) <= most and bool(left) == bool(rows)
    assert dropped(filter, left) == {}
    product = {row.id: row.scores["c"] * row.scores["q"] for row in rows}
    if rows:
        assert max(product[row.id] for row in left) == max(product.values())


def test_without_any_score_it_says_where_they_come_from():
    with pytest.raises(RunError, match=r"not one of 2 rows has the scores deita-complexity and deita-quality.*judges"):
        dropped(Deita(most=1, by="words"), [row("one", 0), row("two", 1)])
    assert dropped(Deita(most=1, by="words"), []) == {}
    assert Deita(most=1).scored_by() == JUDGES
