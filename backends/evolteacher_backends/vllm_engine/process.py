"""vLLM's engine in this process, and the processes that compute for it, from start to end."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib.machinery import ModuleSpec
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess
from typing import Any

from evolteacher_backends.vllm_engine import child
from evolteacher_backends.vllm_engine.log import EngineLog

GRACE = 60.0
"""Seconds that the engine's processes have to free the devices before they are killed; vLLM's own 5 are often short."""

_LOOK_EVERY = 0.2

_one_at_a_time = threading.Lock()
"""vLLM measures the free memory while it starts, and refuses to where another engine changes it meanwhile."""


class StartGivenUp(Exception):
    """The start was cancelled."""


class EngineProcess:
    """vLLM's asynchronous engine.

    Attributes:
        log: where its messages go.
        llm: the ``AsyncLLM``; None before the start and after the end.

    Args:
        log: made for this engine, and closed with it.
    """

    def __init__(self, log: EngineLog) -> None:
        self.log = log
        self.llm: Any = None
        self._processes: list[BaseProcess] = []
        self._died = False
        self._given_up = threading.Event()
        self._others: set[BaseProcess] | None = None

    async def start(self, arguments: Callable[[], dict[str, Any]]) -> None:
        """Load the model: from half a minute to many, in a thread, so that a run can be interrupted meanwhile.

        Args:
            arguments: called once vLLM is imported; returns the fields of ``AsyncEngineArgs``.

        Raises:
            Exception: what vLLM raised, or ``arguments``.
        """
        environment = self.log.environment()
        loading = asyncio.ensure_future(asyncio.to_thread(self._start, arguments, environment))
        try:
            await asyncio.shield(loading)
        except asyncio.CancelledError:
            self._given_up.set()
            while not loading.done():
                for process in self._started():
                    process.kill()  # while it loads it only makes a note of SIGTERM
                await asyncio.wait([loading], timeout=_LOOK_EVERY)
            loading.exception()  # looked at, or asyncio would complain that nobody did
            await self.stop()
            raise

    def _start(self, arguments: Callable[[], dict[str, Any]], environment: Mapping[str, str]) -> None:
        with ExitStack() as stack:
            while not _one_at_a_time.acquire(timeout=_LOOK_EVERY):
                self._check_wanted()
            stack.callback(_one_at_a_time.release)
            self._others = set(multiprocessing.active_children())
            # A fork would copy the threads' locks and the run folder's; spawn starts afresh.
            stack.enter_context(variables({**environment, "VLLM_WORKER_MULTIPROC_METHOD": "spawn"}))
            stack.enter_context(variables(_quieter()))
            stack.enter_context(main_module(child.__name__))
            stack.enter_context(interrupts_kept_off())
            from vllm.engine.arg_utils import AsyncEngineArgs
            from vllm.usage.usage_lib import UsageContext
            from vllm.v1.engine.async_llm import AsyncLLM

            self.log.mute()
            stack.enter_context(_no_bars())
            settings = AsyncEngineArgs(**arguments())
            self._check_wanted()
            try:
                # The context picks vLLM's defaults for throughput in place of those for a server's latency.
                # It is not returned: vLLM's import keeps this thread's frames, and they would keep the engine.
                self.llm = AsyncLLM.from_engine_args(settings, usage_context=UsageContext.LLM_CLASS)
            finally:
                self._processes = self._started()

    def _check_wanted(self) -> None:
        if self._given_up.is_set():
            raise StartGivenUp

    def _started(self) -> list[BaseProcess]:
        """The processes that this start has started so far; none while it waits for its turn."""
        if self._others is None:
            return []
        new = [process for process in multiprocessing.active_children() if process not in self._others]
        return [process for process in new if process.name.startswith(("EngineCore", "VLLM"))]

    def watch(self, died: Callable[[], None]) -> None:
        """Have a function called, on the running event loop, as soon as a process of the engine has ended by itself.

        vLLM tells requests of it that are under way, but for those that it has not yet begun to listen for.
        """
        loop = asyncio.get_running_loop()

        def ended() -> None:
            self._died = True
            self._watch_no_more(loop)
            died()

        for process in self._processes:
            loop.add_reader(process.sentinel, ended)

    def _watch_no_more(self, loop: asyncio.AbstractEventLoop) -> None:
        for process in self._processes:
            loop.remove_reader(process.sentinel)

    @property
    def dead(self) -> bool:
        """Whether the engine cannot answer any more."""
        return self._died or self.llm is None or bool(self.llm.errored)

    def exit_code(self) -> int | None:
        """What the first process that ended ended with, negative for a signal; None where none has."""
        codes = (process.exitcode for process in self._processes)
        return next((code for code in codes if code is not None), None)

    async def stop(self) -> None:
        """Give up what is in flight, end the processes and free the devices; safe to call twice."""
        llm, self.llm = self.llm, None
        if llm is not None:
            self._watch_no_more(asyncio.get_running_loop())
            await _shut_down(llm)
            # Its destructor needs what the interpreter takes apart first at its end, and cycles keep it until then.
            del llm
            gc.collect()
        self.log.close()


async def _shut_down(llm: Any) -> None:
    resources = llm.engine_core.resources
    tasks = [task for task in (llm.output_handler, resources.output_queue_task) if task is not None]
    await asyncio.to_thread(llm.shutdown, GRACE)
    if tasks:
        await asyncio.wait(tasks, timeout=GRACE)
    # vLLM closes the sockets and leaves their context to the garbage collector, which complains.
    await asyncio.to_thread(resources.ctx.destroy, 0)


def _quieter() -> dict[str, str]:
    """Return variables by which nothing is sent home, and nothing said of what an engine that failed has left."""
    leaked = "ignore:resource_tracker:UserWarning"  # multiprocessing removes it, and complains on the terminal
    return {
        "VLLM_NO_USAGE_STATS": os.environ.get("VLLM_NO_USAGE_STATS", "1"),
        "PYTHONWARNINGS": ",".join(filter(None, (os.environ.get("PYTHONWARNINGS"), leaked))),
    }


@contextmanager
def variables(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for the length of a block."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def main_module(name: str) -> Iterator[None]:
    """Have processes that are spawned within the block take this module for their main module.

    By itself multiprocessing has them import the script that was started, which starts a second run where it has no
    ``if __name__ == "__main__"``.
    """
    main = sys.modules["__main__"]
    before = getattr(main, "__spec__", None)
    main.__spec__ = ModuleSpec(name, None)
    try:
        yield
    finally:
        main.__spec__ = before


@contextmanager
def interrupts_kept_off() -> Iterator[None]:
    """Block SIGINT in this thread and in processes that are started from it within the block.

    A terminal sends Ctrl-C to the whole group, and an engine that ends by itself looks like one that died.
    """
    resource_tracker.ensure_running()  # which otherwise starts within the block, and unblocks them for its own ends
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _no_bars() -> Iterator[None]:
    """Keep the hub's bars off the terminal; those of the engine's processes go to the log."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    disabled = are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    finally:
        if not disabled:
            enable_progress_bars()
