"""The embedded backend, with SmolLM2 (98 MB, fetched once into the user's cache) really running in this process."""

import asyncio
import signal
import struct
import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

import evolteacher as et
from evolteacher.errors import BadReply, FatalError, NoSuchModel, TooLong
from evolteacher_backends.embedded import Embedded
from evolteacher_backends.known_models import KNOWN, find_model
from evolteacher_backends.known_models.fetching import fetch
from evolteacher_backends.llamacpp.header import GgufHeader, NotGguf, read_header
from evolteacher_backends.llamacpp.sizing import PROMPT_TOKENS, size

SMOLLM2 = "smollm2-135m-instruct"


@pytest.fixture(scope="session")
def smollm2():
    """The model's file; a minute on a slow line when it is fetched for the first time."""
    return fetch(KNOWN[SMOLLM2])


def ask(text, *, system=None, temperature=0.0, max_tokens=8, **sampling):
    messages = [et.Message("system", system)] if system else []
    return et.Request((*messages, et.Message("user", text)), et.Sampling(temperature, 1.0, max_tokens, **sampling))


class opened:
    """An open backend for the length of a block; of one thread, since threads wait for those that share their core."""

    def __init__(self, concurrency=4, max_tokens=64, longest_text=200, **options):
        self.backend = Embedded(model=SMOLLM2, threads=1, **options)
        self.workload = et.Workload(concurrency, max_tokens, longest_text)

    async def __aenter__(self):
        await self.backend.open(self.workload)
        return self.backend

    async def __aexit__(self, *_):
        await self.backend.close()


async def test_concurrent_calls_are_answered_each_with_its_own(smollm2):
    async with opened(concurrency=6) as backend:
        replies = await asyncio.gather(*(backend.complete(ask(f"Repeat the number {n}.")) for n in range(6)))
        assert len({reply.text for reply in replies}) > 1
        for reply in replies:
            assert reply.text
            assert reply.model == SMOLLM2
            assert 20 < reply.usage.prompt_tokens < 60
            assert 0 < reply.usage.completion_tokens <= 8
            assert reply.latency > 0
            assert reply.finish_reason in ("stop", "length")


async def test_a_reply_says_whether_it_was_cut(smollm2):
    async with opened() as backend:
        cut, whole = await asyncio.gather(
            backend.complete(ask("Write a story.", max_tokens=3)),
            backend.complete(ask("Answer with one word: what is the capital of France?", max_tokens=64)),
        )
        assert (cut.finish_reason, cut.usage.completion_tokens) == ("length", 3)
        assert whole.finish_reason == "stop"
        assert "Paris" in whole.text


async def test_greedy_repeats_itself_and_stop_cuts(smollm2):
    async with opened() as backend:
        question = "Write the numbers from one to five, as digits, separated by commas."
        whole = await backend.complete(ask(question, max_tokens=24))
        again = await backend.complete(ask(question, max_tokens=24))
        assert again.text == whole.text
        assert "3" in whole.text
        stopped = await backend.complete(ask(question, max_tokens=24, stop=("3",)))
        assert stopped.text == whole.text.split("3")[0]
        assert stopped.finish_reason == "stop"


async def test_the_seed_is_passed_on(smollm2):
    async with opened() as backend:
        asked = [ask("Name a random animal.", temperature=1.5, max_tokens=6, seed=seed) for seed in (7, 7, 8, 9, 10)]
        texts = [(await backend.complete(request)).text for request in asked]
        assert texts[0] == texts[1]
        assert len(set(texts)) > 1


@pytest.mark.parametrize("system", [None, "You are terse."])
async def test_a_prompts_tokens_are_counted_exactly_before_the_call(smollm2, system):
    texts = ["", "{{ x }} {% raw %} %s {}", "日本語 🎉\r\n\0", "<|im_end|>\n<|im_start|>assistant\n", "a" * 300]
    async with opened(context=256) as backend:
        for text in texts:
            prompt_tokens = (await backend.complete(ask(text, system=system, max_tokens=1))).usage.prompt_tokens
            room = 256 - prompt_tokens
            fits = await backend.complete(ask(text, system=system, max_tokens=room, stop=tuple("aeiou .")))
            assert fits.usage.prompt_tokens == prompt_tokens
            with pytest.raises(TooLong, match=f"{prompt_tokens} tokens of prompt"):
                await backend.complete(ask(text, system=system, max_tokens=room + 1))


async def test_what_does_not_fit_a_slot_is_told_before_the_call(smollm2):
    async with opened(concurrency=1, context=512) as backend:
        busy = asyncio.create_task(backend.complete(ask("Write a long story.", max_tokens=64)))
        await asyncio.sleep(0.05)
        with pytest.raises(TooLong, match=r"tokens of prompt and max_tokens 64 exceed the 512 tokens of a slot"):
            await backend.complete(ask("word " * 500, max_tokens=64))
        with pytest.raises(TooLong):
            await backend.complete(ask("Hello", max_tokens=500))
        assert not busy.done()  # the only slot was busy all the time: neither request reached it
        assert (await busy).text


async def test_a_calls_latency_is_without_the_wait_for_a_slot(smollm2):
    async with opened(concurrency=4, slots=1) as backend:
        begun = time.monotonic()
        replies = await asyncio.gather(*(backend.complete(ask(f"Count to {n}.", max_tokens=12)) for n in range(4)))
        # One slot answers one call after the other; what waited with llama.cpp would count its wait, too.
        assert sum(reply.latency for reply in replies) <= time.monotonic() - begun
        assert len(replies) == 4


async def test_a_slot_holds_the_longest_prompt_and_the_longest_answer(smollm2):
    longest = "é🎉日本" * 50
    async with opened(concurrency=1, max_tokens=700, longest_text=len(longest)) as backend:
        reply = await backend.complete(ask(f"Rewrite this: {longest}", max_tokens=700, stop=tuple("aeiou .")))
        assert reply.usage.prompt_tokens > 200


@pytest.mark.alone
async def test_a_cancelled_call_lets_the_others_go_on_and_closing_is_prompt(smollm2):
    async with opened(concurrency=2, max_tokens=400) as backend:
        cancelled = [asyncio.create_task(backend.complete(ask("Write a story.", max_tokens=400))) for _ in range(2)]
        await asyncio.sleep(0.3)
        for task in cancelled:
            task.cancel()
        ended = await asyncio.gather(*cancelled, return_exceptions=True)
        assert [type(error) for error in ended] == [asyncio.CancelledError] * 2
        assert (await backend.complete(ask("Hello", max_tokens=2))).text
        running = asyncio.create_task(backend.complete(ask("Write a story.", max_tokens=400)))
        await asyncio.sleep(0.3)
        running.cancel()
        begun = time.monotonic()
        await backend.close()
        assert time.monotonic() - begun < 5
        with pytest.raises(asyncio.CancelledError):
            await running


async def test_what_the_server_refuses_settles_the_call(smollm2):
    async with opened() as backend:
        with pytest.raises(BadReply, match=r"llama.cpp: HTTP \d+: .*surrogate"):
            await backend.complete(ask("\ud800"))


async def test_open_and_close_twice(smollm2):
    backend = Embedded(model=str(smollm2))
    await backend.close()
    for _ in range(2):
        await backend.open(et.Workload(1, 16, 10))
        assert (await backend.complete(ask("Hello"))).model == str(smollm2)
        await backend.close()
        await backend.close()
    with pytest.raises(FatalError, match="not open"):
        await backend.complete(ask("Hello"))


CHILD = """
import asyncio, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs the tests may have it ignored
import evolteacher as et
from evolteacher_backends.embedded import Embedded
backend = Embedded(model="smollm2-135m-instruct")
request = et.Request((et.Message("user", "Write a long story."),), et.Sampling(1.0, 0.9, 1500))
async def main():
    await backend.open(et.Workload(2, 1500, 100))
    try:
        calls = asyncio.gather(backend.complete(request), backend.complete(request))
        await asyncio.sleep(0.5)
        print("asked", flush=True)
        if sys.argv[1] == "leave":
            calls.cancel()
            return
        await calls
    finally:
        if sys.argv[1] != "leave":
            await backend.close()
try:
    asyncio.run(main())
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.alone
@pytest.mark.parametrize(("how", "code"), [("interrupt", 130), ("leave", 0)])
def test_a_process_that_ends_while_answers_are_made_neither_hangs_nor_crashes(smollm2, how, code):
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, how], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "asked\n"
        begun = time.monotonic()
        if how == "interrupt":
            process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)
        assert time.monotonic() - begun < 15  # some two seconds; the answers themselves take twenty, and more when busy
    finally:
        process.kill()
        process.wait()
    assert process.returncode == code, said
    assert said[0] == ""
    assert how == "leave" or said[1] == ""  # llama.cpp itself stays quiet; asyncio speaks of what was left open


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no such file: check the option model"),
        (b"", "this is no GGUF model: it does not begin with the letters GGUF"),
        (b"<html>not found</html>", "this is no GGUF model"),
        (b"GGUF\x03\x00", "its header is broken or cut off"),
        ("cut", "llama.cpp cannot load it: .*corrupted or incomplete"),
    ],
)
async def test_a_path_that_is_no_model_is_one_line(smollm2, tmp_path, capfd, content, message):
    path = tmp_path / "x.gguf"
    if content == "cut":
        content = smollm2.read_bytes()[:60_000_000]
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(NoSuchModel, match=message):
        await Embedded(model=str(path)).open(et.Workload(1, 16, 10))
    assert capfd.readouterr() == ("", "")


async def test_a_folder_is_no_model(tmp_path):
    (tmp_path / "x.gguf").mkdir()
    with pytest.raises(NoSuchModel, match="cannot be read: Is a directory"):
        await Embedded(model=str(tmp_path / "x.gguf")).open(et.Workload())


@pytest.mark.parametrize(
    ("options", "max_tokens", "message"),
    [
        ({}, 9000, "set sampling.max_tokens to 4,096 or less$"),
        ({"context": 512}, 512, "set sampling.max_tokens to 256 or less, or the option context higher"),
        ({"slots": 256, "context": 8192}, 16, "do not fit into memory: set the options slots or context lower"),
    ],
)
async def test_what_the_model_or_the_memory_cannot_hold_is_told_at_the_start(
    smollm2, capfd, options, max_tokens, message
):
    backend = Embedded(model=SMOLLM2, **options)
    with pytest.raises(FatalError, match=message):
        await backend.open(et.Workload(4, max_tokens, 100))
    assert capfd.readouterr() == ("", "")


async def test_llama_cpp_says_nothing_of_its_own(smollm2, capfd):
    async with opened() as backend:
        await backend.complete(ask("Hello", max_tokens=2))
    assert capfd.readouterr() == ("", "")


def test_a_missing_library_names_the_extra():
    code = (
        "import asyncio, sys; sys.modules['xllamacpp'] = None\n"
        "import evolteacher as et; from evolteacher_backends.embedded import Embedded\n"
        "try: asyncio.run(Embedded().open(et.Workload()))\n"
        "except et.errors.MissingExtra as error: print(error)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (
        said.stdout.strip() == "the backend 'embedded' needs the extra 'embedded': pip install 'evolteacher[embedded]'"
    )


def test_tokens_cost_nothing():
    assert Embedded().price() == et.FREE


def test_the_identity_is_the_models_content_and_what_changes_answers():
    plain = Embedded()
    assert find_model(plain.model).sha256 in plain.identity()
    assert Embedded(slots=3, threads=1, context=4096).identity() == plain.identity()
    others = [Embedded(model=SMOLLM2), Embedded(min_p=0.1), Embedded(top_k=5), Embedded(model="x.gguf")]
    assert len({each.identity() for each in [plain, *others]}) == 5
    assert "x.gguf" in others[-1].identity()


@pytest.mark.parametrize(
    "options",
    [{"model": "qwen"}, {"slots": 0}, {"slots": 257}, {"threads": 0}, {"context": 1}, {"min_p": 2}, {"topk": 1}],
)
def test_bad_options_are_refused(options):
    with pytest.raises(ValidationError):
        Embedded(**options)


def header(**values):
    def text(string):
        raw = string.encode()
        return struct.pack("<Q", len(raw)) + raw

    def value(found):
        if isinstance(found, str):
            return struct.pack("<I", 8) + text(found)
        if isinstance(found, list):
            return struct.pack("<IIQ", 9, 4, len(found)) + struct.pack(f"<{len(found)}I", *found)
        return struct.pack("<II", 4, found)

    pairs = b"".join(text(key.replace("__", ".")) + value(found) for key, found in values.items())
    return b"GGUF" + struct.pack("<IQQ", 3, 0, len(values)) + pairs


LLAMA = {
    "general__architecture": "llama",
    "llama__context_length": 4096,
    "llama__embedding_length": 512,
    "llama__block_count": 4,
    "llama__attention__head_count": 8,
    "llama__attention__head_count_kv": 2,
}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (LLAMA, GgufHeader(4096, 4 * 2 * (64 + 64) * 2)),
        (LLAMA | {"llama__attention__key_length": 128}, GgufHeader(4096, 4 * 2 * (128 + 64) * 2)),
        (LLAMA | {"llama__attention__head_count_kv": [2, 0, 2, 0]}, GgufHeader(4096, 4 * (64 + 64) * 2)),
        ({key: value for key, value in LLAMA.items() if "kv" not in key}, GgufHeader(4096, 4 * 8 * (64 + 64) * 2)),
        ({"general__architecture": "llama"}, GgufHeader(None, None)),
        ({}, GgufHeader(None, None)),
        (LLAMA | {"llama__attention__head_count": 0}, GgufHeader(4096, None)),
        (LLAMA | {"llama__context_length": "long"}, GgufHeader(None, 4 * 2 * (64 + 64) * 2)),
    ],
)
def test_a_header_tells_context_and_cache(tmp_path, values, expected):
    (tmp_path / "x.gguf").write_bytes(header(**values))
    assert read_header(tmp_path / "x.gguf") == expected


def test_the_real_header(smollm2):
    assert read_header(smollm2) == GgufHeader(8192, 30 * 3 * (64 + 64) * 2)


@settings(max_examples=300)
@given(st.data())
def test_any_bytes_are_read_or_refused(tmp_path_factory, data):
    whole = header(**LLAMA)
    begin = data.draw(st.integers(0, len(whole)))
    path = tmp_path_factory.getbasetemp() / "drawn.gguf"
    path.write_bytes(whole[:begin] + data.draw(st.binary(max_size=64)))
    try:
        assert isinstance(read_header(path), GgufHeader)
    except NotGguf:
        pass


def test_a_header_nested_without_end_is_refused(tmp_path):
    nested = struct.pack("<IQ", 9, 1) * 5000
    (tmp_path / "x.gguf").write_bytes(b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"k" + struct.pack("<I", 9) + nested)
    with pytest.raises(NotGguf):
        read_header(tmp_path / "x.gguf")


def test_slots_follow_the_calls_the_machine_and_the_memory(smollm2, tmp_path):
    def slots(concurrency, **options):
        return size(SMOLLM2, smollm2, et.Workload(concurrency, 256, 100), **options).slots

    assert [slots(1), slots(3)] == [1, 3]
    assert 8 <= slots(1000) <= 32
    assert slots(1, slots=20) == 20
    vast = LLAMA | {"llama__block_count": 4000, "llama__embedding_length": 1 << 20, "llama__context_length": 1 << 20}
    (tmp_path / "vast.gguf").write_bytes(header(**vast))
    assert size("vast", tmp_path / "vast.gguf", et.Workload(64, 2048, 100)).slots == 1


@given(st.integers(1, 4000), st.integers(0, 100_000))
def test_a_slot_has_room_for_the_answer_and_never_more_than_the_model(smollm2, max_tokens, longest_text):
    chosen = size(SMOLLM2, smollm2, et.Workload(8, max_tokens, longest_text))
    assert max_tokens < chosen.slot_tokens <= 8192
    assert chosen.slot_tokens >= min(8192, max_tokens + PROMPT_TOKENS + longest_text)
