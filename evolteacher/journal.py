"""The journal: replies that arrive in the same moment share one commit, and none is handed on before it."""

from __future__ import annotations

import asyncio

from evolteacher.store import NewReply, Store

Entry = tuple[NewReply, int | None, asyncio.Future[int]]
"""A reply, the row of ``charges`` in whose place it is paid, and its row in ``replies`` once it is committed."""


class Journal:
    """Writes replies into the run's file, those of one turn of the event loop together.

    Nobody waits for others to arrive: the commit comes in the turn after, before anything new is read from the network.
    What is not committed counts as in flight for whoever asked.

    Args:
        store: the run's file.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._entries: list[Entry] = []

    async def add(self, new: NewReply, charge: int | None = None) -> int:
        """Return the row of a reply once it is committed.

        A reply has been paid: whoever gives up waiting for its row leaves it committed all the same, since a task is
        woken to be cancelled after what was due before.

        Args:
            new: the reply.
            charge: the row of ``charges`` in whose place it is paid.

        Raises:
            RunError: the disk is full or the file is damaged.
        """
        loop = asyncio.get_running_loop()
        if not self._entries:
            loop.call_soon(self._commit)
        committed: asyncio.Future[int] = loop.create_future()
        self._entries.append((new, charge, committed))
        return await committed

    def _commit(self) -> None:
        entries, self._entries = self._entries, []
        try:
            rows = self._store.add_replies([(new, charge) for new, charge, _ in entries])
        except Exception as error:
            for _, _, committed in entries:
                if not committed.done():
                    committed.set_exception(error)
            return
        for (_, _, committed), row in zip(entries, rows, strict=True):
            if not committed.done():
                committed.set_result(row)
