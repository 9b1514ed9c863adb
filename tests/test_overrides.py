"""Changes from the command line: ``--set`` in every form, and ``--backend``."""

from __future__ import annotations

import pytest
from kit import CATALOG, SMALLEST, problems, recipe

from evolteacher.recipe import Recipe

REST = """\
filters:
- plain
- plain: {as: strict, words: 5}
- judge-it: {backend: mini}
sampling: {stop: [a, b]}
"""


def changed(tmp_path, *changes, text=REST, backend=None):
    return recipe(text, tmp_path, set=changes, backend=backend).to_plain()


def at(plain, path):
    for key in path:
        plain = plain[key]
    return plain


# change -> where -> what is there then
SETS = {
    "rounds=5": (("rounds",), 5),
    " rounds =5": (("rounds",), 5),
    "description='a: 1'": (("description",), "a: 1"),
    'description="3"': (("description",), "3"),
    "description=x = y=z": (("description",), "x = y=z"),
    "seeds.limit=5": (("seeds", "limit"), 5),
    "seeds.path=/x/y.json": (("seeds", "path"), "/x/y.json"),
    "seeds.reader=lines": (("seeds", "reader"), {"lines": {"step": 1}}),
    "seeds.reader.lines.step=2": (("seeds", "reader"), {"lines": {"step": 2}}),
    "operators.translate.language=French": (("operators", 0, "translate", "language"), "French"),
    "operators.0.language=French": (("operators", 0, "translate", "language"), "French"),
    "operators.0.translate.language=French": (("operators", 0, "translate", "language"), "French"),
    "operators.translate.translate.language=French": (("operators", 0, "translate", "language"), "French"),
    "operators.translate.weight=2": (("operators", 0, "translate", "weight"), 2.0),
    "operators.translate.inner.level=7": (("operators", 0, "translate", "inner", "level"), 7),
    "operators.translate.inner={level: 7}": (("operators", 0, "translate", "inner", "level"), 7),
    "operators.translate.named.it.level=7": (("operators", 0, "translate", "named", "it", "level"), 7),
    "operators.0={needy: {what: x}}": (("operators", 0, "needy", "what"), "x"),
    "operators.0.needy.what=x": (("operators", 0, "needy", "what"), "x"),
    "operators.translate.needy.what=x": (("operators", 0, "needy", "what"), "x"),
    "operators=[{needy: {what: x}}]": (("operators",), [{"needy": {"template": None, "extract": "task", "what": "x"}}]),
    "filters.plain.words=9": (("filters", 0, "plain", "words"), 9.0),
    "filters.strict.words=9": (("filters", 1, "plain", "words"), 9.0),
    "filters.1.words=9": (("filters", 1, "plain", "words"), 9.0),
    "filters.strict.on=seeds": (("filters", 1, "plain", "on"), ["seeds"]),
    "filters.judge-it.backend=judge": (("filters", 2, "judge-it", "backend"), "judge"),
    "filters=[]": (("filters",), []),
    "sampling.stop.1=c": (("sampling", "stop"), ["a", "c"]),
    "sampling.evolve.temperature=0": (("sampling", "evolve", "temperature"), 0.0),
    "sampling={temperature: 0.5}": (("sampling", "stop"), []),
    "limits.retries=1": (("limits", "retries"), 1),
    "backends.evolve.api.model=b": (("backends", "evolve", "api", "model"), "b"),
    "backends.evolve.model=b": (("backends", "evolve", "api", "model"), "b"),
    "backends.evolve.made/api.model=b": (("backends", "evolve", "made/api", "model"), "b"),
    "backends.evolve=mute": (("backends", "evolve"), {"mute": {}}),
    "backends.evolve.mute={}": (("backends", "evolve"), {"mute": {}}),
    "backends.evolve.other.file=f:g=h": (("backends", "evolve", "other", "file"), "f:g=h"),
    "backends.respond=mini": (("backends", "respond"), "mini"),
    "backends.respond.model=b": (("backends", "respond", "api", "model"), "b"),
    "backends.respond.other.file=f": (("backends", "respond"), {"other": {"file": "f"}}),
    "backends.extra.api.model=b": (("backends", "extra", "api", "model"), "b"),
    "backends.evolve.headers={a: b}": (("backends", "evolve", "api", "headers"), {"a": "b"}),
    "backends.evolve.headers.a=b": (("backends", "evolve", "api", "headers"), {"a": "b"}),
}


@pytest.mark.parametrize("change", SETS)
def test_a_change_goes_where_it_says_and_nowhere_else(change, tmp_path):
    file = tmp_path / "whole.yaml"
    smallest = "seeds: seeds.jsonl\noperators: [translate]\nevolteacher: 1\nname: small\n"
    file.write_text(f"{smallest}{REST}backends: {{evolve: {{api: {{model: a}}}}, mini: api}}\n")
    before = Recipe.load(file, catalog=CATALOG).to_plain()
    after = Recipe.load(file, set=[change], catalog=CATALOG).to_plain()
    path, value = SETS[change]
    assert at(after, path) == value
    assert {key: part for key, part in after.items() if key != path[0]} == {
        key: part for key, part in before.items() if key != path[0]
    }


def test_changes_follow_each_other(tmp_path):
    plain = changed(tmp_path, "rounds=5", "rounds=6", "seeds.limit=1", "seeds.answer=missing", text="")
    assert plain["rounds"] == 6
    assert (plain["seeds"]["limit"], plain["seeds"]["answer"]) == (1, "missing")


def test_a_shared_role_gets_its_own_backend_and_the_other_stays(tmp_path):
    plain = changed(tmp_path, "backends.judge.model=b", "backends.respond=judge", text="")
    assert at(plain, ("backends", "evolve", "api", "model")) == "tiny"
    assert at(plain, ("backends", "judge", "api", "model")) == "b"
    assert plain["backends"]["respond"] == "judge"


WRONG = {
    "rounds": "--set rounds: write key=value, such as rounds=2",
    "=3": "--set : write key=value",
    "rounds.=3": "--set rounds.: write key=value",
    "a..b=3": "--set a..b: write key=value",
    "api_key sk-123": "--set api_key: write key=value, such as rounds=2",
    "round=3": "--set round: round: a recipe has no 'round'. Did you mean 'rounds'?",
    "__proto__.x=1": "--set __proto__.x: __proto__: a recipe has no '__proto__'",
    "__class__=1": "--set __class__: __class__: a recipe has no '__class__'",
    "backend_keys.evolve=x": "--set backend_keys.evolve: backend_keys: a recipe has no 'backend_keys'",
    "origin=/x": "--set origin: origin: a recipe has no 'origin'",
    "rounds=a: b: c": "--set rounds: not valid YAML: mapping values are not allowed here. A text may need quotes of "
    "its own: 'rounds=\"…\"'",
    "rounds=many": "--set rounds: rounds: a whole number is needed, not 'many'",
    "rounds=2026-01-02": "--set rounds: a date has no meaning in a recipe",
    "rounds=.nan": "--set rounds: nan is no number to go by",
    "rounds=": "--set rounds: rounds: nothing stands here",
    "rounds.max=x": "--set rounds.max: rounds.max: a whole number",
    "name.max=5": "--set name.max: 'name' is a single value and holds no 'max'",
    "seeds.reader.line.step=2": "--set seeds.reader.line.step: seeds.reader: no seed reader is called 'line'",
    "operators.translat.mode=free": "--set operators.translat.mode: operators has no 'translat'. Did you mean "
    "'translate'? A number from 0 does, too.",
    "operators.1.mode=free": "--set operators.1.mode: operators has no '1'.",
    "operators.-1.mode=free": "--set operators.-1.mode: operators has no '-1'.",
    "operators.²=x": "--set operators.²: operators has no '²'.",
    "operators.translate.mode=fre": "--set operators.translate.mode: operators[0].translate.mode: must be 'free' or",
    "operators.translate.moda=free": "--set operators.translate.moda: operators[0].translate.moda: operator "
    "'translate' has no 'moda'. Did you mean 'mode'?",
    "operators.translate.language.x=1": "--set operators.translate.language.x: operators[0].translate.language: a text",
    "sampling.stop.0=x": "--set sampling.stop.0: this is a list, and '0' none of its places (nothing yet)",
    "backends.evolve.vlm.model=x": "--set backends.evolve.vlm.model: backends.evolve: no backend is called 'vlm'.",
    "backends.evolve.modle=x": "--set backends.evolve.modle: backends.evolve.api.modle: backend 'api' has no 'modle'. "
    "Did you mean 'model'?",
    "backends.evolve.api.workers=0.5": "--set backends.evolve.api.workers: backends.evolve.api.workers: a whole number",
    "backends.evolve=3": "--set backends.evolve: backends.evolve: a backend is needed here",
    "backends.evolve=evolve": "--set backends.evolve: backends.evolve: no backend is called 'evolve'.",
}


@pytest.mark.parametrize("change", WRONG)
def test_a_change_that_leads_nowhere_names_the_option(change, tmp_path):
    text = "sampling: {stop: []}" if "stop" in change else ""
    found = problems(lambda: recipe(text, tmp_path, set=[change]))
    assert len(found) == 1
    assert found[0].startswith(WRONG[change])


def test_lists_that_are_no_lists_of_components_do_not_break_it(tmp_path):
    for text in ("filters: [null, 3, [a], {}]", "filters: [{a: 1, b: 2}]"):
        (first, *_) = problems(lambda text=text: recipe(text, tmp_path, set=["filters.x.y=1"]))
        assert first.startswith("--set filters.x.y: filters has no 'x'.")


def test_a_name_that_two_uses_share_asks_for_the_label(tmp_path):
    text = "filters: [{plain: {as: a}}, {plain: {as: b}}]"
    assert problems(lambda: recipe(text, tmp_path, set=["filters.plain.words=1"])) == [
        "--set filters.plain.words: filters has 'plain' more than once: write 'a' or 'b'"
    ]


def test_no_secret_is_repeated(tmp_path):
    changes = ["backends.evolve.api.api_key.x=1", "backends.evolve.api.api_key=[1", "backends.evolve.api.api_key=sk-1"]
    text = "description: sk-1"
    for change in [*changes, "description.x=1"]:
        found = problems(lambda change=change: recipe(text, tmp_path, set=[change]))
        assert found
        assert "sk-1" not in " ".join(found)


def backends(tmp_path, backend, text=""):
    return changed(tmp_path, text=text, backend=backend)["backends"]


def test_backend_answers_everything(tmp_path):
    assert backends(tmp_path, "mute") == {"evolve": {"mute": {}}, "respond": "evolve", "judge": "evolve"}
    smallest = "".join(line for line in SMALLEST.splitlines(True) if not line.startswith("backends:"))
    (tmp_path / "r.yaml").write_text(
        f"{smallest}backends: {{evolve: {{api: {{model: a}}}}, mini: api, alias: mini}}\n"
        "filters: [{judge-it: {backend: mini}}]\n"
    )
    loaded = Recipe.load(tmp_path / "r.yaml", backend="mute", catalog=CATALOG)
    assert {name: key for name, key in loaded.backend_keys.items()} == dict.fromkeys(
        ["evolve", "respond", "judge", "mini", "alias"], "evolve"
    )
    assert list(loaded.backends) == ["evolve"]


@pytest.mark.parametrize(
    "model",
    ["b", "openai/gpt-4.1-mini", "ollama/qwen:7b", "/models/a b.gguf", "C:\\x", "3", "null", "{{ x }}", "a=b", "é"],
)
def test_what_follows_the_first_colon_is_the_model_as_it_stands(model, tmp_path):
    assert backends(tmp_path, f"api:{model}")["evolve"]["api"]["model"] == model
    assert backends(tmp_path, f"made/api:{model}")["evolve"]["made/api"]["model"] == model
    assert backends(tmp_path, f"other:{model}")["evolve"] == {"other": {"file": model}}


def test_options_of_the_backend_that_answers_everything_are_set_beside_it(tmp_path):
    changes = ["backends.evolve.headers={a: b}", "backends.judge={mute: {}}"]
    plain = changed(tmp_path, *changes, text="", backend="made/api:c")
    assert at(plain, ("backends", "evolve", "made/api", "model")) == "c"
    assert at(plain, ("backends", "evolve", "made/api", "headers")) == {"a": "b"}
    assert at(plain, ("backends", "judge")) == {"mute": {}}
    assert plain["backends"]["respond"] == "evolve"


BACKENDS = {
    "apy:b": "--backend apy:b: no backend is called 'apy'. Did you mean 'api'?",
    "": "--backend : no backend is called ''.",
    "api:": "--backend api:: nothing stands after the colon; write api:MODEL",
    "other:": "--backend other:: nothing stands after the colon; write other:FILE",
    "mute:b": "--backend mute:b: backend 'mute' takes nothing after the colon; use --set for its options",
}


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_backend_that_cannot_be(backend, tmp_path):
    (found,) = problems(lambda: recipe("", tmp_path, backend=backend))
    assert found.startswith(BACKENDS[backend])


def test_a_path_of_seeds_that_is_typed_is_relative_to_the_working_directory(tmp_path, monkeypatch):
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "r.yaml").write_text(SMALLEST)
    monkeypatch.chdir(tmp_path)
    path, here = tmp_path / "recipes" / "r.yaml", str(tmp_path / "mine.jsonl")
    assert Recipe.load(path, catalog=CATALOG).seeds_source() == str(tmp_path / "recipes" / "seeds.jsonl")
    for change in ("seeds.path=mine.jsonl", "seeds=mine.jsonl", f"seeds.path={here}"):
        assert Recipe.load(path, set=[change], catalog=CATALOG).seeds_source() == here
    assert Recipe.load(path, set=["seeds.path=hf:a/b"], catalog=CATALOG).seeds_source() == "hf:a/b"


def test_other_seeds_are_not_under_the_recipes_licence():
    kept = Recipe.load("evol-teacher")
    other = Recipe.load("evol-teacher", set=["seeds.path=hf:a/b"])
    told = Recipe.load("evol-teacher", set=["seeds.path=hf:a/b", "seeds.licence=mit"])
    assert (kept.seeds.licence, other.seeds.licence, told.seeds.licence) == ("cc-by-nc-4.0", "", "mit")


def test_nor_under_the_terms_of_who_wrote_the_recipes_own(tmp_path):
    text = SMALLEST.replace("seeds: seeds.jsonl", "seeds: {path: seeds.jsonl, licence: mit, terms: openai}")
    (tmp_path / "r.yaml").write_text(text)
    kept = Recipe.load(tmp_path / "r.yaml", catalog=CATALOG)
    other = Recipe.load(tmp_path / "r.yaml", set=["seeds.path=other.jsonl"], catalog=CATALOG)
    assert (kept.seeds.terms, other.seeds.terms) == ("openai", "")
