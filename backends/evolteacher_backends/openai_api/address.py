"""Where a server is, and what may be written about it: no key in an address, in a header or in a body."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import evolteacher as et

OPENAI = "https://api.openai.com/v1"

_PORTS = {"http": 80, "https": 443}

_COMPLETIONS = "/chat/completions"

_SECRET_WORDS = frozenset(
    "key apikey subscriptionkey token accesstoken authtoken secret password passwd pwd auth authorization bearer "
    "credential credentials cookie jwt sig signature".split()
)
"""Words in the name of a header or of a part of a query whose value is taken for a secret."""

_KEY = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"(?:sk|pk|rk|gsk|hf|r8|xai|nvapi|pplx|csk|fw|tgp|ghp|glpat|key)[-_](?=[A-Za-z_-]*[0-9])[A-Za-z0-9_-]{16,}"
    r"|AIza[A-Za-z0-9_-]{30,}"
    r"|eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"
    r")"
)
"""What providers' keys look like, and JSON web tokens (RFC 7519); a run of 16 letters alone is a word."""

_TOKEN = re.compile(r"(?=.*[0-9])(?=.*[A-Za-z])[A-Za-z0-9_+/=-]{20,}")
"""A value of a query that is long and mixed is no version or name."""

_OWN_HEADERS = frozenset(
    "accept-encoding connection content-encoding content-length content-type expect host keep-alive "
    "proxy-authorization te trailer transfer-encoding upgrade".split()
)
"""Headers that say how a request travels."""

_HOST = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_.])?")

_UNFIT = re.compile(r"[\x00-\x20\x7f\"<>\\^`{|}]")
"""Characters that no URL holds (RFC 3986)."""

_NO_ADDRESS = "it is no address: write it like http://localhost:8000/v1"

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""A token of RFC 9110, 5.6.2."""


@dataclass(frozen=True, slots=True)
class Address:
    """A server's base URL, taken apart.

    Attributes:
        scheme: ``http`` or ``https``.
        host: in lower case; an IPv6 address without its brackets.
        port: the scheme's own where the URL names none.
        path: without a slash at its end.
        query: what follows the ``?``, such as Azure's ``api-version``.
    """

    scheme: str
    host: str
    port: int
    path: str
    query: str = ""

    @property
    def origin(self) -> str:
        """Return ``scheme://host``, and the port where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + (f":{self.port}" if self.port != _PORTS[self.scheme] else "")

    @property
    def base(self) -> str:
        """The base URL, written the one way in which equal addresses are equal."""
        return self.url("")

    def url(self, path: str) -> str:
        """Return the URL of an endpoint, such as ``/models``."""
        return self.origin + self.path + path + (f"?{self.query}" if self.query else "")

    @property
    def openai(self) -> bool:
        """Whether it is OpenAI's own API."""
        return self.scheme == "https" and self.host == "api.openai.com"

    @property
    def loopback(self) -> bool:
        """Whether the server runs on this machine."""
        if self.host == "localhost" or self.host.endswith(".localhost"):
            return True
        ip = _ip(self.host)
        return ip is not None and (ip.is_loopback or ip.is_unspecified)

    @property
    def own(self) -> bool:
        """Whether the server is the user's own, and no provider's: on this machine or in a private network."""
        if self.loopback:
            return True
        ip = _ip(self.host)
        if ip is not None:
            return ip.is_private or ip.is_link_local
        return "." not in self.host or self.host.endswith((".local", ".lan", ".internal", ".home.arpa"))


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def read_address(text: str) -> Address:
    """Take a base URL apart; ``/chat/completions`` at its end is taken off.

    Raises:
        ValueError: it is no address of a server, or may hold a secret; the message does not repeat it.
    """
    text = text.strip()
    if not re.match(r"https?://", text, re.IGNORECASE):
        raise ValueError("an address begins with http:// or https://, such as http://localhost:8000/v1")
    if re.match(r"[^/?#]*//[^/?#]*@", text):
        raise ValueError("an address must not hold a user name or a password: name a key with api_key: env:NAME")
    try:
        parts = urlsplit(text)
        port = parts.port
        host = (parts.hostname or "").encode("idna").decode("ascii").lower()
    except ValueError:
        raise ValueError(_NO_ADDRESS) from None
    if not (_HOST.fullmatch(host) or _ip(host)) or port == 0 or _UNFIT.search(text):
        raise ValueError(_NO_ADDRESS)
    if parts.fragment:
        raise ValueError("an address of a server has no '#'")
    _check_query(parts.query)
    if _KEY.search(parts.path):
        raise ValueError("the address holds what looks like a key: name it with api_key: env:NAME")
    path = parts.path.rstrip("/").removesuffix(_COMPLETIONS).rstrip("/")
    scheme = parts.scheme.lower()
    return Address(scheme, host, port or _PORTS[scheme], path, parts.query)


def _check_query(query: str) -> None:
    for name, value in parse_qsl(query, keep_blank_values=True):
        if names_secret(name) or _KEY.search(value) or _TOKEN.fullmatch(value):
            raise ValueError(
                "what follows the '?' of the address looks like a key, which is never written there: name it with "
                "api_key: env:NAME, or with headers: {NAME: env:NAME}"
            )


def names_secret(name: str) -> bool:
    """Tell by its name whether a header or a part of a query holds a secret: ``X-Api-Key``, ``apiKey``, ``Cookie``."""
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+", name)
    return any(word.lower() in _SECRET_WORDS for word in words)


def looks_like_key(text: str) -> bool:
    """Tell whether a text holds what looks like a provider's key."""
    return _KEY.search(text) is not None


def check_headers(headers: Mapping[str, str]) -> None:
    """Check headers of a recipe.

    Raises:
        ValueError: one may hold a secret, is ours, or cannot be sent.
    """
    seen: set[str] = set()
    for name, value in headers.items():
        lower = name.lower()
        if not _HEADER_NAME.fullmatch(name):
            raise ValueError("a header's name is made of letters, digits and hyphens")
        if lower in seen:
            raise ValueError(f"the header '{name}' stands there twice")
        seen.add(lower)
        if lower in _OWN_HEADERS:
            raise ValueError(f"the header '{name}' is set by the connection itself: leave it out")
        if et.secret_name(value) is None and (names_secret(name) or looks_like_key(value)):
            raise ValueError(
                f"the header '{name}' looks like a secret, which is never written here: put its whole value (with "
                "'Bearer ' or the like, where it has such a word) into an environment variable, and write env:NAME"
            )
        if re.search(r"[^\t\x20-\x7e\x80-\xff]", value):
            raise ValueError(f"the header '{name}' holds a line break or a letter that no header can hold")


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield what a JSON value comes down to, with its place, such as ``chat_template_kwargs.enable_thinking``."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves(inner, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner, path)
    else:
        yield path, value
