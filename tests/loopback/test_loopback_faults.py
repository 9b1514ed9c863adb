"""Each fault does on the wire what its name says."""

import json
import time

import pytest

from loopback import Provider
from loopback.asking import ask, call, chat_body, dial, request, until_closed, until_closed_or_reset
from loopback.faults import BODIES, BYTES, ERRORS, FAULTS, WIRE


@pytest.fixture(scope="module")
def shared():
    with Provider() as provider:
        yield provider


@pytest.fixture
def provider(shared):
    yield shared
    shared.configure(**{"faults": {}, "script": [], "cut_at": None, "retry_after": "seconds", "idle_close": None})
    shared.configure(requests_per_connection=None, echo_key=None, key=None, latency=0.0)
    shared.listen_again()
    shared.wait_idle()
    shared.reset()


def test_every_fault_belongs_to_one_kind():
    kinds = [ERRORS, BODIES, BYTES, WIRE]
    assert sum(map(len, kinds)) == len(FAULTS) == len(set().union(*kinds)) > 30


STATUS = {
    "400": (400, None),
    "401": (401, "invalid_api_key"),
    "403": (403, "unsupported_country_region_territory"),
    "404": (404, "model_not_found"),
    "404-path": (404, None),
    "too-long": (400, "context_length_exceeded"),
    "policy": (400, "content_policy_violation"),
    "429": (429, "rate_limit_exceeded"),
    "quota": (429, "insufficient_quota"),
    "500": (500, None),
    "502": (502, None),
    "503": (503, None),
    "504": (504, None),
    "529": (529, None),
}


def test_error_answers(provider):
    assert STATUS.keys() == ERRORS.keys()
    for name, (status, code) in STATUS.items():
        seen = ask(provider, f"[[fault:{name}]]")
        assert (seen.status, seen.error["code"]) == (status, code)
        assert seen.error["message"] and "type" in seen.error
        assert ("retry-after" in seen.headers) == (name in ("429", "503", "529"))
    counters = provider.counters()
    assert counters["outcomes"] == counters["sent"] == dict.fromkeys(STATUS, 1)


def test_whole_answers_with_other_contents(provider):
    got = {name: ask(provider, f"[[fault:{name}]]") for name in BODIES}
    assert all(seen.status == 200 and seen.headers["content-type"] == "application/json" for seen in got.values())
    choice = {name: seen.json["choices"][0] for name, seen in got.items() if seen.json.get("choices")}
    assert "choices" not in got["no-choices"].json and "usage" in got["no-choices"].json
    assert got["empty-choices"].json["choices"] == []
    assert got["error-200"].json.keys() == {"error"}
    assert choice["empty"]["message"]["content"] == ""
    assert choice["null-content"]["message"]["content"] is None
    assert choice["length"]["finish_reason"] == "length" and choice["length"]["message"]["content"]
    assert choice["content-filter"]["finish_reason"] == "content_filter"
    assert choice["refusal"]["message"]["refusal"] and choice["refusal"]["message"]["content"] is None
    assert "usage" not in got["no-usage"].json and choice["no-usage"]["message"]["content"]
    assert got["null-usage"].json["usage"] is None and choice["null-usage"]["message"]["content"]
    assert len(got) == 10


def test_bodies_that_are_not_json(provider):
    for name in BYTES:
        seen = ask(provider, f"[[fault:{name}]]")
        assert seen.status == 200 and seen.headers["content-type"] == "application/json"
        with pytest.raises(ValueError):  # of which UnicodeDecodeError and JSONDecodeError are kinds
            json.loads(seen.body)
    assert len(BYTES) == 4


def test_other_types_and_places(provider):
    wrong = ask(provider, "[[fault:wrong-type]]")
    assert wrong.headers["content-type"].startswith("text/html") and wrong.text
    page = ask(provider, "[[fault:html]]")
    assert page.status == 502 and page.headers["content-type"] == "text/html" and b"<html>" in page.body
    away = ask(provider, "[[fault:redirect]]")
    assert away.status == 307 and away.headers["location"] == "/elsewhere/v1/chat/completions"
    provider.configure(huge_bytes=3_000_000)
    assert len(ask(provider, "[[fault:huge]]").text) > 2_900_000


def test_a_cut_leaves_exactly_so_many_bytes(provider):
    with dial(provider) as sock:
        sock.sendall(request(chat_body("hello"), "Connection: close"))
        whole = until_closed(sock)
    got = {}
    for at in (0, 1, 10, len(whole) - 1, 10**9, "head", "body"):
        provider.reset()  # so that the request's number, a part of the head, is the same
        provider.configure(script=[{"fault": "cut", "at": at}])
        with dial(provider) as sock:
            sock.sendall(request(chat_body("hello")))
            got[at] = until_closed(sock)
        assert provider.counters()["bytes_sent"] == len(got[at])
    assert all(whole.startswith(part) for part in got.values())
    assert [len(got[at]) for at in (0, 1, 10)] == [0, 1, 10]
    assert len(got[len(whole) - 1]) == len(got[10**9]) == len(whole) - 1
    head = whole.index(b"\r\n\r\n") + 4
    assert 0 < len(got["head"]) < head <= len(got["body"]) < len(whole)
    with dial(provider) as sock:
        provider.configure(script=[])
        sock.sendall(request(chat_body("hello [[fault:cut@10]]")))
        assert until_closed(sock) == b"HTTP/1.1 2"


def test_random_cuts_are_the_same_at_every_run_and_differ_between_requests(provider):
    def lengths(seed):
        provider.reset()
        provider.configure(faults={"cut": 1.0}, seed=seed)
        found = []
        for number in range(30):
            with dial(provider) as sock:
                sock.sendall(request(chat_body(f"task {number}")))
                found.append(len(until_closed(sock)))
        return found

    first = lengths(1)
    assert first == lengths(1) != lengths(2)
    assert len(set(first)) > 20
    counters = provider.counters()
    assert counters["cut"] == {"cut": 30} and not counters["sent"]


def test_reset_and_short_body(provider):
    with dial(provider) as sock:
        sock.sendall(request(chat_body("[[fault:reset@20]]")))
        with pytest.raises(ConnectionResetError):
            time.sleep(0.05)  # a reset throws away what was not read yet
            until_closed(sock)
    with dial(provider) as sock:
        sock.sendall(request(chat_body("[[fault:short-body]]")))
        head, _, body = until_closed(sock).partition(b"\r\n\r\n")
    promised = int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0])
    assert 0 < len(body) < promised


def test_hang_ends_when_the_client_gives_up(provider):
    with dial(provider, timeout=0.2) as sock:
        sock.sendall(request(chat_body("[[fault:hang]]")))
        with pytest.raises(TimeoutError):
            sock.recv(1)
        assert provider.counters()["in_flight"] == 1
    counters = provider.wait_idle()
    assert counters["lost"] == {"hang": 1} and counters["outcomes"] == {"hang": 1}


def test_a_drip_comes_slowly_and_whole(provider):
    provider.configure(drip_interval=0.0005)
    start = time.monotonic()
    seen = ask(provider, "[[fault:drip]]")
    assert seen.text and time.monotonic() - start > 0.0005 * len(seen.body)


def test_no_listening(provider):
    with dial(provider) as old:
        provider.stop_listening()
        assert until_closed_or_reset(old) == b""
    for _ in range(3):
        with pytest.raises(ConnectionRefusedError):
            dial(provider)
    provider.listen_again()
    assert ask(provider, "hello").status == 200
    provider.stop_listening(0.5, drop=False)
    with pytest.raises(ConnectionRefusedError):
        dial(provider)
    time.sleep(0.6)
    assert ask(provider, "hello").status == 200


def test_connections_that_close_without_a_word(provider):
    provider.configure(requests_per_connection=2)
    with dial(provider) as sock:
        sock.sendall(request(chat_body("one")))
        assert b"Connection: close" not in sock.recv(65_536)
        sock.sendall(request(chat_body("two")))
        assert until_closed(sock).startswith(b"HTTP/1.1 200 OK")
    provider.configure(requests_per_connection=None, idle_close=0.05)
    with dial(provider) as sock:
        sock.sendall(request(chat_body("three")))
        assert until_closed(sock).startswith(b"HTTP/1.1 200 OK")


def test_markers_and_rules_say_how_often(provider):
    assert [ask(provider, "a [[fault:500 x2]]").status for _ in range(4)] == [500, 500, 200, 200]
    assert ask(provider, "b [[fault:500 x2]]").status == 500, "each body counts for itself"
    both = [ask(provider, "[[fault:429 x1]] [[fault:503 x1]]").status for _ in range(3)]
    assert both == [429, 503, 200]
    provider.configure(script=[{"fault": "502", "first": 1, "skip": 1}])
    assert [ask(provider, text).status for text in "ccdcd"] == [200, 502, 200, 200, 502]
    provider.configure(script=[{"fault": "503", "first": 2, "per": "server"}])
    assert [ask(provider, text).status for text in "efg"] == [503, 503, 200]
    provider.configure(script=[{"fault": "ok", "containing": "good"}, {"fault": "policy"}])
    assert [ask(provider, text).status for text in ("good", "bad")] == [200, 400]


def test_rates_hold_and_do_not_depend_on_the_order_of_arrival(provider):
    provider.configure(faults={"500": 0.3, "503": 0.2})
    texts = [f"task {number}" for number in range(400)]

    def statuses(order):
        provider.reset()
        return {text: ask(provider, text).status for text in order}

    forward = statuses(texts)
    assert forward == statuses(reversed(texts))
    seen = list(forward.values())
    assert 90 < seen.count(500) < 150 and 55 < seen.count(503) < 105
    again = {text: ask(provider, text).status for text in texts}
    assert again != forward, "a second asking is another draw"


def test_scripted_faults_on_another_endpoint(provider):
    provider.configure(script=[{"fault": "500", "path": "/v1/models", "first": 1}])
    assert [call(provider, "GET", "/v1/models").status for _ in range(2)] == [500, 200]
    assert ask(provider, "hello").status == 200


def test_a_provider_that_echoes_the_key(provider):
    provider.configure(key="sk-secret", echo_key="answer")
    assert "sk-secret" in ask(provider, "hello", key="sk-secret").text
    provider.configure(echo_key="error")
    for name in ERRORS:
        assert "sk-secret" in ask(provider, f"[[fault:{name}]]", key="sk-secret").error["message"]
    assert "sk-other" in ask(provider, "hello", key="sk-other").error["message"]
    assert "sk-secret" not in ask(provider, "hello", key="sk-secret").body.decode()
    provider.configure(echo_key="escaped")
    escapes = "".join(f"\\u{ord(char):04x}" for char in "sk-secret")
    for text, message in (("hello", False), ("[[fault:500]]", True)):
        answer = ask(provider, text, key="sk-secret")
        read = answer.error["message"] if message else answer.text
        assert "sk-secret" in read and escapes in read
        assert "sk-secret" not in answer.body.decode() and escapes in answer.body.decode()


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"fautls": {}}, "fautls"),
        ({"faults": {"599x": 0.1}}, "599x"),
        ({"faults": {"500": 0.7, "502": 0.4}}, "more than 1"),
        ({"faults": {"500": -0.1}}, "from 0 to 1"),
        ({"script": [{"fault": "500", "often": 2}]}, "often"),
        ({"script": [{"fault": "500", "per": "day"}]}, "day"),
        ({"script": [{"fault": "nonsense"}]}, "nonsense"),
        ({"cut_at": -1}, "-1"),
        ({"retry_after": "soon"}, "soon"),
        ({"window": 0}, "window"),
        ({"latency": -1}, "latency"),
        ({"batch_outcomes": ["lost"]}, "lost"),
    ],
)
def test_bad_settings_are_refused_at_both_doors(provider, changes, complaint):
    with pytest.raises(ValueError, match=complaint):
        Provider(**changes)
    with pytest.raises(ValueError, match=complaint):
        provider.configure(**changes)
    assert ask(provider, "hello").status == 200, "nothing has changed"
