"""A sign of life of a run: one row of its file, renewed each second, for whoever watches from another process.

A thread with a connection of its own writes it, so that the engine pays nothing and a busy event loop is no silence.
It is a fact among the run's others (``meta``), so files of every version of the store can hold it.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from evolteacher.database import Database
from evolteacher.errors import RunError
from evolteacher.progress import Progress

KEY = "heartbeat"
EVERY = 1.0
"""Seconds from one beat to the next."""

STALE = 10.0
"""Seconds without a beat after which nobody is taken to be writing: more than a busy disk takes."""

State = Literal["running", "finished", "stopped"]

_COUNTED_BY_ROUND = ("kept", "rejected", "left")


class Heartbeat:
    """Beats while the block lasts; leaving it says how the run ended. A beat that cannot be written is left out.

    Args:
        path: the run's file, which is there.
        progress: the run's counters.
    """

    def __init__(self, path: Path, progress: Progress) -> None:
        self._path = path
        self._progress = progress
        self._over = threading.Event()
        self._end: State = "finished"
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        """Begin to beat."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Beat a last time."""
        self._end = "finished" if error is None and not self._progress.pending else "stopped"
        self._over.set()
        self._thread.join()

    def _beat(self) -> None:
        with suppress(sqlite3.Error), sqlite3.connect(self._path, timeout=EVERY, isolation_level=None) as database:
            try:
                self._write(database, "running")
                while not self._over.wait(EVERY):
                    self._write(database, "running")
                self._write(database, self._end)
            finally:
                database.close()

    def _write(self, database: sqlite3.Connection, state: State) -> None:
        text = json.dumps({"at": time.time(), "pid": os.getpid(), "state": state, **_to_plain(self._progress)})
        with suppress(sqlite3.OperationalError):  # the disk is full, or the file busy: the next one may be written
            database.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (KEY, text))


@dataclass(frozen=True)
class Beat:
    """The last sign of life of a run.

    Attributes:
        at: when it was given, in seconds since 1970.
        pid: the process that gave it.
        state: what the run was then.
        progress: its counters.
    """

    at: float
    pid: int
    state: State
    progress: Progress

    @property
    def age(self) -> float:
        """Seconds since then."""
        return max(0.0, time.time() - self.at)

    @property
    def stale(self) -> bool:
        """Whether a run that did not end has given no sign for too long: its process died, or is suspended."""
        return self.state == "running" and self.age > STALE

    def to_plain(self) -> dict[str, Any]:
        """Return it as what JSON can hold."""
        state = "stale" if self.stale else self.state
        return {"state": state, "age": self.age, "pid": self.pid, **_to_plain(self.progress)}


def read_beat(database: Database) -> Beat | None:
    """Return a run's last sign of life; None where it never gave one.

    Raises:
        RunError: what lies there is no sign of life.
    """
    found = database.meta(KEY)
    if found is None:
        return None
    try:
        return Beat(float(found["at"]), int(found["pid"]), found["state"], _progress(found))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RunError(f"{database.path}: its heartbeat cannot be read ({error!r}); run the recipe again") from None


def _to_plain(progress: Progress) -> dict[str, Any]:
    found = {each.name: getattr(progress, each.name) for each in fields(progress) if each.name != "started"}
    # A copy of a dictionary is made at once; the run's thread counts on meanwhile.
    plain = {name: dict(value) if isinstance(value, dict) else value for name, value in found.items()}
    return {**plain, "seconds": progress.seconds}


def _progress(found: Mapping[str, Any]) -> Progress:
    names = {each.name for each in fields(Progress)}
    made = Progress(**{name: value for name, value in found.items() if name in names})
    for name in _COUNTED_BY_ROUND:
        setattr(made, name, Counter({int(round): int(number) for round, number in found[name].items()}))
    made.filters = Counter(found["filters"])
    made.started = time.monotonic() - float(found["seconds"])
    return made
