"""The operator whose prompt is written in the recipe."""

from __future__ import annotations

import json

import pytest

import evolteacher as et
from evolteacher.catalog import Catalog
from evolteacher.errors import RecipeError

CATALOG = Catalog.load()
TEMPLATE = "Say it to a beginner.\n<given_task>\n{{ instruction }}\n</given_task>\n<new_task>\n(end with </new_task>)"
MARKS = {"start": "<new_task>", "end": "</new_task>", "given": ["<given_task>", "</given_task>"]}


def recipe(folder, *operators, filters=(), reply="Sort it, step by step.\n</new_task>\nI hope this helps!"):
    seeds = folder / "seeds.jsonl"
    seeds.write_text(json.dumps({"instruction": "Sort it {{ 7*7 }}."}) + "\n")
    rules = [{"step": "evolve", "reply": reply}, {"step": "respond", "reply": "Done."}]
    return et.Recipe.from_dict(
        {
            "evolteacher": 1,
            "name": "own-words",
            "seeds": str(seeds),
            "rounds": 1,
            "operators": list(operators),
            "filters": list(filters),
            "backends": {"evolve": {"scripted": {"rules": rules}}},
        },
        catalog=CATALOG,
    )


def rows(made, folder):
    result = et.run(made, folder / "run", note=lambda line: None)
    text = (result.folder / "dataset.jsonl").read_text("utf-8")
    return result, [json.loads(line) for line in text.splitlines()]


def test_it_asks_what_the_recipe_says_and_reads_what_stands_between_the_marks(tmp_path):
    made = recipe(tmp_path, {"template": {"template": TEMPLATE, **MARKS, "as": "for-beginners"}})
    (row,) = rows(made, tmp_path)[1]
    assert (row["operator"], row["instruction"]) == ("for-beginners", "Sort it, step by step.")


def test_a_mark_that_leaks_is_rejected_by_the_copy_filter(tmp_path):
    made = recipe(
        tmp_path,
        {"template": {"template": TEMPLATE, **MARKS}},
        filters=["copied-prompt"],
        reply="Sort it, and write new_task behind it.",
    )
    result, found = rows(made, tmp_path)
    assert found == [] and result.summary.filters == {("instruction", "copied-prompt"): 1}


def test_two_templates_need_names_of_their_own(tmp_path):
    plain = {"template": {"template": "Rewrite: {{ instruction }}"}}
    with pytest.raises(RecipeError, match="'template' is there twice; tell them apart with 'as: other-name'"):
        recipe(tmp_path, plain, plain)
    named = {"template": {"template": "Rewrite: {{ instruction }}", "as": "again"}}
    assert [use.label for use in recipe(tmp_path, plain, named).operators] == ["template", "again"]


MISTAKES = {
    "needs 'template'": {},
    "never uses {{ instruction }}": {"template": "Rewrite it."},
    "uses task; it may use instruction": {"template": "{{ instruction }} {{ task }}"},
    "line 2 of the template": {"template": "{{ instruction }}\n{% if %}"},
    "'end' is the end of what begins with 'start'": {"template": TEMPLATE, "end": "</new_task>"},
    "'end' begins with </ or [/": {"template": TEMPLATE, "start": "<new_task>", "end": "END"},
    "the template does not say '<task>'": {"template": TEMPLATE, "start": "<task>"},
    "white space alone marks nothing": {"template": TEMPLATE, "given": [" "]},
    "has no 'marker'": {"template": TEMPLATE, "marker": "x"},
}


@pytest.mark.parametrize("message", MISTAKES)
def test_a_mistake_is_found_before_anything_is_asked(message, tmp_path):
    with pytest.raises(RecipeError) as caught:
        recipe(tmp_path, {"template": MISTAKES[message]})
    assert message in str(caught.value)


@pytest.mark.parametrize("template", ["{{ instruction.__class__ }}", "{% for x in instruction %}{% endfor %}"])
def test_the_sandbox_holds(template, tmp_path):
    with pytest.raises(RecipeError, match="template"):
        recipe(tmp_path, {"template": {"template": template}})
