"""HumanEval, MBPP and problems from files: read whole, the same each time, and their own solutions pass their tests."""

import json

import pytest

import evolteacher as et
from evolteacher.benchmark import digest
from evolteacher.errors import UsageError
from evolteacher.testing import BenchmarkConformance
from evolteacher_plugins.benchmarks import HumanEval, Mbpp, Problems

MBPP = [
    {
        "task_id": 2,
        "text": "Write a function to find what is in both of two tuples.",
        "code": "def shared(a, b):\n    return tuple(sorted(set(a) & set(b)))",
        "test_list": ["assert set(shared((3, 4), (4, 5))) == set((4,))", "assert shared((), ()) == ()"],
        "test_setup_code": "",
        "challenge_test_list": [],
    },
    {
        "task_id": 3,
        "prompt": "Write a python function to tell how far a point is from the origin.",
        "code": "import math\n\ndef far(x, y):\n    return math.hypot(x, y)",
        "test_imports": ["import math"],
        "test_list": ["assert math.isclose(far(3, 4), 5)"],
    },
]
"""Rows in the columns of MBPP and of its sanitized part, made up here."""


def written(folder, rows, name="rows.jsonl"):
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def runs(problem, program):
    """Whether a program answers a problem, as the noun defines it; only for code that is our own or HumanEval's."""
    names = {"__name__": "tried"}
    try:
        for part in (problem.setup, program, problem.tests):
            exec(part, names)
    except Exception:
        return False
    return True


class TestHumanEval(BenchmarkConformance):
    @pytest.fixture
    def benchmark(self):
        return HumanEval()

    def test_its_solutions_pass_its_tests_and_no_solution_does_not(self):
        problems = HumanEval().problems()
        assert len(problems) == 164 and problems[0].id == "HumanEval/0"
        assert [each.id for each in problems if not runs(each, each.solution)] == []
        assert [each.id for each in problems if runs(each, f"def {each.entry_point}(*_): return None")] == []

    def test_what_the_prompt_gives_beside_the_function_is_its_setup(self):
        problems = {each.id: each for each in HumanEval().problems()}
        assert "def encode_shift" in problems["HumanEval/50"].setup
        assert all(f"def {each.entry_point}(" not in each.setup for each in problems.values())
        assert problems["HumanEval/0"].setup == "from typing import List"


class TestMbpp(BenchmarkConformance):
    @pytest.fixture
    def benchmark(self, tmp_path):
        return Mbpp(path=written(tmp_path, MBPP))

    def test_both_forms_are_read(self, benchmark):
        full, sanitized = benchmark.problems()
        assert (full.id, full.entry_point, full.prompt) == ("2", "shared", MBPP[0]["text"])
        assert (sanitized.entry_point, sanitized.setup) == ("far", "import math")
        assert all(runs(each, each.solution) for each in (full, sanitized))
        assert not runs(full, "def shared(a, b): return a")


class TestProblems(BenchmarkConformance):
    @pytest.fixture
    def benchmark(self, tmp_path):
        return Problems(path=written(tmp_path, [*MBPP, {"instruction": "Add:", "input": "1 and 2", "output": "3"}]))

    def test_texts_alone(self, tmp_path):
        lines = tmp_path / "tasks.txt"
        lines.write_text("Sort a list.\n\nReverse a text.\n", encoding="utf-8")
        found = Problems(path=str(lines)).problems()
        assert [(each.id, each.prompt, each.runnable) for each in found] == [
            ("tasks.txt:1", "Sort a list.", False),
            ("tasks.txt:3", "Reverse a text.", False),
        ]

    def test_alpaca_rows_and_columns_of_ones_own(self, tmp_path):
        rows = [{"instruction": "Add:", "input": "1 and 2", "output": "3"}]
        assert Problems(path=written(tmp_path, rows)).problems()[0].prompt == "Add:\n1 and 2"
        found = Problems(path=written(tmp_path, [{"a": "Why?", "b": "So."}]), prompt="a", solution="b").problems()
        assert found == (et.Problem("rows.jsonl:1", "Why?", solution="So."),)

    def test_a_program_to_be_finished(self, tmp_path):
        row = {"task_id": "T/1", "prompt": "import math\ndef f(x):\n    '''Halve it.'''\n", "entry_point": "f",
               "canonical_solution": "    return x / 2\n", "test": "def check(c):\n    assert c(4) == 2\n"}  # fmt: skip
        [problem] = Problems(path=written(tmp_path, [row])).problems()
        assert problem.setup == "import math" and runs(problem, problem.solution)
        assert not runs(problem, "def f(x): return x")


@pytest.mark.parametrize(
    "rows, said",
    [
        ([{"no": "task"}], r"rows\.jsonl:1: a problem needs its task in the column one of prompt, .* It has: no\."),
        ([7], r"rows\.jsonl:1: a problem is a text, or an object"),
        ([{"text": "a", "id": 1}, {"text": "b", "id": 1}], r"rows\.jsonl:2: the id '1' is that of rows\.jsonl:1"),
        ([{"text": "a", "test": [1]}], r"rows\.jsonl:1: the column 'test' holds no text"),
        ([], r"rows\.jsonl: there is no problem in it"),
    ],
)
def test_a_benchmark_is_taken_whole_or_not_at_all(tmp_path, rows, said):
    with pytest.raises(UsageError, match=said):
        Problems(path=written(tmp_path, rows)).problems()


def test_a_file_that_is_none(tmp_path):
    with pytest.raises(UsageError, match=r"there is no such file\. Did you mean 'rows\.jsonl'\?"):
        written(tmp_path, MBPP)
        Mbpp(path=str(tmp_path / "row.jsonl")).problems()
    with pytest.raises(UsageError, match=r"a\.bin: problems are read from a file that ends in \.jsonl"):
        Problems(path="a.bin").problems()


def test_another_benchmark_has_another_hash(tmp_path):
    one = Mbpp(path=written(tmp_path, MBPP)).problems()
    changed = [MBPP[0], {**MBPP[1], "test_list": ["assert far(3, 4) == 5"]}]
    two = Mbpp(path=written(tmp_path, changed, "b.jsonl")).problems()
    assert digest(one) == digest(Mbpp(path=written(tmp_path, MBPP, "moved.jsonl")).problems()) != digest(two)
