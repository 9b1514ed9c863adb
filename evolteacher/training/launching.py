"""Several processes: `accelerate launch` with a configuration that ships, or one of the user's."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from evolteacher.errors import UsageError, did_you_mean
from evolteacher.shipped import shipped_folder

FOLDER = "accelerate"
"""Beside the shipped recipes."""


def launch_command(name: str, processes: int | None, words: Sequence[str]) -> list[str]:
    """Return the command that starts a training in several processes.

    Args:
        name: of a configuration that ships (ddp, fsdp, zero2, zero3), or a file that `accelerate config` wrote.
        processes: how many; None leaves it to the configuration, else one a GPU.
        words: evolteacher's own command, without the program.

    Raises:
        UsageError: there is no such configuration.
    """
    config = configuration(name)
    number = processes if processes is not None else _gpus()
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(config)]
    return [*launcher, "--num_processes", str(number), "-m", "evolteacher", *words]


def configuration(name: str) -> Path:
    """Return the file of a configuration; see :func:`launch_command`."""
    folder = shipped_folder() / FOLDER
    known = {path.stem: path for path in sorted(folder.glob("*.yaml"))}
    if name in known:
        return known[name]
    path = Path(name).expanduser()
    if path.is_file():
        return path
    raise UsageError(f"--launch {name}: no configuration is called so, and no file.{did_you_mean(name, known)}")


def _gpus() -> int:
    """Return the number of GPUs, one where there is none."""
    import torch

    return max(1, int(torch.cuda.device_count()))
