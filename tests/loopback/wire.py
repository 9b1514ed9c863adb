"""The least of HTTP/1.1 that a server needs: one connection, a request taken off it, an answer put on it."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Literal
from urllib.parse import parse_qsl, unquote

MAX_HEAD = 65_536
_REASON = {status.value: status.phrase.encode() for status in HTTPStatus}
_NO_LINGER = struct.pack("ii", 1, 0)
"""struct linger: closing drops what is unsent and sends RST."""

Ending = Literal["sent", "cut", "lost"]
"""How an answer ended: all its bytes were handed over, it was cut on purpose, or the client went away first."""


class Malformed(Exception):
    """What arrived is no HTTP/1.1 request."""


@dataclass(slots=True)
class Request:
    """One request; header names in lower case."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes = b""


@dataclass(slots=True)
class Answer:
    """What a connection sends, and how.

    Attributes:
        data: the whole response, head and body.
        delay: seconds before the first byte.
        upto: send this many bytes only, then close the connection.
        reset: close it with RST instead of FIN.
        close: close it after a whole response, too.
        interval: seconds between single bytes; 0 sends all at once.
        hang: never answer.
        ended: told once how it ended, and how many bytes went out.
    """

    data: bytes
    delay: float = 0.0
    upto: int | None = None
    reset: bool = False
    close: bool = False
    interval: float = 0.0
    hang: bool = False
    ended: Callable[[Ending, int], None] | None = None


def response(status: int, body: bytes, headers: bytes = b"", content_type: bytes = b"application/json") -> bytes:
    """Return a whole response; ``headers`` are complete lines."""
    return b"HTTP/1.1 %d %b\r\nContent-Type: %b\r\nContent-Length: %d\r\n%b\r\n%b" % (
        status,
        _REASON.get(status, b"Unknown"),
        content_type,
        len(body),
        headers,
        body,
    )


def parse_head(head: bytes) -> Request:
    """Read request line and headers.

    Raises:
        Malformed: it is none.
    """
    first, *lines = head.decode("latin-1").split("\r\n")
    try:
        method, target, version = first.split(" ")
    except ValueError:
        raise Malformed(f"no request line: {first[:80]!r}") from None
    if not version.startswith("HTTP/1."):
        raise Malformed(f"not HTTP/1: {version[:20]!r}")
    headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise Malformed(f"no header: {line[:80]!r}")
        headers[name.lower()] = value.strip()
    path, _, query = target.partition("?")
    if version == "HTTP/1.0":
        headers.setdefault("connection", "close")
    return Request(method, unquote(path), dict(parse_qsl(query)) if query else {}, headers)


@dataclass(slots=True)
class _Chunks:
    """A chunked body on its way in."""

    body: bytearray = field(default_factory=bytearray)
    left: int = 0
    trailer: bool = False

    def take(self, buffer: bytearray) -> bool:
        """Move what is there from the buffer to the body; True once the last chunk is through."""
        while True:
            if self.left:
                part = buffer[: self.left]
                self.body += part
                del buffer[: len(part)]
                self.left -= len(part)
                if self.left:
                    return False
            end = buffer.find(b"\r\n")
            if end < 0:
                return False
            line = bytes(buffer[:end])
            del buffer[: end + 2]
            if self.trailer:
                if not line:
                    return True
            elif line:
                try:
                    self.left = int(line.split(b";")[0], 16)
                except ValueError:
                    raise Malformed(f"no chunk size: {line[:20]!r}") from None
                self.trailer = self.left == 0


class Connection(asyncio.Protocol):
    """One client connection: keep-alive, one request at a time.

    Args:
        handle: decides the answer of each request, at once and without waiting.
        opened: told about this connection when it is there, and again when it is gone.
    """

    def __init__(
        self, handle: Callable[[Request, Connection], Answer], opened: Callable[[Connection, bool], None]
    ) -> None:
        self._handle = handle
        self._opened = opened
        self._buffer = bytearray()
        self._request: Request | None = None
        self._chunks: _Chunks | None = None
        self._answer: Answer | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._paused = False
        self._sending = False
        self.idle_close: float | None = None
        self.answered = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        transport.set_write_buffer_limits(0)  # so that resume_writing means: the kernel has it all
        self._opened(self, True)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end("lost", 0)
        self._opened(self, False)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        if self._sending:
            self._sent()

    def drop(self) -> None:
        """Close the connection as a server that dies: what is in flight is cut."""
        self._end("cut", 0)
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._answer is None:
            self._next()

    def _next(self) -> None:
        if self._answer is not None or self._transport.is_closing():
            return
        try:
            request = self._take()
        except Malformed as error:
            self._transport.write(response(400, str(error).encode(), b"Connection: close\r\n", b"text/plain"))
            self._transport.close()
            return
        if request is not None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._begin(self._handle(request, self), request)

    def _take(self) -> Request | None:
        """Take one whole request off the buffer, or nothing while it is incomplete."""
        request = self._request or self._take_head()
        if request is None:
            return None
        buffer = self._buffer
        if self._chunks is not None:
            if not self._chunks.take(buffer):
                return None
            request.body = bytes(self._chunks.body)
            self._chunks = None
        elif length := request.headers.get("content-length"):
            if not length.isdecimal():
                raise Malformed(f"no length: {length[:20]!r}")
            if len(buffer) < int(length):
                return None
            request.body = bytes(buffer[: int(length)])
            del buffer[: int(length)]
        self._request = None
        return request

    def _take_head(self) -> Request | None:
        buffer = self._buffer
        end = buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(buffer) > MAX_HEAD:
                raise Malformed("the head does not end")
            return None
        request = self._request = parse_head(bytes(buffer[:end]))
        del buffer[: end + 4]
        if "transfer-encoding" in request.headers:
            self._chunks = _Chunks()
        if "expect" in request.headers:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return request

    def _begin(self, answer: Answer, request: Request) -> None:
        self._answer = answer
        if request.headers.get("connection", "").lower() == "close":
            answer.close = True
        if answer.hang:
            return
        if answer.delay > 0:
            self._timer = self._loop.call_later(answer.delay, self._send)
        elif answer.interval:
            self._drip(0)
        else:
            self._send()

    def _send(self) -> None:
        answer = self._answer
        self._timer = None
        if answer is None:
            return
        if answer.interval:
            self._drip(0)
            return
        self._sending = True
        self._transport.write(answer.data if answer.upto is None else answer.data[: answer.upto])
        if not self._paused:
            self._sent()

    def _drip(self, offset: int) -> None:
        answer = self._answer
        if answer is None:
            return
        self._transport.write(answer.data[offset : offset + 1])
        if offset + 1 < len(answer.data if answer.upto is None else answer.data[: answer.upto]):
            self._timer = self._loop.call_later(answer.interval, self._drip, offset + 1)
        else:
            self._sent()

    def _sent(self) -> None:
        """All bytes that were to go out are with the kernel."""
        answer = self._answer
        assert answer is not None
        self._sending = False
        self.answered += 1
        if answer.upto is not None:
            self._end("cut", min(answer.upto, len(answer.data)))
            if answer.reset:
                sock: socket.socket = self._transport.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
                self._transport.abort()
            else:
                self._transport.close()
            return
        self._end("sent", len(answer.data))
        if answer.close:
            self._transport.close()
        elif self._buffer:
            self._loop.call_soon(self._next)
        elif self.idle_close is not None:
            self._timer = self._loop.call_later(self.idle_close, self._transport.close)

    def _end(self, how: Ending, sent: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        answer, self._answer = self._answer, None
        self._sending = False
        if answer is not None and answer.ended is not None:
            answer.ended(how, sent)
