"""One lineage on its way through the rounds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evolteacher.asking import Asker, Memory
from evolteacher.attempt import Attempt, Rejected
from evolteacher.bandit import Outcome
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
from evolteacher.events import EvolutionSettled
from evolteacher.filter import ResponseFilter
from evolteacher.messages import NO_REPLY, Role
from evolteacher.operator import Operator
from evolteacher.pipeline import Check, Subject, filter_fault, read_finding, read_judgements
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
from evolteacher.stopping import WAITS
from evolteacher.store import StepRow
from evolteacher.use import Use

if TYPE_CHECKING:
    from evolteacher.engine import Engine


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

    Args:
        engine: what all lineages share.
        order: the seed's place.
        seed: where it starts.
        last: the round after which it ends, or waits for all others.
        ends: whether it ends there.
    """

    def __init__(self, engine: Engine, order: int, seed: Seed, last: int, ends: bool) -> None:
        self.engine = engine
        self.order = order
        self.seed = seed
        self.last = last
        self.ends = ends
        self.id = seed.instruction.id
        self.memory = Memory(engine.desk, self.id, engine.counted)
        self.rows: list[StepRow] = []
        self.settled: list[tuple[Attempt, Verdict]] = []
        self.outcomes: list[Outcome] = []
        self.pending = "interrupted"

    async def run(self) -> None:
        """Go through the rounds; retries that run out, or a budget that does, leave the lineage pending."""
        try:
            await self._rounds()
            if not self.ends:
                self.pending = WAITS
                return
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
        for round in range(1, self.last + 1):
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
        for round in range(first, self.last + 1):
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
        if attempt.round <= self.engine.counted:
            return
        progress = self.engine.desk.progress
        if not verdict.kept:
            progress.rejected[attempt.round] += 1
            progress.filters[verdict.filter] += 1
        elif attempt.response is not None:
            progress.kept[attempt.round] += 1
        if self.engine.settled is not None:
            event = EvolutionSettled(self.id, attempt.step(verdict), replayed=not self.memory.asked)
            self.engine.settled(event)
