"""The model and its tokenizer, and errors that say what to do where they cannot be loaded."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from evolteacher.errors import FatalError, MissingExtra, NoSuchModel, NotAuthorised, RecipeError, RunError, UsageError
from evolteacher.trainsection import Train


def load_tokenizer(train: Train, *, fetch: bool = True) -> Any:
    """Load the tokenizer.

    Args:
        train: of which model.
        fetch: whether it may come from the hub; else it must be in a folder or in the hub's cache.

    Raises:
        MissingExtra: transformers is not installed.
        RecipeError: the folder that the recipe names is none, or holds no checkpoint.
        BackendError: there is none, or it cannot be used; see :func:`explained`.
    """
    with explained(train), quiet():
        from transformers import AutoTokenizer

        name, options = _where(train, fetch)
        return AutoTokenizer.from_pretrained(name, **options)


def bare_model(train: Train, *, fetch: bool = True) -> Any:
    """Return the model without its weights (on torch's meta device); all else is as of :func:`load_tokenizer`."""
    with explained(train), quiet():
        import torch
        from transformers import AutoConfig, AutoModelForCausalLM

        name, options = _where(train, fetch)
        config = AutoConfig.from_pretrained(name, **options)
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(config, trust_remote_code=options["trust_remote_code"])


def load_model(train: Train, *, accelerated: bool) -> Any:
    """Load the weights, in 4 bits for QLoRA; errors are those of :func:`load_tokenizer`.

    Args:
        train: which and how.
        accelerated: whether there is a GPU.
    """
    with explained(train), quiet():
        import torch
        from transformers import AutoModelForCausalLM

        name, options = _where(train, True)
        options.update(train.sft.get("model_init_kwargs") or {})
        options.setdefault("dtype", dtype_of(train, accelerated=accelerated))
        if train.method == "qlora":
            from accelerate import PartialState
            from transformers import BitsAndBytesConfig

            options["quantization_config"] = BitsAndBytesConfig(
                load_in_4bit=True,
                bnb_4bit_quant_type="nf4",
                bnb_4bit_use_double_quant=True,
                bnb_4bit_compute_dtype=torch.bfloat16,
            )
            options["device_map"] = {"": PartialState().local_process_index if accelerated else "cpu"}
        return AutoModelForCausalLM.from_pretrained(name, **options)


def dtype_of(train: Train, *, accelerated: bool) -> str:
    """Return the number format of the weights: what is tuned is kept in float32, what only stands below in bfloat16."""
    if train.dtype != "auto":
        return train.dtype
    return "float32" if train.method == "full" or not accelerated else "bfloat16"


def _where(train: Train, fetch: bool) -> tuple[str, dict[str, Any]]:
    options: dict[str, Any] = {"trust_remote_code": train.trust_remote_code is not None}
    if not fetch:
        options["local_files_only"] = True
    if train.revision is not None:
        options["revision"] = train.revision
    folder = Path(train.model).expanduser()
    if not folder.is_dir():
        if folder.exists() or train.model.startswith((".", "~", "/")):
            why = "this is a file, and a checkpoint is a folder" if folder.exists() else "there is no such folder"
            raise RecipeError(f"train.model: '{train.model}': {why}; give another, or a hub name")
        return train.model, options
    if not (folder / "config.json").is_file():
        raise RecipeError(
            f"train.model: folder '{train.model}' holds no config.json, so it is no checkpoint: give the one to which "
            "save_pretrained wrote"
        )
    return str(folder), {**options, "local_files_only": True}


@contextmanager
def explained(train: Train) -> Iterator[None]:
    """Turn what the loading of a checkpoint raises into an error that says what to do.

    Raises:
        MissingExtra: a package of the extra ``train`` is not installed.
        NotAuthorised: the hub wants a token or a licence accepted.
        NoSuchModel: no name that the hub knows (or that lies in its cache, when offline), or a folder without weights.
        FatalError: it brings code of its own and the recipe does not trust it, it does not fit into memory, or else.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name in ("torch", "transformers", "trl", "peft", "accelerate", "datasets"):
            raise MissingExtra("train", "train") from None
        raise FatalError(f"train.model: '{train.model}' needs a package that is not there: {error}") from error
    except ImportError as error:
        if "bitsandbytes" in str(error):
            raise MissingExtra("train.method: qlora", "qlora") from None
        raise FatalError(f"train.model: '{train.model}' needs a package that is not there: {_short(error)}") from error
    except (OSError, ValueError, RuntimeError, MemoryError) as error:
        raise _explain(train, error) from error


def _explain(train: Train, error: Exception) -> Exception:
    where, short = f"train.model: '{train.model}'", _short(error)
    if "trust_remote_code" in short:
        return FatalError(
            f"{where} brings Python code of its own, which would be run: read it, and where it is fine write "
            "trust_remote_code: with the reason, and the revision that you read"
        )
    if "gated repo" in short or "GatedRepo" in type(error).__name__:
        return NotAuthorised(
            f"{where} is gated: accept its licence on the hub and set HF_TOKEN, or give a copy's folder"
        )
    if isinstance(error, MemoryError) or "out of memory" in short.lower():
        return FatalError(f"{where} does not fit into memory: try method: lora or qlora, or a smaller model")
    if isinstance(error, OSError):
        return NoSuchModel(
            f"{where} cannot be loaded: give a folder that holds config.json, tokenizer and weights, or a name on the "
            "hub (which must be reachable, or have been fetched before; `evolteacher models checkpoint` makes a small "
            f"one without it). transformers says: {short}"
        )
    return FatalError(f"{where} cannot be loaded: {type(error).__name__}: {short}")


def _short(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else f"{text[:300]}…"


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the bars and remarks of transformers, datasets and torch off the terminal, where evolteacher shows its own.

    Their errors are raised all the same.
    """
    import datasets
    from transformers.utils import logging

    bars, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    shown = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
        if not shown:
            datasets.enable_progress_bars()


@contextmanager
def broken_down() -> Iterator[None]:
    """Say what to do where the trainer itself breaks down, as for want of memory.

    Raises:
        FatalError: memory ran out.
        RunError: the trainer refuses what it was given, or a disk is full.
    """
    try:
        yield
    except (ValueError, RuntimeError, OSError, MemoryError) as error:
        short = _short(error)
        if isinstance(error, MemoryError) or "out of memory" in short.lower() or "can't allocate" in short.lower():
            raise FatalError(
                "memory ran out while training: lower sft.per_device_train_batch_size (and raise "
                "gradient_accumulation_steps by as much) or sft.max_length, or take method: lora or qlora"
            ) from error
        if "nn.DataParallel" in short:
            raise UsageError(
                "several GPUs are visible to one process: start one for each (evolteacher train RECIPE --launch ddp), "
                "or show it one alone (CUDA_VISIBLE_DEVICES=0)"
            ) from None
        raise RunError(f"the training cannot be carried out: {type(error).__name__}: {short}") from error
