"""YAML with the line of every node, so that each error can say where."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

from evolteacher.errors import RecipeError

Key = tuple[str | int, ...]
"""Where a node stands: the keys and indices that lead to it."""

MOST_NODES = 100_000
"""More nodes than any recipe has; aliases of aliases (a "billion laughs") end here instead of in memory."""


class Located:
    """Plain data and the line that each part of it came from.

    Attributes:
        data: dicts, lists, texts, numbers, booleans and None.
        name: the file's name for messages.
        lines: 1-based line by path; what ``--set`` gave has none.
    """

    def __init__(self, data: Any, name: str, lines: dict[Key, int] | None = None) -> None:
        self.data = data
        self.name = name
        self.lines = lines or {}
        self.overrides: dict[Key, str] = {}

    def where(self, path: Key) -> str:
        """Return ``file:line``, or the option that set this part, for the nearest part with a known place."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.overrides:
                return self.overrides[path[:length]]
            if path[:length] in self.lines:
                return f"{self.name}:{self.lines[path[:length]]}"
        return self.name

    def override(self, path: Key, option: str) -> None:
        """Remember that a command-line option set this part."""
        self.overrides[path] = option


def load(path: Path, name: str | None = None) -> Located:
    """Read a YAML file.

    Raises:
        RecipeError: the file is missing, no UTF-8, or no YAML; with file and line.
    """
    name = name or str(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise RecipeError(f"{name}: there is no such file") from None
    except IsADirectoryError:
        raise RecipeError(f"{name}: this is a folder, and a recipe is a YAML file") from None
    except UnicodeDecodeError as error:
        raise RecipeError(f"{name}: not UTF-8 at byte {error.start}; save the recipe as UTF-8") from None
    except OSError as error:
        raise RecipeError(f"{name}: cannot be read: {error.strerror}") from None
    return parse(text, name)


def parse(text: str, name: str) -> Located:
    """Parse YAML text; see :func:`load`."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        tree = YAML(typ="rt").load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        problem = str(error.problem or error.context).strip()
        raise RecipeError(f"{name}{line}: not valid YAML: {problem}") from None
    except (YAMLError, ValueError, RecursionError) as error:
        raise RecipeError(f"{name}: not valid YAML: {str(error).splitlines()[0]}") from None
    located = Located(None, name)
    located.data = _plain(tree, (), located, [0])
    located.lines.setdefault((), 1)
    return located


def parse_value(text: str) -> Any:
    """Parse the value of a ``--set key=value`` as YAML.

    Raises:
        ValueError: it is no YAML.
    """
    try:
        return parse(text, "value").data
    except RecipeError as error:
        raise ValueError(str(error).partition("not valid YAML: ")[2]) from None


def dump(data: Any) -> str:
    """Write plain data as YAML, keys in their order."""
    import io

    from ruamel.yaml import YAML

    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.width = 110
    buffer = io.StringIO()
    yaml.dump(data, buffer)
    return buffer.getvalue()


def _plain(node: Any, path: Key, located: Located, count: list[int]) -> Any:
    count[0] += 1
    if count[0] > MOST_NODES:
        raise RecipeError(f"{located.name}: more than {MOST_NODES} values; a recipe is far smaller")
    if isinstance(node, dict):
        plain = {}
        for key, value in node.items():
            if not isinstance(key, str):
                raise RecipeError(f"{located.where(path)}: the key {key!r} is no text; put it in quotes")
            _note(node, key, (*path, key), located)
            plain[key] = _plain(value, (*path, key), located, count)
        return plain
    if isinstance(node, list):
        items = []
        for index, value in enumerate(node):
            _note(node, index, (*path, index), located)
            items.append(_plain(value, (*path, index), located, count))
        return items
    if isinstance(node, bool) or node is None:
        return node
    for kind in (str, int, float):
        if isinstance(node, kind):
            return kind(node)
    raise RecipeError(f"{located.where(path)}: a {type(node).__name__} has no meaning in a recipe; write it as a text")


def _note(node: Any, key: Hashable, path: Key, located: Located) -> None:
    place = getattr(node, "lc", None)
    data = getattr(place, "data", None)
    if data and key in data:
        located.lines[path] = data[key][0] + 1
