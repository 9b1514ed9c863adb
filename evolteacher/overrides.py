"""Changes to a recipe from the command line: ``--set key=value`` and ``--backend NAME:MODEL``."""

from __future__ import annotations

import copy
import os
from typing import Any

from evolteacher.backend import Backend
from evolteacher.catalog import Catalog
from evolteacher.component import RESERVED, Component
from evolteacher.errors import RecipeError, did_you_mean
from evolteacher.filter import DatasetFilter, Filter
from evolteacher.messages import ROLES
from evolteacher.operator import Operator
from evolteacher.seeds import SeedReader
from evolteacher.yamlfile import Key, Located, parse_value

_LISTS: dict[str, type[Component]] = {"operators": Operator, "filters": Filter, "dataset_filters": DatasetFilter}


def apply_set(located: Located, change: str, catalog: Catalog) -> None:
    """Apply one ``dotted.key=value``.

    A component in a list is reached by its label, its name or its number (from 0), a backend by its key; its own name
    may follow, and must where another component is to take its place: ``backends.judge.vllm.model=PATH``. A role that
    shares another's backend gets one of its own. A path of seeds is relative to the working directory.

    Raises:
        RecipeError: no ``=``, a value that is no YAML, or a key that leads nowhere.
    """
    dotted, equals, text = change.partition("=")
    keys = dotted.strip().split(".")
    option = f"--set {dotted.strip()}"
    if not equals or not all(keys):
        # What stands there is not repeated beyond its first word: it may be a key.
        raise RecipeError(f"--set {dotted.split()[0] if dotted.split() else ''}: write key=value, such as rounds=2")
    try:
        value = parse_value(text)
    except ValueError as error:
        raise RecipeError(f"{option}: {error}. A text may need quotes of its own: '{dotted}=\"…\"'") from None
    if keys in (["seeds"], ["seeds", "path"]) and isinstance(value, str):
        value = _from_here(value)
        _forget_licence(located.data)
    if keys in (["train", "data"], ["train", "data", "path"]) and isinstance(value, str):
        value = _from_here(value)
    path = _Walk(located.data, catalog, option).put(keys, value)
    located.override(path, option)


def _from_here(source: str) -> str:
    """Return a path as who types it means it, from the working directory; forms such as ``hf:…`` stay."""
    path = os.path.abspath(os.path.expanduser(source))
    return source if not source or (":" in source.split("/")[0] and not os.path.exists(path)) else path


def _forget_licence(data: Any) -> None:
    """Drop the licence and terms that the recipe's own seeds have: other seeds are not under them."""
    if isinstance(data, dict) and isinstance(data.get("seeds"), dict):
        data["seeds"].pop("licence", None)
        data["seeds"].pop("terms", None)


def apply_backend(located: Located, text: str, catalog: Catalog) -> None:
    """Let ``NAME`` or ``NAME:VALUE`` answer everything; VALUE is the backend's primary option, such as its model.

    Every backend of the recipe gives way to it, also those that components name by ``backend:``.

    Raises:
        RecipeError: no backend has that name, or it takes no value.
    """
    name, colon, value = text.partition(":")
    try:
        cls = catalog.find(Backend, name)
    except RecipeError as error:
        raise RecipeError(f"--backend {text}: {error}") from None
    if colon and cls.primary not in cls.model_fields:
        raise RecipeError(
            f"--backend {text}: backend '{name}' takes nothing after the colon; use --set for its options"
        )
    if colon and not value:
        raise RecipeError(f"--backend {text}: nothing stands after the colon; write {name}:{cls.primary.upper()}")
    primary = cls.model_fields[cls.primary].alias or cls.primary if colon else ""
    backends = located.data.get("backends")
    others = [key for key in backends if key not in ROLES] if isinstance(backends, dict) else []
    located.data["backends"] = {"evolve": {name: {primary: value} if colon else {}}, **dict.fromkeys(others, "evolve")}
    located.override(("backends",), f"--backend {text}")


class _Walk:
    """Finds the place that a dotted key means, making what is written short into what has options."""

    def __init__(self, data: dict[str, Any], catalog: Catalog, option: str) -> None:
        self._data = data
        self._catalog = catalog
        self._option = option

    def put(self, keys: list[str], value: Any) -> Key:
        """Put the value in its place; return the outermost part that is new by it."""
        first, rest = keys[0], keys[1:]
        if rest and first in _LISTS and isinstance(self._data.get(first), list):
            items = self._data[first]
            index = self._index(items, rest[0], first)
            return self._component(items, index, rest[1:], value, _LISTS[first], (first, index))
        if rest and first == "backends":
            backends = self._data.setdefault("backends", {})
            if isinstance(backends, dict):
                self._own_backend(backends, rest[0])
                return self._component(backends, rest[0], rest[1:], value, Backend, (first, rest[0]))
        if rest and first == "seeds":
            seeds = self._data.setdefault("seeds", {})
            if isinstance(seeds, str):
                seeds = self._data["seeds"] = {"path": seeds}
            if rest[0] == "reader" and isinstance(seeds, dict):
                return self._component(seeds, "reader", rest[1:], value, SeedReader, (first, "reader"))
        return self._plain(self._data, keys, value, ())

    def _own_backend(self, backends: dict[str, Any], key: str) -> None:
        """Let a key that another one answers for have a copy of that one's backend, to be changed on its own."""
        source, seen = backends.get(key, "evolve" if key in ROLES else None), {key}
        while isinstance(source, str) and source in backends and source not in seen:
            seen.add(source)
            source = backends[source]
        if source is not None:
            backends[key] = copy.deepcopy(source)

    def _component(self, holder: Any, key: Any, keys: list[str], value: Any, base: type[Component], path: Key) -> Key:
        """Put a value into a component, or in its place."""
        if not keys:
            holder[key] = value
            return path
        spec = holder[key] if isinstance(holder, list) else holder.get(key)
        name, options = _parts(spec)
        another = name is None or (keys[0] != name and self._is_component(keys, name, value, base))
        if name is None or another:
            name, options = keys[0], {}
        if keys[0] == name:
            keys = keys[1:]
        holder[key] = {name: options}
        new = (*path, name)
        if keys:
            new = self._plain(options, keys, value, new)
        else:
            holder[key][name] = value
        return path if another else new

    def _is_component(self, keys: list[str], current: str, value: Any, base: type[Component]) -> bool:
        """Whether a key beside the component that stands there means another one, and not an option of it."""
        try:
            cls = self._catalog.find(base, current)
        except RecipeError:
            return True
        if keys[0] in RESERVED or any(keys[0] in (name, field.alias) for name, field in cls.model_fields.items()):
            return False
        try:
            self._catalog.find(base, keys[0])
        except RecipeError:
            return len(keys) > 1 or isinstance(value, dict)
        return True

    def _index(self, items: list[Any], key: str, section: str) -> int:
        if key.isascii() and key.isdigit() and int(key) < len(items):
            return int(key)
        names = []
        for index, item in enumerate(items):
            name, options = _parts(item)
            if name is not None:
                label = options.get("as", name.rpartition("/")[2])
                names.append((index, str(label), name))
        for index, label, _ in names:
            if key == label:
                return index
        found = [index for index, _, name in names if key in (name, name.rpartition("/")[2])]
        if len(found) == 1:
            return found[0]
        if found:
            labels = " or ".join(f"'{label}'" for index, label, _ in names if index in found)
            raise RecipeError(f"{self._option}: {section} has '{key}' more than once: write {labels}")
        hint = did_you_mean(key, [label for _, label, _ in names])
        raise RecipeError(f"{self._option}: {section} has no '{key}'.{hint} A number from 0 does, too.")

    def _plain(self, node: Any, keys: list[str], value: Any, path: Key) -> Key:
        new: Key | None = None
        for depth, key in enumerate(keys):
            place: str | int = key
            if isinstance(node, list):
                if not (key.isascii() and key.isdigit() and int(key) < len(node)):
                    wanted = f"a number from 0 to {len(node) - 1}" if node else "nothing yet"
                    raise RecipeError(f"{self._option}: this is a list, and '{key}' none of its places ({wanted})")
                place = int(key)
            elif not isinstance(node, dict):
                # What stands there is not repeated: it may be a secret.
                before = ".".join(self._option.removeprefix("--set ").split(".")[: depth - len(keys)])
                raise RecipeError(f"{self._option}: '{before}' is a single value and holds no '{key}'")
            path = (*path, place)
            if depth == len(keys) - 1:
                node[place] = value
            elif isinstance(node, dict) and node.get(key) is None:
                new = new or path
                node[key] = {}
                node = node[key]
            else:
                node = node[place]
        return new or path


def _parts(spec: Any) -> tuple[str | None, dict[str, Any]]:
    """Return name and options of a component as a recipe writes it; no name where that is none."""
    if isinstance(spec, str):
        return spec, {}
    if isinstance(spec, dict) and len(spec) == 1:
        ((name, options),) = spec.items()
        return name, options if isinstance(options, dict) else {}
    return None, {}
