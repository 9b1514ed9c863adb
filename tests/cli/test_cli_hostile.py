"""A run whose every text is hostile, shown at a real terminal and through a real pager: only our own colours pass."""

import fcntl
import json
import os
import pty
import re
import select
import shutil
import sqlite3
import struct
import subprocess
import termios
import time
from contextlib import closing

import pytest
from commands import SCRIPT

HOSTILE = (
    "a\x1b[2J\x1b[H\x1b[5;95mscreen\x1b]0;title\x07\x1b]52;c;cHduZWQ=\x07clipboard \x1b]8;;https://evil.example\x1b\\link\x1b]8;;"
    "\x1b\\ \x1bP1$r\x1b\\dcs \x1b[6n \x1b[?1049h \x1bc \x9b31m\x9d0;c1\x9c \x00nul \x08\x08\x7f\x07\x0e "
    "\u202eright\u2066to\u200fleft\u2028line\ufeff\U000e0041 \r\roverwritten\r\x0b\x0c\x85 \x1b"
)
HARMLESS = "a quite harmless text of many words, which is as long as the other one is " * 3
LESS = "\n!touch pwned\n:e /etc/passwd\n|$ touch pwned\nv\ns pwned\nq\n/x\n&x\n+F\n"

CONTROL = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[PX^_][^\x1b]*|[ -/]*[0-~])"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
)
HIDDEN = re.compile("[\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e0fff]")

TEXTS = {
    "seeds": ("text", "response", "source", "licence"),
    "replies": ("text", "model", "finish_reason", "backend", "prompt"),
    "steps": ("operator", "child", "filter", "reason", "response", "repaired_by"),
    "lineages": ("pending",),
    "charges": ("backend", "slot", "why"),
}


@pytest.fixture
def spoilt(cli, folder):
    """Run the small recipe, and add a text to every text of its file, as a stranger may who sends a run."""
    assert cli("run", "recipe.yaml", "--set", "filters=[{few-words: {words: 40, on: instruction}}]").code == 0

    def spoil(text):
        out = folder / "out"
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(folder / "runs" / "small", out)
        changed = 0
        with closing(sqlite3.connect(out / "run.db")) as db, db:
            db.execute("INSERT INTO charges VALUES (NULL, 'evolve', 'slot', 5, 0.5, 'time-out', 0)")
            for table, columns in TEXTS.items():
                for column in columns:
                    found = f"UPDATE {table} SET {column} = {column} || ? WHERE coalesce({column}, '') != ''"
                    changed += db.execute(found, (text,)).rowcount
            db.execute("UPDATE steps SET scores = ?", (json.dumps({text: 1.5}),))
            db.execute("UPDATE lineages SET pending = ? WHERE ord = 3", (text,))
            recipe = json.loads(db.execute("SELECT value FROM meta WHERE key = 'recipe'").fetchone()[0])
            recipe["name"] += text
            db.execute("UPDATE meta SET value = ? WHERE key = 'recipe'", (json.dumps(recipe),))
            assert db.execute("UPDATE replies SET prompt = prompt || ?", (LESS,)).rowcount > 0
            db.execute("UPDATE seeds SET response = response || ?", (LESS,))
        assert changed >= 40
        return out

    return spoil


def at_terminal(words, pager=None):
    """Run a command at a terminal of 24 rows, paging to the end where it pages; return all that the terminal got."""
    environment = {name: value for name, value in os.environ.items() if name not in ("LESS", "LESSOPEN", "NO_COLOR")}
    environment |= {"TERM": "xterm-256color", "PAGER": pager or "cat", "LESSHISTFILE": "-"}
    for name in ("LINES", "COLUMNS"):
        environment.pop(name, None)
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))

    def take_terminal():
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(
        [SCRIPT, *words], stdin=theirs, stdout=theirs, stderr=theirs, env=environment,
        start_new_session=True, preexec_fn=take_terminal,
    )  # fmt: skip
    os.close(theirs)
    seen, end = b"", time.monotonic() + 60
    while True:
        assert time.monotonic() < end, seen[-500:]
        if select.select([ours], [], [], 0.3)[0]:
            try:
                seen += os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
        elif pager is not None and process.poll() is None:
            os.write(ours, b"q" if b"(END)" in seen else b" ")
    os.close(ours)
    return process.wait(30), seen.decode("utf-8", "surrogateescape")


PAGED = [["show", "out", "0", "--full"], ["show", "out", "0"], ["show", "out"], ["show", "out", "--rejected"]]
VIEWS = [*PAGED, ["show", "out", "--lines", "500"], *([name, "out"] for name in ("stats", "licences", "judge-check"))]


def rejected_by(folder):
    with closing(sqlite3.connect(folder / "run.db")) as db:
        return db.execute("SELECT max(filter) FROM steps").fetchone()[0]


@pytest.mark.parametrize("pager", [None, "less -R -Q"])
def test_nothing_but_our_own_colours_reaches_the_terminal(spoilt, folder, pager):
    # -Q: less rings the bell at the end of a text, when a key comes late.
    if pager is not None and shutil.which("less") is None:
        pytest.skip("less is not installed")
    seen = {}
    for text in (HARMLESS, HOSTILE):
        out = spoilt(text)
        views = VIEWS[:4] if pager else VIEWS
        texts = [at_terminal(words, pager)[1] for words in views]
        if "\x00" not in rejected_by(out):  # such a filter cannot be named on a command line
            texts.append(at_terminal(["show", "out", "--rejected-by", rejected_by(out), "--full"], pager)[1])
        seen[text] = "".join(texts)
        assert len(seen[text]) > 3_000
    ours = set(CONTROL.findall(seen[HARMLESS]))
    assert {"\x1b[1;32m", "\x1b[1;31m", "\x1b[0m"} <= ours
    assert set(CONTROL.findall(seen[HOSTILE])) - ours == set()
    assert HIDDEN.findall(seen[HOSTILE]) == []
    assert "\\x1b]8;;https" in seen[HOSTILE] and "\\u202e" in seen[HOSTILE] and "\\x00" in seen[HOSTILE]
    assert "ESC" not in seen[HOSTILE] and "^@" not in seen[HOSTILE]  # how less would show what had reached it
    assert "!touch pwned" in seen[HOSTILE] and not (folder / "pwned").exists()
