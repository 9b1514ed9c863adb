"""Which of the sandbox's guards hold on this machine, found out by building them once."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

from evolteacher.errors import SandboxError
from evolteacher.sandbox import launch

STOPS: dict[str, str] = {
    "session": "a child that stays: session and process group are killed whole",
    "environment": "reading the environment that evolteacher was started in, keys included",
    "descriptors": "reading and writing what evolteacher has open",
    "folder": "files left behind: the working folder is new, and is deleted",
    "cpu": "an endless loop",
    "memory": "taking all memory",
    "processes": "a fork bomb",
    "file-size": "filling the disk with one file",
    "open-files": "taking all descriptors",
    "supervisor": "tracing the process that judges, or reading its memory",
    "orphans": "a process that leaves its session to outlive the check",
    "nobody": "using the rights of root: root's sandbox runs as the user nobody",
    "user": "gaining rights: a namespace without capabilities, in which no other can be made",
    "pid": "seeing and signalling any process outside; all inside die with the first",
    "net": "the network, the machine's own ports included",
    "ipc": "System V shared memory and message queues of other processes",
    "mount": "reading and writing files: a root folder with the standard library, read-only, and a small /tmp",
}
"""Each guard and what it stops."""

NAMESPACES = frozenset({"user", "pid", "net", "ipc", "mount"})

_LINUX = frozenset({"supervisor", "orphans", "nobody"}) | NAMESPACES

_PROBE: dict[str, Any] = {
    "codes": ["import decimal"],
    "suites": ["import fractions"],
    "packages": [],
    "seconds": 10.0,
    "wall_seconds": 20.0,
    "megabytes": 16,
    "output": 0,
    "message": 300,
    "limits": {},
}


@dataclass(frozen=True, slots=True)
class Guard:
    """One guard of the sandbox on this machine.

    Attributes:
        name: one word.
        stops: what it stops.
        active: whether it holds here.
        why: why it does not; empty where it does.
    """

    name: str
    stops: str
    active: bool
    why: str = ""


def guards(*, namespaces: bool = True) -> tuple[Guard, ...]:
    """Say which guards hold here.

    Args:
        namespaces: whether those may be used.
    """
    walls, why = walls_here(namespaces)
    why = {**why, **_portable(walls)}
    held = {name: name in walls or (name not in why and name not in NAMESPACES | {"nobody"}) for name in STOPS}
    return tuple(Guard(name, stops, held[name], "" if held[name] else why[name]) for name, stops in STOPS.items())


def _portable(walls: frozenset[str]) -> dict[str, str]:
    """Return why guards that need no wall do not hold here."""
    why: dict[str, str] = {}
    if sys.platform != "linux":
        why |= dict.fromkeys(_LINUX, "only Linux has it")
        why["memory"] = "macOS does not hold a process to a limit of its address space"
    if os.geteuid() == 0 and "nobody" not in walls:
        why["processes"] = "root is held to no number of processes"
    return why


@cache
def walls_here(namespaces: bool) -> tuple[frozenset[str], dict[str, str]]:
    """Find the most walls that can be built here; return them, and for each other one the reason."""
    every = NAMESPACES | {"nobody"}
    if sys.platform != "linux":
        return frozenset(), dict.fromkeys(every, "only Linux has it")
    why = {} if namespaces else dict.fromkeys(NAMESPACES, "the option `namespaces` is off")
    root = os.geteuid() == 0
    if not root:
        why["nobody"] = "only root needs to become another user"
    for rung in _ladder(root, namespaces):
        reason = _fault(rung) if rung else ""
        if not reason:
            return rung, {wall: why[wall] for wall in every - rung}
        for wall in rung:
            why[wall] = reason
    raise AssertionError("the last rung needs no wall")


def _ladder(root: bool, namespaces: bool) -> list[frozenset[str]]:
    """List what to try, the best first. What is not tried alone fails for the reason of the first that held it."""
    rungs = [NAMESPACES, NAMESPACES - {"net"}, NAMESPACES - {"mount"}, frozenset({"user", "pid"})] if namespaces else []
    both = [[rung | {"nobody"}, rung] if root else [rung] for rung in [*rungs, frozenset[str]()]]
    return [rung for pair in both for rung in pair]


def _fault(walls: frozenset[str]) -> str:
    """Say why these walls cannot be built together, or why nothing runs behind them; empty where all is well."""
    try:
        ((result,),) = launch.run_now({**_PROBE, "walls": walls, "readable": launch.readable([])})
    except SandboxError as error:
        return str(error).removeprefix("the sandbox failed: ")
    return "" if result.passed else f"the standard library cannot be read there ({result.reason})"


def most_processes(wanted: int, walls: frozenset[str]) -> int:
    """Return the limit to set so that a check may have so many processes, however the kernel counts.

    Since Linux 5.14 it counts those of a user namespace; else all of the user's, wherever they come from, and other
    checks that run at the same time are among them.
    """
    if "user" in walls and _kernel() >= (5, 14):
        return wanted
    return wanted * launch.cores() + (0 if "nobody" in walls else _running())


def _kernel() -> tuple[int, int]:
    major, minor = platform.release().split(".")[:2]
    return int(major), int("".join(char for char in minor if char.isdigit()) or 0)


def _running() -> int:
    """Count the threads of this user, or the processes where threads are not listed."""
    user, count = os.getuid(), 0
    if sys.platform != "linux":
        listed = subprocess.run(["ps", "-U", str(user), "-o", "pid="], capture_output=True, check=False)
        return len(listed.stdout.splitlines())
    for entry in os.scandir("/proc"):
        with suppress(OSError):  # it may have ended meanwhile
            if entry.name.isdigit() and entry.stat().st_uid == user:
                count += len(os.listdir(f"{entry.path}/task"))
    return count
