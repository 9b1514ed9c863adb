"""Shell completion in real shells: what is offered, and that nothing in a folder or a plugin can do harm by it."""

import os
import re
import subprocess
import sys

import pytest
from commands import SCRIPT
from shells import Terminal, environment, reply

from evolteacher.catalog import Catalog
from evolteacher.cli import completion, values
from evolteacher.installed import declared_commands
from evolteacher.seeds import SeedReader

MODELS = ["qwen2.5-coder-0.5b-instruct", "qwen2.5-coder-1.5b-instruct", "smollm2-135m-instruct"]

HOSTILE = (
    "$(touch pwned)", "`touch pwned`", "\\$(touch pwned)", "';touch pwned;'", '";touch pwned;"', ";touch pwned",
    "|touch pwned", "&touch pwned", ">pwned", "${IFS}pwned", "a\nb", "a\tb", "\x1b]0;owned\x07", "\x1b[31mred",
    "*", "[a-z]", "?", "{a,b}", "!!", "#", "~root", "-rf", "--limit", "\u202eevil", "\\", "'", '"', "\udcff",
)  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """One home for all shells, into which the completions are installed once."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def bash(folder, home):
    """Offer what bash offers for the words of a line, the last of which is being typed."""

    def offered(*words, cwd=folder, **more):
        return reply(["evolteacher", *words], cwd, home, **more)

    return offered


@pytest.fixture
def answer(folder, monkeypatch):
    """Answer as ``bash`` does, in this process and without a shell, which costs far less."""
    monkeypatch.delenv("EVOLTEACHER_PLUGINS", raising=False)

    def answered(*words):
        monkeypatch.setenv("COMP_WORDS", "\n".join(["evolteacher", *words]))
        monkeypatch.setenv("COMP_CWORD", str(len(words)))
        text, code = completion._answer("bash")
        assert code == 0
        return text.split("\n") if text else []

    return answered


@pytest.fixture
def terminal(folder, home):
    """Open a shell in the folder."""
    opened = []

    def open_one(shell):
        opened.append(Terminal(shell, folder, home))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


def run_folder(path):
    path.mkdir(parents=True)
    (path / "run.db").touch()


def plugin(site, name, code, group="evolteacher"):
    """Put a plugin package into a folder, as pip would."""
    site.mkdir(exist_ok=True)
    (site / f"{name}_plugin.py").write_text(code)
    info = site / f"{name}_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {name}_plugin\n")


GOOD = """\
import evolteacher as et
from pathlib import Path

class Good(et.Operator, name="good-operator"):
    def prompt(self, parent):
        return parent.text

@et.hookimpl
def register_operators():
    return [Good]

@et.hookimpl
def register_commands(cli):
    cli.add("greet", "good_plugin:greet", "Say hello.")

@et.hookimpl
def register_recipes():
    return [Path(__file__).parent]

def greet(loudly: bool = False) -> None:
    "Say hello."
"""


class TestWhatIsOffered:
    def test_the_answer_is_what_bash_offers(self, bash, answer, folder):
        run_folder(folder / "runs" / "first")
        lines = (["re"], [""], ["run", "rec"], ["show", ""], ["evaluate", "-m", "embedded", ":", "q"], ["run", "--lim"])
        for words in (*lines, ["compare", "x", "--on", ""]):
            assert bash(*words) == answer(*words) != []

    def test_commands_and_those_of_plugins(self, answer):
        assert answer("re") == ["report", "rejudge", "recipes"]
        assert answer("mod") == ["models"]
        assert len(answer("")) == 25

    def test_subcommands_and_options(self, answer):
        assert answer("plugins", "") == ["new", "check", "show"]
        assert answer("models", "f") == ["fetch"]
        assert answer("run", "quickstart", "--lim") == ["--limit"]
        assert set(answer("show", "--re")) == {"--rejected", "--rejected-by"}

    def test_recipes_by_name_files_and_folders(self, answer, folder):
        (folder / "mine" / "deep").mkdir(parents=True)
        (folder / "mine" / "deep" / "one.yaml").touch()
        (folder / "recipes.YML").touch()
        (folder / "notes.txt").touch()
        (folder / ".hidden.yaml").touch()
        found = answer("run", "")
        assert {"quickstart", "wizardcoder", "train-lora", "recipe.yaml", "recipes.YML", "mine/"} <= set(found)
        assert not {"notes.txt", "seeds.jsonl", ".hidden.yaml"} & set(found)
        for command in ("plan", "train"):
            assert answer(command, "quick") == ["quickstart"]
        assert answer("rejudge", "x", "--recipe", "quick") == ["quickstart"]
        assert answer("recipes", "copy", "quick") == ["quickstart"]
        assert answer("run", "mi") == ["mixed", "mine/"]
        assert answer("run", "min") == ["mine/deep/one.yaml"]
        assert answer("run", ".h") == [".hidden.yaml"]
        assert answer("run", str(folder / "rec")) == [str(folder / "recipe.yaml"), str(folder / "recipes.YML")]

    def test_run_folders_here_and_below_runs(self, answer, folder):
        for name in ("trial", "runs/first", "runs/second", "other/third", "other/runs/fourth"):
            run_folder(folder / name)
        (folder / "runs" / "no-run").mkdir()
        for command in ("show", "licences", "push"):
            assert answer(command, "") == ["trial", "runs/first", "runs/second"]
        assert answer("diff", "trial", "runs/s") == ["runs/second"]
        assert answer("run", "quickstart", "--fork", "t") == ["trial"]
        assert answer("show", "other/") == ["other/third", "other/runs/fourth"]
        assert answer("compare", "s") == ["seeds.jsonl"]
        assert answer("compare", "trial", "run") == ["runs/first", "runs/second", "runs/"]
        assert answer("show", "trial", "") == []

    def test_models_behind_the_colon_at_which_bash_cuts(self, answer):
        every = [f"embedded:{name}" for name in MODELS]
        assert [name for name in answer("evaluate", "--model", "e")] == ["embedded", *every]
        assert answer("evaluate", "-m", "embedded", ":", "q") == MODELS[:2]
        assert answer("evaluate", "--model", "embedded", ":") == MODELS
        assert answer("evaluate", "--model", "=", "embedded", ":", "s") == MODELS[2:]
        assert answer("run", "quickstart", "--backend", "scr") == ["scripted"]
        # Where a user has taken the colon out of COMP_WORDBREAKS, the word comes whole and goes whole.
        assert answer("evaluate", "--model", "embedded:s") == every[2:]
        assert answer("models", "fetch", "") == MODELS

    def test_components_benchmarks_and_formats(self, answer):
        assert answer("plugins", "show", "add-") == ["add-constraints"]
        assert {"embedded", "empty", "humaneval", "csv", "add-constraints"} <= set(answer("plugins", "show", ""))
        assert answer("prune", "x", "--filter", "near") == ["near-duplicates"]
        assert answer("show", "x", "--rejected-by", "few") == ["few-words"]
        assert answer("convert", "x", "--reader", "j") == ["json", "jsonl"]
        for words in (["evaluate", "-b"], ["decontaminate", "x", "--against"], ["compare", "x", "--on"]):
            assert answer(*words, "") == ["humaneval", "mbpp", "problems"]
        assert "rounds" in answer("export", "x", "--format", "")
        for command in ("convert", "prune"):
            assert answer(command, "x", "--to", "share") == ["sharegpt"]
        assert answer("convert", "x", "--format", "=", "alp") == ["alpaca"]
        assert answer("compare", "x", "--matched", "t") == ["tokens"]
        assert answer("decontaminate", "x", "--method", "min") == ["minhash"]
        assert answer("train", "x", "--launch", "ze") == ["zero2", "zero3"]

    def test_plugins_of_others(self, bash, folder):
        site = folder / "site"
        plugin(site, "good", GOOD)
        (site / "shared.yaml").touch()
        (site / "pick $(touch pwned).yaml").touch()
        given = {"PYTHONPATH": str(site)}
        assert bash("gre", **given) == ["greet"]
        assert bash("greet", "--l", **given) == ["--loudly"]
        assert bash("plugins", "show", "good", **given) == ["good-operator"]
        assert bash("plugins", "check", "", **given) == ["good-plugin"]
        assert bash("recipes", "copy", "sha", **given) == ["shared"]
        assert bash("recipes", "copy", "pick", **given) == []
        assert bash("gre", EVOLTEACHER_PLUGINS="", **given) == []


class TestItNeverFails:
    BAD = (
        "1 / 0", "raise SystemExit('bye')", "import no_such_module", "raise KeyboardInterrupt",
        "import os; os.write(1, b'quick-injected\\n'); os.write(2, b'complaint\\n')\nprint('quicker')",
        "import sys; sys.stderr.write('complaint'); sys.stdout = None; sys.stderr = None",
        "import threading, time; threading.Thread(target=time.sleep, args=[100]).start()",
        "import atexit, time; atexit.register(time.sleep, 100)",
        "import warnings; warnings.warn('complaint')",
    )  # fmt: skip

    @pytest.mark.parametrize("code", BAD)
    def test_with_a_broken_plugin(self, bash, folder, code):
        plugin(folder / "site", "broken", code)
        given = {"PYTHONPATH": str(folder / "site")}
        interrupted = "KeyboardInterrupt" in code  # which the catalog hands on: nothing is offered, and nothing said
        assert bash("run", "quick", **given) == ([] if interrupted else ["quickstart"])

    def test_components_with_a_broken_plugin(self, bash, folder):
        plugin(folder / "site", "broken", "1 / 0")
        given = {"PYTHONPATH": str(folder / "site")}
        assert bash("plugins", "show", "add-c", **given) == ["add-constraints"]

    def test_with_one_that_hangs(self, bash, folder):
        plugin(folder / "site", "broken", "import time; time.sleep(100)")
        assert bash("wat", PYTHONPATH=str(folder / "site")) == []

    def test_with_one_that_imports_something_heavy(self, bash, folder):
        site = folder / "site"
        for name in ("torch", "litellm"):
            plugin(site, f"with_{name}", f"import {name}")
            (site / f"{name}.py").write_text(f"open({str(folder / 'imported')!r}, 'w')")
        given = {"PYTHONPATH": str(site)}
        assert bash("plugins", "show", "add-c", **given) == ["add-constraints"]
        assert bash("evaluate", "--model", "lite", **given) == ["litellm"]
        assert not (folder / "imported").exists()

    def test_in_a_broken_folder(self, bash, answer, folder, monkeypatch):
        bad = folder / "bad"
        bad.mkdir()
        (bad / "runs").symlink_to("runs")
        (bad / "gone.yaml").symlink_to("nowhere")
        (bad / "self").symlink_to(".")
        (bad / "pipe").mkdir()
        os.mkfifo(bad / "pipe" / "run.db")
        os.mkfifo(bad / "recipe.yaml")
        (bad / "folder").mkdir()
        (bad / "folder" / "run.db").mkdir()
        (bad / "garbage").mkdir()
        (bad / "garbage" / "run.db").write_bytes(os.urandom(1000))
        assert bash("show", "", cwd=bad) == ["garbage"]
        assert "quickstart" in bash("run", "", cwd=bad)
        monkeypatch.chdir(bad)
        for word in ("runs/", "self/self/", "nowhere/", "/no/such/", "garbage/run.db/", "~nobody/", "../" * 40):
            answer("show", word)
            answer("run", word)

    def test_in_a_folder_that_is_gone(self, home, folder):
        code = 'mkdir gone && cd gone && rmdir ../gone && COMP_CWORD=2 COMP_WORDS="$1" exec "$2"'
        for words, offered in (("evolteacher\nrun\nquick", "quickstart\n"), ("evolteacher\nshow\nx", "")):
            done = subprocess.run(
                ["bash", "-c", code, "bash", words, SCRIPT],
                env=environment(home, _EVOLTEACHER_COMPLETE="complete_bash"),
                cwd=folder, capture_output=True, text=True, timeout=60,
            )  # fmt: skip
            assert (done.stdout, done.stderr) == (offered, "")

    @pytest.mark.parametrize(
        ("what", "words", "number"),
        [
            ("complete_bash", None, None),
            ("complete_bash", "evolteacher 'run", "x"),
            ("complete_bash", "\n", "9"),
            ("complete_zsh", "evolteacher 'run", "x"),
            ("complete_fish", None, None),
            ("complete_tcsh", None, None),
            ("complete_", "\n", "9"),
            ("", None, None),
        ],
    )
    def test_when_asked_in_a_way_that_makes_no_sense(self, home, folder, what, words, number):
        more = {} if words is None else {"COMP_WORDS": words, "COMP_CWORD": number}
        done = subprocess.run(
            [SCRIPT], env=environment(home, _EVOLTEACHER_COMPLETE=what, **more), cwd=folder,
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert "Traceback" not in done.stderr
        assert done.stderr == "" or not what.startswith("complete")


class TestHostileNames:
    @pytest.fixture
    def hostile(self, folder):
        """Files, folders and runs with names that a shell may take for more than names."""
        made = 0
        for name in HOSTILE:
            for path in (folder / f"{name}.yaml", folder / f"x{name}.yaml"):
                if "/" not in name:
                    path.touch()
            run_folder(folder / "runs" / name)
            run_folder(folder / f"{name}-run")
            made += 1
        run_folder(folder / "runs" / "good")
        assert made >= 25
        return folder

    def test_bash_is_offered_harmless_names_only(self, bash, answer, hostile):
        (hostile / "two words.yaml").touch()
        (hostile / "größe-日本.yaml").touch()
        harmless = re.compile(r"(?!-)([\w.,+:=/-]|\\ )+")
        for words in (["run", ""], ["run", "x"], ["show", ""], ["show", "runs/"], ["compare", ""], ["diff", "a", ""]):
            found = answer(*words)
            assert [one for one in found if not harmless.fullmatch(one)] == []
        for typed in ("$(touch pwned)", "`touch pwned`", "'", '"', "-", "\\", "*"):
            bash("run", typed)
        assert sorted(bash("run", "")) == sorted(answer("run", ""))
        assert {"größe-日本.yaml", "two\\ words.yaml"} <= set(bash("run", ""))
        assert bash("run", "'two") == []  # where a quote is open, bash's own completion of files does better
        assert "runs/good" in bash("show", "")
        assert not (hostile / "pwned").exists()

    @pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
    def test_nothing_is_executed_at_a_terminal(self, terminal, hostile, shell):
        one = terminal(shell)
        for line in ("run x\t\t", "run \t\t", "show runs/\t\t", "show \t\t", "compare \t\t", "run '$(\t\t"):
            one.complete(f"evolteacher {line}")
        assert not (hostile / "pwned").exists()
        assert "\x1b]0;owned" not in one.seen

    def test_a_hostile_name_that_bash_completes_itself_reaches_us_as_a_name(self, terminal, folder):
        (folder / "evil $(touch pwned).yaml").touch()
        one = terminal("bash")
        one.type("evolteacher validate evil\t", until=r"evil\\ \\\$\\\(touch\\ pwned\\\)\.yaml")
        one.type("\n", until="a recipe is a mapping")
        assert not (folder / "pwned").exists()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_at_a_terminal(terminal, folder, shell):
    run_folder(folder / "runs" / "trial")
    run_folder(folder / "runs" / "trend")
    one = terminal(shell)
    for typed, whole in (
        ("vali\t", "validate "),
        ("validate quick\t", "quickstart "),
        ("show runs/tria\t", "runs/trial "),
        ("evaluate --model embedded:smol\t", "embedded:smollm2-135m-instruct "),
        ("run quickstart --lim\t", "--limit "),
    ):
        shown = one.complete(f"evolteacher {typed}")
        assert whole.rstrip() in shown
    assert "error" not in one.seen


def test_it_is_installed_for_bash(tmp_path_factory, folder):
    """As docs/cli.md says: install it, open a shell, and complete."""
    home = tmp_path_factory.mktemp("another-home")
    given = environment(home)
    done = subprocess.run(
        ["bash", "--norc", "-c", "evolteacher --install-completion; exit $?"],
        env=given, cwd=folder, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(path.name for path in home.iterdir()) == [".bash_completions", ".bashrc"]
    words = (
        'COMP_WORDS=(evolteacher validate quick); COMP_CWORD=2; _evolteacher_completion evolteacher; echo "$COMPREPLY"'
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", f". ~/.bashrc; {words}"],
        env=given,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("quickstart\n", "")


def test_the_declared_commands_are_those_that_are_brought(monkeypatch):
    """What the package declares is what is completed without an import."""
    monkeypatch.setenv("EVOLTEACHER_PLUGINS", "")
    brought = Catalog.load().commands()
    assert declared_commands() == sorted(brought) and len(brought) >= 1


@pytest.mark.parametrize("words", ["wat", "run\nquick"])
def test_commands_and_recipes_are_completed_without_what_carries_them_out(home, folder, words):
    probe = (
        "import os, sys\nfrom evolteacher.cli import main\nexit = os._exit\n"
        "os._exit = lambda code: (open('modules', 'w').write('\\n'.join(sys.modules)), exit(code))\nmain([])"
    )
    more = {
        "COMP_WORDS": f"evolteacher\n{words}",
        "COMP_CWORD": str(len(words.split())),
        "_EVOLTEACHER_COMPLETE": "complete_bash",
    }
    subprocess.run([sys.executable, "-c", probe], cwd=folder, env=environment(home, **more), check=True, timeout=60)
    loaded = set((folder / "modules").read_text().split("\n"))
    assert "typer" in loaded and not loaded & {"rich", "evolteacher.catalog", "sqlite3"}
    assert not [name for name in loaded if name.startswith(("evolteacher_plugins.", "evolteacher_backends."))]


def test_every_ending_that_a_seed_reader_claims_is_offered():
    readers = [entry.cls for entry in Catalog.load().entries(SeedReader.kind)]
    own = [ending for reader in readers for ending in getattr(reader, "endings", ())]
    assert len(own) > 5
    assert {*own, *(f"{ending}.gz" for ending in own)} == set(values.DATASET_ENDINGS)
