"""What several filters ask of a text: the prose around its code, a short quotation, and to be set apart in a prompt."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence

import evolteacher as et

_CODE_SPAN = re.compile(r"(`{1,2})(?!`)[^`\n]+\1")


def prose_of(text: str) -> str:
    """Return a text without fenced blocks and code spans."""
    return _CODE_SPAN.sub(" ", et.split_fences(text)[0])


def quoted(text: str, most: int = 60) -> str:
    """Return a text in quotation marks, on one line, cut to ``most`` characters; what does not show becomes U+FFFD."""
    shown = " ".join(text[: 4 * most].split())
    shown = shown if len(shown) <= most else shown[: most - 1] + "…"
    return "'" + "".join("\ufffd" if unicodedata.category(char)[0] == "C" else char for char in shown) + "'"


def set_apart(versions: Sequence[Mapping[str, str]], *, numbered: bool = False) -> list[str]:
    """Fence texts with lines that carry more equals signs in a row than any of them, so none can end its own fence."""
    runs = (len(run) for texts in versions for text in texts.values() for run in re.findall("=+", text))
    bar = "=" * max(5, 1 + max(runs, default=0))
    blocks = []
    for number, texts in enumerate(versions, 1):
        for name, text in texts.items():
            title = f"{name} {number}" if numbered else name
            blocks.append(f"{bar} {title} {bar}\n{text}\n{bar} end of {title} {bar}")
    return blocks
