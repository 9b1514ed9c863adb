"""What each of vLLM's processes runs first, as the main module that multiprocessing gives it.

Its output goes to the log, since the terminal shows the run; and it ends when the process that started it is gone.
vLLM's engine core does not look after its parent: an evolteacher that was killed would leave it, and the GPU's memory,
behind.
"""

from __future__ import annotations

import os
import sys
import threading
import time

LOG_VARIABLE = "_EVOLTEACHER_VLLM_LOG"
"""Environment variable through which the log's path is handed to vLLM's processes."""

LOOK_EVERY = 0.5
"""Seconds between two looks at the parent."""


def log_to(path: str) -> None:
    """Send standard output and standard error, whoever writes to them, to the end of a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)


def end_with_parent() -> None:
    """End this process once its parent has ended, however that happened."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK_EVERY)
        os._exit(1)

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()


if __name__ == "__mp_main__":
    end_with_parent()
    if LOG_VARIABLE in os.environ:
        log_to(os.environ[LOG_VARIABLE])
