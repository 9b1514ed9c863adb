"""The two ways to a provider: LiteLLM's own, and a connection of ours for requests that LiteLLM has composed.

``litellm.acompletion`` spends most of its time on what a run does not need: reports, cost, copies, conversions. The
direct door has LiteLLM compose one request of each kind, sends all of that kind over aiohttp with their texts filled
in, reads ordinary answers itself, and hands all others to LiteLLM. It opens only where a check, which asks nothing of
the provider, has shown that LiteLLM would send and read the same.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import ssl
import time
import urllib.parse
import urllib.request
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, Protocol

import evolteacher as et
from evolteacher import errors
from evolteacher_backends.litellm.faults import Hide, explain, explain_connection
from evolteacher_backends.litellm.offline import NotComposed, Offline, Received, arguments
from evolteacher_backends.litellm.package import has_listeners, unreported
from evolteacher_backends.litellm.reading import read_ordinary, reply_of, tells_error
from evolteacher_backends.litellm.template import Template, bearers, lasting, template_for

CONNECT_TIMEOUT = 30.0
"""Seconds for a connection to come about; a server that lives accepts within one."""

MOST_TEMPLATES = 64
"""Kinds of requests (roles and sampling) that are kept; a run has two or three."""

OPENAI_FORM = ("openai", "openrouter", "mistral", "azure_ai", "huggingface")
"""Providers whose chat answers have OpenAI's form, besides those that LiteLLM lists as compatible."""

HANDLED_BY_LITELLM = ("ssl_verify", "shared_session", "azure_ad_token", "azure_ad_token_provider", "logger_fn")
"""Further arguments that concern LiteLLM's own connection."""

SAMPLES = tuple(
    {
        "id": "chatcmpl-check",
        "object": "chat.completion",
        "created": 1700000000,
        "model": "evolteacher-check",
        "service_tier": "default",
        "system_fingerprint": "fp_check",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": content, "refusal": None}, "finish_reason": finish}
        ],
        "usage": {
            "prompt_tokens": 1100,
            "completion_tokens": 70,
            "total_tokens": 1170,
            "prompt_tokens_details": {"cached_tokens": 1024, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 40, "audio_tokens": 0},
        },
    }
    for content, finish in (("\n Sort {a} list; é 🙂 \n", "stop"), ("x" * 300, "length"))
)
"""Ordinary answers; a provider whose answers LiteLLM changes would show it in these."""


class Door(Protocol):
    """A way to the provider."""

    name: str

    async def complete(self, request: et.Request) -> et.Reply:
        """Ask once."""

    async def close(self) -> None:
        """Let go of connections."""


class PublicDoor:
    """``litellm.acompletion`` as it comes.

    Args:
        litellm: the package.
        model: for messages.
        fixed: arguments that are the same for each call.
        hide: takes secrets out of a text.
    """

    name = "public"

    def __init__(self, litellm: Any, model: str, fixed: Mapping[str, Any], hide: Hide) -> None:
        self._litellm = litellm
        self._model = model
        self._fixed = dict(fixed)
        self._hide = hide

    async def complete(self, request: et.Request) -> et.Reply:
        """Ask through LiteLLM."""
        started = time.perf_counter()
        try:
            with unreported(self._litellm):
                answer = await self._litellm.acompletion(**self._fixed, **arguments(request))
        except Exception as error:
            # The chain is cut, since provider's errors repeat the request, key and all.
            raise explain(error, self._model, self._hide) from None
        latency = time.perf_counter() - started
        return replace(reply_of(answer, self._model, self._hide), latency=latency)

    async def close(self) -> None:
        """Do nothing: the connections are LiteLLM's."""


class DirectDoor:
    """A connection of our own; :func:`direct_door` opens it where it may be used.

    Args:
        public: for what cannot go this way.
        composer: says what LiteLLM would send, and how it reads an answer.
        model: the model asked.
        prefix: what LiteLLM puts before the model's name in an answer.
        timeout: seconds for a call.
        hide: takes secrets out of a text.
    """

    name = "direct"

    def __init__(
        self, public: PublicDoor, composer: Offline, model: str, prefix: str, timeout: float, hide: Hide
    ) -> None:
        self._public = public
        self._composer = composer
        self._model = model
        self._prefix = prefix
        self._timeout = timeout
        self._hide = hide
        self._templates: dict[object, Template | None] = {}
        self._composing = asyncio.Lock()
        self._session: Any = None
        self._proxy: str | None = None

    def connect(self, url: str) -> None:
        """Get ready to send to an address, through the proxy and with the certificates that LiteLLM would use."""
        import aiohttp

        self._proxy = _proxy(url)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=tls() if url.startswith("https:") else True),
            timeout=aiohttp.ClientTimeout(total=self._timeout, sock_connect=min(self._timeout, CONNECT_TIMEOUT)),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("User-Agent", "Accept", "Content-Type"),
        )

    async def complete(self, request: et.Request) -> et.Reply:
        """Ask over our own connection."""
        texts = [message.content for message in request.messages]
        template = await self._template(request) if all(map(str.strip, texts)) else None
        if template is None:
            return await self._public.complete(request)
        body = template.fill(texts)
        started = time.perf_counter()
        try:
            async with self._session.post(
                template.url, data=body, headers=template.headers, proxy=self._proxy, allow_redirects=False
            ) as answer:
                raw = await answer.read()
        except Exception as error:
            explained = explain_connection(error, self._model, self._timeout, self._hide)
            if explained is None:
                raise
            raise explained from None
        latency = time.perf_counter() - started
        if 300 <= answer.status < 400:
            raise self._elsewhere(answer)
        reply = read_ordinary(raw) if answer.status == 200 else None
        if reply is None:
            received = Received(answer.status, answer.headers, raw)
            reply = await read_by_litellm(self._composer, received, arguments(request), self._model, self._hide)
        elif self._prefix or not reply.model:
            reply = replace(reply, model=f"{self._prefix}{reply.model}" if reply.model else self._model)
        return replace(reply, latency=latency, limits=et.rate_limits(answer.headers))

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def _template(self, request: et.Request) -> Template | None:
        kind = (request.sampling, tuple([message.role for message in request.messages]))
        if kind in self._templates:
            return self._templates[kind]
        async with self._composing:
            if kind not in self._templates:
                if len(self._templates) >= MOST_TEMPLATES:
                    self._templates.clear()
                self._templates[kind] = await self._composed(request)
            return self._templates[kind]

    async def _composed(self, request: et.Request) -> Template | None:
        try:
            return await template_for(request, self._composer)
        except NotComposed:
            return None
        except Exception as error:
            raise explain(error, self._model, self._hide) from None

    def _elsewhere(self, answer: Any) -> errors.FatalError:
        place = self._hide(answer.headers.get("location", "nowhere"))
        return errors.FatalError(f"'{self._model}': the server sends on to {place}: write that address as api_base")


async def read_by_litellm(
    composer: Offline, received: Received, changing: Mapping[str, Any], model: str, hide: Hide
) -> et.Reply:
    """Read an answer as LiteLLM does.

    Args:
        composer: LiteLLM without its network.
        received: the answer.
        changing: the arguments of ``acompletion`` that it answers.
        model: the model asked.
        hide: takes secrets out of a text.

    Raises:
        BackendError: what the answer means, where it is none.
    """
    try:
        return reply_of(await composer.read(received, changing), model, hide)
    except errors.BackendError:
        raise
    except Exception as error:
        headers = {name.lower(): value for name, value in received.headers.items()}
        explained = explain(error, model, hide, answered=received.status >= 400, headers=headers)
        if received.status == 200 and not tells_error(received.body) and not isinstance(explained, errors.CallError):
            explained = errors.BrokenReply(str(explained))
        raise explained from None


async def direct_door(
    public: PublicDoor,
    composer: Offline,
    litellm: Any,
    model: str,
    provider: str,
    fixed: Mapping[str, Any],
    hide: Hide,
) -> DirectDoor | None:
    """Open the direct door; None where a check shows that LiteLLM itself must send or read.

    Nothing is asked of the provider.

    Raises:
        BackendError: LiteLLM refuses to compose any request, such as for want of a key.
    """
    compatible = provider in OPENAI_FORM or provider in getattr(litellm, "openai_compatible_providers", ())
    if not compatible or has_listeners(litellm) or any(name in fixed for name in HANDLED_BY_LITELLM):
        return None
    changing = {"messages": [{"role": "system", "content": "a"}, {"role": "user", "content": "b"}], "max_tokens": 100}
    try:
        sent = await composer.compose(changing)
    except NotComposed:
        return None
    except Exception as error:
        raise explain(error, model, hide) from None
    if not lasting(sent.headers, {*_texts(fixed.values()), *et.environment().values()}):
        return None
    prefix = await _read_alike(composer, changing)
    if prefix is None:
        return None
    door = DirectDoor(public, composer, model, prefix, float(fixed["timeout"]), hide)
    door.connect(sent.url)
    return door


async def keys_sent(composer: Offline) -> list[str]:
    """Return the keys and tokens that LiteLLM sends along with a call; none where it composes no call."""
    with suppress(Exception):
        sent = await composer.compose({"messages": [{"role": "user", "content": "b"}], "max_tokens": 100})
        return bearers(sent.headers)
    return []


async def _read_alike(composer: Offline, changing: Mapping[str, Any]) -> str | None:
    """Return what LiteLLM puts before a model's name; None where it reads ordinary answers otherwise than we do."""
    prefixes = set()
    for sample in SAMPLES:
        body = json.dumps(sample).encode()
        ours = read_ordinary(body)
        try:
            answer = await composer.read(Received(200, {"content-type": "application/json"}, body), changing)
            theirs = reply_of(answer, "", str)
        except Exception:  # it reads no answers of this form
            return None
        if ours is None or replace(theirs, model=ours.model, limits=None) != ours:
            return None
        if not theirs.model.endswith(ours.model):
            return None
        prefixes.add(theirs.model.removesuffix(ours.model))
    return prefixes.pop() if len(prefixes) == 1 else None


def _texts(values: Iterable[Any]) -> list[str]:
    return [value for value in values if isinstance(value, str)]


def _proxy(url: str) -> str | None:
    """Return the proxy that the environment names for an address."""
    parts = urllib.parse.urlsplit(url)
    if not parts.hostname or urllib.request.proxy_bypass(parts.hostname):
        return None
    proxies = urllib.request.getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    return proxy if not proxy or "://" in proxy else f"http://{proxy}"


def tls() -> ssl.SSLContext | bool:
    """Return LiteLLM's settings for certificates, which SSL_VERIFY and SSL_CERT_FILE change."""
    with suppress(ImportError, AttributeError):
        found = importlib.import_module("litellm.llms.custom_httpx.http_handler").get_ssl_configuration()
        if isinstance(found, str):
            return ssl.create_default_context(cafile=found)
        if isinstance(found, bool | ssl.SSLContext):
            return found
    return True
