"""Answers: the ordinary ones are read here, and those that LiteLLM has read become ours."""

from __future__ import annotations

import json
from typing import Any

import evolteacher as et
from evolteacher import errors
from evolteacher_backends.litellm.faults import Hide, plain_headers

ORDINARY = ("stop", "length")
"""Reasons to finish of an answer in which LiteLLM changes nothing."""


def read_ordinary(body: bytes) -> et.Reply | None:
    """Read a chat completion in OpenAI's form; None for one that is in any way out of the ordinary.

    Ordinary: a text that is not empty and holds no thoughts in tags, that stopped or was cut at its length, with its
    tokens counted. LiteLLM reads all others.
    """
    try:
        return ordinary(json.loads(body))
    except ValueError:
        return None


def ordinary(answer: Any) -> et.Reply | None:
    """Do the same with an answer whose JSON has been read."""
    try:
        choice = answer["choices"][0]
        text, finish, usage = choice["message"]["content"], choice["finish_reason"], answer["usage"]
        prompt_tokens, completion_tokens = usage["prompt_tokens"], usage["completion_tokens"]
        cost = usage.get("cost")
    except (LookupError, TypeError, AttributeError):
        return None
    if not isinstance(text, str) or not text.strip() or finish not in ORDINARY or "<thin" in text or "error" in answer:
        return None
    if not _counts(prompt_tokens) or not _counts(completion_tokens):
        return None
    model = answer.get("model")
    return et.Reply(
        text=text,
        usage=et.Usage(prompt_tokens, completion_tokens),
        finish_reason=finish,
        model=model if isinstance(model, str) else "",
        cost=_billed(cost),
    )


def reply_of(answer: Any, model: str, hide: Hide) -> et.Reply:
    """Turn an answer that LiteLLM has read into a reply.

    Args:
        answer: its ``ModelResponse``.
        model: the model asked.
        hide: takes secrets out of a text.

    Raises:
        BrokenReply: no choices.
        Refused: the content policy cut or refused the answer; with the tokens that were billed.
    """
    choices = getattr(answer, "choices", None)
    if not choices:
        raise errors.BrokenReply(f"'{model}' answered without choices")
    choice = choices[0]
    text = choice.message.content or ""
    counted = getattr(answer, "usage", None)
    usage = et.Usage(getattr(counted, "prompt_tokens", 0) or 0, getattr(counted, "completion_tokens", 0) or 0)
    special = getattr(choice.message, "provider_specific_fields", None) or {}
    refusal = special.get("refusal") or getattr(choice.message, "refusal", None)
    if choice.finish_reason == "content_filter" or (refusal and not text):
        raise errors.Refused(hide(f"'{model}': {refusal or 'cut by the content filter'}"), usage)
    headers = (getattr(answer, "_hidden_params", None) or {}).get("additional_headers")
    return et.Reply(
        text=text,
        usage=usage,
        finish_reason=choice.finish_reason or "stop",
        model=getattr(answer, "model", None) or model,
        cost=_billed(getattr(counted, "cost", None)),
        limits=et.rate_limits(plain_headers(headers or getattr(answer, "_response_headers", None))),
    )


def tells_error(body: bytes) -> bool:
    """Whether a body is JSON that tells of an error, as some gateways send it with the status 200."""
    try:
        answer = json.loads(body)
    except ValueError:
        return False
    return isinstance(answer, dict) and bool(answer.get("error"))


def _counts(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _billed(cost: object) -> float | None:
    """Return what the call cost by the provider's own word, which OpenRouter gives; others leave it to the price."""
    return float(cost) if isinstance(cost, int | float) and not isinstance(cost, bool) and cost >= 0 else None
