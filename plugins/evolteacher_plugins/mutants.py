"""Wrong versions of a program, to test its tests with: a test that none of them fails tests nothing.

Source: mutation testing, with the usual operators (arithmetic, comparison, boolean, constant, off by one, return,
statement deletion). What is made depends on the code alone.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator

Change = Callable[[ast.AST], ast.AST | None]
"""Turns a node, which is a shallow copy, into a wrong one; None where it has nothing to say about it."""

_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult,
    ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.BitXor: ast.BitAnd, ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}  # fmt: skip
_BOUNDARY: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
_OPPOSITE: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.GtE, ast.LtE: ast.Gt, ast.Gt: ast.LtE, ast.GtE: ast.Lt,
}  # fmt: skip


def mutants(code: str, most: int) -> tuple[str, ...]:
    """Return wrong versions of a program, each with one change inside a function.

    The kinds of change take turns, and each kind goes from the first place to the last, so that a few mutants are
    spread over the code.

    Args:
        code: Python that parses.
        most: how many at most; a short program has fewer.
    """
    tree = ast.parse(code)
    made: dict[str, None] = {}
    original = ast.unparse(tree)
    for changes in (_CHANGES, _LAST):
        kinds = [_spread(list(_places(tree, change))) for change in changes]
        turns = ((turn, kind) for kind, places in enumerate(kinds) for turn in range(len(places)))
        for turn, kind in sorted(turns):
            mutant = _mutated(tree, kinds[kind][turn], changes[kind])
            if mutant != original:
                made.setdefault(mutant)
            if len(made) >= most:
                return tuple(made)
        if made:
            break
    return tuple(made)


def stub(code: str) -> str:
    """Return the program with every function's body replaced by ``return None``.

    Args:
        code: Python that parses.
    """
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [ast.Return(ast.Constant(None))]
    return ast.unparse(ast.fix_missing_locations(tree))


def _spread(places: list[int]) -> list[int]:
    """Return places in an order that is spread over all of them, however early it is broken off."""
    order: dict[int, None] = {}
    step = 1 << len(places).bit_length()
    while step:
        for place in places[::step]:
            order.setdefault(place)
        step //= 2
    return list(order)


def _places(tree: ast.Module, change: Change) -> Iterator[int]:
    """Yield the numbers, in the order of a walk, of the nodes that a change has something to say to."""
    return (number for number, node in enumerate(_nodes(tree)) if change(copy.copy(node)) is not None)


def _nodes(tree: ast.Module) -> list[ast.AST]:
    """Return all nodes of function bodies, in order: no signatures, no annotations, no docstrings."""
    found: list[ast.AST] = []

    def visit(node: ast.AST, inside: bool) -> None:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            for child in body:
                visit(child, True)
            return
        if inside:
            found.append(node)
        left_out: ast.AST | None = node.annotation if isinstance(node, ast.AnnAssign) else None
        for inner in ast.iter_child_nodes(node):
            if inner is not left_out and not isinstance(node, ast.JoinedStr):
                visit(inner, inside)

    visit(tree, False)
    return found


def _mutated(tree: ast.Module, place: int, change: Change) -> str:
    copied = copy.deepcopy(tree)
    right = _nodes(copied)[place]
    wrong = change(copy.copy(right))
    assert wrong is not None
    return ast.unparse(ast.fix_missing_locations(_Replace(right, wrong).visit(copied)))


class _Replace(ast.NodeTransformer):
    """Puts one node in the place of another."""

    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self._old = old
        self._new = new

    def visit(self, node: ast.AST) -> ast.AST:
        return self._new if node is self._old else self.generic_visit(node)


def _arithmetic(node: ast.AST) -> ast.AST | None:
    if isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in _ARITHMETIC:
        node.op = _ARITHMETIC[type(node.op)]()
        return node
    return None


def _boundary(node: ast.AST) -> ast.AST | None:
    if isinstance(node, ast.Compare) and type(node.ops[0]) in _BOUNDARY:
        node.ops = [_BOUNDARY[type(node.ops[0])](), *node.ops[1:]]
        return node
    return None


def _opposite(node: ast.AST) -> ast.AST | None:
    if isinstance(node, ast.Compare) and type(node.ops[0]) in _OPPOSITE:
        node.ops = [_OPPOSITE[type(node.ops[0])](), *node.ops[1:]]
        return node
    return None


def _boolean(node: ast.AST) -> ast.AST | None:
    if isinstance(node, ast.BoolOp):
        node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        return node
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return node.operand
    return None


def _condition(node: ast.AST) -> ast.AST | None:
    """Turn a condition round; that of a loop is left alone, since most such mutants only run for ever."""
    if isinstance(node, ast.If | ast.IfExp):
        node.test = ast.UnaryOp(ast.Not(), node.test)
        return node
    return None


def _constant(node: ast.AST) -> ast.AST | None:
    if not isinstance(node, ast.Constant):
        return None
    value = node.value
    if isinstance(value, bool):
        return ast.Constant(not value)
    if isinstance(value, int | float):
        return ast.Constant(value + 1)
    if isinstance(value, str):
        return ast.Constant(f"{value}?" if value else "?")
    return None


def _off_by_one(node: ast.AST) -> ast.AST | None:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "range" and node.args:
        end = 0 if len(node.args) == 1 else 1
        shorter = ast.BinOp(node.args[end], ast.Sub(), ast.Constant(1))
        node.args = [*node.args[:end], shorter, *node.args[end + 1 :]]
        return node
    if isinstance(node, ast.Slice):
        if node.upper is not None:
            node.upper = ast.BinOp(node.upper, ast.Sub(), ast.Constant(1))
        else:
            node.lower = ast.BinOp(node.lower or ast.Constant(0), ast.Add(), ast.Constant(1))
        return node
    return None


def _deletion(node: ast.AST) -> ast.AST | None:
    """Leave a statement out that changes something: an attribute or an item set, a call, a way out of a loop."""
    if isinstance(node, ast.AugAssign | ast.Break | ast.Continue):
        return ast.Pass()
    if isinstance(node, ast.Assign) and all(isinstance(each, ast.Attribute | ast.Subscript) for each in node.targets):
        return ast.Pass()
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        return ast.Pass()
    return None


def _method(node: ast.AST) -> ast.AST | None:
    """Swap a function or method for its counterpart."""
    name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
    if name not in _COUNTERPARTS:
        return None
    if isinstance(node, ast.Name):
        node.id = _COUNTERPARTS[name]
    elif isinstance(node, ast.Attribute):
        node.attr = _COUNTERPARTS[name]
    return node


def _unwrapped(node: ast.AST) -> ast.AST | None:
    """Leave a call out: its first argument stands in its place, or what its method was called on."""
    if not isinstance(node, ast.Call):
        return None
    if node.args and not isinstance(node.args[0], ast.Starred):
        return node.args[0]
    return node.func.value if isinstance(node.func, ast.Attribute) and not node.args else None


def _wrapped(node: ast.AST) -> ast.AST | None:
    """Return a list with the result in it."""
    if not isinstance(node, ast.Return) or node.value is None:
        return None
    node.value = ast.List([node.value], ast.Load())
    return node


_PAIRS = (
    ("min", "max"), ("any", "all"), ("upper", "lower"), ("lstrip", "rstrip"), ("startswith", "endswith"),
    ("append", "extend"), ("ceil", "floor"), ("keys", "values"), ("isalpha", "isdigit"), ("find", "rfind"),
)  # fmt: skip
_COUNTERPARTS = {one: other for pair in _PAIRS for one, other in (pair, pair[::-1])} | {"sorted": "list", "sum": "max"}

_CHANGES: tuple[Change, ...] = (
    _arithmetic, _opposite, _constant, _off_by_one, _condition, _boundary, _method, _boolean, _deletion, _unwrapped,
)  # fmt: skip
_LAST: tuple[Change, ...] = (_wrapped,)
"""For a program that none of the others has anything to say about: any test that looks at a result kills it."""
