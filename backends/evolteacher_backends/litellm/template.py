"""Requests that differ in their texts alone: LiteLLM composes one, and the others are filled in."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import evolteacher as et
from evolteacher_backends.litellm.offline import Offline, Sent, arguments

AWKWARD = (
    ' \n{"a": "\\u0041"} {{b}} %s <think>héllo 🙂</think> "x"\\ https://127.0.0.1/x.png data:image/png;base64,AA== \t '
)
"""A text in which anything would be changed that LiteLLM changes in any text."""

_OURS = ("content-length", "host", "accept-encoding", "connection", "transfer-encoding")
"""Headers that the connection writes itself."""

_BEARERS = ("authorization", "api-key", "x-api-key", "x-goog-api-key")
"""Headers that carry a key, or a token that was made from one."""

LONGEST_PLACEHOLDER = 20
"""Characters of what LiteLLM sends where there is no key; tokens, which expire, are longer."""


@dataclass(frozen=True, slots=True)
class Template:
    """A request with places for texts.

    Attributes:
        url: where it goes.
        headers: without those that the connection writes.
        pieces: of the JSON body, between the texts.
    """

    url: str
    headers: Mapping[str, str]
    pieces: tuple[bytes, ...]

    def fill(self, texts: Sequence[str]) -> bytes:
        """Return the body with these texts, in the order of the messages."""
        parts = [self.pieces[0]]
        for text, piece in zip(texts, self.pieces[1:], strict=True):
            parts += (json.dumps(text).encode("ascii"), piece)
        return b"".join(parts)


async def template_for(request: et.Request, composer: Offline) -> Template | None:
    """Return the template of all requests with these roles and this sampling; None where there is none.

    There is none where LiteLLM changes texts, orders messages anew, sends other headers each time, or anything but one
    JSON body by POST.

    Raises:
        NotComposed: LiteLLM does not use the client.
        Exception: LiteLLM's own.
    """
    marks = [f"evolteacher{uuid.uuid4().hex}" for _ in request.messages]
    sent = await composer.compose(arguments(_with_texts(request, marks)))
    pieces = _split(sent.body, marks)
    if sent.method != "POST" or pieces is None:
        return None
    template = Template(sent.url, _headers(sent), pieces)
    awkward = [f"{AWKWARD}{index} " for index in range(len(marks))]
    again = await composer.compose(arguments(_with_texts(request, awkward)))
    same = again.url == sent.url and _headers(again) == template.headers
    return template if same and _json(template.fill(awkward)) == _json(again.body) is not None else None


def bearers(headers: Mapping[str, str]) -> list[str]:
    """Return the keys and tokens that a request carries."""
    values = [value for name, value in headers.items() if name.lower() in _BEARERS]
    return [re.sub(r"^(?i:bearer|basic)\s+", "", value) for value in values]


def lasting(headers: Mapping[str, str], known: Iterable[str]) -> bool:
    """Whether the headers hold for all calls: they carry a key that is known, and no token made from one.

    Args:
        headers: of a request.
        known: keys from options and environment.
    """
    known = set(known)
    return all(value in known or len(value) < LONGEST_PLACEHOLDER for value in bearers(headers))


def _with_texts(request: et.Request, texts: Sequence[str]) -> et.Request:
    messages = (replace(message, content=text) for message, text in zip(request.messages, texts, strict=True))
    return replace(request, messages=tuple(messages))


def _split(body: bytes, marks: Sequence[str]) -> tuple[bytes, ...] | None:
    pieces: list[bytes] = []
    rest = body
    for mark in marks:
        found = rest.split(f'"{mark}"'.encode("ascii"))
        if len(found) != 2:
            return None
        pieces.append(found[0])
        rest = found[1]
    return None if any(mark.encode("ascii") in rest for mark in marks) else (*pieces, rest)


def _headers(sent: Sent) -> dict[str, str]:
    return {name: value for name, value in sent.headers.items() if name.lower() not in _OURS}


def _json(body: bytes) -> object:
    try:
        return json.loads(body)
    except ValueError:
        return None
