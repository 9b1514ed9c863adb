"""Under what a model's weights stand, by its name on the Hugging Face hub, and whose terms hold for a provider."""

from __future__ import annotations

import re

_BY_NAME = (
    # The 3B models of Qwen2.5 are under a research licence of their own.
    (r"qwen/qwen2\.5-coder-(0\.5b|1\.5b|7b|14b|32b)(-.*)?", "apache-2.0"),
    (r"qwen/qwen3-.*", "apache-2.0"),
    (r"huggingfacetb/smollm[23]?-.*", "apache-2.0"),
    (r"mistralai/mi(s|x)tral-8?x?7b-.*", "apache-2.0"),
    (r"ibm-granite/granite-.*", "apache-2.0"),
    (r"microsoft/phi-(3|3\.5|4)(-.*)?", "mit"),
    (r"meta-llama/llama-2-.*", "llama2"),
    (r"meta-llama/meta-llama-3-.*", "llama3"),
    (r"meta-llama/(meta-)?llama-3\.1-.*", "llama3.1"),
    (r"meta-llama/llama-3\.2-.*", "llama3.2"),
    (r"meta-llama/llama-3\.3-.*", "llama3.3"),
    (r"google/gemma-[23]?-?.*", "gemma"),
)

_BY_PROVIDER = {
    "openai": "openai",
    "text-completion-openai": "openai",
    "azure": "azure-openai",
    "anthropic": "anthropic",
    "gemini": "google",
    "vertex_ai": "google",
    "xai": "xai",
    "mistral": "mistral",
    "cohere": "cohere",
    "cohere_chat": "cohere",
    "deepseek": "deepseek",
    "bedrock": "bedrock",
}

_BY_HOST = {
    "api.openai.com": "openai",
    "api.anthropic.com": "anthropic",
    "generativelanguage.googleapis.com": "google",
    "api.x.ai": "xai",
    "api.mistral.ai": "mistral",
    "api.cohere.com": "cohere",
    "api.deepseek.com": "deepseek",
}


def terms_of_model(name: str) -> str:
    """Return the licence of a model of the hub, ``owner/name`` or ``hf:owner/name/file``; empty where not known."""
    owner_and_name = "/".join(name.removeprefix("hf:").split("/")[:2]).casefold()
    return next((terms for pattern, terms in _BY_NAME if re.fullmatch(pattern, owner_and_name)), "")


def terms_of_provider(provider: str | None) -> str:
    """Return whose terms hold for a provider as LiteLLM names it; empty where not known."""
    return _BY_PROVIDER.get((provider or "").casefold(), "")


def terms_of_host(host: str) -> str:
    """Return whose terms hold for what answers at a host; empty where not known."""
    if host.endswith(".openai.azure.com"):
        return "azure-openai"
    return _BY_HOST.get(host, "")
