"""What others see of a recipe: no folder of this machine, and no host of a private network."""

import json

import pytest
from experiment import catalog, go, write_seeds

import evolteacher as et
from evolteacher.catalog import Catalog
from evolteacher.cli import main
from evolteacher.published import HIDDEN_HOST, is_private, public
from evolteacher.publishing.parcel import dataset_parcel
from evolteacher.publishing.permission import cleared
from evolteacher.recipe import Recipe

PRIVATE = (
    "localhost", "LOCALHOST.", "127.0.0.1", "127.1", "2130706433", "0x7f000001", "10.1.2.3", "172.16.0.9",
    "192.168.1.2", "169.254.169.254", "100.64.3.4", "0.0.0.0", "[::1]", "[fd00::12]", "[fe80::1%25eth0]",
    "[::ffff:10.0.0.1]", "gpu7", "gpu7.local", "llm.corp.internal", "a.b.lan", "x.cluster.local", "vllm.models.svc",
    "nas.home.arpa", "10\u30020\u30020\u30021", "gpu7.Internal",
)  # fmt: skip
KNOWN = (
    "api.openai.com",
    "8.8.8.8",
    "[2606:4700::1111]",
    "[::ffff:8.8.8.8]",
    "api\u3002openai\u3002com",
    "local.example.com",
    "internal.io",
    "mylocal.de",
    "a.locale.com",
)


class TestHosts:
    @pytest.mark.parametrize("host", PRIVATE)
    def test_private_ones_are_hidden_with_their_port_and_user(self, host):
        assert is_private(host.replace("%25", "%"))
        for url in (f"http://{host}:8000/v1", f"HTTPS://{host}/v1", f"http://me:hunter2@{host}:8000/v1"):
            shown = public({"base_url": url})["base_url"]
            assert shown.split("://")[1] == f"{HIDDEN_HOST}/v1" and shown[:4] == url[:4]
            assert public([{"anything": [url]}]) == [{"anything": [shown]}]
        assert public({"api_base": f"{host}:8000/v1"}) == {"api_base": f"{HIDDEN_HOST}/v1"}
        assert public({"headers": {"Host": host}}) == {"headers": {"Host": HIDDEN_HOST}}

    @pytest.mark.parametrize("host", KNOWN)
    def test_those_that_everybody_knows_stay(self, host):
        kept = {"base_url": f"https://{host}:8443/v1", "endpoint": f"{host}/v1"}
        assert not is_private(host) and public(kept) == kept

    @pytest.mark.parametrize(
        "value",
        [
            "socks5://gpu7:1080", "redis://me:hunter2@gpu7.lan:6379/0", "postgresql+psycopg://gpu7/x",
            "http://gpu7:8000/v1,http://gpu7.lan:8000/v1", "https://api.openai.com/v1, http://gpu7/v1",
            "http://api.openai.com/v1;http://gpu7",
        ],
    )  # fmt: skip
    def test_of_any_scheme_and_of_several_in_one_text(self, value):
        shown = public({"anything": value})["anything"]
        assert "gpu7" not in shown and "hunter2" not in shown and HIDDEN_HOST in shown
        assert public({"base_urls": ["gpu7:8000", "https://api.openai.com/v1"], "hosts": ["gpu7"]}) == {
            "base_urls": [HIDDEN_HOST, "https://api.openai.com/v1"], "hosts": [HIDDEN_HOST],
        }  # fmt: skip

    def test_a_name_and_password_are_hidden_at_a_host_that_everybody_knows_too(self):
        for url in ("https://me:hunter2@api.example.com:8443/v1", "https://hunter2@api.example.com:8443/v1"):
            assert public({"base_url": url}) == {"base_url": "https://api.example.com:8443/v1"}
        assert public({"endpoint": "me:hunter2@api.example.com/v1"}) == {"endpoint": "api.example.com/v1"}

    def test_what_is_no_address_stays(self):
        kept = {
            "base_url": "env:MY_URL", "model": "gpu7", "path": "hf:owner/name", "prompt": "GET http://localhost:1/x\nnow",
            "description": "It asks http://localhost:1/v1 for it", "n": 3, "none": None, "host_count": "4", "a": "s3://b/c",
            "bucket": "gs://data", "url": "https://api.openai.com/a,b", "hub": "hf://datasets/owner/name",
        }  # fmt: skip
        assert public(kept) == kept
        assert public({"url": "http://[::1/v1"}) == {"url": f"http://{HIDDEN_HOST}"}


def test_a_folder_of_this_machine_is_hidden_also_where_it_is_gone(tmp_path):
    gone = tmp_path / "models" / "tuned"
    assert public({"model": str(gone)}) == {"model": "tuned"}
    assert public({"data": f"file://{gone}"}) == {"data": "tuned"}
    kept = {"path": "/v1/chat", "word": "/", "two": f"{gone} and more words", "name": "owner/name"}
    assert public(kept) == kept


class Local(et.Backend, name="local"):
    """A model on this machine, which answers under the name that the recipe gives."""

    model: str

    async def complete(self, request):
        return et.Reply("Write a function that does something else, and explain it.", model=self.model)


class LocalPlugin:
    """Brings it."""

    @et.hookimpl
    def register_backends(self):
        return [Local]


def test_a_models_folder_is_in_no_card_and_no_push_but_in_the_runs_own_rows(tmp_path):
    write_seeds(tmp_path, 2)
    folder = tmp_path / "models" / "tuned"
    go(tmp_path / "seeds.jsonl", tmp_path / "r", [LocalPlugin()], rounds=1, filters=[], operators=["add-constraints"],
       backends={"evolve": {"local": {"model": str(folder)}}})  # fmt: skip
    assert str(folder) in (tmp_path / "r" / "dataset.jsonl").read_text()
    assert str(tmp_path) not in (tmp_path / "r" / "README.md").read_text()
    assert "| tuned |" in (tmp_path / "r" / "README.md").read_text()
    assert main(["report", str(tmp_path / "r"), "--out", str(tmp_path / "page.html")]) == 0
    page = (tmp_path / "page.html").read_text()
    assert str(tmp_path) not in page and "tuned" in page
    draft = tmp_path / "draft"
    draft.mkdir()
    with cleared(tmp_path / "r", catalog=Catalog.load()) as (store, rights):
        dataset_parcel(store, draft, rights, partial=False, replies=True, catalog=catalog(LocalPlugin()))
    for path in draft.iterdir():
        assert str(tmp_path).encode() not in path.read_bytes(), path.name
    rows = [json.loads(line) for line in (draft / "dataset.jsonl").read_text().splitlines()]
    assert [(row["model"], row["evolve_model"]) for row in rows] == [(None, None)] * 2 + [("tuned", "tuned")] * 2


def test_a_private_host_is_in_no_card_no_report_and_no_push_but_in_the_runs_own_recipe(tmp_path, capsys):
    write_seeds(tmp_path, 2)
    server = {"openai-compatible": {"base_url": "http://gpu7.corp.internal:8123/v1", "model": "m", "api_key": None}}
    recipe = {
        "evolteacher": 1, "name": "hosts", "seeds": {"path": str(tmp_path / "seeds.jsonl")}, "rounds": 1,
        "operators": ["add-constraints"], "filters": [], "backends": {"evolve": "scripted", "judge": server},
    }  # fmt: skip
    (tmp_path / "r.yaml").write_text(json.dumps(recipe))
    run = tmp_path / "r"
    assert main(["run", str(tmp_path / "r.yaml"), "--out", str(run), "--quiet"]) == 0, capsys.readouterr().err
    assert main(["report", str(run), "--out", str(tmp_path / "report.html")]) == 0
    assert "gpu7.corp.internal:8123" in (run / "recipe.lock.yaml").read_text()
    page = (tmp_path / "report.html").read_text()
    draft = tmp_path / "draft"
    draft.mkdir()
    with cleared(run, catalog=Catalog.load()) as (store, rights):
        dataset_parcel(store, draft, rights, partial=False, replies=True, catalog=Catalog.load())
    packed = b"".join(path.read_bytes() for path in draft.iterdir())
    assert b"gpu7" not in packed and b"8123" not in packed
    locked = Recipe.load(draft / "recipe.lock.yaml", catalog=Catalog.load())
    assert locked.backends["judge"].component.base_url == f"http://{HIDDEN_HOST}/v1"
    for text in ((run / "README.md").read_text(), page):
        assert "gpu7" not in text and "8123" not in text and f"http://{HIDDEN_HOST}/v1" in text
        assert str(tmp_path) not in text
