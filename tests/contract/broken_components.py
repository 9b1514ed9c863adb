"""Operators and filters that keep every rule of the contract, and for each rule others that break it and nothing else.

Collected by the pytest of test_broken_components.py only. A broken class stands in ``BROKEN`` under the checks that
must fail; its suite is made from that of its kind.
"""

import asyncio
import itertools
import random
import re
import time
from typing import Any, ClassVar

import pytest
from pydantic import ConfigDict, Field, PrivateAttr, field_serializer

import evolteacher as et
from evolteacher import errors
from evolteacher.specimens import lineage
from evolteacher.testing import DatasetFilterConformance, FilterConformance, JudgeConformance, OperatorConformance

BROKEN: dict[str, set[str]] = {}
"""Suite -> the checks that must fail."""


class GoodOperator(et.Operator, name="good"):
    """Ask twice at once, and then a third time by name; take the longest."""

    markers = ("[TASK]", "[/TASK]", "[NEW TASK]")

    words: tuple[str, ...] = Field(("harder",), description="How to make it.")

    def prompt(self, parent):
        return f"Make it {self.words[0]}.\n\n[TASK]\n{parent.text}\n[/TASK]\n\n[NEW TASK]\n"

    async def evolve(self, parent, ask):
        replies = await asyncio.gather(*(ask(self.prompt(parent), temperature=1.2) for _ in range(2)))
        replies.append(await ask(self.prompt(parent), key="last"))
        return self.read(max(replies, key=lambda reply: len(reply.text)), parent)


class GoodFilter(et.TextFilter, name="good-row"):
    """Reject a text that holds a word."""

    word: str = Field("forbidden", description="Which.")

    def reject(self, text):
        return f"it holds {self.word}" if self.word in text or "{0}" in text else None


class GoodJudge(et.ResponseFilter, name="good-judge"):
    """Ask whether it is any good."""

    async def judge(self, record, ask):
        prompt = f"Task: {record.instruction.text}\nAnswer: {record.response}\nGood?"
        first, second = await asyncio.gather(ask(prompt), ask(prompt))
        return "the judge says no" if "no" in first.text.lower() and "no" in second.text.lower() else None


class GoodScorer(et.LineageFilter, name="good-scorer"):
    """Ask for the score of each row of a lineage; reject the low ones."""

    async def judge(self, lineage, ask):
        found = {}
        for row in lineage.records():
            said = await ask(f"Score {row.round}: {row.instruction.text}\n{row.response}", key=str(row.round))
            found[row.round] = self.judgement(said.text)
        return found

    def judgement(self, said):
        score = re.search(r"\d{1,2}", said, re.ASCII)
        if score is None:
            return et.Judgement(reason="no score")
        return et.Judgement(float(score[0]), "too low" if float(score[0]) < 5 else None)


class GoodDatasetFilter(et.DatasetFilter, name="good-set"):
    """Keep the first of equal responses."""

    def select(self, records):
        first = {}
        for record in records:
            if first.setdefault(record.response, record.id) != record.id:
                yield record.id, f"like {first[record.response]}"


KINDS = {
    GoodOperator: (OperatorConformance, "operator"),
    GoodFilter: (FilterConformance, "filter"),
    GoodJudge: (JudgeConformance, "filter"),
    GoodScorer: (JudgeConformance, "filter"),
    GoodDatasetFilter: (DatasetFilterConformance, "filter"),
}


def suite(cls, **attributes):
    """Make the conformance class of a component's class."""
    conformance, fixture = next(KINDS[base] for base in cls.__mro__ if base in KINDS)

    def component(self):
        return cls()

    made = type(f"Test{cls.__name__}", (conformance,), {fixture: pytest.fixture(component), **attributes})
    globals()[made.__name__] = made
    return made


EXAMPLES = {
    "rejects": pytest.fixture(lambda self: ["this is forbidden"]),
    "keeps": pytest.fixture(lambda self: ["this is fine", ""]),
}
LINEAGE = lineage("Add two numbers.")
JUDGED = et.Record(et.Evolution.of_seed(et.Instruction("Add.")), "a + b")

suite(GoodOperator)
suite(GoodFilter, **EXAMPLES)
suite(GoodJudge, keeps=pytest.fixture(lambda self: [JUDGED]))
suite(GoodScorer, keeps=pytest.fixture(lambda self: [LINEAGE]))
suite(GoodDatasetFilter)


SLOW = ("test_another_process_does_the_same", "test_a_huge_text_is_done_in_time")
"""Made for the good ones, and for those that break them."""


def breaks(*checks, **attributes):
    """Make the suite of a broken class, and note what must fail."""

    def note(cls):
        left_out = {check: None for check in SLOW if check not in checks}
        BROKEN[suite(cls, **left_out, **attributes).__name__] = set(checks)
        return cls

    return note


@breaks("test_it_has_a_name")
class Nameless(GoodOperator):
    """Has no name."""


@breaks("test_it_is_documented")
class Undocumented(GoodOperator, name="undocumented"):
    pass


@breaks("test_every_option_is_described")
class Undescribed(GoodOperator, name="undescribed"):
    """Has an option that nobody explains."""

    speed: int = 3


@breaks("test_of_its_options_the_same_one_is_made")
class Lossy(GoodFilter, name="lossy"):
    """Writes an option in a form that it does not read."""

    share: float = Field(0.5, description="Of the words.")

    @field_serializer("share")
    def _write(self, share):
        return f"{share:.0%}"


@breaks("test_options_are_frozen")
class Molten(GoodFilter, name="molten"):
    """Lets its options be set."""

    model_config = ConfigDict(frozen=False)


@breaks("test_unknown_options_are_refused")
class Lenient(GoodFilter, name="lenient"):
    """Takes any option."""

    model_config = ConfigDict(extra="ignore")


@breaks("test_it_copes_with_any_text")
class Formats(GoodOperator, name="formats"):
    """Takes the task for a format."""

    def prompt(self, parent):
        parent.text.format()
        return super().prompt(parent)


@breaks("test_it_copes_with_any_text")
class Percents(GoodFilter, name="percents"):
    """Takes the text for a format of the old kind."""

    def reject(self, text):
        return "it is itself" if (text % ()) == "no such text" else super().reject(text)


@breaks("test_it_copes_with_any_text")
class FirstWord(GoodDatasetFilter, name="first-word"):
    """Looks at the first word, and there is none."""

    def select(self, records):
        for record in records:
            if record.instruction.text.split()[0] == "no-such-word":
                yield record.id, "it begins so"


BROKEN["TestFirstWord"] |= {"test_it_drops_rows_that_there_are", "test_it_drops_a_row_once"}
BROKEN["TestFirstWord"] |= {"test_it_reads_the_rows_once"}


@breaks("test_it_copes_with_any_text", "test_any_verdict_is_decided")
class AsksANumber(GoodJudge, name="asks-a-number"):
    """Asks something that is no prompt, for an odd text."""

    async def judge(self, record, ask):
        return await super().judge(record, ask) if record.response.strip() else (await ask(12)).text


@breaks("test_the_same_gives_the_same", "test_nothing_is_remembered", "test_another_process_does_the_same")
class Random(GoodOperator, name="random"):
    """Draws a number."""

    def prompt(self, parent):
        return f"{super().prompt(parent)}{random.random()}"

    async def evolve(self, parent, ask):
        return self.read(await ask(self.prompt(parent)), parent)


BROKEN["TestRandom"] |= {"test_answers_may_arrive_in_any_order"}

COUNTED = itertools.count()


@breaks("test_the_same_gives_the_same", "test_nothing_is_remembered", "test_another_process_does_the_same")
class Clock(GoodFilter, name="clock"):
    """Looks at something that changes."""

    def reject(self, text):
        return f"this is text {next(COUNTED)}"


@breaks("test_the_same_gives_the_same")
class PerInstance(GoodFilter, name="per-instance"):
    """Every second one of a class is another."""

    _number: int = PrivateAttr(0)

    def model_copy(self, **options):
        copy = super().model_copy(**options)
        if not options.get("deep"):
            copy._number = next(COUNTED) % 2
        return copy

    def reject(self, text):
        return "it is odd" if self._number else super().reject(text)


@breaks("test_nothing_is_remembered")
class Remembers(GoodFilter, name="remembers"):
    """Rejects what it has seen."""

    _seen: set = PrivateAttr(default_factory=set)

    def model_copy(self, **options):
        copy = super().model_copy(**options)
        copy._seen = set()
        return copy

    def reject(self, text):
        again = text in self._seen
        self._seen.add(text)
        return "it was there before" if again else super().reject(text)


@breaks("test_what_it_is_given_stays_as_it_was")
class Meddles(GoodJudge, name="meddles"):
    """Writes into what it is given."""

    async def judge(self, record, ask):
        found = await super().judge(record, ask)
        object.__setattr__(record, "order", -1)
        return found


WORDS = [f"word-{number}" for number in range(200)]


@breaks("test_another_process_does_the_same")
class Unordered(GoodOperator, name="unordered"):
    """Writes a set into its prompt."""

    def prompt(self, parent):
        return f"{', '.join(set(WORDS))}\n{super().prompt(parent)}"


@breaks("test_another_process_does_the_same")
class UnorderedRows(GoodDatasetFilter, name="unordered-rows"):
    """Drops in the order of a set of texts."""

    def select(self, records):
        return list(set(super().select(records)))


@breaks("test_a_huge_text_is_done_in_time", patience=0.5)
class Quadratic(GoodFilter, name="quadratic"):
    """Goes through the rest of the text after each bracket, as a careless pattern does: two seconds for 100,000."""

    def reject(self, text):
        end = time.process_time() + (text.count("(") / 70_000) ** 2
        while time.process_time() < end:
            pass
        return super().reject(text)


@breaks("test_answers_may_arrive_in_any_order")
class FirstComes(GoodOperator, name="first-comes"):
    """Takes the answer that arrives first."""

    async def evolve(self, parent, ask):
        tasks = [asyncio.ensure_future(ask(self.prompt(parent))) for _ in range(3)]
        first = await next(asyncio.as_completed(tasks))
        await asyncio.gather(*tasks)
        return self.read(first, parent)


@breaks("test_answers_may_arrive_in_any_order")
class Keyless(GoodJudge, name="keyless"):
    """Asks on after each answer, and so numbers its asks by their arrival."""

    async def judge(self, record, ask):
        async def twice(prompt):
            first = await ask(f"{prompt} {record.instruction.text} {record.response}")
            await ask(f"{prompt} again: {first.text}")

        await asyncio.gather(*(twice(prompt) for prompt in ("Good?", "Bad?")))
        return None


@breaks("test_a_call_error_goes_through")
class Swallows(GoodOperator, name="swallows"):
    """Makes the best of a refusal."""

    async def evolve(self, parent, ask):
        try:
            return await super().evolve(parent, ask)
        except errors.CallError:
            return parent.text


@breaks("test_a_call_error_goes_through")
class KeepsRefused(GoodJudge, name="keeps-refused"):
    """Keeps what the judge refuses to look at."""

    async def judge(self, record, ask):
        try:
            return await super().judge(record, ask)
        except errors.BackendError:
            return None


@breaks("test_it_ends_when_it_is_cancelled")
class Stubborn(GoodOperator, name="stubborn"):
    """Goes on when it is told to stop."""

    async def evolve(self, parent, ask):
        try:
            return await super().evolve(parent, ask)
        except asyncio.CancelledError:
            return parent.text


@breaks("test_it_ends_when_it_is_cancelled")
class Explains(GoodJudge, name="explains"):
    """Makes an error of its own of a cancellation."""

    async def judge(self, record, ask):
        try:
            return await super().judge(record, ask)
        except asyncio.CancelledError:
            raise ValueError("cancelled") from None


@breaks("test_the_task_stands_in_the_prompt")
class Strips(GoodOperator, name="strips"):
    """Takes braces out of the task."""

    def prompt(self, parent):
        return super().prompt(et.Instruction(parent.text.replace("{", "").replace("}", "")))


@breaks("test_a_good_answer_becomes_a_task")
class Forgets(GoodOperator, name="forgets"):
    """Returns nothing at all."""

    async def evolve(self, parent, ask):
        await super().evolve(parent, ask)
        return ""


@breaks("test_any_answer_is_read_or_unreadable")
class Expects(GoodOperator, name="expects"):
    """Expects more than three words."""

    def read(self, reply, parent):
        text = super().read(reply, parent)
        return f"{text} ({reply.text.split()[3]})"


@breaks("test_any_answer_is_read_or_unreadable")
class Numbers(GoodOperator, name="numbers"):
    """Returns a number where the answer is one."""

    def read(self, reply, parent):
        return int(reply.text) if reply.text.isdigit() else super().read(reply, parent)


@breaks("test_any_answer_is_read_or_unreadable")
class NoReason(GoodOperator, name="no-reason"):
    """Says not why."""

    def read(self, reply, parent):
        if len(reply.text) < 30:
            raise errors.Unreadable("")
        return super().read(reply, parent)


@breaks("test_markers_stand_in_the_prompt")
class Unmarked(GoodOperator, name="unmarked"):
    """Names a marker that its prompt does not have."""

    markers = ("[A]", "[/TASK]", "[NEW TASK]")


@breaks("test_markers_are_not_read")
class Leaks(GoodOperator, name="leaks"):
    """Takes the answer as it came."""

    def read(self, reply, parent):
        return reply.text


@breaks("test_it_gives_a_reason_or_none")
class RepairsText(GoodFilter, name="repairs-text"):
    """Puts another text in the place of one that is no response."""

    def reject(self, text):
        return super().reject(text) or et.Judgement(response="better")


@breaks("test_it_gives_a_reason_or_none")
class Truth(GoodFilter, name="truth"):
    """Says true and false."""

    def reject(self, text):
        return super().reject(text) is not None


@breaks("test_it_gives_a_reason_or_none")
class Wordless(GoodFilter, name="wordless"):
    """Rejects without a reason."""

    def reject(self, text):
        return "" if super().reject(text) else None


@breaks("test_it_rejects_what_it_should", **EXAMPLES)
class Mild(GoodFilter, name="mild"):
    """Rejects nothing."""

    def reject(self, text):
        return None


@breaks("test_it_keeps_what_it_should", **EXAMPLES)
class Harsh(GoodFilter, name="harsh"):
    """Rejects everything."""

    def reject(self, text):
        return "no"


@breaks("test_any_verdict_is_decided")
class WantsANumber(GoodJudge, name="wants-a-number"):
    """Crashes where there is no number in the verdict."""

    async def judge(self, record, ask):
        reply = await ask(f"{record.instruction.text}\n{record.response}\nOne to ten?")
        number: Any = re.search(r"\d+", reply.text)
        return "too few" if int(number[0]) < 5 else None


@breaks("test_any_verdict_is_decided")
class Parrots(GoodJudge, name="parrots"):
    """Takes the verdict for the reason, also where it is empty."""

    async def judge(self, record, ask):
        reply = await ask(f"{record.instruction.text}\n{record.response}\nWhy is it bad?")
        return reply.text


@breaks("test_what_is_judged_stands_in_the_prompt")
class Escapes(GoodJudge, name="escapes"):
    """Writes the response as Python would."""

    async def judge(self, record, ask):
        reply = await ask(f"{record.instruction.text}\n{record.response!r}\nGood?")
        return "no" if "no" in reply.text else None


@breaks("test_it_drops_rows_that_there_are")
class Stranger(GoodDatasetFilter, name="stranger"):
    """Drops by an id of its own."""

    def select(self, records):
        return [(f"{record}#", reason) for record, reason in super().select(records)]


@breaks("test_it_drops_rows_that_there_are")
class SaysNothing(GoodDatasetFilter, name="says-nothing"):
    """Drops without a reason."""

    def select(self, records):
        return [(record, " ") for record, _ in super().select(records)]


@breaks("test_it_drops_a_row_once")
class Repeats(GoodDatasetFilter, name="repeats"):
    """Drops a row for two reasons."""

    def select(self, records):
        return [pair for pair in super().select(records) for _ in range(2)]


@breaks("test_it_reads_the_rows_once")
class Twice(GoodDatasetFilter, name="twice"):
    """Goes over the rows twice."""

    def select(self, records):
        known = {record.response for record in records}
        return [(record.id, "it is one of them") for record in records if record.response in known]


@breaks("test_the_earlier_row_wins")
class Later(GoodDatasetFilter, name="later"):
    """Keeps the last of equal responses."""

    def select(self, records):
        return super().select(reversed(list(records)))


class Scores(GoodFilter, name="scores"):
    """Gives each text a score of a kind."""

    score: ClassVar[Any] = 1.0

    def reject(self, text):
        return et.Judgement(self.score, super().reject(text))


suite(Scores, **EXAMPLES)


@breaks("test_it_gives_a_reason_or_none")
class NoNumber(Scores, name="no-number"):
    """Scores what it cannot score with a NaN."""

    score: ClassVar[Any] = float("nan")


@breaks("test_it_gives_a_reason_or_none")
class InWords(Scores, name="in-words"):
    """Scores in words."""

    score: ClassVar[Any] = "8/10"


@breaks("test_it_gives_a_reason_or_none")
class YesOrNo(Scores, name="yes-or-no"):
    """Scores with true."""

    score: ClassVar[Any] = True


@breaks("test_it_gives_a_reason_or_none")
class ByRow(GoodFilter, name="by-row"):
    """Returns what only a filter of lineages may."""

    def reject(self, text):
        return {0: et.Judgement(1.0)}


@breaks("test_it_gives_a_reason_or_none", "test_any_verdict_is_decided")
class OnlyReasons(GoodScorer, name="only-reasons"):
    """Gives reasons where judgements are needed."""

    def judgement(self, said):
        return super().judgement(said).reason


@breaks("test_it_gives_a_reason_or_none", "test_any_verdict_is_decided")
class Listed(GoodScorer, name="listed"):
    """Gives the judgements in a list, so that nobody knows of which round each is."""

    async def judge(self, lineage, ask):
        return [*(await super().judge(lineage, ask)).values()]


@breaks("test_it_gives_a_reason_or_none", "test_any_verdict_is_decided")
class FromOne(GoodScorer, name="from-one"):
    """Counts the rounds from one."""

    async def judge(self, lineage, ask):
        return {round + 1: each for round, each in (await super().judge(lineage, ask)).items()}


@breaks("test_any_verdict_is_decided")
class EmptyReason(GoodScorer, name="empty-reason"):
    """Takes the verdict for the reason, also where it is empty."""

    def judgement(self, said):
        return et.Judgement(reason=said)


@breaks("test_any_verdict_is_decided")
class MustScore(GoodScorer, name="must-score"):
    """Crashes where a version has no score."""

    def judgement(self, said):
        found: Any = re.search(r"\d{1,2}", said, re.ASCII)
        return et.Judgement(float(found[0]))


@breaks("test_it_keeps_what_it_should", keeps=pytest.fixture(lambda self: [LINEAGE]))
class HarshOnRounds(GoodScorer, name="harsh-on-rounds"):
    """Rejects a round, whatever the judge says."""

    async def judge(self, lineage, ask):
        found = await super().judge(lineage, ask)
        return {round: et.Judgement(each.score, "no" if round == 2 else each.reason) for round, each in found.items()}


@breaks("test_it_rejects_what_it_should", rejects=pytest.fixture(lambda self: [LINEAGE]))
class MildOnRounds(GoodScorer, name="mild-on-rounds"):
    """Rejects no round."""

    def judgement(self, said):
        return et.Judgement()


@breaks("test_what_is_judged_stands_in_the_prompt")
class Shortens(GoodScorer, name="shortens"):
    """Shows the judge no braces."""

    async def judge(self, lineage, ask):
        async def without(prompt, **how):
            return await ask(prompt.replace("{", "("), **how)

        return await super().judge(lineage, without)
