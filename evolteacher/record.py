"""The nouns of Evol-Instruct: Instruction, Evolution, Judgement, Verdict, Record, Lineage.

All are frozen. An id is a hash of the text, so equal texts share one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, get_args

from evolteacher.messages import NO_REPLY, Reply

Stage = Literal["seed", "evolve", "instruction", "response", "lineage", "dataset"]
"""Where a verdict was given: on a seed, by the evolving call, on the new instruction, its response, the lineage after
its last round, the dataset."""

Material = Literal["task", "snippet"]
"""What a lineage starts from: a task, or a snippet of code that a task is to be made of, which is no row by itself."""

MATERIALS: tuple[Material, ...] = get_args(Material)

SEED_OPERATOR = "seed"
"""The operator name that round-0 evolutions carry."""


def clean_text(text: str) -> tuple[str, int]:
    """Replace lone surrogates, which no UTF-8 file can hold, by U+FFFD; return the text and how many there were."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        fixed = "".join("\ufffd" if "\ud800" <= char <= "\udfff" else char for char in text)
        return fixed, sum(1 for char in text if "\ud800" <= char <= "\udfff")
    return text, 0


def text_id(text: str) -> str:
    """Return the 32 hexadecimal digits (16 bytes of BLAKE2b) that identify a text."""
    return hashlib.blake2b(text.encode("utf-8"), digest_size=16).hexdigest()


@dataclass(frozen=True)
class Instruction:
    """An immutable task text."""

    text: str

    @cached_property
    def id(self) -> str:
        """Derived from the text alone: 32 hexadecimal digits."""
        return text_id(self.text)


@dataclass(frozen=True)
class Seed:
    """An instruction of the source dataset, or a snippet of code where the recipe's material is that.

    Attributes:
        instruction: the task, or the snippet.
        response: the source's own answer; None where it has none.
        source: where it was read: ``file:line`` or the like.
        licence: of the source row, where known.
        terms: under which a model wrote the row, where known; see :attr:`Record.terms`.
    """

    instruction: Instruction
    response: str | None = None
    source: str = ""
    licence: str = ""
    terms: str = ""


@dataclass(frozen=True, slots=True)
class Evolution:
    """One application of an operator.

    Attributes:
        parent: the instruction that was rewritten.
        child: the rewrite. For a seed it is the parent itself.
        operator: the operator's label in the recipe; ``seed`` for a seed.
        round: 1 and up; 0 for a seed.
        reply: the last reply that the operator asked for; an empty one for a seed.
        markers: what the operator's prompt must not leak into the child.
        depth: evolutions since the seed, this one included.
    """

    parent: Instruction
    child: Instruction
    operator: str
    round: int
    reply: Reply = NO_REPLY
    markers: tuple[str, ...] = ()
    depth: int = 1

    @classmethod
    def of_seed(cls, instruction: Instruction) -> Evolution:
        """Return round 0's evolution: the seed itself, by no operator."""
        return cls(parent=instruction, child=instruction, operator=SEED_OPERATOR, round=0, depth=0)

    @property
    def is_seed(self) -> bool:
        """Whether this is a seed and not a rewrite."""
        return self.round == 0


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a filter finds: a score to keep on record, a reason to reject, both or neither.

    Attributes:
        score: a finite number in the filter's own unit, stored with the step under the filter's label; None for none.
        reason: why it is no good; None keeps it.
        response: a response to put in the place of the one that was judged, which stays on record. Only a
            :class:`~evolteacher.filter.ResponseFilter` may repair, and only what it keeps.
    """

    score: float | None = None
    reason: str | None = None
    response: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Kept, or rejected by a named filter for a stated reason.

    Attributes:
        stage: where it was given.
        filter: the label of the filter that rejected; the outcome's name (``unreadable``, ``refused``, ``too-long``,
            ``bad-reply``) where a call itself failed; empty when kept.
        reason: in words; empty when kept.
    """

    stage: Stage
    filter: str = ""
    reason: str = ""

    @property
    def kept(self) -> bool:
        """Whether nothing rejected."""
        return not self.filter


@dataclass(frozen=True, slots=True)
class Record:
    """A kept instruction with its response: one training example.

    Attributes:
        evolution: how its instruction came about.
        response: the answer, as filters have repaired it where they did.
        reply: the reply that the answer is, or was before it was repaired; an empty one where the source brought the
            answer.
        lineage: the seed's id.
        order: the seed's place in the source, from 0.
        source: where the seed was read: ``file:line`` or the like.
        licence: of the seed's row, where known.
        scores: what filters gave: the filter's label -> score; ``<label>:response`` for a filter of any text or reply
            where it looked at the response. A row filter is shown what the instruction scored.
        terms: names of the terms, or licences, of the models that wrote it, joined by commas, ``unknown`` among them;
            empty where no model did. Filled in when rows are written: filters see the seed's alone.
    """

    evolution: Evolution
    response: str
    reply: Reply = NO_REPLY
    lineage: str = ""
    order: int = 0
    source: str = ""
    licence: str = ""
    scores: Mapping[str, float] = field(default_factory=dict, hash=False)
    terms: str = ""

    @property
    def instruction(self) -> Instruction:
        """The task of this example."""
        return self.evolution.child

    @property
    def round(self) -> int:
        """The round in which it was made; 0 for a seed."""
        return self.evolution.round

    @property
    def id(self) -> str:
        """Tells the record from all others of its run: lineage and round."""
        return f"{self.lineage}/{self.round}"


@dataclass(frozen=True, slots=True)
class Step:
    """One round of one lineage: what was tried and what became of it.

    Attributes:
        operator: the operator's label; ``seed`` in round 0.
        round: 0 for the seed.
        parent: what was rewritten.
        verdict: kept or rejected, by whom and why.
        evolution: the rewrite; None where none came out.
        response: the answer, where one was bought or brought; as filters have repaired it where they did.
        raw: the evolving reply's text where no rewrite could be read from it.
        reply: the responding reply.
        scores: what filters gave, as :attr:`Record.scores`.
        original: the answer before it was repaired; None where it was not.
        repaired_by: the labels of the filters that repaired it, joined by commas; empty where none did.
    """

    operator: str
    round: int
    parent: Instruction
    verdict: Verdict
    evolution: Evolution | None = None
    response: str | None = None
    raw: str = ""
    reply: Reply = NO_REPLY
    scores: Mapping[str, float] = field(default_factory=dict, hash=False)
    original: str | None = None
    repaired_by: str = ""


@dataclass(frozen=True)
class Lineage:
    """The chain from a seed through its evolutions.

    Attributes:
        seed: where it starts.
        order: the seed's place in the source, from 0.
        steps: round 0 first. Empty for a lineage that has not settled.
        pending: why the lineage is not finished; empty when it is.
    """

    seed: Seed
    order: int
    steps: tuple[Step, ...] = field(default_factory=tuple)
    pending: str = ""

    @property
    def id(self) -> str:
        """The seed's id."""
        return self.seed.instruction.id

    def records(self) -> list[Record]:
        """The training examples of this lineage, by round."""
        return [
            Record(
                step.evolution,
                step.response,
                step.reply,
                lineage=self.id,
                order=self.order,
                source=self.seed.source,
                licence=self.seed.licence,
                scores=step.scores,
                terms=self.seed.terms,
            )
            for step in self.steps
            if step.verdict.kept and step.evolution is not None and step.response is not None
        ]
