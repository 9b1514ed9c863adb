"""Every error that evolteacher raises, in one tree.

::

    EvolteacherError                 exit code 1
    ├── UsageError                   exit code 2: the user can mend what was asked for
    │   ├── RecipeError              a recipe is wrong: file, line, what to do
    │   ├── SeedError                a seed file or one of its rows is wrong
    │   ├── LicenceRefused           the recipe's licence does not allow all rows to be published
    │   └── MissingExtra             an optional dependency is not installed
    ├── RunError                     a run folder cannot be used, or the run could not finish
    ├── HubError                     a dataset hub cannot be reached, or does not take what is pushed
    │   └── NoSuchRepository         the hub has no such repository, or does not show it to this token
    ├── SandboxError                 the sandbox itself failed, not the code in it
    ├── PluginError                  a plugin failed to load, or broke its contract
    ├── BudgetExceeded               exit code 3: the budget is spent
    ├── NotStored                    a reply is not on disk where nothing may be asked: its lineage stays pending
    ├── Unreadable                   an answer holds no rewritten instruction (settles that evolution)
    └── BackendError                 a backend could not answer
        ├── RetryableError           asked again after a pause
        │   ├── RateLimited          the provider says slow down, perhaps for how long
        │   └── Transient            a fault that may pass: 5xx, time-out, cut connection
        │       └── BrokenReply      a body that is empty or broken; after the last attempt a BadReply
        ├── CallError                settles that call: stored, replayed, never asked again
        │   ├── Refused              the provider's content policy
        │   ├── TooLong              the request does not fit the model's context
        │   └── BadReply             an answer arrived and is unusable
        └── FatalError               stops the run at once
            ├── NotAuthorised        a missing or wrong key
            └── NoSuchModel          the model does not exist there

A message says where, what is wrong, and what to do.
"""

from __future__ import annotations

import difflib
import importlib.util
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from evolteacher.messages import RateLimits, Usage


class EvolteacherError(Exception):
    """The root: catching it catches everything that evolteacher raises on purpose."""

    exit_code: ClassVar[int] = 1


class UsageError(EvolteacherError):
    """What was asked for cannot be done as asked; the message says what to change."""

    exit_code = 2


class RecipeError(UsageError):
    """A recipe does not validate. ``problems`` holds one line each, with file and line."""

    def __init__(self, *problems: str) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


class SeedError(UsageError):
    """A seed file is missing, empty or unreadable, or one of its rows is bad and the recipe says ``fail``."""


class LicenceRefused(UsageError):
    """The recipe's ``licence:`` does not allow what the dataset is made of; ``found`` says of which rows, as JSON."""

    def __init__(self, message: str, found: dict[str, Any]) -> None:
        super().__init__(message)
        self.found = found


class MissingExtra(UsageError):
    """An optional dependency is needed and not installed."""

    def __init__(self, what: str, extra: str, package: str = "evolteacher") -> None:
        super().__init__(f"{what} needs the extra '{extra}': pip install '{package}[{extra}]'")

    @classmethod
    def unless(cls, modules: Iterable[str], what: str, extra: str, package: str = "evolteacher") -> None:
        """Raise unless all of these can be found; none is imported.

        Args:
            modules: top-level names, as in ``import``.
            what: needs them, such as ``filter 'pii'``.
            extra: that brings them.
            package: whose extra it is.
        """
        if not all(_can_be_found(module) for module in modules):
            raise cls(what, extra, package)


def _can_be_found(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # a finder refuses it, or what is loaded under its name is no module
        return False


class RunError(EvolteacherError):
    """A run folder cannot be used as asked (locked, another experiment, full disk), or work is left pending."""


class HubError(EvolteacherError):
    """A dataset hub cannot be reached, or does not take what is pushed to it."""


class NoSuchRepository(HubError):
    """The hub has no such repository or branch, or does not show it to this token."""


class SandboxError(EvolteacherError):
    """The sandbox could not be built, or failed itself; what the code in it does is a result and no error."""


class PluginError(EvolteacherError):
    """A plugin failed to load, registered something wrong, or raised where its contract forbids it."""


class BudgetExceeded(EvolteacherError):
    """The recipe's budget does not allow another call."""

    exit_code = 3


class NotStored(EvolteacherError):
    """A reply is needed that is not on disk, and nothing may be asked, as while rejudging."""


class Unreadable(EvolteacherError):
    """An answer in which no rewritten instruction can be found; the message is the reason on record."""


class BackendError(EvolteacherError):
    """A backend could not answer a request."""


class RetryableError(BackendError):
    """The same request may succeed later; the core asks again with jittered exponential backoff."""


class RateLimited(RetryableError):
    """The provider asks for a slower pace. The refused call is taken to have cost nothing.

    Args:
        message: what the provider said.
        retry_after: seconds to wait, where the provider named them.
        limits: the limits that the refusal's headers told; :func:`evolteacher.rate_limits` reads them.
    """

    def __init__(self, message: str, retry_after: float | None = None, limits: RateLimits | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.limits = limits


class Transient(RetryableError):
    """A fault that may pass: a 5xx, a time-out, a cut connection. When retries run out, the lineage stays pending.

    Args:
        message: what happened.
        unpaid: the provider certainly billed nothing: it was never reached, or it answered with an error. Else the
            call's outcome is unknown, and a budget counts it at its worst case.
    """

    def __init__(self, message: str, *, unpaid: bool = False) -> None:
        super().__init__(message)
        self.unpaid = unpaid


class BrokenReply(Transient):
    """A body that is empty, is not JSON, or has no choices. When retries run out, the call settles as BadReply."""


class CallError(BackendError):
    """The provider's last word on this one request. Stored as an outcome, so a resume does not ask again.

    Args:
        message: the reason on record.
        usage: the tokens that the provider billed all the same, such as those of an answer that its filter cut.
    """

    outcome: ClassVar[str] = "bad-reply"

    def __init__(self, message: str, usage: Usage | None = None) -> None:
        super().__init__(message)
        self.usage = usage


class Refused(CallError):
    """The provider's content policy refused to answer."""

    outcome = "refused"


class TooLong(CallError):
    """Prompt and ``max_tokens`` together do not fit the model's context."""

    outcome = "too-long"


class BadReply(CallError):
    """An answer arrived that cannot be used (no choices, empty, not the promised form), also after retries."""

    outcome = "bad-reply"


class FatalError(BackendError):
    """No request can succeed until the user changes something."""


class NotAuthorised(FatalError):
    """A key is missing, wrong, or may not use this model."""


class NoSuchModel(FatalError):
    """The provider does not know the model."""


CALL_ERRORS: dict[str, type[CallError]] = {error.outcome: error for error in (Refused, TooLong, BadReply)}
"""Stored outcome -> the error that a replay raises again."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `` Did you mean 'x'?`` for the nearest of ``known``, else the names there are, else nothing."""
    names = sorted(set(known))
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if near:
        return f" Did you mean '{near[0]}'?"
    return f" There is: {', '.join(names)}." if names else ""


def plugin_fault(what: str, error: Exception) -> PluginError:
    """Say that a plugin raised what its contract does not allow, and where in its code."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return PluginError(
        f"{what} raised {type(error).__name__}: {error} ({Path(frame.filename).name}:{frame.lineno}). This is a fault "
        "in the plugin: mend it, or tell its author; a run keeps what was answered, and goes on afterwards"
    )
