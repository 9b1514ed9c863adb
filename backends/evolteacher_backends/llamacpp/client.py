"""Speaks to a llama.cpp server: counts a prompt's tokens, asks, and turns its complaints into evolteacher's errors."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp

from evolteacher import Reply, Usage
from evolteacher.errors import BadReply, BrokenReply, TooLong, Transient

_CONTEXT_EXCEEDED = "exceed_context_size_error"


class LlamaClient:
    """A connection to one server; belongs to the event loop on which it was made.

    Args:
        address: ``http://127.0.0.1:PORT``.
        headers: sent with each request.
    """

    def __init__(self, address: str, headers: Mapping[str, str]) -> None:
        # The server closes a connection after a streamed answer without saying so beforehand: none is used twice.
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        # An answer may take as long as it takes: time in the server's own queue must not look like a fault.
        timeout = aiohttp.ClientTimeout(total=None)
        self._session = aiohttp.ClientSession(address, headers=headers, connector=connector, timeout=timeout)

    async def close(self) -> None:
        """Drop all connections; the server gives up what they asked for."""
        await self._session.close()

    async def slot_tokens(self) -> int:
        """Return the context of one slot, prompt and answer together, as the server really has it."""
        async with self._session.get("/props") as answer:
            return int((await answer.json())["default_generation_settings"]["n_ctx"])

    async def count(self, messages: list[dict[str, str]]) -> int:
        """Return the tokens of a prompt, chat template included, as the model's own tokenizer counts them."""
        prompt = (await self._post("/apply-template", {"messages": messages}))["prompt"]
        body = {"content": prompt, "add_special": True, "parse_special": True}
        return len((await self._post("/tokenize", body))["tokens"])

    async def ask(self, messages: list[dict[str, str]], options: Mapping[str, Any]) -> Reply:
        """Ask for a chat completion.

        The answer is streamed, because a server notices a dropped connection only when it writes to it.

        Raises:
            TooLong: the server found no room.
            BadReply: the server refuses the request for good, as a template does that allows no system message.
            Transient: a fault that may pass.
        """
        begun = time.monotonic()
        pieces: list[str] = []
        finish_reason, usage, model = "", Usage(), ""
        body = {"messages": messages, "stream": True, "stream_options": {"include_usage": True}, **options}
        async for event in self._events(body):
            model = event.get("model") or model
            if counted := event.get("usage"):
                usage = Usage(counted["prompt_tokens"], counted["completion_tokens"])
            for choice in event.get("choices", ()):
                pieces.append(choice["delta"].get("content") or "")
                finish_reason = choice.get("finish_reason") or finish_reason
        if not finish_reason:
            raise BrokenReply("llama.cpp's answer ended before it was whole")
        return Reply("".join(pieces), usage, finish_reason, model, time.monotonic() - begun)

    async def _events(self, body: Mapping[str, Any]) -> AsyncIterator[Any]:
        try:
            async with self._session.post("/v1/chat/completions", json=body) as answer:
                if answer.status != 200:
                    raise _error(answer.status, await answer.text(), passing=answer.status >= 500)
                async for line in answer.content:
                    data = line.removeprefix(b"data:").strip()
                    if line.startswith(b"data:") and data != b"[DONE]":
                        event = json.loads(data)
                        if "error" in event:
                            raise _error(answer.status, data.decode(), passing=True)
                        yield event
        except (aiohttp.ClientError, ValueError, OSError) as error:
            raise Transient(f"llama.cpp: {error or type(error).__name__}") from error

    async def _post(self, path: str, body: Mapping[str, Any]) -> Any:
        try:
            async with self._session.post(path, json=body) as answer:
                text = await answer.text()
                if answer.status != 200:
                    raise _error(answer.status, text, passing=answer.status == 503)
                return json.loads(text)
        except (aiohttp.ClientError, ValueError, OSError) as error:
            raise Transient(f"llama.cpp: {error or type(error).__name__}") from error


def _error(status: int, text: str, *, passing: bool) -> TooLong | BadReply | Transient:
    """Turn what the server complained of into an error; ``passing`` where another try may help."""
    try:
        error = json.loads(text)["error"]
        kind, message = error.get("type", ""), error.get("message", "")
    except (ValueError, LookupError, TypeError, AttributeError):
        kind, message = "", text[:300]
    if kind == _CONTEXT_EXCEEDED:
        return TooLong(f"llama.cpp: {message}")
    return (Transient if passing else BadReply)(f"llama.cpp: HTTP {status}: {message}")
