"""The LiteLLM backend's options, account and prices: none of this needs LiteLLM, but for the comparisons of prices."""

import asyncio
import importlib.util
import subprocess
import sys

import pytest
from pydantic import ValidationError

import evolteacher as et
from evolteacher import errors
from evolteacher_backends.litellm import LiteLLM, prices

installed = pytest.mark.skipif(
    importlib.util.find_spec("litellm") is None, reason="the extra 'litellm' is not installed"
)
KEY = "sk-a-very-secret-key-1234567890"


class TestOptions:
    @pytest.mark.parametrize("key", [KEY, "", "env:", "env:1X", "env:A B", "ENV:X", "$OPENAI_API_KEY", "env:A\n"])
    def test_a_key_is_a_reference_or_refused_unseen(self, key):
        with pytest.raises(ValidationError, match="write env:NAME") as caught:
            LiteLLM(model="openai/x", api_key=key)
        assert KEY not in str(caught.value)
        assert KEY not in repr(caught.value)

    @pytest.mark.parametrize(
        "extra",
        [
            {"aws_secret_access_key": "abc"},
            {"apiKey": "abc"},
            {"APIKey": "abc"},
            {"clientSecret": "abc"},
            {"extra_headers": {"Authorization": "abc"}},
            {"extra_headers": {"X-Api-Key": "abc"}},
            {"extra_headers": {"x-access-token": "abc"}},
            {"extra_headers": {"X-Anything": KEY}},
            {"extra_headers": {"X-Anything": "Bearer abcdefgh"}},
            {"a": [{"session_token": "abc"}]},
            {"vertex_credentials": KEY},
        ],
    )
    def test_a_secret_in_extra_is_refused_unseen(self, extra):
        with pytest.raises(ValidationError, match="looks like a secret") as caught:
            LiteLLM(model="openai/x", extra=extra)
        assert KEY not in str(caught.value)

    @pytest.mark.parametrize(
        ("extra", "said"),
        [
            ({"model": "y"}, "set by model"),
            ({"temperature": 1}, "sampling of the recipe"),
            ({"num_retries": 3}, "limits of the recipe"),
            ({"api_key": "env:X"}, "set by api_key"),
            ({"stream": True}, "cannot be used"),
            ({"fallbacks": ["z"]}, "cannot be used"),
            ({"mock_response": "z"}, "cannot be used"),
            ({"extra_body": {"proxy": f"https://u:{KEY}@h/"}}, "must not hold a password"),
        ],
    )
    def test_what_extra_may_not_hold(self, extra, said):
        with pytest.raises(ValidationError, match=said) as caught:
            LiteLLM(model="openai/x", extra=extra)
        assert KEY not in str(caught.value)

    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"model": ""},
            {"timeout": 0},
            {"mode": "batches"},
            {"api_base": "localhost"},
            {"api_base": f"http://u:{KEY}@h/v1"},
            {"api_base": f"http://h/v1?key={KEY}"},
            {"api_base": "http://h/v1?a=b&apiKey=c"},
            {"api_base": f"http://h/v1?x={KEY}"},
            {"api_base": f"http://h/v1#token={KEY}"},
            {"key": KEY},
        ],
    )
    def test_wrong_options(self, options):
        with pytest.raises(ValidationError) as caught:
            LiteLLM(**{"model": "openai/x", **options} if options else {})
        assert KEY not in str(caught.value)

    def test_harmless_extras_pass(self):
        extra = {
            "max_completion_tokens": 3,
            "reasoning_effort": "low",
            "prompt_cache_key": "seeds",
            "extra_headers": {"X-Key": "env:X", "X-Title": "evolteacher"},
            "extra_body": {"keywords": "a", "site": "https://example.org/a?b=c"},
            "tokens": "a",
        }
        backend = LiteLLM(model="openai/x", extra=extra, api_base="https://h/v1?api-version=2024-10-21")
        assert backend.extra == extra

    def test_identity_knows_neither_key_nor_way(self):
        one = LiteLLM(model="openai/x", api_key="env:A", timeout=3, mode="batch", direct=False)
        assert one.identity() == LiteLLM(model="openai/x", api_key="env:B").identity()
        assert one.identity() != LiteLLM(model="openai/y").identity()
        assert one.identity() != LiteLLM(model="openai/x", extra={"reasoning_effort": "low"}).identity()

    @pytest.mark.parametrize(
        ("options", "account"),
        [
            ({"model": "openai/x", "api_key": "env:OPENAI_API_KEY"}, "env:OPENAI_API_KEY"),
            ({"model": "openai/x", "api_key": "env:MINE", "api_base": "https://h:1/v1"}, "env:MINE"),
            ({"model": "openai/x"}, "env:OPENAI_API_KEY"),
            ({"model": "anthropic/x"}, "env:ANTHROPIC_API_KEY"),
            ({"model": "hosted_vllm/x", "api_base": "http://127.0.0.1:8000/v1"}, "127.0.0.1:8000"),
        ],
    )
    def test_what_limits_hang_on(self, options, account):
        assert LiteLLM(**options).account() == account

    def test_batches_only_on_request(self):
        assert not LiteLLM(model="openai/x").in_batches()
        assert LiteLLM(model="openai/x", mode="batch").in_batches()

    @pytest.mark.parametrize("value", [None, "", "  "])
    @pytest.mark.parametrize("options", [{"api_key": "env:MY_KEY"}, {"extra": {"a": {"b": ["env:MY_KEY"]}}}])
    async def test_a_missing_variable_is_named(self, monkeypatch, tmp_path, value, options):
        monkeypatch.chdir(tmp_path)
        monkeypatch.delenv("MY_KEY", raising=False)
        if value is not None:
            monkeypatch.setenv("MY_KEY", value)
        with pytest.raises(errors.NotAuthorised, match=r"backend 'litellm'.*MY_KEY, which is not set: export MY_KEY="):
            await LiteLLM(model="openai/x", **options).open(et.Workload())

    async def test_asking_what_is_not_open(self):
        backend = LiteLLM(model="openai/x")
        with pytest.raises(errors.FatalError, match="not open"):
            await backend.complete(et.Request(()))
        for call in (backend.submit({}, "t"), backend.find("t"), backend.collect("b")):
            with pytest.raises(errors.FatalError, match="not open"):
                await call
        await backend.close()

    def test_without_litellm_one_line_says_what_to_install(self):
        """In a process of its own, where importing it fails as if it were not there; its price is then unknown."""
        code = (
            "import sys, asyncio; sys.modules['litellm'] = None\n"
            "import evolteacher as et; from evolteacher import errors\n"
            "from evolteacher_backends.litellm import LiteLLM\n"
            "assert LiteLLM(model='openai/gpt-4.1-mini').price() is None\n"
            "assert LiteLLM(model='gpt-4.1-mini').account() == 'env:GPT_4.1_MINI_API_KEY'\n"
            "try: asyncio.run(LiteLLM(model='openai/x').open(et.Workload()))\n"
            "except errors.MissingExtra as error: print(error)\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "backend 'litellm' needs the extra 'litellm': pip install 'evolteacher[litellm]'"


@installed
class TestPrices:
    @pytest.mark.parametrize(
        ("model", "price", "batch"),
        [
            ("openai/gpt-4.1-mini", (0.4, 1.6), (0.2, 0.8)),
            ("gpt-4.1-mini", (0.4, 1.6), (0.2, 0.8)),
            ("azure/gpt-4.1-mini", (0.4, 1.6), (0.2, 0.8)),
            ("openai/gpt-3.5-turbo", (0.5, 1.5), (0.25, 0.75)),  # the map has no price of its own for batches
            ("openai/no-such-model", None, None),
            ("hosted_vllm/gpt-4.1-mini", None, None),  # another provider's price is none
            ("openai/dall-e-3", None, None),  # sold by the picture
            ("nonsense", None, None),
        ],
    )
    def test_what_the_map_says(self, model, price, batch):
        for mode, expected in (("interactive", price), ("batch", batch)):
            found = LiteLLM(model=model, mode=mode).price()
            assert (found and (found.input, found.output)) == expected

    def test_asking_does_not_import_litellm(self):
        code = (
            "import sys\n"
            "from evolteacher_backends.litellm import LiteLLM\n"
            "assert LiteLLM(model='openai/gpt-4.1-mini').price() is not None\n"
            "print([name for name in sys.modules if name == 'litellm' or name.startswith('litellm.')])\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[]"

    def test_bare_names_belong_to_the_maps_provider(self):
        assert LiteLLM(model="gpt-4.1-mini").account() == "env:OPENAI_API_KEY"

    def test_it_is_what_litellm_would_reckon(self):
        """For every chat model of the well-known providers, by both of its names."""
        from evolteacher_backends.litellm.package import import_litellm

        litellm = import_litellm()
        providers = {"openai", "azure", "anthropic", "gemini", "groq", "mistral", "openrouter", "xai", "together_ai"}
        seen = 0
        for name, entry in prices.price_map().items():
            provider = entry.get("litellm_provider")
            if entry.get("mode") != "chat" or provider not in providers or prices.known_price(name) is None:
                continue
            full = name if name.startswith(f"{provider}/") else f"{provider}/{name}"
            found = prices.known_price(full)
            try:
                theirs = litellm.cost_per_token(model=full, prompt_tokens=1000, completion_tokens=1000)
            except Exception:  # an entry that LiteLLM itself cannot find
                continue
            assert (found.input, found.output) == pytest.approx([cost * 1000 for cost in theirs]), full
            seen += 1
        assert seen > 300

    @pytest.mark.parametrize(
        "content", ["", "[]", "{", '{"openai/x": 1}', '{"openai/x": {"litellm_provider": "openai"}}']
    )
    def test_a_broken_map_is_an_unknown_price(self, tmp_path, monkeypatch, content):
        (tmp_path / "litellm").mkdir()
        (tmp_path / "litellm" / "__init__.py").write_text("raise AssertionError('executed')")
        (tmp_path / "litellm" / prices.PRICE_MAP).write_text(content)
        code = (
            f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
            "from evolteacher_backends.litellm import LiteLLM\n"
            "print(LiteLLM(model='openai/x').price())\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "None"


@installed
class TestKeys:
    """Where keys come from, and that they are told to the core, which hides them."""

    async def _secrets(self, **options):
        backend = LiteLLM(**options)
        await backend.open(et.Workload())
        found = backend.secrets()
        await backend.close()
        return found

    async def test_of_the_environment(self, monkeypatch, tmp_path):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("MINE", KEY)
        monkeypatch.setenv("TENANT", "tenant-42")
        monkeypatch.setenv("OPENAI_ADMIN_KEY", "sk-admin-1234567890")
        monkeypatch.setenv("MONKEY_BUSINESS", "ordinary")
        headers = {"extra_headers": {"X-Tenant": "env:TENANT"}}
        found = await self._secrets(model="openai/x", api_key="env:MINE", extra=headers)
        assert {KEY, "tenant-42", "sk-admin-1234567890"} <= set(found)
        assert "ordinary" not in found

    @pytest.mark.parametrize("model", ["openai/x", "anthropic/claude-sonnet-4-5", "groq/x", "gemini/gemini-2.5-flash"])
    async def test_of_a_dotenv_file(self, monkeypatch, tmp_path, model):
        """The provider's usual variable, which LiteLLM would look for in the process's environment alone."""
        name = f"{model.partition('/')[0].upper()}_API_KEY"
        monkeypatch.chdir(tmp_path)
        monkeypatch.delenv(name, raising=False)
        (tmp_path / ".env").write_text(f"{name}={KEY}\n")
        backend = LiteLLM(model=model)
        await backend.open(et.Workload())
        assert KEY in backend.secrets()
        sent = await backend._open.composer.compose({"messages": [{"role": "user", "content": "x"}]})
        assert KEY in f"{sent.url} {sent.headers}"
        await backend.close()

    def test_importing_litellm_leaves_the_environment_as_it_was(self, tmp_path):
        """By itself LiteLLM looks for a ``.env`` and puts all of it into the process's environment."""
        (tmp_path / ".env").write_text("FOUND_BY_LITELLM=yes\n")
        code = (
            "import os\n"
            "from evolteacher_backends.litellm.package import import_litellm\n"
            "import_litellm(); print(os.environ.get('FOUND_BY_LITELLM'))\n"
        )
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "None"

    async def test_without_a_key_opening_says_so(self, monkeypatch, tmp_path):
        monkeypatch.chdir(tmp_path)
        monkeypatch.delenv("OPENAI_API_KEY", raising=False)
        with pytest.raises(errors.NotAuthorised, match="OPENAI_API_KEY"):
            await LiteLLM(model="openai/gpt-4.1-mini").open(et.Workload())

    @pytest.mark.parametrize("model", ["bare-model", "nosuchprovider/model"])
    async def test_an_unknown_provider(self, model):
        with pytest.raises(errors.NoSuchModel, match="write provider/model"):
            await LiteLLM(model=model).open(et.Workload())

    async def test_an_interrupted_opening_leaves_nothing(self, monkeypatch):
        monkeypatch.setenv("MINE", KEY)
        backend = LiteLLM(model="openai/x", api_key="env:MINE")
        for pause in (0, 0.001, 0.005, 0.02):
            task = asyncio.create_task(backend.open(et.Workload()))
            await asyncio.sleep(pause)
            task.cancel()
            await asyncio.wait({task})
            await backend.close()
        await backend.open(et.Workload())
        await backend.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}
