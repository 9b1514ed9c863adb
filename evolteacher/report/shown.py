"""How a report writes texts and numbers, whoever wrote them."""

from __future__ import annotations

import re

from evolteacher.record import clean_text

_HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]")


def visible(value: object) -> str:
    """Return a text in which nothing is hidden: control characters and those that turn text round become their code."""
    return _HIDDEN.sub(lambda found: f"\u27e8U+{ord(found[0]):04X}\u27e9", clean_text(str(value))[0])


def number(value: float | str | None) -> str:
    """Write a value of a table: whole numbers whole, others with three figures."""
    if value is None:
        return "\u2013"
    if isinstance(value, str):
        return visible(value)
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 1000 else f"{value:.3g}"


def share(value: float) -> str:
    """Write a share as per cent."""
    return f"{value:.1%}"


def took(seconds: float) -> str:
    """Write how long something took."""
    if seconds < 120:
        return f"{number(round(seconds, 1))} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def gigabytes(size: float) -> str:
    """Write a size of memory."""
    return f"{size / 1e9:.2f} GB"
