"""What came of one code with one suite of tests."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

Status = Literal["passed", "raised", "timeout", "memory", "died"]

_ADDRESS = re.compile(r"\b0x[0-9a-f]{6,16}\b")


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What came of one code with one suite of tests; equal for equal causes, so it tells no times and no addresses.

    Attributes:
        status: ``passed``; ``raised`` (an exception, a failed assert or ``SystemExit``); ``timeout``; ``memory``; or
            ``died``: the process ended before the tests did, by ``os._exit`` or a signal.
        stage: ``code`` while the code itself was loaded, before any test; else ``suite``.
        error: the exception's type; empty where there was none.
        message: the exception's message, or what happened; cut.
        line: the line of the suite where it happened; 0 where there is none.
        code_line: the line of the code where it happened; 0 where there is none.
        output: the beginning of what was printed, stdout and stderr together.
    """

    status: Status
    stage: Literal["code", "suite"]
    error: str = ""
    message: str = ""
    line: int = 0
    code_line: int = 0
    output: str = ""

    @property
    def passed(self) -> bool:
        """Whether the suite ran to its end and nothing was raised."""
        return self.status == "passed"

    @property
    def reason(self) -> str:
        """What went wrong in one sentence's worth of words, for a person or a model; empty for ``passed``."""
        if self.passed:
            return ""
        where = [f"line {self.line} of the tests"] if self.line else []
        where += [f"line {self.code_line} of the code"] if self.code_line else []
        what = {"timeout": "took too long", "died": "ended early"}.get(self.status, self.error)
        text = ": ".join(part for part in (what, self.message) if part)
        return f"{text} ({', '.join(where)})" if where else text

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> CheckResult:
        """Read what :meth:`as_dict` returned.

        Raises:
            ValueError: it is something else.
        """
        try:
            result = cls(**values)
        except TypeError as error:
            raise ValueError(f"no result of a check: {error}") from None
        if result.status not in get_args(Status) or result.stage not in ("code", "suite"):
            raise ValueError(f"no result of a check: status {result.status!r}, stage {result.stage!r}")
        return result


def read_verdict(verdict: bytes, output: bytes) -> CheckResult:
    """Read what came out of the sandbox; whatever it holds, a result comes of it."""
    fields = [_text(field) for field in verdict.split(b"\0")]
    if len(fields) != 6 or fields[0] not in get_args(Status) or fields[1] not in ("code", "suite"):
        return CheckResult("died", "suite", message="the verdict is unreadable")
    status, stage, error, message, line, code_line = fields
    return CheckResult(
        status,  # type: ignore[arg-type]  # looked up above
        "suite" if stage == "suite" else "code",
        error,
        message,
        int(line) if line.isdecimal() else 0,
        int(code_line) if code_line.isdecimal() else 0,
        _text(output),
    )


def _text(data: bytes) -> str:
    return _ADDRESS.sub("0x…", data.decode("utf-8", "replace"))
