"""WizardMath's operators: their ways, their prompts, and what they read."""

from __future__ import annotations

from collections import Counter

import pytest

import evolteacher as et
from evolteacher.errors import Unreadable
from evolteacher_plugins.wizardmath import EASIER_BY, HARDER_BY, register_operators

OPERATORS = {cls.name: cls for cls in register_operators()}
WAYS = {"wizardmath-upward": HARDER_BY, "wizardmath-downward": EASIER_BY}
NAMES = list(WAYS)
PROBLEM = et.Instruction("Anna has 12 apples and eats 3. How many are left?")


def test_both_are_there_and_documented_with_their_source():
    assert list(OPERATORS) == NAMES
    assert all("2308.09583" in cls.documentation() for cls in OPERATORS.values())


def test_upward_has_the_papers_three_ways_and_downward_its_two():
    assert list(HARDER_BY) == ["constraints", "concretize", "reasoning"]
    assert list(EASIER_BY) == ["simplify", "other-topic"]


@pytest.mark.parametrize("name", NAMES)
def test_each_way_is_asked_for_and_the_rest_of_the_prompt_is_the_same(name):
    prompts = {way: OPERATORS[name](way=way).prompt(PROBLEM) for way in WAYS[name]}
    assert len({prompt.replace(WAYS[name][way], "") for way, prompt in prompts.items()}) == 1
    assert all(prompt.count(WAYS[name][way]) == 1 for way, prompt in prompts.items())


@pytest.mark.parametrize("name", NAMES)
def test_the_way_is_drawn_by_the_text_and_all_are_drawn(name):
    fixed = {way: OPERATORS[name](way=way) for way in WAYS[name]}
    drawn: Counter[str] = Counter()
    for number in range(300):
        parent = et.Instruction(f"What is {number} + 1?")
        prompt = OPERATORS[name]().prompt(parent)
        drawn.update(way for way, operator in fixed.items() if operator.prompt(parent) == prompt)
    assert sum(drawn.values()) == 300 and set(drawn) == set(fixed) and min(drawn.values()) > 60


@pytest.mark.parametrize("name", NAMES)
def test_a_solution_is_no_problem(name):
    operator = OPERATORS[name]()
    new = "Ben has 20 pears and gives away a quarter. How many are left?"
    assert operator.read(et.Reply(new), PROBLEM) == new
    for solved in (
        f"{new}\n\nTherefore, 15 pears are left.",
        "There are $\\boxed{24}$ ways to arrange the letters.",
        "Ben gives away 20 / 4 = 5 pears.\n\n**Thus** he keeps 15.",
    ):
        with pytest.raises(Unreadable, match="solves a problem"):
            operator.read(et.Reply(solved), PROBLEM)
    asked = et.Instruction("Is this proof right? All primes are odd. Therefore, 2 is odd.")
    kept = "Which step of this proof is wrong? All primes are odd. Therefore, 2 is odd. Therefore, 4 is not even."
    assert operator.read(et.Reply(kept), asked) == kept


def test_a_way_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match="'simplify' or 'other-topic'"):
        OPERATORS["wizardmath-downward"](way="constraints")
