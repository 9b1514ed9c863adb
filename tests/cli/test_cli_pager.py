"""evolteacher show at a terminal: a long text goes to the pager, all else does not."""

import os
import pty
import subprocess

import pytest
from commands import SCRIPT


@pytest.fixture
def at_terminal(cli, folder):
    """Run `show` with stdout at a terminal and a pager that keeps its text; return (terminal's, pager's)."""
    assert cli("run", "recipe.yaml", "--out", "out").code == 0
    pager = folder / "pager"
    pager.write_text("#!/bin/sh\ncat > paged\n")
    pager.chmod(0o755)

    def show(*words, lines="10", **more):
        (folder / "paged").unlink(missing_ok=True)
        ours, theirs = pty.openpty()
        env = {**os.environ, "PAGER": str(pager), "LINES": lines, "COLUMNS": "80", "TERM": "xterm", **more}
        process = subprocess.Popen([SCRIPT, "show", "out", *words], stdout=theirs, stderr=theirs, env=env)
        os.close(theirs)
        seen = b""
        try:
            while piece := os.read(ours, 65536):
                seen += piece
        except OSError:  # how Linux says that the other end is closed
            pass
        os.close(ours)
        assert process.wait(30) == 0, seen
        return seen.decode(), (folder / "paged").read_text() if (folder / "paged").exists() else None

    return show


def test_only_what_is_longer_than_the_terminal_is_paged(at_terminal):
    screen, paged = at_terminal("0")
    assert screen == "" and "32mkept" in paged and "round 2" in paged
    screen, paged = at_terminal("0", lines="500")
    assert paged is None and "round 2" in screen


def test_it_can_be_turned_off_and_colours_too(at_terminal):
    screen, paged = at_terminal("0", "--no-pager")
    assert paged is None and "32mkept" in screen
    for pager in ("", "no-such-pager"):
        assert "round 2" in at_terminal("0", PAGER=pager)[0]
    assert "32m" not in at_terminal("0", NO_COLOR="1")[1]


def test_a_terminal_that_can_only_print_gets_no_pager_and_no_colours(at_terminal):
    for term in ("dumb", "unknown", ""):
        screen, paged = at_terminal("0", TERM=term)
        assert paged is None and "round 2" in screen
    assert "\x1b" not in at_terminal("0", TERM="dumb")[0]


def test_a_pager_that_is_no_command_line_is_passed_over(at_terminal):
    screen, paged = at_terminal("0", PAGER="'less")
    assert paged is None and "round 2" in screen and "error" not in screen


def test_less_is_told_to_pass_colours_whatever_its_own_variable_says(at_terminal, folder):
    less = folder / "less"
    less.write_text('#!/bin/sh\necho "$LESS" "$@" > paged\n')
    less.chmod(0o755)
    assert at_terminal("0", PAGER=str(less), LESS="-i")[1].split() == ["-i", "-R"]
