"""The wire format of chat completions: a request's body, and what an answer's body says.

OpenAI's API reference names the members; where other servers write them differently, the comment says who does.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from typing import Any

import evolteacher as et
from evolteacher import errors
from evolteacher_backends.openai_api.faults import Asked, explain_within

MOST_TOKENS = 10**9
"""No model counts so many in one call: a figure beyond is taken for none."""

_LONGEST_WORD = 200
"""Characters of a model's name or of a finish reason that are believed."""


class Shape:
    """The requests of one sampling: what they have in common, and their bodies.

    Args:
        asked: what they have in common, for messages.
        extra: further members of the body.
        sampling: how to draw.
        drop: names of sampling parameters that are left out.
    """

    __slots__ = ("_head", "asked")

    def __init__(self, asked: Asked, extra: Mapping[str, Any], sampling: et.Sampling, drop: Collection[str]) -> None:
        drawn: dict[str, Any] = {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            asked.most: sampling.max_tokens,
        }
        if sampling.stop:
            drawn["stop"] = list(sampling.stop)
        if sampling.seed is not None:
            drawn["seed"] = sampling.seed
        kept = {name: value for name, value in drawn.items() if name not in drop}
        self._head = json.dumps({"model": asked.model, **extra, **kept})[:-1] + ', "messages": ['
        self.asked = asked

    def body(self, messages: Collection[et.Message]) -> bytes:
        """Return the body of a request, in ASCII."""
        dumps = json.dumps
        told = ", ".join([f'{{"role": {dumps(m.role)}, "content": {dumps(m.content)}}}' for m in messages])
        return f"{self._head}{told}]}}".encode("ascii")


def read_reply(data: bytes, headers: Mapping[str, str], asked: Asked, latency: float) -> et.Reply:
    """Read the body of an answer that the server calls good.

    Raises:
        BrokenReply: it is not JSON, or holds no answer.
        Refused: the content filter cut it, or the model declined in so many words.
        BadReply: all of ``max_tokens`` went into what is not the answer.
        BackendError: it holds an error after all.
    """
    try:
        answer = json.loads(data)
    except (ValueError, RecursionError):
        raise errors.BrokenReply(f"{asked}: the answer is not JSON: {asked.excerpt(data)}") from None
    choice = _first_choice(answer, headers, asked)
    message = choice["message"]
    text = _text(message.get("content"), asked)
    usage, cost = _usage(answer.get("usage"), headers)
    finish_reason = _word(choice.get("finish_reason"), "stop")
    for stop in asked.cut_at:
        text, found, _ = text.partition(stop)
        if found and finish_reason == "length":
            # The server ran on behind the end; what stands before it is whole.
            finish_reason = "stop"
    refusal = message.get("refusal")
    if finish_reason.startswith("content_filter") or (refusal and isinstance(refusal, str) and not text):
        said = asked.excerpt(refusal) if isinstance(refusal, str) and refusal else "the content filter cut the answer"
        raise errors.Refused(f"{asked}: {said}", usage)
    if finish_reason == "length" and not text.strip():
        raise errors.BadReply(
            f"{asked}: the answer is empty, since all of max_tokens ({asked.max_tokens:,}) went into reasoning: "
            "raise sampling.max_tokens, or have it think less with body: {reasoning_effort: low}",
            usage,
        )
    limits = et.rate_limits(headers)
    return et.Reply(text, usage, finish_reason, _word(answer.get("model"), asked.model), latency, cost, limits)


def _first_choice(answer: Any, headers: Mapping[str, str], asked: Asked) -> dict[str, Any]:
    """Return the first choice, which holds a message.

    Raises:
        BackendError: there is none.
    """
    if not isinstance(answer, dict):
        raise errors.BrokenReply(f"{asked}: the answer is {type(answer).__name__} where an object should be")
    choices = answer.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    if isinstance(choice, dict):
        if choice.get("error"):  # OpenRouter: the upstream provider failed underway
            raise explain_within(choice["error"], headers, asked, begun=True)
        if isinstance(choice.get("message"), dict):
            return choice
    elif answer.get("error"):  # OpenRouter: an error of the upstream provider, under HTTP 200
        raise explain_within(answer["error"], headers, asked, begun=False)
    raise errors.BrokenReply(f"{asked}: the answer holds no {'message' if choice is not None else 'choices'}")


def _text(content: Any, asked: Asked) -> str:
    """Return the text of a message: a string, nothing, or (Mistral, some gateways) a list of parts."""
    if isinstance(content, str):
        return content
    if content is None:
        return ""
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        return "".join([text for text in texts if isinstance(text, str)])
    raise errors.BrokenReply(f"{asked}: the answer's content is {type(content).__name__}, not a text")


def _word(value: Any, otherwise: str) -> str:
    return value if isinstance(value, str) and 0 < len(value) <= _LONGEST_WORD else otherwise


def _usage(usage: Any, headers: Mapping[str, str]) -> tuple[et.Usage, float | None]:
    """Return tokens and, where the server tells it, the cost in US dollars; what cannot be so counts as not told."""
    gateway = _dollars_of(headers.get("x-litellm-response-cost"))  # LiteLLM's proxy
    if not isinstance(usage, dict):
        return et.Usage(), gateway
    prompt, completion = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
    # Gemini and xAI bill the tokens of reasoning, count them in the total, and leave them out of completion_tokens.
    hidden = _count(usage.get("total_tokens")) - prompt - completion
    if hidden > 0 and prompt and completion:
        completion += hidden
    cost = _dollars(usage.get("cost"))  # OpenRouter
    if cost is not None and usage.get("is_byok") is True and isinstance(details := usage.get("cost_details"), dict):
        cost += _dollars(details.get("upstream_inference_cost")) or 0.0  # what the user's own key pays, beside the fee
    if cost is None and isinstance(details := usage.get("cost"), dict):
        cost = _dollars(details.get("total_cost"))  # Perplexity
    if cost is None:
        cost = _dollars(usage.get("estimated_cost"))  # DeepInfra
    return et.Usage(prompt, completion), gateway if cost is None else cost


def _count(value: Any) -> int:
    return value if type(value) is int and 0 <= value <= MOST_TOKENS else 0


def _dollars(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value <= MOST_TOKENS and math.isfinite(value) else None


def _dollars_of(text: str | None) -> float | None:
    try:
        return _dollars(float(text)) if text else None
    except ValueError:
        return None
