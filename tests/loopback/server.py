"""The server's process: the provider's port, the control port, and the pipe that keeps it alive."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import socket
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from loopback.service import Service
from loopback.settings import Settings
from loopback.wire import Answer, Connection, Request, response

HOST = "127.0.0.1"


class Port:
    """The provider's port, on which listening may stop and start again.

    A second socket that is bound to it and never listens keeps the port ours meanwhile.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._server: asyncio.Server | None = None
        self._again: asyncio.TimerHandle | None = None
        self._keeper = _bound(0)
        self.number: int = self._keeper.getsockname()[1]

    @property
    def listening(self) -> bool:
        """Whether connections are accepted."""
        return self._server is not None

    async def listen(self) -> None:
        """Accept connections; nothing happens where that is so already."""
        if self._again is not None:
            self._again.cancel()
            self._again = None
        if self._server is None:
            service = self._service
            self._server = await asyncio.get_running_loop().create_server(
                lambda: Connection(service.handle, service.opened), sock=_bound(self.number), backlog=4096
            )

    def refuse(self, seconds: float | None, drop: bool) -> None:
        """Refuse connections, for so many seconds or until told otherwise; ``drop`` cuts those there are, too."""
        if self._server is not None:
            self._server.close()
            self._server = None
        if drop:
            for connection in list(self._service.connections):
                connection.drop()
        if seconds is not None:
            loop = asyncio.get_running_loop()
            self._again = loop.call_later(seconds, lambda: _keep(loop.create_task(self.listen())))


_tasks: set[asyncio.Task[None]] = set()


def _keep(task: asyncio.Task[None]) -> None:
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)


def _bound(port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind((HOST, port))
    return sock


class Control:
    """What the test asks of the server, on a port of its own so that it is neither counted nor cut."""

    def __init__(self, service: Service, port: Port) -> None:
        self._service = service
        self._port = port
        self._doors: dict[tuple[str, str], Callable[[Request], Any]] = {
            ("GET", "/control"): self._counters,
            ("POST", "/control"): self._configure,
            ("POST", "/control/reset"): self._reset,
            ("POST", "/control/listen"): self._listen,
            ("GET", "/control/listen"): lambda request: self._port.listening,
            ("GET", "/control/requests"): self._requests,
            ("GET", "/control/log"): lambda request: list(service.log),
        }

    def handle(self, request: Request, connection: Connection) -> Answer:
        """Answer one control request; a bad one gets a 400 with the reason as text."""
        door = self._doors.get((request.method, request.path))
        if door is None:
            return Answer(response(404, b"no such door", content_type=b"text/plain"))
        try:
            return Answer(response(200, json.dumps(door(request)).encode()))
        except (ValueError, TypeError) as error:
            return Answer(response(400, str(error).encode(), content_type=b"text/plain"))

    def _counters(self, request: Request) -> dict[str, Any]:
        return self._service.counters.as_json(self._service.settings.window)

    def _configure(self, request: Request) -> dict[str, Any]:
        self._service.configure(self._service.settings.changed(json.loads(request.body)))
        return asdict(self._service.settings)

    def _reset(self, request: Request) -> None:
        self._service.reset()

    def _listen(self, request: Request) -> None:
        wish = json.loads(request.body)
        if wish["listening"]:
            _keep(asyncio.get_running_loop().create_task(self._port.listen()))
        else:
            self._port.refuse(wish["seconds"], wish["drop"])

    def _requests(self, request: Request) -> list[dict[str, Any]]:
        start, limit = int(request.query.get("offset", 0)), int(request.query.get("limit", 10_000))
        rows = list(self._service.counters.asked.items())[start : start + limit]
        return [{"digest": digest.hex(), "asked": asked, "answered": answered} for digest, (asked, answered) in rows]


async def serve(settings: Settings) -> None:
    """Serve until standard input ends; the first line on standard output says the ports, as JSON."""
    loop = asyncio.get_running_loop()
    service = Service(settings)
    port = Port(service)
    await port.listen()
    control = Control(service, port)
    door = await loop.create_server(lambda: Connection(control.handle, lambda connection, here: None), HOST, 0)
    over = asyncio.Event()

    def on_stdin() -> None:
        if not os.read(sys.stdin.fileno(), 4096):
            over.set()

    loop.add_reader(sys.stdin.fileno(), on_stdin)
    print(json.dumps({"port": port.number, "control_port": door.sockets[0].getsockname()[1]}), flush=True)
    await over.wait()


def main() -> None:
    """Run as ``python -m loopback [SETTINGS AS JSON]``, from the folder above this one."""
    try:
        settings = Settings().changed(json.loads(sys.argv[1]) if len(sys.argv) > 1 else {})
    except (ValueError, TypeError) as error:
        sys.exit(f"loopback: {error}")
    gc.freeze()
    gc.set_threshold(
        50_000, 20, 100
    )  # rows of requests pile up and hold no cycles; walking them again only adds pauses
    try:
        asyncio.run(serve(settings))
    except KeyboardInterrupt:
        pass
