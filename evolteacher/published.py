"""What of a recipe, or of what was measured, others may see: cards, reports and what is pushed leave this machine.

Taken out are folders of this machine, the hosts of a private network, and names and passwords in addresses. A run's own
files keep them.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

HIDDEN_HOST = "hidden-host.invalid"
"""Stands for a host of a private network: a name that no host can have (RFC 2606), in an address that is still one."""

_PRIVATE_ENDS = (
    "local", "localhost", "localdomain", "internal", "intranet", "intra", "lan", "corp", "home", "private", "home.arpa",
    "svc",
)  # fmt: skip
"""Ends of names that are known inside of a network only."""

_ADDRESS = re.compile(r"(?i)(?P<scheme>(?!(?:s3a?|gs|gcs|hf|file)://)[a-z][a-z0-9+.-]*://)(?P<rest>\S+)")
"""An address with a scheme; behind some stands a bucket, a repository or a path, and no host."""

_SEVERAL = re.compile(r"([,;]\s*)")
_BARE = re.compile(r"(?i)[^\s/]+(/\S*)?")
_KEY = re.compile(r"(?i)(.*_)?(url|uri|host|hostname|endpoint|address|api_base)(s|es)?")
"""Options that are an address also where no scheme stands before it."""

_LONGEST = 1024
"""Characters of a text that may be a path or an address."""


def public_recipe_of(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipe, as plain data, as others may see it."""
    found: dict[str, Any] = public(dict(plain))
    seeds = found.get("seeds")
    if isinstance(seeds, dict) and isinstance(seeds.get("path"), str):
        path = seeds["path"]
        seeds["path"] = os.path.basename(path) if os.path.isabs(os.path.expanduser(path)) else path
    return found


def public(value: Any, key: str = "") -> Any:
    """Return plain data without places of this machine, hosts of a private network, and passwords in addresses.

    Args:
        value: mappings, lists, texts and numbers; it stays as it is.
        key: under which it stands.

    Returns:
        The same; in place of a path of what is on this machine its last name, and :data:`HIDDEN_HOST` in addresses.
    """
    if isinstance(value, dict):
        return {name: public(each, str(name)) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [public(each, key) for each in value]
    if isinstance(value, str) and len(value) < _LONGEST and "\0" not in value and "\n" not in value:
        return _without_hosts(_without_folder(value), key)
    return value


def is_private(host: str) -> bool:
    """Whether a host is one of a private network: an address of such a one, a name of one label, or such as ``.local``.

    Args:
        host: name or address, without port; IPv6 with brackets or without.
    """
    name = unicodedata.normalize("NFKC", host).replace("\u3002", ".").casefold().strip("[]").rstrip(".")
    address = _address(name.partition("%")[0])
    if address is not None:
        mapped = getattr(address, "ipv4_mapped", None)
        return not (mapped or address).is_global
    return "." not in name or any(name.endswith(f".{end}") for end in _PRIVATE_ENDS)


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(name))  # 127.1, 0x7f000001 and the like
    except (OSError, ValueError):
        return None


def _without_folder(value: str) -> str:
    """Return the last name of a path that is, or by its first folder could have been, one of this machine."""
    whole = os.path.expanduser(value.removeprefix("file://"))
    if not os.path.isabs(whole):
        return value
    first = os.path.join("/", *Path(whole).parts[1:2])
    gone = len(Path(whole).parts) > 2 and _BARE.fullmatch(whole[1:]) is not None and os.path.isdir(first)
    return os.path.basename(os.path.normpath(whole)) or value if gone or os.path.exists(whole) else value


def _without_hosts(value: str, key: str) -> str:
    """Return a text without private hosts where it is an address, or several with commas between them."""
    parts, bare = _SEVERAL.split(value.strip()), "://" not in value and _KEY.fullmatch(key) is not None
    shown = [part if number % 2 else _without_host(part, bare) for number, part in enumerate(parts)]
    return "".join(shown) if shown != parts else value


def _without_host(value: str, bare: bool) -> str:
    found = _ADDRESS.fullmatch(value)
    if found is not None:
        scheme, rest = found["scheme"], found["rest"]
    elif bare and _BARE.fullmatch(value) and not value.startswith("env:"):
        scheme, rest = "", value
    else:
        return value
    try:
        parts = urlsplit(f"//{rest}")
        host = parts.hostname or ""
    except ValueError:
        return f"{scheme}{HIDDEN_HOST}"
    behind = rest[len(parts.netloc) :]
    return f"{scheme}{HIDDEN_HOST if is_private(host) else parts.netloc.rpartition('@')[2]}{behind}"
