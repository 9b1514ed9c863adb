"""Auto Evol-Instruct (Zeng et al. 2024, arXiv 2406.00770): the evolving prompt is optimised before the run.

Before the first lineage the operator tries its evolving method on some of the seeds. A model reads what came of them
and says what goes wrong; several better methods are asked for, each is tried on a development set, and the one that
fails least goes on to the next step. What the paper calls failures are told from the answers to the evolved tasks. All
prompts are in words of our own.

Four things differ from the paper. The method alone is rewritten, and never the frame around it, so that a model cannot
lose the place of the task or the markers of the answer. A trajectory is one evolution long. A rewrite that cannot be
read, or that is the given task again, is a failure, too, and so is a call that is refused. And the method so far stays
where every candidate fails more often than it does.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from pydantic import Field, field_validator

import evolteacher as et
from evolteacher.errors import CallError, Unreadable

METHOD, METHOD_END = "<method>", "</method>"
GIVEN, GIVEN_END = "<given_task>", "</given_task>"
HARDER, HARDER_END = "<harder_task>", "</harder_task>"
MARKERS = (METHOD, METHOD_END, GIVEN, GIVEN_END, HARDER, HARDER_END)

INITIAL = """\
1. List a few ways to make a task of this kind a little more complex.
2. Choose some of them and plan how they go together.
3. Rewrite the task by that plan. Add ten to twenty words at most, and keep all that the given task needs.
4. Read the new task again: it must be clear, reasonable and complete. Mend what is not."""
"""The method to begin with: in the paper's way, the model itself lists ways to evolve, plans, rewrites, and reviews."""

MOST_CHARACTERS = 4_000
"""A longer method is no method, and would be paid for with every evolution."""

SHOWN = 1_200
"""Characters of a task, an answer or an evolved task that the analysing prompt shows at most."""

FRAME = (
    "Rewrite the task below into a harder one, by the method below. The new task must be clear on its own; repeat the "
    f"code and data that it needs. Write only the new task, between {HARDER} and {HARDER_END}: no plan, no solution, "
    "no explanation."
)


def evolving_prompt(method: str, task: str) -> str:
    """Return what is asked to evolve a task; both texts stand in it as they are."""
    head = f"{FRAME}\n\n{METHOD}\n" + method + f"\n{METHOD_END}\n\n{GIVEN}\n"
    return head + task + f"\n{GIVEN_END}\n\n{HARDER}\n"


@dataclass(frozen=True)
class Trial:
    """One task that was evolved, and how the answer to it went.

    Attributes:
        given: the task.
        evolved: the rewrite; empty where none came out.
        failure: what the detectors say; empty where nothing is wrong.
    """

    given: str
    evolved: str
    failure: str


def failure(given: str, evolved: str, response: str) -> str:
    """Return why an evolution failed, as its answer tells; empty where it did not.

    Source: arXiv 2406.00770, evolution failure detection. An answer that only acknowledges ("Understood", "Thank you")
    and asks back shows that complexity stagnates; one that agrees ("Sure") and asks back, that the task is not
    qualified enough; one that begs for input ("please provide"), that key information was lost.
    """
    if " ".join(evolved.split()).lower() == " ".join(given.split()).lower():
        return "stagnant complexity: the new task is the given one"
    said = response.strip().lower()
    asks_back = said.endswith("?")
    if asks_back and re.match(r"\W*(understood|thank you|thanks)\b", said):
        return "stagnant complexity: the answer only acknowledges, and asks what to do"
    if asks_back and re.match(r"\W*sure\b", said):
        return "insufficient qualification: the answer agrees, and asks for more"
    if re.search(r"\bplease provide\b", said):
        return "loss of key information: the answer asks to be given something"
    return ""


def analysing_prompt(trials: Sequence[Trial]) -> str:
    """Return what is asked about evolutions: what goes wrong in them."""
    parts = []
    for number, trial in enumerate(trials, 1):
        verdict = f"\nFound: {trial.failure}" if trial.failure else ""
        evolved = trial.evolved[:SHOWN] or "(no task came out)"
        parts.append(f"Pair {number}, given task:\n{trial.given[:SHOWN]}\nPair {number}, new task:\n{evolved}{verdict}")
    shown = "\n\n".join(parts)
    return (
        "A method was used to rewrite tasks into harder ones. Below are pairs of a given task and the new task.\n\n"
        f"{shown}\n\n"
        "Say what goes wrong: new tasks that are not harder, that lost something of the given task, that cannot be "
        "solved or understood, or that all changed in the same way. Write at most five short points, each with the "
        "number of a pair. Do not solve the tasks."
    )


def improving_prompt(method: str, feedback: str) -> str:
    """Return what is asked for a better method."""
    return (
        "The method below is handed to a writer, who rewrites any given task into a harder one by it. A reviewer read "
        "what came of it. Write a better method: numbered steps, for tasks of every kind, that avoid what the "
        "reviewer found. Name no single task. Use at most 120 words, and write only the method, between "
        f"{METHOD} and {METHOD_END}.\n\n"
        f"The method:\n{method}\n\nThe reviewer:\n{feedback[: 4 * SHOWN]}\n\n{METHOD}\n"
    )


def read_method(reply: et.Reply) -> str:
    """Take a method out of a model's answer.

    Raises:
        Unreadable: there is none, with the reason.
    """
    text = reply.text
    if reply.finish_reason == "length":
        raise Unreadable("it was cut off")
    if METHOD_END not in text:
        raise Unreadable(f"there is no {METHOD_END} in it")
    # The prompt ends with the opening marker, so an answer may leave it out.
    method = text[: text.index(METHOD_END)].rpartition(METHOD)[2].strip()
    check_method(method)
    return method


def check_method(method: str) -> None:
    """Refuse what could not stand in the frame, or is no method.

    Raises:
        Unreadable: with the reason.
    """
    if len(method.split()) < 5:
        raise Unreadable("it is empty, or next to it")
    if len(method) > MOST_CHARACTERS:
        raise Unreadable(f"it has {len(method):,} characters; {MOST_CHARACTERS:,} are the most")
    left = [marker for marker in MARKERS if marker in method.lower()]
    if left:
        raise Unreadable(f"the marker {left[0]} is in it")
    if re.match(r"\W*(i'?m sorry|sorry|i apologi[sz]e|i can(no|')t)\b", method.lower()):
        raise Unreadable("it apologises")


class AutoEvol(et.Operator, name="auto-evol"):
    """Rewrite by a method that was optimised on some of the seeds before the run.

    Source: Auto Evol-Instruct (arXiv 2406.00770). With `method` nothing is optimised: a run writes what it found to
    `prepared.yaml`, to be pinned in a recipe.

    Of `steps` steps, each evolves `batch` seeds, has what came of them analysed, asks for `candidates` better methods,
    and tries each on `dev` seeds: they are evolved and answered, and the answers tell the failures. A candidate that
    fails no more often than the method so far takes its place.
    """

    uses_template: ClassVar[bool] = False
    markers: ClassVar[tuple[str, ...]] = MARKERS

    method: str | None = Field(None, description="The evolving method, where it is known; else it is optimised.")
    steps: int = Field(3, ge=1, le=100, description="Steps of the optimisation.")
    batch: int = Field(8, ge=1, le=64, description="Seeds that are evolved and analysed in each step.")
    dev: int = Field(16, ge=1, le=128, description="Seeds on which every method is tried.")
    candidates: int = Field(3, ge=1, le=16, description="Better methods that are asked for in each step.")
    temperature: float = Field(1.0, ge=0, le=10, description="At which candidates are drawn; the analysis is greedy.")

    @field_validator("method")
    @classmethod
    def _check_method(cls, method: str | None) -> str | None:
        if method is not None:
            try:
                check_method(method)
            except Unreadable as error:
                raise ValueError(f"no method can be read here: {error}") from None
        return method

    def prompt(self, parent: et.Instruction) -> str:
        """Return the frame with the method; the parent's text stands in it as it is."""
        return evolving_prompt(self.method or INITIAL, parent.text)

    def preparation(self) -> dict[et.Role, int]:
        """Return the calls of the optimisation: none where the method is given."""
        if self.method is not None:
            return {}
        tries = 1 + self.steps * self.candidates
        return {
            "evolve": tries * self.dev + self.steps * (self.batch + 1 + self.candidates),
            "respond": tries * self.dev,
        }

    async def prepare(self, seeds: Sequence[et.Instruction], ask: et.Ask) -> et.Prepared:
        """Optimise the method."""
        search = Search(self, sorted(seeds, key=lambda seed: seed.id), ask)
        method, notes = await search.run()
        return et.Prepared(self.model_copy(update={"method": method}), tuple(notes))


class Search:
    """One optimisation.

    Args:
        operator: its options, and its way of reading a rewrite.
        seeds: in an order that says nothing of them; the first are the development set.
        ask: asks a model.
    """

    def __init__(self, operator: AutoEvol, seeds: Sequence[et.Instruction], ask: et.Ask) -> None:
        self._operator = operator
        self._ask = ask
        self._dev = seeds[: operator.dev]
        self._train = seeds[operator.dev :] or seeds

    async def run(self) -> tuple[str, list[str]]:
        """Return the best method, and a line for each thing that was tried."""
        best = INITIAL
        fewest = await self._failures(best, "start")
        notes = [f"the initial method failed on {self._of(fewest)}"]
        for step in range(1, self._operator.steps + 1):
            best, fewest, said = await self._step(step, best, fewest)
            notes += said
        return best, [*notes, f"the method that evolves failed on {self._of(fewest)}"]

    async def _step(self, step: int, best: str, fewest: int) -> tuple[str, int, list[str]]:
        """Try some candidates; return the best method so far, its failures, and what was found of each candidate."""
        try:
            feedback = await self._feedback(step, best)
        except CallError as error:
            return best, fewest, [f"step {step}: no analysis: {error}"]
        prompt, places = improving_prompt(best, feedback), range(1, self._operator.candidates + 1)
        found = await asyncio.gather(*(self._candidate(prompt, f"step-{step}/candidate-{n}") for n in places))
        notes: list[str] = []
        methods: dict[int, str] = {}
        for place, (method, why) in zip(places, found, strict=True):
            if why or method in (best, *methods.values()):
                notes.append(f"step {step}, candidate {place}: turned down: {why or 'it is there already'}")
            else:
                methods[place] = method
        failures = await asyncio.gather(
            *(self._failures(method, f"step-{step}/try-{place}") for place, method in methods.items())
        )
        for (place, method), number in zip(methods.items(), failures, strict=True):
            notes.append(f"step {step}, candidate {place}: failed on {self._of(number)}")
            if number <= fewest:
                best, fewest = method, number
        return best, fewest, notes

    async def _feedback(self, step: int, method: str) -> str:
        size, count = self._operator.batch, len(self._train)
        batch = [self._train[((step - 1) * size + place) % count] for place in range(min(size, count))]
        key = f"step-{step}/batch"
        trials = await asyncio.gather(
            *(self._evolve(method, seed, f"{key}-{place}") for place, seed in enumerate(batch))
        )
        reply = await self._ask(analysing_prompt(trials), key=f"step-{step}/analysis", temperature=0)
        return reply.text.strip()

    async def _candidate(self, prompt: str, key: str) -> tuple[str, str]:
        """Return a method, or why there is none."""
        try:
            return read_method(await self._ask(prompt, key=key, temperature=self._operator.temperature)), ""
        except (CallError, Unreadable) as error:
            return "", str(error)

    async def _failures(self, method: str, key: str) -> int:
        trials = await asyncio.gather(
            *(self._try(method, seed, f"{key}/{place}") for place, seed in enumerate(self._dev))
        )
        return sum(1 for trial in trials if trial.failure)

    async def _try(self, method: str, seed: et.Instruction, key: str) -> Trial:
        """Evolve a seed, and have the new task answered."""
        trial = await self._evolve(method, seed, key)
        if trial.failure:
            return trial
        try:
            response = await self._ask(trial.evolved, role="respond", key=f"{key}/response")
        except CallError as error:
            return Trial(seed.text, trial.evolved, f"not answered: {error}")
        return Trial(seed.text, trial.evolved, failure(seed.text, trial.evolved, response.text))

    async def _evolve(self, method: str, seed: et.Instruction, key: str) -> Trial:
        try:
            reply = await self._ask(evolving_prompt(method, seed.text), key=key)
            evolved = self._operator.read(reply, seed)
        except (CallError, Unreadable) as error:
            return Trial(seed.text, "", f"no new task: {error}")
        return Trial(seed.text, evolved, failure(seed.text, evolved, ""))

    def _of(self, failures: int) -> str:
        return f"{failures} of {len(self._dev)} tasks"


@et.hookimpl
def register_operators() -> list[type[et.Operator]]:
    """The one operator."""
    return [AutoEvol]
