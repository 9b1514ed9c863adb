"""How many slots, how long, on how many threads: from what is asked for, the model, and the machine."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from evolteacher import Workload
from evolteacher.errors import FatalError, NoSuchModel
from evolteacher_backends.llamacpp.header import GgufHeader, NotGguf, read_header

PROMPT_TOKENS = 1024
"""Room in a slot for what surrounds an instruction: the operator's or judge's words and the chat template."""

LEAST_PROMPT_TOKENS = 64
"""A slot without this room beside ``max_tokens`` could answer nothing."""

_FEWEST_SLOTS, _MOST_SLOTS = 8, 32
_MEMORY_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Settings:
    """How a server is started.

    Attributes:
        path: the GGUF file.
        alias: the model's name in answers.
        slots: requests answered at once.
        slot_tokens: context of one slot: prompt and answer together.
        threads: compute threads; None leaves the number to llama.cpp (one a physical core).
    """

    path: Path
    alias: str
    slots: int
    slot_tokens: int
    threads: int | None


def size(
    name: str,
    path: Path,
    workload: Workload,
    *,
    slots: int | None = None,
    threads: int | None = None,
    context: int | None = None,
) -> Settings:
    """Choose what the user left open.

    A slot holds ``max_tokens``, the words around an instruction, and one token for each character of the longest seed:
    three to four times what it takes, since evolved instructions grow. There are eight slots, two a core on larger
    machines (measured: llama.cpp's batches gain nothing beyond eight on two cores), never more than the calls in
    flight, nor than half of the free memory holds.

    Raises:
        NoSuchModel: the file is not there, or is no GGUF file.
        FatalError: the model has no room for a prompt beside ``max_tokens``.
    """
    header = _header(path)
    wanted = context or workload.max_tokens + PROMPT_TOKENS + workload.longest_text
    slot_tokens = _rounded(wanted)
    if header.context_length is not None:
        slot_tokens = min(slot_tokens, header.context_length)
    if slot_tokens < workload.max_tokens + LEAST_PROMPT_TOKENS:
        raise FatalError(
            f"{name}: a slot of {slot_tokens:,} tokens has no room for a prompt beside an answer of "
            f"{workload.max_tokens:,}: set sampling.max_tokens to {slot_tokens // 2:,} or less"
            + (", or the option context higher" if slot_tokens != header.context_length else "")
        )
    if slots is None:
        slots = min(workload.concurrency, max(_FEWEST_SLOTS, min(2 * usable_cores(), _MOST_SLOTS)))
        free = free_memory()
        if header.cache_bytes_per_token and free is not None:
            room = int(_MEMORY_SHARE * free - path.stat().st_size)
            slots = min(slots, room // (slot_tokens * header.cache_bytes_per_token))
    return Settings(path, name, max(slots, 1), slot_tokens, threads or _threads())


def _header(path: Path) -> GgufHeader:
    try:
        return read_header(path)
    except FileNotFoundError:
        raise NoSuchModel(f"{path.absolute()}: there is no such file: check the option model") from None
    except NotGguf as error:
        raise NoSuchModel(f"{path}: this is no GGUF model: {error}. Take a file that ends in .gguf") from error
    except OSError as error:
        raise NoSuchModel(f"{path}: cannot be read: {error.strerror or error}") from error


def _rounded(tokens: int) -> int:
    return -(-tokens // 256) * 256  # llama.cpp pads a slot's context to this


def _threads() -> int | None:
    """Leave the number to llama.cpp, which counts physical cores, unless this process may use fewer than there are."""
    cores = usable_cores()
    return cores if cores < (os.cpu_count() or 1) else None


def usable_cores() -> int:
    """Return the cores that this process may use: affinity and the control group's quota both count."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, _, period = _read("/sys/fs/cgroup/cpu.max").partition(" ")
    if quota.isdigit() and period.strip().isdigit():
        cores = min(cores, max(1, int(quota) // int(period)))
    return cores


def free_memory() -> int | None:
    """Return the bytes that can be used without swapping; None where the system does not tell."""
    known = []
    for line in _read("/proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            known.append(int(line.split()[1]) * 1024)
    limit, used = _read("/sys/fs/cgroup/memory.max").strip(), _read("/sys/fs/cgroup/memory.current").strip()
    if limit.isdigit() and used.isdigit():
        known.append(int(limit) - int(used))
    if not known and "SC_PHYS_PAGES" in os.sysconf_names:
        known.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(known, default=None)


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return ""
