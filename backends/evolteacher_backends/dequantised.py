"""A GGUF file made into a checkpoint folder, which can be trained and loaded by everything that reads checkpoints."""

from __future__ import annotations

import shutil
from pathlib import Path

from evolteacher.errors import FatalError, MissingExtra, RunError, UsageError
from evolteacher_backends.quiet import quiet


def make_checkpoint(file: Path, out: Path) -> None:
    """Write the weights of a GGUF file, dequantised to float32, with tokenizer and chat template, as a checkpoint.

    transformers reads GGUF and refuses to save what it read. So the model is built a second time from the configuration
    without the note that it was quantised, is given the weights, and saved.

    Args:
        file: the GGUF file.
        out: a folder that is not there, or is empty. It appears only when it is whole.

    Raises:
        UsageError: ``out`` is taken.
        MissingExtra: transformers, torch or gguf is not installed.
        FatalError: the file holds no model that transformers knows.
        RunError: the folder cannot be written.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out}: this exists already, and nothing is overwritten; name another folder")
    try:
        import gguf  # noqa: F401  # transformers reads the file by it
        import torch  # noqa: F401
        import transformers
    except ModuleNotFoundError as error:
        if error.name not in ("gguf", "torch", "transformers"):
            raise
        raise MissingExtra("a checkpoint", "transformers") from None
    draft = out.with_name(f".{out.name}.tmp")
    try:
        with quiet():
            folder, name = str(file.parent), file.name
            model = transformers.AutoModelForCausalLM.from_pretrained(folder, gguf_file=name)
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, gguf_file=name)
            config = model.config
            del config.quantization_config
            plain = transformers.AutoModelForCausalLM.from_config(config)
            plain.load_state_dict(model.state_dict())
            shutil.rmtree(draft, ignore_errors=True)
            plain.save_pretrained(str(draft))
            tokenizer.save_pretrained(str(draft))
        if out.exists():
            out.rmdir()
        draft.rename(out)
    except (ValueError, KeyError, RuntimeError, NotImplementedError) as error:
        text = " ".join(str(error).split())[:300]
        raise FatalError(
            f"{file}: holds no model that transformers can read ({type(error).__name__}: {text})"
        ) from error
    except OSError as error:
        raise RunError(f"{out}: cannot be written: {error.strerror or error}") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
