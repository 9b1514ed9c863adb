"""``litellm``: the providers that LiteLLM knows, OpenAI, Anthropic, Azure, Bedrock and many more."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import Any, ClassVar

from pydantic import ConfigDict, Field, PrivateAttr, field_validator

import evolteacher as et
from evolteacher import errors

REFERENCE = re.compile(r"env:([A-Za-z_][A-Za-z0-9_]*)")
"""How a recipe names a secret: the environment variable that holds it."""

_SECRET_NAME = re.compile(r"key|secret|password|credential|authorization|cookie|token(?!s)", re.IGNORECASE)
"""What the name of an option or variable that holds a secret looks like; ``max_tokens`` holds none."""

_OURS = {
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

_UNUSABLE = ("stream", "n", "mock_response", "fallbacks", "context_window_fallback_dict", "cache")
"""Arguments of LiteLLM under which a reply would not be the one answer of the one model that is on record."""

_POLICY = ("content policy", "content_policy", "content management policy", "content_filter", "safety system")
_UNSUPPORTED = ("unsupported parameter", "unsupported value", "unrecognized request argument", "unknown parameter")
_LENGTH = ("maximum context length", "context window", "context_length_exceeded", "prompt is too long")
_BROKEN = ("empty or invalid response", "expecting value", "invalid json")


class LiteLLM(et.Backend, name="litellm"):
    """Answer with a model of any provider that LiteLLM knows. Needs the extra `litellm`.

    Retries, rate limits and budgets are evolteacher's; LiteLLM's own are off. Keys are named, never written:
    `api_key: env:OPENAI_API_KEY`. Without `api_key` LiteLLM looks in the provider's usual variable.
    """

    # A wrong value may be a key; pydantic would show it.
    model_config = ConfigDict(hide_input_in_errors=True)

    primary: ClassVar[str] = "model"

    model: str = Field(min_length=1, description="As LiteLLM writes it: `provider/model`, e.g. `openai/gpt-4.1-mini`.")
    api_key: str | None = et.free(None, description="`env:NAME`, the environment variable that holds the key.")
    api_base: str | None = Field(None, description="Address of the API, where it is not the provider's own.")
    timeout: float = et.free(600.0, gt=0, description="Seconds after which a call that has left is given up.")
    extra: dict[str, Any] = Field(
        default_factory=dict,
        description="Further arguments of `litellm.acompletion`, such as `api_version`, `reasoning_effort` or "
        "`drop_params: true`; a text `env:NAME` stands for that variable.",
    )

    _litellm: Any = PrivateAttr(None)
    _arguments: dict[str, Any] = PrivateAttr(default_factory=dict)
    _secrets: tuple[str, ...] = PrivateAttr(())

    @field_validator("api_key")
    @classmethod
    def _check_key(cls, key: str | None) -> str | None:
        if key is not None and not REFERENCE.fullmatch(key):
            raise ValueError("a key is never written here: put it into an environment variable and write env:NAME")
        return key

    @field_validator("api_base")
    @classmethod
    def _check_base(cls, base: str | None) -> str | None:
        if base is not None and not re.match(r"https?://", base):
            raise ValueError("an address begins with http:// or https://")
        if base is not None and re.match(r"https?://[^/?#]*@", base):
            raise ValueError("an address must not hold a password: use api_key: env:NAME")
        return base

    @field_validator("extra")
    @classmethod
    def _check_extra(cls, extra: dict[str, Any]) -> dict[str, Any]:
        for name in extra:
            if name in _OURS:
                raise ValueError(f"'{name}' does not go into extra: it is set by {_OURS[name]}")
            if name in _UNUSABLE:
                raise ValueError(f"'{name}' cannot be used: every reply is the one answer of the one model asked")
        for path, value in _leaves(extra):
            if _SECRET_NAME.search(path) and isinstance(value, str) and not REFERENCE.fullmatch(value):
                raise ValueError(f"extra.{path} looks like a secret, which is never written here: write env:NAME")
        return extra

    async def open(self, workload: et.Workload) -> None:
        """Import LiteLLM, look up the keys and check that the provider is known.

        Raises:
            MissingExtra: litellm is not installed.
            NotAuthorised: an environment variable that holds a key is not set.
            NoSuchModel: LiteLLM does not know the provider.
        """
        arguments = {"model": self.model, "timeout": self.timeout, "num_retries": 0, "max_retries": 0}
        arguments |= {"api_base": self.api_base} if self.api_base is not None else {}
        arguments |= {"api_key": self._resolve(self.api_key, "api_key")} if self.api_key is not None else {}
        arguments |= {name: self._resolve(value, f"extra.{name}") for name, value in self.extra.items()}
        self._secrets = tuple(sorted(_known_secrets(self), key=len, reverse=True))
        self._litellm = await asyncio.to_thread(_import_litellm)
        try:
            self._litellm.get_llm_provider(model=self.model, api_base=self.api_base)
        except Exception as error:
            self._litellm = None
            raise errors.NoSuchModel(
                f"backend 'litellm': no provider is known for '{self.model}': write provider/model, such as "
                "openai/gpt-4.1-mini; for a server of your own that speaks OpenAI's API, openai/NAME with api_base"
            ) from error
        self._arguments = arguments

    async def complete(self, request: et.Request) -> et.Reply:
        """Ask the provider once; see :func:`explain` for what its errors become.

        Raises:
            BrokenReply: no choices, or a body that is not the API's.
            Refused: the content policy cut or refused the answer.
        """
        if self._litellm is None:
            raise errors.FatalError("backend 'litellm' is not open")
        sampling = request.sampling
        arguments = {
            **self._arguments,
            "messages": [{"role": message.role, "content": message.content} for message in request.messages],
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
        }
        if sampling.stop:
            arguments["stop"] = list(sampling.stop)
        if sampling.seed is not None:
            arguments["seed"] = sampling.seed
        started = time.perf_counter()
        try:
            answer = await self._litellm.acompletion(**arguments)
        except Exception as error:
            # The chain is cut, since provider's errors repeat the request, key and all.
            raise explain(error, self.model, self._hide(str(error))) from None
        return self._reply(answer, time.perf_counter() - started)

    async def close(self) -> None:
        """Close the connections that LiteLLM keeps, for all its users on this event loop."""
        litellm, self._litellm, self._arguments, self._secrets = self._litellm, None, {}, ()
        if litellm is not None and hasattr(litellm, "close_litellm_async_clients"):
            await litellm.close_litellm_async_clients()

    def _reply(self, answer: Any, latency: float) -> et.Reply:
        choices = getattr(answer, "choices", None)
        if not choices:
            raise errors.BrokenReply(f"'{self.model}' answered without choices")
        choice = choices[0]
        text = choice.message.content or ""
        refusal = (getattr(choice.message, "provider_specific_fields", None) or {}).get("refusal")
        if choice.finish_reason == "content_filter" or (refusal and not text):
            raise errors.Refused(self._hide(f"'{self.model}': {refusal or 'cut by the content filter'}"))
        usage = getattr(answer, "usage", None)
        tokens = et.Usage(getattr(usage, "prompt_tokens", 0) or 0, getattr(usage, "completion_tokens", 0) or 0)
        cost = (getattr(answer, "_hidden_params", None) or {}).get("response_cost")
        return et.Reply(text, tokens, choice.finish_reason or "stop", answer.model or self.model, latency, cost)

    def _resolve(self, value: Any, where: str) -> Any:
        """Put the variables' values in place of their names, in texts at any depth."""
        if isinstance(value, dict):
            return {name: self._resolve(inner, f"{where}.{name}") for name, inner in value.items()}
        if isinstance(value, list):
            return [self._resolve(inner, where) for inner in value]
        found = REFERENCE.fullmatch(value) if isinstance(value, str) else None
        if found is None:
            return value
        secret = os.environ.get(found[1], "").strip()
        if not secret:
            raise errors.NotAuthorised(
                f"backend 'litellm': {where} names the environment variable {found[1]}, which is not set: "
                f"export {found[1]}=… and run again"
            )
        return secret

    def _hide(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "[secret]")
        return text


def explain(error: Exception, model: str, text: str) -> errors.BackendError:
    """Turn an exception of LiteLLM into one of ours, by its class, its HTTP status and, where these say little, words.

    Args:
        error: what was raised.
        model: the model asked.
        text: the error's message, without secrets.
    """
    kinds = {cls.__name__ for cls in type(error).__mro__}
    status = getattr(error, "status_code", None)
    lower = text.lower()
    short = " ".join(text.split())
    message = f"'{model}': {short if len(short) <= 500 else short[:500] + '…'}"
    if "UnsupportedParamsError" in kinds or any(words in lower for words in _UNSUPPORTED):
        return errors.FatalError(f"{message} (extra: {{drop_params: true}} leaves out what the model does not take)")
    if "ContextWindowExceededError" in kinds or status == 413 or any(words in lower for words in _LENGTH):
        return errors.TooLong(message)
    if "ContentPolicyViolationError" in kinds or (status == 400 and any(words in lower for words in _POLICY)):
        return errors.Refused(message)
    if "RejectedRequestError" in kinds or "GuardrailRaisedException" in kinds or "BlockedPiiEntityError" in kinds:
        return errors.Refused(message)
    if status == 402 or "exceeded your current quota" in lower or "credit balance is too low" in lower:
        return errors.FatalError(f"{message} (the account has no money left: top it up and run again)")
    if any(words in lower for words in _BROKEN):
        return errors.BrokenReply(message)
    if status == 429:
        return errors.RateLimited(message, retry_after(error))
    return _by_status(status, message)


def _by_status(status: object, message: str) -> errors.BackendError:
    if status in (401, 403):
        return errors.NotAuthorised(f"{message} (check the key, and that it may use this model)")
    if status == 404:
        return errors.NoSuchModel(message)
    if isinstance(status, int) and (status >= 500 or status in (408, 409, 425)):
        return errors.Transient(message)
    if isinstance(status, int) and 400 <= status < 500:
        return errors.BadReply(message)
    return errors.FatalError(message)


def retry_after(error: Exception) -> float | None:
    """Return the seconds that a provider asks to wait: ``retry-after-ms``, or ``Retry-After`` of RFC 9110, 10.2.3."""
    headers = getattr(error, "litellm_response_headers", None) or {}
    headers = headers or getattr(getattr(error, "response", None), "headers", None) or {}
    try:
        if (milliseconds := headers.get("retry-after-ms")) is not None:
            return max(0.0, float(milliseconds) / 1000)
        value = headers.get("retry-after")
        if value is None:
            return None
        if re.fullmatch(r"\d+(\.\d+)?", value):
            return float(value)
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError):
        return None


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(inner, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner, path)
    else:
        yield path, value


def _known_secrets(backend: LiteLLM) -> set[str]:
    """The values that no message may show: of the variables named, and of all that look like a key's."""
    texts = [value for _, value in _leaves([backend.api_key, backend.extra]) if isinstance(value, str)]
    named = {found[1] for text in texts if (found := REFERENCE.fullmatch(text))}
    values = {value.strip() for name, value in os.environ.items() if name in named or _SECRET_NAME.search(name)}
    # A shorter value would be found inside of ordinary words.
    return {value for value in values if len(value) >= 6}


def _import_litellm() -> Any:
    # Without it the import downloads a table of prices, and waits where there is no network.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    try:
        import litellm
    except ModuleNotFoundError as error:
        if error.name != "litellm":
            raise
        raise errors.MissingExtra("backend 'litellm'", "litellm") from None
    litellm.suppress_debug_info = True  # else it prints an appeal for feedback at every error
    return litellm


@et.hookimpl
def register_backends() -> list[type[et.Backend]]:
    """Bring the LiteLLM backend."""
    return [LiteLLM]
