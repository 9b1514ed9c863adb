"""--quiet, --verbose and --log-json: what is shown of what is told, and what is logged."""

import json

import pytest

from evolteacher.cli.telling import Telling
from evolteacher.cli.trainshow import tell_step
from evolteacher.errors import UsageError


@pytest.mark.parametrize(
    ("options", "shown", "printed"),
    [
        ((False, False, None), ["a note"], ""),
        ((False, True, None), ["a note", "a detail"], ""),
        ((True, False, None), [], "there\n"),
        ((False, False, "log"), ["a note"], ""),
        ((False, True, "log"), ["a note", "a detail"], ""),
        ((False, False, "-"), [], "there\n"),
        ((False, True, "-"), [], "there\n"),
    ],
)
def test_what_is_shown_printed_and_logged(options, shown, printed, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    telling, lines = Telling.of(*options), []
    with telling.begun(lines.append) as voice:
        voice.note("a note")
        voice.detail("a detail")
        voice.event("something", number=1)
    telling.result("there")
    out, err = capsys.readouterr()
    assert (lines, out) == (shown, printed)
    logged = (tmp_path / "log").read_text() if options[2] == "log" else err
    events = [[row["event"], row.get("text"), row.get("number")] for row in map(json.loads, logged.splitlines())]
    assert events == ([["note", "a note", None], ["something", None, 1]] if options[2] else [])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((False, False, None), []),
        ((True, False, "log"), ["--quiet", "--log-json", "log"]),
        ((False, True, "log"), ["--verbose", "--log-json", "log"]),
        ((True, False, "-"), ["--log-json", "-"]),
    ],
)
def test_the_options_can_be_typed_again(options, words):
    assert Telling.of(*options).words() == words


def test_quiet_and_verbose_are_refused_together():
    with pytest.raises(UsageError, match="do not go together"):
        Telling.of(True, True, None)


def test_verbose_says_of_a_step_what_was_measured():
    lines = []
    with Telling.of(False, True, None).begun(lines.append) as voice:
        told = tell_step(voice)
        told({"step": 1000, "loss": 0.5})
        told({"step": 1000, "eval_loss": 1.25})
        told({"step": 1001, "learning_rate": 0.1})
    assert lines == ["step 1,000: loss 0.500", "step 1,000: held out 1.250"]
