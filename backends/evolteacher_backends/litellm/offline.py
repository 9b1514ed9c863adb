"""LiteLLM without its network: it says what it would send, and reads what was received.

LiteLLM takes a client of the caller's. The one given here sends nothing: the request that reaches it is thrown out of
LiteLLM as it stands, or is answered with bytes that arrived on another connection. So every request is LiteLLM's own
and every error is read by LiteLLM itself, whatever its version, while the bytes travel by a cheaper road.
"""

from __future__ import annotations

import asyncio
import importlib
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import evolteacher as et
from evolteacher_backends.litellm.package import unreported

_FAKE_KEY = "evolteacher-looks-whether-this-client-is-used"

AZURE_VERSION = "2024-10-21"
"""Azure's stable version of the API, where none is given."""

_RECEIVED_HEADERS = ("content-encoding", "content-length", "transfer-encoding", "connection")
"""Headers of an answer that no longer hold for its decoded bytes."""


@dataclass(frozen=True, slots=True)
class Sent:
    """An HTTP request as LiteLLM would send it."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Received:
    """An HTTP answer, its body decoded."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class _Composed(BaseException):
    """Carries a request out of LiteLLM; no Exception, since LiteLLM would handle one."""

    def __init__(self, sent: Sent) -> None:
        super().__init__()
        self.sent = sent


class NotComposed(Exception):
    """LiteLLM came to an end without a request, or with one over another client."""


_received: ContextVar[Received | None] = ContextVar("received", default=None)


def arguments(request: et.Request) -> dict[str, Any]:
    """Return a request as arguments of ``litellm.acompletion``."""
    sampling = request.sampling
    found: dict[str, Any] = {
        "messages": [{"role": message.role, "content": message.content} for message in request.messages],
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
    }
    if sampling.stop:
        found["stop"] = list(sampling.stop)
    if sampling.seed is not None:
        found["seed"] = sampling.seed
    return found


class Offline:
    """LiteLLM for one model, over a client that sends nothing; :func:`offline` makes one.

    Args:
        litellm: the package.
        fixed: arguments of ``acompletion`` that are the same for each call.
        client: what LiteLLM is given as its client.
        http: the ``httpx.AsyncClient`` in it.

    Attributes:
        genuine: requests carry the real address and key. Not so where LiteLLM keeps the client that it is given, as for
            Azure, since it would hand it to real calls with the same key.
    """

    def __init__(self, litellm: Any, fixed: Mapping[str, Any], client: Any, http: Any) -> None:
        self.genuine = fixed.get("api_key") != _FAKE_KEY
        self._litellm = litellm
        self._fixed = dict(fixed)
        self._client = client
        self._http = http

    async def compose(self, changing: Mapping[str, Any]) -> Sent:
        """Return the request that LiteLLM would send.

        Args:
            changing: arguments of ``acompletion`` besides the fixed ones.

        Raises:
            NotComposed: LiteLLM does not use the client.
            Exception: LiteLLM's own, such as for parameters that the model does not take.
        """
        try:
            await self._ask(changing)
        except _Composed as composed:
            return composed.sent
        raise NotComposed("LiteLLM answered without asking")

    async def read(self, received: Received, changing: Mapping[str, Any]) -> Any:
        """Return LiteLLM's reading of an answer, a ``ModelResponse``.

        Raises:
            Exception: LiteLLM's own, which says what is wrong with the answer.
        """
        token = _received.set(received)
        try:
            return await self._ask(changing)
        finally:
            _received.reset(token)

    async def _ask(self, changing: Mapping[str, Any]) -> Any:
        """Ask to the end: LiteLLM, cancelled on its way through its thread, leaves a coroutine that nobody awaits."""
        with unreported(self._litellm):
            asking = asyncio.ensure_future(self._litellm.acompletion(**self._fixed, **changing, client=self._client))
            try:
                return await asyncio.shield(asking)
            except asyncio.CancelledError:
                await asyncio.wait({asking})
                asking.exception()
                raise

    def kept(self) -> bool:
        """Whether LiteLLM has put the client among those that it uses for later calls."""
        cache = getattr(getattr(self._litellm, "in_memory_llm_clients_cache", None), "cache_dict", {})
        return any(client is self._client for client in cache.values())

    async def close(self) -> None:
        """Close the client, which holds no connection."""
        await self._http.aclose()


async def offline(litellm: Any, fixed: Mapping[str, Any]) -> Offline | None:
    """Find the kind of client that LiteLLM uses for a model; None where it uses none of the caller's.

    It is found with a key that is none and an address that refuses, so that nothing is asked of the provider even where
    LiteLLM takes no heed of the client.

    Args:
        litellm: the package.
        fixed: arguments of ``acompletion`` that are the same for each call.

    Raises:
        Exception: the client's own, such as for want of a key.
    """
    probe = {"messages": [{"role": "user", "content": "?"}], "max_tokens": 1, "drop_params": True}
    with _refusing_address() as refusing:
        for make in (_http_handler, _openai_client, _azure_client):
            tried = await _made(litellm, make, {**fixed, "api_base": refusing, "api_key": _FAKE_KEY, "timeout": 5.0})
            if tried is None:
                continue
            try:
                await tried.compose({name: value for name, value in probe.items() if name not in fixed})
            except Exception:  # this kind is not the one: whatever LiteLLM says of it
                await tried.close()
                continue
            if tried.kept():
                return tried
            await tried.close()
            return await _made(litellm, make, fixed, strict=True)
    return None


@contextmanager
def _refusing_address() -> Iterator[str]:
    """Give an address on this machine where nobody listens, and nobody else can come to listen meanwhile."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"


Make = Callable[[Mapping[str, Any], Any], Any]


async def _made(litellm: Any, make: Make, fixed: Mapping[str, Any], *, strict: bool = False) -> Offline | None:
    http = _http_client()
    try:
        return Offline(litellm, fixed, make(fixed, http), http)
    except Exception:  # a client of this kind cannot be made of these arguments
        await http.aclose()
        if strict:
            raise
        return None


def _http_client() -> Any:
    httpx = importlib.import_module("httpx")

    class Transport(httpx.AsyncBaseTransport):  # type: ignore[misc,name-defined]
        async def handle_async_request(self, request: Any) -> Any:
            body = await request.aread()
            received = _received.get()
            if received is None:
                raise _Composed(Sent(request.method, str(request.url), dict(request.headers), body))
            headers = [
                (name, value) for name, value in received.headers.items() if name.lower() not in _RECEIVED_HEADERS
            ]
            return httpx.Response(received.status, headers=headers, content=received.body, request=request)

    return httpx.AsyncClient(transport=Transport())


def _http_handler(fixed: Mapping[str, Any], http: Any) -> Any:
    base = importlib.import_module("litellm.llms.custom_httpx.http_handler").AsyncHTTPHandler

    class Handler(base):  # type: ignore[misc,valid-type]
        def __init__(self) -> None:  # the base's opens connections of its own
            self.timeout = self.event_hooks = self.client_alias = None
            self.client = http

        def __del__(self) -> None:  # the base's closes the client in a task that nobody waits for
            pass

    return Handler()


def _openai_client(fixed: Mapping[str, Any], http: Any) -> Any:
    openai = importlib.import_module("openai")
    return openai.AsyncOpenAI(
        api_key=fixed.get("api_key"), base_url=fixed.get("api_base"), http_client=http, max_retries=0
    )


def _azure_client(fixed: Mapping[str, Any], http: Any) -> Any:
    openai = importlib.import_module("openai")
    return openai.AsyncAzureOpenAI(
        api_key=fixed["api_key"],
        azure_endpoint=fixed["api_base"],
        api_version=fixed.get("api_version") or AZURE_VERSION,
        http_client=http,
        max_retries=0,
    )
