"""The JSON Schema of recipes accepts what loads and refuses what an editor should mark."""

import copy
from pathlib import Path
from typing import Literal

import pytest
from jsonschema import Draft7Validator
from pydantic import ConfigDict, Field

import evolteacher as et
from evolteacher.catalog import Catalog
from evolteacher.errors import RecipeError
from evolteacher.recipe import Recipe
from evolteacher.schema import FILE, option_rows, recipe_schema, type_words
from evolteacher.shipped import shipped_folder
from evolteacher.yamlfile import load

GOOD = {
    "evolteacher": 1,
    "name": "good",
    "description": "All there is.",
    "seed": 7,
    "seeds": {"path": "x.jsonl", "format": "alpaca", "reader": {"json": {"key": "data"}}, "limit": 3},
    "rounds": 2,
    "on_pruned": "retry",
    "operators": [
        "add-constraints",
        {"add-constraints": {"as": "twice", "weight": 2.5, "template": "More: {{ instruction }}"}},
        {"wizardcoder/more-steps": {"backend": "other"}},
        {"misdirection": None},
    ],
    "filters": ["empty", {"few-words": {"words": 4, "on": "both"}}, {"truncated": {"on": ["response"]}}, "no-gain"],
    "dataset_filters": [],
    "backends": {
        "evolve": {"scripted": {"latency": [0.0, 0.1], "rules": [{"contains": "x", "reply": ["y", "z"]}]}},
        "respond": "evolve",
        "other": "scripted",
    },
    "sampling": {"temperature": 0.5, "stop": ["END"], "judge": {"temperature": 0, "seed": None}},
    "concurrency": 3,
    "limits": {"requests_per_minute": 12.5, "retries": 0},
    "export": ["evol", "jsonl"],
    "train": {"model": "x/y", "data": {"path": "x.jsonl"}, "method": "lora", "sft": {"learning_rate": 0.1}},
}


@pytest.fixture(scope="module")
def catalog():
    return Catalog.load()


@pytest.fixture(scope="module")
def schema(catalog):
    return recipe_schema(catalog)


@pytest.fixture(scope="module")
def accepts(schema):
    Draft7Validator.check_schema(schema)
    return Draft7Validator(schema).is_valid


def loads(recipe, catalog):
    try:
        Recipe.from_dict(recipe, catalog=catalog)
    except RecipeError:
        return False
    return True


def test_a_recipe_with_all_there_is_is_accepted(accepts, catalog):
    assert loads(GOOD, catalog)
    assert accepts(GOOD)


def put(path, value):
    recipe = copy.deepcopy(GOOD)
    node = recipe
    for key in path[:-1]:
        node = node[key]
    if value is ...:
        del node[path[-1]]
    else:
        node[path[-1]] = value
    return recipe


WRONG = {
    "version": put(["evolteacher"], 2),
    "no version": put(["evolteacher"], ...),
    "no name": put(["name"], ...),
    "no seeds": put(["seeds"], ...),
    "no operators": put(["operators"], ...),
    "empty operators": put(["operators"], []),
    "unknown key": put(["round"], 2),
    "rounds of a word": put(["rounds"], "two"),
    "no rounds": put(["rounds"], 0),
    "unknown choice": put(["on_pruned"], "stop"),
    "unknown operator": put(["operators", 0], "add-constraint"),
    "unknown option": put(["operators", 1, "add-constraints", "templat"], "x"),
    "wrong option": put(["filters", 1, "few-words", "words"], "four"),
    "negative weight": put(["operators", 1, "add-constraints", "weight"], -1),
    "weight of a filter": put(["filters", 1, "few-words", "weight"], 1),
    "unknown place": put(["filters", 1, "few-words", "on"], "task"),
    "place that it has not": put(["filters", 3], {"no-gain": {"on": "response"}}),
    "on an operator": put(["operators", 1, "add-constraints", "on"], "response"),
    "two in one": put(["filters", 0], {"empty": {}, "sorry": {}}),
    "an operator among filters": put(["filters", 0], "add-constraints"),
    "no evolve": put(["backends", "evolve"], ...),
    "unknown backend": put(["backends", "evolve"], {"scriptd": {}}),
    "inner option": put(["backends", "evolve", "scripted", "rules", 0, "contain"], "x"),
    "unknown seed format": put(["seeds", "format"], "alpca"),
    "unknown seed key": put(["seeds", "pth"], "x"),
    "unknown reader": put(["seeds", "reader"], "jsn"),
    "top_p of 2": put(["sampling", "top_p"], 2),
    "unknown sampling": put(["sampling", "judge", "top_k"], 2),
    "unknown limit": put(["limits", "requests"], 2),
    "unknown training": put(["train"], {"model": "x", "methd": "lora"}),
    "training of a wrong kind": put(["train"], {"model": "x", "method": "lorra"}),
    "training without a model": put(["train"], {"method": "lora"}),
    "unknown export": put(["export"], ["evl"]),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_an_editor_should_mark(accepts, catalog, name):
    assert not loads(WRONG[name], catalog)
    assert not accepts(WRONG[name])


def test_a_recipe_that_only_trains_takes_nothing_of_one_that_evolves(accepts):
    training = {key: GOOD[key] for key in ("evolteacher", "name", "seed", "train")}
    assert accepts(training)
    assert not accepts({**training, "operators": GOOD["operators"]})
    assert not accepts({**training, "rounds": 2})


def test_a_path_alone_is_seeds(accepts):
    assert accepts(put(["seeds"], "x.jsonl"))


def test_shipped_recipes_fit_and_name_the_schema(accepts):
    paths = sorted(shipped_folder().glob("*.yaml"))
    assert len(paths) == 14
    for path in paths:
        first = path.read_text(encoding="utf-8").splitlines()[0]
        assert first == f"# yaml-language-server: $schema={FILE}"
        assert accepts(load(path).data), path.name


def test_what_a_run_writes_as_its_locked_recipe_fits(accepts, catalog):
    assert accepts(Recipe.from_dict(GOOD, catalog=catalog).to_plain())


def test_every_reference_leads_somewhere(schema):
    seen = []

    def walk(node):
        if isinstance(node, dict):
            if "$ref" in node:
                seen.append(node["$ref"])
                assert list(node) == ["$ref"], "draft 7 ignores what stands beside a reference"
                assert node["$ref"].removeprefix("#/$defs/") in schema["$defs"]
            assert "prefixItems" not in node
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(schema)
    assert len(set(seen)) > 20


class Sharp(et.Operator, name="sharp"):
    """Sharpen.

    At length.
    """

    how: Literal["soft", "hard"] = Field("soft", description="How.")
    many: int = Field(..., ge=2, lt=9, description="How many.")
    shape: tuple[int, str] | None = None
    where: Path | None = et.free(None, description="A folder.")


class Strange:
    pass


class Odd(et.InstructionFilter, name="odd"):
    """Have an option that JSON Schema cannot say."""

    model_config = ConfigDict(arbitrary_types_allowed=True)
    thing: Strange | None = None

    def reject(self, evolution):
        return None


class One:
    @staticmethod
    @et.hookimpl
    def register_operators():
        return [Sharp]

    @staticmethod
    @et.hookimpl
    def register_filters():
        return [Odd]


class Two:
    @staticmethod
    @et.hookimpl
    def register_operators():
        return [Sharp]


def test_a_plugins_components_are_in_it(catalog):
    own = Catalog.load()
    own.register(One, "acme")
    accepts = Draft7Validator(recipe_schema(own)).is_valid
    base = {**GOOD, "filters": ["odd", {"odd": {"thing": None}}]}
    assert accepts({**base, "operators": [{"sharp": {"many": 3, "how": "hard", "shape": [1, "x"]}}]})
    assert not accepts({**base, "operators": [{"sharp": {"many": 9}}]})
    assert not accepts({**base, "operators": [{"sharp": {"many": 3, "shape": ["x", 1]}}]})
    assert not accepts({**base, "operators": [{"sharp": {"how": "hard"}}]})


def test_a_name_that_two_plugins_share_is_written_with_the_plugin():
    own = Catalog()
    own.register(One, "acme")
    own.register(Two, "bolt")
    names = recipe_schema(own)["properties"]["operators"]["items"]["anyOf"][0]["enum"]
    assert names == ["acme/sharp", "bolt/sharp"]


def test_an_empty_catalog_still_gives_a_schema():
    Draft7Validator.check_schema(recipe_schema(Catalog()))


def test_options_in_words():
    assert option_rows(Sharp)[-4:] == [
        ("how", "soft | hard", "soft", "How."),
        ("many", "whole number >= 2, < 9", "required", "How many."),
        ("shape", "list of whole number, text or none", "none", ""),
        ("where", "path or none", "none", "A folder. May change on resume."),
    ]
    assert option_rows(Odd)


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({}, "any"),
        ({"type": "boolean"}, "true | false"),
        ({"const": "x"}, "x"),
        ({"type": "array", "items": {"type": "number", "exclusiveMinimum": 0}}, "list of number > 0"),
        ({"type": "array"}, "list"),
        ({"type": "object"}, "mapping"),
        ({"anyOf": [{"$ref": "#/$defs/A"}, {"type": "null"}]}, "mapping of a, b or none"),
    ],
)
def test_types_in_words(schema, words):
    assert type_words(schema, {"A": {"type": "object", "properties": {"a": {}, "b": {}}}}) == words
