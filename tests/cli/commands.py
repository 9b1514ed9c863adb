"""What the command line's tests share: a small recipe over the scripted backend, and what a command came to."""

import json
import os
import pty
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

SCRIPT = Path(sys.executable).with_name("evolteacher")

RECIPE = """\
evolteacher: 1
name: small
seeds: seeds.jsonl
rounds: 2
operators: [add-constraints, more-steps]
filters: [empty, few-words]
backends: {evolve: scripted}
"""

TASKS = [
    "Write a function that reverses a string.",
    "Sort a list of numbers without the built-in sort.",
    "Count the vowels of a text, and print the result.",
    "Find the largest [/bold] of three {{ numbers }}.",
]


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    def refused(self, code: int, *words: str) -> None:
        """Check a refusal: the code, `error:` lines that hold these words, and nothing that a user cannot read."""
        assert self.code == code, self.err
        errors = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert errors, self.err
        for word in words:
            assert word in self.err
        assert "Traceback" not in self.err + self.out
        assert "bug in evolteacher" not in self.err


def write_seeds(path: Path, tasks=TASKS) -> Path:
    path.write_text("".join(json.dumps({"instruction": t, "output": f"Answer to: {t}"}) + "\n" for t in tasks))
    return path


def read_terminal(words, folder, term="xterm"):
    """Run the script with stderr on a terminal of 80 columns; return what it wrote there."""
    ours, theirs = pty.openpty()
    os.set_blocking(ours, False)
    environment = {**os.environ, "COLUMNS": "80", "LINES": "24", "TERM": term}
    environment.pop("NO_COLOR", None)
    process = subprocess.Popen([SCRIPT, *words], stdout=subprocess.PIPE, stderr=theirs, env=environment, cwd=folder)
    os.close(theirs)
    seen = b""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            seen += os.read(ours, 65536)
        except BlockingIOError:
            time.sleep(0.02)
        except OSError:  # the other end is closed
            break
    os.close(ours)
    out = process.communicate(timeout=30)[0].decode()
    return process.returncode, seen.decode(), out
