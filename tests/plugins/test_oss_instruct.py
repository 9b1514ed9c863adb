"""OSS-Instruct: the reader of code, what a snippet is to a recipe, and whole runs."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import evolteacher as et
from evolteacher.catalog import Catalog
from evolteacher.errors import RecipeError, SeedError, UsageError
from evolteacher.plan import make_plan
from evolteacher_plugins.snippets import Code

CATALOG = Catalog.load()
LINES = [f"value_{n} = compute({n})" for n in range(1, 41)]
PY = "\n".join(LINES) + "\n"


def read(source: Path, **options) -> list[et.Row]:
    return list(Code(**options).rows(str(source)))


def write(folder: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def data(source: Path, **changes) -> dict:
    plain = {
        "evolteacher": 1,
        "name": "snippets",
        "seeds": {"path": str(source), "reader": "code", "answer": "missing"},
        "rounds": 2,
        "operators": ["oss-instruct", "add-constraints"],
        "backends": {"evolve": "scripted"},
    }
    plain.update(changes)
    return plain


def recipe(source: Path, **changes) -> et.Recipe:
    return et.Recipe.from_dict(data(source, **changes), catalog=CATALOG)


def refused(source: Path, **changes) -> str:
    with pytest.raises(RecipeError) as caught:
        recipe(source, **changes)
    return str(caught.value)


class TestReader:
    @given(
        count=st.integers(1, 60),
        least=st.integers(1, 20),
        more=st.integers(0, 20),
        number=st.integers(1, 5),
        seed=st.integers(0, 9),
    )
    @settings(max_examples=60, deadline=None)
    def test_snippets_are_consecutive_lines_in_bounds_that_do_not_overlap(
        self, tmp_path_factory, count, least, more, number, seed
    ):
        lines = LINES[:count] if count <= 40 else LINES + [""] * 5 + LINES[: count - 40]
        path = tmp_path_factory.mktemp("code") / "a.py"
        path.write_text("\n".join(lines), encoding="utf-8")
        options = {"snippets": number, "min_lines": least, "max_lines": least + more, "seed": seed}
        rows = read(path, **options)
        assert rows == read(path, **options)
        assert len(rows) <= number and (rows or len(lines) < least or count > 40 or least > 1)
        end = 0
        for row in rows:
            name, _, first = row.where.partition(":")
            snippet = row.data["text"].split("\n")
            assert name == "a.py" and int(first) > end and least <= len(snippet) <= least + more
            assert lines[int(first) - 1 : int(first) - 1 + len(snippet)] == snippet
            assert snippet[0].strip() and snippet[-1].strip()
            end = int(first) - 1 + len(snippet)

    def test_all_lengths_and_places_come_about(self, tmp_path):
        write(tmp_path, {f"{n:03}.py": PY for n in range(300)})
        rows = read(tmp_path)
        sizes = {len(row.data["text"].split("\n")) for row in rows}
        assert len(rows) == 300 and sizes == set(range(1, 16))
        assert len({row.where.partition(":")[2] for row in rows}) > 30

    def test_another_file_changes_no_other_files_snippets_and_another_seed_does(self, tmp_path):
        write(tmp_path, {"b.py": PY, "lib/c.js": PY})
        before = read(tmp_path)
        write(tmp_path, {"a.py": PY})
        after = read(tmp_path)
        assert [row.where.partition(":")[0] for row in after] == ["a.py", "b.py", "lib/c.js"]
        assert after[1:] == before
        assert read(tmp_path, seed=1) != after

    def test_what_is_no_code_of_ones_own_is_passed_over(self, tmp_path):
        kept = {"a.py": PY, "src/b.ts": PY, "one.py": "print(total)"}
        passed_over = {
            "notes.txt": PY,
            ".hidden.py": PY,
            ".git/c.py": PY,
            "node_modules/x/d.js": PY,
            "vendor/e.go": PY,
            "f.min.js": PY,
            "g.js": "var a=1;" * 200,
            "h.js": "\n".join(["x" * 150] * 20),
            "empty.py": "",
            "blank.py": "\n \n\t\n",
            "braces.py": "}\n{\n)\n",
            "binary.py": b"import x\0\1\2",
            "large.py": PY * 1200,
        }
        write(tmp_path, {**kept, **passed_over})
        (tmp_path / "link.py").symlink_to(tmp_path / "a.py")
        (tmp_path / "loop").symlink_to(tmp_path)
        rows = read(tmp_path)
        assert [row.where.partition(":")[0] for row in rows] == sorted(kept) and not any(row.error for row in rows)
        assert len(read(tmp_path, left_out=[], largest=2_000_000)) == len(kept) + 3

    def test_a_file_that_cannot_be_read_is_a_bad_row(self, tmp_path):
        write(tmp_path, {"a.py": b"caf\xe9 = 1", "b.py": PY})
        bad, good = read(tmp_path)
        assert (bad.where, bad.error, bad.data) == ("a.py", "not UTF-8", None)
        assert good.where.startswith("b.py:")

    def test_a_name_that_is_no_utf_8_is_shown_as_the_store_can_hold_it(self, tmp_path):
        with open(os.fsencode(tmp_path) + b"/caf\xe9.py", "w") as file:
            file.write(PY)
        (row,) = read(tmp_path)
        assert row.where.startswith("caf\ufffd.py:")

    def test_licences_come_from_the_option_then_the_file(self, tmp_path):
        tagged = "# SPDX-License-Identifier: GPL-2.0-only OR MIT\n" + PY
        write(tmp_path, {"lib/json/a.py": tagged, "lib/b.py": tagged, "c.py": tagged, "d.py": PY, "library/e.py": PY})
        rows = read(tmp_path, licences={"lib": "bsd-3-clause", "./lib/json/": "mit"})
        found = {row.where.partition(":")[0]: row.data.get("licence") for row in rows}
        assert found == {
            "lib/json/a.py": "mit",
            "lib/b.py": "bsd-3-clause",
            "c.py": "GPL-2.0-only OR MIT",
            "d.py": None,
            "library/e.py": None,
        }

    def test_extensions_are_taken_with_and_without_a_dot_and_a_named_file_needs_none(self, tmp_path):
        write(tmp_path, {"a.PY": PY, "b.foo": PY, "c.d.ts": PY})
        assert [row.where.partition(":")[0] for row in read(tmp_path, extensions=[".foo", "d.ts"])] == [
            "b.foo",
            "c.d.ts",
        ]
        assert read(tmp_path / "b.foo")
        with pytest.raises(ValueError, match="an ending is letters and digits"):
            Code(extensions=["*.py"])

    def test_mistakes_say_what_to_do(self, tmp_path):
        with pytest.raises(SeedError, match="there is no such file or folder"):
            read(tmp_path / "missing")
        write(tmp_path, {"a.txt": PY})
        with pytest.raises(SeedError, match=r"no file in it has an ending that is looked for .*extensions"):
            read(tmp_path)
        with pytest.raises(ValueError, match="min_lines is 16, more than max_lines, 15"):
            Code(min_lines=16)


class TestMaterial:
    def test_the_reader_says_what_the_seeds_are_and_the_recipe_may(self, tmp_path):
        assert recipe(tmp_path).material == "snippet"
        lines = {"path": str(tmp_path / "snippets.jsonl"), "material": "snippet"}
        assert recipe(tmp_path, seeds=lines).material == "snippet"
        assert recipe(tmp_path, seeds=str(tmp_path / "a.jsonl"), operators=["add-constraints"]).material == "task"

    def test_what_could_never_be_drawn_or_has_no_parent_is_a_problem(self, tmp_path):
        found = refused(tmp_path, seeds="tasks.jsonl")
        assert "operators[0]: 'oss-instruct' starts from a snippet of code, and the seeds are tasks" in found
        assert "'reader: code'" in found and "'material: snippet'" in found
        found = refused(tmp_path, operators=["add-constraints"])
        assert "no operator here starts from one (such are: oss-instruct)" in found
        found = refused(tmp_path, operators=["oss-instruct"])
        assert "rounds: from round 2 on parents are tasks" in found
        found = refused(tmp_path, operators=[{"oss-instruct": {"weight": 0}}, "add-constraints"])
        assert "no operator here starts from one" in found
        assert recipe(tmp_path, operators=["oss-instruct"], rounds=1).rounds == 1

    def test_a_folder_is_not_taken_for_code_unasked(self, tmp_path):
        write(tmp_path, {"a.py": PY})
        made = recipe(tmp_path, seeds=str(tmp_path), operators=["add-constraints"])
        with pytest.raises(SeedError, match=r"name one with `reader` .*code"):
            et.run(made, tmp_path / "run", note=lambda line: None)

    def test_only_snippets_make_another_experiment(self, tmp_path):
        assert recipe(tmp_path).experiment()["seeds"]["material"] == "snippet"
        tasks = recipe(tmp_path, seeds="a.jsonl", operators=["add-constraints"])
        assert set(tasks.experiment()["seeds"]) == {"answer", "licence"}

    def test_a_class_that_takes_or_gives_what_there_is_not_is_refused(self):
        with pytest.raises(TypeError, match="takes is a tuple of task and snippet"):
            type("Odd", (et.Operator,), {"takes": ("poem",)}, name="odd")
        with pytest.raises(TypeError, match="takes is a tuple"):
            type("Odd", (et.Operator,), {"takes": "snippet"}, name="odd")
        with pytest.raises(TypeError, match="gives is task or snippet"):
            type("Odd", (et.SeedReader,), {"gives": "poem"}, name="odd")


class TestRun:
    @pytest.mark.parametrize("on_pruned", ["retire", "retry"])
    def test_a_snippet_is_no_row_and_each_operator_gets_what_it_takes(self, tmp_path, on_pruned):
        write(tmp_path / "code", {f"{n}.py": f"# SPDX-License-Identifier: MIT\n{PY}" for n in range(30)})
        result = et.run(
            recipe(tmp_path / "code", on_pruned=on_pruned, filters=["empty", {"few-words": {"on": "instruction"}}]),
            tmp_path / "run",
            note=lambda line: None,
        )
        rows = [json.loads(line) for line in (tmp_path / "run" / "dataset.jsonl").read_text("utf-8").splitlines()]
        assert result.pending == 0 and len(rows) == result.records > 30
        assert {row["round"] for row in rows} == {1, 2} and not any("value_" in row["instruction"] for row in rows)
        assert all((row["operator"] == "oss-instruct") == (row["depth"] == 1) for row in rows)
        assert {row["licence"] for row in rows} == {"MIT"}
        assert all(row["source"].partition(":")[0].endswith(".py") for row in rows)
        assert result.summary.answered == 0 and set(result.summary.kept) == {1, 2}

    def test_under_retry_a_snippet_that_failed_stays_one(self, tmp_path):
        write(tmp_path / "code", {f"{n}.py": PY for n in range(12)})
        rules = [{"contains": "<code_snippet>", "reply": "I'm sorry, but I cannot."}]
        made = recipe(
            tmp_path / "code", on_pruned="retry", rounds=3, backends={"evolve": {"scripted": {"rules": rules}}}
        )
        result = et.run(made, tmp_path / "run", note=lambda line: None)
        assert result.records == 0 and set(result.summary.operators) == {"oss-instruct"}
        assert result.summary.operators["oss-instruct"] == (36, 0)

    def test_a_response_beside_a_snippet_is_none(self, tmp_path):
        source = tmp_path / "snippets.jsonl"
        source.write_text(json.dumps({"instruction": PY, "output": "what it does"}) + "\n")
        made = recipe(tmp_path, seeds={"path": str(source), "material": "snippet", "answer": "missing"})
        result = et.run(made, tmp_path / "run", note=lambda line: None)
        assert result.summary.answered == 0 and 0 not in result.summary.kept

    def test_the_plan_counts_what_the_run_asks(self, tmp_path):
        write(tmp_path / "code", {f"{n}.py": PY for n in range(10)})
        made = recipe(tmp_path / "code", rounds=3)
        plan = make_plan(made, CATALOG)
        result = et.run(made, tmp_path / "run", note=lambda line: None)
        assert plan.calls == result.calls == 10 * 3 * 2

    def test_another_choice_of_snippets_is_another_folder(self, tmp_path):
        write(tmp_path / "code", {"a.py": PY, "b.py": PY})
        et.run(recipe(tmp_path / "code"), tmp_path / "run", note=lambda line: None)
        seeds = {"path": str(tmp_path / "code"), "reader": {"code": {"seed": 7}}, "answer": "missing"}
        with pytest.raises(UsageError, match="the seeds have changed"):
            et.run(recipe(tmp_path, seeds=seeds), tmp_path / "run", note=lambda line: None)
