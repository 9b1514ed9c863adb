"""The recipes that ship: they load, say what they claim, and the quickstart runs to its end."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from loopback import Provider
from ruamel.yaml import YAML

import evolteacher as et
from evolteacher.catalog import Catalog
from evolteacher.messages import ROLES
from evolteacher.plan import make_plan
from evolteacher.recipe import Recipe
from evolteacher.shipped import recipe_names, shipped_folder

NAMES = [
    "auto-evol",
    "end-to-end",
    "evol-teacher",
    "mixed",
    "oss-instruct",
    "quickstart",
    "wizardcoder",
    "wizardcoder-verified",
    "wizardcoder-vllm",
    "wizardlm",
    "wizardmath",
]
TRAIN = ["train-lora", "train-replit", "train-smollm2"]
FIVE = ["add-constraints", "rare-requirement", "more-steps", "misdirection", "complexity"]
SIX = [
    f"wizardlm-{what}"
    for what in ("add-constraints", "deepen", "concretize", "reasoning", "complicate-input", "breadth")
]
SEEDS = "seeds/quickstart.jsonl"


@pytest.fixture(scope="module")
def catalog():
    return Catalog.load()


def text_of(name: str) -> str:
    return (shipped_folder() / f"{name}.yaml").read_text(encoding="utf-8")


def places(recipe: Recipe) -> dict[str, tuple[str, ...]]:
    return {use.label: use.on for use in recipe.filters}


def test_eleven_recipes_that_evolve_and_three_that_train_ship(catalog):
    assert sorted(path.stem for path in shipped_folder().glob("*.yaml")) == sorted([*NAMES, *TRAIN])
    assert {*NAMES, *TRAIN} <= set(recipe_names(catalog))


@pytest.mark.parametrize("name", NAMES)
def test_each_loads_by_name_and_is_called_as_its_file(name, catalog):
    recipe = Recipe.load(name, catalog=catalog)
    assert recipe.name == name
    assert recipe.description.endswith(".")
    assert Recipe.from_dict(recipe.to_plain(), catalog=catalog).experiment() == recipe.experiment()


@pytest.mark.parametrize("name", [*NAMES, *TRAIN])
def test_each_names_the_schema_for_editors_and_no_secret(name):
    text = text_of(name)
    assert text.startswith("# yaml-language-server: $schema=recipe.schema.json\n#\n")
    assert all(key.startswith("env:") for key in re.findall(r"api_key: *([^,}\s]+)", text))
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.parametrize("name", NAMES)
def test_the_install_that_a_recipe_names_brings_what_its_filters_need(name, catalog):
    needs = dict.fromkeys(("code-parses", "language", "pii", "secrets"), "filters")
    needs |= dict.fromkeys(("decontaminate", "solves-benchmark"), "benchmarks") | {"semantic-duplicates": "semantic"}
    recipe = Recipe.load(name, catalog=catalog)
    used = {use.component.name for use in (*recipe.filters, *recipe.dataset_filters)}
    named = set(re.findall(r"[a-z]+", " ".join(re.findall(r"evolteacher\[([a-z,]+)\]", text_of(name)))))
    assert {needs[each] for each in used & needs.keys()} <= named


def test_each_that_trains_loads_by_name(catalog):
    for name in TRAIN:
        training = et.Training.load(name, catalog=catalog)
        assert training.name == name and training.description.endswith(".")
    assert training.train.sft["use_cpu"] and training.data.endswith(SEEDS), "the last is for a machine without a GPU"


def test_train_replit_has_the_originals_arguments(catalog):
    train = et.Training.load("train-replit", catalog=catalog).train
    assert (train.model, train.method, train.form) == ("replit/replit-code-v1-3b", "full", "alpaca")
    assert train.trust_remote_code and (train.validation, train.too_long) == (0, "truncate")
    given = {
        "num_train_epochs": 3, "per_device_train_batch_size": 1, "gradient_accumulation_steps": 8,
        "learning_rate": 2e-5, "weight_decay": 0.0, "warmup_steps": 0.03, "lr_scheduler_type": "cosine",
        "max_length": 2000, "bf16": True, "tf32": True, "eval_strategy": "no", "save_strategy": "steps",
        "save_steps": 50, "save_total_limit": 2, "gradient_checkpointing": False,
    }  # fmt: skip
    assert train.sft == given


def test_quickstart_is_small_and_asks_no_judge(catalog):
    recipe = Recipe.load("quickstart", catalog=catalog)
    assert (recipe.seeds.limit, recipe.rounds) == (4, 2)
    assert not any(use.component.asks() for use in recipe.filters)
    assert {recipe.backends[recipe.backend_of(role)].component.name for role in ROLES} == {"embedded"}
    assert recipe.backends["evolve"].component.model == "qwen2.5-coder-0.5b-instruct"
    calls = recipe.seeds.limit * recipe.rounds
    most = calls * (recipe.sampling.of("evolve").max_tokens + recipe.sampling.of("respond").max_tokens)
    assert most <= 180 * 30, "at 30 tokens a second the worst case takes more than three minutes"


def test_evol_teacher_has_the_originals_settings(catalog):
    recipe = Recipe.load("evol-teacher", catalog=catalog)
    assert recipe.seeds_source() == "hf:sahil2801/CodeAlpaca-20k"
    assert (recipe.rounds, recipe.on_pruned, recipe.choose, recipe.concurrency) == (3, "retire", "uniform", 50)
    assert [recipe.sampling.of(role) for role in ROLES] == [et.Sampling(1.0, 0.9, 2048, (), None)] * 3
    assert [use.label for use in recipe.operators] == FIVE
    both, one = ("instruction", "response"), ("instruction",)
    assert places(recipe) == {
        "empty": both,
        "few-words": both,
        "non-ascii-start": both,
        "long-instruction": one,
        "long-response": ("response",),
    }
    options = {use.label: use.component.options() for use in recipe.filters}
    assert options["few-words"] == {"words": 3}
    assert options["long-instruction"] == {"tokens": 1000} and options["long-response"] == {"tokens": 2000}
    assert {recipe.backend_of(role) for role in ROLES} == {"evolve"}
    assert recipe.backends["evolve"].component.options()["model"] == "openai/gpt-3.5-turbo"


def test_wizardcoder_has_the_papers_rules(catalog):
    recipe = Recipe.load("wizardcoder", catalog=catalog)
    assert (recipe.rounds, recipe.on_pruned) == (3, "retry")
    assert [use.label for use in recipe.operators] == FIVE
    assert {use.label: use.weight for use in recipe.operators}["complexity"] < 1
    assert {"no-gain", "sorry", "no-content", "copied-prompt", "truncated"} <= set(places(recipe))
    assert places(recipe)["few-words"] == ("instruction",)
    assert [use.label for use in recipe.filters if use.component.asks()] == ["no-gain"]
    assert recipe.sampling.of("evolve") == et.Sampling(1.0, 0.9, 2048)


def test_wizardlm_has_the_papers_operators_rounds_and_rules(catalog):
    recipe = Recipe.load("wizardlm", catalog=catalog)
    assert recipe.seeds_source() == "hf:tatsu-lab/alpaca"
    assert (recipe.rounds, recipe.on_pruned, recipe.choose) == (4, "retry", "uniform")
    assert [use.label for use in recipe.operators] == SIX
    assert {"no-gain", "sorry", "no-content", "copied-prompt"} <= set(places(recipe))
    assert [recipe.sampling.of(role) for role in ROLES] == [et.Sampling(1.0, 0.9, 2048)] * 3
    rarer = ["choose=weights", "operators.wizardlm-breadth.weight=0.5"]
    assert Recipe.load("wizardlm", catalog=catalog, set=rarer).operators[-1].weight == 0.5


def test_oss_instruct_starts_from_snippets_of_one_to_fifteen_lines(catalog):
    recipe = Recipe.load("oss-instruct", catalog=catalog)
    assert (recipe.material, recipe.rounds, recipe.sampling.temperature) == ("snippet", 2, 0)
    assert [use.label for use in recipe.operators_of("snippet")] == ["oss-instruct"]
    assert [use.label for use in recipe.operators_of("task")] == FIVE
    options = recipe.seeds.reader.component.options()
    assert (options["min_lines"], options["max_lines"]) == (1, 15)
    for line in re.findall(r"# (extensions|licences): (.*?) +#", text_of("oss-instruct")):
        changed = [f"seeds.reader.code.{line[0]}={line[1]}"]
        assert Recipe.load("oss-instruct", catalog=catalog, set=changed).seeds.reader.component.options()[line[0]]


def test_wizardmath_goes_both_ways_for_eight_rounds(catalog):
    recipe = Recipe.load("wizardmath", catalog=catalog)
    assert (recipe.rounds, recipe.on_pruned, recipe.choose) == (8, "retry", "uniform")
    assert [use.label for use in recipe.operators] == ["wizardmath-upward", "wizardmath-downward"]
    (command,) = re.findall(r"evolteacher run wizardmath (.*--set.*)", text_of("wizardmath"))
    changed = Recipe.load("wizardmath", catalog=catalog, set=shlex.split(command)[1::2])
    assert changed.seeds_source() == "hf:openai/gsm8k" and changed.seeds.reader.component.subset == "main"


def test_wizardmaths_seeds_are_twelve_whole_examples():
    rows = [json.loads(line) for line in (shipped_folder() / "seeds" / "math.jsonl").read_text("utf-8").splitlines()]
    assert len({row["instruction"] for row in rows}) == len(rows) == 12
    assert all(list(row) == ["instruction", "output"] and row["output"].endswith(".") for row in rows)


def test_wizardcoder_vllm_is_wizardcoder_on_one_local_model(catalog):
    recipe = Recipe.load("wizardcoder-vllm", catalog=catalog)
    other = Recipe.load("wizardcoder", catalog=catalog)
    for part in ("seeds", "rounds", "on_pruned", "choose", "operators", "filters", "dataset_filters"):
        assert getattr(recipe, part) == getattr(other, part), part
    assert {recipe.backend_of(role) for role in ROLES} == {"evolve"}
    backend = recipe.backends["evolve"].component
    assert backend.name == "vllm" and backend.price() == et.FREE
    assert [recipe.sampling.of(role).stop for role in ROLES] == [("</harder_task>",), (), ()]
    names = re.findall(r"^      # (\w+): ", text_of("wizardcoder-vllm"), re.MULTILINE)
    assert len(names) == 4 and set(names) <= set(type(backend).model_fields)
    commands = re.findall(r"--set (\S+)", text_of("wizardcoder-vllm"))
    assert len(commands) == 2
    changed = Recipe.load("wizardcoder-vllm", catalog=catalog, set=commands).backends["evolve"].component
    assert (changed.model, changed.tensor_parallel_size) == ("path/to/a/checkpoint", 2)


def test_wizardcoder_verified_runs_its_answers(catalog):
    recipe = Recipe.load("wizardcoder-verified", catalog=catalog)
    assert recipe.operators == Recipe.load("wizardcoder", catalog=catalog).operators
    (use,) = [use for use in recipe.filters if use.component.asks()]
    assert (use.label, use.on) == ("passes-its-tests", ("response",))
    options = use.component.options()
    assert (options["not_python"], options["no_function"], options["repairs"]) == ("reject", "reject", 1)
    assert use.component.judging() == {"judge": 1, "respond": 1}


def test_wizardcoder_verified_keeps_what_passes(tmp_path: Path, catalog):
    rules = [
        {"contains": "Write tests of a Python function", "reply": "assert half(4) == 2\nassert half(10) == 5"},
        {"step": "respond", "share": 0.5, "reply": "```python\ndef half(n):\n    return n / 2\n```"},
        {"step": "respond", "reply": "```python\ndef half(n):\n    return n * 2\n```"},
        {"contains": "some tests of it fail", "reply": "def half(n):\n    return n // 2"},
    ]
    scripted = f"backends.evolve={{scripted: {json.dumps({'rules': rules})}}}"
    changes = [f"seeds.path={shipped_folder() / SEEDS}", "rounds=1", scripted]
    result = et.run(Recipe.load("wizardcoder-verified", catalog=catalog, set=changes), tmp_path / "run")
    assert result.summary.kept[1] > result.summary.repaired["passes-its-tests"] > 0
    assert json.loads((tmp_path / "run" / "decontamination.json").read_text())["benchmarks"][0]["problems"] == 164
    rows = json.loads((tmp_path / "run" / "round-1.json").read_text(encoding="utf-8"))
    assert {row["output"].splitlines()[2].strip() for row in rows} == {"return n / 2", "return n // 2"}


def test_the_commands_and_settings_in_the_comments_are_real(catalog):
    changed = Recipe.load("evol-teacher", catalog=catalog, set=["backends.evolve.litellm.model=openai/gpt-4.1-mini"])
    assert changed.backends["evolve"].component.options()["model"] == "openai/gpt-4.1-mini"
    comment = re.search(r"#   - add-constraints:\n(?:#.*\n)+", text_of("evol-teacher")).group()
    operators = YAML(typ="safe").load(comment.replace("#   ", "").replace("\n#", "\n"))
    plain = {**YAML(typ="safe").load(text_of("evol-teacher")), "operators": operators}
    (use,) = Recipe.from_dict(plain, catalog=catalog).operators
    assert use.component.extract == "whole"
    judge = re.search(r"# or another: (\{.*\})", text_of("wizardcoder")).group(1)
    other = Recipe.load("wizardcoder", catalog=catalog, set=[f"backends.judge={judge}"])
    assert other.backend_of("judge") == "judge" and other.backend_of("evolve") == "evolve"


def test_quickstarts_seeds_are_twelve_whole_examples():
    lines = (shipped_folder() / SEEDS).read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    assert len(rows) == len({row["instruction"] + row["input"] for row in rows}) == 12
    assert all(list(row) == ["instruction", "input", "output"] for row in rows)
    assert all(len(row["instruction"].split()) > 5 and row["output"].strip() for row in rows)
    assert max(len(row["output"]) for row in rows) < 500


def test_quickstarts_answers_are_right():
    rows = [json.loads(line) for line in (shipped_folder() / SEEDS).read_text(encoding="utf-8").splitlines()]
    names: dict = {}
    code = [row["output"] for row in rows if re.search(r"^(def|class) ", row["output"], re.MULTILINE)]
    for answer in code:
        exec(answer[re.search(r"^(def|class) ", answer, re.MULTILINE).start() :], names)
    assert len(code) == 5
    assert [names["longest_word"](text) for text in ("a bb cc", "")] == ["bb", ""]
    assert names["count_characters"]("aab") == {"a": 2, "b": 1}
    assert names["average"]([1, 2, 3]) == 2
    assert [text for text in ("([]{})", "(]", "(", ")", "a") if names["balanced"](text)] == ["([]{})", "a"]
    account = names["Account"](5)
    account.withdraw(5)
    with pytest.raises(ValueError, match="at most the balance"):
        account.withdraw(1)
    (time_of_day,) = [row["output"] for row in rows if row["output"].startswith("^")]
    times = ["00:00", "23:59", "24:00", "7:00", "12:60", "12:30:00"]
    assert [text for text in times if re.search(time_of_day, text)] == ["00:00", "23:59"]
    (query,) = [row["output"] for row in rows if row["output"].startswith("SELECT")]
    database = sqlite3.connect(":memory:")
    database.executescript(
        "CREATE TABLE customers (id, name); CREATE TABLE orders (id, customer_id, amount);"
        "INSERT INTO customers VALUES (1, 'Ada'), (2, 'Bo'); INSERT INTO orders VALUES (1, 1, 5), (2, 2, 9), (3, 1, 1);"
    )
    assert database.execute(query).fetchall() == [("Bo", 9), ("Ada", 6)]
    database.close()
    (listing,) = [row for row in rows if row["input"].startswith("[x * y")]
    assert listing["output"].startswith(str(eval(listing["input"])) + "\n")


def test_auto_evol_optimises_on_a_few_and_pins_what_its_comment_says(catalog, tmp_path: Path):
    recipe = Recipe.load("auto-evol", catalog=catalog)
    (use,) = recipe.operators
    assert use.component.preparation() == {"evolve": 34, "respond": 20}
    comment = re.search(r"#   operators:\n(?:#  .*\n)+", text_of("auto-evol")).group()
    operators = YAML(typ="safe").load(re.sub("(?m)^#   ", "", comment))["operators"]
    plain = {**recipe.to_plain(), "operators": operators}
    (pinned,) = Recipe.from_dict(plain, catalog=catalog).operators
    assert pinned.component.method.startswith("1. Find what") and pinned.component.preparation() == {}
    result = et.run(recipe.changed(backend="scripted", catalog=catalog), tmp_path / "run")
    assert (result.pending, result.summary.seeds) == (0, 12) and result.records > 12
    assert (tmp_path / "run" / "prepared.yaml").exists()


def test_quickstart_runs_to_its_end_with_scripted_answers(tmp_path: Path):
    recipe = Recipe.load("quickstart", backend="scripted")
    result = et.run(recipe, tmp_path / "run")
    assert (result.pending, result.summary.seeds, result.summary.kept[0]) == (0, 4, 4)
    rows = json.loads((tmp_path / "run" / "dataset.json").read_text(encoding="utf-8"))
    assert len(rows) == result.records > 4


def test_each_is_planned_and_runs_to_its_end_with_scripted_answers(tmp_path: Path, catalog):
    """Each with its own seeds, where they ship, else with the quickstart's; one round's worth of two seeds and more."""
    ran = []
    for name in NAMES:
        recipe = Recipe.load(name, catalog=catalog)
        elsewhere = recipe.seeds.path.startswith("hf:")
        changes = ["rounds=2", *([f"seeds.path={shipped_folder() / SEEDS}"] if elsewhere else [])]
        recipe = Recipe.load(name, catalog=catalog, backend="scripted", set=changes)
        plan = make_plan(recipe, catalog)
        assert not plan.unread and plan.calls > 0, name
        result = et.run(recipe, tmp_path / name, limit=3)
        summary = result.summary
        assert (result.pending, summary.seeds) == (0, 3), name
        assert summary.kept.get(0, 0) == (0 if name == "oss-instruct" else 3), name
        # No made-up answer passes tests that nobody wrote.
        assert result.records > summary.kept.get(0, 0) or name == "wizardcoder-verified"
        assert set(summary.operators) <= {use.label for use in recipe.operators}, name
        ran.append(name)
    assert ran == NAMES and len(ran) == 11


@pytest.mark.skipif(importlib.util.find_spec("litellm") is None, reason="the extra 'litellm' is not installed")
def test_mixed_really_asks_three_providers(tmp_path: Path, catalog, monkeypatch):
    """Each role's server, reached as --set says, is asked for its own model alone, as often as the store has it."""
    keys = {"OPENAI_API_KEY": "sk-loopback-answers", "ANTHROPIC_API_KEY": "sk-loopback-judges"}
    for name, value in keys.items():
        monkeypatch.setenv(name, value)
    with (
        Provider(models=["local"], keep=1000) as local,
        Provider(key=keys["OPENAI_API_KEY"], models=["gpt-4.1-mini"], keep=1000) as api,
        Provider(key=keys["ANTHROPIC_API_KEY"], answer="Not Equal", keep=1000) as judge,
    ):
        changes = [
            f"backends.evolve={{openai-compatible: {{model: local, base_url: '{local.url}'}}}}",
            f"backends.respond.openai-compatible.base_url={api.url}",
            "backends.judge.litellm.model=openai/judge",
            f"backends.judge.litellm.api_base={judge.url}",
            "prices.judge={input: 1, output: 5}",
        ]
        result = et.run(Recipe.load("mixed", catalog=catalog, set=changes), tmp_path / "run")
        asked = [Counter(json.loads(sent["body"])["model"] for sent in each.log() if sent["method"] == "POST")
                 for each in (local, api, judge)]  # fmt: skip
    with closing(sqlite3.connect(tmp_path / "run" / "run.db")) as db:
        stored = dict(db.execute("SELECT backend, count(*) FROM replies GROUP BY backend"))
    assert result.pending == 0 and result.records > 12
    assert asked == [{"local": stored["evolve"]}, {"gpt-4.1-mini": stored["respond"]}, {"judge": stored["judge"]}]
    assert stored["evolve"] == 24 and min(stored.values()) > 0
