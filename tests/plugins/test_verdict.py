"""The reader of a judge's word, on a table of spellings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolteacher_plugins.verdict import read_equality

EQUAL = [
    "Verdict (Equal or Not Equal): they are equal in all.",
    "B is not equal in depth at first sight. Verdict: I find them equal",
    "Equal",
    "equal",
    "EQUAL",
    "equal.",
    "**Equal**",
    "`Equal`",
    '"Equal"',
    "Equal\n\nBoth ask for the same.",
    "Verdict: Equal",
    "The answer is: Equal",
    "They are equal.",
    "Judgement: **Equal**",
    "Equal!",
    "  equal\n",
    "The two task descriptions are equal in constraints, depth and breadth.",
    "identical",
    "They are the same.",
    "Equivalent.",
    "Yes",
    "Yes.",
    "<think>B adds a bound, not equal? no.</think>\nEqual",
    '{"verdict": "Equal"}',
    "Equal or Not Equal: Equal",
    "The two tasks do not differ.",
    "There is no difference.",
    "==",
    "Are they equal? Yes.",
    "Equal, although B is worded differently.",
    "[Equal]",
    "Result = Equal",
    "- Equal",
    "> Equal",
    "1. Equal",
    "No difference between them.",
]
NOT_EQUAL = [
    "Verdict (Equal/Not Equal): to me they are not equal in depth.",
    "Not Equal. That is my verdict:",
    "Not Equal",
    "not equal",
    "NOT EQUAL",
    "Not Equal.",
    "**Not Equal**",
    "Not-Equal",
    "not_equal",
    "NotEqual",
    "Unequal",
    "inequal",
    "non-equal",
    "Verdict: Not Equal",
    "Judgment: **Not Equal**",
    "They are not equal.",
    "They aren't equal.",
    "They aren\u2019t equal",
    "These are not exactly equal.",
    "B adds a constraint. Not Equal",
    "Not Equal. They are equal in breadth but B is deeper.",
    "Both are the same in breadth, so at first they look equal.\nNot Equal",
    "Equal or Not Equal: Not Equal",
    "Are they equal? Not Equal.",
    "Are they equal? No.",
    "No",
    "No.",
    "Different",
    "They differ in depth.",
    "Not the same.",
    "not equivalent",
    "≠",
    "!=",
    '{"verdict": "Not Equal"}',
    "Equal: No",
    "I do not think they are equal.",
    "It is not true that the two are equal.",
    "They're not equal because A is the same as B but shorter",
    "<think>equal</think>Not Equal",
    "# Not Equal",
    "Neither is equal to the other",
    "Not\nEqual",
    "(Not Equal)",
    "Not equal to each other",
    "Answer: they are different.",
]
UNCLEAR = [
    "The constraints are equal, the depth is not equal, all else is the same.",
    "",
    "   ",
    "Equal or Not Equal",
    "Equal/Not Equal",
    "Maybe",
    "def f(): pass",
    "I cannot tell whether they are equal.",
    "The constraints are equal, but the depth is not equal.",
    "<think>they are equal so",
    "Task A",
    "42",
    "Sure! Here is",
    "Are they equal?",
    "It is unclear if they are equal",
    "Equally good",
    "not",
]
TABLE = [(a, True) for a in EQUAL] + [(a, False) for a in NOT_EQUAL] + [(a, None) for a in UNCLEAR]


def test_the_table_is_whole():
    assert len(TABLE) == len(dict(TABLE)) == 98


@pytest.mark.parametrize(("answer", "equal"), TABLE)
def test_a_spelling_is_read(answer, equal):
    assert read_equality(answer) is equal


@pytest.mark.parametrize(("answer", "equal"), TABLE)
def test_case_markup_and_space_around_it_change_nothing(answer, equal):
    assert read_equality(f"\n  {answer.upper()} \r\n") is equal
    assert read_equality(f"**{answer}**\n") is equal


@pytest.mark.timeout(20)
def test_huge_answers_are_read_in_no_time_to_speak_of():
    words = [
        "not ",
        "=",
        "<think>",
        "equal or ",
        "not a b c d ",
        "?",
        "a",
        "**",
        "isn't ",
        "verdict ",
        "equal ",
        " ",
        "\n",
    ]
    read = [read_equality(word * (100_000 // len(word))) for word in [*words, "whether ", "n'", "no ", "answer: "]]
    assert len(read) == 17
    assert read[10] is True


@given(
    st.text(),
    st.lists(st.sampled_from(["not", "equal", "no", "differ", "?", "\n", "==", "whether", "verdict:", "<think>"])),
)
def test_any_answer_is_read_alike_twice_and_never_raises(text, words):
    answer = text + " ".join(words)
    assert read_equality(answer) is read_equality(answer)
