"""Datasets out: each format's bytes, there and back, provenance, whole or not at all."""

import json
import os
import subprocess
import sys
import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evolteacher.catalog import Catalog
from evolteacher.dataset import DATASET_FORMATS, PROVENANCE, convert, merge, write_dataset
from evolteacher.errors import RunError, SeedError, UsageError
from evolteacher.messages import Reply
from evolteacher.record import Evolution, Instruction, Record, text_id
from evolteacher.sources import SeedReport, read_examples, reader_for
from evolteacher_plugins import readers

ENDINGS = {
    "evol": "json",
    "alpaca": "json",
    "sharegpt": "json",
    "chat": "jsonl",
    "jsonl": "jsonl",
    "parquet": "parquet",
}
ODD = ["{{ x }} {0} %s", "quotes \"'", "emoji 😀", "a\r\nb\u2028c\x85d\t\x0b", "NUL \0 in it", "x" * 100_000]


@pytest.fixture(scope="module")
def catalog():
    catalog = Catalog()
    catalog.register(readers, "readers")
    return catalog


def seed(task, answer, **options):
    return Record(Evolution.of_seed(Instruction(task)), answer, lineage=text_id(task), **options)


def rows_of(path, catalog):
    """The (instruction, response) pairs of a dataset, as the readers read them; none may be bad."""
    report = SeedReport()
    reader = reader_for(catalog, str(path))
    found = [(e.instruction, e.response) for _, e in read_examples(reader, str(path), report=report)]
    assert not report.bad, report.messages
    return found


def nothing_else_in(folder, *names):
    assert sorted(entry.name for entry in folder.iterdir()) == sorted(names)


SEED = seed("sort é", "a\n", source="s.jsonl:1", licence="MIT")
EVOLVED = Record(
    Evolution(
        Instruction("sort é"),
        Instruction("sort é fast"),
        "deepen",
        2,
        reply=Reply("sort é fast", model="evolver"),
        depth=1,
    ),
    "b",
    reply=Reply("b", model="answerer"),
    lineage=text_id("sort é"),
    order=3,
    source="s.jsonl:1",
)


def test_the_bytes_of_each_json_format(tmp_path):
    expected = {
        "evol": [{"instruction": "sort é", "output": "a\n"}, {"instruction": "sort é fast", "output": "b"}],
        "alpaca": [
            {"instruction": "sort é", "input": "", "output": "a\n"},
            {"instruction": "sort é fast", "input": "", "output": "b"},
        ],
        "sharegpt": [
            {"conversations": [{"from": "human", "value": "sort é"}, {"from": "gpt", "value": "a\n"}]},
            {"conversations": [{"from": "human", "value": "sort é fast"}, {"from": "gpt", "value": "b"}]},
        ],
        "chat": [
            {"messages": [{"role": "user", "content": "sort é"}, {"role": "assistant", "content": "a\n"}]},
            {"messages": [{"role": "user", "content": "sort é fast"}, {"role": "assistant", "content": "b"}]},
        ],
        "jsonl": [
            {
                "instruction": "sort é",
                "output": "a\n",
                "id": text_id("sort é"),
                "lineage": text_id("sort é"),
                "round": 0,
                "depth": 0,
                "operator": "seed",
                "parent_id": None,
                "model": None,
                "evolve_model": None,
                "source": "s.jsonl:1",
                "licence": "MIT",
                "terms": None,
            },
            {
                "instruction": "sort é fast",
                "output": "b",
                "id": text_id("sort é fast"),
                "lineage": text_id("sort é"),
                "round": 2,
                "depth": 1,
                "operator": "deepen",
                "parent_id": text_id("sort é"),
                "model": "answerer",
                "evolve_model": "evolver",
                "source": "s.jsonl:1",
                "licence": None,
                "terms": None,
            },
        ],
    }
    for format, rows in expected.items():
        assert write_dataset(iter([SEED, EVOLVED]), tmp_path / format, format) == 2
        if format in ("chat", "jsonl"):
            wanted = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        else:
            wanted = json.dumps(rows, indent=2, ensure_ascii=False) + "\n"
        assert (tmp_path / format).read_bytes() == wanted.encode()
    nothing_else_in(tmp_path, *expected)
    assert set(expected) == set(DATASET_FORMATS) - {"parquet"}
    assert list(expected["jsonl"][0]) == list(PROVENANCE)


def test_parquet_has_the_columns_of_jsonl_in_row_groups(tmp_path):
    pq = pytest.importorskip("pyarrow.parquet")
    records = [EVOLVED, SEED] + [seed(f"{n} {'y' * 300_000}", "\udc00") for n in range(60)]
    assert write_dataset(records, tmp_path / "d.parquet", "parquet") == 62
    with pq.ParquetFile(tmp_path / "d.parquet") as table:
        assert table.num_row_groups == 2, "18 MB of text in groups of 16 MiB"
        assert table.schema_arrow.names == list(PROVENANCE)
        rows = table.read().to_pylist()
    write_dataset(records, tmp_path / "d.jsonl", "jsonl")
    assert rows == [json.loads(line) for line in (tmp_path / "d.jsonl").read_text("utf-8").split("\n") if line]
    assert rows[5]["output"] == "\ufffd"


@pytest.mark.parametrize("format", DATASET_FORMATS)
def test_no_record_at_all_is_an_empty_dataset(tmp_path, catalog, format):
    path = tmp_path / f"d.{ENDINGS[format]}"
    assert write_dataset([], path, format) == 0
    assert rows_of(path, catalog) == []
    if ENDINGS[format] == "json":
        assert json.loads(path.read_text()) == []


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda text: not text.isspace())


@given(st.lists(st.tuples(texts | st.sampled_from(ODD), texts | st.sampled_from(ODD)), min_size=1, max_size=5))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15, deadline=None)
def test_from_each_format_to_each_and_back_nothing_is_lost(tmp_path, catalog, pairs):
    evol = tmp_path / "start.json"
    write_dataset([seed(task, answer) for task, answer in pairs], evol, "evol")
    assert rows_of(evol, catalog) == pairs
    here = evol
    for format in [*DATASET_FORMATS, *reversed(DATASET_FORMATS)]:
        there = tmp_path / f"{format}.{ENDINGS[format]}"
        report = convert(here, there, format, catalog=catalog)
        assert (report.written, report.read.bad, report.unanswered) == (len(pairs), 0, 0)
        assert rows_of(there, catalog) == pairs, format
        here = there
    convert(here, tmp_path / "end.json", "evol", catalog=catalog)
    assert (tmp_path / "end.json").read_bytes() == evol.read_bytes()


@pytest.mark.parametrize("format", DATASET_FORMATS)
def test_lone_surrogates_never_reach_a_file(tmp_path, catalog, format):
    path = tmp_path / f"d.{ENDINGS[format]}"
    write_dataset([seed("a", "b \ud800", source="\udfff.json:1"), SEED], path, format)
    assert rows_of(path, catalog) == [("a", "b \ufffd"), ("sort é", "a\n")]


def test_provenance_outlives_conversion_and_merging(tmp_path, catalog):
    pytest.importorskip("pyarrow")
    start = tmp_path / "d.jsonl"
    write_dataset([SEED, EVOLVED], start, "jsonl")
    convert(start, tmp_path / "d.parquet", "parquet", catalog=catalog)
    convert(tmp_path / "d.parquet", tmp_path / "e.jsonl", "jsonl", catalog=catalog)
    assert (tmp_path / "e.jsonl").read_bytes() == start.read_bytes()
    merge([tmp_path / "d.parquet"], tmp_path / "f.jsonl", catalog=catalog)
    assert (tmp_path / "f.jsonl").read_bytes() == start.read_bytes()


def test_rows_of_others_get_a_seeds_provenance(tmp_path, catalog):
    row = dict.fromkeys(PROVENANCE, "x") | {"instruction": "a", "license": "MIT"}
    rows = [row, row | {"round": 2**40, "depth": 1}, row | {"round": True, "depth": 1}, {"instruction": "a", "id": "z"}]
    (tmp_path / "s.json").write_text(json.dumps([{**row, "output": "b"} for row in rows]))
    convert(tmp_path / "s.json", tmp_path / "d.jsonl", "jsonl", catalog=catalog)
    found = [json.loads(line) for line in (tmp_path / "d.jsonl").read_text().splitlines()]
    assert [(row["round"], row["operator"], row["source"]) for row in found] == [(0, "seed", "s.json:1")] * 4
    assert {row["id"] for row in found} == {row["lineage"] for row in found} == {text_id("a")}


def test_convert_reports_what_it_left_out(tmp_path, catalog):
    source = tmp_path / "s.jsonl"
    source.write_text('{"prompt": "a", "completion": "A"}\n{"prompt": "b"}\n{"x": 1}\n{"prompt": "a", "answer": "A"}\n')
    report = convert(source, tmp_path / "d.json", "evol", catalog=catalog)
    assert json.loads((tmp_path / "d.json").read_text()) == [{"instruction": "a", "output": "A"}] * 2
    assert report.lines()[:3] == [
        "4 rows read, 2 written",
        "1 row without a response left out",
        "1 bad row left out",
    ]
    assert report.lines()[3].startswith("  s.jsonl:3: no field is known to hold the instruction")
    with pytest.raises(SeedError, match=r"s\.jsonl:3: .*on_bad_row: skip"):
        convert(source, tmp_path / "never.json", "evol", on_bad_row="fail", catalog=catalog)
    nothing_else_in(tmp_path, "s.jsonl", "d.json")


def test_bad_rows_that_share_a_line_are_told_apart_by_their_number(tmp_path, catalog):
    rows = [{"instruction": "a", "output": "A"}, {"instruction": None}, {"question": None}, {"instruction": ""}]
    (tmp_path / "s.json").write_text(json.dumps(rows))
    report = convert(tmp_path / "s.json", tmp_path / "d.json", "evol", catalog=catalog)
    assert report.lines()[-3:] == [
        "  s.json:1, row 2: instruction: a text is needed, found null",
        "  s.json:1, row 3: question: a text is needed, found null",
        "  s.json:1, row 4: the instruction is empty",
    ]


def test_convert_can_keep_rows_without_a_response(tmp_path, catalog):
    source = tmp_path / "s.txt"
    source.write_text("a\nb\n")
    with pytest.raises(SeedError, match=r"not one of its rows has a response: .*--response.*--keep-unanswered"):
        convert(source, tmp_path / "d.json", "evol", catalog=catalog)
    nothing_else_in(tmp_path, "s.txt")
    for format in DATASET_FORMATS:
        path = tmp_path / f"{format}.{ENDINGS[format]}"
        report = convert(source, path, format, keep_unanswered=True, catalog=catalog)
        assert (report.written, report.unanswered) == (2, 2)
        assert rows_of(path, catalog) == [("a", None), ("b", None)]
    assert "2 rows without a response written with an empty output" in report.lines()
    assert json.loads((tmp_path / "evol.json").read_text())[0] == {"instruction": "a", "output": ""}
    assert '{"messages": [{"role": "user", "content": "a"}]}\n' in (tmp_path / "chat.jsonl").read_text()


def test_convert_by_column_reader_and_format(tmp_path, catalog):
    (tmp_path / "s.data").write_text('{"Problem": "p", "solution": "s", "prompt": "q", "answer": "r"}\n')
    options = {"catalog": catalog, "reader": "jsonl"}
    convert(tmp_path / "s.data", tmp_path / "d.json", "evol", instruction="problem", response="solution", **options)
    assert rows_of(tmp_path / "d.json", catalog) == [("p", "s")]
    convert(tmp_path / "s.data", tmp_path / "d.json", format="prompts", **options)
    assert rows_of(tmp_path / "d.json", catalog) == [("q", "r")]


def test_convert_to_standard_output(tmp_path, catalog, capfdbinary):
    (tmp_path / "s.jsonl").write_text('{"prompt": "é", "answer": "A"}\n')
    for out in (None, "-"):
        convert(tmp_path / "s.jsonl", out, "evol", catalog=catalog)
        assert json.loads(capfdbinary.readouterr().out.decode("utf-8")) == [{"instruction": "é", "output": "A"}]


def test_a_dataset_may_replace_its_own_source(tmp_path, catalog):
    path = tmp_path / "d.json"
    rows = [(f"task {n}", "x" * 1000) for n in range(2000)]
    write_dataset([seed(*row) for row in rows], path, "evol")
    convert(path, path, "sharegpt", catalog=catalog)
    assert rows_of(path, catalog) == rows
    merge([path, path], path, "evol", catalog=catalog)
    assert rows_of(path, catalog) == rows + rows
    nothing_else_in(tmp_path, "d.json")


def test_merge_keeps_all_in_the_order_given(tmp_path, catalog):
    write_dataset([seed("a", "A"), seed("b", "B")], tmp_path / "one.json", "evol")
    write_dataset([], tmp_path / "none.json", "evol")
    write_dataset([seed("b", "B"), seed("b", "other"), seed("c", "C")], tmp_path / "two.jsonl", "chat")
    (tmp_path / "open.txt").write_text("a\n")
    paths = [tmp_path / name for name in ("two.jsonl", "none.json", "one.json", "open.txt")]
    report = merge(paths, tmp_path / "all.json", catalog=catalog)
    every = [("b", "B"), ("b", "other"), ("c", "C"), ("a", "A"), ("b", "B"), ("a", None)]
    assert rows_of(tmp_path / "all.json", catalog) == every
    assert [rows for _, rows in report.sources] == [3, 0, 2, 1]
    assert report.lines()[-1] == "6 rows read, 6 written"
    report = merge(paths, tmp_path / "all.json", unique=True, catalog=catalog)
    assert rows_of(tmp_path / "all.json", catalog) == [*every[:4], every[5]]
    assert (report.written, report.duplicates) == (5, 1)
    assert report.lines()[-1] == "1 equal row left out"


def test_merge_takes_no_rows_for_equal_whose_texts_only_join_alike(tmp_path, catalog):
    rows = [("a", "bc"), ("ab", "c"), ("a", "bc")]
    write_dataset([seed(*row) for row in rows], tmp_path / "d.json", "evol")
    merge([tmp_path / "d.json"], tmp_path / "d.json", unique=True, catalog=catalog)
    assert rows_of(tmp_path / "d.json", catalog) == rows[:2]


def test_merge_tells_the_format_by_the_name(tmp_path, catalog):
    write_dataset([SEED], tmp_path / "one.json", "evol")
    merge([tmp_path / "one.json"], tmp_path / "d.JSONL", catalog=catalog)
    assert list(json.loads((tmp_path / "d.JSONL").read_text("utf-8"))) == list(PROVENANCE)
    for out in ("d.txt", None, "-"):
        with pytest.raises(UsageError, match="the name does not tell the format: say which"):
            convert(tmp_path / "one.json", out, catalog=catalog)
        with pytest.raises(UsageError, match="the name does not tell the format: say which"):
            merge([tmp_path / "one.json"], out, catalog=catalog)
    with pytest.raises(UsageError, match="there is nothing to merge"):
        merge([], tmp_path / "d.json", catalog=catalog)


def test_merge_stops_at_a_bad_row_unless_told_to_skip(tmp_path, catalog):
    write_dataset([SEED], tmp_path / "one.json", "evol")
    (tmp_path / "two.jsonl").write_text('{"x": 1}\n')
    paths = [tmp_path / "one.json", tmp_path / "two.jsonl"]
    with pytest.raises(SeedError, match=r"two\.jsonl:1: no field"):
        merge(paths, tmp_path / "d.json", catalog=catalog)
    assert not (tmp_path / "d.json").exists()
    assert merge(paths, tmp_path / "d.json", on_bad_row="skip", catalog=catalog).read.bad == 1
    with pytest.raises(SeedError, match="there is no such file"):
        merge([tmp_path / "one.json", tmp_path / "three.json"], tmp_path / "d.json", catalog=catalog)
    assert rows_of(tmp_path / "d.json", catalog) == [("sort é", "a\n")]


def test_an_unknown_format_names_the_nearest(tmp_path, catalog):
    with pytest.raises(UsageError, match=r"no dataset format is called 'evl'\. Did you mean 'evol'\?"):
        write_dataset([SEED], tmp_path / "d", "evl")
    with pytest.raises(UsageError, match=r"no dataset format is called 'xlsx'\. There is: alpaca, chat, evol"):
        convert(tmp_path / "s.json", tmp_path / "d", "xlsx", catalog=catalog)
    nothing_else_in(tmp_path)


# --- whole or not at all ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", DATASET_FORMATS)
@pytest.mark.parametrize("stop", [ZeroDivisionError, KeyboardInterrupt, OSError])
def test_when_the_records_stop_half_way_the_old_file_stays(tmp_path, format, stop):
    def records():
        yield from [SEED] * 20_000
        raise stop("the records' own error")

    (tmp_path / "d").write_text("old")
    with pytest.raises(stop, match="the records' own error"):
        write_dataset(records(), tmp_path / "d", format)
    assert (tmp_path / "d").read_text() == "old"
    nothing_else_in(tmp_path, "d")


FULL_DISK = """
import resource, sys
from evolteacher.dataset import write_dataset
from evolteacher.errors import RunError
from evolteacher.record import Evolution, Instruction, Record
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
record = lambda n: Record(Evolution.of_seed(Instruction(f"{n} " * 50)), str(n ** 50), lineage=str(n ** 50))
try:
    write_dataset(map(record, range(20_000)), sys.argv[1], sys.argv[2])
except RunError as error:
    print(error, error.exit_code)
"""


@pytest.mark.parametrize("format", DATASET_FORMATS)
def test_a_full_disk_changes_nothing_and_says_so(tmp_path, format):
    """A limit on the size of files stands in for the disk's end: the same failing write, without a small disk."""
    (tmp_path / "d").write_text("old")
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path / "d"), format]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "cannot be written: File too large. Nothing was changed; check the folder, its perm" in done.stdout
    assert (tmp_path / "d").read_text() == "old"
    nothing_else_in(tmp_path, "d")


def test_targets_that_cannot_be_written(tmp_path):
    with pytest.raises(RunError, match=r"d\.json: cannot be written: No such file or directory"):
        write_dataset([SEED], tmp_path / "no folder" / "d.json", "evol")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("folder", "pipe"):
        with pytest.raises(RunError, match=f"{name}: this is no file that can be replaced"):
            write_dataset([SEED], tmp_path / name, "evol")
    nothing_else_in(tmp_path, "folder", "pipe")
    if os.geteuid() != 0:
        (tmp_path / "folder").chmod(0o500)
        with pytest.raises(RunError, match="Permission denied"):
            write_dataset([SEED], tmp_path / "folder" / "d.json", "evol")


def test_a_link_is_written_through_and_the_umask_kept(tmp_path):
    (tmp_path / "real.json").write_text("old")
    (tmp_path / "link.json").symlink_to("real.json")
    before = os.umask(0o027)
    try:
        write_dataset([SEED], tmp_path / "link.json", "evol")
    finally:
        os.umask(before)
    assert (tmp_path / "link.json").is_symlink()
    assert "sort é" in (tmp_path / "real.json").read_text("utf-8")
    assert (tmp_path / "real.json").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("format", sorted(set(DATASET_FORMATS) - {"parquet"}))
def test_writing_is_a_stream(tmp_path, format):
    records = (seed(f"{n} " * 100, "x" * 2000) for n in range(5_000))
    tracemalloc.start()
    write_dataset(records, tmp_path / "d", format)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


def test_json_and_jsonl_never_import_pyarrow(tmp_path):
    (tmp_path / "s.json").write_text('[{"instruction": "a", "output": "b"}]')
    code = (
        "import sys; from evolteacher.catalog import Catalog; from evolteacher.dataset import convert, merge\n"
        "from evolteacher_plugins import readers\n"
        "catalog = Catalog(); catalog.register(readers, 'readers'); folder = sys.argv[1]\n"
        "for to in ('evol', 'alpaca', 'sharegpt', 'chat', 'jsonl'):\n"
        "    convert(folder + '/s.json', folder + '/' + to + '.jsonl', to, catalog=catalog)\n"
        "    merge([folder + '/' + to + '.jsonl'], folder + '/d.json', catalog=catalog)\n"
        "print(sorted({'pyarrow', 'datasets', 'pandas', 'numpy', 'torch'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[]\n"
    nothing_else_in(tmp_path, "s.json", "d.json", *(f"{f}.jsonl" for f in set(DATASET_FORMATS) - {"parquet"}))


def test_parquet_without_pyarrow_names_the_extra_and_leaves_nothing(tmp_path):
    code = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from evolteacher.dataset import write_dataset; from evolteacher.errors import MissingExtra\n"
        "try: write_dataset([], sys.argv[1], 'parquet')\n"
        "except MissingExtra as error: print(error)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "d.parquet")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "writing Parquet needs the extra 'parquet': pip install 'evolteacher[parquet]'\n"
    nothing_else_in(tmp_path)
