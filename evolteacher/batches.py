"""Provider batches: requests are gathered until nothing else can go on, submitted together, and collected later.

Each step of a round is thus a barrier. What is in a batch is written before it is submitted, and its id at once after
that: a process that ends in between finds the batch again by its tag, and one that ends later collects it by its id.
Nothing is submitted twice.
"""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from evolteacher.backend import Backend, BatchState
from evolteacher.errors import BackendError, FatalError, RetryableError, TooLong, Transient
from evolteacher.ledger import Ledger
from evolteacher.limits import Limits
from evolteacher.messages import Reply, Request
from evolteacher.progress import Progress

T = TypeVar("T")

QUIET = 0.05
"""Seconds without a new request after which a batch is submitted, when every lineage waits for one."""

LINGER = 2.0
"""The same, when some lineage may still ask: it waits for another backend, or works on its own."""


@dataclass
class _Batch:
    row: int
    tag: str
    provider: str
    items: set[str]
    unclaimed: dict[str, Reply | BackendError] = field(default_factory=dict)
    collected: bool = False


class Batcher:
    """Gathers the requests of one backend into provider batches.

    Args:
        key: of the recipe's backends.
        ready: returns the backend, open.
        ledger: where batches are written.
        limits: the recipe's.
        progress: tells how many lineages are being worked on, and is told of batches.
    """

    def __init__(
        self, key: str, ready: Callable[[], Awaitable[Backend]], ledger: Ledger, limits: Limits, progress: Progress
    ) -> None:
        self._key = key
        self._ready = ready
        self._ledger = ledger
        self._limits = limits
        self._progress = progress
        self._queue: dict[str, Request] = {}
        self._waiting: dict[str, asyncio.Future[Reply]] = {}
        self._asked_at = 0.0
        self._news = asyncio.Event()
        self._tending: asyncio.Task[None] | None = None
        self._batches = [
            _Batch(batch.row, batch.tag, batch.provider, set(batch.items)) for batch in ledger.open_batches(key)
        ]

    async def ask(self, request: Request) -> Reply:
        """Put a request into the next batch, or wait for the batch that it is in already.

        Raises:
            RetryableError: the batch left it unanswered.
            CallError: the provider's last word on it.
            FatalError: no batch can succeed.
        """
        item = self.item(request)
        waiting: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting[item] = waiting
        self._asked_at = asyncio.get_running_loop().time()
        self._progress.batched += 1
        try:
            batch = next((batch for batch in self._batches if item in batch.items), None)
            if batch is None:
                self._queue[item] = request
            elif batch.collected:
                self._deliver(batch, item)
            if self._tending is None or self._tending.done():
                self._tending = asyncio.create_task(self._tend())
            self._news.set()
            return await waiting
        finally:
            self._progress.batched -= 1
            self._waiting.pop(item, None)
            self._queue.pop(item, None)

    def item(self, request: Request) -> str:
        """Return the id under which a request is submitted: 32 hexadecimal digits of its slot and fingerprint."""
        fingerprint = request.fingerprint(self._key)
        return hashlib.blake2b(f"{request.slot} ".encode() + fingerprint, digest_size=16).hexdigest()

    def is_out(self, request: Request) -> bool:
        """Whether a request is in a batch that was submitted, as far as is known, and not yet answered from it."""
        item = self.item(request)
        return any(item in batch.items for batch in self._batches)

    async def close(self) -> None:
        """Stop looking at batches; what is out stays out, and the next run collects it."""
        if self._tending is not None:
            self._tending.cancel()
            await asyncio.gather(self._tending, return_exceptions=True)
            self._tending = None

    def finish(self) -> None:
        """Write that all batches have ended, once every answer that was wanted is stored."""
        for batch in self._batches:
            self._ledger.end_batch(batch.row)
        self._batches = []

    async def _tend(self) -> None:
        """Submit and collect as long as anybody waits; what goes wrong goes wrong for all that wait."""
        try:
            while self._waiting:
                await asyncio.sleep(0)  # whoever was answered leaves
                await self._find_lost()
                if self._queue and await self._gathered():
                    await self._submit()
                elif any(not batch.collected for batch in self._batches):
                    await self._collect()
        except asyncio.CancelledError:
            raise
        except Exception as error:
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_exception(error)

    async def _gathered(self) -> bool:
        """Wait until nobody can add to the queue; False where a batch that is out must be looked at meanwhile."""
        loop = asyncio.get_running_loop()
        while True:
            quiet = QUIET if self._progress.batched >= self._progress.active else LINGER
            wait = self._asked_at + quiet - loop.time()
            if wait <= 0:
                return True
            # Others may come to wait meanwhile, and then less quiet is enough.
            await asyncio.sleep(min(wait, QUIET))
            if any(not batch.collected for batch in self._batches):
                return False

    async def _find_lost(self) -> None:
        """Look for the batches whose id was not written; one that the provider does not have was never submitted."""
        for batch in [batch for batch in self._batches if not batch.provider]:
            provider = await self._patiently(partial(_find, batch.tag))
            if provider is None:
                self._forget(batch)
                for item in batch.items & self._waiting.keys():
                    self._leave(item, Transient("it was not submitted", unpaid=True))
            else:
                batch.provider = provider
                self._ledger.name_batch(batch.row, provider)

    async def _submit(self) -> None:
        for batch in [batch for batch in self._batches if batch.collected and not batch.unclaimed]:
            self._forget(batch)  # what it answered has been stored by those who waited for it
        backend = await self._ready()
        items = await self._fill(backend)
        if not items:
            return
        tag = f"evolteacher-{uuid.uuid4().hex}"
        slots = {item: request.slot for item, request in items.items()}
        batch = _Batch(self._ledger.add_batch(self._key, tag, slots), tag, "", set(items))
        self._batches.append(batch)
        for item in items:
            del self._queue[item]
        self._progress.batches += 1
        try:
            batch.provider = await backend.submit(items, tag)
        except RetryableError:
            # It may have arrived all the same: the provider is asked for the tag before anything is submitted again.
            await asyncio.sleep(self._limits.first_wait)
            return
        self._ledger.name_batch(batch.row, batch.provider)

    async def _fill(self, backend: Backend) -> dict[str, Request]:
        """Return the requests of the next batch: the first that are waiting, as many as the provider takes.

        One that is larger than a whole batch may be is refused.
        """
        items: dict[str, Request] = {}
        most, room = backend.most_in_batch, backend.most_bytes_in_batch
        for item, request in list(self._queue.items())[:most]:
            if room is not None:
                size = await backend.size_in_batch(item, request)
                if item in self._queue and not items and size > room:
                    self._leave(item, TooLong(f"it takes {size:,} bytes, and a provider batch at most {room:,}"))
                    del self._queue[item]
                    continue
                room -= size
                if room < 0:
                    break
            items[item] = request
        # Whoever was given up meanwhile has left the queue.
        return {item: request for item, request in items.items() if item in self._queue}

    async def _collect(self) -> None:
        answered = 0
        for batch in [batch for batch in self._batches if batch.provider and not batch.collected]:
            state = await self._patiently(partial(_state, batch.provider))
            answered += state.answered
            if state.failed:
                self._forget(batch)
                raise FatalError(f"backend '{self._key}': the provider took nothing of a batch: {state.failed}")
            if not state.ended:
                continue
            batch.collected = True
            batch.unclaimed = dict(state.results)
            for item in batch.items & self._waiting.keys():
                self._deliver(batch, item)
            batch.items &= batch.unclaimed.keys()
            self._progress.batch_answered = 0
            return
        self._progress.batch_answered = answered
        self._news.clear()
        try:
            await asyncio.wait_for(self._news.wait(), self._limits.batch_poll)
        except TimeoutError:
            return

    def _deliver(self, batch: _Batch, item: str) -> None:
        batch.items.discard(item)
        result = batch.unclaimed.pop(item, None)
        if isinstance(result, Reply):
            waiting = self._waiting[item]
            if not waiting.done():
                waiting.set_result(result)
        else:
            self._leave(item, result or Transient("the batch ended before it was answered", unpaid=True))

    def _leave(self, item: str, error: BackendError) -> None:
        waiting = self._waiting[item]
        if not waiting.done():
            waiting.set_exception(error)

    def _forget(self, batch: _Batch) -> None:
        self._ledger.end_batch(batch.row)
        self._batches.remove(batch)

    async def _patiently(self, ask: Callable[[Backend], Awaitable[T]]) -> T:
        """Ask the provider, again after passing faults.

        Raises:
            RetryableError: the retries ran out.
        """
        backend = await self._ready()
        attempt = 0
        while True:
            try:
                return await ask(backend)
            except RetryableError:
                if attempt >= self._limits.retries:
                    raise
                await asyncio.sleep(min(self._limits.longest_wait, self._limits.first_wait * 2.0**attempt))
            attempt += 1


async def _find(tag: str, backend: Backend) -> str | None:
    return await backend.find(tag)


async def _state(batch: str, backend: Backend) -> BatchState:
    return await backend.collect(batch)
