"""The openai-compatible backend's options: what a recipe may hold, and what never."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from ruamel.yaml import YAML

import evolteacher as et
from evolteacher import errors
from evolteacher_backends.openai_api.address import names_secret, read_address
from evolteacher_backends.openai_compatible import OpenAICompatible

KEY = "sk-proj-a1b2c3d4e5f6g7h8i9j0k1l2"
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJl"


def refused(**options):
    with pytest.raises(ValidationError) as caught:
        OpenAICompatible(**{"model": "m", **options})
    said = f"{caught.value}\n{caught.value!r}"
    assert KEY not in said
    assert TOKEN not in said
    assert "s3cret" not in said
    return said


class TestAddress:
    @pytest.mark.parametrize(
        ("written", "base"),
        [
            ("https://api.openai.com/v1", "https://api.openai.com/v1"),
            ("https://api.openai.com/v1/", "https://api.openai.com/v1"),
            ("HTTPS://API.OpenAI.com:443/v1//", "https://api.openai.com/v1"),
            (" http://localhost:8000/v1/chat/completions ", "http://localhost:8000/v1"),
            ("http://localhost:80", "http://localhost"),
            ("http://[::1]:8080/v1", "http://[::1]:8080/v1"),
            ("http://bücher.example/v1", "http://xn--bcher-kva.example/v1"),
            (
                "https://x.openai.azure.com/openai/deployments/d/chat/completions?api-version=2024-10-21",
                "https://x.openai.azure.com/openai/deployments/d?api-version=2024-10-21",
            ),
            (
                "https://gateway.ai.cloudflare.com/v1/0123456789abcdef0123456789abcdef/mine/openai",
                "https://gateway.ai.cloudflare.com/v1/0123456789abcdef0123456789abcdef/mine/openai",
            ),
            ("http://sk-hynix-lab-server01.internal/v1", "http://sk-hynix-lab-server01.internal/v1"),
        ],
    )
    def test_equal_addresses_are_written_alike(self, written, base):
        backend = OpenAICompatible(model="m", base_url=written)
        assert backend.base_url == base
        assert backend.identity() == OpenAICompatible(model="m", base_url=base).identity()

    def test_a_query_stays_behind_the_path(self):
        address = read_address("https://h.example/openai?api-version=2024-10-21")
        assert address.url("/models") == "https://h.example/openai/models?api-version=2024-10-21"

    @pytest.mark.parametrize(
        ("written", "said"),
        [
            ("localhost:8000/v1", "begins with http:// or https://"),
            ("", "begins with"),
            ("ftp://h/v1", "begins with"),
            ("file:///etc/passwd", "begins with"),
            ("http://", "no address"),
            ("http:///v1", "no address"),
            ("http://h:99999/v1", "no address"),
            ("http://h:port/v1", "no address"),
            ("http://h:0/v1", "no address"),
            ("http://h:8000/v 1", "no address"),
            ("http://h/v1\nX: y", "no address"),
            ("http://[::1/v1", "no address"),
            ("http://h%41/v1", "no address"),
            (f"http://{'a' * 64}.example/v1", "no address"),
            ("http://h/v1#part", "has no '#'"),
            ("http://user:s3cret@h/v1", "user name or a password"),
            (f"http://{KEY}@h/v1", "user name or a password"),
            ("http://u:s3cret:x@h:1:2/v1", "user name or a password"),
            (f"https://h/v1?key={KEY}", "looks like a key"),
            ("https://h/v1?key=s3cret", "looks like a key"),
            ("https://h/v1?apiKey=s3cret", "looks like a key"),
            ("https://h/v1?api_key=s3cret", "looks like a key"),
            ("https://h/v1?subscription-key=s3cret", "looks like a key"),
            ("https://h/v1?sig=s3cret", "looks like a key"),
            (f"https://h/v1?x={KEY}", "looks like a key"),
            ("https://h/v1?code=aB3dE6gH9jK2mN5pQ8sT1vW4s3cret", "looks like a key"),
            (f"https://h/{KEY}/v1", "looks like a key"),
            (f"https://h/v1/{TOKEN}", "looks like a key"),
            ("env:", "begins with"),
            ("env:1A", "begins with"),
        ],
    )
    def test_what_is_no_address(self, written, said):
        assert said in refused(base_url=written)

    @given(st.text(max_size=60))
    def test_no_text_is_too_strange(self, text):
        for written in (text, f"http://{text}", f"http://h/{text}", f"https://h?{text}"):
            try:
                address = read_address(written)
            except ValueError as error:
                assert not isinstance(error, UnicodeError)
                continue
            assert read_address(address.base) == address
            assert address.origin.isascii()

    @pytest.mark.parametrize(
        ("host", "loopback", "own"),
        [
            ("localhost", True, True),
            ("api.localhost", True, True),
            ("127.0.0.1", True, True),
            ("127.9.9.9", True, True),
            ("0.0.0.0", True, True),
            ("[::1]", True, True),
            ("10.1.2.3", False, True),
            ("192.168.0.5", False, True),
            ("[fd00::1]", False, True),
            ("gpu-box", False, True),
            ("gpu.local", False, True),
            ("vllm.default.svc.cluster.internal", False, True),
            ("8.8.8.8", False, False),
            ("api.openai.com", False, False),
            ("openrouter.ai", False, False),
            ("localhost.evil.example", False, False),
        ],
    )
    def test_whose_server_it_is(self, host, loopback, own):
        address = read_address(f"http://{host}/v1")
        assert (address.loopback, address.own) == (loopback, own)
        price = OpenAICompatible(model="m", base_url=f"http://{host}/v1").price()
        assert price == (et.FREE if loopback else None)


class TestSecrets:
    @pytest.mark.parametrize("key", [KEY, "", "env:", "env:1X", "env:A B", "ENV:X", "$OPENAI_API_KEY", "env:A\n"])
    def test_a_key_is_a_reference_or_refused_unseen(self, key):
        assert "write env:NAME" in refused(api_key=key)

    @pytest.mark.parametrize(
        "name",
        [
            "Authorization", "authorization", "X-Api-Key", "x-api-key", "apiKey", "APIKey", "api-key", "APIKEY",
            "Ocp-Apim-Subscription-Key", "X-Auth-Token", "CF-Access-Client-Secret", "cf-aig-authorization",
            "Helicone-Auth", "X-Password", "Cookie", "xGoogApiKey", "X-JWT", "X_Api_Key", "Idempotency-Key",
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("value", ["s3cret", "Bearer s3cret", "", "Bearer env:NAME", " env:NAME"])
    def test_secret_headers_are_references(self, name, value):
        assert names_secret(name)
        assert "into an environment variable" in refused(headers={name: value})
        assert OpenAICompatible(model="m", headers={name: "env:NAME"}).headers == {name: "env:NAME"}

    @pytest.mark.parametrize("value", [KEY, f"Bearer {KEY}", TOKEN, "AIzaSyA1234567890abcdefghijklmnopqrstuv"])
    def test_what_looks_like_a_key_is_refused_under_any_name(self, value):
        assert "looks like a secret" in refused(headers={"X-Title": value})
        assert "looks like a secret" in refused(body={"user": value})
        assert "looks like a secret" in refused(body={"deep": [{"er": value}]})

    @pytest.mark.parametrize(
        "headers",
        [
            {"HTTP-Referer": "https://example.org", "X-Title": "evolteacher"},
            {"OpenAI-Organization": "org-AbC123dEf456GhI789", "OpenAI-Project": "proj_1"},
            {"X-Max-Tokens": "5"},
            {"X-Monkey": "banana"},
            {"anthropic-beta": "context-1m-2025-08-07"},
        ],
    )
    def test_harmless_headers_pass(self, headers):
        assert OpenAICompatible(model="m", headers=headers).headers == headers

    @pytest.mark.parametrize(
        ("headers", "said"),
        [
            ({"Content-Type": "text/plain"}, "set by the connection itself"),
            ({"host": "h"}, "set by the connection itself"),
            ({"Content-Length": "5"}, "set by the connection itself"),
            ({"Accept-Encoding": "gzip"}, "set by the connection itself"),
            ({"Transfer-Encoding": "chunked"}, "set by the connection itself"),
            ({"X-A": "1", "x-a": "2"}, "stands there twice"),
            ({"X A": "1"}, "letters, digits and hyphens"),
            ({"": "1"}, "letters, digits and hyphens"),
            ({"X-A\r\nX-B": "1"}, "letters, digits and hyphens"),
            ({"X-A": "1\r\nX-B: 2"}, "line break"),
            ({"X-A": "日本"}, "no header can hold"),
            ({"X-A": 5}, "valid string"),
        ],
    )
    def test_headers_that_cannot_be_sent(self, headers, said):
        assert said in refused(headers=headers)

    def test_a_key_and_an_authorization_are_one_too_many(self):
        assert "the same header" in refused(api_key="env:A", headers={"authorization": "env:B"})

    @pytest.mark.parametrize("value", [None, "", "  "])
    @pytest.mark.parametrize(
        "options",
        [
            {"api_key": "env:MY_KEY"},
            {"headers": {"X-Api-Key": "env:MY_KEY"}},
            {"headers": {"X-Title": "env:MY_KEY"}},
            {"base_url": "env:MY_KEY"},
        ],
    )
    async def test_a_missing_variable_is_named(self, monkeypatch, value, options):
        monkeypatch.delenv("MY_KEY", raising=False)
        if value is not None:
            monkeypatch.setenv("MY_KEY", value)
        with pytest.raises(errors.NotAuthorised, match="MY_KEY, which is not set: export MY_KEY="):
            await OpenAICompatible(**{"model": "m", "base_url": "http://localhost:1/v1", **options}).open(et.Workload())

    async def test_openai_needs_its_usual_key(self, monkeypatch):
        monkeypatch.delenv("OPENAI_API_KEY", raising=False)
        with pytest.raises(errors.NotAuthorised, match="OPENAI_API_KEY, which is not set"):
            await OpenAICompatible(model="m").open(et.Workload())

    @pytest.mark.parametrize("value", [f"{KEY}\nX-Evil: 1", f"{KEY} {KEY}", f"{KEY}\x07", f"{KEY}é", f'"{KEY}\t"'])
    async def test_a_key_that_no_header_can_hold(self, monkeypatch, value):
        monkeypatch.setenv("MY_KEY", value)
        with pytest.raises(errors.NotAuthorised, match="copy it again") as caught:
            await OpenAICompatible(model="m", base_url="http://localhost:1/v1", api_key="env:MY_KEY").open(
                et.Workload()
            )
        assert KEY not in str(caught.value)

    @pytest.mark.parametrize("value", [f"http://u:{KEY}@h/v1", "h/v1", f"https://h/v1?key={KEY}"])
    async def test_an_address_from_the_environment_is_checked_too(self, monkeypatch, value):
        monkeypatch.setenv("MY_SERVER", value)
        backend = OpenAICompatible(model="m", base_url="env:MY_SERVER")
        with pytest.raises(errors.FatalError, match="environment variable MY_SERVER") as caught:
            await backend.open(et.Workload())
        assert KEY not in str(caught.value)
        assert backend.price() is None


class TestBody:
    @pytest.mark.parametrize(
        ("body", "said"),
        [
            ({"model": "x"}, "set by model"),
            ({"messages": []}, "set by the operators"),
            ({"temperature": 1}, "set by sampling"),
            ({"top_p": 1}, "set by sampling"),
            ({"max_tokens": 1}, "set by sampling"),
            ({"max_completion_tokens": 1}, "set by sampling"),
            ({"stop": "x"}, "set by sampling"),
            ({"seed": 1}, "set by sampling"),
            ({"stream": True}, "cannot be used"),
            ({"n": 2}, "cannot be used"),
            ({"api_key": "s3cret"}, "looks like a secret"),
            ({"extra": {"apiKey": "s3cret"}}, "looks like a secret"),
            ({"user": "env:NAME"}, "looks like a secret"),
            ({"top_k": float("nan")}, "no number"),
            ({"deep": [{"x": float("inf")}]}, "no number"),
        ],
    )
    def test_what_a_body_may_not_hold(self, body, said):
        assert said in refused(body=body)

    def test_harmless_members_pass(self):
        body = {
            "reasoning_effort": "low", "top_k": 20, "min_p": 0.05, "chat_template_kwargs": {"enable_thinking": False},
            "stop_token_ids": [1, 2], "prompt_cache_key": "mine", "provider": {"order": ["a"]},
            "logit_bias": {"50256": -100}, "response_format": {"type": "text"}, "user": None,
        }  # fmt: skip
        assert OpenAICompatible(model="m", body=body).body == body


class TestOptions:
    @pytest.mark.parametrize(
        "options",
        [
            {"model": ""},
            {"model": None},
            {"timeout": 0},
            {"timeout": float("inf")},
            {"connect_timeout": -1},
            {"patience": -1},
            {"drop": ["max_tokens"]},
            {"drop": "temperature"},
            {"max_tokens_name": "max_new_tokens"},
            {"key": KEY},
            {"body": [1]},
        ],
    )
    def test_wrong_options(self, options):
        refused(**options)

    def test_identity_is_what_the_answers_hang_on(self):
        def identity(**options):
            return OpenAICompatible(**{"model": "m", "base_url": "http://a:8000/v1", **options}).identity()

        one = identity()
        free = {"api_key": "env:A", "headers": {"X-Api-Key": "env:B"}, "timeout": 3, "connect_timeout": 3,
                "check": False, "patience": 0, "max_tokens_name": "max_completion_tokens"}  # fmt: skip
        for name, value in free.items():
            assert identity(**{name: value}) == one, name
        assert set(free) == OpenAICompatible.free_options()
        others = [
            identity(model="n"),
            identity(base_url="http://b:8000/v1"),
            identity(base_url="env:SERVER"),
            identity(body={"top_k": 5}),
            identity(drop=["top_p"]),
        ]
        assert len({one, *others}) == 6
        assert identity(drop=["top_p", "seed"]) == identity(drop=["seed", "top_p", "seed"])

    def test_an_address_in_a_variable_may_change(self, monkeypatch):
        backend = OpenAICompatible(model="m", base_url="env:SERVER")
        found = set()
        for address in ("http://a:8000/v1", "http://b:9000/v1"):
            monkeypatch.setenv("SERVER", address)
            found.add((backend.identity(), backend.account(), backend.base_url))
        assert found == {(backend.identity(), "env:SERVER", "env:SERVER")}
        monkeypatch.setenv("SERVER", "http://localhost:8000/v1")
        assert backend.price() == et.FREE

    @pytest.mark.parametrize(
        ("options", "account"),
        [
            ({}, "env:OPENAI_API_KEY"),
            ({"base_url": "https://api.openai.com/v1/"}, "env:OPENAI_API_KEY"),
            ({"api_key": "env:A"}, "env:A"),
            ({"base_url": "https://h.example/v1", "api_key": "env:A"}, "env:A"),
            ({"base_url": "https://h.example/v1", "headers": {"X-Title": "t", "api-key": "env:B"}}, "env:B"),
            ({"headers": {"Authorization": "env:B"}}, "env:B"),
            ({"base_url": "http://localhost:8000/v1"}, "http://localhost:8000"),
            ({"base_url": "https://h.example/v1"}, "https://h.example"),
            ({"base_url": "http://api.openai.com/v1"}, "http://api.openai.com"),
        ],
    )
    def test_account(self, options, account):
        assert OpenAICompatible(model="m", **options).account() == account

    async def test_asking_before_opening(self):
        with pytest.raises(errors.FatalError, match="not open"):
            await OpenAICompatible(model="m").complete(et.Request((et.Message("user", "x"),)))

    def test_a_recipe_takes_it_by_its_name(self):
        cls = et.Catalog.load().find(et.Backend, "openai-compatible")
        assert cls is OpenAICompatible
        made = cls.model_validate_json(json.dumps({"model": "m", "drop": ["top_p"], "timeout": 5}), strict=True)
        assert (made.drop, made.timeout) == (("top_p",), 5.0)

    def test_choosing_it_costs_no_import_of_aiohttp(self):
        code = (
            "import sys; import evolteacher_backends.openai_compatible as o; b = o.OpenAICompatible(model='m')\n"
            "b.identity(), b.account(), b.price(); print('aiohttp' in sys.modules)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "False"


class TestPage:
    """docs/openai-compatible.md."""

    PAGE = (Path(__file__).parents[2] / "docs" / "openai-compatible.md").read_text(encoding="utf-8")

    def test_it_lists_every_option_with_its_default(self):
        rows = dict(re.findall(r"^\| `(\w+)` \| (.+?) \| .+ \|$", self.PAGE, re.MULTILINE))
        fields = OpenAICompatible.model_fields
        assert list(rows) == list(fields)
        for name, info in fields.items():
            if info.is_required():
                assert rows[name] == "required"
            elif info.default is None:
                assert rows[name] == "none"
            else:
                default = OpenAICompatible(model="m").options()[name]
                shown = default if isinstance(default, str) else json.dumps(default)
                assert rows[name] == f"`{shown}`"

    def test_it_says_what_is_part_of_the_experiment(self):
        kept = ", ".join(
            f"`{name}`" for name in OpenAICompatible.model_fields if name not in OpenAICompatible.free_options()
        )
        first, _, last = kept.rpartition(", ")
        assert f"{first} and {last} are part of the experiment." in self.PAGE

    def test_its_example_is_valid(self):
        (block,) = re.findall(r"```yaml\n(.*?)```", self.PAGE, re.DOTALL)
        backends = YAML(typ="safe").load(block)["backends"]
        made = [OpenAICompatible(**options["openai-compatible"]) for options in backends.values()]
        assert [backend.account() for backend in made] == [
            "http://localhost:8000", "env:OPENAI_API_KEY", "env:OPENROUTER_API_KEY",
        ]  # fmt: skip
