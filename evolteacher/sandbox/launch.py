"""Starts the sandboxed interpreter, hands it a job, hears the verdicts, and sees that nothing of it is left."""

from __future__ import annotations

import asyncio
import marshal
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import weakref
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from evolteacher.errors import SandboxError
from evolteacher.sandbox.result import CheckResult, read_verdict
from evolteacher.sandbox.walls import NOBODY

PYTHON = os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)
"""The interpreter below any virtual environment: the same version, so that it takes code compiled here."""

FLAGS = ("-P", "-s", "-S", "-B", "-X", "utf8")
"""With an environment of our own these are ``-I`` and no ``site``, but for the one variable that ``-I`` would hide."""

ENVIRONMENT = {"PYTHONHASHSEED": "0"}
"""Sets have the same order in each check, or else the same code might pass today and fail tomorrow."""

_BOOT = """
import builtins, marshal, sys
modules, job = marshal.load(open(0, "rb", closefd=False))
for name, code in modules:
    module = sys.modules[name] = type(sys)(name)
    module.__builtins__ = dict(vars(builtins))
    exec(code, module.__dict__)
module.main(job)
"""
"""What the interpreter is started with. Our modules have builtins of their own, which no answer replaces."""

_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/share/zoneinfo", "/etc/ld.so.cache", "/etc/localtime")

_PLACES = ("/tmp", "/work", "/sandbox")
"""Where the folder to work in may be in a root of its own: /tmp, unless Python or its packages are there."""

_GRACE = 30.0
"""Seconds that a sandbox may live beyond all its checks' time before an alarm ends it."""

_slots: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = weakref.WeakKeyDictionary()


@cache
def modules() -> list[tuple[str, Any]]:
    """Compile what is sent to the sandbox, once."""
    here = Path(__file__).parent
    return [
        (f"{__package__}.{name}", compile((here / f"{name}.py").read_text("utf-8"), f"<{name}>", "exec"))
        for name in ("walls", "leftovers", "child", "inside")
    ]


def site_packages() -> list[str]:
    """Return the folders of installed packages of this interpreter."""
    return [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]


def readable(packages: Sequence[str]) -> list[str]:
    """Return what must exist in the sandbox's root: the standard library, what it links to, and packages."""
    python = [sysconfig.get_path("stdlib"), f"{sys.base_prefix}/lib", f"{sys.base_exec_prefix}/lib", PYTHON]
    paths: list[str] = []
    for path in sorted({os.path.realpath(path) for path in (*python, *_LIBRARIES, *packages) if os.path.exists(path)}):
        if not any(path.startswith(f"{other}/") for other in paths):
            paths.append(path)
    return paths


def cores() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@asynccontextmanager
async def slot() -> AsyncIterator[None]:
    """Wait for one of as many places as there are cores."""
    places = _slots.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(cores()))
    async with places:
        yield


@contextmanager
def workplace(job: dict[str, Any]) -> Iterator[str]:
    """Name the folder that the code may write to; where it is on the disk, it is gone afterwards."""
    walls = job["walls"]
    if "mount" in walls:
        yield next(place for place in _PLACES if not any(path.startswith(place) for path in job["readable"]))
        return
    folder = tempfile.mkdtemp(prefix="evolteacher-sandbox-")
    try:
        if "nobody" in walls:
            _give_away(folder)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _give_away(folder: str) -> None:
    try:
        os.chown(folder, NOBODY, NOBODY)
    except OSError as error:
        raise SandboxError(f"the sandbox failed: the user nobody cannot own a folder: {error.strerror}") from None


async def run(job: dict[str, Any], *, fresh: bool) -> list[list[CheckResult]]:
    """Carry out a job; return, for each code, what came of each suite.

    Where the supervisor ended before it had told all, it is carried out once more, since a machine without memory does
    that, too; only what ends it again is a verdict on the code.

    Cancelled, it first sees that nothing of the sandbox is left.

    Args:
        job: what :mod:`evolteacher.sandbox.inside` carries out.
        fresh: start an interpreter for it, also where a copy of a clean one could not be told from that.

    Raises:
        SandboxError: the sandbox could not be built.
        OSError: the system lacks what it takes to start it.
    """
    running = await _carry_out(job, fresh)
    if running.cut_short():
        running = await _carry_out(job, fresh)
    return running.results()


async def _carry_out(job: dict[str, Any], fresh: bool) -> _Running:
    async with slot():
        with workplace(job) as folder:
            running = _Running({**job, "work": folder}, fresh=fresh or "pid" not in job["walls"])
            try:
                await running.finish()
            finally:
                await asyncio.shield(running.end())
    return running


def run_now(job: dict[str, Any]) -> list[list[CheckResult]]:
    """Do as :func:`run` does, outside of any event loop."""
    with workplace(job) as folder:
        running = _Running({**job, "work": folder})
        running.finish_now()
    return running.results()


class _Running:
    """One sandboxed interpreter, from its start to its end."""

    def __init__(self, job: dict[str, Any], *, fresh: bool = True) -> None:
        self.job = job
        self.told: dict[tuple[int, int], CheckResult] = {}
        self.heard = bytearray()
        self.fault = ""
        self.children: set[int] = set()
        lifetime = job["wall_seconds"] * len(job["codes"]) * len(job["suites"]) + _GRACE
        job = {**job, "lifetime": lifetime}
        self._start(fresh)
        self.fresh = fresh
        self.data = marshal.dumps((modules(), job) if fresh else job)

    def _start(self, fresh: bool) -> None:
        with ExitStack() as ours, ExitStack() as theirs:
            asked, self.control = os.pipe()
            theirs.callback(os.close, asked)
            ours.callback(os.close, self.control)
            self.answers, answered = os.pipe()
            theirs.callback(os.close, answered)
            ours.callback(os.close, self.answers)
            self.process = start(asked, answered) if fresh else clean_copy(asked, answered)
            ours.pop_all()

    async def finish(self) -> None:
        """Hand the job over and hear all verdicts."""
        loop = asyncio.get_running_loop()
        os.set_blocking(self.control, False)
        rest = memoryview(self.data)
        while rest:
            try:
                rest = rest[os.write(self.control, rest) :]
            except BlockingIOError:
                await _ready(loop, self.control, loop.add_writer, loop.remove_writer)
            except BrokenPipeError:
                break
        await self._hear()

    async def _hear(self) -> None:
        loop = asyncio.get_running_loop()
        os.set_blocking(self.answers, False)
        while True:
            try:
                more = os.read(self.answers, 1 << 16)
            except BlockingIOError:
                await _ready(loop, self.answers, loop.add_reader, loop.remove_reader)
                continue
            if not more:
                return
            self.read(more)

    def finish_now(self) -> None:
        """Do all of it while the caller waits."""
        try:
            with suppress(BrokenPipeError):
                os.write(self.control, self.data)
            while more := os.read(self.answers, 1 << 16):
                self.read(more)
        finally:
            os.close(self.control)
            self._bury()

    async def end(self) -> None:
        """See that nothing is left: whoever is inside ends when nobody listens, and what does not is killed."""
        os.close(self.control)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._hear(), 5)
        self._bury()

    def _bury(self) -> None:
        for group in {self.process.pid, *self.children} if self.fresh else self.children:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)
        os.close(self.answers)
        if self.fresh:
            self.process.wait()

    def read(self, more: bytes) -> None:
        """Take in what the supervisor tells: ``R`` a verdict, ``P`` a child's process, ``W`` a wall that fell."""
        self.heard += more
        while (newline := self.heard.find(b"\n")) >= 0:
            kind, *words = self.heard[:newline].decode("utf-8", "replace").split(" ")
            if kind != "R":
                self.fault = " ".join(words) if kind == "W" else self.fault
                self.children = {int(words[0])} if kind == "P" else self.children
                del self.heard[: newline + 1]
                continue
            i, j, size, output = map(int, words)
            begin, middle = newline + 1, newline + 1 + size
            if len(self.heard) < middle + output:
                return
            self.told[i, j] = read_verdict(bytes(self.heard[begin:middle]), bytes(self.heard[middle : middle + output]))
            del self.heard[: middle + output]

    def cut_short(self) -> bool:
        """Whether the supervisor ended without a word of why, and verdicts are missing."""
        return not self.fault and len(self.told) < len(self.job["codes"]) * len(self.job["suites"])

    def results(self) -> list[list[CheckResult]]:
        """Return what was told; what was not, because the supervisor ended, has died."""
        if self.fault:
            raise SandboxError(f"the sandbox failed: {self.fault}")
        if self.process.poll() is not None and not self.fresh:
            raise SandboxError("the sandbox's clean interpreter was killed; the same call starts another")
        dead = CheckResult("died", "suite", message="the whole sandbox ended early")
        rows, columns = range(len(self.job["codes"])), range(len(self.job["suites"]))
        return [[self.told.get((i, j), dead) for j in columns] for i in rows]


def start(stdin: int, stdout: int) -> subprocess.Popen[bytes]:
    """Start an interpreter that has nothing of this process but two descriptors."""
    return subprocess.Popen(
        [PYTHON, *FLAGS, "-c", _BOOT],
        stdin=stdin,
        stdout=stdout,
        stderr=subprocess.DEVNULL,
        env=ENVIRONMENT,
        cwd="/",
        start_new_session=True,
        bufsize=0,
    )


class _Clean:
    """An interpreter that has run nothing of anybody's, and never will: for each job it makes a copy of itself.

    It ends when its socket does, with this process at the latest.
    """

    def __init__(self) -> None:
        self.owner = os.getpid()
        asked, control = os.pipe()
        self.socket, theirs = socket.socketpair()
        with theirs:
            self.process = start(asked, theirs.fileno())
        os.close(asked)
        with open(control, "wb") as data:
            marshal.dump((modules(), None), data)
        self.close = weakref.finalize(self, _close, self.socket, self.process, self.owner)

    def copy(self, stdin: int, stdout: int) -> None:
        """Let a copy read its job from one descriptor and tell results on the other."""
        socket.send_fds(self.socket, [b"-"], [stdin, stdout])


def _close(link: socket.socket, process: subprocess.Popen[bytes], owner: int) -> None:
    link.close()
    if os.getpid() == owner:
        process.kill()  # a fork of this process may hold the other end of what was closed
        process.wait()
    else:
        process.returncode = 0  # a fork of this process did not start it, and cannot wait for it


_clean: list[_Clean] = []


def clean_copy(stdin: int, stdout: int) -> subprocess.Popen[bytes]:
    """Have a job done by a copy of the clean interpreter; start that where there is none, or where it was killed."""
    if not _clean or _clean[0].owner != os.getpid() or _clean[0].process.poll() is not None:
        _clean[:] = [_Clean()]
    _clean[0].copy(stdin, stdout)
    return _clean[0].process


async def _ready(loop: asyncio.AbstractEventLoop, descriptor: int, add: Any, remove: Any) -> None:
    waiter = loop.create_future()
    add(descriptor, _wake, waiter)
    try:
        await waiter
    finally:
        remove(descriptor)


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
