"""What of a problem is looked for, and the forms in which texts are compared. Pure and quick."""

from __future__ import annotations

import ast
import re
import unicodedata
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from evolteacher.benchmark import Problem

LONGEST = 200_000
"""Characters of a text that are looked at."""

_WORD = re.compile(r"\w+|[-+*/%<>=!&|^~]")
_EXAMPLE = re.compile(r"\s*(?:>>>|(?:for\s+)?examples?\b|note\b.*:$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a problem.

    Attributes:
        benchmark: as it was named.
        problem: its id.
        name: ``prompt``, the whole of it; ``task``, the words of a prompt that is code; or ``solution``.
        text: of the part.
    """

    benchmark: str
    problem: str
    name: str
    text: str


def parts_of(benchmark: str, problems: Sequence[Problem]) -> Iterator[Part]:
    """Yield what is looked for: each problem's prompt, the words in it where it is code, and its solution."""
    for problem in problems:
        words = _words_in(problem)
        solution = problem.solution.removeprefix(problem.prompt)
        found = {"prompt": problem.prompt, "task": words, "solution": solution}
        for name, text in found.items():
            if text.strip() and (name != "task" or text != problem.prompt):
                yield Part(benchmark, problem.id, name, text)


def _words_in(problem: Problem) -> str:
    """Return the docstring of a prompt's entry point up to its examples; empty where the prompt is no code."""
    if not problem.entry_point:
        return ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(f"{problem.prompt}\n    pass\n")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ""
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    told = next((ast.get_docstring(node) or "" for node in functions if node.name == problem.entry_point), "")
    lines: list[str] = []
    for line in told.split("\n"):
        if lines and (_EXAMPLE.match(line) or f"{problem.entry_point}(" in line):
            break
        lines.append(line)
    return "\n".join(lines).strip()


def normalised(text: str) -> str:
    """Return a text without regard to case, width and marks that do not show; white space stays."""
    text = text[:LONGEST]
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
        text = "".join(char for char in text if unicodedata.category(char) != "Cf")
    return text.casefold().replace("\0", "")


def folded(text: str) -> str:
    """Return a normalised text with one blank for each run of white space."""
    return " ".join(text.split())


def squeezed(text: str) -> str:
    """Return a normalised text without any white space."""
    return "".join(text.split())


def tokens_of(text: str) -> list[str]:
    """Return the words and operators of a normalised text."""
    return _WORD.findall(text)


def ngrams_of(tokens: Sequence[str], n: int) -> set[str]:
    """Return each run of ``n`` words, once; none of a text that has fewer."""
    return set(map(" ".join, zip(*(tokens[start:] for start in range(n)), strict=False)))
