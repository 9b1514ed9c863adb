"""Backends: what answers a Request with a Reply."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import ClassVar

from evolteacher.component import Component
from evolteacher.messages import Reply, Request


@dataclass(frozen=True, slots=True)
class Workload:
    """What a backend is about to be given, so that it can size itself.

    Attributes:
        concurrency: most requests in flight at once.
        max_tokens: most new tokens that any request asks for.
        longest_text: characters of the longest seed instruction; prompts are longer by what surrounds it, and evolved
            instructions grow.
    """

    concurrency: int = 1
    max_tokens: int = 2048
    longest_text: int = 0


class Backend(Component):
    """Base of backends.

    A backend answers, or raises one of the errors below :class:`~evolteacher.errors.BackendError`; whether to ask
    again is the core's decision. The core calls :meth:`open` once before the first request and :meth:`close` once
    after the last, on one event loop; an instance may be opened again after it was closed.

    Attributes:
        primary: the option that ``--backend NAME:VALUE`` sets (class attribute).
    """

    kind: ClassVar[str] = "backend"
    primary: ClassVar[str] = "model"

    def identity(self) -> str:
        """Return what distinguishes this backend's answers from another's: its name and its not-free options.

        Part of each request's fingerprint: a stored reply answers only for the identity that gave it.
        """
        return json.dumps([self.name, self.options(with_free=False)], sort_keys=True)

    async def open(self, workload: Workload) -> None:
        """Get ready: load the model, check the server and the model's name.

        Raises:
            MissingExtra: a package is not installed.
            FatalError: no request can succeed (wrong key, no such model).
        """

    async def complete(self, request: Request) -> Reply:
        """Answer one request; called concurrently.

        Raises:
            RateLimited: slow down.
            Transient: a fault that may pass.
            CallError: the last word on this request.
            FatalError: no request can succeed.
        """
        raise NotImplementedError(f"backend '{self.name}' does not define complete()")

    async def close(self) -> None:
        """Let go of what :meth:`open` took; safe to call twice."""
