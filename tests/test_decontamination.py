"""Decontamination: what is found wherever it stands, the filters through whole runs, and the certificate."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import evolteacher as et
from evolteacher.cli import main
from evolteacher.errors import RecipeError, UsageError
from evolteacher.testing import FilterConformance
from evolteacher_plugins.contamination import Decontaminate

PROBLEMS = [
    et.Problem(
        "own/1",
        'def weave(first, second):\n    """ Take from two lists in turn, and when one of them is\n    at its end go on'
        ' with what the other still has.\n    >>> weave([1, 3], [2])\n    [1, 2, 3]\n    """\n',
        "weave",
        'def weave(first, second):\n    """ Take from two lists in turn, and when one of them is\n    at its end go on'
        ' with what the other still has.\n    >>> weave([1, 3], [2])\n    [1, 2, 3]\n    """\n    woven = []\n'
        "    for place in range(max(len(first), len(second))):\n        woven += first[place : place + 1]\n"
        "        woven += second[place : place + 1]\n    return woven\n",
        "",
        "assert weave([1, 3], [2]) == [1, 2, 3]\nassert weave([], [4, 5]) == [4, 5]\n",
    ),
    et.Problem("own/2", "Tell how many of the harbour's lanterns are lit on the night before the regatta begins."),
]
INDEX = et.ContaminationIndex({"own": PROBLEMS})
RENAMED = (
    "Sure:\n```python\nimport itertools\n\ndef zip_all(a, b):\n    gone = object()\n    pairs = itertools.zip_longest"
    "(a, b, fillvalue=gone)\n    return [x for pair in pairs for x in pair if x is not gone]\n```"
)
WORDS = "quick brown foxes jump over lazy dogs while nobody writes any code at all".split()
prose = st.lists(st.sampled_from(WORDS), max_size=200).map(" ".join)


def ids(text, index=INDEX):
    return {hit.part.problem for hit in index.find(text)}


@pytest.fixture
def bench(tmp_path, monkeypatch):
    """Write the problems, and go where they are."""
    monkeypatch.chdir(tmp_path)
    rows = [
        {"task_id": "own/1", "prompt": PROBLEMS[0].prompt, "entry_point": "weave", "test": PROBLEMS[0].tests,
         "canonical_solution": PROBLEMS[0].solution.removeprefix(PROBLEMS[0].prompt)},
        {"task_id": "own/2", "prompt": PROBLEMS[1].prompt},
    ]  # fmt: skip
    write(tmp_path / "bench.jsonl", rows)
    return tmp_path


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@given(before=prose, after=prose, which=st.sampled_from(range(len(INDEX.parts))), shout=st.booleans())
@settings(max_examples=40, deadline=None)
def test_a_part_is_found_wherever_it_stands(before, after, which, shout):
    part = INDEX.parts[which]
    text = f"{before}\n{part.text}\n{after}"
    hits = INDEX.find(text.upper() if shout else text)
    assert (hits[0].part.problem, hits[0].method, hits[0].score) == (part.problem, "exact", 1.0)
    assert ids(f"{before} {after}") == set()


@given(st.sampled_from(range(len(INDEX.parts))), st.data())
@settings(max_examples=40, deadline=None)
def test_white_space_and_marks_that_do_not_show_hide_nothing(which, data):
    text = INDEX.parts[which].text
    cuts = data.draw(st.lists(st.integers(0, len(text)), max_size=12))
    for cut in sorted(cuts, reverse=True):
        text = text[:cut] + data.draw(st.sampled_from([" ", "\n\t", "\u200b", "\u202e", "\u00a0", "\0"])) + text[cut:]
    assert INDEX.parts[which].problem in ids(text)


@pytest.mark.parametrize("method", ["exact", "squeezed", "ngrams", "minhash"])
def test_each_method_by_itself(method):
    index = et.ContaminationIndex({"own": PROBLEMS}, et.ContaminationSettings((method,)))
    long = " ".join(["nothing", *map(str, range(500)), PROBLEMS[1].prompt])
    reworded = PROBLEMS[1].prompt.replace("begins", "starts").replace("Tell", "Say")
    found = [
        bool(ids(text, index)) for text in (PROBLEMS[1].prompt, PROBLEMS[1].prompt.replace(" ", ""), long, reworded)
    ]
    wanted = {
        "exact": [True, False, True, False],
        "squeezed": [True, True, True, False],
        "ngrams": [True, False, True, True],
        "minhash": [True, False, False, True],
    }
    assert found == wanted[method]


def test_a_huge_text_hides_nothing():
    assert ids(f"{'lorem ' * 100_000}{PROBLEMS[1].prompt}{' ipsum' * 100_000}") == {"own/2"}


def test_thresholds_are_where_they_say():
    words = PROBLEMS[1].prompt.split()
    half = " ".join(words[: len(words) // 2 + 2])

    def find(overlap):
        made = et.ContaminationSettings(overlap=overlap)
        return et.ContaminationIndex({"own": PROBLEMS[1:]}, made).find(half)

    (hit,) = find(0.1)
    assert 0.1 < hit.score < 1
    assert (len(find(hit.score)), len(find(hit.score + 0.01))) == (1, 0)


@pytest.mark.parametrize(
    "text", ["", "\0" * 1000, "\u202e" * 1000, "(" * 300_000, "a " * 200_000, "\ud800", "ﷺ" * 30_000]
)
def test_hostile_texts_hold_nothing(text):
    assert INDEX.find(text) == []


async def test_a_renamed_answer_is_found_by_running_it():
    runner = et.BenchmarkRunner({"own": tuple(PROBLEMS)})
    (found,) = await runner.find(RENAMED)
    assert (found.function, found.problem.id) == ("zip_all", "own/1")
    assert runner.named_in(found.reason) == [found]
    wrong = RENAMED.replace("zip_longest", "zip").replace(", fillvalue=gone", "")
    for answer in (
        wrong,
        RENAMED.replace("(a, b):", "(a):"),
        "def f(a, b):\n    exit(0)",
        "prose",
        "def f(:",
        "\0" * 99,
    ):
        assert await runner.find(answer) == []


@pytest.mark.parametrize(
    "first", ["assert zip_all([], []) == 9", "import os\nos._exit(0)", "while True:\n    pass", "exit()"]
)
async def test_a_problem_that_fails_or_ends_the_process_hides_no_other(first):
    tests = f"{first}\nassert both([], []) == 9"
    other = et.Problem("own/0", "Do.", "both", "def both(a, b):\n    return 9", "", tests)
    runner = et.BenchmarkRunner({"own": (other, *PROBLEMS, other)})
    assert [found.problem.id for found in await runner.find(RENAMED)] == ["own/1"]


class TestDecontaminate(FilterConformance):
    @pytest.fixture
    def filter(self, bench):
        return Decontaminate(against=("problems:bench.jsonl",))

    @pytest.fixture
    def rejects(self):
        return [PROBLEMS[0].prompt, PROBLEMS[1].prompt, PROBLEMS[0].solution]

    @pytest.fixture
    def keeps(self):
        return ["Write a function that takes two lists in turn.", "def weave(first, second):", "x"]


def recipe(filters, rounds=1, rows=()):
    write_rows = [{"instruction": f"Sum the numbers {n}, please.", "output": "x"} for n in range(3)]
    with open("seeds.jsonl", "w") as file:
        file.writelines(json.dumps(row) + "\n" for row in (*write_rows, *rows))
    return {
        "evolteacher": 1, "name": "clean", "seeds": "seeds.jsonl", "rounds": rounds, "filters": filters,
        "operators": [{"template": {"template": "Make harder: {{ instruction }}"}}], "backends": {"evolve": "scripted"},
    }  # fmt: skip


AGAINST = {"against": [{"problems": {"path": "bench.jsonl"}}]}


def go(plain, folder):
    return et.run(et.Recipe.from_dict(plain), folder)


def test_a_seed_that_is_found_neither_evolves_nor_is_written(bench):
    seed = {"instruction": "Weave.", "output": PROBLEMS[0].solution}
    plain = recipe([{"decontaminate": {**AGAINST, "on": "instruction"}}, "solves-benchmark"], rows=[seed])
    plain["filters"][1] = {"solves-benchmark": AGAINST}
    renamed = {"instruction": "Zip these.", "output": RENAMED}
    with open("seeds.jsonl", "a") as file:
        file.write(json.dumps(renamed) + "\n")
    result = go(plain, bench / "run")
    assert result.summary.rejected == {0: 2}
    written = json.loads((bench / "run" / "dataset.json").read_text())
    assert not [row for row in written if row["instruction"] in ("Weave.", "Zip these.")] and len(written) == 6
    certificate = (bench / "run" / "decontamination.json").read_bytes()
    told = json.loads(certificate)
    assert (told["rows_checked"], told["rows_removed"]) == (8, 2)
    assert told["benchmarks"][0]["hash"].startswith("sha256:") and told["benchmarks"][0]["problems"] == 2
    assert {(pair["row"], pair["place"], pair["problem"]) for pair in told["pairs"]} == {
        ("lineage 3, round 0", "response", "own/1"), ("lineage 4, round 0", "response", "own/1"),
    }  # fmt: skip
    assert {pair["method"] for pair in told["pairs"]} == {"exact", "tests"}
    card = (bench / "run" / "README.md").read_text()
    assert "## Decontamination" in card and told["benchmarks"][0]["hash"] in card
    again = go(plain, bench / "run")
    assert result.summary.results == again.summary.results == 1
    assert again.calls == 0 and (bench / "run" / "decontamination.json").read_bytes() == certificate
    et.run(et.Recipe.from_dict(plain), bench / "other")
    assert (bench / "other" / "decontamination.json").read_bytes() == certificate


def test_another_benchmark_is_another_experiment(bench):
    plain = recipe([{"decontaminate": AGAINST}])
    go(plain, bench / "run")
    write(bench / "bench.jsonl", [{"task_id": "own/3", "prompt": "Another problem of another benchmark."}])
    with pytest.raises(UsageError, match="hashes"):
        go(plain, bench / "run")


def test_a_rejudge_without_the_filter_leaves_no_old_certificate(bench):
    plain = recipe([{"decontaminate": AGAINST}])
    go(plain, bench / "run")
    assert (bench / "run" / "decontamination.json").exists()
    et.rejudge(bench / "run", recipe=et.Recipe.from_dict({**plain, "filters": []}))
    assert not (bench / "run" / "decontamination.json").exists()


async def test_in_a_running_event_loop_it_is_awaited(bench):
    (bench / "data.jsonl").write_text('{"instruction": "Add two numbers.", "output": "a + b"}\n')
    with pytest.raises(UsageError, match=r"await et\.adecontaminate"):
        et.decontaminate("data.jsonl", AGAINST["against"])
    report = await et.adecontaminate("data.jsonl", AGAINST["against"], run=True)
    assert (report.certificate.checked, report.found) == (1, 0)


@pytest.mark.parametrize("name", ["decontaminate", "solves-benchmark"])
def test_a_benchmark_that_is_not_there_is_told_before_the_first_call(bench, name):
    wrong = et.Catalog.load().find(et.Filter, name)(against=("mbpp:gone.jsonl",))
    with pytest.raises(UsageError, match=r"gone\.jsonl"):
        wrong.require()


WRONG = {
    "unknown": (["humanevil"], "Did you mean 'humaneval'"),
    "option": ([{"mbpp": {"pth": "x"}}], "its options: path"),
    "value": (["humaneval:x"], "write humaneval alone"),
    "two": ([{"mbpp": {}, "humaneval": {}}], "one benchmark at a time"),
    "none": ([], "needs at least 1"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_benchmark_is_said_when_the_recipe_is_read(bench, case):
    against, words = WRONG[case]
    plain = recipe([{"decontaminate": {"against": against}}])
    with pytest.raises(RecipeError, match=words):
        et.Recipe.from_dict(plain)


def test_the_plan_says_how_long_the_tests_take(bench, capsys):
    plain = recipe([{"solves-benchmark": AGAINST}, {"decontaminate": AGAINST}])
    with open("recipe.yaml", "w") as file:
        json.dump(plain, file)
    assert main(["plan", "recipe.yaml"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "'solves-benchmark' runs code on this machine: about" in told and "for 6 rows" in told
    assert "'decontaminate' runs" not in told


def test_a_file_against_mbpp_with_its_tests_run(bench):
    task = "Write a function to weave two lists into one, taking from each in turn until both are at their end."
    asserts = ["assert weave([1, 3], [2]) == [1, 2, 3]", "assert weave([], [4, 5]) == [4, 5]"]
    code = "def weave(a, b):\n    return []"
    columns = {"task_id": 11, "text": task, "code": code, "test_list": asserts, "test_setup_code": ""}
    write(bench / "mbpp.jsonl", [columns])
    rows = [{"instruction": f"Task {n}.", "output": RENAMED} for n in range(3)]
    rows += [{"instruction": task, "output": "no"}, {"instruction": "Hello.", "output": "def f(a, b):\n    return a"}]
    write(bench / "data.jsonl", rows)
    report = et.decontaminate("data.jsonl", ["mbpp:mbpp.jsonl"], "out.jsonl", certificate="c.json")
    told = [(pair.row, pair.problem, pair.method) for pair in report.certificate.pairs]
    assert told == [(f"data.jsonl:{n}", "11", "tests") for n in (1, 2, 3)] + [("data.jsonl:4", "11", "exact")]
    assert (report.found, report.written, report.certificate.removed) == (4, 1, 4)
    first = (bench / "c.json").read_bytes()
    et.decontaminate("data.jsonl", ["mbpp:mbpp.jsonl"], "out.jsonl", certificate="c.json")
    assert (bench / "c.json").read_bytes() == first
    unrun = et.decontaminate("data.jsonl", ["mbpp:mbpp.jsonl"], run=False)
    assert (unrun.found, unrun.ran, unrun.written) == (1, False, None)


def test_prune_says_that_code_is_run_by_a_run_alone(bench):
    write(bench / "data.jsonl", [{"instruction": "a", "output": "b"}])
    with pytest.raises(RecipeError, match="runs code and stores what came of it, which only a run does"):
        et.prune("data.jsonl", [{"solves-benchmark": AGAINST}], "out.jsonl")
    assert et.prune("data.jsonl", [{"decontaminate": AGAINST}], "out.jsonl").written == 1
