"""The first word with a server: is it there, does it take the key, does it have the model."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from evolteacher import errors
from evolteacher_backends.openai_api.address import Address
from evolteacher_backends.openai_api.channel import Answer, Channel
from evolteacher_backends.openai_api.faults import Asked, explain, forbids_listing, near_models, read_complaint

_SECONDS = 10.0
"""A list of models that takes longer is not waited for."""

_FIRST_PAUSE = 0.1


async def greet(channel: Channel, address: Address, asked: Asked, patience: float) -> tuple[str, ...]:
    """Ask a server for its models; return what it lists.

    A server that lists none, not all, or not to this key is taken as it is: the first call will tell.

    Args:
        channel: to it.
        address: its.
        asked: the model that is looked for.
        patience: seconds that a server is given to come up.

    Raises:
        NotAuthorised: it does not take the key.
        NoSuchModel: it lists all that it has, and the model is not among them.
        FatalError: nothing answers at the address, or something else than the API.
    """
    answer = await _listing(channel, patience)
    if answer is None:
        return ()
    complaint = read_complaint(answer.status, answer.data, asked)
    if 300 <= answer.status < 400 or (answer.status in (401, 407) and not forbids_listing(complaint)):
        raise explain(complaint, answer.headers, asked)
    if answer.status in (404, 405) and address.own and not address.path.endswith("/v1"):
        await _look_below(channel, address)
    if answer.status != 200:
        return ()
    models = _names(answer.data)
    if models and _lists_all(address, models) and not _among(asked.model, models):
        raise errors.NoSuchModel(
            f"{address.origin} has no model '{asked.model}'.{near_models(asked.model, models)} (check: false asks it "
            "all the same)"
        )
    return models


async def _listing(channel: Channel, patience: float) -> Answer | None:
    """Return the answer of ``/models``; None where none came that says anything.

    Raises:
        FatalError: nothing could be reached for all the patience.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + patience
    pause = _FIRST_PAUSE
    while True:
        try:
            answer: Answer | None = await channel.get("/models", _SECONDS)
        except errors.Transient as error:
            if error.unpaid and loop.time() >= until:
                raise errors.FatalError(
                    f"{error}. Start the server, or mend base_url (`patience` says how long it is given to come up: "
                    f"{patience:g} s)"
                ) from None
            answer = None
        if (answer is not None and answer.status < 500 and answer.status != 429) or loop.time() >= until:
            return answer
        await asyncio.sleep(min(pause, max(0.0, until - loop.time())))
        pause *= 2


async def _look_below(channel: Channel, address: Address) -> None:
    """Look whether the API is one step below.

    Raises:
        FatalError: it is.
    """
    try:
        answer = await channel.get("/v1/models", _SECONDS)
    except errors.BackendError:
        return
    if answer.status in (200, 401) and (answer.status == 401 or _names(answer.data)):
        raise errors.FatalError(
            f"{address.url('/models')}: there is nothing; the API is below /v1: write base_url: {address.url('/v1')}"
        )


def _names(data: bytes) -> tuple[str, ...]:
    """Return the ids of ``{"data": [{"id": …}]}``; Together answers with the list itself."""
    try:
        found: Any = json.loads(data)
    except (ValueError, RecursionError):
        return ()
    rows = found.get("data") if isinstance(found, dict) else found
    names = [row.get("id") for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    return tuple(name for name in names if isinstance(name, str) and name)


def _lists_all(address: Address, models: tuple[str, ...]) -> bool:
    """Tell whether a server lists every model that it takes: OpenAI does, and what people run themselves.

    Others list a part (OpenRouter leaves out variants), or other things (Azure: what could be deployed). A proxy of
    one's own that takes what fits a pattern lists the pattern.
    """
    return (address.openai or address.own) and not any("*" in name for name in models)


def _among(model: str, models: tuple[str, ...]) -> bool:
    """Tell whether a model is listed; Ollama lists ``name:latest`` for ``name``."""
    return model in models or f"{model}:latest" in models
