"""What a folder has paid, and the provider batches that it has out: two tables of the run's file beside the replies."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import NamedTuple

from evolteacher.money import Price
from evolteacher.store import Store

MILLION = 1_000_000


QUEUED = "it waits for its provider batch"
"""Why a call counts that is not submitted yet: a process that ends now has bought nothing."""

OUT = "its provider batch is out"
"""Why a call counts that has been submitted; the run that collects its batch takes the charge over."""


class Charge(NamedTuple):
    """What one call may come to.

    Attributes:
        row: in ``charges``.
        tokens: at the worst.
        usd: at the worst.
    """

    row: int
    tokens: int
    usd: float


class OpenBatch(NamedTuple):
    """A provider batch whose answers are not all stored.

    Attributes:
        row: in ``batches``.
        tag: told to the provider with it.
        provider: its id there; empty where the process ended before it was known.
        items: ids of its requests.
    """

    row: int
    tag: str
    provider: str
    items: frozenset[str]


class Ledger:
    """Charges and batches of one run.

    A charge is a call that may have been billed and of which there is no reply.

    Args:
        store: the run's file.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def add_charge(self, backend: str, slot: str, tokens: int, usd: float, why: str) -> int:
        """Commit what a call may come to; return its row."""
        sql = "INSERT INTO charges (backend, slot, tokens, usd, why, at) VALUES (?, ?, ?, ?, ?, ?)"
        return self._store.write(sql, (backend, slot, tokens, usd, why, time.time()))

    def change_charge(self, row: int, tokens: int, usd: float, why: str) -> None:
        """Say what a call came to, and why there is no reply."""
        self._store.write("UPDATE charges SET tokens = ?, usd = ?, why = ? WHERE id = ?", (tokens, usd, why, row))

    def remove_charge(self, row: int) -> None:
        """Forget a call that was not billed."""
        self._store.write("DELETE FROM charges WHERE id = ?", (row,))

    def submitted_charges(self) -> dict[tuple[str, str], Charge]:
        """Return the charges of calls whose batch was out when the last run ended, by backend and slot.

        Those that were waiting for their batch are forgotten: they never left.
        """
        self._store.write("DELETE FROM charges WHERE why = ?", (QUEUED,))
        rows = self._store.query("SELECT backend, slot, id, tokens, usd FROM charges WHERE why = ?", (OUT,))
        return {(backend, slot): Charge(*rest) for backend, slot, *rest in rows}

    def end_charges(self, was: str, why: str) -> None:
        """Give another reason to all charges that have one."""
        self._store.write("UPDATE charges SET why = ? WHERE why = ?", (why, was))

    def paid(self, prices: Mapping[str, Price]) -> tuple[float, int]:
        """Return the US dollars and tokens that the folder has ever paid, unknown outcomes at their worst case.

        Args:
            prices: by backend key; for replies that were stored when no price was known.
        """
        usd, tokens = self._store.query("SELECT total(usd), coalesce(sum(tokens), 0) FROM charges").fetchone()
        rows = self._store.query(
            "SELECT backend, total(cost), sum(prompt_tokens), sum(completion_tokens), "
            "total(CASE WHEN cost IS NULL THEN prompt_tokens END), "
            "total(CASE WHEN cost IS NULL THEN completion_tokens END) "
            "FROM replies WHERE NOT forked GROUP BY backend"
        )
        for backend, cost, prompt, completion, prompt_unpriced, completion_unpriced in rows:
            tokens += prompt + completion
            usd += cost
            if (price := prices.get(backend)) is not None:
                usd += (prompt_unpriced * price.input + completion_unpriced * price.output) / MILLION
        return usd, tokens

    def add_batch(self, backend: str, tag: str, items: Mapping[str, str]) -> int:
        """Write, before a batch is submitted, what is in it (item -> slot), also into the charges; return its row."""
        with self._store.transaction():
            row = self._store.write(
                "INSERT INTO batches (backend, tag, provider, ended, at) VALUES (?, ?, '', 0, ?)",
                (backend, tag, time.time()),
            )
            for item in items:
                self._store.write("INSERT INTO batch_items VALUES (?, ?)", (row, bytes.fromhex(item)))
            slots = json.dumps(list(items.values()))
            sql = (
                "UPDATE charges SET why = ? WHERE backend = ? AND why = ? AND slot IN (SELECT value FROM json_each(?))"
            )
            self._store.write(sql, (OUT, backend, QUEUED, slots))
        return row

    def name_batch(self, row: int, provider: str) -> None:
        """Write the provider's id of a batch."""
        self._store.write("UPDATE batches SET provider = ? WHERE id = ?", (provider, row))

    def end_batch(self, row: int) -> None:
        """Write that nothing more comes of a batch: its answers are stored, or it was never submitted."""
        with self._store.transaction():
            self._store.write("UPDATE batches SET ended = 1 WHERE id = ?", (row,))
            self._store.write("DELETE FROM batch_items WHERE batch = ?", (row,))

    def open_batches(self, backend: str) -> list[OpenBatch]:
        """Return the batches of a backend that have not ended, oldest first."""
        sql = "SELECT id, tag, provider FROM batches WHERE backend = ? AND NOT ended ORDER BY id"
        rows = self._store.query(sql, (backend,)).fetchall()
        return [OpenBatch(row, tag, provider, self._items(row)) for row, tag, provider in rows]

    def _items(self, batch: int) -> frozenset[str]:
        return frozenset(
            row[0].hex() for row in self._store.query("SELECT item FROM batch_items WHERE batch = ?", (batch,))
        )
