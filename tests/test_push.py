"""Push to a loopback hub: what goes, what never does, what is refused, and that it reads as seeds again."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import dataclass

import pytest
from experiment import go, write_seeds
from loopback.hub import Hub, sha256

from evolteacher.catalog import Catalog
from evolteacher.errors import NoSuchModel, RunError, UsageError
from evolteacher.publishing.hub import Target
from evolteacher.publishing.modelparcel import model_parcel
from evolteacher.publishing.parcel import dataset_parcel, front_matter
from evolteacher.publishing.permission import cleared
from evolteacher.yamlfile import parse

pytest.importorskip("huggingface_hub")
pytest.importorskip("datasets")

FILES = [".evolteacher.json", "README.md", "dataset.json", "dataset.jsonl", "dataset.parquet", "recipe.lock.yaml"]
SMALL = {
    "rounds": 1, "filters": [], "operators": ["add-constraints"], "backends": {"evolve": "scripted"},
    "export": ["evol", "rounds", "jsonl", "parquet"],
}  # fmt: skip


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    def refused(self, code, *words):
        assert self.code == code, self.err + self.out
        for word in words:
            assert word in self.err
        assert "Traceback" not in self.err and "is a bug in" not in self.err


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run of six seeds."""
    folder = tmp_path_factory.mktemp("run")
    seeds = {"path": str(write_seeds(folder, 6)), "licence": "cc-by-4.0"}
    go("", folder / "r", note=lambda line: None, seeds=seeds, licence="cc-by-4.0", **SMALL)
    return folder / "r"


@pytest.fixture
def hub():
    with Hub() as hub:
        yield hub
        assert hub.odd == []


@pytest.fixture
def evolteacher(hub, tmp_path):
    """Run a command in a process of its own, whose hub is the loopback one."""

    def command(*words, **changes):
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
        env = {**clean, **hub.environment(tmp_path / "home"), **changes}
        env = {name: value for name, value in env.items() if value is not None}
        line = [sys.executable, "-m", "evolteacher", *map(str, words)]
        done = subprocess.run(line, env=env, capture_output=True, text=True, cwd=tmp_path, timeout=120, check=False)
        assert hub.token not in done.stdout + done.stderr
        return Done(done.returncode, done.stdout, done.stderr)

    return command


class TestADataset:
    def test_a_dry_run_says_exactly_what_would_go_without_network_or_token(self, evolteacher, run, hub):
        away = {"HF_TOKEN": None, "HF_ENDPOINT": "http://127.0.0.1:9"}
        said = evolteacher("push", run, "owner/data", "--dry-run", "--json", **away)
        assert said.code == 0, said.err
        told = json.loads(said.out)
        assert (told["repository"], told["visibility"], told["licence"]) == ("owner/data", "private", "cc-by-4.0")
        evolteacher("push", run, "owner/data")
        pushed = hub.repos["owner/data"].files()
        assert {file["name"]: file["bytes"] for file in told["files"]} == {n: len(d) for n, d in pushed.items()}
        plain = evolteacher("push", run, "owner/data", "--dry-run", "--public", **away)
        assert "public where it is new" in plain.out and "6 files" in plain.out and "stays here: " in plain.err
        assert "run.db" in plain.err and "round-1.json" in plain.err
        for env, why in ((away, "HF_TOKEN is not set"), ({"HF_ENDPOINT": "http://127.0.0.1:9"}, "cannot be reached")):
            said = evolteacher("push", run, "owner/data", "--dry-run", "--json", **env)
            assert said.code == 0 and "what is on the hub already is not known: " in said.err and why in said.err
            assert json.loads(said.out)["on_hub_known"] is False

    def test_without_the_hubs_client_a_dry_run_shows_the_rest_and_a_push_names_the_extra(
        self, evolteacher, run, tmp_path
    ):
        (tmp_path / "without").mkdir()
        (tmp_path / "without" / "huggingface_hub.py").write_text("raise ImportError('not installed')\n")
        said = evolteacher("push", run, "owner/data", "--dry-run", PYTHONPATH=str(tmp_path / "without"))
        assert said.code == 0 and "nothing was sent" in said.out
        assert "is not known" in said.err and "evolteacher[hub]" in said.err
        said = evolteacher("push", run, "owner/data", PYTHONPATH=str(tmp_path / "without"))
        assert said.code == 2 and "evolteacher[hub]" in said.err

    def test_a_password_in_the_hubs_address_is_shown_nowhere(self, evolteacher, run):
        mirror = {"HF_ENDPOINT": "http://me:hunter2222@127.0.0.1:9"}
        for words in (["--dry-run"], ["--dry-run", "--json"], []):
            done = evolteacher("push", run, "owner/data", *words, **mirror)
            assert "hunter2222" not in done.out + done.err and "127.0.0.1:9" in done.out + done.err
            assert done.code == (0 if words else 1)

    def test_it_goes_private_once_and_only_what_changed_goes_again(self, evolteacher, run, hub, tmp_path):
        first = evolteacher("push", run, "owner/data")
        assert first.code == 0 and f"{hub.url}/datasets/owner/data: 6 files pushed (private" in first.out
        repo = hub.repos["owner/data"]
        assert repo.private and repo.kind == "dataset" and sorted(repo.files()) == FILES
        for name in ("dataset.json", "dataset.jsonl", "dataset.parquet", "README.md"):
            assert repo.files()[name] == (run / name).read_bytes(), name
        assert repo.large == {"dataset.parquet"} and hub.count("PUT", "/lfs/") == 1
        assert not any(hub.token.encode() in data for data in repo.files().values())
        again = evolteacher("push", run, "owner/data", "--json")
        told = json.loads(again.out)
        assert not told["changed"] and told["private"] and len(repo.commits) == 1 == hub.count("PUT", "/lfs/")
        seeds = {"path": str(run.parent / "seeds.jsonl"), "licence": "cc-by-4.0"}
        go("", run, note=lambda line: None, seeds=seeds, **SMALL, description="Said later.", licence="cc-by-4.0")
        evolteacher("push", run, "owner/data", "--message", "Words")
        changed = [".evolteacher.json", "README.md", "recipe.lock.yaml"]
        assert repo.commits[1] == {"branch": "main", "message": "Words", "files": changed}
        assert hub.count("PUT", "/lfs/") == 1

    def test_what_went_reads_as_seeds_and_gives_the_same_rows(self, evolteacher, run, hub, tmp_path):
        evolteacher("push", run, "owner/data")
        assert evolteacher("convert", "hf:owner/data", "--to", "jsonl", "--out", "again.jsonl").code == 0
        assert (tmp_path / "again.jsonl").read_bytes() == (run / "dataset.jsonl").read_bytes()
        recipe = tmp_path / "again.yaml"
        recipe.write_text(
            "evolteacher: 1\nname: again\nseeds: hf:owner/data\nrounds: 1\noperators: [add-constraints]\n"
            "backends: {evolve: scripted}\nlicence: cc-by-4.0\n"
        )
        assert evolteacher("run", recipe, "--out", "again").code == 0
        rows = [json.loads(line) for line in (tmp_path / "again" / "dataset.jsonl").read_text().splitlines()]
        first = [json.loads(line) for line in (run / "dataset.jsonl").read_text().splitlines()]
        texts = [(row["instruction"], row["output"]) for row in rows if row["round"] == 0]
        assert texts == [(row["instruction"], row["output"]) for row in first]
        assert {row["licence"] for row in rows} == {"cc-by-4.0"} and rows[0]["source"] == "hf:owner/data:train: row 1"
        assert [row["terms"] for row in rows[:12]] == [row["terms"] for row in first]

    def test_nothing_that_lies_in_the_folder_by_accident_goes(self, evolteacher, hub, tmp_path):
        go(write_seeds(tmp_path, 4), tmp_path / "r", note=lambda line: None, **SMALL)
        whole = (tmp_path / "r" / "dataset.jsonl").read_bytes()
        for name in (".env", "id_rsa", "notes.json", "dataset.old.jsonl", ".git-credentials"):
            (tmp_path / "r" / name).write_text("hunter2")
        (tmp_path / "r" / "dataset.jsonl").write_text("hunter2")
        (tmp_path / "r" / "README.md").unlink()
        (tmp_path / "r" / "README.md").symlink_to(tmp_path / "r" / ".env")
        assert evolteacher("push", tmp_path / "r", "owner/data").code == 0
        files = hub.repos["owner/data"].files()
        assert sorted(files) == FILES and files["dataset.jsonl"] == whole
        assert not any(b"hunter2" in data or b"SQLite format" in data for data in files.values())
        assert not any(str(tmp_path).encode() in data for data in files.values())

    def test_replies_go_only_when_asked_for(self, evolteacher, run, hub):
        assert evolteacher("push", run, "owner/data", "--replies", "--branch", "all/of-it").code == 0
        repo = hub.repos["owner/data"]
        assert repo.files("main") == {}
        lines = repo.files("all/of-it")["replies.jsonl"].splitlines()
        with sqlite3.connect(run / "run.db") as db:
            assert len(lines) == db.execute("SELECT count(*) FROM replies").fetchone()[0] == 12
        assert {"prompt", "reply", "model", "step"} <= json.loads(lines[0]).keys()
        assert evolteacher("push", run, "owner/data", "--revision", "all/of-it").code == 0

    def test_a_key_in_a_prompt_stops_replies_only(self, evolteacher, run, hub, tmp_path):
        shutil.copytree(run, tmp_path / "r")
        with sqlite3.connect(tmp_path / "r" / "run.db") as db:
            db.execute("UPDATE replies SET prompt = 'say k-0123456789abcdef' WHERE rowid = 5")
        key = {"OTHER_API_KEY": "k-0123456789abcdef"}
        said = evolteacher("push", tmp_path / "r", "owner/data", "--replies", **key)
        said.refused(1, "replies.jsonl, line ", "the value of OTHER_API_KEY")
        assert hub.calls == []
        assert evolteacher("push", tmp_path / "r", "owner/data", **key).code == 0

    def test_a_run_that_an_error_stopped_says_by_what_and_what_to_do(self, evolteacher, hub, tmp_path):
        seeds = {"path": str(write_seeds(tmp_path, 3))}
        wrong = {"evolve": {"scripted": {"rules": [{"error": "no-such-model", "reply": "gpu7.corp has no model 'x'"}]}}}
        with pytest.raises(NoSuchModel):
            go("", tmp_path / "r", note=lambda line: None, seeds=seeds, **{**SMALL, "backends": wrong})
        said = evolteacher("push", tmp_path / "r", "owner/data")
        said.refused(1, "3 lineages are not finished", "The run stopped: gpu7.corp has no model 'x'. Mend that first.")
        assert evolteacher("push", tmp_path / "r", "owner/data", "--partial").code == 0
        card = hub.repos["owner/data"].files()["README.md"].decode()
        assert "> **Partial.** 3 lineages are not finished (interrupted). The rows" in card, "errors may name hosts"
        go("", tmp_path / "r", note=lambda line: None, seeds=seeds, **SMALL)
        with sqlite3.connect(tmp_path / "r" / "run.db") as db:
            db.execute("UPDATE lineages SET pending = 'no answer' WHERE ord = 1")
        said = evolteacher("push", tmp_path / "r", "owner/data")
        said.refused(1, "1 lineage is not finished (no answer). Run the same command again")

    def test_an_unfinished_run_is_refused_and_goes_with_partial(self, evolteacher, hub, tmp_path):
        go(write_seeds(tmp_path, 4), tmp_path / "r", note=lambda line: None, **SMALL)
        with sqlite3.connect(tmp_path / "r" / "run.db") as db:
            db.execute("UPDATE lineages SET pending = 'no answer' WHERE ord = 1")
        evolteacher("push", tmp_path / "r", "owner/data").refused(1, "1 lineage is not finished", "--partial")
        assert hub.calls == []
        done = evolteacher("push", tmp_path / "r", "owner/data", "--partial")
        assert done.code == 0 and "this is not all of it" in done.err
        assert b"> **Partial.** 1 lineage is" in hub.repos["owner/data"].files()["README.md"]
        evolteacher("push", tmp_path, "owner/data").refused(2, "no run")
        with sqlite3.connect(tmp_path / "r" / "run.db") as db:
            db.execute("DELETE FROM steps")
        evolteacher("push", tmp_path / "r", "owner/data", "--partial").refused(2, "no row")

    def test_the_licence_is_looked_at_first(self, evolteacher, hub, tmp_path):
        seeds = {"path": str(write_seeds(tmp_path, 3)), "licence": "cc-by-nc-4.0"}
        go("", tmp_path / "r", note=lambda line: None, seeds=seeds, licence="mit", **SMALL)
        for more in ((), ("--dry-run",)):
            evolteacher("push", tmp_path / "r", "owner/data", *more).refused(2, "6 of its 6 rows", "seeds.jsonl:1")
        told = json.loads(evolteacher("push", tmp_path / "r", "owner/data", "--json").out)
        assert told["refused"]["refused"][0]["rows"] == 3 and hub.calls == []
        before = (tmp_path / "r" / "README.md").read_bytes()
        assert evolteacher("push", tmp_path / "r", "owner/data", "--dry-run", "--despite", "why").code == 0
        assert (tmp_path / "r" / "README.md").read_bytes() == before
        assert evolteacher("push", tmp_path / "r", "owner/data", "--despite", "asked the authors").code == 0
        assert b"The reason given: asked the authors" in hub.repos["owner/data"].files()["README.md"]

    @pytest.mark.parametrize("said_before", ["", "asked somebody else, who had to think about it"])
    def test_a_dry_run_with_a_reason_packs_what_the_push_sends(self, evolteacher, hub, tmp_path, said_before):
        seeds = {"path": str(write_seeds(tmp_path, 3)), "licence": "cc-by-nc-4.0"}
        folder, draft, why = tmp_path / "r", tmp_path / "draft", " asked\tthe <authors> "
        go("", folder, note=lambda line: None, seeds=seeds, licence="mit", **SMALL)
        if said_before:
            assert evolteacher("export", folder, "--despite", said_before).code == 0
        draft.mkdir()
        with cleared(folder, despite=why, catalog=Catalog.load(), dry_run=True) as (store, rights):
            dataset_parcel(store, draft, rights, partial=False, replies=False, catalog=Catalog.load())
        dry = evolteacher("push", folder, "owner/data", "--dry-run", "--json", "--despite", why)
        assert evolteacher("push", folder, "owner/data", "--despite", why).code == 0
        sent = hub.repos["owner/data"].files()
        assert sent == {path.name: path.read_bytes() for path in draft.iterdir()} and len(sent) == 6
        told = json.loads(dry.out)
        assert {f["name"]: f["bytes"] for f in told["files"]} == {n: len(d) for n, d in sent.items()}
        assert told["licence"] == "mit" and b"license: mit" in sent["README.md"]

    @pytest.mark.parametrize("export", [["jsonl"], ["parquet"]])
    def test_a_key_in_a_row_stops_it(self, evolteacher, hub, tmp_path, export):
        path = tmp_path / "s.jsonl"
        path.write_text(json.dumps({"instruction": "print the key", "output": 'print("k-0123456789abcdef")'}) + "\n")
        go(path, tmp_path / "r", note=lambda line: None, **{**SMALL, "export": export})
        for variable in ("OTHER_API_KEY", "HF_TOKEN", "API_KEY_2", "DB_PASS"):
            said = evolteacher("push", tmp_path / "r", "owner/data", **{variable: "k-0123456789abcdef"})
            said.refused(1, f"the value of {variable} stands there", "nothing was sent")
            assert "k-0123" not in said.err + said.out
        (tmp_path / ".env").write_text("MY_SECRET=k-0123456789abcdef\n")
        evolteacher("push", tmp_path / "r", "owner/data").refused(1, "MY_SECRET")
        assert hub.calls == []

    def test_a_private_key_in_a_row_stops_it(self, evolteacher, hub, tmp_path):
        lines = [
            "-----BEGIN PRIVATE KEY-----",
            *(f"{n}Abc0123456789" * 4 for n in range(3)),
            "-----END PRIVATE KEY-----",
        ]
        path = tmp_path / "s.jsonl"
        rows = [{"instruction": "print the key", "output": "".join(f"    # {line}\n" for line in lines)}]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        go(path, tmp_path / "r", note=lambda line: None, **SMALL)
        said = evolteacher("push", tmp_path / "r", "owner/data", DEPLOY_KEY="\n".join(lines))
        said.refused(1, "the value of DEPLOY_KEY stands there", "nothing was sent")
        assert "0123456789" not in said.err + said.out and hub.calls == []


class TestWhatIsThere:
    """Files that a repository holds already: named, and taken away only where an earlier push made them."""

    def test_stale_files_of_an_earlier_push_go_and_others_stay(self, evolteacher, hub, run):
        repo = hub.serve("dataset", "owner/data", {".gitattributes": b"*.parquet lfs", "notes.md": b"mine"})
        assert evolteacher("push", run, "owner/data", "--replies").code == 0
        assert "replies.jsonl" in repo.files() and "notes.md" in repo.files()
        hub.serve("dataset", "owner/data", {"data/x.jsonl": b"mine"})
        dry = evolteacher("push", run, "owner/data", "--dry-run", "--json")
        there = {"replaced": [], "not_ours": [], "removed": ["replies.jsonl"], "stays": ["data/x.jsonl", "notes.md"]}
        told = json.loads(dry.out)
        assert told["on_hub"] == there and told["on_hub_known"] and "replies.jsonl" in repo.files()
        dry = evolteacher("push", run, "owner/data", "--dry-run")
        assert "would be removed since an earlier push made it and this one does not: replies.jsonl" in dry.err
        assert "would stay: data/x.jsonl, notes.md" in dry.err and len(repo.commits) == 1
        done = evolteacher("push", run, "owner/data")
        assert "is removed since an earlier push" in done.err and "stays: data/x.jsonl, notes.md" in done.err
        assert sorted(repo.files()) == sorted([*FILES, ".gitattributes", "data/x.jsonl", "notes.md"])
        assert repo.commits[1]["files"] == [".evolteacher.json", "replies.jsonl"]
        again = json.loads(evolteacher("push", run, "owner/data", "--json").out)
        assert not again["changed"] and again["on_hub"]["removed"] == [] and len(repo.commits) == 2

    def test_a_file_that_was_changed_on_the_hub_is_not_taken_away(self, evolteacher, hub, run):
        evolteacher("push", run, "owner/data", "--replies")
        repo = hub.serve("dataset", "owner/data", {"replies.jsonl": b"mine now", "README.md": b"mine too"})
        dry = evolteacher("push", run, "owner/data", "--dry-run")
        assert "would stay: replies.jsonl" in dry.err and "removed" not in dry.err
        assert "would be replaced although no push made it as it is there: README.md" in dry.err
        done = evolteacher("push", run, "owner/data")
        assert "is replaced although no push made it as it is there: README.md" in done.err
        assert repo.files()["replies.jsonl"] == b"mine now" and repo.files()["README.md"] != b"mine too"
        assert evolteacher("push", run, "owner/data").code == 0 and repo.files()["replies.jsonl"] == b"mine now"

    @pytest.mark.parametrize(
        "held",
        [
            b"no JSON", b"[]", b'{"pushed by evolteacher": ["mine.md"]}', b'{"files": {}}', b"[" * 100_000, b"\xff",
            b'{"pushed by evolteacher": {"mine.md": null, "x": 5, "../README.md": {"git": "x"}, "": {}}}',
            b'{"pushed by evolteacher": {"mine.md": {"git": null, "sha256": null}}}',
        ],
    )  # fmt: skip
    def test_a_list_that_is_none_takes_nothing_away(self, evolteacher, hub, run, held):
        hub.serve("dataset", "owner/data", {".evolteacher.json": held, "mine.md": b"mine"})
        done = evolteacher("push", run, "owner/data")
        assert done.code == 0 and "stays: mine.md" in done.err, done.err
        assert sorted(hub.repos["owner/data"].files()) == sorted([*FILES, "mine.md"])

    def test_what_changes_between_the_look_and_the_commit_is_not_taken_away(self, evolteacher, hub, run):
        evolteacher("push", run, "owner/data", "--replies")
        repo = hub.repos["owner/data"]
        hub.moves = lambda: hub.serve("dataset", "owner/data", {"replies.jsonl": b"mine now", "new.md": b"x"})
        evolteacher("push", run, "owner/data").refused(1, "(HTTP 412)", "nothing was committed")
        assert repo.files()["replies.jsonl"] == b"mine now" and len(repo.commits) == 1

    def test_of_a_branch_that_is_new_and_a_public_one(self, evolteacher, hub, run):
        evolteacher("push", run, "owner/data", "--replies")
        done = evolteacher("push", run, "owner/data", "--branch", "more/x", "--dry-run", "--json")
        assert json.loads(done.out)["on_hub"]["removed"] == ["replies.jsonl"]
        assert evolteacher("push", run, "owner/data", "--branch", "more/x").code == 0
        repo = hub.repos["owner/data"]
        assert sorted(repo.files("more/x")) == FILES and "replies.jsonl" in repo.files("main")
        assert json.loads(evolteacher("push", run, "owner/new", "--dry-run", "--json").out)["on_hub"] is None
        hub.serve("dataset", "owner/open", {"x": b"x"}, private=False)
        assert "would be refused without --public" in evolteacher("push", run, "owner/open", "--dry-run").err

    def test_of_a_model_weights_of_before(self, evolteacher, hub, tmp_path):
        folder = training(tmp_path / "t")
        (folder / "model" / "model.safetensors").rename(folder / "model" / "model-1-of-1.safetensors")
        assert evolteacher("push", "--model", folder, "owner/tuned").code == 0
        (folder / "model" / "model-1-of-1.safetensors").rename(folder / "model" / "model.safetensors")
        repo = hub.repos["owner/tuned"]
        repo.large.add("model-1-of-1.safetensors")
        done = evolteacher("push", "--model", folder, "owner/tuned")
        assert "model-1-of-1.safetensors" in done.err and "is removed" in done.err
        assert [name for name in repo.files() if name.endswith("safetensors")] == ["model.safetensors"]

    def test_of_a_model_large_files_that_were_changed_there_are_not_taken_away(self, evolteacher, hub, tmp_path):
        folder = training(tmp_path / "t")
        (folder / "model" / "model.safetensors").rename(folder / "model" / "model-1-of-1.safetensors")
        assert evolteacher("push", "--model", folder, "owner/tuned").code == 0
        (folder / "model" / "model-1-of-1.safetensors").rename(folder / "model" / "model.safetensors")
        repo = hub.serve("model", "owner/tuned", {"model-1-of-1.safetensors": b"somebody's own weights"})
        repo.large.add("model-1-of-1.safetensors")
        done = evolteacher("push", "--model", folder, "owner/tuned")
        assert done.code == 0 and "stays: model-1-of-1.safetensors" in done.err and "removed" not in done.err
        assert repo.files()["model-1-of-1.safetensors"] == b"somebody's own weights"


class TestRefusals:
    def test_without_a_token_in_the_environment(self, evolteacher, run, hub, tmp_path):
        (tmp_path / ".env").write_text(f"HF_TOKEN={hub.token}\n")
        (tmp_path / "home").mkdir()
        (tmp_path / "home" / "token").write_text(hub.token)
        evolteacher("push", run, "owner/data", HF_TOKEN=None).refused(1, "HF_TOKEN is not set", "/settings/tokens")
        assert hub.calls == []

    def test_a_wrong_token_and_somebody_elses_name(self, evolteacher, run, hub):
        said = evolteacher("push", run, "owner/data", HF_TOKEN="hf_wrong_and_secret")
        said.refused(1, "does not let this HF_TOKEN write there (HTTP 401)")
        assert "hf_wrong" not in said.err
        for odd in ("hf_wrong_and\nsecret", "hf_wröng_and_secret"):
            said = evolteacher("push", run, "owner/data", HF_TOKEN=odd)
            said.refused(1, "HF_TOKEN is no token")
            assert "secret" not in said.err
        evolteacher("push", run, "stranger/data").refused(1, "(HTTP 403)", "write access to 'stranger'")
        assert hub.repos == {}

    def test_a_public_repository_is_not_written_to_by_accident(self, evolteacher, run, hub):
        hub.serve("dataset", "owner/open", {"x": b"x"}, private=False)
        evolteacher("push", run, "owner/open").refused(2, "is there and public", "--public")
        assert hub.repos["owner/open"].files() == {"x": b"x"}
        assert evolteacher("push", run, "owner/open", "--public").code == 0
        hub.open_only = True
        evolteacher("push", run, "owner/opened").refused(1, "made it public although it was to be private")
        assert hub.repos["owner/opened"].commits == [] and hub.repos["owner/opened"].files() == {}
        hub.open_only = False
        hub.serve("dataset", "owner/shut", {})
        kept = evolteacher("push", run, "owner/shut", "--public")
        assert kept.code == 0 and "stays private" in kept.err and hub.repos["owner/shut"].private
        assert evolteacher("push", run, "owner/new", "--public").code == 0 and not hub.repos["owner/new"].private

    @pytest.mark.parametrize(
        ("part", "status", "said"),
        [
            ("/commit/", 500, "(HTTP 500); push again"), ("/commit/", 413, "(HTTP 413); nothing was committed"),
            ("/api/datasets/owner/data", 429, "slower pace"), ("/preupload/", 404, "no such owner, repository or bran"),
            ("/objects/batch", 403, "(HTTP 403)"), ("PUT /lfs/", 400, "(HTTP 400)"),
        ],
    )  # fmt: skip
    def test_what_the_hub_refuses_is_told_in_a_line(self, evolteacher, run, hub, part, status, said):
        hub.fail[part] = (status, 1)
        evolteacher("push", run, "owner/data").refused(1, said)
        assert not hub.repos or hub.repos["owner/data"].commits == []
        assert evolteacher("push", run, "owner/data").code == 0
        assert sorted(hub.repos["owner/data"].files()) == FILES
        assert hub.count("PUT", "/lfs/") == (2 if part == "PUT /lfs/" else 1)  # what had arrived is not sent again

    def test_no_network_and_offline(self, evolteacher, run):
        evolteacher("push", run, "owner/data", HF_ENDPOINT="http://127.0.0.1:9").refused(1, "cannot be reached")
        evolteacher("push", run, "owner/data", HF_HUB_OFFLINE="1").refused(1, "HF_HUB_OFFLINE is set")

    @pytest.mark.parametrize(
        "name", ["data", "a/b/c", "../x", "a/..", "a/b.git", "-a/b", "a/b--c", "aä/b", "a/b\n", ""]
    )
    def test_a_name_that_no_repository_can_have(self, name):
        with pytest.raises(UsageError, match="names no repository"):
            Target(name)

    @pytest.mark.parametrize("branch", ["-x", "a..b", "a b", "~"])
    def test_a_branch_that_there_cannot_be(self, branch):
        with pytest.raises(UsageError, match="no branch"):
            Target("a/b", branch=branch)

    def test_words_and_options_that_do_not_go_together(self, evolteacher, run):
        evolteacher("push", "owner/data").refused(2, "evolteacher push RUN owner/name")
        evolteacher("push", "--model", run, run, "owner/data").refused(2, "--model CHECKPOINT owner/name")
        evolteacher("push", run, "owner/data", "--scores", "x.json").refused(2, "--scores goes with --model")
        evolteacher("push", "--model", run, "owner/data", "--replies").refused(2, "go with a run")


class TestSeedsFromTheHub:
    CARD = (
        "---\nconfigs:\n- config_name: easy\n  data_files:\n  - {split: train, path: easy.jsonl}\n"
        "  - {split: test, path: test.jsonl}\n- config_name: hard\n  data_files: hard/*.jsonl\n---\n# x\n"
    )

    @staticmethod
    def rows(*texts):
        return "".join(json.dumps({"instruction": text, "output": "x"}) + "\n" for text in texts).encode()

    CASES = (
        ("hf:owner/set", {"subset": "easy"}, ["one", "two"]),
        ("hf:owner/set:test", {"subset": "easy"}, ["three"]),
        ("hf:owner/set", {"subset": "easy", "split": "test"}, ["three"]),
        ("hf:owner/set", {"subset": "hard"}, ["four", "five"]),
        ("hf:owner/set", {"subset": "easy", "revision": "old"}, ["before"]),
        ("hf:owner/plain", {}, ["six"]),
        ("hf:owner/set/hard", {"subset": "easy"}, ["four", "five"]),
        ("hf:owner/set/easy:train@old", {"revision": "main"}, ["before"]),
        ("hf:owner/set/easy@old", {}, ["before"]),
        ("hf:owner/set", {}, "'easy', 'hard'"),
        ("hf:owner/set/hard/a.jsonl", {}, "in full hf:owner/name/subset:split@revision"),
        ("hf:owner/set:train[1:]", {"subset": "easy"}, "write hf:owner/name"),
        ("hf:owner/set", {"subset": "easy", "revision": "no-such"}, "cannot be read"),
        ("hf:owner/set", {"subset": "no-such"}, "cannot be read"),
        ("hf:owner/set:no-such", {"subset": "easy"}, "cannot be read"),
        ("hf:owner/no-such", {}, "cannot be read"),
    )
    READ = """
import json, sys
import evolteacher as et
found = []
for source, options in json.load(sys.stdin):
    reader = et.Catalog.load().find(et.SeedReader, "hf")(**options)
    try:
        found.append([row.data["instruction"] for row in reader.rows(source)])
    except et.errors.SeedError as error:
        found.append(str(error))
print(json.dumps(found))
"""

    def test_configurations_splits_and_revisions(self, hub, tmp_path):
        files = {
            "README.md": self.CARD.encode(), "easy.jsonl": self.rows("one", "two"), "test.jsonl": self.rows("three"),
            "hard/a.jsonl": self.rows("four"), "hard/b.jsonl": self.rows("five"),
        }  # fmt: skip
        hub.serve("dataset", "owner/set", files)
        hub.serve("dataset", "owner/set", {**files, "easy.jsonl": self.rows("before")}, branch="old")
        hub.serve("dataset", "owner/plain", {"data/train.csv": b"instruction,output\nsix,x\n"})
        cases = json.dumps([(source, options) for source, options, _ in self.CASES])
        done = subprocess.run(
            [sys.executable, "-c", self.READ], input=cases, env={**os.environ, **hub.environment(tmp_path / "home")},
            capture_output=True, text=True, cwd=tmp_path, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert len(self.CASES) == 16 and hub.token not in done.stdout
        for (source, options, wanted), found in zip(self.CASES, json.loads(done.stdout), strict=True):
            ok = found == wanted if isinstance(wanted, list) else isinstance(found, str) and wanted in found
            assert ok, (source, options, found)


SCORES = {
    "model": {"transformers": {"model": "/"}}, "benchmark": {"humaneval": {"path": None}}, "problems": 164,
    "attempted": 164, "pass": {"1": {"score": 0.5, "low": 0.42, "high": 0.58}},
}  # fmt: skip
CARD = "---\nlicense: apache-2.0\nbase_model: base\n---\n\n# tuned\n\nTuned.\n"


def training(folder, *, finished=True):
    """Write what a training leaves, but for real weights."""
    model = folder / "model"
    model.mkdir(parents=True)
    state = {"experiment": {}, "finished": finished, "results": {}, "seconds": 1.0}
    (folder / "training.json").write_text(json.dumps(state))
    for name, text in {
        "config.json": "{}", "model.safetensors": "w" * 1000, "tokenizer.json": "{}", "README.md": CARD,
        "training_args.bin": "pickle", "optimizer.pt": "x", ".env": "hunter2", "prompt_form.json": "{}", "x.py": "x",
    }.items():  # fmt: skip
        (model / name).write_text(text)
    return folder


class TestAModel:
    def test_its_files_card_and_scores_go_and_nothing_else(self, evolteacher, hub, tmp_path):
        folder = training(tmp_path / "t")
        (folder / "evaluation.json").write_text(json.dumps({**SCORES, "model": {"x": {"model": str(folder)}}}))
        done = evolteacher("push", "--model", folder, "owner/tuned")
        assert done.code == 0, done.err
        assert f"{hub.url}/owner/tuned: 7 files pushed" in done.out
        repo = hub.repos["owner/tuned"]
        assert repo.kind == "model" and repo.private and repo.large == {"model.safetensors"}
        going = [
            "README.md",
            "config.json",
            "evaluation.json",
            "model.safetensors",
            "prompt_form.json",
            "tokenizer.json",
        ]
        assert sorted(repo.files()) == [".evolteacher.json", *going]
        assert sha256(b"w" * 1000) in hub.objects
        card = repo.files()["README.md"].decode()
        assert card.startswith("---\nlicense: apache-2.0\n") and "Tuned." in card
        assert "| humaneval | pass@1 | 50.0% | 42.0% to 58.0% | 164 of 164 |" in card
        assert str(tmp_path).encode() not in repo.files()["evaluation.json"]
        assert "training_args.bin" in evolteacher("push", "--model", folder, "owner/tuned", "--dry-run").err
        same = json.loads(evolteacher("push", "--model", folder / "model", "owner/tuned", "--json").out)
        assert not same["changed"] and len(repo.commits) == 1

    def test_scores_that_are_given_and_such_as_are_none(self, tmp_path):
        folder, draft = training(tmp_path / "t"), tmp_path / "draft"
        draft.mkdir()
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "evaluation.json").write_text(json.dumps(SCORES))
        given = [tmp_path / "a" / "evaluation.json", tmp_path / "b"]
        names = [file.name for file in model_parcel(folder, draft, scores=given).files]
        assert [name for name in names if name.startswith("eval")] == ["evaluation-b.json", "evaluation.json"]
        for wrong in ("{}", "[]", "no", json.dumps({**SCORES, "pass": {"1": {}}}), json.dumps({**SCORES, "pass": {}})):
            (tmp_path / "wrong.json").write_text(wrong)
            with pytest.raises(UsageError, match=r"wrong\.json"):
                model_parcel(folder, draft, scores=[tmp_path / "wrong.json"])

    def test_scores_that_the_stage_wrote_are_found_but_not_the_base_models(self, tmp_path):
        folder, draft = training(tmp_path / "run" / "train"), tmp_path / "draft"
        draft.mkdir()
        for model, score in (("base", 0.25), ("tuned", 0.5)):
            place = tmp_path / "run" / "evaluate" / f"humaneval-{model}"
            place.mkdir(parents=True)
            told = {**SCORES, "pass": {"1": {**SCORES["pass"]["1"], "score": score}}}
            (place / "evaluation.json").write_text(json.dumps(told))
        model_parcel(folder, draft)
        card = (draft / "README.md").read_text()
        assert "| 50.0% |" in card and "25.0%" not in card

    def test_its_configuration_goes_without_the_places_of_this_machine(self, tmp_path):
        folder, draft = training(tmp_path / "t"), tmp_path / "draft"
        draft.mkdir()
        (tmp_path / "base").mkdir()
        held = {"base_model_name_or_path": str(tmp_path / "base"), "r": 8}
        (folder / "model" / "adapter_config.json").write_text(json.dumps(held))
        files = {file.name: file.path for file in model_parcel(folder, draft).files}
        assert json.loads(files["adapter_config.json"].read_text()) == {"base_model_name_or_path": "base", "r": 8}
        assert files["config.json"] == folder / "model" / "config.json"
        (folder / "model" / "adapter_config.json").write_text("{")
        with pytest.raises(UsageError, match=r"adapter_config\.json: cannot be read"):
            model_parcel(folder, draft)

    def test_an_unfinished_training_goes_with_partial_only(self, tmp_path):
        folder, draft = training(tmp_path / "t", finished=False), tmp_path / "draft"
        draft.mkdir()
        last = folder / "checkpoints" / "checkpoint-20"
        (folder / "model").rename(tmp_path / "m")
        with pytest.raises(RunError, match="not finished"):
            model_parcel(folder, draft)
        with pytest.raises(UsageError, match="no checkpoint yet"):
            model_parcel(folder, draft, partial=True)
        last.parent.mkdir()
        (tmp_path / "m").rename(last)
        (last / "trainer_state.json").write_text("{}")
        with pytest.raises(RunError, match="middle of a training"):
            model_parcel(last, draft)
        for named in (folder, last):
            parcel = model_parcel(named, draft, partial=True)
            assert parcel.partial and "model.safetensors" in [file.name for file in parcel.files]
            assert "trainer_state.json" in parcel.stays and "optimizer.pt" in parcel.stays

    def test_a_link_out_of_the_folder_stays_and_a_model_without_weights_is_none(self, tmp_path):
        folder, draft = training(tmp_path / "t"), tmp_path / "draft"
        draft.mkdir()
        (tmp_path / "secret").write_text("hunter2")
        (folder / "model" / "vocab.json").symlink_to(tmp_path / "secret")
        (folder / "model" / "merges.txt").symlink_to(folder / "model" / ".env")
        (folder / "model" / "README.md").unlink()
        (folder / "model" / "README.md").symlink_to(tmp_path / "secret")
        assert {"vocab.json", "merges.txt"} <= set(model_parcel(folder, draft).stays)
        assert "hunter2" not in (draft / "README.md").read_text()
        (folder / "model" / "README.md").unlink()
        (folder / "model" / "README.md").write_bytes(b"\xff")
        with pytest.raises(UsageError, match=r"README\.md: the card cannot be read"):
            model_parcel(folder, draft)
        (folder / "model" / "README.md").unlink()
        (folder / "model" / "model.safetensors").unlink()
        with pytest.raises(UsageError, match="no weights"):
            model_parcel(folder, draft)
        (folder / "model" / "config.json").unlink()
        for wrong in (folder / "model", tmp_path / "no-such", tmp_path / "secret"):
            with pytest.raises(UsageError, match="--model"):
                model_parcel(wrong, draft)

    def test_a_merged_model_has_the_trainings_card_and_any_other_a_short_one(self, tmp_path):
        folder, draft = training(tmp_path / "t"), tmp_path / "draft"
        draft.mkdir()
        merged = folder / "merged"
        merged.mkdir()
        for name in ("config.json", "model.safetensors"):
            (merged / name).write_text("{}")
        (folder / "model" / "README.md").write_text(CARD.replace("license:", "library_name: peft\nlicense:"))
        model_parcel(merged, draft)
        front, rest = front_matter((draft / "README.md").read_text())
        assert front["library_name"] == "transformers" and "Tuned." in rest
        merged.rename(tmp_path / "alone")
        assert model_parcel(tmp_path / "alone", draft).licence == ""
        assert "nothing is on record of how it was made" in (draft / "README.md").read_text()

    def test_a_key_in_its_card_stops_it(self, tmp_path, monkeypatch):
        folder, draft = training(tmp_path / "t"), tmp_path / "draft"
        draft.mkdir()
        monkeypatch.setenv("SOME_TOKEN", "tok-0123456789abcdef")
        (folder / "model" / "README.md").write_text(CARD + "tok-0123456789abcdef\n")
        with pytest.raises(RunError, match="the value of SOME_TOKEN stands there"):
            model_parcel(folder, draft)


def test_front_matter_that_is_none():
    for card in ("", "# x", "---\nx", "---\n[a\n---\nx", "---\n- a\n---\nx"):
        assert front_matter(card) == ({}, card)
    assert front_matter("---\na: 1\n---\nx") == ({"a": 1}, "x")


def test_the_locked_recipe_that_goes_is_the_same_experiment(evolteacher, run, hub):
    from evolteacher.recipe import Recipe

    evolteacher("push", run, "owner/data")
    held = parse(hub.repos["owner/data"].files()["recipe.lock.yaml"].decode(), "lock").data
    assert held["seeds"]["path"] == "seeds.jsonl"
    there = parse((run / "recipe.lock.yaml").read_text(), "lock").data
    assert Recipe.from_dict(held).experiment() == Recipe.from_dict(there).experiment()
