"""vLLM's own messages: into a file, and off the terminal, which shows the run."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path
from threading import Lock
from typing import Any

from evolteacher_backends.vllm_engine.child import LOG_VARIABLE

LOGGERS = ("vllm", "transformers")

_READ_BACK = 200_000
"""Bytes at the log's end in which the cause of a failure is looked for."""

_RAISED = re.compile(r"^(?:[A-Za-z_]\w*\.)*([A-Z]\w*(?:Error|Exception)): *(.+)$", re.MULTILINE)
"""The last line of a traceback."""

_REMARK = re.compile(
    r"core initialization failed|initialization failed due to an exception|encountered an issue", re.IGNORECASE
)
"""Errors by which vLLM only says that there was another."""


class EngineLog:
    """The file that all processes of one engine write to.

    Attributes:
        path: where it is.

    Args:
        path: where to keep it; None makes a temporary one, which goes away unless :meth:`keep` was called.

    Raises:
        OSError: it cannot be made.
    """

    def __init__(self, path: str | None) -> None:
        if path is not None:
            self.path = Path(path).expanduser().absolute()
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.touch()
        self._folder = Path(tempfile.mkdtemp(prefix="evolteacher-vllm-"))
        if path is None:
            self.path = self._folder / "vllm.log"
            self.path.touch()
        self._begin = self.path.stat().st_size
        self._settings = self._folder / "logging.json"
        self._settings.write_text(json.dumps(self._configuration()), encoding="utf-8")
        self._kept = self._closed = False
        _terminal.begin()
        _terminal.mute()
        # vLLM's import says things before it reads its settings, which then take this handler's place.
        logging.getLogger("vllm").addHandler(logging.FileHandler(self.path, encoding="utf-8"))

    def environment(self) -> dict[str, str]:
        """Return the variables that have vLLM and its processes write to the file."""
        return {
            "VLLM_CONFIGURE_LOGGING": "1",
            "VLLM_LOGGING_CONFIG_PATH": str(self._settings),
            LOG_VARIABLE: str(self.path),
        }

    def _configuration(self) -> dict[str, Any]:
        """Write it as ``logging.config.dictConfig`` takes it."""
        levels = {"vllm": os.environ.get("VLLM_LOGGING_LEVEL", "INFO").upper(), "transformers": "WARNING"}
        file = {"class": "logging.FileHandler", "filename": str(self.path), "encoding": "utf-8", "formatter": "line"}
        return {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"line": {"format": "%(asctime)s %(processName)s %(levelname)s %(name)s: %(message)s"}},
            "handlers": {"file": file},
            "loggers": {name: {"handlers": ["file"], "level": levels[name], "propagate": False} for name in LOGGERS},
        }

    def mute(self) -> None:
        """Take handlers off that write to the terminal: an import may have added some."""
        _terminal.mute()

    def cause(self) -> str:
        """Return the error that stands last in the log, other than vLLM's remarks on it; empty where there is none."""
        try:
            with self.path.open("rb") as file:
                file.seek(max(self._begin, self.path.stat().st_size - _READ_BACK))
                text = file.read().decode("utf-8", "replace")
        except OSError:
            return ""
        found = [f"{kind}: {words}" for kind, words in _RAISED.findall(text) if not _REMARK.search(words)]
        return found[-1] if found else ""

    def keep(self) -> None:
        """Leave the file where it is, since an error names it."""
        self._kept = True

    def close(self) -> None:
        """Give the terminal back and remove what is temporary; safe to call twice."""
        if self._closed:
            return
        self._closed = True
        for logger in map(logging.getLogger, LOGGERS):
            for handler in list(logger.handlers):
                if isinstance(handler, logging.FileHandler) and Path(handler.baseFilename) == self.path:
                    logger.removeHandler(handler)
                    handler.close()
        self._settings.unlink(missing_ok=True)
        if not (self._kept and self.path.parent == self._folder):
            shutil.rmtree(self._folder, ignore_errors=True)
        _terminal.end()


class _Terminal:
    """Counts the open logs of this process; the loggers' terminal handlers come back when the last one is closed."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._logs = 0
        self._taken: list[tuple[logging.Logger, logging.Handler]] = []

    def begin(self) -> None:
        with self._lock:
            self._logs += 1

    def mute(self) -> None:
        streams = (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)
        with self._lock:
            for logger in map(logging.getLogger, LOGGERS):
                for handler in list(logger.handlers):
                    if getattr(handler, "stream", None) in streams:
                        logger.removeHandler(handler)
                        self._taken.append((logger, handler))

    def end(self) -> None:
        with self._lock:
            self._logs -= 1
            if not self._logs:
                for logger, handler in self._taken:
                    logger.addHandler(handler)
                self._taken.clear()


_terminal = _Terminal()
