"""The provider when nothing goes wrong: protocol, answers, counters, its process."""

import asyncio
import itertools
import json
import math
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopback import Provider, digest
from loopback.asking import ask, call, chat_body, dial, messages, request
from loopback.chance import Draw, latency


@pytest.fixture(scope="module")
def shared():
    with Provider() as provider:
        yield provider


@pytest.fixture
def provider(shared):
    shared.reset()
    return shared


def test_the_answer_is_a_function_of_the_request(provider):
    first, second = ask(provider, "Sort a list."), ask(provider, "Sort a list.")
    assert first.body == second.body
    assert digest(messages("Sort a list.")).hex() in first.text
    assert ask(provider, "Sort a set.").text != first.text
    usage = first.json["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] > 10
    assert first.json["model"] == "m" and first.json["choices"][0]["finish_reason"] == "stop"
    short = ask(provider, "Sort a list.", max_tokens=3).json
    assert short["choices"][0]["finish_reason"] == "length" and short["usage"]["completion_tokens"] == 3


def test_the_answer_may_be_anything():
    with Provider(answer="You said: {last}. {words}", answer_words=3, answer_last=5) as provider:
        assert ask(provider, "h[[fault:500 x1]]ello there").status == 500
        text = ask(provider, "h[[fault:500 x1]]ello there").text
        said, words = text.split(". ")
    assert said == "You said: hello" and len(words.split()) == 3


def test_who_may_ask_what():
    with Provider(key="sk-right", models=["small", "large"], context=100) as provider:
        assert ask(provider, "hello", model="small", key="sk-right").status == 200
        wrong = ask(provider, "hello", model="small", key="sk-wrong")
        assert wrong.status == 401 and wrong.error["code"] == "invalid_api_key"
        assert ask(provider, "hello", model="small").status == 401
        assert call(provider, "GET", "/v1/models").status == 401
        unknown = ask(provider, "hello", model="huge", key="sk-right")
        assert (
            unknown.status == 404 and unknown.error["code"] == "model_not_found" and "huge" in unknown.error["message"]
        )
        long = ask(provider, "hello", model="small", key="sk-right", max_tokens=100)
        assert long.status == 400 and long.error["code"] == "context_length_exceeded"
        listed = call(provider, "GET", "/v1/models", headers={"Authorization": "Bearer sk-right"}).json
        assert [model["id"] for model in listed["data"]] == ["small", "large"]
        outcomes = provider.counters()["outcomes"]
    assert outcomes == {"ok": 1, "401": 3, "404": 1, "too-long": 1, "models": 1}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"model":"m"}',
        b'{"model":"m","messages":[]}',
        b'{"model":"m","messages":["hi"]}',
        b'{"model":"m","messages":[{"role":"nobody","content":"hi"}]}',
        b'{"model":"m","messages":[{"role":"user","content":7}]}',
        b'{"model":"m","messages":[{"role":"user","content":"hi"}],"max_tokens":0}',
        b'{"model":"m","messages":[{"role":"user","content":"hi"}],"stream":true}',
    ],
)
def test_what_is_no_chat_is_refused(provider, body):
    assert call(provider, "POST", "/v1/chat/completions", body).status == 400
    assert provider.counters()["outcomes"] == {"400": 1}


def test_unknown_paths(provider):
    assert call(provider, "GET", "/v1/chat/completions").status == 404
    assert call(provider, "POST", "/elsewhere", b"{}").status == 404


@given(text=st.text(max_size=200), cuts=st.lists(st.integers(1, 400), max_size=4), size=st.integers(1, 90))
def test_requests_may_arrive_in_any_pieces(shared, text, cuts, size):
    body = chat_body(text)
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in _pieces(body, range(size, len(body), size)))
    head = b"POST /v1/chat/completions HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    with dial(shared) as sock:
        for whole in (request(body), head + chunks + b"0\r\n\r\n"):
            for part in _pieces(whole, sorted(cuts)):
                sock.sendall(part)
            answer = sock.recv(65_536)
            assert answer.startswith(b"HTTP/1.1 200 OK") and digest(messages(text)).hex().encode() in answer


def _pieces(data, cuts):
    edges = [0, *[cut for cut in cuts if cut < len(data)], len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


@pytest.mark.parametrize("noise", [b"hello\r\n\r\n", b"GET / SPDY/3\r\n\r\n", b"GET / HTTP/1.1\r\nnocolon\r\n\r\n"])
def test_what_is_no_http_gets_a_400_and_is_not_counted(provider, noise):
    with dial(provider) as sock:
        sock.sendall(noise)
        assert sock.recv(4096).startswith(b"HTTP/1.1 400")
    assert provider.counters()["requests"] == 0


def test_latency_is_lognormal_with_the_mean_it_says():
    seen = [latency(0.2, 1.0, Draw(1, b"%d" % number, 0)) for number in range(20_000)]
    assert statistics.mean(seen) == pytest.approx(0.2, rel=0.05)
    assert statistics.median(seen) == pytest.approx(0.2 * math.exp(-0.5), rel=0.05)
    assert statistics.stdev(map(math.log, seen)) == pytest.approx(1.0, rel=0.05)
    assert latency(0.2, 0.0, Draw(1, b"", 0)) == 0.2 and latency(0.0, 1.0, Draw(1, b"", 0)) == 0.0


@pytest.mark.alone
async def test_requests_wait_for_their_latency_side_by_side():
    with Provider(latency=0.1, latency_sigma=0.5, seed=3) as provider:
        texts = [f"task {number}" for number in range(30)]
        start = time.monotonic()
        async with aiohttp.ClientSession() as session:

            async def one(text):
                async with session.post(provider.url + "/chat/completions", data=chat_body(text)) as answer:
                    await answer.read()
                return time.monotonic() - start

            seen = await asyncio.gather(*map(one, texts))
        assert provider.counters()["most_in_flight"] > 10
    due = [latency(0.1, 0.5, Draw(3, digest(messages(text)), 0)) for text in texts]
    late = [took - wait for took, wait in zip(seen, due, strict=True)]
    assert min(late) > -0.002 and statistics.median(late) < 0.5  # in turn they would be late by 1.5 seconds


@pytest.mark.alone
def test_latencies_in_turn_are_the_same_for_clients_that_ask_different_things():
    def took(word):
        with (
            Provider(latency=0.03, latency_sigma=1.0, latency_in_turn=True, seed=4) as provider,
            dial(provider) as sock,
        ):
            seen = []
            for number in range(6):
                start = time.monotonic()
                sock.sendall(request(chat_body(f"{word} {number}")))
                sock.recv(65536)
                seen.append(time.monotonic() - start)
            return seen

    due = [latency(0.03, 1.0, Draw(4, b"", number)) for number in range(1, 7)]
    for word in ("one", "another"):
        assert all(wait - 0.002 <= seen for seen, wait in zip(took(word), due, strict=True))


def test_a_good_answer_that_nobody_waits_for_is_lost():
    with Provider(latency=0.2) as provider:
        with dial(provider) as sock:
            sock.sendall(request(chat_body("hello")))
            while not provider.counters()["in_flight"]:
                time.sleep(0.002)
        counters = provider.wait_idle()
        assert counters["outcomes"] == counters["lost"] == {"ok": 1} and counters["bytes_sent"] == 0
        assert [(row["asked"], row["answered"]) for row in provider.requests()] == [(1, 0)]


async def test_counters_reconcile_under_faults_of_all_kinds():
    rates = {"500": 0.05, "cut": 0.1, "reset": 0.05, "hang": 0.01, "not-json": 0.05, "empty": 0.05, "short-body": 0.05}
    chooser = random.Random(7)
    texts = [f"task {chooser.randrange(120)}" for _ in range(600)]
    answered, failed = [], 0
    with Provider(faults=rates, latency=0.005, latency_sigma=1.0) as provider:
        timeout = aiohttp.ClientTimeout(total=2.0)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            gate = asyncio.Semaphore(32)

            async def one(text):
                nonlocal failed
                async with gate:
                    try:
                        async with session.post(provider.url + "/chat/completions", data=chat_body(text)) as answer:
                            content = (await answer.json())["choices"][0]["message"]["content"]
                    except (aiohttp.ClientError, TimeoutError, ValueError, LookupError):
                        failed += 1
                        return
                    answered.append(text) if content else None

            await asyncio.gather(*[one(text) for text in texts])
        counters = provider.wait_idle()
        rows = {row["digest"]: row for row in provider.requests()}
    assert counters["requests"] == len(texts) == len(answered) + failed + counters["sent"]["empty"]
    assert counters["requests"] == sum(counters["outcomes"].values())
    endings = [sum(counters[how].values()) for how in ("sent", "cut", "lost")]
    assert counters["requests"] == sum(endings) and all(endings)
    assert counters["outcomes"].keys() == {"ok", *rates}
    assert counters["accepted"] == sum(counters["accepted_by_second"]) == counters["requests"]
    assert 2 <= counters["most_in_flight"] <= 32 and counters["open_connections"] == 0
    assert counters["first_request"] < counters["last_answer"] <= time.monotonic()
    assert counters["distinct"] == len(rows) == len(set(texts))
    assert sum(row["asked"] for row in rows.values()) == counters["requests"]
    assert sum(row["answered"] for row in rows.values()) == counters["sent"]["ok"] == len(answered)
    for text in set(texts):
        assert rows[digest(messages(text)).hex()]["answered"] == answered.count(text)


def test_the_log_holds_the_last_requests(provider):
    provider.configure(keep=2)
    try:
        for text in ("one", "two", "three [[fault:500]]"):
            ask(provider, text, key="sk-1", temperature=0.5)
        two, three = provider.log()
    finally:
        provider.configure(keep=0)
    assert (two["outcome"], three["outcome"]) == ("ok", "500") and two["at"] < three["at"]
    assert two["headers"]["authorization"] == "Bearer sk-1" and json.loads(two["body"])["temperature"] == 0.5
    assert (two["method"], two["path"]) == ("POST", "/v1/chat/completions")


def test_reset_forgets(provider):
    ask(provider, "[[fault:500 x1]]")
    assert provider.counters()["requests"] == 1 and len(provider.requests()) == 1
    provider.reset()
    assert provider.counters()["requests"] == 0 and provider.requests() == []
    assert ask(provider, "[[fault:500 x1]]").status == 500


def test_the_process_ends_with_its_block():
    with Provider() as provider:
        pid, port = provider.pid, provider.port
        os.kill(pid, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    provider.stop()
    with Provider() as other, pytest.raises(ConnectionRefusedError):
        assert other.port != port
        dial(provider)


def test_the_process_ends_when_the_test_is_killed():
    code = (
        "import time\nfrom loopback import Provider\n"
        "with Provider() as provider:\n    print(provider.pid, flush=True)\n    time.sleep(60)\n"
    )
    folder = Path(__file__).resolve().parents[1]
    with subprocess.Popen([sys.executable, "-c", code], cwd=folder, stdout=subprocess.PIPE, text=True) as test:
        server = int(test.stdout.readline())
        os.kill(server, 0)
        test.send_signal(signal.SIGKILL)
        test.wait()
    deadline = time.monotonic() + 30
    while _alive(server) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not _alive(server)


def _alive(pid):
    """A zombie, which a machine without an init leaves behind, is dead."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def test_a_server_that_cannot_start_says_so(capfd):
    provider = Provider()
    provider._settings["nonsense"] = 1
    with pytest.raises(RuntimeError, match="did not start"):
        provider.__enter__()
    assert "nonsense" in capfd.readouterr().err
