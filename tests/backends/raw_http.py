"""A server that sends the bytes it was told to, and a proxy: in threads of the test's process, on loopback only."""

from __future__ import annotations

import json
import socket
import socketserver
import ssl
import threading
from dataclasses import dataclass, field


@dataclass
class Seen:
    """One request as it arrived."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes = field(repr=False, default=b"")

    @property
    def json(self):
        return json.loads(self.body)


def response(body, status=200, **headers):
    """Return a whole answer; a body that is not bytes is written as JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(data)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + data


def chat(content="Fine.", **changes):
    """Return the body of a good completion, with changes."""
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
    return {"model": "m", "choices": [choice], "usage": {"prompt_tokens": 5, "completion_tokens": 7}, **changes}


class RawServer:
    """Answers each request with ``answer``, bytes or a function of the request; a context manager.

    Args:
        answer: the first one.
        tls: a server's context, where it speaks TLS.
    """

    def __init__(self, answer=b"", tls=None):
        self.answer = answer or response(chat())
        self.seen = []
        self._tls = tls

    def __enter__(self):
        outer = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                try:
                    outer.serve(self.request)
                except (OSError, ValueError):
                    pass  # the client went away, or cannot speak TLS with us

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            request_queue_size = 64

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self):
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}/v1"

    def serve(self, connection):
        with self._tls.wrap_socket(connection, server_side=True) if self._tls else connection as peer:
            reader = peer.makefile("rb")
            while (seen := read_request(reader)) is not None:
                self.seen.append(seen)
                answer = self.answer(seen) if callable(self.answer) else self.answer
                if answer is None:
                    return
                peer.sendall(answer)


def read_request(reader):
    """Read one request; None at the end."""
    first = reader.readline().decode("latin-1").split()
    if len(first) != 3:
        return None
    headers = {}
    while line := reader.readline().decode("latin-1").strip():
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return Seen(first[0], first[1], headers, reader.read(int(headers.get("content-length", 0))))


class Proxy(RawServer):
    """A proxy for http, which answers in the server's place, and a tunnel for CONNECT.

    Args:
        tunnel_to: port on loopback that every tunnel leads to.
        refusal: what CONNECT is answered with in place of a tunnel.
    """

    def __init__(self, answer=b"", tunnel_to=0, refusal=b""):
        super().__init__(answer)
        self._tunnel_to, self.refusal = tunnel_to, refusal

    def serve(self, connection):
        reader = connection.makefile("rb", buffering=0)
        while (seen := read_request(reader)) is not None:
            self.seen.append(seen)
            if seen.method != "CONNECT":
                connection.sendall(self.answer)
                continue
            if self.refusal:
                connection.sendall(self.refusal)
                return
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            with socket.create_connection(("127.0.0.1", self._tunnel_to)) as there:
                back = threading.Thread(target=_pump, args=(there, connection), daemon=True)
                back.start()
                _pump(connection, there)
                back.join()
            return


def _pump(source, target):
    try:
        while block := source.recv(65536):
            target.sendall(block)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def server_context(certificate, key):
    """Return the TLS context of a server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context
