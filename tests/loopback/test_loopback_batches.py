"""The provider's batches: OpenAI's format, every end, and what goes wrong on the way."""

import json
import time

import pytest

from loopback import Provider
from loopback.asking import ask, call, dial, messages, request, until_closed_or_reset

ENDS = ("completed", "failed", "expired", "cancelled")


@pytest.fixture(scope="module")
def shared():
    with Provider() as provider:
        yield provider


@pytest.fixture
def provider(shared):
    yield shared
    shared.configure(script=[], batch_outcomes=[], batch_running=0.0, batch_validating=0.0, batch_max_lines=50_000)
    shared.configure(models=None, batch_answered=0.5)
    shared.reset()


def row(name, text, **more):
    body = {"model": "m", "messages": messages(text)}
    return {"custom_id": name, "method": "POST", "url": "/v1/chat/completions", "body": body, **more}


def upload(provider, rows, purpose="batch"):
    content = b"".join((r if isinstance(r, bytes) else json.dumps(r).encode()) + b"\n" for r in rows)
    parts = [
        b'--xyz\r\nContent-Disposition: form-data; name="purpose"\r\n\r\n' + purpose.encode(),
        b'\r\n--xyz\r\nContent-Disposition: form-data; name="file"; filename="round 1.jsonl"\r\n'
        b"Content-Type: application/octet-stream\r\n\r\n" + content,
        b"\r\n--xyz--\r\n",
    ]
    headers = {"Content-Type": "multipart/form-data; boundary=xyz"}
    seen = call(provider, "POST", "/v1/files", b"".join(parts), headers)
    assert seen.status == 200 and seen.json["bytes"] == len(content) and seen.json["filename"] == "round 1.jsonl"
    return seen.json["id"]


def wish(file, **more):
    body = {"input_file_id": file, "endpoint": "/v1/chat/completions", "completion_window": "24h", **more}
    return json.dumps(body).encode()


def submit(provider, rows, **more):
    seen = call(provider, "POST", "/v1/batches", wish(upload(provider, rows), **more))
    assert seen.status == 200 and seen.json["status"] == "validating"
    return seen.json["id"]


def ended(provider, batch):
    deadline = time.monotonic() + 30
    while (seen := call(provider, "GET", f"/v1/batches/{batch}").json)["status"] not in ENDS:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return seen


def lines(provider, file):
    content = call(provider, "GET", f"/v1/files/{file}/content")
    assert content.headers["content-type"] == "application/octet-stream"
    return {line["custom_id"]: line for line in map(json.loads, content.body.splitlines())}


def test_a_batch_goes_through_its_statuses_and_answers_every_line(provider):
    provider.configure(batch_validating=0.1, batch_running=0.2)
    batch = submit(provider, [row(f"r{n}", f"task {n}") for n in range(50)], metadata={"run": "x"})
    statuses = ["validating"]
    while statuses[-1] != "completed":
        seen = call(provider, "GET", f"/v1/batches/{batch}").json
        if seen["status"] != statuses[-1]:
            statuses.append(seen["status"])
        time.sleep(0.005)
    assert statuses == ["validating", "in_progress", "completed"]
    assert seen["request_counts"] == {"total": 50, "completed": 50, "failed": 0}
    assert seen["metadata"] == {"run": "x"} and seen["error_file_id"] is None and seen["errors"] is None
    assert seen["created_at"] <= seen["in_progress_at"] <= seen["completed_at"] <= seen["expires_at"]
    output = lines(provider, seen["output_file_id"])
    assert list(output) != list(dict(sorted(output.items()))), "the order is not the input's"
    assert output.keys() == {f"r{n}" for n in range(50)}
    for n in range(50):
        response = output[f"r{n}"]["response"]
        assert response["status_code"] == 200 and output[f"r{n}"]["error"] is None
        assert response["body"] == ask(provider, f"task {n}").json, "a batch answers as a call does"
    counters = provider.counters()
    assert counters["batches"] == 1 and counters["batch_lines"] == {"ok": 50}
    assert {(r["asked"], r["answered"]) for r in provider.requests()} == {(2, 2)}


def test_lines_that_fail(provider):
    faults = ["500", "429", "policy", "empty", "no-usage", "half-json", "hang"]
    rows = [row(name, f"[[fault:{name}]]") for name in faults]
    rows += [row("fine", "hello"), row("bad", "", body={"model": "m", "messages": []})]
    seen = ended(provider, submit(provider, rows))
    assert seen["status"] == "completed" and seen["request_counts"] == {"total": 9, "completed": 5, "failed": 4}
    error = lines(provider, seen["error_file_id"])
    assert {name: line["response"]["status_code"] for name, line in error.items()} == {
        "500": 500,
        "429": 429,
        "policy": 400,
        "bad": 400,
    }
    assert error["policy"]["response"]["body"]["error"]["code"] == "content_policy_violation"
    good, broken = [], 0
    for line in call(provider, "GET", f"/v1/files/{seen['output_file_id']}/content").body.splitlines():
        try:
            good.append(json.loads(line)["custom_id"])
        except ValueError:
            broken += 1
    assert sorted(good) == ["empty", "fine", "no-usage"] and broken == 1, "half-json is broken, hang is in no file"
    expected = {**dict.fromkeys(faults, 1), "ok": 1, "400": 1}
    assert provider.counters()["batch_lines"] == expected


def test_an_expired_batch_has_answered_a_part(provider):
    provider.configure(batch_outcomes=["expired"], batch_answered=0.4)
    rows = [row(f"r{n}", f"task {n}") for n in range(10)]
    seen = ended(provider, submit(provider, rows))
    assert seen["status"] == "expired" and seen["request_counts"] == {"total": 10, "completed": 4, "failed": 6}
    output, error = lines(provider, seen["output_file_id"]), lines(provider, seen["error_file_id"])
    assert output.keys() | error.keys() == {f"r{n}" for n in range(10)} and (len(output), len(error)) == (4, 6)
    assert all(line["response"] is None and line["error"]["code"] == "batch_expired" for line in error.values())
    assert provider.counters()["batch_lines"] == {"ok": 4, "batch_expired": 6}
    assert ended(provider, submit(provider, rows))["status"] == "completed", "the script was for the first alone"


def test_a_failed_batch_says_why_and_answers_nothing(provider):
    provider.configure(batch_outcomes=["failed"])
    seen = ended(provider, submit(provider, [row("a", "hello")]))
    assert seen["status"] == "failed" and seen["errors"]["data"][0]["code"] == "token_limit_exceeded"
    assert seen["output_file_id"] is seen["error_file_id"] is None
    assert provider.counters()["batch_lines"] == {} and provider.requests() == []


def test_input_files_are_validated(provider):
    provider.configure(models=["m"], batch_max_lines=2)
    cases = {
        "invalid_json_line": [row("a", "x"), b"{"],
        "duplicate_custom_id": [row("a", "x"), row("a", "y")],
        "invalid_url": [row("a", "x", url="/v1/embeddings")],
        "model_not_found": [row("a", "x", body={"model": "other", "messages": messages("x")})],
        "too_many_tasks": [row(str(n), "x") for n in range(3)],
        "empty_file": [],
    }
    for code, rows in cases.items():
        seen = ended(provider, submit(provider, rows))
        assert seen["status"] == "failed" and [e["code"] for e in seen["errors"]["data"]] == [code]
    provider.configure(models=None)
    mixed = [row("a", "x"), row("b", "x", body={"model": "other", "messages": messages("x")})]
    assert ended(provider, submit(provider, mixed))["errors"]["data"][0]["code"] == "mismatched_model"


def test_a_batch_may_be_cancelled(provider):
    provider.configure(batch_running=60)
    batch = submit(provider, [row(f"r{n}", f"task {n}") for n in range(4)])
    while call(provider, "GET", f"/v1/batches/{batch}").json["status"] != "in_progress":
        time.sleep(0.005)
    cancelled = call(provider, "POST", f"/v1/batches/{batch}/cancel", b"{}")
    assert cancelled.status == 200 and cancelled.json["status"] == "cancelling"
    seen = ended(provider, batch)
    assert seen["status"] == "cancelled" and seen["request_counts"] == {"total": 4, "completed": 2, "failed": 2}
    assert {line["error"]["code"] for line in lines(provider, seen["error_file_id"]).values()} == {"batch_cancelled"}
    assert call(provider, "POST", f"/v1/batches/{batch}/cancel", b"{}").status == 409
    provider.configure(batch_validating=60)
    early = submit(provider, [row("a", "x")])
    call(provider, "POST", f"/v1/batches/{early}/cancel", b"{}")
    assert ended(provider, early)["output_file_id"] is None


def test_batches_are_listed_newest_first_with_their_metadata(provider):
    made = [submit(provider, [row("a", f"task {n}")], metadata={"n": str(n)}) for n in range(5)]
    first = call(provider, "GET", "/v1/batches?limit=3").json
    assert [(b["id"], b["metadata"]["n"]) for b in first["data"]] == list(zip(made[:1:-1], "432", strict=True))
    assert first["has_more"] and first["first_id"] == made[4] and first["last_id"] == made[2]
    second = call(provider, "GET", f"/v1/batches?limit=2&after={first['last_id']}").json
    assert [b["id"] for b in second["data"]] == [made[1], made[0]]


def test_a_cut_after_submission_leaves_a_batch_and_a_500_does_not(provider):
    file = upload(provider, [row("a", "hello")])
    for fault, made in (("500", 0), ("cut", 1), ("reset", 2)):
        rule = {"fault": fault, "path": "/v1/batches", "method": "POST", "first": 1, "per": "server", "at": 0}
        provider.configure(script=[rule])
        with dial(provider) as sock:
            sock.sendall(request(wish(file, metadata={"by": fault}), path="/v1/batches"))
            assert fault == "500" or until_closed_or_reset(sock) == b""
            assert provider.counters()["batches"] == made
    listed = call(provider, "GET", "/v1/batches").json["data"]
    assert [batch["metadata"]["by"] for batch in listed[:2]] == ["reset", "cut"]


def test_files(provider):
    file = upload(provider, [row("a", "hello")], purpose="fine-tune")
    assert call(provider, "GET", f"/v1/files/{file}").json["purpose"] == "fine-tune"
    assert file in [one["id"] for one in call(provider, "GET", "/v1/files").json["data"]]
    assert call(provider, "POST", "/v1/batches", wish(file)).status == 400
    assert call(provider, "DELETE", f"/v1/files/{file}").json["deleted"]
    assert call(provider, "GET", f"/v1/files/{file}").status == 404
    assert call(provider, "POST", "/v1/files", b"no parts").status == 400
    assert call(provider, "POST", "/v1/batches", b"{").status == 400
    assert call(provider, "POST", "/v1/batches", wish("file-none")).status == 400
    assert call(provider, "GET", "/v1/batches/batch_none").status == 404


def test_batches_need_the_key(provider):
    provider.configure(key="sk-1")
    try:
        assert call(provider, "GET", "/v1/batches").status == 401
        assert call(provider, "GET", "/v1/batches", headers={"Authorization": "Bearer sk-1"}).status == 200
    finally:
        provider.configure(key=None)
