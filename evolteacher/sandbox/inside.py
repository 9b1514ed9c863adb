"""What runs inside: one trusted process that starts, watches and ends a child for each code with each suite.

This module is sent to the sandboxed interpreter as code, so it imports little: each module costs every check time.
The supervisor never runs, compiles or parses anything untrusted; it reads bytes, up to a limit, and kills.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found,unused-ignore]  # `signal` without its enums
import gc
import marshal
import os
import select
import sys
import time

from evolteacher.sandbox.child import run_child, unmasked
from evolteacher.sandbox.leftovers import empty, kill_all
from evolteacher.sandbox.walls import KILL, Wall, adopt_orphans, die_with_parent, enter, hide_memory

TYPE_CHECKING = False  # that of `typing`, whose import would cost a check milliseconds
if TYPE_CHECKING:
    from typing import Any, Never

CONTROL, RESULTS = 0, 1
"""The supervisor's descriptors: what it is asked, open for as long as the answer is wanted; and what it answers."""

_MOST = 65_536
"""Bytes of a verdict; the child cuts its texts far below."""

_OFTEN = (
    "typing",
    "re",
    "math",
    "collections",
    "itertools",
    "functools",
    "operator",
    "string",
    "heapq",
    "bisect",
    "copy",
    "dataclasses",
    "enum",
    "datetime",
    "json",
)
"""Modules of the standard library that answers often import; none draws random numbers, which children would share."""


def main(job: dict[str, Any] | None) -> Never:
    """Carry out one job in this interpreter, which runs nothing else, and end; or, without one, wait for jobs."""
    if job is None:
        job = _serve()
    _signal.signal(_signal.SIGALRM, _signal.SIG_DFL)
    _signal.setitimer(_signal.ITIMER_REAL, job["lifetime"])
    try:
        _begin(job)
    except Wall as wall:
        _write(RESULTS, f"W the wall '{wall.name}' could not be built: {wall.why}\n".encode())
    except BaseException as error:
        _write(RESULTS, f"W {type(error).__name__}: {error}\n".encode("utf-8", "replace"))
    os._exit(1)


def _serve() -> dict[str, Any]:
    """Stay as clean as this interpreter is now; return, in a copy of it, each job that arrives.

    Each message brings two descriptors: where to read the job from, and where the results go. It ends
    when nobody can ask any more.
    """
    import _socket

    hide_memory()
    _signal.signal(_signal.SIGCHLD, _signal.SIG_IGN)  # nobody waits for the copies
    asked = _socket.socket(fileno=RESULTS)
    _warm_up("".join(f"import {name} " for name in _OFTEN))
    while True:
        message, ancillary, _, _ = asked.recvmsg(1, 64)
        if not message:
            os._exit(0)
        ((_, _, brought),) = ancillary
        descriptors = [int.from_bytes(brought[at : at + 4], sys.byteorder) for at in (0, 4)]
        if not os.fork():
            break
        for descriptor in descriptors:
            os.close(descriptor)
    asked.detach()
    os.setsid()
    _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
    for place, descriptor in enumerate(descriptors):
        os.dup2(descriptor, place)
        os.close(descriptor)
    with open(CONTROL, "rb", closefd=False) as data:
        return {**marshal.load(data), "copied": True}


def _begin(job: dict[str, Any]) -> Never:
    enter(job["walls"], job["readable"], job["work"], job["megabytes"])
    if "copied" in job:
        die_with_parent(KILL)  # only now, as a change of user would make the kernel forget it
    if "pid" not in job["walls"]:
        adopt_orphans()
        supervise(job)
    pid = os.fork()
    if not pid:
        die_with_parent(KILL)
        supervise(job)
    os.close(CONTROL)
    os.waitpid(pid, 0)  # which returns when everything behind the wall is dead
    os._exit(0)


def supervise(job: dict[str, Any]) -> Never:
    """Run each code with each suite, in order; tell each verdict when it is known."""
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)  # process 1 is deaf to signals from inside, but for handlers
    hide_memory()
    _prepare(job)
    work = os.open(job["work"], os.O_RDONLY | os.O_DIRECTORY)
    for i, code in enumerate(job["codes"]):
        known: tuple[bytes, bytes] | None = None
        for j, suite in enumerate(job["suites"]):
            if known is None:
                verdict, output = Child(job, code, suite).verdict()
                if os.listdir(work):
                    empty(work)
                # What a code does before any suite begins, it does before each.
                known = None if _field(verdict, 1) == b"suite" else (verdict, output)
            else:
                verdict, output = known
            _write(RESULTS, f"R {i} {j} {len(verdict)} {len(output)}\n".encode() + verdict + output)
    os._exit(0)


def _warm_up(text: str) -> None:
    """Do once what each child would do for itself: imports, and changes of shared memory, which copy it page by page.

    Args:
        text: what may be untrusted, and is only searched for imports of modules of the standard library.
    """
    for name in _OFTEN:
        if f"import {name}" in text or f"from {name} import" in text:
            __import__(name)
    compile("def warm(up):\n    return up\nassert warm(1)", "<warm>", "exec")
    gc.freeze()


def _prepare(job: dict[str, Any]) -> None:
    os.environ.clear()
    os.environ.update(HOME=job["work"], TMPDIR=job["work"])
    sys.argv[:] = ["answer"]
    _warm_up("\n".join([*job["codes"], *job["suites"]]))  # before there are packages that could shadow a module
    sys.path.extend(job["packages"])


class Child:
    """One code with one suite, in a forked process that has its own session."""

    def __init__(self, job: dict[str, Any], code: str, suite: str) -> None:
        self.job = job
        self.key, self.mask, self.nonce = os.urandom(16), os.urandom(16), os.urandom(16)
        self.heard, self.output, self.loaded = b"", bytearray(), False
        self.results, verdict = os.pipe()
        nonce, self.tell = os.pipe()
        self.prints, output = os.pipe()
        self.started = time.monotonic()
        self.pid = os.fork()
        if not self.pid:
            run_child((verdict, nonce, output), job, code, suite, self.key, self.mask)
        for descriptor in (verdict, nonce, output):
            os.close(descriptor)
        if "pid" not in job["walls"]:
            _write(RESULTS, f"P {self.pid}\n".encode())
        self.ended = os.pidfd_open(self.pid) if hasattr(os, "pidfd_open") else -1

    def verdict(self) -> tuple[bytes, bytes]:
        """Wait for the child's own verdict, or for its end, or for the end of its time; return that and its output."""
        verdict = self._watch()
        kill_all(self.pid, alone="pid" in self.job["walls"])
        for _ in range(64):  # what is left in the pipe; a process that got away might fill it for ever
            if not self._hear_output():
                break
        for descriptor in (self.results, self.tell, self.prints, self.ended):
            if descriptor >= 0:
                os.close(descriptor)
        return verdict, bytes(self.output[: self.job["output"]])

    def _watch(self) -> bytes:
        poll = select.poll()
        for descriptor in (CONTROL, self.results, self.prints, self.ended):
            if descriptor >= 0:
                poll.register(descriptor, select.POLLIN)
        while True:
            ready = {descriptor for descriptor, _ in poll.poll(self._pause())}
            if CONTROL in ready:  # nobody wants to know any more
                kill_all(self.pid, alone="pid" in self.job["walls"])
                os._exit(1)
            if self.prints in ready and not self._hear_output():
                poll.unregister(self.prints)
            if self.results in ready:
                self._hear()
            verdict = self._complete() or self._over()
            if verdict is None and ready <= {self.prints, self.results}:
                continue
            if verdict is None:
                verdict = self._gone()
            if verdict is not None:
                return verdict

    def _pause(self) -> int:
        """Milliseconds until the clock or the processor time could be used up."""
        clock = self.started + self.job["wall_seconds"] - time.monotonic()
        pause = min(clock, self.job["seconds"] - self._processor())
        return max(1, int(1000 * (min(pause, 0.02) if self.ended < 0 else pause)) + 1)

    def _processor(self) -> float:
        """Seconds of processor time that the child has used; 0 where the kernel does not tell."""
        try:
            return time.clock_gettime(~self.pid << 3 | 2)  # CPUCLOCK_SCHED of another process, as Linux numbers it
        except OSError:
            return 0.0

    def _over(self) -> bytes | None:
        clock = time.monotonic() - self.started >= self.job["wall_seconds"]
        return self._late() if clock or self._processor() >= self.job["seconds"] else None

    def _late(self) -> bytes:
        # The same words for both, as which of them is first depends on what else the machine does.
        most, clock = self.job["seconds"], self.job["wall_seconds"]
        return self._settled(b"timeout", f"more than {most:g} s of processor time, or {clock:g} s by the clock")

    def _gone(self) -> bytes | None:
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if not pid:
            return None
        self._hear()
        verdict = self._complete()
        if verdict is not None:
            return verdict
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            if number == _signal.SIGXCPU:
                return self._late()
            return self._settled(b"died", f"signal {number}")
        return self._settled(b"died", f"exit code {os.WEXITSTATUS(status)} before the tests were over")

    def _settled(self, status: bytes, message: str) -> bytes:
        return b"\0".join((status, b"suite" if self.loaded else b"code", b"", message.encode(), b"", b""))

    def _hear_output(self) -> bool:
        """Take what was printed, and keep its beginning; say whether there may be more."""
        os.set_blocking(self.prints, False)
        try:
            printed = os.read(self.prints, _MOST)
        except BlockingIOError:
            return False
        if len(self.output) < self.job["output"]:
            self.output += printed
        return bool(printed)

    def _hear(self) -> None:
        os.set_blocking(self.results, False)
        while len(self.heard) <= _MOST:
            try:
                more = os.read(self.results, _MOST)
            except BlockingIOError:
                break
            if not more:
                break
            self.heard += more
        if not self.loaded and self.heard[:16] == self.key:
            self.loaded = True
            self.heard = self.heard[16:]
            _write(self.tell, unmasked(self.nonce, self.mask))

    def _complete(self) -> bytes | None:
        """The verdict, when all of it is there; what was written without the secret is no verdict."""
        secret = self.nonce if self.loaded else self.key
        if self.heard[:16] != secret[: len(self.heard)]:
            return self._settled(b"died", "something other than the tests' end was written to the sandbox's own pipe")
        size = int.from_bytes(self.heard[16:20], "big")
        return self.heard[20 : 20 + size] if len(self.heard) >= 20 and len(self.heard) - 20 >= size else None


def _field(verdict: bytes, place: int) -> bytes:
    return verdict.split(b"\0")[place]


def _write(descriptor: int, data: bytes) -> None:
    """Write all of it, or end where nobody reads."""
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    except BrokenPipeError:
        if descriptor == RESULTS:
            os._exit(1)
