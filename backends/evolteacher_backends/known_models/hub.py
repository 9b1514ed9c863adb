"""Fetch from the Hugging Face hub, or from a mirror of it."""

from __future__ import annotations

import http.client
import os
import re
import socket
import threading
import urllib.error
import urllib.parse
import urllib.request
from email.message import Message
from pathlib import Path
from threading import Event
from typing import IO

from evolteacher_backends.known_models import ModelFile
from evolteacher_backends.known_models.progress import Progress
from evolteacher_backends.known_models.source import SourceError, Stopped, append, length

PATIENCE = 6.0
"""Seconds that finding the hub, or any one read, may take; short, so that a network without a hub falls through."""

_ATTEMPTS = 3


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, and keeps the hash that the hub states in the first answer only."""

    sha256 = ""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> urllib.request.Request | None:
        self.sha256 = _stated_hash(headers) or self.sha256
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]


def _stated_hash(headers: Message) -> str:
    tag = str(headers.get("X-Linked-ETag") or "").strip('"').lower()
    return tag if re.fullmatch("[0-9a-f]{64}", tag) else ""


class Hub:
    """The Hugging Face hub, or a mirror of it that ``HF_ENDPOINT`` names; ``HF_TOKEN`` opens gated files.

    Args:
        model: a file that the hub has.
        patience: seconds that finding the hub, or any one read, may take.
    """

    label = "the hub"

    def __init__(self, model: ModelFile, patience: float = PATIENCE) -> None:
        endpoint = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
        self._size = model.size
        self._patience = patience
        self._url = f"{endpoint.rstrip('/')}/{model.repo}/resolve/main/{model.hub_file}"
        self._redirects = _Redirects()
        self._opener = urllib.request.build_opener(self._redirects)

    def fill(self, part: Path, progress: Progress, stop: Event) -> str:
        """See :meth:`Source.fill`. A cut connection is taken up again where it broke, as long as bytes arrive."""
        if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
            raise SourceError("HF_HUB_OFFLINE is set")
        _find(self._url, self._patience)
        failures = 0
        while (before := length(part)) != self._size:
            try:
                if self._ask_rest(part, progress, stop):
                    break
                reason = "the connection was cut"
            except urllib.error.HTTPError as error:
                with error:
                    reason = _reason(error)
                if error.code < 500 and error.code not in (408, 429):
                    raise SourceError(reason) from error
            except urllib.error.URLError as error:
                reason = str(error.reason)
            except (TimeoutError, ConnectionError, http.client.HTTPException) as error:
                reason = str(error) or type(error).__name__
            failures = 0 if length(part) > before else failures + 1
            if failures == _ATTEMPTS or length(part) == 0:
                raise SourceError(reason)
            if stop.wait(failures):
                raise Stopped("stopped; what has arrived is kept")
        return self._redirects.sha256

    def _ask_rest(self, part: Path, progress: Progress, stop: Event) -> bool:
        """Send one request for the rest of the file; return whether it is whole now."""
        offset = length(part)
        request = urllib.request.Request(self._url, headers={"User-Agent": "evolteacher"})
        if offset:
            request.add_header("Range", f"bytes={offset}-")
        if token := os.environ.get("HF_TOKEN"):
            request.add_unredirected_header("Authorization", f"Bearer {token}")
        with self._opener.open(request, timeout=self._patience) as answer:
            self._redirects.sha256 = _stated_hash(answer.headers) or self._redirects.sha256
            if answer.status != http.client.PARTIAL_CONTENT:
                offset = 0
            rest = answer.headers.get("Content-Length")
            total = offset + int(rest) if rest else self._size
            progress.source(self.label)
            offset = append(part, offset, answer, progress, total, stop)
        return total is None or offset >= total


def _find(url: str, patience: float) -> None:
    """Give up soon on a hub that cannot be reached.

    urllib waits its whole time-out for each of a host's addresses, and without bound for its name, which is minutes in
    a network that swallows packets. Where a proxy stands between, it answers for the hub, and soon.
    """
    parts = urllib.parse.urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme in urllib.request.getproxies() and not urllib.request.proxy_bypass(host):
        return
    failure: list[str] = ["no answer"]

    def connect() -> None:
        try:
            socket.create_connection((host, parts.port or (80 if parts.scheme == "http" else 443)), patience).close()
            failure.clear()
        except OSError as error:
            failure[:] = [error.strerror or str(error)]

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(patience)
    if failure:
        raise SourceError(f"{host}: {failure[0]}")


def _reason(error: urllib.error.HTTPError) -> str:
    if error.code in (401, 403):
        return f"HTTP {error.code}: there is no such file, or it needs a token (set HF_TOKEN)"
    if error.code == 404:
        return "HTTP 404: there is no such file: check owner, repository and file name"
    return f"HTTP {error.code} {error.reason}"
