"""Rows of any dataset or run, split by lineage, and in tokens whose loss is on the response only."""

import json

import pytest
from experiment import go, write_seeds
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_model import tokenizer

from evolteacher.catalog import Catalog
from evolteacher.dataset import PROVENANCE
from evolteacher.errors import SeedError, UsageError
from evolteacher.promptform import PromptForm
from evolteacher.training.rows import Row, read_rows, split
from evolteacher.training.tokens import NOT_COUNTED, tokenise
from evolteacher.trainsection import Data

lineages = st.lists(st.sampled_from([f"seed{n}" for n in range(30)]), min_size=2, max_size=60)


def rows_of(names):
    return [Row(f"task {n}", "answer", name, n) for n, name in enumerate(names)]


@settings(max_examples=60)
@given(lineages.filter(lambda names: len(set(names)) > 1), st.floats(0.01, 0.99), st.integers(0, 5))
def test_no_lineage_is_on_both_sides_and_no_row_is_lost(names, share, seed):
    rows = rows_of(names)
    learnt, held = split(rows, share, seed)
    assert learnt and held
    assert not {row.lineage for row in learnt} & {row.lineage for row in held}
    assert sorted([*learnt, *held], key=lambda row: row.round) == rows
    assert [row for row in rows if row in learnt] == learnt
    assert split(rows, share, seed) == (learnt, held)


def test_a_lineage_is_on_the_same_side_in_every_dataset():
    many, some = (rows_of([f"seed{n}" for n in numbers]) for numbers in (range(400), range(0, 400, 3)))
    held, fewer = ({row.lineage for row in split(rows, 0.2, 7)[1]} for rows in (many, some))
    assert fewer == held & {row.lineage for row in some}
    assert 50 <= len(held) <= 110
    assert {row.lineage for row in split(many, 0.2, 8)[1]} != held


def test_nothing_is_held_out_unless_asked_and_one_lineage_cannot_be_split():
    rows = rows_of(["a", "a", "b"])
    assert split(rows, 0, 1) == (rows, [])
    with pytest.raises(UsageError, match="validation: 0"):
        split(rows[:2], 0.5, 1)


def test_a_runs_rows_have_their_lineages_and_what_is_unfinished_is_said(tmp_path):
    run = tmp_path / "run"
    go(write_seeds(tmp_path, 6), run, rounds=2)
    read = read_rows(str(run), None, Catalog.load())
    lines = [json.loads(line) for line in (run / "dataset.jsonl").read_text().splitlines()]
    assert [(row.instruction, row.response, row.lineage, row.round) for row in read.rows] == [
        (line["instruction"], line["output"], line["lineage"], line["round"]) for line in lines
    ]
    assert len(read.rows) > len({row.lineage for row in read.rows}) == 6
    assert read.notes == () and read.certificate is None
    (run / "decontamination.json").write_text('{"compared": ["humaneval"]}')
    from_file = read_rows(str(run / "dataset.jsonl"), None, Catalog.load())
    assert from_file.rows == read.rows and from_file.digest == read.digest
    assert from_file.certificate == {"compared": ["humaneval"]}


def test_a_datasets_rows_are_read_as_convert_reads_them(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("q,a,licence\nSort.,sorted(x),mit\nSort.,x.sort(),\nOpen.,,\n")
    section = Data(path=str(path), instruction="q", response="a", licence="cc0-1.0")
    read = read_rows(str(path), section, Catalog.load())
    assert [(row.instruction, row.response, row.licence) for row in read.rows] == [
        ("Sort.", "sorted(x)", "mit"),
        ("Sort.", "x.sort()", "cc0-1.0"),
    ]
    assert len({row.lineage for row in read.rows}) == 1, "equal instructions are one lineage"
    assert read.licences == {"mit": 1, "cc0-1.0": 1} and read.terms == {}
    assert read.notes == ("1 row without a response left out",)


def test_a_row_that_names_no_lineage_is_one_of_its_own(tmp_path):
    path = tmp_path / "merged.jsonl"
    nothing = dict.fromkeys(PROVENANCE) | {"round": 0, "depth": 0}
    rows = [{**nothing, "instruction": f"task {n}", "output": "answer"} for n in range(4)]
    rows[3]["lineage"] = "f" * 32
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = [row.lineage for row in read_rows(str(path), None, Catalog.load()).rows]
    assert len(set(found)) == 4 and all(found) and found[3] == "f" * 32


def test_terms_are_counted_by_name(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"instruction": "a", "output": "b", "terms": "mit, openai"}\n{"instruction": "c", "output": "d", '
                    '"terms": "openai"}\n')  # fmt: skip
    assert read_rows(str(path), None, Catalog.load()).terms == {"openai": 2, "mit": 1}


def test_what_cannot_be_learnt_says_why(tmp_path):
    (tmp_path / "prompts.txt").write_text("Sort.\nOpen.\n")
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "folder").mkdir()
    wrong = {
        "prompts.txt": (UsageError, "nothing to learn"),
        "empty.jsonl": (SeedError, "no row"),
        "folder": (UsageError, "holds no run"),
        "gone.jsonl": (SeedError, "no such file"),
        "runs/gone": (UsageError, "evolteacher run"),
    }
    for name, (error, said) in wrong.items():
        with pytest.raises(error, match=said):
            read_rows(str(tmp_path / name), None, Catalog.load())
    assert len(wrong) == 5


@pytest.fixture(scope="module")
def tokens():
    pytest.importorskip("transformers", reason="the extra 'transformers' is not installed")
    return tokenizer()


ROWS = [Row("short", "answer", "a"), Row("short", "a much longer answer " * 5, "b"), Row("long prompt " * 20, "x", "c")]


def test_the_loss_is_on_the_response_and_its_end_and_the_prompt_is_what_a_model_is_asked_by(tokens):
    form = PromptForm.choose("chat", tokens)
    (row,) = tokenise(ROWS[:1], form, tokens, 100, "drop").rows
    counted = [token for token, label in zip(row["input_ids"], row["labels"], strict=True) if label != NOT_COUNTED]
    assert tokens.decode(counted) == "answer<|end|>"
    prompt = tokens.apply_chat_template([{"role": "user", "content": "short"}], add_generation_prompt=True)["input_ids"]
    assert row["input_ids"][: len(prompt)] == prompt and row["labels"][: len(prompt)] == [NOT_COUNTED] * len(prompt)


def test_rows_too_long_are_counted_and_never_silently_so(tokens):
    form = PromptForm.choose("chat", tokens)
    dropped = tokenise(ROWS, form, tokens, 60, "drop")
    assert (len(dropped.rows), dropped.dropped, dropped.cut) == (1, 2, 0)
    assert dropped.notes(60) == [f"2 rows of more than 60 tokens dropped; the longest has {dropped.longest:,}"]
    cut = tokenise(ROWS, form, tokens, 60, "truncate")
    assert (len(cut.rows), cut.dropped, cut.cut) == (2, 1, 1)
    assert len(cut.rows[1]["input_ids"]) == 60 and cut.rows[1]["labels"][-1] != tokens.eos_token_id
    assert len(cut.notes(60)) == 2
    with pytest.raises(UsageError, match="max_length is 60"):
        tokenise(ROWS, form, tokens, 60, "fail")
    whole = tokenise(ROWS, form, tokens, None, "fail")
    assert (len(whole.rows), whole.notes(None)) == (3, [])
