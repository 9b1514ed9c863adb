"""What of a recipe, or of what was measured, others may see: cards, reports and what is pushed leave this machine.

Taken out are folders of this machine, and the hosts of a private network. A run's own files keep both.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import unicodedata
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

HIDDEN_HOST = "hidden-host.invalid"
"""Stands for a host of a private network: a name that no host can have (RFC 2606), in an address that is still one."""

_PRIVATE_ENDS = (
    "local", "localhost", "localdomain", "internal", "intranet", "intra", "lan", "corp", "home", "private", "home.arpa",
    "svc",
)  # fmt: skip
"""Ends of names that are known inside of a network only."""

_ADDRESS = re.compile(r"(?i)(https?|wss?|grpcs?|tcp)://(?P<rest>\S+)")
_BARE = re.compile(r"(?i)[^\s/]+(/\S*)?")
_KEY = re.compile(r"(?i)(.*_)?(url|uri|host|hostname|endpoint|address|api_base)")
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
    """Return plain data without places of this machine and hosts of a private network.

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
        return _without_host(_without_folder(value), key)
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
    whole = os.path.expanduser(value)
    if os.path.isabs(whole) and os.path.exists(whole):
        return os.path.basename(os.path.normpath(whole))
    return value


def _without_host(value: str, key: str) -> str:
    found = _ADDRESS.fullmatch(value.strip())
    if found is not None:
        scheme, rest = f"{found[1]}://", found["rest"]
    elif _KEY.fullmatch(key) and _BARE.fullmatch(value) and not value.startswith("env:"):
        scheme, rest = "", value
    else:
        return value
    try:
        parts = urlsplit(f"//{rest}")
        host = parts.hostname or ""
    except ValueError:
        return f"{scheme}{HIDDEN_HOST}"
    if not is_private(host):
        return value
    return f"{scheme}{HIDDEN_HOST}{rest[len(parts.netloc) :]}"
