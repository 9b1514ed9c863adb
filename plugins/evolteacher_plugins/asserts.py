"""Tests out of a model's answer: single asserts, each with what it needs, and none that could mark its own work.

A model that is asked for asserts also writes test functions, ``unittest`` classes, loops over cases, numbered lists and
prose. Each assert in any of these becomes a test by itself, so that one with a wrong expectation is told from the rest.
What could change the code under test, or the words that the test is written in, is no test: see :func:`_fair`.
"""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import evolteacher as et

LONGEST = 2_000
"""Characters of one test; more is no small case."""

MODULES = frozenset(
    {
        "collections",
        "copy",
        "datetime",
        "decimal",
        "fractions",
        "itertools",
        "json",
        "math",
        "re",
        "statistics",
        "string",
    }
)
"""What a test may import."""

_BUILTINS = frozenset(dir(builtins))
_FORBIDDEN = frozenset(
    {"__import__", "breakpoint", "compile", "delattr", "eval", "exec", "exit", "globals", "input", "locals", "open",
     "quit", "setattr", "vars"}
)  # fmt: skip
_LIST_MARK = re.compile(r"^\s*(?:[-*>]|\d+[.)])?\s*`*(?=assert\b)")
_MOST_LINES = 8
_GOT = "_got_"


@dataclass(frozen=True, slots=True)
class Assert:
    """One test.

    Attributes:
        text: what is shown of it: what it needs, and the assert.
        suite: what is run: the same, and where it compares with ``==``, it tells what came instead.
    """

    text: str
    suite: str


def read_asserts(answer: str, wanted: Sequence[str], taken: frozenset[str], most: int) -> tuple[Assert, ...]:
    """Return the tests that an answer holds, in its order, each once.

    Of tests that contradict one another, which expect several results of the same call, none is taken.

    Args:
        answer: a model's.
        wanted: names of functions and classes; a test uses one of them.
        taken: names that the code under test has; a test binds none of them.
        most: how many at most; later ones are left out.
    """
    found: dict[str, Assert] = {}
    checks = list(_checks(_statements(answer)))
    expected: dict[str, set[str]] = {}
    for setup, check in checks:
        expected.setdefault(_question(setup, check), set()).add(ast.unparse(check))
    for setup, check in checks:
        if len(expected[_question(setup, check)]) > 1:
            continue
        needed = _needed(setup, check)
        text = "\n".join(ast.unparse(each) for each in (*needed, check))
        if len(text) <= LONGEST and _fair((*needed, check), frozenset(wanted), taken):
            suite = "\n".join(ast.unparse(each) for each in (*needed, *_telling(check)))
            found.setdefault(text, Assert(text, suite))
        if len(found) >= most:
            break
    return tuple(found.values())


def _statements(answer: str) -> list[ast.stmt]:
    """Return the statements of an answer's code; where that does not parse, the asserts on its lines."""
    _, blocks = et.split_fences(answer)
    texts = [block.code for block in blocks] if blocks else [answer]
    found: list[ast.stmt] = []
    for text in texts:
        tree = et.parse_python(text)
        found += tree.body if tree is not None else _from_lines(text)
    return found


def _from_lines(text: str) -> list[ast.stmt]:
    """Return the asserts that begin on lines of a text which does not parse as a whole."""
    found: list[ast.stmt] = []
    lines = text.split("\n")
    for start, line in enumerate(lines):
        mark = _LIST_MARK.match(line)
        if mark is None:
            continue
        for end in range(start + 1, min(start + _MOST_LINES, len(lines)) + 1):
            tree = et.parse_python("\n".join([line[mark.end() :].rstrip("` "), *lines[start + 1 : end]]))
            if tree is not None:
                found += tree.body[:1]
                break
    return found


def _checks(
    statements: Sequence[ast.stmt], before: tuple[ast.stmt, ...] = ()
) -> Iterator[tuple[list[ast.stmt], ast.stmt]]:
    """Yield each assert with the statements that stand before it."""
    setup = list(before)
    for statement in statements:
        checks = _as_check(statement)
        if checks is not None:
            yield setup[:], checks
        elif isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield from _checks(statement.body, tuple(setup))
        elif isinstance(statement, ast.If):  # the `__main__` block
            yield from _checks(statement.body, tuple(setup))
        elif isinstance(statement, ast.Assign | ast.AugAssign | ast.AnnAssign | ast.Expr | ast.Import | ast.ImportFrom):
            setup.append(statement)


def _as_check(statement: ast.stmt) -> ast.stmt | None:
    """Return a statement as one that asserts; None where it does not."""
    if isinstance(statement, ast.Assert):
        return ast.Assert(statement.test)
    if isinstance(statement, ast.For) and any(isinstance(node, ast.Assert) for node in ast.walk(statement)):
        return statement
    if isinstance(statement, ast.With):
        return _raising(statement)
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
        return _unittest(statement.value)
    return None


def _unittest(call: ast.Call) -> ast.stmt | None:
    """Return ``self.assertEqual(…)`` and the like as an assert."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    args = call.args
    if name in ("assertEqual", "assertListEqual", "assertDictEqual") and len(args) >= 2:
        return ast.Assert(ast.Compare(args[0], [ast.Eq()], [args[1]]))
    if name == "assertTrue" and args:
        return ast.Assert(args[0])
    if name == "assertFalse" and args:
        return ast.Assert(ast.UnaryOp(ast.Not(), args[0]))
    return None


def _raising(statement: ast.With) -> ast.stmt | None:
    """Return ``with pytest.raises(…):`` as statements that need no library."""
    call = statement.items[0].context_expr
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.args):
        return None
    if call.func.attr not in ("raises", "assertRaises"):
        return None
    expected = ast.ExceptHandler(call.args[0], None, [ast.Pass()])
    nothing = ast.Raise(ast.Call(ast.Name("AssertionError", ast.Load()), [ast.Constant("nothing was raised")], []))
    return ast.fix_missing_locations(ast.Try(statement.body, [expected], [nothing], []))


def _question(setup: Sequence[ast.stmt], check: ast.stmt) -> str:
    """Return what a test compares with something, and what it needs for that; all of it where it compares nothing."""
    test = check.test if isinstance(check, ast.Assert) else None
    asked: ast.AST = test.left if isinstance(test, ast.Compare) and isinstance(test.ops[0], ast.Eq) else check
    return "\n".join(ast.unparse(each) for each in (*_needed(setup, check), asked))


def _needed(setup: Sequence[ast.stmt], check: ast.stmt) -> list[ast.stmt]:
    """Return the statements before an assert that it depends on."""
    names = _names(check, ast.Load)
    kept: list[ast.stmt] = []
    for statement in reversed(setup):
        if isinstance(statement, ast.Import | ast.ImportFrom):
            used = {(alias.asname or alias.name).split(".")[0] for alias in statement.names} & names
        elif isinstance(statement, ast.Expr):  # a call on something: `stack.push(1)`
            used = {_root(statement.value.func)} & names if isinstance(statement.value, ast.Call) else set()
        else:
            used = (_names(statement, ast.Store) | _changed(statement)) & names
        if used:
            kept.append(statement)
            names |= _names(statement, ast.Load)
    return kept[::-1]


def _changed(statement: ast.stmt) -> set[str]:
    """Return the names of what a statement sets an attribute or an item of."""
    changes = (ast.Attribute, ast.Subscript)
    nodes = (node for node in ast.walk(statement) if isinstance(node, changes) and isinstance(node.ctx, ast.Store))
    return {_root(node) for node in nodes}


def _fair(statements: Sequence[ast.stmt], wanted: frozenset[str], taken: frozenset[str]) -> bool:
    """Whether a test uses what it tests and leaves it, and Python, as they are.

    Nothing in it may bind a name of the code's or of Python's, set an attribute or an item of anything that it has not
    made itself, reach for what is hidden behind underscores, define anything, or import what could patch anything.
    """
    nodes = [node for statement in statements for node in ast.walk(statement)]
    own: set[str] = set().union(*(_names(statement, ast.Store) for statement in statements))
    loads: set[str] = set().union(*(_names(statement, ast.Load) for statement in statements))
    if not loads & wanted or own & (taken | _BUILTINS) or (loads | own) & (_FORBIDDEN | {_GOT}):
        return False
    made = {name for statement in statements for name in _made(statement, wanted)}
    return all(_harmless(node, made) for node in nodes)


def _made(statement: ast.stmt, wanted: frozenset[str]) -> set[str]:
    """Return the names that a statement gives to things of its own: what the code under test made, and displays."""
    if not isinstance(statement, ast.Assign):
        return set()
    value = statement.value
    new = isinstance(value, ast.List | ast.Dict | ast.Set) or (
        isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id in wanted
    )
    return {target.id for target in statement.targets if isinstance(target, ast.Name)} if new else set()


def _harmless(node: ast.AST, made: set[str]) -> bool:
    if isinstance(node, ast.Attribute | ast.Subscript):
        hidden = isinstance(node, ast.Attribute) and node.attr.startswith("_")
        changes = not isinstance(node.ctx, ast.Load)
        return not hidden and not (changes and not (isinstance(node.value, ast.Name) and node.value.id in made))
    if isinstance(node, ast.Name):
        return not isinstance(node.ctx, ast.Del) and not node.id.startswith("__")
    if isinstance(node, ast.Import):
        return all(alias.name in MODULES for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        return node.module in MODULES
    forbidden = (ast.Global, ast.Nonlocal, ast.Delete, ast.While, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return not isinstance(node, forbidden)


def _telling(check: ast.stmt) -> list[ast.stmt]:
    """Return an assert that compares with ``==`` so that it tells what came instead of what was expected.

    A result that says of anything whatever that it is equal to it fails.
    """
    if not isinstance(check, ast.Assert):
        return [check]
    test = check.test
    if not (isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], ast.Eq)):
        return [check]
    (right,) = test.comparators
    told = ast.parse(
        f"{_GOT} = 0\nassert {_GOT} == 0 and not {_GOT} == object(), f'it is {{{_GOT}!r:.200}}'",
    )
    first, second = told.body
    assert isinstance(first, ast.Assign) and isinstance(second, ast.Assert) and isinstance(second.test, ast.BoolOp)
    first.value = test.left
    second.test.values[0] = ast.Compare(ast.Name(_GOT, ast.Load()), [ast.Eq()], [right])
    return [ast.fix_missing_locations(first), ast.fix_missing_locations(second)]


def _names(statement: ast.AST, context: type[ast.expr_context]) -> set[str]:
    return {node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, context)}


def _root(node: ast.AST) -> str:
    """Return the name that an attribute or an item belongs to in the end; empty where it is no name."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""
