"""Whether code parses: Python by its own parser, other languages by tree-sitter's grammars. Registers nothing."""

from __future__ import annotations

import ast
import importlib
import re
import warnings
from functools import cache
from typing import Any, NamedTuple

from evolteacher.errors import MissingExtra


class Fault(NamedTuple):
    """Why code does not parse: in words, and the line of the code, from 1."""

    what: str
    line: int


_NAMES = {
    "python": "python py python3 py3",
    "javascript": "javascript js jsx node nodejs mjs",
    "typescript": "typescript ts",
    "tsx": "tsx",
    "java": "java",
    "c": "c h",
    "cpp": "cpp c++ cc cxx hpp",
    "csharp": "csharp c# cs",
    "go": "go golang",
    "rust": "rust rs",
    "css": "css",
    "json": "json jsonc",
    "ruby": "ruby rb",
    "php": "php",
}
LANGUAGES = {alias: language for language, aliases in _NAMES.items() for alias in aliases.split()}
"""What a fence says -> the language."""

_GRAMMARS = {
    "javascript": ("javascript", "language"),
    "typescript": ("typescript", "language_typescript"),
    "tsx": ("typescript", "language_tsx"),
    "java": ("java", "language"),
    "c": ("c", "language"),
    "cpp": ("cpp", "language"),
    "csharp": ("c_sharp", "language"),
    "go": ("go", "language"),
    "rust": ("rust", "language"),
    "css": ("css", "language"),
    "json": ("json", "language"),
    "ruby": ("ruby", "language"),
    "php": ("php", "language_php_only"),
}
"""Language -> the package tree_sitter_*, and its function."""

_AROUND = {
    "java": ("class A {\n", "\n}"),
    "csharp": ("class A {\n", "\n}"),
    "javascript": ("(\n", "\n)"),
    "typescript": ("(\n", "\n)"),
    "rust": ("fn f() {\n", "\n}"),
    "go": ("func f() {\n", "\n}"),
    "c": ("void f() {\n", "\n}"),
    "cpp": ("void f() {\n", "\n}"),
    "css": ("a {\n", "\n}"),
    "json": ("{\n", "\n}"),
    "php": ("class A {\n", "\n}"),
}
"""What a fragment may stand inside: a method, a list of declarations, the pairs of an object."""

_PROMPT = re.compile(r"^[ \t]*(?:>>>|In \[\d+\]:)(?: |$)", re.MULTILINE)
_SHELL_LINE = re.compile(r"^[ \t]*(?:[$%!][ \t]*(?=[A-Za-z./])|%%?[a-z]+\b).*$", re.MULTILINE)
_PLACEHOLDER = re.compile(
    r"\.\.\.(?!\w)|\u2026|<[A-Za-z][\w ]*(?:here|code|name)>|\[(?:your|insert)[^\]\n]*\]"
    r"|(?:#|//)\s*(?:do|your|add|insert|some|rest|code|implement|todo)\b",
    re.IGNORECASE,
)
_CONTINUES = re.compile(r"\s*(?:el(?:if|se)|except|finally|case)\b")
_NEEDS_BODY = re.compile(r"\A[^\n]*:[ \t]*(?:#[^\n]*)?\Z")
_DEEPEST = 90
"""Open brackets of Python code, one inside another; the parser's own limit is 200, and before it comes slow going."""


def modules_of(language: str) -> tuple[str, ...]:
    """Return the modules that parse a language; none for Python, which parses itself."""
    return ("tree_sitter", f"tree_sitter_{_GRAMMARS[language][0]}") if language in _GRAMMARS else ()


def fault_of(language: str, code: str) -> Fault | None:
    """Return why code does not parse, or None where it does, or where that cannot be told.

    Sketches pass: what fails and holds ``...`` or another placeholder. Of a session (``>>>``, ``$ ``) the input counts.

    Raises:
        MissingExtra: the language's grammar is not installed.
    """
    if "\0" in code:
        return Fault("a NUL character", code.count("\n", 0, code.index("\0")) + 1)
    fault = _python(code) if language == "python" else _by_grammar(language, code)
    return None if fault is not None and _PLACEHOLDER.search(code) else fault


def _python(code: str) -> Fault | None:
    if _PROMPT.search(code):
        code = _session(code)
    code = _SHELL_LINE.sub("pass" if _NEEDS_BODY.match(code) else "", code)
    if _CONTINUES.match(code) or _depth(code) > _DEEPEST:
        return None
    if _NEEDS_BODY.match(code.strip()):
        code = code.strip() + "\n    pass"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an odd escape or `1 is 1` is no fault of syntax
            ast.parse(code)
    except SyntaxError as error:
        return Fault(error.msg, error.lineno or 1)
    except (RecursionError, MemoryError, ValueError):
        return None  # too deep for the parser, so nothing is known
    return None


def _session(code: str) -> str:
    """Return the input of an interpreter's session, what it printed left blank."""
    lines = []
    entering = False
    for line in code.split("\n"):
        bare = line.lstrip()
        start = _PROMPT.match(line)
        entering = start is not None or (entering and bare.startswith("..."))
        lines.append((line[start.end() :] if start else bare[3:].removeprefix(" ")) if entering else "")
    return "\n".join(lines)


def _depth(code: str) -> int:
    depth = deepest = 0
    for char in code:
        if char in "([{":
            depth += 1
            deepest = max(deepest, depth)
        elif char in ")]}":
            depth -= 1
    return deepest


def _by_grammar(language: str, code: str) -> Fault | None:
    if language == "php":
        code = re.sub(r"<\?(?:php\b|=)?|\?>(?:\s*\Z)?", " ", code) if "?>" not in code.rstrip()[:-2] else ""
    # Blanks at a line's end are an error to some grammars.
    code = "\n".join(line.rstrip() for line in code.split("\n"))
    fault = _first_fault(language, code)
    if fault is not None and language in _AROUND:
        before, after = _AROUND[language]
        if _first_fault(language, before + code + after) is None:
            return None
    return fault


def _first_fault(language: str, code: str) -> Fault | None:
    """Return the first error of the tree, found without recursion."""
    tree = _parser(language).parse(code.encode("utf-8", "replace"))
    node = tree.root_node
    while node.has_error and not (node.is_error or node.is_missing):
        node = next((child for child in node.children if child.has_error or child.is_missing), None)
        if node is None:
            return None  # a quirk of the grammar, which shows nothing wrong
    if not node.has_error and not node.is_missing:
        return None
    what = f"a missing {node.type}" if node.is_missing else "unexpected text"
    return Fault(what, node.start_point[0] + 1)


@cache
def _parser(language: str) -> Any:
    package, function = _GRAMMARS[language]
    try:
        import tree_sitter

        grammar = importlib.import_module(f"tree_sitter_{package}")
    except ImportError:
        raise MissingExtra(f"filter 'code-parses', for {language},", "filters") from None
    return tree_sitter.Parser(tree_sitter.Language(getattr(grammar, function)()))
