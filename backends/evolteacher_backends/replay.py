"""Answers out of another run's database, for the ``scripted`` backend."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path

import evolteacher as et
from evolteacher import errors

DATABASE = "run.db"
"""The file of a run folder that holds its replies."""

SCHEMAS = ("1", "2", "3")
"""Versions of the database whose replies are read here, as its ``meta`` table tells them: alike in all of these."""

REPLY = "reply"
"""The outcome of a call that was answered; others name the error that the call settled as."""

_ROW = "outcome, text, finish_reason, model, prompt_tokens, completion_tokens, latency"


class Replay:
    """The replies of a finished or running run, which is only read.

    A request is answered by the reply to the same messages, whatever model and sampling they went to: the one of the
    same slot where there are several, else the oldest. Without one, by the oldest reply of the same slot. A call that
    settled as an error raises it again. Holds 16 bytes and a number for each stored prompt.

    Args:
        path: the run's folder, or its database.

    Raises:
        UsageError: there is no run, or not one that can be read.
    """

    def __init__(self, path: Path) -> None:
        file = path / DATABASE if path.is_dir() else path
        if not file.is_file():
            raise errors.UsageError(f"{path}: backend 'scripted': there is no run here (no {DATABASE})")
        self._db = sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)
        try:
            self._check_version(file)
            self._by_messages = self._read_prompts()
        except (sqlite3.DatabaseError, ValueError, KeyError) as error:
            self._db.close()
            raise errors.UsageError(f"{file}: backend 'scripted' cannot read this run: {error}") from None
        except errors.UsageError:
            self._db.close()
            raise

    def _check_version(self, file: Path) -> None:
        row = self._db.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone()
        if row is None or row[0] not in SCHEMAS:
            raise errors.UsageError(
                f"{file}: backend 'scripted': this run was written by another version of evolteacher"
            )

    def _read_prompts(self) -> dict[bytes, int]:
        found: dict[bytes, int] = {}
        for row, prompt in self._db.execute("SELECT id, prompt FROM replies ORDER BY id"):
            found.setdefault(_digest((message["role"], message["content"]) for message in json.loads(prompt)), row)
        return found

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    def find(self, request: et.Request) -> et.Reply | None:
        """Return the reply to a request, None where the run has none.

        Raises:
            CallError: the call settled as this error.
        """
        digest = _digest((message.role, message.content) for message in request.messages)
        in_slot = self._in_slot(request.slot)
        row = next((row for row, prompt in in_slot if prompt == digest), None)
        if row is None:
            row = self._by_messages.get(digest, in_slot[0][0] if in_slot else None)
        if row is None:
            return None
        outcome, text, finish_reason, model, prompt_tokens, completion_tokens, latency = self._db.execute(
            f"SELECT {_ROW} FROM replies WHERE id = ?", (row,)
        ).fetchone()
        if outcome != REPLY:
            raise errors.CALL_ERRORS[outcome](text)
        return et.Reply(text, et.Usage(prompt_tokens, completion_tokens), finish_reason, model, latency)

    def _in_slot(self, slot: str) -> list[tuple[int, bytes]]:
        lineage, _, rest = slot.partition("/")
        round_, _, rest = rest.partition("/")
        try:
            key = (bytes.fromhex(lineage), int(round_), rest)
        except ValueError:
            return []
        rows = self._db.execute(
            "SELECT id, prompt FROM replies WHERE lineage = ? AND round = ? AND step || '/' || nth = ? ORDER BY id", key
        )
        return [(row, _digest((m["role"], m["content"]) for m in json.loads(prompt))) for row, prompt in rows]


def _digest(messages: Iterable[tuple[str, str]]) -> bytes:
    packed = json.dumps(list(messages)).encode("ascii")
    return blake2b(packed, digest_size=16).digest()
