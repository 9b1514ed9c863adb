"""Mutants: wrong versions of a program that tests should tell from it."""

import ast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evolteacher_plugins.mutants import mutants, stub

CASES = {
    "arithmetic": ("return a + b", "return a - b"),
    "augmented": ("a += b\nreturn a", "a -= b\nreturn a"),
    "comparison, opposite": ("return a < b", "return a >= b"),
    "comparison, boundary": ("return a < b", "return a <= b"),
    "membership": ("return a in b", "return a not in b"),
    "constant": ("return a or 3", "return a or 4"),
    "text": ("return a or 'x'", "return a or 'x?'"),
    "truth": ("return a and True", "return a and False"),
    "boolean": ("return a and b", "return a or b"),
    "not": ("return not a", "return a"),
    "condition": ("if a:\n    return 1\nreturn 2", "if not a:\n    return 1\nreturn 2"),
    "range": ("return [x for x in range(1, a)]", "return [x for x in range(1, a - 1)]"),
    "slice": ("return a[:b]", "return a[:b - 1]"),
    "slice from": ("return a[::-1]", "return a[0 + 1::-1]"),
    "method": ("return a.upper()", "return a.lower()"),
    "function": ("return min(a, b)", "return max(a, b)"),
    "call left out": ("return sorted(a)", "return a"),
    "method left out": ("return a.strip()", "return a"),
    "attribute not set": ("a.size = b\nreturn a", "pass\nreturn a"),
    "item not set": ("a[0] = b\nreturn a", "pass\nreturn a"),
    "statement left out": (
        "for x in b:\n    if x:\n        break\nreturn a",
        "for x in b:\n    if x:\n        pass\nreturn a",
    ),
    "nothing else to change": ("return a", "return [a]"),
}


def function(body):
    return ast.unparse(ast.parse("def f(a, b=1):\n    " + body.replace("\n", "\n    ")))


@pytest.mark.parametrize("kind", CASES)
def test_each_kind_of_change_is_made(kind):
    right, wrong = CASES[kind]
    assert function(wrong) in mutants(function(right), 20)


CODE = '''
LIMIT = 3


def f(values: list[int], most=10) -> int:
    """Return 1 + 1."""
    total: int = 0
    for value in values[1:]:
        if value > 2 and value != 7:
            total += value * 2
    return min(total, most)


class Box:
    size = 4

    def grow(self, by=1):
        self.size = self.size + by
        return f"{self.size} is it"
'''


def test_only_the_bodies_of_functions_change_and_one_place_in_each_mutant():
    found = mutants(CODE, 100)
    assert len(found) == len(set(found)) > 12
    for mutant in found:
        ast.parse(mutant)
        lines = [pair for pair in zip(ast.unparse(ast.parse(CODE)).splitlines(), mutant.splitlines(), strict=True)]
        changed = [one for one, other in lines if one != other]
        assert len(changed) == 1
        assert not changed[0].startswith(("LIMIT", "def", "    def", '    """', "    size", "class"))


def test_few_mutants_are_spread_over_kinds_and_places():
    long = "def f(a):\n" + "".join(f"    a = a + {n}\n" for n in range(40)) + "    return a"
    few = mutants(long, 6)
    places = [
        next(n for n, pair in enumerate(zip(long.splitlines(), m.splitlines(), strict=True)) if pair[0] != pair[1])
        for m in few
    ]
    assert len(few) == 6 and len(set(places)) >= 3 and max(places) > 15
    assert mutants(long, 6) == few == mutants(long, 12)[:6]


def test_the_stub_returns_none_everywhere():
    space: dict = {}
    exec(stub(CODE), space)
    assert space["f"]([1]) is None and space["Box"]().grow() is None and space["LIMIT"] == 3


BODIES = st.lists(
    st.sampled_from(["a = a + 1", "a = b[a:]", "a = len(b) if a else -1", "b.append(a)", "a = not b", "pass"]),
    min_size=1, max_size=6,
)  # fmt: skip


@settings(deadline=None, max_examples=30)
@given(BODIES, st.integers(1, 12))
def test_mutants_are_bounded_differ_from_the_program_and_follow_from_it(lines, most):
    code = function("\n".join([*lines, "return a"]))
    found = mutants(code, most)
    assert 1 <= len(found) <= most
    assert code not in found and len(set(found)) == len(found)
    assert mutants(code, most) == found
