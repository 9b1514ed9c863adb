"""From a source to unique seeds: order, duplicates, bad rows, surrogates, licences, memory."""

import json
import random
import tracemalloc
from importlib.metadata import entry_points

import pytest
from hypothesis import given
from hypothesis import strategies as st

import evolteacher as et
from evolteacher.catalog import Catalog
from evolteacher.errors import PluginError, RecipeError, SeedError, UsageError
from evolteacher.sources import SeedReport, read_examples, read_seeds, reader_for
from evolteacher_plugins import readers


class Rows(et.SeedReader, name="rows"):
    """Gives what it was built with; ``rows:`` sources."""

    data: tuple[object, ...] = ()

    @classmethod
    def claims(cls, source):
        return source.startswith("rows:")

    def rows(self, source):
        for number, data in enumerate(self.data, 1):
            yield et.Row(f"{source}:{number}", data)


class Broken(et.SeedReader, name="broken"):
    """Breaks the contract as told: ``broken:raise`` or ``broken:type``."""

    @classmethod
    def claims(cls, source):
        return source.startswith("broken:")

    def rows(self, source):
        yield et.Row("here:1", "fine")
        if source.endswith("raise"):
            raise ZeroDivisionError("oh no")
        yield "not a row"


class Plugin:
    @et.hookimpl
    def register_seed_readers(self):
        return [Rows, Broken]


@pytest.fixture
def catalog():
    catalog = Catalog()
    catalog.register(readers, "readers")
    catalog.register(Plugin(), "mine")
    return catalog


def seeds_of(data, **options):
    report = SeedReport()
    return list(read_seeds(Rows(data=tuple(data)), "rows:x", report=report, **options)), report


def test_seeds_in_order_with_their_source_response_and_licence(tmp_path, catalog):
    path = tmp_path / "seeds.jsonl"
    path.write_text('{"instruction": "b", "output": "B", "license": "MIT"}\n\n{"instruction": "a", "license": "MIT"}\n')
    report = SeedReport()
    seeds = list(read_seeds(reader_for(catalog, str(path)), str(path), report=report))
    assert seeds == [
        et.Seed(et.Instruction("b"), "B", "seeds.jsonl:1", "MIT"),
        et.Seed(et.Instruction("a"), None, "seeds.jsonl:3", "MIT"),
    ]
    assert (report.rows, report.seeds, report.answered, report.bad) == (2, 2, 1, 0)
    assert report.licences == {"MIT": 2}
    assert report.lines() == ["2 rows read, 2 seeds, 1 with a response"]


def test_of_equal_instructions_the_first_is_the_seed_even_without_a_response():
    seeds, report = seeds_of([{"instruction": "a"}, {"instruction": "a", "output": "A"}, {"prompt": "a "}, "a"])
    assert [(seed.instruction.text, seed.response) for seed in seeds] == [("a", None), ("a ", None)]
    assert (report.rows, report.seeds, report.duplicates) == (4, 2, 2)
    assert "2 duplicates left out" in report.lines()


def test_lone_surrogates_are_replaced_counted_and_may_make_duplicates():
    data = [
        {"instruction": "a \ud800", "output": "\udfff\udc00"},
        {"instruction": "a \udbff"},
        {"instruction": "emoji 😀 \0", "license": "M\ud800"},
    ]
    seeds, report = seeds_of(data)
    assert [(seed.instruction.text, seed.response) for seed in seeds] == [
        ("a \ufffd", "\ufffd\ufffd"),
        ("emoji 😀 \0", None),
    ]
    assert seeds[1].licence == "M\ufffd"
    assert (report.surrogates, report.duplicates) == (4, 1)
    assert "4 texts with lone surrogates, replaced by U+FFFD" in report.lines()


def test_bad_rows_are_counted_and_the_first_20_kept_with_file_and_line(tmp_path, catalog):
    path = tmp_path / "seeds.jsonl"
    path.write_text('{"instruction": "a"}\n{"output": "x"}\n{"instruction": " "}\n{"instruction": \n' + "[1]\n" * 25)
    report = SeedReport()
    seeds = list(read_seeds(reader_for(catalog, str(path)), str(path), report=report))
    assert [seed.instruction.text for seed in seeds] == ["a"]
    assert (report.rows, report.bad, len(report.messages)) == (29, 28, 20)
    assert report.messages[0].startswith("seeds.jsonl:2: no field is known to hold the instruction (there is: output)")
    assert report.messages[1] == "seeds.jsonl:3: the instruction is empty"
    assert report.messages[2].startswith("seeds.jsonl:4: not JSON: Expecting value")
    assert report.messages[3].startswith("seeds.jsonl:5: messages[0]: a message is needed, found a number: 1")
    assert report.lines()[1] == "28 bad rows left out"
    assert report.lines()[-1] == "  … and 8 more"


def test_fail_stops_at_the_first_bad_row():
    report = SeedReport()
    seeds = read_seeds(Rows(data=("a", {"x": 1}, "b", "")), "rows:x", on_bad_row="fail", report=report)
    assert next(seeds).instruction.text == "a"
    with pytest.raises(SeedError, match=r"rows:x:2: no field .* \(on_bad_row: skip; .* --strict, or --skip-bad-rows\)"):
        next(seeds)
    assert report.bad == 1


def test_a_source_without_a_seed_says_why():
    with pytest.raises(SeedError, match="rows:x: there is no row in it"):
        seeds_of([])
    with pytest.raises(SeedError, match=r"none of its 2 rows can be used\. The first: rows:x:1: the instruction is"):
        seeds_of(["", 7])
    report = SeedReport()
    assert list(read_examples(Rows(), "rows:x", report=report)) == []


def test_columns_and_formats_are_passed_on():
    rows = [{"Problem": "p", "solution": "s", "prompt": "no"}]
    seeds, _ = seeds_of(rows, instruction="problem", response="solution")
    assert (seeds[0].instruction.text, seeds[0].response) == ("p", "s")
    with pytest.raises(SeedError, match="there is no `instruction`"):
        seeds_of(rows, format="evol")
    with pytest.raises(UsageError, match="no seed format is called 'alpacca'"):
        seeds_of(rows, format="alpacca")


def test_turns_that_no_seed_holds_are_counted():
    turns = [{"from": speaker, "value": speaker} for speaker in ("system", "human", "gpt", "human", "gpt")]
    _, report = seeds_of([{"conversations": turns}])
    assert report.left_out == 3
    assert report.lines()[-1] == "3 messages left out (system messages, turns after the first pair)"


def test_licence_names_are_bounded():
    _, report = seeds_of([{"instruction": str(n), "license": f"L{n % 300}"} for n in range(600)])
    assert len(report.licences) == 100
    assert set(report.licences.values()) == {2}


def test_the_reader_that_claims_a_source(catalog, tmp_path):
    found = {s: reader_for(catalog, s).name for s in ("a.json", "a.jsonl", "a.parquet", "hf:o/n", "rows:x")}
    assert found == {"a.json": "json", "a.jsonl": "jsonl", "a.parquet": "parquet", "hf:o/n": "hf", "rows:x": "rows"}
    path = tmp_path / "seeds.xml"
    path.write_text("<seeds/>")
    with pytest.raises(SeedError, match=r"seeds\.xml: no seed reader knows .* \(there is: broken, csv, hf"):
        reader_for(catalog, str(path))
    with pytest.raises(SeedError, match=r"there is: none"):
        reader_for(Catalog(), str(path))
    with pytest.raises(SeedError, match=r"seeds: there is no such file"):
        reader_for(catalog, "seeds")


def test_the_reader_by_name_and_its_options(catalog):
    assert reader_for(catalog, "seeds.xml", "jsonl").name == "jsonl"
    assert reader_for(catalog, "s.json", "readers/json", {"key": "items"}).options() == {"key": "items"}
    with pytest.raises(RecipeError, match=r"no seed reader is called 'jsnl'\. Did you mean 'jsonl'\?"):
        reader_for(catalog, "seeds.jsonl", "jsnl")
    with pytest.raises(SeedError, match=r"seed reader 'json': keys: Extra inputs .* \(its options: key\)"):
        reader_for(catalog, "seeds.json", None, {"keys": "items"})


def test_two_readers_that_claim_a_source_are_both_named(catalog):
    class Other(et.SeedReader, name="json"):
        @classmethod
        def claims(cls, source):
            return source.endswith("json")

    class Second:
        @et.hookimpl
        def register_seed_readers(self):
            return [Other]

    catalog.register(Second(), "acme")
    with pytest.raises(SeedError, match=r"more than one seed reader .* \(reader: readers/json or acme/json\)"):
        reader_for(catalog, "seeds.json")
    assert reader_for(catalog, "seeds.json", "acme/json").__class__ is Other


def test_the_readers_come_in_through_an_entry_point():
    (point,) = entry_points(group="evolteacher", name="readers")
    catalog = Catalog()
    catalog.register(point.load(), point.name)
    names = {entry.cls.name for entry in catalog.entries("seed reader")}
    assert names == {"json", "jsonl", "text", "csv", "parquet", "hf"}


def test_a_reader_that_breaks_its_contract_is_named():
    with pytest.raises(PluginError, match="seed reader 'broken' failed on broken:raise: ZeroDivisionError: oh no"):
        list(read_seeds(Broken(), "broken:raise", report=SeedReport()))
    with pytest.raises(PluginError, match="seed reader 'broken' gave str where a Row is due"):
        list(read_seeds(Broken(), "broken:type", report=SeedReport()))


def test_memory_is_a_digest_a_seed():
    class Many(et.SeedReader, name="many"):
        count: int

        def rows(self, source):
            for number in range(self.count):
                yield et.Row(f"x:{number}", {"instruction": f"{number} " * 200, "output": "y" * 1000})

    peaks = []
    for count in (2_000, 20_000):
        tracemalloc.start()
        assert sum(1 for _ in read_seeds(Many(count=count), "x", report=SeedReport())) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert (peaks[1] - peaks[0]) / 18_000 < 250, "bytes a seed: the digest object and places in a set that has grown"


texts = st.text(st.characters(codec="utf-8"), max_size=5)


@given(st.lists(st.tuples(texts, texts)), st.randoms(use_true_random=False))
def test_unique_seeds_are_the_first_of_each_text_in_order(pairs, chance):
    rows = [
        chance.choice([{"instruction": task, "output": answer}, {"Prompt": task, "response": answer}])
        for task, answer in pairs
    ]
    first = {}
    for task, answer in pairs:
        if task.strip():
            first.setdefault(task, answer if answer.strip() else None)
    report = SeedReport()
    found = list(read_seeds(Rows(data=(*rows, "the last")), "rows:x", report=report))
    first.setdefault("the last", None)
    assert [(seed.instruction.text, seed.response) for seed in found] == list(first.items())
    assert report.rows == len(pairs) + 1 == report.seeds + report.duplicates + report.bad


def test_random_damage_never_gets_past_as_a_traceback(tmp_path, catalog):
    """A good file with bytes changed, cut out and doubled: seeds, or a SeedError."""
    row = {"input": "é😀", "output": "x", "messages": [{"role": "user"}]}
    rows = [{"instruction": f"task {n}", **row} for n in range(9)]
    chance = random.Random(5)
    outcomes = set()
    for name, text in (("s.json", json.dumps(rows, indent=1)), ("s.jsonl", "\n".join(map(json.dumps, rows)))):
        for _ in range(300):
            data = bytearray(text.encode())
            for _ in range(chance.randint(1, 4)):
                at = chance.randrange(len(data))
                data[at : at + chance.randint(0, 3)] = chance.randbytes(chance.randint(0, 2))
            (tmp_path / name).write_bytes(data)
            report = SeedReport()
            try:
                found = list(read_seeds(reader_for(catalog, name), str(tmp_path / name), report=report))
                assert report.rows == len(found) + report.bad + report.duplicates
                outcomes.add("bad rows" if report.bad else "fine")
            except SeedError as error:
                assert name in str(error)
                outcomes.add("given up")
    assert outcomes == {"fine", "bad rows", "given up"}
