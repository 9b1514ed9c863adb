"""Checks of what goes wrong: each fault raises the error by which the core decides, and no error shows a secret."""

from __future__ import annotations

import logging
import traceback
from dataclasses import dataclass
from typing import Any

import pytest

from evolteacher.backend import Backend
from evolteacher.errors import (
    BackendError,
    BrokenReply,
    CallError,
    EvolteacherError,
    FatalError,
    NoSuchModel,
    NotAuthorised,
    RateLimited,
    Refused,
    RetryableError,
    TooLong,
    Transient,
    UsageError,
)
from evolteacher.secrets import hide
from evolteacher.testing.answers import is_limits, is_number, is_usage
from evolteacher.testing.harness import describe, within
from evolteacher.testing.promises import PROMPT, Faults, Promises

SITUATIONS: dict[str, type[EvolteacherError]] = {
    "wrong key": NotAuthorised,
    "unknown model": NoSuchModel,
    "rate limited": RateLimited,
    "server error": Transient,
    "time-out": Transient,
    "unreachable": Transient,
    "cut connection": Transient,
    "broken body": BrokenReply,
    "no choices": BrokenReply,
    "refused": Refused,
    "too long": TooLong,
}
"""Situations that the core has an outcome for, and the error that it goes by.

Where ``open()`` meets a fault that may pass, it may raise a ``FatalError`` as well: it is not called again.
"""


@dataclass(frozen=True)
class _Met:
    """What a backend did in a situation.

    Attributes:
        backend: it, closed by now.
        call: the call that was made last.
        error: what it raised.
        secrets: what the backend named, when the error came, as what is to be hidden.
    """

    backend: Backend
    call: str
    error: Exception | None = None
    secrets: tuple[str, ...] = ()

    def shown(self) -> str:
        """Return all that could be written of the error."""
        if self.error is None:
            return ""
        trace = "".join(traceback.format_exception(self.error))
        text = f"{self.error}\n{self.error!r}\n{self.error.args}\n{trace}"
        # The core asks for secrets once the backend is open, and hides them from then on.
        return hide(text, self.secrets) if self.call == "complete()" else text


class FaultChecks(Promises):
    """Checks of what goes wrong."""

    @pytest.mark.parametrize("situation", SITUATIONS)
    def test_a_fault_raises_the_error_that_the_core_expects(self, faults: Faults, situation: str) -> None:
        """Each fault has one error, by which the core asks again, settles the call, or stops the run."""
        if situation not in faults:
            self.not_covered(f"the fixture `faults` does not say how to bring about: {situation}")
        expected = faults[situation][1]
        if not issubclass(expected, SITUATIONS[situation]):
            self.violated(f"for '{situation}' `faults` names {expected.__name__}, not {SITUATIONS[situation].__name__}")
        self._check(situation, faults)

    def test_other_faults_raise_the_errors_that_were_named(self, faults: Faults) -> None:
        """A fault of the backend's own kind raises the error that its author says, which the core knows."""
        others = [situation for situation in faults if situation not in SITUATIONS]
        if not others:
            self.not_covered("the fixture `faults` names no situations beyond the usual ones")
        for situation in others:
            self._check(situation, faults)

    def test_closing_after_a_failed_opening(self, faults: Faults) -> None:
        """close() may be called, twice even, after open() failed."""
        failed = 0
        for situation in faults:
            met = self._meet(situation, faults)
            if met.call == "open()" and met.error is not None:
                failed += 1
                session = self.session(met.backend)
                try:
                    for _ in range(2):
                        session.run(within(met.backend.close(), self.patience, "close()"))
                except Exception as error:
                    self.violated(f"in the situation '{situation}' it raised {describe(error)}")
                finally:
                    session.end()
        if not failed:
            self.not_covered("in no situation of the fixture `faults` does open() fail")

    def test_an_error_shows_no_secret(self, faults: Faults, secret: tuple[Backend, str] | None) -> None:
        """No error holds a secret, but for those of complete() that secrets() names, which the core then hides."""
        if secret is None or not faults:
            self.not_covered("the fixtures `secret` and `faults` are needed for it")
        for situation in faults:
            met = self._meet(situation, faults)
            if secret[1] in met.shown():
                self.violated(f"in the situation '{situation}' {met.call} showed the secret: {met.shown()}")

    def test_a_secret_is_shown_nowhere(
        self,
        secret: tuple[Backend, str] | None,
        caplog: pytest.LogCaptureFixture,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        """A secret is in nothing that may be written: repr, options, identity, account, logs, output."""
        if secret is None:
            self.not_covered("the fixture `secret` gives no backend with a secret")
        backend, value = secret
        capfd.readouterr()
        shown: dict[str, str] = {}
        with caplog.at_level(logging.DEBUG), self.session(backend) as session:
            if not backend.in_batches():
                session.ask(self.request())
            for when in ("open", "closed"):
                shown |= {f"{what}, {when}": str(text) for what, text in _said_by(backend).items()}
                session.close()
        shown["the log"] = "\n".join(record.getMessage() for record in caplog.records)
        shown["the output"] = "".join(capfd.readouterr())
        for where, text in shown.items():
            if value in text:
                self.violated(f"it is in {where}: {text}")

    def test_a_secret_is_told_to_the_core(self, secret: tuple[Backend, str] | None) -> None:
        """secrets() names the secret once the backend is open, so that the core can hide it in what a server echoes."""
        if secret is None:
            self.not_covered("the fixture `secret` gives no backend with a secret")
        backend, value = secret
        with self.session(backend):
            if value not in backend.secrets():
                self.violated(f"secrets() has {len(backend.secrets())} texts, and the secret is none of them")

    def _meet(self, situation: str, faults: Faults) -> _Met:
        backend = faults[situation][0]()
        session = self.session(backend)
        text = f"{'word ' * (self.long_text // 5)}{PROMPT}" if situation == "too long" else PROMPT
        call, met = "open()", _Met(backend, "complete()")
        try:
            session.run(within(backend.open(self.workload), self.patience, call))
            call = "complete()"
            session.run(within(backend.complete(self.request(text)), self.patience, call))
        except Exception as error:
            met = _Met(backend, call, error, tuple(backend.secrets()))
        try:
            session.run(within(backend.close(), self.patience, "close()"))
        except Exception:  # a check of its own
            pass
        finally:
            session.end()
        return met

    def _check(self, situation: str, faults: Faults) -> None:
        expected = faults[situation][1]
        met = self._meet(situation, faults)
        if met.error is None:
            self.violated(f"in the situation '{situation}' there was no error, where {expected.__name__} was expected")
        # What opens is not opened again, so there a fault that may pass may be called fatal, with what to do.
        fatal = isinstance(met.error, FatalError) and met.call == "open()" and issubclass(expected, RetryableError)
        if not isinstance(met.error, expected) and not fatal:
            self.violated(
                f"in the situation '{situation}' {met.call} was to raise {expected.__name__}: {describe(met.error)}"
            )
        wrong = _wrong_error(met.error, met.call)
        if wrong:
            self.violated(f"in the situation '{situation}' {met.call} raised {describe(met.error)}\nwhich {wrong}")


def _said_by(backend: Backend) -> dict[str, Any]:
    return {
        "repr()": repr(backend),
        "str()": str(backend),
        "options()": backend.options(),
        "identity()": backend.identity(),
        "account()": backend.account(),
        "price()": backend.price(),
    }


def _wrong_error(error: Exception, call: str) -> str:
    """Say what is wrong with an error's kind or its fields; nothing where nothing is."""
    known = (BackendError, UsageError) if call == "open()" else (BackendError,)
    if not isinstance(error, known):
        return f"is no {' or '.join(kind.__name__ for kind in known)}"
    if not str(error).strip():
        return "has no message"
    if isinstance(error, RateLimited):
        if error.retry_after is not None and not is_number(error.retry_after):
            return f"has retry_after {error.retry_after!r}, which are no seconds"
        if error.limits is not None and not is_limits(error.limits):
            return f"has limits {error.limits!r}, which are no RateLimits"
    if isinstance(error, Transient) and not isinstance(error.unpaid, bool):
        return f"has unpaid {error.unpaid!r}"
    if isinstance(error, CallError) and error.usage is not None and not is_usage(error.usage):
        return f"has usage {error.usage!r}"
    return ""
