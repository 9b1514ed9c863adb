"""What the openai-compatible backend makes of the answers that servers really give, good, bad and hostile."""

import asyncio
import gc
import json
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from raw_http import RawServer, chat, response

import evolteacher as et
from evolteacher import errors
from evolteacher_backends.openai_api.channel import MOST
from evolteacher_backends.openai_api.wire import Shape
from evolteacher_backends.openai_compatible import OpenAICompatible

KEY = "sk-a-very-secret-key-1234567890"
REQUEST = et.Request((et.Message("system", "Be brief."), et.Message("user", "Say „hi“ \ud83d\n")))


class Asker:
    """A raw server, and backends that ask it on one event loop."""

    def __init__(self, server, runner):
        self.server = server
        self._runner = runner
        self._open = {}

    def backend(self, **options):
        given = {"model": "m", "base_url": self.server.url, "api_key": "env:RAW_KEY", "check": False, "timeout": 20.0}
        made = OpenAICompatible(**{**given, **options})
        if made.identity() not in self._open:
            self._runner.run(made.open(et.Workload()))
            self._open[made.identity()] = made
        return self._open[made.identity()]

    def reply(self, answer, request=REQUEST, **options):
        """Return the reply to an answer: bytes, or a body."""
        self.server.answer = answer if isinstance(answer, bytes) else response(answer)
        return self._runner.run(self.backend(**options).complete(request))

    def error(self, answer, status=200, request=REQUEST, fresh=False, headers=None, **options):
        """Return the error that an answer becomes; ``fresh`` where nothing was answered before."""
        if fresh:
            self.close()
        if not isinstance(answer, bytes) or status != 200 or headers:
            answer = response(answer, status, **(headers or {}))
        with pytest.raises(errors.BackendError) as caught:
            self.reply(answer, request, **options)
        found = caught.value
        assert found.__suppress_context__ or found.__context__ is None
        return found

    def close(self):
        for backend in self._open.values():
            self._runner.run(backend.close())
        self._open.clear()


@pytest.fixture(scope="module")
def asker():
    with pytest.MonkeyPatch.context() as patch, RawServer() as server, asyncio.Runner() as runner:
        patch.setenv("RAW_KEY", KEY)
        asker = Asker(server, runner)
        yield asker
        asker.close()


def body_of(text):
    return chat(content=text)


class TestRequests:
    def test_what_is_sent(self, asker):
        asker.server.seen.clear()
        sampling = et.Sampling(temperature=0.5, top_p=0.8, max_tokens=9, stop=("a", "b"), seed=7)
        asker.reply(chat(), et.Request(REQUEST.messages, sampling), body={"top_k": 3, "user": "me"})
        (seen,) = asker.server.seen
        assert (seen.method, seen.target) == ("POST", "/v1/chat/completions")
        assert seen.json == {
            "model": "m",
            "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Say „hi“ \ud83d\n"}],
            "temperature": 0.5, "top_p": 0.8, "max_tokens": 9, "stop": ["a", "b"], "seed": 7, "top_k": 3, "user": "me",
        }  # fmt: skip
        assert seen.headers["authorization"] == f"Bearer {KEY}"
        assert seen.headers["content-type"] == "application/json"
        assert seen.headers["user-agent"] == f"evolteacher/{et.__version__}"
        assert "cookie" not in seen.headers

    def test_what_is_not_sent(self, asker):
        asker.server.seen.clear()
        asker.reply(chat())
        assert set(asker.server.seen[0].json) == {"model", "messages", "temperature", "top_p", "max_tokens"}

    def test_what_is_left_out_or_called_otherwise(self, asker):
        asker.server.seen.clear()
        sampling = et.Sampling(max_tokens=9, stop=("END", "##"), seed=7)
        options = {"drop": ["temperature", "top_p", "stop", "seed"], "max_tokens_name": "max_completion_tokens"}
        reply = asker.reply(body_of("One.## TwoEND"), et.Request(REQUEST.messages, sampling), **options)
        assert set(asker.server.seen[0].json) == {"model", "messages", "max_completion_tokens"}
        assert reply.text == "One."

    @pytest.mark.parametrize(
        ("text", "reason", "kept"),
        [("One.## TwoEND", "stop", "One."), ("END", "stop", ""), ("One. Two", "length", "One. Two")],
    )
    def test_an_answer_that_is_cut_here_is_not_truncated(self, asker, text, reason, kept):
        """A server that knows no stop texts goes on to max_tokens, and what stands before the stop is whole."""
        sampling = et.Sampling(stop=("END", "##"))
        answer = body_of(text)
        answer["choices"][0]["finish_reason"] = "length"
        reply = asker.reply(answer, et.Request(REQUEST.messages, sampling), drop=["stop"])
        assert (reply.text, reply.finish_reason) == (kept, reason)

    def test_samplings_do_not_mix(self, asker):
        """More of them than are remembered, as where a plugin gives each call its seed."""
        asker.server.seen.clear()
        for seed in (*range(300), 0):
            asker.reply(chat(), et.Request(REQUEST.messages, et.Sampling(seed=seed)))
        assert [seen.json["seed"] for seen in asker.server.seen] == [*range(300), 0]
        assert sum(type(each) is Shape for each in gc.get_objects()) <= 300

    def test_headers_of_the_recipe(self, asker, monkeypatch):
        monkeypatch.setenv("OTHER_KEY", "Token 0123456789abcdef")
        backend = OpenAICompatible(
            model="m", base_url=asker.server.url, check=False,
            headers={"authorization": "env:OTHER_KEY", "user-agent": "me", "X-Title": "t"},
        )  # fmt: skip

        async def ask():
            await backend.open(et.Workload())
            asker.server.seen.clear()
            asker.server.answer = response(chat())
            await backend.complete(REQUEST)
            await backend.close()

        asyncio.run(ask())
        headers = asker.server.seen[0].headers
        assert (headers["authorization"], headers["user-agent"], headers["x-title"]) == (
            "Token 0123456789abcdef",
            "me",
            "t",
        )
        assert {"Token 0123456789abcdef", "0123456789abcdef"} <= set(backend.secrets())

    def test_a_query_of_the_address_is_kept(self, asker):
        asker.server.seen.clear()
        asker.reply(chat(), base_url=f"{asker.server.url}/deployments/d?api-version=2024-10-21")
        assert asker.server.seen[0].target == "/v1/deployments/d/chat/completions?api-version=2024-10-21"

    def test_a_very_long_prompt(self, asker):
        text = "long prompt é " * 200_000
        asker.server.seen.clear()
        asker.reply(chat(), et.Request((et.Message("user", text),)))
        assert asker.server.seen[0].json["messages"][0]["content"] == text


class TestReplies:
    def test_a_whole_reply(self, asker):
        reply = asker.reply(chat("Tëxt \U0001f600", model="m-2025"))
        assert (reply.text, reply.model, reply.finish_reason) == ("Tëxt \U0001f600", "m-2025", "stop")
        assert (reply.usage, reply.cost, reply.limits) == (et.Usage(5, 7), None, None)
        assert 0 < reply.latency < 20

    @pytest.mark.parametrize(
        ("content", "text"),
        [
            ("", ""),
            (None, ""),
            ([], ""),
            ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "ab"),
            ([{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "b"}], "b"),
            ([{"type": "text", "text": None}, 5, None, "x", {"text": 3}], ""),
        ],
    )
    def test_contents(self, asker, content, text):
        assert asker.reply(chat(content)).text == text

    @pytest.mark.parametrize("content", [5, 1.5, True, {"text": "a"}])
    def test_contents_of_a_wrong_type(self, asker, content):
        assert type(asker.error(chat(content))) is errors.BrokenReply

    @pytest.mark.parametrize(
        ("usage", "found"),
        [
            ({"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}, (3, 4)),
            ({"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 57}, (3, 54)),  # reasoning left out: Gemini
            ({"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 2}, (3, 4)),
            ({"prompt_tokens": 3, "completion_tokens": 0, "total_tokens": 3}, (3, 0)),
            ({"prompt_tokens": 3}, (3, 0)),
            ({"total_tokens": 9}, (0, 0)),
            ({"prompt_tokens": -3, "completion_tokens": True, "total_tokens": 5}, (0, 0)),
            ({"prompt_tokens": "3", "completion_tokens": 4.5}, (0, 0)),
            ({"prompt_tokens": 10**30, "completion_tokens": 1}, (0, 1)),
            ({"prompt_tokens": None, "completion_tokens": []}, (0, 0)),
            ({}, (0, 0)),
            (None, (0, 0)),
            ("many", (0, 0)),
            ([1, 2], (0, 0)),
        ],
    )
    def test_usages(self, asker, usage, found):
        assert asker.reply(chat(usage=usage)).usage == et.Usage(*found)

    @pytest.mark.parametrize(
        ("usage", "header", "cost"),
        [
            ({"cost": 0.25}, None, 0.25),
            ({"cost": 0}, None, 0.0),
            ({"cost": 0.01, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.5}}, None, 0.51),
            ({"cost": 0.01, "is_byok": False, "cost_details": {"upstream_inference_cost": 0.5}}, None, 0.01),
            ({"cost": 0.01, "is_byok": True, "cost_details": None}, None, 0.01),
            ({"cost": {"total_cost": 0.125}}, None, 0.125),
            ({"estimated_cost": 0.5}, None, 0.5),
            ({}, "0.75", 0.75),
            (None, "0.75", 0.75),
            ({"cost": 0.25}, "0.75", 0.25),
            *[({"cost": wrong}, None, None) for wrong in (-1, "1", True, None, [], {}, 10**40, float("nan"))],
            *[({}, wrong, None) for wrong in ("", "free", "nan", "inf", "-1", "1e400")],
        ],
    )
    def test_costs(self, asker, usage, header, cost):
        headers = {} if header is None else {"x_litellm_response_cost": header}
        assert asker.reply(response(chat(usage=usage), **headers)).cost == cost

    def test_an_infinite_cost(self, asker):
        data = json.dumps(chat()).replace('"prompt_tokens"', '"cost": 1e999, "prompt_tokens"').encode()
        assert asker.reply(response(data)).cost is None

    @pytest.mark.parametrize(
        ("changes", "model", "reason"),
        [
            ({"model": None}, "m", "stop"),
            ({"model": 5}, "m", "stop"),
            ({"model": ""}, "m", "stop"),
            ({"model": "x" * 5000}, "m", "stop"),
            ({"model": "other"}, "other", "stop"),
        ],
    )
    def test_models(self, asker, changes, model, reason):
        reply = asker.reply(chat(**changes))
        assert (reply.model, reply.finish_reason) == (model, reason)

    @pytest.mark.parametrize(
        ("given", "found"),
        [("length", "length"), ("tool_calls", "tool_calls"), (None, "stop"), (3, "stop"), ("", "stop")],
    )
    def test_finish_reasons(self, asker, given, found):
        answer = chat()
        answer["choices"][0]["finish_reason"] = given
        assert asker.reply(answer).finish_reason == found

    def test_limits_that_headers_tell(self, asker):
        headers = {"x_ratelimit_limit_requests": "500", "X_RateLimit_Limit_Tokens": "30000",
                   "x_ratelimit_reset_tokens": "6ms"}  # fmt: skip
        assert asker.reply(response(chat(), **headers)).limits == et.RateLimits(500, 30000)

    @pytest.mark.parametrize("text", ["", None, " \n "])
    def test_tokens_that_all_went_into_reasoning(self, asker, text):
        """Asked again it would most likely be paid for nothing again."""
        answer = chat(text)
        answer["choices"][0]["finish_reason"] = "length"
        error = asker.error(answer)
        assert type(error) is errors.BadReply
        assert error.usage == et.Usage(5, 7)
        assert "max_tokens (2,048)" in str(error) and "reasoning_effort" in str(error)

    @pytest.mark.parametrize("reason", ["content_filter", "content_filter: PROHIBITED_CONTENT"])
    @pytest.mark.parametrize("text", ["", "Half an ans", None])
    def test_filtered_answers_were_paid(self, asker, text, reason):
        answer = chat(text)
        answer["choices"][0]["finish_reason"] = reason
        error = asker.error(answer)
        assert (type(error), error.usage) == (errors.Refused, et.Usage(5, 7))

    def test_a_refusal(self, asker):
        answer = chat(None)
        answer["choices"][0]["message"]["refusal"] = "I can't help with that."
        error = asker.error(answer)
        assert (type(error), error.usage) == (errors.Refused, et.Usage(5, 7))
        assert str(error).endswith("I can't help with that.")
        answer["choices"][0]["message"]["content"] = "But I can."
        assert asker.reply(answer).text == "But I can."

    @pytest.mark.parametrize(
        "answer",
        [
            b"", b"   ", b"null", b"5", b'"text"', b"[]", b"{}", b"[1, 2]", b"{", b"\xff\xfe", b"\x00\x00", b"data: {}",
            b'{"choices": null}', b'{"choices": []}', b'{"choices": {}}', b'{"choices": {"0": 1}}', b'{"choices": "a"}',
            b'{"choices": [null]}', b'{"choices": [[]]}', b'{"choices": [{}]}', b'{"choices": [{"message": null}]}',
            b'{"choices": [{"message": "hi"}]}', b'{"choices": [{"message": []}]}', b'{"choices": [{"text": "hi"}]}',
            b"[" * 100_000, b'{"a":' * 100_000, b'{"choices": [' + b"9" * 5000 + b"]}", b"<html>It works!</html>",
        ],
    )  # fmt: skip
    def test_bodies_that_are_no_answer(self, asker, answer):
        error = asker.error(response(answer))
        assert type(error) is errors.BrokenReply
        assert not error.unpaid
        assert len(str(error)) < 600

    JSON = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
        max_leaves=8,
    )

    @settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.data())
    def test_no_body_raises_anything_else(self, asker, data):
        """A good answer, some of whose members are replaced by whatever JSON there is."""
        answer = chat()
        places = [
            (answer, "choices"), (answer, "usage"), (answer, "model"), (answer, "error"), (answer["choices"], 0),
            (answer["choices"][0], "message"), (answer["choices"][0], "finish_reason"), (answer["choices"][0], "error"),
            (answer["choices"][0]["message"], "content"), (answer["choices"][0]["message"], "refusal"),
            *[(answer["usage"], name) for name in ("prompt_tokens", "completion_tokens", "total_tokens", "cost")],
        ]  # fmt: skip
        for holder, name in data.draw(st.lists(st.sampled_from(places), min_size=1, max_size=4)):
            holder[name] = data.draw(self.JSON)
        headers = data.draw(st.sampled_from([{}, {"x_litellm_response_cost": "1e9999"}]))
        try:
            reply = asker.reply(response(json.dumps(answer).encode(), **headers))
        except errors.BackendError as error:
            assert str(error)
            return
        assert isinstance(reply.text, str) and isinstance(reply.model, str) and isinstance(reply.finish_reason, str)
        assert 0 <= reply.usage.prompt_tokens < 2**63 and 0 <= reply.usage.completion_tokens < 2**63
        assert reply.cost is None or 0 <= reply.cost < float("inf")

    @settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.sampled_from([200, 400, 401, 404, 422, 429, 500]), JSON | st.binary(max_size=60))
    def test_no_error_answer_raises_anything_else(self, asker, status, found):
        """Whatever stands where an error does."""
        for body in (found, {"error": found}, {"error": {"message": found, "code": found, "type": found}}, [found]):
            data = body if isinstance(body, bytes) else json.dumps(body, default=repr).encode()
            assert str(asker.error(response(data, status)))

    def test_an_answer_without_end(self, asker):
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        block = b" " * 2**20
        asker.server.answer = lambda seen: head + (b"%x\r\n%b\r\n" % (len(block), block)) * ((MOST >> 20) + 2)
        with pytest.raises(errors.BrokenReply, match="longer than 64 MB"):
            asker._runner.run(asker.backend().complete(REQUEST))
        assert asker.reply(chat()).text == "Fine."

    def test_an_error_page_without_end(self, asker):
        error = asker.error(b"<html><title>Oh dear</title>" + b"x" * 2**23, 502)
        assert type(error) is errors.Transient and error.unpaid
        assert "a page called 'Oh dear'" in str(error)

    def test_compressed_answers_are_read_all_the_same(self, asker):
        import gzip

        packed = gzip.compress(json.dumps(chat("Packed.")).encode())
        assert asker.reply(response(packed, Content_Encoding="gzip")).text == "Packed."
        error = asker.error(packed[:20] + b"broken!!!", headers={"Content_Encoding": "gzip"})
        assert isinstance(error, errors.Transient) and not error.unpaid


def openai(message, code=None, kind="invalid_request_error", param=None):
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


WORDINGS = json.loads((Path(__file__).parents[1] / "data" / "server_wordings.json").read_text(encoding="utf-8"))
"""What becomes of an error answer -> the server, and what it says; a text is a body that is no JSON."""

GROUPS = ("too long", "refused", "no money", "not authorised", "no model", "passing", "wrong for all")


def test_all_wordings_are_looked_at():
    assert tuple(WORDINGS) == GROUPS
    assert sum(len(table) for table in WORDINGS.values()) >= 80


def cases(group):
    rows = [(row["status"], _body(row["body"]), row.get("todo")) for row in WORDINGS[group].values()]
    return pytest.mark.parametrize("case", rows, ids=WORDINGS[group])


def _body(body):
    return body.encode() if isinstance(body, str) else body


class TestWordings:
    """Each is what a server of that name says."""

    @cases("too long")
    def test_too_long(self, asker, case):
        assert type(asker.error(case[1], case[0])) is errors.TooLong

    @cases("refused")
    def test_refused(self, asker, case):
        assert type(asker.error(case[1], case[0])) is errors.Refused

    @cases("no money")
    def test_no_money(self, asker, case):
        error = asker.error(case[1], case[0])
        assert type(error) is errors.FatalError and "top the account up" in str(error)

    @cases("not authorised")
    def test_not_authorised(self, asker, case):
        error = asker.error(case[1], case[0])
        assert type(error) is errors.NotAuthorised and "RAW_KEY" in str(error)

    def test_not_authorised_without_a_key(self, asker):
        error = asker.error(openai("No key"), 401, fresh=True, api_key=None)
        assert type(error) is errors.NotAuthorised and "write api_key: env:NAME" in str(error)
        asker.close()

    @cases("no model")
    def test_no_model(self, asker, case):
        assert type(asker.error(case[1], case[0])) is errors.NoSuchModel

    def test_a_wrong_address(self, asker):
        base = asker.server.url.removesuffix("/v1")
        error = asker.error({"detail": "Not Found"}, 404, base_url=base)
        assert f"nothing is at {base}/chat/completions" in str(error) and "most of which end in /v1" in str(error)

    @cases("passing")
    def test_passing(self, asker, case):
        error = asker.error(case[1], case[0])
        assert type(error) is errors.Transient and error.unpaid

    @cases("wrong for all")
    def test_wrong_for_all(self, asker, case):
        status, body, todo = case
        error = asker.error(body, status, fresh=True, body={"top_k": 3})
        assert type(error) is errors.FatalError
        assert todo in str(error)
        asker.close()

    @cases("wrong for all")
    def test_wrong_for_one(self, asker, case):
        """Where a request of the same sampling was answered, what is refused is this request's own."""
        status, body, _ = case
        asker.reply(chat(), body={"top_k": 3})
        assert type(asker.error(body, status, body={"top_k": 3})) is errors.BadReply
        other = et.Request(REQUEST.messages, et.Sampling(max_tokens=77))
        assert type(asker.error(body, status, other, body={"top_k": 3})) is errors.FatalError

    def test_max_completion_tokens_the_other_way_round(self, asker):
        answer = openai("Unrecognized request argument supplied: max_completion_tokens")
        error = asker.error(answer, 400, fresh=True, max_tokens_name="max_completion_tokens")
        assert "write max_tokens_name: max_tokens" in str(error)
        asker.close()

    def test_max_tokens_that_leave_no_room_for_any_prompt(self, asker):
        request = et.Request(REQUEST.messages, et.Sampling(max_tokens=4096))
        error = asker.error(WORDINGS["too long"]["vLLM"]["body"], 400, request)
        assert type(error) is errors.FatalError and "lower sampling.max_tokens" in str(error)

    @pytest.mark.parametrize("status", [405, 410, 415])
    def test_an_address_that_takes_no_posts(self, asker, status):
        error = asker.error(b"", status)
        assert type(error) is errors.FatalError and "mend base_url" in str(error)

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_redirects_are_not_followed(self, asker, status):
        asker.server.seen.clear()
        error = asker.error(b"", status, headers={"Location": f"{asker.server.url}/elsewhere?key={KEY}"})
        assert type(error) is errors.FatalError
        assert "/elsewhere" in str(error) and KEY not in str(error)
        assert len(asker.server.seen) == 1

    def test_a_failure_underway_may_have_been_billed(self, asker):
        answer = chat("Half an")
        answer["choices"][0] |= {"finish_reason": "error", "error": {"code": 502, "message": "Upstream failed"}}
        error = asker.error(answer)
        assert type(error) is errors.Transient and not error.unpaid


class TestRateLimits:
    @pytest.mark.parametrize(
        ("headers", "message", "wait"),
        [
            ({"Retry_After": "7"}, "Slow down.", 7),
            ({"Retry_After": "2.5"}, "Try again in 9s", 2.5),
            ({"retry_after_ms": "350"}, "", 0.35),
            ({}, "Rate limit reached. Please try again in 20s. Visit us", 20),
            ({}, "Please try again in 1.5s.", 1.5),
            ({}, "Please try again in 350ms.", 0.35),
            ({}, "Please try again in 1m2.5s.", 62.5),
            ({}, "Please try again in 8h24m.", 30240),
            ({}, "Please retry in 34.07s.", 34.07),
            ({}, "retry after 5 seconds", 5),
            ({}, "Please try again in a while", None),
            ({}, "Slow down.", None),
            ({"Retry_After": "soon"}, "", None),
        ],
    )
    def test_how_long_to_wait(self, asker, headers, message, wait):
        error = asker.error(openai(message, "rate_limit_exceeded", "requests"), 429, headers=headers)
        assert type(error) is errors.RateLimited
        assert error.retry_after == (wait if wait is None else pytest.approx(wait))

    def test_a_date(self, asker):
        date = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
        assert 27 < asker.error(b"", 429, headers={"Retry_After": date}).retry_after <= 30

    def test_gemini_calls_a_rate_a_quota(self, asker):
        said = "You exceeded your current quota, please check your plan and billing details. Please retry in 3s."
        answer = [{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": said}}]
        error = asker.error(answer, 429)
        assert type(error) is errors.RateLimited and error.retry_after == 3

    def test_limits_that_a_refusal_tells(self, asker):
        error = asker.error(b"", 429, headers={"x_ratelimit_limit_requests": "60", "x_ratelimit_reset_requests": "1s"})
        assert error.limits == et.RateLimits(60)

    def test_in_an_answer(self, asker):
        error = asker.error({"error": {"code": 429, "message": "Upstream says: try again in 4s"}})
        assert type(error) is errors.RateLimited and error.retry_after == 4


class TestMessages:
    ECHO = f"You sent Authorization: Bearer {KEY}."

    @pytest.mark.parametrize("before", [0, 10, 250, 265, 275, 280, 290, 299, 301])
    def test_an_echoed_key_is_hidden_wherever_a_message_is_cut(self, asker, before):
        text = "y" * before + self.ECHO
        refusal = chat(None)
        refusal["choices"][0]["message"]["refusal"] = text
        filtered = chat(choices=[{"error": {"message": text}}])
        answers = [
            (status, form)
            for status in (200, 302, 400, 401, 402, 404, 413, 418, 422, 429, 500)
            for form in (openai(text), {"error": text}, {"detail": text}, text.encode(), b"<title>%b</" % text.encode(),
                         [{"error": {"message": text}}], {"error": {"metadata": {"raw": text}}}, refusal, filtered,
                         text)
            if status != 200 or form is not text
        ]  # fmt: skip
        for status, form in answers:
            error = asker.error(form, status, headers={"Location": f"/{text}"})
            shown = f"{error}\n{error!r}\n{error.args}"
            for length in range(12, len(KEY) + 1):
                assert KEY[:length] not in shown, (status, form)
        assert len(answers) > 100

    def test_secrets_are_in_no_repr(self, asker):
        backend = asker.backend()
        for text in (repr(backend), str(backend), str(backend.options()), backend.identity(), backend.account()):
            assert KEY not in text
        assert backend.secrets() == (KEY,)

    def test_a_message_names_model_and_server_and_is_short(self, asker):
        error = asker.error(openai("x" * 5000), 500)
        assert str(error).startswith(f"'m' at {asker.server.url.removesuffix('/v1')}: HTTP 500: xxx")
        assert len(str(error)) < 500

    def test_a_page_is_told_by_its_title_or_text(self, asker):
        page = "<!doctype html><html><style>a{}</style><script>let x='<b>'</script><body><h1>No</h1> way</body>"
        assert str(asker.error(page.encode(), 503)).endswith("HTTP 503: No way")
        assert str(asker.error(b"<html><title>Sorry\n &amp; bye</title>", 503)).endswith("'Sorry &amp; bye'")


def test_hostile_pages_cost_little(asker):
    """What is looked at with patterns is short."""
    started = time.process_time()
    for text in (
        "<script" * 200_000,
        "<" * 1_000_000,
        "<title>" * 200_000,
        "model " * 200_000,
        "try again in " * 90_000,
    ):
        asker.error(text.encode(), 400)
        asker.error(openai(text), 400)
    assert time.process_time() - started < 5
