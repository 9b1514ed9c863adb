"""The run's SQLite file."""

import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolteacher.errors import RunError, UsageError
from evolteacher.messages import Reply, Usage
from evolteacher.record import Instruction, Seed
from evolteacher.store import NewReply, StepRow, Store

LINEAGE = bytes(range(16))


def new(nth="0", fingerprint=b"f" * 16, text="answer", **more):
    reply = Reply(text, Usage(3, 4), "stop", "model", 0.5, 0.25)
    return NewReply(LINEAGE, (1, "evolve", nth, fingerprint), more.get("outcome", "reply"), reply, "evolve", "[]")


def step(round, child="c"):
    return StepRow(round, "op", round, 0, child, "response", "", "", None, None)


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "run.db") as store:
        yield store


def test_a_reply_comes_back_as_it_was(store):
    row = store.add_reply(new())
    found = store.replies(LINEAGE)
    assert found == {(1, "evolve", "0", b"f" * 16): (row, "reply", new().reply)}
    assert store.replies(b"x" * 16) == {}


@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_every_text_comes_back_as_it_was(tmp_path_factory, text):
    with Store(tmp_path_factory.mktemp("store") / "run.db") as store:
        store.add_reply(new(text=text))
        store.add_seeds(0, [Seed(Instruction(text), text, text)])
        assert next(iter(store.replies(LINEAGE).values())).reply.text == text
        assert list(store.seeds()) == [(0, Seed(Instruction(text), text, text))]


def test_replies_are_append_only_one_a_slot_and_request(store):
    store.add_reply(new())
    with pytest.raises(RunError, match="UNIQUE"):
        store.add_reply(new(text="another answer to the same request"))
    store.add_reply(new(fingerprint=b"g" * 16))
    store.add_reply(new(nth="1"))
    assert store.reply_count() == 3


def test_a_reply_is_on_disk_when_add_reply_returns(store, tmp_path):
    store.add_reply(new())
    with sqlite3.connect(tmp_path / "run.db") as other:
        assert other.execute("SELECT text FROM replies").fetchall() == [("answer",)]


def test_seeds_stream_in_order_across_chunks_and_up_to_a_limit(store):
    seeds = [Seed(Instruction(f"task {n}")) for n in range(23)]
    store.add_seeds(0, seeds[:10])
    store.add_seeds(10, seeds[10:])
    assert list(store.seeds(chunk=5)) == list(enumerate(seeds))
    assert [order for order, _ in store.seeds(limit=7, chunk=3)] == list(range(7))
    assert store.longest_seed() == len("task 22")


def test_a_lineage_is_rewritten_whole_and_only_when_something_changed(store):
    store.write_lineage(3, [step(0), step(1), step(2)], "interrupted")
    before = store.query("SELECT total_changes()").fetchone()
    store.write_lineage(3, [step(0), step(1), step(2)], "interrupted")
    assert store.query("SELECT total_changes()").fetchone() == before
    store.write_lineage(3, [step(0), step(1, "other")], "")
    assert store.query("SELECT round, child FROM steps ORDER BY round").fetchall() == [(0, "c"), (1, "other")]
    assert store.query("SELECT ord, pending FROM lineages").fetchall() == [(3, "")]


def test_a_transaction_that_fails_changes_nothing(store):
    store.write_lineage(0, [step(0)], "")
    with pytest.raises(RunError):
        store.write_lineage(0, [step(0), step(0)], "")
    assert store.query("SELECT count(*) FROM steps").fetchone() == (1,)


def test_lineages_are_found_by_number_or_by_the_beginning_of_their_id(store):
    seeds = [Seed(Instruction(f"task {n}")) for n in range(40)]
    store.add_seeds(0, seeds)
    wanted = seeds[17].instruction.id
    assert store.find_lineage("17") == [(17, wanted)]
    assert store.find_lineage(wanted) == [(17, wanted)]
    assert (17, wanted) in store.find_lineage(wanted[:6].upper())
    assert store.find_lineage("%") == []
    assert store.find_lineage("zz") == []


@pytest.mark.parametrize("full", [False, True])
def test_the_option_for_power_cuts_is_set(tmp_path, full):
    with Store(tmp_path / "run.db", full_sync=full) as store:
        assert store.query("PRAGMA synchronous").fetchone() == (2 if full else 1,)
        assert store.query("PRAGMA journal_mode").fetchone() == ("wal",)


def test_what_is_no_run_is_said_to_be_none(tmp_path):
    with pytest.raises(UsageError, match="there is no run here"):
        Store(tmp_path / "nothing" / "run.db", read_only=True)
    (tmp_path / "text.db").write_text("this is text, and long enough to be looked at as a database file")
    with pytest.raises(RunError, match="no intact run database"):
        Store(tmp_path / "text.db")
    with sqlite3.connect(tmp_path / "other.db") as other:
        other.execute("CREATE TABLE t (x)")
    with pytest.raises(RunError, match="no evolteacher run"):
        Store(tmp_path / "other.db", read_only=True)
    (tmp_path / "folder.db").mkdir()
    with pytest.raises(RunError, match=r"folder\.db"):
        Store(tmp_path / "folder.db")


def test_a_run_of_a_newer_evolteacher_is_refused(tmp_path):
    with Store(tmp_path / "run.db") as store:
        store.set_meta("schema", 99)
    with pytest.raises(RunError, match="another version"):
        Store(tmp_path / "run.db")


def test_a_reader_beside_the_writer_changes_nothing(store, tmp_path):
    store.add_reply(new())
    with Store(tmp_path / "run.db", read_only=True) as reader:
        assert reader.reply_count() == 1
        with pytest.raises(RunError, match="readonly"):
            reader.set_meta("x", 1)


READ = """
import os, sys
from pathlib import Path
from evolteacher.errors import RunError, UsageError
from evolteacher.store import Store
if os.geteuid() == 0:
    os.seteuid(65534)  # root may write everywhere
for folder in sys.argv[1:]:
    try:
        with Store(Path(folder, "run.db"), read_only=True) as store:
            print("read", store.seed_count(), sorted(os.listdir(folder)))
    except RunError as error:
        print(error)
"""


def test_a_run_in_a_folder_that_cannot_be_written_is_read_if_it_was_ended_properly():
    with tempfile.TemporaryDirectory() as name:  # tmp_path lies where another user may not go
        base = Path(name)
        ended, cut = base / "ended", base / "cut"
        for folder in (base, ended, cut):
            folder.mkdir(exist_ok=True)
        with Store(ended / "run.db") as store:
            store.add_seeds(0, [Seed(Instruction("one")), Seed(Instruction("two"))])
            for file in ("run.db", "run.db-wal"):
                shutil.copyfile(ended / file, cut / file)
        for folder in (base, ended, cut):
            for file in folder.iterdir():
                file.chmod(0o755 if file.is_dir() else 0o444)
            folder.chmod(0o555)
        command = [sys.executable, "-c", READ, str(ended), str(cut)]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
        for folder in (base, ended, cut):
            folder.chmod(0o755)
    assert said[0] == "read 2 ['run.db']"
    assert "cannot be written" in said[1]
    assert "copy its folder" in said[1]
    assert len(said) == 2


def test_whatever_was_bought_or_worked_out_keeps_a_folder_from_being_begun_anew(store):
    """Each of these alone was paid for, or may yet be billed, or took a machine's time."""
    bought = {
        "replies": lambda: store.add_reply(new()),
        "charges": lambda: store.write(
            "INSERT INTO charges (backend, slot, tokens, usd, why, at) VALUES ('evolve', 's', 1, 0.1, 'unknown', 0)"
        ),
        "batches": lambda: store.write(
            "INSERT INTO batches (backend, tag, provider, ended, at) VALUES ('evolve', 't', 'p', 0, 0)"
        ),
        "results": lambda: store.write(
            "INSERT INTO results (lineage, round, step, fingerprint, what, text, seconds, at) "
            "VALUES (x'00', 1, 'filter:x', x'00', '{}', 'passed', 1.5, 0)"
        ),
    }
    derived = {"meta", "seeds", "seed_terms", "steps", "lineages", "drops", "batch_items"}
    tables = {row[0] for row in store.query("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert bought.keys() | derived == tables, "a new table is one or the other"
    for table, buy in bought.items():
        assert not store.was_asked()
        buy()
        assert store.was_asked(), table
        with pytest.raises(AssertionError):
            store.begin_anew()
        store.write(f"DELETE FROM {table}")


def test_what_is_begun_anew_is_empty(store):
    store.add_seeds(0, [Seed(Instruction("one"), "a", "f:1", "mit", "openai")])
    store.write_lineage(0, [step(0), step(1)], "no answer")
    store.add_drops([(1, 0, "near-duplicates", "alike")])
    store.set_meta("experiment", {"seed": 1})
    store.begin_anew()
    for table in ("seeds", "seed_terms", "steps", "lineages", "drops"):
        assert store.query(f"SELECT count(*) FROM {table}").fetchone() == (0,), table
    assert [row[0] for row in store.query("SELECT key FROM meta")] == ["schema"]
