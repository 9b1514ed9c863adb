"""What third parties publish is found, used, told apart, and costs only itself when it is broken."""

import json
import re
import shutil
from pathlib import Path
from textwrap import dedent

import pytest

RECIPE = """
    evolteacher: 1
    name: mine
    seeds: seeds.jsonl
    rounds: 2
    operators: [%s]
    filters: [%s]
    backends: {evolve: scripted}
"""

REASONS = {
    "acme-import": "ModuleNotFoundError: No module named 'a_package_that_nobody_installed'",
    "acme-exit": "SystemExit: usage: exits.py FILE",
    "acme-hook": "there is no hook 'register_operator'. Did you mean 'register_operators'?",
    "acme-gone": "ModuleNotFoundError: No module named 'acme_evolteacher.there_is_no_such_module'",
}


@pytest.fixture
def recipe(tmp_path):
    (tmp_path / "seeds.jsonl").write_text(
        '{"instruction": "Write a function that sorts!", "output": "sorted()!"}\n{"instruction": "Add two numbers!"}\n'
    )

    def write(operators="two-voices", filters="empty", text=RECIPE):
        (tmp_path / "recipe.yaml").write_text(dedent(text) % (operators, filters))
        return "recipe.yaml"

    return write


def rows(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


class TestUse:
    def test_an_operator_evolves_with_the_scripted_backend(self, evolteacher, recipe, tmp_path):
        evolteacher("run", recipe("two-voices"), "--out", "out", plugins="shout")
        dataset = json.loads((tmp_path / "out/dataset.json").read_text(encoding="utf-8"))
        assert len(dataset) == 1 + 2 * 2  # one seed has a response; two rounds of two
        records = rows(tmp_path / "out/dataset.jsonl")
        assert {row["operator"] for row in records if row["round"]} == {"two-voices"}

    def test_its_recipe_backend_filter_reader_and_operator_go_together(self, evolteacher, tmp_path):
        evolteacher("run", "shouting", plugins="shout")
        texts = [row["instruction"] for row in json.loads((tmp_path / "runs/shouting/dataset.json").read_text())]
        once = ["EXPLAIN RECURSION! AND WHY!", "EXPLAIN SORTING! AND WHY!"]
        assert texts == [*once, *(f"{text} AND WHY!" for text in once)]

    def test_the_backend_is_swapped_in_with_its_primary_option(self, evolteacher, recipe, tmp_path):
        evolteacher("run", recipe("shout"), "--backend", "parrot:AND THEN!", "--out", "out", plugins="shout")
        texts = {row["instruction"] for row in json.loads((tmp_path / "out/dataset.json").read_text())}
        assert "ADD TWO NUMBERS! AND THEN! AND THEN!" in texts

    def test_options_are_validated_with_file_and_line(self, evolteacher, recipe):
        done = evolteacher("validate", recipe("{shout: {marks: 12}}"), plugins="shout", code=2)
        assert "recipe.yaml:6: operators[0].shout.marks:" in done.stderr
        done = evolteacher("validate", recipe("{shout: {mark: 1}}"), plugins="shout", code=2)
        assert "operator 'shout' has no 'mark'. Did you mean 'marks'?" in done.stderr

    def test_its_refusals_are_verdicts(self, evolteacher, recipe, tmp_path):
        setting = "backends.evolve={parrot: {refuse: numbers}}"
        done = evolteacher("run", recipe("shout"), "--set", setting, "--out", "out", plugins="shout")
        assert "refused" in done.stdout + done.stderr

    def test_a_dataset_filter_drops_from_the_finished_dataset(self, evolteacher, recipe, tmp_path):
        text = RECIPE.replace(
            "backends: {evolve: scripted}", "backends: {evolve: parrot}\n    dataset_filters: [loudest]"
        )
        evolteacher("run", recipe("shout", "quiet", text), "--out", "out", plugins="shout")
        texts = [row["instruction"] for row in json.loads((tmp_path / "out/dataset.json").read_text())]
        endings = " AND WHY! AND WHY!"
        assert texts == [f"WRITE A FUNCTION THAT SORTS!{endings}", f"ADD TWO NUMBERS!{endings}"]

    def test_the_locked_recipe_names_the_plugin_and_its_version(self, evolteacher, recipe, tmp_path):
        evolteacher("run", recipe(), "--out", "out", plugins="shout")
        assert "evolteacher-shout 1.0" in (tmp_path / "out/recipe.lock.yaml").read_text(encoding="utf-8")


class TestCommandLine:
    def test_plugins_lists_what_it_brings(self, evolteacher):
        words = evolteacher("plugins", plugins="shout").stdout
        for name in ("shout", "two-voices", "quiet", "loudest", "parrot", "words", "evolteacher-shout 1.0"):
            assert name in words

    def test_show_gives_documentation_options_and_origin(self, evolteacher):
        words = evolteacher("plugins", "show", "shout", plugins="shout").stdout
        for part in (
            "Ask for the same task, asked louder.",
            "marks",
            "How many exclamation marks.",
            "evolteacher-shout",
        ):
            assert part in words

    def test_its_recipe_is_listed_with_the_shipped_ones(self, evolteacher):
        words = evolteacher("recipes", plugins="shout").stdout
        assert "shouting" in words and "quickstart" in words

    def test_its_command_runs_with_its_own_options(self, evolteacher):
        assert evolteacher("shout", "hello", "--times", "2", plugins="shout").stdout == "HELLO!\nHELLO!\n"

    def test_a_command_is_imported_only_when_it_is_typed(self, python):
        program = (
            "import sys; from evolteacher.cli import main; main(['plugins']); "
            "assert 'evolteacher_shout' in sys.modules; assert 'evolteacher_shout.command' not in sys.modules"
        )
        python("-c", program, plugins="shout")

    def test_a_command_whose_code_is_broken_says_so(self, evolteacher):
        done = evolteacher("acme-shout", plugins="acme", code=1)
        assert "a_package_that_nobody_installed" in done.stderr

    def test_the_schema_knows_its_components(self, evolteacher):
        schema = evolteacher("schema", plugins="shout").stdout
        assert "two-voices" in schema and "How many exclamation marks." in schema


class TestBackend:
    def test_it_passes_the_conformance_suite_where_it_is_installed(self, python, site, tmp_path):
        shutil.copytree(Path(__file__).parent / "evolteacher-ollama/tests", tmp_path / "tests")
        assert not (tmp_path / "evolteacher_ollama.py").exists() and (site / "evolteacher_ollama.py").exists()
        done = python("-m", "pytest", "-q", "-rs", "-p", "no:asyncio", "-p", "no:cacheprovider", "tests")
        assert re.search(r"^59 passed, 7 skipped in ", done.stdout, re.MULTILINE), done.stdout
        assert "TestOllama: not covered: the fixture `faults` does not say how to bring about: refused" in done.stdout
        assert "backend 'ollama' knows no batches" in done.stdout

    def test_a_recipe_uses_it(self, evolteacher, recipe):
        text = RECIPE.replace("evolve: scripted", "evolve: {ollama: {model: llama3, api_key: env:KEY}}")
        evolteacher("validate", recipe("shout", text=text), plugins="shout,ollama")
        text = RECIPE.replace("evolve: scripted", "evolve: {ollama: {model: llama3, api_key: sk-1234567890}}")
        done = evolteacher("validate", recipe("shout", text=text), plugins="shout,ollama", code=2)
        assert "recipe.yaml:8: backends.evolve.ollama.api_key: " in done.stderr and "write env:NAME" in done.stderr


class TestNames:
    def test_a_short_name_of_two_plugins_is_an_error_that_names_both(self, evolteacher, recipe):
        done = evolteacher("validate", recipe("shout"), plugins="shout,acme", code=2)
        expected = "more than one plugin brings an operator called 'shout': write acme/shout or shout/shout"
        assert expected in done.stderr

    @pytest.mark.parametrize("name", ["acme/shout", "acme-evolteacher/shout"])
    def test_a_qualified_name_says_which(self, evolteacher, recipe, tmp_path, name):
        evolteacher("run", recipe(name), "--out", "out", plugins="shout,acme")
        texts = {row["instruction"] for row in json.loads((tmp_path / "out/dataset.json").read_text())}
        assert "Add two numbers! (Acme says so!) (Acme says so!)" in texts

    def test_two_of_one_name_are_told_apart_by_their_labels(self, evolteacher, recipe, tmp_path):
        text = RECIPE.replace("evolve: scripted", "evolve: parrot")
        evolteacher(
            "run",
            recipe("acme/shout, {shout/shout: {as: louder}}", "empty", text),
            "--out",
            "out",
            plugins="shout,acme",
        )
        operators = {row["operator"] for row in rows(tmp_path / "out/dataset.jsonl")}
        assert operators <= {"seed", "shout", "louder"} and len(operators) > 1


class TestBroken:
    def test_each_broken_plugin_costs_only_itself_and_is_named_with_its_reason(self, evolteacher, recipe, tmp_path):
        done = evolteacher("run", recipe("acme/shout"), "--out", "out")
        assert len(json.loads((tmp_path / "out/dataset.json").read_text())) == 5
        warnings = [line for line in done.stderr.splitlines() if "is left out" in line]
        assert len(warnings) == len(REASONS)
        for name, reason in REASONS.items():
            assert any(f"plugin '{name}' (acme-evolteacher 0.3) is left out: {reason}" in line for line in warnings)

    def test_the_list_of_plugins_shows_them(self, evolteacher):
        words = evolteacher("plugins").stdout
        for name, reason in REASONS.items():
            assert name in words and reason in words

    def test_a_recipe_that_needs_one_says_that_it_is_not_loaded(self, evolteacher, recipe):
        done = evolteacher("validate", recipe("acme-hook/louder"), code=2)
        assert "no operator is called 'acme-hook/louder'." in done.stderr
        assert f"acme-hook ({REASONS['acme-hook']})" in done.stderr


class TestChosenPlugins:
    def test_the_variable_limits_third_parties(self, evolteacher):
        words = evolteacher("plugins", plugins="shout").stdout
        assert "acme-import  " in words and "EVOLTEACHER_PLUGINS leaves it out" in words
        assert "No module named" not in words

    def test_an_empty_one_leaves_only_what_ships(self, evolteacher, recipe):
        words = evolteacher("plugins", plugins="").stdout
        assert "scripted" in words and "parrot" not in words
        done = evolteacher("validate", recipe("shout"), plugins="", code=2)
        assert "shout (EVOLTEACHER_PLUGINS leaves it out)" in done.stderr

    def test_a_misspelt_one_is_a_warning_with_the_nearest_name(self, evolteacher):
        done = evolteacher("validate", "quickstart", plugins="shout,acne")
        assert "EVOLTEACHER_PLUGINS: no installed plugin is called 'acne'. Did you mean 'acme'?" in done.stderr


class TestObservers:
    def test_they_see_the_whole_run_and_a_replay_as_such(self, evolteacher, recipe, tmp_path):
        log = tmp_path / "log.jsonl"
        evolteacher("run", recipe(), "--out", "out", plugins="shout", SHOUT_LOG=str(log))
        seen = rows(log)
        assert seen[0] == {"hook": "run_started", "recipe": "mine", "seeds": 2, "resumed": False}
        assert seen[-1] == {"hook": "run_finished", "records": 5, "rejected": 0, "replayed": False}
        settled = [event for event in seen if event["hook"] == "evolution_settled"]
        assert sorted(event["round"] for event in settled if event["round"]) == [1, 1, 2, 2]
        assert not any(event["replayed"] for event in settled if event["round"])
        rounds = [event for event in seen if event["hook"] == "round_finished"]
        assert [(event["round"], event["kept"], event["rejected"]) for event in rounds] == [(1, 2, 0), (2, 2, 0)]

        log.unlink()
        evolteacher("run", recipe(), "--out", "out", plugins="shout", SHOUT_LOG=str(log))
        again = rows(log)
        assert again[0]["resumed"] and again[-1]["replayed"]
        assert all(event["replayed"] for event in again if event["hook"] == "evolution_settled")

    @pytest.mark.parametrize("hook", ["run_started", "evolution_settled", "round_finished", "run_finished"])
    def test_one_that_raises_is_named_and_the_run_goes_on(self, evolteacher, recipe, tmp_path, hook):
        done = evolteacher("run", recipe(), "--out", "out", plugins="shout", SHOUT_FAIL=hook)
        assert f"plugin 'shout' (evolteacher-shout 1.0): {hook}: ValueError: {hook} is too loud" in done.stderr
        assert len(json.loads((tmp_path / "out/dataset.json").read_text())) == 5
