"""A plugin's version is in the locked recipe and on the card, and a resume with another one says so."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from packages import install

HERE = Path(__file__).parent
NOTE = "the plugin evolteacher-shout is now 1.1, and this folder was last run with 1.0: what is stored stays"


@pytest.fixture(scope="module")
def newer(tmp_path_factory):
    """A folder into which evolteacher-shout 1.1 is installed."""
    root = tmp_path_factory.mktemp("newer")
    shutil.copytree(HERE / "evolteacher-shout", root / "source")
    project = root / "source/pyproject.toml"
    text = project.read_text()
    assert 'version = "1.0"' in text
    project.write_text(text.replace('version = "1.0"', 'version = "1.1"'))
    install(root / "site", root / "source")
    return root / "site"


@pytest.fixture
def run(tmp_path):
    (tmp_path / "recipe.yaml").write_text(
        "evolteacher: 1\nname: mine\nseeds: {path: 'words:a,b', reader: words}\nrounds: 1\noperators: [shout]\n"
        "filters: [empty, quiet]\nbackends: {evolve: parrot}\n"
    )

    def carry_out(site, *words):
        clean = {name: value for name, value in os.environ.items() if not name.startswith("EVOLTEACHER_")}
        done = subprocess.run(
            [sys.executable, "-m", "evolteacher", "run", "recipe.yaml", "--out", "out", *words],
            cwd=tmp_path,
            env={**clean, "PYTHONPATH": str(site), "EVOLTEACHER_PLUGINS": "shout"},
            capture_output=True,
            text=True,
            timeout=200,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        files = [(tmp_path / "out" / name).read_text(encoding="utf-8") for name in ("recipe.lock.yaml", "README.md")]
        return done.stdout + done.stderr, *files

    return carry_out


def test_locked_recipe_and_card_name_plugin_version_and_what_is_used(run, site):
    said, locked, card = run(site)
    head = [line for line in locked.splitlines() if line.startswith("#")]
    assert head == [
        "# Written by evolteacher 0.1.0. The recipe uses these plugins:",
        "#   pruning (evolteacher 0.1.0): empty",
        "#   shout (evolteacher-shout 1.0): parrot, quiet, shout, words",
    ]
    assert "| `shout` | evolteacher-shout 1.0 | parrot, quiet, shout, words |" in card
    assert "| `pruning` | evolteacher 0.1.0 | empty |" in card
    assert "is now" not in said


def test_a_resume_with_another_version_says_so_once_and_keeps_what_is_stored(run, site, newer):
    run(site, "--limit", "1")
    said, locked, card = run(newer)
    assert said.count(NOTE) == 1
    assert "shout (evolteacher-shout 1.1): " in locked
    assert "| `shout` | evolteacher-shout 1.0, then 1.1 | parrot, quiet, shout, words |" in card
    again, _, same = run(newer)
    assert "is now" not in again and same == card
    back, _, card = run(site)
    assert "is now 1.0, and this folder was last run with 1.1" in back
    assert "evolteacher-shout 1.0, then 1.1, then 1.0 |" in card
