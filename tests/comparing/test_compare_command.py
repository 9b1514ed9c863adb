"""`evolteacher compare` as typed, with a model of 30,000 weights that really is trained."""

import asyncio
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from tiny_model import write_rows

import evolteacher as et
from evolteacher.catalog import Catalog
from evolteacher.cli import main
from evolteacher.cli.options import benchmark_spec
from evolteacher.comparing.inputs import changed, inputs_of
from evolteacher.comparing.measuring import Measuring
from evolteacher.comparing.outcome import Measurement
from evolteacher.report.compared import comparisons

pytestmark = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("trl", "peft"))), reason="the extra 'train' is not installed"
)

QUICK = ["--seeds", "2", "--matched", "samples", "--no-controls"]


@pytest.fixture
def cli(place, monkeypatch, capsys):
    """Run `compare` in the folder of the datasets; return its exit code, output and errors."""
    monkeypatch.chdir(place)

    def run(*words, train="tiny.yaml"):
        capsys.readouterr()
        code = main(["compare", *map(str, words), *(["--train", train] if train else [])])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err + captured.out and "bug in" not in captured.err
        return code, captured.out, captured.err

    return run


@pytest.fixture(scope="module")
def whole(place):
    """A whole comparison of a dataset with itself in another order: figures by the Python door, and its notes."""
    notes = []
    found = et.compare(
        place / "seeds.jsonl",
        place / "turned.jsonl",
        train=place / "tiny.yaml",
        out=place / "whole",
        options=et.CompareOptions(matched=("samples",)),
        note=notes.append,
    )
    return found, notes


def figures(folder):
    return json.loads((Path(folder) / "compare.json").read_text())


def measured(folder):
    return {path.parent.name: path for path in Path(folder).glob("trainings/*/measured.json")}


class TestWhole:
    def test_equal_data_is_noise_and_every_control_comes_out_as_it_must(self, whole):
        found, _ = whole
        assert found.finished and found.trusted
        assert [control["name"] for control in found.figures["controls"]] == ["shuffled", "again", "overfit"]
        assert all(control["passed"] for control in found.figures["controls"])
        assert found.figures["controls"][2]["figures"]["loss"] <= 0.1
        assert found.verdict == (
            "At the same number of rows: no difference that these 6 runs can show, neither on held-out rows of A nor "
            "on those of B.",
        )

    def test_it_says_beforehand_how_much_there_is_to_do(self, whole):
        _, notes = whole
        text = "\n".join(notes)
        assert "32 rows to learn from (32 lineages, 448 tokens), 8 held out (8 lineages)" in text
        assert "40 lineages in both" in text and "13 trainings of" in text and "1 on eight rows, 3 on A, 3 on B" in text
        assert "untrained: held out of A 5.6" in text and "13 of 13 trainings: " in text and "min left" in text

    def test_the_untrained_model_and_each_training_are_on_record(self, whole):
        found, _ = whole
        assert found.figures["base"]["loss"]["a"] > 5 > found.figures["comparisons"][0]["loss"]["a"]["a"]
        assert len(found.figures["trainings"]) == 13
        for one in found.figures["trainings"]:
            assert one["seconds"] > 0 and one["peak_bytes"] > 1e8
        assert found.figures == figures(found.folder)
        seeds = {part: {one["seed"] for one in found.figures["trainings"] if one["part"] == part} for part in "ab"}
        again = {one["seed"] for one in found.figures["trainings"] if one["part"] == "again"}
        assert seeds["a"] == seeds["b"] and len(again) == 3 and not again & seeds["a"]
        folders = list((found.folder / "trainings").iterdir())
        assert not [path for folder in folders for path in folder.glob("**/*.safetensors")], "weights are given up"

    def test_each_training_was_done_with_the_random_seed_that_is_said(self, whole):
        found, _ = whole
        losses = {part: set() for part in ("a", "b", "shuffled", "again")}
        for one in found.figures["trainings"]:
            folder = found.folder / "trainings" / one["name"]
            assert json.loads((folder / "training.json").read_text())["experiment"]["seed"] == one["seed"]
            if one["part"] in losses:
                rows = (folder / "rows.jsonl").read_text()
                measurement = json.loads((folder / "measured.json").read_text())
                losses[one["part"]].add((tuple(measurement["losses"]["a"]), one["part"] != "shuffled" and rows))
        # The same rows every time, so that only the random seed can tell one training from another.
        assert {part: len(values) for part, values in losses.items()} == dict.fromkeys(losses, 3)
        assert len({rows for part in ("a", "again") for _, rows in losses[part]}) == 1

    def test_nothing_held_out_is_in_any_training(self, whole):
        found, _ = whole
        learnt = set()
        for path in (found.folder / "trainings").glob("*/rows.jsonl"):
            learnt |= {json.loads(line)["lineage"] for line in path.read_text().splitlines()}
        assert len(learnt) == 32

    def test_the_page_has_table_controls_and_trainings(self, whole):
        page = (whole[0].folder / "compare.md").read_text()
        for text in ("| samples | held-out rows of A | 5.6", "- passed: A with its responses shuffled", "overfit-1-"):
            assert text in page
        assert "97.5 % intervals" in page and "FAILED" not in page

    def test_a_report_reads_what_it_wrote(self, whole):
        (shown,), broken = comparisons([whole[0].folder])
        assert broken == []
        assert shown.verdict == list(whole[0].verdict)
        assert [row[:2] for row in shown.losses] == [("samples", f"held-out rows of {side}") for side in "AB"]
        assert [passed for passed, _ in shown.controls] == [True] * 3
        assert str(whole[0].folder.parent) not in repr(shown), "places of this machine are left out"

    def test_the_same_command_does_nothing_again_and_shows_the_same(self, whole, cli):
        before = {name: path.stat().st_mtime_ns for name, path in measured(whole[0].folder).items()}
        code, out, _ = cli("seeds.jsonl", "turned.jsonl", "--out", "whole", "--matched", "samples")
        assert code == 0 and "no difference that these 6 runs can show" in out and "passed: A against itself" in out
        assert "held-out rows of B" in out and "13 trainings in" in out and "compare.md" in out
        assert {name: path.stat().st_mtime_ns for name, path in measured("whole").items()} == before
        code, out, _ = cli("seeds.jsonl", "turned.jsonl", "--out", "whole", "--matched", "samples", "--json")
        assert code == 0 and json.loads(out) == figures("whole")
        for name in ("comparisons", "controls", "trainings", "verdict"):
            assert figures("whole")[name] == whole[0].figures[name]

    def test_quiet_says_where_the_page_is_and_the_log_what_came_of_it(self, whole, cli):
        words = ["seeds.jsonl", "turned.jsonl", "--matched", "samples", "--out", "whole"]
        assert cli(*words, "--quiet", "--log-json", "log") == (0, "whole/compare.md\n", "")
        assert cli(*words, "--log-json", "-")[1] == "whole/compare.md\n"
        events = [json.loads(line) for line in Path("log").read_text().splitlines()]
        assert events[-1]["event"] == "comparison_finished" and events[-1]["trusted"] is True
        assert events[-1]["verdict"] == list(whole[0].verdict)
        assert len([event for event in events if event["event"] == "note"]) >= 8
        assert cli(*words, "--quiet", "--verbose")[0] == 2

    def test_less_is_taken_from_the_same_folder(self, whole, cli):
        code, out, _ = cli("seeds.jsonl", "turned.jsonl", "--out", "whole", *QUICK)
        assert code == 0 and "Controls were left out" in out and "these 4 runs" in out

    @pytest.mark.parametrize(
        ("b", "change", "said"),
        [
            ("turned.jsonl", ["--rows", 20], "rows: the folder has nothing, the recipe 20"),
            ("turned.jsonl", ["--set", "seed=9"], "seed: the folder has"),
            ("turned.jsonl", ["--set", "train.sft.learning_rate=0.02"], "train.sft.learning_rate: the folder has 0.01"),
            ("turned.jsonl", ["--set", "train.validation=0.3"], "train.validation: the folder has"),
            ("wrong.jsonl", [], "b: the folder has"),
        ],
    )
    def test_another_comparison_is_refused(self, whole, cli, b, change, said):
        code, _, err = cli("seeds.jsonl", b, "--out", "whole", "--matched", "samples", *change)
        assert code == 2 and "this folder holds another comparison" in err and said in err


def test_where_answers_differ_each_is_better_at_its_own(cli):
    code, out, _ = cli("seeds.jsonl", "wrong.jsonl", "--out", "wrong", "--matched", "samples", "--no-controls")
    assert code == 0 and "each has the lower loss on held-out rows of its own kind. So neither teaches more" in out
    assert not figures("wrong")["trusted"]


def test_matched_by_tokens_both_sides_learn_as_many(cli):
    words = ["seeds.jsonl", "evolved.jsonl", "--seeds", "2", "--matched", "tokens", "--no-controls", "--out", "tokens"]
    code, out, err = cli(*words)
    assert code == 0 and "At the same number of tokens" in out and "same number of rows" not in out, err
    found, page = figures("tokens"), Path("tokens/compare.md").read_text()
    (comparison,) = found["comparisons"]
    trained = {one["name"]: one for one in found["trainings"]}
    assert comparison["matched"] == "tokens" and len(trained) == 4 and "| tokens | held-out rows of A |" in page
    for number, (a, b) in enumerate(zip(comparison["drawn"]["a"], comparison["drawn"]["b"], strict=True), 1):
        rows = Path(f"tokens/trainings/{next(name for name in trained if name.startswith(f'b-{number}-'))}/rows.jsonl")
        longest = max(len(json.loads(line)["instruction"]) for line in rows.read_text().splitlines()) + 10
        assert 0 <= a["tokens"] - b["tokens"] < longest and a["rows"] > b["rows"] > 15
        for side, drawn in (("a", a), ("b", b)):
            (one,) = (one for name, one in trained.items() if name.startswith(f"{side}-{number}-"))
            assert (one["rows"], one["tokens"]) == (drawn["rows"], drawn["tokens"]) and one["steps"] > 0
            assert f"| {one['name']} | {one['seed']} | {one['rows']} | {one['tokens']:,} | {one['steps']} |" in page
    assert "matched by tokens: A 32 rows of 448 tokens, B " in err


class TestGoingOn:
    def test_a_killed_comparison_goes_on_and_ends_as_one_that_was_not(self, cli, place):
        words = ["seeds.jsonl", "evolved.jsonl", *QUICK]
        assert cli(*words, "--out", "straight")[0] == 0
        command = [sys.executable, "-m", "evolteacher", "compare", *words, "--train", "tiny.yaml", "--out", "killed"]
        alone = {**os.environ, "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=alone)
        try:
            while len(measured("killed")) < 3:  # the untrained model and two trainings
                assert process.poll() is None
                time.sleep(0.02)
        finally:
            process.kill()
            process.wait()
        before = {name: path.stat().st_mtime_ns for name, path in measured("killed").items()}
        assert len(before) < 5 and not figures("killed")["finished"]
        assert cli(*words, "--out", "killed")[0] == 0
        after = {name: path.stat().st_mtime_ns for name, path in measured("killed").items()}
        assert after.items() >= before.items() and len(after) == 5
        for one, other in zip(figures("straight")["comparisons"], figures("killed")["comparisons"], strict=True):
            assert one == other

    def test_ctrl_c_stops_it_and_the_command_goes_on(self, cli):
        words = ["seeds.jsonl", "apart.jsonl", *QUICK, "--out", "stopped"]

        def interrupt():
            while len(measured("stopped")) < 2:
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGINT)

        threading.Thread(target=interrupt, daemon=True).start()
        code, _, err = cli(*words)
        assert code == 130 and "what is trained and measured is kept" in err and "the two share no lineage" in err
        code, out, _ = cli(*words)
        assert code == 0 and "4 trainings in" in out
        assert figures("stopped")["common_lineages"] == 0

    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("compare.json", "{"),
            ("trainings/base/measured.json", "{"),
            ("trainings/base/measured.json", '{"loss": 1}'),
            ("trainings/base/measured.json", '{"losses": {"a": [1.0], "b": [1.0]}}'),
        ],
    )
    def test_a_file_that_is_broken_is_named(self, cli, name, text):
        words = ["seeds.jsonl", "apart.jsonl", *QUICK, "--out", "broken"]
        path = Path("broken") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        code, _, err = cli(*words)
        path.unlink()
        assert code == 1 and f"broken/{name}: cannot be understood" in err


class TestInputsThatAreReplaced:
    """Another content in the place of a file that was read: a comparison does not go on as if it were the same."""

    ON = ("--on", "problems:own.jsonl", "--max-tokens", 2)

    @staticmethod
    def problems(count, tests="assert f() == {n}"):
        rows = [
            {"id": f"p{n}", "prompt": f"def f{n}():\n", "entry_point": f"f{n}", "tests": tests.format(n=n)}
            for n in range(count)
        ]
        Path("own.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))

    @pytest.fixture
    def begun(self, cli, place, tmp_path):
        """The words of a comparison that has only begun: what it reads is on record, and nothing is trained."""
        shutil.copytree(place / "model", tmp_path / "model")
        words = ["seeds.jsonl", "evolved.jsonl", *QUICK, "--out", tmp_path / "out"]
        words += ["--set", f"train.model={tmp_path / 'model'}", *self.ON]
        self.problems(6)
        broken = tmp_path / "out" / "trainings" / "base" / "measured.json"
        broken.parent.mkdir(parents=True)
        broken.write_text("{")
        code, _, err = cli(*words)
        assert code == 1 and "cannot be understood" in err
        return words

    def test_other_problems_under_the_same_ids_are_noticed(self, cli, begun):
        self.problems(6, "assert f() == {n} + 1")
        code, _, err = cli(*begun)
        assert code == 2 and "this folder holds another comparison" in err and "choose another folder" in err
        assert "--on problems:own.jsonl: under the same ids there are other problems" in err
        assert "p0, p1, p2, p3, p4 and 1 more" in err
        self.problems(6)
        assert cli(*begun)[0] == 1
        self.problems(8)
        assert "cannot be understood" in cli(*begun)[2], "more problems are no others"
        self.problems(6)
        assert cli(*begun)[0] == 1, "fewer are no others, either"
        self.problems(8)
        lines = Path("own.jsonl").read_text().splitlines(keepends=True)
        Path("own.jsonl").write_text("".join([*lines[:7], lines[7].replace("== 7", "!= 7")]))
        assert "at the beginning: p7\n" in cli(*begun)[2], "one that came later, and was left out since, is on record"

    @pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json", "modeling_x.py"])
    def test_a_model_that_was_replaced_in_its_place_is_noticed(self, cli, begun, tmp_path, name):
        path = tmp_path / "model" / name
        before, times = path.read_bytes() if path.exists() else b"", path.parent.stat()
        path.write_bytes(before[:-3] + bytes(3) if name.endswith("safetensors") else before + b" ")
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        code, _, err = cli(*begun)
        assert (code, f"train.model: the model's files are others than at the beginning: {name}\n" in err) == (2, True)
        path.write_bytes(before) if before else path.unlink()
        (tmp_path / "model" / "README.md").write_text("# A card that somebody wrote meanwhile")
        assert cli(*begun)[0] == 1

    def test_a_folder_of_before_there_were_hashes_goes_on(self, cli, begun, tmp_path):
        path = tmp_path / "out" / "compare.json"
        held = json.loads(path.read_text())
        taken = held.pop("inputs")
        path.write_text(json.dumps(held))
        assert "cannot be understood" in cli(*begun)[2] and json.loads(path.read_text())["inputs"] == taken

    def test_of_large_files_blocks_all_over_are_read(self, tmp_path):
        path = tmp_path / "model.safetensors"
        with path.open("wb") as file:
            file.truncate(1 << 27)
        first = inputs_of(str(tmp_path), {})
        for place in (0, (1 << 27) - 1):
            with path.open("r+b") as file:
                file.seek(place)
                file.write(b"x")
            second = inputs_of(str(tmp_path), {})
            assert changed(first, second) and first != second
            first = second
        assert inputs_of("owner/name", {})["model"] == {}


def test_an_adapter_is_measured_with_its_base_and_asked_a_benchmark(cli, place):
    problems = [
        {"id": f"p{n}", "prompt": f"def f{n}():\n", "entry_point": f"f{n}", "tests": f"assert f{n}() == {n}"}
        for n in range(6)
    ]
    (place / "problems.jsonl").write_text("".join(json.dumps(one) + "\n" for one in problems))
    words = ["seeds.jsonl", "evolved.jsonl", *QUICK, "--set", "train.method=lora", "--out", "lora", "--keep-models"]
    code, out, err = cli(*words, "--on", "problems:problems.jsonl", "--problems", 5, "--max-tokens", 4)
    assert code == 0, err
    assert "On problems:problems.jsonl, at the same number of rows: no difference that these 4 runs can show" in out
    found = figures("lora")
    assert found["level"] == pytest.approx(1 - 0.05 / 3)
    assert found["comparisons"][0]["benchmarks"]["problems:problems.jsonl"]["a"] == 0
    assert found["comparisons"][0]["loss"]["a"]["a"] < found["base"]["loss"]["a"], "the adapter was measured"
    assert len(list(Path("lora").glob("trainings/*/model/adapter_model.safetensors"))) == 4
    code, _, err = cli(*words, "--on", "problems:problems.jsonl", "--problems", 5, "--max-tokens", 8)
    assert code == 2 and "max_tokens: the folder has 4, the recipe 8" in err, "what is stored was asked otherwise"


def test_what_was_not_measured_on_these_problems_is_missing(tmp_path):
    problems = [{"id": f"p{n}", "prompt": "def f():\n", "entry_point": "f", "tests": "f()"} for n in range(8)]
    path = tmp_path / "problems.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in problems))
    options = et.CompareOptions(on=(benchmark_spec(f"problems:{path}", "--on"),), problems=6)
    measuring = Measuring({"a": [], "b": []}, options, Catalog.load())
    (name,) = measuring.benchmarks
    ids = [f"p{n}" for n in range(6)]
    assert measuring.missing(Measurement(benchmarks={name: dict.fromkeys(ids, True)})) == []
    for found in ({}, {name: {}}, {name: dict.fromkeys(ids[:5], True)}, {"other": dict.fromkeys(ids, True)}):
        assert measuring.missing(Measurement(benchmarks=found)) == [name]


class TestPlan:
    def test_unequal_sizes_are_matched_by_rows_and_by_tokens(self, cli):
        code, _, err = cli("seeds.jsonl", "evolved.jsonl", "--dry-run", "--out", "dry")
        assert code == 0 and not Path("dry").exists() and "nothing was trained" in err
        assert "A 32 rows of 448 tokens, B 32 rows of" in err
        assert "matched by tokens: A 32 rows of 448 tokens, B 2" in err
        assert "16 trainings" in err, "A is whole in both, and trained once for both"

    @pytest.mark.parametrize(
        ("on", "said"), [("no-such-benchmark", "no benchmark is called"), ("problems:no.jsonl", "no.jsonl")]
    )
    def test_a_benchmark_that_cannot_be_read_is_said_of_a_plan_too(self, cli, on, said):
        code, _, err = cli("seeds.jsonl", "evolved.jsonl", "--dry-run", "--out", "dry", "--on", on)
        assert code == 2 and said in err and "nothing was trained" not in err

    def test_a_run_alone_is_its_seeds_against_its_evolved_rows(self, cli, place):
        (place / "tasks.txt").write_text("\n".join(f"Write a function that adds {n} to x." for n in range(40)))
        recipe = {
            "evolteacher": 1, "name": "r", "seeds": {"path": "tasks.txt", "answer": "missing"}, "rounds": 2,
            "operators": ["add-constraints"], "backends": {"evolve": "scripted"},
        }  # fmt: skip
        (place / "run.yaml").write_text(json.dumps(recipe))
        assert main(["run", "run.yaml", "--out", "run"]) == 0
        more = ["--dry-run", "--no-controls", "--set", "train.too_long=truncate"]
        code, _, err = cli("run", *more)
        assert code == 0 and "A = run:seeds: 32 rows to learn from" in err and "B = run:evolved: " in err
        assert "40 lineages in both" in err and "comparisons/run" in err
        code, _, err = cli("run:round1", "run", *more)
        assert code == 0 and "A = run:round1: 32 rows" in err and "B = run: 96 rows" in err
        for part, words in (("run:seed", "Did you mean 'seeds'"), ("run:round7", "its rows are of round 0, round 1")):
            code, _, err = cli(part, "run", *more)
            assert code == 2 and words in err
        code, _, err = cli("run", *QUICK, "--out", "run", "--set", "train.too_long=truncate")
        assert code == 2 and "this folder holds something else" in err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["seeds.jsonl"], 2, "a single name must be a run's folder"),
        (["seeds.jsonl", "seeds.jsonl"], 2, "hold the same rows"),
        (["seeds.jsonl", "nowhere.jsonl"], 2, "nowhere.jsonl"),
        (["seeds.jsonl", "evolved.jsonl", "--matched", "words"], 2, "write samples, tokens or both"),
        (["seeds.jsonl", "evolved.jsonl", "--seeds", "1"], 2, "--seeds"),
        (["seeds.jsonl", "evolved.jsonl", "--shuffled", "9"], 2, "from 1 to --seeds, which is 3"),
        (["seeds.jsonl", "evolved.jsonl", "--set", "train.validation=0"], 2, "--set train.validation=0.2"),
        (["seeds.jsonl", "evolved.jsonl", "--set", "train.validation=0.05"], 2, "--set train.validation=0.13"),
        (["seeds.jsonl", "evolved.jsonl", "--set", "train.validation=0.9"], 2, "only 4 rows of each are left"),
        (["seeds.jsonl", "few.jsonl"], 2, "few.jsonl: only 1 lineage held out, and 5 are needed"),
        (
            ["seeds.jsonl", "evolved.jsonl", "--set", "train.sft.max_length=5"],
            2,
            "40 of its 40 rows have more than sft.max_length, 5 tokens (the longest",
        ),
        (["seeds.jsonl", "evolved.jsonl", "--set", "train.model=./gone"], 2, "there is no such folder"),
        (["seeds.jsonl", "evolved.jsonl", "--on", "humanevil"], 2, "Did you mean 'humaneval'"),
        (["seeds.jsonl", "evolved.jsonl", "--set", "train.sft.epochs=3"], 2, "epochs"),
        (["seeds.jsonl", "evolved.jsonl", "--out", "seeds.jsonl"], 2, "this is a file"),
    ],
)
def test_what_cannot_be_done_is_said(cli, place, words, code, said):
    write_rows(place / "few.jsonl", 6)
    found, _, err = cli(*words)
    assert (found, said in err) == (code, True), err


def test_inside_a_running_loop_benchmarks_are_refused_before_anything_is_trained(place):
    async def cell():
        et.compare("a", "b", train="tiny", options=et.CompareOptions(on=("humaneval",)))

    with pytest.raises(et.errors.UsageError, match=r"asyncio\.to_thread\(et\.compare"):
        asyncio.run(cell())


def test_how_to_train_must_be_said(cli):
    code, _, err = cli("seeds.jsonl", "evolved.jsonl", train=None)
    assert code == 2 and "--train RECIPE is needed" in err


def test_a_training_that_runs_away_is_an_error_and_no_result(cli):
    words = ["seeds.jsonl", "evolved.jsonl", *QUICK, "--out", "away", "--set", "train.sft.learning_rate=1e30"]
    code, _, err = cli(*words)
    assert code == 1 and "not finite" in err and "lower sft.learning_rate" in err
    assert not figures("away")["finished"]
