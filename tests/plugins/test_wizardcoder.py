"""WizardCoder's operators: their prompts, and what they read."""

from __future__ import annotations

from importlib.metadata import entry_points

import pytest
from hypothesis import given
from hypothesis import strategies as st

import evolteacher as et
from evolteacher.errors import Unreadable
from evolteacher_plugins.wizardcoder import SHARED, register_operators

OPERATORS = {cls.name: cls for cls in register_operators()}
NAMES = ["add-constraints", "rare-requirement", "more-steps", "misdirection", "complexity"]
AWKWARD = [
    "{x} {{ y }} {% z %} %s %(a)d",
    "quotes \" and '",
    "CRLF\r\nand NUL \0",
    "🌸" * 10,
    "<harder_task>",
    "x" * 100_000,
]


def reply(text: str) -> et.Reply:
    return et.Reply(text=text)


def test_the_five_come_in_by_the_entry_point():
    (entry,) = [entry for entry in entry_points(group="evolteacher") if entry.name == "wizardcoder"]
    assert entry.value == "evolteacher_plugins.wizardcoder"
    assert list(OPERATORS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_each_is_documented_with_its_source(name):
    assert "2306.08568" in OPERATORS[name].documentation()
    assert OPERATORS[name].method


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("text", AWKWARD)
def test_the_instruction_is_data(name, text):
    prompt = OPERATORS[name]().prompt(et.Instruction(text))
    assert prompt.count(text) >= 1
    assert prompt.replace(text, "", 1).replace(text, "") == OPERATORS[name]().prompt(et.Instruction("")).replace(
        text, ""
    )


@pytest.mark.parametrize("name", NAMES)
def test_the_prompt_begins_with_the_shared_part_and_ends_with_the_marker(name):
    operator = OPERATORS[name]()
    prompt = operator.prompt(et.Instruction("Sort it."))
    given, given_end, harder, harder_end = operator.markers
    assert prompt.startswith(SHARED)
    assert prompt.endswith(f"{given}\nSort it.\n{given_end}\n\n{harder}\n")
    assert harder_end in prompt
    assert len(prompt) < 800


def test_the_five_prompts_differ_in_the_method_alone():
    prompts = [operator().prompt(et.Instruction("Sort it.")) for operator in OPERATORS.values()]
    assert len(set(prompts)) == len(NAMES)
    assert all(prompt.startswith(SHARED + "\n\nThe harder task ") for prompt in prompts)


@pytest.mark.parametrize("name", NAMES)
def test_each_reads_the_rewritten_task(name):
    operator = OPERATORS[name]()
    parent = et.Instruction("Sort it.")
    assert operator.read(reply("Sort it twice.\n</harder_task>"), parent) == "Sort it twice."
    with pytest.raises(Unreadable):
        operator.read(reply("Sort it.\n</harder_task>"), parent)


def test_misdirection_keeps_its_erroneous_code_and_no_solution():
    task = "Sort it.\n\nThis attempt may be wrong:\n```python\nit.sorted()\n```"
    answer = f"{task}\n\nHere is the corrected code:\n```python\nit.sort()\n```\n</harder_task>"
    assert OPERATORS["misdirection"]().read(reply(answer), et.Instruction("Sort it.")) == task


@given(text=st.text(max_size=200))
def test_a_prompt_is_pure_and_holds_any_instruction(text):
    parent = et.Instruction(text)
    for operator in OPERATORS.values():
        assert operator().prompt(parent) == operator().prompt(parent)
        assert parent.text in operator().prompt(parent)
