"""The sandbox as its users see it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from evolteacher.errors import SandboxError
from evolteacher.sandbox import launch
from evolteacher.sandbox.guards import NAMESPACES, Guard, guards, most_processes, walls_here
from evolteacher.sandbox.result import CheckResult


class Sandbox(BaseModel):
    """Runs untrusted Python behind limits and walls; every check has the same.

    What it stops, everywhere: endless loops, sleep and output; a process or a file that takes all memory or disk;
    more open files than allowed; reading the environment or the descriptors of this process; a verdict that is faked
    by what is printed, by an exit code, by ``SystemExit``, or by replacing functions; tracing the process that
    judges. On Linux also processes that stay, in a session of their own or not. With Linux namespaces, which any user
    may make unless the system forbids it, also: fork bombs, the network, seeing or signalling processes outside, and
    reading or writing files, but for the standard library and an empty folder. :meth:`guards` says which of these
    hold here.

    What it does not stop: code that walks the frames, or searches the memory, of the interpreter in which it runs
    together with its tests; code whose objects lie to a test (equal to everything); faults of the kernel, as system
    calls are not filtered; and using the processor while its seconds last. Without namespaces: a fork bomb of root's,
    the network, the files and processes that this user may reach, and a grandchild that forks and leaves faster than
    it can be found. macOS has no namespaces, holds nothing to a limit of memory, and does not find a grandchild that
    has begun a session of its own. docs/sandbox.md lists what was tried, and what came of it.

    A check costs less than an interpreter's start where a PID namespace holds: it runs in a forked copy of one clean
    interpreter. That is as safe as starting one, because the original never runs, compiles or parses anything
    untrusted, and a copy goes behind its walls before it does; from there neither the original nor another copy can
    be seen, signalled or traced. Without a PID namespace, each check starts an interpreter of its own. Either way it
    is isolated as by ``python -I``, without ``site``, and with fixed string hashes, so that a check comes out the
    same each time.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    seconds: float = Field(5.0, gt=0, le=3600, description="Processor seconds for one code with one suite.")
    wall_seconds: float | None = Field(
        None, gt=0, le=36_000, description="Seconds by the clock; by default four times `seconds`, for busy machines."
    )
    memory_mb: int = Field(1024, ge=64, description="Most address space of one process, in MiB.")
    processes: int = Field(32, ge=1, description="Most processes and threads of one check.")
    file_mb: int = Field(16, ge=1, description="Most that can be written, in MiB.")
    open_files: int = Field(64, ge=16, description="Most open files of one process.")
    output_bytes: int = Field(4096, ge=0, description="How much of what is printed is kept.")
    packages: bool = Field(False, description="Let the code import installed packages, not the standard library alone.")
    namespaces: Literal["auto", "required", "off"] = Field(
        "auto", description="Whether to use Linux namespaces: where there are any, always (else an error), or never."
    )
    fresh: bool = Field(
        False, description="Start an interpreter for each check, also where a copy of a clean one does."
    )

    def identity(self) -> str:
        """Return what decides verdicts, for fingerprints: the limits, and never the machine."""
        values = self.model_dump(exclude={"namespaces", "fresh"}) | {"wall_seconds": self._wall()}
        return " ".join(["sandbox-1", *(f"{name}={value}" for name, value in values.items())])

    def guards(self) -> tuple[Guard, ...]:
        """Say which guards hold here, and why the others do not; the first call tries them, in a tenth of a second."""
        return guards(namespaces=self.namespaces != "off")

    def caution(self) -> str:
        """Say which namespaces do not hold here, though they were not turned off; empty where all do."""
        lost = [guard.name for guard in self.guards() if guard.name in NAMESPACES and not guard.active]
        if not lost or self.namespaces == "off":
            return ""
        return f"code is run without these guards here: {', '.join(lost)}. `evolteacher doctor` says what that means"

    async def check(self, code: str, suites: Sequence[str]) -> tuple[CheckResult, ...]:
        """Run one code with several suites of tests, in one interpreter start; each pair in a process of its own.

        Args:
            code: a module's source. It is loaded under the name ``answer``; a ``__main__`` block does not run.
            suites: sources that run one after the other's end, each in the loaded module's own namespace, as if written
                below the code. A suite passes when it ends without an exception.

        Returns:
            One result a suite, in their order. A code that cannot be loaded has the same one for all.

        Raises:
            SandboxError: the sandbox itself could not be built.
        """
        (results,) = await self.matrix([code], suites)
        return results

    async def matrix(self, codes: Sequence[str], suites: Sequence[str]) -> tuple[tuple[CheckResult, ...], ...]:
        """Run several codes (an answer, a stub, mutants) with the same suites, in one interpreter start.

        Returns:
            One row a code, one result a suite in each.

        Raises:
            SandboxError: the sandbox itself could not be built.
        """
        if not codes or not suites:
            return tuple(() for _ in codes)
        try:
            rows = await launch.run(self._job(codes, suites), fresh=self.fresh)
        except OSError as error:
            raise SandboxError(
                f"the sandbox cannot be started: {error.strerror or error}. Free what is short (open files: "
                "`ulimit -n`; processes; memory; disk), and run the same command again: what was worked out is stored"
            ) from error
        return tuple(tuple(row) for row in rows)

    def _wall(self) -> float:
        return 4 * self.seconds if self.wall_seconds is None else self.wall_seconds

    def _job(self, codes: Sequence[str], suites: Sequence[str]) -> dict[str, Any]:
        walls, why = walls_here(self.namespaces != "off")
        if self.namespaces == "required" and not walls >= NAMESPACES:
            missing = min(NAMESPACES - walls)
            raise SandboxError(f"the sandbox has no '{missing}' namespace here: {why[missing]}")
        packages = launch.site_packages() if self.packages else []
        mebibyte = 1 << 20
        return {
            "codes": [_sendable(code) for code in codes],
            "suites": [_sendable(suite) for suite in suites],
            "walls": walls,
            "readable": launch.readable(packages),
            "packages": packages,
            "seconds": self.seconds,
            "wall_seconds": self._wall(),
            "megabytes": self.file_mb,
            "output": self.output_bytes,
            "message": 2000,
            "limits": {
                "AS": self.memory_mb * mebibyte,
                "CPU": math.ceil(self.seconds) + 1,
                "NPROC": most_processes(self.processes, walls),
                "FSIZE": self.file_mb * mebibyte,
                "NOFILE": self.open_files,
                "CORE": 0,
            },
        }


def _sendable(text: str) -> str:
    """Replace lone surrogates, which no Python source can hold."""
    return text.encode("utf-8", "replace").decode("utf-8")
