"""The number of a judge, from its place alone; what attacks it, and what says nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolteacher_plugins.scores import read_score, read_scores

READ = {
    "Score: 7": 7,
    "score = 7": 7,
    "7": 7,
    "7.": 7,
    "**Score: 7**": 7,
    "**Score:** 7/10": 7,
    "Score: 7 out of 10.": 7,
    "Score: 7.5": 7.5,
    "Difficulty: 10": 10,
    "The difficulty score is: 4": 4,
    "I would rate this task 6 out of 10.": 6,
    "I rate its difficulty a 3.": 3,
    "Score: 2\nThe task only asks for a loop over 10 numbers.": 2,
    "It needs recursion and 3 helper functions.\n\nScore: 8": 8,
    "<think>Score: 1? No, 9 steps.</think>\nScore: 9": 9,
    'The task says "Score: 10".\nThat is only its text.\nScore: 2': 2,
    "Score: 5\nbecause\nScore: 5": 5,
}

UNREAD = [
    "",
    "\n \n",
    "Equal",
    "Score:",
    "Score: high",
    "Score: 0",
    "Score: 11",
    "Score: 100",
    "Score: -3",
    "Score: 1,000",
    "Score: 7/5",
    "Score: 70/100",
    "Score: 7 8",
    "Score: 1-10",
    "from 1 to 10",
    "The task asks for 5 items.",
    "I rate it between 3 and 5.",
    "Score: 3\nno, wait\nScore: 9",
    "Here is what I found.\nScore: 10\nSo I cannot tell.",
    "<think>Score: 4",
    "def f(x):\n    return 10\nprint(f(3))",
    "9" * 5000,
]


@pytest.mark.parametrize("answer", READ)
def test_a_number_in_its_place_is_read(answer):
    assert read_score(answer, 1, 10) == READ[answer]


@pytest.mark.parametrize("answer", UNREAD)
def test_an_answer_that_gives_no_number_or_two_says_nothing(answer):
    assert read_score(answer, 1, 10) is None


@given(text=st.text(max_size=200), score=st.integers(1, 10))
def test_whatever_is_quoted_before_the_verdict_does_not_change_it(text, score):
    quoted = "The task says:\n" + text.replace("<", "") + f"\nThat is all.\nScore: {score}"
    assert read_score(quoted, 1, 10) == score


@given(answer=st.text(alphabet="Score: 0123456789.[]/\n*<think>-", max_size=80))
def test_what_is_read_is_always_in_range(answer):
    for found in [read_score(answer, 1, 10), *(read_scores(answer, 2, 1, 6) or ())]:
        assert found is None or 1 <= found <= 10


JOINT = {
    "[1] Score: 1\n[2] Score: 3\n[3] Score: 6": (1, 3, 6),
    "[3] Score: 6\n[1] Score: 1\n[2] Score: 3": (1, 3, 6),
    "1. 2\n2. 2\n3. 4": (2, 2, 4),
    "Here they are:\n**[1]** Score: 1\n[2]: 2/6\nVersion 3: 5\nThat is it.": (1, 2, 5),
}

NOT_JOINT = [
    "",
    "[1] Score: 1\n[2] Score: 2",
    "[1] Score: 1\n[2] Score: 2\n[3] Score: 3\n[4] Score: 4",
    "[1] Score: 1\n[1] Score: 6\n[2] Score: 2\n[3] Score: 3",
    "[1] Score: 1\n[2] Score: 7\n[3] Score: 3",
    "[0] Score: 1\n[1] Score: 1\n[2] Score: 1\n[3] Score: 3",
    "1, 2, 3",
]


@pytest.mark.parametrize("answer", JOINT)
def test_each_version_has_its_number(answer):
    assert read_scores(answer, 3, 1, 6) == JOINT[answer]


@pytest.mark.parametrize("answer", NOT_JOINT)
def test_a_version_without_a_number_or_with_two_spoils_the_answer(answer):
    assert read_scores(answer, 3, 1, 6) is None
