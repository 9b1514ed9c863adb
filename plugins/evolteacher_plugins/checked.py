"""Execution-checked answers: tests that a model writes, run in a sandbox on a response and on wrong versions of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, NamedTuple, Self

from pydantic import Field, model_validator

import evolteacher as et
from evolteacher_plugins.asserts import Assert, read_asserts
from evolteacher_plugins.fenced import set_apart
from evolteacher_plugins.mutants import mutants, stub
from evolteacher_plugins.program import Program, put_in_place

MUTANT_SECONDS = 0.5
"""Processor seconds of a mutant with one test: a change in a loop's bounds often has no end."""

REASON = 300
"""Characters of a test's outcome that are kept."""


class PassesItsTests(et.ResponseFilter, name="passes-its-tests"):
    """Run the Python of a response in a sandbox with tests that a model writes, and reject what they disagree with.

    The tester is shown the task and the head of the function, never what it does; each of its asserts is judged by
    itself. A test counts only if it fails on a stub that returns None and on at least one mutant of the response, so
    that tests that test nothing keep no row. Where too few agree, the model that answers is shown what failed and may
    repair its answer; the repaired code takes the place of the old, and the prose around it stays. What is run is
    stored like a reply and not run again. The sandbox's guards, and what it does not stop: docs/sandbox.md.

    The ideas: tests that a model writes for answers of its own (CodeT, arXiv 2207.10397), answers kept by execution
    (SelfCodeAlign, arXiv 2410.24198), repair with the error shown (Self-Debug, arXiv 2304.05128), mutation testing.
    """

    verdict_tokens: ClassVar[int] = 150

    repairs: int = Field(1, ge=0, le=5, description="How often a response may be repaired before it is rejected.")
    tests: int = Field(6, ge=1, le=20, description="Tests that are asked for, and used at most.")
    mutants: int = Field(
        8, ge=1, le=50, description="Wrong versions of the response that tests are tried with, at most."
    )
    agree: Literal["all", "most"] = Field(
        "most",
        description="all: no test may fail; most: more tests must count than fail, since testers err, too.",
    )
    least: int = Field(1, ge=1, le=20, description="Fewest tests that must count.")
    not_python: Literal["pass", "reject"] = Field(
        "pass", description="What becomes of a response that holds no Python: another language, or prose."
    )
    no_function: Literal["pass", "reject"] = Field(
        "pass", description="What becomes of Python that defines no function and no class."
    )
    max_tokens: int = Field(400, ge=1, description="Most tokens of the tests.")
    sandbox: et.Sandbox = Field(et.Sandbox(seconds=2, memory_mb=512), description="Limits of what is run.")

    @model_validator(mode="after")
    def _can_be_kept(self) -> Self:
        if self.least > self.tests:
            raise ValueError(f"least is {self.least}, of {self.tests} tests: nothing could be kept")
        return self

    def caution(self) -> str:
        """Name the sandbox's guards that do not hold here."""
        return self.sandbox.caution()

    def judging(self) -> Mapping[et.Role, int]:
        """Tests are asked for once, and repairs as often as they are allowed."""
        return {"judge": 1, "respond": self.repairs}

    async def judge(self, record: et.Record, ask: et.Ask) -> et.Judgement:
        """Ask for tests, run them, and have the response repaired where they disagree."""
        program = Program.of(record.response)
        if not program.code:
            return _unless(self.not_python, "it holds no Python that could be run")
        if not program.loaded:
            return _unless(self.no_function, "its Python defines no function that could be tested")
        if program.silent:
            return et.Judgement(0.0, "its tests would all be vacuous: it gives no result that an assert could look at")
        task = record.instruction.text
        written = await ask(tests_prompt(task, program, self.tests), temperature=0.0, max_tokens=self.max_tokens)
        tests = read_asserts(written.text, program.entries, program.names, self.tests)
        if not tests:
            return et.Judgement(0.0, "its tests are all vacuous: the model wrote no assert on it that could be used")
        found = first = await self._run(program, tests, ask)
        mended, tried = program, 0
        while not found.enough(self.agree):
            if tried == self.repairs:
                vain = f"; repaired {tried} times in vain" if tried > 1 else "; repaired in vain" if tried else ""
                return et.Judgement(0.0, first.why() + vain)
            repair = await ask(repair_prompt(task, mended.code, found.failed), role="respond")
            again, tried = Program.of(repair.text), tried + 1
            if set(program.entries) <= set(et.defined(again.loaded)) and again.loaded != mended.loaded:
                mended, found = again, await self._run(again, tests, ask)
        judgement = await self._vet(mended, found, ask)
        if judgement.reason is not None or mended is program:
            return judgement
        return replace(judgement, response=put_in_place(record.response, program.code, mended.code))

    async def _run(self, program: Program, tests: Sequence[Assert], ask: et.Ask) -> Outcomes:
        """Run the tests on a program; each is told from the rest."""
        suites = [test.suite for test in tests]

        async def check() -> list[str]:
            return [result.reason[:REASON] for result in await self.sandbox.check(program.loaded, suites)]

        what = {"run": "tests", "sandbox": self.sandbox.identity(), "code": program.loaded, "tests": suites}
        return Outcomes.of(tests, await ask.once(what, check))

    async def _vet(self, program: Program, found: Outcomes, ask: et.Ask) -> et.Judgement:
        """See which of the passed tests count, and decide."""
        suites = [test.suite for test in found.passed]
        wrong = mutants(program.loaded, self.mutants)
        seconds = min(MUTANT_SECONDS, self.sandbox.seconds)
        sandbox = self.sandbox.model_copy(update={"seconds": seconds})

        async def check() -> list[list[bool]]:
            rows = await sandbox.matrix([stub(program.loaded), *wrong], suites)
            return [[result.passed for result in row] for row in rows]

        what = {
            "run": "mutants",
            "sandbox": sandbox.identity(),
            "tests": suites,
            "mutants": _digest(program.loaded, *wrong),
        }
        on_stub, *on_mutants = await ask.once(what, check)
        killed = [sum(not row[place] for row in on_mutants) for place in range(len(suites))]
        counting = sum(not passed and kills > 0 for passed, kills in zip(on_stub, killed, strict=True))
        score = counting / (len(suites) + len(found.failed))
        least = max(self.least, len(found.failed) + 1 if self.agree == "most" else 1)
        if counting < least:
            vacuous = len(suites) - counting
            if not vacuous:
                return et.Judgement(score, f"{counting} of its tests count where {least} must")
            which = f"its tests are all vacuous: {vacuous}" if not counting else f"{vacuous} of its {len(suites)} tests"
            how = f"pass on a stub or on all of {len(wrong)} mutants, so {counting} count where {least} must"
            return et.Judgement(score, f"{which} {how}")
        return et.Judgement(score)


class Failure(NamedTuple):
    """A test that failed, and how."""

    test: str
    reason: str


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What came of a program's tests, in their order."""

    passed: tuple[Assert, ...]
    failed: tuple[Failure, ...]

    @classmethod
    def of(cls, tests: Sequence[Assert], reasons: Sequence[str]) -> Outcomes:
        """Tell them apart by their reasons; a test that passed has none."""
        pairs = list(zip(tests, reasons, strict=True))
        return cls(
            tuple(test for test, reason in pairs if not reason),
            tuple(Failure(test.text, reason) for test, reason in pairs if reason),
        )

    def enough(self, agree: str) -> bool:
        """Whether so many pass that the program may be right."""
        return bool(self.passed) and (not self.failed if agree == "all" else len(self.passed) > len(self.failed))

    def why(self) -> str:
        """Say what failed."""
        number, first = len(self.failed), self.failed[0]
        return (
            f"{number} of its {number + len(self.passed)} tests fail: `{' '.join(first.test.split())}`: {first.reason}"
        )


_TESTS = """\
Write tests of a Python function, each of them one line that begins with `assert`. For the task "Double a number." and
the function `def double(x)` they could be:
```python
assert double(2) == 4
assert double(0) == 0
assert double(-3) == -6
```
Work each result out from the task. Take small, simple arguments for which you are sure of the result, and another case
in each test. The function is there already: do not write it, and explain nothing."""

_REPAIR = """\
The Python code below is meant to do the task below, and some tests of it fail. Find what is wrong and write the code
anew, whole, in one ```python block, with the same names of functions and the same parameters. Do what the task asks,
for all inputs: do not write the tests' cases into the code. Write no tests and nothing about errors or changes."""


def tests_prompt(task: str, program: Program, number: int) -> str:
    """Return what the tester is asked; the part that all prompts share stands first, for prefix caches.

    The last line says how a test begins: a small model that has just read a function's head goes on with it otherwise.
    """
    begins = f"assert {program.entries[0]}(" if program.one_function else "assert"
    last = f"Your {number} lines, in one ```python block, each beginning with `{begins}`:"
    return "\n\n".join([_TESTS, *set_apart([{"task": task, "function": program.heads}]), last])


def repair_prompt(task: str, code: str, failed: Sequence[Failure]) -> str:
    """Return what the model that answered is asked."""
    told = "\n".join(f"{failure.test}\n# {failure.reason}" for failure in failed)
    return "\n\n".join([_REPAIR, *set_apart([{"task": task, "code": code, "tests that fail": told}]), "The code anew:"])


def _unless(what: str, reason: str) -> et.Judgement:
    return et.Judgement(reason=reason if what == "reject" else None)


def _digest(*codes: str) -> str:
    return hashlib.blake2b("\0".join(codes).encode("utf-8", "replace"), digest_size=16).hexdigest()


@et.hookimpl
def register_filters() -> Sequence[type[et.Filter]]:
    """Return the family's filter."""
    return [PassesItsTests]
