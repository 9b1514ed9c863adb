"""``embedded``: a small model inside this process, through llama.cpp; no server, no key, no GPU needed."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

from pydantic import Field, PrivateAttr, field_validator

import evolteacher as et
from evolteacher import errors
from evolteacher_backends.known_models import DEFAULT, KNOWN, ModelFile, find_model
from evolteacher_backends.model_terms import terms_of_model

if TYPE_CHECKING:
    from evolteacher_backends.llamacpp.client import LlamaClient
    from evolteacher_backends.llamacpp.server import LlamaServer


class Embedded(et.Backend, name="embedded"):
    """A GGUF model run by llama.cpp inside this process; concurrent calls are batched continuously.

    A known model is fetched on first use (`evolteacher models` lists them). Replies depend a little on what else is in
    a batch, so the same seed gives the same reply only for calls made one at a time.
    """

    model: str = Field(
        DEFAULT,
        description="A known name (see `evolteacher models`), a hub file `hf:owner/repo/file.gguf`, or a path.",
        examples=list(KNOWN),
    )
    top_k: int = Field(0, ge=0, description="Draw among the k likeliest tokens only; 0 is off.")
    min_p: float = Field(
        0.0, ge=0, le=1, description="Drop tokens less likely than this share of the likeliest; 0 is off."
    )
    slots: int | None = et.free(
        None, ge=1, le=256, description="Requests answered at once; sized for the machine by default."
    )
    threads: int | None = et.free(None, ge=1, description="Compute threads; one a core by default.")
    context: int | None = et.free(
        None,
        ge=256,
        description="Tokens of one slot, prompt and answer together; sized by seeds and max_tokens by default.",
    )

    _server: LlamaServer | None = PrivateAttr(None)
    _client: LlamaClient | None = PrivateAttr(None)
    _turns: asyncio.Semaphore | None = PrivateAttr(None)
    _slot_tokens: int = PrivateAttr(0)

    @field_validator("model")
    @classmethod
    def _check_model(cls, text: str) -> str:
        try:
            find_model(text)
        except errors.UsageError as error:
            raise ValueError(str(error)) from None
        return text

    def identity(self) -> str:
        """Name the model's content where its hash is known, else the model as it was written, and the sampling."""
        found = find_model(self.model)
        model = found.sha256 if isinstance(found, ModelFile) and found.sha256 else self.model
        return json.dumps([self.name, model, self.top_k, self.min_p])

    def price(self) -> et.Price:
        """Return that tokens cost nothing."""
        return et.FREE

    def terms(self) -> str:
        """Return the licence of the weights, where the model has a name."""
        known = KNOWN.get(self.model)
        return known.licence.lower() if known is not None else terms_of_model(self.model)

    async def open(self, workload: et.Workload) -> None:
        """Fetch the model where needed, load it, and size it for the workload.

        Raises:
            MissingExtra: xllamacpp is not installed.
            FatalError: the model cannot be fetched or loaded, or has no room for a prompt beside ``max_tokens``.
        """
        from evolteacher_backends.llamacpp.server import load_library

        await self.close()
        load_library()
        path = await self._file()
        try:
            await self._start(path, workload)
        except BaseException:
            await self.close()
            raise

    async def _file(self) -> Path:
        """Return the model's file, fetched in a thread so that Ctrl-C is heard meanwhile."""
        found = find_model(self.model)
        if isinstance(found, Path):
            return found
        from evolteacher_backends.known_models.fetching import fetch

        stop = Event()
        try:
            return await asyncio.to_thread(fetch, found, stop=stop)
        except asyncio.CancelledError:
            stop.set()
            raise

    async def _start(self, path: Path, workload: et.Workload) -> None:
        from evolteacher_backends.llamacpp.client import LlamaClient
        from evolteacher_backends.llamacpp.server import LlamaServer
        from evolteacher_backends.llamacpp.sizing import size

        settings = size(self.model, path, workload, slots=self.slots, threads=self.threads, context=self.context)
        # Loading holds Python's global lock for its second or two, so a thread would win nothing.
        self._server = LlamaServer(settings)
        self._client = LlamaClient(self._server.address, self._server.headers)
        self._slot_tokens = await self._client.slot_tokens()
        self._turns = asyncio.Semaphore(settings.slots)

    async def complete(self, request: et.Request) -> et.Reply:
        """Answer one request; at most ``slots`` are with llama.cpp at once, the others wait here.

        Raises:
            TooLong: prompt and ``max_tokens`` do not fit a slot; nothing was asked.
            BadReply: the model's chat template does not take such messages.
            Transient: a fault that may pass.
            FatalError: it is not open.
        """
        if self._client is None or self._turns is None:
            raise errors.FatalError("backend 'embedded' is not open")
        messages = [{"role": message.role, "content": message.content} for message in request.messages]
        tokens = await self._client.count(messages)
        if tokens + request.sampling.max_tokens > self._slot_tokens:
            raise errors.TooLong(
                f"{tokens:,} tokens of prompt and max_tokens {request.sampling.max_tokens:,} exceed the "
                f"{self._slot_tokens:,} tokens of a slot"
            )
        async with self._turns:
            return await self._client.ask(messages, _options(request, top_k=self.top_k, min_p=self.min_p))

    async def close(self) -> None:
        """Free the model; what is still being answered is cut off. Safe to call twice."""
        client, self._client = self._client, None
        server, self._server = self._server, None
        if client is not None:
            await client.close()
        if server is not None:
            server.stop()


def _options(request: et.Request, *, top_k: int, min_p: float) -> dict[str, Any]:
    """Write a request's sampling as the server's options; samplers that were not asked for are switched off."""
    sampling = request.sampling
    options: dict[str, Any] = {
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": top_k,
        "min_p": min_p,
    }
    if sampling.stop:
        options["stop"] = list(sampling.stop)
    if sampling.seed is not None:
        options["seed"] = sampling.seed
    return options


@et.hookimpl
def register_backends() -> list[type[et.Backend]]:
    """Bring the embedded backend."""
    return [Embedded]


@et.hookimpl
def register_commands(cli: et.CommandTable) -> None:
    """Add ``evolteacher models``."""
    cli.add("models", "evolteacher_backends.models_cli:app", "List, fetch and remove models of the embedded backend.")
