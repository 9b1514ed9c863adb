import io
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolteacher.cli.terminal import command_line, complain, duration, one_line, plain, shortened

ATTACKS = {
    "colour": "\x1b[31mred\x1b[0m",
    "title": "\x1b]0;owned\x07",
    "clear": "\x1b[2J\x1b[H",
    "c1 csi": "\x9b31m",
    "nul": "a\0b",
    "backspace": "safe\b\b\b\bevil",
    "carriage return": "error: all is well\rXXXXX",
    "delete": "\x7f",
    "bidi override": "user\u202etxt.exe",
    "bidi isolate": "a\u2066b\u2069",
    "arabic mark": "\u061c",
    "zero width": "ad\u200bmin",
    "byte order mark": "\ufeffx",
    "line separator": "a\u2028b\u2029c",
    "surrogate": "\ud800",
    "tags": "\U000e0041\U000e007f",
    "next line": "a\x85b",
}


def harmless(text):
    return all(c in "\n\t\u200c\u200d" or unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in text)


@pytest.mark.parametrize("name", ATTACKS)
def test_what_steers_a_terminal_does_not_reach_it(name):
    text = ATTACKS[name]
    shown = plain(text)
    assert not harmless(text)
    assert harmless(shown)
    assert "\\x" in shown or "\\u" in shown or "\\U" in shown


def test_escapes_say_which_character_it_was():
    assert plain("a\x1b[0m\u202e\U000e0041") == "a\\x1b[0m\\u202e\\U000e0041"


@pytest.mark.parametrize("text", ["naïve 日本語", "👩‍👩‍👧 می‌خواهم", "a\tb\nc", "[bold]x[/bold] {{ x }} %s", "\\x1b"])
def test_what_shows_stays(text):
    assert plain(text) == text


def test_line_ends_of_windows_are_line_ends():
    assert plain("a\r\nb") == "a\nb"


@given(st.text())
def test_nothing_harmful_is_left_and_nothing_is_lost(text):
    shown = plain(text)
    assert harmless(shown)
    assert plain(shown) == shown
    assert len(shown) >= len(text.replace("\r\n", "\n"))


@given(st.text(), st.integers(1, 50))
def test_one_line_is_one_line_and_short(text, most):
    line = one_line(text, most)
    assert "\n" not in line
    assert len(line) <= most
    assert harmless(line)


def test_one_line_of_a_huge_text_is_quick_and_says_that_it_goes_on():
    assert one_line("word " * 1_000_000, 20).endswith("…")
    assert one_line(" " * 1_000_000 + "x", 20).endswith("…")


def test_shortened_says_what_is_missing():
    assert shortened("a\nb\nc\n", 2) == "a\nb\nc"
    assert shortened("a\nb\nc\nd", 2) == "a\nb\n… 2 more lines"
    assert shortened("a\nb\n", 2) == "a\nb"
    assert shortened("x" * 30, 1, width=10) == "x" * 9 + "…"


def test_errors_are_never_markup_and_never_steer(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    complain("error", "[red]x[/red] [/] \x1b[2J :smile:")
    assert stream.getvalue() == "error: [red]x[/red] [/] \\x1b[2J :smile:\n"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.04, "0.0 s"),
        (9.9, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.7, "1:00 min"),
        (60, "1:00 min"),
        (185, "3:05 min"),
        (3599.6, "1:00 h"),
        (7800, "2:10 h"),
        (273_600, "3 d 4 h"),
    ],
)
def test_durations(seconds, words):
    assert duration(seconds) == words


def test_a_command_line_can_be_pasted():
    assert command_line("run", "my recipe.yaml", "--set", "a={b: 'c'}").endswith(
        """ run 'my recipe.yaml' --set 'a={b: '"'"'c'"'"'}'"""
    )
