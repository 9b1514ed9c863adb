"""What the command line's tests share: small recipes over the scripted backend, and two ways to run a command."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

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


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with recipe.yaml and seeds.jsonl."""
    monkeypatch.chdir(tmp_path)
    write_seeds(tmp_path / "seeds.jsonl")
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    return tmp_path


@pytest.fixture
def cli(folder, capfd):
    """Run a command through main(), as the console script does."""
    from evolteacher.cli import main

    def run(*words: object) -> Result:
        capfd.readouterr()
        code = main([str(word) for word in words])
        captured = capfd.readouterr()
        return Result(code, captured.out, captured.err)

    return run


@pytest.fixture
def script(folder):
    """Run the console script itself, in a process of its own."""

    def run(*words: object, **options) -> Result:
        command = [str(SCRIPT), *(str(word) for word in words)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, **options)
        return Result(done.returncode, done.stdout, done.stderr)

    return run
