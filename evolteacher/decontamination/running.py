"""Running a benchmark's own tests on an answer: it finds paraphrases and renamed copies, and takes seconds a row.

The answer's code starts once; each of its functions is called by a problem's name in that problem's tests, where it
takes as many arguments. Found is a function that passes all of a problem's tests: it does what the problem asks,
wherever it came from, so a common task (a sum, a factorial) is found, too.
"""

from __future__ import annotations

import ast
import warnings
from dataclasses import dataclass

from evolteacher.answers import definitions, parse_python, read_code
from evolteacher.benchmark import Problem
from evolteacher.sandbox import Sandbox

MOST_FUNCTIONS = 5
"""Functions of an answer that are tried, the first ones."""

SANDBOX = Sandbox(seconds=1, memory_mb=512)

Arity = tuple[int, int]
"""Fewest and most positional arguments."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A function that is tried on a problem: the suite that does it."""

    function: str
    benchmark: str
    problem: Problem

    @property
    def suite(self) -> str:
        """The problem's tests, calling the function by the problem's name for it."""
        problem = self.problem
        return f"_answer = {self.function}\n{problem.setup}\n{problem.entry_point} = _answer\n{problem.tests}\n"


@dataclass(frozen=True, slots=True)
class Solves:
    """A function of an answer that passes all tests of a problem."""

    function: str
    benchmark: str
    problem: Problem

    @property
    def reason(self) -> str:
        """Say it in a line."""
        return f"its function {self.function}() passes all tests of {self.problem.id} ({self.benchmark})"


class BenchmarkRunner:
    """Benchmarks, made ready to be run.

    Args:
        benchmarks: name -> problems; those without tests are left out.
        sandbox: limits of each function with each problem.
    """

    def __init__(self, benchmarks: dict[str, tuple[Problem, ...]], sandbox: Sandbox = SANDBOX) -> None:
        self.sandbox = sandbox
        self._problems = [
            (name, problem, _arity_asked(problem))
            for name, problems in benchmarks.items()
            for problem in problems
            if problem.runnable
        ]

    def trials(self, response: str) -> tuple[str, list[Trial]]:
        """Return the code that is loaded of a response, and what is tried with it; nothing is run."""
        code = definitions(read_code(response))
        functions = [(name, arity) for name, arity in _functions(code)][:MOST_FUNCTIONS]
        return code, [
            Trial(name, benchmark, problem)
            for name, arity in functions
            for benchmark, problem, asked in self._problems
            if asked is None or (arity[0] <= asked[1] and asked[0] <= arity[1])
        ]

    async def find(self, response: str) -> list[Solves]:
        """Run all tests that fit; return what passes, in the order of the functions and problems."""
        code, trials = self.trials(response)
        if not trials:
            return []
        results = await self.sandbox.check(code, [trial.suite for trial in trials])
        return [
            Solves(trial.function, trial.benchmark, trial.problem)
            for trial, result in zip(trials, results, strict=True)
            if result.passed
        ]

    def named_in(self, reason: str) -> list[Solves]:
        """Return what a :attr:`Solves.reason` says."""
        name = reason.removeprefix("its function ").partition("()")[0]
        all_of = (Solves(name, benchmark, problem) for benchmark, problem, _ in self._problems)
        return [each for each in all_of if each.reason == reason]


def _functions(code: str) -> list[tuple[str, Arity]]:
    tree = parse_python(code) if code else None
    nodes = tree.body if tree is not None else []
    return [(node.name, _arity(node.args)) for node in nodes if isinstance(node, ast.FunctionDef)]


def _arity(arguments: ast.arguments) -> Arity:
    most = len(arguments.posonlyargs) + len(arguments.args)
    fewest = most - len(arguments.defaults)
    return fewest, 1_000 if arguments.vararg is not None else most


def _arity_asked(problem: Problem) -> Arity | None:
    """Return how many arguments a problem's function takes; None where its solution does not show it."""
    for source in (problem.solution, f"{problem.prompt}\n    pass\n"):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = ast.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and node.name == problem.entry_point:
                return _arity(node.args)
    return None
