"""Asking with a memory: every ask has a slot, and a slot that holds its reply answers from the store."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field, replace
from typing import Any

from evolteacher.backend import Backend, Workload
from evolteacher.errors import CALL_ERRORS, CallError, EvolteacherError, PluginError, plugin_fault
from evolteacher.limits import Gate
from evolteacher.messages import Prompt, Reply, Request, Role, Sampling, as_messages, messages_to_json
from evolteacher.progress import Progress
from evolteacher.record import clean_text
from evolteacher.store import REPLY, NewReply, Slot, Store, StoredReply


class Answerer:
    """One backend of a run, opened when it is first asked: a run that is all replay loads no model and needs no key.

    Attributes:
        key: of the recipe's ``backends``.
        identity: part of each request's fingerprint.
    """

    def __init__(self, key: str, backend: Backend, workload: Workload) -> None:
        self.key = key
        self.identity = backend.identity()
        self._backend = backend
        self._workload = workload
        self._lock = asyncio.Lock()
        self._open = False

    async def ready(self, progress: Progress) -> Backend:
        """Return the backend, open; ``progress`` is told while it is being opened.

        Raises:
            FatalError: it cannot be opened.
        """
        if not self._open:
            async with self._lock:
                if not self._open:
                    progress.opening += 1
                    try:
                        await self._backend.open(self._workload)
                    finally:
                        progress.opening -= 1
                    self._open = True
        return self._backend

    async def close(self) -> None:
        """Close the backend if it was opened."""
        if self._open:
            self._open = False
            await self._backend.close()


@dataclass
class Desk:
    """What all asks of a run share.

    Attributes:
        store: where replies lie.
        gate: lets calls out.
        answerers: by backend key; empty where nothing may be asked.
        samplings: by role.
        progress: counters for the display.
        forked: the folder that replies may be taken from, opened read-only.
    """

    store: Store
    gate: Gate
    answerers: dict[str, Answerer]
    samplings: dict[Role, Sampling]
    progress: Progress
    forked: Store | None = None


class Memory:
    """The stored replies of one lineage, read once.

    Attributes:
        asked: how many of the lineage's asks were not answered from the store.
    """

    def __init__(self, desk: Desk, lineage: str) -> None:
        self.desk = desk
        self.lineage = lineage
        self.key = bytes.fromhex(lineage)
        self.replies = desk.store.replies(self.key)
        self.forked = desk.forked.replies(self.key) if desk.forked is not None else {}
        self.asked = 0


@dataclass
class Asker:
    """The ``ask`` that one step of one lineage is handed.

    Attributes:
        memory: the lineage's stored replies.
        round: the slot's round.
        step: the slot's step: ``evolve``, ``respond`` or ``filter:<label>``.
        role: who answers unless the ask says otherwise.
        keys: backend key by role.
        pinned: backend key of the component's own ``backend:``; wins over roles.
        last: the last reply that was given, and its row.
    """

    memory: Memory
    round: int
    step: str
    role: Role
    keys: dict[Role, str]
    pinned: str | None = None
    last: StoredReply | None = None
    _count: int = 0
    _taken: set[str] = field(default_factory=set)

    def __call__(
        self, prompt: Prompt, *, role: Role | None = None, key: str | None = None, **sampling: Any
    ) -> Coroutine[Any, Any, Reply]:
        """Number the ask now, whenever it is awaited; see :class:`~evolteacher.operator.Ask`."""
        nth = f"={key}" if key is not None else str(self._count)
        if key is None:
            self._count += 1
        if nth in self._taken:
            raise PluginError(f"{self.step}: two asks have the key '{key}'; give each its own")
        self._taken.add(nth)
        return self._answer(prompt, role or self.role, nth, sampling)

    async def _answer(self, prompt: Prompt, role: Role, nth: str, changes: dict[str, Any]) -> Reply:
        desk = self.memory.desk
        sampling = desk.samplings[role]
        if changes:
            try:
                sampling = replace(sampling, **changes)
            except TypeError as error:
                raise PluginError(f"{self.step}: ask(): {error}") from None
        answerer = desk.answerers[self.pinned or self.keys[role]]
        messages = as_messages(prompt)
        request = Request(messages, sampling, f"{self.memory.lineage}/{self.round}/{self.step}/{nth}")
        try:
            slot: Slot = (self.round, self.step, nth, request.fingerprint(answerer.identity))
        except AttributeError:
            raise PluginError(f"{self.step}: ask() takes a text or messages, not {type(prompt).__name__}") from None
        stored = self.memory.replies.get(slot)
        if stored is not None:
            desk.progress.replayed += 1
        else:
            stored = self._from_fork(slot, request, answerer) or await self._buy(slot, request, answerer)
            self.memory.replies[slot] = stored
        self.last = stored
        if stored.outcome != REPLY:
            raise CALL_ERRORS[stored.outcome](stored.reply.text)
        return stored.reply

    def _from_fork(self, slot: Slot, request: Request, answerer: Answerer) -> StoredReply | None:
        old = self.memory.forked.get(slot)
        if old is None:
            return None
        prompt = messages_to_json(request.messages)
        new = NewReply(self.memory.key, slot, old.outcome, old.reply, answerer.key, prompt)
        self.memory.desk.progress.forked += 1
        return StoredReply(self.memory.desk.store.add_reply(new, forked=True), old.outcome, old.reply)

    async def _buy(self, slot: Slot, request: Request, answerer: Answerer) -> StoredReply:
        desk, memory = self.memory.desk, self.memory
        memory.asked += 1
        desk.progress.waiting += 1
        try:
            reply = await desk.gate.call(await answerer.ready(desk.progress), request)
            outcome = REPLY
            text, odd = clean_text(reply.text)
            if odd:
                reply = replace(reply, text=text)
        except CallError as error:
            reply, outcome = Reply(text=clean_text(str(error))[0], finish_reason=error.outcome), error.outcome
        except EvolteacherError:
            raise
        except Exception as error:
            raise plugin_fault(f"backend '{answerer.key}'", error) from error
        finally:
            desk.progress.waiting -= 1
        prompt = messages_to_json(request.messages)
        row = desk.store.add_reply(NewReply(memory.key, slot, outcome, reply, answerer.key, prompt))
        desk.progress.count_call(reply)
        return StoredReply(row, outcome, reply)
