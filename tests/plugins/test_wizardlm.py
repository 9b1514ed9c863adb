"""WizardLM's operators: their prompts, their demonstrations, and what they read."""

from __future__ import annotations

import ast
import json
import sqlite3
from collections import Counter
from importlib.metadata import entry_points
from typing import get_args
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

import evolteacher as et
from evolteacher.errors import Unreadable
from evolteacher.reading import read_rewritten
from evolteacher_plugins.demonstrations import DEMONSTRATIONS, Form
from evolteacher_plugins.wizardlm import IN_BREADTH, IN_DEPTH, InDepth, register_operators

OPERATORS = {cls.name: cls for cls in register_operators()}
NAMES = [
    "wizardlm-add-constraints",
    "wizardlm-deepen",
    "wizardlm-concretize",
    "wizardlm-reasoning",
    "wizardlm-complicate-input",
    "wizardlm-breadth",
]
DEPTH = NAMES[:5]
WORDS_OF_THE_PAPER = NAMES[:4]
FORMS = get_args(Form)
PAIRS = [(form, given, harder) for form, (_, pairs) in DEMONSTRATIONS.items() for given, harder in pairs]


def reply(text: str) -> et.Reply:
    return et.Reply(text=text)


def test_the_six_come_in_by_the_entry_point():
    (entry,) = [entry for entry in entry_points(group="evolteacher") if entry.name == "wizardlm"]
    assert entry.value == "evolteacher_plugins.wizardlm"
    assert list(OPERATORS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_each_is_documented_with_its_source(name):
    assert "2304.12244" in OPERATORS[name].documentation()


@pytest.mark.parametrize("name", NAMES)
def test_the_prompt_begins_with_the_shared_part_and_ends_with_the_marker(name):
    operator = OPERATORS[name]()
    prompt = operator.prompt(et.Instruction("Sort it."))
    opening, opening_end, rewritten, rewritten_end = operator.markers
    assert prompt.startswith((IN_DEPTH if name in DEPTH else IN_BREADTH) + "\n\n")
    assert prompt.endswith(f"\n\n{opening}\nSort it.\n{opening_end}\n\n{rewritten}\n")
    assert rewritten_end in prompt
    assert len(prompt) < (2000 if name == "wizardlm-complicate-input" else 800)


def test_four_prompts_allow_the_papers_ten_to_twenty_words():
    held = [name for name in NAMES if "10 to 20 more words" in OPERATORS[name]().prompt(et.Instruction("Sort it."))]
    assert held == WORDS_OF_THE_PAPER


def test_all_prompts_differ():
    prompts = {operator().prompt(et.Instruction("Sort it.")) for operator in OPERATORS.values()}
    assert len(prompts) == len(NAMES)
    assert len({cls.method for cls in OPERATORS.values() if issubclass(cls, InDepth)}) == len(DEPTH)


@pytest.mark.parametrize("name", NAMES)
def test_each_reads_the_rewritten_instruction(name):
    operator = OPERATORS[name]()
    closing = operator.markers[-1]
    parent = et.Instruction("What is a virus?")
    assert operator.read(reply(f"What is a virus made of?\n{closing}"), parent) == "What is a virus made of?"
    with pytest.raises(Unreadable):
        operator.read(reply(f"What is a virus?\n{closing}"), parent)


def test_complicate_input_shows_two_demonstrations_of_the_form_that_is_asked_for():
    operator = OPERATORS["wizardlm-complicate-input"]
    for form in FORMS:
        prompt = operator(form=form).prompt(et.Instruction("Sort it."))
        shown = [pair for pair in PAIRS if f"<given_instruction>\n{pair[1]}\n" in prompt]
        assert [pair[0] for pair in shown] == [form, form]
        assert all(f"<harder_instruction>\n{harder}\n</harder_instruction>" in prompt for _, _, harder in shown)
        assert f"asks to work on {DEMONSTRATIONS[form][0]}," in prompt
    assert len(FORMS) == 6


def test_the_form_is_drawn_from_the_text_and_all_are_drawn():
    operator = OPERATORS["wizardlm-complicate-input"]()
    fixed = {form: OPERATORS["wizardlm-complicate-input"](form=form) for form in FORMS}
    drawn: Counter[str] = Counter()
    for number in range(600):
        parent = et.Instruction(f"Count to {number}.")
        prompt = operator.prompt(parent)
        (form,) = [form for form, other in fixed.items() if other.prompt(parent) == prompt]
        drawn[form] += 1
    assert set(drawn) == set(FORMS) and min(drawn.values()) > 60


@pytest.mark.parametrize(("form", "given_text", "harder"), PAIRS)
def test_a_demonstration_is_read_whole_and_what_a_model_adds_is_not(form, given_text, harder):
    markers = OPERATORS["wizardlm-complicate-input"].markers
    fence = f":\n\n```{form}\n"
    assert harder.count(fence) == 1 and harder.endswith("\n```") and harder.count("```") == 2
    for surrounded in ("{}\n</harder_instruction>", "Sure!\n\n{}", "{}\n\nHere is the answer:\n\n```\n42\n```"):
        assert read_rewritten(surrounded.format(harder), given_text, markers) == harder
    assert len(harder.partition(":\n\n```")[0].split()) >= len(given_text.split()) + 10


def test_the_data_of_the_demonstrations_are_what_they_are_called():
    data = {form: [] for form in FORMS}
    for form, _, harder in PAIRS:
        data[form].append(harder.split(f"```{form}\n")[1].removesuffix("\n```"))
    assert [len(texts) for texts in data.values()] == [2] * 6
    for text in data["xml"]:
        ElementTree.fromstring(text)
    for text in data["sql"]:
        sqlite3.connect(":memory:").executescript(text).connection.close()
    for text in data["python"]:
        ast.parse(text)
    for text in data["html"]:
        ElementTree.fromstring("<body>" + text.replace('png">', 'png"/>') + "</body>")
    for text in data["json"]:
        json.loads(text)
    assert all(text.startswith("$ ") for text in data["shell"])


def test_an_unknown_form_is_refused_with_those_that_there_are():
    with pytest.raises(ValueError, match="'xml', 'sql', 'python', 'html', 'shell' or 'json'"):
        OPERATORS["wizardlm-complicate-input"](form="yaml")


@given(text=st.text(max_size=200))
def test_a_prompt_is_pure_and_holds_any_instruction(text):
    parent = et.Instruction(text)
    for operator in OPERATORS.values():
        assert operator().prompt(parent) == operator().prompt(parent)
        assert parent.text in operator().prompt(parent)


def test_a_demonstration_that_is_handed_back_is_no_rewrite():
    operator = OPERATORS["wizardlm-complicate-input"](form="html")
    parent = et.Instruction("Write a TypeScript function that tells how many letters a word has.")
    copies = [
        "How do I make a web page easier to read?",
        "How can I make my web page easier to read with a screen reader?",
        "Name three things that make the following page hard to read with a screen reader:\n\n```html\n<p>x</p>\n```",
        *(text for form, *texts in PAIRS if form == "html" for text in texts),
    ]
    for copy in copies:
        with pytest.raises(Unreadable, match="repeats a demonstration"):
            operator.read(et.Reply(copy), parent)
    assert len(copies) == 7
    rewrites = [
        "Write a function that returns the length of the text of the following page, without its tags:\n\n"
        "```html\n<p>Only 3 left</p>\n```",
        "word " * 40_000,
    ]
    for rewrite in rewrites:
        assert operator.read(et.Reply(rewrite), parent) == rewrite.strip()
    asked = et.Instruction("How do I make a web page easier to read on a phone?")
    assert operator.read(et.Reply("How do I make a web page easier to read on a small phone at night?"), asked)
