"""The interval of a paired difference: what must hold whatever is measured, and how often it holds the truth."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evolteacher.comparing.paired import _spread, pigeonhole, student
from evolteacher.comparing.paired import difference as unhurried


def difference(table, level=0.95):
    """Few resamples, for speed: the laws hold for any number of them."""
    return unhurried(table, level, 300)


FIGURES = st.floats(-100, 100, allow_nan=False).map(lambda value: round(value, 6))


@st.composite
def tables(draw, least=1):
    seeds, units = draw(st.integers(least, 4)), draw(st.integers(2, 8))
    return [[draw(FIGURES) for _ in range(units)] for _ in range(seeds)]


@pytest.mark.parametrize(
    ("share", "freedom", "expected"),
    [(0.975, 1, 12.7062), (0.975, 2, 4.3027), (0.975, 2.5, 3.5747), (0.99375, 2, 8.8604), (0.975, 30, 2.0423),
     (0.5, 3, 0.0), (0.975, 400, 1.9659), (0.975, 10_000, 1.9600)],
)  # fmt: skip
def test_students_distribution_is_as_tables_have_it(share, freedom, expected):
    assert student(share, freedom) == pytest.approx(expected, rel=2e-4, abs=1e-9)


class TestLaws:
    @given(tables())
    @settings(max_examples=30)
    def test_the_mean_lies_in_the_interval_and_the_same_table_has_the_same_interval(self, table):
        found = difference(table)
        assert found.low <= found.mean <= found.high
        assert found.mean == pytest.approx(
            math.fsum(value for row in table for value in row) / (len(table) * len(table[0]))
        )
        assert found == difference(table)

    @given(tables())
    @settings(max_examples=30)
    def test_who_is_taken_from_whom_only_turns_the_sign(self, table):
        there, back = difference(table), difference([[-value for value in row] for row in table])
        assert (back.low, back.high) == pytest.approx((-there.high, -there.low))
        assert there.noise == back.noise

    @given(tables(), st.floats(0.1, 10), FIGURES)
    @settings(max_examples=30)
    def test_another_scale_or_a_shift_of_all_moves_the_interval_alike(self, table, scale, shift):
        plain, moved = difference(table), difference([[scale * value + shift for value in row] for row in table])
        for one, other in ((plain.low, moved.low), (plain.high, moved.high)):
            assert other == pytest.approx(scale * one + shift, rel=1e-5, abs=1e-5)

    @given(tables(least=2))
    @settings(max_examples=30)
    def test_a_higher_level_is_wider(self, table):
        narrow, wide = difference(table, 0.95), difference(table, 0.99)
        assert wide.low <= narrow.low and narrow.high <= wide.high

    @given(tables(least=2))
    @settings(max_examples=30)
    def test_it_is_never_narrower_than_what_seeds_alone_or_units_alone_say(self, table):
        found = difference(table)
        seeds, units = len(table), len(table[0])
        means = [sum(row) / units for row in table], [sum(column) / seeds for column in zip(*table, strict=True)]
        for values in means:
            average = sum(values) / len(values)
            error = math.sqrt(sum((v - average) ** 2 for v in values) / (len(values) - 1) / len(values))
            assert found.high - found.mean >= 1.95 * error - 1e-9

    @given(st.integers(1, 4), st.integers(2, 8))
    def test_identical_data_is_noise(self, seeds, units):
        found = difference([[0.0] * units] * seeds)
        assert found.noise and (found.mean, found.low, found.high) == (0, 0, 0)

    @given(st.integers(2, 4), st.integers(2, 8), st.floats(0.001, 5))
    def test_the_same_difference_everywhere_is_none_by_chance(self, seeds, units, value):
        found = difference([[value] * units] * seeds)
        assert not found.noise and found.low == pytest.approx(value)


def test_the_variance_is_that_of_a_two_way_analysis():
    """By hand: mean squares of seeds 6, of lineages 6, of the rest 2, with 1, 2 and 2 degrees of freedom."""
    variance, freedom = _spread([[1, 2, 3], [3, 2, 7]], 3.0)
    assert (variance, freedom) == (pytest.approx((6 + 6 - 2) / 6), pytest.approx(100 / (36 + 36 / 2 + 4 / 2)))


def test_figures_that_cancel_out_in_every_row_and_column_are_not_certain():
    assert difference([[1.5, -0.5], [-0.5, 1.5]]).noise


def test_heavy_tails_make_it_wider_than_students():
    table = [[0.0] * 19 + [6.0], [0.01] * 19 + [6.1], [-0.01] * 19 + [5.9]]
    found = difference(table, 0.9875)
    variance, freedom = _spread(table, found.mean)
    assert found.high - found.mean > 1.1 * student(0.99375, freedom) * math.sqrt(variance)


def simulated(draw, seeds, units, spread, effect=0.0):
    """Return a table whose seeds, units and cells each vary by so much."""
    of_seed, of_unit, of_cell = spread
    rows = [draw.gauss(0, of_seed) for _ in range(seeds)]
    columns = [draw.gauss(0, of_unit) for _ in range(units)]
    return [[effect + row + column + draw.gauss(0, of_cell) for column in columns] for row in rows]


@pytest.mark.parametrize("spread", [(0.05, 0.3, 0.3), (0.2, 0.3, 0.3), (0.3, 0.1, 0.1), (0, 0.3, 0.1)])
@pytest.mark.parametrize("seeds", [3, 5])
def test_it_holds_the_truth_about_as_often_as_it_says(seeds, spread):
    """Binomial noise of 300 tables is 0.013; with three seeds the worst of these is known to be near 0.93."""
    draw = random.Random(seeds)
    held = sum(difference(simulated(draw, seeds, 12, spread)).noise for _ in range(300))
    assert held / 300 > 0.90


def test_a_plain_bootstrap_would_not():
    """Why percentiles alone are not used: of three seeds that differ, they hold the truth far too seldom."""
    draw, held = random.Random(0), 0
    for _ in range(300):
        means = sorted(pigeonhole(simulated(draw, 3, 12, (0.3, 0.1, 0.1)), 300))
        held += means[7] <= 0 <= means[292]
    assert held / 300 < 0.85


def test_a_difference_that_is_there_is_found():
    draw = random.Random(1)
    found = [difference(simulated(draw, 3, 20, (0.02, 0.1, 0.1), 0.2)) for _ in range(100)]
    assert sum(not one.noise and one.mean > 0 for one in found) > 95


def test_one_unit_that_differs_by_far_does_not_make_a_difference():
    table = [[0.0] * 11 + [6.0], [0.01] * 11 + [6.1], [-0.01] * 11 + [5.9]]
    assert difference(table).noise, "one lineage of twelve carries all of it"


@pytest.mark.parametrize("table", [[], [[]], [[1.0]], [[1.0, 2.0], [1.0]], [[1.0, math.nan]], [[1.0, math.inf]]])
def test_what_has_no_interval_is_refused(table):
    with pytest.raises(ValueError):
        difference(table)
