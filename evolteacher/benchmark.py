"""Benchmarks: problems that a model is measured on, and that a dataset must therefore not hold."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import ClassVar

from evolteacher.component import Component


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem of a benchmark. Source code is Python's.

    A program is an answer to it if ``setup``, then the program, then ``tests`` run one after the other in one namespace
    without an exception.

    Attributes:
        id: which no other problem of the benchmark has, such as ``HumanEval/0``.
        prompt: what a model is given: a task in words, or the beginning of a program that it is to finish.
        entry_point: the function that the tests call; empty for a problem that is a text alone.
        solution: a whole program that defines the entry point, as the benchmark's authors solve it; empty where they
            do not. Of a problem that is a text alone: the answer in words.
        setup: what the program and its tests rest on: imports, and functions that the prompt gives beside the entry
            point.
        tests: source that raises where the entry point is wrong; empty where there are none.
    """

    id: str
    prompt: str
    entry_point: str = ""
    solution: str = ""
    setup: str = ""
    tests: str = ""

    @property
    def runnable(self) -> bool:
        """Whether there is a function to call, and tests that call it."""
        return bool(self.entry_point and self.tests)


class Benchmark(Component):
    """Base of benchmarks: a set of problems.

    Attributes:
        primary: the option that the short form ``NAME:VALUE`` sets; empty where there is none (class attribute).
    """

    kind: ClassVar[str] = "benchmark"
    primary: ClassVar[str] = ""

    def problems(self) -> Sequence[Problem]:
        """Return the problems, the same ones in the same order each time.

        Raises:
            MissingExtra: a package that holds them is not installed.
            UsageError: a file of them is missing, or is no such file; the message says where and what.
        """
        raise NotImplementedError(f"benchmark '{self.name}' does not define problems()")


def digest(problems: Sequence[Problem]) -> str:
    """Return ``sha256:`` and the hash of all that problems hold: another benchmark has another."""
    text = json.dumps([asdict(problem) for problem in problems], ensure_ascii=False, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()}"
