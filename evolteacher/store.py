"""The run's SQLite file: a reply on disk is the only proof that a call was made.

Replies are append-only facts, one row and one commit each. Seeds are taken in once. Steps (evolutions, verdicts,
records) are derived from them and rewritten in one transaction a lineage.

Nothing of this depends on the process: a shard's store can be merged into another by copying rows, since a slot is
keyed by the seed's id and never by a counter.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, Self

from evolteacher.database import connect, explain, open_to_read
from evolteacher.errors import RunError, UsageError
from evolteacher.messages import Reply, Usage
from evolteacher.record import Instruction, Seed
from evolteacher.tables import (
    FROM_1,
    INSERT_REPLY,
    INSERT_STEP,
    READ_1,
    SCHEMA,
    SCHEMA_VERSION,
    SELECT_REPLIES,
)

_READ_WITHOUT_CHARGES = (
    "CREATE TEMP TABLE charges (id INTEGER, backend TEXT, slot TEXT, tokens INTEGER, usd REAL, why TEXT, at REAL)"
)

REPLY = "reply"
"""The outcome of a call that was answered; any other is the ``outcome`` of a :class:`~evolteacher.errors.CallError`."""

Slot = tuple[int, str, str, bytes]
"""Within a lineage: round, step, nth ask or key, fingerprint of the request."""


class StoredReply(NamedTuple):
    """A reply and where it lies.

    Attributes:
        id: row in ``replies``.
        outcome: ``reply``, or what the call settled as; then the text is the reason.
        reply: the answer.
    """

    id: int
    outcome: str
    reply: Reply


@dataclass(frozen=True, slots=True)
class NewReply:
    """What is written when an answer arrives.

    Attributes:
        lineage: the seed's id as 16 bytes; empty for what is asked outside a lineage.
        slot: round, step, nth, fingerprint.
        outcome: ``reply``, or what the call settled as.
        reply: the answer, or an empty one whose text is the reason.
        backend: key of the recipe's backend that answered.
        prompt: the messages as JSON.
    """

    lineage: bytes
    slot: Slot
    outcome: str
    reply: Reply
    backend: str
    prompt: str


class StepRow(NamedTuple):
    """One derived step as it is stored: all but the texts that lie in ``seeds`` and ``replies`` already.

    ``child`` is None in round 0 (the seed's own text) and where no rewrite came out; ``parent_round`` is the round
    whose child was rewritten; the reply ids point into ``replies``; ``scores`` are by the filter's label, in the order
    in which they were given.
    """

    round: int
    operator: str
    depth: int
    parent_round: int
    child: str | None
    stage: str
    filter: str
    reason: str
    evolve_reply: int | None
    respond_reply: int | None
    scores: Mapping[str, float] = MappingProxyType({})


class Store:
    """The file ``run.db`` of one run.

    Args:
        path: the file; made when missing, unless ``read_only``.
        read_only: open for reading beside a writer; nothing is created.
        full_sync: ``synchronous=full``: also the last commits before a power cut survive, at half the speed.
            Without it every commit survives ``kill -9``.

    Raises:
        UsageError: no such run.
        RunError: not evolteacher's, or of a newer evolteacher.
    """

    def __init__(self, path: Path, *, read_only: bool = False, full_sync: bool = False) -> None:
        self.path = path
        if read_only and not path.exists():
            raise UsageError(f"{path.parent}: there is no run here (no {path.name})")
        with self._guard():
            self._db = open_to_read(path) if read_only else connect(path)
            if not read_only:
                self._db.execute("PRAGMA journal_mode=wal")
                self._db.execute(f"PRAGMA synchronous={'full' if full_sync else 'normal'}")
                self._db.executescript(SCHEMA)
        self._check_version(read_only)
        if read_only:
            self._without_charges()

    def _without_charges(self) -> None:
        """Let this reader see an empty table of charges, where the file is older than that table."""
        with self._guard():
            if not self.query("SELECT 1 FROM main.sqlite_master WHERE name = 'charges'").fetchone():
                self._db.execute("PRAGMA temp_store=memory")
                self._db.execute(_READ_WITHOUT_CHARGES)

    def _check_version(self, read_only: bool) -> None:
        with self._guard():
            stored = self.meta("schema")
        if stored is None and not read_only:
            self.set_meta("schema", SCHEMA_VERSION)
        elif stored == 1:
            self._from_version_1(read_only)
        elif stored != SCHEMA_VERSION:
            raise RunError(
                f"{self.path}: this run was written by another version of evolteacher (store {stored}, "
                f"this one reads {SCHEMA_VERSION}); use the version that its recipe.lock.yaml names"
            )

    def _from_version_1(self, read_only: bool) -> None:
        """Add what version 1 lacks: to the file, or to what this reader sees of it."""
        with self._guard():
            if read_only:
                self._db.execute("PRAGMA temp_store=memory")
                self._db.execute(READ_1)
                return
            with self.transaction():
                if self.meta("schema") == 1:  # no other process has been here since it was looked at
                    self._db.execute(FROM_1)
                    self.set_meta("schema", SCHEMA_VERSION)

    @contextmanager
    def _guard(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise RunError(explain(self.path, error)) from error

    def __enter__(self) -> Self:
        """Return the store itself; leaving the block closes it."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """Close.

        Raises:
            RunError: the block failed because the file cannot be read.
        """
        self.close()
        if isinstance(error, sqlite3.DatabaseError):
            raise RunError(explain(self.path, error)) from error

    def close(self) -> None:
        """Close the file; what was committed stays."""
        self._db.close()

    # meta

    def meta(self, key: str) -> Any:
        """Return a stored fact about the run, None where there is none."""
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else json.loads(row[0])

    def metas(self, prefix: str) -> dict[str, Any]:
        """Return the stored facts about the run whose keys begin so."""
        rows = self._db.execute("SELECT key, value FROM meta WHERE substr(key, 1, ?) = ?", (len(prefix), prefix))
        return {key: json.loads(value) for key, value in rows}

    def set_meta(self, key: str, value: Any) -> None:
        """Store a fact about the run as JSON."""
        with self._guard():
            text = json.dumps(value, ensure_ascii=True, sort_keys=True)
            self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, text))

    # seeds

    def add_seeds(self, first: int, seeds: Iterable[Seed]) -> None:
        """Append seeds in one transaction, from place ``first`` on."""
        rows = (
            (first + n, bytes.fromhex(s.instruction.id), s.instruction.text, s.response, s.source, s.licence)
            for n, s in enumerate(seeds)
        )
        with self.transaction():
            self._db.executemany("INSERT INTO seeds VALUES (?, ?, ?, ?, ?, ?)", rows)

    def seed_count(self) -> int:
        """Return how many seeds the run has taken in."""
        return int(self._db.execute("SELECT count(*) FROM seeds").fetchone()[0])

    def seed_digests(self, first: int, count: int) -> list[tuple[bytes, bytes]]:
        """Return (id, digest of the response) of up to ``count`` seeds, to compare with a source."""
        rows = self._db.execute("SELECT id, response FROM seeds WHERE ord >= ? ORDER BY ord LIMIT ?", (first, count))
        return [(row[0], response_digest(row[1])) for row in rows]

    def seed_ids(self) -> set[bytes]:
        """Return the ids of all seeds: 16 bytes each."""
        return {row[0] for row in self._db.execute("SELECT id FROM seeds")}

    def seeds(self, limit: int | None = None, chunk: int = 256) -> Iterator[tuple[int, Seed]]:
        """Stream (place, seed) in order, reading ``chunk`` at a time."""
        last = -1
        end = limit if limit is not None else 2**62
        query = "SELECT ord, text, response, source, licence FROM seeds WHERE ord > ? AND ord < ? ORDER BY ord LIMIT ?"
        while True:
            rows = self._db.execute(query, (last, end, chunk)).fetchall()
            for order, text, response, source, licence in rows:
                yield order, Seed(Instruction(text), response, source, licence)
            if len(rows) < chunk:
                return
            last = rows[-1][0]

    def find_lineage(self, prefix: str) -> list[tuple[int, str]]:
        """Return (place, id) of the lineages whose id begins with some hexadecimal digits, or of that place."""
        if prefix.isascii() and prefix.isdigit() and len(prefix) < 10:
            rows = self._db.execute("SELECT ord, id FROM seeds WHERE ord = ?", (int(prefix),)).fetchall()
            if rows:
                return [(row[0], row[1].hex()) for row in rows]
        if not all(char in "0123456789abcdefABCDEF" for char in prefix):
            return []
        query = "SELECT ord, id FROM seeds WHERE lower(hex(id)) LIKE ? ORDER BY ord LIMIT 10"
        return [(row[0], row[1].hex()) for row in self._db.execute(query, (f"{prefix.lower()}%",))]

    def longest_seed(self) -> int:
        """Return the characters of the longest seed instruction."""
        return int(self._db.execute("SELECT coalesce(max(length(text)), 0) FROM seeds").fetchone()[0])

    # replies

    def add_reply(self, new: NewReply, *, forked: bool = False, charge: int | None = None) -> int:
        """Commit one reply; return its row.

        Args:
            new: the reply.
            forked: it was taken from another run.
            charge: the row of ``charges`` in whose place it is paid.

        Raises:
            RunError: the disk is full or the file is damaged.
        """
        if charge is None:
            return self.write(INSERT_REPLY, _reply_row(new, forked))
        with self.transaction():
            row = self.write(INSERT_REPLY, _reply_row(new, forked))
            self.write("DELETE FROM charges WHERE id = ?", (charge,))
        return row

    def add_replies(self, bought: Sequence[tuple[NewReply, int | None]]) -> list[int]:
        """Commit replies in one transaction, each with its charge as :meth:`add_reply` does; return their rows.

        Raises:
            RunError: the disk is full or the file is damaged; then none is there.
        """
        if len(bought) == 1:
            ((new, charge),) = bought
            return [self.add_reply(new, charge=charge)]
        with self.transaction():
            return [self.add_reply(new, charge=charge) for new, charge in bought]

    def replies(self, lineage: bytes) -> dict[Slot, StoredReply]:
        """Return everything that was ever answered in a lineage, by slot."""
        found = {}
        for row in self._db.execute(SELECT_REPLIES, (lineage,)):
            usage = Usage(row[9], row[10])
            reply = Reply(row[6], usage, row[7], row[8], row[11], row[12])
            found[row[1], row[2], row[3], row[4]] = StoredReply(row[0], row[5], reply)
        return found

    def reply_count(self) -> int:
        """Return how many calls the folder holds an outcome of."""
        return int(self._db.execute("SELECT count(*) FROM replies").fetchone()[0])

    def prompt(self, reply_id: int) -> str:
        """Return the messages, as JSON, that a stored reply answered."""
        row = self._db.execute("SELECT prompt FROM replies WHERE id = ?", (reply_id,)).fetchone()
        return "" if row is None else str(row[0])

    # what is derived

    def lineage_digest(self, order: int) -> bytes | None:
        """Return the digest of a lineage's derived rows as they are stored."""
        row = self._db.execute("SELECT digest FROM lineages WHERE ord = ?", (order,)).fetchone()
        return None if row is None else bytes(row[0])

    def write_lineage(self, order: int, steps: list[StepRow], pending: str) -> None:
        """Rewrite what is derived of a lineage, in one transaction; nothing is written where nothing changed."""
        digest = hashlib.blake2b(repr((steps, pending)).encode("utf-8"), digest_size=16).digest()
        stored = self.lineage_digest(order)
        if stored == digest:
            return
        with self.transaction():
            if stored is not None:
                self._db.execute("DELETE FROM steps WHERE ord = ?", (order,))
            rows = [(step[0], order, *step[1:-1], json.dumps(step.scores) if step.scores else "{}") for step in steps]
            self._db.executemany(INSERT_STEP, rows)
            self._db.execute("INSERT OR REPLACE INTO lineages VALUES (?, ?, ?)", (order, digest, pending))

    def clear_drops(self) -> None:
        """Forget the dataset filters' rejections, before they are made again."""
        with self._guard():
            self._db.execute("DELETE FROM drops")

    def add_drops(self, drops: Iterable[tuple[int, int, str, str]]) -> None:
        """Write one dataset filter's rejections, in one transaction: (round, place, filter, reason)."""
        with self.transaction():
            self._db.executemany("INSERT INTO drops VALUES (?, ?, ?, ?)", drops)

    def query(self, sql: str, values: tuple[Any, ...] = ()) -> sqlite3.Cursor:
        """Read with SQL, for reports; the schema is this module's."""
        return self._db.execute(sql, values)

    def write(self, sql: str, values: tuple[Any, ...] = ()) -> int:
        """Commit one statement; return the row that it inserted last. The schema is this module's."""
        try:
            return self._db.execute(sql, values).lastrowid or 0
        except sqlite3.DatabaseError as error:
            raise RunError(explain(self.path, error)) from error

    @contextmanager
    def transaction(self, *, keep: bool = True) -> Iterator[None]:
        """Make several writes one: all of them, or none (``keep``: False rehearses); within another, a part of it."""
        if self._db.in_transaction:
            yield
            return
        with self._guard():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT" if keep else "ROLLBACK")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise


def _reply_row(new: NewReply, forked: bool) -> tuple[Any, ...]:
    reply = new.reply
    usage = reply.usage
    return (
        new.lineage, *new.slot, new.outcome, reply.text, reply.finish_reason, reply.model, usage.prompt_tokens,
        usage.completion_tokens, reply.latency, reply.cost, new.backend, new.prompt, time.time(), forked,
    )  # fmt: skip


def response_digest(response: str | None) -> bytes:
    """Return 16 bytes that tell a seed's response from another, and from none."""
    if response is None:
        return b"\0" * 16
    return hashlib.blake2b(response.encode("utf-8"), digest_size=16).digest()
