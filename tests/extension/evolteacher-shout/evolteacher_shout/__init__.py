"""One of everything: an operator, filters, a backend, a seed reader, observers, a recipe and a command."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from pydantic import Field

import evolteacher as et
from evolteacher.errors import Refused

LOG = "SHOUT_LOG"
"""A file to which the observers append what they see."""

FAIL = "SHOUT_FAIL"
"""The name of an observer that raises."""


class Shout(et.Operator, name="shout"):
    """Ask for the same task, asked louder.

    The model is told how loud.
    """

    markers = ("#Shouted Task#",)

    marks: int = Field(1, ge=1, le=9, description="How many exclamation marks.")

    def prompt(self, parent: et.Instruction) -> str:
        """Return what to ask."""
        return f"Rewrite the task louder, with {'!' * self.marks}\n\n#Task#:\n{parent.text}\n\n#Shouted Task#:\n"


class TwoVoices(et.Operator, name="two-voices"):
    """Ask twice, and take the longer answer."""

    async def evolve(self, parent: et.Instruction, ask: et.Ask) -> str:
        """Ask twice and compare."""
        replies = [await ask(f"Task:\n{parent.text}\n\nSay it {how}.") for how in ("softly", "firmly")]
        return max((reply.text for reply in replies), key=len)


class Quiet(et.TextFilter, name="quiet"):
    """Reject a text without any exclamation mark."""

    def reject(self, text: str) -> str | None:
        """Look for one."""
        return None if "!" in text else "it has no exclamation mark"


class Loudest(et.DatasetFilter, name="loudest"):
    """Keep the rows whose response has the most exclamation marks."""

    def select(self, records: Iterable[et.Record]) -> Iterable[tuple[str, str]]:
        """Drop all others."""
        marks = {record.id: record.response.count("!") for record in records}
        most = max(marks.values(), default=0)
        return [(row, f"{count} marks; others have {most}") for row, count in marks.items() if count < most]


class Parrot(et.Backend, name="parrot"):
    """Answer with the prompt's last task in capitals."""

    primary = "ending"

    ending: str = Field("AND WHY!", description="What each answer ends with.")
    refuse: str = Field("", description="Refuse prompts that hold this text.")

    async def complete(self, request: et.Request) -> et.Reply:
        """Answer at once."""
        if self.refuse and self.refuse in request.text:
            raise Refused(f"the parrot does not say '{self.refuse}'")
        task = request.text.partition("#Task#:\n")[2].partition("\n\n#Shouted Task#")[0] or request.text
        return et.Reply(f"{task.upper()} {self.ending}", et.Usage(len(request.text), len(task)), model="parrot-1")


class Words(et.SeedReader, name="words"):
    """Read the words after ``words:`` as instructions."""

    @classmethod
    def claims(cls, source: str) -> bool:
        """Whether it begins so."""
        return source.startswith("words:")

    def rows(self, source: str) -> Iterator[et.Row]:
        """One row a word."""
        for number, word in enumerate(source.removeprefix("words:").split(","), 1):
            yield et.Row(f"word {number}", {"instruction": f"Explain {word}!"})


@et.hookimpl
def register_operators() -> list[type[et.Operator]]:
    """Operators."""
    return [Shout, TwoVoices]


@et.hookimpl
def register_filters() -> list[type[et.Filter]]:
    """Filters."""
    return [Quiet, Loudest]


@et.hookimpl
def register_backends() -> list[type[et.Backend]]:
    """Backends."""
    return [Parrot]


@et.hookimpl
def register_seed_readers() -> list[type[et.SeedReader]]:
    """Seed readers."""
    return [Words]


@et.hookimpl
def register_recipes() -> list[Path]:
    """Folders of recipes."""
    return [Path(__file__).parent / "recipes"]


@et.hookimpl
def register_commands(cli: et.CommandTable) -> None:
    """Commands."""
    cli.add("shout", "evolteacher_shout.command:shout", "Say something loudly.")


@et.hookimpl
def run_started(event: et.RunStarted) -> None:
    """Note it."""
    _note("run_started", recipe=event.recipe, seeds=event.seeds, resumed=event.resumed)


@et.hookimpl
def evolution_settled(event: et.EvolutionSettled) -> None:
    """Note it."""
    verdict = event.step.verdict
    _note("evolution_settled", round=event.step.round, kept=verdict.kept, replayed=event.replayed)


@et.hookimpl
def round_finished(event: et.RoundFinished) -> None:
    """Note it."""
    _note("round_finished", round=event.round, kept=event.kept, rejected=event.rejected)


@et.hookimpl
def run_finished(event: et.RunFinished) -> None:
    """Note it."""
    _note("run_finished", records=event.records, rejected=event.rejected, replayed=event.replayed)


def _note(hook: str, **facts: object) -> None:
    if os.environ.get(FAIL) == hook:
        raise ValueError(f"{hook} is too loud")
    if path := os.environ.get(LOG):
        with Path(path).open("a", encoding="utf-8") as log:
            log.write(json.dumps({"hook": hook, **facts}) + "\n")
