"""The openai-compatible backend and real connections: the loopback provider, TLS, proxies, and a whole run."""

import asyncio
import gc
import json
import shutil
import socket
import ssl
import subprocess
import sys
import time
import warnings

import pytest
from loopback import Provider, digest
from raw_http import Proxy, RawServer, chat, response, server_context

import evolteacher as et
from evolteacher import errors
from evolteacher_backends.openai_compatible import OpenAICompatible

KEY = "sk-a-very-secret-key-1234567890"
WORK = et.Workload(8)


def request(text="Say hi.", **sampling):
    return et.Request((et.Message("user", text),), et.Sampling(**sampling))


def backend(url, **options):
    return OpenAICompatible(**{"model": "m", "base_url": url, "timeout": 20.0, "patience": 0.0, **options})


class Opened:
    """A backend that is open inside of the block."""

    def __init__(self, url, **options):
        self._backend = backend(url, **options)

    async def __aenter__(self):
        await self._backend.open(WORK)
        return self._backend

    async def __aexit__(self, *_):
        await self._backend.close()


@pytest.fixture(scope="module")
def server():
    with Provider() as provider:
        yield provider


@pytest.fixture
def provider(server):
    """The provider that never fails, with nothing counted."""
    usual = {
        "key": None, "models": ["m", "other"], "context": None, "echo_key": None, "latency": 0.0, "latency_sigma": 0.0,
        "faults": {}, "script": [], "drip_interval": 0.01, "tell": False, "requests_per_minute": None,
        "requests_per_connection": None, "idle_close": None, "cut_at": None, "keep": 100,
    }  # fmt: skip
    server.configure(**usual)
    server.reset()
    yield server
    server.wait_idle()


@pytest.fixture
def key(monkeypatch):
    monkeypatch.setenv("LOOPBACK_KEY", KEY)
    return "env:LOOPBACK_KEY"


@pytest.fixture
def nowhere():
    """An address at which nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/v1"


async def fails(backend, kind, text="Say hi."):
    with pytest.raises(errors.BackendError) as caught:
        await backend.complete(request(text))
    assert type(caught.value) is kind, caught.value
    assert caught.value.__suppress_context__ or caught.value.__context__ is None  # aiohttp's errors hold the request
    return caught.value


class TestCalls:
    async def test_many_at_once_get_each_their_own(self, provider):
        provider.configure(latency=0.02, latency_sigma=1.0)
        async with Opened(provider.url) as opened:
            texts = [f"Question {n}" for n in range(200)]
            replies = await asyncio.gather(*(opened.complete(request(text)) for text in texts))
        for text, reply in zip(texts, replies, strict=True):
            assert digest([{"role": "user", "content": text}]).hex() in reply.text
        counters = provider.wait_idle()
        assert counters["outcomes"]["ok"] == 200 == counters["distinct"]
        assert counters["connections"] <= 201

    async def test_connections_are_kept(self, provider):
        async with Opened(provider.url, check=False) as opened:
            for n in range(20):
                await opened.complete(request(f"{n}"))
        assert provider.wait_idle()["connections"] == 1

    async def test_no_call_waits_for_a_connection(self, provider):
        """A pool with a bound would make its queue's time look like the provider's."""
        provider.configure(latency=0.3)
        async with Opened(provider.url, check=False) as opened:
            replies = await asyncio.gather(*(opened.complete(request(f"{n}")) for n in range(300)))
        assert provider.wait_idle()["most_in_flight"] == 300
        assert min(reply.latency for reply in replies) >= 0.3

    async def test_it_opens_and_closes_again(self, provider):
        one = backend(provider.url)
        await one.close()
        for _ in range(2):
            await one.open(WORK)
            assert (await one.complete(request())).text
            await one.close()
            await one.close()
            await fails(one, errors.FatalError)
        await one.open(WORK)
        await one.open(WORK)
        assert (await one.complete(request())).text
        await one.close()
        await asyncio.sleep(0.05)
        assert provider.counters()["open_connections"] == 0

    def test_it_works_on_one_loop_after_another(self, provider):
        one = backend(provider.url)

        async def use():
            await one.open(WORK)
            await one.complete(request())
            await one.close()

        for _ in range(2):
            asyncio.run(use())
        assert provider.wait_idle()["outcomes"]["ok"] == 2

    async def test_cancelling_gives_the_connection_up(self, provider):
        provider.configure(script=[{"fault": "hang", "containing": "slow"}])
        async with Opened(provider.url, check=False) as opened:
            calls = [asyncio.create_task(opened.complete(request(f"slow {n}"))) for n in range(5)]
            while provider.counters()["in_flight"] < 5:
                await asyncio.sleep(0.01)
            for call in calls:
                call.cancel()
            done = await asyncio.gather(*calls, return_exceptions=True)
            assert all(isinstance(each, asyncio.CancelledError) for each in done)
            assert provider.wait_idle(2)["lost"] == {"hang": 5}
            assert (await opened.complete(request("quick"))).text

    async def test_cancelling_while_the_answer_drips(self, provider):
        provider.configure(script=[{"fault": "drip"}], drip_interval=0.02)
        async with Opened(provider.url, check=False) as opened:
            asyncio.get_running_loop().set_debug(True)  # in which aiohttp warns of an answer that is not closed
            call = asyncio.create_task(opened.complete(request()))
            await asyncio.sleep(0.3)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert provider.wait_idle(2)["lost"] == {"drip": 1}

    async def test_closing_while_it_is_asked(self, provider):
        provider.configure(script=[{"fault": "hang"}])
        async with Opened(provider.url, check=False) as opened:
            call = asyncio.create_task(opened.complete(request()))
            while not provider.counters()["in_flight"]:
                await asyncio.sleep(0.01)
            await opened.close()
            with pytest.raises(errors.BackendError):
                await call

    def test_nothing_is_left_behind(self, provider):
        """No session that is not closed, no connection, no task; also where opening fails."""

        async def use():
            for options in ({}, {"model": "no-such-model"}):
                one = backend(provider.url, **options)
                try:
                    await one.open(WORK)
                    await one.complete(request())
                except errors.NoSuchModel:
                    continue
                await one.close()
            assert len(asyncio.all_tasks()) == 1

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            asyncio.run(use())
            gc.collect()
        assert not caught, [str(each.message) for each in caught]

    async def test_a_silent_connection_is_watched(self, provider):
        """Networks forget connections that are silent for minutes, as they are while a model thinks."""
        async with Opened(provider.url, check=False) as opened:
            await opened.complete(request())
            ours = [
                each
                for each in gc.get_objects()
                if issubclass(type(each), socket.socket) and leads_to(each, provider.port)
            ]
            assert ours
            assert all(each.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) for each in ours)
            if hasattr(socket, "TCP_KEEPIDLE"):
                assert {each.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) for each in ours} == {60}

    async def test_a_cookie_is_not_sent_back(self):
        with RawServer(response(chat(), Set_Cookie="who=me; Path=/")) as raw:
            async with Opened(raw.url, check=False) as opened:
                for _ in range(2):
                    await opened.complete(request())
        assert len(raw.seen) == 2
        assert not any("cookie" in seen.headers for seen in raw.seen)


def leads_to(connection, port):
    try:
        return connection.getpeername()[1] == port
    except (OSError, IndexError):
        return False


class TestConnections:
    """What happens to a connection, and whether the call may have been paid."""

    async def test_refused(self, nowhere):
        async with Opened(nowhere, check=False) as opened:
            error = await fails(opened, errors.Transient)
        assert error.unpaid and "refuses connections" in str(error)

    async def test_no_such_host(self):
        async with Opened("http://there-is-no-such-host.invalid/v1", check=False) as opened:
            error = await fails(opened, errors.Transient)
        assert error.unpaid and "'there-is-no-such-host.invalid'" in str(error)

    @pytest.mark.alone
    async def test_no_connection_in_time(self):
        """A listener whose queue is full answers no connection."""
        with socket.socket() as full, socket.socket() as first, socket.socket() as second:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            for filling in (first, second):
                filling.setblocking(False)
                filling.connect_ex(full.getsockname())
            async with Opened(
                f"http://127.0.0.1:{full.getsockname()[1]}/v1", check=False, connect_timeout=0.3
            ) as opened:
                started = time.monotonic()
                error = await fails(opened, errors.Transient)
        assert error.unpaid and "no connection stood within 0.3 seconds" in str(error)
        assert time.monotonic() - started < 3

    async def test_no_answer_in_time(self, provider):
        provider.configure(script=[{"fault": "hang"}])
        async with Opened(provider.url, check=False, timeout=0.2) as opened:
            error = await fails(opened, errors.Transient)
        assert not error.unpaid and "no answer within 0.2 seconds" in str(error)

    async def test_the_time_is_for_the_whole_answer(self, provider):
        provider.configure(script=[{"fault": "drip"}], drip_interval=0.01)
        async with Opened(provider.url, check=False, timeout=0.5) as opened:
            error = await fails(opened, errors.Transient)
        assert not error.unpaid and "no answer within 0.5 seconds" in str(error)

    @pytest.mark.parametrize("fault", ["cut", "reset"])
    async def test_cut_at_every_place(self, provider, fault):
        """Before the first byte, in the head, at its end, in the body, before the last byte."""
        async with Opened(provider.url, check=False) as opened:
            for at in (0, 1, 9, 40, "head", 100, 120, 150, "body", 300, 10**6):
                provider.configure(script=[{"fault": fault, "at": at}])
                error = await fails(opened, errors.Transient, f"at {at}")
                assert not error.unpaid
                assert "cut before the answer was whole" in str(error), at
        assert all(row["asked"] == 1 for row in provider.requests())

    async def test_a_cut_error_answer_is_an_error_answer(self):
        """Its status arrived, so the provider billed nothing."""
        answer = response({"error": {"message": "overloaded"}}, 503)
        with RawServer() as raw:
            raw.answer = lambda seen: raw_cut(answer)
            async with Opened(raw.url, check=False, timeout=1.0) as opened:
                error = await fails(opened, errors.Transient)
        assert error.unpaid and "HTTP 503" in str(error)

    async def test_no_request_is_sent_twice_in_silence(self, provider):
        """Not on a connection that was used before, either, where HTTP clients like to try again."""
        async with Opened(provider.url, check=False) as opened:
            await opened.complete(request("warm"))
            provider.configure(script=[{"fault": "cut", "at": 0, "containing": "cut"}])
            await fails(opened, errors.Transient, "cut me")
        asked = {row["digest"]: row["asked"] for row in provider.requests()}
        assert sorted(asked.values()) == [1, 1]

    async def test_a_connection_that_the_server_closed_is_not_used(self, provider):
        provider.configure(idle_close=0.1)
        async with Opened(provider.url, check=False) as opened:
            for n in range(3):
                assert (await opened.complete(request(f"{n}"))).text
                await asyncio.sleep(0.3)
        assert provider.wait_idle()["connections"] == 3

    @pytest.mark.parametrize(
        "answer",
        [b"SSH-2.0-OpenSSH_9.6\r\n", b"220 mail.example\r\n\r\n", b"HTTP/1.1 OK\r\n\r\n", b"HTTP/9.9 200 OK\r\n\r\n",
         b"\x16\x03\x01\x02\x00" * 9 + b"\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
         b"HTTP/1.1 200 OK\r\nX: " + b"y" * 20_000 + b"\r\n\r\n", b"HTTP/1.1 200 OK\r\n: x\r\n\r\n",
         b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"],
    )  # fmt: skip
    async def test_what_is_not_http(self, answer):
        with RawServer(answer) as raw:
            async with Opened(raw.url, check=False, timeout=2.0) as opened:
                error = await fails(opened, errors.Transient)
        assert not error.unpaid
        assert len(str(error)) < 300

    async def test_too_many_open_files(self, provider):
        code = """
import asyncio, os, resource, sys
import evolteacher as et
from evolteacher import errors
from evolteacher_backends.openai_compatible import OpenAICompatible

async def main():
    backend = OpenAICompatible(model="m", base_url=sys.argv[1], check=False)
    await backend.open(et.Workload())
    one = et.Request((et.Message("user", "hi"),))
    await backend.complete(one)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/dev/fd")) + 2, most))
    done = await asyncio.gather(*(backend.complete(one) for _ in range(20)), return_exceptions=True)
    failed = [each for each in done if isinstance(each, errors.Transient) and each.unpaid]
    assert failed and all(isinstance(each, (et.Reply, errors.Transient)) for each in done), done
    print(failed[0])
    await backend.close()

asyncio.run(main())
"""
        provider.configure(latency=0.1)
        done = await asyncio.to_thread(
            subprocess.run, [sys.executable, "-c", code, provider.url], capture_output=True, text=True, check=False
        )
        assert "ulimit -n" in done.stdout, done.stderr


def raw_cut(answer):
    """An answer that announces more than there is, from a server that then says nothing."""
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.replace(b"Content-Length: ", b"Content-Length: 9") + b"\r\n\r\n" + body[:5]


class TestGreeting:
    """What opening finds out."""

    async def opening(self, url, kind, **options):
        one = backend(url, **options)
        with pytest.raises(errors.BackendError) as caught:
            await one.open(WORK)
        assert type(caught.value) is kind, caught.value
        await fails(one, errors.FatalError)
        return str(caught.value)

    async def test_all_is_well(self, provider, key):
        provider.configure(key=KEY)
        async with Opened(provider.url, api_key=key) as opened:
            assert (await opened.complete(request())).text
        assert [entry["path"] for entry in provider.log()] == ["/v1/models", "/v1/chat/completions"]

    async def test_nothing_is_asked_without_check(self, provider):
        async with Opened(provider.url, check=False, model="no-such-model") as opened:
            assert provider.counters()["requests"] == 0
            await fails(opened, errors.NoSuchModel)

    async def test_no_server(self, nowhere):
        said = await self.opening(nowhere, errors.FatalError)
        assert nowhere.removesuffix("/v1") in said
        assert "Start the server, or mend base_url" in said

    async def test_a_server_is_given_time_to_come_up(self, provider):
        provider.stop_listening(0.7)
        async with Opened(provider.url, patience=10.0) as opened:
            assert (await opened.complete(request())).text

    @pytest.mark.alone
    async def test_patience_ends(self, nowhere):
        started = time.monotonic()
        said = await self.opening(nowhere, errors.FatalError, patience=0.5)
        assert 0.5 <= time.monotonic() - started < 3
        assert "0.5 s" in said

    async def test_a_model_that_loads(self):
        """llama.cpp answers 503 while it loads."""
        answers = [response({"error": {"message": "Loading model", "code": 503}}, 503)] * 3
        with RawServer() as raw:
            raw.answer = lambda seen: answers.pop() if answers else response({"data": [{"id": "m"}]})
            async with Opened(raw.url, patience=10.0):
                assert len(raw.seen) == 4

    async def test_a_wrong_key(self, provider, key, monkeypatch):
        provider.configure(key="sk-another", echo_key="error")
        said = await self.opening(provider.url, errors.NotAuthorised, api_key=key)
        assert "LOOPBACK_KEY" in said and KEY not in said
        said = await self.opening(provider.url, errors.NotAuthorised)
        assert "write api_key: env:NAME" in said

    async def test_a_server_that_lists_the_key_as_a_model(self, key):
        with RawServer(response({"data": [{"id": KEY}, {"id": "b"}]})) as raw:
            said = await self.opening(raw.url, errors.NoSuchModel, api_key=key)
            assert "[secret]" in said and KEY not in said

    async def test_an_unknown_model(self, provider):
        said = await self.opening(provider.url, errors.NoSuchModel, model="othr")
        assert "Did you mean 'other'?" in said and "check: false" in said
        said = await self.opening(provider.url, errors.NoSuchModel, model="zzz")
        assert "There is: m, other." in said

    async def test_an_unknown_model_among_many(self, provider):
        provider.configure(models=[f"provider/model-{n}" for n in range(500)])
        said = await self.opening(provider.url, errors.NoSuchModel, model="model-123")
        assert "provider/model-123" in said and len(said) < 500
        said = await self.opening(provider.url, errors.NoSuchModel, model="??")
        assert "Of the 500 there are" in said and len(said) < 500

    async def test_ollama_lists_the_latest(self):
        with RawServer(response({"data": [{"id": "m:latest"}, {"id": "n:1b"}]})) as raw:
            async with Opened(raw.url):
                pass
            assert "n:1b" in await self.opening(raw.url, errors.NoSuchModel, model="n")

    async def test_an_address_without_v1(self, provider):
        base = provider.url.removesuffix("/v1")
        said = await self.opening(base, errors.FatalError)
        assert f"write base_url: {provider.url}" in said

    async def test_a_redirect(self):
        with RawServer(response(b"", 301, Location="https://elsewhere.example/v1/models")) as raw:
            said = await self.opening(raw.url, errors.FatalError)
        assert "https://elsewhere.example" in said and len(raw.seen) == 1

    @pytest.mark.parametrize(
        "answer",
        [
            response(b"", 404),
            response({"detail": "Method Not Allowed"}, 405),
            response({"error": {"message": "No"}}, 403),
            response({"error": "You have insufficient permissions. Missing scopes: api.model.read"}, 401),
            response({"error": {"message": "Oh"}}, 500),
            response({"error": {"message": "Slow"}}, 429),
            response(b"", 400),
            response(b"<html>Welcome</html>"),
            response(b""),
            response(b"[" * 100_000),
            response(b"null"),
            response({"data": None}),
            response({"data": []}),
            response({"data": {"id": "x"}}),
            response({"data": [None, 5, "x", {}, {"id": None}, {"id": 7}, {"id": ""}]}),
            response({"data": [{"id": "openai/*"}, {"id": "x"}]}),  # LiteLLM's proxy: a pattern
            response([{"id": "m"}]),  # Together: the list itself
            response({"models": [], "data": [{"id": "m"}]}),
            b"",
        ],
    )
    async def test_a_server_that_tells_no_models_is_taken_as_it_is(self, answer):
        with RawServer() as raw:
            raw.answer = lambda seen: (answer or None) if seen.method == "GET" else response(chat("Fine."))
            async with Opened(raw.url) as opened:
                assert (await opened.complete(request())).text == "Fine."
            assert {seen.method for seen in raw.seen} == {"GET", "POST"}

    async def test_a_provider_may_list_less_than_it_has(self, monkeypatch, key):
        """Its address is nobody's own, so the proxy of this test answers in its place."""
        with Proxy(response({"data": [{"id": "maker/model"}, {"id": "b"}]})) as proxy:
            monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
            async with Opened("http://models.example/v1", model="maker/model:free") as opened:
                proxy.answer = response({"error": {"message": "No model maker/model:free"}}, 404)
                error = await fails(opened, errors.NoSuchModel)
        assert "Did you mean 'maker/model'?" in str(error)
        with Proxy(response({"data": [{"id": KEY}]})) as proxy:
            monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
            async with Opened("http://models.example/v1", api_key=key) as opened:
                proxy.answer = response({"error": {"message": "No model m"}}, 404)
                error = await fails(opened, errors.NoSuchModel)
        assert "[secret]" in str(error) and KEY not in str(error)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    command = [
        "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=loopback",
        "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", folder / "key.pem", "-out", folder / "certificate.pem",
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    return folder / "certificate.pem", folder / "key.pem"


needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl to make a certificate")


class TestTLS:
    async def test_a_server_without_tls(self):
        with Dumb(b"HTTP/1.1 400 Bad Request\r\n\r\n") as dumb:
            url = f"https://127.0.0.1:{dumb.port}/v1"
            async with Opened(url, check=False) as opened:
                error = await fails(opened, errors.FatalError)
            assert "speaks no TLS" in str(error) and "http://" in str(error)
            with pytest.raises(errors.FatalError, match="speaks no TLS"):
                await backend(url).open(WORK)

    @needs_openssl
    async def test_a_certificate_that_nobody_vouches_for(self, certificate):
        with RawServer(tls=server_context(*certificate)) as raw:
            async with Opened(raw.url, check=False) as opened:
                error = await fails(opened, errors.FatalError)
        assert "not trusted (self" in str(error) and "SSL_CERT_FILE" in str(error)
        assert not raw.seen

    @needs_openssl
    async def test_a_certificate_for_another_name(self, certificate, tmp_path):
        """In a process of its own: the environment is read when aiohttp is imported."""
        with RawServer(tls=server_context(*certificate)) as raw:
            said = await asyncio.to_thread(ask_in_a_process, raw.url.replace("127.0.0.1", "localhost"), certificate[0])
        assert "FatalError" in said and "not trusted (Hostname mismatch" in said

    @needs_openssl
    async def test_one_that_the_environment_vouches_for(self, certificate):
        with RawServer(response(chat("Encrypted.")), tls=server_context(*certificate)) as raw:
            assert await asyncio.to_thread(ask_in_a_process, raw.url, certificate[0]) == "Encrypted."

    @needs_openssl
    async def test_a_protocol_that_is_too_old(self, certificate):
        old = server_context(*certificate)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        with RawServer(tls=old) as raw:
            async with Opened(raw.url, check=False) as opened:
                error = await fails(opened, errors.FatalError)
        assert "no TLS connection is possible" in str(error)

    async def test_a_handshake_that_is_cut(self):
        with Dumb(b"") as dumb:
            async with Opened(f"https://127.0.0.1:{dumb.port}/v1", check=False) as opened:
                error = await fails(opened, errors.Transient)
        assert error.unpaid

    async def test_a_handshake_that_hangs(self):
        with Dumb(None) as dumb:
            url = f"https://127.0.0.1:{dumb.port}/v1"
            async with Opened(url, check=False, connect_timeout=0.3) as opened:
                error = await fails(opened, errors.Transient)
            assert error.unpaid and "no connection stood within 0.3 seconds" in str(error)
            with pytest.raises(errors.FatalError, match="no connection stood"):
                await backend(url, connect_timeout=0.3).open(WORK)


class Dumb(RawServer):
    """Reads what comes, says one thing, and hangs up; with nothing to say it waits."""

    def __init__(self, says):
        super().__init__()
        self._says = says

    def serve(self, connection):
        while connection.recv(65536):
            if self._says is not None:
                connection.sendall(self._says)
                return


def ask_in_a_process(url, authority):
    """Return the text of the answer, or the error's class and message."""
    code = """
import asyncio, sys
import evolteacher as et
from evolteacher_backends.openai_compatible import OpenAICompatible

async def main():
    backend = OpenAICompatible(model="m", base_url=sys.argv[1], check=False)
    await backend.open(et.Workload())
    try:
        print((await backend.complete(et.Request((et.Message("user", "hi"),)))).text)
    except Exception as error:
        print(repr(error))
    await backend.close()

asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, url], capture_output=True, text=True, check=True,
        env={"SSL_CERT_FILE": str(authority), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert not done.stderr
    return done.stdout.strip()


@pytest.fixture(autouse=True)
def no_proxy_of_ones_own(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


class TestProxies:
    FAR = "http://models.example/v1"
    PASSWORD = "p@ss-w0rd"

    async def ask(self, url=FAR, **options):
        async with Opened(url, check=False, **options) as opened:
            return await opened.complete(request())

    async def test_http_goes_through_it(self, monkeypatch):
        with Proxy(response(chat("Far."))) as proxy:
            monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
            monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
            assert (await self.ask()).text == "Far."
        assert proxy.seen[0].target == f"{self.FAR}/chat/completions"

    async def test_one_for_all(self, monkeypatch):
        with Proxy(response(chat("Far."))) as proxy:
            monkeypatch.setenv("all_proxy", f"127.0.0.1:{proxy.port}")
            assert (await self.ask()).text == "Far."

    async def test_its_password(self, monkeypatch):
        with Proxy(response(chat("Far."))) as proxy:
            monkeypatch.setenv("http_proxy", f"http://me:p%40ss-w0rd@127.0.0.1:{proxy.port}")
            async with Opened(self.FAR, check=False) as opened:
                await opened.complete(request())
                assert {self.PASSWORD, "p%40ss-w0rd"} <= set(opened.secrets())
        assert proxy.seen[0].headers["proxy-authorization"] == "Basic bWU6cEBzcy13MHJk"

    @pytest.mark.parametrize("exempt", ["models.example", ".example", "*"])
    async def test_hosts_that_are_exempt(self, monkeypatch, nowhere, exempt):
        monkeypatch.setenv("http_proxy", nowhere.removesuffix("/v1"))
        monkeypatch.setenv("no_proxy", exempt)
        with pytest.raises(errors.Transient, match=r"no address is known for 'models\.example'"):
            await self.ask()

    async def test_never_for_this_machine(self, monkeypatch, provider, nowhere):
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, nowhere.removesuffix("/v1"))
        assert (await self.ask(provider.url)).text

    async def test_one_that_is_not_there(self, monkeypatch, nowhere):
        monkeypatch.setenv("http_proxy", nowhere.removesuffix("/v1"))
        with pytest.raises(errors.Transient, match=r"the proxy 127\.0\.0\.1:[0-9]+ refuses connections") as caught:
            await self.ask()
        assert caught.value.unpaid

    async def test_one_of_another_kind(self, monkeypatch):
        monkeypatch.setenv("all_proxy", "socks5://me:s3cret-word@127.0.0.1:1080")
        with pytest.raises(errors.FatalError, match="a proxy of socks5") as caught:
            await self.ask()
        assert "s3cret" not in str(caught.value)

    @pytest.mark.parametrize(
        ("status", "kind", "said"),
        [
            (407, errors.FatalError, "user and password"),
            (403, errors.FatalError, "NO_PROXY"),
            (502, errors.Transient, "says 502"),
            (429, errors.Transient, "says 429"),
        ],
    )
    async def test_one_that_says_no(self, monkeypatch, status, kind, said):
        with Proxy(refusal=response(b"no", status)) as proxy:
            monkeypatch.setenv("https_proxy", f"http://me:{self.PASSWORD}@127.0.0.1:{proxy.port}".replace("p@", "p%40"))
            with pytest.raises(errors.BackendError) as caught:
                await self.ask(self.FAR.replace("http:", "https:"))
        assert type(caught.value) is kind and said in str(caught.value)
        assert self.PASSWORD not in str(caught.value)
        assert getattr(caught.value, "unpaid", True)
        assert proxy.seen[0].target == "models.example:443"
        assert "proxy-authorization" in proxy.seen[0].headers
        assert "authorization" not in proxy.seen[0].headers

    @needs_openssl
    async def test_https_is_a_tunnel(self, monkeypatch, certificate):
        """The certificate is looked at through it."""
        with RawServer(tls=server_context(*certificate)) as raw, Proxy(tunnel_to=raw.port) as proxy:
            monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.port}")
            with pytest.raises(errors.FatalError, match="not trusted"):
                await self.ask(self.FAR.replace("http:", "https:"))
        assert [seen.method for seen in proxy.seen] == ["CONNECT"]


class TestRuns:
    """Through the core: recipe, limits, retries, store."""

    def recipe(self, provider, tmp_path, **options):
        seeds = tmp_path / "seeds.jsonl"
        rows = [{"instruction": f"Write a function that doubles {n}.", "output": "…"} for n in range(20)]
        seeds.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return et.Recipe.from_dict(
            {
                "evolteacher": 1, "name": "over-http", "seeds": {"path": str(seeds)}, "rounds": 2,
                "operators": ["add-constraints"], "concurrency": 8, "export": ["jsonl"],
                "limits": {"first_wait": 0.01, "longest_wait": 0.05},
                "backends": {"evolve": {"openai-compatible": {"model": "m", "base_url": provider.url, **options}}},
            }
        )  # fmt: skip

    def test_faults_cost_no_record_and_no_call_twice(self, provider, tmp_path):
        provider.configure(faults={"500": 0.05, "cut": 0.05, "not-json": 0.03, "429": 0.03}, fault_retry_after=0.01)
        result = et.run(self.recipe(provider, tmp_path), tmp_path / "run")
        assert (result.records, result.pending) == (60, 0)
        rows = provider.requests()
        assert len(rows) == 80
        assert all(row["answered"] == 1 for row in rows)

    def test_the_key_is_in_no_artefact(self, provider, tmp_path, key, caplog):
        """Also where the provider writes it into each answer."""
        provider.configure(key=KEY, echo_key="answer", faults={"500": 0.1})
        result = et.run(self.recipe(provider, tmp_path, api_key=key), tmp_path / "run")
        assert result.records == 60
        files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
        assert len(files) >= 3
        for path in files:
            assert KEY.encode() not in path.read_bytes(), path
        assert KEY not in caplog.text
        assert any("[secret]" in path.read_text(errors="replace") for path in files)

    def test_a_wrong_key_stops_it_at_once(self, provider, tmp_path, key):
        provider.configure(key="sk-another")
        with pytest.raises(errors.NotAuthorised, match="LOOPBACK_KEY"):
            et.run(self.recipe(provider, tmp_path, api_key=key), tmp_path / "run")
        assert provider.wait_idle()["outcomes"] == {"401": 1}

    def test_an_option_that_the_recipe_does_not_know(self, provider, tmp_path):
        with pytest.raises(errors.RecipeError, match=r"has no 'api_kay'\. Did you mean 'api_key'\?"):
            self.recipe(provider, tmp_path, api_kay="env:X")

    @pytest.mark.parametrize(
        "options",
        [{"base_url": f"http://u:{KEY}@h/v1"}, {"api_key": KEY}, {"headers": {"X-Api-Key": KEY}}, {"key": KEY}],
    )
    def test_a_secret_in_a_recipe_is_refused_unseen(self, provider, tmp_path, options):
        with pytest.raises(errors.RecipeError) as caught:
            self.recipe(provider, tmp_path, **options)
        assert KEY not in str(caught.value)
