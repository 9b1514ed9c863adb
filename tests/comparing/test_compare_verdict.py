"""What a comparison says: each case of the two-by-two table, and that no failed control leaves a claim standing."""

import pytest

from evolteacher.comparing.matching import Item
from evolteacher.comparing.outcome import Measurement, Outcome
from evolteacher.comparing.paired import Difference
from evolteacher.comparing.trainings import Design
from evolteacher.comparing.verdict import (
    again_control,
    claim,
    claim_of_benchmark,
    conclude,
    overfit_control,
    shuffled_control,
)
from evolteacher.training.rows import Row


def found(mean, reach=0.1, seeds=3):
    return Difference(mean, mean - reach, mean + reach, 0.95, seeds, 10)


@pytest.mark.parametrize(
    ("on_a", "on_b", "said"),
    [
        (0.0, 0.05, "no difference that these 6 runs can show, neither on held-out rows of A nor on those of B"),
        (-0.5, -0.2, "B teaches more than A"),
        (0.5, 0.2, "A teaches more than B"),
        (0.5, -0.5, "each has the lower loss on held-out rows of its own kind. So neither teaches more in general"),
        (-0.5, 0.5, "each has the lower loss on held-out rows of the other's kind. So neither"),
        (0.0, -0.5, "B has the lower loss on held-out rows of B; on those of A there is no difference that these 6"),
        (-0.5, 0.0, "B has the lower loss on held-out rows of A; on those of B there is no difference that these 6"),
        (0.5, 0.0, "A has the lower loss on held-out rows of A; on those of B there is no difference that these 6"),
    ],
)
def test_only_both_halves_together_are_a_claim(on_a, on_b, said):
    text = claim({"a": found(on_a), "b": found(on_b)}, 6, "samples")
    assert said in text and text.startswith("At the same number of rows")
    assert ("teaches more than" in text) == (on_a * on_b > 0 and min(abs(on_a), abs(on_b)) > 0.1)


def test_of_a_benchmark_more_is_better():
    assert claim_of_benchmark("humaneval", found(0.2), 6, "tokens").endswith("training on B solves more.")
    assert claim_of_benchmark("humaneval", found(-0.2), 6, "tokens").endswith("training on A solves more.")
    assert "no difference that these 6 runs can show" in claim_of_benchmark("humaneval", found(0.1), 6, "tokens")


def test_each_control_passes_on_what_it_must_find_alone():
    assert shuffled_control(found(0.2)).passed
    assert not shuffled_control(found(0.1)).passed, "its interval holds zero"
    assert not shuffled_control(found(-0.2)).passed, "shuffled answers may not be better"
    assert "over held-out rows alone" in shuffled_control(found(0.2, seeds=1)).text
    assert again_control({"a": found(0.05), "b": found(-0.05)}).passed
    assert not again_control({"a": found(0.05), "b": found(-0.2)}).passed
    assert overfit_control(0.1, 20).passed and not overfit_control(0.11, 200).passed


def test_a_failed_control_takes_the_verdict_away_and_says_which():
    controls = [shuffled_control(found(0.05)), again_control({"a": found(0)}), overfit_control(0.01, 5)]
    trusted, lines = conclude(["B teaches more than A."], controls, {"a": (2.0, 1.0)})
    assert not trusted and lines[0].startswith("This comparison cannot be trusted, because a control failed")
    assert lines[1].startswith("Control failed: A with its responses shuffled is not measurably worse")
    assert lines[2] == "B teaches more than A."


def test_without_controls_nothing_is_trusted_and_with_good_ones_all_is():
    trusted, lines = conclude(["It is so."], None, {"a": (2.0, 1.0)})
    assert not trusted and lines[0].startswith("Controls were left out")
    assert conclude(["It is so."], [overfit_control(0.01, 5)], {"a": (2.0, 1.0)}) == (True, ["It is so."])


def test_that_no_training_helped_at_all_is_said():
    _, lines = conclude(["x"], [], {"a": (1.0, 1.0), "b": (1.0, 0.9)})
    assert "On held-out rows of A, no training brought the loss below the untrained model's" in lines[1]


class TestOutcome:
    """Lineages count alike however many rows they have, and every interval counts in the level of all."""

    ROWS = (0, 0, 0, 1, 2)  # three rows of the first lineage

    def outcome(self, of_a, of_b, **more):
        held = [Item(Row(f"i{n}", "r", f"l{group}"), f"l{group}", {}, n) for n, group in enumerate(self.ROWS)]
        design = Design(main={"samples": [("a-1", "b-1"), ("a-2", "b-2")]}, drawn={"samples": []})
        measured = {
            f"{side}-{seed}": Measurement({"a": losses, "b": losses}, {}, more.get(side, {}))
            for side, losses in (("a", of_a), ("b", of_b))
            for seed in (1, 2)
        }
        base = Measurement({"a": [9.0] * 5, "b": [9.0] * 5}, {}, more.get("a", {}))
        return Outcome(design, {"a": held, "b": held}, measured, base, [*more.get("a", {})])

    def test_lineages_count_alike(self):
        figures = self.outcome([2, 3, 4, 1, 2], [0, 0, 0, 1, 2]).as_dict()
        loss = figures["comparisons"][0]["loss"]["a"]
        assert (loss["a"], loss["b"]) == (2, 1) and loss["difference"]["mean"] == -1
        assert figures["controls"] is None and not figures["trusted"]

    def test_benchmarks_are_compared_problem_by_problem(self):
        solved = {"h": {"1": False, "2": False, "3": True}}, {"h": {"1": True, "2": True, "3": True}}
        outcome = self.outcome([1] * 5, [1] * 5, a=solved[0], b=solved[1])
        assert outcome.intervals == 3 and outcome.level == pytest.approx(1 - 0.05 / 3)
        figures = outcome.as_dict()["comparisons"][0]
        assert figures["benchmarks"]["h"]["difference"]["mean"] == pytest.approx(2 / 3)
        assert figures["claims"][0].endswith("neither on held-out rows of A nor on those of B.")

    @pytest.mark.parametrize(("problems", "said"), [(5, "no difference"), (7, "training on B solves more")])
    def test_a_handful_of_problems_cannot_show_a_difference_even_where_all_agree(self, problems, said):
        none, every = ({"h": {str(n): solved for n in range(problems)}} for solved in (False, True))
        (found,) = self.outcome([1] * 5, [1] * 5, a=none, b=every).as_dict()["comparisons"]
        assert found["benchmarks"]["h"]["difference"]["mean"] == 1 and said in found["claims"][1]
