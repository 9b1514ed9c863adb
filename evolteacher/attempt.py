"""What one round of one lineage gathers on its way to a verdict."""

from __future__ import annotations

from dataclasses import dataclass, field

from evolteacher.asking import Asker
from evolteacher.messages import NO_REPLY, Reply
from evolteacher.record import Evolution, Instruction, Stage, Step, Verdict, clean_text
from evolteacher.store import StepRow


class Rejected(Exception):
    """Ends a step; carries its verdict."""

    def __init__(self, stage: Stage, filter: str, reason: str) -> None:
        super().__init__(reason)
        self.verdict = Verdict(stage, filter, clean_text(reason)[0])


@dataclass(slots=True)
class Attempt:
    """What one round of one lineage gathers until its verdict.

    Attributes:
        operator: the operator's label; ``seed`` in round 0.
        round: 0 for the seed.
        parent: what is rewritten.
        depth: evolutions since the seed, this one included.
        parent_round: the round whose child the parent is.
        ask: the operator's asks.
        evolution: the rewrite, once there is one.
        answer: the asks for the response.
        response: the response, bought or brought.
        reply: the reply that the response is.
        scores: that filters gave so far, by the name that they are stored under.
        original: the response before a filter repaired it; None while none did.
        repaired_by: labels of the filters that did, in that order.
    """

    operator: str
    round: int
    parent: Instruction
    depth: int = 0
    parent_round: int = 0
    ask: Asker | None = None
    evolution: Evolution | None = None
    answer: Asker | None = None
    response: str | None = None
    reply: Reply = NO_REPLY
    scores: dict[str, float] = field(default_factory=dict)
    original: str | None = None
    repaired_by: list[str] = field(default_factory=list)

    def repair(self, response: str, label: str) -> None:
        """Put a response in the place of the one there is; the first one stays on record."""
        if self.original is None:
            self.original = self.response
        self.response = response
        self.repaired_by.append(label)

    def row(self, verdict: Verdict) -> StepRow:
        """Return what is stored of it."""
        child = self.evolution.child.text if self.evolution is not None and self.round else None
        evolved = self.ask.last.id if self.ask is not None and self.ask.last is not None else None
        responded = self.answer.last.id if self.answer is not None and self.answer.last is not None else None
        return StepRow(
            self.round, self.operator, self.depth, self.parent_round, child,
            verdict.stage, verdict.filter, verdict.reason, evolved, responded, self.scores,
            self.response if self.repaired_by else None, ", ".join(dict.fromkeys(self.repaired_by)),
        )  # fmt: skip

    def step(self, verdict: Verdict) -> Step:
        """Return what observers are told of it."""
        raw = ""
        if self.evolution is None and self.ask is not None and self.ask.last is not None:
            raw = self.ask.last.reply.text
        return Step(
            self.operator, self.round, self.parent, verdict, self.evolution, self.response, raw, self.reply,
            dict(self.scores), self.original, ", ".join(dict.fromkeys(self.repaired_by)),
        )  # fmt: skip
