"""An open backend: the arguments that all calls share, the way to the provider, and its batches."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import evolteacher as et
from evolteacher import errors
from evolteacher_backends.litellm import package
from evolteacher_backends.litellm.batches import PROVIDERS, Batches, batch_client
from evolteacher_backends.litellm.doors import Door, PublicDoor, direct_door, keys_sent
from evolteacher_backends.litellm.faults import Hide, explain
from evolteacher_backends.litellm.offline import Offline, offline
from evolteacher_backends.litellm.template import LONGEST_PLACEHOLDER

MOST_SAMPLINGS = 256
"""Samplings that are remembered; a run has a few, but for one that draws a seed for each request."""

_BY_ENDING = (
    ("_API_KEY", "api_key"),
    ("_API_BASE", "api_base"),
    ("_BASE_URL", "api_base"),
    ("_API_VERSION", "api_version"),
)
"""How a provider's usual variables end, and the arguments that stand for them."""

_AZURE = {"AZURE_API_KEY": "api_key", "AZURE_API_BASE": "api_base", "AZURE_API_VERSION": "api_version"}

_BY_NAME = {"VERTEXAI_PROJECT": "vertex_project", "VERTEXAI_LOCATION": "vertex_location"}


@dataclass
class Connection:
    """What :func:`connect` opened.

    Attributes:
        litellm: the package.
        door: the way for single calls.
        batches: None where ``mode`` is ``interactive``.
        keys: what is sent as a key, without what LiteLLM sends where there is none.
        composer: LiteLLM without its network, where it lends itself to that.
        answered: samplings of which a request was answered, so that the provider takes what they have in common.
    """

    litellm: Any
    door: Door
    batches: Batches | None
    keys: tuple[str, ...]
    composer: Offline | None
    answered: set[et.Sampling] = field(default_factory=set)

    def remember(self, sampling: et.Sampling) -> None:
        """Note that a request of this sampling was answered."""
        if len(self.answered) >= MOST_SAMPLINGS:
            self.answered.clear()
        self.answered.add(sampling)

    async def close(self) -> None:
        """Let go of everything."""
        await self.door.close()
        if self.batches is not None:
            await self.batches.close()
        if self.composer is not None:
            await self.composer.close()
        await package.let_go(self.litellm)


async def connect(litellm: Any, fixed: dict[str, Any], *, batch: bool, direct: bool, hide: Hide) -> Connection:
    """Choose the way to the provider; nothing is asked of it.

    Args:
        litellm: the package.
        fixed: arguments of ``acompletion`` that are the same for each call.
        batch: whether provider batches are wanted.
        direct: whether the direct door may be used.
        hide: takes secrets out of a text.

    Raises:
        NoSuchModel: LiteLLM does not know the provider.
        NotAuthorised: there is no key.
        FatalError: LiteLLM has no batches of this provider.
    """
    model = str(fixed["model"])
    provider, key, base = _provider(litellm, fixed)
    if batch and provider not in PROVIDERS:
        raise errors.FatalError(
            f"backend 'litellm': mode: batch works with {', '.join(PROVIDERS)}, not with {provider}: "
            "set mode: interactive"
        )
    fixed = _from_dotenv(litellm, provider, fixed)
    if provider == "azure":
        environment = et.environment()
        usual = {argument: environment.get(variable) for variable, argument in _AZURE.items()}
        fixed = {**{argument: value for argument, value in usual.items() if value}, **fixed}
    for name, value in (("api_key", key), ("api_base", base or _openai_base(litellm, provider))):
        if value and name not in fixed:
            fixed[name] = value
    package.take()
    composer: Offline | None = None
    door: Door | None = None
    try:
        public = PublicDoor(litellm, model, fixed, hide)
        composer = await _composer(litellm, fixed, model, hide)
        if composer is not None and composer.genuine and direct and not batch:
            door = await direct_door(public, composer, litellm, model, provider, fixed, hide)
        if batch and composer is None:
            raise errors.FatalError(
                f"backend 'litellm': no batches for {provider} like this: it needs a key and, but for openai, api_base"
            )
        client = batch_client(provider, fixed) if batch else None
        batches = Batches(client, model, composer, hide) if composer is not None and client is not None else None
        sent = await keys_sent(composer) if composer is not None and composer.genuine else []
        keys = tuple(key for key in {*sent, str(fixed.get("api_key"))} if len(key) >= LONGEST_PLACEHOLDER)
        return Connection(litellm, door or public, batches, keys, composer)
    except BaseException:
        if door is not None:
            await door.close()
        if composer is not None:
            await composer.close()
        await package.let_go(litellm)
        raise


async def _composer(litellm: Any, fixed: Mapping[str, Any], model: str, hide: Hide) -> Offline | None:
    """Return LiteLLM without its network; None where it does not lend itself to that.

    Raises:
        NotAuthorised: there is no key.
    """
    try:
        return await offline(litellm, fixed)
    except Exception as error:
        explained = explain(error, model, hide)
        if isinstance(explained, errors.NotAuthorised):
            raise explained from None
        return None


def _provider(litellm: Any, fixed: Mapping[str, Any]) -> tuple[str, str | None, str | None]:
    """Return the provider, and the key and address that LiteLLM would use where none are given."""
    try:
        _, provider, key, base = litellm.get_llm_provider(
            model=fixed["model"], api_base=fixed.get("api_base"), api_key=fixed.get("api_key")
        )
    except litellm.exceptions.BadRequestError as error:
        raise errors.NoSuchModel(
            f"backend 'litellm': no provider is known for '{fixed['model']}': write provider/model, such as "
            "openai/gpt-4.1-mini; for a server of your own that speaks OpenAI's API, openai/NAME with api_base"
        ) from error
    return str(provider), key, base


def _openai_base(litellm: Any, provider: str) -> str | None:
    """Return the address of OpenAI's API as LiteLLM finds it; None for others, which it finds later."""
    if provider != "openai":
        return None
    environment = et.environment()
    return (
        getattr(litellm, "api_base", None)
        or environment.get("OPENAI_BASE_URL")
        or environment.get("OPENAI_API_BASE")
        or "https://api.openai.com/v1"
    )


def _from_dotenv(litellm: Any, provider: str, fixed: Mapping[str, Any]) -> dict[str, Any]:
    """Add what a ``.env`` file holds of the variables that LiteLLM misses in this process's environment."""
    environment = et.environment()
    missing: list[str] = []
    with suppress(Exception):  # a help where it works
        missing = litellm.validate_environment(fixed["model"]).get("missing_keys") or []
    found = dict(fixed)
    for variable in (*missing, f"{provider.upper()}_API_KEY"):
        value = environment.get(variable, "").strip() if variable not in os.environ else ""
        argument = next((name for ending, name in _BY_ENDING if variable.endswith(ending)), None)
        argument = argument or _BY_NAME.get(variable) or (variable.lower() if variable.startswith("AWS_") else None)
        if value and argument and argument not in found:
            found[argument] = value
    return found
