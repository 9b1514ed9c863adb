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
        active: lineages that are being worked on.
        batched: calls that wait for a provider batch.
        batches: provider batches that this process submitted.
        batch_answered: calls that the provider has answered of the batches that are out.
        opening: backends that are being opened, which may fetch a model and draw a bar of their own meanwhile.
        replayed: asks answered from the store.
        forked: asks answered from the run that was forked.
        results: that this process worked out without an LLM.
        results_replayed: taken from the store.
        results_forked: taken from the run that was forked.
        prompt_tokens: of the calls bought.
        completion_tokens: of the calls bought.
        kept: records by round; round 0 are the seeds that have a response.
        rejected: evolutions rejected, by round.
        left: lineages that have left a round, by round.
        filters: rejections by filter.
        cost: US dollars that this process paid, None while no price is known.
        spent: US dollars and tokens that count against the budget, all processes together; None without a budget.
        trouble: by account, what keeps a provider from answering at all; empty when nothing does.
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
    active: int = 0
    batched: int = 0
    batches: int = 0
    batch_answered: int = 0
    opening: int = 0
    replayed: int = 0
    forked: int = 0
    results: int = 0
    results_replayed: int = 0
    results_forked: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    kept: Counter[int] = field(default_factory=Counter)
    rejected: Counter[int] = field(default_factory=Counter)
    left: Counter[int] = field(default_factory=Counter)
    filters: Counter[str] = field(default_factory=Counter)
    cost: float | None = None
    spent: tuple[float, int] | None = None
    trouble: dict[str, str] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)

    def count_call(self, reply: Reply) -> None:
        """Count one bought reply."""
        self.calls += 1
        self.prompt_tokens += reply.usage.prompt_tokens
        self.completion_tokens += reply.usage.completion_tokens
        if reply.cost is not None:
            self.cost = (self.cost or 0.0) + reply.cost

    @property
    def seconds(self) -> float:
        """Since this process began."""
        return time.monotonic() - self.started
