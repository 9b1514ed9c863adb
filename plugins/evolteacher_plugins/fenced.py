"""What several row filters ask of a text: the prose around its code, and a short quotation as evidence."""

from __future__ import annotations

import re
import unicodedata

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
