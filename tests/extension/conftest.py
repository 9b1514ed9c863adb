"""Third-party packages, built and installed for real, and a way to run evolteacher beside them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from packages import install

HERE = Path(__file__).parent
PACKAGES = ("evolteacher-shout", "acme-evolteacher", "evolteacher-ollama", "evolteacher-debate", "evolteacher-entropy")
collect_ignore = list(PACKAGES)  # their own tests run where they are installed


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """A folder into which the packages are installed."""
    root = tmp_path_factory.mktemp("installed")
    sources, target = root / "sources", root / "site"
    for package in PACKAGES:
        shutil.copytree(HERE / package, sources / package)
    install(target, *(sources / package for package in PACKAGES))
    assert sorted(path.name for path in target.glob("*.dist-info")) == [
        "acme_evolteacher-0.3.dist-info",
        "evolteacher_debate-0.4.dist-info",
        "evolteacher_entropy-2.1.dist-info",
        "evolteacher_ollama-0.2.dist-info",
        "evolteacher_shout-1.0.dist-info",
    ]
    return target


@pytest.fixture
def python(site, tmp_path):
    """Run Python in an empty folder, where the packages are installed; words after its name go to Python."""

    def run(*words, plugins=None, code=0, **environment):
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("EVOLTEACHER_")}
        if plugins is not None:
            environment["EVOLTEACHER_PLUGINS"] = plugins
        done = subprocess.run(
            [sys.executable, *map(str, words)],
            cwd=tmp_path,
            env={**inherited, "PYTHONPATH": str(site), **environment},
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=120,
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    return run


@pytest.fixture
def evolteacher(python):
    """Run the command line likewise."""

    def run(*words, **options):
        return python("-m", "evolteacher", *words, **options)

    return run
