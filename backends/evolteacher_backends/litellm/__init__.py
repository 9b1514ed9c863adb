"""``litellm``: the providers that LiteLLM knows, OpenAI, Anthropic, Azure, Bedrock and many more."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, PrivateAttr, field_validator

import evolteacher as et
from evolteacher import errors
from evolteacher_backends.litellm import prices
from evolteacher_backends.litellm.options import check_address, check_extra, names_a_secret, references, resolve
from evolteacher_backends.model_terms import terms_of_provider

if TYPE_CHECKING:
    from evolteacher_backends.litellm.connection import Connection


PASSED_ON = ("custom_openai", "hosted_vllm", "litellm_proxy", "llamafile", "lm_studio")
"""Providers to whose servers LiteLLM passes calls on as they are."""


class LiteLLM(et.Backend, name="litellm"):
    """Answer with a model of any provider that LiteLLM knows. Needs the extra `litellm`.

    Retries, rate limits and budgets are evolteacher's; LiteLLM's own are off. Keys are named, never written:
    `api_key: env:OPENAI_API_KEY`. Without `api_key` the provider's usual variable is looked up, in the environment or
    in a file `.env`. `mode: batch` sends each step of a round as a provider batch, at half the price.
    """

    # A wrong value may be a key; pydantic would show it.
    model_config = ConfigDict(hide_input_in_errors=True)

    primary: ClassVar[str] = "model"

    # OpenAI's and Azure's bounds of a batch's file.
    most_in_batch: ClassVar[int] = 50_000
    most_bytes_in_batch: ClassVar[int | None] = 200_000_000

    model: str = Field(min_length=1, description="As LiteLLM writes it: `provider/model`, e.g. `openai/gpt-4.1-mini`.")
    api_key: str | None = et.free(None, description="`env:NAME`, the environment variable that holds the key.")
    api_base: str | None = Field(None, description="Address of the API, where it is not the provider's own.")
    timeout: float = et.free(600.0, gt=0, description="Seconds after which a call that has left is given up.")
    mode: Literal["interactive", "batch"] = et.free(
        "interactive", description="`batch`: half the price, within a day; `openai` and `azure` models."
    )
    direct: bool = et.free(
        True,
        description="Send what LiteLLM composes over connections of our own where that is shown to be the same, at a "
        "quarter of the time; `false`: always LiteLLM's connections.",
    )
    extra: dict[str, Any] = Field(
        default_factory=dict,
        description="Further arguments of `litellm.acompletion`, such as `api_version`, `reasoning_effort` or "
        "`drop_params: true`; a text `env:NAME` stands for that variable.",
    )

    _open: Any = PrivateAttr(None)
    _secrets: tuple[str, ...] = PrivateAttr(())

    @field_validator("api_key")
    @classmethod
    def _check_key(cls, key: str | None) -> str | None:
        return et.check_reference(key)

    @field_validator("api_base")
    @classmethod
    def _check_base(cls, base: str | None) -> str | None:
        return base if base is None else check_address(base)

    @field_validator("extra")
    @classmethod
    def _check_extra(cls, extra: dict[str, Any]) -> dict[str, Any]:
        return check_extra(extra)

    def account(self) -> str:
        """Return the key's reference, else the server's address, else the provider's usual variable."""
        if self.api_key is not None:
            return self.api_key
        if self.api_base is not None:
            return urlsplit(self.api_base).netloc
        return f"env:{_usual_variable(prices.provider_of(self.model) or self.model)}"

    def price(self) -> et.Price | None:
        """Return what LiteLLM's price map says, without importing LiteLLM; batches cost half."""
        return prices.known_price(self.model, batch=self.in_batches())

    def terms(self) -> str:
        """Return whose terms hold, by the provider; unknown where another address answers."""
        return "" if self.api_base else terms_of_provider(prices.provider_of(self.model))

    def advice(self) -> str:
        """Return how `openai-compatible` is written for the same server, where LiteLLM would only pass calls on."""
        provider, name = prices.provider_of(self.model), self.model.partition("/")[2] or self.model
        served = provider == "openai" or (provider in PASSED_ON and self.api_base is not None)
        if not served or self.in_batches() or self.extra or name.startswith("responses/"):
            return ""
        options = {"model": name}
        if self.api_base is not None:
            options["base_url"] = self.api_base
        if (key := self.api_key or ("env:OPENAI_API_KEY" if provider == "openai" else None)) is not None:
            options["api_key"] = key
        return (
            "this server speaks OpenAI's API, and a new run spends less time on each call with "
            f"openai-compatible: {json.dumps(options)} (which knows no prices: write them under prices:)"
        )

    def secrets(self) -> tuple[str, ...]:
        """Return the keys in use: those that options name, the provider's own, and what is sent as one."""
        return self._secrets

    def in_batches(self) -> bool:
        """Whether ``mode`` is ``batch``."""
        return self.mode == "batch"

    async def open(self, workload: et.Workload) -> None:
        """Import LiteLLM, look up the keys, check that the provider is known, and choose the way to it.

        Raises:
            MissingExtra: litellm is not installed.
            NotAuthorised: an environment variable that holds a key is not set.
            NoSuchModel: LiteLLM does not know the provider.
            FatalError: ``mode`` is ``batch``, and LiteLLM has no batches of this provider.
        """
        from evolteacher_backends.litellm.connection import connect
        from evolteacher_backends.litellm.package import import_litellm

        await self.close()
        given = resolve({"api_key": self.api_key, "extra": self.extra}, "backend 'litellm'")
        litellm = await asyncio.to_thread(import_litellm)
        fixed = {"model": self.model, "timeout": self.timeout, "num_retries": 0, "max_retries": 0, **given["extra"]}
        fixed |= {name: value for name, value in (("api_base", self.api_base), ("api_key", given["api_key"])) if value}
        self._secrets = self._named_secrets(fixed)
        self._open = await connect(
            litellm, fixed, batch=self.in_batches(), direct=self.direct, hide=lambda text: et.hide(text, self._secrets)
        )
        self._secrets = tuple({*self._secrets, *self._open.keys})

    async def complete(self, request: et.Request) -> et.Reply:
        """Ask the provider once; :mod:`evolteacher_backends.litellm.faults` says what its errors become.

        Raises:
            BrokenReply: no choices, or a body that is not the API's.
            Refused: the content policy cut or refused the answer.
            FatalError: the provider does not take the request, and has answered none of this sampling yet.
        """
        opened: Connection | None = self._open
        if opened is None:
            raise errors.FatalError("backend 'litellm' is not open")
        try:
            reply = await opened.door.complete(request)
        except errors.BadReply as error:
            if request.sampling in opened.answered:
                raise
            raise errors.FatalError(
                f"{error}. So would all other requests be refused: compare model, extra and sampling with what this "
                "provider takes; extra: {drop_params: true} leaves out what LiteLLM knows that it does not take"
            ) from None
        if request.sampling not in opened.answered:
            opened.remember(request.sampling)
        return reply

    async def size_in_batch(self, item: str, request: et.Request) -> int:
        """Return the bytes of a request's line in a batch's file."""
        size: int = await self._batches().size(item, request)
        return size

    async def submit(self, requests: Mapping[str, et.Request], tag: str) -> str:
        """Upload the requests and start a batch, tagged in its metadata; return its id."""
        batch: str = await self._batches().submit(requests, tag)
        return batch

    async def find(self, tag: str) -> str | None:
        """Return the id of the batch that was submitted with this tag."""
        found: str | None = await self._batches().find(tag)
        return found

    async def collect(self, batch: str) -> et.BatchState:
        """Return how far a batch is, with its results once it has ended."""
        state: et.BatchState = await self._batches().collect(batch)
        return state

    async def close(self) -> None:
        """Close our connections; those that LiteLLM keeps once no other backend uses them."""
        opened, self._open = self._open, None
        if opened is not None:
            await opened.close()

    def _batches(self) -> Any:
        if self._open is None or self._open.batches is None:
            raise errors.FatalError("backend 'litellm' is not open, or its mode is not batch")
        return self._open.batches

    def _named_secrets(self, fixed: Mapping[str, Any]) -> tuple[str, ...]:
        """Return what the options refer to, and the environment's variables of this provider that hold secrets."""
        environment = et.environment()
        provider = (prices.provider_of(self.model) or self.model).replace("_", "").upper()
        names = {name for name in environment if names_a_secret(name) and name.replace("_", "").startswith(provider)}
        found = {
            environment[name].strip() for name in {*names, *references(self.api_key, self.extra)} & set(environment)
        }
        return tuple(sorted(value for value in found if value))


def _usual_variable(provider: str) -> str:
    return f"{provider.upper().replace('-', '_')}_API_KEY"


@et.hookimpl
def register_backends() -> list[type[et.Backend]]:
    """Bring the LiteLLM backend."""
    return [LiteLLM]
