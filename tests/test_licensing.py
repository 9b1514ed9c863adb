"""Licences and terms: which allows which, how rows carry them, and that what is refused does not get out."""

import io
import json
import sqlite3

import pytest
from experiment import go, recipe, write_seeds
from hypothesis import given
from hypothesis import strategies as st

import evolteacher as et
from evolteacher.catalog import Catalog
from evolteacher.cli import main
from evolteacher.dataset import convert, merge
from evolteacher.errors import LicenceRefused, PluginError, RecipeError, UsageError
from evolteacher.history import records
from evolteacher.licensing import LICENCES, TERMS, known_source, licence_id, spelt, why_not, why_terms_not
from evolteacher.publishing.parcel import dataset_parcel
from evolteacher.publishing.permission import cleared
from evolteacher.recipe import Recipe
from evolteacher.rights import clearance, held_licence, mix_of
from evolteacher.store import Store
from evolteacher.training.rows import read_rows
from evolteacher_backends.model_terms import terms_of_host, terms_of_model, terms_of_provider


class TestWhichAllowsWhich:
    @pytest.mark.parametrize(
        ("licence", "target"),
        [
            ("cc0-1.0", "mit"), ("cc0-1.0", "cc0-1.0"), ("mit", "cc-by-nc-nd-4.0"), ("MIT", "gpl-3.0-only"),
            ("Apache 2.0", "other"), ("cc-by-4.0", "apache-2.0"), ("cc-by-sa-3.0", "cc-by-sa-4.0"),
            ("cc-by-sa-4.0", "CC-BY-SA-4.0"), ("cc-by-nc-4.0", "cc-by-nc-sa-4.0"), ("cc-by-nc-2.0", "cc-by-nc-4.0"),
            ("cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0"), ("gpl-2.0-or-later", "gpl-3.0"), ("my-own", "my-own"),
            ("GPL-2.0-only OR MIT", "mit"), ("(MIT OR GPL-2.0-only) AND CC0-1.0", "mit"),
        ],
    )  # fmt: skip
    def test_what_is_allowed(self, licence, target):
        assert why_not(licence, target) == ""

    @pytest.mark.parametrize(
        ("licence", "target", "why"),
        [
            ("cc-by-nc-4.0", "mit", "commercial"), ("cc-by-nc-4.0", "cc-by-4.0", "commercial"),
            ("cc-by-nc-sa-4.0", "cc-by-nc-4.0", "same"), ("cc-by-nc-sa-4.0", "cc-by-nc-sa-3.0", "same"),
            ("cc-by-nc-4.0", "cc-by-nc-nd-4.0", "commercial"), ("cc-by-sa-4.0", "cc-by-4.0", "same"),
            ("cc-by-sa-4.0", "cc-by-sa-3.0", "same"), ("cc-by-sa-1.0", "cc-by-sa-4.0", "same"),
            ("cc-by-nd-4.0", "cc-by-nd-4.0", "derivatives"), ("cc-by-nc-nd-4.0", "cc-by-nc-4.0", "derivatives"),
            ("gpl-2.0-only", "gpl-3.0-only", "same"), ("gpl-3.0-or-later", "gpl-2.0-only", "same"),
            ("gpl-2.0-or-later", "lgpl-3.0-only", "same"), ("mit", "cc0-1.0", "notice"),
            ("apache-2.0", "gpl-2.0-only", "patents"), ("", "mit", "nothing is known"), ("", "", "nothing is known"),
            ("proprietary", "mit", "nothing is known"), ("None", "mit", "nothing is known"),
            ("none", "none", "nothing is known"), ("unknown", "unknown", "nothing is known"),
            ("cc-by-sa-4.0", "cc-by-sa-4.0.0.0.0", "same"), ("cc-by-sa-4.0", "cc-by-sa-5.0", "same"),
            ("MIT AND GPL-2.0-only", "mit", "same"),
            ("GPL-2.0-only WITH Classpath-exception-2.0", "mit", "nothing is known"), ("MIT OR", "mit", "nothing"),
            ("(MIT OR MIT", "mit", "nothing is known"), ("AND AND", "mit", "nothing is known"),
            ("MIT) OR CC0-1.0", "mit", "nothing"), ("(" * 5000 + "MIT OR MIT", "mit", "nothing"),
        ],
    )  # fmt: skip
    def test_what_is_not(self, licence, target, why):
        assert why in why_not(licence, target)

    def test_what_is_unknown_goes_where_the_recipe_says_so_and_nothing_else_does(self):
        assert why_not("", "mit", unknown=True) == "" == why_terms_not("unknown, mistral", "mit", unknown=True)
        assert why_not("cc-by-nc-4.0", "mit", unknown=True) != "" != why_terms_not("openai", "mit", unknown=True)

    @given(st.sampled_from(sorted(LICENCES)), st.sampled_from(sorted(LICENCES)), st.sampled_from(sorted(LICENCES)))
    def test_what_passes_through_two_licences_passes_to_the_second_of_them(self, first, second, third):
        if not why_not(first, second) and not why_not(second, third) and "apache-2.0" not in (first, second):
            assert why_not(first, third) == "" or LICENCES[second] == "permissive"

    @pytest.mark.parametrize("terms", ["none", "apache-2.0", "MIT", "", "none, apache-2.0"])
    def test_terms_that_ask_nothing(self, terms):
        assert all(not why_terms_not(terms, target) for target in LICENCES)

    @pytest.mark.parametrize("name", ["openai", "anthropic", "google", "azure-openai", "xai", "llama3", "gemma"])
    def test_terms_that_restrict_go_with_terms_of_ones_own_only(self, name):
        assert "purposes" in why_terms_not(f"apache-2.0, {name}", "mit")
        assert "purposes" in why_terms_not(name, "cc-by-nc-4.0")
        assert why_terms_not(name, "other") == why_terms_not(name, "LicenseRef-ours") == ""

    def test_a_licence_that_is_called_unknown_takes_nothing_unknown(self):
        assert "nothing is known" in why_terms_not("unknown", "unknown")

    def test_a_llama_licence_goes_under_itself(self):
        assert why_terms_not("llama3.1", "llama3.1") == ""
        assert why_terms_not("llama3", "llama3.1") != ""

    def test_each_named_terms_has_a_title_a_sentence_and_a_link(self):
        assert len(TERMS) >= 16
        for name, terms in TERMS.items():
            assert terms.title and terms.summary.endswith("."), name
            assert terms.link.startswith("https://") or name == "none"
        assert {"restricted", "unknown", "public domain"} == {terms.kind for terms in TERMS.values()}


class TestWhatIsKnown:
    def test_of_models_and_providers(self):
        load = Catalog.load().find
        assert load(et.Backend, "embedded")().terms() == "apache-2.0"
        assert load(et.Backend, "embedded")(model="some.gguf").terms() == ""
        assert load(et.Backend, "scripted")().terms() == "none"
        assert load(et.Backend, "litellm")(model="openai/gpt-4.1-mini").terms() == "openai"
        assert load(et.Backend, "litellm")(model="anthropic/claude-x").terms() == "anthropic"
        assert load(et.Backend, "litellm")(model="openai/any", api_base="http://localhost:1/v1").terms() == ""
        compatible = load(et.Backend, "openai-compatible")
        assert compatible(base_url="https://api.openai.com/v1", model="m", api_key="env:K").terms() == "openai"
        assert compatible(base_url="http://localhost:1/v1", model="m").terms() == ""
        assert terms_of_model("Qwen/Qwen2.5-Coder-7B-Instruct") == "apache-2.0"
        assert terms_of_model("Qwen/Qwen2.5-Coder-3B-Instruct") == "" == terms_of_model("./model")
        assert terms_of_model("hf:Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF/x.gguf") == "apache-2.0"
        assert terms_of_model("meta-llama/Llama-3.1-8B-Instruct") == "llama3.1"
        assert terms_of_provider("gemini") == "google" and terms_of_provider("groq") == "" == terms_of_provider(None)
        assert terms_of_host("evil-api.openai.com.example") == ""

    def test_a_backend_that_says_nonsense_is_named(self, tmp_path):
        class Odd(et.Backend, name="odd"):
            """Says what is no text."""

            said: str = "number"

            async def complete(self, request):
                return et.Reply("x")

            def terms(self):
                return 5 if self.said == "number" else 1 / 0

        class Plugin:
            @et.hookimpl
            def register_backends(self):
                return [Odd]

        for said, why in (("number", "a text is needed"), ("nothing", "ZeroDivisionError")):
            with pytest.raises(PluginError, match=f"'odd'.*{why}"):
                go(write_seeds(tmp_path, 1), tmp_path / said, [Plugin()], backends={"evolve": {"odd": {"said": said}}})

    def test_of_seeds_and_that_a_recipe_may_say_otherwise(self, tmp_path):
        assert known_source("hf:sahil2801/CodeAlpaca-20k:train[:10%]").licence == "cc-by-nc-4.0"
        assert known_source("hf:sahil2801/CodeAlpaca-20k-mine") is None is known_source("CodeAlpaca-20k.json")
        made = recipe("hf:sahil2801/CodeAlpaca-20k")
        assert (made.seeds.licence, made.seeds.terms) == ("cc-by-nc-4.0", "openai")
        assert recipe("x", seeds={"path": "hf:tatsu-lab/alpaca", "licence": "mit"}).seeds.licence == "mit"
        moved = Recipe.load("evol-teacher", set=["seeds.path=hf:a/b"])
        assert (moved.seeds.licence, moved.seeds.terms) == ("", "")

    def test_a_name_that_is_nearly_one_is_an_error(self):
        for changes, said in (
            ({"licence": "apache-2.1"}, "Did you mean 'apache-2.0'"), ({"licence": "a b/c"}, "one licence's"),
            ({"licence": {"id": "mit", "unknown": "maybe"}}, "unknown"), ({"terms": {"evolve": "opena"}}, "'openai'"),
            ({"terms": {"evolv": "openai"}}, "no backend is called 'evolv'"),
        ):  # fmt: skip
            with pytest.raises(RecipeError, match=said):
                recipe("s.jsonl", **changes)
        assert recipe("s.jsonl", licence="Apache 2.0").licence.id == "apache-2.0"
        assert licence_id("CC BY-NC 4.0") == "cc-by-nc-4.0"

    def test_a_providers_terms_are_no_licence(self):
        train = {"model": "m", "data": {"path": "d.jsonl"}}
        for changes, said in (
            ({"licence": "openai"}, r"licence.*'openai' names OpenAI's terms, which are no licence.*{BACKEND: openai}"),
            ({"licence": {"id": "Azure OpenAI"}}, r"'azure-openai' names .*no licence"),
            ({"licence": "none"}, "'none' names no terms"),
            ({"seeds": {"path": "s.jsonl", "licence": "Anthropic"}}, r"seeds\.licence.* into `seeds\.terms`"),
            ({"train": {**train, "licence": "google"}}, r"train\.licence.* into `terms` of the recipe that made"),
            ({"train": {**train, "data": {"path": "d", "licence": "xai"}}}, r"train\.data.* a column `terms` of"),
        ):  # fmt: skip
            with pytest.raises(RecipeError, match=said):
                recipe("s.jsonl", **changes)
        for name in ("llama2", "llama3.1", "gemma", "other", "my-own"):
            assert recipe("s.jsonl", licence=name, seeds={"path": "s", "licence": name}).licence.id == name

    def test_terms_that_an_older_one_took_for_a_licence_are_refused_in_a_line(self, tmp_path, capsys):
        go(write_seeds(tmp_path, 2), tmp_path / "r", rounds=1, filters=[], licence="mit")
        with Store(tmp_path / "r" / "run.db") as store:
            store.set_meta("recipe", {**store.meta("recipe"), "licence": {"id": "openai", "unknown": "refuse"}})
        for command in (["export"], ["licences"], ["push", "--dry-run"]):
            words = [*command, str(tmp_path / "r"), *(["owner/name"] if command[0] == "push" else [])]
            assert main(words) == 2
            said = capsys.readouterr().err
            assert "'openai' names OpenAI's terms" in said and "Traceback" not in said and len(said.splitlines()) == 1

    def test_licence_and_terms_are_no_part_of_the_experiment(self):
        told = recipe("s.jsonl", licence={"id": "mit", "unknown": "allow"}, terms={"evolve": "openai"})
        assert told.experiment() == recipe("s.jsonl").experiment()
        assert Recipe.from_dict(told.to_plain(), catalog=told.catalog).to_plain() == told.to_plain()


def mixed(folder):
    """Write seeds of three licences, one of them by a model, and one seed of which nothing is known."""
    path = folder / "seeds.jsonl"
    rights = [{"licence": "MIT"}, {"license": "cc-by-nc-4.0"}, {"licence": "mit", "terms": "openai"}, {}]
    rows = [{"instruction": f"task{n} doubles {n}", "output": "x = 1"} | rights[n % 4] for n in range(12)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


TWO = {"evolve": "logged", "respond": {"logged": {"latency": 0.001}}}


def by_terms(folder):
    with Store(folder / "run.db", read_only=True) as store:
        return [(record.round, record.licence, record.terms) for record in records(store)], mix_of(store)


class TestRows:
    def test_each_carries_its_seeds_licence_and_the_terms_of_all_who_wrote_it(self, tmp_path):
        terms = {"evolve": "apache-2.0", "respond": "anthropic"}
        go(mixed(tmp_path), tmp_path / "r", rounds=1, filters=[], backends=TWO, terms=terms)
        rows, mix = by_terms(tmp_path / "r")
        assert set(rows) == {
            (0, "MIT", ""), (0, "cc-by-nc-4.0", ""), (0, "mit", "openai"), (0, "", ""),
            (1, "MIT", "anthropic, apache-2.0"), (1, "cc-by-nc-4.0", "anthropic, apache-2.0"),
            (1, "mit", "anthropic, apache-2.0, openai"), (1, "", "anthropic, apache-2.0"),
        }  # fmt: skip
        assert sum(mix.values()) == len(rows) == 24
        assert mix == {(a, b): sum((a, b) == (spelt(row[1]), row[2]) for row in rows) for a, b in mix}
        written = [json.loads(line) for line in (tmp_path / "r" / "dataset.jsonl").read_text().splitlines()]
        assert [(row["round"], row["licence"] or "", row["terms"] or "") for row in written] == rows

    def test_rows_that_come_to_the_same_terms_by_two_ways_are_counted_together(self, tmp_path):
        path = tmp_path / "s.jsonl"
        rows = [{"instruction": f"task {n}", "output": "x", "licence": "mit"} for n in range(3)]
        path.write_text("".join(json.dumps(row) + "\n" for row in [rows[0], rows[1], rows[2] | {"terms": "openai"}]))
        go(path, tmp_path / "r", rounds=1, filters=[], terms={"evolve": "openai"})
        assert by_terms(tmp_path / "r")[1] == {("mit", ""): 2, ("mit", "openai"): 4}

    def test_an_operator_of_another_backend_marks_all_that_comes_after_it(self, tmp_path):
        operators = [{"harder": {"backend": "third", "weight": 1}}, "longer"]
        backends = {"evolve": "logged", "third": {"logged": {"latency": 0.001}}}
        terms = {"evolve": "mit", "third": "google"}
        go(mixed(tmp_path), tmp_path / "r", operators=operators, filters=[], backends=backends, terms=terms)
        with Store(tmp_path / "r" / "run.db", read_only=True) as store:
            found = list(records(store))
        seen = {"mit": 0, "google, mit": 0}
        chains = {}
        for record in found:
            chain = chains.setdefault(record.lineage, [])
            chain.append(record.evolution.operator)
            if record.round and record.licence == "MIT":
                wanted = "google, mit" if "harder" in chain else "mit"
                assert record.terms == wanted
                seen[wanted] += 1
        assert min(seen.values()) > 0

    def test_a_model_of_which_nothing_is_known_is_unknown_and_a_run_of_before_too(self, tmp_path):
        go(write_seeds(tmp_path, 3), tmp_path / "r", rounds=1, filters=[], terms={"evolve": "bedrock"})
        db = sqlite3.connect(tmp_path / "r" / "run.db")
        assert {row[2] for row in by_terms(tmp_path / "r")[0]} == {"", "bedrock"}
        db.execute("DELETE FROM meta WHERE key = 'terms'")
        db.execute("DROP TABLE seed_terms")
        db.commit()
        rows, mix = by_terms(tmp_path / "r")
        assert {row[2] for row in rows} == {"", "unknown"} and mix == {("", ""): 3, ("", "unknown"): 3}

    def test_replay_fork_and_rejudge_keep_them_and_terms_may_change(self, tmp_path):
        seeds, first = mixed(tmp_path), tmp_path / "a"
        go(seeds, first, rounds=2, terms={"evolve": "openai"})
        before = by_terms(first)
        go(seeds, first, rounds=2, terms={"evolve": "openai"})
        assert by_terms(first) == before
        forked = go(seeds, tmp_path / "b", rounds=2, terms={"evolve": "openai"}, fork=first)
        assert forked.calls == 0 and by_terms(tmp_path / "b") == before
        et.rejudge(first, set=["filters=[judged]"], catalog=recipe(seeds).catalog)
        rows = by_terms(first)[0]
        assert rows and {row[2] for row in rows} == {row[2] for row in before[0]}
        go(seeds, first, rounds=2, filters=["judged"], terms={"evolve": "mit"})
        assert {row[2] for row in by_terms(first)[0] if row[0]} == {"mit", "mit, openai"}

    def test_a_dataset_that_is_seeds_again_brings_both(self, tmp_path):
        go(mixed(tmp_path), tmp_path / "a", rounds=1, filters=[], terms={"evolve": "openai"})
        go(tmp_path / "a" / "dataset.jsonl", tmp_path / "b", rounds=1, filters=[], terms={"evolve": "apache-2.0"})
        rows = by_terms(tmp_path / "b")[0]
        assert (1, "cc-by-nc-4.0", "apache-2.0, openai") in rows and (0, "cc-by-nc-4.0", "openai") in rows

    def test_a_column_of_legal_text_is_no_name(self, tmp_path):
        path = tmp_path / "s.jsonl"
        path.write_text(json.dumps({"instruction": "a task", "output": "x", "terms": "You must not, ever!\n" * 9}))
        go(path, tmp_path / "r", rounds=1, filters=[])
        assert {row[2] for row in by_terms(tmp_path / "r")[0]} == {"", "none"}


class TestFiles:
    @pytest.mark.parametrize("to", ["jsonl", "parquet"])
    def test_formats_with_a_place_keep_them(self, to, tmp_path):
        report = convert(mixed(tmp_path), tmp_path / f"a.{to}")
        again = convert(tmp_path / f"a.{to}", tmp_path / "b.jsonl")
        rows = [json.loads(line) for line in (tmp_path / "b.jsonl").read_text().splitlines()]
        assert [(row["licence"], row["terms"]) for row in rows[:4]] == [
            ("MIT", None), ("cc-by-nc-4.0", None), ("mit", "openai"), (None, None)
        ]  # fmt: skip
        assert report.unlicensed == again.unlicensed == 0
        merged = merge([tmp_path / f"a.{to}", mixed(tmp_path)], tmp_path / "m.jsonl", unique=True)
        assert merged.duplicates == 12 and (tmp_path / "m.jsonl").read_text() == (tmp_path / "b.jsonl").read_text()

    @pytest.mark.parametrize("to", ["evol", "alpaca", "chat", "sharegpt"])
    def test_formats_without_one_say_so(self, to, tmp_path):
        source = mixed(tmp_path)
        said = "licence or terms of 9 rows left out: only jsonl and parquet have a place for them"
        assert said in convert(source, tmp_path / "o", to).lines()
        assert said in merge([source], tmp_path / "o", to).lines()
        assert said in et.prune(source, ["near-duplicates"], tmp_path / "o", to).lines()[:2] or to == "chat"

    def test_rows_of_before_there_were_terms_keep_their_provenance(self, tmp_path):
        go(write_seeds(tmp_path, 3), tmp_path / "r", rounds=1, filters=[])
        old = tmp_path / "old.jsonl"
        lines = [json.loads(line) for line in (tmp_path / "r" / "dataset.jsonl").read_text().splitlines()]
        old.write_text("".join(json.dumps({k: v for k, v in row.items() if k != "terms"}) + "\n" for row in lines))
        convert(old, tmp_path / "new.jsonl")
        again = [json.loads(line) for line in (tmp_path / "new.jsonl").read_text().splitlines()]
        assert [row["round"] for row in again] == [0, 0, 0, 1, 1, 1]


@pytest.fixture
def run(tmp_path):
    """A finished run of mixed seeds, by a model of OpenAI's, that is to be published under MIT."""
    notes = []
    go(mixed(tmp_path), tmp_path / "r", rounds=1, filters=[], terms={"evolve": "openai"}, licence="mit",
       note=notes.append, operators=["add-constraints"], backends={"evolve": "scripted"})  # fmt: skip
    (tmp_path / "notes").write_text("\n".join(notes))
    return tmp_path / "r"


class TestRefusals:
    def test_export_writes_nothing_and_names_the_rows(self, run, tmp_path, capsys):
        assert main(["export", str(run), "--out", str(tmp_path / "o.json")]) == 2
        said = capsys.readouterr().err
        assert not (tmp_path / "o.json").exists()
        assert "licence mit does not allow 21 of its 24 rows" in said
        assert "3 of licence cc-by-nc-4.0, terms none: the licence: it allows no commercial use" in said
        assert "seeds.jsonl:2, seeds.jsonl:6, seeds.jsonl:10)" in said and "--despite WHY" in said
        assert "Traceback" not in said

    def test_the_run_said_so_before_it_began_and_the_card_says_it(self, run, tmp_path):
        assert "could not be published under mit" in (tmp_path / "notes").read_text()
        card = (run / "README.md").read_text()
        assert "**Not to be published as it is.**" in card and "\nlicense:" not in card
        assert "| mit | openai | 9 | the terms: it names purposes" in card

    def test_json_tells_all_of_it(self, run, capsys):
        assert main(["licences", str(run), "--json"]) == 2
        told = json.loads(capsys.readouterr().out)
        assert (told["licence"], told["allowed"], sum(each["rows"] for each in told["rows"])) == ("mit", False, 24)
        assert sum(each["rows"] for each in told["refused"]) == 21
        assert all(1 <= len(each["first"]) <= 3 and each["first"][0]["source"] for each in told["refused"])
        assert main(["licences", str(run)]) == 2
        assert main(["licences"]) == 0
        assert "cc-by-nc-4.0" in capsys.readouterr().out

    def test_despite_is_put_on_record_and_holds_for_these_rows_only(self, run, tmp_path, capsys):
        out = str(tmp_path / "o.json")
        assert main(["export", str(run), "--out", out, "--despite", "we <asked>\nthem"]) == 0
        card = (run / "README.md").read_text()
        assert "Published under `mit`, although evolteacher takes 21 of the rows" in card
        assert "we &lt;asked> them" in card and "license: mit" in card
        assert main(["export", str(run), "--out", out]) == 0
        assert "licence or terms of 21 rows left out: " in capsys.readouterr().err
        for changes in ({"licence": "cc-by-4.0", "terms": {"evolve": "openai"}}, {"terms": {"evolve": "gemma"}}):
            go(tmp_path / "seeds.jsonl", run, rounds=1, filters=[], operators=["add-constraints"],
               backends={"evolve": "scripted"}, **{"licence": "mit", **changes})  # fmt: skip
            assert main(["export", str(run), "--out", out]) == 2

    def test_a_source_that_names_a_licence_for_each_row_fills_no_screen(self, tmp_path, capsys):
        path = tmp_path / "s.jsonl"
        rows = [
            {"instruction": f"task {n}", "output": "x", "licence": f"own-{n} " + "\x1b[31m é|" * 999} for n in range(60)
        ]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        go(path, tmp_path / "r", rounds=1, filters=[], licence="mit")
        assert main(["export", str(tmp_path / "r"), "--out", str(tmp_path / "o.json")]) == 2
        said = capsys.readouterr().err
        assert len(said.splitlines()) == 23 and "\x1b" not in said and max(map(len, said.splitlines())) < 400
        assert "of 100 more kinds" in said
        card = (tmp_path / "r" / "README.md").read_text()
        assert len(card) < 20_000 and "| 40 others | 80 |" in card

    def test_a_blank_reason_is_none(self, run):
        with pytest.raises(UsageError, match="needs a reason"), cleared(run, despite=" ", catalog=Catalog.load()):
            pass
        with pytest.raises(LicenceRefused) as error, cleared(run, catalog=Catalog.load()):
            pass
        assert error.value.found["allowed"] is False

    def test_without_a_licence_nothing_is_refused_and_the_card_says_what_the_mix_is(self, tmp_path, capsys):
        go(mixed(tmp_path), tmp_path / "r", rounds=1, filters=[], terms={"evolve": "openai"})
        assert main(["export", str(tmp_path / "r"), "--format", "jsonl", "--out", str(tmp_path / "o")]) == 0
        card = (tmp_path / "r" / "README.md").read_text()
        assert "| cc-by-nc-4.0 | 6 |" in card and "| `openai` | 15 |" in card and "no legal advice" in card
        assert "Not to be published" not in card

    def test_unknown_goes_only_where_the_recipe_says_so(self, tmp_path):
        seeds = write_seeds(tmp_path, 3)
        for licence, refused in (("mit", 1), ({"id": "mit", "unknown": "allow"}, 0)):
            go(seeds, tmp_path / "r", rounds=1, filters=[], licence=licence)
            with Store(tmp_path / "r" / "run.db", read_only=True) as store:
                assert bool(clearance(store, held_licence(store)).refused) == refused

    def test_what_is_allowed_is_in_the_front_matter_as_hubs_spell_it(self, tmp_path):
        seeds = {"path": str(write_seeds(tmp_path, 3)), "licence": "gpl-3.0-or-later"}
        go("", tmp_path / "r", rounds=1, filters=[], seeds=seeds, licence="gpl-3.0", terms={"evolve": "none"})
        card = (tmp_path / "r" / "README.md").read_text()
        assert "\nlicense: gpl-3.0\n" in card and "Published under `gpl-3.0-only`" in card
        with cleared(tmp_path / "r", catalog=Catalog.load()) as (_, found):
            assert found.licence == "gpl-3.0-only" and not found.refused


class GoesOn(io.StringIO):
    """What an export says goes here, and what it says lets another process's rows settle: a run that goes on."""

    def __init__(self, folder):
        super().__init__()
        with sqlite3.connect(folder / "run.db") as db:
            self.held = db.execute("SELECT * FROM steps WHERE ord % 4 = 1").fetchall()
            db.execute("DELETE FROM steps WHERE ord % 4 = 1")
            db.execute("UPDATE lineages SET pending = 'no answer' WHERE ord % 4 = 1")
        self.folder, self.settled = folder, 0

    def settle(self):
        with sqlite3.connect(self.folder / "run.db") as db:
            for row in self.held:
                db.execute(f"INSERT INTO steps VALUES ({', '.join('?' * len(row))})", row)
        self.settled, self.held = self.settled + len(self.held), []

    def write(self, text):
        self.settle()
        return super().write(text)


class TestARunThatGoesOn:
    @pytest.fixture
    def goes_on(self, tmp_path):
        """A run under MIT whose non-commercial rows, every fourth lineage's, settle later."""
        rows = [
            {"instruction": f"task{n} doubles {n}", "output": "x", "licence": "cc-by-nc-4.0" if n % 4 == 1 else "mit"}
            for n in range(12)
        ]
        (tmp_path / "seeds.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        go(tmp_path / "seeds.jsonl", tmp_path / "r", rounds=1, filters=[], terms={"evolve": "none"}, licence="mit",
           operators=["add-constraints"], backends={"evolve": "scripted"}, note=lambda line: None)  # fmt: skip
        return GoesOn(tmp_path / "r")

    @pytest.mark.parametrize("format", ["jsonl", "rounds"])
    def test_export_writes_no_row_that_was_not_looked_at(self, goes_on, format, tmp_path, monkeypatch):
        monkeypatch.setattr("sys.stderr", goes_on)
        assert main(["export", str(goes_on.folder), "--format", format, "--out", str(tmp_path / "o")]) == 0
        assert "3 lineages not finished" in goes_on.getvalue() and goes_on.settled == 6
        files = [tmp_path / "o"] if format == "jsonl" else sorted((tmp_path / "o").iterdir())
        texts = "".join(path.read_text() for path in files)
        assert "task0 " in texts and "task1 " not in texts and "cc-by-nc" not in texts
        out = tmp_path / "again"
        assert main(["export", str(goes_on.folder), "--format", format, "--out", str(out)]) == 2 and not out.exists()

    def test_push_packs_no_row_that_was_not_looked_at(self, goes_on, tmp_path):
        draft = tmp_path / "draft"
        draft.mkdir()
        with cleared(goes_on.folder, catalog=Catalog.load()) as (store, rights):
            goes_on.settle()
            parcel = dataset_parcel(store, draft, rights, partial=True, replies=True, catalog=Catalog.load())
        assert goes_on.settled == 6 and "3 lineages" in parcel.partial and parcel.licence == "mit"
        assert len((draft / "dataset.jsonl").read_text().splitlines()) == 18
        assert "cc-by-nc" not in (draft / "README.md").read_text() + (draft / "dataset.jsonl").read_text()
        with pytest.raises(LicenceRefused), cleared(goes_on.folder, catalog=Catalog.load()):
            pass


def test_spellings_of_a_licence_are_one_line_and_one_kind_of_refused_rows(tmp_path, capsys):
    spellings = ("MIT", "mit", "MIT License", "Mine", "mine")
    rows = [{"instruction": f"task{n} doubles {n}", "output": "x", "licence": spellings[n % 5]} for n in range(10)]
    (tmp_path / "seeds.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    notes = []
    go(tmp_path / "seeds.jsonl", tmp_path / "r", rounds=1, filters=[], operators=["add-constraints"],
       backends={"evolve": "scripted"}, terms={"evolve": "none"}, licence="cc0-1.0", note=notes.append)  # fmt: skip
    assert len([note for note in notes if "6 of the seeds could not be published under cc0-1.0" in note]) == 1
    with Store(tmp_path / "r" / "run.db", read_only=True) as store:
        found = clearance(store, held_licence(store))
    assert [(group.licence, group.rows) for group in found.refused] == [
        ("mit", 6), ("mit", 6), ("Mine", 2), ("Mine", 2), ("mine", 2), ("mine", 2)
    ]  # fmt: skip
    assert [row["source"] for row in found.refused[0].first] == [f"seeds.jsonl:{n}" for n in (1, 2, 3)]
    card = (tmp_path / "r" / "README.md").read_text()
    assert "\n| mit | 12 |\n" in card and "| MIT | " not in card and "| Mine | 4 |" in card
    assert read_rows(str(tmp_path / "r"), None, Catalog.load()).licences == {"mit": 12, "Mine": 4, "mine": 4}


def test_a_repair_by_another_model_is_under_its_terms(tmp_path):
    class Mend(et.ResponseFilter, name="mend"):
        """Have the judge write the answer anew."""

        async def judge(self, record, ask):
            return et.Judgement(response="mended: " + (await ask("Mend " + record.response)).text)

    class Plugin:
        @et.hookimpl
        def register_filters(self):
            return [Mend]

    backends = {"evolve": "logged", "judge": {"logged": {"latency": 0.001}}}
    terms = {"evolve": "mit", "judge": "xai"}
    go(write_seeds(tmp_path, 4), tmp_path / "r", [Plugin()], rounds=1, filters=["mend"], backends=backends, terms=terms)
    assert {row[2] for row in by_terms(tmp_path / "r")[0] if row[0]} == {"mit, xai"}
    go(write_seeds(tmp_path, 4), tmp_path / "s", rounds=1, filters=["judged"], backends=backends, terms=terms)
    assert {row[2] for row in by_terms(tmp_path / "s")[0] if row[0]} == {"mit"}
