"""Checks of any component that turns something into something: its name, its options, and that it is pure."""

from __future__ import annotations

import asyncio
import copy
import json
import time
from collections.abc import Iterator
from typing import Any, ClassVar, NoReturn

import pytest
from pydantic import ValidationError

from evolteacher.component import Component
from evolteacher.elsewhere import NotImportable, carry_out_elsewhere
from evolteacher.errors import EvolteacherError, Refused, Unreadable
from evolteacher.messages import Reply
from evolteacher.specimens import LONGEST, SHAPES, Asked, Order, Script, Trial, attempt, huge, specimens, work
from evolteacher.testing.harness import Checks, describe
from evolteacher.yamlfile import dump, parse


class Trials(Checks):
    """What the author of an operator or a filter says of it, and how it is tried.

    Attributes:
        patience: seconds of processor time that it may take for a text of 100,000 characters, or 3,000 rows.
        promptness: seconds within which it must have ended once it was cancelled.
    """

    patience: ClassVar[float] = 10.0
    promptness: ClassVar[float] = 5.0

    @pytest.fixture
    def component(self) -> Component:
        """The component under test."""
        raise NotImplementedError

    def answer(self, prompt: str, label: str) -> str:
        """Return what the model says to a prompt; override it where a component wants answers of its own form.

        The same prompt and label must get the same answer.

        Args:
            prompt: the contents of all its messages, joined by blank lines.
            label: the ask's number, from ``0`` in each piece of work, or ``=key``.
        """
        return f"Write a function that adds a list of numbers, and explain attempt {label.lstrip('=')}."

    def script(self, order: Order = "first") -> Script:
        """Return an ``ask`` that answers as :meth:`answer` says."""
        return Script(lambda asked: self.answer(asked.text, asked.label), order)

    def trial(self, component: Component, specimen: Any) -> Trial:
        """Have the component work once."""
        return attempt(component, specimen, self.script())

    def kinds(self, component: Component) -> Iterator[tuple[str, Any]]:
        """Yield what components of this kind are given: what it is, and the thing itself."""
        found = specimens(component)
        assert found, component
        yield from found.items()

    def must_ask(self, component: Component) -> tuple[Any, Trial]:
        """Return something about which it asks, and how that went; without such a thing the check is not covered."""
        for _, specimen in self.kinds(component):
            trial = self.trial(component, specimen)
            if trial.asked:
                return specimen, trial
        self.not_covered("it asks nothing")


class ComponentChecks(Trials):
    """Checks of name, options and purity."""

    def test_it_has_a_name(self, component: Component) -> None:
        """A component has a name, by which recipes call it: class Mine(…, name="mine")."""
        if not component.name:
            self.violated(f"{type(component).__qualname__} has none")

    def test_it_is_documented(self, component: Component) -> None:
        """A component has a docstring of its own; its first line is what `evolteacher plugins` shows."""
        if not type(component).documentation().strip():
            self.violated(f"{type(component).__qualname__} has none")

    def test_every_option_is_described(self, component: Component) -> None:
        """Every option has a description, for `evolteacher plugins show` and for editors: Field(…, description="…")."""
        fields = type(component).model_fields.items()
        if bare := [name for name, field in fields if not (field.description or "").strip()]:
            self.violated(f"none for {', '.join(bare)}")

    @pytest.mark.parametrize("language", ["JSON", "YAML"])
    def test_of_its_options_the_same_one_is_made(self, component: Component, language: str) -> None:
        """options() are values from which a recipe makes the same component, as the locked recipe must."""
        try:
            options = component.options()
            written = json.dumps(options)
            if language == "YAML":
                written = json.dumps(parse(dump({"options": options}), "options.yaml").data["options"])
            again = type(component).model_validate_json(written, strict=True)
        except (TypeError, ValueError, EvolteacherError) as error:
            self.violated(f"by way of {language} came {describe(error)}")
        if again.options() != options or again != component:
            self.violated(f"of the options {options}, by way of {language}, came one with {again.options()}")

    def test_options_are_frozen(self, component: Component) -> None:
        """Options never change: what a component learns on its way would differ between a run and its replay."""
        for name in type(component).model_fields:
            try:
                setattr(component, name, getattr(component, name))
            except (ValidationError, AttributeError):
                continue
            self.violated(f"the option '{name}' can be set")

    def test_unknown_options_are_refused(self, component: Component) -> None:
        """An option that the component does not have is an error: it may be a slip of the pen."""
        try:
            type(component).model_validate({**component.options(), "no_such_option": 1})
        except ValueError:
            return
        self.violated("it was made with {'no_such_option': 1}")

    def test_it_copes_with_any_text(self, component: Component) -> None:
        """Whatever a text holds (nothing, braces, per cent signs, marks), it comes to an end without an error.

        An operator may raise Unreadable; any other error stops a user's run.
        """
        for what, specimen in self.kinds(component):
            error = self.trial(component, specimen).error
            if error is not None and not isinstance(error, Unreadable):
                self.violated(f"with {what} it raised {describe(error)}")

    def test_the_same_gives_the_same(self, component: Component) -> None:
        """It is pure: another one with the same options asks the same of the same, and comes to the same end."""
        for what, specimen in self.kinds(component):
            first = self.trial(component.model_copy(), specimen)
            second = self.trial(component.model_copy(), specimen)
            self.alike(first, second, f"with {what}, ")

    def test_nothing_is_remembered(self, component: Component) -> None:
        """It keeps no state: what it did before changes nothing, since a resumed run does only a part of it again."""
        fresh = {what: self.trial(component.model_copy(deep=True), given) for what, given in self.kinds(component)}
        used = component.model_copy(deep=True)
        for _ in range(2):
            for what, specimen in self.kinds(component):
                self.alike(fresh[what], self.trial(used, specimen), f"after others, with {what}, ")

    def test_what_it_is_given_stays_as_it_was(self, component: Component) -> None:
        """It leaves alone what it is given: others get the same objects."""
        for what, specimen in self.kinds(component):
            before = copy.deepcopy(specimen)
            self.trial(component, specimen)
            if specimen != before:
                self.violated(f"it changed {what}: {specimen!r}")

    def test_another_process_does_the_same(self, component: Component) -> None:
        """Another process does the same, whatever order its sets have (PYTHONHASHSEED): a run may be resumed in one."""
        given = list(self.kinds(component))
        here = [self.trial(component, specimen) for _, specimen in given]
        answers = [{each.label: self.answer(each.text, each.label) for each in trial.asked} for trial in here]
        try:
            there = carry_out_elsewhere(component, [specimen for _, specimen in given], answers)
        except NotImportable as error:
            self.not_covered(str(error))
        for (what, _), trial, other in zip(given, here, there, strict=True):
            if str(trial) != other:
                self.violated(f"with {what}, here: {_shown(trial)}\nand there: {_shown(other)}")

    @pytest.mark.parametrize("shape", SHAPES)
    def test_a_huge_text_is_done_in_time(self, component: Component, shape: str) -> None:
        """A text of 100,000 characters, or a dataset of 3,000 rows, takes seconds (`patience`), whatever is in it."""
        for characters in (LONGEST // 100, LONGEST // 10, LONGEST):
            for what, specimen in huge(component, shape, characters).items():
                began = time.process_time()
                self.trial(component, specimen)
                took = time.process_time() - began
                if took > self.patience * characters / LONGEST + 1:
                    self.violated(f"with {what} it took {took:.1f} seconds")

    def alike(self, first: Trial, second: Trial, what: str) -> None:
        """Fail the running check where two trials differ."""
        if str(first) != str(second):
            self.violated(f"{what}first: {_shown(first)}\nand then: {_shown(second)}")


class AskingChecks(Trials):
    """Checks of what asks."""

    def test_answers_may_arrive_in_any_order(self, component: Component) -> None:
        """Which answer arrives first changes nothing: asks whose order depends on it have a `key`.

        Else a replay would give what was answered to one ask to another.
        """
        specimen, first = self.must_ask(component)
        orders: tuple[Order, ...] = ("last", "middle")
        for order in orders:
            other = attempt(component, specimen, self.script(order))
            if str(first) != str(other):
                self.violated(f"in order of asking: {_shown(first)}\nand the {order} first: {_shown(other)}")

    def test_a_call_error_goes_through(self, component: Component) -> None:
        """A CallError of `ask` (refused, too long, unusable) is let through: the core settles it, with its reason."""
        specimen, trial = self.must_ask(component)
        for failing in trial.asked:
            error = self._failing(component, specimen, failing.label)
            if not isinstance(error, Refused):
                self.violated(f"where ask {failing.label} raised Refused, it ended with {error!r}")

    def _failing(self, component: Component, specimen: Any, label: str) -> Any:
        def answer(asked: Asked) -> str | Exception:
            return Refused("not this one") if asked.label == label else self.answer(asked.text, asked.label)

        trial = attempt(component, specimen, Script(answer))
        return trial.error if trial.error is not None else trial.result

    def test_it_ends_when_it_is_cancelled(self, component: Component) -> None:
        """Cancelled while it waits for an answer, it ends at once, and cancelled: it never catches CancelledError."""
        specimen, _ = self.must_ask(component)
        ended = asyncio.run(self._cancelled(component, specimen))
        if ended:
            self.violated(ended)

    async def _cancelled(self, component: Component, specimen: Any) -> str:
        task = asyncio.ensure_future(work(component, specimen, _Never()))
        for _ in range(20):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task}, timeout=self.promptness)
        if not task.done():
            task.cancel()
            return f"it had not ended after {self.promptness:g} seconds (the attribute `promptness`)"
        if task.cancelled():
            return ""
        return f"it ended with {task.exception()!r}" if task.exception() else f"it returned {task.result()!r}"


class _Never(Script):
    """An ``ask`` that no one answers."""

    def __init__(self) -> None:
        super().__init__(lambda asked: "")

    async def _wait(self, asked: Asked) -> Reply:
        await asyncio.Event().wait()
        raise AssertionError(asked)


def missing(suite: object, fixture: str) -> NoReturn:
    """Say that an author's class lacks the fixture without which nothing can be checked."""
    pytest.fail(f"{type(suite).__name__} must have a fixture `{fixture}` that returns one", pytrace=False)


def _shown(trial: object) -> str:
    text = str(trial)
    return text if len(text) <= 1000 else f"{text[:1000]}… ({len(text):,} characters)"
