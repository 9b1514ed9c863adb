"""Tests out of a model's answer: each assert by itself, and none that could mark its own work."""

import pytest

from evolteacher_plugins.asserts import read_asserts
from evolteacher_plugins.program import Program, put_in_place

ADD = frozenset({"add", "LIMIT", "math"})


def texts(answer, wanted=("add",), taken=ADD, most=20):
    return [found.text for found in read_asserts(answer, wanted, taken, most)]


ZERO = "assert add(0, 0) == 0"
ONE = ["assert add(1, 2) == 3"]
READ = {
    "a fence": ("```python\nassert add(1, 2) == 3\n```", ONE),
    "no fence": ("assert add(1, 2) == 3", ONE),
    "prose around": ("Sure!\n\nassert add(1, 2) == 3\nThis adds.", ONE),
    "a numbered list": ("1. `assert add(1, 2) == 3`\n2) assert add(0, 0) == 0", [*ONE, ZERO]),
    "bullets": ("- assert add(1, 2) == 3", ONE),
    "over lines": ("Here:\nassert add(\n    1,\n    2,\n) == 3\nDone.", ONE),
    "a message": ('assert add(1, 2) == 3, "wrong"', ONE),
    "a test function": ("def test_add():\n    assert add(1, 2) == 3\n    assert add(0, 0) == 0", [*ONE, ZERO]),
    "a main block": ("if __name__ == '__main__':\n    assert add(1, 2) == 3", ONE),
    "unittest": ("class T(unittest.TestCase):\n    def test(self):\n        self.assertEqual(add(1, 2), 3)", ONE),
    "unittest, truth": (
        "self.assertTrue(add(1, 0))\nself.assertFalse(add(0, 0))", ["assert add(1, 0)", "assert not add(0, 0)"],
    ),
    "contradictions": ("assert add(1, 2) == 3\nassert add(5, 5) == 10\nassert add(5, 5) == 11", ONE),
    "twice": ("assert add(1, 2) == 3\nassert add(1, 2) == 3", ONE),
    "a line that is cut off": ("assert add(1, 2) == 3\nassert add(4, ", ONE),
    "what it needs": (
        "a = [1]\nspare = 5\nb = a + [2]\nassert add(*b) == 3",
        ["a = [1]\nb = a + [2]\nassert add(*b) == 3"],
    ),
    "a result by name": ("result = add(1, 2)\nassert result == 3", ["result = add(1, 2)\nassert result == 3"]),
    "a loop over cases": (
        "for a, b in [(1, 2)]:\n    assert add(a, b) == 3",
        ["for a, b in [(1, 2)]:\n    assert add(a, b) == 3"],
    ),
    "an import it may have": (
        "import json\nassert add(json.loads('1'), 2) == 3",
        ["import json\nassert add(json.loads('1'), 2) == 3"],
    ),
    "an error": (
        "with pytest.raises(TypeError):\n    add(None, 1)",
        ["try:\n    add(None, 1)\nexcept TypeError:\n    pass\nelse:\n    raise AssertionError('nothing was raised')"],
    ),
    "the function beside them": ("def add(a, b):\n    return 3\n\nassert add(1, 2) == 3", ONE),
}  # fmt: skip


@pytest.mark.parametrize("case", READ)
def test_each_assert_is_a_test_however_it_is_dressed(case):
    answer, expected = READ[case]
    assert texts(answer) == expected


@pytest.mark.parametrize(
    "answer",
    [
        "assert True",
        "assert 1 + 2 == 3",
        "add(1, 2)",
        "add = lambda a, b: 3\nassert add(1, 2) == 3",
        "for add in [max]:\n    assert add(1, 2) == 2",
        "assert (add := max) and add(1, 2) == 2",
        "LIMIT = 3\nassert add(LIMIT, 2) == 5",
        "list = [1, 2]\nassert add(*list) == 3",
        "assert setattr(add, 'x', 1) or add(1, 2) == 3",
        "g = add\ng.x = 4\nassert add(g.x, 2) == 6",
        "import math as m\nm.pi = 3\nassert add(m.pi, 0) == 3",
        "m = [add]\nm[0].x = 1\nassert add(m[0].x, 2) == 3",
        "assert add.__code__ and add(1, 2) == 3",
        "assert exec('x = 1') or add(1, 2) == 3",
        "assert eval('add(1, 2)') == add(1, 2)",
        "assert globals() and add(1, 2) == 3",
        "assert __import__('os') and add(1, 2) == 3",
        "from unittest.mock import patch\nassert patch and add(1, 2) == 3",
        "import os\nassert add(os.getpid(), 0)",
        "from os import path\nassert add(1, 2) == 3 and path",
        "_got_ = 3\nassert add(1, 2) == _got_",
        "assert __name__ and add(1, 2) == 3",
        "# assert add(1, 2) == 3",
        "for x in [1]:\n    while True:\n        assert add(x, 2) == 3",
        "for x in [1]:\n    def add(a, b): return 3\n    assert add(x, 2) == 3",
        "for x in [1]:\n    del add\n    assert add(x, 2) == 3",
        "for x in [1]:\n    global LIMIT\n    assert add(x, 2) == 3",
        f"assert add({'1 + ' * 1500}1, 2) == 3",
        "((((" * 100 + "assert add(1, 2) == 3",
        "```python\n```",
        "",
    ],
)
def test_what_tests_nothing_or_could_change_what_it_tests_is_no_test(answer):
    assert texts(answer) == []


def test_objects_of_the_classes_under_test_may_be_changed():
    answer = "s = Stack()\ns.push(1)\ns.limit = 3\nassert s.pop() == 1\nt = Stack()\nassert t.empty()"
    assert texts(answer, ("Stack",), frozenset({"Stack"})) == [
        "s = Stack()\ns.push(1)\ns.limit = 3\nassert s.pop() == 1",
        "t = Stack()\nassert t.empty()",
    ]


def test_no_more_are_taken_than_wanted_and_a_failure_tells_what_came():
    answer = "\n".join(f"assert add({n}, 0) == {n}" for n in range(9))
    assert texts(answer, most=4) == [f"assert add({n}, 0) == {n}" for n in range(4)]
    (found,) = read_asserts("assert add(1, 2) == 4", ("add",), ADD, 1)
    with pytest.raises(AssertionError, match="it is 3"):
        exec(found.suite, {"add": lambda a, b: a + b})


def test_a_program_is_called_by_what_nothing_else_in_it_uses():
    helper = "def helper(x):\n    return x + 1\n\ndef total(xs):\n    return sum(map(helper, xs))\n\n"
    helper += "def main():\n    print(total([1]))"
    program = Program.of(f"```python\n{helper}\n```")
    assert program.entries == ("total",) and program.names == {"helper", "total", "main"}
    assert program.one_function and not program.silent
    both = Program.of("def even(n):\n    return n == 0 or odd(n - 1)\n\ndef odd(n):\n    return n != 0 and even(n - 1)")
    assert both.entries == ("even", "odd") and not both.one_function
    assert Program.of("def main():\n    print(input())").loaded == ""
    assert Program.of("def show(x):\n    print(x)\n    def inner():\n        return 1").silent


def test_the_head_tells_the_kinds_of_results_and_not_the_way_to_them():
    code = '''
class Stack:
    """Last in, first out."""

    def push(self, item: int) -> None:
        self.items.append(item)

    def pop(self):
        return self.items.pop()


def parity(n: int):
    """Tell."""
    if n % 2 == 0:
        return "Even"
    return "Odd"
'''
    heads = Program.of(code).heads
    assert "append" not in heads and "% 2" not in heads
    for part in (
        "class Stack",
        "Last in, first out",
        "def push(self, item: int) -> None:",
        "# returns 'Odd' or 'Even'",
    ):
        assert part in heads
    for result, told in (
        ("[n]", "a list"),
        ("n == 1", "a bool"),
        ("f'{n}'", "a str"),
        ("(n, n)", "a tuple"),
        ("n + 1", ""),
    ):
        head = Program.of(f"def f(n):\n    return {result}").heads
        assert head.endswith(f"# returns {told}") if told else "returns" not in head


def test_a_repair_takes_the_place_of_the_code_and_leaves_the_prose():
    old, new = "def f():\n    return 1", "def f():\n    return 2"
    prose = "Here:\n\n```python\n{}\n```\n\nIt returns a number.\n\n```\n1\n```"
    assert put_in_place(prose.format(old), old, new) == prose.format(new)
    assert put_in_place(f"```python\n{old}", old, new) == f"```python\n{new}"
    assert put_in_place(old, old, new) == new
    split = "```python\nimport math\n```\n```python\ndef f():\n    return 1\n```"
    assert put_in_place(split, Program.of(split).code, new) == f"```python\n{new}\n```"
