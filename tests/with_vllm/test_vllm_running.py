"""The vLLM backend on vLLM itself: minutes, and a virtual environment of its own (docs/vllm.md says how)."""

import asyncio
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest

import evolteacher as et
from evolteacher import errors
from evolteacher.testing import BackendConformance
from evolteacher_backends.vllm import VLLM

pytest.importorskip("vllm", reason="vllm is not installed")

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.timeout(900),
    # torch announces to vLLM's authors what will change for them.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    # Where its start fails, vLLM leaves its ZMQ context to the garbage collector.
    pytest.mark.filterwarnings("ignore:.*function Context.__del__:pytest.PytestUnraisableExceptionWarning"),
]

SMALL = {"dtype": "float32", "enforce_eager": True, "kv_cache_memory_bytes": 1 << 28}
WORKLOAD = et.Workload(concurrency=16, max_tokens=64, longest_text=200)
WORD = "Write a function that sorts a list."


def request(text=WORD, system=None, slot="", **sampling):
    messages = (
        [et.Message("user", text)] if system is None else [et.Message("system", system), et.Message("user", text)]
    )
    return et.Request(tuple(messages), et.Sampling(**{"temperature": 0.0, "max_tokens": 12, **sampling}), slot)


def engines():
    """Process ids of vLLM's engines that this process has started."""
    return {process.pid for process in multiprocessing.active_children() if process.name.startswith("EngineCore")}


def fails(backend, workload=WORKLOAD):
    """Open a backend that cannot be; return the error, and see that nothing is left."""

    async def run():
        with pytest.raises(errors.EvolteacherError) as caught:
            await backend.open(workload)
        await backend.close()
        return caught.value

    before = engines()
    error = asyncio.run(run())
    assert engines() <= before
    return error


class TestConformance(BackendConformance):
    deterministic = True
    keep_open = True
    max_tokens = 12
    patience = 300.0

    @pytest.fixture(scope="class")
    def kept(self, checkpoint):
        return VLLM(model=str(checkpoint), **SMALL)

    @pytest.fixture
    def backend(self, kept):
        return kept

    @pytest.fixture
    def faults(self, checkpoint, tmp_path):
        (tmp_path / "config.json").write_text("{}")
        return {
            "unknown model": (lambda: VLLM(model=str(tmp_path), **SMALL), errors.NoSuchModel),
            "too long": (lambda: VLLM(model=str(checkpoint), max_model_len=24, **SMALL), errors.TooLong),
            "time-out": (lambda: VLLM(model=str(checkpoint), timeout=0.001, **SMALL), errors.Transient),
            "an unknown argument": (lambda: VLLM(model=str(checkpoint), engine={"x": 1}), errors.FatalError),
        }


@pytest.fixture(scope="module")
def opened(checkpoint):
    """An open backend and the event loop that it is open on."""
    backend = VLLM(model=str(checkpoint), **SMALL, engine={"block_size": 32})
    with asyncio.Runner() as runner:
        runner.run(backend.open(WORKLOAD))
        yield backend, runner.run
        mine = backend._engine._processes
        runner.run(backend.close())
    assert [process.exitcode for process in mine] == [0]


class TestAnswers:
    def ask(self, opened, *requests):
        backend, run = opened

        async def all_of_them():
            return await asyncio.gather(*map(backend.complete, requests), return_exceptions=True)

        return run(all_of_them())

    def test_greedy_is_what_transformers_gives(self, opened, checkpoint):
        from transformers import AutoModelForCausalLM, AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(checkpoint)
        model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype="float32")
        prompts = [WORD, "Ünïcode 🙂 {{ x }} %s", "Count to ten."]
        replies = self.ask(opened, *map(request, prompts))
        for prompt, reply in zip(prompts, replies, strict=True):
            chat = [{"role": "user", "content": prompt}]
            ids = tokenizer.apply_chat_template(
                chat, add_generation_prompt=True, return_tensors="pt", return_dict=False
            )
            out = model.generate(ids, max_new_tokens=12, do_sample=False, pad_token_id=0)[0, ids.shape[1] :]
            assert reply.text == tokenizer.decode(out, skip_special_tokens=True)
            assert reply.usage == et.Usage(ids.shape[1], len(out))
            assert reply.model == str(checkpoint)

    def test_calls_at_once_share_batches(self, opened):
        began = time.monotonic()
        replies = self.ask(opened, *(request(f"{WORD} {n}", max_tokens=60) for n in range(16)))
        together = time.monotonic() - began
        assert sum(reply.latency for reply in replies) > 5 * together

    def test_a_reply_says_why_it_ended(self, opened):
        (whole,) = self.ask(opened, request(max_tokens=40))
        assert (whole.finish_reason, whole.usage.completion_tokens) == ("length", 40)
        stop = whole.text[5:7]
        (cut,) = self.ask(opened, request(max_tokens=40, stop=("no such text", stop, "")))
        assert cut.text == whole.text[: whole.text.index(stop)]
        assert cut.finish_reason == "stop" and cut.usage.completion_tokens < 40

    def test_seeds(self, opened):
        asked = [request(temperature=1.0, seed=seed) for seed in (1, 1, 2, 3, -1, -1)]
        texts = [self.ask(opened, each)[0].text for each in asked]
        assert texts[0] == texts[1] and texts[4] == texts[5]
        assert len(set(texts)) == 4
        assert len({reply.text for reply in self.ask(opened, *(request(temperature=1.0) for _ in range(6)))}) > 1

    def test_what_vllm_does_not_take_settles_the_call(self, opened):
        (error,) = self.ask(opened, request(temperature=3.0))
        assert isinstance(error, errors.BadReply)
        assert "temperature must be in [0, 2]" in str(error)

    def test_what_fits_and_what_is_too_long(self, opened):
        backend, _ = opened
        room = backend._serving.context
        (one,) = self.ask(opened, request("x", max_tokens=1))
        assert room == 2048 or room > one.usage.prompt_tokens
        most = room - one.usage.prompt_tokens
        fits, not_ = self.ask(
            opened, request("x", max_tokens=most, stop=tuple("abcdefghijklmnop ")), request("x", max_tokens=most + 1)
        )
        assert isinstance(fits, et.Reply)
        assert isinstance(not_, errors.TooLong)
        assert f"exceed the context of {room:,} tokens" in str(not_)

    def test_what_prompts_share_is_read_once(self, opened):
        backend, _ = opened
        shared = "Rewrite the task below so that it is harder, and keep all that it says of its data. " * 4
        before = backend._serving.cached, backend._serving.prompted
        self.ask(opened, request(f"{shared}a"))
        self.ask(opened, *(request(f"{shared}{n}") for n in range(8)))
        cached, prompted = backend._serving.cached - before[0], backend._serving.prompted - before[1]
        assert cached / prompted > 0.6
        assert 0 < backend.prefix_cache_hit_rate < 1

    def test_a_cancelled_call_leaves_the_engine(self, opened):
        backend, run = opened

        async def give_up():
            tasks = [asyncio.create_task(backend.complete(request(max_tokens=1900))) for _ in range(4)]
            await asyncio.sleep(0.3)
            assert backend._engine.llm.get_num_unfinished_requests() == 4
            for task in tasks[:3]:
                task.cancel()
            await asyncio.wait(tasks[:3], timeout=5)
            left = backend._engine.llm.get_num_unfinished_requests()
            tasks[3].cancel()
            await asyncio.wait(tasks, timeout=5)
            return left, [task.cancelled() for task in tasks]

        assert run(give_up()) == (1, [True] * 4)

    def test_a_time_out(self, opened):
        backend, _ = opened
        backend._serving.timeout = 0.2
        try:
            (error,) = self.ask(opened, request(max_tokens=1900))
        finally:
            backend._serving.timeout = None
        assert isinstance(error, errors.Transient) and error.unpaid
        assert "no answer within 0.2 s" in str(error)
        assert backend._engine.llm.get_num_unfinished_requests() == 0


def test_an_adapter_answers_in_the_models_place(checkpoint, adapter, opened, tmp_path):
    backend, run = opened
    plain = run(backend.complete(request()))

    async def ask(**options):
        tuned = VLLM(model=str(checkpoint), **SMALL, **options)
        await tuned.open(WORKLOAD)
        try:
            return await tuned.complete(request())
        finally:
            await tuned.close()

    tuned = asyncio.run(ask(lora=str(adapter)))
    assert tuned.text != plain.text
    assert tuned.model == str(adapter)
    weights = adapter / "adapter_model.safetensors"
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "adapter_config.json").write_text((adapter / "adapter_config.json").read_text())
    (broken / weights.name).write_bytes(weights.read_bytes()[:100])
    error = fails(VLLM(model=str(checkpoint), lora=str(broken), **SMALL))
    assert isinstance(error, errors.FatalError) and "lora: " in str(error) and "vLLM says" in str(error)


class TestWhatCannotBeOpened:
    def test_an_argument_that_the_engine_does_not_have(self, checkpoint):
        error = fails(VLLM(model=str(checkpoint), engine={"blok_size": 16}))
        assert str(error) == (
            "backend 'vllm': engine: this version of vLLM has no argument 'blok_size'. Did you mean 'block_size'?"
        )
        error = fails(VLLM(model=str(checkpoint), engine={"swap_space": 4}))
        assert "no argument 'swap_space'" in str(error)

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"engine": {"block_size": "many"}}, "block_size"),
            ({"quantization": "no-such"}, "no-such"),
            ({"tensor_parallel_size": 3}, "tensor_parallel_size"),
            ({"max_model_len": 10**9}, "max_model_len"),
        ],
    )
    def test_values_that_it_does_not_take(self, options, words, checkpoint):
        error = fails(VLLM(model=str(checkpoint), **SMALL, **options))
        assert isinstance(error, errors.FatalError)
        assert words in str(error)

    @pytest.mark.parametrize("name", ["no-such-owner/no-such-model", "/no/such/folder", "a b"])
    def test_an_unknown_model(self, name):
        error = fails(VLLM(model=name))
        assert isinstance(error, errors.NoSuchModel), error

    def test_more_memory_than_there_is(self, checkpoint):
        error = fails(VLLM(model=str(checkpoint), **{**SMALL, "kv_cache_memory_bytes": 10**15}))
        assert isinstance(error, errors.FatalError)
        assert "does not fit into the memory" in str(error) and "kv_cache_memory_bytes" in str(error)

    def test_no_room_for_a_prompt(self, checkpoint):
        error = fails(VLLM(model=str(checkpoint), max_model_len=64, **SMALL))
        assert "has a context of 64 tokens here and sampling.max_tokens is 64" in str(error)


def test_an_opening_that_is_given_up_leaves_no_process(checkpoint):
    backend, before = VLLM(model=str(checkpoint), **SMALL), engines()

    async def interrupt():
        task = asyncio.create_task(backend.open(WORKLOAD))
        while not engines() - before:
            await asyncio.sleep(0.1)
        await asyncio.sleep(2)
        began = time.monotonic()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        await backend.close()
        return time.monotonic() - began

    assert asyncio.run(interrupt()) < 10
    assert engines() <= before


def test_one_engine_starts_after_the_other_and_one_that_waits_can_be_given_up(checkpoint):
    first, second, third = (VLLM(model=str(checkpoint), **SMALL) for _ in range(3))

    async def open_all():
        opening = [asyncio.create_task(backend.open(WORKLOAD)) for backend in (first, second, third)]
        await asyncio.sleep(3)
        opening[2].cancel()
        await asyncio.wait([opening[2]], timeout=2)
        assert opening[2].cancelled()
        await asyncio.gather(*opening[:2])
        texts = [(await backend.complete(request())).text for backend in (first, second)]
        await asyncio.gather(*(backend.close() for backend in (first, second, third)))
        return texts

    before = engines()
    texts = asyncio.run(open_all())
    assert texts[0] == texts[1] != ""
    assert engines() <= before


def test_closing_answers_everybody(checkpoint, capfd):
    backend = VLLM(model=str(checkpoint), **SMALL)

    async def close_early():
        await backend.open(WORKLOAD)
        calls = [asyncio.create_task(backend.complete(request(max_tokens=1900))) for _ in range(20)]
        await asyncio.sleep(0.5)
        await backend.close()
        done, waiting = await asyncio.wait(calls, timeout=1)
        return [type(call.exception()) for call in done], waiting

    kinds, waiting = asyncio.run(close_early())
    assert not waiting and set(kinds) == {errors.Transient} and len(kinds) == 20
    shown = capfd.readouterr()
    assert (shown.out, shown.err) == ("", "")


@pytest.mark.parametrize(("number", "words"), [(signal.SIGKILL, "killed with signal 9"), (signal.SIGTERM, "asked to")])
def test_an_engine_that_dies_is_noticed_whatever_is_under_way(number, words, checkpoint):
    """Calls before, at and after its end; vLLM itself leaves some of them waiting for ever."""
    backend, before = VLLM(model=str(checkpoint), **SMALL), engines()

    async def kill():
        await backend.open(WORKLOAD)
        calls = [asyncio.create_task(backend.complete(request(max_tokens=1900))) for _ in range(3)]
        (pid,) = engines() - before
        os.kill(pid, number)
        for _ in range(40):
            await asyncio.sleep(0.25)
            calls.append(asyncio.create_task(backend.complete(request(max_tokens=1900))))
        done, waiting = await asyncio.wait(calls, timeout=3)
        await backend.close()
        return [call.exception() for call in calls if call in done], waiting

    found, waiting = asyncio.run(kill())
    assert not waiting and len(found) == 43
    assert {type(error) for error in found} <= {errors.FatalError, errors.Transient}
    assert isinstance(found[-1], errors.FatalError)
    assert "has died" in str(found[-1]) and words in str(found[-1])


RECIPE = """
evolteacher: 1
name: {name}
seeds: {{path: seeds.jsonl, answer: missing}}
rounds: 2
on_pruned: retry
operators: [{{add-constraints: {{extract: whole}}}}, {{more-steps: {{extract: whole}}}}]
backends:
  evolve: {{vllm: {options}}}
  respond: evolve
sampling: {{temperature: 1, max_tokens: {max_tokens}, seed: 3}}
concurrency: 16
limits: {{retries: 2, first_wait: 0.1}}
"""


class Experiment:
    """A folder with eight seeds, and recipes that are written into it."""

    def __init__(self, folder, checkpoint):
        self.folder = folder
        self.options = json.dumps({"model": str(checkpoint), "log": "vllm.log", **SMALL})
        rows = [json.dumps({"instruction": f"{WORD} By rule {n}."}) for n in range(8)]
        (folder / "seeds.jsonl").write_text("\n".join(rows))

    def write(self, name, max_tokens=40):
        text = RECIPE.format(name=name, options=self.options, max_tokens=max_tokens)
        (self.folder / f"{name}.yaml").write_text(text)

    def rows(self, name):
        return json.loads((self.folder / "runs" / name / "dataset.json").read_text())

    def start(self, *words):
        return Running(self.folder, "-m", "evolteacher", *words)


@pytest.fixture
def experiment(tmp_path, checkpoint):
    return Experiment(tmp_path, checkpoint)


class Running:
    """A command in a process group of its own, as a terminal starts one."""

    def __init__(self, folder, *words):
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, *words],
            cwd=folder,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env={**os.environ, "NO_COLOR": "1"},
        )

    def engine(self):
        """Wait until the model is loaded and computes; return the process id of its engine."""
        import psutil

        me = psutil.Process(self.process.pid)
        log = self.folder / "vllm.log"
        while self.process.poll() is None:
            if log.exists() and "init engine" in log.read_text():
                children = me.children(recursive=True)
                if any("Worker" in child.name() and child.cpu_percent(0.5) > 10 for child in children):
                    return next(child.pid for child in children if "EngineCor" in child.name())
            time.sleep(0.2)
        raise AssertionError(self.process.communicate())

    def finish(self, seconds=120):
        """Return exit code, output and errors."""
        out, err = self.process.communicate(timeout=seconds)
        return self.process.returncode, out, err

    def left(self, seconds=10):
        """What still runs in its group after so many seconds."""
        import psutil

        def running(process):
            try:
                return os.getpgid(process.pid) == self.process.pid and process.status() != psutil.STATUS_ZOMBIE
            except (ProcessLookupError, psutil.NoSuchProcess):
                return False

        ends = time.monotonic() + seconds
        while (found := [each for each in psutil.process_iter() if running(each)]) and time.monotonic() < ends:
            time.sleep(0.1)
        return found


class TestRuns:
    def test_a_script_without_a_guard(self, experiment):
        experiment.write("plain")
        (experiment.folder / "script.py").write_text(
            "import evolteacher as et\nresult = et.run('plain.yaml')\nprint(result.pending, result.calls > 20)\n"
        )
        running = Running(experiment.folder, "-X", "dev", "script.py")
        code, out, err = running.finish()
        assert (code, out) == (0, "0 True\n"), err
        complaints = [line for line in err.splitlines() if "Warning" in line and "DeprecationWarning" not in line]
        assert complaints == [] and "Traceback" not in err
        assert len(experiment.rows("plain")) > 8
        assert running.left() == []

    def test_inside_a_running_event_loop(self, experiment):
        """As in Jupyter, whose main module is no file either."""
        experiment.write("notebook")
        code = "import asyncio, evolteacher as et\nprint(asyncio.run(et.arun('notebook.yaml')).pending)"
        exit_code, out, err = Running(experiment.folder, "-c", code).finish()
        assert (exit_code, out, err) == (0, "0\n", "")

    def test_an_engine_that_dies_stops_the_run_at_once(self, experiment):
        experiment.write("death", max_tokens=1800)
        running = experiment.start("run", "death.yaml")
        os.kill(running.engine(), signal.SIGKILL)
        began = time.monotonic()
        code, _, err = running.finish()
        assert time.monotonic() - began < 15
        assert code == 1
        assert "the engine that serves" in err and "has died (killed with signal 9" in err
        assert "evolteacher run death.yaml" in err
        assert "Traceback" not in err and "resource_tracker" not in err
        assert running.left() == []

    def test_an_interrupt_stops_cleanly_and_the_run_goes_on(self, experiment):
        experiment.write("stop", max_tokens=1900)
        running = experiment.start("run", "stop.yaml", "--set", "rounds=1", "--set", "concurrency=2")
        os.kill(running.engine(), signal.SIGINT)
        time.sleep(6)  # one that heeds it needs some seconds to end
        assert running.process.poll() is None  # the engine's processes leave interrupts to evolteacher
        os.killpg(running.process.pid, signal.SIGINT)  # as a terminal does: they get it, too
        code, _, err = running.finish(60)
        assert code == 130, err
        assert "died" not in err and "Traceback" not in err and "Go on with" in err
        assert running.left() == []
        again = experiment.start("run", "stop.yaml", "--set", "rounds=1")
        code, _, err = again.finish()
        assert code == 0, err
        assert len(experiment.rows("stop")) >= 8
        assert again.left() == []

    def test_a_kill_leaves_no_engine_behind(self, experiment):
        experiment.write("kill", max_tokens=1800)
        running = experiment.start("run", "kill.yaml")
        running.engine()
        running.process.kill()
        running.finish(20)
        assert running.left() == []
