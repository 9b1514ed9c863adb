"""Asking with a memory: every ask has a slot, and a slot that holds its reply answers from the store."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Coroutine
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

from evolteacher.answerer import Answerer
from evolteacher.budget import Bought
from evolteacher.errors import (
    CALL_ERRORS,
    CallError,
    EvolteacherError,
    PluginError,
    RetryableError,
    did_you_mean,
    plugin_fault,
)
from evolteacher.gate import Gate
from evolteacher.journal import Journal
from evolteacher.messages import (
    Message,
    Prompt,
    Reply,
    Request,
    Role,
    Sampling,
    Usage,
    as_messages,
    messages_to_json,
)
from evolteacher.progress import Progress
from evolteacher.record import clean_text
from evolteacher.results import Results, Work, as_json, fingerprint
from evolteacher.store import REPLY, NewReply, Slot, Store, StoredReply

T = TypeVar("T")


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
        purchases: the calls that are queued or in flight, and the results that are being worked out.
        journal: where replies are written as they arrive.
    """

    store: Store
    gate: Gate
    answerers: dict[str, Answerer]
    samplings: dict[Role, Sampling]
    progress: Progress
    forked: Store | None = None
    purchases: set[asyncio.Task[Any]] = field(default_factory=set)
    journal: Journal = field(init=False)

    def __post_init__(self) -> None:
        """Begin the journal."""
        self.journal = Journal(self.store)

    def buy(self, buying: Coroutine[Any, Any, T]) -> tuple[asyncio.Task[T], asyncio.Future[T]]:
        """Begin a call; return it, and what is to be awaited of it: to cancel that leaves the call alone.

        As ``asyncio.shield`` does, with one callback for each call in place of two and a wake-up.
        """
        purchase = asyncio.create_task(buying)
        self.purchases.add(purchase)
        outcome: asyncio.Future[T] = purchase.get_loop().create_future()

        def end(purchase: asyncio.Task[T]) -> None:
            self.purchases.discard(purchase)
            # Looked at in any case: its lineage may have been stopped meanwhile, and asyncio would complain.
            error = None if purchase.cancelled() else purchase.exception()
            if outcome.done():
                return
            if purchase.cancelled():
                outcome.cancel()
            elif error is not None:
                outcome.set_exception(error)
            else:
                outcome.set_result(purchase.result())

        purchase.add_done_callback(end)
        return purchase, outcome

    async def stop(self) -> None:
        """Give up the calls in flight, so that nothing is written once the run has ended."""
        for purchase in self.purchases:
            purchase.cancel()
        await asyncio.gather(*self.purchases, return_exceptions=True)


class Memory:
    """The stored replies of one lineage, read once; those of the run itself where the lineage is an empty text.

    Attributes:
        asked: how many of the lineage's asks, and results, were not answered from the store.
        results: what was worked out in the lineage without an LLM.
        tokens: of all its answers so far, prompts included, wherever they came from.
        counted: the round up to which this process has counted its asks already.
    """

    def __init__(self, desk: Desk, lineage: str, counted: int = -1) -> None:
        self.desk = desk
        self.lineage = lineage
        self.key = bytes.fromhex(lineage)
        self.replies = desk.store.replies(self.key)
        self.forked = desk.forked.replies(self.key) if desk.forked is not None else {}
        self.counted = counted
        self.results = Results(self.key, desk.store, desk.forked, desk.progress, counted)
        self.asked = self.tokens = 0


@dataclass
class Asker:
    """The ``ask`` that one step of one lineage is handed.

    What is asked is bought to the end, whatever the plugin does with it: an answer that nobody awaits any more (another
    ask in the same ``gather`` failed, the plugin gave it up) was paid for, and a replay would ask for it again.

    Attributes:
        memory: the lineage's stored replies.
        round: the slot's round.
        step: the slot's: ``evolve``, ``respond``, or ``filter:<label>`` (``filter:<label>:response`` at a response).
        role: who answers unless the ask says otherwise.
        keys: backend key by role.
        who: the component that asks, for messages.
        pinned: backend key of the component's own ``backend:``; wins over roles.
        last: the reply, and its row, to the ask that was called last of those that were answered (the last refusal,
            where none was). Not the one that arrived last: which that is would differ between a run and its replay.
    """

    memory: Memory
    round: int
    step: str
    role: Role
    keys: dict[Role, str]
    who: str
    pinned: str | None = None
    last: StoredReply | None = None
    _rank: tuple[bool, int] = (False, -1)
    _count: int = 0
    _places: dict[str, int] = field(default_factory=dict)
    _wanted: int = 0
    _begun: int = 0
    _ended: bool = False
    _purchases: list[asyncio.Task[Any]] = field(default_factory=list)
    _refusals: dict[int, CallError] = field(default_factory=dict)

    def __call__(
        self, prompt: Prompt, *, role: Role | None = None, key: str | None = None, **sampling: Any
    ) -> Coroutine[Any, Any, Reply]:
        """Number the ask now, whenever it is awaited; see :class:`~evolteacher.operator.Ask`."""
        if key is not None and (not isinstance(key, str) or clean_text(key)[1]):
            raise PluginError(f"{self.who}: ask(): a key is a text in Unicode, not {key!r}")
        nth = f"={key}" if key is not None else str(self._count)
        if key is None:
            self._count += 1
        if nth in self._places:
            raise PluginError(f"{self.who}: two asks have the key '{key}'; give each its own")
        self._places[nth] = len(self._places)
        self._wanted += 1
        return self._answer(prompt, role or self.role, nth, sampling)

    def once(self, what: Any, work: Work) -> Coroutine[Any, Any, Any]:
        """Note that a result is wanted; see :class:`~evolteacher.operator.Ask`."""
        self._wanted += 1
        return self._work_out(what, work)

    def _begin(self, word: str) -> None:
        if self._ended:
            raise PluginError(f"{self.who}: {word}(): the step has ended, so what comes of it now could change nothing")
        self._begun += 1

    async def _work_out(self, what: Any, work: Work) -> Any:
        self._begin("once")
        told, results = as_json(what, f"{self.who}: once(): what it is a result of"), self.memory.results
        place = (self.round, self.step, fingerprint(told))
        found = results.find(place, told)
        if found is None:
            self.memory.asked += 1
            purchase, outcome = self.memory.desk.buy(results.work_out(place, told, work, self.who))
            self._purchases.append(purchase)
            found = await outcome
        return json.loads(found)

    async def _answer(self, prompt: Prompt, role: Role, nth: str, changes: dict[str, Any]) -> Reply:
        desk, place = self.memory.desk, self._places[nth]
        self._begin("ask")
        request = self._request(prompt, role, nth, changes)
        answerer = desk.answerers[self.pinned or self.keys[role]]
        slot: Slot = (self.round, self.step, nth, request.fingerprint(answerer.identity))
        stored = self.memory.replies.get(slot)
        if stored is not None:
            desk.progress.replayed += self.round > self.memory.counted
            self._note(place, stored)
        elif (stored := self._from_fork(slot, request, answerer)) is not None:
            self._note(place, stored)
        else:
            purchase, outcome = desk.buy(self._buy(place, slot, request, answerer))
            self._purchases.append(purchase)
            stored = await outcome
        if stored.outcome != REPLY:
            raise self._refusals[place]
        return stored.reply

    def _note(self, place: int, stored: StoredReply) -> None:
        self.memory.tokens += stored.reply.usage.total_tokens
        if stored.outcome != REPLY:
            self._refusals[place] = CALL_ERRORS[stored.outcome](stored.reply.text)
        rank = (stored.outcome == REPLY, place)
        if rank > self._rank:
            self._rank, self.last = rank, stored

    async def finish(self, work: Awaitable[T]) -> T:
        """Await what a plugin does with this ask, and then every answer that it asked for.

        Raises:
            CallError: the plugin let a refusal through. Of several it is that of the ask that was called last, and not
                the first that arrived: which that is would differ between a run and its replay.
            EvolteacherError: an answer could not be bought, whatever the plugin made of that.
            Exception: what else the plugin raised.
        """
        try:
            return await self._finish(work)
        finally:
            self._ended = True

    async def _finish(self, work: Awaitable[T]) -> T:
        try:
            found = await work
        except Exception as error:
            await self._settle()
            cause = self._cause(error)
            if cause is error:
                raise
            raise cause from None
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            await self._settle()
            raise RuntimeError("it let an asyncio.CancelledError of its own through") from error
        if self._purchases or self._begun < self._wanted:
            await self._settle()
        return found

    async def _settle(self) -> None:
        """Wait for all answers; raise where one could not be bought, since that is no verdict of the plugin's."""
        if self._begun < self._wanted:
            await asyncio.sleep(0)  # a task that was created and has not begun: a replay does not pause, as a call does
        if not all(purchase.done() for purchase in self._purchases):
            await asyncio.gather(*self._purchases, return_exceptions=True)
        failures = [failure for purchase in self._purchases if (failure := _failure(purchase)) is not None]
        for failure in sorted(failures, key=lambda failure: isinstance(failure, RetryableError)):
            raise failure

    def _cause(self, error: Exception) -> Exception:
        """Return what the plugin's error comes down to: a refusal where it is one, or a group of nothing else."""
        found: Exception = error
        while isinstance(found, ExceptionGroup) and found.split(CallError)[1] is None:
            found = found.exceptions[0]
        known = any(found is refusal for refusal in self._refusals.values())
        return self._refusals[max(self._refusals)] if known else found

    def _request(self, prompt: Prompt, role: Role, nth: str, changes: dict[str, Any]) -> Request:
        """Check what a plugin asks for: a mistake here is the plugin's, and is told before anything is paid."""
        try:
            if role not in self.keys:
                raise ValueError(f"no role is called {role!r}.{did_you_mean(str(role), self.keys)}")
            messages = as_messages(prompt)
            sampling = self.memory.desk.samplings[role]
            if changes:
                sampling = replace(sampling, **changes)
        except (TypeError, ValueError) as error:
            raise PluginError(f"{self.who}: ask(): {error}") from None
        if any(clean_text(message.role + message.content)[1] for message in messages):
            messages = tuple(Message(clean_text(m.role)[0], clean_text(m.content)[0]) for m in messages)
        return Request(messages, sampling, f"{self.memory.lineage}/{self.round}/{self.step}/{nth}")

    def _from_fork(self, slot: Slot, request: Request, answerer: Answerer) -> StoredReply | None:
        old = self.memory.forked.get(slot)
        if old is None:
            return None
        prompt = messages_to_json(request.messages)
        new = NewReply(self.memory.key, slot, old.outcome, old.reply, answerer.key, prompt)
        self.memory.desk.progress.forked += 1
        stored = StoredReply(self.memory.desk.store.add_reply(new, forked=True), old.outcome, old.reply)
        self.memory.replies[slot] = stored
        return stored

    async def _buy(self, place: int, slot: Slot, request: Request, answerer: Answerer) -> StoredReply:
        desk = self.memory.desk
        self.memory.asked += 1
        desk.progress.waiting += 1
        keep = partial(self._keep, place, slot, request, answerer.key)
        try:
            await desk.gate.call(answerer.key, await answerer.ready(), request, answerer.batcher, keep)
        except EvolteacherError:
            raise
        except Exception as error:
            raise plugin_fault(f"backend '{answerer.key}'", error) from error
        finally:
            desk.progress.waiting -= 1
        return self.memory.replies[slot]

    async def _keep(self, place: int, slot: Slot, request: Request, key: str, bought: Bought) -> None:
        """Store what a call came to, and count it."""
        desk, memory = self.memory.desk, self.memory
        found = bought.outcome
        if isinstance(found, Reply):
            outcome, reply = REPLY, found
        else:
            # A backend may have a CallError of its own; what is stored is one that every replay knows.
            outcome = found.outcome if found.outcome in CALL_ERRORS else CallError.outcome
            text = clean_text(str(found))[0]
            reply = Reply(text, bought.usage or Usage(), finish_reason=outcome, cost=bought.cost)
        new = NewReply(memory.key, slot, outcome, reply, key, messages_to_json(request.messages))
        row = await desk.journal.add(new, bought.hold.row if bought.hold is not None else None)
        desk.gate.till.settle(bought)
        desk.progress.count_call(reply)
        stored = memory.replies[slot] = StoredReply(row, outcome, reply)
        self._note(place, stored)


def _failure(purchase: asyncio.Task[Any]) -> BaseException | None:
    """Return why a call that has ended has no outcome; None where it has one."""
    return asyncio.CancelledError() if purchase.cancelled() else purchase.exception()
