"""Messages, sampling and fingerprints."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import evolteacher as et
from evolteacher.messages import as_messages, messages_to_json

MESSAGES = st.lists(st.builds(et.Message, st.sampled_from(["system", "user", "assistant"]), st.text()), min_size=1)
SAMPLINGS = st.builds(
    et.Sampling,
    temperature=st.sampled_from([0, 0.0, -0.0, 1, 1.0, 0.5]),
    top_p=st.sampled_from([1, 1.0, 0.9]),
    max_tokens=st.sampled_from([1, 2048]),
    stop=st.sampled_from([(), ("x",), ("x", "y"), ("xy",)]),
    seed=st.sampled_from([None, 0, 1]),
)
REQUESTS = st.builds(et.Request, MESSAGES.map(tuple), SAMPLINGS, st.text())


@settings(deadline=None, max_examples=300)
@given(REQUESTS, REQUESTS, st.sampled_from(["a", "b"]), st.sampled_from(["a", "b"]))
def test_fingerprints_are_equal_where_model_messages_and_sampling_are(one, two, model, other):
    same = (model, one.messages, one.sampling) == (other, two.messages, two.sampling)
    assert (one.fingerprint(model) == two.fingerprint(other)) == same
    assert replace(one, slot="elsewhere").fingerprint(model) == one.fingerprint(model)
    assert len(one.fingerprint(model)) == 16


def test_texts_that_are_split_otherwise_have_other_fingerprints():
    pairs = [("ab", "c"), ("a", "bc"), ("abc", ""), ("", "abc"), ('a","b', "c")]
    requests = [et.Request(tuple(et.Message("user", text) for text in pair)) for pair in pairs]
    assert len({request.fingerprint("m") for request in requests}) == len(pairs)
    odd = [et.Request((et.Message("user", text),)).fingerprint("m") for text in ("é", "e\u0301", "😀", "\0", "\ud83d")]
    assert len(set(odd)) == 5


def test_a_stored_fingerprint_is_stable():
    request = et.Request((et.Message("user", "Add two numbers."),), et.Sampling(stop=("x",), seed=3))
    assert request.fingerprint("model").hex() == "55098edef6ff99a4606409668175a31c"


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": -0.1}, {"temperature": math.nan}, {"temperature": math.inf}, {"temperature": True},
        {"temperature": "1"}, {"top_p": 0}, {"top_p": 1.1}, {"top_p": None}, {"max_tokens": 0}, {"max_tokens": 1.5},
        {"max_tokens": True}, {"stop": "end"}, {"stop": (1,)}, {"seed": 1.5}, {"seed": "x"},
    ],
    ids=str,
)  # fmt: skip
def test_what_no_backend_can_draw_by_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        et.Sampling(**wrong)


def test_a_list_of_stops_is_a_tuple():
    assert et.Sampling(stop=["a"]) == et.Sampling(stop=("a",))


@given(MESSAGES)
def test_messages_come_back_from_json(messages):
    import json

    rows = json.loads(messages_to_json(messages))
    assert tuple(et.Message(**row) for row in rows) == tuple(messages)


def test_prompts():
    message = et.Message("system", "be short")
    assert as_messages("hi") == (et.Message("user", "hi"),)
    assert as_messages(m for m in [message]) == (message,)
    wrong = [None, 3, b"hi", [], {"role": "user", "content": "x"}, [{"role": "user", "content": "x"}], ["hi"],
             [et.Message("user", None)]]  # fmt: skip
    for prompt in wrong:
        with pytest.raises(TypeError, match=r"a text or a list of evolteacher\.Message is needed, not"):
            as_messages(prompt)


def test_text_and_tokens_of_a_request_and_a_reply():
    request = et.Request((et.Message("system", "a"), et.Message("user", "b")))
    assert request.text == "a\n\nb"
    assert et.Usage(3, 4).total_tokens == 7
