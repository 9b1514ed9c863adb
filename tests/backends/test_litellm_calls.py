"""The LiteLLM backend's single calls, through both of its doors, against a provider that is a process of its own."""

import asyncio
import importlib.util
import json
import os
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from loopback import Provider

import evolteacher as et
from evolteacher import errors
from evolteacher_backends.litellm import LiteLLM, doors
from evolteacher_backends.litellm.template import AWKWARD

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("litellm") is None, reason="the extra 'litellm' is not installed"
)
KEY = "sk-a-very-secret-key-1234567890"
OPENAI = "openai/gpt-4.1-mini"
ANSWER = "Write a function task_{digest} for {words}. {last}"
BOTH = pytest.mark.parametrize("direct", [True, False], ids=["direct", "public"])


@pytest.fixture(scope="module")
def provider():
    with Provider(key=KEY, keep=50, tell=True, requests_per_minute=100_000, answer=ANSWER) as provider:
        yield provider


@pytest.fixture
async def opened(provider, monkeypatch):
    """Return a backend of these options, open; all are closed at the end, and nothing of them is left."""
    monkeypatch.setenv("SOME_VARIABLE", KEY)
    provider.reset()
    backends = []

    async def opened(**options):
        given = {"model": OPENAI, "api_key": "env:SOME_VARIABLE", "api_base": provider.url, "timeout": 30, **options}
        backend = LiteLLM(**given)
        backends.append(backend)
        await backend.open(et.Workload())
        return backend

    yield opened
    for backend in backends:
        await backend.close()
        await backend.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}


def request(text, sampling=None, system=None):
    messages = [et.Message("system", system)] if system is not None else []
    return et.Request((*messages, et.Message("user", text)), sampling or et.Sampling(max_tokens=99))


def door(backend):
    return backend._open.door.name


class TestRequests:
    @BOTH
    async def test_what_is_sent_and_what_comes_back(self, opened, provider, direct):
        backend = await opened(direct=direct)
        assert door(backend) == ("direct" if direct else "public")
        started = time.perf_counter()
        reply = await backend.complete(request("hello", system="Be brief."))
        assert 0 < reply.latency < time.perf_counter() - started
        (sent,) = provider.log()
        assert json.loads(sent["body"]) == {
            "model": "gpt-4.1-mini",
            "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hello"}],
            "temperature": 1.0,
            "top_p": 0.9,
            "max_tokens": 99,
        }
        assert sent["headers"]["authorization"] == f"Bearer {KEY}"
        assert "hello" in reply.text and reply.finish_reason == "stop" and reply.model == "gpt-4.1-mini"
        assert reply.usage.prompt_tokens > 0 and reply.usage.completion_tokens > 0
        assert reply.cost is None
        assert reply.limits == et.RateLimits(requests_per_minute=100_000.0)

    async def test_both_doors_send_the_same_bytes_of_meaning(self, opened, provider, monkeypatch):
        """Options, sampling and awkward texts; apart from the words, a server cannot tell the doors apart."""
        monkeypatch.setenv("TENANT", "tenant-42")
        cases = [
            ({}, request("hello")),
            ({}, request(AWKWARD, system=f"{AWKWARD} 2")),
            ({}, request("x", et.Sampling(stop=("a", "b"), seed=7, temperature=0))),
            ({"extra": {"extra_headers": {"X-Tenant": "env:TENANT"}, "presence_penalty": 0.5}}, request("x")),
            ({"extra": {"extra_body": {"top_k": 5}}}, request("x")),
            ({"model": "openai/o3-mini", "extra": {"drop_params": True}}, request("x")),
            ({"model": "openai/gpt-5-mini", "extra": {"drop_params": True, "reasoning_effort": "low"}}, request("x")),
            ({"model": "hosted_vllm/some/model"}, request("x", system=AWKWARD)),
            ({"model": "openrouter/a/b"}, request("x")),
            ({"model": "together_ai/a/b"}, request("x")),
            ({"model": "deepseek/deepseek-chat"}, request("x")),
            ({"model": "mistral/mistral-small-latest"}, request("x", et.Sampling(seed=3))),
        ]
        doors = set()
        for options, asked in cases:
            seen, replies = [], []
            for direct in (True, False):
                backend = await opened(direct=direct, **options)
                doors.add((options.get("model", OPENAI).partition("/")[0], door(backend)))
                provider.reset()
                replies.append(replace(await backend.complete(asked), latency=0.0))
                (sent,) = provider.log()
                plain = {
                    name: value for name, value in sent["headers"].items() if name in ("authorization", "x-tenant")
                }
                seen.append((sent["method"], sent["path"], json.loads(sent["body"]), plain))
            assert seen[0] == seen[1], options
            assert replies[0] == replies[1], options
        assert len(cases) == 12
        assert {name for name, way in doors if way == "direct"} == {name for name, _ in doors}

    @pytest.mark.parametrize("text", ["", " ", "\n\t"])
    async def test_blank_texts_go_through_litellm(self, opened, provider, text):
        backend = await opened()
        reply = await backend.complete(request(text))
        assert reply.text and json.loads(provider.log()[0]["body"])["messages"][0]["content"] == text
        assert backend._open.door._templates == {}

    async def test_lone_surrogates_are_sent_as_json_can(self, opened, provider):
        reply = await (await opened()).complete(request("a\ud800b"))
        assert reply.text
        assert json.loads(provider.log()[0]["body"])["messages"][0]["content"] == "a\ud800b"

    @BOTH
    async def test_a_model_that_takes_no_top_p_says_what_to_do(self, opened, provider, direct):
        backend = await opened(model="openai/o3-mini", direct=direct)
        with pytest.raises(errors.FatalError, match="drop_params: true"):
            await backend.complete(request("hello"))
        assert provider.counters()["requests"] == 0

    async def test_many_kinds_of_requests(self, opened, provider):
        """More than are kept: each is composed anew, and none is mixed up."""
        backend = await opened()
        for seed in range(70):
            await backend.complete(request("x", et.Sampling(seed=seed)))
        seeds = [json.loads(sent["body"])["seed"] for sent in provider.log()]
        assert seeds == list(range(20, 70))
        assert len(backend._open.door._templates) <= doors.MOST_TEMPLATES < 70

    @BOTH
    async def test_thoughts_in_tags_are_no_part_of_the_text(self, opened, provider, direct):
        provider.configure(answer="<think>{words}</think>Sort {words}.")
        try:
            reply = await (await opened(direct=direct)).complete(request("hello"))
        finally:
            provider.configure(answer=ANSWER)
        assert reply.text.startswith("Sort ") and "think" not in reply.text


class TestWhichDoor:
    @pytest.mark.parametrize(
        ("options", "name"),
        [
            ({}, "direct"),
            ({"direct": False}, "public"),
            ({"model": "hosted_vllm/x"}, "direct"),
            ({"model": "groq/llama-3.1-8b-instant"}, "direct"),
            ({"model": "hosted_vllm/x", "api_key": None}, "direct"),
            ({"model": "anthropic/claude-sonnet-4-5"}, "public"),
            ({"model": "gemini/gemini-2.5-flash"}, "public"),
            ({"model": "ollama_chat/llama3"}, "public"),
            ({"model": "cohere_chat/command-r"}, "public"),  # pays no heed to the client
            ({"model": "replicate/a/b"}, "public"),
            ({"extra": {"ssl_verify": False}}, "public"),
        ],
    )
    async def test_which_is_opened_and_that_opening_asks_nothing(self, opened, provider, options, name):
        assert door(await opened(**options)) == name
        counters = provider.wait_idle()
        assert (counters["requests"], counters["connections"]) == (0, 0)

    async def test_a_token_that_expires_is_litellms_to_renew(self, opened, monkeypatch):
        """A key that neither options nor environment hold was made by LiteLLM, and may have to be made again."""
        from evolteacher_backends.litellm.package import import_litellm
        from evolteacher_backends.litellm.template import lasting

        assert lasting({"Authorization": f"Bearer {KEY}"}, [KEY])
        assert lasting({"Authorization": "Bearer fake-api-key"}, [])
        assert not lasting({"Authorization": "Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9"}, [KEY])
        assert not lasting({"api-key": "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9"}, [KEY])
        options = {"model": "openrouter/a/b", "api_key": None}
        monkeypatch.setenv("OPENROUTER_API_KEY", KEY)
        assert door(await opened(**options)) == "direct"
        monkeypatch.delenv("OPENROUTER_API_KEY")
        monkeypatch.setattr(import_litellm(), "openrouter_key", "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9")
        backend = await opened(**options)
        assert door(backend) == "public"
        assert "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9" in backend.secrets()
        assert (await opened(model="hosted_vllm/x", api_key=None)).secrets() == ()

    async def test_who_listens_to_litellm_is_heard(self, opened, monkeypatch):
        from evolteacher_backends.litellm.package import CALLBACKS, import_litellm

        heard = []
        litellm = import_litellm()
        for name in CALLBACKS:  # LiteLLM enters the listener into all of them
            monkeypatch.setattr(litellm, name, [])
        litellm.callbacks.append(listener := litellm.CustomLogger())

        async def hear(*args, **kwargs):
            heard.append((args, kwargs))

        monkeypatch.setattr(listener, "async_log_success_event", hear)
        backend = await opened()
        assert door(backend) == "public"
        await backend.complete(request("hello"))
        deadline = time.monotonic() + 30
        while not heard and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        assert heard

    @pytest.mark.parametrize(
        "changed",
        [
            lambda answer: answer.replace("Sort", "sort"),
            lambda answer: answer.replace('"prompt_tokens": 1100', '"prompt_tokens": 1101'),
            lambda answer: answer.replace('"stop"', '"length"'),
            lambda answer: "{}",
        ],
    )
    async def test_where_litellm_reads_otherwise_the_direct_door_stays_shut(self, monkeypatch, changed):
        """The check that opens it, on a LiteLLM that changes what it reads."""
        from evolteacher_backends.litellm.offline import Received, offline
        from evolteacher_backends.litellm.package import import_litellm, let_go, take

        take()
        litellm = import_litellm()
        fixed = {"model": "openai/x", "api_key": KEY, "api_base": "http://127.0.0.1:1/v1", "timeout": 1.0}
        composer = await offline(litellm, fixed)
        changing = {"messages": [{"role": "user", "content": "x"}]}
        assert await doors._read_alike(composer, changing) == ""

        class Otherwise:
            async def read(self, received, arguments):
                body = changed(received.body.decode()).encode()
                return await composer.read(Received(200, received.headers, body), arguments)

        assert await doors._read_alike(Otherwise(), changing) is None
        await composer.close()
        await let_go(litellm)


class TestManyAtOnce:
    @BOTH
    async def test_each_gets_its_own_answer_and_one_is_cancelled(self, opened, provider, direct):
        backend = await opened(direct=direct)
        replies = await asyncio.gather(*(backend.complete(request(f"number <{n}>")) for n in range(40)))
        assert all(f"number <{n}>" in reply.text for n, reply in enumerate(replies))
        task = asyncio.create_task(backend.complete(request("slow [[fault:hang]]")))
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await backend.complete(request("still"))).text

    @BOTH
    def test_open_and_close_again_on_other_event_loops(self, provider, monkeypatch, direct):
        monkeypatch.setenv("SOME_VARIABLE", KEY)
        backend = LiteLLM(model=OPENAI, api_key="env:SOME_VARIABLE", api_base=provider.url, direct=direct)

        async def once():
            await backend.open(et.Workload())
            reply = await backend.complete(request("hello"))
            await backend.close()
            return reply.text

        async def twice():
            return [await once(), await once()]

        assert len({text for _ in range(2) for text in asyncio.run(twice())}) == 1

    @BOTH
    async def test_closing_one_leaves_the_other_open(self, opened, provider, direct):
        one, other = await opened(direct=direct), await opened(direct=direct)
        await other.complete(request("hello"))
        provider.configure(latency=0.3)
        try:
            asking = asyncio.create_task(other.complete(request("hello")))
            await asyncio.sleep(0.1)
            await one.close()
            assert (await asking).text and (await other.complete(request("hello"))).text
        finally:
            provider.configure(latency=0.0)

    def test_a_process_ends_without_a_word(self, provider):
        """In development mode, where each socket, task and coroutine left behind is said."""
        code = (
            "import asyncio, sys, warnings; warnings.simplefilter('error')\n"
            "warnings.filterwarnings('ignore', category=DeprecationWarning)\n"
            "import evolteacher as et\n"
            "from evolteacher_backends.litellm import LiteLLM\n"
            "async def main():\n"
            "    for direct in (True, False):\n"
            f"        b = LiteLLM(model={OPENAI!r}, api_base={provider.url!r}, api_key='env:K', direct=direct)\n"
            "        await b.open(et.Workload())\n"
            "        ask = lambda n: b.complete(et.Request((et.Message('user', str(n)),)))\n"
            "        await asyncio.gather(*map(ask, range(8)))\n"
            "        await b.close()\n"
            "    assert asyncio.all_tasks() == {asyncio.current_task()}\n"
            "asyncio.run(main())\n"
            "import gc; gc.collect()\n"
        )
        done = subprocess.run(
            [sys.executable, "-X", "dev", "-W", "ignore::DeprecationWarning", "-c", code],
            capture_output=True,
            text=True,
            env={**os.environ, "K": KEY},
        )
        said = [
            line for line in done.stderr.splitlines() if not line.startswith("Executing <") and " took " not in line
        ]
        assert (done.returncode, done.stdout, said) == (0, "", [])

    async def test_the_environment_stays_as_it_was(self, opened, monkeypatch, tmp_path):
        monkeypatch.chdir(tmp_path)
        (tmp_path / ".env").write_text(f"OPENAI_API_KEY={KEY}\nANYTHING=x\n")
        monkeypatch.delenv("OPENAI_API_KEY", raising=False)
        backend = await opened(api_key=None)
        await backend.complete(request("hello"))
        assert "OPENAI_API_KEY" not in os.environ and "ANYTHING" not in os.environ
