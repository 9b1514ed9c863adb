"""The Python of a response as something to be tested: what is loaded, what is called, and what stands in its place."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import evolteacher as et

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef

LONGEST_DOCSTRING = 600
"""Characters of a docstring that a head is shown with."""

_SCRIPT = "main"
"""What a script calls its own doing; it reads and prints, and is no function to be tested."""


@dataclass(frozen=True, slots=True)
class Program:
    """The code of one response.

    Attributes:
        code: as it is written there; empty where the response holds no Python.
        loaded: what has to be loaded of it: definitions, and what they use; empty where it defines nothing.
        entries: the functions and classes that a user of the code calls: those that no other of them uses.
        heads: the entries without what they do, for somebody who is to write tests.
        silent: whether none of the entries gives anything back: functions that print or change what they are given.
    """

    code: str
    loaded: str = ""
    entries: tuple[str, ...] = ()
    heads: str = ""
    silent: bool = False

    @classmethod
    def of(cls, response: str) -> Self:
        """Read the code out of a response."""
        code = et.read_code(response)
        loaded = et.definitions(code)
        tree = et.parse_python(loaded) if loaded else None
        if tree is None:
            return cls(code)
        known = {each.name: each for each in tree.body if isinstance(each, Definition) and each.name != _SCRIPT}
        used = {name for each in known.values() for name in _used(each) if name in known and name != each.name}
        entries = tuple(name for name in known if name not in used) or tuple(known)
        heads = "\n\n".join(_head(known[name]) for name in entries)
        return cls(code, loaded if known else "", entries, heads, not any(_gives(known[name]) for name in entries))

    @property
    def one_function(self) -> bool:
        """Whether a single function is all that is called from outside."""
        return len(self.entries) == 1 and not self.heads.startswith("class ")

    @property
    def names(self) -> frozenset[str]:
        """All names that it binds at the top."""
        tree = et.parse_python(self.loaded)
        bound = set() if tree is None else {name for statement in tree.body for name in _bound(statement)}
        return frozenset(bound)


def put_in_place(response: str, old: str, new: str) -> str:
    """Return a response with other code in the place of its own.

    Where one fenced block holds the code, that block's is replaced, and the prose around it stays; where several do,
    one block takes the place of the whole response; a response that is code throughout becomes the new code.

    Args:
        response: the answer.
        old: its code, as :func:`et.read_code` read it.
        new: the code that takes its place.
    """
    new = new.strip("\n")
    _, blocks = et.split_fences(response)
    holding = [block for block in blocks if block.code == old]
    if holding:
        lines = response.split("\n")
        start = holding[0].line - 1
        end = start + holding[0].code.count("\n") + 1
        return "\n".join([*lines[:start], new, *lines[end:]])
    return f"```python\n{new}\n```" if blocks else new


def _gives(definition: Definition) -> bool:
    """Whether it has a result; a class has its attributes, at least."""
    if isinstance(definition, ast.ClassDef):
        return True
    return any(
        isinstance(node, ast.Yield | ast.YieldFrom) or (isinstance(node, ast.Return) and node.value is not None)
        for node in _own(definition)
    )


def _used(definition: Definition) -> set[str]:
    return {node.id for node in ast.walk(definition) if isinstance(node, ast.Name)}


def _bound(statement: ast.stmt) -> set[str]:
    if isinstance(statement, Definition):
        return {statement.name}
    names = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    for node in ast.walk(statement):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
    return names


def _head(definition: Definition) -> str:
    """Return a definition with its docstring and the kind of its results, and nothing of how it comes to them."""
    docstring = ast.get_docstring(definition, clean=False)
    rest: ast.expr = ast.Constant(... if docstring is None or len(docstring) > LONGEST_DOCSTRING else docstring)
    body: list[ast.stmt] = [ast.Expr(rest)]
    if isinstance(definition, ast.ClassDef):
        methods = [each for each in definition.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)]
        said = f'    """{docstring}"""\n' if docstring is not None and len(docstring) <= LONGEST_DOCSTRING else ""
        inner = "\n\n".join(textwrap.indent(_head(each), "    ") for each in methods)
        first = ast.unparse(ast.ClassDef(definition.name, definition.bases, definition.keywords, [ast.Pass()], []))
        return f"{first.removesuffix('pass').rstrip()}\n{said}{inner or '    pass'}"
    kind = type(definition)
    head = kind(definition.name, definition.args, body, [], definition.returns, lineno=1)
    kinds = _results(definition)
    told = f"\n    # returns {kinds}" if kinds else ""
    return f"{ast.unparse(ast.fix_missing_locations(head))}{told}"


def _results(definition: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """Say what kinds of results a function has, where its code shows them all; fixed texts are told word for word.

    A tester cannot guess whether a task's "even" is True or "Even"; that is no part of what the function works out.
    """
    values = [node.value for node in _own(definition) if isinstance(node, ast.Return) and node.value is not None]
    kinds = dict.fromkeys(_kind(value) for value in values)
    return " or ".join(kinds) if kinds and "" not in kinds and len(kinds) <= _MOST_KINDS else ""


def _kind(value: ast.expr) -> str:
    """Return the kind of an expression's value; nothing where it does not show."""
    if isinstance(value, ast.Constant):
        fixed = isinstance(value.value, str) or value.value is None
        return (
            ast.unparse(value)
            if fixed and len(str(value.value)) <= _LONGEST_TEXT
            else f"a {type(value.value).__name__}"
        )
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) and value.func.attr == "join":
        return "a str"
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name):
        return _MAKERS.get(value.func.id, "")
    return next((kind for nodes, kind in _DISPLAYS if isinstance(value, nodes)), "")


_MOST_KINDS = 4
_LONGEST_TEXT = 60
_MAKERS = {
    "list": "a list", "sorted": "a list", "dict": "a dict", "set": "a set", "tuple": "a tuple", "str": "a str",
    "bool": "a bool", "any": "a bool", "all": "a bool", "len": "an int", "int": "an int", "float": "a float",
}  # fmt: skip
_DISPLAYS: tuple[tuple[tuple[type[ast.expr], ...], str], ...] = (
    ((ast.List, ast.ListComp), "a list"),
    ((ast.Dict, ast.DictComp), "a dict"),
    ((ast.Set, ast.SetComp), "a set"),
    ((ast.Tuple,), "a tuple"),
    ((ast.JoinedStr,), "a str"),
    ((ast.Compare,), "a bool"),
)


def _own(definition: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[ast.AST]:
    """Yield a function's nodes, those of functions inside it left out."""
    waiting: list[ast.AST] = [*definition.body]
    while waiting:
        node = waiting.pop(0)
        if not isinstance(node, Definition | ast.Lambda):
            yield node
            waiting += ast.iter_child_nodes(node)
