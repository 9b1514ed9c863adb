"""Reads a judge's word on equality out of whatever the model wrote around it."""

from __future__ import annotations

import re
from collections.abc import Iterable

_THOUGHTS = re.compile(r"<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", re.DOTALL)
_MARKUP = re.compile(r"[*_`\"#>{}\[\]()|~\u201c\u201d-]+")
_SENTENCE = re.compile(r"[^.!?\n]*(?:[.!?\n]|\Z)")
_OPTIONS = re.compile(r"\bnot ?equal\b *(?:or|/|,) *\bequal\b|\bequal\b *(?:or|/|,) *\bnot ?equal\b")
_UNDECIDED = re.compile(
    r"\b(?:whether|if|cannot|can't|unable to|hard to|impossible to|unclear|unsure|not sure)\b[^.!\n]*"
)
_LABEL = re.compile(r"\b(?:verdict|judge?ment|answer|conclusion|result)\b(?: is)? *[:=] *")

_GAP = r"(?: [\w']+){0,5}?"
_WORDS = re.compile(
    rf"(?P<unequal>\b(?:not|\w+n't|neither|never|hardly){_GAP} equal\b|\b(?:un|in|non ?|not\n?)equal\b|!=|≠"
    r"|\bequal *[:=] *(?:no|false)\b)"
    r"|(?P<equal>\bequal\b|==)"
)
_SYNONYMS = re.compile(
    rf"(?P<equal>\b(?:not|no|\w+n't|without){_GAP} (?:differ|different|differences?)\b)"
    rf"|(?P<unequal>\b(?:not|\w+n't){_GAP} (?:the same|identical|equivalent)\b"
    r"|\b(?:different|differs?|non ?equivalent)\b)"
    r"|(?P<same>\b(?:the same|same|identical|equivalent)\b)"
)
_YES_OR_NO = re.compile(r"(?P<equal>yes|true)|(?P<unequal>no|false)")


def read_equality(answer: str) -> bool | None:
    """Return whether a judge that was asked for "Equal" or "Not Equal" says equal; None where that cannot be told.

    Thoughts, markup, questions, and the two options repeated are passed over. What follows the last label such as
    "Verdict:" decides, if it says anything. "Equal" in its forms goes before its synonyms, and these before a bare
    yes or no. Where an answer says both, it is read only if its first or its last words are one of them alone.
    """
    text = _THOUGHTS.sub(" ", answer.casefold().replace("\u2019", "'"))
    text = _MARKUP.sub(" ", text)
    text = "".join("\n" if sentence.endswith("?") else sentence for sentence in _SENTENCE.findall(text))
    lines = (" ".join(line.split()) for line in text.splitlines())
    text = "\n".join(line for line in lines if line)
    text = _UNDECIDED.sub("", _OPTIONS.sub("", text))
    labelled = _LABEL.split(text)[-1]
    for part in dict.fromkeys((labelled, text)):
        for pattern in (_WORDS, _SYNONYMS):
            verdict = _decided(pattern, part)
            if verdict is not None or pattern.search(part):
                return verdict
        if alone := _YES_OR_NO.fullmatch(part.strip(" .,;:!\n")):
            return alone.lastgroup == "equal"
    return None


def _decided(pattern: re.Pattern[str], text: str) -> bool | None:
    found = list(pattern.finditer(text))
    said = {match.lastgroup != "unequal" for match in found}
    if len(said) == 1:
        return said.pop()
    return next((match.lastgroup != "unequal" for match in _standing_alone(found, text)), None)


def _standing_alone(found: list[re.Match[str]], text: str) -> Iterable[re.Match[str]]:
    """Yield the finding that is the whole first phrase, then the one that is the whole last line or sentence."""
    if not found:
        return
    first, last = found[0], found[-1]
    if not text[: first.start()].strip() and re.match(r"\s*(?:[.,;:!]|\n|\Z)", text[first.end() :]):
        yield first
    if not text[last.end() :].strip(" .!\n") and re.search(r"(?:\A|[.:!\n])\s*\Z", text[: last.start()]):
        yield last
