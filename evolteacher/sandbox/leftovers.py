"""Gets rid of what untrusted code leaves: processes and files.

This module is sent to the sandboxed interpreter as code, so it imports little: each module costs every check time.
"""

from __future__ import annotations

import os
import time

from evolteacher.sandbox.walls import KILL


def kill_all(pid: int, *, alone: bool) -> None:
    """Kill the child and whatever it has started, and reap them all.

    Args:
        pid: the child, whose session and process group have its number.
        alone: this is process 1 of a PID namespace.
    """
    if alone and os.getpid() == 1:
        try:
            os.kill(-1, KILL)  # everything in this PID namespace but process 1
        except ProcessLookupError:
            return
        _reap(0)
        return
    for _ in range(1000):
        try:
            os.killpg(pid, KILL)
        except OSError:
            pass
        for orphan in _adopted():
            try:
                os.kill(orphan, KILL)
            except OSError:
                pass
        if _reap(os.WNOHANG):
            return
        time.sleep(0.001)


def _reap(how: int) -> bool:
    """Reap every child that has ended; say whether there is none left."""
    try:
        while os.waitpid(-1, how)[0]:
            pass
    except ChildProcessError:
        return True
    return False


def _adopted() -> list[int]:
    """Return this process's children, among them descendants whose parent has ended (Linux)."""
    try:
        with open(f"/proc/self/task/{os.getpid()}/children") as children:
            return [int(word) for word in children.read().split()]
    except OSError:
        return []


def empty(folder: int) -> None:
    """Delete all that a folder holds, however deep and whatever is linked from it.

    What lies two levels down moves up first, so that neither recursion nor a path's length sets a limit.

    Args:
        folder: an open descriptor.
    """
    while names := os.listdir(folder):
        for name in names:
            try:
                os.unlink(name, dir_fd=folder)
                continue
            except (IsADirectoryError, PermissionError):
                inner = _opened(name, folder)
            for low in os.listdir(inner):
                try:
                    os.unlink(low, dir_fd=inner)
                except (IsADirectoryError, PermissionError):
                    os.close(_opened(low, inner))
                    os.rename(low, os.urandom(16).hex(), src_dir_fd=inner, dst_dir_fd=folder)
            os.close(inner)
            os.rmdir(name, dir_fd=folder)


def _opened(name: str, folder: int) -> int:
    os.chmod(name, 0o700, dir_fd=folder)
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
