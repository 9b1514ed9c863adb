"""Backends: what answers a Request with a Reply."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from evolteacher.component import Component
from evolteacher.errors import BackendError
from evolteacher.messages import Reply, Request
from evolteacher.money import Price


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


@dataclass(frozen=True, slots=True)
class BatchState:
    """How far a provider is with a batch of requests.

    Attributes:
        ended: nothing more will come of it.
        results: the answers, or why there is none, by the id that each request was submitted under. A request of an
            ended batch that is missing here was never answered and costs nothing (the batch expired); the core submits
            it again.
        answered: requests that the provider has answered so far.
        failed: why the provider took none of the batch; empty when it took it. Stops the run.
    """

    ended: bool
    results: Mapping[str, Reply | BackendError] = field(default_factory=dict)
    answered: int = 0
    failed: str = ""


class Backend(Component):
    """Base of backends.

    A backend answers, or raises one of the errors below :class:`~evolteacher.errors.BackendError`; whether to ask
    again is the core's decision. The core calls :meth:`open` once before the first request and :meth:`close` once
    after the last, on one event loop; an instance may be opened again after it was closed.

    Attributes:
        primary: the option that ``--backend NAME:VALUE`` sets (class attribute).
        most_in_batch: most requests of one provider batch (class attribute).
        most_bytes_in_batch: most bytes of one provider batch, as :meth:`size_in_batch` counts them; None where the
            provider sets no bound (class attribute).
    """

    kind: ClassVar[str] = "backend"
    primary: ClassVar[str] = "model"
    most_in_batch: ClassVar[int] = 50_000
    most_bytes_in_batch: ClassVar[int | None] = None

    def identity(self) -> str:
        """Return what distinguishes this backend's answers from another's: its name and its not-free options.

        Part of each request's fingerprint: a stored reply answers only for the identity that gave it.
        """
        return json.dumps([self.name, self.options(with_free=False)], sort_keys=True)

    def account(self) -> str:
        """Return what the provider's limits hang on; backends with the same account share one limit.

        For an API that is the key's reference (``env:OPENAI_API_KEY``), or the server's address where it takes no key.
        Never a secret itself, since messages show it.
        """
        return self.identity()

    def price(self) -> Price | None:
        """Return what tokens cost; None where that is not known. Asked before the backend is opened.

        ``prices`` of the recipe wins over it.
        """
        return None

    def terms(self) -> str:
        """Return under what its answers stand: the model's licence, or the name of a provider's terms; empty unknown.

        ``terms`` of the recipe wins over it. docs/licences.md lists the names.
        """
        return ""

    def advice(self) -> str:
        """Return a better way to the same answers, for ``evolteacher plan`` to show; empty where there is none."""
        return ""

    def secrets(self) -> tuple[str, ...]:
        """Return the texts that nothing written may hold; asked once the backend is open.

        The core replaces them in answers and errors before anything is stored or shown.
        """
        return ()

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

    def in_batches(self) -> bool:
        """Whether requests go out as provider batches: :meth:`submit` and :meth:`collect` in place of complete."""
        return False

    async def size_in_batch(self, item: str, request: Request) -> int:
        """Return how many bytes a request takes in a batch; asked only where ``most_bytes_in_batch`` is set.

        Args:
            item: the id that it will be submitted under.
            request: what will be submitted.

        Raises:
            FatalError: no batch can succeed.
        """
        raise NotImplementedError(f"backend '{self.name}' does not define size_in_batch()")

    async def submit(self, requests: Mapping[str, Request], tag: str) -> str:
        """Submit a batch; return the provider's id of it, which the core stores at once.

        Args:
            requests: at most ``most_in_batch``, of at most ``most_bytes_in_batch`` together, by an id of up to 64
                letters and digits.
            tag: told to the provider with the batch, so that :meth:`find` finds it where its id was lost.

        Raises:
            RetryableError: a fault that may pass; the core looks for the tag before it submits again.
            FatalError: no batch can succeed.
        """
        raise NotImplementedError(f"backend '{self.name}' knows no batches")

    async def find(self, tag: str) -> str | None:
        """Return the provider's id of the batch with this tag; None where the provider has none.

        Raises:
            RetryableError: a fault that may pass.
            FatalError: no request can succeed.
        """
        raise NotImplementedError(f"backend '{self.name}' knows no batches")

    async def collect(self, batch: str) -> BatchState:
        """Return how far a batch is; the results once it has ended.

        Raises:
            RetryableError: a fault that may pass.
            FatalError: no request can succeed.
        """
        raise NotImplementedError(f"backend '{self.name}' knows no batches")

    async def close(self) -> None:
        """Let go of what :meth:`open` took; safe to call twice."""
