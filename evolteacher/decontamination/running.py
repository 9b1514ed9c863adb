"""Running a benchmark's own tests on an answer: it finds paraphrases and renamed copies.

Each function of an answer is called by a problem's name in that problem's tests, where it takes as many arguments: on
the first assert of all problems in one process, and on all tests of what passes that in a process each. Found is a
function that passes all of a problem's tests: it does what they ask, wherever it came from. So a common task (a sum, a
factorial) is found, too, and so is a function that a benchmark's weak tests cannot tell from the right one.
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


SCREENED = 300
"""Problems that one process screens."""

SCREEN_SECONDS = 0.1
"""Processor seconds of a function with the beginning of one problem's tests."""

_SCREEN = """\
def _screen(sources, seconds):
    import signal

    class Late(BaseException):
        pass

    def late(*_):
        raise Late

    signal.signal(signal.SIGVTALRM, late)
    names, passed = globals(), []
    before = dict(names)
    for place, source in enumerate(sources):
        try:
            signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
            exec(source, names)
            passed.append(place)
        except BaseException:
            pass
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            names.clear()
            names.update(before)
    raise AssertionError("screened " + " ".join(map(str, passed)))

"""


@dataclass(frozen=True, slots=True)
class Asked:
    """A problem that is run.

    Attributes:
        benchmark: as it was named.
        problem: with tests.
        arity: of its function; None where no solution shows it.
        first: its tests up to the first assert, which nearly all functions fail.
    """

    benchmark: str
    problem: Problem
    arity: Arity | None
    first: str


@dataclass(frozen=True, slots=True)
class Trial:
    """A function that is tried on a problem."""

    function: str
    asked: Asked

    @property
    def suite(self) -> str:
        """The problem's tests, calling the function by the problem's name for it."""
        return self._calling(self.asked.problem.tests)

    @property
    def screen(self) -> str:
        """The beginning of that."""
        return self._calling(self.asked.first)

    def _calling(self, tests: str) -> str:
        problem = self.asked.problem
        return f"_answer = {self.function}\n{problem.setup}\n{problem.entry_point} = _answer\n{tests}\n"


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
            Asked(name, problem, _arity_asked(problem), _first(problem.tests))
            for name, problems in benchmarks.items()
            for problem in problems
            if problem.runnable
        ]

    def trials(self, response: str) -> tuple[str, list[Trial]]:
        """Return the code that is loaded of a response, and what is tried with it; nothing is run."""
        code = definitions(read_code(response))
        return code, [
            Trial(name, asked)
            for name, arity in _functions(code)[:MOST_FUNCTIONS]
            for asked in self._problems
            if asked.arity is None or (arity[0] <= asked.arity[1] and asked.arity[0] <= arity[1])
        ]

    async def find(self, response: str) -> list[Solves]:
        """Run all tests that fit; return what passes, in the order of the functions and problems."""
        code, trials = self.trials(response)
        trials = await self._screened(code, trials)
        results = await self.sandbox.check(code, [trial.suite for trial in trials]) if trials else ()
        return [
            Solves(trial.function, trial.asked.benchmark, trial.asked.problem)
            for trial, result in zip(trials, results, strict=True)
            if result.passed
        ]

    async def _screened(self, code: str, trials: list[Trial]) -> list[Trial]:
        """Leave out what fails the first assert already: many in one process, since what passes is run by itself.

        A process that was brought down, by a function that ends it, say, leaves out nothing.
        """
        if not trials:
            return []
        parts = [trials[start : start + SCREENED] for start in range(0, len(trials), SCREENED)]
        suites = [f"{_SCREEN}_screen({[trial.screen for trial in part]!r}, {SCREEN_SECONDS})\n" for part in parts]
        box = self.sandbox.model_copy(update={"seconds": self.sandbox.seconds + SCREEN_SECONDS * SCREENED / 3})
        left: list[Trial] = []
        for part, result in zip(parts, await box.check(code, suites), strict=True):
            if result.stage == "code":
                continue
            told = result.message if result.error == "AssertionError" else ""
            if told.startswith("screened"):
                passed = [int(place) for place in told.split()[1:] if place.isdecimal()]
                left += [part[place] for place in passed if place < len(part)]
            else:
                left += part
        return left

    def named_in(self, reason: str) -> list[Solves]:
        """Return what a :attr:`Solves.reason` says."""
        name = reason.removeprefix("its function ").partition("()")[0]
        all_of = (Solves(name, asked.benchmark, asked.problem) for asked in self._problems)
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
        tree = _parsed(source)
        for node in tree.body if tree is not None else ():
            if isinstance(node, ast.FunctionDef) and node.name == problem.entry_point:
                return _arity(node.args)
    return None


def _first(tests: str) -> str:
    """Return tests without the asserts behind the first, in each function and at the top; as they are if unsure."""
    tree = _parsed(tests)
    if tree is None:
        return tests
    nodes: list[ast.Module | ast.FunctionDef] = [tree]
    for node in [*nodes, *(each for each in tree.body if isinstance(each, ast.FunctionDef))]:
        seen, kept = False, []
        for statement in node.body:
            asserts = not isinstance(statement, ast.FunctionDef | ast.ClassDef) and any(
                isinstance(each, ast.Assert) and not isinstance(each.test, ast.Constant) for each in ast.walk(statement)
            )
            if not (asserts and seen):
                kept.append(statement)
            seen = seen or asserts
        node.body = kept
    return ast.unparse(tree)


def _parsed(source: str) -> ast.Module | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an odd escape is the benchmark's own matter
            return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
