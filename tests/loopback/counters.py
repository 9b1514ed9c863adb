"""What the provider saw and sent, in numbers that a test can reconcile."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from loopback.wire import Ending


class Counters:
    """Counts, kept by the server alone.

    As JSON (``provider.counters()``):

    - ``connections``, ``open_connections``: of the provider's port; the control port is not counted.
    - ``requests``: whole requests that arrived. At any moment
      ``requests == sum(outcomes) == sum(sent) + sum(cut) + sum(lost) + in_flight``.
    - ``outcomes``: what was decided for each on arrival: ``ok`` (a chat completion), the name of a fault, ``limited``
      (429 of a limit), ``models``, ``files``, ``batches``, or the fault's name for a request that earned it: ``401``
      (wrong key), ``404`` (unknown model), ``too-long``, ``400`` (not a request), ``404-path``.
    - ``sent``, ``cut``, ``lost``: how their answers ended, by the same names: all bytes handed to the kernel, cut on
      purpose, or the client went away first.
    - ``bytes_sent``: of the answers sent and cut.
    - ``in_flight``, ``most_in_flight``: requests whose answer is not out yet.
    - ``first_request``, ``last_answer``: by :func:`time.monotonic`, which the processes of one machine share.
    - ``accepted``: chat requests that no limit, key or model turned away. ``accepted_by_second`` and
      ``accepted_by_window``: the same by whole seconds, and by windows, since the first request.
    - ``chats``: chat requests that could be read, lines of batches included. ``distinct``: as many of them as have
      messages of their own.
    - ``batches``: batches created. ``batch_lines``: what became of their lines, by name: ``ok``, a fault, ``400`` and
      the like, ``batch_expired``, ``batch_cancelled``. Each line that was worked on counts as asked in ``requests()``.
    - ``cpu_seconds``: processor time of the server's process.
    """

    def __init__(self) -> None:
        self.connections = 0
        self.open_connections = 0
        self.requests = 0
        self.outcomes: Counter[str] = Counter()
        self.endings: dict[str, Counter[str]] = {"sent": Counter(), "cut": Counter(), "lost": Counter()}
        self.bytes_sent = 0
        self.in_flight = 0
        self.most_in_flight = 0
        self.first_request: float | None = None
        self.last_answer: float | None = None
        self.accepted_by_second: Counter[int] = Counter()
        self.chats = 0
        self.asked: dict[bytes, list[int]] = {}
        self.batches = 0
        self.batch_lines: Counter[str] = Counter()

    def arrived(self) -> None:
        """Count a request as in flight."""
        self.requests += 1
        self.in_flight += 1
        if self.in_flight > self.most_in_flight:
            self.most_in_flight = self.in_flight
        if self.first_request is None:
            self.first_request = time.monotonic()

    def asks(self, digest: bytes) -> int:
        """Count a chat request, and return how often it was asked before."""
        self.chats += 1
        row = self.asked.get(digest)
        if row is None:
            self.asked[digest] = [1, 0]
            return 0
        row[0] += 1
        return row[0] - 1

    def accepted(self) -> None:
        """Count a chat request that was let in."""
        self.accepted_by_second[int(time.monotonic() - (self.first_request or 0.0))] += 1

    def left(self, kind: str, digest: bytes | None, how: Ending, sent: int) -> None:
        """Count the end of an answer; ``digest`` is given where it was a good one to a chat request."""
        self.in_flight -= 1
        self.endings[how][kind] += 1
        self.bytes_sent += sent
        if how != "lost":
            self.last_answer = time.monotonic()
        if digest is not None and how == "sent":
            self.asked[digest][1] += 1

    def as_json(self, window: float) -> dict[str, Any]:
        """Return everything but the rows of the distinct requests."""
        by_window: Counter[int] = Counter()
        for second, number in self.accepted_by_second.items():
            by_window[int(second // window)] += number
        return {
            "connections": self.connections,
            "open_connections": self.open_connections,
            "requests": self.requests,
            "outcomes": self.outcomes,
            **self.endings,
            "bytes_sent": self.bytes_sent,
            "in_flight": self.in_flight,
            "most_in_flight": self.most_in_flight,
            "first_request": self.first_request,
            "last_answer": self.last_answer,
            "accepted": sum(self.accepted_by_second.values()),
            "accepted_by_second": _row(self.accepted_by_second),
            "accepted_by_window": _row(by_window),
            "chats": self.chats,
            "distinct": len(self.asked),
            "batches": self.batches,
            "batch_lines": self.batch_lines,
            "cpu_seconds": time.process_time(),
        }


def _row(counts: Counter[int]) -> list[int]:
    return [counts[index] for index in range(max(counts, default=-1) + 1)]
