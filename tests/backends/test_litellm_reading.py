"""What the LiteLLM backend composes and reads by itself, and what it leaves to LiteLLM; none of this needs LiteLLM."""

import asyncio
import json
import types

import pytest
from hypothesis import given
from hypothesis import strategies as st

import evolteacher as et
from evolteacher_backends.litellm.offline import Offline, Sent
from evolteacher_backends.litellm.reading import read_ordinary
from evolteacher_backends.litellm.template import Template, template_for

ASKED = et.Request((et.Message("system", "b"), et.Message("user", "a")))


class Composer:
    """Composes as LiteLLM might: how texts, headers and addresses come out is the test's."""

    def __init__(self, body=json.dumps, headers=dict, url="http://h/v1", method="POST"):
        self.made = 0
        self.body, self.headers, self.url, self.method = body, headers, url, method

    async def compose(self, arguments):
        self.made += 1
        url = self.url.format(self.made)
        return Sent(self.method, url, self.headers({"n": "1"}), self.body(arguments["messages"]).encode())


class TestTemplates:
    @given(texts=st.lists(st.text(), min_size=1, max_size=4), tail=st.text())
    def test_a_template_holds_any_text(self, texts, tail):
        marks = [f"mark{number}" for number in range(len(texts))]
        body = json.dumps({"messages": [{"content": mark} for mark in marks], "tail": tail}).encode()
        rest, pieces = body, []
        for mark in marks:
            before, _, rest = rest.partition(f'"{mark}"'.encode())
            pieces.append(before)
        filled = json.loads(Template("u", {}, (*pieces, rest)).fill(texts))
        assert filled == {"messages": [{"content": text} for text in texts], "tail": tail}

    async def test_one_that_holds(self):
        made = await template_for(ASKED, Composer())
        assert json.loads(made.fill(["x", "y"]))[1] == {"role": "user", "content": "y"}

    @pytest.mark.parametrize(
        "composer",
        [
            Composer(lambda messages: json.dumps([{**m, "content": m["content"].strip()} for m in messages])),
            Composer(lambda messages: json.dumps([m for m in messages if "{" not in m["content"]])),
            Composer(lambda messages: json.dumps(messages * 2)),
            Composer(lambda messages: json.dumps(messages[::-1])),
            Composer(lambda messages: json.dumps([*messages, "about " + messages[-1]["content"]])),
            Composer(lambda messages: "&".join(m["content"] for m in messages)),
            Composer(lambda messages: ", ".join(f'"{m["content"]}"' for m in messages)),
            Composer(url="http://h/{}"),
            Composer(method="PUT"),
        ],
    )
    async def test_those_that_would_not(self, composer):
        assert await template_for(ASKED, composer) is None

    async def test_headers_that_are_new_each_time(self):
        composer = Composer(headers=lambda headers: {**headers, "nonce": str(composer.made)})
        assert await template_for(et.Request((et.Message("user", "a"),)), composer) is None

    async def test_asking_litellm_is_carried_through_when_interrupted(self):
        """Cut off within its thread, LiteLLM would leave a coroutine behind that nobody awaits."""
        ended = []

        async def acompletion(**arguments):
            await asyncio.sleep(0.05)
            ended.append(arguments["n"])

        task = asyncio.create_task(
            Offline(types.SimpleNamespace(acompletion=acompletion), {}, None, None).read(None, {"n": 1})
        )
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended == [1]


def answer(content="Sort.", finish="stop", usage=None, **message):
    usage = {"prompt_tokens": 1, "completion_tokens": 2} if usage is None else usage
    choice = {"index": 0, "message": {"role": "assistant", "content": content, **message}, "finish_reason": finish}
    return {"id": "a", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}


class TestReading:
    def test_an_ordinary_answer(self):
        found = read_ordinary(json.dumps(answer(" é 🙂\n", "length")).encode())
        assert found == et.Reply(" é 🙂\n", et.Usage(1, 2), "length", "m")

    def test_a_cost_by_the_providers_own_word(self):
        usage = {"prompt_tokens": 1, "completion_tokens": 2, "cost": 0.25}
        assert read_ordinary(json.dumps(answer(usage=usage)).encode()).cost == 0.25

    @pytest.mark.parametrize(
        "body",
        [
            b"", b"x", b"[1]", b'"x"', b"null", b"{}", b'{"choices": []}', b'{"choices": [null]}', b"\xff",
            *(
                json.dumps(each).encode()
                for each in (
                    answer(None), answer(""), answer(" \n"), answer(["parts"]), answer(7),
                    answer(finish="content_filter"), answer(finish="tool_calls"), answer(finish=None),
                    answer(finish="eos"), answer("<think>a</think>b"),
                    answer(usage=None) | {"usage": None}, answer(usage={}), answer(usage={"prompt_tokens": 1}),
                    answer(usage={"prompt_tokens": "1", "completion_tokens": 2}),
                    answer(usage={"prompt_tokens": True, "completion_tokens": 2}),
                    answer(usage={"prompt_tokens": -1, "completion_tokens": 2}), answer() | {"error": {"code": 1}},
                    answer() | {"choices": [{"message": "x"}]}, answer() | {"usage": [1]},
                )
            ),
        ],
    )  # fmt: skip
    def test_what_is_not_ordinary_is_left_to_litellm(self, body):
        assert read_ordinary(body) is None
