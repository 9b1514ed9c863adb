"""Templates of recipes: what is filled in stays data, and no template can run away."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evolteacher import template

NAMES = frozenset({"instruction"})
ODD = [
    "{{ instruction }}",
    "{% raw %}",
    "{% endraw %}",
    "{# x #}",
    "%s %(a)s %d",
    "{0} {a}",
    "a\0b",
    "\r\n",
    "<&>'\"",
    "é😀",
]


@settings(deadline=None)
@given(st.text() | st.sampled_from([*ODD, "{{" * 50_000, "word " * 20_000]))
def test_an_instruction_goes_through_unharmed(text):
    source = "Rewrite:\n{{ instruction }}\n## End {{instruction}}\n"
    template.check(source, NAMES)
    assert template.render(source, instruction=text) == f"Rewrite:\n{text}\n## End {text}\n"


def test_conditions_filters_and_raw_text():
    source = (
        "{# note #}{% if instruction|length > 3 %}long{% elif not instruction %}none{% else %}{{ instruction|upper }}"
    )
    source += "{% endif %} {% raw %}{{ kept }}{% endraw %} {{ instruction|trim if instruction is string else '' }}"
    template.check(source, NAMES)
    filled = [template.render(source, instruction=text) for text in ("abcd", "", "ab")]
    assert filled == ["long {{ kept }} abcd", "none {{ kept }} ", "AB {{ kept }} ab"]


ATTACKS = {
    "{{ ''.__class__.__mro__ }}{{ instruction }}": "attributes cannot be used",
    "{{ instruction.__class__ }}": "attributes cannot",
    "{{ instruction['__class__'] }}": "parts of a value cannot",
    "{{ instruction|attr('__class__') }}": "the filter 'attr' cannot",
    "{{ range(10**9)|list }}{{ instruction }}": "the filter 'list' cannot",
    "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}{{ instruction }}": "loops cannot",
    "{{ 'a' * 10**9 }}{{ instruction }}": "arithmetic cannot",
    "{{ 9 ** 9 ** 9 }}{{ instruction }}": "arithmetic cannot",
    "{{ instruction|center(1000000000) }}": "the filter 'center' cannot",
    "{{ '%1000000000s'|format(instruction) }}": "the filter 'format' cannot",
    "{{ instruction|replace('', instruction) }}": "the filter 'replace' cannot",
    "{{ instruction ~ instruction }}": "joined texts",
    "{% set x = instruction %}{{ x }}": "assignments cannot",
    "{% set x %}{{ instruction }}{% endset %}": "assignments cannot",
    "{% macro a() %}{{ a() }}{% endmacro %}{{ instruction }}": "macros cannot",
    "{{ cycler() }}{{ instruction }}": "calls cannot",
    "{% include '/etc/passwd' %}{{ instruction }}": "other templates cannot",
    "{% import 'a' as b %}{{ instruction }}": "other templates cannot",
    "{% from 'a' import b %}{{ instruction }}": "other templates cannot",
    "{% extends 'a' %}{{ instruction }}": "other templates cannot",
    "{% filter upper %}{{ instruction }}{% endfilter %}": "FilterBlock cannot",
    "{{ self }}{{ instruction }}": "the template uses self; it may use instruction",
    "{{ namespace }}{{ instruction }}": "the template uses namespace",
    "{{ task }} {{ test }}": "the template uses task, test; it may use instruction",
    "no instruction": "the template never uses {{ instruction }}, so every prompt would be the same",
    "a\nb {{ instruction": "line 2 of the template: unexpected end of template",
    "{% if instruction %}": "line 1 of the template: Unexpected end of template",
    "{% nope %}": "line 1 of the template: Encountered unknown tag 'nope'. To write braces or '{%' as they are",
    "{{ instruction|nope }}": "the filter 'nope' cannot be used; there are capitalize, length",
    "{{ instruction is nope }}": "No test named 'nope'",
    "{{ " + "(" * 5000 + "instruction": "nested too deeply",
    "{{ " + "not " * 5000 + "instruction }}": "nested too deeply",
    "{% if instruction %}" * 500 + "{% endif %}" * 500: "nested too deeply",
    "x" * 200_001: "200,001 characters; 200,000 are the most",
}


@pytest.mark.parametrize("source", ATTACKS, ids=lambda source: source[:40])
def test_what_could_run_away_is_refused_before_it_runs(source):
    started = time.process_time()
    with pytest.raises(ValueError) as caught:
        template.check(source, NAMES)
    assert ATTACKS[source] in str(caught.value)
    assert time.process_time() - started < 5


def test_a_prompt_grows_with_its_parts_and_no_faster():
    source = "{{ instruction|title|upper|lower|capitalize|trim }}" * 20
    template.check(source, NAMES)
    text = "ß" * 100_000
    assert len(template.render(source, instruction=text)) <= 2**3 * 20 * len(text)


def test_an_undefined_name_that_was_not_checked_is_an_error():
    with pytest.raises(ValueError, match="cannot be filled in: 'task' is undefined"):
        template.render("{{ task }}", instruction="x")
