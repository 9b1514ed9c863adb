"""What goes to a backend and what comes back: Message, Sampling, Request, Usage, Reply."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["evolve", "respond", "judge"]
"""What a call is for; a recipe maps each role to a backend."""

ROLES: tuple[Role, ...] = ("evolve", "respond", "judge")

# Each call is written twice, as what its fingerprint is of and for the store: json.dumps makes an encoder each time.
_packed = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode
_readable = json.JSONEncoder(ensure_ascii=False).encode


@dataclass(frozen=True, slots=True)
class Message:
    """One chat message.

    Attributes:
        role: ``system``, ``user`` or ``assistant``.
        content: the text.
    """

    role: str
    content: str


Prompt = str | Iterable[Message]
"""What an operator or judge asks: a text (sent as one user message) or a list of messages."""


def as_messages(prompt: Prompt) -> tuple[Message, ...]:
    """Turn a prompt into messages; a plain text becomes one user message.

    Raises:
        TypeError: it is neither a text nor messages, or there is nothing in it to answer.
    """
    if isinstance(prompt, str):
        if not prompt.strip():
            raise TypeError("the prompt is empty: a text that asks for something is needed")
        return (Message("user", prompt),)
    if prompt is None:
        raise TypeError("a text or a list of evolteacher.Message is needed, not None: is a `return` missing?")
    messages = tuple(prompt) if isinstance(prompt, Iterable) and not isinstance(prompt, bytes | Mapping) else ()
    if not messages or not all(
        isinstance(m, Message) and isinstance(m.role, str) and isinstance(m.content, str) for m in messages
    ):
        found = type(prompt).__name__ if not messages else f"{type(prompt).__name__} of {type(messages[0]).__name__}"
        raise TypeError(f"a text or a list of evolteacher.Message is needed, not {found}")
    return messages


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a reply is drawn.

    The defaults are WizardCoder's (arXiv 2306.08568): temperature 1, top_p 0.9, at most 2,048 new tokens.

    Attributes:
        temperature: 0 is greedy.
        top_p: nucleus mass, in (0, 1].
        max_tokens: most new tokens, counted by the model's tokenizer.
        stop: texts that end a reply; they are not part of it.
        seed: handed to backends that take one; None leaves the draw to them.
    """

    temperature: float = 1.0
    top_p: float = 0.9
    max_tokens: int = 2048
    stop: tuple[str, ...] = ()
    seed: int | None = None

    def __post_init__(self) -> None:
        """Refuse what no backend can draw by, and write equal numbers alike, so that fingerprints are equal too.

        Raises:
            ValueError: a value is out of bounds or of a wrong type.
        """
        for name, least, most in (("temperature", 0.0, 10.0), ("top_p", 0.0, 1.0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
                raise ValueError(f"{name} must be a number from {least:g} to {most:g}, not {value!r}")
            object.__setattr__(self, name, value + 0.0)
        if self.top_p == 0:
            raise ValueError("top_p must be more than 0; temperature 0 is greedy")
        if isinstance(self.max_tokens, bool) or not isinstance(self.max_tokens, int) or self.max_tokens < 1:
            raise ValueError(f"max_tokens must be a whole number of 1 or more, not {self.max_tokens!r}")
        if isinstance(self.stop, str) or not all(isinstance(text, str) for text in self.stop):
            raise ValueError(f"stop must be a tuple of texts, not {self.stop!r}")
        object.__setattr__(self, "stop", tuple(self.stop))
        if self.seed is not None and (isinstance(self.seed, bool) or not isinstance(self.seed, int)):
            raise ValueError(f"seed must be a whole number or None, not {self.seed!r}")


@dataclass(frozen=True, slots=True)
class Request:
    """One question to a backend.

    Attributes:
        messages: the conversation, last message from the user.
        sampling: how to draw the reply.
        slot: where the reply belongs, as text, for backends that answer each slot alike (``scripted``) and for logs;
            no part of the fingerprint.
    """

    messages: tuple[Message, ...]
    sampling: Sampling = field(default_factory=Sampling)
    slot: str = ""

    @property
    def text(self) -> str:
        """The contents of all messages, joined by blank lines."""
        return "\n\n".join(message.content for message in self.messages)

    def fingerprint(self, model: str) -> bytes:
        """Return 16 bytes that change when model, messages or sampling change, and with nothing else.

        Args:
            model: the backend's :meth:`~evolteacher.backend.Backend.identity`.
        """
        sampling = self.sampling
        parts: list[Any] = [
            model,
            [[message.role, message.content] for message in self.messages],
            [sampling.temperature, sampling.top_p, sampling.max_tokens, sampling.stop, sampling.seed],
        ]
        return hashlib.blake2b(_packed(parts).encode("ascii"), digest_size=16).digest()


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call, as the backend counted them; both 0 where it did not say."""

    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        """Prompt and completion together."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class RateLimits:
    """A provider's limits, as the headers of an answer tell them; :func:`evolteacher.rate_limits` reads them.

    Attributes:
        requests_per_minute: None where the headers name none, or one for a longer time than a minute.
        tokens_per_minute: likewise.
    """

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """What a backend answered.

    Attributes:
        text: the answer.
        usage: its tokens.
        finish_reason: ``stop``, ``length`` (cut at ``max_tokens``), or what the provider says.
        model: the model that answered, by the provider's own word.
        latency: seconds from the request's leaving to the answer's arrival, without time in our queue.
        cost: US dollars by the provider's own word; None leaves it to the price that the recipe or the backend gives.
        limits: the provider's, where the answer's headers tell them; not stored.
    """

    text: str
    usage: Usage = field(default_factory=Usage)
    finish_reason: str = "stop"
    model: str = ""
    latency: float = 0.0
    cost: float | None = None
    limits: RateLimits | None = None


NO_REPLY = Reply(text="", finish_reason="none")
"""Stands in for the reply where nothing was asked: seeds, and operators that do without an LLM."""


def messages_to_json(messages: Iterable[Message]) -> str:
    """Write messages as a JSON list of ``{"role": …, "content": …}``."""
    return _readable([{"role": m.role, "content": m.content} for m in messages])
