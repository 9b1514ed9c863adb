"""The checks of filters: of rows, of rows by way of an LLM, and of whole datasets."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from evolteacher.component import Component
from evolteacher.filter import DatasetFilter, Filter, LineageFilter, ResponseFilter
from evolteacher.record import Judgement, Record
from evolteacher.specimens import TEXTS, UNANSWERED, Script, Trial, attempt, dataset, lineage, specimens
from evolteacher.testing.components import AskingChecks, ComponentChecks, Trials, missing
from evolteacher.testing.harness import describe
from evolteacher.testing.operators import ANSWERS


class _FilterChecks(ComponentChecks):
    @pytest.fixture
    def filter(self) -> Filter:
        """The filter under test; to be overridden."""
        missing(self, "filter")

    @pytest.fixture
    def component(self, filter: Filter) -> Component:
        """The filter."""
        wanted = _suite(filter)
        if not isinstance(self, wanted):
            pytest.fail(f"{type(self).__name__}: for '{filter.name}' inherit from {wanted.__name__}", pytrace=False)
        return filter


class _RowChecks(_FilterChecks):
    @pytest.fixture
    def rejects(self) -> Sequence[Any]:
        """What it must reject: texts, evolutions, records, replies or lineages (a row of it), as its base says."""
        return ()

    @pytest.fixture
    def keeps(self) -> Sequence[Any]:
        """What it must keep."""
        return ()

    def test_it_gives_a_reason_or_none(self, component: Component) -> None:
        """What is kept gets None, or a repair of a response; what is rejected a reason in words: no empty text.

        A judgement's score is a finite number or None. Of a lineage each round gets a judgement, or none.
        """
        for what, specimen in self.kinds(component):
            trial = self.trial(component, specimen)
            if trial.error is None:
                _check_reason(self, component, trial, what)

    def test_it_rejects_what_it_should(self, component: Component, rejects: Sequence[Any]) -> None:
        """What the author says that it rejects (the fixture `rejects`) gets a reason."""
        if not rejects:
            self.not_covered("the fixture `rejects` names nothing")
        for each in rejects:
            if not _reason(self.trial(component, each).result):
                self.violated(f"{each!r} was kept")

    def test_it_keeps_what_it_should(self, component: Component, keeps: Sequence[Any]) -> None:
        """What the author says that it keeps (the fixture `keeps`) gets none."""
        if not keeps:
            self.not_covered("the fixture `keeps` names nothing")
        for each in keeps:
            if reason := _reason(self.trial(component, each).result):
                self.violated(f"{each!r} was rejected: {reason}")


class FilterConformance(_RowChecks):
    """All checks of a row filter that asks nothing; inherit from it, and give it the fixture ``filter``."""


class JudgeConformance(_RowChecks, AskingChecks):
    """All checks of a filter that asks an LLM; inherit from it, and give it the fixture ``filter``.

    ``answer(prompt, label)`` says what the judge answers; override it with a verdict that the filter can read.
    """

    def answer(self, prompt: str, label: str) -> str:
        """Return a verdict as good as none; see :meth:`~evolteacher.testing.components.Trials.answer`."""
        return "Yes. 8/10"

    @pytest.mark.parametrize("what", ANSWERS)
    def test_any_verdict_is_decided(self, component: Component, what: str) -> None:
        """Whatever the judge answers, unreadable or hostile, the filter keeps or gives a reason; it never raises."""
        decided = 0
        for where, specimen in list(self.kinds(component))[:4]:
            trial = attempt(component, specimen, Script(lambda asked: ANSWERS[what]))
            if trial.error is not None:
                self.violated(f"with {where}, after {what} it raised {describe(trial.error)}")
            _check_reason(self, component, trial, f"{where}, after {what},")
            decided += bool(trial.asked)
        if not decided:
            self.must_ask(component)

    def test_what_is_judged_stands_in_the_prompt(self, component: Component) -> None:
        """What is judged is data: its text stands in a prompt as it is, whatever braces and marks it holds."""
        self.must_ask(component)
        plain = self._unshown(component, "a plain text", "Tell what a heap is good for.")
        for what, text in TEXTS.items():
            for place, asked in self._unshown(component, what, text).items():
                if place not in plain:  # else the judge does not look there at all: at a parent, say
                    self.violated(f"with {what}{place}, {text!r}, it asked {asked!r}")

    def _unshown(self, component: Component, what: str, text: str) -> dict[str, str]:
        """Return the places in which a text may stand and is not in what is asked then, each with what is asked."""
        found, places = {}, 0
        for where, specimen in specimens(component, {what: text}).items():
            if not where.startswith(what):
                continue
            places += 1
            trial = self.trial(component, specimen)
            if trial.asked and not any(text.strip() in asked.text for asked in trial.asked):
                found[where.removeprefix(what)] = trial.asked[0].text
        if len(found) == places:
            self.violated(f"with {what}, {text!r}, it asked {next(iter(found.values()))!r}")
        return found


class DatasetFilterConformance(_FilterChecks):
    """All checks of a dataset filter; inherit from it, and give it the fixture ``filter``."""

    def test_it_drops_rows_that_there_are(self, component: Component) -> None:
        """select() gives pairs: the id of a row that it was given, and the reason, a text that is not empty."""
        for what, rows in self.kinds(component):
            ids = {row.id for row in rows}
            for pair in self.selected(component, rows):
                if not isinstance(pair, tuple) or len(pair) != 2 or pair[0] not in ids:
                    self.violated(f"with {what}: {pair!r}")
                if not isinstance(pair[1], str) or not pair[1].strip():
                    self.violated(f"with {what}, for a reason: {pair[1]!r}")

    def test_it_drops_a_row_once(self, component: Component) -> None:
        """A row is dropped once, for one reason."""
        for what, rows in self.kinds(component):
            dropped = [pair[0] for pair in self.selected(component, rows)]
            if twice := {each for each in dropped if dropped.count(each) > 1}:
                self.violated(f"with {what}, more than once: {sorted(twice)[0]}")

    def test_it_reads_the_rows_once(self, component: Component) -> None:
        """The rows are a stream that can be read once, since a dataset need not fit into memory."""
        assert isinstance(component, DatasetFilter)
        for what, rows in self.kinds(component):
            streamed = self.selected(component, rows)
            listed = list(component.compare(list(rows), list(UNANSWERED)))
            if listed != streamed:
                self.violated(f"with {what}: of a list {listed[:5]!r}, and of a stream {streamed[:5]!r}")

    def test_the_earlier_row_wins(self, component: Component) -> None:
        """Of two rows that are alike the later is dropped, if either is: rows are in the order of the dataset."""
        assert isinstance(component, DatasetFilter)
        texts = [text for text in TEXTS.values() if text.strip()]
        rows = dataset([*texts, *texts], component.scored_by())
        dropped = {pair[0] for pair in self.selected(component, rows)}
        earlier: dict[tuple[str, str], Record] = {}
        for row in rows:
            first = earlier.setdefault((row.instruction.text, row.response), row)
            if first is not row and first.id in dropped and row.id not in dropped:
                self.violated(f"of the equal rows {first.id} and {row.id} the first was dropped")

    def selected(self, component: Component, rows: Sequence[Record]) -> list[Any]:
        """Return what it selects."""
        trial = self.trial(component, rows)
        if trial.error is not None:
            self.violated(f"it raised {describe(trial.error)}")
        return list(trial.result)


def _suite(filter: Filter) -> type[Trials]:
    """Return the class of checks that is meant for a filter."""
    if isinstance(filter, DatasetFilter):
        return DatasetFilterConformance
    return JudgeConformance if filter.asks() else FilterConformance


def _reason(found: Any) -> Any:
    if isinstance(found, Mapping):  # of a lineage: the reason of the first round that has one
        return next((reason for each in found.values() if (reason := _reason(each))), None)
    return found.reason if isinstance(found, Judgement) else found


def _judgements(suite: Trials, trial: Trial, what: str) -> list[Any]:
    """Return what a filter of lineages says of each round, once it is round -> Judgement."""
    found = trial.result
    if not isinstance(found, Mapping) or not all(isinstance(each, Judgement) for each in found.values()):
        suite.violated(f"with {what} it returned {found!r}, and round -> Judgement is needed")
    rounds = range(len(lineage("").steps))
    if unknown := [round for round in found if round not in rounds]:
        suite.violated(f"with {what} it judged round {unknown[0]!r}, which the lineage does not have")
    return [*found.values()]


def _check_reason(suite: Trials, component: Component, trial: Trial, what: str) -> None:
    found = [trial.result]
    if isinstance(component, LineageFilter):
        found = _judgements(suite, trial, what)
    for each in found:
        reason = each.reason if isinstance(each, Judgement) else each
        if reason is not None and (not isinstance(reason, str) or not reason.strip()):
            suite.violated(f"with {what} it returned {trial.result!r}")
        score = each.score if isinstance(each, Judgement) else None
        number = isinstance(score, int | float) and not isinstance(score, bool)
        if score is not None and not (number and math.isfinite(score)):
            suite.violated(f"with {what} it gave the score {score!r}")
        repair = each.response if isinstance(each, Judgement) else None
        if repair is None:
            continue
        if not isinstance(component, ResponseFilter) or reason is not None:
            suite.violated(f"with {what} it repaired what it may not: only a ResponseFilter may, and what it keeps")
        if not isinstance(repair, str) or not repair.strip():
            suite.violated(f"with {what} it gave {repair!r} for a response")
