"""show, plugins, recipes, validate, plan, schema: commands that look and ask nothing."""

import json
import os
import re
import shlex
from pathlib import Path

import pytest
from commands import RECIPE, TASKS, write_seeds

from evolteacher import cli as command_line
from evolteacher.cli.plugins import reflowed
from evolteacher.store import Store

REJECTING = RECIPE.replace("few-words]", "{few-words: {words: 18, on: [instruction, response]}}]")


@pytest.fixture
def mixed(cli, folder):
    """A run that has kept and rejected evolutions."""
    (folder / "recipe.yaml").write_text(REJECTING)
    write_seeds(folder / "seeds.jsonl", [f"{task} {'Please. ' * n}" for n, task in enumerate(TASKS * 3)])
    result = cli("run", "recipe.yaml")
    assert result.code == 0
    return result


def lineages(path="runs/small/run.db"):
    with Store(Path(path), read_only=True) as store:
        return store.query(
            "SELECT ord, group_concat(filter), count(*) FROM steps WHERE round > 0 GROUP BY ord ORDER BY ord"
        ).fetchall()


def test_show_sums_a_run_up_and_lists_its_lineages(cli, mixed):
    found = lineages()
    result = cli("show", "runs/small")
    assert result.code == 0
    assert "finished, in runs/small" in result.out
    assert "few-words" in result.out
    assert "answered by scripted" in result.out
    rows = re.findall(r"^ +(\d+)  ([0-9a-f]{8})  (\d)/(\d) ", result.out, re.MULTILINE)
    assert len(rows) == 10
    assert "2 more: --lines 12" in result.out
    assert [int(row[3]) for row in rows] == [tried for _, _, tried in found[:10]]
    assert len(re.findall(r"^ +\d+  [0-9a-f]{8}  ", cli("show", "runs/small", "-n", 12).out, re.MULTILINE)) == 12


def test_show_weights_prints_the_shares_block_by_block(cli, folder, mixed):
    bandit = "choose={bandit: {block: 3, cost: 0}}"
    assert cli("run", "recipe.yaml", "--out", "learned", "--set", bandit).code == 0
    result = cli("show", "learned", "--weights")
    assert result.code == 0 and "add-constraints" in result.out
    rows = re.findall(r"^ *(\d+)-(\d+) +(0\.\d{3}) +(0\.\d{3}) +(\d+) of (\d+)$", result.out, re.MULTILINE)
    assert [row[:2] for row in rows] == [("0", "2"), ("3", "5"), ("6", "8"), ("9", "11")]
    assert rows[0][2:] == ("0.500", "0.500", "0", "0") and int(rows[3][5]) > int(rows[2][5]) > 0
    cli("show", "runs/small", "--weights").refused(2, "operators are chosen by weights, and a bandit alone learns")


def test_show_draws_a_lineage_by_number_and_by_id(cli, mixed):
    rejected = next(order for order, filters, _ in lineages() if "few-words" in filters)
    kept = next(order for order, filters, tried in lineages() if filters == "," and tried == 2)
    by_number = cli("show", "runs/small", kept)
    assert by_number.code == 0
    identity = re.search(r"lineage \d+  ([0-9a-f]{32})", by_number.out)[1]
    assert cli("show", "runs/small", identity[:10]).out == by_number.out
    assert cli("show", "runs/small", identity.upper()).out == by_number.out
    for word in ("seed, kept", "round 1: ", "round 2: ", ", kept", "response:", "seeds.jsonl:"):
        assert word in by_number.out
    assert "rejected at the" in cli("show", "runs/small", rejected).out
    assert "few-words: it has" in cli("show", "runs/small", rejected).out


def test_show_tells_what_a_filter_rejected_with_its_reason_a_page_at_a_time(cli, mixed):
    expected = [order for order, filters, _ in lineages() if "few-words" in filters]
    shown = cli("show", "runs/small", "--rejected-by", "few-words", "--limit", 99).out
    found = re.findall(r"^ lineage (\d+), round \d, (?:add-constraints|more-steps), at the ", shown, re.MULTILINE)
    assert sorted({int(order) for order in found}) == expected
    assert 0 < len(expected) < 12
    assert len(re.findall(r"^ +reason +it has", shown, re.MULTILINE)) == len(found) > 2
    assert shown.count("parent") >= len(found)
    assert len(re.findall(r"^ +text ", shown, re.MULTILINE)) == len(found)
    paged, words = [], ["show", "runs/small", "--rejected-by", "few-words", "--limit", "2"]
    while words:
        page = cli(*words).out
        paged += re.findall(r"^ lineage (\d+), round", page, re.MULTILINE)
        more = re.search(r"more: \S*evolteacher (.*)$", page, re.MULTILINE)
        words = shlex.split(more[1]) if more else []
    assert paged == found


def test_show_tells_what_was_rejected_in_one_round(cli, mixed):
    everything = cli("show", "runs/small", "--rejected-by", "few-words", "--limit", 99).out
    one = cli("show", "runs/small", "--rejected-by", "few-words", "--limit", 99, "--round", 1).out
    rows = [re.findall(r"^ lineage \d+, round 1", text, re.MULTILINE) for text in (everything, one)]
    assert rows[0] == rows[1] != []
    assert ", round 2" not in one
    cli("show", "runs/small", "--rejected-by", "few-words", "--round", 0).refused(2, "nothing in round 0", "in round 1")
    cli("show", "runs/small", "--rejected-by", "few-words", "--skip", 99).refused(2, "--skip 99 leaves none")


def test_show_counts_what_was_rejected_and_names_the_nearest(cli, mixed):
    counts = cli("show", "runs/small", "--rejected")
    assert counts.code == 0
    number = int(re.search(r"few-words .* (\d+)$", counts.out, re.MULTILINE)[1])
    assert number == len(re.findall("^ lineage", cli("show", "runs/small", "--rejected-by", "few-words",
                                                     "--limit", 99).out, re.MULTILINE))  # fmt: skip
    missing = cli("show", "runs/small", "--rejected-by", "few-word")
    missing.refused(2, "nothing was rejected by 'few-word'", "Did you mean 'few-words'", f"few-words {number}")
    cli("show", "runs/small", 1, "--rejected").refused(2, "LINEAGE and --rejected")
    cli("show", "runs/small", "--round", 1).refused(2, "--round goes with --rejected-by")


def test_outcomes_and_dataset_filters_reject_too(cli, folder):
    (folder / "recipe.yaml").write_text(
        RECIPE.replace("scripted}", "{scripted: {rules: [{contains: vowels, step: evolve, reply: 'Here is the task:'}, "
                       "{contains: reverses, error: refused, reply: not that}]}}}"))  # fmt: skip
    assert cli("run", "recipe.yaml").code == 0
    unreadable = cli("show", "runs/small", "--rejected-by", "unreadable").out
    assert "while evolving" in unreadable
    assert "came back" in unreadable
    assert "Here is the task:" in unreadable
    assert "not that" in cli("show", "runs/small", "--rejected-by", "refused").out


def test_long_texts_are_shortened_unless_asked_for_in_full(cli, folder):
    task = "Write a parser.\n" + "\n".join(f"Rule {n} of the grammar." for n in range(40))
    write_seeds(folder / "seeds.jsonl", [task])
    assert cli("run", "recipe.yaml").code == 0
    short = cli("show", "runs/small", 0).out
    assert "Rule 39" not in short
    assert "more lines" in short
    assert "Rule 39" in cli("show", "runs/small", 0, "--full").out


HOSTILE = "Print \x1b[2J and \x00 and \u202e and [bold]x[/bold] and [/] and :smile: in a function, please."


def test_texts_of_models_and_seeds_are_shown_as_they_are_and_steer_nothing(cli, folder):
    write_seeds(folder / "seeds.jsonl", [HOSTILE])
    done = cli("run", "recipe.yaml")
    assert done.code == 0
    for shown in (done.out, cli("show", "runs/small").out, cli("show", "runs/small", 0, "--full").out):
        assert not {"\x1b", "\0", "\u202e"} & set(shown)
        assert "\\x1b[2J and \\x00 and \\u202e and [bold]x[/bold] and [/] and :smile:" in shown


def test_show_of_a_run_that_was_cut_off(cli, folder):
    (folder / "recipe.yaml").write_text(
        RECIPE.replace("scripted}", "{scripted: {rules: [{contains: vowels, error: transient, reply: busy}]}}}")
        + "limits: {retries: 0}\n"
    )
    assert cli("run", "recipe.yaml").code == 1
    assert "1 lineage not finished" in cli("show", "runs/small").out
    assert "not finished: Transient: busy" in cli("show", "runs/small", 2).out


def test_show_of_a_run_that_never_began(cli, folder):
    (folder / "seeds.jsonl").write_text("")
    assert cli("run", "recipe.yaml").code == 2
    result = cli("show", "runs/small")
    assert result.code == 0
    assert "never began" in result.out
    assert "finished" not in result.out


def test_an_answer_that_could_not_be_read_is_shown(cli, folder):
    (folder / "recipe.yaml").write_text(
        RECIPE.replace("scripted}", "{scripted: {rules: [{step: evolve, reply: 'Here is the [rewritten] task:'}]}}}")
    )
    assert cli("run", "recipe.yaml").code == 0
    shown = cli("show", "runs/small", 0).out
    assert "rejected while evolving by unreadable: " in shown
    assert "Here is the [rewritten] task:" in shown


def test_plugins_lists_what_is_installed_and_who_brought_it(cli):
    result = cli("plugins")
    assert result.code == 0
    assert re.search(r"^operators\n  add-constraints +wizardcoder +Add ", result.out, re.MULTILINE)
    assert re.search(r"^  few-words +pruning +Reject a text of three words or fewer", result.out, re.MULTILINE)
    assert re.search(r"^  scripted +scripted +Answer from a script", result.out, re.MULTILINE)
    assert re.search(r"^  jsonl +readers ", result.out, re.MULTILINE)
    assert re.search(r"^  models +List, fetch", result.out, re.MULTILINE)
    assert re.search(r"^  wizardcoder +evolteacher \d", result.out, re.MULTILINE)


def test_plugins_show_tells_all_about_a_component(cli):
    operator = cli("plugins", "show", "add-constraints").out
    for fact in ("an operator, brought by wizardcoder (evolteacher", "arXiv 2306.08568", "template", "text or none"):
        assert fact in operator
    for fact in ("weight", "as", "backend", "Write a function that reverses a string.", "Markers"):
        assert fact in operator
    few = cli("plugins", "show", "pruning/few-words").out
    assert re.search(r"^  words +whole number >= 0 +3 +A text of this many words", few, re.MULTILINE)
    assert "on (instruction, response, seeds; by default instruction, response)" in few
    backend = cli("plugins", "show", "scripted").out
    assert "evolve: scripted" in backend
    assert "May change on resume" in backend
    assert "reader: jsonl" in cli("plugins", "show", "jsonl").out


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_what_is_installed_fits_any_screen_and_no_name_is_cut(cli, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    shown = ("near-duplicates", "openai-compatible")
    found = [cli("plugins"), *(cli("plugins", "show", name) for name in shown)]
    lines = [line for result in found for line in result.out.splitlines()]
    assert len(lines) > 100
    assert max(map(len, lines)) <= columns
    for name in (
        "wizardlm-complicate-input",
        "openai-compatible",
        "semantic-duplicates",
        "own_lineage",
        "max_completion_tokens",
    ):
        assert any(name in line.split() for line in lines)
    assert not any("…" in line.replace("…}}", "") for line in lines)
    assert any("`chat_template_kwargs`" in line for line in lines)
    if columns == 40:
        assert "earlier versions of its own lineage" in " ".join(" ".join(lines).split())


def test_every_component_can_be_shown(cli):
    from evolteacher.catalog import Catalog

    names = {entry.qualified for entry in Catalog.load().entries()}
    assert len(names) > 20
    for name in sorted(names):
        result = cli("plugins", "show", name)
        assert result.code == 0
        assert "In a recipe" in result.out or "On the command line" in result.out
    assert "evolve: {litellm: {model: …}}" in cli("plugins", "show", "litellm").out


def test_the_prompt_of_every_operator_that_ships_is_shown(cli):
    from evolteacher.catalog import FIRST_PARTY, Catalog

    names = [e.cls.name for e in Catalog.load().entries("operator") if e.plugin.distribution == FIRST_PARTY]
    assert len(names) >= 15
    for name in names:
        shown = cli("plugins", "show", name).out
        asked = shown.partition("What it asks for ")[2]
        assert "def reverse(text):" in asked if name == "oss-instruct" else asked.count("reverses a string") >= 2, name
        assert "{{" not in asked, name
    few_shot = cli("plugins", "show", "wizardlm-complicate-input").out
    assert few_shot.count("<harder_instruction>") >= 4
    assert "With these options" in cli("plugins", "show", "template").out


def test_a_docstring_is_shown_at_the_terminals_width():
    text = "One\ntwo.\n\n1. first\n   more\n2. second\n\n    code:\n        kept\n\n=====  ==\na      b\n=====  =="
    assert reflowed(text) == (
        "One two.\n\n1. first more\n2. second\n\n    code:\n        kept\n\n=====  ==\na      b\n=====  =="
    )


def test_recipes_are_listed_and_copied_so_that_the_copy_runs(cli, folder):
    listed = cli("recipes").out
    for name in ("quickstart", "evol-teacher", "wizardcoder"):
        assert re.search(rf"^  {name} +\S", listed, re.MULTILINE)
    copied = cli("recipes", "copy", "quickstart", "mine/first.yaml")
    assert copied.code == 0
    assert (folder / "mine/seeds/quickstart.jsonl").exists()
    assert json.loads((folder / "mine/recipe.schema.json").read_text())["title"] == "evolteacher recipe"
    command = shlex.split(copied.err.splitlines()[-1].partition("run it: ")[2])
    assert command[1:] == ["run", "mine/first.yaml"]
    assert cli(*command[1:], "--backend", "scripted").code == 0


def test_a_copy_overwrites_nothing(cli, folder):
    (folder / "quickstart.yaml").write_text("mine")
    cli("recipes", "copy", "quickstart").refused(2, "quickstart.yaml: this exists already")
    assert (folder / "quickstart.yaml").read_text() == "mine"
    assert not (folder / "seeds/quickstart.jsonl").exists()
    (folder / "other/seeds").mkdir(parents=True)
    (folder / "other/seeds/quickstart.jsonl").write_text("mine")
    cli("recipes", "copy", "quickstart", "other").refused(2, "quickstart.jsonl: this exists already")
    assert not (folder / "other/quickstart.yaml").exists()
    cli("recipes", "copy", "quikstart").refused(2, "Did you mean 'quickstart'?")


@pytest.mark.parametrize("name", ["quickstart", "evol-teacher", "wizardcoder"])
def test_shipped_recipes_validate_and_plan(cli, name):
    assert cli("validate", name).code == 0
    planned = cli("plan", name)
    assert planned.code == 0
    assert "calls at most" in planned.out


def test_plan_shows_calls_and_tokens_by_role_and_writes_nothing(cli, folder):
    result = cli("plan", "recipe.yaml", "--limit", 3)
    assert result.code == 0
    assert "3 seeds, 2 rounds, 12 calls at most" in result.out
    assert re.search(r"^ evolve +scripted +6 +\d+ +\d+$", result.out, re.MULTILINE)
    assert re.search(r"^ respond +scripted +6 +\d+ +1,800$", result.out, re.MULTILINE)
    assert sorted(path.name for path in folder.iterdir()) == ["recipe.yaml", "seeds.jsonl"]


def test_plan_says_what_a_folder_holds_already(cli):
    cli("run", "recipe.yaml", "--limit", 3)
    result = cli("plan", "recipe.yaml")
    assert "runs/small holds 12 of these answers already" in result.out
    other = cli("plan", "recipe.yaml", "--set", "rounds=3")
    assert other.code == 0
    assert "warning: `evolteacher run` would refuse this folder" in other.err
    assert "another experiment" in other.err
    assert "already" not in other.out


def test_validate_says_that_it_is_valid(cli):
    result = cli("validate", "recipe.yaml")
    assert result.code == 0
    assert result.out == "recipe.yaml: valid (2 rounds, 2 operators, 2 filters, backends: scripted)\n"


def test_the_schema_goes_to_stdout_or_a_file(cli, folder):
    result = cli("schema")
    assert result.code == 0
    assert cli("schema", "--out", "recipe.schema.json").code == 0
    assert (folder / "recipe.schema.json").read_text() == result.out
    cli("schema", "--out", "no/such/x.json").refused(1, "no/such/x.json")


def test_help_names_every_command_and_each_explains_its_options(cli):
    listed = cli("--help").out
    assert cli().out == listed
    names = command_line.commands()
    assert len(names) == 24
    for name in names:
        assert re.search(rf"^  {name} +\S", listed, re.MULTILINE)
        help = cli(name, "--help")
        assert help.code == 0
        assert help.out.startswith(f"Usage: evolteacher {name} ")
    assert max(len(line) for line in listed.splitlines()) <= 100


def test_every_option_has_a_help_text():
    looked = 0
    for name, (target, _) in command_line.commands().items():
        command = command_line.as_command(name, command_line.resolve(target))
        subcommands = list(getattr(command, "commands", {}).values())
        for each in [command, *subcommands]:
            assert each.help, name
            for parameter in each.params:
                looked += 1
                assert parameter.help, (name, parameter.name)
    assert looked > 30


def test_version(cli):
    from evolteacher import __version__

    assert cli("--version").out == f"evolteacher {__version__}\n"


def test_completion_knows_commands_and_options(script):
    environment = {**os.environ, "_EVOLTEACHER_COMPLETE": "complete_bash", "COMP_CWORD": "1"}
    assert script(env={**environment, "COMP_WORDS": "evolteacher ru"}).out.split() == ["run"]
    options = script(env={**environment, "COMP_WORDS": "evolteacher run --li", "COMP_CWORD": "2"})
    assert options.out.split() == ["--limit"]


def test_report_writes_a_file_and_opens_it(script, folder):
    assert script("run", "recipe.yaml", "--out", "out").code == 0
    opener = folder / "opener"
    opener.write_text('#!/bin/sh\necho "$1" > opened\n')
    opener.chmod(0o755)
    result = script("report", "out", "--open", env={**os.environ, "BROWSER": f"{opener} %s"})
    assert (result.code, result.out) == (0, "")
    assert re.fullmatch(r"out/report.html: \d\.\d MB, 4 lineages with all prompts and replies\n", result.err)
    assert (folder / "opened").read_text().strip() == (folder / "out" / "report.html").as_uri()
    script("report", "out", "--full", "--sample", "3").refused(2, "--full", "--sample")
    script("report", "elsewhere").refused(2, "elsewhere", "there is no run here")
