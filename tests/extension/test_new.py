"""``evolteacher plugins new`` writes a package that installs, passes its tests and runs, as it stands."""

import contextlib
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from evolteacher.cli import main

LONGEST = "a" * 24 + "-" + "b" * 25


def run(*words, cwd, code=0, site=None):
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("EVOLTEACHER_", "PYTHONPATH"))}
    path = {"PYTHONPATH": str(site)} if site else {}
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=cwd,
        env={**clean, **path, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=200,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def new_there(*words, cwd, code=0, site=None):
    """Run the command in a process of its own."""
    return run("-m", "evolteacher", "plugins", "new", *words, cwd=cwd, code=code, site=site)


@pytest.fixture
def new(capfd):
    """Run the command in this process, as the console script does."""

    def carry_out(*words, cwd, code=0):
        capfd.readouterr()
        with contextlib.chdir(cwd):
            assert main(["plugins", "new", *words]) == code
        said = capfd.readouterr()
        assert "Traceback" not in said.err
        return said

    return carry_out


def install(folder, site):
    """Build with hatchling and install with pip, without any download."""
    words = ["install", "--no-build-isolation", "--no-deps", "--no-index", "--quiet", "--target", site, folder]
    run("-m", "pip", *words, cwd=site.parent)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A package as it is written, and a folder into which it is installed."""
    folder = tmp_path_factory.mktemp("new")
    said = new_there("polyglot", cwd=folder).stdout
    install(folder / "evolteacher-polyglot", folder / "site")
    return folder / "evolteacher-polyglot", folder / "site", said


class TestPackage:
    def test_it_holds_all_that_a_package_needs(self, made):
        folder, site, said = made
        assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()) == [
            ".gitignore",
            "README.md",
            "evolteacher_polyglot/__init__.py",
            "evolteacher_polyglot/py.typed",
            "pyproject.toml",
            "recipe.yaml",
            "tasks.jsonl",
            "tests/test_plugin.py",
        ]
        assert "8 files written" in said
        project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
        assert project["entry-points"] == {"evolteacher": {"polyglot": "evolteacher_polyglot"}}
        assert project["dependencies"] == ["evolteacher>=0.1.0"] and "license" not in project
        assert (site / "evolteacher_polyglot/py.typed").exists() and not (site / "tests").exists()
        text = "".join(path.read_text("utf-8") for path in folder.rglob("*") if path.is_file())
        assert "${" not in text

    def test_the_next_commands_are_told(self, made):
        lines = [line.strip() for line in made[2].splitlines()]
        after = lines[lines.index("Next:") + 1 :]
        assert after[:3] == ["cd evolteacher-polyglot", "pip install -e '.[test]'", "pytest"]
        assert after[3].endswith("evolteacher run recipe.yaml")
        assert after[4].endswith("evolteacher plugins check evolteacher-polyglot") and len(after) == 5

    def test_its_own_tests_pass_where_it_is_installed(self, made):
        folder, site, _ = made
        done = run("-m", "pytest", "-q", "-p", "no:asyncio", "-p", "no:cacheprovider", cwd=folder, site=site)
        assert "66 passed" in done.stdout and "skipped" not in done.stdout, done.stdout

    def test_a_recipe_with_its_operator_and_filter_runs(self, made, tmp_path):
        folder, site, _ = made
        run("-m", "evolteacher", "run", folder / "recipe.yaml", "--out", "out", cwd=tmp_path, site=site)
        rows = [json.loads(line) for line in (tmp_path / "out/dataset.jsonl").read_text("utf-8").splitlines()]
        assert {row["operator"] for row in rows} == {"polyglot"} and len(rows) == 4
        setting = "filters=[{polyglot-unchanged: {words: 500}}]"
        words = ["run", folder / "recipe.yaml", "--set", setting, "--out", "strict"]
        run("-m", "evolteacher", *words, cwd=tmp_path, site=site)
        assert (tmp_path / "strict/dataset.jsonl").read_text() == ""

    def test_plugins_check_finds_nothing_wrong_with_it(self, made, tmp_path):
        words = ["-m", "evolteacher", "plugins", "check", "evolteacher-polyglot"]
        assert "nothing is wrong" in run(*words, cwd=tmp_path, site=made[1]).stdout

    @pytest.mark.parametrize("name", ["polyglot", LONGEST, "a"])
    def test_ruff_and_mypy_have_nothing_to_say(self, new, name, tmp_path):
        new(name, cwd=tmp_path)
        folder = tmp_path / f"evolteacher-{name}"
        run("-m", "ruff", "check", "--no-cache", cwd=folder)
        run("-m", "ruff", "format", "--check", "--no-cache", cwd=folder)
        if name == "polyglot":
            assert "no issues found in 2 source files" in run("-m", "mypy", cwd=folder).stdout


class TestName:
    def test_that_of_the_distribution_means_the_same(self, new, tmp_path):
        new("evolteacher-polyglot", "--out", "here", cwd=tmp_path)
        assert (tmp_path / "here/evolteacher_polyglot/__init__.py").exists()

    @pytest.mark.parametrize(
        ("name", "nearest"),
        [
            ("My_Plugin", "my-plugin"),
            ("MyPlugin", "my-plugin"),
            ("evolteacher_polyglot", "polyglot"),
            ("2fast", "fast"),
            ("-x", "x"),
            ("évol", "vol"),
            ("../up", "up"),
            ("x--y", "x-y"),
            ("evolteacher", None),
            ("", None),
            ("a" * 51, "a" * 50),
        ],
    )
    def test_what_is_no_name_is_refused_with_the_nearest(self, new, name, nearest, tmp_path):
        done = new("--", name, cwd=tmp_path, code=2)
        assert f"error: '{name}' is no name for a plugin: lower-case words joined by hyphens" in done.err
        assert (f"Did you mean '{nearest}'?" in done.err) if nearest else ("Did you mean" not in done.err)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        ("name", "why"),
        [
            ("pruning", "plugin 'pruning' (evolteacher 0.1.0) is installed already"),
            ("few-words", "there is filter 'few-words' already, brought by plugin 'pruning'"),
            ("add-constraints", "there is operator 'add-constraints' already, brought by plugin 'wizardcoder'"),
        ],
    )
    def test_one_that_is_taken_says_by_whom(self, new, name, why, tmp_path):
        assert why in new(name, cwd=tmp_path, code=2).err
        assert list(tmp_path.iterdir()) == []

    def test_that_of_an_installed_third_party_is_taken(self, made, tmp_path):
        done = new_there("polyglot", cwd=tmp_path, code=2, site=made[1])
        assert "plugin 'polyglot' (evolteacher-polyglot 0.1.0) is installed already" in done.stderr


class TestFolder:
    def test_an_empty_one_is_taken(self, new, tmp_path):
        (tmp_path / "there").mkdir()
        new("polyglot", "--out", "there", cwd=tmp_path)
        assert (tmp_path / "there/pyproject.toml").exists()

    def test_nothing_is_ever_overwritten(self, new, tmp_path):
        (tmp_path / "full").mkdir()
        (tmp_path / "full/README.md").write_text("mine")
        done = new("polyglot", "--out", "full", cwd=tmp_path, code=2)
        assert "full: this folder holds files already, and nothing is overwritten; choose another" in done.err
        assert [path.name for path in (tmp_path / "full").iterdir()] == ["README.md"]

    def test_a_file_is_no_folder(self, new, tmp_path):
        (tmp_path / "file").write_text("mine")
        assert "file: this is a file" in new("polyglot", "--out", "file", cwd=tmp_path, code=2).err
        assert "file" in new("polyglot", "--out", "file/below", cwd=tmp_path, code=2).err

    @pytest.mark.skipif(not Path("/dev/full").exists() or not Path("/proc").exists(), reason="needs Linux")
    def test_one_that_cannot_be_written_is_an_error_without_traceback(self, new, tmp_path):
        assert "cannot be written" in new("polyglot", "--out", "/proc/polyglot", cwd=tmp_path, code=2).err
