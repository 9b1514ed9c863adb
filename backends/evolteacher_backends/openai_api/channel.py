"""The connections to one server: bytes there, bytes back, and what a connection can suffer."""

from __future__ import annotations

import errno
import io
import socket
import ssl
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import aiohttp
from yarl import URL

from evolteacher import errors
from evolteacher_backends.openai_api.address import Address
from evolteacher_backends.openai_api.faults import excerpt

MOST = 64 * 2**20
"""Bytes of an answer that are read: no model writes so much."""

_MOST_OF_ERROR = 2**20

_KEEP = 60.0
"""Seconds that an idle connection is kept. Servers that close earlier say so, and the connection is not used again."""

_DNS = 300
"""Seconds that a name's addresses are remembered."""

_PROBE_IDLE = 60
_PROBE_EVERY = 30
_PROBES = 5
"""TCP asks after so many silent seconds whether the other side is there: an answer may take minutes, in which networks
that translate addresses forget a silent connection (after 240 to 350 seconds at the large clouds)."""

_AT_ONCE = 2**20
"""Bytes of a body that aiohttp writes at once; it warns beyond."""


class Answer(NamedTuple):
    """One answer: its status, headers (names in any case), and body."""

    status: int
    headers: Mapping[str, str]
    data: bytes


class Channel:
    """A pool of connections to one server; belongs to the event loop on which it was made.

    A request is sent once: aiohttp repeats only methods that are idempotent, of which POST is none. The pool has no
    bounds, so that no call waits in it; how many are in flight is the caller's decision.

    Args:
        address: the server's.
        headers: sent with each request.
        timeout: seconds from a request's leaving to the last byte of its answer.
        connect_timeout: seconds for a connection to stand.

    Raises:
        FatalError: the environment names a proxy that cannot be used.
    """

    def __init__(self, address: Address, headers: Mapping[str, str], timeout: float, connect_timeout: float) -> None:
        self._server = address.origin
        self._post_url = URL(address.url("/chat/completions"))
        self._address = address
        self._proxy = _proxy_for(address)
        self.secrets = _password_of(self._proxy)
        self._timeout = timeout
        self._connect = min(connect_timeout, timeout)
        connector = aiohttp.TCPConnector(
            limit=0, limit_per_host=0, keepalive_timeout=_KEEP, ttl_dns_cache=_DNS, **_watched()
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            headers=headers,
            # A cookie would tell calls apart that have nothing to do with each other, and be looked for in each.
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=timeout, connect=self._connect),
        )

    async def close(self) -> None:
        """Drop all connections; what is still being asked fails. Safe to call twice."""
        await self._session.close()

    async def ask(self, body: bytes) -> Answer:
        """Send a chat completion request once.

        Raises:
            Transient: no answer, or not all of it.
            BrokenReply: the answer has no end.
            FatalError: no request can reach the server.
        """
        data = body if len(body) < _AT_ONCE else io.BytesIO(body)
        try:
            response = await self._session.post(self._post_url, data=data, allow_redirects=False, proxy=self._proxy)
            return await _whole(response)
        except (aiohttp.ClientError, OSError, ValueError, RuntimeError) as error:
            # The chain is cut, since aiohttp's errors hold the request, key and all.
            raise self._explain(error, self._timeout) from None

    async def get(self, path: str, timeout: float) -> Answer:
        """Read what the server tells of itself, such as ``/models``.

        Args:
            path: below the base URL.
            timeout: seconds, from the moment when the connection stands.

        Raises:
            BackendError: as :meth:`ask`.
        """
        limit = aiohttp.ClientTimeout(total=self._connect + timeout, connect=self._connect)
        try:
            response = await self._session.get(
                URL(self._address.url(path)), allow_redirects=False, proxy=self._proxy, timeout=limit
            )
            return await _whole(response)
        except (aiohttp.ClientError, OSError, ValueError, RuntimeError) as error:
            raise self._explain(error, timeout) from None

    def _explain(self, error: Exception, timeout: float) -> errors.BackendError:
        server = self._server
        if isinstance(error, aiohttp.ClientHttpProxyError):
            return self._explain_proxy(error)
        if isinstance(error, aiohttp.ClientSSLError):
            return _explain_tls(error, server)
        if isinstance(error, aiohttp.ClientConnectorError):
            return _explain_connecting(error, server)
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            return errors.Transient(f"{server}: no connection stood within {self._connect:g} seconds", unpaid=True)
        if isinstance(error, TimeoutError):
            return errors.Transient(f"{server}: no answer within {timeout:g} seconds")
        if isinstance(error, aiohttp.ClientResponseError):
            return errors.Transient(f"{server}: what came back is not HTTP: look at base_url")
        if isinstance(error, aiohttp.InvalidURL):
            return errors.FatalError(f"{server}: the address cannot be asked")
        if isinstance(error, aiohttp.ClientError | OSError):
            return errors.Transient(f"{server}: the connection was cut before the answer was whole ({_words(error)})")
        if self._session.closed:
            return errors.FatalError("backend 'openai-compatible' was closed while it was asked")
        raise error

    def _explain_proxy(self, error: aiohttp.ClientHttpProxyError) -> errors.BackendError:
        proxy = urlsplit(self._proxy or "")
        said = f"{self._server}: the proxy {proxy.hostname}:{proxy.port} says {error.status} {excerpt(error.message)}"
        if error.status == 407:
            return errors.FatalError(f"{said}: put user and password into the proxy's address in the environment")
        if error.status >= 500 or error.status in (408, 429):
            return errors.Transient(said, unpaid=True)
        return errors.FatalError(f"{said}: let it through there, or name the host in NO_PROXY")


async def _whole(response: aiohttp.ClientResponse) -> Answer:
    """Read an answer to its end; its connection then waits for the next request.

    Raises:
        BrokenReply: it is longer than any answer of a model.
        aiohttp.ClientError: it was cut.
    """
    good, content = response.status < 300, response.content
    most = MOST if good else _MOST_OF_ERROR
    blocks: list[bytes] = []
    size = 0
    try:
        while size <= most and (block := await content.readany()):
            blocks.append(block)
            size += len(block)
    except BaseException as error:
        response.close()
        if good or not isinstance(error, aiohttp.ClientError | TimeoutError):
            raise
    if size > most:
        response.close()
        if good:
            raise errors.BrokenReply(f"{response.url.origin()}: the answer is longer than {MOST >> 20} MB")
    return Answer(response.status, response.headers, b"".join(blocks))


def _explain_tls(error: aiohttp.ClientSSLError, server: str) -> errors.BackendError:
    inner = getattr(error, "certificate_error", None) or error.os_error
    reason = getattr(inner, "reason", None) or ""
    if isinstance(inner, ssl.SSLCertVerificationError):
        return errors.FatalError(
            f"{server}: its certificate is not trusted ({inner.verify_message}): if it is right, let the environment "
            "variable SSL_CERT_FILE name the file of the authority that signed it"
        )
    if reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE"):
        return errors.FatalError(f"{server} speaks no TLS ({reason}): does the address begin with http://?")
    if isinstance(inner, ssl.SSLError) and not isinstance(inner, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return errors.FatalError(f"{server}: no TLS connection is possible ({reason or excerpt(str(inner))})")
    return errors.Transient(f"{server}: the connection was cut in its TLS handshake", unpaid=True)


def _explain_connecting(error: aiohttp.ClientConnectorError, server: str) -> errors.Transient:
    if isinstance(error.os_error, socket.gaierror):
        host = urlsplit(server).hostname
        return errors.Transient(
            f"{server}: no address is known for '{host}': look at the name, and at the network", unpaid=True
        )
    where = (
        f"{server}: the proxy {error.host}:{error.port}"
        if isinstance(error, aiohttp.ClientProxyConnectionError)
        else server
    )
    number = error.os_error.errno
    if number == errno.ECONNREFUSED:
        return errors.Transient(f"{where} refuses connections: is a server running there?", unpaid=True)
    if number == errno.EMFILE:
        return errors.Transient(
            f"{where}: too many open files: lower the recipe's concurrency, or raise `ulimit -n`", unpaid=True
        )
    return errors.Transient(f"{where} cannot be reached ({_words(error.os_error)})", unpaid=True)


def _words(error: Exception) -> str:
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "the server closed it"
    if isinstance(error, aiohttp.ClientPayloadError):
        return "its end is missing"
    return excerpt(getattr(error, "strerror", None) or str(error) or type(error).__name__)


def _proxy_for(address: Address) -> str | None:
    """Return the proxy that the environment names for a server; none for one on this machine.

    Raises:
        FatalError: it speaks what aiohttp does not.
    """
    if address.loopback:
        return None
    from urllib.request import getproxies, proxy_bypass

    if proxy_bypass(address.host):
        return None
    named = getproxies()
    proxy = named.get(address.scheme) or named.get("all")
    if not proxy:
        return None
    if "://" not in proxy:
        proxy = f"http://{proxy}"
    if not proxy.startswith(("http://", "https://")):
        raise errors.FatalError(
            f"{address.origin}: the environment names a proxy of {proxy.partition(':')[0]}, which is not spoken here: "
            f"let {address.scheme.upper()}_PROXY name one of http, or NO_PROXY this host"
        )
    return proxy


def _password_of(proxy: str | None) -> tuple[str, ...]:
    password = urlsplit(proxy).password if proxy else None
    return tuple({password, unquote(password)}) if password else ()


def _watched() -> dict[str, Any]:
    """Return the connector's option that makes TCP watch silent connections; none for aiohttp before 3.12."""
    if tuple(int(part) for part in aiohttp.__version__.split(".")[:2]) < (3, 12):
        return {}
    return {"socket_factory": _socket}


def _socket(info: tuple[Any, ...]) -> socket.socket:
    """Make a socket for an address as ``getaddrinfo`` gives it."""
    made = socket.socket(info[0], info[1], info[2])
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _options():
        made.setsockopt(socket.IPPROTO_TCP, name, value)
    return made


def _options() -> Iterable[tuple[int, int]]:
    """Yield the TCP options there are; macOS calls the first by another name."""
    for names, value in (
        (("TCP_KEEPIDLE", "TCP_KEEPALIVE"), _PROBE_IDLE),
        (("TCP_KEEPINTVL",), _PROBE_EVERY),
        (("TCP_KEEPCNT",), _PROBES),
    ):
        found = next((getattr(socket, name) for name in names if hasattr(socket, name)), None)
        if found is not None:
            yield found, value
