"""One run folder, one writer: a lock that a crash releases."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from evolteacher.errors import RunError


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; the operating system lets go of it when the process ends, however it ends.

    Raises:
        RunError: another process writes here, with its process id; or the folder cannot be locked at all.
    """
    path = folder / "run.lock"
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise RunError(f"{folder}: cannot be written: {error.strerror}; choose another folder with --out") from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(handle, 32, 0).decode("ascii", "replace").strip()
            by = f" (process {holder})" if holder else ""
            raise RunError(
                f"{folder}: another run is writing here{by}; wait for it, stop it, or choose another folder with --out"
            ) from None
        except OSError as error:
            raise RunError(
                f"{folder}: this file system gives no locks ({error.strerror}); choose a folder on another with --out"
            ) from None
        with suppress(OSError):  # a full disk: the number is for people, the lock holds without it
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)
