"""The tables of a run's SQLite file, and the statements that are used for each reply."""

from __future__ import annotations

SCHEMA_VERSION = 3
"""1: before steps had scores; 2: before there were results and repaired responses. Both are read as they are, and
brought up to date when they are opened for writing."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS seeds (
    ord INTEGER PRIMARY KEY, id BLOB NOT NULL, text TEXT NOT NULL, response TEXT,
    source TEXT NOT NULL, licence TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS seed_terms (ord INTEGER PRIMARY KEY, terms TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS replies (
    id INTEGER PRIMARY KEY, lineage BLOB NOT NULL, round INTEGER NOT NULL, step TEXT NOT NULL, nth TEXT NOT NULL,
    fingerprint BLOB NOT NULL, outcome TEXT NOT NULL, text TEXT NOT NULL, finish_reason TEXT NOT NULL,
    model TEXT NOT NULL, prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, latency REAL NOT NULL,
    cost REAL, backend TEXT NOT NULL, prompt TEXT NOT NULL, at REAL NOT NULL, forked INTEGER NOT NULL DEFAULT 0);
CREATE UNIQUE INDEX IF NOT EXISTS slot ON replies (lineage, round, step, nth, fingerprint);
CREATE TABLE IF NOT EXISTS results (
    id INTEGER PRIMARY KEY, lineage BLOB NOT NULL, round INTEGER NOT NULL, step TEXT NOT NULL,
    fingerprint BLOB NOT NULL, what TEXT NOT NULL, text TEXT NOT NULL, seconds REAL NOT NULL, at REAL NOT NULL,
    forked INTEGER NOT NULL DEFAULT 0);
CREATE UNIQUE INDEX IF NOT EXISTS result_place ON results (lineage, round, step, fingerprint);
CREATE TABLE IF NOT EXISTS steps (
    round INTEGER NOT NULL, ord INTEGER NOT NULL, operator TEXT NOT NULL, depth INTEGER NOT NULL,
    parent_round INTEGER NOT NULL, child TEXT, stage TEXT NOT NULL, filter TEXT NOT NULL, reason TEXT NOT NULL,
    evolve_reply INTEGER, respond_reply INTEGER, scores TEXT NOT NULL DEFAULT '{}',
    response TEXT, repaired_by TEXT NOT NULL DEFAULT '',
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

UPGRADES = {
    1: ("ALTER TABLE steps ADD COLUMN scores TEXT NOT NULL DEFAULT '{}'",),
    2: (
        "ALTER TABLE steps ADD COLUMN response TEXT",
        "ALTER TABLE steps ADD COLUMN repaired_by TEXT NOT NULL DEFAULT ''",
    ),
}
"""Version -> what brings a file of it to the next one; tables that are new are made by :data:`SCHEMA` anyway."""

STEPS_BEFORE = {
    1: "CREATE TEMP VIEW steps AS SELECT *, '{}' AS scores, NULL AS response, '' AS repaired_by FROM main.steps",
    2: "CREATE TEMP VIEW steps AS SELECT *, NULL AS response, '' AS repaired_by FROM main.steps",
}
"""Version -> what shows the steps of a file of it, opened read-only, as if it were up to date."""

TABLES_SINCE = {
    "seed_terms": "CREATE TEMP TABLE seed_terms (ord INTEGER PRIMARY KEY, terms TEXT)",
    "charges": "CREATE TEMP TABLE charges "
    "(id INTEGER, backend TEXT, slot TEXT, tokens INTEGER, usd REAL, why TEXT, at REAL)",
    "results": "CREATE TEMP TABLE results (id INTEGER, lineage BLOB, round INTEGER, step TEXT, fingerprint BLOB, "
    "what TEXT, text TEXT, seconds REAL, at REAL, forked INTEGER)",
}
"""Tables that an old file may lack -> what shows a reader of it an empty one."""

_REPLY_COLUMNS = (
    "lineage, round, step, nth, fingerprint, outcome, text, finish_reason, model, prompt_tokens, "
    "completion_tokens, latency, cost, backend, prompt, at, forked"
)
INSERT_REPLY = f"INSERT INTO replies ({_REPLY_COLUMNS}) VALUES ({', '.join('?' * 17)})"
SELECT_REPLIES = (
    "SELECT id, round, step, nth, fingerprint, outcome, text, finish_reason, model, prompt_tokens, completion_tokens, "
    "latency, cost FROM replies WHERE lineage = ?"
)
INSERT_RESULT = (
    "INSERT INTO results (lineage, round, step, fingerprint, what, text, seconds, at, forked) "
    f"VALUES ({', '.join('?' * 9)})"
)
SELECT_RESULTS = "SELECT round, step, fingerprint, text FROM results WHERE lineage = ?"
INSERT_STEP = f"INSERT INTO steps VALUES ({', '.join('?' * 14)})"
