"""What vLLM's failures mean, and what to do about each."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pydantic import ValidationError

from evolteacher import errors
from evolteacher_backends.vllm_engine.process import EngineProcess

_MEMORY = re.compile(
    r"out of memory|OutOfMemory|Free memory on device|available memory|not enough GPU memory|cannot allocate memory"
    r"|KV cache is needed|memory runs out",
    re.IGNORECASE,
)
_NO_DEVICE = re.compile(r"Failed to infer device type|no CUDA GPUs are available|Found no NVIDIA driver", re.IGNORECASE)
_PARALLEL = re.compile(r"World size|available GPUs|tensor.parallel.size|divisible by", re.IGNORECASE)
_REMOTE_CODE = re.compile(r"trust_remote_code|trust-remote-code", re.IGNORECASE)
_GATED = re.compile(r"gated repo|GatedRepo", re.IGNORECASE)
_NO_MODEL = re.compile(
    r"not a valid model identifier|Can't load the configuration|Invalid repository ID|Repo id must|Repository Not Found"
    r"|cannot find the (?:requested|appropriate) |does not appear to have|Cannot find any model weights|config_format"
    r"|Unrecognized model",
    re.IGNORECASE,
)
_NO_MODEL_KINDS = {"HFValidationError", "RepositoryNotFoundError", "LocalEntryNotFoundError", "RevisionNotFoundError"}

_EXIT_CODE = re.compile(r"'\w+': (-?\d+)")
"""In the words of vLLM's remark that a process of its own has ended."""

_LESS_MEMORY = (
    "leave it more (gpu_memory_utilization on a GPU, kv_cache_memory_bytes on a CPU, other programs ended), or let it "
    "need less (a smaller max_model_len or max_num_seqs, quantization, more GPUs through tensor_parallel_size)"
)


def explain_start(error: Exception, model: str, engine: EngineProcess) -> errors.EvolteacherError:
    """Turn what a start of the engine failed with into an error that says what to do.

    Args:
        error: what was raised in this process.
        model: what was to be loaded.
        engine: the engine, whose log tells what was raised in its own processes.
    """
    if isinstance(error, errors.EvolteacherError):
        return error
    where = f"backend 'vllm': '{model}'"
    text = _said(error, engine)
    kinds = {type(cause).__name__ for cause in _causes(error)}
    engine.log.keep()
    said = f"vLLM says: {text} (its log: {engine.log.path})"
    if isinstance(error, ImportError):
        return errors.FatalError(
            f"backend 'vllm': vllm is installed and cannot be imported: install the build for this machine, of version "
            f"0.31 or later (docs/vllm.md tells which). Python says: {text}"
        )
    if "GatedRepoError" in kinds or _GATED.search(text):
        return errors.NotAuthorised(
            f"{where} is gated: accept its licence on the hub and set HF_TOKEN, or give the folder of a copy. {said}"
        )
    if _REMOTE_CODE.search(text):
        return errors.FatalError(
            f"{where} brings Python code of its own, which would be run: read it, then set trust_remote_code: true. "
            + said
        )
    if _NO_DEVICE.search(text):
        return errors.FatalError(
            f"{where}: this build of vLLM finds no device that it can run on: check the driver (nvidia-smi), or "
            f"install the build for this machine (docs/vllm.md has the one for CPUs). {said}"
        )
    if _MEMORY.search(text):
        return errors.FatalError(f"{where} does not fit into the memory: {_LESS_MEMORY}. {said}")
    if kinds & _NO_MODEL_KINDS or _NO_MODEL.search(text):
        return errors.NoSuchModel(
            f"{where} cannot be loaded: give a folder that holds config.json, tokenizer and weights, or a name on the "
            f"hub (which must be reachable, or have been asked before). {said}"
        )
    if _PARALLEL.search(text):
        return errors.FatalError(
            f"{where}: tensor_parallel_size, pipeline_parallel_size or data_parallel_size does not fit the model or "
            f"the machine's devices. {said}"
        )
    return errors.FatalError(f"{where} cannot be served with these options. {said}")


def explain_death(model: str, engine: EngineProcess) -> errors.FatalError:
    """Say that the engine died while it answered, of what, and what to do."""
    engine.log.keep()
    cause, code = engine.log.cause(), engine.exit_code()
    how = f" ({_ended(code)})" if code is not None else ""
    memory = f" Where memory ran out, {_LESS_MEMORY}." if code == -9 or _MEMORY.search(cause) else ""
    last = f" The last error in its log: {shorten(cause)}." if cause else ""
    return errors.FatalError(
        f"backend 'vllm': the engine that serves '{model}' has died{how}.{last}{memory} Its log: {engine.log.path}. "
        "What was answered is stored: run the same command again to go on"
    )


def _said(error: Exception, engine: EngineProcess) -> str:
    """Return the words of an error, or of the one in the engine's processes that it came from."""
    if isinstance(error, ValidationError):
        told = ((".".join(map(str, each["loc"])), each["msg"]) for each in error.errors())
        return shorten("; ".join(f"{where}: {words}" if where else words for where, words in told))
    text = str(error) or type(error).__name__
    if "initialization failed" in text:
        code = _EXIT_CODE.search(text)
        text = engine.log.cause() or (f"its process ended: {_ended(int(code[1]))}" if code else text)
    return shorten(text)


def _ended(code: int) -> str:
    if code == -9:
        return "killed with signal 9, as the system does when memory runs out"
    if code == 0:
        return "it ended as if it had been asked to: does something send it signals?"
    return f"ended by signal {-code}" if code < 0 else f"exit code {code}"


def shorten(text: str) -> str:
    """Return a text on one line, and the beginning only of a long one."""
    words = " ".join(text.split()).rstrip(".")
    return words if len(words) <= 400 else f"{words[:400]}…"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
