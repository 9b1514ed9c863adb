"""judge-check: a judge's verdicts sampled, drawn and labelled."""

import contextlib
import fcntl
import json
import os
import pty
import select
import signal
import subprocess
import termios
import time
from pathlib import Path

import pytest
from commands import RECIPE, SCRIPT, write_seeds

from evolteacher.cli.judge_check import read_labels, sample_verdicts, write_label
from evolteacher.errors import UsageError
from evolteacher.passk import wilson
from evolteacher.store import Store

RULES = """\
backends:
  evolve:
    scripted:
      rules:
        - {step: filter, share: 0.5, reply: "Score: 2"}
        - {step: filter, reply: "Score: 8"}
"""
JUDGED = RECIPE.replace("few-words]", "{difficulty: {least: 5}}]").replace("backends: {evolve: scripted}\n", RULES)


@pytest.fixture
def judged(cli, folder):
    (folder / "recipe.yaml").write_text(JUDGED)
    write_seeds(folder / "seeds.jsonl", [f"Write function number {n}, please." for n in range(12)])
    assert cli("run", "recipe.yaml").code == 0


def test_a_sample_is_balanced_repeatable_and_shows_the_judges_words(cli, judged):
    before = Path("runs/small/run.db").read_bytes()
    result = cli("judge-check", "runs/small", "--sample", "4")
    assert result.code == 0
    assert "difficulty: 4 verdicts, 2 kept and 2 rejected" in result.out
    assert result.out.count("the judge's own words:\nScore: ") == 4
    assert result.out.count("reason:\nits score is 2, lower than 5") == 2
    assert cli("judge-check", "runs/small", "--sample", "4").out == result.out
    assert Path("runs/small/run.db").read_bytes() == before


def test_what_there_is_not_is_said(cli, judged):
    cli("judge-check", "runs/small", "--judge", "dificulty").refused(2, "no judge of this run", "difficulty")
    cli("judge-check", "runs/small", "--label").refused(2, "--label asks on a terminal")
    cli("judge-check", "runs/none").refused(2, "there is no run here")


def test_labels_are_kept_and_a_broken_line_is_named(judged, tmp_path):
    with Store(Path("runs/small/run.db"), read_only=True) as store:
        found = sample_verdicts(store, "difficulty", 3, 0)
    path = tmp_path / "labels.jsonl"
    for one in found:
        write_label(path, one, one.kept)
    assert read_labels(path) == {one.key: one.kept for one in found}
    path.write_text("{}\n")
    with pytest.raises(UsageError, match=r"labels\.jsonl:1"):
        read_labels(path)


def test_wilsons_interval():
    low, high = wilson(8, 10)
    assert (round(low, 3), round(high, 3)) == (0.490, 0.943)
    assert wilson(0, 5)[0] == 0.0
    assert wilson(5, 5)[1] == 1.0


class Terminal:
    """A person at a terminal, who waits for each question."""

    def __init__(self, *words):
        self.process, self.keyboard = start_on_a_terminal(*words)
        self.shown = ""

    def wait_for(self, text, seconds=60):
        """Read until a text is shown; return all that was shown since the last one."""
        begun, deadline = len(self.shown), time.monotonic() + seconds
        while text not in self.shown[begun:]:
            assert time.monotonic() < deadline, self.shown
            if not select.select([self.keyboard], [], [], 0.2)[0]:
                continue
            try:
                found = os.read(self.keyboard, 65536).decode("utf-8", "replace")
            except OSError:  # Linux says so when the program has closed the terminal
                found = ""
            assert found, f"it ended before {text!r}: {self.shown}"
            self.shown += found
        return self.shown[begun:]

    def type(self, keys):
        """Press keys."""
        os.write(self.keyboard, keys.encode("utf-8", "surrogateescape"))

    def end(self):
        """Return the exit code."""
        with contextlib.suppress(AssertionError):
            self.wait_for("\0 never shown", seconds=30)
        code = self.process.wait(timeout=30)
        os.close(self.keyboard)
        return code


def start_on_a_terminal(*words):
    keyboard, screen = pty.openpty()
    command = [str(SCRIPT), *map(str, words)]
    environment = {**os.environ, "COLUMNS": "100", "TERM": "dumb", "PYTHONIOENCODING": "utf-8:strict"}
    with os.fdopen(screen, "rb", buffering=0):
        process = subprocess.Popen(
            command, stdin=screen, stdout=screen, stderr=screen, env=environment, preexec_fn=controlling_terminal
        )
    return process, keyboard


def controlling_terminal():
    """Make the terminal the one whose Ctrl-C interrupts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # what runs in a shell's background is started deaf to it
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


LABELS = Path("runs/small.judge-labels.jsonl")
ASKED = "do you agree? [y]es, [n]o, [s]kip, [q]uit: "


def labels():
    return [json.loads(line)["agree"] for line in LABELS.read_text().splitlines()] if LABELS.exists() else []


def test_labels_are_asked_one_by_one_and_a_wrong_key_is_asked_again(judged):
    person = Terminal("judge-check", "runs/small", "-n", "4", "--label")
    assert "the judge's own words" in person.wait_for(f"1 of 4: {ASKED}")
    person.type("x\n")
    person.wait_for(f"1 of 4: {ASKED}")
    person.type("\n")
    person.wait_for(f"1 of 4: {ASKED}")
    assert labels() == []
    person.type("Yes\n")
    person.wait_for(f"2 of 4: {ASKED}")
    assert labels() == [True]
    person.type("n\n")
    person.wait_for(f"3 of 4: {ASKED}")
    person.type("s\n")
    person.wait_for(f"4 of 4: {ASKED}")
    person.type("y\n")
    summary = person.wait_for("judge-labels.jsonl")
    assert "you agree with 2 of 3, 67%" in summary
    assert person.end() == 0 and labels() == [True, False, True]
    again = Terminal("judge-check", "runs/small", "-n", "4", "--label")
    again.wait_for(f"3 of 4: {ASKED}")  # what is labelled is not asked again, what was skipped is
    assert "1 of 4" not in again.shown
    again.type("q\n")
    assert "you agree with 2 of 3" in again.wait_for("judge-labels.jsonl")
    assert again.end() == 0 and labels() == [True, False, True]


@pytest.mark.parametrize(("key", "code"), [("\x04", 0), ("\x03", 130)], ids=["end of input", "Ctrl-C"])
def test_whoever_leaves_keeps_what_was_labelled(judged, key, code):
    person = Terminal("judge-check", "runs/small", "-n", "4", "--label")
    person.wait_for(f"1 of 4: {ASKED}")
    person.type("n\n")
    person.wait_for(f"2 of 4: {ASKED}")
    # A signal that comes between the question and the wait for a key is noticed at the next key: it is typed again.
    for _ in range(20):
        with contextlib.suppress(OSError):
            person.type(key)
        time.sleep(0.5)
        if person.process.poll() is not None:
            break
    assert person.end() == code
    assert labels() == [False]
    assert "Traceback" not in person.shown
    assert ("you agree with 0 of 1" in person.shown) == (code == 0)
    assert ("the same command goes on from there" in person.shown) == (code == 130)


def test_a_key_of_another_encoding_is_asked_for_again(judged):
    person = Terminal("judge-check", "runs/small", "-n", "4", "--label")
    person.wait_for(f"1 of 4: {ASKED}")
    person.type("\udcff\n")
    person.wait_for(f"1 of 4: {ASKED}")
    person.type("q\n")
    assert person.end() == 0 and labels() == [] and "bug" not in person.shown


def test_nobody_has_to_label_anything(judged):
    person = Terminal("judge-check", "runs/small", "-n", "2", "--label")
    person.wait_for(f"1 of 2: {ASKED}")
    person.type("q\n")
    assert person.end() == 0
    assert "nothing is labelled yet" in person.shown and not LABELS.exists()
