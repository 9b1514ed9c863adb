"""Secrets in what is about to leave: looked for by their values, as far as this process knows them."""

from __future__ import annotations

import html
import os
import re
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from evolteacher.errors import RunError
from evolteacher.secrets import SHORTEST, environment, hide, secret_name

if TYPE_CHECKING:
    from evolteacher.publishing.parcel import ParcelFile

_SECRET = re.compile(r"(?i)(key|token|secret|passw(or)?d|_pass|_pwd|_pat|credential)s?(_?\d+)?$")
"""Ends of the names of variables that hold a secret."""

_LEAST = 12
"""Characters of a variable's value that is taken for a secret by its name alone."""

_LEAST_BARE = 24
"""Letters and digits of a secret of several lines, or of one of its lines, that is looked for by these alone."""

_BETWEEN = re.compile(r"[\s\"'`]+")
_SIGNS = re.compile(r"[\W_]+")
_LINE_ENDS = re.compile(r"\n|\r|\\+[nr]")
_KEY_LINE = re.compile(r"[A-Za-z0-9+/_-]{32,}={0,2}")
_ESCAPE = re.compile(r"\\+(?:u([0-9A-Fa-f]{4})|x([0-9A-Fa-f]{2})|U((?:000[0-9A-Fa-f]|0010)[0-9A-Fa-f]{4})|[nrtbf])")
_SURROGATE = re.compile("[\ud800-\udfff]")

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
    """Stop where a file holds a secret, also one that lies over several lines or is broken by escapes and folding.

    Args:
        files: those that are text are read.
        secrets: variable -> value.
        texts: of files that are not text.

    Raises:
        RunError: one does; the message names the file, the line where the secret ends, and the variable.
    """
    if not secrets:
        return
    for file in files:
        if file.name.endswith(_TEXTS):
            with file.path.open(encoding="utf-8", errors="replace") as lines:
                _check(lines, file.name, secrets)
    _check(texts, "the dataset", secrets)


def _check(lines: Iterable[str], name: str, secrets: dict[str, str]) -> None:
    folded = [
        _Folded(_joined, {_joined(value): variable for variable, value in secrets.items()}, _LEAST),
        _Folded(_bare, {part: variable for variable, value in secrets.items() for part in _parts(value)}, _LEAST_BARE),
    ]
    for number, line in enumerate(lines, 1):
        held = next((variable for each in folded if (variable := each.found(line))), "")
        if not held and hide(line, secrets.values()) != line:
            held = next(variable for variable, value in secrets.items() if hide(line, [value]) != line)
        if held:
            raise RunError(
                f"{name}, line {number:,}: the value of {held} stands there, so nothing was sent. Take the row out, "
                "such as with the filter 'secrets' and a rejudge; and renew that key, which is in the run folder"
            )


class _Folded:
    """Secrets looked for across lines, in texts from which what may stand between their characters is taken out.

    Args:
        fold: takes it out.
        wanted: folded secret -> variable.
        least: characters of a folded secret that is looked for; a shorter one may be words that stand side by side.
    """

    def __init__(self, fold: Callable[[str], str], wanted: dict[str, str], least: int) -> None:
        self._fold = fold
        self._wanted = {secret: variable for secret, variable in wanted.items() if len(secret) >= least}
        self._longest = max(map(len, self._wanted), default=0)
        self._tail = ""

    def found(self, line: str) -> str:
        """Return the variable whose secret ends in a line; empty where none does. Lines are given in their order."""
        if not self._wanted:
            return ""
        text = self._tail + self._fold(line)
        self._tail = text[-self._longest :]
        return next((variable for secret, variable in self._wanted.items() if secret in text), "")


def _joined(text: str) -> str:
    """Return a text without what JSON, YAML and source code put between the parts of a broken value."""
    return _BETWEEN.sub("", _unescaped(text))


def _bare(text: str) -> str:
    """Return the letters and digits of a text: lines of a key may be indented, quoted, commented, or put in a list."""
    return _SIGNS.sub("", _unescaped(text))


def _parts(secret: str) -> Iterator[str]:
    """Yield what gives a secret of several lines away: all of it, or one of its lines that is nothing but a key.

    The first of these does not: keys of one kind begin alike.
    """
    lines = [line.strip(" \t\"',") for line in _LINE_ENDS.split(secret)]
    if len(lines) > 1:
        yield _bare(secret)
        keys = [line for line in lines if _KEY_LINE.fullmatch(line)]
        yield from map(_bare, keys[1:] or keys)


def _unescaped(text: str) -> str:
    r"""Return a text without escapes of HTML, JSON and YAML, however often it was escaped; line ends are left out."""
    if "&" in text:
        text = html.unescape(text)
    if "\\" in text:
        text = _ESCAPE.sub(_character, text).replace("\\", "")
        if _SURROGATE.search(text):
            text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _character(found: re.Match[str]) -> str:
    code = found[1] or found[2] or found[3]
    return chr(int(code, 16)) if code else ""


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
