"""The checks of benchmarks: that problems are told apart, are the same each time, and can be run."""

from __future__ import annotations

import ast
import json
import warnings
from collections.abc import Iterator
from dataclasses import fields

import pytest
from pydantic import ValidationError

from evolteacher.benchmark import Benchmark, Problem, digest
from evolteacher.testing.components import missing
from evolteacher.testing.harness import Checks


class BenchmarkConformance(Checks):
    """All checks of a benchmark; inherit from it, and give it the fixture ``benchmark``. No problem's code is run."""

    @pytest.fixture
    def benchmark(self) -> Benchmark:
        """The benchmark under test; to be overridden."""
        missing(self, "benchmark")

    def test_it_is_documented(self, benchmark: Benchmark) -> None:
        """It has a name, a docstring, and options that are described: `evolteacher plugins` shows them."""
        cls = type(benchmark)
        bare = [name for name, field in cls.model_fields.items() if not (field.description or "").strip()]
        if not cls.name or not cls.documentation().strip() or bare:
            self.violated(f"name {cls.name!r}, docstring {cls.documentation()!r}, options without a word: {bare}")

    def test_of_its_options_the_same_one_is_made(self, benchmark: Benchmark) -> None:
        """options() are values of JSON from which the same benchmark is made, since certificates hold them."""
        try:
            again = type(benchmark).model_validate_json(json.dumps(benchmark.options()), strict=True)
        except (TypeError, ValidationError) as error:
            self.violated(f"{benchmark.options()!r} made {error}")
        if again != benchmark:
            self.violated(f"{benchmark.options()!r} made {again!r}")

    def test_problems_are_the_same_each_time(self, benchmark: Benchmark) -> None:
        """problems() returns the same problems in the same order each time: their hash is part of an experiment."""
        first, second = digest(benchmark.problems()), digest(benchmark.problems())
        if first != second:
            self.violated(f"first {first}, and then {second}")

    def test_problems_are_told_apart(self, benchmark: Benchmark) -> None:
        """There is a problem, and each has an id of its own and a prompt; all that it holds is text."""
        seen: set[str] = set()
        for problem in self._problems(benchmark):
            if not all(isinstance(getattr(problem, field.name), str) for field in fields(problem)):
                self.violated(f"{problem!r} holds what is no text")
            if not problem.id or problem.id in seen or not problem.prompt.strip():
                self.violated(f"the id {problem.id!r}, with the prompt {problem.prompt!r}")
            seen.add(problem.id)

    def test_what_can_be_run_parses(self, benchmark: Benchmark) -> None:
        """Setup, solution and tests parse as Python, the solution defines the entry point, and the tests name it."""
        runnable = [problem for problem in self._problems(benchmark) if problem.runnable]
        if not runnable:
            self.not_covered("no problem has an entry point and tests")
        for problem in runnable:
            names = {}
            for part in ("setup", "solution", "tests"):
                try:
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")
                        tree = ast.parse(getattr(problem, part))
                except (SyntaxError, ValueError) as error:
                    self.violated(f"{part} of {problem.id}: {error}")
                names[part] = {getattr(node, "id", None) or getattr(node, "name", None) for node in ast.walk(tree)}
            for part in ("tests", *(["solution"] if problem.solution else [])):
                if problem.entry_point not in names[part]:
                    self.violated(f"{part} of {problem.id} never names {problem.entry_point!r}")

    def _problems(self, benchmark: Benchmark) -> Iterator[Problem]:
        problems = benchmark.problems()
        if not problems:
            self.violated("problems() returned none")
        yield from problems
