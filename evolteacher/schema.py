"""The JSON Schema of recipes, made from what is installed, so that editors complete and check them.

JSON Schema draft 7, which all editors read.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, create_model
from pydantic.errors import PydanticUserError

from evolteacher.backend import Backend
from evolteacher.catalog import Catalog, Entry
from evolteacher.component import Component
from evolteacher.filter import DatasetFilter, Filter
from evolteacher.messages import ROLES
from evolteacher.operator import Operator
from evolteacher.recipe import Recipe
from evolteacher.roundsection import STOPS, Rounds
from evolteacher.sections import Section, Seeds
from evolteacher.seeds import SeedReader
from evolteacher.trainsection import TrainRecipe

FILE = "recipe.schema.json"
"""The name that recipes refer to the schema by, beside them: ``# yaml-language-server: $schema=recipe.schema.json``."""

Schema = dict[str, Any]

_QUALIFIED = "^[^/]+/[^/]+$"


def recipe_schema(catalog: Catalog) -> Schema:
    """Return the schema of recipes that use what is in the catalog.

    It accepts every recipe that loads. It refuses unknown keys, components and options, and values of a wrong type;
    what only makes sense together (a backend's name that another part refers to) is left to ``evolteacher validate``.
    """
    definitions: Schema = {}
    schema = _fields(Recipe, {"operators", "filters", "dataset_filters", "backends", "seeds"}, definitions)
    properties = schema["properties"]
    properties["operators"] = _many(
        catalog, Operator, definitions, "Evolution operators; one is drawn a lineage a round."
    )
    properties["operators"]["minItems"] = 1
    rows = [entry for entry in catalog.entries(Filter.kind) if not issubclass(entry.cls, DatasetFilter)]
    whole = [entry for entry in catalog.entries(Filter.kind) if issubclass(entry.cls, DatasetFilter)]
    properties["filters"] = _list(rows, definitions, "What prunes instructions and responses, in this order.")
    properties["dataset_filters"] = _list(whole, definitions, "What prunes the finished dataset, in this order.")
    properties["backends"] = _backends(catalog, definitions)
    properties["seeds"] = _seeds(catalog, definitions)
    properties["rounds"] = _rounds(properties["rounds"], definitions)
    evolving = [name for name in schema["required"] if name not in ("evolteacher", "name")]
    only_evolving = [name for name in properties if name not in TrainRecipe.model_fields]
    order = [name for name in Recipe.model_fields if name in properties]
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "evolteacher recipe",
        "type": "object",
        "additionalProperties": False,
        "required": ["evolteacher", "name"],
        "anyOf": [{"required": evolving}, {"required": ["train"], "properties": dict.fromkeys(only_evolving, False)}],
        "properties": {name: properties[name] for name in order},
        "$defs": dict(sorted(definitions.items())),
    }


def option_rows(cls: type[Component]) -> list[tuple[str, str, str, str]]:
    """Return a component's options for people: (name, type, default, description)."""
    try:
        schema = cls.model_json_schema()
    except PydanticUserError:
        schema = {"properties": {}}
    definitions = schema.get("$defs", {})
    rows = []
    for name, field in cls.model_fields.items():
        found = schema.get("properties", {}).get(field.alias or name, {})
        default = "required" if field.is_required() else _default(found.get("default"))
        description = field.description or ""
        if name in cls.free_options():
            description = f"{description} May change on resume.".strip()
        rows.append((field.alias or name, type_words(found, definitions), default, description))
    return rows


def type_words(schema: Schema, definitions: Schema | None = None) -> str:
    """Say a JSON Schema in a few words, such as ``number >= 0 or none``."""
    known = definitions or {}
    if "$ref" in schema:
        return type_words(known.get(str(schema["$ref"]).rpartition("/")[2], {}), known)
    if "const" in schema:
        return _default(schema["const"])
    if "enum" in schema:
        return " | ".join(str(value) for value in schema["enum"])
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema:
            return " or ".join(dict.fromkeys(type_words(part, known) for part in schema[key]))
    kind = schema.get("type")
    if kind == "array":
        parts = schema.get("prefixItems")
        if parts:
            return f"list of {', '.join(type_words(part, known) for part in parts)}"
        return f"list of {type_words(schema['items'], known)}" if schema.get("items") else "list"
    if kind == "object":
        names = ", ".join(schema.get("properties", {}))
        return f"mapping of {names}" if names else "mapping"
    if str(schema.get("format", "")).endswith("path"):
        return "path"
    words = {"string": "text", "integer": "whole number", "null": "none", "boolean": "true | false"}
    return f"{words.get(str(kind), kind or 'any')}{_bounds(schema)}"


def _default(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)


def _bounds(schema: Schema) -> str:
    signs = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    found = [f"{sign} {schema[key]:,}" for key, sign in signs.items() if key in schema]
    return f" {', '.join(found)}" if found else ""


def _fields(model: type[BaseModel], without: set[str], definitions: Schema) -> Schema:
    """Return the schema of a recipe's section without those fields that the catalog decides."""
    fields: dict[str, Any] = {
        name: (info.annotation, info)
        for name, info in model.model_fields.items()
        if name not in without and not info.exclude
    }
    bare = create_model(model.__name__, __base__=Section, **fields)
    schema = _hoisted(bare, model.__name__, definitions)
    schema["required"] = [name for name, info in model.model_fields.items() if info.is_required()]
    return schema


def _hoisted(model: type[BaseModel], prefix: str, definitions: Schema) -> Schema:
    """Return a model's schema, its inner definitions moved to the common ones under names of their own."""
    schema = model.model_json_schema(ref_template=f"#/$defs/{prefix}.{{model}}")
    for name, inner in schema.pop("$defs", {}).items():
        definitions[f"{prefix}.{name}"] = _draft_7(inner)
    adapted: Schema = _draft_7(schema)
    return adapted


def _draft_7(node: Any) -> Any:
    """Write what pydantic says in draft 2020-12 as draft 7: tuples, and what stands beside a reference."""
    if isinstance(node, list):
        return [_draft_7(item) for item in node]
    if not isinstance(node, dict):
        return node
    node = {key: _draft_7(value) for key, value in node.items()}
    if "prefixItems" in node:
        node["items"] = node.pop("prefixItems")
    if "$ref" in node and len(node) > 1:
        node["allOf"] = [{"$ref": node.pop("$ref")}]
    return node


def _many(catalog: Catalog, base: type[Component], definitions: Schema, description: str) -> Schema:
    return _list(catalog.entries(base.kind), definitions, description)


def _list(entries: Iterable[Entry], definitions: Schema, description: str) -> Schema:
    return {"type": "array", "description": description, "items": {"anyOf": _forms(list(entries), definitions)}}


def _forms(entries: list[Entry], definitions: Schema) -> list[Schema]:
    """Return the two ways to write a component: its name, or its name with options."""
    if not entries:
        return [{"type": ["string", "object"]}]
    names: dict[str, list[Entry]] = {}
    for entry in entries:
        names.setdefault(entry.cls.name, []).append(entry)
    written = {
        (found[0].cls.name if len(found) == 1 else entry.qualified): entry
        for found in names.values()
        for entry in found
    }
    options = {name: {"anyOf": [{"type": "null"}, _component(entry, definitions)]} for name, entry in written.items()}
    return [
        {"enum": list(written), "enumDescriptions": [_first_line(entry.cls) for entry in written.values()]},
        {"type": "string", "pattern": _QUALIFIED},
        {
            "type": "object",
            "minProperties": 1,
            "maxProperties": 1,
            "additionalProperties": False,
            "properties": options,
            "patternProperties": {_QUALIFIED: {"type": ["object", "null"]}},
        },
    ]


def _component(entry: Entry, definitions: Schema) -> Schema:
    cls = entry.cls
    name = f"{cls.kind.replace(' ', '-')}.{entry.plugin.name}.{cls.name}"
    if name not in definitions:
        try:
            schema = _hoisted(cls, name, definitions)
        except PydanticUserError:  # an option of a type that JSON Schema cannot say
            schema = {"type": "object"}
        schema["properties"] = {**schema.get("properties", {}), **_reserved(cls)}
        schema.update(title=cls.name, description=cls.documentation())
        definitions[name] = schema
    return {"$ref": f"#/$defs/{name}"}


def _reserved(cls: type[Component]) -> Schema:
    """Return the words that a recipe may write beside the component's own options."""
    words: Schema = {"as": {"type": "string", "description": "Tells two uses of one component apart."}}
    if issubclass(cls, Operator):
        words["weight"] = {
            "type": "number",
            "minimum": 0,
            "description": "How often it is drawn, relative to the others.",
        }
    if issubclass(cls, Operator | Filter):
        words["backend"] = {"type": "string", "description": "Which of the recipe's backends answers what it asks."}
    if issubclass(cls, Filter) and cls.allowed_on:
        both = ["both"] if {"instruction", "response"} <= set(cls.allowed_on) else []
        places = {"enum": [*cls.allowed_on, *both]}
        words["on"] = {
            "description": f"Where it looks; {' and '.join(cls.default_on)} by default.",
            "anyOf": [places, {"type": "array", "minItems": 1, "items": places}],
        }
    return words


def _backends(catalog: Catalog, definitions: Schema) -> Schema:
    forms = _forms(catalog.entries(Backend.kind), definitions)
    # A text may also be another entry's key, which means the same instance; only loading can tell.
    one = {"anyOf": [*forms, {"type": "string"}]}
    roles = {"evolve": "rewrites instructions", "respond": "answers them", "judge": "judges, where a filter asks"}
    return {
        "type": "object",
        "description": "Which model does what; a role that is not named is done by the one that evolves.",
        "required": ["evolve"],
        "properties": {role: {**one, "description": f"What {roles[role]}."} for role in ROLES},
        "additionalProperties": one,
    }


def _seeds(catalog: Catalog, definitions: Schema) -> Schema:
    section = _fields(Seeds, {"reader"}, definitions)
    section["properties"]["reader"] = {
        "description": "Which seed reader reads the source; found by the source's name unless it is said here.",
        "anyOf": [*_forms(catalog.entries(SeedReader.kind), definitions), {"type": "null"}],
    }
    section["description"] = "Where the seed instructions come from."
    return {
        "anyOf": [{"type": "string", "description": "A file, relative to the recipe, or `hf:owner/name`."}, section]
    }


def _rounds(number: Schema, definitions: Schema) -> Schema:
    """Return the schema of ``rounds``: a number, or the most there are and the signal that may end them sooner."""
    alone = [name for name, cls in STOPS.items() if not any(field.is_required() for field in cls.model_fields.values())]
    words = {name: inspect.cleandoc(cls.__doc__ or "").partition("\n\n")[0] for name, cls in STOPS.items()}
    named = {"enum": alone, "enumDescriptions": [words[name].replace("\n", " ") for name in alone]}
    options: Schema = {name: _hoisted(cls, f"stop.{name}", definitions) for name, cls in STOPS.items()}
    options.update({name: {"anyOf": [{"type": "null"}, options[name]]} for name in alone})
    one = {
        "type": "object",
        "minProperties": 1,
        "maxProperties": 1,
        "additionalProperties": False,
        "properties": options,
    }
    section = _fields(Rounds, set(), definitions)
    section["properties"]["stop"] = {
        "description": "The signal that ends evolving once it stops improving.",
        "anyOf": [{"type": "null"}, named, one],
    }
    description = number.pop("description")
    return {"description": description, "default": number.pop("default"), "anyOf": [number, section]}


def _first_line(cls: type[Component]) -> str:
    return cls.documentation().partition("\n\n")[0].replace("\n", " ")
