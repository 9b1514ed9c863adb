"""The LiteLLM package itself: imported when it is used, kept quiet, and let go of."""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any

from evolteacher import errors

_CHATTER = (r"Items? '.*' on TypedDict class", r"Pydantic serializer warnings")
"""Warnings of pydantic about classes of LiteLLM's, which no user can mend."""

PATIENCE = 5.0
"""Seconds that tasks of LiteLLM's own, which report on calls and close what was thrown away, get to end."""

CALLBACKS = (
    "callbacks", "input_callback", "success_callback", "failure_callback", "_async_input_callback",
    "_async_success_callback", "_async_failure_callback",
)  # fmt: skip

_SETTINGS = (
    "cache", "pre_call_rules", "post_call_rules", "model_fallbacks", "network_mock", "modify_params", "aclient_session",
    "headers",
)  # fmt: skip

_users = 0
"""Backends that are open; the connections that LiteLLM keeps are for all of them."""


def import_litellm() -> Any:
    """Import LiteLLM, without the downloads and the output of its start.

    Raises:
        MissingExtra: it is not installed.
    """
    # Else the import downloads a table of prices, and waits where there is no network.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    # Else it looks for a .env file and puts what it finds into this process's environment.
    os.environ.setdefault("LITELLM_MODE", "PRODUCTION")
    # For good, and not for the import alone: pydantic builds many of these classes when they are first used.
    for message in _CHATTER:
        warnings.filterwarnings("ignore", message, UserWarning)
    try:
        import litellm
    except ModuleNotFoundError as error:
        if error.name != "litellm":
            raise
        raise errors.MissingExtra("backend 'litellm'", "litellm") from None
    litellm.suppress_debug_info = True  # else it prints an appeal for feedback at every error
    if "LITELLM_LOG" not in os.environ:  # what matters is raised; its log repeats requests
        logging.getLogger("LiteLLM").setLevel(logging.CRITICAL)
    return litellm


def has_listeners(litellm: Any) -> bool:
    """Whether somebody in this process has told LiteLLM to report, cache or change calls."""
    # LiteLLM enters "cache" by itself, for the attribute of that name.
    reported = (one for name in CALLBACKS for one in getattr(litellm, name, None) or () if one != "cache")
    return any(True for _ in reported) or any(getattr(litellm, name, None) for name in _SETTINGS)


def _internal_call() -> ContextVar[bool] | None:
    """Return what marks a call as LiteLLM's own, which it then does not report to anybody; older ones have none."""
    with suppress(ImportError):
        return getattr(importlib.import_module("litellm._internal_context"), "is_internal_call", None)
    return None


@contextmanager
def unreported(litellm: Any) -> Iterator[None]:
    """Spare LiteLLM its reports on the calls inside, where nobody listens to them."""
    mark = None if has_listeners(litellm) else _internal_call()
    if mark is None:
        yield
        return
    before = mark.set(True)
    try:
        yield
    finally:
        mark.reset(before)


def take() -> None:
    """Count one more user of LiteLLM's connections."""
    global _users
    _users += 1


async def let_go(litellm: Any) -> None:
    """Count one user less; after the last one close the connections and end the task that LiteLLM keeps."""
    global _users
    _users -= 1
    if _users:
        return
    with suppress(ImportError, AttributeError):
        worker = importlib.import_module("litellm.litellm_core_utils.logging_worker").GLOBAL_LOGGING_WORKER
        # In a task of its own: of an older version it may hang, or end by being cancelled.
        stopping = asyncio.ensure_future(worker.stop())
        stopping.add_done_callback(lambda task: task.cancelled() or task.exception())
        await asyncio.wait({stopping}, timeout=PATIENCE)
    if hasattr(litellm, "close_litellm_async_clients"):
        await litellm.close_litellm_async_clients()
    # It would hand out the closed ones again.
    before = asyncio.all_tasks()
    with suppress(AttributeError):
        litellm.in_memory_llm_clients_cache.flush_cache()
    # What it throws away closes itself in tasks that nobody else waits for.
    left = (asyncio.all_tasks() - before) | {task for task in before if _is_litellms(task, litellm)}
    if left:
        await asyncio.wait(left, timeout=PATIENCE)


def _is_litellms(task: asyncio.Task[Any], litellm: Any) -> bool:
    code = getattr(task.get_coro(), "cr_code", None)
    folder = os.path.dirname(str(getattr(litellm, "__file__", None) or "?"))
    return code is not None and str(code.co_filename).startswith(folder + os.sep)
