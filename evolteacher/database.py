"""The SQLite file of a run, whatever it holds: opened, brought up to date, written, and its errors explained."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from evolteacher.errors import RunError, UsageError
from evolteacher.tables import SCHEMA, SCHEMA_VERSION, STEPS_BEFORE, TABLES_SINCE, UPGRADES

DATABASE = "run.db"
"""The file's name in a run folder."""

LOCKED_RECIPE = "recipe.lock.yaml"
"""The name of the recipe beside it, as it was run."""


class Database:
    """One run's SQLite file, and the facts about the run that it holds.

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
            self._db = _open_to_read(path) if read_only else _connect(path)
            if not read_only:
                self._db.execute("PRAGMA journal_mode=wal")
                self._db.execute(f"PRAGMA synchronous={'full' if full_sync else 'normal'}")
                self._db.executescript(SCHEMA)
            version = self.meta("schema")
        if version is None and not read_only:
            self.set_meta("schema", SCHEMA_VERSION)
        elif version not in (*UPGRADES, SCHEMA_VERSION):
            raise RunError(
                f"{self.path}: this run was written by another version of evolteacher (store {version}, "
                f"this one reads {SCHEMA_VERSION}); use the version that its {LOCKED_RECIPE} names"
            )
        elif read_only:
            self._read_as_new(version)
        elif version != SCHEMA_VERSION:
            self._bring_up_to_date()

    def _read_as_new(self, version: int) -> None:
        """Let this reader see what the file lacks, as if a writer had brought it up to date."""
        with self._guard():
            tables = {row[0] for row in self.query("SELECT name FROM main.sqlite_master")}
            missing = [statement for name, statement in TABLES_SINCE.items() if name not in tables]
            if version in STEPS_BEFORE:
                missing.append(STEPS_BEFORE[version])
            if missing:
                self._db.execute("PRAGMA temp_store=memory")
            for statement in missing:
                self._db.execute(statement)

    def _bring_up_to_date(self) -> None:
        """Add to the file what its version lacks."""
        with self.transaction():
            # Another process may have been here since it was looked at.
            for version in range(self.meta("schema"), SCHEMA_VERSION):
                for statement in UPGRADES[version]:
                    self._db.execute(statement)
            self.set_meta("schema", SCHEMA_VERSION)

    @contextmanager
    def _guard(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise RunError(_explain(self.path, error)) from error

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
            raise RunError(_explain(self.path, error)) from error

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

    def query(self, sql: str, values: tuple[Any, ...] = ()) -> sqlite3.Cursor:
        """Read with SQL, for reports; the schema is this module's."""
        return self._db.execute(sql, values)

    def write(self, sql: str, values: tuple[Any, ...] = ()) -> int:
        """Commit one statement; return the row that it inserted last. The schema is this module's."""
        try:
            return self._db.execute(sql, values).lastrowid or 0
        except sqlite3.DatabaseError as error:
            raise RunError(_explain(self.path, error)) from error

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Read the file in the block as it is when the block begins, whatever a writer beside it commits."""
        with self._guard():
            self._db.execute("BEGIN")
            try:
                self._db.execute("SELECT count(*) FROM meta").fetchone()  # the first read is what fixes the view
                yield
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")

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


def _connect(path: Path, parameters: str = "") -> sqlite3.Connection:
    uri = f"{path.resolve().as_uri()}{parameters}"
    return sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)


def _open_to_read(path: Path) -> sqlite3.Connection:
    """Open a run beside its writer, or one that was ended properly and lies where nothing may be written.

    SQLite reads a WAL file through a ``-shm`` beside it, which it must be able to make. Where it is not, and the WAL is
    empty or gone, nobody can be writing and everything is in the main file, which ``immutable`` reads by itself.
    """
    db = _connect(path, "?mode=ro")
    try:
        db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError:
        db.close()
        wal = path.with_name(f"{path.name}-wal")
        if wal.exists() and wal.stat().st_size:
            raise
        db = _connect(path, "?immutable=1")
    return db


def _explain(path: Path, error: sqlite3.DatabaseError) -> str:
    text = str(error)
    if "full" in text or "disk I/O" in text:
        return f"{path}: the disk is full ({text}); free some space and run the same command again: nothing is lost"
    if "readonly" in text or "unable to open" in text:
        return (
            f"{path}: cannot be written ({text}); check the folder's permissions, or choose another with --out. "
            "To read a run that was cut off takes that, too: copy its folder"
        )
    if "no such table" in text:
        return f"{path}: this SQLite file is no evolteacher run ({text}); check the folder's name"
    if "malformed" in text or "not a database" in text:
        return f"{path}: this is no intact run database ({text}); restore it from a backup or choose another --out"
    return f"{path}: the run's database failed: {text}"
