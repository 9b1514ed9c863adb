"""Words and patterns that must not appear."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

import evolteacher as et
from evolteacher.errors import MissingExtra
from evolteacher_plugins.fenced import quoted


class Forbidden(et.TextFilter, name="forbidden"):
    r"""Reject a text that holds a forbidden word, or something that a forbidden regular expression matches.

    A rule of our own. A word, or a phrase of several, is found whole and without regard to case, whatever white space
    stands between its words: ``eval`` is found in ``eval(x)`` and not in "evaluate". A pattern is a regular expression
    in RE2's syntax, searched for anywhere, with regard to case unless it begins with ``(?i)``. RE2 takes time
    proportional to the text for any pattern, so no pattern can hang a run; in return it knows no backreferences and no
    lookaround, and says so when the recipe is read. Patterns need the extra ``filters``, words do not.
    """

    words: tuple[str, ...] = Field((), description="Words and phrases that must not appear.")
    patterns: tuple[str, ...] = Field((), description="Regular expressions (RE2) that must match nowhere.")

    @field_validator("words")
    @classmethod
    def _words_say_something(cls, words: tuple[str, ...]) -> tuple[str, ...]:
        if not all(word.strip() for word in words):
            raise ValueError("an empty word would forbid every text")
        return words

    @field_validator("patterns")
    @classmethod
    def _patterns_compile(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            try:
                compiled = _re2(pattern)
            except MissingExtra:
                break  # require() says it: a recipe can be read where it cannot run
            if compiled.search("") is not None:
                raise ValueError(f"the pattern '{pattern}' matches the empty text, so it would forbid every text")
        return patterns

    @model_validator(mode="after")
    def _something_is_forbidden(self) -> Self:
        if not self.words and not self.patterns:
            raise ValueError("give words or patterns: nothing is forbidden by default")
        return self

    def require(self) -> None:
        """Look for google-re2, where there are patterns."""
        if self.patterns:
            MissingExtra.unless(["re2"], "filter 'forbidden', with patterns,", "filters")

    def reject(self, text: str) -> str | None:
        """Look for the words, then for each pattern.

        Raises:
            MissingExtra: there are patterns, and google-re2 is not installed.
        """
        if self.words and (found := _any_of(self.words).search(text)):
            return f"it holds the forbidden word {quoted(found.group())}"
        for pattern in self.patterns:
            if found := _re2(pattern).search(text):
                return f"the forbidden pattern '{pattern}' matches {quoted(found.group())}"
        return None


@lru_cache(maxsize=64)
def _any_of(words: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(_whole, words)), re.IGNORECASE)


def _whole(word: str) -> str:
    parts = word.split()
    before = r"(?<!\w)" if parts[0][0].isalnum() else ""
    after = r"(?!\w)" if parts[-1][-1].isalnum() else ""
    return before + r"\s+".join(map(re.escape, parts)) + after


@lru_cache(maxsize=256)
def _re2(pattern: str) -> Any:
    """Return a compiled pattern.

    Raises:
        ValueError: RE2 does not take it.
    """
    try:
        import re2
    except ImportError:
        raise MissingExtra("filter 'forbidden', with patterns,", "filters") from None
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        said = error.args[0].decode() if isinstance(error.args[0], bytes) else error.args[0]
        hint = " (RE2 has no lookaround and no backreferences)" if "(?" in said or "escape" in said else ""
        raise ValueError(f"'{pattern}' is no pattern that RE2 takes: {said}{hint}") from None


@et.hookimpl
def register_filters() -> Sequence[type[et.Filter]]:
    """Return the family's filters."""
    return [Forbidden]
