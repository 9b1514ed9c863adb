"""What servers complain of, as evolteacher's errors.

Servers of one API have many words for the same thing: OpenAI, Azure, vLLM, llama.cpp, Ollama, SGLang, TGI, LM Studio,
OpenRouter, Groq, Mistral, DeepSeek, xAI, Together, Fireworks, and Gemini and Anthropic in their OpenAI dialects. A
status decides where it can; codes come next, and words last.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import evolteacher as et
from evolteacher import errors

SHOWN = 300
"""Characters of a server's words that a message repeats."""

_READ = 64 * SHOWN
"""Characters of a server's words that are looked at."""

DROPPABLE = ("temperature", "top_p", "stop", "seed")
"""Sampling parameters that may be left out of requests."""

_TOO_LONG = re.compile(
    r"context_length_exceeded|exceed_context_size|string_above_max_length|request_too_large|"
    r"maximum (context|model|prompt|sequence) length|max(imum)?[ _]context|max_model_len|"
    r"context (length|size|window|limit)|(prompt|input|request|messages?) (is|are|was) too (long|large|big)|"
    r"prompt too long|input too long|request too large|too many (input )?tokens|"
    r"exceed\w* (the )?(maximum |max )?(number of )?(input )?tokens|"
    r"longer than the (model|maximum)|reduce the length of the (messages|prompt)|"
    r"inputs` tokens|`inputs` must have|entity too large"
)
_POLICY = re.compile(
    r"content[_ ]?(policy|filter|management)|content_policy_violation|responsibleaipolicy|invalid_prompt|"
    r"safety (system|filter)|flagged|moderation|usage (policy|policies|guidelines)|"
    r"content exists risk|data_inspection_failed|inappropriate content|prohibited_content|unsafe content"
)
_NO_MONEY_CODES = frozenset(
    ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "exceeded_current_quota_error")
)
"""A 429 says so by its code alone: the words "exceeded your quota" are Gemini's for a rate limit, too."""

_NO_MONEY = re.compile(r"credit balance|insufficient (balance|credits?|funds|quota)|payment required|billing")
_NO_MODEL = re.compile(
    r"model_not_found|invalid_model|(no such|unknown|invalid) model|not a valid model|model not exist|"
    r"\bmodel\b.{0,200}?(does not exist|not found|not available|decommissioned)|"
    r"no endpoints found|try pulling it"
)
_WRONG_KEY = re.compile(r"invalid_api_key|api[ _]key (is )?(not valid|invalid|missing)|(incorrect|invalid) api[ _]key")
_MISSING_SCOPE = re.compile(r"missing scopes?|insufficient permissions?")
_CONTEXT = re.compile(
    r"(?:context (?:length|size|window)|model length|max_model_len|n_ctx)"
    r"(?:\s*(?:\bis|\bof|\bonly|[:=(]))+\s*([\d,]{2,12})"
)
_TRY_AGAIN = re.compile(
    r"(?:try again|retry) (?:in|after) (?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?) ?s(?:ec|\b))?"
    r"(?:(\d+(?:\.\d+)?) ?ms\b)?"
)
_UNITS = (3600.0, 60.0, 1.0, 0.001)
_PASSING = frozenset((408, 409, 425))
_NOT_THERE = frozenset((405, 410, 415, 421, 426))


@dataclass(slots=True)
class Asked:
    """What all requests of one sampling have in common.

    Attributes:
        server: how messages name it, such as ``http://127.0.0.1:8000``.
        url: that is asked.
        model: that is asked.
        max_tokens: that are asked for.
        most: what the requests call ``max_tokens``.
        body: names of further members of the requests' bodies.
        cut_at: texts that end an answer, where the server is not told them.
        key: the reference of the key that is sent; None for none.
        models: that the server lists, as far as it was asked for them.
        answered: one was answered, so that nothing that they have in common is refused.
        secrets: that no message may show.
    """

    server: str
    url: str
    model: str
    max_tokens: int = 0
    most: str = "max_tokens"
    body: tuple[str, ...] = ()
    cut_at: tuple[str, ...] = ()
    key: str | None = None
    models: tuple[str, ...] = ()
    answered: bool = False
    secrets: tuple[str, ...] = field(default=(), repr=False)

    def __str__(self) -> str:
        """Begin a message."""
        return f"'{self.model}' at {self.server}"

    def excerpt(self, data: bytes | str) -> str:
        """Return the beginning of what a server said; secrets are hidden first, or a cut might leave a part of one."""
        text = data.decode("utf-8", "replace") if isinstance(data, bytes) else data
        return excerpt(et.hide(text, self.secrets))


@dataclass(frozen=True, slots=True)
class Complaint:
    """An error answer, read.

    Attributes:
        status: of HTTP, or what stands in for it.
        message: the server's words, shortened.
        words: code, type and words, in lower case.
        code: of the error; empty where there is none.
        kind: its ``type``; likewise.
        within: it stood in an answer of HTTP 200.
    """

    status: int
    message: str
    words: str
    code: str = ""
    kind: str = ""
    within: bool = False

    def __str__(self) -> str:
        """Write it for a message."""
        return (
            f"error {self.status} in the answer: {self.message}"
            if self.within
            else f"HTTP {self.status}: {self.message}"
        )


def excerpt(text: str) -> str:
    """Return the beginning of a text on one line, a page's tags left out."""
    text = text[:_READ]
    if text.lstrip()[:1] == "<":
        title = re.search(r"<title[^>]*>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
        bare = re.sub(r"<(script|style)\b.*?</\1\s*>|<[^>]*>", " ", text, flags=re.IGNORECASE | re.DOTALL)
        text = f"a page called '{' '.join(title[1].split())}'" if title else bare
    text = " ".join(text.split())
    return (text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…") or "(empty)"


def read_complaint(status: int, data: bytes, asked: Asked) -> Complaint:
    """Read the body of an error answer, in whatever form it comes."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        message = asked.excerpt(data)
        return Complaint(status, message, message.lower())
    return _complaint(status, found, asked)


def _complaint(status: int, found: Any, asked: Asked) -> Complaint:
    if isinstance(found, list) and found:  # Gemini
        found = found[0]
    if isinstance(found, dict) and found.get("error"):
        found = found["error"]
    if not isinstance(found, dict):  # Ollama and TGI: the words alone
        message = asked.excerpt(found if isinstance(found, str) else _dumped(found))
        return Complaint(status, message, message.lower())
    code, kind = (str(value) if isinstance(value := found.get(n), str | int) else "" for n in ("code", "type"))
    told = next((found[name] for name in ("message", "detail", "error", "msg") if found.get(name)), None)
    text = told if isinstance(told, str) else _dumped(found)
    metadata = found.get("metadata")
    if isinstance(metadata, dict) and isinstance(raw := metadata.get("raw"), str):  # OpenRouter: the upstream's words
        text = f"{text}: {raw}"
    param = found.get("param")
    words = " ".join([code, kind, text[:_READ], param if isinstance(param, str) else ""]).lower()
    inner = found.get("innererror")
    if isinstance(inner, dict) and isinstance(inner.get("code"), str):  # Azure
        words = f"{words} {inner['code'].lower()}"
    return Complaint(status, asked.excerpt(text), words, code.lower(), kind.lower())


def _dumped(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except (ValueError, RecursionError):
        return ""


def explain_within(error: Any, headers: Mapping[str, str], asked: Asked, *, begun: bool) -> errors.BackendError:
    """Turn an error that stands in an answer of HTTP 200 into one of ours.

    Args:
        error: what stands there.
        headers: of the answer.
        asked: what was asked.
        begun: the model had begun to answer, so that the call may have been billed.
    """
    code = error.get("code") if isinstance(error, dict) else None
    status = code if isinstance(code, int) and 400 <= code <= 599 else None
    complaint = replace(_complaint(status or 500, error, asked), within=True)
    if status is None and _POLICY.search(complaint.words):
        return errors.Refused(f"{asked}: {complaint}")
    found = explain(complaint, headers, asked)
    return errors.Transient(str(found)) if begun and isinstance(found, errors.RetryableError) else found


def explain(complaint: Complaint, headers: Mapping[str, str], asked: Asked) -> errors.BackendError:
    """Turn an error answer into one of ours.

    Args:
        complaint: the answer.
        headers: its.
        asked: what was asked.
    """
    status = complaint.status
    said = f"{asked}: {complaint}"
    if status < 400:
        return _moved(status, headers, asked)
    if status == 429:
        return _limited(complaint, headers, asked, said)
    if (found := _by_words(complaint, asked, said)) is not None:
        return found
    if status in (401, 403):
        return _not_authorised(said, asked)
    if status == 404:
        return _not_found(complaint, asked, said)
    if status == 413:
        return errors.TooLong(said)
    if status >= 500 or status in _PASSING:
        return errors.Transient(said, unpaid=True)
    if status in _NOT_THERE:
        return errors.FatalError(f"{_ended(said)} Nothing takes chat completions at {asked.url}: mend base_url")
    return _bad_request(complaint, asked, said)


def _by_words(complaint: Complaint, asked: Asked, said: str) -> errors.BackendError | None:
    """Decide on statuses that stand for several things."""
    status, words = complaint.status, complaint.words
    if status in (400, 413, 422, 500) and _TOO_LONG.search(words):
        return _too_long(complaint, asked, said)
    if status in (400, 403, 422, 451) and _POLICY.search(words):
        return errors.Refused(said)
    if status == 402 or (status in (400, 403) and _NO_MONEY.search(words)):
        return errors.FatalError(f"{_ended(said)} No money is left: top the account up, and run again")
    if status == 400 and _WRONG_KEY.search(words):
        return _not_authorised(said, asked)
    if status in (400, 422) and _NO_MODEL.search(words):
        return _not_found(complaint, asked, said)
    return None


def forbids_listing(complaint: Complaint) -> bool:
    """Tell whether a key is refused for listing models only, as restricted keys of OpenAI are."""
    return complaint.status == 403 or _MISSING_SCOPE.search(complaint.words) is not None


def _moved(status: int, headers: Mapping[str, str], asked: Asked) -> errors.FatalError:
    target = asked.excerpt(headers.get("location") or "nowhere")
    return errors.FatalError(
        f"{asked}: HTTP {status}: {asked.url} points to {target}. That is not followed, since the key would go along: "
        "where it is right, write it as base_url"
    )


def _limited(
    complaint: Complaint, headers: Mapping[str, str], asked: Asked, said: str
) -> errors.FatalError | errors.TooLong | errors.RateLimited:
    if {complaint.code, complaint.kind} & _NO_MONEY_CODES:
        return errors.FatalError(f"{_ended(said)} No money is left: top the account up, and run again")
    if "request too large for" in complaint.words:  # OpenAI, Groq: more tokens in one request than in a minute's limit
        return errors.TooLong(said)
    wait = et.retry_after(headers)
    return errors.RateLimited(said, _wait_in(complaint.words) if wait is None else wait, et.rate_limits(headers))


def _wait_in(words: str) -> float | None:
    """Read the wait where it stands in the words alone: ``try again in 1m2.5s``, ``retry in 34.07s`` (Gemini)."""
    found = _TRY_AGAIN.search(words)
    parts = zip(found.groups(), _UNITS, strict=True) if found is not None else ()
    return sum(float(part) * unit for part, unit in parts if part) or None


def _too_long(complaint: Complaint, asked: Asked, said: str) -> errors.TooLong | errors.FatalError:
    found = _CONTEXT.search(complaint.words)
    context = int(found[1].replace(",", "") or 0) if found else 0
    if 0 < context <= asked.max_tokens:
        return errors.FatalError(
            f"{_ended(said)} max_tokens ({asked.max_tokens:,}) alone fills the model's {context:,} tokens, so that no "
            "prompt would fit: lower sampling.max_tokens"
        )
    return errors.TooLong(said)


def _not_authorised(said: str, asked: Asked) -> errors.NotAuthorised:
    if asked.key is None:
        return errors.NotAuthorised(f"{_ended(said)} No key was sent: write api_key: env:NAME")
    return errors.NotAuthorised(f"{_ended(said)} Look whether {asked.key} holds the right key, and may use this model")


def _not_found(complaint: Complaint, asked: Asked, said: str) -> errors.NoSuchModel:
    if _NO_MODEL.search(complaint.words):
        return errors.NoSuchModel(f"{_ended(said)}{near_models(asked.model, asked.models)}")
    base = asked.url.partition("?")[0].removesuffix("/chat/completions")
    tail = "" if base.endswith("/v1") else ", most of which end in /v1"
    return errors.NoSuchModel(
        f"{_ended(said)} Either the server has no model '{asked.model}', or nothing is at {asked.url}: look at model "
        f"and at base_url{tail}.{near_models(asked.model, asked.models)}"
    )


def _ended(said: str) -> str:
    """Return a sentence with the stop at its end that some servers write."""
    return said if said.endswith((".", "!", "?")) else f"{said}."


def near_models(model: str, models: tuple[str, ...]) -> str:
    """Return a hint to the models that a server lists; nothing where it lists none, or lists this one all the same."""
    if model in models:
        return ""
    if len(models) <= 20:
        return errors.did_you_mean(model, models)
    from difflib import get_close_matches

    near = get_close_matches(model, models, n=10, cutoff=0.4) or sorted(models)[:10]
    return f" Of the {len(models)} there are, the nearest: {', '.join(near)}."


def _bad_request(complaint: Complaint, asked: Asked, said: str) -> errors.FatalError | errors.BadReply:
    """A request that the server does not take: like all others of its shape, unless one of those was answered."""
    if asked.answered:
        return errors.BadReply(said)

    def blamed(name: str) -> bool:
        return re.search(rf"(?<![a-z_]){re.escape(name.lower())}(?![a-z_])", complaint.words) is not None

    hints = []
    if asked.most == "max_tokens" and blamed("max_completion_tokens"):
        hints.append("write max_tokens_name: max_completion_tokens")
    elif asked.most == "max_completion_tokens" and blamed(asked.most):
        hints.append(f"write max_tokens_name: max_tokens, or lower sampling.max_tokens ({asked.max_tokens:,})")
    elif blamed("max_tokens"):
        hints.append(f"lower sampling.max_tokens ({asked.max_tokens:,})")
    if dropped := [name for name in DROPPABLE if blamed(name)]:
        hints.append(f"write drop: [{', '.join(dropped)}], or a value under sampling that the model takes")
    if extra := [name for name in asked.body if blamed(name)]:
        hints.append(f"take {', '.join(extra)} out of body")
    todo = "; ".join(hints) or "compare model, body and sampling with what this server takes"
    return errors.FatalError(f"{_ended(said)} So would all other requests be refused: {todo}")
