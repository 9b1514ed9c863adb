"""What goes wrong: every exception has its place, both doors agree on every fault, and no error shows a key."""

import asyncio
import importlib.util
import inspect
import shutil
import socket
import ssl
import subprocess
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import aiohttp
import pytest
from loopback import Provider
from loopback.faults import FAULTS

import evolteacher as et
from evolteacher import errors
from evolteacher_backends.litellm import LiteLLM
from evolteacher_backends.litellm.doors import read_by_litellm
from evolteacher_backends.litellm.faults import KINDS, explain, explain_connection
from evolteacher_backends.litellm.offline import Received

installed = pytest.mark.skipif(
    importlib.util.find_spec("litellm") is None, reason="the extra 'litellm' is not installed"
)
KEY = "sk-a-very-secret-key-1234567890"
UNPAID, UNKNOWN = True, False

OUTCOMES = {
    "400": errors.BadReply,
    "401": errors.NotAuthorised,
    "403": errors.NotAuthorised,
    "404": errors.NoSuchModel,
    "404-path": errors.NoSuchModel,
    "too-long": errors.TooLong,
    "policy": errors.Refused,
    "429": errors.RateLimited,
    "quota": errors.FatalError,
    "500": (errors.Transient, UNPAID),
    "502": (errors.Transient, UNPAID),
    "503": (errors.Transient, UNPAID),
    "504": (errors.Transient, UNPAID),
    "529": (errors.Transient, UNPAID),
    "html": (errors.Transient, UNPAID),
    "no-choices": (errors.BrokenReply, UNKNOWN),
    "empty-choices": (errors.BrokenReply, UNKNOWN),
    "error-200": (errors.Transient, UNKNOWN),
    "not-json": (errors.BrokenReply, UNKNOWN),
    "half-json": (errors.BrokenReply, UNKNOWN),
    "bad-utf8": (errors.BrokenReply, UNKNOWN),
    "no-body": (errors.BrokenReply, UNKNOWN),
    "hang": (errors.Transient, UNKNOWN),
    "cut": (errors.Transient, UNKNOWN),
    "reset": (errors.Transient, UNKNOWN),
    "short-body": (errors.Transient, UNKNOWN),
    "content-filter": errors.Refused,
    "refusal": errors.Refused,
    "redirect": errors.FatalError,
    "empty": "",
    "null-content": "",
    "length": "Write",
    "no-usage": "Write",
    "null-usage": "Write",
    "wrong-type": "Write",
    "huge": "xxxxx",
    "drip": "Write",
}
"""Fault -> the error (and whether it is certain that nothing was billed), or how the text begins."""


@pytest.fixture(scope="module")
def provider():
    with Provider(key=KEY, echo_key="error", huge_bytes=300_000, drip_interval=0.0002, tell=True) as provider:
        yield provider


@pytest.fixture
async def ask(provider, monkeypatch):
    monkeypatch.setenv("SOME_VARIABLE", KEY)
    backends = {}

    async def ask(text, direct=True, timeout=30.0, **options):
        name = (direct, timeout, str(options))
        if name not in backends:
            given = {"model": "openai/gpt-4.1-mini", "api_base": provider.url, **options}
            backends[name] = LiteLLM(api_key="env:SOME_VARIABLE", direct=direct, timeout=timeout, **given)
            await backends[name].open(et.Workload())
            assert backends[name]._open.door.name == ("direct" if direct else "public")
        return await backends[name].complete(et.Request((et.Message("user", text),), et.Sampling(max_tokens=50)))

    yield ask
    for backend in backends.values():
        await backend.close()


async def outcome(asked):
    """Return what came of a call, without what may differ between the doors: latency, and the words of errors."""
    try:
        reply = await asked
    except errors.BackendError as error:
        assert KEY not in f"{error} {error!r} {error.args}"
        assert error.__cause__ is None and (error.__context__ is None or error.__suppress_context__)
        known = (getattr(error, name, None) for name in ("unpaid", "retry_after", "limits", "usage"))
        return type(error), *known
    return reply.text, reply.usage, reply.finish_reason, reply.model, reply.cost, reply.limits


@installed
class TestBothDoors:
    def test_every_fault_has_an_outcome(self):
        assert OUTCOMES.keys() == FAULTS.keys()

    @pytest.mark.parametrize("model", ["openai/gpt-4.1-mini", "hosted_vllm/loop"])
    @pytest.mark.parametrize("fault", FAULTS)
    async def test_a_fault_comes_to_the_same(self, ask, fault, model):
        """One way of LiteLLM's goes through the OpenAI client, the other over its own HTTP handler."""
        timeout = 0.3 if fault == "hang" else 30.0
        text = f"hello [[fault:{fault}]]"
        if fault == "400":  # see below
            _ = [await ask("hello", way, model=model) for way in (True, False)]
        direct, public = [await outcome(ask(text, way, timeout, model=model)) for way in (True, False)]
        expected = OUTCOMES[fault]
        if isinstance(expected, str):
            assert direct[0].startswith(expected)
        elif isinstance(expected, tuple):
            assert direct[:2] == expected
        else:
            assert direct[0] is expected
        if fault == "redirect":  # LiteLLM takes the key along to wherever it is sent on
            assert public[0] is errors.NoSuchModel
        else:
            assert direct == public

    @pytest.mark.parametrize("direct", [True, False])
    @pytest.mark.parametrize("at", [0, 1, 15, 60, "head", "body"])
    async def test_a_cut_anywhere_may_pass_and_may_have_cost(self, ask, at, direct):
        found = await outcome(ask(f"x [[fault:cut@{at}]]", direct))
        assert found[:2] == (errors.Transient, UNKNOWN)

    @pytest.mark.parametrize("direct", [True, False])
    async def test_nobody_listens_and_nothing_was_paid(self, ask, direct):
        with socket.socket() as held:
            held.bind(("127.0.0.1", 0))
            base = f"http://127.0.0.1:{held.getsockname()[1]}/v1"
            assert (await outcome(ask("x", direct, api_base=base)))[:2] == (errors.Transient, UNPAID)
        nowhere = "http://no-such-host.invalid/v1"
        assert (await outcome(ask("x", direct, api_base=nowhere)))[:2] == (errors.Transient, UNPAID)

    @pytest.mark.parametrize("direct", [True, False])
    async def test_refused_with_what_was_billed(self, ask, direct):
        for fault in ("content-filter", "refusal"):
            with pytest.raises(errors.Refused) as caught:
                await ask(f"x [[fault:{fault}]]", direct)
            assert caught.value.usage.prompt_tokens > 0 and caught.value.usage.completion_tokens > 0

    @pytest.mark.parametrize("direct", [True, False])
    async def test_a_request_that_is_not_taken_stops_the_run_until_one_was_answered(self, ask, direct):
        """Else a wrong option would have every seed rejected, for good."""
        with pytest.raises(errors.FatalError, match="So would all other requests be refused: compare model, extra"):
            await ask("x [[fault:400]]", direct)
        await ask("hello", direct)
        with pytest.raises(errors.BadReply):
            await ask("x [[fault:400]]", direct)

    @pytest.mark.parametrize("direct", [True, False])
    @pytest.mark.parametrize("told", ["seconds", "date", "milliseconds", "none"])
    async def test_how_long_to_wait(self, provider, ask, told, direct):
        provider.configure(retry_after=told, fault_retry_after=20.0, requests_per_minute=500)
        try:
            with pytest.raises(errors.RateLimited) as caught:
                await ask("x [[fault:429]]", direct)
        finally:
            provider.configure(retry_after="seconds", fault_retry_after=1.0, requests_per_minute=None)
        wait = caught.value.retry_after
        assert wait is None if told == "none" else 18 < wait <= 21
        assert caught.value.limits == et.RateLimits(requests_per_minute=500.0)

    @pytest.mark.alone
    @pytest.mark.parametrize("direct", [True, False])
    async def test_a_time_out_comes_when_it_was_said(self, ask, direct):
        await ask("x", direct)  # the first ask imports LiteLLM, which takes longer than the time-out
        started = time.perf_counter()
        with pytest.raises(errors.Transient):
            await ask("x [[fault:hang]]", direct, 0.4)
        assert 0.3 < time.perf_counter() - started < 3

    @pytest.mark.parametrize("direct", [True, False])
    async def test_litellm_asks_once(self, provider, ask, direct):
        provider.reset()
        for fault in ("500", "429", "cut", "401"):
            with pytest.raises(errors.BackendError):
                await ask(f"once [[fault:{fault}]]", direct)
        assert provider.wait_idle()["requests"] == 4

    async def test_the_words_are_the_providers(self, ask):
        with pytest.raises(errors.Transient) as caught:
            await ask("x [[fault:502]]")
        assert str(caught.value) == "'openai/gpt-4.1-mini': Bad gateway. (Bearer [secret])"

    async def test_nothing_shows_the_key(self, provider, monkeypatch):
        monkeypatch.setenv("SOME_VARIABLE", KEY)
        headers = {"extra_headers": {"k": "env:SOME_VARIABLE"}}
        backend = LiteLLM(model="openai/x", api_key="env:SOME_VARIABLE", api_base=provider.url, extra=headers)
        await backend.open(et.Workload())
        shown = f"{backend!r} {backend} {backend.identity()} {backend.options()} {backend.model_dump_json()}"
        assert KEY not in shown + backend.account() and "env:SOME_VARIABLE" in shown
        assert KEY in backend.secrets()
        await backend.close()


def exceptions():
    """Return every exception class that LiteLLM or the OpenAI client gives to its users."""
    import litellm
    import openai

    given = [
        getattr(module, name, None)
        for module in (litellm.exceptions, litellm, openai)
        for name in dir(module)
        if not name.startswith("_")
    ]
    classes = {cls for cls in given if inspect.isclass(cls) and issubclass(cls, BaseException)}
    return {cls for cls in classes if cls.__module__.split(".")[0] in ("litellm", "openai")}


class Failure(Exception):
    """A provider's error as LiteLLM raises one: a status, and perhaps headers."""

    def __init__(self, text="", status=None, **fields):
        super().__init__(text)
        self.status_code = status
        vars(self).update(fields)


class TestMapping:
    @installed
    def test_every_exception_is_mapped_by_its_own_name(self):
        """Fails when a new LiteLLM brings a new one: decide what it means, and add it to KINDS."""
        classes = exceptions()
        assert len(classes) >= 40
        assert sorted(cls.__name__ for cls in classes if cls.__name__ not in KINDS) == []

    @pytest.mark.parametrize(
        ("name", "status", "cls"),
        [
            ("AuthenticationError", 401, errors.NotAuthorised), ("PermissionDeniedError", 403, errors.NotAuthorised),
            ("NotFoundError", 404, errors.NoSuchModel), ("LiteLLMUnknownProvider", 400, errors.NoSuchModel),
            ("BadRequestError", 400, errors.BadReply), ("UnprocessableEntityError", 422, errors.BadReply),
            ("BadRequestError", 401, errors.NotAuthorised), ("BadRequestError", 404, errors.NoSuchModel),
            ("UnsupportedParamsError", 400, errors.FatalError), ("ContextWindowExceededError", 400, errors.TooLong),
            ("ContentPolicyViolationError", 400, errors.Refused), ("RejectedRequestError", 400, errors.Refused),
            ("GuardrailRaisedException", None, errors.Refused), ("PaymentRequiredError", 402, errors.FatalError),
            ("BudgetExceededError", 429, errors.FatalError), ("RateLimitError", 429, errors.RateLimited),
            ("RouterRateLimitError", None, errors.RateLimited), ("Timeout", 408, errors.Transient),
            ("ServiceUnavailableError", 503, errors.Transient), ("BadGatewayError", 502, errors.Transient),
            ("InternalServerError", 500, errors.Transient), ("APIConnectionError", 500, errors.Transient),
            ("MidStreamFallbackError", 503, errors.Transient), ("ConflictError", 409, errors.Transient),
            ("APIResponseValidationError", 500, errors.BrokenReply),
            ("JSONSchemaValidationError", None, errors.BrokenReply),
            ("APIError", 529, errors.Transient), ("APIError", 429, errors.RateLimited),
            ("APIError", 413, errors.TooLong), ("APIError", 402, errors.FatalError),
            ("APIError", 418, errors.BadReply), ("APIError", None, errors.FatalError),
            ("NewInTheNextVersion", 503, errors.Transient), ("NewInTheNextVersion", None, errors.FatalError),
            ("ContentFilterFinishReasonError", None, errors.Refused),
        ],
    )  # fmt: skip
    def test_what_classes_and_statuses_mean(self, name, status, cls):
        found = explain(type(name, (Failure,), {})("It failed.", status), "m", str)
        assert type(found) is cls
        assert "'m': It failed." in str(found)

    @pytest.mark.parametrize(
        ("status", "text", "cls"),
        [
            (400, "This model's maximum context length is 8192 tokens.", errors.TooLong),
            (400, "prompt is too long: 210000 tokens", errors.TooLong),
            (400, "Your request was rejected by our safety system.", errors.Refused),
            (400, "The prompt triggered the content management policy", errors.Refused),
            (403, "Your chosen model requires moderation and your input was flagged", errors.Refused),
            (429, "You exceeded your current quota, check billing.", errors.FatalError),
            (400, "Your credit balance is too low", errors.FatalError),
            (400, "Unsupported parameter: 'top_p'", errors.FatalError),
            (500, "Expecting value: line 1 column 1", errors.BrokenReply),
            (500, "Missing credentials. Please pass one of `api_key`", errors.NotAuthorised),
        ],
    )
    def test_what_only_the_words_tell(self, status, text, cls):
        assert type(explain(Failure(text, status), "m", str)) is cls

    def test_googles_words_for_a_rate_limit_are_openais_for_no_money(self):
        text = "You exceeded your current quota, please check your plan."
        assert type(explain(Failure(text, 429, llm_provider="gemini"), "m", str)) is errors.RateLimited
        assert type(explain(Failure(text, 429, llm_provider="openai"), "m", str)) is errors.FatalError

    @pytest.mark.parametrize("cause", [ImportError, ModuleNotFoundError])
    def test_a_package_that_a_provider_needs(self, cause):
        """LiteLLM wraps it as if a connection had failed, and asking again would not bring it."""
        failure = type("APIConnectionError", (Failure,), {})("No module named 'boto3'", 500)
        failure.__context__ = cause("No module named 'boto3'")
        assert type(explain(failure, "m", str)) is errors.FatalError

    @pytest.mark.parametrize(
        ("status", "body", "cls", "unpaid"),
        [
            (200, b"{}", errors.BrokenReply, False),
            (200, b"<html>", errors.BrokenReply, False),
            (200, b'{"error": {"message": "upstream failed"}}', errors.Transient, False),
            (500, b"{}", errors.Transient, True),
        ],
    )
    async def test_what_litellm_cannot_read_and_says_in_new_words(self, status, body, cls, unpaid):
        class Composer:
            async def read(self, received, changing):
                raise Failure("in words that nobody knows", 500)

        with pytest.raises(errors.BackendError) as caught:
            await read_by_litellm(Composer(), Received(status, {}, body), {}, "m", str)
        assert (type(caught.value), caught.value.unpaid) == (cls, unpaid)

    def test_prefixes_go_and_long_texts_are_cut(self):
        text = "litellm.RateLimitError: RateLimitError: OpenAIException - Slow down" + "." * 1000
        shown = str(explain(Failure(text, 429), "m", str))
        assert shown.startswith("'m': Slow down...") and len(shown) < 520 and shown.endswith("…")

    def test_secrets_are_hidden_before_anything_is_cut(self):
        text = "x" * 490 + KEY
        assert "sk-" not in str(explain(Failure(text, 500), "m", lambda said: et.hide(said, [KEY])))

    def test_headers_wherever_litellm_puts_them(self):
        later = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
        response = type("Response", (), {"headers": {"Retry-After": later}})()
        for fields, low, high in (
            ({"litellm_response_headers": {"llm_provider-retry-after": "7"}}, 7, 7),
            ({"headers": {"retry-after-ms": "250", "retry-after": "9"}}, 0.25, 0.25),
            ({"response": response}, 25, 30),
        ):
            found = explain(Failure("slow", 429, **fields), "m", str)
            assert low <= found.retry_after <= high
        assert explain(Failure("slow", 429, headers="nonsense"), "m", str).retry_after is None

    @pytest.mark.parametrize(
        ("error", "cls", "unpaid"),
        [
            (aiohttp.ServerDisconnectedError(), errors.Transient, False),
            (aiohttp.ClientPayloadError("x"), errors.Transient, False),
            (aiohttp.ClientOSError(104, "reset"), errors.Transient, False),
            (TimeoutError(), errors.Transient, False),
            (aiohttp.ConnectionTimeoutError("x"), errors.Transient, True),
            (ConnectionResetError("x"), errors.Transient, False),
            (aiohttp.InvalidURL("http://["), errors.FatalError, None),
        ],
    )
    def test_what_a_connection_raises(self, error, cls, unpaid):
        found = explain_connection(error, "m", 5.0, str)
        assert type(found) is cls and getattr(found, "unpaid", None) == unpaid

    def test_a_mistake_of_ours_is_no_fault_of_a_connection(self):
        assert explain_connection(KeyError("x"), "m", 5.0, str) is None

    @installed
    @pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl, which makes the certificate, is not here")
    async def test_a_certificate_that_nobody_vouches_for(self, tmp_path, monkeypatch):
        """Asking again would not help: the run stops, and the message says how to trust it."""
        key, certificate = (str(tmp_path / name) for name in ("key.pem", "cert.pem"))
        subject = ["-subj", "/CN=localhost", "-days", "2", "-nodes", "-newkey", "rsa:2048"]
        command = ["openssl", "req", "-x509", *subject, "-keyout", key, "-out", certificate]
        subprocess.run(command, capture_output=True, check=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        monkeypatch.setenv("SOME_VARIABLE", KEY)
        server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0, ssl=context)
        async with server:
            base = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
            for direct in (True, False):
                backend = LiteLLM(model="openai/x", api_key="env:SOME_VARIABLE", api_base=base, direct=direct)
                await backend.open(et.Workload())
                with pytest.raises(errors.FatalError, match="SSL_CERT_FILE"):
                    await backend.complete(et.Request((et.Message("user", "x"),)))
                await backend.close()
