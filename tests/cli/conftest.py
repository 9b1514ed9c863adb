"""Two ways to run a command, in a folder with a small recipe."""

import subprocess

import pytest
from commands import RECIPE, SCRIPT, Result, write_seeds


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
