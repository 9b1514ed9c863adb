"""Lineages through rounds.

Each lineage is one coroutine, and nothing waits for another's: neither between evolving and answering nor between
rounds. What a lineage becomes depends on its seed, the recipe and its own replies alone.

Where the recipe has a stop, a round ends before the next begins. Then all lineages are taken through one round more
each time, from the beginning: what they were before is replayed from the store, as in a resume, so that nothing is kept
in memory between rounds and a process that is killed there has lost nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from evolteacher.asking import Desk
from evolteacher.choice import Draw, make_draw
from evolteacher.errors import BudgetExceeded, NotStored, RetryableError
from evolteacher.events import EvolutionSettled, RoundFinished
from evolteacher.messages import ROLES, Role
from evolteacher.passage import LineageRun, why_pending
from evolteacher.pipeline import Pipeline
from evolteacher.preparing import prepare_operators
from evolteacher.recipe import Recipe
from evolteacher.record import Seed
from evolteacher.stopping import Curve, Proxy

ABREAST = 8
"""Lineages that are worked on for each call that may be in flight: with fewer, the slots of a small run stand empty
while its last lineages go through their rounds one call at a time (docs/notebook.md)."""

MOST_ABREAST = 10_000
"""Lineages that are worked on at once where requests go out in provider batches."""

STREAK = 16
"""Lineages that a worker replays before it lets others run: nothing awaits while all answers come from the store."""


@dataclass
class Engine:
    """Takes lineages through the rounds of one recipe.

    Attributes:
        recipe: the experiment.
        desk: asks with a memory, and counts.
        limit: how many of the stored seeds to take.
        settled: told of each settled evolution, where anyone wants to know.
        round_finished: told when the last lineage has left a round.
        note: told lines for the user.
        proxy: tunes a small model, for a stop that goes by its loss; without it nothing is decided by one.
        counted: the round up to which this process has counted and told what became of lineages; -1 at first.
        draw: chooses operators; there is one once the operators are prepared.
    """

    recipe: Recipe
    desk: Desk
    limit: int
    settled: Callable[[EvolutionSettled], None] | None = None
    round_finished: Callable[[RoundFinished], None] | None = None
    note: Callable[[str], None] = lambda line: None
    proxy: Proxy | None = None
    counted: int = -1
    draw: Draw = field(init=False)
    pipeline: Pipeline = field(init=False)
    keys: dict[Role, str] = field(init=False)
    _asked: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Derive what all lineages share."""
        self.pipeline = Pipeline.of(self.recipe.filters)
        self.keys = {role: self.recipe.backend_of(role) for role in ROLES}

    async def run(self) -> None:
        """Take every lineage through its rounds.

        A fatal error stops all lineages at once; what had settled in each is written before the error is raised. So
        it is when the task is cancelled.
        """
        try:
            if self.limit and await self._prepare():
                await self._rounds()
        finally:
            await self.desk.stop()

    async def _rounds(self) -> None:
        """Take all lineages through all rounds; with a stop, through one round more until it ends them."""
        most, progress = self.recipe.rounds, self.desk.progress
        if self.recipe.stop is None:
            await self._go(most, ends=True)
            return
        curve = Curve(self.recipe, self.desk.store, self.proxy)
        while not curve.ended:
            round = len(curve.points) + 1
            await self._go(round, ends=round == most)
            if progress.pending:
                return
            point = await curve.add()
            if point is None:
                progress.pending += self.limit
                return
            self.note(point.line())
        last = curve.points[-1].round
        progress.rounds = last
        if self.counted < most:
            await self._go(last, ends=True)

    async def _go(self, last: int, *, ends: bool) -> None:
        """Take every lineage through the rounds up to one; see :class:`LineageRun`."""
        seeds = self.desk.store.seeds(self.limit)
        number = min(self._abreast(), self.limit)
        workers = [asyncio.create_task(self._work(seeds, last, ends)) for _ in range(number)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
        self.counted = last

    async def _prepare(self) -> bool:
        """Prepare the operators; where that is cut short all lineages are pending, and the first says why."""
        try:
            operators = await prepare_operators(self.recipe, self.desk, self.keys, self.note)
        except (BudgetExceeded, NotStored, RetryableError) as error:
            self.desk.store.write_lineage(0, [], why_pending(error))
            self.desk.progress.pending += 1
            return False
        self.draw = make_draw(self.recipe, operators, self.desk.store)
        return True

    def _abreast(self) -> int:
        """Return how many lineages are worked on at once.

        More than calls may be in flight, so that slots stay taken while some lineages wait to ask again, and so that
        lineages end together: one alone takes as long as its rounds. All that a batch holds, where there are batches.
        """
        batched = [answerer.backend for answerer in self.desk.answerers.values() if answerer.batcher is not None]
        abreast = [
            ABREAST * self.recipe.concurrency,
            *(min(MOST_ABREAST, backend.most_in_batch) for backend in batched),
        ]
        return max(abreast)

    async def _work(self, seeds: Iterator[tuple[int, Seed]], last: int, ends: bool) -> None:
        streak, progress, till = 0, self.desk.progress, self.desk.gate.till
        for order, seed in seeds:
            if till.exhausted or not await self.draw.ready(order):
                self.draw.settle(order, None)
                return
            lineage = LineageRun(self, order, seed, last, ends)
            progress.active += 1
            try:
                await lineage.run()
            finally:
                progress.active -= 1
                lineage.write()
            self.draw.settle(order, None if lineage.pending else lineage.outcomes)
            streak = 0 if lineage.memory.asked else streak + 1
            if streak % STREAK == 0:
                await asyncio.sleep(0)

    def leave(self, round: int, asked: bool) -> None:
        """Note that a lineage has left a round; tell when it was the last."""
        if round <= self.counted:
            return
        progress = self.desk.progress
        progress.left[round] += 1
        self._asked[round] = self._asked.get(round, 0) + asked
        if progress.left[round] == self.limit and self.round_finished is not None:
            event = RoundFinished(
                round, progress.kept[round], progress.rejected[round], replayed=not self._asked[round]
            )
            self.round_finished(event)
