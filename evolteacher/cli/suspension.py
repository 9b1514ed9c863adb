"""Ctrl-Z while a display renews itself: it is taken away first, so that the shell gets its cursor and its line back."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self


class Suspension:
    """Takes the terminal's stop signal while the block lasts; elsewhere than in the main thread it does nothing.

    The thread that draws takes its display away and sends the signal anew, and only that one suspends the process.
    It stays the kernel's to decide: where no shell could continue the process, the signal is passed over.
    """

    def __init__(self) -> None:
        self._asked = False
        self._hidden = False
        self._old: Any = None

    def __enter__(self) -> Self:
        """Take the signal, unless someone has taken it or turned it off."""
        main = threading.current_thread() is threading.main_thread()
        if hasattr(signal, "SIGTSTP") and main and signal.getsignal(signal.SIGTSTP) == signal.SIG_DFL:
            self._old = signal.signal(signal.SIGTSTP, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the signal back."""
        if self._old is not None:
            signal.signal(signal.SIGTSTP, self._old)

    def look(self, hide: Callable[[], None]) -> bool:
        """Say whether nothing may be drawn now; called by the thread that draws, before it does.

        Args:
            hide: takes the display away.
        """
        if self._asked and not self._hidden:
            hide()
            self._hidden = True
            os.kill(os.getpid(), signal.SIGTSTP)
            return True
        return self._hidden

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._asked = True
        if not self._hidden:
            return
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)  # the process stands here until it is continued
        signal.signal(signal.SIGTSTP, self._on_signal)
        self._asked = self._hidden = False
