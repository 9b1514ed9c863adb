"""Opening a SQLite file, and saying what is wrong with one."""

from __future__ import annotations

import sqlite3
from pathlib import Path


def connect(path: Path, parameters: str = "") -> sqlite3.Connection:
    """Open a file; each statement commits by itself outside a transaction that is begun."""
    uri = f"{path.resolve().as_uri()}{parameters}"
    return sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)


def open_to_read(path: Path) -> sqlite3.Connection:
    """Open a run beside its writer, or one that was ended properly and lies where nothing may be written.

    SQLite reads a WAL file through a ``-shm`` beside it, which it must be able to make. Where it is not, and the WAL is
    empty or gone, nobody can be writing and everything is in the main file, which ``immutable`` reads by itself.
    """
    db = connect(path, "?mode=ro")
    try:
        db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError:
        db.close()
        wal = path.with_name(f"{path.name}-wal")
        if wal.exists() and wal.stat().st_size:
            raise
        db = connect(path, "?immutable=1")
    return db


def explain(path: Path, error: sqlite3.DatabaseError) -> str:
    """Return what a user can do about an error of SQLite."""
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
