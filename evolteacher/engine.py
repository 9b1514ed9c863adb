"""Lineages through rounds.

Each lineage is one coroutine, and nothing waits for another's: neither between evolving and answering nor between
rounds. What a lineage becomes depends on its seed, the recipe and its own replies alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from evolteacher.asking import Asker, Desk, Memory
from evolteacher.attempt import Attempt, Rejected
from evolteacher.bandit import Outcome
from evolteacher.choice import Draw, make_draw
from evolteacher.errors import (
    BudgetExceeded,
    CallError,
    EvolteacherError,
    NotStored,
    PluginError,
    RetryableError,
    Unreadable,
    plugin_fault,
)
from evolteacher.events import EvolutionSettled, RoundFinished
from evolteacher.filter import ResponseFilter
from evolteacher.messages import NO_REPLY, ROLES, Role
from evolteacher.operator import Operator
from evolteacher.pipeline import Check, Pipeline, Subject, filter_fault, read_finding, read_judgements
from evolteacher.preparing import prepare_operators
from evolteacher.recipe import Recipe
from evolteacher.record import (
    SEED_OPERATOR,
    Evolution,
    Instruction,
    Judgement,
    Lineage,
    Record,
    Seed,
    Stage,
    Verdict,
    clean_text,
)
from evolteacher.store import StepRow
from evolteacher.use import Use

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
        draw: chooses operators; there is one once the operators are prepared.
    """

    recipe: Recipe
    desk: Desk
    limit: int
    settled: Callable[[EvolutionSettled], None] | None = None
    round_finished: Callable[[RoundFinished], None] | None = None
    note: Callable[[str], None] = lambda line: None
    draw: Draw = field(init=False)
    pipeline: Pipeline = field(init=False)
    keys: dict[Role, str] = field(init=False)
    _asked: dict[int, int] = field(default_factory=dict)
    _failed: BaseException | None = None

    def __post_init__(self) -> None:
        """Derive what all lineages share."""
        self.pipeline = Pipeline.of(self.recipe.filters)
        self.keys = {role: self.recipe.backend_of(role) for role in ROLES}

    async def run(self) -> None:
        """Take every lineage through its rounds.

        A fatal error stops all lineages at once; what had settled in each is written before the error is raised. So
        it is when the task is cancelled.
        """
        workers: list[asyncio.Task[None]] = []
        try:
            if self.limit and await self._prepare():
                seeds = self.desk.store.seeds(self.limit)
                workers += [asyncio.create_task(self._work(seeds)) for _ in range(min(self._abreast(), self.limit))]
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
            await self.desk.stop()

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

    async def _work(self, seeds: Iterator[tuple[int, Seed]]) -> None:
        streak, progress, till = 0, self.desk.progress, self.desk.gate.till
        for order, seed in seeds:
            if till.exhausted or not await self.draw.ready(order):
                self.draw.settle(order, None)
                return
            lineage = LineageRun(self, order, seed)
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
        progress = self.desk.progress
        progress.left[round] += 1
        self._asked[round] = self._asked.get(round, 0) + asked
        if progress.left[round] == self.limit and self.round_finished is not None:
            event = RoundFinished(
                round, progress.kept[round], progress.rejected[round], replayed=not self._asked[round]
            )
            self.round_finished(event)


def why_pending(error: BudgetExceeded | NotStored | RetryableError) -> str:
    """Say why a lineage is not finished."""
    if isinstance(error, RetryableError):
        return clean_text(f"{type(error).__name__}: {error}")[0]
    return str(error)


class LineageRun:
    """One lineage on its way through the rounds.

    Attributes:
        rows: the derived rows so far, one a round, round 0 first; with the scores that a choice may go by.
        settled: what each row is made of, and its verdict.
        outcomes: of the evolutions so far, for the draw to learn from.
        pending: why the lineage is not finished; empty when it is.
    """

    def __init__(self, engine: Engine, order: int, seed: Seed) -> None:
        self.engine = engine
        self.order = order
        self.seed = seed
        self.id = seed.instruction.id
        self.memory = Memory(engine.desk, self.id)
        self.rows: list[StepRow] = []
        self.settled: list[tuple[Attempt, Verdict]] = []
        self.outcomes: list[Outcome] = []
        self.pending = "interrupted"

    async def run(self) -> None:
        """Go through all rounds; retries that run out, or a budget that does, leave the lineage pending."""
        try:
            await self._rounds()
            await self._judge_together()
            self.pending = ""
            self.engine.desk.progress.lineages += 1
        except (BudgetExceeded, NotStored, RetryableError) as error:
            self.pending = why_pending(error)
            self.engine.desk.progress.pending += 1

    def write(self) -> None:
        """Write what has settled."""
        self.engine.desk.store.write_lineage(self.order, self.rows, self.pending)

    async def _rounds(self) -> None:
        recipe = self.engine.recipe
        if not await self._seed():
            self._leave_from(1)
            return
        parent, depth, parent_round = self.seed.instruction, 0, 0
        for round in range(1, recipe.rounds + 1):
            asked, tokens = self.memory.asked, self.memory.tokens
            use = self.engine.draw(round, self.id, self.order, "task" if depth else recipe.material)
            attempt = Attempt(use.label, round, parent, depth + 1, parent_round)
            kept = await self._evolve(attempt, use)
            gain = self.engine.draw.gain(attempt.scores, self.rows[parent_round].scores)
            self.outcomes.append(Outcome(use.label, kept * (1.0 + gain), self.memory.tokens - tokens))
            self.engine.leave(round, self.memory.asked > asked)
            if kept and attempt.evolution is not None:
                parent, depth, parent_round = attempt.evolution.child, depth + 1, round
            elif recipe.on_pruned == "retire":
                self._leave_from(round + 1)
                return

    def _leave_from(self, first: int) -> None:
        for round in range(first, self.engine.recipe.rounds + 1):
            self.engine.leave(round, False)

    async def _seed(self) -> bool:
        """Settle round 0; return whether the seed may evolve."""
        instruction = self.seed.instruction
        evolution = Evolution.of_seed(instruction)
        attempt = Attempt(SEED_OPERATOR, 0, instruction, evolution=evolution)
        attempt.response = self.seed.response
        try:
            await self._pass(self.engine.pipeline.seed_instruction, evolution, "seed", attempt)
            if attempt.response is None and self.engine.recipe.answers_seeds:
                await self._respond(attempt, "seed")
            if attempt.response is not None:
                await self._pass(self.engine.pipeline.seed_response, self._record(attempt), "seed", attempt)
        except Rejected as rejected:
            self._settle(attempt, rejected.verdict)
            return False
        self._settle(attempt, Verdict("seed"))
        return True

    async def _evolve(self, attempt: Attempt, use: Use[Operator]) -> bool:
        """Settle one evolution; return whether it was kept."""
        try:
            text = await self._apply(attempt, use)
            reply = attempt.ask.last.reply if attempt.ask is not None and attempt.ask.last is not None else NO_REPLY
            child, markers = Instruction(text), use.component.markers_used()
            evolution = Evolution(attempt.parent, child, use.label, attempt.round, reply, markers, attempt.depth)
            attempt.evolution = evolution
            await self._pass(self.engine.pipeline.instruction, evolution, "instruction", attempt)
            await self._respond(attempt, "response")
            await self._pass(self.engine.pipeline.response, self._record(attempt), "response", attempt)
        except Rejected as rejected:
            self._settle(attempt, rejected.verdict)
            return False
        self._settle(attempt, Verdict("response"))
        return True

    async def _apply(self, attempt: Attempt, use: Use[Operator]) -> str:
        attempt.ask = self._asker(attempt.round, "evolve", "evolve", use)
        try:
            text = await attempt.ask.finish(use.component.evolve(attempt.parent, attempt.ask))
            if not isinstance(text, str):
                raise PluginError(f"operator '{use.label}' returned {type(text).__name__}, and a text is needed")
        except Unreadable as error:
            raise Rejected("evolve", "unreadable", str(error)) from None
        except CallError as error:
            raise Rejected("evolve", error.outcome, str(error)) from None
        except EvolteacherError:
            raise
        except Exception as error:
            raise plugin_fault(f"operator '{use.label}'", error) from error
        if not text.strip():
            raise Rejected("evolve", "unreadable", "the operator gave an empty text")
        return clean_text(text)[0]

    async def _respond(self, attempt: Attempt, stage: Stage) -> None:
        attempt.answer = self._asker(attempt.round, "respond", "respond")
        assert attempt.evolution is not None
        try:
            attempt.reply = await attempt.answer(attempt.evolution.child.text)
        except CallError as error:
            raise Rejected(stage, error.outcome, str(error)) from None
        attempt.response = attempt.reply.text

    def _record(self, attempt: Attempt) -> Record:
        assert attempt.evolution is not None
        assert attempt.response is not None
        seed = self.seed
        return Record(
            attempt.evolution, attempt.response, attempt.reply, self.id, self.order, seed.source, seed.licence,
            dict(attempt.scores), seed.terms,
        )  # fmt: skip

    async def _pass(self, checks: tuple[Check, ...], subject: Subject, stage: Stage, attempt: Attempt) -> Subject:
        """Raise Rejected for the first check that has a reason; scores are noted up to there.

        A response that a check repairs is what all later checks see; those before it that ask nothing see it, too, so
        that no row is written that they have not looked at.

        Returns:
            The subject, with its response as it was repaired.
        """
        for place, check in enumerate(checks):
            label = check.use.label
            judgement = await self._judge(check, subject, stage, attempt)
            if judgement.score is not None:
                attempt.scores[check.score] = judgement.score
            if judgement.reason is not None:
                raise Rejected(stage, label, judgement.reason or "no reason given")
            if judgement.response is not None and judgement.response != attempt.response:
                attempt.repair(judgement.response, label)
                again = tuple(earlier for earlier in checks[:place] if earlier.quick is not None)
                subject = await self._pass(again, self._record(attempt), stage, attempt)
        return subject

    async def _judge(self, check: Check, subject: Subject, stage: Stage, attempt: Attempt) -> Judgement:
        """Return what one check finds; a refusal that it lets through rejects."""
        label = check.use.label
        try:
            if check.quick is not None:
                finding = check.quick(subject)
            else:
                assert check.judge is not None
                # One filter may judge instruction and response of one round: two steps, so that slots differ.
                place = ":response" if isinstance(subject, Record) else ""
                ask = self._asker(attempt.round, f"filter:{label}{place}", "judge", check.use)
                finding = await ask.finish(check.judge(subject, ask))
            return read_finding(label, finding, may_repair=isinstance(check.use.component, ResponseFilter))
        except CallError as error:
            raise Rejected(stage, label, f"{error.outcome}: {error}") from None
        except Exception as error:
            raise filter_fault(label, error) from error

    async def _judge_together(self) -> None:
        """Let the lineage filters judge all versions, in recipe order."""
        for use in self.engine.pipeline.lineage:
            open_rounds = [
                attempt.round
                for attempt, verdict in self.settled
                if verdict.kept and attempt.response is not None and (attempt.round or "seeds" in use.on)
            ]
            if not any(verdict.kept and attempt.response is not None for attempt, verdict in self.settled):
                return
            steps = tuple(attempt.step(verdict) for attempt, verdict in self.settled)
            ask = self._asker(0, f"filter:{use.label}:lineage", "judge", use)
            try:
                found = await ask.finish(use.component.judge(Lineage(self.seed, self.order, steps), ask))
                judgements = read_judgements(use.label, found, len(steps))
            except CallError as error:
                judgements = {round: Judgement(reason=f"{error.outcome}: {error}") for round in open_rounds}
            except Exception as error:
                raise filter_fault(use.label, error) from error
            for round, judgement in judgements.items():
                self._apply_judgement(use.label, round, judgement, round in open_rounds)

    def _apply_judgement(self, label: str, round: int, judgement: Judgement, may_reject: bool) -> None:
        attempt, verdict = self.settled[round]
        if judgement.score is not None:
            attempt.scores[label] = judgement.score
        if judgement.reason is not None and may_reject:
            reason = clean_text(judgement.reason or "no reason given")[0]
            verdict = Verdict("lineage", label, reason)
            progress = self.engine.desk.progress
            progress.kept[round] -= 1
            progress.rejected[round] += 1
            progress.filters[label] += 1
        self.settled[round] = attempt, verdict
        self.rows[round] = attempt.row(verdict)

    def _asker(self, round: int, step: str, role: Role, use: Use[Any] | None = None) -> Asker:
        pinned, who = None, step
        if use is not None:
            who = f"{use.component.kind} '{use.label}'"
            if use.backend is not None:
                pinned = self.engine.recipe.backend_keys[use.backend]
        return Asker(self.memory, round, step, role, self.engine.keys, who, pinned)

    def _settle(self, attempt: Attempt, verdict: Verdict) -> None:
        self.rows.append(attempt.row(verdict))
        self.settled.append((attempt, verdict))
        progress = self.engine.desk.progress
        if not verdict.kept:
            progress.rejected[attempt.round] += 1
            progress.filters[verdict.filter] += 1
        elif attempt.response is not None:
            progress.kept[attempt.round] += 1
        if self.engine.settled is not None:
            event = EvolutionSettled(self.id, attempt.step(verdict), replayed=not self.memory.asked)
            self.engine.settled(event)
