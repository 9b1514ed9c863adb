"""A component as a recipe uses it: which class, with which options, under which label."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from evolteacher.catalog import Catalog
from evolteacher.component import RESERVED, Component
from evolteacher.errors import RecipeError, did_you_mean, plugin_fault
from evolteacher.filter import DatasetFilter, Filter
from evolteacher.problems import Problems, literal_credentials, shown
from evolteacher.yamlfile import Key

C = TypeVar("C", bound=Component)

_TAKES = {"operator": ("weight", "as", "backend"), "filter": ("as", "backend", "on")}
"""Which of the reserved words mean anything, by kind of component."""

_LABEL = re.compile(r"[^\W\d_][\w-]*")
"""What ``as`` and the keys of ``backends`` look like: part of slots, and of dotted ``--set`` keys."""

_HEAVIEST = 1_000_000.0


@dataclass(frozen=True)
class Use(Generic[C]):
    """One component in a recipe.

    Attributes:
        component: the instance with its options.
        label: ``as:``, else the component's own name; what records, verdicts and slots carry.
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
        if self.label != short_name(self.written):
            options["as"] = self.label
        if self.weight != 1.0:
            options["weight"] = self.weight
        if self.backend is not None:
            options["backend"] = self.backend
        if self.on:
            options["on"] = list(self.on)
        return {self.written: options}


def short_name(written: str) -> str:
    """Return a component's own name: ``translate`` of ``acme/translate``."""
    return written.rpartition("/")[2]


def is_label(text: str) -> bool:
    """Whether a text can be a label: letters, digits, ``-`` and ``_``, beginning with a letter."""
    return _LABEL.fullmatch(text) is not None


class UseReader:
    """Turns what a recipe writes for a component into a :class:`Use`.

    Args:
        catalog: what is installed.
        problems: where what is wrong goes.
        backends: keys of the recipe's backends, roles included.
    """

    def __init__(self, catalog: Catalog, problems: Problems, backends: Iterable[str]) -> None:
        self._catalog = catalog
        self._problems = problems
        self._backends = frozenset(backends)

    def many(self, specs: Any, base: type[C], path: Key) -> tuple[Use[C], ...]:
        """Read a list of components; two of one label are a problem."""
        if specs is None:
            return ()
        if not isinstance(specs, list):
            self._problems.add(path, "a list is needed: one '- name' a line")
            return ()
        uses: dict[str, Use[C]] = {}
        for index, spec in enumerate(specs):
            use = self.one(spec, base, (*path, index))
            if use is not None and uses.setdefault(use.label, use) is not use:
                twice = f"'{use.label}' is there twice; tell them apart with 'as: other-name'"
                self._problems.add((*path, index), twice)
        return tuple(uses.values())

    def one(self, spec: Any, base: type[C], path: Key) -> Use[C] | None:
        """Read one component: ``name``, or ``name: {options}``; None where that is impossible."""
        written, options = self._split(spec, base, path)
        if written is None:
            return None
        inner = (*path, written) if isinstance(spec, dict) else path
        cls = self._find(base, written, path)
        if cls is None:
            return None
        reserved = {word: options.pop(word) for word in RESERVED if word in options}
        component = self._component(cls, options, f"{base.kind} '{written}'", inner)
        self._check_reserved(reserved, cls, inner)
        label = self._label(reserved, short_name(written), inner)
        weight, backend = self._weight(reserved, inner), self._backend(reserved, inner)
        on = self._on(reserved, cls, inner)
        return None if component is None else Use(component, label, written, weight, backend, on)

    def _find(self, base: type[C], written: str, path: Key) -> type[C] | None:
        try:
            if issubclass(base, Filter):
                cls = self._catalog.find(Filter, written)
                whole = issubclass(cls, DatasetFilter)
                if whole != issubclass(base, DatasetFilter):
                    judges, section = ("the whole dataset", "dataset_filters") if whole else ("single rows", "filters")
                    self._problems.add(path, f"'{written}' judges {judges}: list it under {section}")
                    return None
            return self._catalog.find(base, written)
        except RecipeError as error:
            self._problems.add(path, str(error))
            return None

    def _component(self, cls: type[C], options: dict[str, Any], what: str, path: Key) -> C | None:
        named = deepcopy(options)
        for place in literal_credentials(options):
            message = "a recipe names a key and never holds it: put it into an environment variable, and write env:NAME"
            self._problems.add((*path, *place), message)
            holder: Any = named
            for key in place[:-1]:
                holder = holder[key]
            holder[place[-1]] = "env:NAME"  # the component itself would only say the same once more
        try:
            # Strict as JSON is: lists may become tuples and texts paths, but true is no number and '3' is none either.
            return cls.model_validate_json(json.dumps(named), strict=True)
        except ValidationError as error:
            self._problems.add_invalid(path, error, cls, what, options)
        except Exception as error:
            self._problems.add(path, str(plugin_fault(f"{what}, reading its options,", error)))
        return None

    def _split(self, spec: Any, base: type[C], path: Key) -> tuple[str | None, dict[str, Any]]:
        if isinstance(spec, str):
            return spec, {}
        article = "an" if base.kind[0] in "aeiou" else "a"
        if not isinstance(spec, dict) or not spec:
            self._problems.add(path, f"{article} {base.kind} is needed here: its name, or its name with options below")
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
            # The value is not repeated: it may well be a key that was put in the wrong place.
            self._problems.add((*path, written), "options are needed here, such as {option: value}")
            return None, {}
        return written, dict(options)

    def _check_reserved(self, reserved: dict[str, Any], cls: type[Component], path: Key) -> None:
        takes = ("as",) if issubclass(cls, DatasetFilter) else _TAKES.get(cls.kind, ())
        for word in [word for word in reserved if word not in takes]:
            del reserved[word]
            what = "a dataset filter" if issubclass(cls, DatasetFilter) else f"a {cls.kind}"
            self._problems.add((*path, word), f"{what.replace('a o', 'an o')} takes no '{word}'")
        if issubclass(cls, Filter) and "backend" in reserved and not cls.asks():
            del reserved["backend"]
            self._problems.add((*path, "backend"), f"filter '{cls.name}' asks nothing, so no backend answers it")

    def _label(self, reserved: dict[str, Any], name: str, path: Key) -> str:
        label = reserved.get("as", name)
        if not isinstance(label, str) or not is_label(label):
            message = "a short name is needed: letters, digits, '-' and '_', beginning with a letter"
            self._problems.add((*path, "as"), message)
            return name
        return label

    def _weight(self, reserved: dict[str, Any], path: Key) -> float:
        weight = reserved.get("weight", 1.0)
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight <= _HEAVIEST:
            needed = f"a number from 0 to {_HEAVIEST:,.0f} is needed, not {shown(weight)}"
            self._problems.add((*path, "weight"), needed)
            return 1.0
        return float(weight)

    def _backend(self, reserved: dict[str, Any], path: Key) -> str | None:
        backend = reserved.get("backend")
        if "backend" in reserved and not isinstance(backend, str):
            self._problems.add((*path, "backend"), "the name of one of the recipe's backends is needed")
            return None
        if backend is not None and backend not in self._backends:
            hint = did_you_mean(backend, self._backends)
            self._problems.add((*path, "backend"), f"no backend of this recipe is called '{backend}'.{hint}")
        return backend

    def _on(self, reserved: dict[str, Any], cls: type[Component], path: Key) -> tuple[str, ...]:
        if not issubclass(cls, Filter):
            return ()
        if "on" not in reserved:
            return cls.default_on
        both = ["both"] if {"instruction", "response"} <= set(cls.allowed_on) else []
        takes = [*cls.allowed_on, *both]
        written = reserved["on"]
        words = written if isinstance(written, list) else [written]
        wrong = [word for word in words if word not in takes]
        if wrong or not words:
            found = shown(wrong[0] if wrong else written)
            self._problems.add((*path, "on"), f"it takes {', '.join(takes)}, or a list of them, and not {found}")
            return cls.default_on
        places = set(cls.always_on) | {
            place for word in words for place in (("instruction", "response") if word == "both" else (word,))
        }
        return tuple(place for place in cls.allowed_on if place in places)
