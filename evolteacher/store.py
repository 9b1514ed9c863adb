"""The run's SQLite file: a reply on disk is the only proof that a call was made.

Replies are append-only facts, one row and one commit each; so are results, which a component worked out without an LLM.
Seeds are taken in once. Steps (evolutions, verdicts, records) are derived from them and rewritten in one transaction a
lineage.

Nothing of this depends on the process: a shard's store can be merged into another by copying rows, since a slot is
keyed by the seed's id and never by a counter.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

from evolteacher.database import Database
from evolteacher.messages import Reply, Usage
from evolteacher.record import Instruction, Seed
from evolteacher.tables import INSERT_REPLY, INSERT_RESULT, INSERT_STEP, SELECT_REPLIES, SELECT_RESULTS

REPLY = "reply"
"""The outcome of a call that was answered; any other is the ``outcome`` of a :class:`~evolteacher.errors.CallError`."""

Slot = tuple[int, str, str, bytes]
"""Within a lineage: round, step, nth ask or key, fingerprint of the request."""

Place = tuple[int, str, bytes]
"""Of a result within a lineage: round, step, fingerprint of what it is a result of."""


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


@dataclass(frozen=True, slots=True)
class NewResult:
    """What is written when something is worked out.

    Attributes:
        lineage: as of :class:`NewReply`.
        place: round, step, fingerprint.
        what: it is a result of, as JSON.
        text: the result as JSON.
        seconds: that it took.
    """

    lineage: bytes
    place: Place
    what: str
    text: str
    seconds: float


class StepRow(NamedTuple):
    """One derived step as it is stored: all but the texts that lie in ``seeds`` and ``replies`` already.

    ``child`` is None in round 0 (the seed's own text) and where no rewrite came out; ``parent_round`` is the round
    whose child was rewritten; the reply ids point into ``replies``; ``scores`` are by the filter's label, in the order
    in which they were given; ``response`` is what a filter put in the place of the response, None where none did, and
    ``repaired_by`` the labels of those that did, joined by commas.
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
    response: str | None = None
    repaired_by: str = ""


class Store(Database):
    """The file ``run.db`` of one run: its seeds, what was answered and worked out, and what is derived from them."""

    # seeds

    def add_seeds(self, first: int, seeds: Iterable[Seed]) -> None:
        """Append seeds in one transaction, from place ``first`` on."""
        placed = list(enumerate(seeds, first))
        rows = (
            (n, bytes.fromhex(s.instruction.id), s.instruction.text, s.response, s.source, s.licence) for n, s in placed
        )
        terms = ((n, s.terms) for n, s in placed if s.terms)
        with self.transaction():
            self._db.executemany("INSERT INTO seed_terms VALUES (?, ?)", terms)
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
        query = (
            "SELECT seeds.ord, text, response, source, licence, coalesce(terms, '') FROM seeds "
            "LEFT JOIN seed_terms ON seed_terms.ord = seeds.ord "
            "WHERE seeds.ord > ? AND seeds.ord < ? ORDER BY seeds.ord LIMIT ?"
        )
        while True:
            rows = self._db.execute(query, (last, end, chunk)).fetchall()
            for order, text, *rest in rows:
                yield order, Seed(Instruction(text), *rest)
            if len(rows) < chunk:
                return
            last = rows[-1][0]

    def seed_licences(self) -> list[tuple[str, str, int]]:
        """Return (licence, terms, seeds), most first; empty texts where none are known."""
        return self._db.execute(
            "SELECT licence, coalesce(terms, ''), count(*) FROM seeds LEFT JOIN seed_terms "
            "ON seed_terms.ord = seeds.ord GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2"
        ).fetchall()

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

    def add_result(self, new: NewResult, *, forked: bool = False) -> None:
        """Commit one result as it is worked out.

        Args:
            new: the result.
            forked: it was taken from another run.

        Raises:
            RunError: the disk is full or the file is damaged.
        """
        values = (new.lineage, *new.place, new.what, new.text, new.seconds, time.time(), forked)
        self.write(INSERT_RESULT, values)

    def results(self, lineage: bytes) -> dict[Place, str]:
        """Return everything that was ever worked out in a lineage, as JSON, by place."""
        rows = self._db.execute(SELECT_RESULTS, (lineage,))
        return {(round, step, fingerprint): text for round, step, fingerprint, text in rows}

    def was_asked(self) -> bool:
        """Return whether the folder holds anything that was bought, may yet be billed, or was worked out."""
        tables = ("replies", "charges", "batches", "results")
        return any(self._db.execute(f"SELECT EXISTS (SELECT 1 FROM {table})").fetchone()[0] for table in tables)

    def begin_anew(self) -> None:
        """Forget seeds, experiment and all that is derived from them; only for a store that was never asked."""
        assert not self.was_asked()
        with self.transaction():
            for table in ("seeds", "seed_terms", "steps", "lineages", "drops"):
                self._db.execute(f"DELETE FROM {table}")
            self._db.execute("DELETE FROM meta WHERE key != 'schema'")

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
            rows = [
                (step[0], order, *step[1:-3], json.dumps(step.scores) if step.scores else "{}", *step[-2:])
                for step in steps
            ]
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
