"""Takes the rewritten task out of a model's answer.

A model that is asked for a harder task rarely sends the task alone: it greets, sets a heading, repeats the given task,
fences or quotes the new one, solves it, explains what it changed. The rules here were written while reading answers of
two small models; ``tests/data/answers.jsonl`` holds these, and those that were set aside to measure the rules.

An answer is split at the operator's markers and at headings (:func:`_parts`); each part that may hold the task is
trimmed (:func:`_trimmed`); the first that then is a task (:func:`_fault`) wins. All steps are linear in the answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from evolteacher.errors import Unreadable
from evolteacher.reading.phrases import (
    ANNOUNCED,
    ANNOUNCEMENT,
    ANSWERED,
    ATTEMPT,
    ATTEMPTED,
    CHATTER,
    CODE,
    DRESS,
    ECHO,
    EXAMPLE,
    EXPLAINS_CODE,
    FENCE,
    FRAGMENT,
    GREETING,
    LABEL,
    POINTS_AT_CODE,
    PROGRAM,
    QUOTES,
    REFUSAL,
    SHOWS_CODE,
    SOLVING,
    TAGS,
    TALK,
    TITLES,
    Kind,
)

MAX_TRIED = 8
"""Parts of an answer that are tried; a model that has come so far goes round in circles."""


class _Part(NamedTuple):
    """A stretch of the answer and what announced it."""

    kind: Kind
    text: str


_NO_LETTER = re.compile(r"[\W_]+")


def read_rewritten(answer: str, parent: str, markers: Sequence[str] = ()) -> str:
    """Take the rewritten task out of what a model answered.

    Args:
        answer: the model's whole answer.
        parent: the task that it was asked to rewrite.
        markers: the markers of the operator's prompt in the order in which they stand there: the given task's first,
            the rewritten task's last, each with its closing one (``</…``) behind it where it has one.

    Returns:
        The task, stripped, never empty and without any of the markers.

    Raises:
        Unreadable: the answer is empty, refuses, solves the given task, or only repeats it.
    """
    reason = "the answer is empty"
    parts = [part for part in _parts(_without_cut_marker(answer, markers), markers) if part.text.strip()]
    # Prompts end with the marker that opens the rewritten task, so what comes first in an answer continues it, unless
    # it announces a rewritten task that follows.
    order = ("rewritten", "lead") if parts and _announces(parts[0].text) else ("lead", "rewritten")
    likely = [part for kind in order for part in parts if part.kind == kind]
    # A model that sets the wrong marker may still state a new task behind it.
    for part in likely[:MAX_TRIED] or [part for part in parts if part.kind == "given"][:1]:
        text = _trimmed(part.text, parent)
        fault = _fault(text, parent, markers)
        if fault is None:
            return text
        reason = fault
    raise Unreadable(reason)


def _without_cut_marker(answer: str, markers: Sequence[str]) -> str:
    """Drop the beginning of a marker, where a length limit cut the answer within one."""
    end = answer[-80:].rstrip().lower()
    beginnings = _beginnings(tuple(markers))
    if end.endswith(tuple(beginnings)):
        return answer.rstrip()[: -next(size for beginning, size in beginnings.items() if end.endswith(beginning))]
    return answer


@lru_cache(maxsize=256)
def _beginnings(markers: tuple[str, ...]) -> dict[str, int]:
    """Each beginning of a marker in lower case, the longer ones of a marker first, and its length in the marker.

    Only of markers that no sentence ends with: "###" and "</har", not "The".
    """
    found: dict[str, int] = {}
    for marker in (marker for marker in markers if not marker[:1].isalnum()):
        for size in range(len(marker) - 1, 2, -1):
            found.setdefault(marker[:size].lower(), size)
    return found


def _announces(text: str) -> bool:
    """Whether a text ends with "Here is the harder task:" or its like."""
    line = text.rstrip().rpartition("\n")[2]
    return line.endswith(":") and bool(CHATTER.match(line[_last_sentence(line) :].lstrip()))


def _parts(answer: str, markers: Sequence[str]) -> list[_Part]:
    """Split an answer at the operator's markers, at tags like them, and at headings."""
    kinds, splitter = _splitter(tuple(markers))
    parts: list[_Part] = []
    kind: Kind = "lead"
    start = 0
    for found in splitter.finditer(answer):
        parts += _split_at_headings(kind, answer[start : found.start()])
        tagged = next((kind for kind, _ in TAGS if found[kind] is not None), None)
        kind, start = tagged or kinds.get(found[0].lower(), "after"), found.end()
    parts += _split_at_headings(kind, answer[start:])
    return parts


@lru_cache(maxsize=256)
def _splitter(markers: tuple[str, ...]) -> tuple[dict[str, Kind], re.Pattern[str]]:
    """What each marker announces, and the pattern that finds all of them, and tags like them; of one operator, once."""
    kinds = _marker_kinds(markers)
    # "### New Task" announces; "### New Task Ideas" is another heading.
    ends = r"(?=[ \t]*(?:[:#*\r\n]|$))"
    literal = "|".join(
        re.escape(marker) + (ends if marker[-1].isalnum() else "") for marker in sorted(kinds, key=len, reverse=True)
    )
    tags = "|".join(f"(?P<{kind}>{pattern})" for kind, pattern in TAGS)
    return kinds, re.compile(f"(?P<marker>{literal})|{tags}" if literal else tags, re.I)


def _marker_kinds(markers: Sequence[str]) -> dict[str, Kind]:
    """What each marker announces, by the marker in lower case."""
    markers = [marker for marker in markers if marker.strip()]
    opening = [marker for marker in markers if not marker.startswith(("</", "[/"))]
    kinds: dict[str, Kind] = {marker.lower(): "after" for marker in markers}
    kinds.update({marker.lower(): "given" for marker in opening[:-1]})
    kinds.update({marker.lower(): "rewritten" for marker in opening[-1:]})
    return kinds


def _split_at_headings(kind: Kind, text: str) -> Iterator[_Part]:
    """Split a part at the headings that stand outside its fences."""
    lines: list[str] = []
    last = ""
    for line, fenced in _lines(text):
        heading = None if fenced else _heading(line)
        if heading is None or (heading[0] == "after" and EXAMPLE.match(last)):
            lines.append(line)
            last = line.strip() or last
            continue
        yield _Part(kind, "\n".join(lines))
        kind, rest = heading
        lines = [rest] if rest else []
    yield _Part(kind, "\n".join(lines))


def _lines(text: str) -> Iterator[tuple[str, bool]]:
    """Each line, and whether it belongs to a fenced block (its fences included)."""
    fence = ""
    for line in text.split("\n"):
        found = FENCE.match(line) if "```" in line or "~~~" in line else None
        if not fence:
            fence = found.group(1) if found else ""
            yield line, bool(fence)
            continue
        if found and found.group(1).startswith(fence) and not found.group(2).strip():
            fence = ""
        yield line, True


def _heading(line: str) -> tuple[Kind, str] | None:
    """What a line announces, and what follows on the same line; None for a line that is no heading."""
    if not line.strip():
        return None
    title, rest = _title(line)
    for kind, pattern in TITLES:
        if pattern.fullmatch(title):
            return kind, rest
    return ("rewritten", "") if ANNOUNCEMENT.fullmatch(line.strip(" *_#\r")) else None


def _title(line: str) -> tuple[str, str]:
    """Take a line apart into what may be a heading and what follows it."""
    text = line.strip()
    if text.startswith("#"):
        title, _, rest = text.lstrip("#").strip(" *").partition("#")
    else:
        for opening, closing in DRESS:
            if text.startswith(opening) and closing in text[len(opening) : 90]:
                title, _, rest = text[len(opening) :].partition(closing)
                break
        else:
            title, rest = text, ""
    before, _, after = title.partition(":")
    return before.strip(" *_"), f"{after} {rest}".strip(" :*#") if len(before) < len(title) or rest else ""


def _trimmed(text: str, parent: str) -> str:
    """Take off what stands around a task: greetings, labels, fences, quotes, a solution, an explanation."""
    text = _without_label(_unruled(_without_opening(text.strip().lstrip(":").strip())))
    text = _without_label(_unwrapped(text))
    text = _without_appendix(text, parent)
    return _unquoted(_unruled(text))


def _unruled(text: str) -> str:
    """Take off a horizontal rule above and below."""
    first, _, rest = text.partition("\n")
    if not first.strip(" -*_="):
        text = rest.strip()
    rest, _, last = text.rpartition("\n")
    return text if last.strip(" -*_=") else rest.strip()


def _without_opening(text: str) -> str:
    """Drop "Certainly! Here is the harder task:" and its like."""
    greeting = GREETING.match(text)
    if greeting:
        text = text[greeting.end() :]
    # Each turn drops a paragraph; more than a few of chatter is no preamble.
    for _ in range(4):
        line, _, rest = text.partition("\n")
        found = CHATTER.match(text) or (ECHO.match(text) if line.rstrip().endswith(":") else None)
        if found is None:
            break
        said = line.find(":", found.end() - 1)
        if said >= 0 and line[said + 1 :].strip(" *_"):
            return text[said + 1 :].lstrip(" *_")
        text = rest.lstrip()
    return text


def _without_label(text: str) -> str:
    """Drop a heading such as "Task:" that stands before the task."""
    line, _, rest = text.partition("\n")
    title, same_line = _title(line)
    if not LABEL.fullmatch(title) or (title == line.strip() and not rest):
        return text
    return f"{same_line}\n{rest}".strip()


def _unwrapped(text: str) -> str:
    """Take a task out of a fence that holds prose, where the text begins with one."""
    if not FENCE.match(text.partition("\n")[0]):
        return text
    inner = []
    for line, fenced in _lines(text):
        if not fenced:
            break
        inner.append(line)
    body = inner[1:-1] if len(inner) > 1 and FENCE.match(inner[-1]) else inner[1:]
    prose = "\n".join(body).strip()
    return text if not prose or CODE.match(prose) else prose


def _without_appendix(text: str, parent: str) -> str:
    """Cut a solution or an explanation that follows the task."""
    known = frozenset(line.strip() for line in parent.split("\n"))
    owns_code = any(CODE.match(line) or FENCE.match(line) for line in known)
    kept: list[str] = []
    block: list[str] = []
    last, points_at_code, attempted = "", bool(ATTEMPTED.search(text)), False
    for line, fenced in [*_lines(text), ("", False)]:
        if fenced:
            block.append(line)
            continue
        if block:
            if last and not (points_at_code or last.endswith(":") or _is_known(block, known)):
                break
            kept += block
            attempted = attempted or bool(ATTEMPT.match(last))
            last, block = block[-1], []
        if not line.strip():
            kept.append(line)
            continue
        announced = points_at_code or last.endswith(":")
        if last and not announced and PROGRAM.match(line) and line.strip() not in known:
            break
        if attempted and EXPLAINS_CODE.match(line):
            break
        said = len(line) if owns_code and SHOWS_CODE.match(line) else _solving_from(line)
        kept.append(line[:said])
        last = line[:said].strip(" \t\r*_") or last
        points_at_code = points_at_code or bool(POINTS_AT_CODE.search(line[:said]))
        if said < len(line) and last:
            break
    return _without_dangling("\n".join(kept).strip())


def _solving_from(line: str) -> int:
    """Where in a line a solution or an explanation begins; the line's length where none does."""
    for start in (0, _last_sentence(line)) if line.rstrip().endswith(":") else (0,):
        sentence = line[start:].strip(" *_#-")
        if SOLVING.match(sentence) and not ATTEMPT.match(sentence):
            return start
    return len(line)


def _last_sentence(line: str) -> int:
    """Where the last sentence of a line begins."""
    return max(line.rfind(mark) for mark in (". ", "! ", "? ")) + 1


def _is_known(block: Sequence[str], known: frozenset[str]) -> bool:
    """Whether a fenced block is mostly the given task's own code."""
    code = [line.strip() for line in block[1:] if line.strip() and not FENCE.match(line)]
    return bool(code) and sum(line in known for line in code) >= 0.6 * len(code)


def _without_dangling(text: str) -> str:
    """Drop what announces something that is not there, and a sentence about the task instead of in it."""
    *before, (last, _) = _lines(text)
    if FENCE.match(last) and (not before or not before[-1][1] or FENCE.match(before[-1][0])):
        text = text[: -len(last)].rstrip()
    head, newline, last = text.rpartition("\n")
    if last.startswith("##"):
        return head.strip()
    last = TALK.split(last, maxsplit=1)[0]
    start = _last_sentence(last)
    if last.endswith(":") and ANNOUNCED.search(last[start:]):
        last = last[:start]
    return f"{head}{newline}{last}".strip()


def _unquoted(text: str) -> str:
    """Take off quotation marks or bold type around the whole text."""
    if text.startswith("**") and text.endswith("**") and text.count("**") == 2:
        return text[2:-2].strip()
    closing = QUOTES.get(text[:1])
    if closing is None or len(text) < 3 or text[-1] != closing:
        return text
    inner = text[1:-1]
    return text if closing in inner or text[0] in inner else inner.strip()


def _fault(text: str, parent: str, markers: Sequence[str]) -> str | None:
    """Why a trimmed part is no rewritten task; None if it is one."""
    plain = _plain(text)
    if not plain:
        return "no task is left when greetings, headings and solutions are taken away"
    if plain.removeprefix("please") in _plain(parent):
        return "it only repeats the given task"
    if FRAGMENT.match(text):
        return "only a fragment of a sentence is left"
    first = text.partition("\n")[0]
    if first.endswith(":") and not _last_sentence(first) and ATTEMPT.match(first):
        return "it shows an attempt and no task"
    if REFUSAL.match(text):
        return "the model refused or asked back"
    if ECHO.match(text):
        return "it speaks of rewriting a task instead of stating one"
    if (
        (SOLVING.match(text) and not ATTEMPT.match(first))
        or FENCE.match(first)
        or CODE.match(text)
        or ANSWERED.match(text)
    ):
        return "it answers the given task instead of rewriting it"
    lowered = text.lower()
    if any(marker.lower() in lowered for marker in markers if marker.strip()):
        return "a marker of the prompt is left in it"
    return None


def _plain(text: str) -> str:
    """The letters and digits of a text, for comparing."""
    return _NO_LETTER.sub("", text.lower())
