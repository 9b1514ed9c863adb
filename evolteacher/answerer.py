"""A backend as a run has it: opened late and once, its calls gathered where it takes batches, closed at the end."""

from __future__ import annotations

import asyncio

from evolteacher.backend import Backend, Workload
from evolteacher.batches import Batcher
from evolteacher.errors import EvolteacherError, plugin_fault
from evolteacher.gate import Gate


class Answerer:
    """One backend of a run, opened when it is first asked: a run that is all replay loads no model and needs no key.

    Attributes:
        key: of the recipe's ``backends``.
        identity: part of each request's fingerprint.
        backend: opened or not.
        batcher: gathers its calls, where it takes batches.
    """

    def __init__(self, key: str, backend: Backend, workload: Workload, gate: Gate) -> None:
        self.key = key
        self.batcher: Batcher | None = None
        self._gate = gate
        try:
            self.identity = backend.identity()
            gate.register(key, backend)
            if backend.in_batches():
                self.batcher = Batcher(key, self.ready, gate.till.ledger, gate.limits, gate.progress)
        except EvolteacherError:
            raise
        except Exception as error:
            raise plugin_fault(f"backend '{key}', saying what it is,", error) from error
        self.backend = backend
        self._workload = workload
        self._lock = asyncio.Lock()
        self._touched = self._open = False
        self._failure: Exception | None = None

    async def ready(self) -> Backend:
        """Return the backend, open; the gate's progress is told while it is being opened.

        It is tried once: what made it fail would make it fail again, for each lineage in turn.

        Raises:
            FatalError: it cannot be opened.
        """
        if not self._open:
            async with self._lock:
                if self._failure is not None:
                    raise self._failure
                if not self._open:
                    progress = self._gate.progress
                    progress.opening += 1
                    self._touched = True
                    try:
                        await self.backend.open(self._workload)
                    except Exception as error:
                        self._failure = error
                        raise
                    finally:
                        progress.opening -= 1
                    self._gate.learn_secrets(self.backend)
                    self._open = True
        return self.backend

    def finish(self) -> None:
        """Let go of provider batches, once every answer that was wanted is stored."""
        if self.batcher is not None:
            self.batcher.finish()

    async def close(self) -> None:
        """Close the backend if it was opened, or half opened.

        Raises:
            PluginError: closing it failed.
        """
        if self._touched:
            self._touched = self._open = False
            try:
                if self.batcher is not None:
                    await self.batcher.close()
                await self.backend.close()
            except EvolteacherError:
                raise
            except Exception as error:
                raise plugin_fault(f"backend '{self.key}', being closed,", error) from error
