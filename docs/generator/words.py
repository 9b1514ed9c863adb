"""Turning what docstrings, option descriptions and help texts say into Markdown."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence

_ROLE = re.compile(r":[a-z]+:`~?([^`]+)`")
_CODE = re.compile(r"(``.*?``|`[^`]*`)")
_ALONE = re.compile(r"^ *::\s*$", re.MULTILINE)
_BLOCK = re.compile(r"::(?=\s*\n)")


def without_roles(text: str) -> str:
    """Return a docstring without reStructuredText's marks: roles become code, and ``::`` before a block a colon."""
    text = _ALONE.sub("", text)
    return _BLOCK.sub(":", _ROLE.sub(lambda role: f"`{role[1].lstrip('~')}`", text))


def prose(text: str) -> str:
    """Return a docstring as Markdown in which nothing is taken for HTML."""
    lines = without_roles(text).splitlines()
    return "\n".join(line if line.startswith("    ") else escaped(line) for line in lines)


def escaped(text: str) -> str:
    """Escape what Markdown would take for HTML or for emphasis, outside of code."""
    parts = _CODE.split(text)
    outside = (re.sub(r"([*_\[\]])", r"\\\1", html.escape(part, quote=False)) for part in parts[::2])
    return "".join(part for pair in zip(outside, [*parts[1::2], ""], strict=True) for part in pair)


def cell(text: str) -> str:
    """Return a text for a table's cell, on one line."""
    return escaped(" ".join(without_roles(text).split())).replace("|", r"\|")


def code(text: str) -> str:
    """Return a text as code for a table's cell; empty for an empty one."""
    written = text.replace("\n", "\\n").replace("|", r"\|")
    fence = "``" if "`" in written else "`"
    return f"{fence}{written}{fence}" if text else ""


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; its cells are Markdown already."""
    lines = [f"| {' | '.join(headings)} |", f"|{'---|' * len(headings)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def fenced(text: str, language: str = "text") -> str:
    """Return a text as a fenced block, by a fence that is longer than any in it."""
    longest = max((len(ticks) for ticks in re.findall(r"`{3,}", text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"
