"""Filters that keep a benchmark's problems out of a dataset."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

from pydantic import Field, field_validator

import evolteacher as et
from evolteacher.errors import UsageError

_DEFAULT = et.ContaminationSettings()
_AGAINST = "Benchmarks: humaneval, mbpp:FILE.jsonl, or {mbpp: {path: FILE.jsonl}}."


class _Against(et.Component):
    """What both filters share: the benchmarks that they look for."""

    against: tuple[et.BenchmarkSpec, ...] = Field(("humaneval",), min_length=1, description=_AGAINST)

    @field_validator("against")
    @classmethod
    def _known(cls, against: tuple[Any, ...]) -> tuple[Any, ...]:
        """Find unknown benchmarks and wrong options when the recipe is read; no problem is read for it."""
        for spec in against:
            try:
                et.make_benchmark(spec)
            except UsageError as error:
                raise ValueError(str(error)) from None
        return against

    @cached_property
    def benchmarks(self) -> tuple[et.NamedBenchmark, ...]:
        """The benchmarks, read when they are first needed."""
        return et.read_benchmarks(self.against)

    def require(self) -> None:
        """Read the benchmarks: a file may be missing, or the package that brings one."""
        et.read_benchmarks(self.against)

    def options(self, *, with_free: bool = True) -> dict[str, Any]:
        """Return the options; as part of an experiment with the hashes of the benchmarks."""
        options = super().options(with_free=with_free)
        return options if with_free else {**options, "hashes": {each.name: each.hash for each in self.benchmarks}}


class Decontaminate(_Against, et.TextFilter, name="decontaminate"):
    """Reject a text that holds a problem of a benchmark: its prompt, the words in it, or its solution.

    The seeds are always looked at, too, and a seed that is found neither evolves nor is written. What each method finds
    and what it accuses wrongly: docs/decontamination.md. Without regard to case, white space and marks that do not
    show. The run folder gets a certificate, decontamination.json. The benchmarks' hashes are part of the experiment.
    """

    always_on: ClassVar[tuple[et.Place, ...]] = ("seeds",)
    default_on: ClassVar[tuple[et.Place, ...]] = ("instruction", "response", "seeds")

    methods: tuple[et.ContaminationMethod, ...] = Field(
        _DEFAULT.methods, min_length=1, description="Ways to find: exact, squeezed, ngrams, minhash."
    )
    n: int = Field(_DEFAULT.n, ge=2, le=50, description="Words of an n-gram.")
    overlap: float = Field(
        _DEFAULT.overlap,
        gt=0,
        le=1,
        description="Share of a part's n-grams from which a text holds it.",
    )
    similarity: float = Field(
        _DEFAULT.similarity, gt=0, le=1, description="Jaccard similarity from which minhash finds."
    )
    shortest: int = Field(
        _DEFAULT.shortest,
        ge=1,
        description="Fewest characters of a part that exact and squeezed look for.",
    )
    fewest: int = Field(
        _DEFAULT.fewest,
        ge=1,
        description="Fewest n-grams of a part that ngrams and minhash look for.",
    )

    @cached_property
    def _index(self) -> et.ContaminationIndex:
        settings = et.ContaminationSettings(
            self.methods, self.n, self.overlap, self.similarity, self.shortest, self.fewest
        )
        return et.ContaminationIndex({each.name: each.problems for each in self.benchmarks}, settings)

    def reject(self, text: str) -> str | None:
        """Name the surest of what the text holds."""
        hits = self._index.find(text)
        return hits[0].reason if hits else None

    def certified(self) -> Mapping[str, Any]:
        """Return the methods and thresholds, for the certificate."""
        return self.model_dump(mode="json", exclude={"against"})

    def pairs(self, row: str, instruction: str, response: str, reason: str) -> list[et.ContaminationPair]:
        """Return all that the texts of a rejected row hold."""
        return [
            et.ContaminationPair.of_hit(row, place, text, hit)
            for place, text in (("instruction", instruction), ("response", response))
            for hit in self._index.find(text)
        ]


class SolvesBenchmark(_Against, et.ResponseFilter, name="solves-benchmark"):
    """Reject a response with a Python function that passes all of a benchmark problem's own tests.

    It finds what was renamed, reworded and translated, and any function that does what a problem's tests ask, wherever
    it came from. Each function is tried, in a sandbox, on all problems that take as many arguments: about a tenth of a
    second a row for HumanEval. Results are stored like replies. The seeds are always looked at.
    """

    always_on: ClassVar[tuple[et.Place, ...]] = ("seeds",)
    default_on: ClassVar[tuple[et.Place, ...]] = ("response", "seeds")
    row_seconds: ClassVar[float] = 0.1

    sandbox: et.Sandbox = Field(et.Sandbox(seconds=1, memory_mb=512), description="Limits of what is run.")

    @cached_property
    def _runner(self) -> et.BenchmarkRunner:
        return et.BenchmarkRunner({each.name: each.problems for each in self.benchmarks}, self.sandbox)

    def caution(self) -> str:
        """Name the sandbox's guards that do not hold here."""
        return self.sandbox.caution()

    def judging(self) -> Mapping[et.Role, int]:
        """No LLM is asked."""
        return {}

    async def judge(self, record: et.Record, ask: et.Ask) -> str | None:
        """Run what fits, once; name the first problem that a function solves."""
        if not et.defined(et.read_code(record.response)):
            return None
        code, trials = self._runner.trials(record.response)
        if not trials:
            return None

        async def run() -> str:
            found = await self._runner.find(record.response)
            return found[0].reason if found else ""

        what = {
            "run": "benchmarks",
            "sandbox": self.sandbox.identity(),
            "code": hashlib.sha256(code.encode()).hexdigest(),
            "benchmarks": [each.hash for each in self.benchmarks],
        }
        return str(await ask.once(what, run)) or None

    def certified(self) -> Mapping[str, Any]:
        """Return the sandbox's limits, for the certificate."""
        return {"methods": ["tests"], "sandbox": self.sandbox.identity()}

    def pairs(self, row: str, instruction: str, response: str, reason: str) -> list[et.ContaminationPair]:
        """Return the response beside the solution of the problem that the reason names."""
        return [et.ContaminationPair.of_solved(row, response, found) for found in self._runner.named_in(reason)]


@et.hookimpl
def register_filters() -> Sequence[type[et.Filter]]:
    """Return the family's filters."""
    return [Decontaminate, SolvesBenchmark]
