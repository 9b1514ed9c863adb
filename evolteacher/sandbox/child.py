"""The process in which untrusted code runs.

This module is sent to the sandboxed interpreter as code, so it imports little: each module costs every check time.
"""

from __future__ import annotations

import os
import sys

from evolteacher.sandbox.walls import KILL, die_with_parent, give_up_power, limit

TYPE_CHECKING = False  # that of `typing`, whose import would cost a check milliseconds
if TYPE_CHECKING:
    from typing import Any, Never

_VERDICT, _NONCE = 3, 4
"""Descriptors: where the verdict goes, and where the nonce comes from."""


def run_child(
    descriptors: tuple[int, int, int], job: dict[str, Any], code: str, suite: str, key: bytes, mask: bytes
) -> Never:
    """Become the process in which untrusted code runs: load it, then read the nonce, then run the suite.

    What is needed afterwards is held in local variables, and this module's builtins are its own, as an answer may
    replace any function of any module. The suite is given the builtins as they were. Only an answer that walks this
    frame, or searches the memory of its own interpreter, can reach the nonce.
    """
    write, read, end, flush = os.write, os.read, os._exit, sys.stdout.flush
    told, nonce, stage = b"", b"", "suite"
    try:
        _furnish(descriptors, job)
        shared = vars(sys.modules["builtins"])
        builtins = dict(shared)
        answer = sys.modules["answer"] = type(sys)("answer")
        names = answer.__dict__
        names["__builtins__"] = shared  # else it would be given this module's own
        try:
            tests = compile(suite, "<tests>", "exec", dont_inherit=True)
            stage = "code"
            exec(compile(code, "<code>", "exec", dont_inherit=True), names)
            write(_VERDICT, key)
            nonce = unmasked(read(_NONCE, 16), mask)
            stage = "suite"
            names["__builtins__"] = builtins
            exec(tests, names)
            told = b"passed\0suite\0\0\0\0"
        except BaseException as error:
            told = _describe(error, stage, job["message"])
        try:
            flush()
        except BaseException:
            stage = ""  # an answer may close its own output
        if not nonce:
            write(_VERDICT, key)
            nonce = unmasked(read(_NONCE, 16), mask)
        write(_VERDICT, nonce + len(told).to_bytes(4, "big") + told)
        end(0)
    except BaseException:
        end(70)


def unmasked(data: bytes, mask: bytes) -> bytes:
    """Take a mask off, or put it on."""
    return bytes(a ^ b for a, b in zip(data, mask, strict=True))


def _furnish(descriptors: tuple[int, int, int], job: dict[str, Any]) -> None:
    """Make the forked process one that holds nothing of anybody's, and can keep nothing."""
    os.setsid()
    verdict, nonce, output = (os.dup2(old, 100 + place) for place, old in enumerate(descriptors))
    nothing = os.open("/dev/null", os.O_RDONLY)
    for place, old in enumerate((nothing, output, output, verdict, nonce)):
        os.dup2(old, place)
    os.closerange(5, 4096)
    give_up_power()
    limit(job["limits"])
    die_with_parent(KILL)
    os.chdir(job["work"])
    os.umask(0o077)
    for name in [name for name in sys.modules if name.startswith("evolteacher")]:
        del sys.modules[name]


def _describe(error: BaseException, stage: str, most: int) -> bytes:
    """Pack an exception: its type, the beginning of its message, and the lines of suite and code where it was."""
    lines = {"<tests>": 0, "<code>": 0}
    trace = error.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if name in lines:
            lines[name] = trace.tb_lineno
        trace = trace.tb_next
    try:
        if isinstance(error, SyntaxError) and error.filename in lines:
            lines[error.filename] = error.lineno or 0
        kind = str(type(error).__name__)[:100]
        message = str(error)[:most]
    except BaseException:
        kind, message = "Exception", "its message could not be made"
    status = "memory" if isinstance(error, MemoryError) else "raised"
    fields = (status, stage, kind, message, str(lines["<tests>"]), str(lines["<code>"]))
    return "\0".join(field.replace("\0", "\\0") for field in fields).encode("utf-8", "backslashreplace")
