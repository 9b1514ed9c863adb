"""What every source of a model file is: something that completes a partial file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Protocol

from evolteacher.errors import EvolteacherError
from evolteacher_backends.known_models.progress import Progress

_BLOCK = 1 << 18


class SourceError(Exception):
    """This source cannot give the file; another may."""


class Stopped(EvolteacherError):
    """The fetch was told to stop; what has arrived is kept."""


class Source(Protocol):
    """Something that can complete a partial file."""

    label: str

    def fill(self, part: Path, progress: Progress, stop: Event) -> str:
        """Append to ``part`` until the file is whole.

        Returns:
            The SHA-256 that the source states, hexadecimal; empty where it states none.

        Raises:
            SourceError: the source does not answer, or lacks the file.
            OSError: the disk does not take it.
            Stopped: ``stop`` was set.
        """


class Readable(Protocol):
    """A stream of bytes."""

    def read(self, size: int = ..., /) -> bytes:
        """Return up to ``size`` bytes; none at the end."""


def length(path: Path) -> int:
    """Return a file's bytes; 0 where there is none."""
    return path.stat().st_size if path.exists() else 0


def append(part: Path, offset: int, stream: Readable, progress: Progress, total: int | None, stop: Event) -> int:
    """Write a stream into ``part`` from ``offset`` on, cutting off what lies beyond; return the new length."""
    with part.open("r+b" if part.exists() else "wb") as file:
        file.truncate(offset)
        file.seek(offset)
        for block in _blocks(stream, stop):
            file.write(block)
            offset += len(block)
            progress.at(offset, total)
    return offset


def _blocks(stream: Readable, stop: Event) -> Iterator[bytes]:
    while block := stream.read(_BLOCK):
        yield block
        if stop.is_set():
            raise Stopped("stopped; what has arrived is kept")
