"""The README and the guides: each code block runs, and nothing that they should name is forgotten."""

import contextlib
import importlib
import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import get_args

import pytest
from ruamel.yaml import YAML
from tiny_model import write_model

import evolteacher as et
from evolteacher import cli, errors, hookspecs, testing
from evolteacher.bandit import Bandit
from evolteacher.catalog import FIRST_PARTY, Catalog
from evolteacher.component import RESERVED
from evolteacher.evalsection import Evaluate
from evolteacher.limits import Limits
from evolteacher.money import Budget
from evolteacher.recipe import Recipe
from evolteacher.roundsection import STOPS, Rounds
from evolteacher.sections import Section
from evolteacher.shapes import FORMATS
from evolteacher.testing import SITUATIONS
from evolteacher.testing.components import Trials
from evolteacher.testing.promises import Promises
from evolteacher.trainsection import Train

ROOT = Path(__file__).parents[1]
PAGES = (
    "README.md",
    "docs/cli.md",
    "docs/dataset-maker.md",
    "docs/compare.md",
    "docs/decontamination.md",
    "docs/from-evol-teacher.md",
    "docs/index.md",
    "docs/model-tuner.md",
    "docs/hub.md",
    "docs/licences.md",
    "docs/operators.md",
    "docs/plugin-author.md",
    "docs/plugins.md",
    "docs/recipes.md",
    "docs/sandbox.md",
    "docs/training.md",
    "docs/tutorial.md",
    "docs/vllm.md",
)


@dataclass(frozen=True)
class Block:
    """One fenced block: its language, the words after it, its text, and where it stands."""

    language: str
    words: tuple[str, ...]
    text: str
    where: str

    @property
    def file(self):
        return next((word.removeprefix("file=") for word in self.words if word.startswith("file=")), None)


@cache
def read(page):
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page):
    found = re.finditer(r"^```(\w+)([^\n]*)\n(.*?)^```$", read(page), re.MULTILINE | re.DOTALL)
    lines = [(match, read(page).count("\n", 0, match.start()) + 1) for match in found]
    return [Block(m[1], tuple(m[2].split()), m[3], f"{page}:{line}") for m, line in lines]


def commands(block):
    """Return the commands of a shell block, split into words; `&&` and a comment end one."""
    split = (shlex.split(line, comments=True) for line in re.split(r"\n|&&", block.text))
    return [words for words in split if words]


class Story:
    """Carries out a page's blocks in order, in one folder, as a reader would."""

    def __init__(self, folder, capture):
        self.folder = folder
        self.capture = capture
        self.site = folder / "site"
        self.shown = ""
        self.done = 0

    def carry_out(self, block):
        if block.file:
            (self.folder / block.file).write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            self.shown = self.run(block, "-c", block.text)
        elif block.language == "sh" and "run" in block.words:
            for program, *words in commands(block):
                if program == "cd":
                    (folder,) = words
                    self.folder /= folder
                elif program == "pip":
                    assert words == ["install", "."], block.where
                    offline = ["--no-build-isolation", "--no-deps", "--no-index", "--quiet", "--target", str(self.site)]
                    self.run(block, "-m", "pip", *words, *offline)
                elif program == "pytest":
                    self.shown = self.run(block, "-m", "pytest", "-p", "no:asyncio", *words)
                    assert re.search(r"\d+ passed", self.shown), block.where
                else:
                    assert program == "evolteacher", block.where
                    self.shown = self.command(block, *words)
        elif "output" in block.words:
            assert self.shown.strip() == block.text.strip(), block.where
        else:
            return
        self.done += 1

    def command(self, block, *words):
        """Run a command: here, unless the story has brought code that a process of its own must find."""
        if self.site.exists() or any(self.folder.glob("*.py")):
            return self.run(block, "-m", "evolteacher", *words)
        self.capture.readouterr()
        with contextlib.chdir(self.folder):
            code = cli.main(words)
        captured = self.capture.readouterr()
        self.check(block, words, code, captured.out, captured.err)
        return captured.out

    def run(self, block, *words):
        path = os.pathsep.join(map(str, (self.site, self.folder)))
        done = subprocess.run(
            [sys.executable, *words],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=120,
        )
        self.check(block, words, done.returncode, done.stdout, done.stderr)
        return done.stdout

    def check(self, block, words, code, said, complained):
        assert code == 0, f"{block.where}: {words}\n{said}{complained}"
        assert "warning" not in complained, f"{block.where}: {complained}"


@pytest.mark.parametrize(
    ("page", "least"),
    [
        ("README.md", 3),
        ("docs/cli.md", 5),
        ("docs/dataset-maker.md", 7),
        ("docs/decontamination.md", 4),
        ("docs/from-evol-teacher.md", 1),
        ("docs/hub.md", 1),
        ("docs/licences.md", 4),
        ("docs/operators.md", 6),
        ("docs/plugin-author.md", 7),
        ("docs/plugins.md", 14),
        ("docs/recipes.md", 6),
        ("docs/sandbox.md", 2),
        ("docs/training.md", 3),
    ],
)
def test_every_block_of_the_page_runs(page, least, tmp_path, monkeypatch, capfd):
    for name in [name for name in os.environ if name.startswith("EVOLTEACHER_")]:
        monkeypatch.delenv(name)
    story = Story(tmp_path, capfd)
    for block in blocks(page):
        story.carry_out(block)
    assert story.done >= least


SMALL = {
    ("plan", "quickstart"): ("--backend", "scripted"),
    ("run", "quickstart"): ("--backend", "scripted"),
    ("train", "train-smollm2"): ("--set", "train.sft.max_steps=1", "--set", "train.sft.max_length=2048"),
    ("evaluate", "--model"): ("--max-tokens", "8"),
}
"""The first words of the tutorial's commands -> what makes them small."""


@pytest.mark.slow
def test_every_command_of_the_tutorial_runs_on_made_up_answers_and_a_tiny_model(tmp_path, monkeypatch, capfd):
    for name in [name for name in os.environ if name.startswith("EVOLTEACHER_")]:
        monkeypatch.delenv(name)

    class Small(Story):
        def command(self, block, *words):
            if words[:2] == ("models", "checkpoint"):  # the one that is made otherwise: its model would be fetched
                return str(write_model(self.folder / words[3], positions=2048))
            return super().command(block, *words, *SMALL.get(words[:2], ()))

    story = Small(tmp_path, capfd)
    seen = set()
    for block in blocks("docs/tutorial.md"):
        story.carry_out(block)
        seen |= {tuple(words[1:3]) for words in commands(block)}
    assert story.done >= 8 and SMALL.keys() <= seen
    for made in ("report.html", "dataset.json"):
        assert (tmp_path / "runs/quickstart" / made).is_file()
    assert re.search(r"\bwords: 25\b", (tmp_path / "runs/quickstart/recipe.lock.yaml").read_text())
    assert (tmp_path / "tuned/model/prompt_form.json").is_file()
    assert json.loads((tmp_path / "after/evaluation.json").read_text())


def test_every_python_block_is_run_or_is_a_file_that_another_one_imports():
    loose = []
    for page in PAGES:
        text = read(page)
        for block in blocks(page):
            if block.language == "python" and block.file:
                module = block.file.removesuffix(".py")
                used = (
                    f"import {module}" in text or f"from {module} import" in text or f"pytest -rs {block.file}" in text
                )
                if not used and page != "README.md":
                    loose.append(block.where)
    assert loose == []


def test_the_readmes_operator_works_as_it_stands(tmp_path, monkeypatch):
    (block,) = [block for block in blocks("README.md") if block.file]
    (tmp_path / block.file).write_text(block.text, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    catalog = Catalog()
    catalog.register(importlib.import_module(block.file.removesuffix(".py")), "mine")
    operator = catalog.find(et.Operator, "translate")(language="French")
    assert "in French" in operator.prompt(et.Instruction("Sort {a list}."))


def test_every_yaml_block_is_a_recipe_or_fits_into_one(tmp_path, monkeypatch):
    (tmp_path / "tasks.jsonl").write_text('{"instruction": "Sort a list."}\n')
    monkeypatch.chdir(tmp_path)
    base = {
        "evolteacher": 1,
        "name": "base",
        "seeds": "tasks.jsonl",
        "operators": ["add-constraints"],
        "backends": {"evolve": "scripted"},
    }
    fragments = [block for page in PAGES for block in blocks(page) if block.language == "yaml" and not block.file]
    for block in fragments:
        Recipe.from_dict({**base, **YAML(typ="safe").load(block.text)})
    assert len(fragments) >= 2


@cache
def table():
    """Return every command and subcommand: its words -> the click command."""
    brought = {**cli.commands(), **Catalog.load().commands()}
    found = {}
    for name, (target, _) in brought.items():
        module, _, attribute = target.partition(":")
        command = cli.as_command(name, getattr(importlib.import_module(module), attribute))
        found[(name,)] = command
        for sub, inner in getattr(command, "commands", {}).items():
            found[(name, sub)] = inner
    return found


def options(command):
    return {option for parameter in command.params for option in parameter.opts if option.startswith("--")}


class TestCommands:
    def test_every_command_in_a_shell_block_exists_with_its_options(self):
        seen = 0
        for page in PAGES:
            for block in blocks(page):
                for words in commands(block) if block.language == "sh" else ():
                    if words[0] == "evolteacher":
                        command = table().get(tuple(words[1:3])) or table()[(words[1],)]
                        given = {word for word in words if word.startswith("--")}
                        assert given <= options(command), block.where
                        seen += 1
        assert seen >= 20

    def test_every_command_named_in_the_text_exists(self):
        named = {name for page in PAGES for name in re.findall(r"`evolteacher ([a-z][a-z-]+)", read(page))}
        assert len(named) >= 10 and named <= {words[0] for words in table()}

    def test_the_page_names_every_command_and_every_option(self):
        page = read("docs/cli.md")
        assert len(table()) >= 15
        for (name, *sub), command in table().items():
            assert f"`evolteacher {name}" in page
            assert not sub or sub == ["list"] or f"{name} {sub[0]}" in page
            for option in options(command) - {"--help", "--install-completion", "--show-completion"}:
                assert option in page, f"{name}: {option}"

    def test_the_page_names_every_file_of_a_run_folder(self, tmp_path):
        et.run("quickstart", tmp_path / "out", backend="scripted", limit=1)
        files = {path.name for path in (tmp_path / "out").iterdir()}
        assert len(files) >= 8
        forgotten = [
            name
            for name in files
            if f"`{name}`" not in read("docs/cli.md") and not re.fullmatch(r"round-[1-9]\.json|run\.(lock|db-.*)", name)
        ]
        assert forgotten == []

    def test_the_page_names_every_environment_variable(self):
        sources = [path for folder in ("evolteacher", "plugins", "backends") for path in (ROOT / folder).rglob("*.py")]
        names = {name for path in sources for name in re.findall(r'"(EVOLTEACHER_[A-Z_]+)"', path.read_text("utf-8"))}
        assert len(names) >= 3
        assert [name for name in names if f"`{name}`" not in read("docs/cli.md")] == []


class TestPlugins:
    def test_every_hook_is_in_the_table_with_its_arguments(self):
        hooks = {name: hook for name, hook in vars(hookspecs).items() if hasattr(hook, "evolteacher_spec")}
        assert len(hooks) == 11
        for name, hook in hooks.items():
            arguments = ", ".join(hook.__code__.co_varnames[: hook.__code__.co_argcount])
            assert f"| `{name}({arguments})` |" in read("docs/plugins.md")

    def test_every_hook_is_implemented_by_a_block(self):
        text = "\n".join(block.text for block in blocks("docs/plugins.md") if block.language == "python")
        for name in [name for name, hook in vars(hookspecs).items() if hasattr(hook, "evolteacher_spec")]:
            assert f"def {name}(" in text

    def test_every_base_class_is_subclassed_by_a_block(self):
        abstract = {et.Component, et.Filter}
        public = [getattr(et, name) for name in et.__all__]
        bases = [
            cls for cls in public if isinstance(cls, type) and issubclass(cls, et.Component) and cls not in abstract
        ]
        assert len(bases) == 10
        for base in bases:
            assert re.search(rf"class \w+\(et\.{base.__name__}, name=", read("docs/plugins.md")), base

    def test_every_error_of_a_backend_is_in_the_table(self):
        found = [cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, errors.BackendError)]
        leaves = [cls for cls in found if cls not in (errors.BackendError, errors.RetryableError)]
        leaves = [cls for cls in leaves if cls not in (errors.CallError, errors.FatalError)]
        assert len(leaves) == 8
        assert [cls.__name__ for cls in leaves if f"| `{cls.__name__}` |" not in read("docs/plugins.md")] == []

    def test_every_method_of_a_backend_is_described(self):
        methods = [name for name in vars(et.Backend) if not name.startswith("_")]
        methods = [name for name in methods if callable(getattr(et.Backend, name)) or name.startswith("most_")]
        assert len(methods) == 16
        assert [name for name in methods if not re.search(rf"`{name}(\(.*?\))?`", read("docs/plugins.md"))] == []

    def test_every_name_for_backends_is_described(self):
        modules = ("backend", "headers", "messages", "money", "secrets")
        names = [name for module in modules for name in et._MODULES[module]]
        assert len(names) >= 18
        missing = [name for name in names if f"et.{name}" not in read("docs/plugins.md")]
        assert missing == ["Prompt", "Sampling"]

    def test_everything_that_an_author_tells_the_conformance_suite_is_in_the_tables(self):
        attributes = {name: value for name, value in vars(Promises).items() if isinstance(value, bool | int | float)}
        methods = {"belongs", "request", "session", "workload", "violated", "not_covered"}
        fixtures = {name for name in vars(Promises) if not name.startswith("_")} - attributes.keys() - methods
        assert len(attributes) >= 11 and fixtures == {"backend", "batches", "faults", "secret"}
        for name, default in attributes.items():
            written = str(default) if isinstance(default, bool) else f"{default:.6g}"
            assert re.search(rf"^\| `{name}` \| .* \| `{written}` \|$", read("docs/plugins.md"), re.MULTILINE), name
        for name in fixtures:
            assert f"| `{name}` |" in read("docs/plugins.md")
        assert [each for each in SITUATIONS if f'"{each}"' not in read("docs/plugins.md").replace("\n", " ")] == []

    def test_the_guides_operator_and_filter_are_short(self):
        lines = {
            block.file: len([line for line in block.text.splitlines() if line.strip()])
            for block in blocks("docs/plugins.md")
            if block.file in ("translate.py", "profanity.py")
        }
        assert lines["translate.py"] <= 12 and lines["profanity.py"] <= 10 and len(lines) == 2

    def test_every_suite_and_all_that_an_author_tells_it_is_in_the_tables(self):
        page = read("docs/plugins.md")
        suites = [name for name in testing.__all__ if name.endswith("Conformance")]
        assert len(suites) == 6
        assert [name for name in suites if not re.search(rf"class \w+\({name}\)", page)] == []
        assert [name for name in suites if name != "BackendConformance" and f"| `{name}` |" not in page] == []
        attributes = {name: value for name, value in vars(Trials).items() if isinstance(value, int | float)}
        assert len(attributes) == 2
        for name, default in attributes.items():
            assert re.search(rf"^\| `{name}` \| .* \| `{default:g}` \|$", page, re.MULTILINE), name
        for words in ("`operator`, `filter`, `benchmark`", "`answer(prompt, label)`", "`rejects`, `keeps`"):
            assert f"| {words} |" in page

    def test_reserved_words_are_named_in_both_guides(self):
        for word in RESERVED:
            assert f"`{word}`" in read("docs/plugins.md") and f"| `{word}` |" in read("docs/recipes.md")

    def test_only_public_names_are_used(self):
        for page in PAGES:
            for block in blocks(page):
                if block.language == "python":
                    assert set(re.findall(r"\bet\.(\w+)", block.text)) <= set(et.__all__), block.where
                    imported = re.findall(r"^(?:from|import) (evolteacher[.\w]*)", block.text, re.MULTILINE)
                    own = {b.file.removesuffix(".py") for b in blocks(page) if b.file}
                    assert set(imported) <= {"evolteacher", "evolteacher.errors", "evolteacher.testing"} | own, (
                        block.where
                    )


def keys(model, prefix=""):
    """Return dotted key -> field of a recipe's section and of those below it."""
    found = {}
    for name, field in model.model_fields.items():
        if not field.exclude:
            found[prefix + name] = field
            inner = field.annotation
            if field is Recipe.model_fields["rounds"]:
                found.update({**keys(Rounds, f"{prefix}{name}."), f"{prefix}{name}.stop": Recipe.model_fields["stop"]})
            if inner == Recipe.model_fields["choose"].annotation:
                found.update(keys(Bandit, f"{prefix}{name}.bandit."))
            if inner in (Budget | None, Train | None, Evaluate | None):
                inner = next(part for part in get_args(inner) if part is not type(None))
            if isinstance(inner, type) and issubclass(inner, Section | Limits | Budget):
                found.update(keys(inner, f"{prefix}{name}."))
    return found


ROWS = dict(re.findall(r"^\| `([\w.]+)` \| (.*?) \|", read("docs/recipes.md"), re.MULTILINE))
"""Key -> default, of the guide's table of keys."""


class TestRecipes:
    def test_the_table_holds_every_key_and_no_other(self):
        model = keys(Recipe)
        assert len(model) >= 35
        documented = {key for key in ROWS if key not in (*FORMATS, *RESERVED, *STOPS)}
        assert documented == {key for key in model if key not in ("limits", "budget")}

    def test_each_signal_of_a_stop_and_each_of_its_options_is_named(self):
        text = read("docs/recipes.md").partition("## Evol stop")[2].partition("\n## ")[0]
        named = [name for cls in STOPS.values() for name in (cls.signal, *cls.model_fields)]
        assert len(named) >= 20 and [name for name in named if f"`{name}`" not in text] == []

    def test_its_defaults_are_the_models(self):
        seen = 0
        for key, field in keys(Recipe).items():
            written = ROWS.get(key, "")
            if field.is_required():
                assert written == "required", key
            elif match := re.fullmatch("`(.*)`", written):
                default = field.get_default(call_default_factory=True)
                default = list(default) if isinstance(default, tuple) else default
                assert YAML(typ="safe").load(match[1]) == default, key
            elif key not in ("sampling", "limits"):
                assert field.get_default(call_default_factory=True) in (None, "", ()), key
            seen += 1
        assert seen >= 35

    def test_every_format_of_seeds_is_in_the_table(self):
        assert [name for name in FORMATS if name != "auto" and f"| `{name}` |" not in read("docs/recipes.md")] == []

    def test_the_shipped_recipes_are_named(self):
        names = [path.stem for path in (ROOT / "recipes").glob("*.yaml")]
        assert len(names) >= 3
        for name in names:
            assert f"`{name}`" in read("docs/recipes.md") and f"`{name}`" in read("README.md")


class TestReadme:
    def test_each_of_the_two_commands_stands_in_a_block_of_its_own(self):
        texts = [block.text.strip() for block in blocks("README.md") if block.language == "sh"]
        assert texts.count("pip install -e '.[embedded]' && evolteacher run quickstart") == 1
        assert texts.count("pip install -c .ci/constraints.txt -e '.[test]' && .ci/check") == 1

    def test_everybody_whom_the_original_thanks_is_cited(self):
        cited = re.findall(r"eprint = \{([\d.]+)\}|\\url\{https://github.com/([\w/-]+)\}", read("README.md"))
        papers = {"2304.12244", "2306.08568", "2302.13971", "2212.10560"}
        assert {paper or place for paper, place in cited} == papers | {
            "tatsu-lab/stanford_alpaca", "sahil280114/codealpaca"
        }  # fmt: skip
        assert "(https://github.com/teknium1/stanford_alpaca-replit)" in read("README.md")

    def test_its_pictures_are_small_and_fetch_nothing(self):
        pictures = re.findall(r"!\[[^\]]{20,}\]\(([^)]+)\)", read("README.md"))
        assert len(pictures) == 2
        for picture in pictures:
            assert (ROOT / picture).stat().st_size < 200_000, picture
        drawn = [read(picture) for picture in pictures if picture.endswith(".svg")]
        assert drawn and not re.search(r"@font-face|@import|url\((?!#)|<script|href=\"http", "".join(drawn))

    def test_every_backend_and_every_extra_is_named(self):
        import tomllib

        project = tomllib.loads(read("pyproject.toml"))["project"]
        extras = set(project["optional-dependencies"]) - {"docs", "test"}
        backends = {e.cls.name for e in Catalog.load().entries("backend") if e.plugin.distribution == FIRST_PARTY}
        assert len(extras) >= 7 and len(backends) >= 4
        assert [name for name in extras | backends if f"`{name}`" not in read("README.md")] == []


def test_every_link_between_the_pages_leads_somewhere():
    seen = 0
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)]+)\)", read(page)):
            path, _, anchor = target.partition("#")
            if path.startswith("reference/"):  # written when the site is built; tests/test_site.py follows these
                continue
            file = (ROOT / page).parent / path if path else ROOT / page
            assert file.is_file(), f"{page}: {target}"
            headings = re.findall(r"^#+ (.*)$", file.read_text("utf-8"), re.MULTILINE) if anchor else []
            anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert not anchor or anchor in anchors, f"{page}: {target}"
            seen += 1
    assert seen >= 8


def test_the_pages_hold_no_leftovers():
    for page in PAGES:
        assert not re.search(r"\b(TODO|FIXME|XXX|OUTPUT)\b", read(page)), page


def test_the_parser_sees_every_fence():
    for page in PAGES:
        assert read(page).count("\n```") == 2 * len(blocks(page)), page
    assert sum(len(blocks(page)) for page in PAGES) >= 35


def test_the_page_about_filters_names_each_with_its_options_and_its_recipe_loads():
    row_filters = [e for e in Catalog.load().entries("filter") if not issubclass(e.cls, et.DatasetFilter)]
    judges = [e.cls for e in row_filters if e.plugin.name == "judges"]
    assert (len(row_filters), len(judges)) == (27, 4)
    for cls in (e.cls for e in row_filters):
        page = read("docs/judges.md" if cls in judges else "docs/filters.md")
        for word in (cls.name, *cls.model_fields):
            assert f"`{word}`" in page, f"{cls.name}: {word}"
    base = {
        "evolteacher": 1, "name": "page", "seeds": "x.jsonl", "rounds": 1, "operators": ["complexity"],
        "backends": {"evolve": "scripted"},
    }  # fmt: skip
    parts = [YAML(typ="safe").load(block.text) for block in blocks("docs/filters.md") if block.language == "yaml"]
    made = [Recipe.from_dict({**base, **part}) for part in parts]
    assert [(len(recipe.filters), len(recipe.dataset_filters)) for recipe in made] == [(7, 0), (0, 3), (2, 2)]


def test_the_page_about_filters_names_each_dataset_filter_with_its_options():
    page = read("docs/filters.md")
    whole = [e.cls for e in Catalog.load().entries("filter") if issubclass(e.cls, et.DatasetFilter)]
    assert len(whole) == 4
    for cls in whole:
        for word in (cls.name, *cls.model_fields):
            assert f"`{word}`" in page, f"{cls.name}: {word}"
