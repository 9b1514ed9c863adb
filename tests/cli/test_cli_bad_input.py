"""What a user can get wrong: each gets a message that says where, what, and what to do; its exit code; no traceback."""

import fcntl
import os
import resource
import sqlite3
import subprocess
import sys
import textwrap

import pytest
from commands import RECIPE, SCRIPT, write_seeds


def change(old, new):
    assert old in RECIPE
    return RECIPE.replace(old, new)


RECIPES = {
    "unknown operator": (
        change("more-steps", "more-step"),
        ["recipe.yaml:5: operators[1]", "no operator is called 'more-step'", "Did you mean 'more-steps'?"],
    ),
    "unknown filter": (
        change("few-words", "few-word"),
        ["recipe.yaml:6: filters[1]", "no filter is called 'few-word'", "Did you mean 'few-words'?"],
    ),
    "unknown backend": (
        change("evolve: scripted", "evolve: scriptd"),
        ["recipe.yaml:7: backends.evolve", "no backend is called 'scriptd'", "Did you mean 'scripted'?"],
    ),
    "unknown option": (
        change("few-words]", "{few-words: {word: 4}}]"),
        ["recipe.yaml:6: filters[1].few-words.word", "filter 'few-words' has no 'word'", "Did you mean 'words'?"],
    ),
    "unknown key": (
        change("rounds:", "round:"),
        ["recipe.yaml:4: round", "a recipe has no 'round'", "Did you mean 'rounds'?"],
    ),
    "wrong type": (change("rounds: 2", "rounds: two"), ["recipe.yaml:4: rounds", "a whole number is needed", "'two'"]),
    "option of a wrong type": (
        change("few-words]", "{few-words: {words: [1]}}]"),
        ["recipe.yaml:6: filters[1].few-words.words", "whole number"],
    ),
    "out of range": (change("rounds: 2", "rounds: 0"), ["recipe.yaml:4: rounds", "must be 1 or more, not 0"]),
    "no operator": (change("[add-constraints, more-steps]", "[]"), ["recipe.yaml", "at least one operator is needed"]),
    "missing key": (change("seeds: seeds.jsonl\n", ""), ["recipe.yaml", "needs 'seeds'"]),
    "broken YAML": (change("rounds: 2", "rounds: [2"), ["recipe.yaml:5", "not valid YAML"]),
    "tabs": (change("rounds: 2", "rounds:\n\t- 2"), ["recipe.yaml:5", "not valid YAML"]),
    "a list": ("- a\n- b\n", ["recipe.yaml", "begins with 'evolteacher: 1'"]),
    "nothing": ("", ["recipe.yaml", "begins with 'evolteacher: 1'"]),
    "another version": (change("evolteacher: 1", "evolteacher: 2"), ["recipe.yaml:1: evolteacher", "reads version 1"]),
}


@pytest.mark.parametrize("name", RECIPES)
def test_a_wrong_recipe(cli, folder, name):
    text, words = RECIPES[name]
    (folder / "recipe.yaml").write_text(text)
    for command in ("run", "validate", "plan"):
        cli(command, "recipe.yaml").refused(2, *words)
    assert not (folder / "runs").exists()


def test_every_problem_of_a_recipe_has_a_line_of_its_own(cli, folder):
    (folder / "recipe.yaml").write_text(change("more-steps", "nope").replace("few-words", "nope").replace("2", "x"))
    result = cli("validate", "recipe.yaml")
    result.refused(2)
    assert sum(line.startswith("error: recipe.yaml:") for line in result.err.splitlines()) == 3


def test_a_recipe_that_is_not_text(cli, folder):
    (folder / "recipe.yaml").write_bytes(b"evolteacher: 1\nname: \xff\n")
    cli("run", "recipe.yaml").refused(2, "recipe.yaml", "UTF-8")


def test_a_recipe_that_is_not_there(cli):
    cli("run", "nope.yaml").refused(2, "nope.yaml: there is no such file")
    cli("run", "recipe.yml").refused(2, "recipe.yml: there is no such file. Did you mean 'recipe.yaml'?")
    cli("run", "./recip.yaml").refused(2, "Did you mean 'recipe.yaml'?")
    cli("run", "quikstart").refused(2, "no recipe is called 'quikstart'", "Did you mean 'quickstart'?")
    cli("run", "quickstart.yaml").refused(2, "A recipe called 'quickstart' ships: leave out")
    cli("run", ".").refused(2, "this is a folder")


@pytest.mark.parametrize("words", [["--out", ""], ["--out="]])
def test_an_empty_out_is_not_this_folder(cli, folder, words):
    before = sorted(folder.iterdir())
    cli("run", "recipe.yaml", *words).refused(2, "--out: the name is empty")
    assert sorted(folder.iterdir()) == before


def test_a_seed_file_that_is_not_there_is_named_with_the_line_or_the_option(cli, folder):
    (folder / "seeds.jsonl").rename(folder / "tasks.jsonl")
    cli("run", "recipe.yaml").refused(2, "error: recipe.yaml:3: seeds.path: ", "seeds.jsonl: there is no such file")
    text = RECIPE.replace("seeds: seeds.jsonl", "seeds:\n  limit: 3\n  path: taskz.jsonl\n  reader: jsonl")
    (folder / "recipe.yaml").write_text(text)
    words = ("error: recipe.yaml:5: seeds.path: ", "there is no such file. Did you mean 'tasks.jsonl'?")
    cli("run", "recipe.yaml").refused(2, *words)
    option = "seeds.path=gone.jsonl"
    cli("run", "recipe.yaml", "--set", option).refused(2, "error: --set seeds.path: seeds.path: ", "gone.jsonl: there")
    (folder / "tasks.jsonl").write_text('{"instruction": 7}\n')
    changes = ["--set", "seeds.path=tasks.jsonl", "--set", "seeds.on_bad_row=fail"]
    result = cli("run", "recipe.yaml", *changes)
    result.refused(2, "tasks.jsonl:1: ")
    assert "seeds.path: " not in result.err


OPTIONS = {
    "set without =": (["--set", "rounds"], ["--set rounds: write key=value"]),
    "set with a wrong key": (
        ["--set", "rouns=3"],
        ["--set rouns", "a recipe has no 'rouns'", "Did you mean 'rounds'?"],
    ),
    "set with a wrong value": (["--set", "rounds=x"], ["--set rounds", "whole number"]),
    "set with broken YAML": (["--set", "rounds=[1"], ["--set rounds", "not valid YAML"]),
    "set that leads nowhere": (["--set", "filters.nope.words=1"], ["--set filters.nope.words: filters has no 'nope'"]),
    "unknown backend": (["--backend", "scriptd:x"], ["--backend scriptd:x", "Did you mean 'scripted'?"]),
    "limit of 0": (["--limit", "0"], ["--limit"]),
    "limit of a word": (["--limit", "few"], ["--limit"]),
    "unknown option": (["--limt", "3"], ["--limt", "--limit"]),
    "fork of nothing": (["--fork", "nope"], ["nope: there is no run here"]),
    "fork of itself": (["--fork", "runs/small"], ["--fork runs/small", "another --out"]),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_a_wrong_option(cli, name):
    words, said = OPTIONS[name]
    result = cli("run", "recipe.yaml", *words)
    result.refused(2, *said)


def test_a_limit_goes_with_seeds_written_as_a_path_alone(cli):
    assert cli("run", "recipe.yaml", "--limit", 2).code == 0


def test_a_wrong_command(cli):
    cli("rum").refused(2, "no command 'rum'", "Did you mean 'run'?")
    cli("--versio").refused(2, "no option '--versio'", "evolteacher --help")
    cli("run").refused(2, "RECIPE", "evolteacher run --help")
    cli("plugins", "shw", "x").refused(2, "shw", "evolteacher plugins --help")
    cli("plugins", "show", "few-word").refused(2, "'few-word'", "Did you mean 'few-words'?")


SEEDS = {
    "empty": ("", [], ["seeds.jsonl: there is no row in it"]),
    "no instruction, skipped": ('{"output": "x"}\n', [], ["seeds.jsonl", "none of its 1 row can be used", ":1"]),
    "no instruction, fatal": (
        '{"instruction": "Sort a list of numbers."}\n{"output": "x"}\n',
        ["--set", "seeds={path: seeds.jsonl, on_bad_row: fail}"],
        ["seeds.jsonl:2", "Mend the row"],
    ),
    "no JSON, fatal": ("{nope\n", ["--set", "seeds={path: seeds.jsonl, on_bad_row: fail}"], ["seeds.jsonl:1"]),
}


@pytest.mark.parametrize("name", SEEDS)
def test_bad_seeds(cli, folder, name):
    text, options, words = SEEDS[name]
    (folder / "seeds.jsonl").write_text(text)
    cli("run", "recipe.yaml", *options).refused(2, *words)


def test_a_bad_row_that_is_skipped_is_told_with_its_line(cli, folder):
    with (folder / "seeds.jsonl").open("a") as file:
        file.write('{"output": "x"}\n')
    result = cli("run", "recipe.yaml")
    assert result.code == 0
    assert "1 bad row left out" in result.err
    assert "seeds.jsonl:5" in result.err


def test_seeds_that_are_not_there(cli, folder):
    (folder / "seeds.jsonl").unlink()
    cli("run", "recipe.yaml").refused(2, "seeds.jsonl", "no such file")
    result = cli("validate", "recipe.yaml")
    assert result.code == 0
    assert "warning: the seeds are not there" in result.err


def test_another_experiment_in_the_folder(cli):
    assert cli("run", "recipe.yaml").code == 0
    result = cli("run", "recipe.yaml", "--set", "rounds=3")
    result.refused(2, "another experiment", "rounds: the folder has 2, the recipe 3", "--out NEW")
    assert "--fork" in result.err
    assert cli("run", "recipe.yaml").code == 0


def test_seeds_that_changed(cli, folder):
    assert cli("run", "recipe.yaml").code == 0
    write_seeds(folder / "seeds.jsonl", ["Another task, which was not there before."])
    cli("run", "recipe.yaml").refused(2, "the seeds have changed", "1 added", "--out")


def test_a_locked_folder(cli, folder):
    assert cli("run", "recipe.yaml").code == 0
    with open(folder / "runs/small/run.lock", "r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.truncate()
        lock.write("4711\n")
        lock.flush()
        cli("run", "recipe.yaml").refused(1, "runs/small: another run is writing here (process 4711)", "--out")
        assert cli("show", "runs/small").code == 0
    assert cli("run", "recipe.yaml").code == 0


def test_a_file_where_the_folder_should_be(cli, folder):
    (folder / "taken").write_text("x")
    cli("run", "recipe.yaml", "--out", "taken").refused(2, "taken: this is a file", "--out")


def test_a_folder_that_cannot_be_made(cli, folder):
    result = cli("run", "recipe.yaml", "--out", "seeds.jsonl/run")
    result.refused(1, "seeds.jsonl/run: cannot be made", "--out")
    assert "What was answered" not in result.err, "nothing was asked"


def test_a_fork_of_what_is_no_run_leaves_nothing_behind(cli, folder):
    result = cli("run", "recipe.yaml", "--fork", "nope")
    result.refused(2, "nope: there is no run here")
    assert "What was answered" not in result.err
    assert not (folder / "runs").exists()


def test_a_full_disk(folder, script):
    """A file may not grow beyond 64 kB: the store, and then the dataset, meet the limit as they would a full disk."""
    write_seeds(folder / "seeds.jsonl", [f"Write function number {n}, {'very ' * 40} carefully." for n in range(200)])
    result = script("run", "recipe.yaml", preexec_fn=lambda: _no_file_beyond(64 * 1024))
    result.refused(1, "run.db: the disk is full", "nothing is lost")
    again = script("run", "recipe.yaml")
    assert again.code == 0, again.err
    assert "200 kept" in again.out


def _no_file_beyond(size):
    import signal

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.parametrize("command", [["export"], ["show"], ["show", "0"]])
def test_a_folder_that_is_no_run(cli, command):
    name, *rest = command
    cli(name, "nope", *rest).refused(2, "nope: there is no run here")
    cli(name, ".", *rest).refused(2, "there is no run here")


def test_a_damaged_run(cli, folder):
    (folder / "run.db").write_bytes(b"this is no database at all" * 100)
    cli("show", ".").refused(1, "run.db", "no intact run database")
    (folder / "run.db").unlink()
    sqlite3.connect(folder / "run.db").execute("CREATE TABLE x (y)").connection.close()
    cli("show", ".").refused(1, "run.db")


def test_wrong_formats(cli):
    assert cli("run", "recipe.yaml").code == 0
    cli("export", "runs/small", "--format", "evl").refused(2, "evl", "Did you mean 'evol'?")
    cli("convert", "seeds.jsonl", "--to", "sharegtp").refused(2, "sharegtp", "Did you mean 'sharegpt'?")
    cli("convert", "seeds.jsonl", "--to", "evol", "--format", "alpca").refused(2, "alpca", "Did you mean 'alpaca'?")
    cli("convert", "nope.json", "--to", "evol").refused(2, "nope.json", "no such file")
    cli("merge", "seeds.jsonl", "--out", "x.bin").refused(2, "x.bin", ".jsonl")
    cli("export", "runs/small", "--out", "no/such/folder/x.json").refused(1, "no/such/folder/x.json")


def test_a_lineage_that_is_not_there(cli):
    assert cli("run", "recipe.yaml").code == 0
    cli("show", "runs/small", "99").refused(2, "'99'", "from 0 to 3")
    cli("show", "runs/small", "zz").refused(2, "'zz'", "evolteacher show runs/small")
    cli("show", "runs/small", "%").refused(2, "'%'")
    cli("show", "runs/small", "--rejected-by", "nope").refused(2, "nope")


def test_messages_are_no_markup_and_do_not_steer_the_terminal(cli, folder):
    (folder / "recipe.yaml").write_text(change("more-steps", '"[red]x[/red]\\e[2J"'))
    result = cli("run", "recipe.yaml")
    result.refused(2, "[red]x[/red]\\x1b[2J")
    assert "\x1b" not in result.err


@pytest.fixture
def plugin(tmp_path_factory, monkeypatch):
    """Install a plugin: a module, and the metadata that an installer would write."""

    def install(source, name="acme"):
        site = tmp_path_factory.mktemp("site")
        (site / f"{name}_plugin.py").write_text(textwrap.dedent(source))
        info = site / f"evolteacher_{name}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: evolteacher-{name}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[evolteacher]\n{name} = {name}_plugin\n")
        monkeypatch.setenv("PYTHONPATH", str(site))

    return install


BROKEN = {
    "import": ("import no_such_module\n", "ModuleNotFoundError: No module named 'no_such_module'"),
    "syntax": ("def x(:\n", "SyntaxError"),
    "exit": ("import sys\nsys.exit('go away')\n", "SystemExit: go away"),
    "hook": (
        "import evolteacher as et\n@et.hookimpl\ndef register_operator():\n    return []\n",
        "register_operator",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plugin_costs_only_itself(script, plugin, name):
    source, why = BROKEN[name]
    plugin(source)
    result = script("validate", "recipe.yaml")
    assert result.code == 0
    warnings = [line for line in result.err.splitlines() if "acme" in line]
    assert len(warnings) == 1
    assert warnings[0].startswith("warning: plugin 'acme' (evolteacher-acme 1.2) is left out: ")
    assert why in warnings[0]
    listed = script("plugins")
    assert "acme" not in listed.err
    assert f"evolteacher-acme 1.2  {why.partition(':')[0]}" in listed.out.partition("left out")[2] or name == "hook"


def test_what_a_broken_plugin_brings_is_missing_by_name(script, plugin, folder):
    plugin("import no_such_module\n")
    (folder / "recipe.yaml").write_text(change("more-steps", "translate"))
    script("run", "recipe.yaml").refused(2, "recipe.yaml:5", "'translate'", "acme (ModuleNotFoundError")


def test_a_plugin_that_raises_is_named_and_what_was_answered_stays(script, plugin, folder):
    plugin(
        """
        import evolteacher as et

        class Fragile(et.InstructionFilter, name="fragile"):
            "Break."
            def reject(self, evolution):
                return {}["x"]

        @et.hookimpl
        def register_filters():
            return [Fragile]
        """
    )
    (folder / "recipe.yaml").write_text(change("few-words", "fragile"))
    result = script("run", "recipe.yaml")
    result.refused(
        1, "filter 'fragile' raised KeyError", "acme_plugin.py:7", "go on with", "evolteacher run recipe.yaml"
    )
    assert (folder / "runs/small/dataset.json").exists()


def test_a_plugins_command_is_found_and_one_that_cannot_be_imported_is_said(script, plugin):
    plugin(
        """
        import evolteacher as et
        import typer

        app = typer.Typer()

        @app.command()
        def greet(name: str):
            print(f"hello, {name}")

        @et.hookimpl
        def register_commands(cli):
            cli.add("greet", "acme_plugin:app", "Say hello.")
            cli.add("gone", "acme_plugin:gone", "Not there.")
        """
    )
    assert script("greet", "you").out == "hello, you\n"
    script("gone").refused(1, "acme_plugin:gone", "cannot be imported")
    script("gret").refused(2, "Did you mean 'greet'?")
    assert "Say hello." in script("plugins").out


def test_a_bug_is_called_one_and_debug_shows_where(script, plugin):
    plugin(
        """
        import evolteacher as et

        def crash():
            raise ZeroDivisionError("oh\\nno")

        @et.hookimpl
        def register_commands(cli):
            cli.add("crash", "acme_plugin:crash", "Crash.")
        """
    )
    result = script("crash")
    assert result.code == 1
    assert "Traceback" not in result.err
    assert [line for line in result.err.splitlines() if line.startswith("error:")] == result.err.splitlines()[-1:]
    assert "ZeroDivisionError: oh no. This is a bug" in result.err
    debugged = script("crash", env={**os.environ, "EVOLTEACHER_DEBUG": "1"})
    assert "Traceback" in debugged.err
    assert "raise ZeroDivisionError" in debugged.err


def test_nobody_reads_on(folder):
    write_seeds(folder / "seeds.jsonl", [f"Write function number {n}, carefully." for n in range(5000)])
    for words in (["convert", "seeds.jsonl", "--to", "evol"], ["plugins"], ["schema"]):
        with subprocess.Popen([SCRIPT, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            process.stdout.read(1)
            process.stdout.close()
            errors = process.stderr.read().decode()
            assert process.wait(60) == 0
        assert "error" not in errors.lower()


def test_a_terminal_that_cannot_show_a_text_gets_an_escape(script, folder):
    (folder / "recipe.yaml").write_text(change("more-steps", "日本"))
    result = script("run", "recipe.yaml", env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})
    result.refused(2, "\\u65e5\\u672c")


def test_python_m_is_the_same(folder):
    done = subprocess.run([sys.executable, "-m", "evolteacher", "rum"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "Did you mean 'run'?" in done.stderr
