"""The most memory that this process has held, and how to count it anew."""

from __future__ import annotations

import resource
import sys
from contextlib import suppress


def forget_peak() -> None:
    """Let the kernel count the peak anew, where it can (Linux); else a peak is the process's since it began."""
    with suppress(OSError), open("/proc/self/clear_refs", "w") as file:
        file.write("5")


def process_peak() -> int:
    """Return the most bytes that this process has held since :func:`forget_peak`.

    Linux's own counter comes first: ``getrusage`` also counts what a process held before it became this program.
    """
    with suppress(OSError, ValueError), open("/proc/self/status") as file:
        for line in file:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
