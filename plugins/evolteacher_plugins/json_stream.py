"""JSON and JSON Lines as streams of rows: memory holds the row in hand and a chunk, whatever the file's size.

A row that is no JSON costs only itself, as long as its quotes and brackets are in pairs; where they are not, nothing
after it can be told apart, and reading stops with the line.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import IO, Any, NoReturn

from evolteacher import Row
from evolteacher.errors import SeedError

CHUNK = 1 << 20
LARGEST_ROW = 1 << 26
"""Characters; a longer row means that a bracket, a quote or a line end is missing."""

LIST_KEYS = ("data", "rows", "train")
"""Keys under which an object may hold the list of rows."""

_UNDECODED = re.compile("[\udc80-\udcff]")
"""What the error handler ``surrogateescape`` leaves for bytes that are not UTF-8."""

_STRUCTURE = re.compile(r'"[^"\\\n]*+(?:\\.[^"\\\n]*+)*+("?)|[\[\]{}]')
"""A string, with an empty group 1 where it is not closed, or a bracket."""

_BARE = re.compile(r'[^ \t\r\n,:\[\]{}"]*')
_LIST = re.compile(r"\s*:\s*(\[)?")
_SPACE = re.compile(r"[ \t\r\n]*")
_OPENING = '[{"'
_PAIRS = {"]": "[", "}": "{"}


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON: write null")


_STRICT = json.JSONDecoder(parse_constant=_refuse)
_LENIENT = json.JSONDecoder(parse_constant=_refuse, strict=False)
"""Takes raw control characters (tabs, NUL) inside strings, which do no harm within one row."""


def json_rows(file: IO[bytes], name: str, key: str | None = None) -> Iterator[Row]:
    """Read the rows of a JSON file.

    Takes a list; an object that holds the list under ``key``, or else under one of :data:`LIST_KEYS`; and JSON Lines
    or objects one after another, whatever the file is called.

    Args:
        file: from its beginning; must be able to seek.
        name: for messages.
        key: where the list is.

    Raises:
        SeedError: the structure is broken, so that rows cannot be told apart.
    """
    window = _Window(file, name)
    first = window.peek()
    if first == "[":
        window.advance(window.at + 1)
        yield from _values(window, "]")
        return
    start = window.find_list([key] if key else LIST_KEYS) if first == "{" else None
    if key is not None and start is None:
        raise SeedError(f"{name}: no list is under the key '{key}' of the file's object")
    if key is None and window.is_lines():
        file.seek(0)
        yield from line_rows(file, name)
    elif start is None:
        yield from _values(window, "")
    else:
        window.advance(start + 1)
        yield from _values(window, "]", ends_file=False)


def line_rows(file: IO[bytes], name: str) -> Iterator[Row]:
    """Read the rows of a JSON Lines file; blank lines are passed over. One that begins with ``[`` is read as JSON.

    Args:
        file: from its beginning; must be able to seek.
        name: for messages.

    Raises:
        SeedError: the file is not made of lines of text.
    """
    started = False
    for number, line in lines_of(file, name):
        if not started and (text := line.lstrip()):
            started = True
            if text.startswith(b"["):
                file.seek(0)
                yield from json_rows(file, name)
                return
        row = parsed(line.rstrip(b"\r\n"), f"{name}:{number}", _LENIENT.decode)
        if not row.error or line.strip():
            yield row


def lines_of(file: IO[bytes], name: str) -> Iterator[tuple[int, bytes]]:
    """Number the lines of a file from 1, without its byte order mark.

    Raises:
        SeedError: a line is longer than :data:`LARGEST_ROW`.
    """
    for number, line in enumerate(iter(lambda: file.readline(LARGEST_ROW), b""), 1):
        if number == 1:
            line = line.removeprefix(codecs.BOM_UTF8)
        if len(line) == LARGEST_ROW:
            raise SeedError(f"{name}:{number}: a line of over {LARGEST_ROW >> 20} MiB: this is no file of lines")
        yield number, line


class _Window:
    """A window on a text that slides: what is before ``at`` is forgotten, but its lines stay counted."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        self.name = name
        self.text = ""
        self.at = 0
        self.line = 1
        self.ended = False
        self.damaged = False
        self.cut_off = False
        self._file = file
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("surrogateescape")

    def more(self) -> bool:
        """Add to the text, as much again as it holds; False where the end was known already.

        Raises:
            SeedError: it holds as much as a row may.
        """
        if self.ended:
            return False
        held = len(self.text) - self.at
        if held >= LARGEST_ROW:
            self.fail(
                f"what begins here is over {LARGEST_ROW >> 20} MiB: is a bracket or quote missing? "
                "(If the rows are a list within an object, name its key with the reader's option `key`)"
            )
        data = self._file.read(min(max(CHUNK, held), LARGEST_ROW - held))
        self.ended = not data
        self.text = self.text[self.at :] + self._decoder.decode(data, final=self.ended)
        self.at = 0
        self.damaged = undecoded(self.text)
        return True

    def advance(self, to: int) -> None:
        """Leave behind what is before an offset."""
        self.line += self.text.count("\n", self.at, to)
        self.at = to

    def peek(self) -> str:
        """Pass over white space and return the next character; empty at the file's end."""
        while True:
            match = _SPACE.match(self.text, self.at)
            self.advance(match.end() if match else self.at)
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.more():
                return ""

    def line_at(self, offset: int) -> int:
        """Return the line of an offset."""
        return self.line + self.text.count("\n", self.at, offset)

    def fail(self, why: str, line: int | None = None) -> NoReturn:
        """Give up the file."""
        raise SeedError(f"{self.name}:{line or self.line}: {why}. Nothing from here on can be read")

    def extent(self) -> int | None:
        """Return where the value ends that begins at the window's place; None where the window is too short.

        Raises:
            SeedError: its quotes or brackets are not in pairs.
        """
        if self.text[self.at] not in _OPENING:
            match = _BARE.match(self.text, self.at)
            end = max(match.end() if match else 0, self.at + 1)
            return end if end < len(self.text) or self.ended else None
        opened: list[str] = []
        for match in _STRUCTURE.finditer(self.text, self.at):
            token = match[0]
            if token[0] == '"':
                if not match[1]:
                    if "\n" in self.text[match.end() : match.end() + 2]:
                        self.fail("a quote is missing in this line", self.line_at(match.start()))
                    return None
            elif token in "[{":
                opened.append(token)
            elif not opened or opened.pop() != _PAIRS[token]:
                self.fail(f"a '{token}' has no counterpart", self.line_at(match.start()))
            if not opened:
                return match.end()
        return None

    def find_list(self, keys: list[str] | tuple[str, ...]) -> int | None:
        """Return the offset of the ``[`` that one of the keys of the object at the window's place leads to."""
        wanted = {key.lower() for key in keys}
        while True:
            depth = 0
            for match in _STRUCTURE.finditer(self.text, self.at):
                token = match[0]
                if token[0] != '"':
                    depth += 1 if token in "[{" else -1
                    if depth == 0:
                        return None
                elif depth == 1 and token[1:-1].lower() in wanted:
                    leads = _LIST.match(self.text, match.end())
                    if leads and leads[1]:
                        return leads.start(1)
            if not self.more():
                return None

    def is_lines(self) -> bool:
        """Whether this looks like JSON Lines: a first line that is a value by itself, and another after it.

        Looks no further than a chunk, so that a list without line ends is not held whole.
        """
        while len(self.text) - self.at < CHUNK and self.more():
            pass
        end = self.text.find("\n", self.at)
        rest = self.text[end:].lstrip()[:1] if end >= 0 else ""
        if not rest or rest not in '{"':
            return False
        try:
            _LENIENT.decode(self.text[self.at : end])
        except (ValueError, RecursionError):
            return False
        return True


def _values(window: _Window, closing: str, *, ends_file: bool = True) -> Iterator[Row]:
    """Read values up to a bracket, or to the file's end where there is none.

    A comma too many or too few is a row with an error.
    """
    before = ""
    while (char := window.peek()) and char != closing:
        where = f"{window.name}:{window.line}"
        if char in "]}":
            window.fail(f"a '{char}' has no counterpart")
        if char == ",":
            if before != "value":
                yield Row(where, error="a comma without a row before it")
            window.advance(window.at + 1)
            before = "comma"
            continue
        if before == "value" and closing:
            yield Row(where, error="a comma is missing before this row")
        yield _value(window, where)
        before = "value"
    if closing:
        yield from _list_end(window, before == "comma", ends_file)


def _list_end(window: _Window, after_comma: bool, ends_file: bool) -> Iterator[Row]:
    """Look at how a list ends: with its bracket, and with nothing but white space after it if it ends the file."""
    where = f"{window.name}:{window.line}"
    if not window.peek():
        if not window.cut_off:
            yield Row(where, error="the list is never closed: is the file cut off?")
        return
    if after_comma:
        yield Row(where, error="a comma without a row after it")
    window.advance(window.at + 1)
    if ends_file and window.peek():
        yield Row(f"{window.name}:{window.line}", error="there is text after the list's end; it is left out")


def _value(window: _Window, where: str) -> Row:
    """Read the value at the window's place and advance past it."""
    data: Any = None
    end: int | None = None
    while end is None:
        parsed_whole = False
        # What a number ends with may be beyond the window's edge, so only its extent tells.
        if window.text[window.at] in _OPENING:
            with suppress(ValueError, RecursionError):
                data, end = _STRICT.raw_decode(window.text, window.at)
                parsed_whole = True
        if not parsed_whole:
            end = window.extent()
        if end is None and not window.more():
            return _cut_off(window, where)
    text = window.text[window.at : end]
    window.advance(end)
    if parsed_whole and not (window.damaged and undecoded(text)):
        return Row(where, data)
    return parsed(text.encode("utf-8", "surrogateescape"), where, _LENIENT.decode)


def parsed(raw: bytes, where: str, parse: Callable[[str], Any]) -> Row:
    """Decode and parse one row's bytes; whatever is wrong with them is the row's error."""
    try:
        return Row(where, parse(raw.decode("utf-8", "surrogatepass")))
    except (ValueError, RecursionError) as error:
        return Row(where, error=_why(error))


def undecoded(text: str) -> bool:
    """Whether a text, decoded with ``surrogateescape``, holds bytes that are not UTF-8."""
    return not text.isascii() and _UNDECODED.search(text) is not None


def _cut_off(window: _Window, where: str) -> Row:
    """Tell a file that ends inside its last row from one in which an earlier bracket is missing."""
    try:
        _STRICT.raw_decode(window.text, window.at)
    except json.JSONDecodeError as error:
        if not error.msg.startswith("Unterminated") and not _BARE.fullmatch(window.text[error.pos :].strip()):
            window.fail(f"{error.msg}, in the row that begins in line {window.line}", window.line_at(error.pos))
    except (ValueError, RecursionError):
        window.fail("the row that begins here never ends")
    window.advance(len(window.text))
    window.cut_off = True
    return Row(where, error="the row never ends: is the file cut off?")


def _why(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"not UTF-8: byte 0x{error.object[error.start]:02x}, the row's byte {error.start + 1}"
    if isinstance(error, json.JSONDecodeError):
        line = f"line {error.lineno}, " if error.lineno > 1 else ""
        return f"not JSON: {error.msg} ({line}column {error.colno} of the row)"
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return str(error)
