"""Counters of a run while it goes on, for a display that looks at them a few times a second."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

from evolteacher.messages import Reply


@dataclass
class Progress:
    """What has happened so far in this process.

    Attributes:
        seeds: unique seeds of the run.
        rounds: M.
        lineages: lineages that are finished.
        pending: lineages left pending.
        calls: replies bought by this process.
        waiting: calls that are queued or in flight.
        in_flight: calls that have left for a backend and are not answered.
        retries: calls that were asked again after a passing fault.
        opening: backends that are being opened, which may fetch a model and draw a bar of their own meanwhile.
        replayed: asks answered from the store.
        forked: asks answered from the run that was forked.
        prompt_tokens: of the calls bought.
        completion_tokens: of the calls bought.
        kept: records by round; round 0 are the seeds that have a response.
        rejected: evolutions rejected, by round.
        left: lineages that have left a round, by round.
        filters: rejections by filter.
        started: when this process began, by ``time.monotonic``.
    """

    seeds: int = 0
    rounds: int = 0
    lineages: int = 0
    pending: int = 0
    calls: int = 0
    waiting: int = 0
    in_flight: int = 0
    retries: int = 0
    opening: int = 0
    replayed: int = 0
    forked: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    kept: Counter[int] = field(default_factory=Counter)
    rejected: Counter[int] = field(default_factory=Counter)
    left: Counter[int] = field(default_factory=Counter)
    filters: Counter[str] = field(default_factory=Counter)
    started: float = field(default_factory=time.monotonic)

    def count_call(self, reply: Reply) -> None:
        """Count one bought reply."""
        self.calls += 1
        self.prompt_tokens += reply.usage.prompt_tokens
        self.completion_tokens += reply.usage.completion_tokens

    @property
    def seconds(self) -> float:
        """Since this process began."""
        return time.monotonic() - self.started
