"""Secrets in what is about to leave: looked for by their values, as far as this process knows them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from evolteacher.errors import RunError
from evolteacher.secrets import SHORTEST, environment, hide, secret_name

if TYPE_CHECKING:
    from evolteacher.publishing.parcel import ParcelFile

_SECRET = re.compile(r"(?i)(key|token|secret|passw(or)?d|_pass|_pwd|_pat|credential)s?(_?\d+)?$")
"""Ends of the names of variables that hold a secret."""

_LEAST = 12
"""Characters of a variable's value that is taken for a secret by its name alone."""

_TEXTS = (".json", ".jsonl", ".md", ".yaml", ".txt", ".jinja")


def secrets_of(plain: Any) -> dict[str, str]:
    """Return the secrets that may stand in files, by the variable that holds each.

    Args:
        plain: a recipe, whose references are looked up; or None.

    Returns:
        Variable -> value: those that the recipe names, and those of the environment and of ``.env`` whose names say so.
    """
    held, named = environment(), set(_references(plain))
    return {
        name: value.strip()
        for name, value in held.items()
        if (name in named and len(value.strip()) >= SHORTEST) or (_SECRET.search(name) and len(value.strip()) >= _LEAST)
    }


def check_for_secrets(files: Iterable[ParcelFile], secrets: dict[str, str], texts: Iterable[str] = ()) -> None:
    """Stop where a file holds a secret.

    Args:
        files: those that are text are read.
        secrets: variable -> value.
        texts: of files that are not text.

    Raises:
        RunError: one does; the message names the file and the variable.
    """
    if not secrets:
        return
    for file in files:
        if file.name.endswith(_TEXTS):
            with file.path.open(encoding="utf-8", errors="replace") as lines:
                _check(lines, file.name, secrets)
    _check(texts, "the dataset", secrets)


def _check(lines: Iterable[str], name: str, secrets: dict[str, str]) -> None:
    for number, line in enumerate(lines, 1):
        if hide(line, secrets.values()) != line:
            held = next(variable for variable, value in secrets.items() if hide(line, [value]) != line)
            raise RunError(
                f"{name}, line {number:,}: the value of {held} stands there, so nothing was sent. Take the row out, "
                "such as with the filter 'secrets' and a rejudge; and renew that key, which is in the run folder"
            )


def _references(plain: Any) -> Iterator[str]:
    if isinstance(plain, dict):
        plain = list(plain.values())
    if isinstance(plain, list):
        for value in plain:
            yield from _references(value)
    elif (name := secret_name(plain)) is not None:
        yield name


def hub_token() -> str:
    """Return the token of ``HF_TOKEN``; empty where it is not set. No other place is looked at."""
    return os.environ.get("HF_TOKEN", "").strip()
