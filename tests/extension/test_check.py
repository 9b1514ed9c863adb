"""``evolteacher plugins check`` names each kind of fault of a really installed package, and how to mend it."""

import json
import os
import subprocess
import sys
from textwrap import dedent

import pytest
from packages import install

PYPROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "{name}"
version = "0.1"
requires-python = ">=3.11"
dependencies = ["evolteacher>=0.1"]

[project.entry-points.evolteacher]
{point} = "{module}"

[tool.hatch.build.targets.wheel]
only-include = ["{module}.py"]
"""

HEAD = """
import asyncio

import evolteacher as et
from pydantic import Field


"""

GOOD = """
class Mine(et.Operator, name="{point}"):
    '''Ask again.'''

    def prompt(self, parent):
        return "Again: " + parent.text


@et.hookimpl
def register_operators():
    return [Mine]
"""

FILTER = """
class Mine(et.TextFilter, name="{point}"):
    '''Reject.'''

    def reject(self, text):
        return {result}


@et.hookimpl
def register_filters():
    return [Mine]
"""

SHIPS = (
    GOOD
    + """

@et.hookimpl
def register_recipes():
    from pathlib import Path

    return [Path(__file__).parent / "{module}_recipes"]
"""
)

SHIPPED = """\
evolteacher: 1
name: mine
seeds: {path: seeds.jsonl}
operators: [OPERATOR]
filters: [empty]
backends: {evolve: scripted}
"""

SEEDS = '{"instruction": "Add two numbers."}\n'

RECIPES = {
    "bad-recipe": {"bad-recipe-mine.yaml": SHIPPED.replace("[empty]", "[empti]"), "seeds.jsonl": SEEDS},
    "bad-option": {"bad-option-mine.yaml": SHIPPED.replace("[empty]", "[few-words: {word: 1}]"), "seeds.jsonl": SEEDS},
    "bad-yaml": {"bad-yaml-mine.yaml": SHIPPED.replace("]", "", 1), "seeds.jsonl": SEEDS},
    "no-seeds": {"no-seeds-mine.yaml": SHIPPED},
    "taken-recipe": {"quickstart.yaml": SHIPPED, "seeds.jsonl": SEEDS},
    "yml": {"yml-mine.yaml": SHIPPED, "yml-other.yml": SHIPPED, "seeds.jsonl": SEEDS},
    "no-recipe": {"seeds.jsonl": SEEDS},
    "ships": {"ships-mine.yaml": SHIPPED, "seeds.jsonl": SEEDS},
}
"""What lies in the folders of those packages that bring recipes."""

# Package -> (its code; what stands in place of a part of its pyproject.toml; what is wrong; how to mend it).
FAULTS = {
    "no-entry": (
        GOOD,
        ("[project.entry-points.evolteacher]\n", "[project.entry-points.pytest11]\n"),
        "it has no entry point in the group 'evolteacher'",
        '[project.entry-points.evolteacher] and below it NAME = "evolbad_no_entry"',
    ),
    "near-group": (
        GOOD,
        ("entry-points.evolteacher]", 'entry-points."evolteacher.plugins"]'),
        "its entry points are in the group 'evolteacher.plugins', where evolteacher does not look",
        'write [project.entry-points.evolteacher] for [project.entry-points."evolteacher.plugins"]',
    ),
    "misspelt-group": (
        GOOD,
        ("entry-points.evolteacher]", "entry-points.evolteachers]"),
        "its entry points are in the group 'evolteachers', where evolteacher does not look",
        "install it again: entry points are read when a package is installed",
    ),
    "no-module": (
        GOOD,
        ('= "evolbad_no_module"', '= "evolbad_no_modul"'),
        "there is no module 'evolbad_no_modul'. Did you mean 'evolbad_no_module'?",
        "name a module that the package holds",
    ),
    "no-attribute": (
        GOOD,
        ('= "evolbad_no_attribute"', '= "evolbad_no_attribute:Mein"'),
        "evolbad_no_attribute has no 'Mein'. Did you mean 'Mine'?",
        'no-attribute = "evolbad_no_attribute"',
    ),
    "raises": (
        "def fail():\n    return 1 / 0\n\n\nfail()",
        None,
        "importing it raised ZeroDivisionError: division by zero (evolbad_raises.py:9)",
        "mend what is raised there",
    ),
    "syntax": (
        "def fail(:\n    pass",
        None,
        "importing it raised SyntaxError:",
        "(evolbad_syntax.py:8)",
    ),
    "needs-library": (
        "import a_library_that_nobody_installed",
        None,
        "ModuleNotFoundError: No module named 'a_library_that_nobody_installed' (evolbad_needs_library.py:8)",
        "write what brings 'a_library_that_nobody_installed' into the package's dependencies; a heavy library",
    ),
    "private-import": (
        "from evolteacher.engines import Engine",
        None,
        "No module named 'evolteacher.engines'",
        "import from `evolteacher`, `evolteacher.errors` and `evolteacher.testing` alone",
    ),
    "exits": (
        "raise SystemExit('usage: exits FILE')",
        None,
        "importing it raised SystemExit: usage: exits FILE (evolbad_exits.py:8)",
        'if __name__ == "__main__":',
    ),
    "hides": (
        GOOD.replace(
            "    def prompt", "    markers_of: int = Field(1, description='x')\n    kind: str = 'x'\n\n    def prompt"
        ),
        None,
        "the option 'kind' hides what every operator has; rename it (evolbad_hides.py:9)",
        "rename the option",
    ),
    "reserved": (
        GOOD.replace("    def prompt", "    weight: int = 1\n\n    def prompt"),
        None,
        "'weight' is reserved (weight, as, backend, on); rename the option (evolbad_reserved.py:9)",
        "rename the option",
    ),
    "misspelt-hook": (
        GOOD.replace("register_operators", "register_operator"),
        None,
        "there is no hook 'register_operator'. Did you mean 'register_operators'?",
        "call the function by the hook's name. There are: register_operators(), register_filters()",
    ),
    "unmarked-hook": (
        GOOD.replace("@et.hookimpl\n", ""),
        None,
        "the function register_operators() is no hook: it is not marked as one",
        "write @et.hookimpl above `def register_operators(…)`",
    ),
    "unmarked-misspelt": (
        GOOD.replace("@et.hookimpl\n", "").replace("register_operators", "register_operater"),
        None,
        "register_operater() is no hook: it is not marked as one, and the hook is called register_operators()",
        "write @et.hookimpl above `def register_operators(…)`",
    ),
    "hook-with-other-arguments": (
        GOOD + "\n\n@et.hookimpl\ndef round_finished(run, round):\n    pass\n",
        None,
        "are declared in the hookimpl but can not be found in the hookspec",
        "give the function the arguments that the hook has",
    ),
    "no-return": (
        GOOD.replace("        return ", "        parent.text or "),
        None,
        "not None: is a `return` missing?",
        "return the prompt: prompt() gave None",
    ),
    "instances": (
        GOOD.replace("[Mine]", "[Mine()]"),
        None,
        "a list of subclasses of evolteacher.Operator is needed",
        "return the classes themselves, without parentheses",
    ),
    "nameless": (
        GOOD.replace(', name="{point}"', ""),
        None,
        "Mine has no name",
        "give it the name by which recipes call it",
    ),
    "async-hook": (
        GOOD.replace("def register_operators", "async def register_operators"),
        None,
        "register_operators() is async; hooks are plain functions",
        "write `def` in place of `async def`",
    ),
    "nothing": (
        "x = 1",
        None,
        "plugin 'nothing': it brings nothing",
        "write a function such as `@et.hookimpl` `def register_operators(): return [Mine]`",
    ),
    "clash": (
        GOOD.replace("{point}", "add-constraints"),
        None,
        "plugin 'wizardcoder' (evolteacher 0.1.0) brings one of that name",
        "choose another name; until then recipes write clash/add-constraints",
    ),
    "no-docstring": (
        GOOD.replace("    '''Ask again.'''\n\n", ""),
        None,
        "operator 'no-docstring' (evolbad_no_docstring.py:9): it has no docstring",
        "write what it does in one line",
    ),
    "no-description": (
        GOOD.replace("    def prompt", "    speed: int = 1\n\n    def prompt"),
        None,
        "operator 'no-description' (evolbad_no_description.py:9): the option 'speed' has no description",
        'speed: … = Field(…, description="…")',
    ),
    "braces": (
        GOOD.replace('"Again: " + parent.text', "('Again: ' + parent.text).format()"),
        None,
        "(evolbad_braces.py:13)",
        "a text is data: join it to the prompt by an f-string or +, never by format() or %",
    ),
    "drops-the-task": (
        GOOD.replace("parent.text", "parent.text.replace('%', ' per cent')"),
        None,
        "the prompt does not hold the task",
        "put the parent's text into the prompt as it is",
    ),
    "chance": (
        GOOD.replace('"Again: "', "str(__import__('random').random())"),
        None,
        "with a plain text, the same twice, it did not do the same",
        "take out what changes from call to call",
    ),
    "says-true": (
        FILTER.replace("{result}", "text == ''"),
        None,
        "with a plain text it returned False",
        "return a reason in words, or None to keep",
    ),
    "first-word": (
        FILTER.replace("{result}", "'bad' if text.split()[0] == 'bad' else None"),
        None,
        "with nothing it raised IndexError: list index out of range (evolbad_first_word.py:13)",
        "expect any text",
    ),
    "lossy": (
        "from pydantic import field_serializer\n\n"
        + GOOD.replace(
            "    def prompt",
            "    share: float = Field(0.5, description='x')\n\n    @field_serializer('share')\n"
            "    def _write(self, share):\n        return f'{share:.0%}'\n\n    def prompt",
        ),
        None,
        "the same one cannot be made again",
        "give options types of JSON",
    ),
    "broken-command": (
        "@et.hookimpl\ndef register_commands(cli):\n    cli.add('broken', 'evolbad_broken_command:nope', 'Help.')",
        None,
        "command 'broken': evolbad_broken_command:nope cannot be imported: AttributeError",
        "name a function",
    ),
    "bad-recipe": (
        SHIPS,
        None,
        "evolbad_bad_recipe_recipes/bad-recipe-mine.yaml:5: filters[0]: no filter is called 'empti'. Did you mean",
        "use a name that is installed",
    ),
    "bad-option": (
        SHIPS,
        None,
        "evolbad_bad_option_recipes/bad-option-mine.yaml:5: filters[0].few-words",
        "mend the line; `evolteacher validate FILE` says the same",
    ),
    "bad-yaml": (
        SHIPS,
        None,
        "evolbad_bad_yaml_recipes/bad-yaml-mine.yaml:",
        "mend the line",
    ),
    "no-seeds": (
        SHIPS,
        None,
        "no-seeds-mine.yaml: its seeds are not there: seeds.jsonl",
        "put the file beside the recipe, and into the wheel",
    ),
    "taken-recipe": (
        SHIPS,
        None,
        "quickstart.yaml: `evolteacher run quickstart` runs another recipe of that name",
        "rename the file",
    ),
    "yml": (
        SHIPS,
        None,
        "yml-other.yml: recipes are found by the ending .yaml",
        "rename it: yml-other.yaml",
    ),
    "no-recipe": (
        SHIPS,
        None,
        "there is no *.yaml in evolbad_no_recipe_recipes",
        "have the build take it into the wheel",
    ),
    "any-python": (
        GOOD,
        ('requires-python = ">=3.11"\n', ""),
        "it does not say which Python it needs",
        'requires-python = ">=3.11"',
    ),
    "any-evolteacher": (
        GOOD,
        ('"evolteacher>=0.1"', '"evolteacher"'),
        "evolteacher stands with no least version",
        'dependencies = ["evolteacher>=0.1.0"]',
    ),
    "no-evolteacher": (
        GOOD,
        ('"evolteacher>=0.1"', '"evolteacher-extras>=3"'),
        "evolteacher stands not among its dependencies",
        'dependencies = ["evolteacher>=0.1.0"]',
    ),
}

SOUND = {
    "good": GOOD,
    "needs-an-option": GOOD.replace("    def prompt", "    what: str = Field(description='x')\n\n    def prompt"),
    "heavy": FILTER.replace("{result}", "__import__('a_library_that_nobody_installed')"),
    "ships": SHIPS,
    "observer": "@et.hookimpl\ndef run_finished(event):\n    pass",
}
"""Packages with which nothing is wrong."""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """All of them, built and installed."""
    root = tmp_path_factory.mktemp("check")
    packages = {**{name: (code, change) for name, (code, change, *_) in FAULTS.items()}}
    packages.update({name: (code, None) for name, code in SOUND.items()})
    for name, (code, change) in packages.items():
        module = f"evolbad_{name.replace('-', '_')}"
        text = PYPROJECT.format(name=f"evolbad-{name}", point=name, module=module)
        if change is not None:
            assert change[0] in text, name
            text = text.replace(*change)
        if name in RECIPES:
            text = text.replace(f'["{module}.py"]', f'["{module}.py", "{module}_recipes"]')
        (root / name).mkdir()
        (root / name / "pyproject.toml").write_text(text)
        code = dedent(code).replace("{point}", name).replace("{module}", module)
        (root / name / f"{module}.py").write_text(HEAD.rstrip("\n") + "\n\n\n" + code)
        for file, words in RECIPES.get(name, {}).items():
            path = root / name / f"{module}_recipes" / file
            path.parent.mkdir(exist_ok=True)
            path.write_text(words.replace("OPERATOR", name))
    install(root / "site", *(root / name for name in packages))
    assert len(list((root / "site").glob("*.dist-info"))) == len(packages) == 46
    return root / "site"


ALL = """
import contextlib, io, json, multiprocessing, os, sys
import evolteacher.cli.plugins_check
from evolteacher import catalog, cli

catalog.Catalog.load()
del os.environ[catalog.ENVIRONMENT]


def check(name):
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = cli.main(["plugins", "check", name])
    return code, said.getvalue()


with multiprocessing.get_context("fork").Pool(1, maxtasksperchild=1) as pool:
    print(json.dumps(dict(zip(sys.argv[1:], pool.map(check, sys.argv[1:], chunksize=1)))))
"""
"""Checks packages by the command line's own door, each in a process that has seen none of the others.

The processes are forks of one that has imported all that ships, which takes longer than a check.
"""


@pytest.fixture(scope="module")
def checked(site, tmp_path_factory):
    """Package -> exit code and what was printed."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("EVOLTEACHER_")}
    done = subprocess.run(
        [sys.executable, "-c", ALL, *(f"evolbad-{name}" for name in (*FAULTS, *SOUND))],
        cwd=tmp_path_factory.mktemp("checked"),
        env={**clean, "PYTHONPATH": str(site), "EVOLTEACHER_PLUGINS": ""},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=200,
    )
    assert done.returncode == 0 and not done.stderr, done.stdout + done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def check(site, tmp_path):
    """Check a package in a process of its own."""

    def run(name, code=1, **environment):
        clean = {key: value for key, value in os.environ.items() if not key.startswith("EVOLTEACHER_")}
        done = subprocess.run(
            [sys.executable, "-m", "evolteacher", "plugins", "check", name],
            cwd=tmp_path,
            env={**clean, "PYTHONPATH": str(site), **environment},
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=200,
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr
        return done.stdout

    return run


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_named_alone_and_mended(checked, name):
    *_, what, mend = FAULTS[name]
    code, words = checked[f"evolbad-{name}"]
    assert code == 1 and "Traceback" not in words
    assert f"evolbad-{name} 0.1: 1 problem\n" in words
    assert what in words and mend in words, words
    assert words.count("To mend it: ") == 1


@pytest.mark.parametrize("name", SOUND)
def test_nothing_is_wrong_with_a_sound_one(checked, name):
    code, words = checked[f"evolbad-{name}"]
    assert code == 0 and "Traceback" not in words
    assert f"evolbad-{name} 0.1: nothing is wrong.\n" in words and "It brings " in words


def test_what_is_not_installed_gets_the_nearest_name(check):
    words = check("evolbad-god")
    assert "no package 'evolbad-god' is installed" in words and "Did you mean 'evolbad-good'?" in words
    assert "pip install" in words


def test_an_entry_point_or_a_name_in_other_letters_is_found(check):
    assert "evolbad-observer 0.1: nothing is wrong." in check("observer", code=0)
    assert "evolbad-observer 0.1: nothing is wrong." in check("Evolbad_Observer", code=0)


def test_a_variable_that_leaves_it_out_is_a_problem(check):
    words = check("evolbad-good", EVOLTEACHER_PLUGINS="acme")
    assert "EVOLTEACHER_PLUGINS=acme leaves the plugin 'good' out" in words
    assert "write EVOLTEACHER_PLUGINS=acme,good" in words and ": 1 problem\n" in words
    check("evolbad-good", code=0, EVOLTEACHER_PLUGINS="acme,good")


def test_several_problems_are_listed_together(check, site):
    assert "evolteacher 0.1.0: nothing is wrong." not in check("evolbad-clash")
    words = check("evolbad-any-evolteacher", EVOLTEACHER_PLUGINS="")
    assert ": 2 problems\n" in words and "\n1. " in words and "\n2. " in words
