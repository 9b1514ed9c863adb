"""`evaluate:` in a recipe, one summary of all stages, and what each of them took."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_model import write_model, write_recipe, write_rows

from evolteacher.benchmark import Problem
from evolteacher.cli import main
from evolteacher.evaluation.programs import Sample
from evolteacher.evaluation.score import Evaluation, Scored
from evolteacher.passk import paired_interval
from evolteacher.sandbox import CheckResult
from evolteacher.stages.clock import read_times, timed
from evolteacher.stages.measuring import Measurement, differences
from evolteacher.stages.summary import summary
from evolteacher.training.trainer import TrainResult

needs_train = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("trl", "peft"))), reason="the extra 'train' is not installed"
)

PROBLEMS = [
    {
        "task_id": f"P/{n}",
        "prompt": f"def add{n}(x):\n    ",
        "entry_point": f"add{n}",
        "canonical_solution": f"return x + {n}\n",
        "test": f"def check(candidate):\n    assert candidate(1) == {n + 1}\n",
    }
    for n in range(3)
]
EVALUATE = {"benchmarks": ["problems:problems.jsonl"], "max_tokens": 8, "concurrency": 2}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a model, problems, and a recipe that evolves, trains and measures; it is the working directory."""
    monkeypatch.chdir(tmp_path)
    write_model(tmp_path / "model")
    (tmp_path / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in PROBLEMS))
    (tmp_path / "tasks.txt").write_text("\n".join(f"Write a function that adds {n}." for n in range(6)))
    recipe = {
        "evolteacher": 1,
        "name": "whole",
        "seeds": {"path": "tasks.txt", "answer": "missing"},
        "rounds": 1,
        "operators": ["add-constraints"],
        "backends": {"evolve": "scripted"},
        "train": {"model": "model", "validation": 0.2, "too_long": "truncate", "sft": {"max_steps": 2}},
        "evaluate": EVALUATE,
    }
    (tmp_path / "whole.yaml").write_text(json.dumps(recipe))
    return tmp_path


def calls(folder):
    """Return how many replies an evaluation has stored."""
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(folder / "run.db")) as database:
        return database.execute("SELECT count(*) FROM replies WHERE outcome = 'reply'").fetchone()[0]


@needs_train
def test_the_whole_way_ends_in_one_summary_and_the_same_command_does_nothing_again(place, capsys):
    assert main(["validate", "whole.yaml"]) == 0
    assert "measures base and tuned" in capsys.readouterr().out
    assert main(["plan", "whole.yaml"]) == 0
    assert (
        "the base and the tuned model are measured on 3 problems of problems:problems.jsonl" in capsys.readouterr().out
    )
    assert main(["run", "whole.yaml"]) == 0
    out = capsys.readouterr().out
    run = place / "runs" / "whole"
    for model in ("base", "tuned"):
        found = json.loads((run / "evaluate" / f"problems-problems.jsonl-{model}" / "evaluation.json").read_text())
        assert found["attempted"] == found["samples"] == 3
    summary = json.loads((run / "summary.json").read_text())
    assert summary["dataset"]["seeds"] == 6 and summary["dataset"]["rows"]["0"] == 6
    assert summary["training"]["steps"] == 2 and summary["training"]["loss"] > 0
    assert [(score["model"], score["score"]) for score in summary["scores"]] == [("base", 0.0), ("tuned", 0.0)]
    (difference,) = summary["differences"]
    assert difference["within_noise"] and "no difference is shown" in out
    assert "at its floor" in out and "summary.md" in out
    assert set(summary["stages"]) == {"evolve", "train", "evaluate"}
    assert all(spent["seconds"] > 0 and spent["peak_bytes"] > 1e7 for spent in summary["stages"].values())
    text = (run / "summary.md").read_text()
    assert "| round | rows | rejected |" in text and "| evolve |" in text and "pass@1" in text
    (run / "summary.json").unlink()
    assert main(["run", "whole.yaml"]) == 0
    again = json.loads((run / "summary.json").read_text())
    assert again == summary, "what was found done takes no time, and nothing is asked anew"
    capsys.readouterr()
    assert main(["run", "whole.yaml", "--quiet"]) == 0
    assert capsys.readouterr() == ("runs/whole/dataset.json\nruns/whole/summary.md\n", "")


@needs_train
@pytest.mark.parametrize("stage", ["evolve", "train", "evaluate"])
def test_killed_in_any_stage_it_goes_on_and_the_scores_are_the_same(place, stage):
    marks = {
        "evolve": "run.db",
        "train": "train/metrics.jsonl",
        "evaluate": "evaluate/problems-problems.jsonl-base/run.db",
    }
    command = [sys.executable, "-m", "evolteacher", "run", "whole.yaml", "--set", "train.sft.save_steps=1"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    mark = place / "runs" / "whole" / marks[stage]
    while not mark.exists() or not mark.stat().st_size:
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (place / "runs" / "whole" / "summary.json").exists()
    assert main(command[3:]) == 0
    summary = json.loads((place / "runs" / "whole" / "summary.json").read_text())
    assert summary["training"]["steps"] == 2 and len(summary["scores"]) == 2
    for model in ("base", "tuned"):
        assert calls(place / "runs" / "whole" / "evaluate" / f"problems-problems.jsonl-{model}") == 3


@needs_train
def test_a_recipe_that_only_trains_measures_too(place, capsys):
    write_recipe(place / "tiny.yaml", "model", write_rows(place / "rows.jsonl"))
    recipe = json.loads((place / "tiny.yaml").read_text()) | {"evaluate": {**EVALUATE, "models": ["tuned"], "limit": 2}}
    (place / "tiny.yaml").write_text(json.dumps(recipe))
    assert main(["train", "tiny.yaml", "--out", "out"]) == 0
    assert "of 2 problems only" not in capsys.readouterr().out, "the limit is the recipe's own"
    summary = json.loads((place / "out" / "summary.json").read_text())
    assert "dataset" not in summary and summary["differences"] == []
    assert [score["problems"] for score in summary["scores"]] == [2]
    assert (place / "out" / "evaluate" / "problems-problems.jsonl-tuned" / "samples.jsonl").is_file()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("evaluate.k=[2]", "k is 2: each must be from 1 to `samples`, 1"),
        ("evaluate.samples=0", "evaluate.samples: must be 1 or more"),
        ("evaluate.models=[tund]", "Did you mean 'tuned'?"),
        ("evaluate.benchmarks=[humanevl]", "Did you mean 'humaneval'?"),
        ("evaluate.benchmarks=['problems:none.jsonl']", "none.jsonl"),
        ("evaluate.banchmarks=[humaneval]", "Did you mean 'benchmarks'?"),
        ("evaluate={samples: 3, temperature: 0}", "temperature 0 draws the same sample each time"),
        ("train=null", "there is none"),
    ],
)
def test_what_cannot_be_measured_is_said_before_anything_is_asked(place, change, message, capsys):
    for command in ("validate", "run"):
        assert main([command, "whole.yaml", "--set", change]) == 2
        err = capsys.readouterr().err
        assert message in err and "Traceback" not in err
    assert not (place / "runs" / "whole" / "run.db").exists()


def test_what_a_stage_takes_is_summed_over_processes_and_a_broken_file_costs_nothing(tmp_path):
    with timed(tmp_path, "train"):
        time.sleep(0.05)
    with pytest.raises(KeyError), timed(tmp_path, "train"):
        time.sleep(0.05)
        raise KeyError("stopped")
    with timed(tmp_path, "train") as spent:
        time.sleep(0.2)
        spent.counts = False
    found = read_times(tmp_path)["train"]
    assert 0.1 <= found.seconds < 0.2 and found.peak_bytes > 1e6
    for broken in ("", "[]", "{", '{"train": 3}', '{"train": {"seconds": "x", "peak_bytes": 1}}', "null"):
        (tmp_path / "stages.json").write_text(broken)
        assert read_times(tmp_path) == {}


def test_a_stage_of_some_milliseconds_is_not_summed_up_as_none(tmp_path):
    (tmp_path / "stages.json").write_text('{"evolve": {"seconds": 0.0042, "peak_bytes": 1}}')
    found = summary("quick", tmp_path, TrainResult(tmp_path, tmp_path / "model", True, False), [], (1,))
    assert found["stages"]["evolve"]["seconds"] == 0.004


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process forget its peak")
def test_a_stage_is_not_charged_with_the_memory_of_an_earlier_one(tmp_path):
    with timed(tmp_path, "first"):
        held = bytearray(300_000_000)
        held[:: 1 << 12] = b"x" * len(held[:: 1 << 12])
        del held
    with timed(tmp_path, "second"):
        pass
    times = read_times(tmp_path)
    assert times["first"].peak_bytes > times["second"].peak_bytes + 200_000_000


@given(st.lists(st.sampled_from([-1.0, 0.0, 1.0]), min_size=1, max_size=60))
def test_a_paired_interval_holds_its_mean_and_turns_with_the_sign(gains):
    low, high = paired_interval(gains)
    assert low <= sum(gains) / len(gains) <= high or abs(sum(gains)) == len(gains)
    turned = paired_interval([-gain for gain in gains])
    assert turned[0] == pytest.approx(-high, abs=0.1) and turned[1] == pytest.approx(-low, abs=0.1)
    if not any(gains):
        assert (low, high) == (0, 0)


def measurement(model, passed, problems=20):
    """Return a model that solves the first so many problems."""
    scored = tuple(
        Scored(Sample(Problem(f"P/{n}", ""), 0, "", ""), CheckResult("passed" if n < passed else "raised", "suite"))
        for n in range(problems)
    )
    return Measurement("toy", model, Path(), Evaluation({}, scored, problems))


@pytest.mark.parametrize(
    ("base", "tuned", "words"),
    [(4, 12, "the tuned model is better"), (12, 4, "the tuned model is worse"), (4, 6, "no difference is shown")],
)
def test_the_difference_is_tuned_less_base_and_noise_is_called_that(base, tuned, words):
    (found,) = differences([measurement("base", base), measurement("tuned", tuned)], (1,))
    assert found.mean == pytest.approx((tuned - base) / 20) and found.low <= found.mean <= found.high
    assert found.noise == (words == "no difference is shown") and words in found.words()
    assert differences([measurement("tuned", 3)], (1,)) == []


def test_few_problems_that_differ_show_nothing_and_many_do():
    assert paired_interval([1.0] * 5 + [0.0] * 15)[0] == 0
    assert paired_interval([1.0] * 12 + [0.0] * 8)[0] > 0
