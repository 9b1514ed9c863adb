"""The vLLM backend, as far as it goes without vLLM: options, prompts, adapters, logs, processes and what failures mean.

What needs vLLM itself is in tests/vllm.
"""

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

import evolteacher as et
from evolteacher import errors
from evolteacher_backends.vllm import VLLM
from evolteacher_backends.vllm_engine.adapter import RANKS, find_adapter, read_adapter
from evolteacher_backends.vllm_engine.faults import explain_death, explain_start
from evolteacher_backends.vllm_engine.log import EngineLog
from evolteacher_backends.vllm_engine.process import EngineProcess, interrupts_kept_off, main_module, variables
from evolteacher_backends.vllm_engine.prompts import PromptWriter, read_template
from evolteacher_backends.vllm_engine.serving import seed_of

WORKLOAD = et.Workload()


def open_fails(backend):
    """Open a backend that cannot be; return the error."""
    with pytest.raises(errors.EvolteacherError) as caught:
        asyncio.run(backend.open(WORKLOAD))
    return caught.value


class TestOptions:
    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({}, "Field required"),
            ({"model": ""}, "at least 1 character"),
            ({"model": "m", "dtype": "int3"}, "'bfloat16'"),
            ({"model": "m", "tensor_parallel_size": 0}, "greater than or equal to 1"),
            ({"model": "m", "gpu_memory_utilization": 1.5}, "less than or equal to 1"),
            ({"model": "m", "max_model_len": 0}, "greater than or equal to 1"),
            ({"model": "m", "swap_space": 4}, "Extra inputs"),
            ({"model": "m", "engine": {"dtype": "float16"}}, "'dtype' is an option of its own: write it beside engine"),
            ({"model": "m", "engine": {"trust_remote_code": True}}, "an option of its own"),
            ({"model": "m", "engine": {"enable_lora": True}}, "it is set by lora"),
            ({"model": "m", "engine": {"hf_token": "x"}}, "it is set by HF_TOKEN in the environment"),
        ],
    )
    def test_wrong_ones(self, options, words):
        with pytest.raises(ValidationError, match=words):
            VLLM(**options)

    def test_the_engines_own_names_go_through(self):
        assert VLLM(model="m", engine={"block_size": 32}).engine == {"block_size": 32}

    def test_it_is_free_and_code_of_others_is_not_run_unasked(self):
        backend = VLLM(model="m")
        assert backend.price() == et.FREE
        assert backend.trust_remote_code is False
        assert backend.prefix_cache_hit_rate == 0

    def test_the_command_shows_them_without_vllm(self):
        code = "import sys; sys.modules['vllm'] = None; from evolteacher.cli import main; sys.exit(main())"
        shown = subprocess.run(
            [sys.executable, "-c", code, "plugins", "show", "vllm"],
            capture_output=True,
            text=True,
            env={**os.environ, "COLUMNS": "200"},
        )
        assert shown.returncode == 0, shown.stderr
        for name in VLLM.model_fields:
            assert name in shown.stdout

    def test_the_guide_names_them_all(self):
        page = (Path(__file__).parents[2] / "docs" / "vllm.md").read_text(encoding="utf-8")
        assert [name for name in VLLM.model_fields if f"`{name}`" not in page] == []
        assert len(VLLM.model_fields) > 20


class TestIdentity:
    def test_it_follows_what_changes_answers_and_not_what_is_free(self):
        before = VLLM(model="m").identity()
        free = {
            "tensor_parallel_size": 2, "pipeline_parallel_size": 2, "data_parallel_size": 2, "cpu_offload_gb": 1.0,
            "gpu_memory_utilization": 0.5, "kv_cache_memory_bytes": 9, "max_num_seqs": 3, "enforce_eager": True,
            "max_num_batched_tokens": 99, "enable_prefix_caching": False, "download_dir": "d", "timeout": 1.0,
            "log": "l",
        }  # fmt: skip
        assert set(free) == VLLM.free_options()
        for name, value in free.items():
            assert VLLM(model="m", **{name: value}).identity() == before, name
        changed = {
            "model": "n", "revision": "r", "tokenizer": "t", "lora": "l", "dtype": "float16", "quantization": "awq",
            "kv_cache_dtype": "fp8", "max_model_len": 9, "form": "chat", "chat_template": "{{ x }}",
            "template_options": {"a": 1}, "trust_remote_code": True, "engine": {"block_size": 32},
        }  # fmt: skip
        assert set(changed) | set(free) == set(VLLM.model_fields)
        for name, value in changed.items():
            assert VLLM(**{"model": "m", name: value}).identity() != before, name

    @pytest.mark.parametrize("option", ["model", "lora"])
    def test_it_follows_a_folders_files(self, option, tmp_path):
        folder = tmp_path / "checkpoint"
        folder.mkdir()
        weights = folder / "model.safetensors"
        weights.write_bytes(bytes(300_000))
        backend = VLLM(**{"model": "m", option: str(folder)})
        seen = {backend.identity()}
        for place in (0, 150_000, 299_999):
            data = bytearray(weights.read_bytes())
            data[place] = 1
            weights.write_bytes(data)
            seen.add(backend.identity())
        (folder / "notes.md").write_text("no part of a checkpoint")
        seen.add(backend.identity())
        assert len(seen) == 4

    def test_it_follows_the_templates_text_wherever_the_file_is(self, tmp_path):
        (tmp_path / "a.jinja").write_text("{{ messages }}")
        backend = VLLM(model="m", chat_template=str(tmp_path / "a.jinja"))
        before = backend.identity()
        (tmp_path / "a.jinja").write_text("{{ messages }}!")
        assert backend.identity() != before
        (tmp_path / "a.jinja").unlink()
        with pytest.raises(errors.UsageError, match="no Jinja text, and no file that can be read"):
            backend.identity()


class TestBeforeAnythingIsLoaded:
    def test_without_the_package(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "vllm", None)  # Python's own way to say that a module is not there
        error = open_fails(VLLM(model="no/matter"))
        assert isinstance(error, errors.MissingExtra)
        assert "backend 'vllm' needs the extra 'vllm'" in str(error)

    def test_a_folder_that_is_no_checkpoint(self, tmp_path):
        error = open_fails(VLLM(model=str(tmp_path)))
        assert isinstance(error, errors.NoSuchModel)
        assert "holds no config.json" in str(error) and "save_pretrained" in str(error)
        (tmp_path / "adapter_config.json").write_text("{}")
        assert "holds a LoRA adapter: give it as lora" in str(open_fails(VLLM(model=str(tmp_path))))

    def test_a_template_that_is_no_file(self, tmp_path):
        assert isinstance(open_fails(VLLM(model="m", chat_template=str(tmp_path / "no.jinja"))), errors.UsageError)
        assert read_template("a {% if x %}{% endif %}") == "a {% if x %}{% endif %}"
        assert read_template(None) is None

    def test_not_open(self):
        with pytest.raises(errors.FatalError, match="not open"):
            asyncio.run(VLLM(model="m").complete(et.Request((et.Message("user", "x"),))))

    def test_closing_what_was_never_open(self):
        asyncio.run(VLLM(model="m").close())


class TestAdapter:
    def write(self, folder, **settings):
        (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", **settings}))
        return folder

    @given(rank=st.integers(1, RANKS[-1]), other=st.integers(1, RANKS[-1]))
    def test_the_least_rank_that_it_fits_into(self, rank, other, tmp_path_factory):
        folder = self.write(tmp_path_factory.mktemp("adapter"), r=rank, rank_pattern={"q_proj": other})
        most = max(rank, other)
        fits = read_adapter(folder).max_rank
        assert fits in RANKS and fits >= most
        assert not [each for each in RANKS if most <= each < fits]

    @pytest.mark.parametrize(
        ("settings", "kind", "words"),
        [
            ({"r": 1000}, errors.FatalError, "has rank 1000, and vLLM serves up to 512: merge it"),
            ({"r": 8, "peft_type": "IA3"}, errors.FatalError, "of type IA3, and vLLM serves LoRA only"),
            ({}, errors.NoSuchModel, "cannot be read: KeyError: 'r'"),
            ({"r": "eight"}, errors.NoSuchModel, "cannot be read"),
        ],
    )
    def test_what_cannot_be_served(self, settings, kind, words, tmp_path):
        with pytest.raises(kind, match=words):
            read_adapter(self.write(tmp_path, **settings))

    def test_a_folder_that_holds_none(self, tmp_path):
        with pytest.raises(errors.NoSuchModel, match=r"holds no adapter_config\.json"):
            read_adapter(tmp_path)
        (tmp_path / "adapter_config.json").write_text("[1")
        with pytest.raises(errors.NoSuchModel, match="cannot be read"):
            read_adapter(tmp_path)

    def test_neither_a_folder_nor_a_name(self, monkeypatch):
        constants = pytest.importorskip("huggingface_hub.constants", reason="the extra 'transformers' is not installed")
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        with pytest.raises(errors.NoSuchModel, match="neither a folder nor an adapter on the hub"):
            find_adapter("no-such-owner/no-such-adapter")


CHAT = "{% for m in messages %}<{{ m.role }}>{{ m.content }}<end>{% endfor %}<assistant>{{ extra }}"


@pytest.fixture(scope="module")
def tokenizers():
    """A tokenizer of single bytes with a chat template, and one without."""
    transformers = pytest.importorskip("transformers", reason="the extra 'transformers' is not installed")
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: n for n, token in enumerate(["<end>", "<user>", "<assistant>", *letters])}
    made = Tokenizer(models.BPE(vocabulary, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(["<end>", "<user>", "<assistant>"])
    found = {}
    for name, template in (("chat", CHAT), ("base", None)):
        found[name] = transformers.PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<end>")
        found[name].chat_template = template
    return found


class TestPrompts:
    MESSAGES = (et.Message("user", "Sort {{ x }} %s {% raw %}"),)

    def written(self, tokenizer, form="auto", template=None, messages=MESSAGES, **options):
        writer = PromptWriter(tokenizer, form, template, options)
        return tokenizer.decode(writer.tokens(messages)), writer.stop

    def test_the_tokenizers_own_template(self, tokenizers):
        assert self.written(tokenizers["chat"]) == ("<user>Sort {{ x }} %s {% raw %}<end><assistant>", ())
        assert self.written(tokenizers["chat"], extra="think")[0].endswith("<assistant>think")

    def test_another_template(self, tokenizers):
        for name in ("chat", "base"):
            assert self.written(tokenizers[name], template="{{ messages[0].content }}!") == (
                "Sort {{ x }} %s {% raw %}!",
                (),
            )

    def test_alpaca_where_there_is_none_or_where_it_is_asked_for(self, tokenizers):
        for name, form in (("base", "auto"), ("base", "alpaca"), ("chat", "alpaca")):
            text, stop = self.written(tokenizers[name], form)
            assert text.startswith("Below is an instruction")
            assert text.endswith("### Instruction:\nSort {{ x }} %s {% raw %}\n\n### Response:")
            assert stop == ("\n### Instruction:\n",)

    def test_chat_without_a_template(self, tokenizers):
        with pytest.raises(errors.FatalError, match="no chat template: set form: alpaca, or give a chat_template"):
            self.written(tokenizers["base"], "chat")

    def test_a_template_that_takes_no_such_messages(self, tokenizers):
        template = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}x"
        assert self.written(tokenizers["chat"], template=template)[0] == "x"
        with pytest.raises(errors.BadReply, match="does not take such messages: TemplateError: no system role"):
            self.written(tokenizers["chat"], template=template, messages=(et.Message("system", "s"), *self.MESSAGES))

    def test_a_template_that_dislikes_the_question_is_one_all_the_same(self, tokenizers):
        picky = "{% if messages[0].content == '?' %}{{ raise_exception('what?') }}{% endif %}{{ messages[0].content }}"
        assert self.written(tokenizers["base"], template=picky)[1] == ()


class TestSeeds:
    @given(seed=st.integers(), prompt=st.lists(st.integers(0, 200_000)))
    def test_a_seed_that_torch_takes_and_that_repeats_itself(self, seed, prompt):
        assert 0 <= seed_of(seed, prompt) < 2**63
        assert seed_of(seed, prompt) == seed_of(seed, list(prompt))

    def test_each_prompt_draws_by_numbers_of_its_own(self):
        assert len({seed_of(seed, prompt) for seed in (1, 2) for prompt in ([1], [2], [1, 2])}) == 6


class Handler(logging.StreamHandler):
    """Writes to the terminal, as vLLM's does."""


@pytest.fixture
def vllm_on_the_terminal():
    logger, handler = logging.getLogger("vllm"), Handler(sys.stdout)
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


class TestLog:
    def handlers(self):
        return logging.getLogger("vllm").handlers

    def test_the_terminal_comes_back_with_the_last_log(self, vllm_on_the_terminal):
        first, second = EngineLog(None), EngineLog(None)
        assert vllm_on_the_terminal not in self.handlers()
        first.close()
        first.close()
        assert vllm_on_the_terminal not in self.handlers()
        second.close()
        assert self.handlers() == [vllm_on_the_terminal]

    def test_what_is_logged_goes_into_the_file_which_goes_away(self):
        log = EngineLog(None)
        logging.getLogger("vllm.engine").error("a word")
        assert log.path.read_text() == "a word\n"
        log.close()
        assert not log.path.exists() and not log.path.parent.exists()

    def test_one_that_an_error_names_is_kept(self):
        log = EngineLog(None)
        log.keep()
        log.close()
        assert [path.name for path in log.path.parent.iterdir()] == ["vllm.log"]
        log.path.unlink()
        log.path.parent.rmdir()

    def test_a_given_file_is_kept_and_added_to(self, tmp_path):
        path = tmp_path / "new" / "vllm.log"
        for word in ("one", "two"):
            log = EngineLog(str(path))
            logging.getLogger("vllm").error(word)
            log.close()
        assert path.read_text() == "one\ntwo\n"
        (tmp_path / "file").touch()
        error = open_fails_for_log(tmp_path / "file" / "vllm.log")
        assert "log: " in str(error) and "give another path" in str(error)

    def test_its_settings_are_what_python_takes(self):
        log = EngineLog(None)
        environment = log.environment()
        code = (
            "import json, logging.config, os\n"
            "logging.config.dictConfig(json.load(open(os.environ['VLLM_LOGGING_CONFIG_PATH'])))\n"
            "logging.getLogger('vllm.x').info('info')\nlogging.getLogger('transformers').info('chatter')"
        )
        done = subprocess.run([sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
        text = log.path.read_text()
        log.close()
        assert text.endswith("MainProcess INFO vllm.x: info\n") and "chatter" not in text

    @pytest.mark.parametrize(
        ("text", "cause"),
        [
            ("", ""),
            ("INFO all is well\n", ""),
            ("Traceback (most recent call last):\n  File x\nValueError: too big\n", "ValueError: too big"),
            ("torch.OutOfMemoryError: CUDA out of memory\n", "OutOfMemoryError: CUDA out of memory"),
            (
                "ValueError: the root\nRuntimeError: Engine core initialization failed. See root cause above.\n"
                "Exception: WorkerProc initialization failed due to an exception in a background process.\n",
                "ValueError: the root",
            ),
            ("KeyError: 'first'\nline\nRuntimeError: last\n", "RuntimeError: last"),
        ],
    )
    def test_the_cause_of_a_failure(self, text, cause, tmp_path):
        path = tmp_path / "vllm.log"
        path.write_text("OSError: of an earlier run\n")
        log = EngineLog(str(path))
        with path.open("a") as file:
            file.write(text)
        assert log.cause() == cause
        path.unlink()
        assert log.cause() == ""
        log.close()


def open_fails_for_log(path):
    with pytest.raises(errors.FatalError) as caught:
        VLLM(model="m", log=str(path))._make_log()
    return caught.value


class Typed(BaseModel):
    block_size: int


def invalid():
    try:
        Typed(block_size="many")
    except ValidationError as error:
        return error


@pytest.fixture
def engine(tmp_path):
    engine = EngineProcess(EngineLog(str(tmp_path / "vllm.log")))
    yield engine
    engine.log.close()


FATAL = errors.FatalError
CORE = "Engine core initialization failed. See root cause above. Failed core proc(s): "


class TestFaults:
    @pytest.mark.parametrize(
        ("error", "log", "kind", "words"),
        [
            (RuntimeError(CORE + "{}"), "ValueError: Free memory on device cuda:0 (1/80 GiB) is less than", FATAL,
             "does not fit into the memory: leave it more"),
            (RuntimeError(CORE + "{}"), "torch.OutOfMemoryError: CUDA out of memory.", FATAL, "let it need less"),
            (RuntimeError(CORE + "{'EngineCore': -9}"), "", FATAL, "killed with signal 9"),
            (RuntimeError(CORE + "{'EngineCore': 1}"), "", FATAL, "exit code 1"),
            (ValueError("World size (8) is larger than the number of available GPUs (1)"), "", FATAL,
             "tensor_parallel_size, pipeline_parallel_size or data_parallel_size does not fit"),
            (RuntimeError("Failed to infer device type, please set X"), "", FATAL, "finds no device"),
            (ImportError("libcudart.so.13: cannot open shared object file"), "", FATAL, "cannot be imported"),
            (OSError("x is not a local folder and is not a valid model identifier"), "", errors.NoSuchModel, "give a"),
            (OSError("You are trying to access a gated repo."), "", errors.NotAuthorised, "accept its licence"),
            (ValueError("Please pass the argument `trust_remote_code=True`"), "", FATAL, "read it, then set"),
            (invalid(), "", FATAL, "block_size: Input should be a valid integer"),
            (ValueError("something else"), "", FATAL, "with these options. vLLM says: something else"),
            (errors.NoSuchModel("as it is"), "", errors.NoSuchModel, "^as it is$"),
        ],
    )  # fmt: skip
    def test_a_start(self, error, log, kind, words, engine):
        engine.log.path.write_text(f"{log}\n")
        explained = explain_start(error, "owner/model", engine)
        assert type(explained) is kind
        with pytest.raises(kind, match=words):
            raise explained
        if explained is not error and not isinstance(error, ImportError):
            assert "'owner/model'" in str(explained) and str(engine.log.path) in str(explained)

    def test_a_death(self, engine):
        silent = str(explain_death("m", engine))
        assert "the engine that serves 'm' has died." in silent and "memory ran out" not in silent
        engine.log.path.write_text("torch.OutOfMemoryError: CUDA out of memory\n")
        told = str(explain_death("m", engine))
        assert "The last error in its log: OutOfMemoryError: CUDA out of memory." in told and "memory ran out" in told
        assert "run the same command again" in told and str(engine.log.path) in told


PARENT = """
import multiprocessing, shlex, subprocess, sys, time
from evolteacher_backends.vllm_engine import child
from evolteacher_backends.vllm_engine.process import interrupts_kept_off, main_module, variables
print("ran", flush=True)
with variables({child.LOG_VARIABLE: sys.argv[1]}), main_module(child.__name__), interrupts_kept_off():
    process = multiprocessing.get_context("spawn").Process(target=subprocess.call, args=(shlex.split(sys.argv[2]),))
    process.start()
print(process.pid, flush=True)
process.join() if sys.argv[3] == "join" else time.sleep(60)
"""


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


class TestProcesses:
    def script(self, tmp_path):
        """A script without ``if __name__ == "__main__"``."""
        path = tmp_path / "script.py"
        path.write_text(textwrap.dedent(PARENT))
        return path

    def test_a_script_without_a_guard_runs_once_and_the_childs_words_go_to_the_log(self, tmp_path):
        command = "sh -c 'echo out; echo err >&2'"
        log = tmp_path / "log"
        done = subprocess.run(
            [sys.executable, str(self.script(tmp_path)), str(log), command, "join"], capture_output=True, text=True
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.count("ran") == 1 and "out" not in done.stdout
        assert log.read_text() == "out\nerr\n"

    @pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc")
    def test_it_ends_with_its_parent_even_where_that_is_killed(self, tmp_path):
        parent = subprocess.Popen(
            [sys.executable, str(self.script(tmp_path)), str(tmp_path / "log"), "sleep 60", "stay"],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert parent.stdout.readline() == "ran\n"
        pid = int(parent.stdout.readline())
        time.sleep(0.5)
        assert alive(pid)
        parent.kill()
        parent.wait()
        parent.stdout.close()
        ends = time.monotonic() + 30
        while alive(pid) and time.monotonic() < ends:
            time.sleep(0.05)
        assert not alive(pid)

    @pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc")
    def test_interrupts_do_not_reach_what_multiprocessing_starts_either(self, tmp_path):
        """Its resource tracker, which comes with the first process that it starts, unblocks them."""
        log = tmp_path / "log"
        command = [sys.executable, str(self.script(tmp_path)), str(log), "grep SigBlk /proc/self/status", "join"]
        subprocess.run(command, check=True, capture_output=True)
        assert int(log.read_text().split()[1], 16) & 1 << signal.SIGINT - 1

    def test_interrupts_do_not_reach_what_a_thread_starts_and_do_reach_the_rest(self):
        code = "import signal; print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))"
        seen = {}

        def start():
            with interrupts_kept_off():
                seen["inside"] = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
            seen["after"] = signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])

        thread = threading.Thread(target=start)
        thread.start()
        here = signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])
        thread.join()
        assert (seen, here) == ({"inside": "True\n", "after": False}, False)

    def test_the_main_module_and_variables_come_back(self, monkeypatch):
        monkeypatch.setenv("ONE_OF_TWO", "before")
        before = sys.modules["__main__"].__spec__
        with pytest.raises(KeyError), main_module("some.name"), variables({"ONE_OF_TWO": "x", "TWO_OF_TWO": "y"}):
            assert sys.modules["__main__"].__spec__.name == "some.name"
            assert (os.environ["ONE_OF_TWO"], os.environ["TWO_OF_TWO"]) == ("x", "y")
            raise KeyError
        assert sys.modules["__main__"].__spec__ is before
        assert os.environ["ONE_OF_TWO"] == "before" and "TWO_OF_TWO" not in os.environ
