"""Rows of benchmark files as problems: the columns of HumanEval, of MBPP, and of plain tasks. Registers nothing."""

from __future__ import annotations

import ast
import builtins
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import evolteacher as et
from evolteacher.errors import SeedError, did_you_mean

_PROMPTS = ("prompt", "text", "instruction", "question", "problem", "task")
_SOLUTIONS = ("canonical_solution", "solution", "code", "output", "response", "completion", "answer")
_TESTS = ("test", "tests", "test_list")
_SETUPS = ("test_setup_code", "test_imports", "setup")
_IDS = ("task_id", "id", "question_id")


def read_problem(row: Any, where: str, *, prompt: str | None = None, solution: str | None = None) -> et.Problem:
    """Return a row as a problem.

    Args:
        row: what a seed reader read.
        where: it stands, which is its id where it brings none.
        prompt: the column that holds the task; None takes the first there is of those that are usual.
        solution: the column that holds the answer, likewise.

    Raises:
        SeedError: it has no task, or a column of the wrong type.
    """
    if isinstance(row, str):
        row = {"text": row}
    if not isinstance(row, Mapping):
        raise SeedError("a problem is a text, or an object with a column 'prompt'")
    task = _column(row, (prompt,) if prompt is not None else _PROMPTS)
    if not task.strip():
        wanted = f"'{prompt}'" if prompt is not None else f"one of {', '.join(_PROMPTS)}"
        hint = did_you_mean(prompt, row) if prompt is not None else f" It has: {', '.join(map(str, row)) or 'nothing'}."
        raise SeedError(f"a problem needs its task in the column {wanted}.{hint}")
    if row.get("input") and "instruction" in row and prompt is None and task == row["instruction"]:
        task = f"{task}\n{row['input']}"
    answer = _column(row, (solution,) if solution is not None else _SOLUTIONS)
    tests, setup = _column(row, _TESTS), "\n".join(filter(None, (_column(row, (name,)) for name in _SETUPS)))
    name = _column(row, _IDS) or where
    if not tests:
        return et.Problem(name, task, solution=answer)
    entry = _column(row, ("entry_point",))
    if entry and _begins_program(task, entry):
        if not _defines(answer, entry):
            answer = f"{task}{answer}" if answer else ""
        setup = f"{setup}\n{_beside(task, entry)}".strip("\n")
        tests = f"{tests}\ncheck({entry})\n" if "def check(" in tests and f"check({entry})" not in tests else tests
    return et.Problem(name, task, entry or _called(tests, answer), answer, setup, tests)


def _column(row: Mapping[str, Any], names: tuple[str, ...]) -> str:
    """Return the first of some columns that is there as a text; a list is its lines, a number its digits."""
    value = next((row[name] for name in names if row.get(name) not in (None, "", [])), "")
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    lines: list[Any] = list(value) if isinstance(value, list | tuple) else [value]
    if not all(isinstance(line, str) for line in lines):
        raise SeedError(f"the column {next(name for name in names if name in row)!r} holds no text")
    return "\n".join(lines)


def _parsed(code: str) -> ast.Module | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an odd escape in a docstring is the benchmark's own matter
            return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _functions(tree: ast.Module | None) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)] if tree else []


def _defines(code: str, entry: str) -> bool:
    return any(function.name == entry for function in _functions(_parsed(code)))


def _begins_program(prompt: str, entry: str) -> bool:
    """Whether a prompt is source that ends within the entry point's head or docstring, to be gone on with."""
    return _defines(f"{prompt}\n    pass\n", entry) or _defines(prompt, entry)


def _beside(prompt: str, entry: str) -> str:
    """Return what a prompt gives beside the entry point: imports and other functions."""
    tree = _parsed(f"{prompt}\n    pass\n") or _parsed(prompt)
    nodes = tree.body if tree is not None else []
    return "\n".join(
        ast.unparse(node) for node in nodes if not (isinstance(node, ast.FunctionDef) and node.name == entry)
    )


def _called(tests: str, solution: str) -> str:
    """Return the function that tests call: the first called that the solution defines, else that is no builtin."""
    names = list(_calls(_parsed(tests)))
    defined = {function.name for function in _functions(_parsed(solution))}
    known = [name for name in names if name in defined]
    return next(iter(known or [name for name in names if not hasattr(builtins, name)]), "")


def _calls(tree: ast.Module | None) -> Iterator[str]:
    for node in ast.walk(tree) if tree is not None else ():
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.func.id
