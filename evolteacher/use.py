"""A component as a recipe uses it: which class, with which options, under which label."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from evolteacher.catalog import Catalog
from evolteacher.component import RESERVED, Component
from evolteacher.errors import RecipeError, did_you_mean
from evolteacher.filter import Filter
from evolteacher.yamlfile import Key, Located

C = TypeVar("C", bound=Component)

_SECRET = ("key", "token", "secret", "password")


@dataclass(frozen=True)
class Use(Generic[C]):
    """One component in a recipe.

    Attributes:
        component: the instance with its options.
        label: ``as:``, else the name as written; what records, verdicts and slots carry.
        written: the name as the recipe writes it, short or qualified.
        weight: how often an operator is chosen, relative to the others.
        backend: key of the recipe's ``backends`` that answers what this component asks; None leaves it to the role.
        on: where a row filter looks; empty for other components.
    """

    component: C
    label: str
    written: str
    weight: float = 1.0
    backend: str | None = None
    on: tuple[str, ...] = ()

    def to_plain(self, *, with_free: bool = True) -> dict[str, Any]:
        """Return ``{name: {options, reserved words}}`` with every default written out."""
        options = self.component.options(with_free=with_free)
        if self.label != self.written:
            options["as"] = self.label
        if self.weight != 1.0:
            options["weight"] = self.weight
        if self.backend is not None:
            options["backend"] = self.backend
        if self.on:
            options["on"] = list(self.on)
        return {self.written: options}


class Problems:
    """Collects what is wrong with a recipe, so that one look shows all of it."""

    def __init__(self, located: Located) -> None:
        self.located = located
        self.lines: list[str] = []

    def add(self, path: Key, message: str) -> None:
        """Add one problem; the line is ``where: dotted.path: message``."""
        dotted = dotted_path(path)
        self.lines.append(f"{self.located.where(path)}: {dotted}{': ' if dotted else ''}{message}")

    def add_invalid(self, path: Key, error: ValidationError, model: type[BaseModel], what: str) -> None:
        """Add each problem that pydantic found in the part at ``path``."""
        for found in error.errors(include_url=False):
            keys = tuple(key for key in found["loc"] if isinstance(key, str | int))
            self.add((*path, *keys), explain(found, model, keys, what))

    def raise_any(self) -> None:
        """Raise RecipeError if there was any problem."""
        if self.lines:
            raise RecipeError(*self.lines)


def dotted_path(path: Key) -> str:
    """Write a path as ``operators[0].translate.language``."""
    text = ""
    for key in path:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else key
    return text


def explain(found: Any, model: type[BaseModel], keys: Key, what: str) -> str:
    """Say one pydantic problem in our words: what is wrong and what would be right."""
    kind, message = found["type"], str(found["msg"])
    if kind == "extra_forbidden":
        known = _fields_at(model, keys[:-1])
        return f"{what} has no '{keys[-1]}'.{did_you_mean(str(keys[-1]), known)}"
    if kind == "missing":
        return f"{what} needs '{keys[-1]}'"
    message = message.removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    value = found.get("input")
    if kind == "value_error" or isinstance(value, dict | list) or any(word in str(keys).lower() for word in _SECRET):
        return message
    shown = repr(value)
    return f"{message}, not {shown if len(shown) <= 60 else shown[:57] + '…'}"


def _fields_at(model: type[BaseModel], keys: Key) -> Iterable[str]:
    for key in keys:
        annotation = model.model_fields[str(key)].annotation if str(key) in model.model_fields else None
        options = [annotation, *getattr(annotation, "__args__", ())]
        inner = next((o for o in options if isinstance(o, type) and issubclass(o, BaseModel)), None)
        if inner is None:
            return ()
        model = inner
    return [info.alias or name for name, info in model.model_fields.items()]


class UseReader:
    """Turns what a recipe writes for a component into a :class:`Use`."""

    def __init__(self, catalog: Catalog, problems: Problems) -> None:
        self._catalog = catalog
        self._problems = problems

    def many(self, specs: Any, base: type[C], path: Key) -> tuple[Use[C], ...]:
        """Read a list of components; two of one label are a problem."""
        if specs is None:
            return ()
        if not isinstance(specs, list):
            self._problems.add(path, "a list is needed: one '- name' a line")
            return ()
        uses: list[Use[C]] = []
        for index, spec in enumerate(specs):
            use = self.one(spec, base, (*path, index))
            if use is None:
                continue
            if any(use.label == other.label for other in uses):
                self._problems.add(
                    (*path, index), f"'{use.label}' is there twice; tell them apart with 'as: other-name'"
                )
            uses.append(use)
        return tuple(uses)

    def one(self, spec: Any, base: type[C], path: Key) -> Use[C] | None:
        """Read one component: ``name``, or ``name: {options}``; None where that is impossible."""
        written, options = self._split(spec, base, path)
        if written is None:
            return None
        inner = (*path, written) if isinstance(spec, dict) else path
        try:
            cls = self._catalog.find(base, written)
        except RecipeError as error:
            self._problems.add(path, str(error))
            return None
        reserved = {word: options.pop(word) for word in RESERVED if word in options}
        try:
            component = cls.model_validate(options)
        except ValidationError as error:
            self._problems.add_invalid(inner, error, cls, f"{base.kind} '{written}'")
            return None
        return Use(
            component=component,
            written=written,
            label=self._label(reserved, written.rpartition("/")[2], inner),
            weight=self._weight(reserved, base, inner),
            backend=self._backend(reserved, inner),
            on=self._on(reserved, component, inner),
        )

    def _split(self, spec: Any, base: type[C], path: Key) -> tuple[str | None, dict[str, Any]]:
        if isinstance(spec, str):
            return spec, {}
        if not isinstance(spec, dict) or not spec:
            self._problems.add(path, f"a {base.kind} is needed here: its name, or its name with options below")
            return None, {}
        if len(spec) > 1:
            first = next(iter(spec))
            others = ", ".join(list(spec)[1:])
            self._problems.add(
                path, f"one {base.kind} at a time: '{first}' stands beside '{others}'; indent options below the name"
            )
            return None, {}
        ((written, options),) = spec.items()
        if options is None:
            return written, {}
        if not isinstance(options, dict):
            self._problems.add((*path, written), f"options are needed here, such as {{option: value}}, not {options!r}")
            return None, {}
        return written, dict(options)

    def _label(self, reserved: dict[str, Any], name: str, path: Key) -> str:
        label = reserved.get("as", name)
        if not isinstance(label, str) or not label or any(char in label for char in "/:\n"):
            self._problems.add((*path, "as"), "a short name is needed, without '/', ':' or line breaks")
            return name
        return label

    def _weight(self, reserved: dict[str, Any], base: type[C], path: Key) -> float:
        weight = reserved.get("weight", 1.0)
        if "weight" in reserved and base.kind != "operator":
            self._problems.add((*path, "weight"), "only operators have a weight")
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < float("inf"):
            self._problems.add((*path, "weight"), f"a number of 0 or more is needed, not {weight!r}")
            return 1.0
        return float(weight)

    def _backend(self, reserved: dict[str, Any], path: Key) -> str | None:
        backend = reserved.get("backend")
        if backend is not None and not isinstance(backend, str):
            self._problems.add((*path, "backend"), "the name of one of the recipe's backends is needed")
            return None
        return backend

    def _on(self, reserved: dict[str, Any], component: Component, path: Key) -> tuple[str, ...]:
        allowed: Sequence[str] = component.allowed_on if isinstance(component, Filter) else ()
        default: Sequence[str] = component.default_on if isinstance(component, Filter) else ()
        if "on" not in reserved:
            return tuple(default)
        written = reserved["on"]
        words = [written] if isinstance(written, str) else written
        places: list[str] = []
        for word in words if isinstance(words, list) else [words]:
            places += ["instruction", "response"] if word == "both" else [word]
        wrong = [place for place in places if place not in allowed]
        if wrong or not places:
            names = ", ".join([*allowed, *(["both"] if "response" in allowed and "instruction" in allowed else [])])
            what = f"one or several of {names}" if allowed else "nothing: this component has no 'on'"
            self._problems.add((*path, "on"), f"{wrong[0] if wrong else written!r}: it takes {what}")
            return tuple(default)
        return tuple(place for place in allowed if place in places)
