"""What is wrong with a recipe, in our words: all problems at once, each with its place, and never a secret."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from evolteacher.errors import RecipeError, did_you_mean
from evolteacher.yamlfile import Key, Located, dotted_path

_SECRET = re.compile(
    r"(?i)(^|[^a-z])(api_?key|key|token|secret|passw(or)?d|pwd|auth|authorization|credentials?|cookie|bearer)($|[^a-z])"
)
"""Options whose value is never shown; ``max_tokens`` is none of them."""

_CREDENTIAL = re.compile(
    r"(?i)(^|[^a-z])(api[_-]?key|access[_-]?key|secret([_-]?key)?|passw(or)?d|authorization|"
    r"(access|api|auth|bearer|hf)[_-]?token)$"
)
"""Options that hold a credential and can hold nothing else; a ``pad_token`` is none of them."""

_SHOWN = 60
"""Most characters of a wrong value that a message repeats."""

_NEEDED = {
    "bool": "true or false is needed",
    "int": "a whole number is needed",
    "float": "a number is needed",
    "finite": "a number is needed",
    "string": "a text is needed",
    "list": "a list is needed, such as [a, b]",
    "tuple": "a list is needed, such as [a, b]",
    "set": "a list is needed, such as [a, b]",
    "frozen": "a list is needed, such as [a, b]",
    "dict": "options are needed, such as {option: value}",
    "model": "options are needed, such as {option: value}",
    "path": "a path is needed",
}
"""By the first word of pydantic's name of the problem, where the value's type is wrong."""

_BOUNDS = {
    "greater_than_equal": ("ge", "must be {} or more"),
    "greater_than": ("gt", "must be more than {}"),
    "less_than_equal": ("le", "must be {} or less"),
    "less_than": ("lt", "must be less than {}"),
    "too_short": ("min_length", "needs at least {} of them"),
    "too_long": ("max_length", "takes at most {} of them"),
    "string_too_short": ("min_length", "needs at least {} characters"),
    "string_too_long": ("max_length", "takes at most {} characters"),
}


class Problems:
    """Collects what is wrong with a recipe, so that one look shows all of it."""

    def __init__(self, located: Located) -> None:
        self.located = located
        self.lines: list[str] = []

    def add(self, path: Key, message: str) -> None:
        """Add one problem; the line is ``where: dotted.path: message``."""
        dotted = dotted_path(path)
        self.lines.append(f"{self.located.where(path)}: {dotted}{': ' if dotted else ''}{message}")

    def add_invalid(
        self, path: Key, error: ValidationError, model: type[BaseModel], what: str, data: Mapping[str, Any]
    ) -> None:
        """Add each problem that pydantic found; what is wrong in every alternative of one value is one problem.

        Args:
            path: where the part stands in the recipe.
            error: what pydantic found.
            model: what it was validated as.
            what: the part in words, such as ``operator 'translate'``.
            data: the part as it was validated.
        """
        alternatives: dict[Key, list[str]] = {}
        lines: list[tuple[Key, str]] = []
        for found in error.errors(include_url=False):
            keys = _written(found, data)
            needed, value = explain(found, model, keys, what)
            place = keys[:-1] if found["type"] == "missing" else keys
            if len(keys) == len(found["loc"]):
                lines.append((place, needed + value))
                continue
            if place not in alternatives:
                alternatives[place] = []
                lines.append((place, value))
            if needed not in alternatives[place]:
                alternatives[place].append(needed)
        for place, text in lines:
            if place in alternatives:
                if any(other != place and other[: len(place)] == place for other, _ in lines):
                    continue  # the alternative that was meant is told apart by the problem inside it
                text = f"{', or '.join(alternatives[place])}{text}"
            self.add((*path, *place), text)

    def raise_any(self) -> None:
        """Raise RecipeError if there was any problem."""
        if self.lines:
            raise RecipeError(*dict.fromkeys(self.lines))


def explain(found: Any, model: type[BaseModel], keys: Key, what: str) -> tuple[str, str]:
    """Say one pydantic problem in our words.

    Returns:
        What would be right, and the value that is there instead; the latter is empty where it is long known, has
        parts of its own, or could be a secret.
    """
    kind, context, value = str(found["type"]), found.get("ctx") or {}, found.get("input")
    if kind in ("extra_forbidden", "missing"):
        name = str(found["loc"][-1])
        owner = f"'{dotted_path(keys[:-1])}'" if len(keys) > 1 else what
        if kind == "missing":
            return f"{owner} needs '{name}'", ""
        return f"{owner} has no '{name}'.{did_you_mean(name, _fields_at(model, keys[:-1]))}", ""
    if kind in ("value_error", "assertion_error"):
        return str(context.get("error") or found["msg"]), ""
    if value is None:
        return "nothing stands here: give a value, or leave the key out", ""
    if kind in _BOUNDS:
        name, words = _BOUNDS[kind]
        bound = context.get(name)
        needed, near = words.format(f"{bound:g}" if isinstance(bound, float) else bound), ""
    elif kind in ("literal_error", "enum"):
        choices = re.findall(r"'([^']*)'", str(context.get("expected")))
        close = difflib.get_close_matches(str(value), choices, n=1)
        needed, near = f"must be {context.get('expected')}", f". Did you mean '{close[0]}'?" if close else ""
    else:
        fallback = re.sub(r"^Input should ", "it should ", str(found["msg"]))
        needed, near = _NEEDED.get(kind.split("_")[0], fallback) if _is_type(kind) else fallback, ""
    if isinstance(value, dict | list) or any(is_secret(key) for key in keys):
        return needed, ""
    return needed, f", not {shown(value)}{near}"


def is_secret(key: str | int) -> bool:
    """Whether an option's value may be a secret, by its name; such a value is never shown."""
    return isinstance(key, str) and _SECRET.search(_snake(key)) is not None


def literal_credentials(value: Any, path: Key = ()) -> Iterator[Key]:
    """Find the credentials that are written out where ``env:NAME`` belongs; yields their places below ``path``."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if isinstance(inner, str):
                if _CREDENTIAL.search(_snake(key)) and inner and not inner.startswith("env:"):
                    yield (*path, key)
            else:
                yield from literal_credentials(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from literal_credentials(inner, (*path, index))


def _snake(key: str) -> str:
    """Write ``apiKey`` as ``api_Key``, so that its words can be told apart."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key)


def shown(value: Any) -> str:
    """Write a wrong value as a recipe would, shortened."""
    text = json.dumps(value) if value is None or isinstance(value, bool) else repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _is_type(kind: str) -> bool:
    return kind.endswith(("_type", "_parsing", "_from_float", "_number"))


def _written(found: Any, data: Any) -> Key:
    """Leave out of pydantic's path what the recipe does not write: the names of a union's alternatives."""
    keys: list[str | int] = []
    parts = list(found["loc"])
    for number, key in enumerate(parts):
        if isinstance(data, Mapping) and key in data:
            keys.append(key)
            data = data[key]
        elif isinstance(data, list | tuple) and isinstance(key, int) and key < len(data):
            keys.append(key)
            data = data[key]
        elif number == len(parts) - 1 and found["type"] in ("missing", "extra_forbidden"):
            keys.append(key)
    return tuple(keys)


def _fields_at(model: type[BaseModel], keys: Key) -> list[str]:
    """Return the names of the options of the part at ``keys``; none where that cannot be told."""
    for key in keys:
        if isinstance(key, int):
            continue
        field = next((f for name, f in model.model_fields.items() if key in (name, f.alias)), None)
        if field is not None:
            inner = next(_models(field.annotation), None)
            if inner is None:
                return []
            model = inner
    return [info.alias or name for name, info in model.model_fields.items() if not info.exclude]


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)
