"""export, convert, merge: thin commands over functions that have tests of their own."""

import json

import pytest
from commands import TASKS

from evolteacher.dataset import DATASET_FORMATS


@pytest.fixture
def run(cli):
    assert cli("run", "recipe.yaml").code == 0


@pytest.mark.parametrize("format", DATASET_FORMATS)
def test_export_makes_any_format(cli, folder, run, format):
    result = cli("export", "runs/small", "--format", format, "--out", "out.file")
    assert result.code == 0
    assert "12 rows written to out.file" in result.err
    assert (folder / "out.file").stat().st_size > 100


def test_export_of_a_round_that_the_run_does_not_have_is_refused(cli, folder, run):
    for format in ("evol", "rounds"):
        refused = cli("export", "runs/small", "--format", format, "--round", "3", "--out", "out.file")
        refused.refused(2, "--round 3", "runs/small has rounds 0 to 2")
    assert not (folder / "out.file").exists()


def test_export_of_a_run_that_never_began_is_refused(cli, folder):
    cli("run", "recipe.yaml", "--set", "seeds=nowhere.jsonl").refused(2, "nowhere.jsonl")
    before = sorted((folder / "runs/small").iterdir())
    for words in ([], ["--round", "1"], ["--format", "rounds"]):
        cli("export", "runs/small", *words).refused(2, "runs/small: this run never began", "run its recipe first")
    assert [path for path in sorted((folder / "runs/small").iterdir()) if "run.db-" not in path.name] == before


def test_export_of_a_round_counts_those_rows_whose_licence_is_lost(cli, folder):
    assert cli("run", "recipe.yaml", "--set", "seeds.licence=mit").code == 0
    for words, rows in ([], 12), (["--round", "1"], 4):
        said = cli("export", "runs/small", "--format", "chat", "--out", "o", *words).err
        assert f"licence or terms of {rows} rows left out: only jsonl and parquet have a place for them" in said


def test_export_makes_the_runs_own_files_again(cli, folder, run):
    for name, format in {"dataset.json": "evol", "dataset.jsonl": "jsonl", "dataset.chat.jsonl": "chat"}.items():
        path = folder / "runs/small" / name
        before = path.read_bytes()
        path.unlink()
        assert cli("export", "runs/small", "--format", format).code == 0
        assert path.read_bytes() == before


def test_export_of_rounds(cli, folder, run):
    assert cli("export", "runs/small", "--format", "rounds", "--out", "by/round").code == 0
    sizes = [len(json.loads((folder / f"by/round/round-{n}.json").read_text())) for n in range(3)]
    assert sizes == [4, 4, 4]
    assert len(json.loads(cli("export", "runs/small", "--round", 0, "--out", "-").out)) == 4
    assert cli("export", "runs/small", "--format", "rounds", "--round", 1, "--out", "one").code == 0
    assert [path.name for path in (folder / "one").iterdir()] == ["round-1.json"]
    cli("export", "runs/small", "--format", "rounds", "--out", "-").refused(2, "several files", "--round")
    assert not (folder / "-").exists()
    for format in ("alpaca", "sharegpt", "chat"):
        assert cli("export", "runs/small", "--format", format, "--round", 1).code == 0
    for name in ("round-1.alpaca.json", "round-1.sharegpt.json", "round-1.chat.jsonl"):
        assert (folder / "runs/small" / name).exists()


def test_convert_to_stdout_says_the_rest_on_stderr(cli):
    result = cli("convert", "seeds.jsonl", "--to", "sharegpt")
    assert result.code == 0
    rows = json.loads(result.out)
    assert [row["conversations"][0]["value"] for row in rows] == TASKS
    assert "4 rows read, 4 written" in result.err


def test_convert_takes_columns_and_keeps_the_unanswered(cli, folder):
    (folder / "odd.jsonl").write_text('{"q": "Sort.", "a": "sorted()"}\n{"q": "Count.", "a": null}\nnot json\n')
    words = ["convert", "odd.jsonl", "--to", "evol", "--instruction", "q", "--response", "a"]
    assert len(json.loads(cli(*words).out)) == 1
    assert json.loads(cli(*words, "--keep-unanswered").out)[1] == {"instruction": "Count.", "output": ""}
    cli(*words, "--strict").refused(2, "odd.jsonl:3")
    assert cli(*words, "--out", "odd.json").code == 0
    assert len(json.loads((folder / "odd.json").read_text())) == 1


def test_convert_of_a_file_whose_name_tells_nothing(cli, folder):
    (folder / "seeds.jsonl").rename(folder / "tasks.bin")
    cli("convert", "tasks.bin", "--to", "evol").refused(2, "tasks.bin: no seed reader knows", "`reader`")
    assert len(json.loads(cli("convert", "tasks.bin", "--to", "evol", "--reader", "jsonl").out)) == 4
    cli("convert", "tasks", "--to", "evol").refused(2, "tasks: there is no such file")


def test_merge_keeps_order_and_can_leave_equal_rows_out(cli, folder, run):
    files = [f"runs/small/round-{n}.json" for n in (0, 1, 2)]
    assert cli("merge", *files, "--out", "all.json").code == 0
    assert (folder / "all.json").read_bytes() == (folder / "runs/small/dataset.json").read_bytes()
    result = cli("merge", *files, *files, "--out", "all.jsonl", "--unique")
    assert "12 equal rows left out" in result.err
    assert len((folder / "all.jsonl").read_text().splitlines()) == 12
    (folder / "bad.jsonl").write_text("not json\n")
    cli("merge", "bad.jsonl", files[0], "--out", "x.json").refused(2, "bad.jsonl:1")
    assert cli("merge", "bad.jsonl", files[0], "--out", "x.json", "--skip-bad-rows").code == 0
