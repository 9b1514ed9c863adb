"""Recipes: what is wrong is said all at once, with its place and what to do; what is right loads again as the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kit import CATALOG, SMALLEST, Api, make_catalog, problems, recipe

import evolteacher as et
from evolteacher.catalog import Catalog
from evolteacher.component import Component
from evolteacher.errors import PluginError, RecipeError
from evolteacher.recipe import Recipe
from evolteacher.shipped import find_recipe
from evolteacher.yamlfile import dump, parse

# What is added to the smallest recipe (five lines) -> the only problem, after "recipe.yaml:".
WRONG = {
    "round: 3": "6: round: a recipe has no 'round'. Did you mean 'rounds'?",
    "origin: x": "6: origin: a recipe has no 'origin'. There is: backends, budget, choose,",
    "rounds: true": "6: rounds: a whole number is needed, not true",
    "rounds: '3'": "6: rounds: a whole number is needed, not '3'",
    "rounds: 2.0": "6: rounds: a whole number is needed, not 2.0",
    "rounds: 0": "6: rounds: must be 1 or more, not 0",
    "rounds: [3]": "6: rounds: a whole number is needed",
    "rounds:": "6: rounds: nothing stands here: give a value, or leave the key out",
    "seed: x": "6: seed: a whole number is needed, not 'x'",
    "description: 3": "6: description: a text is needed, not 3",
    "on_pruned: retir": "6: on_pruned: must be 'retire' or 'retry', not 'retir'. Did you mean 'retire'?",
    "choose: bandits": "6: choose: must be 'weights', 'uniform' or 'bandit', or options are needed, such as",
    "choose: {bandit: {blok: 3}}": "6: choose.bandit.blok: 'choose.bandit' has no 'blok'. Did you mean 'block'?",
    "choose: {bandit: {block: 0}}": "6: choose.bandit.block: must be 1 or more, not 0",
    "choose: {bandit: {least: 2}}": "6: choose.bandit.least: must be 1 or less, not 2",
    "concurrency: 1.5": "6: concurrency: a whole number is needed, not 1.5",
    "sampling: []": "6: sampling: options are needed, such as {option: value}",
    "sampling: {temperatur: 1}": "6: sampling.temperatur: 'sampling' has no 'temperatur'. Did you mean 'temperature'?",
    "sampling: {temperature: true}": "6: sampling.temperature: a number is needed, not true",
    "sampling: {temperature: '1'}": "6: sampling.temperature: a number is needed, not '1'",
    "sampling: {temperature: .nan}": "6: sampling.temperature: nan is no number to go by",
    "sampling:\n  temperature: .inf": "7: sampling.temperature: inf is no number to go by",
    "sampling:\n  evolve:\n    top_p: 0": "8: sampling.evolve.top_p: must be more than 0, not 0",
    "sampling: {top_p: 1.5}": "6: sampling.top_p: must be 1 or less, not 1.5",
    "sampling: {max_tokens: 0}": "6: sampling.max_tokens: must be 1 or more, not 0",
    "sampling: {stop: end}": "6: sampling.stop: a list is needed, such as [a, b], not 'end'",
    "sampling: {stop: [end, 1]}": "6: sampling.stop[1]: a text is needed, not 1",
    "limits: {retrys: 1}": "6: limits.retrys: 'limits' has no 'retrys'. Did you mean 'retries'?",
    "limits: {requests_per_minute: 0}": "6: limits.requests_per_minute: must be more than 0, not 0",
    "export: evol": "6: export: a list is needed, such as [a, b], not 'evol'",
    "export: [evl]": "6: export[0]: must be 'evol', 'rounds', 'jsonl', 'chat' or 'parquet', not 'evl'. Did you mean",
    "filters: plain": "6: filters: a list is needed: one '- name' a line",
    "filters:\n- plain\n-": "8: filters[1]: a filter is needed here: its name, or its name with options below",
    "filters: [3]": "6: filters[0]: a filter is needed here",
    "filters: [{}]": "6: filters[0]: a filter is needed here",
    "filters:\n- plain\n- plan": "8: filters[1]: no filter is called 'plan'. Did you mean 'plain'?",
    "filters: [whole]": "6: filters[0]: 'whole' judges the whole dataset: list it under dataset_filters",
    "dataset_filters: [plain]": "6: dataset_filters[0]: 'plain' judges single rows: list it under filters",
    "filters:\n- plain\n- plain": "8: filters[1]: 'plain' is there twice; tell them apart with 'as: other-name'",
    "filters:\n- plain:\n  words: 2": "7: filters[0]: one filter at a time: 'plain' stands beside 'words'; indent",
    "filters:\n- plain: 5": "7: filters[0].plain: options are needed here, such as {option: value}",
    "filters:\n- plain:\n    word: 2": "8: filters[0].plain.word: filter 'plain' has no 'word'. Did you mean 'words'?",
    "filters:\n- plain:\n    words: few": "8: filters[0].plain.words: a number is needed, not 'few'",
    "filters:\n- plain:\n    on: seed": "8: filters[0].plain.on: it takes instruction, response, seeds, both, or a",
    "filters:\n- judge-it:\n    on: both": "8: filters[0].judge-it.on: it takes instruction, seeds, or a list of them, "
    "and not 'both'",
    "filters: [{plain: {on: []}}]": "6: filters[0].plain.on: it takes instruction, response, seeds, both",
    "filters: [{plain: {on: {a: 1}}}]": "6: filters[0].plain.on: it takes instruction, response, seeds, both",
    "filters: [{plain: {weight: 2}}]": "6: filters[0].plain.weight: a filter takes no 'weight'",
    "filters: [{plain: {backend: judge}}]": "6: filters[0].plain.backend: filter 'plain' asks nothing",
    "filters: [{judge-it: {backend: judg}}]": "6: filters[0].judge-it.backend: no backend of this recipe is called "
    "'judg'. Did you mean 'judge'?",
    "filters: [{judge-it: {backend: 3}}]": "6: filters[0].judge-it.backend: the name of one of the recipe's backends",
    "filters: [{plain: {as: a.b}}]": "6: filters[0].plain.as: a short name is needed: letters, digits, '-' and '_'",
    "filters: [{plain: {as: 3}}]": "6: filters[0].plain.as: a short name is needed",
    "filters: [{plain: {as: refused}}]": "6: filters: 'refused' has a meaning of its own in records",
    "filters: [plain]\ndataset_filters: [{whole: {as: plain}}]": "7: dataset_filters: 'plain' is among filters, too",
    "dataset_filters: [{whole: {on: seeds}}]": "6: dataset_filters[0].whole.on: a dataset filter takes no 'on'",
}  # fmt: skip


@pytest.mark.parametrize("text", WRONG)
def test_each_mistake_has_one_line_that_says_where_and_what(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = problems(lambda: recipe(text, tmp_path))
    assert len(found) == 1
    assert found[0].startswith(f"recipe.yaml:{WRONG[text]}")


# Whole recipes in place of the smallest's operators and backends.
COMPONENTS = {
    "operators: [needy]": "operators[0]: operator 'needy' needs 'what'",
    "operators: [{needy: {}}]": "operators[0].needy: operator 'needy' needs 'what'",
    "operators: []": "operators: at least one operator is needed; `evolteacher plugins` lists them",
    "operators:": "operators: at least one operator is needed; `evolteacher plugins` lists them",
    "operators: [{translate: {weight: 0}}]": "operators: every operator has weight 0; at least one must be above 0",
    "operators: [{translate: {weight: -1}}]": "operators[0].translate.weight: a number from 0 to 1,000,000 is needed, "
    "not -1",
    "operators: [{translate: {weight: true}}]": "operators[0].translate.weight: a number from 0 to 1,000,000 is",
    "operators: [{translate: {as: seed}}]": "operators: 'seed' has a meaning of its own in records",
    "operators: [{translate: {mode: fre}}]": "operators[0].translate.mode: must be 'free' or 'literal', not 'fre'. Did "
    "you mean 'free'?",
    "operators: [{translate: {times: '3'}}]": "operators[0].translate.times: a whole number is needed, not '3'",
    "operators: [{translate: {times: true}}]": "operators[0].translate.times: a whole number is needed, not true",
    "operators: [{translate: {language: 3}}]": "operators[0].translate.language: a text is needed, not 3",
    "operators: [{translate: {times: 0}}]": "operators[0].translate.times: must be 1 or more, not 0",
    "operators: [{translate: {inner: {levl: 1}}}]": "operators[0].translate.inner.levl: 'inner' has no 'levl'. Did you "
    "mean 'level'?",
    "operators: [{translate: {inners: [{level: x}]}}]": "operators[0].translate.inners[0].level: a whole number is "
    "needed, not 'x'",
    "operators: [{translate: {named: {a: {levl: 1}}}}]": "operators[0].translate.named.a.levl: 'named.a' has no 'levl'",
    "operators: [{translate: {either: x}}]": "operators[0].translate.either: a whole number is needed, or options are "
    "needed, such as {option: value}, not 'x'",
    "operators: [{translate: {either: {level: x}}}]": "operators[0].translate.either.level: a whole number is needed",
    "operators: [{translate: {template: '{{ task }}'}}]": "operators[0].translate: the template uses task; it may use "
    "instruction",
    "operators: [{translate: {on: both}}]": "operators[0].translate.on: an operator takes no 'on'",
    "operators: [{translate: {backend: jugde}}]": "operators[0].translate.backend: no backend of this recipe is called "
    "'jugde'. Did you mean 'judge'?",
    "operators: [{translate: {weight: 2}}]\nchoose: uniform": "choose: 'uniform' ignores the weights that are given",
    "backends: {evolve: apy}": "backends.evolve: no backend is called 'apy'. Did you mean 'api'?",
    "backends: {evolve: {api: {as: x}}}": "backends.evolve.api.as: a backend takes no 'as'",
    "backends: {evolve: {api: {max_tokens: 0}}}": "backends.evolve.api.max_tokens: must be 1 or more, not 0",
    "backends: {respond: api}": "backends: 'evolve' is needed: which backend evolves, such as 'evolve: embedded'",
    "backends: [api]": "backends: 'evolve' is needed",
    "backends: {evolve: api, respnd: api}": "backends.respnd: no role is called 'respnd', and no component names it. "
    "Did you mean 'respond'?",
    "backends: {evolve: api, 'a.b': api}": "backends.a.b: letters, digits, '-' and '_', beginning with a letter",
    "seeds: ''": "seeds: needs at least 1 characters, not ''",
    "seeds: {path: 3}": "seeds.path: a text is needed, not 3",
    "seeds: {form: x, path: a}": "seeds.form: 'seeds' has no 'form'. Did you mean 'format'?",
    "seeds: {format: alpaca}": "seeds: 'seeds' needs 'path'",
    "seeds: [a]": "seeds: options are needed, such as {option: value}",
    'seeds: "a\\0b"': "seeds: no file's name holds a NUL character",
    "seeds: ~nobody-of-that-name/a": "seeds: there is no home folder '~nobody-of-that-name'",
    "seeds: {path: a, limit: 0}": "seeds.limit: must be 1 or more, not 0",
    "seeds: {path: a, reader: line}": "seeds.reader: no seed reader is called 'line'. Did you mean 'lines'?",
    "seeds: {path: a, reader: {lines: {step: x}}}": "seeds.reader.lines.step: a whole number is needed, not 'x'",
    "name: a b": "name: use letters, digits, '.', '_' and '-', beginning with a letter or digit, not 'a b'",
    "name: ../up": "name: use letters, digits",
    "evolteacher: 2": "evolteacher: version 2 is unknown; this evolteacher reads version 1",
    "evolteacher: true": "evolteacher: version true is unknown",
    "evolteacher: '1'": "evolteacher: version '1' is unknown",
}  # fmt: skip


@pytest.mark.parametrize("text", COMPONENTS)
def test_each_mistake_in_a_part_of_the_smallest_recipe(text):
    data = {**parse(SMALLEST, "r").data, **parse(text, "r").data}
    found = problems(lambda: Recipe.from_dict(data, catalog=CATALOG))
    assert len(found) == 1
    assert found[0].startswith(f"recipe: {COMPONENTS[text]}")


def test_all_problems_are_told_at_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = "\n".join(
        [
            "evolteacher: 1", "nam: x", "seeds: {pth: a}", "rounds: 0", "operators:", "- translat", "- needy",
            "- translate: {mode: x, speed: 2, times: no}", "filters: [plain, plain]", "backends: {evolve: apy}",
        ]
    )  # fmt: skip
    Path("r.yaml").write_text(text)
    found = problems(lambda: Recipe.load("r.yaml", catalog=CATALOG, set=["rounds", "sampling.top_p=3"]))
    starts = [line.split(": ")[:2] for line in found]
    assert sorted((where.removeprefix("r.yaml:"), what) for where, what in starts) == sorted(
        [
            ("--set rounds", "write key=value, such as rounds=2"), ("2", "nam"), ("1", "a recipe needs 'name'"),
            ("3", "seeds"), ("3", "seeds.pth"), ("4", "rounds"), ("6", "operators[0]"), ("7", "operators[1]"),
            ("8", "operators[2].translate.mode"), ("8", "operators[2].translate.speed"),
            ("8", "operators[2].translate.times"), ("9", "filters[1]"), ("10", "backends.evolve"),
            ("--set sampling.top_p", "sampling.top_p"),
        ]
    )  # fmt: skip


def test_what_is_no_recipe_at_all(tmp_path):
    for text in ("", "- a", "just text", "3"):
        path = tmp_path / "r.yaml"
        path.write_text(text)
        assert problems(lambda path=path: Recipe.load(path, catalog=CATALOG)) == [
            f"{path}:1: a recipe is a mapping that begins with 'evolteacher: 1'"
        ]


SECRET = "sk-very-secret-123"
LEAKS = [
    f"backends: {{evolve: {{api: {{api_key: {SECRET}}}}}}}",
    f"backends: {{evolve: {{api: {{api_key: [{SECRET}]}}}}}}",
    f"backends: {{evolve: {{api: {SECRET}}}}}",
    f"backends: {{evolve: {{api: {{headers: {{Authorization: {SECRET}}}}}}}}}",
    f"backends: {{evolve: {{api: {{headers: {{x-api-key: {SECRET}}}}}}}}}",
    f"operators: [{{translate: {{inner: {{api_key: {SECRET}}}}}}}]",
    f"operators: [{{translate: {{inners: [{{api_key: {SECRET}}}]}}}}]",
    f"backends: {{evolve: {{api: {{max_tokens: {{token: {SECRET}}}}}}}}}",
    f"backends: {{evolve: {{api: {{token: {SECRET}}}}}}}",
    f"backends: {{evolve: {{api: {{pin_token: {SECRET}}}}}}}",
    f"backends: {{evolve: {{api: {{headers: {{apiKey: {SECRET}}}}}}}}}",
    f"backends: {{evolve: {{api: {{headers: {{accessToken: {SECRET}}}}}}}}}",
    f"backends: {{evolve: {{api: {{headers: {{clientSecret: {SECRET}}}}}}}}}",
    f"backends: {{evolve: {{api: {{workers: {{authToken: {SECRET}}}}}}}}}",
]


@pytest.mark.parametrize("text", LEAKS)
def test_a_key_that_is_written_out_is_refused_and_never_repeated(text):
    data = {**parse(SMALLEST, "r").data, **parse(text, "r").data}
    found = problems(lambda: Recipe.from_dict(data, catalog=CATALOG))
    assert found
    assert not any(SECRET in line for line in found)


def test_keys_are_named_and_kept(tmp_path):
    loaded = recipe("", tmp_path, set=["backends.evolve.api.api_key=env:API_KEY"])
    component = loaded.backends["evolve"].component
    assert isinstance(component, Api)
    assert component.api_key == "env:API_KEY"
    assert problems(lambda: recipe("", tmp_path, set=[f"backends.evolve.api.api_key={SECRET}"])) == [
        "--set backends.evolve.api.api_key: backends.evolve.api.api_key: a recipe names a key and never holds it: "
        "put it into an environment variable, and write env:NAME"
    ]


def test_a_validator_that_breaks_is_the_plugins_fault(tmp_path):
    class Broken(et.Backend, name="broken"):
        model: str = "x"

        def model_post_init(self, context):
            raise KeyError("oops")

    class Brings:
        @et.hookimpl
        def register_backends(self):
            return [Broken]

    catalog = make_catalog()
    catalog.register(Brings(), "broken")
    data = {**parse(SMALLEST, "r").data, "backends": {"evolve": "broken"}}
    (line,) = problems(lambda: Recipe.from_dict(data, catalog=catalog))
    assert line.startswith(
        "recipe: backends.evolve: backend 'broken', reading its options, raised KeyError: 'oops' (test_"
    )


def test_backends_that_name_each_other_in_a_circle(tmp_path):
    data = {**parse(SMALLEST, "r").data, "backends": {"evolve": "respond", "respond": "judge", "judge": "evolve"}}
    found = problems(lambda: Recipe.from_dict(data, catalog=CATALOG))
    assert len(found) == 1
    assert "'evolve' and 'respond' and 'judge' name each other; one must be a backend" in found[0]


def test_roles_share_backends():
    data = {
        **parse(SMALLEST, "r").data,
        "backends": {"respond": "big", "evolve": "api", "big": {"api": {"model": "b"}}},
    }
    loaded = Recipe.from_dict(data, catalog=CATALOG)
    assert [loaded.backend_of(role) for role in ("evolve", "respond", "judge")] == ["evolve", "big", "evolve"]
    assert sorted(loaded.backends) == ["big", "evolve"]


def test_seeds_path_is_beside_the_recipe_and_sources_stay(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "a:b.jsonl").touch()
    path = tmp_path / "here" / "r.yaml"
    monkeypatch.chdir(tmp_path)
    sources = {
        "seeds.jsonl": str(tmp_path / "here" / "seeds.jsonl"),
        "../x/s.json": str(tmp_path / "x" / "s.json"),
        "hf:owner/name": "hf:owner/name",
        "a:b.jsonl": str(tmp_path / "here" / "a:b.jsonl"),
        "/data/s.json": "/data/s.json",
        "~/s.json": str(Path.home() / "s.json"),
    }
    for written, source in sources.items():
        path.write_text(SMALLEST.replace("seeds: seeds.jsonl", f"seeds: '{written}'"))
        loaded = Recipe.load("here/r.yaml", catalog=CATALOG)
        assert loaded.seeds_source() == source
        assert Recipe.from_dict(loaded.to_plain(), catalog=CATALOG).seeds_source() == source


def test_finding_recipes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("quickstart").mkdir()
    assert find_recipe("quickstart", CATALOG).name == "quickstart.yaml"
    Path("runs").mkdir()
    cases = {
        "runs": "runs: this is a folder",
        "quickstrt": "no recipe is called 'quickstrt', and there is no such file. Did you mean 'quickstart'?",
        "quickstart.yaml": "A recipe called 'quickstart' ships: leave out folder and ending",
        "a/b": "a/b: there is no such file",
        "x" * 5000: "there is no such file",
        "a\0b": "there is no such file",
    }
    for name, message in cases.items():
        with pytest.raises(RecipeError) as caught:
            find_recipe(name, CATALOG)
        assert message in str(caught.value)
    Path("quickstart.yaml").write_text(SMALLEST)
    assert find_recipe("quickstart.yaml", CATALOG) == tmp_path / "quickstart.yaml"


def same(loaded: Recipe, again: Recipe) -> bool:
    return again.to_plain() == loaded.to_plain() and again.experiment() == loaded.experiment()


LABELS = st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True).filter(lambda name: name not in ("seed", "refused"))
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.sampled_from(
    ["{{ x }}", "a: b", " lead", "😀", "\x85", "\0", "null", "1e3", "env:KEY", "#"]
)
INNER = st.fixed_dictionaries({}, optional={"level": st.integers(), "api_key": st.just("env:KEY")})
OPERATOR = st.fixed_dictionaries(
    {},
    optional={
        "language": TEXT,
        "mode": st.sampled_from(["free", "literal"]),
        "times": st.none() | st.integers(1, 5),
        "inner": st.none() | INNER,
        "inners": st.lists(INNER, max_size=2),
        "named": st.dictionaries(TEXT.filter(lambda text: not text.endswith("env:KEY")), INNER, max_size=2),
        "either": st.integers() | INNER,
        "threads": st.integers(1, 9),
        "template": TEXT.map(lambda text: "{% raw %}" + text.replace("{%", "") + "{% endraw %}{{ instruction }}"),
        "extract": st.sampled_from(["task", "whole"]),
        "weight": st.floats(0.5, 9),
        "backend": st.sampled_from(["evolve", "respond", "judge", "mini"]),
    },
)
FILTER = st.fixed_dictionaries(
    {}, optional={"words": st.floats(0, 9), "on": st.sampled_from(["both", "seeds", ["response", "seeds"]])}
)
JUDGE = st.fixed_dictionaries({}, optional={"backend": st.sampled_from(["judge", "mini"]), "on": st.just("seeds")})
API = st.fixed_dictionaries({}, optional={"model": TEXT, "path": st.just("/m"), "workers": st.integers(1, 4)})
SAMPLING = st.fixed_dictionaries(
    {}, optional={"temperature": st.integers(0, 2) | st.floats(0, 2), "stop": st.lists(TEXT, max_size=2),
                  "seed": st.none() | st.integers()}
)  # fmt: skip


@st.composite
def recipes(draw) -> dict[str, object]:
    labels = draw(st.lists(LABELS, min_size=4, max_size=4, unique=True))
    operators = [
        {draw(st.sampled_from(["translate", "made/translate"])): {**draw(OPERATOR), "as": label}}
        for label in labels[:2]
    ]
    data = {
        "evolteacher": 1, "name": draw(LABELS), "description": draw(TEXT), "seed": draw(st.integers()),
        "seeds": draw(st.sampled_from(["s.jsonl", "hf:a/b"])), "rounds": draw(st.integers(1, 9)),
        "on_pruned": draw(st.sampled_from(["retire", "retry"])), "operators": operators,
        "filters": [{"plain": {**draw(FILTER), "as": labels[2]}}, {"judge-it": {**draw(JUDGE), "as": labels[3]}}],
        "dataset_filters": draw(st.sampled_from([[], [{"whole": {"as": "at-the-end"}}]])),
        "backends": {
            "evolve": draw(st.sampled_from(["api", "made/api"]) | API.map(lambda options: {"api": options})),
            "respond": draw(st.sampled_from(["evolve", "mini"])), "mini": {"made/api": draw(API)},
        },
        "sampling": {**draw(SAMPLING), "judge": draw(st.none() | SAMPLING)},
        "concurrency": draw(st.integers(1, 99)), "export": draw(st.none() | st.just(["evol", "chat"])),
        "limits": draw(st.sampled_from([{}, {"requests_per_minute": 10}, {"retries": 0, "first_wait": 0.5}])),
    }  # fmt: skip
    if draw(st.booleans()):
        data["seeds"] = {"path": "s.jsonl", "reader": {"lines": {"step": 3}}, "limit": draw(st.integers(1, 9))}
    return data


@settings(deadline=None, max_examples=60)
@given(recipes())
def test_a_recipe_written_out_loads_as_the_same(data):
    loaded = Recipe.from_dict(data, catalog=CATALOG)
    plain = loaded.to_plain()
    assert same(loaded, Recipe.from_dict(plain, catalog=CATALOG))
    written = parse(dump(plain), "r").data
    assert written == plain
    assert same(loaded, Recipe.from_dict(written, catalog=CATALOG))
    assert same(loaded, Recipe.from_dict(json.loads(json.dumps(plain)), catalog=CATALOG))
    assert same(loaded, loaded.changed(catalog=CATALOG))


FREE = {
    "name=other", "description=other", "concurrency=3", "limits.retries=1", "limits.requests_per_minute=5",
    "synchronous=full", "export=[evol]", "seeds.limit=7", "seeds.path=else.jsonl", "seeds.format=alpaca",
    "operators.translate.threads=4", "backends.evolve.api.workers=4", "seeds.on_bad_row=fail",
}  # fmt: skip
FIXED = {
    "seed=1", "rounds=2", "on_pruned=retry", "seeds.answer=missing", "seeds.licence=mit", "sampling.temperature=0.5",
    "sampling.judge.stop=[x]", "operators.translate.language=x", "operators.translate.weight=2", "filters=[plain]",
    "operators.translate.as=x", "operators.translate.backend=judge", "dataset_filters=[whole]",
    "backends.evolve.api.model=x", "backends.respond=api", "backends.mini=api", "operators.translate.extract=whole",
    "operators=[translate, {translate: {as: b}}]",
}  # fmt: skip


def test_the_experiment_leaves_out_what_is_free_and_nothing_else(tmp_path):
    base = recipe("", tmp_path).experiment()
    changed = {change: recipe("", tmp_path, set=[change]).experiment() != base for change in FREE | FIXED}
    assert changed == {change: change in FIXED for change in FREE | FIXED}
    assert len(changed) == 31
    same_sampling = recipe("sampling: {temperature: 1, evolve: {top_p: 0.9}}", tmp_path)
    assert same_sampling.experiment() == base


def test_nothing_of_a_recipe_can_be_changed(tmp_path):
    loaded = recipe("", tmp_path)
    for attempt in (lambda: setattr(loaded, "rounds", 9), lambda: setattr(loaded.operators[0].component, "mode", "x")):
        with pytest.raises(ValueError, match="frozen"):
            attempt()


def test_data_given_in_python_is_left_alone():
    data = parse(SMALLEST, "r").data
    before = json.dumps(data)
    Recipe.from_dict(data, set=["operators.translate.language=x", "seeds.limit=2"], catalog=CATALOG)
    assert json.dumps(data) == before


def test_a_catalog_without_plugins_names_what_failed_to_load():
    class Broken:
        @et.hookimpl
        def register_operators(self):
            return [Component]

    catalog = Catalog()
    with pytest.raises(PluginError):
        catalog.register(Broken(), "broken-one")
    found = problems(lambda: Recipe.from_dict(parse(SMALLEST, "r").data, catalog=catalog))
    assert len(found) == 2
    assert all("broken-one" in line for line in found)
