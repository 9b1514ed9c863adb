"""What models cost, from the price map inside the LiteLLM package, which is read and never imported."""

from __future__ import annotations

import importlib.util
import json
from functools import cache
from pathlib import Path
from typing import Any

import evolteacher as et

PRICE_MAP = "model_prices_and_context_window_backup.json"
"""LiteLLM's map as it was when the package was built; the file lies beside its ``__init__.py``."""

FAMILIES = ("vertex_ai", "fireworks_ai", "bedrock")
"""Providers that the map names by several words each, such as ``vertex_ai-language-models``."""

BATCH_SHARE = 0.5
"""What OpenAI's and Azure's batch APIs cost of the usual price, where the map has no price of their own."""

MILLION = 1_000_000


def known_price(model: str, *, batch: bool = False) -> et.Price | None:
    """Return what a model costs; None where LiteLLM is not installed or does not say.

    Prices for very long prompts (over 128,000 tokens and more) and for cached ones are left out: a prompt here is
    shorter, and the full price of a cached prompt is an upper bound.

    Args:
        model: as LiteLLM writes it, with or without the provider.
        batch: the price of provider batches.
    """
    entry = _entry(model)
    if entry is None:
        return None
    prices = []
    for side in ("input", "output"):
        full, batched = entry.get(f"{side}_cost_per_token"), entry.get(f"{side}_cost_per_token_batches")
        if not isinstance(full, int | float):
            return None
        in_batch = batched if isinstance(batched, int | float) else full * BATCH_SHARE
        # Rounded, since 4e-07 times a million is not 0.4.
        prices.append(round((in_batch if batch else full) * MILLION, 9))
    return et.Price(input=prices[0], output=prices[1])


def provider_of(model: str) -> str | None:
    """Return the provider that a model's name begins with, or that the price map gives to a name without one."""
    provider, slash, _ = model.partition("/")
    if slash:
        return provider
    named = price_map().get(model, {}).get("litellm_provider")
    return named if isinstance(named, str) else None


def _entry(model: str) -> dict[str, Any] | None:
    """Look a model up as LiteLLM does: by its full name, else by its name alone if it is the same provider's."""
    known = price_map()
    provider, slash, name = model.partition("/")
    if not slash:
        return known.get(model)
    for key in (model, name):
        entry = known.get(key)
        if entry is not None and _same(provider, str(entry.get("litellm_provider", ""))):
            return entry
    return None


def _same(provider: str, named: str) -> bool:
    return named == provider or (provider in FAMILIES and named.startswith(provider))


@cache
def price_map() -> dict[str, dict[str, Any]]:
    """Return the whole map; empty where LiteLLM is not installed or came without it."""
    try:
        spec = importlib.util.find_spec("litellm")
    except (ImportError, ValueError):
        spec = None
    if spec is None or not spec.origin:
        return {}
    try:
        found = json.loads(Path(spec.origin).with_name(PRICE_MAP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {name: entry for name, entry in found.items() if isinstance(entry, dict)} if isinstance(found, dict) else {}
