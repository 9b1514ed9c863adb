"""What one opening and closing leaves behind in the process."""

from __future__ import annotations

import gc
import multiprocessing
import os
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Leftovers:
    """What there is in the process after a backend was closed.

    Attributes:
        tasks: those on its event loop, described.
        warned: what Python said of things that were never closed (``ResourceWarning``).
        threads: by identity, with their names.
        files: open files and sockets, described; empty where the system does not list them.
        processes: children of ``multiprocessing``, by process id, with their names.
    """

    tasks: tuple[str, ...]
    warned: tuple[str, ...]
    threads: dict[int, str]
    files: tuple[str, ...]
    processes: dict[int, str]


def live_once(life: Callable[[], list[str]], grace: float) -> Leftovers:
    """Carry out one opening and closing, and look around afterwards.

    Args:
        life: carries it out, and returns the tasks that were left.
        grace: seconds that threads and processes are given to end.
    """
    gc.collect()  # what others left is theirs
    threads, processes = set(_threads()), set(_processes())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tasks = life()
        gc.collect()
    deadline = time.monotonic() + grace
    while (_threads().keys() - threads or _processes().keys() - processes) and time.monotonic() < deadline:
        time.sleep(0.01)
    warned = tuple(str(each.message) for each in caught if issubclass(each.category, ResourceWarning))
    return Leftovers(tuple(tasks), warned, _threads(), _files(), _processes())


def describe_growth(first: Leftovers, second: Leftovers) -> list[str]:
    """Say what two openings left.

    Libraries start threads, processes and connections once for a whole process, so of these only what the second
    opening added counts.
    """
    found = [f"tasks: {', '.join(left)}" for left in (first.tasks or second.tasks,) if left]
    found += [f"never closed: {', '.join(left)}" for left in (first.warned or second.warned,) if left]
    for what, before, after in (
        ("threads", first.threads, second.threads),
        ("processes", first.processes, second.processes),
    ):
        more = [name for each, name in after.items() if each not in before]
        if more:
            found.append(f"{what}: {', '.join(more)}")
    if len(second.files) > len(first.files):
        more = sorted(set(second.files) - set(first.files))
        found.append(f"{len(second.files) - len(first.files)} more open files or sockets, among {', '.join(more)}")
    return found


def _threads() -> dict[int, str]:
    return {id(thread): thread.name for thread in threading.enumerate()}


def _processes() -> dict[int, str]:
    return {child.pid or 0: child.name for child in multiprocessing.active_children()}


def _files() -> tuple[str, ...]:
    """Return what the process has open, as Linux and macOS list it."""
    for folder in (Path("/proc/self/fd"), Path("/dev/fd")):
        if folder.is_dir():
            return tuple(filter(None, (_target(folder / name) for name in os.listdir(folder))))
    return ()


def _target(link: Path) -> str:
    """Return what a file descriptor leads to; nothing for that by which the folder itself was listed."""
    try:
        return os.readlink(link)
    except FileNotFoundError:
        return ""
    except OSError:
        return link.name
