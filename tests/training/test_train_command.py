"""`evolteacher train`, and `run` with a recipe that has `train:`, as typed."""

import contextlib
import importlib.util
import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time

import pytest
from tiny_model import write_model, write_recipe, write_rows

from evolteacher.cli import main
from evolteacher.errors import UsageError
from evolteacher.training.launching import configuration, launch_command

# Neither is imported before a test needs it: that takes seconds, and every process that collects the tests would pay.
pytestmark = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("trl", "peft"))), reason="the extra 'train' is not installed"
)

SIX = [f"Write a function that adds {n}." for n in range(6)]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a model and a recipe that trains, which is the working directory."""
    monkeypatch.chdir(tmp_path)
    write_recipe(tmp_path / "tiny.yaml", write_model(tmp_path / "model"), write_rows(tmp_path / "rows.jsonl"))
    return tmp_path


def test_it_says_what_it_does_shows_the_mask_and_where_the_model_is(place, capsys):
    assert main(["train", "tiny.yaml", "--set", "train.sft.max_steps=1"]) == 0
    out, err = capsys.readouterr()
    assert "1 step in" in out and "The model is in runs/tiny/model" in out
    assert "<|user|>Write a function" in err and "[[def add(x):" in err
    assert "1 step of 4 rows" in err and "Traceback" not in err
    assert re.search(r"held out \d\.\d{3};", out)  # measured once, at the end
    once = ["train", "tiny.yaml", "--set", "train.sft.max_steps=1", "--set", "train.sft.eval_on_start=true"]
    assert main([*once, "--out", "before"]) == 0
    assert re.search(r"held out \d\.\d{3} to \d\.\d{3};", capsys.readouterr().out)
    assert main(["train", "tiny.yaml", "--set", "train.sft.max_steps=1"]) == 0
    assert "this training is finished" in capsys.readouterr().err
    assert main(["train", "tiny.yaml"]) == 2
    assert "max_steps: the folder has 1, the recipe nothing" in capsys.readouterr().err


def test_the_mask_is_green_in_a_terminal_and_a_text_cannot_steer_it(monkeypatch, capsys):
    from evolteacher.cli.trainshow import CHARACTERS_SHOWN, TrainDisplay, show_row
    from evolteacher.training.mask import Shown
    from evolteacher.training.watch import TrainProgress

    pieces = (("ask \x1b[2J", False), ("x" * 2 * CHARACTERS_SHOWN, True))
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    show_row(Shown(pieces, 30, 20), TrainDisplay(TrainProgress()))
    shown = capsys.readouterr().err
    assert "\x1b[32mx" in shown and "ask \\x1b[2J" in shown and "\x1b[2J" not in shown
    assert shown.count("x" * 40) < 2 * CHARACTERS_SHOWN / 40 and " … " in shown


def test_ctrl_c_stops_after_a_step_and_the_printed_command_goes_on(place, capsys):
    words = ["train", "tiny.yaml", "--out", "out", "--set", "train.sft.max_steps=400"]

    def interrupt():
        while not (place / "out" / "metrics.jsonl").exists() or not (place / "out" / "metrics.jsonl").read_text():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    assert main(words) == 130
    err = capsys.readouterr().err
    assert "stopped after" in err and "train tiny.yaml --out out --set train.sft.max_steps=400" in err
    steps = [int(path.name.rpartition("-")[2]) for path in (place / "out" / "checkpoints").iterdir() if path.is_dir()]
    assert len(steps) == 1 and 0 < steps[0] < 400
    assert not (place / "out" / "model").exists()


def test_ctrl_z_gives_the_shell_its_cursor_back_and_the_training_goes_on_when_continued(place):
    ours, theirs = pty.openpty()
    words = [sys.executable, "-m", "evolteacher", "train", "tiny.yaml", "--set", "train.sft.max_steps=4000"]
    environment = {**os.environ, "COLUMNS": "80", "LINES": "24", "TERM": "xterm"}
    process = subprocess.Popen(words, stdout=-3, stderr=theirs, env=environment, process_group=0)
    os.close(theirs)
    try:
        seen = b""
        while b", loss" not in seen:
            seen += os.read(ours, 65536)
        os.kill(process.pid, signal.SIGTSTP)
        assert os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1])
        os.set_blocking(ours, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                seen += os.read(ours, 65536)
        assert seen.count(b"\x1b[?25l") == seen.count(b"\x1b[?25h")
        os.set_blocking(ours, True)
        os.kill(process.pid, signal.SIGCONT)
        before, seen = seen, b""
        while b", loss" not in seen:
            seen += os.read(ours, 65536)
        os.kill(process.pid, signal.SIGINT)
        with contextlib.suppress(OSError):  # the other end is closed
            while piece := os.read(ours, 65536):
                seen += piece
        assert process.wait(60) == 130
        assert b"go on with" in seen and (before + seen).count(b"\x1b[?25l") == (before + seen).count(b"\x1b[?25h")
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def test_plan_and_validate_load_no_weights(place, capsys):
    (place / "model" / "model.safetensors").unlink()
    assert main(["validate", "tiny.yaml"]) == 0
    assert main(["plan", "tiny.yaml", "--out", "elsewhere"]) == 0
    out = capsys.readouterr().out
    assert "is tuned (full)" in out and "steps of 4 rows" in out and "all trained" in out
    assert "into elsewhere" in out and not (place / "elsewhere").exists()
    assert "GB of memory" in out and "Memory is a rule of thumb" in out
    assert main(["plan", "tiny.yaml", "--set", "train.model=owner/not-here"]) == 0
    assert "nothing is fetched for a plan" in capsys.readouterr().err
    assert main(["run", "tiny.yaml"]) == 2
    assert "evolteacher train" in capsys.readouterr().err
    assert main(["train", "quickstart"]) == 2
    assert "has no 'train:'" in capsys.readouterr().err


def test_a_run_trains_when_it_is_finished_and_each_goes_on_by_itself(place, capsys):
    (place / "tasks.txt").write_text("\n".join(SIX))
    recipe = {
        "evolteacher": 1,
        "name": "both",
        "seeds": {"path": "tasks.txt", "answer": "missing"},
        "rounds": 1,
        "operators": ["add-constraints"],
        "backends": {"evolve": "scripted"},
        "train": {"model": str(place / "model"), "validation": 0.2, "too_long": "truncate", "sft": {"max_steps": 1}},
    }
    (place / "both.yaml").write_text(json.dumps(recipe))
    assert main(["plan", "both.yaml"]) == 0
    assert "once there is one" in capsys.readouterr().out
    assert main(["run", "both.yaml"]) == 0
    folder = place / "runs" / "both"
    state = json.loads((folder / "train" / "training.json").read_text())
    assert (
        state["finished"] and state["results"]["rows"] + state["results"]["held_out"] + state["results"]["dropped"] >= 6
    )
    assert (folder / "train" / "model" / "model.safetensors").is_file()
    assert "train:" not in (folder / "README.md").read_text(), "the dataset's card is of the dataset"
    capsys.readouterr()
    assert main(["run", "both.yaml", "--set", "train.sft.max_steps=2"]) == 2, "the run goes on, its training is another"
    assert "another training" in capsys.readouterr().err
    assert main(["train", "both.yaml", "--out", "again", "--set", "train.sft.max_steps=2"]) == 0
    assert (place / "again" / "model" / "prompt_form.json").is_file()


def test_what_trains_must_be_installed_before_anything_is_paid_for(place, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "trl", None)  # as if it were not there
    (place / "tasks.txt").write_text("Sort.\n")
    recipe = {
        "evolteacher": 1, "name": "both", "seeds": "tasks.txt", "rounds": 1, "operators": ["add-constraints"],
        "backends": {"evolve": "scripted"}, "train": {"model": "model"},
    }  # fmt: skip
    (place / "both.yaml").write_text(json.dumps(recipe))
    for words in (["run", "both.yaml"], ["train", "tiny.yaml"], ["validate", "tiny.yaml"]):
        assert main(words) == 2
        assert "pip install 'evolteacher[train]'" in capsys.readouterr().err
    assert not (place / "runs").exists()


def test_processes_without_launch_are_refused_and_not_left_out(place, capsys):
    assert main(["train", "tiny.yaml", "--processes", "2"]) == 2
    assert "--processes goes with --launch" in capsys.readouterr().err
    assert not (place / "runs").exists()


def test_several_processes_are_started_by_accelerate_with_what_ships(tmp_path):
    command = launch_command("fsdp", 4, ["train", "x.yaml", "--out", "o"])
    assert command[1:3] == ["-m", "accelerate.commands.launch"] and command[-6:] == [
        "-m", "evolteacher", "train", "x.yaml", "--out", "o"
    ]  # fmt: skip
    assert command[command.index("--num_processes") + 1] == "4"
    own = tmp_path / "own.yaml"
    own.touch()
    assert configuration(str(own)) == own
    with pytest.raises(UsageError, match="Did you mean 'zero3'"):
        configuration("zero33")


@pytest.mark.parametrize("name", ["ddp", "fsdp", "zero2", "zero3"])
def test_each_configuration_that_ships_is_one_that_accelerate_reads(name):
    from accelerate.commands.config.config_args import load_config_from_file

    read = load_config_from_file(str(configuration(name)))
    assert read.distributed_type.value in ("MULTI_GPU", "FSDP", "DEEPSPEED")


def test_how_much_is_told(place, capsys):
    words = ["train", "tiny.yaml", "--set", "train.sft.max_steps=2"]
    assert main([*words, "--out", "quiet", "--quiet"]) == 0
    assert capsys.readouterr() == ("quiet/model\n", "")
    assert main([*words, "--out", "loud", "--verbose", "--log-json", "log"]) == 0
    assert len(re.findall(r"^step [12]: loss \d\.\d{3}$", capsys.readouterr().err, re.MULTILINE)) == 2
    events = [json.loads(line) for line in (place / "log").read_text().splitlines()]
    kinds = [event["event"] for event in events if event["event"] != "note"]
    assert kinds[0] == "training_started" and kinds[-1] == "training_finished" and kinds.count("training_step") >= 2
    assert events[0]["folder"] == "loud" and events[-1]["model"] == "loud/model" and events[-1]["steps"] == 2
    assert main([*words, "--quiet", "--verbose"]) == 2
    assert "do not go together" in capsys.readouterr().err
    assert main([*words, "--out", "json", "--log-json", "-"]) == 0
    out, err = capsys.readouterr()
    assert out == "json/model\n" and [json.loads(line)["event"] for line in err.splitlines()][-1] == "training_finished"
