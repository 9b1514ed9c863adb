"""The files and batches calls, as OpenAI's batch API has them."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from loopback.counters import Counters
from loopback.faults import BYTES, ERRORS, WIRE, Error
from loopback.settings import Settings
from loopback.wire import Request

Json = dict[str, Any]
Status = Literal["validating", "failed", "in_progress", "completed", "expired", "cancelling", "cancelled"]

ENDPOINT = "/v1/chat/completions"


class Reply(NamedTuple):
    """What an endpoint says: its name in the counters, status, body and content type."""

    kind: str
    status: int
    body: bytes
    content_type: bytes = b"application/json"


class Line(NamedTuple):
    """What became of one request of a batch: its name in the counters, status and body."""

    kind: str
    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class File:
    """A file that was uploaded, or that a batch made."""

    id: str
    name: str
    purpose: str
    content: bytes
    created: int

    def as_json(self) -> Json:
        """Write it as OpenAI does."""
        return {
            "id": self.id,
            "object": "file",
            "bytes": len(self.content),
            "created_at": self.created,
            "filename": self.name,
            "purpose": self.purpose,
            "status": "processed",
        }


@dataclass(slots=True)
class Batch:
    """A batch, and how far it is."""

    id: str
    file: File
    window: str
    metadata: Json | None
    settings: Settings
    end: Literal["completed", "failed", "expired"]
    status: Status = "validating"
    at: dict[str, int] = field(default_factory=dict)
    total: int = 0
    completed: int = 0
    failed: int = 0
    errors: list[Json] = field(default_factory=list)
    output: File | None = None
    error: File | None = None
    timer: asyncio.TimerHandle | None = None

    def enter(self, status: Status) -> None:
        """Note that it is in this status from now on."""
        self.status = status
        self.at[status] = int(time.time())

    def as_json(self) -> Json:
        """Write it as OpenAI does."""
        statuses = ("in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled")
        created = self.at["validating"]
        return {
            "id": self.id,
            "object": "batch",
            "endpoint": ENDPOINT,
            "errors": {"object": "list", "data": self.errors} if self.errors else None,
            "input_file_id": self.file.id,
            "completion_window": self.window,
            "status": self.status,
            "output_file_id": self.output.id if self.output else None,
            "error_file_id": self.error.id if self.error else None,
            "created_at": created,
            "expires_at": created + 86_400,
            **{f"{status}_at": self.at.get(status) for status in statuses},
            "request_counts": {"total": self.total, "completed": self.completed, "failed": self.failed},
            "metadata": self.metadata,
        }


class Batches:
    """Files and batches of one provider.

    Args:
        answer: answers the body of one line.
    """

    def __init__(self, answer: Callable[[Any], Line]) -> None:
        self._answer = answer
        self._files: dict[str, File] = {}
        self._batches: dict[str, Batch] = {}
        self._number = 0

    def handle(self, request: Request, settings: Settings, counters: Counters) -> Reply | None:
        """Answer a request to ``/v1/files`` or ``/v1/batches``; None where it is another."""
        match request.method, *request.path.strip("/").split("/"):
            case "POST", "v1", "files":
                return self._upload(request)
            case "GET", "v1", "files":
                return _reply("files", {"object": "list", "data": [file.as_json() for file in self._files.values()]})
            case method, "v1", "files", name, *rest if name in self._files:
                return self._file(method, self._files[name], rest)
            case "POST", "v1", "batches":
                return self._create(request, settings, counters)
            case "GET", "v1", "batches":
                return self._list(request)
            case "GET", "v1", "batches", name if name in self._batches:
                return _reply("batches", self._batches[name].as_json())
            case "POST", "v1", "batches", name, "cancel" if name in self._batches:
                return self._cancel(self._batches[name], counters)
            case _, "v1", ("files" | "batches") as kind, name, *_:
                return _refusal(kind, f"No such {kind}: {name}", status=404)
        return None

    def _new(self, prefix: str) -> str:
        self._number += 1
        return f"{prefix}{hashlib.blake2b(b'%d' % self._number, digest_size=12).hexdigest()}"

    def _keep(self, name: str, purpose: str, content: bytes) -> File:
        file = File(self._new("file-"), name, purpose, content, int(time.time()))
        self._files[file.id] = file
        return file

    def _upload(self, request: Request) -> Reply:
        parts = dict(_parts(request))
        if "purpose" not in parts or "file" not in parts:
            return _refusal("files", "a multipart body with 'purpose' and 'file' is needed")
        name, content = parts["file"]
        return _reply("files", self._keep(name, parts["purpose"][1].decode(), content).as_json())

    def _file(self, method: str, file: File, rest: list[str]) -> Reply:
        if method == "GET" and rest == ["content"]:
            return Reply("files", 200, file.content, b"application/octet-stream")
        if method == "GET" and not rest:
            return _reply("files", file.as_json())
        if method == "DELETE" and not rest:
            del self._files[file.id]
            return _reply("files", {"id": file.id, "object": "file", "deleted": True})
        return _refusal("files", "nothing can be done so to a file", status=405)

    def _create(self, request: Request, settings: Settings, counters: Counters) -> Reply:
        try:
            wish = json.loads(request.body)
            file = self._files[wish["input_file_id"]]
            window = wish["completion_window"]
        except (ValueError, KeyError, TypeError):
            return _refusal("batches", "'input_file_id' of an uploaded file and 'completion_window' are needed")
        if wish.get("endpoint") != ENDPOINT or window != "24h" or file.purpose != "batch":
            return _refusal("batches", f"only {ENDPOINT}, within 24h, from a file with the purpose 'batch'")
        ends = settings.batch_outcomes
        end = ends[counters.batches] if counters.batches < len(ends) else "completed"
        batch = Batch(self._new("batch_"), file, window, wish.get("metadata"), settings, end)
        batch.enter("validating")
        self._batches[batch.id] = batch
        counters.batches += 1
        later = asyncio.get_running_loop().call_later
        batch.timer = later(settings.batch_validating, self._validated, batch, counters)
        return _reply("batches", batch.as_json())

    def _validated(self, batch: Batch, counters: Counters) -> None:
        rows, batch.errors = _validate(batch.file.content, batch.settings)
        if batch.end == "failed":
            batch.errors.append(_complaint("token_limit_exceeded", "Enqueued token limit reached.", None))
        if batch.errors:
            batch.enter("failed")
            return
        batch.total = len(rows)
        batch.enter("in_progress")
        later = asyncio.get_running_loop().call_later
        batch.timer = later(batch.settings.batch_running, self._finished, batch, rows, counters)

    def _finished(self, batch: Batch, rows: list[Json], counters: Counters) -> None:
        if batch.end == "expired":
            answered = int(len(rows) * batch.settings.batch_answered)
            self._answer_all(batch, rows[:answered], counters)
            self._leave(batch, rows[answered:], "batch_expired", counters)
            batch.enter("expired")
        else:
            self._answer_all(batch, rows, counters)
            batch.enter("completed")

    def _cancel(self, batch: Batch, counters: Counters) -> Reply:
        if batch.status not in ("validating", "in_progress"):
            return _refusal("batches", f"a batch that is {batch.status} cannot be cancelled", status=409)
        assert batch.timer is not None
        batch.timer.cancel()
        rows = _validate(batch.file.content, batch.settings)[0] if batch.status == "in_progress" else []
        batch.enter("cancelling")

        def cancelled() -> None:
            answered = int(len(rows) * batch.settings.batch_answered)
            self._answer_all(batch, rows[:answered], counters)
            self._leave(batch, rows[answered:], "batch_cancelled", counters)
            batch.enter("cancelled")

        asyncio.get_running_loop().call_soon(cancelled)
        return _reply("batches", batch.as_json())

    def _answer_all(self, batch: Batch, rows: list[Json], counters: Counters) -> None:
        """Answer lines into the two files, in an order of their own, as OpenAI does not promise any."""
        output: list[bytes] = []
        error: list[bytes] = []
        for row in sorted(rows, key=lambda row: hashlib.blake2b(row["custom_id"].encode()).digest()):
            line = self._answer(row["body"])
            counters.batch_lines[line.kind] += 1
            if line.status == 200:
                batch.completed += 1
            else:
                batch.failed += 1
            if line.kind in WIRE:
                continue
            written = self._written(row["custom_id"], line)
            (output if line.status == 200 else error).append(written)
        if output:
            batch.output = self._keep("output.jsonl", "batch_output", b"".join(output))
        if error:
            batch.error = self._keep("error.jsonl", "batch_output", b"".join(error))

    def _written(self, custom_id: str, line: Line) -> bytes:
        response = {"status_code": line.status, "request_id": self._new("req_"), "body": json.loads(line.body)}
        row = {"id": self._new("batch_req_"), "custom_id": custom_id, "response": response, "error": None}
        text = json.dumps(row).encode()
        if line.kind in BYTES:
            text = BYTES[line.kind](text)
        return text + b"\n"

    def _leave(self, batch: Batch, rows: list[Json], code: str, counters: Counters) -> None:
        """Write rows that were not answered into the error file."""
        if not rows:
            return
        counters.batch_lines[code] += len(rows)
        batch.failed += len(rows)
        complaint = {"code": code, "message": "This request was not executed before its batch ended."}
        lines = [batch.error.content] if batch.error else []
        for row in rows:
            left = {"id": self._new("batch_req_"), "custom_id": row["custom_id"], "response": None, "error": complaint}
            lines.append(json.dumps(left).encode() + b"\n")
        batch.error = self._keep("error.jsonl", "batch_output", b"".join(lines))

    def _list(self, request: Request) -> Reply:
        rows = list(reversed(self._batches.values()))
        if after := request.query.get("after"):
            names = [batch.id for batch in rows]
            rows = rows[names.index(after) + 1 :] if after in names else []
        limit = int(request.query.get("limit", 20))
        data = [batch.as_json() for batch in rows[:limit]]
        ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {"first_id": None, "last_id": None}
        return _reply("batches", {"object": "list", "data": data, **ends, "has_more": len(rows) > limit})


def _reply(kind: str, body: Json) -> Reply:
    return Reply(kind, 200, json.dumps(body).encode())


def _refusal(kind: str, message: str, status: int = 400) -> Reply:
    return Reply(kind, status, Error(status, ERRORS["400"].type, None, message).body())


def _complaint(code: str, message: str, line: int | None) -> Json:
    return {"code": code, "message": message, "param": None, "line": line}


def _validate(content: bytes, settings: Settings) -> tuple[list[Json], list[Json]]:
    """Return the rows of an input file, and what is wrong with it."""
    rows: list[Json] = []
    errors: list[Json] = []
    seen: set[str] = set()
    for number, text in enumerate(content.splitlines(), start=1):
        try:
            row = json.loads(text)
            name, method, url, body = (row[key] for key in ("custom_id", "method", "url", "body"))
            model = body["model"]
        except (ValueError, KeyError, TypeError):
            errors.append(_complaint("invalid_json_line", "This line is no request.", number))
            continue
        if method != "POST" or url != ENDPOINT:
            errors.append(_complaint("invalid_url", f"Only POST {ENDPOINT} is possible in this batch.", number))
        elif not isinstance(name, str) or name in seen:
            errors.append(_complaint("duplicate_custom_id", f"The custom_id {name!r} is used twice.", number))
        elif settings.models is not None and model not in settings.models:
            errors.append(_complaint("model_not_found", f"The model {model!r} does not exist.", number))
        elif rows and model != rows[0]["body"]["model"]:
            errors.append(_complaint("mismatched_model", "A batch is for one model.", number))
        else:
            seen.add(name)
            rows.append(row)
    if not rows and not errors:
        errors.append(_complaint("empty_file", "There is no request.", None))
    if len(rows) > settings.batch_max_lines:
        errors.append(_complaint("too_many_tasks", f"There are more than {settings.batch_max_lines} requests.", None))
    return rows, errors


def _parts(request: Request) -> Iterator[tuple[str, tuple[str, bytes]]]:
    """Take a multipart body apart: field name, file name (or nothing), content."""
    boundary = re.search(r'boundary="?([^";]+)"?', request.headers.get("content-type", ""))
    if boundary is None:
        return
    for part in (b"\r\n" + request.body).split(b"\r\n--" + boundary[1].encode())[1:]:
        head, blank, content = part.partition(b"\r\n\r\n")
        name = re.search(r'[; ]name="?([^";\r]+)', head.decode("utf-8", "replace"))
        if not blank or name is None:
            continue
        filename = re.search(r'filename="?([^";\r]+)', head.decode("utf-8", "replace"))
        yield name[1], (filename[1] if filename else "", content)
