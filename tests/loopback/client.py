"""The test's side: starts the server's process, talks to its control port, and always ends it."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from loopback.server import HOST
from loopback.settings import Rule, Settings

_FOLDER = Path(__file__).resolve().parents[1]


class Provider:
    """A provider in a process of its own; a context manager.

    Args:
        settings: options of :class:`loopback.settings.Settings`, as a mapping or by name.

    Raises:
        ValueError: an option is unknown or cannot be so.
    """

    def __init__(self, settings: Mapping[str, Any] | None = None, /, **options: Any) -> None:
        self._settings = _plain({**(settings or {}), **options})
        Settings().changed(self._settings)
        self._process: subprocess.Popen[str] | None = None
        self.port = 0
        self._control_port = 0

    def __enter__(self) -> Self:
        # A bare interpreter: the server needs no installed package, and starts in half the time without looking.
        command = [sys.executable, "-E", "-S", "-m", "loopback", json.dumps(self._settings)]
        self._process = subprocess.Popen(
            command, cwd=_FOLDER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            self.stop()
            raise RuntimeError(f"the loopback provider did not start (exit code {code}); standard error says why")
        ports = json.loads(line)
        self.port, self._control_port = ports["port"], ports["control_port"]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The base URL: ``http://127.0.0.1:PORT/v1``."""
        return f"http://{HOST}:{self.port}/v1"

    @property
    def pid(self) -> int:
        """The server's process id."""
        assert self._process is not None, "the provider runs inside its with block"
        return self._process.pid

    def stop(self) -> None:
        """End the process; safe to call twice."""
        process, self._process = self._process, None
        if process is None:
            return
        with process:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()

    def configure(self, **changes: Any) -> dict[str, Any]:
        """Change settings from now on; returns all of them.

        Raises:
            ValueError: an option is unknown or cannot be so; nothing has changed then.
        """
        settings: dict[str, Any] = self._ask("POST", "/control", _plain(changes))
        return settings

    def counters(self) -> dict[str, Any]:
        """Return the counters as they stand; :class:`loopback.counters.Counters` says what each means."""
        counters: dict[str, Any] = self._ask("GET", "/control")
        return counters

    def wait_idle(self, timeout: float = 10.0) -> dict[str, Any]:
        """Wait until no request is in flight, and return the counters.

        Raises:
            TimeoutError: some still are after so many seconds.
        """
        deadline = time.monotonic() + timeout
        while (counters := self.counters())["in_flight"]:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{counters['in_flight']} requests are still in flight after {timeout:g} s")
            time.sleep(0.005)
        return counters

    def requests(self) -> list[dict[str, Any]]:
        """Return a row for each distinct chat request, in order of first arrival.

        ``digest`` in hexadecimal digits, ``asked`` so many times, ``answered`` so many times (a good answer, in full).
        """
        rows: list[dict[str, Any]] = []
        while page := self._ask("GET", f"/control/requests?offset={len(rows)}&limit=20000"):
            rows += page
        return rows

    def log(self) -> list[dict[str, Any]]:
        """Return the last ``keep`` requests: ``at`` (monotonic), ``method path headers body outcome``."""
        requests: list[dict[str, Any]] = self._ask("GET", "/control/log")
        return requests

    def reset(self) -> None:
        """Forget counters, log, what limits let in and how often rules hit; settings, files and batches stay."""
        self._ask("POST", "/control/reset")

    def stop_listening(self, seconds: float | None = None, *, drop: bool = True) -> None:
        """Refuse connections, for so many seconds or until :meth:`listen_again`.

        Args:
            seconds: how long; None for no end.
            drop: cut the connections that are open, as a server that dies; else they live on.
        """
        self._ask("POST", "/control/listen", {"listening": False, "seconds": seconds, "drop": drop})

    def listen_again(self) -> None:
        """Accept connections again, on the same port."""
        self._ask("POST", "/control/listen", {"listening": True})
        while not self._ask("GET", "/control/listen"):
            time.sleep(0.002)

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        connection = http.client.HTTPConnection(HOST, self._control_port, timeout=30)
        try:
            connection.request(method, path, json.dumps(body) if method == "POST" else None)
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        if answer.status != 200:
            raise ValueError(text)
        return json.loads(text)


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options as JSON takes them."""
    return {name: [_rule(rule) for rule in value] if name == "script" else value for name, value in options.items()}


def _rule(rule: Rule | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(rule, Rule):
        return {name: getattr(rule, name) for name in Rule.__dataclass_fields__}
    return dict(rule)
