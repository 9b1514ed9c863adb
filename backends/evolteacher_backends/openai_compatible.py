"""``openai-compatible``: chat completions of OpenAI, or of any server that speaks its API, over plain HTTP."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import ConfigDict, Field, PrivateAttr, field_validator, model_validator

import evolteacher as et
from evolteacher import errors
from evolteacher_backends.model_terms import terms_of_host, terms_of_model
from evolteacher_backends.openai_api import address as addresses
from evolteacher_backends.openai_api.address import OPENAI, Address
from evolteacher_backends.openai_api.faults import Asked, explain, read_complaint
from evolteacher_backends.openai_api.wire import Shape, read_reply

if TYPE_CHECKING:
    from evolteacher_backends.openai_api.channel import Channel

_WHO = "backend 'openai-compatible'"

_OPENAI_KEY = "env:OPENAI_API_KEY"

_SET_BY = {"model": "model", "messages": "the operators of the recipe"} | dict.fromkeys(
    ("temperature", "top_p", "max_tokens", "max_completion_tokens", "stop", "seed"), "sampling of the recipe"
)
"""Members of a body that are ours, and where they are set."""

_UNUSABLE = ("stream", "stream_options", "n", "best_of", "echo")
"""Members of a body under which an answer would not be the one answer that is read."""

_SECRET_MEMBER = re.compile(
    r"(?i)api[_-]?key|secret|passw(or)?d|authorization|credential|(access|auth|bearer)[_-]?token"
)

_MOST_SHAPES = 256
"""Samplings that are remembered: a plugin may give each of its calls a seed of its own."""


class _Line:
    """An open backend's line to its server: what each call needs, behind one attribute, since pydantic's are slow.

    Args:
        channel: to the server.
        asked: what all requests have in common.

    Attributes:
        shapes: the requests of each sampling.
    """

    __slots__ = ("asked", "channel", "shapes")

    def __init__(self, channel: Channel, asked: Asked) -> None:
        self.channel = channel
        self.asked = asked
        self.shapes: dict[et.Sampling, Shape] = {}


class OpenAICompatible(et.Backend, name="openai-compatible"):
    """Answer over HTTP with OpenAI, a server of your own (vLLM, llama.cpp, Ollama, LM Studio), or a provider like them.

    Any server that speaks OpenAI's chat completions will do: name it by `base_url`. Keys are named, never written:
    `api_key: env:NAME` stands for the environment variable NAME, or for a line of a file `.env`.
    """

    # A wrong value may be a key; pydantic would show it.
    model_config = ConfigDict(hide_input_in_errors=True)

    primary: ClassVar[str] = "model"

    model: str = Field(min_length=1, description="As the server names it, e.g. `gpt-4.1-mini`.")
    base_url: str = Field(
        OPENAI,
        description="Address of the API, e.g. `http://localhost:8000/v1`; or `env:NAME`, where it may change before a "
        "run is resumed. OpenAI's own by default.",
    )
    api_key: str | None = et.free(
        None, description="`env:NAME`, the variable that holds the key. `env:OPENAI_API_KEY` at OpenAI's own address."
    )
    headers: dict[str, str] = et.free(
        {}, description="Sent with each request; a secret one is written `env:NAME`. No part of the experiment."
    )
    body: dict[str, Any] = Field(
        {},
        description="Further members of each request's body, such as `reasoning_effort`, `top_k` or "
        "`chat_template_kwargs`.",
    )
    drop: tuple[Literal["temperature", "top_p", "stop", "seed"], ...] = Field(
        (), description="Parts of `sampling` that the model does not take. `stop` then ends an answer on arrival."
    )
    max_tokens_name: Literal["max_tokens", "max_completion_tokens"] | None = et.free(
        None, description="What the server calls `max_tokens`: `max_completion_tokens` at OpenAI's own address."
    )
    timeout: float = et.free(
        600.0, gt=0, allow_inf_nan=False, description="Seconds from a call's leaving to the last byte of its answer."
    )
    connect_timeout: float = et.free(10.0, gt=0, allow_inf_nan=False, description="Seconds for a connection to stand.")
    check: bool = et.free(True, description="Ask the server for its models before the first call.")
    patience: float = et.free(
        5.0, ge=0, allow_inf_nan=False, description="Seconds that a server is given to come up before the first call."
    )

    _secrets: tuple[str, ...] = PrivateAttr(())
    _line: _Line | None = PrivateAttr(None)

    @field_validator("base_url")
    @classmethod
    def _check_base(cls, base: str) -> str:
        return base if et.secret_name(base) is not None else addresses.read_address(base).base

    @field_validator("api_key")
    @classmethod
    def _check_key(cls, key: str | None) -> str | None:
        return et.check_reference(key)

    @field_validator("headers")
    @classmethod
    def _check_headers(cls, headers: dict[str, str]) -> dict[str, str]:
        addresses.check_headers(headers)
        return headers

    @field_validator("body")
    @classmethod
    def _check_body(cls, body: dict[str, Any]) -> dict[str, Any]:
        for name in body:
            if name in _SET_BY:
                raise ValueError(f"'{name}' does not go into body: it is set by {_SET_BY[name]}")
            if name in _UNUSABLE:
                raise ValueError(f"'{name}' cannot be used: every reply is the one whole answer of the model")
        for path, value in addresses.leaves(body):
            secret = isinstance(value, str) and (_SECRET_MEMBER.search(path) or addresses.looks_like_key(value))
            if secret or et.secret_name(value) is not None:
                raise ValueError(
                    f"body.{path} looks like a secret, which a body does not hold: see api_key and headers"
                )
            if isinstance(value, float) and value - value != 0:
                raise ValueError(f"body.{path} is no number that JSON knows")
        return body

    @field_validator("drop")
    @classmethod
    def _check_drop(cls, drop: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(sorted(set(drop)))

    @model_validator(mode="after")
    def _check_authorization(self) -> OpenAICompatible:
        if self.api_key is not None and any(name.lower() == "authorization" for name in self.headers):
            raise ValueError("api_key and headers.Authorization are the same header: give one of them")
        return self

    def account(self) -> str:
        """Return the reference of the key, else of a secret header, else the server's origin."""
        references = [self._key_reference(), *sorted(self.headers.values())]
        reference = next((text for text in references if et.secret_name(text) is not None), None)
        if reference is None and et.secret_name(self.base_url) is None:
            return addresses.read_address(self.base_url).origin
        return reference or self.base_url

    def price(self) -> et.Price | None:
        """Return nothing to pay for a server on this machine, else None.

        A proxy on this machine that passes calls on to a provider may tell the cost with each answer; where it does
        not, the recipe's ``prices`` say it.
        """
        try:
            return et.FREE if self._read_address().loopback else None
        except errors.FatalError:
            return None

    def terms(self) -> str:
        """Return whose terms hold at the host, else the licence of the model, where its name tells it."""
        try:
            return terms_of_host(self._read_address().host) or terms_of_model(self.model)
        except errors.FatalError:
            return ""

    def secrets(self) -> tuple[str, ...]:
        """Return the key, the secret headers, and the password of the proxy."""
        return self._secrets

    async def open(self, workload: et.Workload) -> None:
        """Look up the key, and ask the server whether it takes it and has the model.

        Raises:
            NotAuthorised: a variable that is named is not set, or the server does not take the key.
            NoSuchModel: the server lists all its models, and this is none of them.
            FatalError: nothing answers at the address, or something else than the API.
        """
        from evolteacher_backends.openai_api.channel import Channel
        from evolteacher_backends.openai_api.greeting import greet

        await self.close()
        address = self._read_address()
        headers = self._read_headers()
        channel = Channel(address, headers, self.timeout, self.connect_timeout)
        self._secrets += channel.secrets
        most = self.max_tokens_name or ("max_completion_tokens" if address.openai else "max_tokens")
        url = address.url("/chat/completions")
        key = et.secret_name(self._key_reference() or next(filter(et.secret_name, self.headers.values()), None))
        asked = Asked(address.origin, url, self.model, most=most, body=tuple(self.body), key=key, secrets=self._secrets)
        try:
            if self.check:
                asked.models = await greet(channel, address, asked, self.patience)
        except BaseException as error:
            await channel.close()
            if isinstance(error, errors.BackendError):
                self._scrub(error)
            raise
        self._line = _Line(channel, asked)

    async def complete(self, request: et.Request) -> et.Reply:
        """Ask the server once; what its error answers become is told by the functions of ``openai_api.faults``.

        Raises:
            RateLimited: the server says slow down.
            Transient: it was not reached, or its answer did not arrive.
            BrokenReply: what arrived is no answer.
            Refused: a content filter, or the model, declined.
            TooLong: prompt and ``max_tokens`` do not fit the model.
            BadReply: ``max_tokens`` was used up before the answer began, or the server does not take this one request.
            FatalError: no request can succeed.
        """
        # `self._line` says the same; pydantic's way there takes a fiftieth of all that a call costs.
        private = self.__pydantic_private__
        line: _Line | None = private["_line"] if private is not None else None
        if line is None:
            raise errors.FatalError(f"{_WHO} is not open")
        shape = line.shapes.get(request.sampling) or self._shape(request.sampling, line)
        body = shape.body(request.messages)
        started = time.perf_counter()
        try:
            answer = await line.channel.ask(body)
            if answer.status >= 300:
                raise explain(read_complaint(answer.status, answer.data, shape.asked), answer.headers, shape.asked)
            reply = read_reply(answer.data, answer.headers, shape.asked, time.perf_counter() - started)
        except errors.BackendError as error:
            self._scrub(error)
            raise
        shape.asked.answered = True
        return reply

    async def close(self) -> None:
        """Drop the connections; what is still being asked fails. Safe to call twice."""
        line, self._line = self._line, None
        if line is not None:
            await line.channel.close()

    def _shape(self, sampling: et.Sampling, line: _Line) -> Shape:
        if len(line.shapes) >= _MOST_SHAPES:
            line.shapes.clear()
        cut_at = sampling.stop if "stop" in self.drop else ()
        asked = replace(line.asked, max_tokens=sampling.max_tokens, cut_at=cut_at)
        shape = line.shapes[sampling] = Shape(asked, self.body, sampling, self.drop)
        return shape

    def _scrub(self, error: errors.BackendError) -> None:
        """Take secrets out of a message: servers repeat them."""
        error.args = (et.hide(str(error), self._secrets), *error.args[1:])

    def _read_address(self) -> Address:
        """Return where the server is, now.

        Raises:
            NotAuthorised: the variable that should hold it is not set.
            FatalError: it holds no address.
        """
        name = et.secret_name(self.base_url)
        if name is None:
            return addresses.read_address(self.base_url)
        text = et.read_secret(self.base_url, f"{_WHO}: base_url")
        try:
            return addresses.read_address(text)
        except ValueError as error:
            raise errors.FatalError(f"{_WHO}: base_url: the environment variable {name}: {error}") from None

    def _key_reference(self) -> str | None:
        if self.api_key is not None or self.base_url != OPENAI:
            return self.api_key
        return None if any(name.lower() == "authorization" for name in self.headers) else _OPENAI_KEY

    def _read_headers(self) -> dict[str, str]:
        """Return the headers of each request, secrets in place of their references, and remember those.

        Raises:
            NotAuthorised: a variable is not set, or holds what no header can hold.
        """
        self._secrets = ()
        ours = {
            "Accept": "application/json",
            # Answers are short: to unpack them costs more than it saves.
            "Accept-Encoding": "identity",
            "Content-Type": "application/json",
            "User-Agent": f"evolteacher/{et.__version__}",
        }
        given = {name: self._resolve(value, f"headers.{name}") for name, value in self.headers.items()}
        if (key := self._key_reference()) is not None:
            given["Authorization"] = f"Bearer {self._resolve(key, 'api_key')}"
        names = {name.lower() for name in given}
        return {name: value for name, value in ours.items() if name.lower() not in names} | given

    def _resolve(self, value: str, where: str) -> str:
        if et.secret_name(value) is None:
            return value
        secret = et.read_secret(value, f"{_WHO}: {where}")
        if re.search(r"[^\t\x20-\x7e]", secret) or (where == "api_key" and re.search(r"\s", secret)):
            raise errors.NotAuthorised(
                f"{_WHO}: {where}: {value} holds a blank, a line break or a letter that no key has: copy it again"
            )
        # Behind a word such as Bearer the secret stands alone, too.
        self._secrets += tuple(dict.fromkeys((secret, secret.rpartition(" ")[2])))
        return secret


@et.hookimpl
def register_backends() -> list[type[et.Backend]]:
    """Bring the OpenAI-compatible backend."""
    return [OpenAICompatible]
