"""Secrets: named in a recipe, read when a backend is opened, and never written anywhere."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path

from evolteacher.errors import NotAuthorised

REFERENCE = re.compile(r"env:([A-Za-z_][A-Za-z0-9_]*)")
"""How a recipe names a secret: the environment variable that holds it."""

HIDDEN = "[secret]"
"""Stands where a secret stood."""

SHORTEST = 6
"""Characters of a secret that is looked for in texts: a shorter one would be found inside of ordinary words."""


_BACKSLASHES = 8
"""Before one character of a secret in escapes of JSON: three times written into a JSON text makes seven."""


_SHORT = {"\n": "n", "\r": "r", "\t": "t", "\b": "b", "\f": "f"}
"""Characters that JSON writes as a letter behind a backslash."""


def secret_name(value: object) -> str | None:
    """Return the variable that a text ``env:NAME`` names, None where it names none."""
    found = REFERENCE.fullmatch(value) if isinstance(value, str) else None
    return found[1] if found is not None else None


def check_reference(value: str | None) -> str | None:
    """Return an option's value where it names a secret, or is None.

    Raises:
        ValueError: it may be a secret itself.
    """
    if value is not None and secret_name(value) is None:
        raise ValueError("a key is never written here: put it into an environment variable and write env:NAME")
    return value


def environment(folder: Path | None = None) -> Mapping[str, str]:
    """Return the environment, and below it what a ``.env`` file holds; the process's own environment is not changed.

    Args:
        folder: where the file is looked for, the working directory by default.

    Raises:
        NotAuthorised: the file cannot be read.
    """
    from dotenv import dotenv_values

    path = (folder or Path.cwd()) / ".env"
    try:
        found = dotenv_values(path, interpolate=False) if path.is_file() else {}
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
        raise NotAuthorised(f"{path} cannot be read ({reason}): mend it, or move it away") from None
    return {**{name: value for name, value in found.items() if value is not None}, **os.environ}


def read_secret(reference: str, where: str) -> str:
    """Return the secret that a reference names.

    Args:
        reference: ``env:NAME``.
        where: what names it, for the message, such as ``backend 'litellm': api_key``.

    Raises:
        NotAuthorised: neither the environment nor ``.env`` holds it, or that file cannot be read.
    """
    name = secret_name(reference)
    if name is None:
        raise NotAuthorised(f"{where} is no reference: write env:NAME")
    held = os.environ if name in os.environ else environment()
    value = held.get(name, "").strip()
    if not value:
        raise NotAuthorised(
            f"{where} names the environment variable {name}, which is not set: export {name}=…, or write it into a "
            "file .env in the working directory, and run again"
        )
    return value


def hide(text: str, secrets: Iterable[str]) -> str:
    """Return a text without secrets, also where escapes of JSON stand for some of their characters.

    Longer ones are taken first, since one may hold another.
    """
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) < SHORTEST:
            continue
        if secret in text:
            text = text.replace(secret, HIDDEN)
        if "\\" in text:
            text = _in_escapes(secret).sub(HIDDEN, text)
    return text


@lru_cache(maxsize=64)
def _in_escapes(secret: str) -> re.Pattern[str]:
    r"""Return what finds a secret whose characters may be written as ``\u0073`` or ``\n``, or behind a backslash."""
    parts = []
    for char in secret:
        code = "".join(f"[{digit}{digit.upper()}]" for digit in f"{ord(char):04x}")
        short = rf"|\\{{1,{_BACKSLASHES}}}{_SHORT[char]}" if char in _SHORT else ""
        parts.append(rf"(?:\\{{0,{_BACKSLASHES}}}{re.escape(char)}|\\{{1,{_BACKSLASHES}}}u{code}{short})")
    return re.compile("".join(parts))
