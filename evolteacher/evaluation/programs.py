"""From a problem to a prompt, and from what came back to the program that is run. Nothing is asked or run here."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from evolteacher.answers import completed, defined, definitions, read_code
from evolteacher.benchmark import Problem
from evolteacher.errors import UsageError, did_you_mean

_TESTS_SHOWN = 3
"""Lines of a problem in words' tests that a model is shown: MBPP's three, without which its names are unknown."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One answer to a problem.

    Attributes:
        problem: that it answers.
        number: from 0, among the samples of the problem.
        program: the source whose entry point is tested.
        reply: what the model said, word for word; the completion of a samples file.
        ending: why the model stopped (``length``: it was cut), or why it gave no answer; empty for a file.
    """

    problem: Problem
    number: int
    program: str
    reply: str
    ending: str = ""


def is_code(problem: Problem) -> bool:
    """Whether a problem's prompt is the beginning of a program, as HumanEval's are, and not a task in words."""
    begun = problem.prompt.rstrip()
    return any(problem.entry_point in defined(code) for code in (f"{begun}\n    pass\n", begun))


def question(problem: Problem) -> str:
    """Return what a model is asked; the backend puts it into the model's own form."""
    if is_code(problem):
        return (
            "Complete the following Python function. Answer with the whole function, and the imports it needs, in one "
            f"code block.\n\n```python\n{problem.prompt.rstrip()}\n```"
        )
    tests = "\n".join(problem.tests.strip().split("\n")[:_TESTS_SHOWN])
    return (
        f"{problem.prompt.strip()}\n\nWrite it in Python, in one code block. It is to pass these tests:\n\n"
        f"```python\n{tests}\n```"
    )


def answered(problem: Problem, reply: str) -> str:
    """Return the program in a chat answer, without what a script does when it runs; see :mod:`evolteacher.answers`."""
    if is_code(problem):
        program = completed(problem.prompt, reply, problem.entry_point)
    else:
        program = f"{problem.setup}\n{read_code(reply)}"
    kept = definitions(program)
    return kept if problem.entry_point in defined(kept) else program


def continued(problem: Problem, completion: str) -> str:
    """Return the program that a row of a samples file makes, as the reference does: the prompt and the completion.

    A completion that begins with the prompt is the program itself. Nothing is taken out, mended or indented.
    """
    if not is_code(problem):
        return f"{problem.setup}\n{completion}"
    return completion if completion.startswith(problem.prompt) else problem.prompt + completion


def read_samples(path: Path, problems: Sequence[Problem], *, chat: bool = False) -> list[Sample]:
    """Read a file of samples: JSON Lines of ``task_id``, and ``completion`` or ``solution`` (a whole program).

    Args:
        path: the file.
        problems: of the benchmark.
        chat: the completions are chat answers, out of which the code is to be taken.

    Raises:
        UsageError: it cannot be read, or a row is none; the message has its line.
    """
    known = {problem.id: problem for problem in problems}
    counts = dict.fromkeys(known, 0)
    samples = []
    for number, line in _lines(path):
        where = f"{path}:{number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{where}: this is no JSON ({error}); a row is an object on one line") from None
        task = row.get("task_id") if isinstance(row, dict) else None
        if isinstance(task, bool) or not isinstance(task, str | int):
            raise UsageError(f"{where}: a row needs 'task_id', and 'completion' or 'solution'")
        problem = known.get(str(task))
        if problem is None:
            raise UsageError(f"{where}: the benchmark has no problem '{task}'.{did_you_mean(str(task), known)}")
        text = row.get("completion", row.get("solution"))
        if not isinstance(text, str):
            raise UsageError(f"{where}: 'completion' (or 'solution') must be a text; the row has: {', '.join(row)}")
        program = answered(problem, text) if chat else text if "completion" not in row else continued(problem, text)
        samples.append(Sample(problem, counts[problem.id], program, text))
        counts[problem.id] += 1
    if not samples:
        raise UsageError(f"{path}: there is no sample in it")
    return samples


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        with path.open(encoding="utf-8") as file:
            yield from ((number, line) for number, line in enumerate(file, 1) if line.strip())
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: this is no text in UTF-8; samples are JSON Lines, unpacked") from None
