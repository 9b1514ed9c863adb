"""Reads a judge's number out of whatever the model wrote around it.

The number is taken from its place alone. A judge that quotes the text it judges may repeat any number, tag or verdict
that stands in there, so nothing in the middle of an answer counts, and an answer that says two things says nothing.
"""

from __future__ import annotations

import re

_THOUGHTS = re.compile(r"<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", re.DOTALL | re.IGNORECASE)
_MARKUP = re.compile(r"[*_`\"#>{}\u201c\u201d]+")
_NUMBER = r"(?<![\d.,-])(?P<score>\d{1,3}(?:\.\d{1,3})?)"
_OUT_OF = r"(?: ?(?:/|out of|of) ?(?P<top>\d{1,3}))?"
_LABEL = r"(?:(?:the )?(?:\w+ )?(?:score|rating|verdict|difficulty|quality|complexity|answer)(?: is)? ?[:=]? ?)?"
_LINE = re.compile(rf"{_LABEL}{_NUMBER}{_OUT_OF}\.?", re.IGNORECASE)
_SENTENCE = re.compile(
    rf"\b(?:scored?|rate|rating|difficulty|quality|complexity)\b[^\d\n]{{0,60}}{_NUMBER}{_OUT_OF}(?![\d.]*\d)",
    re.IGNORECASE,
)
_VERSION = re.compile(
    rf"(?:version )?\[?(?P<version>\d{{1,3}})\]? ?[:=.)-]? ?(?:score ?)?[:= -]? ?{_NUMBER}{_OUT_OF}\.?", re.IGNORECASE
)


def read_score(answer: str, low: int, high: int) -> float | None:
    """Return the number that a judge gives who was asked for one from ``low`` to ``high``; None where it gives none.

    Its place is the first or the last line, by itself or behind a label such as "Score:"; where both lines hold one,
    they must agree. An answer of one line may say it in a sentence that rates, if there is no other number in it.
    """
    lines = _lines(answer)
    if not lines:
        return None
    ends = {match["score"]: match for line in (lines[0], lines[-1]) if (match := _LINE.fullmatch(line))}
    if len(ends) == 1:
        return _within(next(iter(ends.values())), low, high)
    if ends or len(lines) > 1:
        return None
    match = _SENTENCE.search(lines[0])
    if match is None or re.search(r"\d", lines[0][: match.start("score")] + lines[0][match.end() :]):
        return None
    return _within(match, low, high)


def read_scores(answer: str, versions: int, low: int, high: int) -> tuple[float, ...] | None:
    """Return one number for each version of a text, as in ``[1] Score: 3``; None unless each has exactly one.

    Lines of another form are passed over; a version that is scored twice, or that there is not, spoils the answer.
    """
    found: dict[int, float] = {}
    for line in _lines(answer):
        match = _VERSION.fullmatch(line)
        if match is None:
            continue
        version, score = int(match["version"]), _within(match, low, high)
        if score is None or version in found or not 1 <= version <= versions:
            return None
        found[version] = score
    return tuple(found[version] for version in range(1, versions + 1)) if len(found) == versions else None


def _lines(answer: str) -> list[str]:
    text = _MARKUP.sub(" ", _THOUGHTS.sub(" ", answer))
    return [line for line in (" ".join(line.split()) for line in text.splitlines()) if line]


def _within(match: re.Match[str], low: int, high: int) -> float | None:
    score, top = float(match["score"]), match["top"]
    return score if low <= score <= high and (top is None or int(top) == high) else None
