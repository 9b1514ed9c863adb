"""YAML with the line of every node, so that each error can say where."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evolteacher.errors import RecipeError

if TYPE_CHECKING:
    from ruamel.yaml.error import MarkedYAMLError
    from ruamel.yaml.nodes import Node, ScalarNode

Key = tuple[str | int, ...]
"""Where a node stands: the keys and indices that lead to it."""

MOST_NODES = 100_000
"""More nodes than any recipe has; aliases of aliases (a "billion laughs") end here instead of in memory."""

MOST_LEVELS = 50
"""Deeper than any recipe; far deeper nesting would end in Python's recursion limit, after seconds of scanning."""

MOST_CHARACTERS = 4_000_000
"""Longer than any recipe; a dataset that was given in its place is refused at once."""

_TAGS = {f"tag:yaml.org,2002:{name}": name for name in ("null", "bool", "int", "float", "str", "map", "seq", "merge")}


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
        """Remember that a command-line option set this part, and all that it holds."""
        for places in (self.lines, self.overrides):
            for place in [place for place in places if place[: len(path)] == path]:
                del places[place]
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
    except ValueError:
        raise RecipeError(f"{name}: no file can be called so") from None
    return parse(text, name)


def parse(text: str, name: str) -> Located:
    """Parse YAML text; see :func:`load`."""
    from ruamel.yaml import YAML
    from ruamel.yaml.constructor import SafeConstructor
    from ruamel.yaml.error import MarkedYAMLError
    from ruamel.yaml.reader import ReaderError

    if len(text) > MOST_CHARACTERS:
        raise RecipeError(f"{name}: {len(text):,} characters; a recipe is far smaller. Is this a dataset?")
    try:
        _check_depth(YAML(typ="safe", pure=True).parse(text), name)
        yaml = YAML(typ="safe", pure=True)
        node = yaml.compose(text)
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        problem = f"the character U+{ord(text[error.position]):04X} is not allowed; in double quotes write it as \\u…"
        raise RecipeError(f"{name}:{line}: not valid YAML: {problem}") from None
    except MarkedYAMLError as error:
        raise RecipeError(f"{name}{_problem(error, len(text))}") from None
    located = Located(None, name)
    located.lines[()] = 1
    constructor: SafeConstructor = yaml.constructor
    if node is not None:
        located.data = _Reader(located, constructor).read(node, (), node)
    return located


def parse_value(text: str) -> Any:
    """Parse the value of a ``--set key=value`` as YAML.

    Raises:
        ValueError: it is no YAML, or nothing that a recipe can hold.
    """
    try:
        return parse(text, "value").data
    except RecipeError as error:
        raise ValueError(str(error).partition(": ")[2]) from None


def dump(data: Any) -> str:
    """Write plain data as YAML, keys in their order; :func:`parse` reads the same data again."""
    import io

    from ruamel.yaml import YAML
    from ruamel.yaml.representer import SafeRepresenter

    class Representer(SafeRepresenter):
        def ignore_aliases(self, data: Any) -> bool:
            return True

        def represent_text(self, data: str) -> ScalarNode:
            # In other styles this character would come back as a line break, that is: a space.
            style = '"' if "\x85" in data else None
            return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)

    Representer.add_representer(str, Representer.represent_text)
    yaml = YAML(typ="safe", pure=True)
    yaml.Representer = Representer
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.width = 110
    buffer = io.StringIO()
    yaml.dump(data, buffer)
    return buffer.getvalue()


def plain_data(data: Any, name: str) -> Located:
    """Take over data that was made in Python, such as a recipe as a dict; the original is left alone.

    Tuples become lists and paths texts, as a recipe file would hold them.

    Raises:
        RecipeError: something that no recipe file can hold, with its place.
    """
    located = Located(None, name)
    located.data = _Taker(located).take(data, ())
    return located


def dotted_path(path: Key) -> str:
    """Write a path as ``operators[0].translate.language``."""
    text = ""
    for key in path:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else key
    return text


class _Counter:
    """Bounds what is read, and refuses what no recipe can hold."""

    def __init__(self, located: Located) -> None:
        self.located = located
        self._count = 0

    def fail(self, path: Key, message: str) -> RecipeError:
        dotted = dotted_path(path)
        return RecipeError(f"{self.located.where(path)}: {dotted}{': ' if dotted else ''}{message}")

    def enter(self, path: Key) -> None:
        self._count += 1
        if self._count > MOST_NODES:
            raise RecipeError(f"{self.located.name}: more than {MOST_NODES:,} values; a recipe is far smaller")
        if len(path) > MOST_LEVELS:
            raise self.fail(path, _TOO_DEEP)

    def scalar(self, value: Any, path: Key) -> Any:
        if isinstance(value, str):
            return self.text(value, path)
        if isinstance(value, float) and not math.isfinite(value):
            raise self.fail(path, f"{value} is no number to go by; leave the option out for no limit")
        return value

    def text(self, value: str, path: Key) -> str:
        try:
            # JSON, which is YAML too, writes characters beyond U+FFFF as two surrogates.
            return value.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            raise self.fail(path, "a text holds half a character (a lone surrogate); write it in UTF-8") from None


class _Reader(_Counter):
    """Turns YAML nodes into plain data, noting lines."""

    def __init__(self, located: Located, constructor: Any) -> None:
        super().__init__(located)
        self._constructor = constructor
        self._open: set[int] = set()

    def read(self, node: Node, path: Key, place: Node) -> Any:
        self.located.lines[path] = place.start_mark.line + 1
        self.enter(path)
        kind = _TAGS.get(str(node.tag))
        if kind == "map" and id(node) not in self._open:
            self._open.add(id(node))
            pairs = self._pairs(node, path)
            plain: Any = {key: self.read(value, (*path, key), place) for key, (place, value) in pairs.items()}
            self._open.discard(id(node))
            return plain
        if kind == "seq" and id(node) not in self._open:
            self._open.add(id(node))
            plain = [self.read(value, (*path, index), value) for index, value in enumerate(node.value)]
            self._open.discard(id(node))
            return plain
        if id(node) in self._open:
            raise self.fail(path, "an alias holds itself; write out what is meant")
        if kind is None or kind == "merge":
            raise self.fail(path, _foreign(str(node.tag)))
        try:
            return self.scalar(self._constructor.construct_object(node), path)
        except (ValueError, KeyError):
            raise self.fail(path, f"not valid YAML: this is no {kind} that can be read") from None

    def _pairs(self, node: Node, path: Key) -> dict[str, tuple[Node, Node]]:
        """Return key -> (where it is written, value); what is merged in gives way to what is written."""
        pairs: dict[str, tuple[Node, Node]] = {}
        merged: dict[str, tuple[Node, Node]] = {}
        for key, value in node.value:
            if _TAGS.get(str(key.tag)) == "merge":
                for source in self._merged(value, path):
                    merged = {**self._pairs(source, path), **merged}
                continue
            line = key.start_mark.line + 1
            if _TAGS.get(str(key.tag)) != "str":
                written = f"'{key.value}'" if isinstance(key.value, str) else "of this mapping"
                raise RecipeError(f"{self.located.name}:{line}: the key {written} is no text; put it in quotes")
            text = self.text(key.value, path)
            if text in pairs:
                first = pairs[text][0].start_mark.line + 1
                raise RecipeError(f"{self.located.name}:{line}: '{text}' is there twice, first in line {first}")
            pairs[text] = (key, value)
        return {**{key: pair for key, pair in merged.items() if key not in pairs}, **pairs} if merged else pairs

    def _merged(self, node: Node, path: Key) -> Iterator[Node]:
        for source in node.value if _TAGS.get(str(node.tag)) == "seq" else [node]:
            if _TAGS.get(str(source.tag)) != "map" or id(source) in self._open:
                raise self.fail(path, "'<<' takes another mapping, or a list of them")
            self.enter(path)
            yield source


class _Taker(_Counter):
    """Copies plain data."""

    def take(self, value: Any, path: Key) -> Any:
        self.enter(path)
        if isinstance(value, Mapping):
            for key in value:
                if not isinstance(key, str):
                    raise self.fail(path, f"the key {key!r} is no text")
            return {self.text(key, path): self.take(inner, (*path, key)) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self.take(inner, (*path, index)) for index, inner in enumerate(value)]
        if isinstance(value, os.PathLike):
            value = os.fspath(value)
        if value is not None and not isinstance(value, str | bool | int | float):
            raise self.fail(path, f"a {type(value).__name__} has no meaning in a recipe; write it as a text")
        return self.scalar(value, path)


_TOO_DEEP = f"nested more than {MOST_LEVELS} levels deep; a recipe is far flatter"


def _check_depth(events: Iterable[Any], name: str) -> None:
    """Refuse deep nesting while the text is scanned, before anything recursive sees it."""
    from ruamel.yaml.events import CollectionEndEvent, CollectionStartEvent

    depth = 0
    for event in events:
        if isinstance(event, CollectionStartEvent):
            depth += 1
        elif isinstance(event, CollectionEndEvent):
            depth -= 1
        if depth > MOST_LEVELS:
            raise RecipeError(f"{name}:{event.start_mark.line + 1}: {_TOO_DEEP}")


def _problem(error: MarkedYAMLError, end: int) -> str:
    """Say what is broken, and in which line; what is never closed is told by where it opens."""
    mark = error.problem_mark or error.context_mark
    if error.context_mark is not None and error.problem_mark is not None and error.problem_mark.index >= end:
        mark = error.context_mark
    line = f":{mark.line + 1}" if mark is not None else ""
    problem = ", ".join(str(part).strip() for part in (error.context, error.problem) if part)
    hint = "; indent with spaces" if "'\\t'" in problem else ""
    return f"{line}: not valid YAML: {problem}{hint}"


def _foreign(tag: str) -> str:
    if tag.endswith(":timestamp"):
        return "a date has no meaning in a recipe; put it in quotes"
    return f"the tag '{tag.removeprefix('tag:yaml.org,2002:')}' has no meaning in a recipe; leave it out"
