"""Coroutines carried out for those who do not await: each function that has an asynchronous twin goes through here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from evolteacher.errors import UsageError

T = TypeVar("T")


def carried_out(name: str, work: Callable[..., Coroutine[Any, Any, T]], *arguments: Any, **options: Any) -> T:
    """Return what a coroutine function gives, run to its end.

    Args:
        name: of the public function that this is done for: ``run``, whose twin is ``arun``.
        work: the twin.
        *arguments: handed on.
        **options: handed on.

    Raises:
        UsageError: an event loop is running already, as in Jupyter.
    """
    check_no_loop(f"et.{name}()", f"await et.a{name}(…)")
    return asyncio.run(work(*arguments, **options))


def check_no_loop(called: str, instead: str) -> None:
    """See that no event loop is running, where one is about to be started.

    Args:
        called: what was called, as it is written.
        instead: what to write in its place.

    Raises:
        UsageError: one is running.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise UsageError(f"{called} cannot be called inside a running event loop, as in Jupyter: write `{instead}`")
