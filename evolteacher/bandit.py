"""The rule by which a bandit weighs operators: what it may be told in a recipe, and shares from outcomes. Pure.

The rule is probability matching with a least share, as adaptive operator selection in evolutionary search has it
(D. Thierens, "An adaptive pursuit strategy for allocating operator probabilities", GECCO 2005, section 2): an operator
is drawn in proportion to its quality, and never less often than a least share. Outcomes of earlier blocks count less
and less, as in discounted UCB (Kocsis and Szepesvári 2006; Garivier and Moulines, arXiv 0805.3415). Rules with better
bounds on regret (UCB, Thompson sampling, adaptive pursuit) end at one operator; a dataset wants a mixture, in which the
better ones have more room. Shares are also all that such a rule needs: they follow from sums, without a draw of
their own.

The quality of an operator is what an evolution by it brings for what it costs::

    quality = (reward of an evolution) / (tokens of an evolution) ** cost

A rejected evolution's reward is 0. A kept one's is 1 and, where the recipe names a judge by ``gain``, what the judge
scores it above its parent (never less than nothing). An operator of which little is known is taken for an average
one: the mean of all counts as :data:`PRIOR` evolutions of each.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field

PRIOR = 2
"""Evolutions of an average operator that each operator is credited with."""

LAG = 2
"""A block's shares come from blocks at least so many before it, so that one block evolves while the next is chosen."""


class Bandit(BaseModel):
    """Draw operators by what they brought so far; see :mod:`evolteacher.bandit`."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    block: int = Field(
        64,
        ge=1,
        le=1_000_000,
        description="Lineages that are drawn for with the same shares; two blocks go at once.",
    )
    least: float = Field(0.05, ge=0, le=1, description="Least share of each operator, so that none is given up.")
    discount: float = Field(0.9, gt=0, le=1, description="What an outcome counts one block later; 1 forgets nothing.")
    cost: float = Field(
        0.5,
        ge=0,
        le=4,
        description="Power of the tokens: at 0 they do not matter, at 1 twice of them is half as good.",
    )
    gain: str | None = Field(
        None,
        description="Label of a filter that scores instructions, such as `difficulty`: what it scores a kept rewrite "
        "above its parent adds to the reward. Seeds have scores where the filter is `on` seeds, too.",
    )
    sharpness: float = Field(
        1.0, ge=0, le=16, description="Power of the quality: 0 leaves the weights alone, large ones chase the best."
    )


class ByBandit(BaseModel):
    """``choose: {bandit: …}``."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    bandit: Bandit


class Outcome(NamedTuple):
    """What came of one evolution.

    Attributes:
        operator: the operator's label.
        reward: 0 where it was rejected.
        tokens: of all that was asked for it, prompts and answers, filters' questions included.
    """

    operator: str
    reward: float
    tokens: int


@dataclass
class Sums:
    """What is known of one operator; discounted, but for ``tried`` and ``kept``, which count all."""

    evolutions: float = 0.0
    reward: float = 0.0
    tokens: float = 0.0
    tried: int = 0
    kept: int = 0


@dataclass
class Standing:
    """What all blocks so far say of the operators.

    Attributes:
        bandit: the rule's options.
        base: label -> weight of the recipe; 0 is never drawn.
        sums: by label.
    """

    bandit: Bandit
    base: Mapping[str, float]
    sums: dict[str, Sums] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Begin with nothing known."""
        self.sums = {label: Sums() for label in self.base}

    def add(self, outcomes: Iterable[Outcome]) -> None:
        """Take in one whole block, its lineages in seed order: sums of floats depend on the order."""
        for known in self.sums.values():
            known.evolutions *= self.bandit.discount
            known.reward *= self.bandit.discount
            known.tokens *= self.bandit.discount
        for outcome in outcomes:
            known = self.sums[outcome.operator]
            known.evolutions += 1
            known.reward += outcome.reward
            known.tokens += outcome.tokens
            known.tried += 1
            known.kept += outcome.reward > 0

    def shares(self) -> dict[str, float]:
        """Return the share of each operator; they sum to 1, and those of weight 0 have none."""
        drawn = [label for label, weight in self.base.items() if weight]
        raw = {label: self.base[label] * self._quality(label) ** self.bandit.sharpness for label in drawn}
        total = sum(raw.values())
        if not 0 < total < float("inf"):  # nothing was ever kept, so nothing tells the operators apart
            raw = {label: self.base[label] for label in drawn}
            total = sum(raw.values())
        least = self.bandit.least
        shares = {label: least + (1 - least * len(drawn)) * raw[label] / total for label in drawn}
        return {label: shares.get(label, 0.0) for label in self.base}

    def _quality(self, label: str) -> float:
        known, everyone = self.sums[label], self.sums.values()
        evolutions = sum(each.evolutions for each in everyone)
        if not evolutions:
            return 1.0
        number = known.evolutions + PRIOR
        reward = (known.reward + PRIOR * sum(each.reward for each in everyone) / evolutions) / number
        tokens = (known.tokens + PRIOR * sum(each.tokens for each in everyone) / evolutions) / number
        return float(reward / max(tokens, 1.0) ** self.bandit.cost)
