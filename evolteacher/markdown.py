"""Tables and fences of Markdown, for cards; what stands in them is data and breaks neither."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any


def table(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """Write a Markdown table."""
    lines = [list(head)]
    lines.append(["---"] * len(lines[0]))
    lines += [list(row) for row in rows]
    return "\n".join(f"| {' | '.join(cell(text) for text in line)} |" for line in lines) + "\n"


def cell(value: object) -> str:
    """Write a value as one cell of a table."""
    # A licence is text from the source: it may hold anything.
    text = " ".join(str(value).split())
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")


def fenced(text: str, language: str) -> str:
    """Fence a text with more backticks than any run of them inside it, such as in a template."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip(chr(10))}\n{fence}\n"
