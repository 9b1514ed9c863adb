"""evolteacher decontaminate: side by side, the rows without, the certificate, and what is wrong."""

import json

import pytest

PROMPT = "Tell how many of the harbour's lanterns are lit on the night before the regatta begins."


@pytest.fixture
def files(folder):
    rows = [{"instruction": f"Sum the first {n} numbers.", "output": "x"} for n in range(2)]
    rows.append({"instruction": f"Please:\n{PROMPT.upper()}", "output": "\x1b[31m\u202e x"})
    (folder / "data.json").write_text(json.dumps(rows))
    (folder / "bench.txt").write_text(f"{PROMPT}\n")
    return folder


def test_it_shows_writes_and_certifies(cli, files):
    words = ("decontaminate", "data.json", "--against", "problems:bench.txt")
    found = cli(*words)
    assert found.code == 1 and "3 rows checked, 1 with a problem of a benchmark" in found.err
    assert "it holds the prompt of" in found.out and "HARBOUR" in found.out and "harbour" in found.out
    assert "\u202e" not in found.out and "\x1b[31m" not in found.out
    done = cli(*words, "--out", "clean.json", "--certificate", "c.json")
    assert done.code == 0 and "2 written" in done.err
    assert len(json.loads((files / "clean.json").read_text())) == 2
    told = json.loads((files / "c.json").read_text())
    assert (told["rows_checked"], told["rows_found"], told["rows_removed"]) == (3, 1, 1)
    shown = cli(*words, "--json")
    assert json.loads(shown.out)["pairs"] == told["pairs"] and shown.code == 1
    assert cli("decontaminate", "clean.json", *words[2:], "--json").code == 0


def test_it_says_what_is_wrong(cli, files):
    to = ("decontaminate", "data.json", "--against")
    cli(*to, "humanevl").refused(2, "no benchmark is called 'humanevl'", "humaneval")
    cli(*to, "mbpp:none.jsonl").refused(2, "none.jsonl")
    cli(*to, "mbpp: {pth: x}").refused(2, "its options")
    cli(*to, "mbpp: {").refused(2, "--against")
    cli(*to, "problems:bench.txt", "--against", "problems:bench.txt").refused(2, "there twice")
    cli(*to, "problems:bench.txt", "--method", "exakt").refused(2, "exact")
    cli(*to, "problems:bench.txt", "--out", "o.json", "--certificate", "o.json").refused(2, "a file of its own")
    (files / "link.json").symlink_to("data.json")
    before = (files / "data.json").read_bytes()
    cli(*to, "problems:bench.txt", "--certificate", "link.json").refused(2, "a file of its own")
    cli(*to, "problems:bench.txt", "--out", "data.json", "--certificate", "no/folder/c.json").refused(1, "no/folder")
    assert (files / "data.json").read_bytes() == before
    cli(*to, "problems:bench.txt", "--out", "-", "--json").refused(2, "--out a file")
    cli("decontaminate", "none.json", "--against", "problems:bench.txt").refused(2, "none.json")
    cli("decontaminate", "data.json").refused(2, "--against")


def test_a_run_folder_is_told_from_a_dataset(cli, files):
    (files / "runs").mkdir()
    (files / "runs/run.db").touch()
    for command in (("decontaminate", "runs", "--against", "problems:bench.txt"), ("convert", "runs", "--to", "jsonl")):
        cli(*command).refused(2, "the folder of a run", "runs/dataset.jsonl")
