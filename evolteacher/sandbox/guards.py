"""Which of the sandbox's guards are active on this machine, found out by building them once."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from functools import cache
from typing import Any

from evolteacher.errors import SandboxError
from evolteacher.sandbox import launch

NAMESPACES = frozenset({"user", "pid", "net", "ipc", "mount"})

BASE: dict[str, Any] = {
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
    """One guard: its name, whether it is active here, and why not."""

    name: str
    active: bool
    why: str = ""


@cache
def walls_here(namespaces: bool) -> tuple[frozenset[str], dict[str, str]]:
    """Find the most walls that can be built here; return them, and for each other one the reason."""
    why: dict[str, str] = {}
    if sys.platform != "linux":
        return frozenset(), dict.fromkeys((*NAMESPACES, "nobody"), "only Linux has it")
    nobody = {"nobody"} if os.geteuid() == 0 else set()
    ladder: list[set[str]] = []
    if namespaces:
        for spaces in (NAMESPACES, NAMESPACES - {"mount"}, {"user", "pid"}):
            ladder += [nobody | spaces, set(spaces)] if nobody else [set(spaces)]
    ladder += [nobody, set()] if nobody else [set()]
    for rung in ladder:
        reason = _fault(frozenset(rung)) if rung else ""
        if not reason:
            return frozenset(rung), {wall: why.get(wall, "") for wall in {*NAMESPACES, "nobody"} - rung}
        for wall in rung:
            why.setdefault(wall, reason)
    raise AssertionError("the last rung needs no wall")


def _fault(walls: frozenset[str]) -> str:
    job = {**BASE, "walls": walls, "readable": launch.readable([])}
    try:
        ((result,),) = launch.run_now(job)
    except SandboxError as error:
        return str(error)
    return "" if result.passed else f"the standard library cannot be used there: {result.reason}"


def guards(*, namespaces: bool = True) -> tuple[Guard, ...]:
    """Say which guards are active on this machine."""
    walls, why = walls_here(namespaces)
    return tuple(Guard(name, name in walls, why.get(name, "")) for name in (*sorted(NAMESPACES), "nobody"))
