"""Chat completions: what is asked, and an answer that is a function of it alone."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from loopback.settings import Settings

MARKER = re.compile(r"\[\[fault:([a-z0-9-]+)(?:@(\d+|head|body))?(?: x(\d+))?\]\]")
"""A fault that a message asks for: name, where a cut happens, how many times."""

CREATED = 1_700_000_000
"""The time on every completion, so that equal requests get equal bytes."""

_WORDS = (
    "arrays booleans bytes caches calendars characters clocks colours columns commands cookies counters currencies "
    "cycles dates deadlines dictionaries digits durations edges events files fractions graphs grids groups hashes "
    "heaps indices integers intervals keys lists locks logs matrices messages names nodes numbers pairs palindromes "
    "paths permutations pixels points polygons primes queues ranges records roots rows sets signals sorting squares "
    "stacks streams strings tables tokens"
).split()


class NotAChat(Exception):
    """A body that is no chat completion request; the message says why."""


@dataclass(frozen=True, slots=True)
class Chat:
    """One chat completion request.

    Attributes:
        body: as it came.
        digest: 16 bytes over its messages.
        last: the text of the last message.
        prompt_tokens: a quarter of the characters, and four a message.
        max_tokens: as asked, None for no bound.
    """

    body: dict[str, Any]
    digest: bytes
    last: str
    prompt_tokens: int
    max_tokens: int | None

    @property
    def model(self) -> str:
        """The model that is asked."""
        return str(self.body["model"])


def digest(messages: Sequence[dict[str, Any]]) -> bytes:
    """Return 16 bytes over a request's messages, as in ``requests()`` (there in hexadecimal digits) and in answers."""
    text = json.dumps(messages, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode("ascii"), digest_size=16).digest()


def parse(raw: bytes) -> Chat:
    """Read a request's body.

    Raises:
        NotAChat: it is none that this provider answers.
    """
    try:
        body = json.loads(raw)
    except ValueError as error:
        raise NotAChat(f"the body is not JSON: {error}") from None
    return chat(body)


def chat(body: Any) -> Chat:
    """Check a request's body.

    Raises:
        NotAChat: it is none that this provider answers.
    """
    if not isinstance(body, dict) or not isinstance(body.get("model"), str):
        raise NotAChat("you must provide a model parameter")
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(m, dict) for m in messages):
        raise NotAChat("'messages' must be a list of one message or more")
    if body.get("stream") or body.get("n", 1) != 1:
        raise NotAChat("this provider neither streams nor gives several choices")
    for message in messages:
        if message.get("role") not in ("system", "developer", "user", "assistant", "tool"):
            raise NotAChat(f"no role is called {message.get('role')!r}")
    most = body.get("max_completion_tokens", body.get("max_tokens"))
    if most is not None and (isinstance(most, bool) or not isinstance(most, int) or most < 1):
        raise NotAChat(f"max_tokens must be 1 or more, not {most!r}")
    texts = [_text(message) for message in messages]
    return Chat(body, digest(messages), texts[-1], sum(map(len, texts)) // 4 + 4 * len(texts), most)


def _text(message: dict[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content
    if isinstance(content, list) and all(isinstance(p, dict) and isinstance(p.get("text"), str) for p in content):
        return "".join(part["text"] for part in content)
    raise NotAChat("a message's content must be a text, or a list of parts with a text")


@dataclass(frozen=True, slots=True)
class Completion:
    """An answer: its text, why it ends, and its tokens."""

    text: str
    finish_reason: str
    tokens: int


def echo(settings: Settings, where: str, authorization: str) -> str:
    """Return what a hostile provider adds to an answer, or to the message of an error."""
    if settings.echo_key == "escaped":
        return f"{authorization} {escaped(authorization)}"
    return authorization if settings.echo_key == where else ""


def escaped(text: str) -> str:
    """Write each character as an escape of JSON."""
    return "".join(f"\\u{ord(char):04x}" for char in text)


def escape(data: bytes, settings: Settings, authorization: str) -> bytes:
    """Write the header in a body of JSON in escapes, where a hostile provider does so."""
    if settings.echo_key != "escaped" or not authorization:
        return data
    return data.replace(authorization.encode(), escaped(authorization).encode())


def complete(chat: Chat, settings: Settings, authorization: str = "") -> Completion:
    """Answer; the same chat under the same settings always gets the same answer."""
    words = hashlib.shake_128(chat.digest).digest(settings.answer_words)
    text = settings.answer.replace("{words}", " ".join([_WORDS[byte % len(_WORDS)] for byte in words]))
    text = text.replace("{digest}", chat.digest.hex())
    if "{last}" in text:
        last = MARKER.sub("", chat.last)
        text = text.replace("{last}", last[: settings.answer_last])
    if echoed := echo(settings, "answer", authorization):
        text = f"{text} {echoed}"
    tokens = len(text) // 4 + 1
    if chat.max_tokens is not None and tokens > chat.max_tokens:
        return Completion(text[: 4 * chat.max_tokens], "length", chat.max_tokens)
    return Completion(text, "stop", tokens)


def body(chat: Chat, completion: Completion) -> bytes:
    """Write a completion as OpenAI does."""
    return (
        b'{"id":"chatcmpl-%b","object":"chat.completion","created":%d,"model":%b,"choices":[{"index":0,"message":'
        b'{"role":"assistant","content":%b,"refusal":null},"logprobs":null,"finish_reason":"%b"}],"usage":'
        b'{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d},"system_fingerprint":"fp_loopback"}'
    ) % (
        chat.digest.hex().encode(),
        CREATED,
        json.dumps(chat.model).encode(),
        json.dumps(completion.text).encode(),
        completion.finish_reason.encode(),
        chat.prompt_tokens,
        completion.tokens,
        chat.prompt_tokens + completion.tokens,
    )
