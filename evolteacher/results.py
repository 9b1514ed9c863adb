"""Results that are no reply: what a component works out without an LLM, in a sandbox or the like, kept as replies are.

A result is JSON. It lies under the step that asked for it and the fingerprint of what it is a result of, so that the
order in which several are worked out changes nothing. It is no call: it has no backend, no tokens and no cost.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

from evolteacher.errors import PluginError
from evolteacher.progress import Progress
from evolteacher.store import NewResult, Place, Store

Work = Callable[[], Awaitable[Any]]
"""Works a result out; called once, and not at all where the result is stored."""


class Results:
    """The stored results of one lineage, read when the first is wanted.

    Args:
        lineage: the seed's id as bytes; empty for the run itself.
        store: where they lie.
        forked: the folder that they may be taken from; None where there is none.
        progress: counters.
        counted: the round up to which what is taken from the store was counted before.
    """

    def __init__(
        self, lineage: bytes, store: Store, forked: Store | None, progress: Progress, counted: int = -1
    ) -> None:
        self._lineage = lineage
        self._store = store
        self._forked = forked
        self._progress = progress
        self._counted = counted
        self._known: dict[Place, str] | None = None
        self._elsewhere: dict[Place, str] = {}
        self._locks: dict[Place, asyncio.Lock] = {}

    def find(self, place: Place, what: str) -> Any:
        """Return a result that is stored here or in the forked folder; None where neither holds it.

        Args:
            place: the result's.
            what: it is a result of, as JSON.

        Returns:
            The result's JSON.
        """
        if self._known is None:
            self._known = self._store.results(self._lineage)
            self._elsewhere = self._forked.results(self._lineage) if self._forked is not None else {}
        found = self._known.get(place)
        if found is not None:
            self._progress.results_replayed += place[0] > self._counted
            return found
        found = self._elsewhere.get(place)
        if found is not None:
            self._progress.results_forked += 1
            self._store.add_result(NewResult(self._lineage, place, what, found, 0.0), forked=True)
            self._known[place] = found
        return found

    async def work_out(self, place: Place, what: str, work: Work, who: str) -> str:
        """Work a result out and store it; one that is being worked out already is waited for.

        Args:
            place: the result's, which is not stored.
            what: it is a result of, as JSON.
            work: works it out.
            who: the component, for messages.

        Returns:
            The result's JSON.

        Raises:
            PluginError: the result is no JSON.
            Exception: what the work raised; nothing is stored then.
        """
        assert self._known is not None
        async with self._locks.setdefault(place, asyncio.Lock()):
            if place in self._known:
                return self._known[place]
            began = time.monotonic()
            text = as_json(await work(), f"{who}: once(): the result")
            self._store.add_result(NewResult(self._lineage, place, what, text, time.monotonic() - began))
            self._progress.results += 1
            self._known[place] = text
            return text


def as_json(value: Any, what: str) -> str:
    """Return a value as JSON in ASCII, the order of its keys kept.

    Raises:
        PluginError: it is none; ``what`` names it.
    """
    try:
        return json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise PluginError(f"{what} is no JSON ({error}): {value!r:.200}") from None


def fingerprint(what: str) -> bytes:
    """Return the 16 bytes that tell what a result is of; the order of keys does not count."""
    ordered = json.dumps(json.loads(what), sort_keys=True)
    return hashlib.blake2b(ordered.encode("ascii"), digest_size=16).digest()
