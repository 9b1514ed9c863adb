"""The tables of a run's SQLite file, and the statements that are used for each reply."""

from __future__ import annotations

SCHEMA_VERSION = 2
"""1: before steps had scores; opened for writing it is brought up to date, and read as it is."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS seeds (
    ord INTEGER PRIMARY KEY, id BLOB NOT NULL, text TEXT NOT NULL, response TEXT,
    source TEXT NOT NULL, licence TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS replies (
    id INTEGER PRIMARY KEY, lineage BLOB NOT NULL, round INTEGER NOT NULL, step TEXT NOT NULL, nth TEXT NOT NULL,
    fingerprint BLOB NOT NULL, outcome TEXT NOT NULL, text TEXT NOT NULL, finish_reason TEXT NOT NULL,
    model TEXT NOT NULL, prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, latency REAL NOT NULL,
    cost REAL, backend TEXT NOT NULL, prompt TEXT NOT NULL, at REAL NOT NULL, forked INTEGER NOT NULL DEFAULT 0);
CREATE UNIQUE INDEX IF NOT EXISTS slot ON replies (lineage, round, step, nth, fingerprint);
CREATE TABLE IF NOT EXISTS steps (
    round INTEGER NOT NULL, ord INTEGER NOT NULL, operator TEXT NOT NULL, depth INTEGER NOT NULL,
    parent_round INTEGER NOT NULL, child TEXT, stage TEXT NOT NULL, filter TEXT NOT NULL, reason TEXT NOT NULL,
    evolve_reply INTEGER, respond_reply INTEGER, scores TEXT NOT NULL DEFAULT '{}',
    PRIMARY KEY (ord, round)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS output_order ON steps (round, ord);
CREATE TABLE IF NOT EXISTS lineages (ord INTEGER PRIMARY KEY, digest BLOB NOT NULL, pending TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS drops (
    round INTEGER NOT NULL, ord INTEGER NOT NULL, filter TEXT NOT NULL, reason TEXT NOT NULL,
    PRIMARY KEY (round, ord)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS charges (
    id INTEGER PRIMARY KEY, backend TEXT NOT NULL, slot TEXT NOT NULL, tokens INTEGER NOT NULL, usd REAL NOT NULL,
    why TEXT NOT NULL, at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS batches (
    id INTEGER PRIMARY KEY, backend TEXT NOT NULL, tag TEXT NOT NULL UNIQUE, provider TEXT NOT NULL,
    ended INTEGER NOT NULL, at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS batch_items (
    batch INTEGER NOT NULL, item BLOB NOT NULL, PRIMARY KEY (batch, item)) WITHOUT ROWID;
"""

FROM_1 = "ALTER TABLE steps ADD COLUMN scores TEXT NOT NULL DEFAULT '{}'"
"""Brings the file of version 1 up to date."""

READ_1 = "CREATE TEMP VIEW steps AS SELECT *, '{}' AS scores FROM main.steps"
"""Shows the file of version 1, opened read-only, as if it were up to date."""

_REPLY_COLUMNS = (
    "lineage, round, step, nth, fingerprint, outcome, text, finish_reason, model, prompt_tokens, "
    "completion_tokens, latency, cost, backend, prompt, at, forked"
)
INSERT_REPLY = f"INSERT INTO replies ({_REPLY_COLUMNS}) VALUES ({', '.join('?' * 17)})"
SELECT_REPLIES = (
    "SELECT id, round, step, nth, fingerprint, outcome, text, finish_reason, model, prompt_tokens, completion_tokens, "
    "latency, cost FROM replies WHERE lineage = ?"
)
INSERT_STEP = f"INSERT INTO steps VALUES ({', '.join('?' * 12)})"
