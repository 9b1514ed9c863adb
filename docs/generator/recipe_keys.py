"""The page about a recipe's keys, from the JSON Schema that `evolteacher schema` writes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from words import cell, code, table

from evolteacher.catalog import Catalog
from evolteacher.schema import recipe_schema, type_words

_SECTION = "#/$defs/Recipe."
"""References to parts of a recipe; all others are to components, which have pages of their own."""

INTRODUCTION = """# Recipe keys

Every key that a recipe can hold, as the installed version checks it. [Recipes](../recipes.md) explains how they work
together; `evolteacher schema` writes the same for an editor. A dotted key is what `--set` takes.
"""

COMPONENTS = {
    "operators": "list of [operators](operators.md)",
    "filters": "list of [filters](filters.md)",
    "dataset_filters": "list of [dataset filters](filters.md)",
    "backends": "mapping of role to [backend](backends.md)",
    "seeds.reader": "[seed reader](seed-readers.md)",
}
"""What stands for a type where the schema lists every component."""


def pages(catalog: Catalog) -> Iterator[tuple[str, str]]:
    """Yield the page: (where it is, its Markdown)."""
    schema = recipe_schema(catalog)
    rows = list(_rows(schema, schema["$defs"], ""))
    top = [row for row in rows if "." not in row[0]]
    parts = [INTRODUCTION, _table(top)]
    for section in dict.fromkeys(key.partition(".")[0] for key, *_ in rows if "." in key):
        parts += [f"## {section}", _table([row for row in rows if row[0].startswith(f"{section}.")])]
    yield "reference/recipe.md", "\n\n".join(parts)


def _table(rows: list[tuple[str, str, str, str]]) -> str:
    return table(("key", "what it is", "type", "default"), [(code(key), *rest) for key, *rest in rows])


def _rows(section: dict[str, Any], definitions: dict[str, Any], prefix: str) -> Iterator[tuple[str, str, str, str]]:
    for name, field in section.get("properties", {}).items():
        key = f"{prefix}{name}"
        inner = None if key in COMPONENTS else _section(field, definitions)
        words = field.get("description") or (inner or {}).get("description", "")
        kind = COMPONENTS.get(key) or cell(_kind(field, inner, definitions))
        yield key, cell(words), kind, _default(name, field, section, inner)
        if inner is not None:
            yield from _rows(inner, definitions, f"{key}.")


def _section(field: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any] | None:
    """Return the part of a recipe that a field holds, alone or among other forms; None where it holds none."""
    if str(field.get("$ref", "")).startswith(_SECTION):
        return _section(definitions[field["$ref"].removeprefix("#/$defs/")], definitions)
    if field.get("properties"):
        return field
    forms = [form for key in ("anyOf", "allOf", "oneOf") for form in field.get(key, ())]
    return next((found for form in forms if (found := _section(form, definitions))), None)


def _kind(field: dict[str, Any], inner: dict[str, Any] | None, definitions: dict[str, Any]) -> str:
    if inner is None:
        return type_words(field, definitions)
    forms = [form for form in field.get("anyOf", ()) if _section(form, definitions) is None]
    return " or ".join([*dict.fromkeys(type_words(form, definitions) for form in forms), "mapping"])


def _default(name: str, field: dict[str, Any], section: dict[str, Any], inner: dict[str, Any] | None) -> str:
    if name in section.get("required", ()):
        return "required"
    if any(name in form.get("required", ()) for form in section.get("anyOf", ())):
        return "required to evolve"
    default = field.get("default")
    if default is None or default == "":
        return "none"
    if inner is not None and isinstance(default, dict):
        return "as below"
    return code(default if isinstance(default, str) else json.dumps(default, ensure_ascii=False))
