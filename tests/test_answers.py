"""Code out of chat answers: one table of cases, by the dress that models give it."""

import ast
import textwrap

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import evolteacher as et
from evolteacher.specimens import SHAPES, TEXTS

ADD = "def add(a, b):\n    return a + b"
SUB = "def sub(a, b):\n    return a - b"

READ = {
    "bare code": (ADD, ["add"]),
    "a fence": (f"```python\n{ADD}\n```", ["add"]),
    "a fence without a language": (f"```\n{ADD}\n```", ["add"]),
    "prose around a fence": (f"Certainly! Here it is:\n\n```py\n{ADD}\n```\nIt adds, e.g. `add(1, 2)`.", ["add"]),
    "an indented fence in a list": (f"1. So:\n\n   ```python\n{textwrap.indent(ADD, '   ')}\n   ```\n", ["add"]),
    "a fence that is left open": (f"Sure:\n```python\n{ADD}\n", ["add"]),
    "an open fence, cut off": (f"```python\n{ADD}\n\ndef more(x):\n    for y in", ["add"]),
    "prose before and behind, no fence": (f"Here is the code:\n\n{ADD}\n\nThis function adds them.", ["add"]),
    "prose between, no fence": (f"First we import.\n\nimport math\n\nThen:\n\n{ADD}\n\nDone it is.", ["add"]),
    "two functions in two blocks": (f"```python\n{ADD}\n```\nand\n```python\n{SUB}\n```", ["add", "sub"]),
    "an import in a block of its own": (f"```python\nimport math\n```\n```python\n{ADD}\n```", ["add"]),
    "an alternative": (f"```python\n{ADD}\n```\nOr:\n```python\ndef add(a, b):\n    return sum([a, b])\n```", ["add"]),
    "an example of use in a block": (f"```python\n{ADD}\n```\nUse:\n```python\nprint(add(1, 2))\n```", ["add"]),
    "output in a block": (f"```python\n{ADD}\n```\n```\n3\n```", ["add"]),
    "another language": ("```javascript\nfunction add(a, b) { return a + b; }\n```", None),
    "another language in a bare fence": ("```\nfunction add(a, b) { return a + b; }\n```", None),
    "a shell block beside it": (f"```bash\npip install numpy\n```\n```python\n{ADD}\n```", ["add"]),
    "prose": ("The capital of France is Paris.", None),
    "one word": ("Paris", None),
    "a list of words": ("red, green, blue", None),
    "a number": ("42", None),
    "a script": ("total = 0\nfor n in range(5):\n    total += n\nprint(total)", []),
    "one call": ("print('Hello')", []),
    "a class": ("```python\nclass Stack:\n    def push(self, x):\n        self.items.append(x)\n```", ["Stack"]),
    "a decorated function": (f"The code:\n@cache\n{ADD}", ["add"]),
    "an async function": ("async def fetch(url):\n    return url", ["fetch"]),
    "Python 2": ("```python\ndef f(x):\n    print x\n```", None),
    "a session": ("```python\n>>> add(1, 2)\n3\n```", None),
    "tildes": (f"~~~python\n{ADD}\n~~~", ["add"]),
    "comments only": ("```python\n# add the two numbers\n# and return them\n```", None),
}


@pytest.mark.parametrize("case", READ)
def test_the_code_is_read_whatever_stands_around_it(case):
    answer, names = READ[case]
    code = et.read_code(answer)
    if names is None:
        assert code == ""
    else:
        assert code and list(et.defined(code)) == names
        assert all(word not in code for word in ("Certainly", "This function", "Done it", "pip install", "sum(["))


LOADED = {
    "a main block": (f"{ADD}\n\nif __name__ == '__main__':\n    print(add(1, 2))", ADD),
    "tests behind it": (f"{ADD}\n\nassert add(1, 2) == 3\nprint('ok')\nfor n in range(3):\n    add(n, n)", ADD),
    "an example's result": (f"{ADD}\n\ntotal = add(1, 2)\nprint(total)", ADD),
    "input": (f"n = int(input())\n{ADD}\nprint(add(n, n))", ADD),
    "imports": (f"import math\nfrom sys import argv\n{ADD}", f"import math\nfrom sys import argv\n{ADD}"),
    "a constant that is used": (
        "LIMIT = 3\nSPARE = 4\ndef f():\n    return LIMIT",
        "LIMIT = 3\ndef f():\n    return LIMIT",
    ),
    "a constant by way of another": ("A = 1\nB = A + 1\ndef f():\n    return B",) * 2,
    "a setting": ("import sys\nsys.setrecursionlimit(5000)\ndef f():\n    return 1",) * 2,
    "a plain call": ("import sys\nsys.exit(3)\ndef f():\n    return 1", "import sys\ndef f():\n    return 1"),
    "an import that may fail": (
        "try:\n    import numpy\nexcept ImportError:\n    numpy = None\ndef f():\n    return 1",
    )
    * 2,
    "a test class": (f"import unittest\n{ADD}\nunittest.main()", f"import unittest\n{ADD}"),
    "no definition": ("x = 1\nprint(x)", ""),
    "no Python": ("let x = 1;", ""),
}


@pytest.mark.parametrize("case", LOADED)
def test_what_has_to_be_loaded_is_kept_and_what_runs_is_not(case):
    code, expected = LOADED[case]
    found = et.definitions(code)
    assert found == (ast.unparse(ast.parse(expected)) if expected else "")


PROMPT = '''from typing import List


def largest(items: List[int]) -> int:
    """Return the largest.
    >>> largest([1])
    1
    """
'''
BODY = "    best = items[0]\n    for item in items:\n        best = max(best, item)\n    return best\n"

COMPLETED = {
    "the body alone": BODY,
    "the body without indentation": textwrap.dedent(BODY),
    "the body in a fence": f"```python\n{BODY}```",
    "the signature repeated": PROMPT + BODY,
    "the signature repeated in a fence": f"Sure!\n```python\n{PROMPT}{BODY}```\nIt works.",
    "another signature": f"```python\ndef largest(items):\n{BODY}```",
    "without the import that it needs": f"def largest(items: List[int]) -> int:\n{BODY}",
    "tests behind it": f"{PROMPT}{BODY}\nassert largest([1, 2]) == 2\nprint(largest([3]))",
    "a main block behind it": f"```python\n{PROMPT}{BODY}\nif __name__ == '__main__':\n    import doctest\n```",
    "the body and then prose": f"{BODY}\nThis function looks at each item in turn.",
    "a helper before it": f"def pick(a, b):\n    return max(a, b)\n\n{PROMPT}{BODY}",
}


@pytest.mark.parametrize("case", COMPLETED)
def test_an_answer_to_a_signature_makes_a_program(case):
    program = et.completed(PROMPT, COMPLETED[case], "largest")
    space: dict = {"__name__": "tested"}
    exec(program, space)
    assert space["largest"]([3, 9, 2]) == 9


def test_a_helper_of_the_prompt_stays_and_one_that_the_answer_writes_anew_does_not_come_twice():
    prompt = "import math\n\ndef half(x):\n    return x / 2\n\ndef area(d):\n    '''Of a circle.'''\n"
    answer = "def area(d):\n    return math.pi * half(d) ** 2"
    space: dict = {}
    exec(et.completed(prompt, answer, "area"), space)
    assert round(space["area"](2), 4) == 3.1416
    twice = et.completed(prompt, f"def half(x):\n    return x * 0.5\n\n{answer}", "area")
    assert twice.count("def half") == 1 and "0.5" in twice


@pytest.mark.parametrize("answer", ["", "I cannot do that.", "```python\n```", "((((" * 100, "x" * 60_000])
def test_an_answer_without_code_makes_a_program_that_fails_and_no_error(answer):
    space: dict = {}
    try:
        exec(et.completed(PROMPT, answer, "largest"), space)
    except SyntaxError:
        return
    with pytest.raises((NameError, TypeError, KeyError)):
        assert space["largest"]([1]) is None
        raise KeyError


@settings(deadline=None, max_examples=25)
@given(
    st.one_of(
        st.text(),
        st.lists(st.sampled_from([ADD, "```", "```python", "prose here.", "(", '"""', "x = 1"])).map("\n".join),
    )
)
def test_nothing_makes_it_raise_and_what_it_reads_parses(text):
    code = et.read_code(text)
    if code:
        ast.parse(code)
    loaded = et.definitions(code)
    assert et.definitions(loaded) == loaded


@pytest.mark.parametrize("number", ["0x" + "f" * 3_600, "0b" + "1" * 14_300])
def test_a_number_that_python_cannot_write_out_again_is_no_code_to_be_tested(number):
    code = f"def largest(x={number}):\n    return x + {number}"
    assert et.parse_python(code) is None and et.definitions(code) == ""
    assert et.parse_python(code.replace(number, number[:3_400])) is not None


def test_hostile_texts_take_no_time():
    texts = [*TEXTS.values(), *((part * 50_000)[:n] for part in SHAPES.values() for n in (5_000, 49_000))]
    looked_at = 0
    for text in (*texts, *(f"```python\n{text}" for text in texts), *(f"def f():\n{text}" for text in texts)):
        et.definitions(et.read_code(text))
        looked_at += 1
    assert looked_at == 3 * (len(TEXTS) + 2 * len(SHAPES))
