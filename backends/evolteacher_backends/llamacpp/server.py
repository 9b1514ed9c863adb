"""A llama.cpp server inside this process, through xllamacpp: started quietly, stopped at once, never left behind.

xllamacpp's server listens on a random loopback port besides its in-process calls. It is the port that is spoken to
here: a call that waits in native code in a thread cannot be cancelled, and would hold up the end of the process; a
connection can be dropped at any time. A random key keeps other users and web pages of this machine out.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import weakref
from typing import Any

from evolteacher.errors import FatalError, MissingExtra, NoSuchModel
from evolteacher_backends.llamacpp.sizing import Settings

_BATCH = 512
"""Prompt tokens in one step of the server; the longest that :meth:`LlamaServer.stop` waits."""

_DIAGNOSE_SECONDS = 60


class LlamaServer:
    """A loaded model that answers on ``address``; the end of the process stops it too.

    Attributes:
        address: ``http://127.0.0.1:PORT``.
        headers: what each request must carry.

    Raises:
        MissingExtra: xllamacpp is not installed.
        NoSuchModel: llama.cpp cannot read the file.
        FatalError: the model does not fit into memory.
    """

    def __init__(self, settings: Settings) -> None:
        key = secrets.token_urlsafe(32)
        self.headers = {"Authorization": f"Bearer {key}"}
        holder = [_start(settings, key)]
        self.address = str(holder[0].listening_address)
        self._finalizer = weakref.finalize(self, holder.clear)

    def stop(self) -> None:
        """Free the model; answers in flight are cut off. Safe to call twice."""
        self._finalizer()


def _start(settings: Settings, key: str) -> Any:
    xllamacpp = load_library()
    params = xllamacpp.CommonParams()
    params.model.path = str(settings.path)
    params.model_alias = {settings.alias}
    params.n_parallel = settings.slots
    params.n_ctx = settings.slots * settings.slot_tokens
    params.n_batch = params.n_ubatch = _BATCH
    if settings.threads is not None:
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = settings.threads
    params.api_keys = [key]
    params.cache_ram_mib = 0  # prompts are short-lived here, and the default cache may grow to 8 GB
    params.fit_params = False  # sized by us; the fitting loads the model a second time
    params.ui = False
    params.verbosity = 0
    try:
        return xllamacpp.Server(params)
    except RuntimeError as error:
        raise _explain(settings, str(error)) from error


def load_library() -> Any:
    """Import xllamacpp.

    Raises:
        MissingExtra: it is not installed.
    """
    # OpenMP reads this once, when it is loaded. Compute threads that wait then sleep instead of spinning: on a quiet
    # machine that is a quarter slower for one call at a time and a twelfth for eight, and where another process wants
    # the same cores it is two to three times faster (see the lab notebook). ACTIVE in the environment spins.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        import xllamacpp
    except ImportError as error:
        raise MissingExtra("the backend 'embedded'", "embedded") from error
    return xllamacpp


def _explain(settings: Settings, fallback: str) -> FatalError:
    """Find out why a model did not load: load it again in a process of its own, where llama.cpp may speak."""
    script = (
        "import sys, xllamacpp as x\n"
        "p = x.CommonParams()\n"
        "p.model.path, p.n_parallel, p.n_ctx, p.warmup, p.fit_params, p.verbosity = "
        "sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), False, False, 1\n"
        "x.Server(p)\n"
    )
    arguments = [str(settings.path), str(settings.slots), str(settings.slots * settings.slot_tokens)]
    try:
        child = subprocess.run(
            [sys.executable, "-c", script, *arguments], capture_output=True, text=True, timeout=_DIAGNOSE_SECONDS
        )
        said = child.stderr
    except (OSError, subprocess.TimeoutExpired):
        said = ""
    for line in said.splitlines():
        if "error loading model:" in line:
            reason = line.split("error loading model:", 1)[1].strip()
            return NoSuchModel(f"{settings.path}: llama.cpp cannot load it: {reason}. Take another GGUF file")
    if "failed to allocate" in said or "failed to initialize the context" in said:
        return FatalError(
            f"{settings.path}: {settings.slots} slots of {settings.slot_tokens:,} tokens do not fit into memory: "
            "set the options slots or context lower, or take a smaller model"
        )
    return FatalError(f"{settings.path}: llama.cpp cannot load it: {fallback}")
