"""Wheel, sdist and editable install are built for real, installed into environments of their own, and used."""

import ast
import json
import os
import re
import shutil
import site
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PACKAGES = ("evolteacher", "plugins/evolteacher_plugins", "backends/evolteacher_backends")
HEAVY = (
    "pyarrow",
    "datasets",
    "torch",
    "transformers",
    "litellm",
    "vllm",
    "trl",
    "xllamacpp",
    "huggingface_hub",
    "numpy",
    "matplotlib",
)
"""What only extras bring."""


def tracked():
    """Return the project's files: those that git knows, or where there is no repository (an sdist) all of them."""
    if (ROOT / ".git").exists():
        names = subprocess.check_output(["git", "ls-files", "-z"], cwd=ROOT, text=True).split("\0")
        return sorted(name for name in names if name and (ROOT / name).is_file())
    found = (path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file())
    return sorted(str(path) for path in found if "__pycache__" not in path.parts and path.name != "PKG-INFO")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the checkout, so that building leaves nothing in the real one."""
    copy = tmp_path_factory.mktemp("checkout")
    names = tracked()
    assert len(names) > 100
    for name in names:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, copy / name)
    return copy


@pytest.fixture(scope="module")
def built(checkout, tmp_path_factory):
    """The sdist, and the wheel that is built from the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, checkout)
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return {"sdist": sdist, "wheel": wheel}


@pytest.fixture(scope="module", params=["wheel", "sdist", "editable"])
def environment(request, built, checkout, tmp_path_factory):
    """An environment with evolteacher installed in one of the three ways; what it needs is borrowed from ours."""
    folder = tmp_path_factory.mktemp(request.param) / "venv"
    venv.create(folder, with_pip=False)
    (library,) = folder.glob("lib/python*/site-packages")
    # A plain path in a .pth file comes after the environment's own packages, and its .pth files are not read: the
    # evolteacher that runs these tests is out of reach.
    (library / "borrowed.pth").write_text("\n".join([sysconfig.get_path("purelib"), *site.getsitepackages()]))
    what = ["--editable", checkout] if request.param == "editable" else [built[request.param]]
    pip = [sys.executable, "-m", "pip", "--python", folder / "bin/python"]
    run(*pip, "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--ignore-installed", *what)
    return folder


def run(*command, cwd=None, code=0):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "EVOLTEACHER_", "VIRTUAL_ENV"))}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=clean,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=300,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


class TestInstalled:
    def test_the_script_and_the_module_answer(self, environment, tmp_path):
        version = f"evolteacher {PROJECT['version']}\n"
        assert run(environment / "bin/evolteacher", "--version", cwd=tmp_path).stdout == version
        assert run(environment / "bin/python", "-m", "evolteacher", "--version", cwd=tmp_path).stdout == version

    def test_it_is_this_installation_that_answers(self, environment, checkout, tmp_path):
        program = "import evolteacher, evolteacher_plugins, evolteacher_backends as b; print(evolteacher.__file__)"
        path = Path(run(environment / "bin/python", "-c", program, cwd=tmp_path).stdout.strip())
        assert path.is_relative_to(checkout if "editable" in str(environment) else environment)

    def test_every_plugin_loads(self, environment, tmp_path):
        done = run(environment / "bin/evolteacher", "plugins", cwd=tmp_path)
        assert "left out" not in done.stdout and "warning" not in done.stderr
        for name in ("scripted", "embedded", "add-constraints", "no-gain", "jsonl"):
            assert name in done.stdout

    def test_the_shipped_recipes_are_found_and_run_with_their_seeds(self, environment, tmp_path):
        names = sorted(path.stem for path in (ROOT / "recipes").glob("*.yaml"))
        assert len(names) >= 3
        listed = run(environment / "bin/evolteacher", "recipes", cwd=tmp_path).stdout
        for name in names:
            assert name in listed
            run(environment / "bin/evolteacher", "validate", name, cwd=tmp_path)
        run(environment / "bin/evolteacher", "run", "quickstart", "--backend", "scripted", cwd=tmp_path)
        assert len(json.loads((tmp_path / "runs/quickstart/dataset.json").read_text(encoding="utf-8"))) > 4

    def test_it_works_without_any_extra(self, environment, tmp_path):
        missing = f"import sys; sys.modules.update(dict.fromkeys({HEAVY})); from evolteacher.cli import main; "
        words = ["run", "quickstart", "--backend", "scripted", "--out", "out"]
        run(environment / "bin/python", "-c", f"{missing} sys.exit(main({words}))", cwd=tmp_path)
        assert (tmp_path / "out/dataset.jsonl").exists() and not (tmp_path / "out/dataset.parquet").exists()
        words = ["export", "out", "--format", "parquet"]
        done = run(environment / "bin/python", "-c", f"{missing} sys.exit(main({words}))", cwd=tmp_path, code=2)
        assert "pip install 'evolteacher[parquet]'" in done.stderr

    def test_json_and_jsonl_never_import_pyarrow(self, environment, tmp_path):
        words = ["run", "quickstart", "--backend", "scripted", "--set", "export=[evol, jsonl, chat]"]
        program = (
            f"import sys; from evolteacher.cli import main; assert main({words}) == 0; "
            f"print(sorted(set({HEAVY}) & set(sys.modules)))"
        )
        done = run(environment / "bin/python", "-c", program, cwd=tmp_path)
        assert done.stdout.splitlines()[-1] == "[]"


class TestContents:
    def test_the_wheel_holds_three_packages_and_the_recipes(self, built):
        names = set(zipfile.ZipFile(built["wheel"]).namelist())
        tops = {name.partition("/")[0] for name in names}
        information = f"evolteacher-{PROJECT['version']}.dist-info"
        assert tops == {"evolteacher", "evolteacher_plugins", "evolteacher_backends", information}
        expected = {
            name.removeprefix("plugins/").removeprefix("backends/") for name in tracked() if name.startswith(PACKAGES)
        }
        expected |= {f"evolteacher/{name}" for name in tracked() if name.startswith("recipes/")}
        assert {name for name in names if not name.startswith(information)} == expected
        for package in ("evolteacher", "evolteacher_plugins", "evolteacher_backends"):
            assert f"{package}/py.typed" in names
        assert f"{information}/licenses/LICENSE" in names

    def test_the_sdist_holds_everything(self, built):
        with tarfile.open(built["sdist"]) as archive:
            members = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
        assert set(tracked()) - members == set()

    def test_the_metadata_names_every_extra_and_the_licence(self, built):
        with zipfile.ZipFile(built["wheel"]) as wheel:
            text = wheel.read(f"evolteacher-{PROJECT['version']}.dist-info/METADATA").decode()
        metadata = message_from_string(text)
        assert set(metadata.get_all("Provides-Extra")) == set(PROJECT["optional-dependencies"])
        assert metadata["License-Expression"] == "Apache-2.0" and metadata["Requires-Python"] == ">=3.11"


def test_the_version_is_the_same_everywhere():
    import evolteacher

    assert evolteacher.__version__ == PROJECT["version"]
    assert f"## {PROJECT['version']}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_every_extra_that_an_error_names_exists():
    named = set()
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
                if called.endswith(("MissingExtra", "MissingExtra.unless")):
                    named.add(ast.literal_eval(node.args[1 + called.endswith("unless")]))
    assert {"embedded", "parquet", "hub", "filters", "semantic"} <= named <= set(PROJECT["optional-dependencies"])


def test_the_base_install_names_nothing_heavy():
    bases = {re.split(r"[^\w.-]", requirement)[0] for requirement in PROJECT["dependencies"]}
    assert len(bases) >= 5 and not bases & set(HEAVY)
