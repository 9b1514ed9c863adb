"""The LiteLLM backend: its options without LiteLLM, and its calls against an OpenAI-compatible server on loopback."""

import asyncio
import importlib.util
import json
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from aiohttp import web
from pydantic import ValidationError

import evolteacher as et
from evolteacher import errors
from evolteacher_backends.litellm import LiteLLM, retry_after

installed = pytest.mark.skipif(
    importlib.util.find_spec("litellm") is None, reason="the extra 'litellm' is not installed"
)
KEY = "sk-a-very-secret-key-1234567890"


class TestOptions:
    """None of this needs LiteLLM."""

    @pytest.mark.parametrize("key", [KEY, "", "env:", "env:1X", "env:A B", "ENV:X", "$OPENAI_API_KEY", "env:A\n"])
    def test_a_key_is_a_reference_or_refused_unseen(self, key):
        with pytest.raises(ValidationError, match="write env:NAME") as caught:
            LiteLLM(model="openai/x", api_key=key)
        assert KEY not in str(caught.value)
        assert KEY not in repr(caught.value)

    @pytest.mark.parametrize(
        "extra",
        [
            {"aws_secret_access_key": KEY},
            {"extra_headers": {"Authorization": KEY}},
            {"extra_headers": {"X-Api-Key": KEY}},
            {"a": [{"session_token": KEY}]},
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
        ],
    )
    def test_what_extra_may_not_hold(self, extra, said):
        with pytest.raises(ValidationError, match=said):
            LiteLLM(model="openai/x", extra=extra)

    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"model": ""},
            {"timeout": 0},
            {"api_base": "localhost"},
            {"api_base": f"http://u:{KEY}@h/v1"},
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
            "extra_headers": {"X-Key": "env:X"},
            "tokens": "a",
        }
        assert LiteLLM(model="openai/x", extra=extra).extra == extra

    def test_identity_knows_no_key_and_no_timeout(self):
        one = LiteLLM(model="openai/x", api_key="env:A", timeout=3)
        assert one.identity() == LiteLLM(model="openai/x", api_key="env:B").identity()
        assert one.identity() != LiteLLM(model="openai/y").identity()
        assert one.identity() != LiteLLM(model="openai/x", extra={"reasoning_effort": "low"}).identity()

    @pytest.mark.parametrize("value", [None, "", "  "])
    @pytest.mark.parametrize("options", [{"api_key": "env:MY_KEY"}, {"extra": {"a": {"b": ["env:MY_KEY"]}}}])
    async def test_a_missing_variable_is_named(self, monkeypatch, value, options):
        monkeypatch.delenv("MY_KEY", raising=False)
        if value is not None:
            monkeypatch.setenv("MY_KEY", value)
        with pytest.raises(errors.NotAuthorised, match="MY_KEY, which is not set: export MY_KEY="):
            await LiteLLM(model="openai/x", **options).open(et.Workload())

    async def test_asking_before_opening(self):
        with pytest.raises(errors.FatalError, match="not open"):
            await LiteLLM(model="openai/x").complete(et.Request(()))

    def test_without_litellm_one_line_says_what_to_install(self):
        """In a process of its own, where importing it fails as if it were not there."""
        code = (
            "import sys, asyncio; sys.modules['litellm'] = None\n"
            "import evolteacher as et; from evolteacher import errors\n"
            "from evolteacher_backends.litellm import LiteLLM\n"
            "try: asyncio.run(LiteLLM(model='openai/x').open(et.Workload()))\n"
            "except errors.MissingExtra as error: print(error)\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "backend 'litellm' needs the extra 'litellm': pip install 'evolteacher[litellm]'"

    def test_retry_after_forms(self):
        def asked(**headers):
            error = Exception()
            error.litellm_response_headers = {name.replace("_", "-"): value for name, value in headers.items()}
            return retry_after(error)

        assert asked(retry_after="7") == 7
        assert asked(retry_after="1.5") == 1.5
        assert asked(retry_after="9", retry_after_ms="250") == 0.25
        later = asked(retry_after=format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True))
        assert 25 < later <= 30
        assert asked(retry_after="Sun, 06 Nov 1994 08:49:37 GMT") == 0
        assert asked(retry_after="soon") is asked(retry_after="-1") is asked() is None


ANSWER = {
    "id": "a",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-4.1-mini-2025-04-14",
    "choices": [{"index": 0, "finish_reason": "length", "message": {"role": "assistant", "content": "héllo 🙂"}}],
    "usage": {"prompt_tokens": 11, "completion_tokens": 22, "total_tokens": 33},
}


def changed(**message):
    choice = {
        "index": 0,
        "finish_reason": message.pop("finish_reason", "stop"),
        "message": {"role": "assistant", **message},
    }
    return {**ANSWER, "choices": [choice]}


def failing(status, message, code=None):
    return web.json_response(
        {"error": {"message": message, "type": "error", "code": code}}, status=status, headers={"Retry-After": "7"}
    )


@pytest.fixture
async def server():
    """An OpenAI-compatible server: the prompt says what it answers."""
    seen = []

    async def answer(request):
        body = await request.json()
        seen.append((body, request.headers))
        prompt = body["messages"][-1]["content"]
        key = request.headers.get("Authorization")
        if prompt.isdigit():
            return failing(int(prompt), f"failed for {key}")
        if prompt.startswith("{"):
            return web.json_response(**json.loads(prompt))
        if prompt == "slow":
            await asyncio.sleep(5)
        if prompt == "cut":
            request.transport.close()
        if prompt == "html":
            return web.Response(text="<html>Welcome</html>", content_type="text/html")
        return web.json_response(ANSWER)

    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    app_base = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    yield app_base, seen
    await runner.cleanup()


@pytest.fixture
async def ask(server, monkeypatch):
    monkeypatch.setenv("SOME_VARIABLE", KEY)
    backends = []

    async def ask(prompt, sampling=None, **options):
        options = {"model": "openai/gpt-4.1-mini", "api_key": "env:SOME_VARIABLE", "timeout": 60, **options}
        backend = LiteLLM(api_base=server[0], **options)
        backends.append(backend)
        await backend.open(et.Workload())
        return await backend.complete(et.Request((et.Message("user", prompt),), sampling or et.Sampling()))

    yield ask
    for backend in backends:
        await backend.close()
        await backend.close()


@installed
class TestCalls:
    async def test_a_reply(self, ask, server):
        started = time.perf_counter()
        reply = await ask("hello")
        assert (reply.text, reply.finish_reason, reply.model) == ("héllo 🙂", "length", "gpt-4.1-mini-2025-04-14")
        assert reply.usage == et.Usage(11, 22)
        assert reply.cost == pytest.approx(11 * 0.4e-6 + 22 * 1.6e-6)
        assert 0 < reply.latency < time.perf_counter() - started
        ((body, headers),) = server[1]
        assert headers["Authorization"] == f"Bearer {KEY}"
        assert body == {
            "model": "gpt-4.1-mini",
            "messages": [{"role": "user", "content": "hello"}],
            "temperature": 1.0,
            "top_p": 0.9,
            "max_tokens": 2048,
        }

    async def test_stop_seed_and_extra(self, ask, server, monkeypatch):
        monkeypatch.setenv("TENANT", "tenant-42")
        extra = {"extra_headers": {"X-Tenant": "env:TENANT"}, "presence_penalty": 0.5}
        await ask("hello", et.Sampling(stop=("a", "b"), seed=7, temperature=0), extra=extra)
        ((body, headers),) = server[1]
        assert (body["stop"], body["seed"], body["temperature"], body["presence_penalty"]) == (["a", "b"], 7, 0.0, 0.5)
        assert headers["X-Tenant"] == "tenant-42"

    async def test_a_model_without_a_known_price(self, ask):
        answer = json.dumps({"data": {**ANSWER, "model": "my-own-model"}})
        reply = await ask(answer, model="openai/my-own-model")
        assert (reply.text, reply.model, reply.cost) == ("héllo 🙂", "my-own-model", None)

    @pytest.mark.parametrize(
        ("status", "cls"),
        [
            (400, errors.BadReply), (401, errors.NotAuthorised), (402, errors.FatalError), (403, errors.NotAuthorised),
            (404, errors.NoSuchModel), (408, errors.Transient), (409, errors.Transient), (413, errors.TooLong),
            (422, errors.BadReply), (429, errors.RateLimited), (500, errors.Transient), (502, errors.Transient),
            (503, errors.Transient), (504, errors.Transient), (529, errors.Transient),
        ],
    )  # fmt: skip
    async def test_statuses_and_no_key_in_any_message(self, ask, server, status, cls):
        with pytest.raises(errors.BackendError) as caught:
            await ask(str(status))
        assert type(caught.value) is cls
        assert "failed for Bearer [secret]" in str(caught.value)
        assert KEY not in repr(caught.value)
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__
        assert len(server[1]) == 1, "LiteLLM must not retry by itself"
        if cls is errors.RateLimited:
            assert caught.value.retry_after == 7

    @pytest.mark.parametrize(
        ("status", "message", "code", "cls"),
        [
            (400, "This model's maximum context length is 8192 tokens.", "context_length_exceeded", errors.TooLong),
            (400, "Your request was rejected by our safety system.", "content_policy_violation", errors.Refused),
            (400, "The prompt triggered the content management policy", "content_filter", errors.Refused),
            (429, "You exceeded your current quota, check billing.", "insufficient_quota", errors.FatalError),
            (400, "Unsupported parameter: 'top_p'", "unsupported_parameter", errors.FatalError),
        ],
    )
    async def test_errors_that_the_words_tell(self, ask, status, message, code, cls):
        body = {
            "data": {"error": {"message": message, "type": "invalid_request_error", "code": code}},
            "status": status,
        }
        with pytest.raises(errors.BackendError) as caught:
            await ask(json.dumps(body))
        assert type(caught.value) is cls

    @pytest.mark.parametrize(
        ("prompt", "cls"),
        [
            ("html", errors.BrokenReply),
            ("cut", errors.Transient),
            ("slow", errors.Transient),
            (json.dumps({"data": {**ANSWER, "choices": []}}), errors.BrokenReply),
            (json.dumps({"data": [1]}), errors.BrokenReply),
            (json.dumps({"data": changed(content="", finish_reason="content_filter")}), errors.Refused),
            (json.dumps({"data": changed(content=None, refusal="I will not.")}), errors.Refused),
        ],
    )
    async def test_broken_and_refused_answers(self, ask, prompt, cls):
        with pytest.raises(errors.BackendError) as caught:
            await ask(prompt, timeout=0.5 if prompt == "slow" else 60)
        assert type(caught.value) is cls

    async def test_an_empty_answer_is_the_cores_business(self, ask):
        assert (await ask(json.dumps({"data": changed(content=None)}))).text == ""

    async def test_an_unreachable_server_may_pass(self, ask, unused_port):
        backend = LiteLLM(model="openai/x", api_base=f"http://127.0.0.1:{unused_port}", api_key="env:SOME_VARIABLE")
        await backend.open(et.Workload())
        with pytest.raises(errors.Transient):
            await backend.complete(et.Request((et.Message("user", "x"),)))
        await backend.close()

    @pytest.mark.parametrize("model", ["bare-model", "nosuchprovider/model"])
    async def test_an_unknown_provider(self, monkeypatch, model):
        monkeypatch.setenv("SOME_VARIABLE", KEY)
        with pytest.raises(errors.NoSuchModel, match="write provider/model"):
            await LiteLLM(model=model, api_key="env:SOME_VARIABLE").open(et.Workload())

    async def test_a_model_that_takes_no_top_p_says_what_to_do(self, ask):
        with pytest.raises(errors.FatalError, match="drop_params: true"):
            await ask("hello", model="openai/o3-mini")
        assert (await ask("hello", model="openai/o3-mini", extra={"drop_params": True})).text == "héllo 🙂"

    async def test_many_at_once_and_one_cancelled(self, ask, server):
        replies = await asyncio.gather(*(ask(f"p{n}") for n in range(20)))
        assert len(replies) == len(server[1]) == 20
        task = asyncio.create_task(ask("slow"))
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def test_nothing_shows_the_key(self, ask, monkeypatch):
        monkeypatch.setenv("SOME_VARIABLE", KEY)
        backend = LiteLLM(
            model="openai/x", api_key="env:SOME_VARIABLE", extra={"extra_headers": {"k": "env:SOME_VARIABLE"}}
        )
        await backend.open(et.Workload())
        shown = f"{backend!r} {backend} {backend.identity()} {backend.options()} {backend.model_dump_json()}"
        assert KEY not in shown
        assert "env:SOME_VARIABLE" in shown
        await backend.close()


@pytest.fixture
def unused_port():
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
