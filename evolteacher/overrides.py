"""Changes to a recipe from the command line: ``--set key=value`` and ``--backend NAME:MODEL``."""

from __future__ import annotations

from typing import Any

from evolteacher.backend import Backend
from evolteacher.catalog import Catalog
from evolteacher.errors import RecipeError
from evolteacher.messages import ROLES
from evolteacher.yamlfile import Key, Located, parse_value

_COMPONENT_LISTS = ("operators", "filters", "dataset_filters")


def apply_set(located: Located, change: str) -> None:
    """Apply one ``dotted.key=value``.

    A list of components is entered by a component's name or label, or by number; setting an option of a backend that
    the recipe does not name there puts that backend in its place.

    Raises:
        RecipeError: no ``=``, a value that is no YAML, or a key that leads nowhere.
    """
    dotted, equals, text = change.partition("=")
    option = f"--set {dotted}"
    if not equals or not dotted.strip():
        raise RecipeError(f"--set {change}: write key=value, such as --set rounds=2")
    try:
        value = parse_value(text)
    except ValueError as error:
        raise RecipeError(f"{option}: the value is not valid YAML: {error}") from None
    keys = dotted.strip().split(".")
    path: Key = ()
    node: Any = located.data
    for depth, key in enumerate(keys[:-1]):
        node, path = _enter(node, key, keys[: depth + 1], path, option)
    _put(node, keys[-1], value, path, option)
    located.override(path if isinstance(node, list) else (*path, keys[-1]), option)


def apply_backend(located: Located, text: str, catalog: Catalog) -> None:
    """Let ``NAME`` or ``NAME:VALUE`` answer every role; VALUE is the backend's primary option, such as its model.

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
    backends = located.data.get("backends")
    extra = {k: v for k, v in backends.items() if k not in ROLES} if isinstance(backends, dict) else {}
    located.data["backends"] = {"evolve": {name: {cls.primary: value} if colon else {}}, **extra}
    located.override(("backends",), f"--backend {text}")


def _enter(node: Any, key: str, keys: list[str], path: Key, option: str) -> tuple[Any, Key]:
    if isinstance(node, list):
        index = _index(node, key, option)
        if isinstance(node[index], str):
            node[index] = {node[index]: {}}
        item = node[index]
        # filters.no-gain.unclear: the component's name is both the way in and the key of its options
        if isinstance(item, dict) and len(item) == 1 and path and path[0] in _COMPONENT_LISTS and not key.isdigit():
            ((name, options),) = item.items()
            item[name] = options if isinstance(options, dict) else {}
            return item[name], (*path, index, name)
        return item, (*path, index)
    if not isinstance(node, dict):
        raise RecipeError(f"{option}: {'.'.join(keys[:-1])} holds no further keys")
    child = node.get(key)
    if len(path) == 2 and path[0] == "backends" and key not in node:
        node.clear()
    if len(path) == 1 and path[0] == "backends" and isinstance(child, str):
        child = node[key] = {child: {}}
    if child is None:
        child = node[key] = {}
    if not isinstance(child, dict | list):
        raise RecipeError(f"{option}: {'.'.join(keys)} is {child!r} and holds no further keys")
    return child, (*path, key)


def _index(node: list[Any], key: str, option: str) -> int:
    if key.isdigit() and int(key) < len(node):
        return int(key)
    for index, item in enumerate(node):
        name, options = (item, {}) if isinstance(item, str) else next(iter(item.items()), ("", {}))
        label = options.get("as", name) if isinstance(options, dict) else name
        if key in (name, label):
            return index
    raise RecipeError(f"{option}: the recipe has no '{key}' there; use a name that it lists, or a number from 0")


def _put(node: Any, key: str, value: Any, path: Key, option: str) -> None:
    if isinstance(node, list):
        node[_index(node, key, option)] = value
    elif isinstance(node, dict):
        node[key] = value
    else:
        raise RecipeError(f"{option}: there is nothing to set '{key}' in")
