"""Licence headers and copyright notices: code that was copied from somewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from pydantic import Field

import evolteacher as et
from evolteacher_plugins.fenced import quoted

_COMMENT = r"^[ \t]*(?:(?:#+|//+!?|/?\*+|--+|;+|%+|<!--|\"\"\"|''')[ \t]*)?"
_FLAGS = re.IGNORECASE | re.MULTILINE

_SPDX = re.compile(r"SPDX-License-Identifier:[ \t]*([\w.+() -]{1,120})", _FLAGS)
_NOTICES: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("AGPL", re.compile(r"GNU Affero General Public Licen[cs]e", _FLAGS)),
    ("LGPL", re.compile(r"GNU (?:Lesser|Library) General Public Licen[cs]e", _FLAGS)),
    ("GPL", re.compile(r"GNU General Public Licen[cs]e|under the (?:terms of the )?(?:GNU )?GPL", _FLAGS)),
    ("Apache-2.0", re.compile(r"Licen[cs]ed under the Apache Licen[cs]e|apache\.org/licenses/LICENSE-2\.0", _FLAGS)),
    ("MIT", re.compile(r"(?:licen[cs]ed|released|distributed) under the (?:terms of the )?MIT Licen[cs]e"
                       r"|Permission is hereby granted, free of charge", _FLAGS)),
    ("BSD", re.compile(r"Redistribution and use in source and binary forms"
                       r"|(?:licen[cs]ed|released|governed) (?:under|by) (?:the |a )?(?:\w+ )?BSD", _FLAGS)),
    ("MPL-2.0", re.compile(r"subject to the terms of the Mozilla Public", _FLAGS)),
)  # fmt: skip
_COPYRIGHT = re.compile(
    _COMMENT
    + r"(?:@copyright\b|Copyright[ \t]*(?:\(c\)|\u00a9|\d{4})|\(c\)[ \t]*(?:Copyright|\d{4})|\u00a9[ \t]*\d{4})"
    r"[^\n<>]{0,120}",
    _FLAGS,
)


class LicenceHeader(et.TextFilter, name="licence-header"):
    """Reject a text that carries a licence header or a copyright notice.

    A rule of our own: a model that writes "Copyright (c) 2014 …" above its answer repeats somebody's file. Looked for
    are SPDX identifiers, the standard words of the GPL family, Apache-2.0, MIT, BSD and MPL-2.0, and copyright notices
    at the start of a line or comment. ``allow`` takes SPDX identifiers, or their families (``GPL``, ``BSD``), and
    ``copyright`` for bare notices; of an expression with OR one allowed identifier suffices, else all must be. A page's
    footer in HTML is no header, and neither is a word about licences in prose.
    """

    allow: tuple[str, ...] = Field(
        (), description="SPDX identifiers (MIT, GPL-3.0-only), families (GPL), or 'copyright', that may appear."
    )

    def reject(self, text: str) -> str | None:
        """Look for identifiers, then for the licences' words, then for notices."""
        allowed = {entry.casefold() for entry in self.allow}
        licensed = False
        for identifier in _SPDX.finditer(text):
            if not _allows(allowed, identifier[1]):
                return f"it names its licence: {quoted(identifier.group())}"
            licensed = True
        for licence, pattern in _NOTICES:
            if found := pattern.search(text):
                if not _allowed(allowed, licence):
                    return f"it carries words of a licence ({licence}): {quoted(found.group())}"
                licensed = True
        # A copyright line belongs to the licence that is allowed.
        if licensed or "copyright" in allowed:
            return None
        notice = next(_copyrights(text), None)
        return None if notice is None else f"it carries a copyright notice: {quoted(notice)}"


def _copyrights(text: str) -> Iterator[str]:
    for found in _COPYRIGHT.finditer(text):
        if "<" not in text[found.end() : found.end() + 1]:
            yield found.group().strip()


def _allows(allowed: set[str], expression: str) -> bool:
    parts = re.split(r"\s+(OR|AND|WITH)\s+", expression.replace("(", " ").replace(")", " ").strip())
    licences = [part.split()[0] for part in parts[::2] if part.split()]
    verdicts = [_allowed(allowed, licence) for licence in licences]
    return any(verdicts) if "OR" in parts[1::2] else all(verdicts)


def _allowed(allowed: set[str], licence: str) -> bool:
    name = licence.casefold()
    return any(
        entry and (name == entry or name.startswith(f"{entry}-") or entry.startswith(f"{name}-")) for entry in allowed
    )


@et.hookimpl
def register_filters() -> Sequence[type[et.Filter]]:
    """Return the family's filters."""
    return [LicenceHeader]
