"""What the exceptions of LiteLLM, of the OpenAI client below it and of the connection become."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import evolteacher as et
from evolteacher import errors

KINDS: dict[str, str] = {
    # litellm.exceptions
    "AuthenticationError": "key",
    "PermissionDeniedError": "key",
    "CallerCredentialAuthenticationError": "key",
    "NotFoundError": "model",
    "LiteLLMUnknownProvider": "model",
    "ModelNotMappedError": "fatal",
    "BadRequestError": "request",
    "InvalidRequestError": "request",
    "ImageFetchError": "request",
    "VectorStoreSearchError": "request",
    "UnprocessableEntityError": "request",
    "MalformedRequestFieldError": "request",
    "UnsupportedEndpointError": "fatal",
    "EndpointNotSupportedByModelError": "fatal",
    "UnsupportedParamsError": "unsupported",
    "ContextWindowExceededError": "length",
    "ContentPolicyViolationError": "policy",
    "RejectedRequestError": "policy",
    "GuardrailRaisedException": "policy",
    "GuardrailInterventionNormalStringError": "policy",
    "BlockedPiiEntityError": "policy",
    "ModifyResponseException": "policy",
    "SensitiveDataRouteException": "policy",
    "PaymentRequiredError": "money",
    "BudgetExceededError": "fatal",
    "RateLimitError": "rate",
    "CallerCredentialRateLimitError": "rate",
    "RouterRateLimitError": "rate",
    "RouterRateLimitErrorBasic": "rate",
    "Timeout": "transient",
    "ServiceUnavailableError": "transient",
    "BadGatewayError": "transient",
    "InternalServerError": "transient",
    "APIConnectionError": "transient",
    "MidStreamFallbackError": "transient",
    "APIResponseValidationError": "broken",
    "JSONSchemaValidationError": "broken",
    "APIError": "status",
    "OpenAIError": "status",
    "AzureOpenAIError": "status",
    "MockException": "status",
    "ToolLoopMaxRoundsExceeded": "fatal",
    # openai, whose exceptions may pass through
    "APIStatusError": "status",
    "APITimeoutError": "transient",
    "ConflictError": "transient",
    "ContentFilterFinishReasonError": "policy",
    "LengthFinishReasonError": "broken",
    "InvalidWebhookSignatureError": "fatal",
    "OAuthError": "key",
    "SubjectTokenProviderError": "key",
    "WebSocketConnectionClosedError": "transient",
    "WebSocketQueueFullError": "transient",
}
"""Class name -> what it means; of a class that is not here, that of its nearest base. ``status``: its status says."""

STATUSES: dict[int, str] = {
    400: "request", 401: "key", 402: "money", 403: "key", 404: "model", 408: "transient", 409: "transient",
    413: "length", 425: "transient", 429: "rate",
}  # fmt: skip
"""HTTP status -> what it means; else 5xx is transient, and the rest of 4xx is about the request."""

_POLICY = ("content policy", "content_policy", "content management policy", "content_filter", "safety system")
_UNSUPPORTED = ("unsupported parameter", "unsupported value", "unrecognized request argument", "unknown parameter")
_LENGTH = ("maximum context length", "context window", "context_length_exceeded", "prompt is too long")
_BROKEN = (
    "empty or invalid response", "invalid response object", "unable to get json response", "expecting value",
    "invalid json", "no 'choices'", "returned 'choices' that",
)  # fmt: skip
_MONEY = ("insufficient_quota", "credit balance is too low")
_NO_KEY = ("api_key client option must be set", "missing credentials")

_QUOTA = "exceeded your current quota"
"""OpenAI's words for an account without money; Google's for any rate limit."""

_GOOGLE = ("gemini", "vertex_ai", "vertex_ai_beta")

_UNREACHED = (
    "ConnectError", "ConnectTimeout", "ProxyError", "ClientConnectorError", "ConnectionTimeoutError", "gaierror",
    "ConnectionRefusedError",
)  # fmt: skip
"""Exceptions of httpx, aiohttp and sockets that say that no connection came about."""

_ANSWERED = ("HTTPStatusError", "APIStatusError")
"""Exceptions of httpx and the OpenAI client that hold a provider's answer."""

_UNDECODED = ("JSONDecodeError", "UnicodeDecodeError")

_CERTIFICATE = ("ClientConnectorCertificateError", "SSLCertVerificationError")

_PREFIXES = re.compile(r"^((litellm\.)?\w+(Error|Exception)(:| -) )+")
"""What LiteLLM puts before a provider's words: ``litellm.RateLimitError: RateLimitError: OpenAIException - ``."""

Hide = Callable[[str], str]


def explain(
    error: BaseException, model: str, hide: Hide, *, answered: bool = False, headers: Mapping[str, str] | None = None
) -> errors.BackendError:
    """Turn what LiteLLM raised into one of our errors: by class, by HTTP status and, where these say little, by words.

    Args:
        error: what was raised.
        model: the model asked.
        hide: takes secrets out of a text.
        answered: whether the provider certainly answered, so that an error was not billed.
        headers: those of the answer, where the exception does not hold them.
    """
    text = " ".join(hide(str(error)).split())
    text = _PREFIXES.sub("", text) or text
    message = f"'{model}': {text if len(text) <= 500 else text[:500] + '…'}"
    kind = _kind(error, text.lower())
    if kind == "rate":
        headers = headers if headers is not None else _headers(error)
        return errors.RateLimited(message, et.retry_after(headers), et.rate_limits(headers))
    if kind == "transient":
        return errors.Transient(message, unpaid=answered or _unpaid(error))
    if kind == "broken":
        return errors.BrokenReply(message)
    cls, advice = _LASTING[kind]
    return cls(message + advice)


_LASTING: dict[str, tuple[type[errors.BackendError], str]] = {
    "key": (errors.NotAuthorised, " (check the key, and that it may use this model)"),
    "model": (errors.NoSuchModel, ""),
    "request": (errors.BadReply, ""),
    "unsupported": (errors.FatalError, " (extra: {drop_params: true} leaves out what the model does not take)"),
    "length": (errors.TooLong, ""),
    "policy": (errors.Refused, ""),
    "money": (errors.FatalError, " (the account has no money left: top it up and run again)"),
    "certificate": (errors.FatalError, " (SSL_CERT_FILE names the file of an authority that is to be trusted)"),
    "fatal": (errors.FatalError, ""),
}


def _kind(error: BaseException, text: str) -> str:
    status = getattr(error, "status_code", None)
    kind = next((KINDS[cls.__name__] for cls in type(error).__mro__ if cls.__name__ in KINDS), "status")
    chain = [type(link).__name__ for link in _chain(error)]
    if "ImportError" in chain or "ModuleNotFoundError" in chain:  # LiteLLM wraps them as if a connection had failed
        return "fatal"
    if any(name in _CERTIFICATE for name in chain):
        return "certificate"
    if any(words in text for words in _NO_KEY):
        return "key"
    if kind in ("status", "transient", "request", "broken", "rate") and _is_broken(chain, text):
        return "broken"
    if status == 413 or (kind in ("request", "transient", "status") and status == 400) or kind == "request":
        kind = _by_words(text, kind)
    if kind in ("rate", "transient", "status") and _no_money(error, text):
        return "money"
    if status == 403 and any(words in text for words in (*_POLICY, "moderation")):
        return "policy"
    return _by_status(status) if kind in ("status", "request") else kind


def _by_words(text: str, kind: str) -> str:
    for words, meaning in ((_UNSUPPORTED, "unsupported"), (_LENGTH, "length"), (_POLICY, "policy"), (_MONEY, "money")):
        if any(word in text for word in words):
            return meaning
    return kind


def _is_broken(chain: list[str], text: str) -> bool:
    """Whether an answer could not be read: its bytes, its JSON or its form. An error's own page need not be JSON."""
    undecoded = any(name in _UNDECODED for name in chain) and not any(name in _ANSWERED for name in chain)
    return undecoded or any(words in text for words in _BROKEN)


def _no_money(error: BaseException, text: str) -> bool:
    if getattr(error, "code", None) == "insufficient_quota" or any(words in text for words in _MONEY):
        return True
    return _QUOTA in text and getattr(error, "llm_provider", None) not in _GOOGLE


def _by_status(status: object) -> str:
    if not isinstance(status, int):
        return "fatal"
    if status in STATUSES:
        return STATUSES[status]
    return "transient" if status >= 500 else "request" if status >= 400 else "fatal"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and those that it was raised from."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        yield link
        seen.add(id(link))
        link = link.__cause__ or link.__context__


def _unpaid(error: BaseException) -> bool:
    """Whether the provider was never reached, or answered with an error; LiteLLM calls a cut connection a 500, too."""
    return any(cls.__name__ in _UNREACHED + _ANSWERED for link in _chain(error) for cls in _own(link))


def _own(link: BaseException) -> list[type]:
    """Return the classes of an exception that are not LiteLLM's, which it raises with answers of its own making."""
    classes = type(link).__mro__
    return [] if classes[0].__module__.startswith("litellm") else list(classes)


def _headers(error: BaseException) -> Mapping[str, str]:
    """Return the headers of the provider's answer, in lower case, without what LiteLLM puts before their names."""
    found: dict[str, str] = {}
    for link in _chain(error):
        sources = (
            getattr(link, "litellm_response_headers", None),
            getattr(link, "headers", None),
            getattr(getattr(link, "response", None), "headers", None),
        )
        for source in sources:
            found = {**plain_headers(source), **found}
    return found


def plain_headers(headers: Any) -> dict[str, str]:
    """Return headers by their names in lower case, without the ``llm_provider-`` that LiteLLM puts before some."""
    try:
        items = dict(headers or {}).items()
    except (TypeError, ValueError):
        return {}
    return {str(name).lower().removeprefix("llm_provider-"): str(value) for name, value in items}


def explain_connection(error: Exception, model: str, timeout: float, hide: Hide) -> errors.BackendError | None:
    """Turn what our own connection raised into one of our errors; None for what is no fault of a connection."""
    import aiohttp

    said = hide(str(error) or type(error).__name__)
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        cls, advice = _LASTING["certificate"]
        return cls(f"'{model}': {said}{advice}")
    if isinstance(error, aiohttp.InvalidURL):
        return errors.FatalError(f"'{model}': {said} is no address (api_base)")
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
        return errors.Transient(f"'{model}': {said}", unpaid=True)
    if isinstance(error, TimeoutError):
        return errors.Transient(f"'{model}': no answer within {timeout:g} s")
    if isinstance(error, aiohttp.ServerDisconnectedError):  # its own text repeats what had arrived
        return errors.Transient(f"'{model}': the server closed the connection without an answer")
    if isinstance(error, aiohttp.ClientPayloadError):
        return errors.Transient(f"'{model}': the connection was cut within the answer")
    if isinstance(error, aiohttp.ClientError | OSError):
        return errors.Transient(f"'{model}': the connection broke: {said}")
    return None
