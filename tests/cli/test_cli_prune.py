"""evolteacher prune: a thin command over a function that has tests of its own (tests/test_sieve.py)."""

import json


def test_prune_writes_what_is_kept_and_explains_the_rest(cli, folder):
    rows = [{"instruction": f"Sort the list of {what}, and print it.", "output": "x"} for what in ("as", "bs", "as")]
    (folder / "data.json").write_text(json.dumps(rows))
    done = cli("prune", "data.json", "--filter", "near-duplicates: {threshold: 0.9}", "--filter", "pii",
               "--out", "-", "--to", "evol", "--rejects", "why.jsonl")  # fmt: skip
    assert done.code == 0
    assert json.loads(done.out) == rows[:2]
    assert "3 rows read, 2 written\nnear-duplicates: 1 row rejected" in done.err
    (why,) = [json.loads(line) for line in (folder / "why.jsonl").read_text().splitlines()]
    assert why["filter"] == "near-duplicates" and why["order"] == 2


def test_prune_says_what_is_wrong(cli, folder):
    (folder / "data.jsonl").write_text('{"instruction": "a", "output": "b"}\nno row\n')
    cli("prune", "data.jsonl", "--filter", "near-duplicates: {", "--out", "o.jsonl").refused(2, "not valid YAML", "cap")
    cli("prune", "data.jsonl", "--filter", "near-duplicates", "--out", "o").refused(2, "does not tell the format")
    cli("prune", "data.jsonl", "--filter", "empty", "--out", "o.jsonl", "--strict").refused(2, "data.jsonl:2")
    cli("prune", "data.jsonl", "--out", "o.jsonl").refused(2, "Missing option '--filter'")
    assert not (folder / "o.jsonl").exists()
