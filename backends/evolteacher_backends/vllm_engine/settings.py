"""The backend's options as the arguments of vLLM's engine."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import evolteacher as et
from evolteacher import errors
from evolteacher_backends.vllm_engine.adapter import Adapter

ON_A_CPU = 4 << 30
"""Bytes for the KV cache on a CPU, where vLLM itself takes nearly all of the machine's memory."""

MOST_AT_ONCE = 256
"""Up to this concurrency the engine is made for just so many; vLLM's own default for the device serves more."""

SET_BY = {
    "enable_lora": "lora",
    "max_lora_rank": "lora",
    "max_loras": "lora",
    "hf_token": "HF_TOKEN in the environment",
    "disable_log_stats": "the backend itself",
    "enable_log_requests": "the backend itself",
    "logging_config": "log",
    "log_config_file": "log",
    "log_level": "VLLM_LOGGING_LEVEL in the environment",
}
"""Arguments of the engine that a recipe may not hand through, and what sets them, beside the options of their name."""


def engine_arguments(
    options: Mapping[str, Any], further: Mapping[str, Any], workload: et.Workload, adapter: Adapter | None
) -> dict[str, Any]:
    """Return fields of ``AsyncEngineArgs``; imports vLLM.

    Args:
        options: the backend's, those of other names are left out.
        further: arguments that a recipe hands through.
        workload: what the engine is sized for.
        adapter: the LoRA adapter to be served.

    Raises:
        FatalError: this version of vLLM does not know one of the arguments.
    """
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.platforms import current_platform

    known = {field.name for field in dataclasses.fields(AsyncEngineArgs)}
    for name in further:
        if name not in known:
            hint = errors.did_you_mean(name, known)
            near = hint if hint.startswith(" Did") else " Its documentation lists them under engine arguments."
            raise errors.FatalError(f"backend 'vllm': engine: this version of vLLM has no argument '{name}'.{near}")
    arguments = {name: value for name, value in options.items() if name in known and value is not None}
    model = Path(arguments["model"]).expanduser()
    if model.is_dir():
        arguments["model"] = str(model)
    arguments.setdefault("max_model_len", -1)  # vLLM's word for: what the memory holds
    arguments["disable_log_stats"] = True
    if workload.concurrency <= MOST_AT_ONCE:
        arguments.setdefault("max_num_seqs", workload.concurrency)
    if adapter is not None:
        arguments |= {"enable_lora": True, "max_loras": 1, "max_lora_rank": adapter.max_rank}
    if current_platform.is_cpu() and "gpu_memory_utilization" not in arguments:
        arguments.setdefault("kv_cache_memory_bytes", ON_A_CPU)
    return arguments | dict(further)
