"""passes-its-tests: through whole runs, in the real sandbox, a scripted model writing tests and repairs."""

import json
import sqlite3
from contextlib import closing

import pytest

import evolteacher as et
from evolteacher.errors import RecipeError
from evolteacher.plan import make_plan
from evolteacher.rejudging import rejudge

ADD = "def add(a, b):\n    return a + b"
WRONG = "def add(a, b):\n    return a - b"
RIGHT_TESTS = "assert add(1, 2) == 3\nassert add(5, -2) == 3\nassert add(0, 0) == 0"

CASES = {
    # response, tests, repair; what becomes of it, and a part of the reason
    "right": (f"Sure:\n```python\n{ADD}\n```\nIt adds.", f"```python\n{RIGHT_TESTS}\n```", "", "kept", ""),
    "right, all tests count": (ADD, "assert add(1, 2) == 3\nassert add(5, -2) == 3\nassert add(2, 2) == 4", "",
                               "kept", ""),
    "right, one test wrong": (ADD, f"{RIGHT_TESTS}\nassert add(2, 2) == 5", "", "kept", ""),
    "right, most tests wrong": (ADD, "assert add(1, 2) == 3\nassert add(2, 2) == 5\nassert add(1, 1) == 3", ADD,
                                "rejected", "2 of its 3 tests fail: `assert add(2, 2) == 5`: AssertionError: it is 4"),
    "wrong, repaired": (f"Sure:\n```python\n{WRONG}\n```\nIt adds.", RIGHT_TESTS, f"Here:\n```python\n{ADD}\n```",
                        "repaired", ""),
    "wrong, repaired in vain": (WRONG, RIGHT_TESTS, "def add(a, b):\n    return a * b", "rejected",
                                "it is -1 (line 2 of the tests); repaired in vain"),
    "wrong, repaired under another name": (WRONG, RIGHT_TESTS, "def plus(a, b):\n    return a + b", "rejected",
                                           "it is -1"),
    "wrong, and no code for a repair": (WRONG, RIGHT_TESTS, "I cannot.", "rejected", "it is -1"),
    "raises": ("def add(a, b):\n    return a + c", RIGHT_TESTS, "", "rejected", "NameError"),
    "loops": ("def add(a, b):\n    while True:\n        pass\n    return a", RIGHT_TESTS, "", "rejected",
              "took too long"),
    "tests that say nothing": (ADD, "assert True\nassert 1 == 1", "", "rejected", "no assert on it that could be used"),
    "no test at all": (ADD, "I would test it with care.", "", "rejected", "no assert on it that could be used"),
    "a test that a stub passes": (ADD, "assert add(1, 2) or True\nassert add(1, 2) == add(1, 2)", "", "rejected",
                                  "its tests are all vacuous: 2 pass on a stub"),
    "a test that every mutant passes": (ADD, "assert add(0, 0) is not None", "", "rejected",
                                        "vacuous: 1 pass on a stub or on"),
    "the function written anew in the tests": (WRONG, f"{ADD}\n{RIGHT_TESTS}", "", "rejected", "it is -1"),
    "patched by the tests": (WRONG, "add = lambda a, b: 3\nassert add(1, 2) == 3", "", "rejected", "no assert on it"),
    "exits when called": ("import sys\ndef add(a, b):\n    return sys.exit(0)", RIGHT_TESTS, "", "rejected",
                          "SystemExit"),
    "ends the process": ("import os\ndef add(a, b):\n    return os._exit(0)", RIGHT_TESTS, "", "rejected",
                         "ended early"),
    "exits when loaded": (f"import sys\n{ADD}\nclass Now:\n    sys.exit(0)", RIGHT_TESTS, "", "rejected", "SystemExit"),
    "equal to everything": ("class Any:\n    def __eq__(self, other):\n        return True\n\n"
                            "def add(a, b):\n    return Any()", RIGHT_TESTS, "", "rejected", "tests fail"),
    "reads input when it is a script": (f"{ADD}\n\nn = int(input())\nprint(add(n, n))", RIGHT_TESTS, "", "kept", ""),
    "prints": ("def add(a, b):\n    print(a + b)", RIGHT_TESTS, "", "rejected", "it gives no result"),
    "a class": ("class Stack:\n    def __init__(self):\n        self.items = []\n    def push(self, x):\n"
                "        self.items.append(x)\n    def size(self):\n        return len(self.items) + 0",
                "s = Stack()\ns.push(4)\nassert s.size() == 1", "", "kept", ""),
    "prose": ("The capital of France is Paris.", "", "", "kept", ""),
    "another language": ("```javascript\nlet x = 1;\n```", "", "", "kept", ""),
    "comments only": ("```python\n# add the numbers\n```", "", "", "kept", ""),
    "a script": ("total = 0\nfor n in range(4):\n    total += n\nprint(total)", "", "", "kept", ""),
}  # fmt: skip
UNTESTED = {"prose", "another language", "comments only", "a script"}


def recipe_of(tmp_path, names=tuple(CASES), **options):
    rules = []
    with (tmp_path / "seeds.jsonl").open("w") as file:
        for number, name in enumerate(names):
            response, tests, repair, *_ = CASES[name]
            file.write(json.dumps({"instruction": f"Do what number {number}. is: {name}", "output": response}) + "\n")
            for begins, reply in (("Write tests", tests), ("The Python code below", repair or "no idea")):
                rules.append({"matches": rf"(?s)\A{begins}.*number {number}\.", "reply": reply or "none"})
    rules.append({"step": "evolve", "reply": "x"})
    data = {
        "evolteacher": 1, "name": "checked", "rounds": 1, "seeds": str(tmp_path / "seeds.jsonl"),
        "operators": ["more-steps"],
        "filters": [{"few-words": {"on": "instruction"}},
                    {"passes-its-tests": {"on": ["response", "seeds"], "sandbox": {"seconds": 0.5}, **options}}],
        "backends": {"evolve": {"scripted": {"rules": rules}}}, "export": ["evol"],
    }  # fmt: skip
    return et.Recipe.from_dict(data)


def go(tmp_path, names=tuple(CASES), out="run", **options):
    return et.run(recipe_of(tmp_path, names, **options), tmp_path / out)


def seeds_of(out, names=tuple(CASES)):
    """Return name -> (filter, reason, score, response, repaired by)."""
    with closing(sqlite3.connect(out / "run.db")) as database:
        rows = database.execute(
            "SELECT filter, reason, json_extract(scores, '$.passes-its-tests'), response, repaired_by FROM steps "
            "WHERE round = 0 ORDER BY ord"
        ).fetchall()
    assert len(rows) == len(names)
    return dict(zip(names, rows, strict=True))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checked")
    return folder, go(folder)


@pytest.mark.parametrize("name", CASES)
def test_what_becomes_of_a_response(finished, name):
    folder, _ = finished
    filter, reason, score, response, repaired_by = seeds_of(folder / "run")[name]
    *_, verdict, part = CASES[name]
    assert (filter, repaired_by) == {
        "kept": ("", ""), "repaired": ("", "passes-its-tests"), "rejected": ("passes-its-tests", "")
    }[verdict], reason  # fmt: skip
    assert part in reason
    if name in UNTESTED:
        assert score is None
    else:
        assert (score > 0) == (verdict != "rejected")
    if verdict == "repaired":
        assert response == f"Sure:\n```python\n{ADD}\n```\nIt adds."


def test_a_replay_runs_nothing_and_a_dataset_holds_what_was_kept(finished):
    folder, first = finished
    before = (folder / "run" / "dataset.json").read_bytes()
    again = go(folder)
    assert (again.calls, again.results, again.results_replayed) == (0, 0, first.results)
    assert first.results > 20
    assert (folder / "run" / "dataset.json").read_bytes() == before
    outputs = [row["output"] for row in json.loads(before)]
    kept = [name for name, case in CASES.items() if case[3] != "rejected"]
    assert len(outputs) == len(kept)
    assert f"Sure:\n```python\n{ADD}\n```\nIt adds." == outputs[kept.index("wrong, repaired")]


def test_another_rule_is_judged_without_asking(tmp_path):
    names = ("right", "right, one test wrong", "wrong, repaired")
    go(tmp_path, names)
    done = rejudge(tmp_path / "run", recipe=recipe_of(tmp_path, names, agree="all", least=3))
    # One that was kept has a failed test now, and has never been repaired.
    assert (done.pending, done.calls > 0) == (1, True)
    done = rejudge(tmp_path / "run", recipe=recipe_of(tmp_path, names, agree="all", repairs=0))
    assert done.pending == 0
    found = seeds_of(tmp_path / "run", names)
    assert [row[0] for row in found.values()] == ["", "passes-its-tests", "passes-its-tests"]
    assert "1 of its 4 tests fail" in found["right, one test wrong"][1]


def test_options_reject_what_cannot_be_tested_and_want_more_tests(tmp_path):
    names = ("prose", "a script", "right")
    go(tmp_path, names, not_python="reject", no_function="reject", least=4)
    reasons = [row[1] for row in seeds_of(tmp_path / "run", names).values()]
    assert "no Python" in reasons[0] and "no function" in reasons[1]
    # 0 + 0 is 0 - 0, so the one mutant passes that test.
    assert reasons[2] == "1 of its 3 tests pass on a stub or on all of 1 mutants, so 2 count where 4 must"


def test_a_reject_for_too_few_tests_says_no_more_and_a_number_that_no_row_could_reach_is_refused(tmp_path):
    go(tmp_path, ("right",), least=2, tests=2)
    folder = tmp_path / "more"
    folder.mkdir()
    go(folder, ("right, all tests count",), least=4)
    (found,) = seeds_of(folder / "run", ("right, all tests count",)).values()
    assert found[1] == "3 of its tests count where 4 must"
    with pytest.raises(RecipeError, match="least is 7, of 6 tests: nothing could be kept"):
        recipe_of(tmp_path, ("right",), least=7)


def test_the_tester_is_shown_the_head_and_never_the_body(finished):
    folder, _ = finished
    with closing(sqlite3.connect(folder / "run" / "run.db")) as database:
        prompts = [json.loads(row[0])[0]["content"] for row in database.execute(
            "SELECT prompt FROM replies WHERE step = 'filter:passes-its-tests:response' AND nth = '0'")]  # fmt: skip
    assert len(prompts) > 15
    assert not any("a + b" in prompt or "a - b" in prompt or "sys.exit" in prompt for prompt in prompts)
    assert any("each beginning with `assert add(`" in prompt for prompt in prompts)


def test_the_plan_counts_tests_and_repairs(tmp_path):
    catalog = et.Catalog.load()
    rows = {row.role: row.calls for row in make_plan(recipe_of(tmp_path, ("right", "prose"), repairs=2), catalog).rows}
    # Two seeds with answers, and two rewrites: tests once each, at most two repairs each, and two responses.
    assert rows["judge"] == 4 and rows["respond"] == 2 + 8
