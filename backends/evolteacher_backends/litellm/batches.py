"""Provider batches, in OpenAI's form: a file of requests goes up, a file of answers comes down.

LiteLLM composes the requests and reads the answers. The calls in between are made by the OpenAI client below LiteLLM:
LiteLLM's own functions for files and batches open a client for each call and never close it.
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import evolteacher as et
from evolteacher import errors
from evolteacher_backends.litellm.doors import read_by_litellm, tls
from evolteacher_backends.litellm.faults import Hide, explain
from evolteacher_backends.litellm.offline import AZURE_VERSION, NotComposed, Offline, Received, arguments
from evolteacher_backends.litellm.reading import ordinary
from evolteacher_backends.litellm.template import Template, template_for

PROVIDERS = ("openai", "azure", "hosted_vllm", "litellm_proxy")
"""Providers of which LiteLLM can submit, list and collect batches in OpenAI's form."""

ENDPOINT = "/v1/chat/completions"

TAG = "evolteacher"
"""The name under which a batch's metadata hold our tag."""

PAGE = 100
"""Batches in one page of the list, OpenAI's most."""

ENDED = ("completed", "failed", "expired", "cancelled")

UNANSWERED = ("batch_expired", "batch_cancelled")
"""Codes of lines that were never answered and cost nothing."""

_CUSTOM_ID = re.compile(rb'"custom_id"\s*:\s*"(\w+)"')
"""Finds the id in a line that is otherwise broken; ids are letters and digits."""


class Batches:
    """The batches of one backend.

    Args:
        client: of OpenAI or Azure; :func:`batch_client` makes one.
        model: for messages.
        composer: says what LiteLLM would send for a request.
        hide: takes secrets out of a text.
    """

    def __init__(self, client: Any, model: str, composer: Offline, hide: Hide) -> None:
        self._client = client
        self._model = model
        self._composer = composer
        self._hide = hide
        self._templates: dict[object, Template | None] = {}

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def size(self, name: str, request: et.Request) -> int:
        """Return the bytes of a request's line in the file.

        Raises:
            FatalError: no batch can succeed.
        """
        return len(await self._line(name, request))

    async def submit(self, requests: Mapping[str, et.Request], tag: str) -> str:
        """Upload the requests and start the batch; return its id.

        Raises:
            RetryableError: a fault that may pass.
            FatalError: no batch can succeed.
        """
        lines = [await self._line(name, request) for name, request in requests.items()]
        with self._explained():
            file = await self._client.files.create(file=(f"{tag}.jsonl", b"".join(lines)), purpose="batch")
            batch = await self._client.batches.create(
                completion_window="24h", endpoint=ENDPOINT, input_file_id=file.id, metadata={TAG: tag}
            )
        return str(batch.id)

    async def find(self, tag: str) -> str | None:
        """Return the id of the batch with this tag.

        Raises:
            RetryableError: a fault that may pass.
            FatalError: the provider does not list batches.
        """
        with self._explained():
            async for batch in self._client.batches.list(limit=PAGE):
                if (getattr(batch, "metadata", None) or {}).get(TAG) == tag:
                    return str(batch.id)
        return None

    async def collect(self, batch: str) -> et.BatchState:
        """Return how far a batch is, with its results once it has ended.

        Raises:
            RetryableError: a fault that may pass.
            FatalError: the provider does not know the batch.
        """
        with self._explained():
            state = await self._client.batches.retrieve(batch)
        counts = getattr(state, "request_counts", None)
        answered = (getattr(counts, "completed", 0) or 0) + (getattr(counts, "failed", 0) or 0)
        if state.status == "failed":
            return et.BatchState(ended=True, answered=answered, failed=self._reasons(state))
        if state.status not in ENDED:
            return et.BatchState(ended=False, answered=answered)
        results: dict[str, et.Reply | errors.BackendError] = {}
        for file in (getattr(state, "output_file_id", None), getattr(state, "error_file_id", None)):
            if file:
                results |= await self._results(str(file))
        return et.BatchState(ended=True, answered=answered, results=results)

    async def _line(self, name: str, request: et.Request) -> bytes:
        body = await self._body(request)
        head = {"custom_id": name, "method": "POST", "url": ENDPOINT}
        return json.dumps(head).encode("ascii")[:-1] + b', "body": ' + body + b"}\n"

    async def _body(self, request: et.Request) -> bytes:
        kind = (request.sampling, tuple([message.role for message in request.messages]))
        texts = [message.content for message in request.messages]
        try:
            if kind not in self._templates:
                self._templates[kind] = await template_for(request, self._composer)
            template = self._templates[kind]
            if template is not None and all(map(str.strip, texts)):
                return template.fill(texts)
            return (await self._composer.compose(arguments(request))).body.replace(b"\n", b" ")
        except NotComposed as error:
            raise errors.FatalError(f"'{self._model}': LiteLLM does not compose requests of this provider") from error
        except Exception as error:
            raise _final(explain(error, self._model, self._hide)) from None

    async def _results(self, file: str) -> dict[str, et.Reply | errors.BackendError]:
        with self._explained():
            content = (await self._client.files.content(file)).content
        results: dict[str, et.Reply | errors.BackendError] = {}
        for line in content.splitlines():
            try:
                answer = json.loads(line)
                name, response, error = str(answer["custom_id"]), answer.get("response"), answer.get("error") or {}
                status = int(response["status_code"]) if response else 0
            except (ValueError, LookupError, TypeError, AttributeError):
                if found := _CUSTOM_ID.search(line):
                    results[found[1].decode()] = errors.BrokenReply(f"'{self._model}': a line of {file} is broken")
                continue
            if response:
                results[name] = await self._result(status, response.get("body"))
            elif error.get("code") not in UNANSWERED:
                said = self._hide(str(error.get("message") or error.get("code") or "no answer and no reason"))
                results[name] = errors.Transient(f"'{self._model}': {said}", unpaid=True)
        return results

    async def _result(self, status: int, body: Any) -> et.Reply | errors.BackendError:
        """Read one answer as those of single calls are read."""
        reply = ordinary(body) if status == 200 else None
        if reply is not None:
            return reply if reply.model else replace(reply, model=self._model)
        received = Received(status, {"content-type": "application/json"}, json.dumps(body).encode())
        changing = {"messages": [{"role": "user", "content": "?"}]}
        try:
            return await read_by_litellm(self._composer, received, changing, self._model, self._hide)
        except errors.BackendError as error:
            return error

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what the client raises into one of our errors."""
        try:
            yield
        except Exception as error:
            raise _final(explain(error, self._model, self._hide)) from None

    def _reasons(self, state: Any) -> str:
        """Return why the provider took nothing of a batch, in its words."""
        found = []
        for error in getattr(getattr(state, "errors", None), "data", None) or []:
            line = f"line {error.line}: " if getattr(error, "line", None) else ""
            found.append(f"{line}{getattr(error, 'message', None) or getattr(error, 'code', None)}")
        return self._hide("; ".join(found[:5]) or "it gives no reason")


def batch_client(provider: str, fixed: Mapping[str, Any]) -> Any:
    """Return the OpenAI client, or Azure's, for calls about files and batches.

    Args:
        provider: as LiteLLM names it.
        fixed: arguments of ``acompletion`` that are the same for each call.

    Raises:
        Exception: the client's own, such as for want of a key or an address.
    """
    openai = importlib.import_module("openai")
    common = {
        "api_key": fixed.get("api_key"),
        "organization": fixed.get("organization") or et.environment().get("OPENAI_ORGANIZATION"),
        "default_headers": fixed.get("extra_headers"),
        "timeout": fixed["timeout"],
        "max_retries": 0,
        "http_client": openai.DefaultAsyncHttpxClient(verify=tls()),
    }
    if provider != "azure":
        return openai.AsyncOpenAI(base_url=fixed.get("api_base"), **common)
    version = fixed.get("api_version") or AZURE_VERSION
    return openai.AsyncAzureOpenAI(azure_endpoint=fixed["api_base"], api_version=version, **common)


def _final(error: errors.BackendError) -> errors.BackendError:
    """Return an error about a whole batch: one that may pass, or one that stops the run."""
    if isinstance(error, errors.RetryableError | errors.FatalError) and not isinstance(error, errors.NoSuchModel):
        return error
    return errors.FatalError(f"provider batches: {error}")
