"""Seed readers: each file form, each way in which a file can be broken, and memory that does not grow."""

import gzip
import io
import json
import os
import subprocess
import sys
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evolteacher import Row
from evolteacher.errors import SeedError
from evolteacher_plugins.json_stream import json_rows, line_rows
from evolteacher_plugins.readers import Csv, Hub, Json, Jsonl, Parquet, Text

A, B, C = {"instruction": "a"}, {"instruction": "b\nb"}, {"instruction": "c"}


def read(reader, path, content):
    """What a reader gives for a file of this content, as (line, data or error) pairs."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    rows = list(reader.rows(str(path)))
    assert all(row.where.startswith(f"{path.name}:") for row in rows), "named by file, never by folder"
    assert all(row.data is None for row in rows if row.error)
    return [(int(row.where.rpartition(":")[2]), row.error or row.data) for row in rows]


class Dribble(io.BytesIO):
    """A file that gives a few bytes at a time, so that every border between chunks is met."""

    step = 1

    def read(self, size=-1, /):
        return super().read(self.step if size < 0 else min(size, self.step))


# --- JSON ---------------------------------------------------------------------------------------------------------

FORMS = {
    "a list": ('[{"instruction": "a"}, {"instruction": "b\\nb"},\n {"instruction": "c"}]', [1, 1, 2]),
    "a list laid out": (json.dumps([A, B, C], indent=4), [2, 5, 8]),
    "a list with CRLF and BOM": ("\ufeff" + json.dumps([A, B, C], indent=1).replace("\n", "\r\n"), [2, 5, 8]),
    "an object with data": (json.dumps({"version": [1, {"data": []}], "data": [A, B, C]}), [1, 1, 1]),
    "an object with train": (json.dumps({"Train": [A, B, C], "test": [A]}, indent=2), [3, 6, 9]),
    "an object with rows": ('{"features": [{"name": "rows"}],\n"rows" : \n[\n' + json.dumps(A) + ',\n{"instruction":'
                            '"b\\nb"}, {"instruction":"c"}]}', [4, 5, 5]),
    "lines": (f"{json.dumps(A)}\n{json.dumps(B)}\n\n{json.dumps(C)}", [1, 2, 4]),
    "objects one after another": ("\n".join(json.dumps(row, indent=1) for row in (A, B, C)), [1, 4, 7]),
    "objects and commas": (f"{json.dumps(A)},\n{json.dumps(B)},\n{json.dumps(C)},\n", [1, 2, 3]),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["seeds.json", "Seeds.JSON.gz"])
def test_json_in_every_form(tmp_path, form, name):
    text, lines = FORMS[form]
    content = gzip.compress(text.encode()) if name.endswith("gz") else text.encode()
    assert Json.claims(name)
    assert read(Json(), tmp_path / name, content) == list(zip(lines, [A, B, C], strict=True))


def test_json_list_under_a_named_key(tmp_path):
    text = json.dumps({"data": [1], "Prompts": [A, B]})
    assert read(Json(key="prompts"), tmp_path / "s.json", text) == [(1, A), (1, B)]
    with pytest.raises(SeedError, match=r"s\.json: no list is under the key 'promts'"):
        read(Json(key="promts"), tmp_path / "s.json", text)
    with pytest.raises(SeedError, match="no list is under the key 'data'"):
        read(Json(key="data"), tmp_path / "s.json", '{"data": {"a": []}}')


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("", []),
        ("\ufeff \r\n\t", []),
        ("[]", []),
        ("[\n]\n", []),
        ('{"data": []}', []),
        ('{"instruction": "a"}', [A]),
        ('"one"\n"two"\n', ["one", "two"]),
        ('[1, null, true, "x", [2], 1.5e3]', [1, None, True, "x", [2], 1500.0]),
        ("12", [12]),
        ('["\\u0000 \\ud83d\\ude00 {{ x }} %s"]', ["\0 😀 {{ x }} %s"]),
        ('["raw tab \t and NUL \0 in a text"]', ["raw tab \t and NUL \0 in a text"]),
        ('["\\ud800"]', ["\ud800"]),
    ],
)
def test_json_of_odd_content(tmp_path, text, data):
    assert [found for _, found in read(Json(), tmp_path / "s.json", text)] == data


BAD_JSON = [
    # text, rows as (line, data or the beginning of the error)
    ('[\n{"instruction": "a"},\n]', [(2, A), (3, "a comma without a row after it")]),
    ('[\n{"instruction": "a"},,\n{"instruction": "c"}]', [(2, A), (2, "a comma without a row before it"), (3, C)]),
    ('[{"instruction": "a"}\n{"instruction": "c"}]', [(1, A), (2, "a comma is missing before this row"), (2, C)]),
    ('[{"instruction": "a"}]\nthank you', [(1, A), (2, "there is text after the list's end")]),
    ('[{"instruction": "a"},\n', [(1, A), (2, "the list is never closed: is the file cut off?")]),
    ('[{"instruction": "a"},\n {"instruction": "b', [(1, A), (2, "the row never ends: is the file cut off?")]),
    ('[{"instruction": "a"},\n {"instruction": "b\\', [(1, A), (2, "the row never ends")]),
    ('[{"instruction": "a"},\n {"instruction": "b\\u12', [(1, A), (2, "the row never ends")]),
    ('[{"instruction": "a"},\n {"instruction": tru', [(1, A), (2, "the row never ends")]),
    ('[{"instruction": "a"},\n {"instruction"', [(1, A), (2, "the row never ends")]),
    ('[{"instruction": NaN},\n{"instruction": "c"}]', [(1, "NaN is not JSON: write null"), (2, C)]),
    ('[-Infinity, {"instruction": "c"}]', [(1, "-Infinity is not JSON"), (1, C)]),
    ("[{'instruction': 'a'},\n{\"instruction\": \"c\"}]", [(1, "not JSON: Expecting property name"), (2, C)]),
    ('[{"instruction":\n "a",},\n{"instruction": "c"}]', [(1, "not JSON: "), (3, C)]),
    ('[{"instruction": "\\x"}, {"instruction": "c"}]', [(1, "not JSON: Invalid \\escape"), (1, C)]),
    ('[nul, {"instruction": "c"}]', [(1, "not JSON: Expecting value"), (1, C)]),
    ('[truefalse, {"instruction": "c"}]', [(1, "not JSON: Extra data"), (1, C)]),
    ("[" + "9" * 5000 + ', {"instruction": "c"}]', [(1, "Exceeds the limit"), (1, C)]),
    ("[" + "[" * 100_000 + "]" * 100_000 + ', {"instruction": "c"}]', [(1, "nested too deeply"), (1, C)]),
    ("\0\0\0", [(1, "not JSON: Expecting value (column 1 of the row)")]),
    (b'[{"instruction": "\xff\xfe"},\n{"instruction": "c"}]', [(1, "not UTF-8: byte 0xff, the row's byte 18"), (2, C)]),
    (b'[{"instruction": "\xed\xa0\x80"}, "\xc3\xa9"]', [(1, {"instruction": "\ud800"}), (1, "é")]),
    (b'[{"instruction": "a"}, {"instruction": "\xc3', [(1, A), (1, "the row never ends")]),
]


def matches(rows, expected):
    assert [line for line, _ in rows] == [line for line, _ in expected], rows
    for (_, found), (_, wanted) in zip(rows, expected, strict=True):
        assert found == wanted or (isinstance(found, str) and found.startswith(wanted)), (found, wanted)


def test_json_that_is_broken_costs_only_its_row(tmp_path):
    for text, expected in BAD_JSON:
        matches(read(Json(), tmp_path / "s.json", text), expected)
    assert len(BAD_JSON) == 23


BROKEN_JSON = [
    (
        '[{"instruction": "a"},\n{"instruction": "b},\n{"instruction": "c"}]',
        "s.json:2: a quote is missing in this line",
    ),
    ('[{"instruction": "a"},\n{"x": "b"]},\n{"instruction": "c"}]', "s.json:2: a ']' has no counterpart"),
    ('[{"instruction": "a"}},\n{"instruction": "c"}]', "s.json:1: a '}' has no counterpart"),
    ('[{"instruction": "a"},\n{"x": {"y": 1},\n{"instruction": "c"}]', "s.json:3: a ']' has no counterpart"),
    ('{"x": 1,\n"y": [}\n', "s.json:2: a '}' has no counterpart"),
    ('{"x": 1\n"y": 2, \n', "s.json:2: Expecting ',' delimiter, in the row that begins in line 1"),
    ("]", "s.json:1: a ']' has no counterpart"),
]


def test_json_whose_rows_cannot_be_told_apart_stops_with_the_line(tmp_path):
    for text, words in BROKEN_JSON:
        (tmp_path / "s.json").write_text(text)
        for rows in (Json().rows(str(tmp_path / "s.json")), json_rows(Dribble(text.encode()), "s.json")):
            with pytest.raises(SeedError) as caught:
                list(rows)
            assert words in str(caught.value), (text, str(caught.value))
    assert len(BROKEN_JSON) == 7


def test_json_of_opening_brackets_alone(tmp_path):
    with pytest.raises(SeedError, match=r"s\.json:1: the row that begins here never ends"):
        read(Json(), tmp_path / "s.json", "[" * 100_000)


def test_json_row_without_an_end_is_given_up_before_memory_is(tmp_path):
    path = tmp_path / "s.json"
    path.write_bytes(b'[{"instruction": "a"},\n{"x": [' + (b'"' + b"x" * 100_000 + b'",') * 680 + b"0]}]")
    with pytest.raises(SeedError, match=r"s\.json:2: what begins here is over 64 MiB"):
        list(Json().rows(str(path)))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
layouts = st.fixed_dictionaries({"indent": st.none() | st.integers(0, 3), "ensure_ascii": st.booleans()})


def packed(value, layout, crlf):
    text = json.dumps(value, **layout)
    return (text.replace("\n", "\r\n") if crlf else text).encode("utf-8", "surrogatepass")


@given(st.lists(json_values, max_size=5), layouts, st.booleans(), st.integers(1, 40), st.booleans())
def test_json_lists_are_read_whatever_the_layout_and_the_chunks(values, layout, crlf, step, wrapped):
    file = Dribble(packed({"n": 0, "rows": values} if wrapped else values, layout, crlf))
    file.step = step
    assert list(json_rows(file, "x")) == [Row(row.where, value) for row, value in _paired(file, values)]


def _paired(file, values):
    file.seek(0)
    rows = list(json_rows(file, "x"))
    assert len(rows) == len(values)
    return zip(rows, values, strict=True)


@given(st.binary(max_size=60) | st.text('[]{},:"\\n1 truefalsn\n', max_size=60).map(str.encode), st.integers(1, 70))
@settings(max_examples=400)
def test_any_bytes_are_rows_or_a_seed_error_whatever_the_chunks(data, step):
    def outcome(reading, file):
        rows = []
        try:
            rows.extend(reading(file, "x"))
        except SeedError as error:
            return rows, str(error)
        return rows, None

    file = Dribble(data)
    file.step = step
    for reading in (json_rows, line_rows):
        file.seek(0)
        found, error = outcome(reading, file)
        assert len(found) <= 2 * len(data) + 1, "a row a byte, a comma missing before each, the list not closed"
        if error is None and reading is json_rows:
            assert outcome(reading, io.BytesIO(data))[0] == found


def test_json_and_jsonl_are_read_as_streams(tmp_path):
    rows = [{"instruction": f"{number} " * 100, "output": "x" * 300} for number in range(30_000)]
    (tmp_path / "s.json").write_text(json.dumps(rows))
    (tmp_path / "s.jsonl").write_text("\n".join(map(json.dumps, rows)))
    del rows
    assert (tmp_path / "s.json").stat().st_size > 20 << 20
    for reader, name in ((Json(), "s.json"), (Jsonl(), "s.jsonl")):
        tracemalloc.start()
        count = sum(1 for _ in reader.rows(str(tmp_path / name)))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert count == 30_000
        assert peak < 8 << 20, name


# --- JSON Lines ---------------------------------------------------------------------------------------------------


def test_jsonl(tmp_path):
    text = '\ufeff{"instruction": "a"}\r\n\r\n  \n"b"\n\n{"instruction": "c"}'
    assert read(Jsonl(), tmp_path / "s.jsonl", text) == [(1, A), (4, "b"), (6, C)]
    assert read(Jsonl(), tmp_path / "s.jsonl.gz", gzip.compress(text.encode())) == [(1, A), (4, "b"), (6, C)]
    assert read(Jsonl(), tmp_path / "s.jsonl", "\n\n") == []
    assert read(Jsonl(), tmp_path / "s.jsonl", json.dumps([A, C], indent=1)) == [(2, A), (5, C)]


def test_jsonl_keeps_every_kind_of_text(tmp_path):
    texts = ["{{ x }} {0} %s", "quotes \"'", "emoji 😀", "a\r\nb\u2028c\x85d\x0b", "\0", "x" * 200_000, "\ud800"]
    lines = "\n".join(json.dumps(text) for text in texts)
    assert [data for _, data in read(Jsonl(), tmp_path / "s.jsonl", lines)] == texts
    lines = "\n".join(json.dumps(text, ensure_ascii=False) for text in texts)
    assert [data for _, data in read(Jsonl(), tmp_path / "s.jsonl", lines.encode("utf-8", "surrogatepass"))] == texts


BAD_LINES = [
    (b'{"instruction": ', "not JSON: Expecting value (column 17 of the row)"),
    (b'{"instruction": "a"} x', "not JSON: Extra data"),
    (b'{"instruction": "a"},', "not JSON: Extra data"),
    (b'{"instruction": NaN}', "NaN is not JSON: write null"),
    (b'{"instruction": "\xff"}', "not UTF-8: byte 0xff, the row's byte 18"),
    (b"\0\0\0\0", "not JSON: Expecting value"),
    (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested too deeply"),
    (b"9" * 5000, "Exceeds the limit"),
    (b"plain words", "not JSON: Expecting value (column 1 of the row)"),
]


def test_jsonl_lines_that_are_broken_cost_only_themselves(tmp_path):
    content = b'{"instruction": "a"}\n' + b"\n".join(line for line, _ in BAD_LINES) + b'\n{"instruction": "c"}\n'
    rows = read(Jsonl(), tmp_path / "s.jsonl", content)
    matches(rows, [(1, A), *((n, words) for n, (_, words) in enumerate(BAD_LINES, 2)), (11, C)])


def test_a_file_without_line_ends_is_given_up(tmp_path):
    (tmp_path / "s.jsonl").write_bytes(b"x" * (65 << 20))
    with pytest.raises(SeedError, match=r"s\.jsonl:1: a line of over 64 MiB"):
        list(Jsonl().rows(str(tmp_path / "s.jsonl")))


# --- plain text and CSV -------------------------------------------------------------------------------------------


def test_text(tmp_path):
    content = "\ufeff first \r\n\n{{ second }}\t\n".encode() + b"\xff\nlast"
    rows = read(Text(), tmp_path / "s.txt", content)
    assert rows == [(1, "first"), (3, "{{ second }}"), (4, "not UTF-8: byte 0xff, the row's byte 1"), (5, "last")]


def test_csv(tmp_path):
    text = '\ufeffinstruction , output\r\n"a, with\r\n""two"" lines",x\r\n\r\nb\r\nc,é,z\r\n' + "d," + "y" * 200_000
    rows = read(Csv(), tmp_path / "s.csv", text)
    assert rows == [
        (2, {"instruction": 'a, with\r\n"two" lines', "output": "x"}),
        (5, {"instruction": "b"}),
        (6, "3 fields, and there are 2 columns"),
        (7, {"instruction": "d", "output": "y" * 200_000}),
    ]
    assert read(Csv(), tmp_path / "s.tsv", "instruction\toutput\na\tb, c\n") == [
        (2, {"instruction": "a", "output": "b, c"})
    ]
    assert read(Csv(), tmp_path / "s.csv", "") == []


def test_csv_that_is_broken(tmp_path):
    rows = read(Csv(), tmp_path / "s.csv", b'instruction,output\n"a"b,x\nc,\xff\nd,y\n"never closed,\nz')
    assert [line for line, _ in rows] == [2, 3, 4, 5]
    assert rows[0][1].startswith("not CSV: ")
    assert rows[1][1] == "output: not UTF-8"
    assert rows[2][1] == {"instruction": "d", "output": "y"}
    assert rows[3][1].startswith("not CSV: ")


# --- Parquet ------------------------------------------------------------------------------------------------------


def parquet(path, columns, **options):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table(columns), path, **options)


def test_parquet_rows_by_number_across_batches_and_row_groups(tmp_path):
    pytest.importorskip("pyarrow")
    path = tmp_path / "s.parquet"
    texts = [f"{{{{ {n} }}}} 😀\0" for n in range(25)]
    parquet(path, {"instruction": texts, "output": [None] * 25}, row_group_size=10)
    rows = list(Parquet(batch_rows=4).rows(str(path)))
    assert [row.where for row in rows] == [f"s.parquet: row {n}" for n in range(1, 26)]
    assert [row.data for row in rows] == [{"instruction": text, "output": None} for text in texts]


def test_parquet_with_bytes_that_are_not_utf8_costs_only_the_row(tmp_path):
    pa = pytest.importorskip("pyarrow")
    damaged = pa.array([b"a", b"\xff", b"c"]).view(pa.string())
    parquet(tmp_path / "s.parquet", {"instruction": damaged})
    rows = list(Parquet().rows(str(tmp_path / "s.parquet")))
    assert [row.data for row in rows] == [A, None, C]
    assert "not UTF-8" in rows[1].error


def test_parquet_that_is_none_or_cut_off(tmp_path):
    pytest.importorskip("pyarrow")
    path = tmp_path / "s.parquet"
    parquet(path, {"instruction": ["a"] * 100})
    whole = path.read_bytes()
    damaged = whole[:4] + bytes(40) + whole[44:]
    for content in (b"", b"no parquet at all", whole[: len(whole) // 2], damaged):
        path.write_bytes(content)
        with pytest.raises(SeedError, match=r"s\.parquet: cannot be read as Parquet after 0 rows: "):
            list(Parquet().rows(str(path)))
    with pytest.raises(SeedError, match="there is no such file"):
        list(Parquet().rows(str(tmp_path / "none.parquet")))


# --- sources as a whole -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reader", [Json(), Jsonl(), Text(), Csv(), Parquet()], ids=lambda reader: reader.name)
def test_a_missing_file_a_folder_and_a_file_that_may_not_be_read(tmp_path, reader):
    if reader.name == "parquet":
        pytest.importorskip("pyarrow")
    (tmp_path / "seeds.jsonl").write_text("")
    with pytest.raises(SeedError, match=r"seedz\.jsonl: there is no such file\. Did you mean 'seeds\.jsonl'\?"):
        list(reader.rows(str(tmp_path / "seedz.jsonl")))
    with pytest.raises(SeedError, match="there is no such file"):
        list(reader.rows(str(tmp_path / "no" / "folder.jsonl")))
    with pytest.raises(SeedError, match="this is a folder: name a file in it"):
        list(reader.rows(str(tmp_path)))
    with pytest.raises(SeedError):
        list(reader.rows("a\0b"))
    if os.geteuid() != 0:
        (tmp_path / "seeds.jsonl").chmod(0)
        with pytest.raises(SeedError, match="Permission denied"):
            list(reader.rows(str(tmp_path / "seeds.jsonl")))


@pytest.mark.parametrize("reader", [Json(), Jsonl(), Text(), Csv()], ids=lambda reader: reader.name)
def test_utf16_is_named(tmp_path, reader):
    for encoding in ("utf-16", "utf-32"):
        (tmp_path / "s").write_bytes('{"instruction": "a"}'.encode(encoding))
        with pytest.raises(SeedError, match="this is UTF-16 or UTF-32: save it as UTF-8"):
            list(reader.rows(str(tmp_path / "s")))


@pytest.mark.parametrize("reader", [Json(), Jsonl(), Text(), Csv()], ids=lambda reader: reader.name)
def test_gzip_that_is_damaged(tmp_path, reader):
    lines = "\n".join(json.dumps({"instruction": os.urandom(20).hex()}) for _ in range(200)).encode()
    whole = gzip.compress(lines)
    for content in (whole[: len(whole) // 2], whole[:20] + bytes(50) + whole[70:], whole[:3]):
        (tmp_path / "s.gz").write_bytes(content)
        with pytest.raises(SeedError, match="the gzip file is damaged or cut off"):
            list(reader.rows(str(tmp_path / "s.gz")))


def test_files_are_closed_when_reading_stops_early(tmp_path):
    (tmp_path / "s.jsonl").write_text('{"instruction": "a"}\n' * 10)
    rows = Jsonl().rows(str(tmp_path / "s.jsonl"))
    assert next(rows).data == A
    rows.close()  # an open file would be a ResourceWarning, which is an error here


def test_each_source_is_claimed_by_one_reader():
    readers = [Json, Jsonl, Text, Csv, Parquet, Hub]
    claims = {
        "a.json": Json, "a.JSON.GZ": Json, "a.jsonl": Jsonl, "a.jsonl.gz": Jsonl, "a.ndjson": Jsonl, "a.txt": Text,
        "a.csv": Csv, "a.tsv": Csv, "a.parquet": Parquet, "hf:owner/name": Hub, "hf:owner/x.json": Hub, "a.xyz": None,
    }  # fmt: skip
    for source, reader in claims.items():
        assert [cls for cls in readers if cls.claims(source)] == ([reader] if reader else []), source
    assert set(claims.values()) - {None} == set(readers)


# --- the hub ------------------------------------------------------------------------------------------------------


def test_hub_form_is_checked_before_anything_is_imported():
    for source in ("hf:", "hf:a b", "hf:a/b/c/d", "hf:a/b:", "hf:a/b@", "hf:../../etc:train:x"):
        with pytest.raises(SeedError, match="write hf:owner/name, or in full"):
            list(Hub().rows(source))


def test_hub_through_datasets(tmp_path, monkeypatch):
    """``datasets`` itself, reading a folder that stands where the hub's dataset would be looked for."""
    pytest.importorskip("datasets", reason="the extra 'hub' is not installed")
    folder = tmp_path / "owner" / "name"
    folder.mkdir(parents=True)
    for split, rows in (("train", [A, B]), ("test", [C])):
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert list(Hub().rows("hf:owner/name")) == [
        Row("hf:owner/name:train: row 1", A),
        Row("hf:owner/name:train: row 2", B),
    ]
    assert [row.data for row in Hub().rows("hf:owner/name:test")] == [C]
    assert [row.data for row in Hub(split="test").rows("hf:owner/name")] == [C]
    for source in ("hf:owner/name:dev", "hf:owner/none"):
        with pytest.raises(SeedError, match=r"hf:owner/\w+:\w+: cannot be read after 0 rows: "):
            list(Hub().rows(source))


WITHOUT = """
import sys
sys.modules["{package}"] = None
from evolteacher.errors import MissingExtra
from evolteacher_plugins.readers import {reader}
try:
    list({reader}().rows("{source}"))
except MissingExtra as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("package", "reader", "source", "extra"),
    [("pyarrow", "Parquet", "x.parquet", "parquet"), ("datasets", "Hub", "hf:owner/name", "hub")],
)
def test_a_missing_package_names_the_extra(package, reader, source, extra):
    code = WITHOUT.format(package=package, reader=reader, source=source)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert f"pip install 'evolteacher[{extra}]'" in done.stdout


def test_json_and_jsonl_import_no_heavy_package(tmp_path):
    (tmp_path / "s.json").write_text('[{"instruction": "a"}]')
    code = (
        "import sys; from evolteacher_plugins.readers import Json, Jsonl\n"
        "for reader in (Json(), Jsonl()): print(len(list(reader.rows(sys.argv[1]))))\n"
        "print(sorted({'pyarrow', 'datasets', 'pandas', 'numpy'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "s.json")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() == ["1", "1", "[]"]
