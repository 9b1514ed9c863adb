"""The LiteLLM backend's provider batches, against the files and batches calls of a provider of its own."""

import asyncio
import importlib.util
import json
import re
import uuid

import aiohttp
import pytest
from aiohttp import web
from loopback import Provider, digest

import evolteacher as et
from evolteacher import errors, runner
from evolteacher.catalog import Catalog
from evolteacher.testing.batches import BatchChecks
from evolteacher_backends.litellm import LiteLLM, batches

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("litellm") is None, reason="the extra 'litellm' is not installed"
)
KEY = "sk-a-very-secret-key-1234567890"
OPENAI = "openai/gpt-4.1-mini"


@pytest.fixture
def provider():
    with Provider(key=KEY, keep=100) as provider:
        yield provider


@pytest.fixture
async def opened(provider, monkeypatch):
    monkeypatch.setenv("SOME_VARIABLE", KEY)
    found = []

    async def opened(**options):
        given = {"model": OPENAI, "api_key": "env:SOME_VARIABLE", "api_base": provider.url, "mode": "batch", **options}
        found.append(LiteLLM(**given))
        await found[-1].open(et.Workload())
        return found[-1]

    yield opened
    for backend in found:
        await backend.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}


def requests(*texts, **sampling):
    sampling = et.Sampling(**{"max_tokens": 50, **sampling})
    return {f"id{n}": et.Request((et.Message("user", text),), sampling) for n, text in enumerate(texts)}


async def collected(backend, batch):
    for _ in range(200):
        state = await backend.collect(batch)
        if state.ended:
            return state
        await asyncio.sleep(0.02)
    raise AssertionError(f"it does not end: {state}")


def uploaded(provider):
    """Return the lines of the files that were uploaded."""
    bodies = [sent["body"] for sent in provider.log() if (sent["method"], sent["path"]) == ("POST", "/v1/files")]
    lines = [line for body in bodies for line in body.splitlines() if line.startswith('{"custom_id"')]
    return [json.loads(line) for line in lines]


async def test_from_submission_to_answers(opened, provider):
    provider.configure(batch_validating=0.1, batch_running=0.2)
    backend = await opened()
    asked = requests(*(f'task {n} é 🙂\n"x"' for n in range(10)), stop=("END",), seed=3)
    batch = await backend.submit(asked, "tag-1")
    first = await backend.collect(batch)
    assert (first.ended, first.results, first.failed) == (False, {}, "")
    state = await collected(backend, batch)
    assert state.answered == len(state.results) == 10 and not state.failed
    for name, request in asked.items():
        reply = state.results[name]
        assert digest([{"role": "user", "content": request.text}]).hex() in reply.text
        assert reply.usage.prompt_tokens > 0 and reply.finish_reason == "stop" and reply.model == "gpt-4.1-mini"
        assert (reply.cost, reply.latency) == (None, 0.0)
    lines = uploaded(provider)
    assert [line["custom_id"] for line in lines] == list(asked)
    assert lines[0] == {
        "custom_id": "id0",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {
            "model": "gpt-4.1-mini",
            "messages": [{"role": "user", "content": 'task 0 é 🙂\n"x"'}],
            "temperature": 1.0,
            "top_p": 0.9,
            "max_tokens": 50,
            "stop": ["END"],
            "seed": 3,
        },
    }
    assert provider.counters()["batches"] == 1


async def test_a_line_is_what_a_call_would_have_sent(opened, provider):
    """For options, models and texts that LiteLLM treats in ways of their own, blank ones among them."""
    cases = [
        ({}, et.Request((et.Message("system", " a "), et.Message("user", "b")))),
        ({}, et.Request((et.Message("user", " "),))),
        ({"model": "openai/o3-mini", "extra": {"drop_params": True}}, et.Request((et.Message("user", "b"),))),
        ({"extra": {"presence_penalty": 0.5, "extra_body": {"top_k": 3}}}, et.Request((et.Message("user", "b"),))),
        ({"model": "hosted_vllm/m"}, et.Request((et.Message("system", "a"), et.Message("user", "b")))),
    ]
    for options, request in cases:
        provider.reset()
        await (await opened(**options)).submit({"x": request}, "t")
        (line,) = uploaded(provider)
        await (await opened(mode="interactive", **options)).complete(request)
        assert line["body"] == json.loads(provider.log()[-1]["body"]), options
    assert len(cases) == 5


async def test_each_line_has_the_outcome_that_a_call_has(opened, provider):
    """Errors, refusals and broken bodies are read by the same reader; what the batch left out is left out."""
    expected = {
        "ok": et.Reply, "length": et.Reply, "empty": et.Reply, "no-usage": et.Reply, "content-filter": errors.Refused,
        "refusal": errors.Refused, "no-choices": errors.BrokenReply, "empty-choices": errors.BrokenReply,
        "error-200": errors.Transient, "400": errors.BadReply, "401": errors.NotAuthorised, "404": errors.NoSuchModel,
        "too-long": errors.TooLong, "policy": errors.Refused, "429": errors.RateLimited, "quota": errors.FatalError,
        "500": errors.Transient, "503": errors.Transient, "half-json": errors.BrokenReply, "not-json": None,
        "cut": None,
    }  # fmt: skip
    backend = await opened()
    texts = ["x" if fault == "ok" else f"x [[fault:{fault}]]" for fault in expected]
    asked = dict(zip((f"id{n}" for n in range(len(texts))), requests(*texts).values(), strict=True))
    state = await collected(backend, await backend.submit(asked, "t"))
    found = [type(state.results[name]) if name in state.results else None for name in asked]
    assert dict(zip(expected, found, strict=True)) == expected
    (filtered,) = [
        state.results[name] for name, fault in zip(asked, expected, strict=True) if fault == "content-filter"
    ]
    assert filtered.usage.prompt_tokens > 0


@pytest.mark.parametrize(("share", "answered"), [(0.5, 5), (0.0, 0)])
async def test_an_expired_batch_gives_what_it_has(opened, provider, share, answered):
    provider.configure(batch_outcomes=["expired"], batch_answered=share)
    backend = await opened()
    state = await collected(backend, await backend.submit(requests(*map(str, range(10))), "t"))
    assert not state.failed
    assert len(state.results) == answered and all(isinstance(each, et.Reply) for each in state.results.values())


async def test_a_cancelled_batch_gives_what_it_has(opened, provider):
    provider.configure(batch_running=30)
    backend = await opened()
    batch = await backend.submit(requests(*map(str, range(10))), "t")
    await asyncio.sleep(0.05)
    headers = {"Authorization": f"Bearer {KEY}"}
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{provider.url}/batches/{batch}/cancel", headers=headers) as answer:
            assert answer.status == 200
    state = await collected(backend, batch)
    assert not state.failed and len(state.results) == 5


async def test_a_batch_that_was_not_taken_says_why(opened, provider):
    provider.configure(models=["gpt-4.1-mini"])
    backend = await opened(model="openai/gpt-9")
    state = await collected(backend, await backend.submit(requests("a", "b"), "t"))
    assert state.failed == "line 1: The model 'gpt-9' does not exist.; line 2: The model 'gpt-9' does not exist."
    provider.configure(models=None, batch_outcomes=["completed", "failed"])
    state = await collected(backend, await backend.submit(requests("a", "b"), "t"))
    assert state.ended and state.failed == "Enqueued token limit reached." and state.results == {}


async def test_a_lost_id_is_found_by_its_tag_over_pages(opened, provider, monkeypatch):
    monkeypatch.setattr(batches, "PAGE", 3)
    backend = await opened()
    ids = [await backend.submit(requests(str(n)), f"tag-{n}") for n in range(8)]
    assert [await backend.find(f"tag-{n}") for n in range(8)] == ids
    assert await backend.find("tag-8") is None
    assert await (await opened()).find("tag-0") == ids[0]


@pytest.mark.parametrize("path", ["/v1/files", "/v1/batches"])
@pytest.mark.parametrize(
    ("fault", "cls"),
    [("500", errors.Transient), ("429", errors.RateLimited), ("cut", errors.Transient), ("401", errors.NotAuthorised),
     ("403", errors.NotAuthorised), ("404", errors.FatalError), ("400", errors.FatalError)],
)  # fmt: skip
async def test_faults_of_a_submission(opened, provider, path, fault, cls):
    provider.configure(script=[{"fault": fault, "path": path}], echo_key="error")
    backend = await opened()
    with pytest.raises(cls) as caught:
        await backend.submit(requests("x"), "t")
    assert KEY not in f"{caught.value!r}"
    provider.configure(script=[])
    assert isinstance(await backend.submit(requests("x"), "t"), str)


async def test_a_submission_whose_answer_was_cut_is_found(opened, provider):
    provider.configure(script=[{"fault": "cut", "path": "/v1/batches", "method": "POST", "first": 1, "at": "body"}])
    backend = await opened()
    with pytest.raises(errors.Transient):
        await backend.submit(requests("x"), "t")
    assert len((await collected(backend, await backend.find("t"))).results) == 1
    assert provider.counters()["batches"] == 1


async def test_a_batch_that_the_provider_does_not_know(opened):
    with pytest.raises(errors.FatalError, match=r"provider batches: .*batch_none"):
        await (await opened()).collect("batch_none")


async def test_the_size_of_a_request_is_that_of_its_line(opened, provider):
    backend = await opened()
    asked = requests("x" * 1000, 'é 🙂\n"', " ", stop=("END",))
    sizes = [await backend.size_in_batch(name, request) for name, request in asked.items()]
    await backend.submit(asked, "t")
    (body,) = [sent["body"] for sent in provider.log() if sent["path"] == "/v1/files"]
    assert [len(line) + 1 for line in body.splitlines() if line.startswith('{"custom_id"')] == sizes


async def test_parameters_that_the_model_does_not_take(opened):
    backend = await opened(model="openai/o3-mini")
    with pytest.raises(errors.FatalError, match="drop_params: true"):
        await backend.submit(requests("x", temperature=0.5), "t")


@pytest.mark.parametrize("model", ["anthropic/claude-sonnet-4-5", "gemini/gemini-2.5-flash", "groq/x", "vertex_ai/x"])
async def test_providers_without_batches(opened, model):
    provider = model.partition("/")[0]
    with pytest.raises(errors.FatalError, match=rf"works with openai, azure.*, not with {provider}: set mode: inter"):
        await opened(model=model)


@pytest.fixture
async def azure(provider):
    """Azure's addresses and its header for keys, before the same provider; yields the resource's address."""
    seen = []

    async def forward(request):
        seen.append(request.path_qs)
        path = re.sub(r"^/openai(/deployments/[^/]+)?(/v1)?", "", request.path)
        kept = {name: value for name, value in request.headers.items() if name in ("Content-Type",)}
        headers = {**kept, "Authorization": f"Bearer {request.headers['api-key']}"}
        async with aiohttp.ClientSession() as session:
            body = await request.read()
            async with session.request(request.method, provider.url + path, data=body, headers=headers) as answer:
                kind = answer.headers["Content-Type"]
                return web.Response(status=answer.status, body=await answer.read(), headers={"Content-Type": kind})

    app = web.Application(client_max_size=2**24)
    app.router.add_route("*", "/{path:.*}", forward)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}", seen
    await runner.cleanup()


@pytest.mark.parametrize("from_environment", [True, False])
async def test_azure(opened, azure, monkeypatch, from_environment):
    """Calls and batches at Azure's addresses, with what options say, or Azure's usual variables."""
    base, seen = azure
    options = {"model": "azure/my-deployment", "api_base": base, "extra": {"api_version": "2024-10-21"}}
    if from_environment:
        for name, value in (("KEY", KEY), ("BASE", base), ("VERSION", "2024-10-21")):
            monkeypatch.setenv(f"AZURE_API_{name}", value)
        options = {"model": "azure/my-deployment", "api_key": None, "api_base": None}
    backend = await opened(**options)
    state = await collected(backend, await backend.submit(requests("a", "b"), "t"))
    assert [type(each) for each in state.results.values()] == [et.Reply, et.Reply]
    assert await backend.find("t") is not None
    calls = await opened(**{**options, "mode": "interactive"})
    assert KEY in calls.secrets()
    assert (await calls.complete(requests("a")["id0"])).text == state.results["id0"].text
    assert len(seen) >= 6 and all("api-version=2024-10-21" in path for path in seen)


async def test_interactive_backends_submit_nothing(opened):
    backend = await opened(mode="interactive")
    assert not backend.in_batches()
    with pytest.raises(errors.FatalError, match="mode is not batch"):
        await backend.submit(requests("x"), "t")


class TestConformance(BatchChecks):
    """What the core expects of batches."""

    @pytest.fixture
    def backend(self, provider, monkeypatch):
        monkeypatch.setenv("SOME_VARIABLE", KEY)
        provider.configure(batch_running=0.05)
        return LiteLLM(model=OPENAI, api_key="env:SOME_VARIABLE", api_base=provider.url, mode="batch")

    @pytest.fixture
    def batches(self, backend):
        return backend

    def belongs(self, request, reply):
        return digest([{"role": each.role, "content": each.content} for each in request.messages]).hex() in reply.text


class Small(LiteLLM, name="small"):
    """LiteLLM whose provider takes small files."""

    most_bytes_in_batch = 2_000


class Plugin:
    @et.hookimpl
    def register_backends(self):
        return [Small]


@pytest.fixture
def run(tmp_path, provider, monkeypatch):
    """Return what runs six seeds through one round in batches."""
    monkeypatch.setenv("SOME_VARIABLE", KEY)
    seeds = tmp_path / "seeds.jsonl"
    seeds.write_text("".join(json.dumps({"instruction": f"Write task {n} {uuid.uuid4()}."}) + "\n" for n in range(6)))
    options = {"model": OPENAI, "api_key": "env:SOME_VARIABLE", "api_base": provider.url, "mode": "batch"}
    catalog = Catalog.load()
    catalog.register(Plugin(), "small")

    def run(backend="litellm"):
        recipe = {
            "evolteacher": 1,
            "name": "batches",
            "seeds": str(seeds),
            "rounds": 1,
            "operators": ["add-constraints"],
            "backends": {"evolve": {backend: options}},
            "limits": {"batch_poll": 0.05},
        }
        return runner.run(et.Recipe.from_dict(recipe, catalog=catalog), tmp_path / "out", catalog=catalog)

    return run


def test_a_run_of_more_bytes_than_a_file_may_have(run, provider):
    """Files are filled up to the bound, and each request is in one of them."""
    result = run("small")
    assert (result.records, result.calls) == (6, 12)
    files = [sent["body"] for sent in provider.log() if (sent["method"], sent["path"]) == ("POST", "/v1/files")]
    files = [[line for line in body.splitlines() if line.startswith('{"custom_id"')] for body in files]
    sizes = [(len(lines), sum(len(line) + 1 for line in lines)) for lines in files]
    assert all(size <= Small.most_bytes_in_batch for _, size in sizes) and len(sizes) > 2
    assert any(1 < number < 6 and size > Small.most_bytes_in_batch / 2 for number, size in sizes)
    names = [json.loads(line)["custom_id"] for lines in files for line in lines]
    assert len(names) == len(set(names)) == 12


def test_a_whole_run_in_batches(run, tmp_path, provider):
    """Each step of a round is one batch; every lineage gets its answer, and nothing is asked by single calls."""
    result = run()
    counters = provider.counters()
    assert (result.records, result.calls) == (6, 12)
    assert counters["batches"] == 2 and sum(counters["batch_lines"].values()) == 12
    assert all("/chat/completions" not in sent["path"] for sent in provider.log())
    written = b"".join(path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert KEY.encode() not in written
