"""Run folders of earlier versions of the store: read as they are, brought up to date by a writer, never guessed at."""

import sqlite3
from contextlib import closing

import pytest
from experiment import dataset_bytes, go, write_seeds

from evolteacher.errors import RunError, UsageError
from evolteacher.history import lineage, records, summarise
from evolteacher.store import Store
from evolteacher.tables import SCHEMA_VERSION

OLD_3 = (
    "ALTER TABLE steps DROP COLUMN response",
    "ALTER TABLE steps DROP COLUMN repaired_by",
    "DROP TABLE results",
)
OLD = {2: OLD_3, 1: (*OLD_3, "ALTER TABLE steps DROP COLUMN scores", "DROP TABLE charges")}
"""Version -> what makes a file of today one of that version."""


def age(path, version):
    """Make a run's file one of an earlier version; return its replies and steps."""
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        for statement in OLD[version]:
            database.execute(statement)
        database.execute("UPDATE meta SET value = ? WHERE key = 'schema'", (str(version),))
        return tuple(database.execute(f"SELECT * FROM {table}").fetchall() for table in ("replies", "steps"))


@pytest.mark.parametrize("version", OLD)
def test_an_old_run_is_read_as_it_is_and_brought_up_to_date_by_a_writer(tmp_path, version):
    seeds, out = write_seeds(tmp_path, 8), tmp_path / "run"
    go(seeds, out)
    path, before = out / "run.db", dataset_bytes(out)
    with Store(path, read_only=True) as store:
        rows, summary = len(list(records(store))), summarise(store)
    replies, steps = age(path, version)
    with Store(path, read_only=True) as store:
        assert store.meta("schema") == version
        assert len(list(records(store))) == rows > 8
        assert summarise(store) == summary
        assert {(step.original, step.repaired_by) for step in lineage(store, 0).steps} == {(None, "")}
        assert store.results(bytes(16)) == {}
    new = [(*row, *(("{}",) if version == 1 else ()), None, "") for row in steps]
    with Store(path) as store:
        assert store.meta("schema") == SCHEMA_VERSION == 3
        assert store.query("SELECT * FROM replies").fetchall() == replies
        assert store.query("SELECT * FROM steps").fetchall() == new
        assert store.results(bytes(16)) == {}
    result = go(seeds, out)
    assert (result.calls, result.replayed, dataset_bytes(out)) == (0, len(replies), before)


@pytest.mark.parametrize("version", OLD)
def test_an_old_run_is_forked_and_goes_on(tmp_path, version):
    seeds, out = write_seeds(tmp_path, 3), tmp_path / "run"
    calls = go(seeds, out).calls
    age(out / "run.db", version)
    forked = go(seeds, tmp_path / "other", fork=out, name="other")
    assert (forked.calls, forked.forked) == (0, calls)
    assert dataset_bytes(tmp_path / "other") == dataset_bytes(out)


def test_a_run_of_a_later_version_is_refused(tmp_path):
    go(write_seeds(tmp_path, 1), tmp_path / "run")
    with closing(sqlite3.connect(tmp_path / "run" / "run.db", isolation_level=None)) as database:
        database.execute("UPDATE meta SET value = '4' WHERE key = 'schema'")
    for read_only in (True, False):
        with pytest.raises(RunError, match="store 4, this one reads 3"):
            Store(tmp_path / "run" / "run.db", read_only=read_only)
    with pytest.raises(UsageError):
        Store(tmp_path / "none" / "run.db", read_only=True)
