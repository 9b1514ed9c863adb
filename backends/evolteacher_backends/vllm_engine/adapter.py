"""LoRA adapters, as peft saves them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from evolteacher import errors

CONFIGURATION = "adapter_config.json"

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM's ``max_lora_rank`` may be (``vllm.config.lora.MaxLoRARanks``)."""


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter on disk.

    Attributes:
        folder: where it is.
        max_rank: the least ``max_lora_rank`` that it fits into.
    """

    folder: Path
    max_rank: int


def find_adapter(name: str) -> Path:
    """Return the folder of an adapter: itself, or what the hub has under this name.

    Raises:
        NoSuchModel: there is neither.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name))
    except Exception as error:
        short = " ".join(str(error).split())[:200]
        raise errors.NoSuchModel(
            f"backend 'vllm': lora: '{name}' is neither a folder nor an adapter on the hub (which must be reachable, "
            f"or have been asked before): {short}"
        ) from error


def read_adapter(folder: Path) -> Adapter:
    """Read what vLLM must know of an adapter before it loads the model.

    Raises:
        NoSuchModel: the folder holds none.
        FatalError: it is of a kind that vLLM does not serve.
    """
    path = folder / CONFIGURATION
    where = f"backend 'vllm': lora: '{folder}'"
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        rank = max([settings["r"], *(settings.get("rank_pattern") or {}).values()])
        max_rank = next((each for each in RANKS if each >= rank), None)
    except FileNotFoundError:
        raise errors.NoSuchModel(
            f"{where} holds no {CONFIGURATION}, so it is no adapter: give the folder to which peft saved it, and a "
            "whole checkpoint as model"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise errors.NoSuchModel(f"{where}: {CONFIGURATION} cannot be read: {type(error).__name__}: {error}") from None
    kind = settings.get("peft_type", "LORA")
    if kind != "LORA":
        raise errors.FatalError(f"{where} is an adapter of type {kind}, and vLLM serves LoRA only: merge it first")
    if max_rank is None:
        raise errors.FatalError(f"{where} has rank {rank}, and vLLM serves up to {RANKS[-1]}: merge it first")
    return Adapter(folder, max_rank)
