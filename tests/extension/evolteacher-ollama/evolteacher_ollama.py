"""Ollama, spoken to in its own tongue (``/api/chat``)."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import aiohttp
from pydantic import Field, PrivateAttr, field_validator

import evolteacher as et
from evolteacher import errors


class Ollama(et.Backend, name="ollama"):
    """Answer with a model that an Ollama server runs."""

    model: str = Field(min_length=1, description="As `ollama list` names it.")
    base_url: str = Field("http://127.0.0.1:11434", description="Where the server is.")
    api_key: str | None = et.free(None, description="`env:NAME`, where a proxy before the server wants one.")
    timeout: float = et.free(600.0, gt=0, description="Seconds after which a call is given up.")

    _session: aiohttp.ClientSession | None = PrivateAttr(None)
    _key: str = PrivateAttr("")

    @field_validator("api_key")
    @classmethod
    def _check_key(cls, key: str | None) -> str | None:
        return et.check_reference(key)

    def account(self) -> str:
        """Servers behind one key share its limits."""
        return self.api_key or self.base_url

    def price(self) -> et.Price:
        """It is the user's own machine."""
        return et.FREE

    def secrets(self) -> tuple[str, ...]:
        """The key, where there is one."""
        return (self._key,) if self._key else ()

    async def open(self, workload: et.Workload) -> None:
        """Connect, and see that the model is there."""
        await self.close()
        if self.api_key is not None:
            self._key = et.read_secret(self.api_key, "backend 'ollama': api_key")
        self._session = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {self._key}"} if self._key else {},
            timeout=aiohttp.ClientTimeout(total=self.timeout),
            connector=aiohttp.TCPConnector(limit=0),
        )
        try:
            await self._post("/api/show", {"model": self.model})
        except BaseException:
            await self.close()
            raise

    async def complete(self, request: et.Request) -> et.Reply:
        """Ask once."""
        sampling = request.sampling
        options: dict[str, Any] = {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "num_predict": sampling.max_tokens,
        }
        if sampling.stop:
            options["stop"] = list(sampling.stop)
        if sampling.seed is not None:
            options["seed"] = sampling.seed
        messages = [{"role": message.role, "content": message.content} for message in request.messages]
        began = time.monotonic()
        answer = await self._post(
            "/api/chat", {"model": self.model, "messages": messages, "options": options, "stream": False}
        )
        try:
            text, usage = answer["message"]["content"], et.Usage(answer["prompt_eval_count"], answer["eval_count"])
        except (KeyError, TypeError):
            raise errors.BrokenReply("ollama: an answer without a message") from None
        return et.Reply(text, usage, answer.get("done_reason") or "stop", self.model, time.monotonic() - began)

    async def close(self) -> None:
        """Drop the connections."""
        session, self._session, self._key = self._session, None, ""
        if session is not None:
            await session.close()

    async def _post(self, path: str, body: dict[str, Any]) -> Any:
        if self._session is None:
            raise errors.FatalError("backend 'ollama' is not open")
        try:
            async with self._session.post(f"{self.base_url}{path}", json=body) as answer:
                text = await answer.text()
        except (aiohttp.ClientError, TimeoutError, asyncio.IncompleteReadError) as error:
            unpaid = isinstance(error, aiohttp.ClientConnectorError)
            raise errors.Transient(f"ollama: {error or type(error).__name__}", unpaid=unpaid) from None
        if answer.status != 200:
            raise self._explain(answer.status, answer.headers, text[:300])
        try:
            return json.loads(text)
        except ValueError:
            raise errors.BrokenReply(f"ollama: no JSON: {text[:100]!r}") from None

    def _explain(self, status: int, headers: Any, text: str) -> errors.BackendError:
        said = f"ollama: HTTP {status}: {text}"
        if status in (401, 403):
            return errors.NotAuthorised("ollama: the key is missing or wrong: set api_key: env:NAME")
        if status == 404:
            return errors.NoSuchModel(f"ollama: there is no '{self.model}': ollama pull {self.model}")
        if status == 429:
            return errors.RateLimited(said, et.retry_after(headers), et.rate_limits(headers))
        if status >= 500:
            return errors.Transient(said, unpaid=True)
        return errors.TooLong(said) if "context" in text else errors.BadReply(said)


@et.hookimpl
def register_backends() -> list[type[et.Backend]]:
    """Bring it."""
    return [Ollama]
