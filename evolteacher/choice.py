"""Which operator a lineage gets in a round: drawn by fixed weights, or by shares that a bandit learns.

A draw is a hash of (recipe seed, round, lineage), so that it is the same on every machine and Python version, and in
whatever order replies come in. A bandit changes what the draw is held against, once a block of lineages in seed order,
by outcomes and tokens of blocks that have settled whole. The shares of a block are stored before its first lineage is
drawn for, and what is stored holds: a replay, a resume, a larger limit and a rejudge draw alike.

A lineage whose retries ran out has no outcome yet, and a resume will give it one. So the blocks that would learn from
it wait: they are not begun, and stay pending until a resume has settled it. To go on without it would make the choices
depend on which fault hit which process.
"""

from __future__ import annotations

import asyncio
import hashlib
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any

from evolteacher.bandit import LAG, Bandit, ByBandit, Outcome, Standing
from evolteacher.operator import Operator
from evolteacher.recipe import Recipe
from evolteacher.record import MATERIALS, Material
from evolteacher.store import Store
from evolteacher.use import Use

TRAJECTORY = "choice/"
"""Beginning of the keys, in the store's ``meta``, of what was chosen for each block; the block's number follows."""


class Draw:
    """Chooses by weights that never change.

    Args:
        recipe: gives the seed of the draws.
        operators: to choose from.
    """

    def __init__(self, recipe: Recipe, operators: Sequence[Use[Operator]]) -> None:
        self._operators = {
            material: tuple(use for use in operators if material in use.component.takes) for material in MATERIALS
        }
        self._prefix = f"{recipe.seed}:".encode()
        self._sums = self._accumulate({use.label: use.weight for use in operators})

    def __call__(self, round: int, lineage: str, order: int, material: Material = "task") -> Use[Operator]:
        """Return the operator for a round of the ``order``-th lineage; one that takes what its parent is."""
        operators, sums = self._operators[material], self._sums_of(order)[material]
        digest = hashlib.blake2b(self._prefix + f"{round}:{lineage}".encode(), digest_size=8).digest()
        point = int.from_bytes(digest, "big") / 2**64 * sums[-1]
        return operators[min(bisect_right(sums, point), len(operators) - 1)]

    def _accumulate(self, shares: Mapping[str, float]) -> dict[Material, list[float]]:
        """Return the running sums of the operators' shares, for each kind of parent."""
        return {material: list(accumulate(shares[use.label] for use in of)) for material, of in self._operators.items()}

    def _sums_of(self, order: int) -> dict[Material, list[float]]:
        return self._sums

    def gain(self, child: Mapping[str, float], parent: Mapping[str, float]) -> float:
        """Return what a kept evolution brought beyond being kept, by the scores of both."""
        return 0.0

    async def ready(self, order: int) -> bool:
        """Wait until it can be said what a lineage gets; return whether that will be in this process at all."""
        return True

    def settle(self, order: int, outcomes: Iterable[Outcome] | None) -> None:
        """Note what came of a lineage; None where it was left pending."""


class BlockDraw(Draw):
    """Chooses by shares that follow what the operators brought, block by block.

    Args:
        recipe: gives the seed of the draws.
        operators: to choose from.
        bandit: the rule.
        store: where the trajectory lies.
    """

    def __init__(self, recipe: Recipe, operators: Sequence[Use[Operator]], bandit: Bandit, store: Store) -> None:
        super().__init__(recipe, operators)
        self._bandit = bandit
        self._store = store
        self._standing = Standing(bandit, {use.label: use.weight for use in operators})
        self._known = {block: self._state() for block in range(LAG)}
        self._blocks: dict[int, dict[Material, list[float]]] = {}
        self._open: dict[int, dict[int, tuple[Outcome, ...]]] = {}
        self._settled = 0
        self._stuck: int | None = None
        self._waiting: list[asyncio.Future[None]] = []

    def _sums_of(self, order: int) -> dict[Material, list[float]]:
        return self._blocks[order // self._bandit.block]

    def gain(self, child: Mapping[str, float], parent: Mapping[str, float]) -> float:
        """Return by how much the judge that the bandit goes by scores the child above its parent.

        0 where the child has no higher score, and where one of the two has none.
        """
        label = self._bandit.gain
        if label is None or label not in child or label not in parent:
            return 0.0
        return max(0.0, child[label] - parent[label])

    async def ready(self, order: int) -> bool:
        """Wait until the shares of the lineage's block are known: all blocks have settled that it learns from."""
        block = order // self._bandit.block
        while block not in self._blocks and not self._find(block):
            if self._stuck is not None and self._stuck <= block - LAG:
                return False
            waiting = asyncio.get_running_loop().create_future()
            self._waiting.append(waiting)
            await waiting
        return True

    def _find(self, block: int) -> bool:
        """Take a block's shares from the store, or from what has settled; return whether there are any yet."""
        stored = self._store.meta(f"{TRAJECTORY}{block}")
        if stored is None:
            stored = self._known.get(block)
            if stored is None:
                return False
            self._store.set_meta(f"{TRAJECTORY}{block}", stored)
        self._blocks[block] = self._accumulate(stored["shares"])
        return True

    def settle(self, order: int, outcomes: Iterable[Outcome] | None) -> None:
        """Note what came of a lineage, and learn from each block, in order, once all of it is there."""
        block = order // self._bandit.block
        if outcomes is None:
            self._stuck = block if self._stuck is None else min(self._stuck, block)
        else:
            self._open.setdefault(block, {})[order] = tuple(outcomes)
            while len(self._open.get(self._settled, ())) == self._bandit.block:
                self._learn(self._settled)
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    def _learn(self, block: int) -> None:
        """Take a whole block in, and note at once what is chosen by because of it: not what more may be known then."""
        whole = self._open.pop(block)
        self._standing.add(outcome for order in sorted(whole) for outcome in whole[order])
        self._settled += 1
        self._blocks.pop(block, None)
        self._known.pop(block, None)
        self._known[block + LAG] = self._state()

    def _state(self) -> dict[str, Any]:
        seen = {label: [sums.tried, sums.kept] for label, sums in self._standing.sums.items()}
        return {"shares": self._standing.shares(), "seen": seen}


def make_draw(recipe: Recipe, operators: Sequence[Use[Operator]], store: Store) -> Draw:
    """Return the recipe's rule of choice.

    Args:
        recipe: the experiment.
        operators: the recipe's, prepared.
        store: the run's.
    """
    if isinstance(recipe.choose, ByBandit):
        return BlockDraw(recipe, operators, recipe.choose.bandit, store)
    return Draw(recipe, operators)


def trajectory(store: Store) -> list[tuple[int, dict[str, Any]]]:
    """Return what was chosen by, in the order of blocks: (block, ``shares`` by label, ``seen``: tried and kept)."""
    blocks = store.metas(TRAJECTORY)
    return sorted((int(key.removeprefix(TRAJECTORY)), found) for key, found in blocks.items())
