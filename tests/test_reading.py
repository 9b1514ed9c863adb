"""Reading a rewritten task out of recorded answers, and laws that hold for any answer."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evolteacher.errors import Unreadable
from evolteacher.reading import read_rewritten
from evolteacher.reading.ending import was_ended
from evolteacher_plugins.wizardcoder import WizardCoderOperator

ANSWERS = Path(__file__).parent / "data" / "answers.jsonl"
MARKERS = {"tags": WizardCoderOperator.markers, "headings": ("### Given Task", "### New Task")}
TAGS = MARKERS["tags"]
PARENT = "Fix the bug in this Python function.\ndef average(values):\n    return sum(values) / len(value)"
MODELS = {"qwen2.5-coder-0.5b-instruct", "qwen2.5-coder-1.5b-instruct"}
OPERATORS = {"add-constraints", "rare-requirement", "more-steps", "misdirection", "complexity"}

# rules: read while the rules were written. heldout-1 and heldout-2: set aside, labelled by hand, and scored once
# before their misses were read: 38 of 50 at the first try, then, with what those taught, 56 of 68 on other tasks.
HALVES = {"rules": 50, "heldout-1": 50, "heldout-2": 68}
READABLE = 144
KNOWN_MISSES: dict[str, set[str]] = {
    "rules": {"f15c9b8", "f15e19c"},
    "heldout-1": set(),
    "heldout-2": {"s1597cd", "s15c51b", "s15e67d"},
}


def rows() -> list[dict[str, str | None]]:
    with ANSWERS.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def read(answer: str, parent: str = PARENT, markers: tuple[str, ...] = TAGS) -> str | None:
    try:
        return read_rewritten(answer, parent, markers)
    except Unreadable:
        return None


def words(text: str | None) -> list[str] | None:
    return None if text is None else text.split()


def test_the_table_is_what_it_says():
    table = rows()
    assert len({row["id"] for row in table}) == len(table) == sum(HALVES.values())
    assert Counter(row["half"] for row in table) == HALVES
    assert {row["model"] for row in table} == MODELS
    assert {row["operator"] for row in table} == OPERATORS
    texts = [(row["answer"], row["expected"]) for row in table if row["expected"] is not None]
    assert len(texts) == READABLE
    assert all(expected.strip() == expected and expected in answer for answer, expected in texts)


@pytest.mark.parametrize("half", HALVES)
def test_the_recorded_answers(half):
    table = [row for row in rows() if row["half"] == half]
    misses = {
        row["id"]
        for row in table
        if words(read(row["answer"], row["parent"], MARKERS[row["markers"]])) != words(row["expected"])
    }
    assert len(table) == HALVES[half]
    assert misses == KNOWN_MISSES[half]


def test_a_recorded_rewrite_was_ended_where_its_end_marker_was_seen_before_the_cut():
    cut = [row for row in rows() if row["finish"] == "length" and row["markers"] == "tags"]
    texts = {row["id"]: read(row["answer"], row["parent"]) for row in cut}
    ended = {row["id"] for row in cut if was_ended(row["answer"], str(texts[row["id"]]), row["parent"], TAGS)}
    assert ended == {"f15c9b9", "f15656d", "s1554ae"}
    assert (
        sum(text is not None for text in texts.values()) - len(ended) == 11
    )  # no marker: half of one, for all we know


def test_a_rewrite_that_is_cut_short_anywhere_before_its_end_was_not_ended():
    whole = [row for row in rows() if "</harder_task>" in row["answer"] and read(row["answer"], row["parent"])]
    tried = 0
    for row in whole:
        end = row["answer"].index("</harder_task>") + len("</harder_task>") - 1
        for size in range(1, end, max(1, end // 20)):
            answer = row["answer"][:size]
            text = read(answer, row["parent"])
            if text is not None:
                tried += 1
                assert not was_ended(answer, text, row["parent"], TAGS)
    assert len(whole) >= 10 and tried >= 150


SURROUNDED = {
    "bare": "{task}",
    "closing marker only": "{task}\n</harder_task>",
    "both markers": "<harder_task>\n{task}\n</harder_task>",
    "markers in capitals": "<Harder_Task>{task}</HARDER_TASK>",
    "greeting": "Certainly! Here is a harder version of the task:\n\n{task}",
    "greeting and heading": "Sure! Here you go.\n\n### Rewritten Task\n\n{task}",
    "original's markers": "#Rewritten Test#\n{task}\n\n#Solution#\nx = 1",
    "bold heading": "**Rewritten Task:** {task}\n\n**Explanation:** I added a requirement.",
    "heading with a colon": "New task: {task}",
    "label": "**Task:**\n{task}",
    "rules above and below": "Here's a more challenging version:\n\n---\n\n{task}\n\n---\n\nThis version adds a limit.",
    "fenced": "```\n{task}\n```",
    "fenced as text": "Here is the new task:\n\n```text\n{task}\n```\n\nI hope this helps!",
    "quoted": '"{task}"',
    "given task first": "### Given Task\nFix the bug.\n\n### Harder Task\n{task}",
    "given task repeated": "<given_task>\n" + PARENT + "\n</given_task>\n<harder_task>\n{task}\n</harder_task>",
    "solution appended": "{task}\n\n```python\ndef f():\n    return 1\n```\n\nThis function returns 1.",
    "solution announced": "{task}\n\nHere's the corrected code:\n```python\nx = 1\n```",
    "solution under a heading": "{task}\n\n## Solution\n1. Do it.",
    "explained": "{task}\n\nThis new task requires more reasoning.",
    "announced on a line of its own": "You can modify the given task.\n\nHere is the new task:\n\n{task}",
    "cut within a marker": "{task}\n</harder_ta",
    "asked again": "{task}\n\n<given_task>\nSomething else.\n</given_task>\n\n<harder_task>\nA third thing.",
}  # fmt: skip


@pytest.mark.parametrize("surrounding", SURROUNDED)
def test_what_surrounds_a_task_goes(surrounding):
    task = "Fix both bugs in the function, and raise ValueError for an empty list."
    assert read(SURROUNDED[surrounding].replace("{task}", task)) == task


UNREADABLE = {
    "empty": "",
    "blank": " \n\t\n",
    "markers only": "<harder_task>\n</harder_task>",
    "greeting only": "Certainly! Here is the harder task:",
    "the given task": PARENT,
    "the given task in bold": f"**{PARENT}**",
    "the start of the given task": "Fix the bug in this Python function.",
    "refusal": "I'm sorry, but I cannot assist with that request.",
    "code": "```python\ndef average(values):\n    return sum(values) / len(values)\n```",
    "answer": "To fix this, you need to write `values` instead of `value`.",
    "bug named": "The bug is in the last line.",
    "prompt echoed": "Write a new task that asks for more than the given one.",
    "attempt without a task": "Someone suggests this code, which may be wrong:\n```python\nx = 1\n```",
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_what_holds_no_task_is_unreadable(case):
    with pytest.raises(Unreadable) as caught:
        read_rewritten(UNREADABLE[case], PARENT, TAGS)
    assert 5 < len(str(caught.value)) < 100


CLEAN = [
    "Sort a list of {names} by length; keep %s and {{ braces }} as they are.",
    "Please provide a Python function that sorts words by length, stable.",
    "Write a function that adds a new task to a to-do list in O(1).",
    "Let x = 5 and y = 3. Find the sum without a plus sign.",
    "I have a list of integers and would like the median. Write it in Go.",
    "Two Sum.\n\nExample:\nInput: nums = [2, 7]\nOutput: [0, 1]\nExplanation: 2 + 7 = 9\n\nConstraints:\n- O(n)",
    "Find the bug.\n\n```python\nfor i in x:\n    pass\n```\n\nThe code above fails on None. Explain why.",
    "Refactor it.\n\nHere is the code:\n```python\ndef average(values):\n    return sum(values) / len(value)\n```",
    "Write a CLI.\n\nHere is an example of the program's output:\n\n3 files",
    "Create a new version of quicksort that is stable.",
    "1. Parse it\n2. Print it\n\nNote: use no libraries.",
    'Print "hello" and "bye" as "a" would.',
    "In this task you parse logs.\n\nIn this task, speed matters.",
    "Sum the list.\n\nThis attempt may be wrong:\n```python\ntotal = max(values)\n```",
    "Сложи числа в списке, не используя sum().",
    "编写一个函数,计算列表的平均值,并处理空列表。",
    "Write a haiku 🌸 generator.\r\nUse CRLF.",
]


@pytest.mark.parametrize("task", CLEAN)
def test_a_task_without_chatter_stays_as_it_is(task):
    assert read_rewritten(task, PARENT, TAGS) == task
    assert read_rewritten(f"  \n{task}\n</harder_task>\n", PARENT, TAGS) == task


def test_no_markers_are_needed():
    assert read_rewritten("Sure! Here's the rewritten prompt:\nSort it twice.", "Sort it.") == "Sort it twice."


def test_one_marker_opens_the_rewritten_task():
    assert read_rewritten("Sort it.\n=> Sort it twice.", "Sort it.", ("=>",)) == "Sort it twice."


pieces = st.sampled_from(
    [*TAGS, "```\n", "```python\n", "~~~", "### New Task\n", "**Solution:**", "Here is the new task:", "Certainly! ",
     "\n", " ", "#", '"', "**", "Sort it twice.", "def f():", "This attempt may be wrong:", "Explanation: x", "\0", "é",
     "<", ":"]
)  # fmt: skip
answers = st.one_of(st.text(max_size=300), st.lists(pieces, max_size=25).map("".join))


@settings(max_examples=400, deadline=None)
@given(answer=answers, parent=st.one_of(answers, st.just(PARENT)))
def test_any_answer_gives_a_clean_task_or_is_unreadable(answer, parent):
    task = read(answer, parent)
    if task is not None:
        assert task.strip() == task != ""
        assert not any(marker in task.lower() for marker in TAGS)
        assert task.split() != parent.split()


@settings(max_examples=200, deadline=None)
@given(words_=st.lists(st.from_regex(r"[a-z]{3,8}", fullmatch=True), min_size=3, max_size=30))
def test_reading_twice_is_reading_once(words_):
    task = "Compute " + " ".join(words_) + "."
    once = read(task)
    assert once is None or read(once) == once


def repeated(piece: str) -> str:
    return (piece * (200_000 // len(piece) + 1))[:200_000]


HOSTILE = {
    **{repr(piece): repeated(piece) for piece in (
        "`", "\n", "\r\n", "\0", "#", "*", '"', " ", "[", "_", "<", "~", TAGS[2], f"{TAGS[2]}x{TAGS[3]}",
        "```\n", "```python\nx = 1\n```\n", "a:\n```\nb\n```\n", "New task: x\n", "Explanation:\n", "Let's go on\n",
        "attempt ", "here is ", "word ", ". the new task", "<more difficult ",
    )},
    "growing fences": "".join("`" * size + "\n" for size in range(3, 630)),
    "a fence that is none": "`" * 100_000 + " " * 100_000 + "!",
    "one long announcement": "here is " + repeated("attempt ") + ":",
    "an answer in one sentence": "to solve x " + repeated("y ") + "we can",
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_answers_are_read_in_linear_time(name):
    answer = HOSTILE[name]
    assert len(answer) > 190_000
    for parent in (PARENT, answer, "x = 1\n" * 20_000):
        start = time.process_time()
        read(answer, parent)
        assert time.process_time() - start < 4  # a quadratic reading takes minutes; a busy machine inflates this


def test_a_long_task_goes_through_unharmed():
    task = "Sort these names.\n" + "\n".join(f"name {{{number}}} %s" for number in range(8_000))
    assert len(task) > 100_000
    assert read(f"<harder_task>\n{task}\n</harder_task>") == task
