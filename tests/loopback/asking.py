"""How these tests ask: over a raw socket, so that what is on the wire is what is seen."""

from __future__ import annotations

import http.client
import json
import socket
from dataclasses import dataclass
from typing import Any

from loopback import Provider


@dataclass(frozen=True)
class Seen:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> Any:
        return self.json["error"]

    @property
    def text(self) -> str:
        return self.json["choices"][0]["message"]["content"]


def messages(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def chat_body(text: str, model: str = "m", **more: Any) -> bytes:
    return json.dumps({"model": model, "messages": messages(text), **more}).encode()


def request(body: bytes, *headers: str, path: str = "/v1/chat/completions", method: str = "POST") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: loopback", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def call(provider: Provider, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> Seen:
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", provider.port, timeout=10)
    try:
        connection.request(method, path, body or None, headers or {})
        answer = connection.getresponse()
        return Seen(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
    finally:
        connection.close()


def ask(provider: Provider, text: str, key: str = "", **more: Any) -> Seen:
    """One chat request on a connection of its own."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return call(provider, "POST", "/v1/chat/completions", chat_body(text, **more), headers)


def dial(provider: Provider, timeout: float = 5.0) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", provider.port), timeout)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else each further piece waits 40 ms
    return sock


def until_closed(sock: socket.socket) -> bytes:
    """Read until the other side closes."""
    data = b""
    while part := sock.recv(65_536):
        data += part
    return data


def until_closed_or_reset(sock: socket.socket) -> bytes:
    try:
        return until_closed(sock)
    except ConnectionResetError:
        return b""
