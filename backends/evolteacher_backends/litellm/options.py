"""What the options of the backend may hold: no secret, under whatever name, and nothing that is set elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import evolteacher as et

SECRET_ENDINGS = (
    "auth", "authorization", "bearer", "cookie", "credential", "credentials", "key", "passphrase", "passwd",
    "password", "secret", "signature", "token",
)  # fmt: skip
"""How a word ends that names a secret, as in ``api_key``, ``apiKey``, ``X-Auth-Token``; ``max_tokens`` names none."""

HARMLESS = ("prompt_cache_key",)
"""Names that end so and hold no secret."""

_SECRET_VALUE = re.compile(
    r"(?i:(bearer|basic)\s+\S{6,})|(sk|pk|gsk|xai|hf|ghp|pplx|nvapi|csk|r8)[-_]\S{16,}|AIza\S{20,}"
)
"""What the beginning of a key looks like, under whatever name it stands."""

ELSEWHERE = {
    "model": "model",
    "api_key": "api_key",
    "api_base": "api_base",
    "base_url": "api_base",
    "timeout": "timeout",
    "temperature": "sampling of the recipe",
    "top_p": "sampling of the recipe",
    "max_tokens": "sampling of the recipe",
    "stop": "sampling of the recipe",
    "seed": "sampling of the recipe",
    "num_retries": "limits of the recipe",
    "max_retries": "limits of the recipe",
    "messages": "operators of the recipe",
}
"""Arguments of LiteLLM that ``extra`` may not hold, and where they are set."""

UNUSABLE = (
    "stream", "n", "fallbacks", "context_window_fallback_dict", "cache", "caching", "client", "mock_response",
    "mock_timeout", "mock_delay", "mock_tool_calls", "model_list",
)  # fmt: skip
"""Arguments of LiteLLM under which a reply would not be the one answer of the one model that is on record."""


def names_a_secret(name: str) -> bool:
    """Whether a name, in whatever spelling, says that its value is a secret."""
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)
    return name not in HARMLESS and any(word.lower().endswith(SECRET_ENDINGS) for word in words)


def check_address(address: str) -> str:
    """Return an address that holds no secret.

    Raises:
        ValueError: it holds one, or is none.
    """
    if not re.match(r"https?://", address):
        raise ValueError("an address begins with http:// or https://")
    parts = urlsplit(address)
    if "@" in parts.netloc:
        raise ValueError("an address must not hold a password: use api_key: env:NAME")
    for name, value in (*parse_qsl(parts.query), *parse_qsl(parts.fragment)):
        if names_a_secret(name) or _SECRET_VALUE.match(value):
            raise ValueError(f"an address must not hold a key ('{name}'): use api_key: env:NAME")
    return address


def check_extra(extra: dict[str, Any]) -> dict[str, Any]:
    """Return further arguments that may be used.

    Raises:
        ValueError: one is set elsewhere, cannot be used, or looks like a secret.
    """
    for name in extra:
        if name in ELSEWHERE:
            raise ValueError(f"'{name}' does not go into extra: it is set by {ELSEWHERE[name]}")
        if name in UNUSABLE:
            raise ValueError(f"'{name}' cannot be used: every reply is the one answer of the one model asked")
    for path, value in leaves(extra):
        if not isinstance(value, str) or et.secret_name(value) is not None:
            continue
        if any(names_a_secret(name) for name in path) or _SECRET_VALUE.match(value):
            raise ValueError(f"extra.{'.'.join(path)} looks like a secret, which is never written here: write env:NAME")
        if re.match(r"https?://", value):
            check_address(value)
    return extra


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield what stands at the ends of nested mappings and lists, with the names that lead there."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves(inner, (*path, str(name)))
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner, path)
    else:
        yield path, value


def references(*values: Any) -> list[str]:
    """Return the variables that the texts ``env:NAME`` in these values name."""
    return [name for value in values for _, leaf in leaves(value) if (name := et.secret_name(leaf)) is not None]


def resolve(value: Any, where: str) -> Any:
    """Put the variables' values in place of their names, in texts at any depth.

    Raises:
        NotAuthorised: a variable is not set.
    """
    if isinstance(value, dict):
        return {name: resolve(inner, f"{where}.{name}") for name, inner in value.items()}
    if isinstance(value, list):
        return [resolve(inner, where) for inner in value]
    return value if et.secret_name(value) is None else et.read_secret(value, where)
