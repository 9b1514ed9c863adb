"""A loopback dataset hub: the calls of the Hugging Face hub that pushing and reading seeds make.

In a test::

    with Hub(token="hf_…") as hub:
        hub.serve("dataset", "owner/name", {"data.jsonl": b"…"})     # a repository that is there already
        …run evolteacher with hub.environment()…
        hub.repos["owner/name"].files("main")                        # what was pushed
        hub.calls                                                    # (method, path) of each request

Files of ``lfs_from`` bytes and more, and Parquet, go by LFS. ``fail`` maps a part of `METHOD path` to (status,
times): that often it is refused. Everything happens in threads of the test's process, and ends with the block.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit


def git_id(data: bytes) -> str:
    """Return the id that git gives a file."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@dataclass
class Repo:
    """A repository: branches of files, and the commits that were made."""

    kind: str
    name: str
    private: bool
    branches: dict[str, dict[str, bytes]] = field(default_factory=lambda: {"main": {}})
    heads: dict[str, str] = field(default_factory=lambda: {"main": "0" * 40})
    large: set[str] = field(default_factory=set)
    commits: list[dict[str, Any]] = field(default_factory=list)

    def files(self, revision: str = "main") -> dict[str, bytes]:
        """Return name -> content at a branch or a commit."""
        branch = next((name for name, head in self.heads.items() if revision in (name, head)), None)
        if branch is None:
            raise KeyError(revision)
        return self.branches[branch]

    def head(self, revision: str) -> str:
        return self.heads.get(revision, revision)


class Hub:
    """The server; see the module."""

    def __init__(
        self, token: str = "hf_loopback_token", *, owners: tuple[str, ...] = ("owner",), lfs_from: int = 1 << 20,
        fail: Mapping[str, tuple[int, int]] | None = None,
    ) -> None:  # fmt: skip
        self.token = token
        self.owners = owners
        self.lfs_from = lfs_from
        self.fail = dict(fail or {})
        self.open_only = False  # makes public what was to be private
        self.moves: Callable[[], object] | None = None  # called once, before the next commit is looked at
        self.repos: dict[str, Repo] = {}
        self.objects: dict[str, bytes] = {}
        self.calls: list[tuple[str, str]] = []
        self.odd: list[str] = []
        self.lock = threading.Lock()
        hub = self

        class Handler(_Handler):
            pass

        Handler.hub = hub
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Hub:
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def environment(self, home: object) -> dict[str, str]:
        """Return what the hub's clients need in their environment; nothing of this machine's own."""
        return {
            "HF_ENDPOINT": self.url, "HF_TOKEN": self.token, "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(home),
            "HF_HUB_DISABLE_TELEMETRY": "1", "NO_PROXY": "*", "no_proxy": "*",
        }  # fmt: skip

    def serve(self, kind: str, name: str, files: Mapping[str, bytes], *, private: bool = True, branch: str = "main"):
        """Put files into a repository, which is made where it is not there."""
        repo = self.repos.setdefault(name, Repo(kind, name, private))
        repo.branches.setdefault(branch, {}).update(files)
        repo.heads[branch] = hashlib.sha1(repr(sorted(files)).encode() + branch.encode()).hexdigest()
        return repo

    def count(self, method: str, part: str) -> int:
        """Return how many requests of a method had this in their path."""
        return sum(called == method and part in path for called, path in self.calls)


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self._serve("GET")

    def do_HEAD(self) -> None:
        self._serve("HEAD")

    def do_POST(self) -> None:
        self._serve("POST")

    def do_PUT(self) -> None:
        self._serve("PUT")

    def _serve(self, method: str) -> None:
        path = unquote(urlsplit(self.path).path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        hub = self.hub
        with hub.lock:
            hub.calls.append((method, path))
            for part, (status, times) in hub.fail.items():
                if part in f"{method} {path}" and times:
                    hub.fail[part] = (status, times - 1)
                    self._answer(status, {"error": f"told to fail, whoever holds {hub.token}"})
                    return
            if not path.startswith("/lfs/") and self.headers.get("Authorization") != f"Bearer {hub.token}":
                self._answer(401, {"error": "Invalid credentials in Authorization header"})
                return
            for verb, pattern, door in _DOORS:
                found = re.fullmatch(pattern, path)
                if found and method in verb:
                    door(self, body, **found.groupdict())
                    return
            hub.odd.append(f"{method} {path}")
            self._answer(404, {"error": "not found"}, {"X-Error-Code": "EntryNotFound"})

    def _answer(self, status: int, told: Any = None, headers: Mapping[str, str] | None = None) -> None:
        data = told if isinstance(told, bytes) else json.dumps(told).encode()
        self.send_response(status)
        given = {"Content-Type": "application/json", "Content-Length": str(len(data)), **(headers or {})}
        for name, value in given.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _repo(self, kind: str, name: str, revision: str = "main") -> Repo | None:
        """Return a repository that has this revision; else answer that there is none."""
        repo = self.hub.repos.get(name)
        if repo is None or not kind.startswith(repo.kind):
            self._answer(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
            return None
        if revision not in repo.heads and revision not in repo.heads.values():
            self._answer(404, {"error": "Invalid rev id"}, {"X-Error-Code": "RevisionNotFound"})
            return None
        return repo

    # what the hub does

    def _create(self, body: bytes) -> None:
        wish = json.loads(body)
        name = f"{wish['organization']}/{wish['name']}"
        if wish["organization"] not in self.hub.owners:
            self._answer(403, {"error": "You don't have the rights to create a repository under this namespace"})
        elif name in self.hub.repos:
            self._answer(409, {"error": "You already created this repo"})
        else:
            self.hub.repos[name] = Repo(
                wish.get("type", "model"), name, wish.get("visibility") == "private" and not self.hub.open_only
            )
            folder = "datasets/" if wish.get("type") == "dataset" else ""
            self._answer(200, {"url": f"{self.hub.url}/{folder}{name}", "id": name})

    def _info(self, body: bytes, kind: str, name: str, revision: str | None = None) -> None:
        repo = self._repo(kind, name, revision or "main")
        if repo is not None:
            files = [{"rfilename": file} for file in sorted(repo.files(revision or "main"))]
            told = {"id": name, "private": repo.private, "sha": repo.head(revision or "main"), "siblings": files}
            self._answer(200, {**told, "disabled": False, "gated": False, "tags": [], "downloads": 0, "likes": 0})

    def _branch(self, body: bytes, kind: str, name: str, branch: str) -> None:
        repo = self._repo(kind, name)
        if repo is None:
            return
        if branch in repo.branches:
            self._answer(409, {"error": "Reference already exists"})
            return
        repo.branches[branch], repo.heads[branch] = dict(repo.branches["main"]), git_id(branch.encode())
        self._answer(201, {})

    def _preupload(self, body: bytes, kind: str, name: str, revision: str) -> None:
        repo = self._repo(kind, name, revision)
        if repo is None:
            return
        told = []
        for file in json.loads(body)["files"]:
            path = file["path"]
            lfs = file["size"] >= self.hub.lfs_from or path.endswith((".parquet", ".safetensors"))
            held = repo.files(revision).get(path)
            oid = None if held is None else sha256(held) if path in repo.large else git_id(held)
            mode = "lfs" if lfs else "regular"
            told.append({"path": path, "uploadMode": mode, "shouldIgnore": False, **({"oid": oid} if oid else {})})
        self._answer(200, {"files": told})

    def _batch(self, body: bytes, name: str) -> None:
        objects = []
        for wanted in json.loads(body)["objects"]:
            oid = wanted["oid"]
            action = {"upload": {"href": f"{self.hub.url}/lfs/{oid}"}}
            objects.append({**wanted, **({} if oid in self.hub.objects else {"actions": action})})
        self._answer(200, {"transfer": "basic", "objects": objects})

    def _put(self, body: bytes, oid: str) -> None:
        if sha256(body) != oid:
            self._answer(400, {"error": "another file"})
            return
        self.hub.objects[oid] = body
        self._answer(200, {})

    def _commit(self, body: bytes, kind: str, name: str, revision: str) -> None:
        repo = self._repo(kind, name, revision)
        if repo is None:
            return
        if self.hub.moves is not None:
            self.hub.moves()
            self.hub.moves = None
        lines = [json.loads(line) for line in body.splitlines()]
        (head,) = [line["value"] for line in lines if line["key"] == "header"]
        if head.get("parentCommit") not in (None, repo.heads[revision]):
            self._answer(412, {"error": "The branch has moved"})
            return
        for line in lines:
            value = line["value"]
            if line["key"] == "deletedFile":
                del repo.branches[revision][value["path"]]
            if line["key"] == "file":
                repo.branches[revision][value["path"]] = base64.b64decode(value["content"])
                repo.large.discard(value["path"])
            elif line["key"] == "lfsFile":
                repo.branches[revision][value["path"]] = self.hub.objects[value["oid"]]
                repo.large.add(value["path"])
        names = [line["value"]["path"] for line in lines if line["key"] != "header"]
        repo.commits.append({"branch": revision, "message": head["summary"], "files": sorted(names)})
        repo.heads[revision] = hashlib.sha1(f"{len(repo.commits)}{revision}".encode()).hexdigest()
        self._answer(200, {"commitUrl": f"{self.hub.url}/{name}/commit/x", "commitOid": repo.heads[revision]})

    def _validate(self, body: bytes) -> None:
        self._answer(200, {"errors": [], "warnings": []})

    def _entry(self, repo: Repo, path: str, data: bytes) -> dict[str, Any]:
        lfs = {"lfs": {"oid": sha256(data), "size": len(data), "pointerSize": 130}} if path in repo.large else {}
        return {"type": "file", "path": path, "size": len(data), "oid": git_id(data), **lfs}

    def _tree(self, body: bytes, kind: str, name: str, revision: str, below: str | None = None) -> None:
        repo = self._repo(kind, name, revision)
        if repo is None:
            return
        start = f"{below}/" if below else ""
        deep = "recursive=true" in self.path.lower()
        found: dict[str, dict[str, Any]] = {}
        for path, data in sorted(repo.files(revision).items()):
            if path.startswith(start):
                rest = path.removeprefix(start)
                folder = start + rest.split("/")[0]
                if "/" in rest:
                    found[folder] = {"type": "directory", "path": folder, "size": 0, "oid": git_id(folder.encode())}
                if "/" not in rest or deep:
                    found[path] = self._entry(repo, path, data)
        if below and not found:
            self._answer(404, {"error": "no such entry"}, {"X-Error-Code": "EntryNotFound"})
            return
        self._answer(200, list(found.values()))

    def _paths(self, body: bytes, kind: str, name: str, revision: str) -> None:
        repo = self._repo(kind, name, revision)
        if repo is None:
            return
        text = body.decode()
        wanted = json.loads(text)["paths"] if text.startswith("{") else re.findall(r"paths=([^&]*)", unquote(text))
        files = repo.files(revision)
        told = [self._entry(repo, path, files[path]) for path in wanted if path in files]
        folders = {path for path in wanted if any(file.startswith(f"{path}/") for file in files)}
        told += [{"type": "directory", "path": path, "size": 0, "oid": git_id(path.encode())} for path in folders]
        self._answer(200, told)

    def _resolve(self, body: bytes, kind: str | None, name: str, revision: str, path: str) -> None:
        repo = self._repo(kind or "model", name, revision)
        if repo is None:
            return
        data = repo.files(revision).get(path)
        headers = {"X-Repo-Commit": repo.head(revision)}
        if data is None:
            self._answer(404, {"error": "no such entry"}, {"X-Error-Code": "EntryNotFound", **headers})
            return
        headers |= {"ETag": f'"{git_id(data)}"', "Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if span:
            first, last = int(span[1]), min(int(span[2] or len(data) - 1), len(data) - 1)
            headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
            self._answer(206, data[first : last + 1], headers)
        else:
            self._answer(200, data, headers)


_ID = r"(?P<name>[\w.-]+/[\w.-]+)"
_API = rf"/api/(?P<kind>datasets|models)/{_ID}"
_DOORS: list[tuple[str, str, Any]] = [
    ("POST", "/api/repos/create", _Handler._create),
    ("POST", "/api/validate-yaml", _Handler._validate),
    ("GET", _API, _Handler._info),
    ("GET", rf"{_API}/revision/(?P<revision>.+)", _Handler._info),
    ("POST", rf"{_API}/branch/(?P<branch>.+)", _Handler._branch),
    ("POST", rf"{_API}/preupload/(?P<revision>.+)", _Handler._preupload),
    ("POST", rf"{_API}/commit/(?P<revision>.+)", _Handler._commit),
    ("POST", rf"{_API}/paths-info/(?P<revision>.+)", _Handler._paths),
    ("GET", rf"{_API}/tree/(?P<revision>[^/]+)(/(?P<below>.+))?", _Handler._tree),
    ("POST", rf"/(datasets/)?{_ID}\.git/info/lfs/objects/batch", _Handler._batch),
    ("PUT", r"/lfs/(?P<oid>[0-9a-f]{64})", _Handler._put),
    ("GET HEAD", rf"/((?P<kind>datasets)/)?{_ID}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", _Handler._resolve),
]
