"""Fenced blocks of Markdown: where code stands in an answer, and the text around it."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass

_FENCE = re.compile(r"[ \t]*(`{3,}|~{3,})[ \t]*([^`]*)")


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block.

    Attributes:
        language: the first word after the fence, in lower case; empty where there is none.
        code: what it holds, dedented.
        line: the line of the text on which the code begins, from 1.
    """

    language: str
    code: str
    line: int


def split_fences(text: str) -> tuple[str, tuple[Block, ...]]:
    """Return a text without its fenced blocks, and the blocks; a fence that nothing closes goes on to the end."""
    prose: list[str] = []
    blocks: list[Block] = []
    inside: list[str] = []
    fence, language, start = "", "", 0
    for number, line in enumerate(text.split("\n"), 1):
        found = _FENCE.fullmatch(line.rstrip("\r"))
        if not fence:
            if found is None:
                prose.append(line)
                continue
            words = found[2].split()
            fence, language, start, inside = found[1], words[0].lower() if words else "", number + 1, []
        elif found is not None and found[1].startswith(fence) and not found[2].strip():
            blocks.append(_block(language, inside, start))
            fence = ""
        else:
            inside.append(line)
    if fence:
        blocks.append(_block(language, inside, start))
    return "\n".join(prose), tuple(blocks)


def _block(language: str, lines: list[str], start: int) -> Block:
    return Block(language.strip("{}.,:"), textwrap.dedent("\n".join(lines)), start)
