"""What observer hooks are told. All frozen; ``replayed`` says whether everything came from the store."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from evolteacher.record import Step


@dataclass(frozen=True, slots=True)
class RunStarted:
    """A run is about to ask its first question.

    Attributes:
        folder: the run folder.
        recipe: the recipe's name.
        seeds: unique seeds to evolve.
        rounds: M.
        resumed: whether the folder already held replies.
    """

    folder: Path
    recipe: str
    seeds: int
    rounds: int
    resumed: bool


@dataclass(frozen=True, slots=True)
class EvolutionSettled:
    """One evolution was kept or rejected.

    Attributes:
        lineage: the seed's id.
        step: what was tried and what became of it.
        replayed: whether all its replies came from the store.
    """

    lineage: str
    step: Step
    replayed: bool


@dataclass(frozen=True, slots=True)
class RoundFinished:
    """The last lineage left a round.

    Attributes:
        round: 1 to M.
        kept: records that the round yielded.
        rejected: evolutions of the round that were rejected.
        replayed: whether all the round's replies came from the store.
    """

    round: int
    kept: int
    rejected: int
    replayed: bool


@dataclass(frozen=True, slots=True)
class RunFinished:
    """A run ended.

    Attributes:
        folder: the run folder.
        records: rows of the dataset, seeds included.
        rejected: evolutions rejected in all rounds.
        pending: lineages that are not finished.
        replayed: whether nothing was asked.
    """

    folder: Path
    records: int
    rejected: int
    pending: int
    replayed: bool
