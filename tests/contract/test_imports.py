"""The import contracts of pyproject.toml hold, and would notice an import that breaks them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ("evolteacher", "plugins", "backends")


def lint(tree):
    paths = os.pathsep.join(str(tree / folder) for folder in ("", "plugins", "backends"))
    return subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as main; main()", "--no-cache"],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def tree(tmp_path):
    for folder in SOURCES:
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_every_contract_is_kept(tree):
    result = lint(tree)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Contracts: 4 kept, 0 broken." in result.stdout


@pytest.mark.parametrize(
    ("file", "line", "contract"),
    [
        ("evolteacher/record.py", "import evolteacher.engine", "Imports go downward only"),
        ("evolteacher/messages.py", "from evolteacher import cli", "Imports go downward only"),
        ("evolteacher/store.py", "def f():\n    import evolteacher.catalog", "Imports go downward only"),
        ("evolteacher/newcomer.py", "", "Imports go downward only"),
        ("evolteacher/engine.py", "import evolteacher_plugins.pruning", "evolteacher knows no plugin and no backend"),
        ("evolteacher/cli/__init__.py", "import evolteacher_backends", "evolteacher knows no plugin and no backend"),
        ("backends/evolteacher_backends/scripted.py", "import evolteacher.recipe", "First-party plugins and backends"),
        ("plugins/evolteacher_plugins/pruning.py", "from evolteacher import store", "First-party plugins and backends"),
        ("plugins/evolteacher_plugins/pruning.py", "import evolteacher_backends", "Plugins and backends do not know"),
    ],
)
def test_an_import_that_breaks_a_contract_is_noticed(tree, file, line, contract):
    with (tree / file).open("a") as module:
        module.write(f"\n{line}\n")
    result = lint(tree)
    assert result.returncode == 1, result.stdout + result.stderr
    broken = [row for row in result.stdout.splitlines() if " BROKEN" in row]
    assert any(row.startswith(contract) for row in broken), result.stdout


def test_no_module_has_the_name_of_something_public():
    """Importing a module sets it on its package, and would hide what is public under the same name."""
    import pkgutil

    import evolteacher as et

    modules = {module.name for module in pkgutil.iter_modules(et.__path__)}
    assert len(modules) > 60 and not modules & set(et.__all__)
