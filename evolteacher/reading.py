"""Takes the rewritten task out of a model's answer.

A model that is asked for a harder task rarely sends the task alone: it greets, sets a heading, repeats the given task,
fences or quotes the new one, solves it, explains what it changed. The rules here were written while reading recorded
answers of two small models; ``tests/data/answers.jsonl`` holds those, and as many that were set aside.

An answer is read in three steps, each linear in its length: it is split at the operator's markers and at headings
(:func:`_parts`), each part that may hold the task is trimmed (:func:`_trimmed`), and the first that holds one wins.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from evolteacher.errors import Unreadable

Kind = Literal["lead", "given", "rewritten", "after"]

_NEW = (
    r"(?:re-?written|new|revised|updated|modified|harder|tougher|evolved|improved|enhanced|refined|adjusted"
    r"|(?:more|slightly more|a bit more|increasingly) (?:difficult|challenging|complex|advanced)|challenging)"
)
_OLD = r"(?:given|original|old|previous|initial|current|source|existing)"
_TASK = (
    r"(?:(?:programming|coding|code|test) )?"
    r"(?:task|test|prompt|question|problem|instruction|exercise|challenge|version|requirement)s?"
    r"(?: (?:description|statement|text|code))?"
)
_SOLVED = (
    r"(?:(?:sample|example|suggested|possible|proposed|reference|complete|full|final|corrected|python|javascript|java)"
    r" )*(?:solutions?|answers?|explanations?|implementations?|responses?|reasoning|rationale|code"
    r"|how it works|what (?:has )?changed|changes(?: made)?|key changes|steps to solve|solution steps)"
)
_TAIL = r"(?: \([^)]{0,60}\))?"
_HEADED_NEW = re.compile(rf"(?:the )?{_NEW} (?:{_NEW} )?{_TASK}{_TAIL}", re.I)
_HEADED_OLD = re.compile(rf"(?:the )?{_OLD} {_TASK}{_TAIL}", re.I)
_HEADED_SOLVED = re.compile(rf"(?:the )?{_SOLVED}(?: (?:of|for|to) (?:the )?(?:{_NEW} |{_OLD} )?{_TASK})?{_TAIL}", re.I)
_HEADED_PLAIN = re.compile(
    r"(?:the )?(?:task|question|problem|instruction|prompt|test)(?: description| statement)?", re.I
)

_DRESSED = re.compile(
    r"\s{0,3}(?:#{1,6}\s*(?P<hash>[^#\n]{1,80}?)\s*#*|\*\*(?P<bold>[^*\n]{1,80}?)\*\*|__(?P<under>[^_\n]{1,80}?)__"
    r"|\[(?P<square>[^\]\n]{1,80}?)\]|(?P<plain>[^\s:*#`\[][^:*#`\n]{0,60}?(?=:)))\s*(?P<colon>:?)\s*(?P<rest>.*)"
)
_FENCE = re.compile(r"\s{0,8}(`{3,}|~{3,})\s*([\w+#.-]*)\s*$")

_GREETING = re.compile(
    r"(?:certainly|sure|of course|absolutely|okay|ok|great|understood|alright|no problem|got it)\b[^\n]{0,3}?[!,.:]\s*",
    re.I,
)
_ABOUT = re.compile(
    r"(?:(?:here(?:'s| is| are)|below is|this is|the following is|let's|let us|now,? let's|now,"
    r"|i(?:'ve| have|'ll| will| would))"
    rf"\b[^\n]{{0,160}}?\b{_NEW}\b[^\n]{{0,40}}?\b(?:{_TASK}|one)\b"
    r"|(?:to (?:make|increase|rewrite|turn)|(?:re-?writing|making|increasing)"
    rf"|(?:re-?write|make) the (?:{_OLD} )?(?:programming )?task)\b"
    rf"|how to make it harder|what to change)",
    re.I,
)
_REFUSAL = re.compile(
    r"(?:i'?m sorry|i am sorry|sorry,|i apologi[sz]e|as an ai|i can(?:no|')t (?:assist|help)|i cannot"
    r"|please provide|could you please provide|no solution\b)",
    re.I,
)
_ANSWERED = re.compile(
    r"(?:to (?!be )\w+[^.\n]{0,200}?,? (?:you|we|i)(?:'ll| can| could| need| should| will| must| may|'d)\b"
    r"|you can (?:use|solve|achieve|do)\b|the (?:bug|error|issue|problem) (?:is|in)\b"
    r"|there(?:'s| is) an? (?:\w+ )?(?:error|bug)\b)",
    re.I,
)
_SOLVING = re.compile(
    r"(?:here(?:'s| is| are)\b[^\n]{0,80}?"
    r"\b(?:solution|implementation|code|function|program|script|answer|example of how|way to)\b"
    rf"|this (?:{_NEW} )?{_TASK} (?:is|was|has|requires|involves|asks|now|will|adds|introduces)\b"
    rf"|the {_NEW} {_TASK} (?:is|was|has|requires|involves|asks|now|will|adds|introduces|aims)\b"
    rf"|(?:in|with) (?:this|the) (?:{_NEW} )?(?:version|code|{_NEW} task|implementation|solution|example above)\b"
    rf"|this (?:code|function|program|script|solution|implementation|query|rule|approach)\b"
    rf"|to solve this\b|explanation\b|note that the {_NEW} task\b|i (?:hope|have)\b)",
    re.I,
)
_POINTS_AT_CODE = re.compile(
    r"\b(?:following|below"
    r"|this (?:code|function|program|query|snippet|class|script|loop|list|array|dictionary|rule|attempt)"
    r"|(?:given|provided|shown|these) (?:\w+ ){0,2}"
    r"(?:code|function|snippet|program|lines|loop|query|list|array|data|input)"
    r"|may be wrong|might be wrong|attempt)\b",
    re.I,
)
_PROSE_INFO = frozenset({"", "text", "txt", "plaintext", "plain", "markdown", "md", "task", "prompt"})
_QUOTES = {'"': '"', "“": "”", "«": "»", "'": "'"}


@dataclass(frozen=True)
class _Part:
    """A stretch of the answer and what announced it."""

    kind: Kind
    text: str


def read_rewritten(answer: str, parent: str, markers: Sequence[str] = (), *, keep_code: bool = False) -> str:
    """Take the rewritten task out of what a model answered.

    Args:
        answer: the model's whole answer.
        parent: the task that it was asked to rewrite.
        markers: the markers of the operator's prompt in the order in which they stand there: the given task's first,
            the rewritten task's last, each with its closing one (``</…>``) behind it where it has one.
        keep_code: code that follows the task belongs to it, even where it looks like a solution.

    Returns:
        The task, stripped, never empty and without any of the markers.

    Raises:
        Unreadable: the answer is empty, refuses, solves the given task, or only repeats it.
    """
    reason = "the answer is empty"
    for part in _candidates(_parts(answer, markers)):
        text = _trimmed(part.text, parent, keep_code=keep_code)
        fault = _fault(text, parent, markers)
        if fault is None:
            return text
        if text or part.text.strip():
            reason = fault
    raise Unreadable(reason)


def _candidates(parts: Sequence[_Part]) -> Iterator[_Part]:
    """The parts that may hold the task, likeliest first."""
    # Prompts end with the marker that opens the rewritten task, so what comes first continues it.
    yield from (part for part in parts if part.kind == "lead")
    yield from (part for part in parts if part.kind == "rewritten")


def _parts(answer: str, markers: Sequence[str]) -> list[_Part]:
    """Split an answer at the operator's markers, then at headings."""
    kinds = _marker_kinds(markers)
    if not kinds:
        return list(_split_at_headings("lead", answer))
    pattern = re.compile("|".join(re.escape(marker) for marker in sorted(kinds, key=len, reverse=True)), re.I)
    parts: list[_Part] = []
    kind: Kind = "lead"
    start = 0
    for found in pattern.finditer(answer):
        parts += _split_at_headings(kind, answer[start : found.start()])
        kind, start = kinds[found.group().lower()], found.end()
    parts += _split_at_headings(kind, answer[start:])
    return parts


def _marker_kinds(markers: Sequence[str]) -> dict[str, Kind]:
    """What each marker announces, by the marker in lower case."""
    opening = [marker for marker in markers if marker.strip() and not marker.startswith(("</", "[/"))]
    kinds: dict[str, Kind] = {marker.lower(): "after" for marker in markers if marker.strip()}
    kinds.update({marker.lower(): "given" for marker in opening})
    if opening:
        kinds[opening[-1].lower()] = "rewritten"
    return kinds


def _split_at_headings(kind: Kind, text: str) -> Iterator[_Part]:
    """Split a part at the headings that stand outside its fences."""
    lines: list[str] = []
    for line, fenced in _lines(text):
        heading = None if fenced else _heading(line)
        if heading is None:
            lines.append(line)
            continue
        yield _Part(kind, "\n".join(lines))
        kind, rest = heading
        lines = [rest] if rest else []
    yield _Part(kind, "\n".join(lines))


def _lines(text: str) -> Iterator[tuple[str, bool]]:
    """Each line, and whether it belongs to a fenced block (its fences included)."""
    fence = ""
    for line in text.split("\n"):
        found = _FENCE.match(line)
        if not fence:
            fence = found.group(1) if found else ""
            yield line, bool(fence)
            continue
        if found and found.group(1).startswith(fence) and not found.group(2):
            fence = ""
        yield line, True


def _heading(line: str) -> tuple[Kind, str] | None:
    """What a line announces, and what follows on the same line; None for a line that is no heading."""
    found = _DRESSED.match(line[:400])
    if found is None:
        return None
    title = next(group for group in found.group("hash", "bold", "under", "square", "plain") if group is not None)
    rest = found.group("rest") + line[400:]
    title, colon, inner = title.partition(":")
    title = title.strip().strip("*_").strip()
    rest = inner.strip() or rest
    if found.group("hash") is None and rest and not (colon or found.group("colon")):
        return None
    if _HEADED_NEW.fullmatch(title):
        return "rewritten", rest
    if _HEADED_OLD.fullmatch(title):
        return "given", rest
    if _HEADED_SOLVED.fullmatch(title):
        return "after", rest
    return None


def _trimmed(text: str, parent: str, *, keep_code: bool) -> str:
    """Take off what stands around a task: greetings, labels, fences, quotes, a solution, an explanation."""
    text = _without_label(_without_opening(text.strip()))
    text = _unwrapped(text)
    text = _without_label(text)
    text = _without_appendix(text, parent, keep_code=keep_code)
    return _unquoted(text.strip())


def _without_opening(text: str) -> str:
    """Drop "Certainly! Here is the harder task:" and its like."""
    greeting = _GREETING.match(text)
    if greeting:
        text = text[greeting.end() :].lstrip()
    while found := _ABOUT.match(text):
        line, _, rest = text.partition("\n")
        colon = line.find(":", found.end() - 1)
        if colon >= 0 and line[colon + 1 :].strip(" *_"):
            return text[colon + 1 :].lstrip(" *_")
        text = rest.lstrip()
    return text


def _without_label(text: str) -> str:
    """Drop a heading such as "Task:" that stands before the task."""
    line, _, rest = text.partition("\n")
    found = _DRESSED.match(line[:400])
    if found is None:
        return text
    title = next(group for group in found.group("hash", "bold", "under", "square", "plain") if group is not None)
    if not _HEADED_PLAIN.fullmatch(title.strip().rstrip(":").strip()):
        return text
    same_line = found.group("rest") + line[400:]
    return f"{same_line}\n{rest}".strip()


def _unwrapped(text: str) -> str:
    """Take a task out of a fence that holds prose, where the text begins with one."""
    found = _FENCE.match(text.partition("\n")[0])
    if found is None or found.group(2).lower() not in _PROSE_INFO:
        return text
    inner = []
    for line, fenced in _lines(text):
        if not fenced:
            break
        inner.append(line)
    body = inner[1:-1] if len(inner) > 1 and _FENCE.match(inner[-1]) else inner[1:]
    return "\n".join(body).strip()


def _without_appendix(text: str, parent: str, *, keep_code: bool) -> str:
    """Cut a solution or an explanation that follows the task."""
    kept: list[str] = []
    owns_code = keep_code or "```" in parent
    was_fenced = False
    for line, fenced in _lines(text):
        if fenced and not was_fenced and kept and not (owns_code or _introduced(kept)):
            break
        if (
            not fenced
            and kept
            and _SOLVING.match(line.strip(" *_#"))
            and not (keep_code and line.rstrip().endswith(":"))
        ):
            break
        was_fenced = fenced
        kept.append(line)
    return "\n".join(kept).strip()


def _introduced(lines: Sequence[str]) -> bool:
    """Whether the text so far speaks of code that it is about to show."""
    last = next((line for line in reversed(lines) if line.strip()), "")
    return last.rstrip(" *_").endswith(":") or any(_POINTS_AT_CODE.search(line) for line in lines)


def _unquoted(text: str) -> str:
    """Take off quotation marks around the whole text."""
    closing = _QUOTES.get(text[:1])
    if closing is None or len(text) < 3 or text[-1] != closing:
        return text
    inner = text[1:-1]
    return text if closing in inner or text[0] in inner else inner.strip()


def _fault(text: str, parent: str, markers: Sequence[str]) -> str | None:
    """Why a trimmed part is no rewritten task; None if it is one."""
    if not any(char.isalnum() for char in text):
        return "no task is left when greetings, headings and solutions are taken away"
    if _plain(text) == _plain(parent):
        return "it only repeats the given task"
    if _REFUSAL.match(text):
        return "the model refused or asked back"
    if _FENCE.match(text.partition("\n")[0]) or _ANSWERED.match(text):
        return "it answers the given task instead of rewriting it"
    lowered = text.lower()
    if any(marker.lower() in lowered for marker in markers if marker.strip()):
        return "a marker of the prompt is left in it"
    return None


def _plain(text: str) -> str:
    """The letters and digits of a text, for comparing."""
    return "".join(char for char in text.lower() if char.isalnum())
