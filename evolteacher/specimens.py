"""What components are tried with: odd texts in the shape that each kind is given, and an ``ask`` that is no backend."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from evolteacher.component import Component
from evolteacher.filter import (
    DatasetFilter,
    InstructionFilter,
    LineageFilter,
    ReplyFilter,
    ResponseFilter,
    TextFilter,
)
from evolteacher.messages import NO_REPLY, Message, Prompt, Reply, Role, Sampling, Usage, as_messages
from evolteacher.operator import Operator
from evolteacher.record import Evolution, Instruction, Lineage, Record, Seed, Step, Verdict, text_id

PLAIN = "Write a function that adds two numbers."

TEXTS: dict[str, str] = {
    "a plain text": PLAIN,
    "nothing": "",
    "white space": " \t\r\n",
    "braces": "Print {0} {name} {} {{x}} }{ and {{ 7 * 7 }} {% raw %} {# no comment #} ${HOME}",
    "per cent signs": "Of 100% take %s, %d, %(x)s and %%.",
    "headings": "### Instruction:\nSort.\n\n### Response:\n#Given Task#\n---\n[TASK] [/TASK] </task>",
    "a model's marks": "<|im_end|>\n<|im_start|>assistant\n</s>[INST] <|endoftext|>",
    "a fence that is left open": "```python\nprint('{}')\n",
    "JSON and HTML": '{"task": ["a", {"b": null}]}\r\n<script>&amp;"\'</script> \\n \\u0041 \\',
    "all of Unicode": "日本語 🎉👩🏽‍💻 e\u0301 \u202eright to left\u202c \u2028\u2029\x85 \ufeff\uffff \U0001d518",
    "NUL and control characters": "before\0after\x01\x1b[31m\x7f\b",
    "one character": "x",
    "many lines": "Do this.\n" * 200,
}
"""What -> a text. Lone surrogates are in none of them: the core replaces them beforehand."""

UNANSWERED: tuple[Seed, ...] = tuple(
    Seed(Instruction(text), None, f"trial:{n}") for n, text in enumerate(["Add two numbers.", *TEXTS.values()], 1)
)
"""The seeds without a response that a dataset filter is given."""

SHAPES: dict[str, str] = {
    "words": "sort the list ",
    "one letter": "a",
    "line breaks": "\n",
    "number signs": "#",
    "open brackets": "(",
    "blanks": " ",
}
"""What -> a part, repeated until the text is huge: what makes careless regular expressions take for ever."""

LONGEST = 100_000
"""Characters of a huge text."""

ROWS = 3_000
"""Rows of a dataset that is large for one that is tried."""

RowFilter = InstructionFilter | ResponseFilter | TextFilter | ReplyFilter

Order = Literal["first", "last", "middle"]
"""Which of the asks that are waiting is answered next."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One ask.

    Attributes:
        label: its number, or ``=key``.
        messages: the prompt.
        role: as the component said it.
        sampling: what it changed.
    """

    label: str
    messages: tuple[Message, ...]
    role: Role | None
    sampling: tuple[tuple[str, Any], ...]

    @property
    def text(self) -> str:
        """The contents of all messages, joined by blank lines."""
        return "\n\n".join(message.content for message in self.messages)


Answer = Callable[[Asked], str | Exception]
"""What the model says to an ask: a text, or what is raised in its place."""


class Script:
    """An ``ask`` that keeps the core's rules and answers by a function.

    Asks are numbered when ``ask`` is called, and none is answered before all that are asked together are waiting.

    Args:
        answer: what the model says.
        order: in which order those that wait get their answers.
    """

    def __init__(self, answer: Answer, order: Order = "first") -> None:
        self.asked: list[Asked] = []
        self._answer = answer
        self._order = order
        self._waiting: list[tuple[Asked, asyncio.Future[Reply]]] = []
        self._numbered = 0
        self._results: dict[str, str] = {}
        self._delivering: asyncio.Task[None] | None = None

    def __call__(
        self, prompt: Prompt, *, role: Role | None = None, key: str | None = None, **sampling: Any
    ) -> Coroutine[Any, Any, Reply]:
        """Number the ask now; see :class:`~evolteacher.operator.Ask`.

        Raises:
            TypeError: the prompt is none, or the sampling knows no such word.
            ValueError: a sampling parameter is out of bounds, or a key is used twice.
        """
        label = f"={key}" if key is not None else str(self._numbered)
        self._numbered += key is None
        if any(other.label == label for other in self.asked):
            raise ValueError(f"two asks have the key '{key}'; give each its own")
        replace(Sampling(), **sampling)
        asked = Asked(label, as_messages(prompt), role, tuple(sorted(sampling.items())))
        self.asked.append(asked)
        return self._wait(asked)

    async def once(self, what: Any, work: Callable[[], Awaitable[Any]]) -> Any:
        """Work a result out, the first time; see :class:`~evolteacher.operator.Ask`.

        Raises:
            TypeError: ``what`` or the result is no JSON.
            ValueError: likewise.
        """
        place = json.dumps(what, sort_keys=True, allow_nan=False)
        if place not in self._results:
            self._results[place] = json.dumps(await work(), allow_nan=False)
        return json.loads(self._results[place])

    async def _wait(self, asked: Asked) -> Reply:
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting.append((asked, future))
        if self._delivering is None or self._delivering.done():
            self._delivering = asyncio.create_task(self._deliver())
        return await future

    async def _deliver(self) -> None:
        while self._waiting:
            for _ in range(5):  # whoever asks at once gets to ask before any answer arrives
                await asyncio.sleep(0)
            place = {"first": 0, "last": len(self._waiting) - 1, "middle": len(self._waiting) // 2}[self._order]
            asked, future = self._waiting.pop(place)
            said = self._answer(asked)
            if future.done():
                continue
            if isinstance(said, Exception):
                future.set_exception(said)
            else:
                future.set_result(Reply(said, Usage(len(asked.text) // 4, len(said) // 4), model="script"))


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of one piece of work.

    Attributes:
        asked: what was asked, in order of the labels, since the order in time may follow that of the answers.
        result: what was returned; None where something was raised.
        error: what was raised.
    """

    asked: tuple[Asked, ...]
    result: Any = None
    error: BaseException | None = None

    def __str__(self) -> str:
        """Say all of it, the same for the same."""
        came = f"{type(self.error).__name__}: {self.error}" if self.error is not None else repr(self.result)
        asked = "".join(f"\n  ask {each.label}: {each.text!r} {each.role} {each.sampling}" for each in self.asked)
        return f"{came}{asked}"


async def work(component: Component, specimen: Any, ask: Script) -> Any:
    """Have a component do what it is for, once, on a specimen of its kind."""
    if isinstance(component, Operator):
        return await component.evolve(specimen, ask)
    assert isinstance(component, RowFilter | LineageFilter)
    return await component.judge(specimen, ask)


def attempt(component: Component, specimen: Any, script: Script) -> Trial:
    """Have it work, on an event loop of its own where it may ask, and return what came of that.

    Only what ends a program is raised.
    """
    try:
        if isinstance(component, DatasetFilter):
            return Trial((), list(component.compare(iter(specimen), iter(UNANSWERED))))
        if isinstance(component, RowFilter) and not component.asks():
            return Trial((), component.reject(specimen))
        result, error = asyncio.run(work(component, specimen, script)), None
    except Exception as fault:
        result, error = None, fault
    return Trial(tuple(sorted(script.asked, key=lambda each: each.label)), result, error)


def specimens(component: Component, texts: Mapping[str, str] = TEXTS) -> dict[str, Any]:
    """Return what a component of this kind is given, with each of these texts in each place that may hold it."""
    return dict(_specimens(component, texts))


def _specimens(component: Component, texts: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
    if isinstance(component, DatasetFilter):
        yield "no rows", ()
        yield "rows, some of them twice", dataset([*texts.values()] * 2, component.scored_by())
        return
    for what, text in texts.items():
        if isinstance(component, Operator):
            yield what, Instruction(text)
        elif isinstance(component, TextFilter):
            yield what, text
        elif isinstance(component, LineageFilter):
            yield what, lineage(text)
        elif isinstance(component, ReplyFilter):
            yield what, Reply(text, Usage(len(text) // 4, len(text) // 4), model="script")
        elif isinstance(component, InstructionFilter):
            yield f"{what} for a rewrite", evolution(PLAIN, text)
            yield f"{what} for a parent", evolution(text, f"{PLAIN} Explain it.")
            yield f"{what} for both", evolution(text, text)
        elif isinstance(component, ResponseFilter):
            yield f"{what} for an instruction", record(evolution(PLAIN, text), "def add(a, b): return a + b")
            yield f"{what} for a response", record(evolution(PLAIN, f"{PLAIN} Explain it."), text)
    yield from _without_text(component)


def _without_text(component: Component) -> Iterator[tuple[str, Any]]:
    """Yield what is odd for another reason than its text."""
    if isinstance(component, ReplyFilter):
        yield "no reply", NO_REPLY
        yield "a reply that was cut", Reply(PLAIN, finish_reason="length")
    elif isinstance(component, InstructionFilter | ResponseFilter) and "seeds" in component.allowed_on:
        seed = Evolution.of_seed(Instruction(PLAIN))
        yield "a seed", seed if isinstance(component, InstructionFilter) else record(seed, "a + b", NO_REPLY)


def evolution(parent: str, child: str, round: int = 1) -> Evolution:
    """Return an evolution as an operator with markers makes it."""
    reply = Reply(child, Usage(len(parent) // 4, len(child) // 4), model="script")
    return Evolution(Instruction(parent), Instruction(child), "trial", round, reply, ("#Given#", "#New#"), round)


def record(made: Evolution, response: str, reply: Reply | None = None, lineage: str = "", order: int = 0) -> Record:
    """Return a row with this response."""
    reply = Reply(response, Usage(30, len(response) // 4), model="script") if reply is None else reply
    return Record(made, response, reply, lineage or text_id(made.parent.text), order, f"trial:{order + 1}")


def lineage(text: str) -> Lineage:
    """Return a lineage of three versions of a text, all kept."""
    seed = Instruction(text)
    steps = [Step("seed", 0, seed, Verdict("seed"), Evolution.of_seed(seed), f"Answer: {text}")]
    for number in (1, 2):
        made = evolution(steps[-1].parent.text, f"{text} Explain it, part {number}.", number)
        steps.append(Step("trial", number, made.parent, Verdict("response"), made, f"Part {number}: {text}"))
    return Lineage(Seed(seed, f"Answer: {text}"), 0, tuple(steps))


def dataset(texts: Iterable[str], scored_by: Sequence[str] = ()) -> tuple[Record, ...]:
    """Return rows in the order of a dataset: the seeds, and then for each of them one rewrite.

    Args:
        texts: of the seeds.
        scored_by: labels of filters whose scores most of the rows have; equal rows have equal ones.
    """
    rows = list(enumerate(texts))
    seeds = [
        record(Evolution.of_seed(Instruction(text)), f"Answer: {text}", NO_REPLY, text_id(f"seed {n}"), n)
        for n, text in rows
    ]
    rewrites = [
        record(evolution(text, f"{text} Explain it."), f"Explanation: {text}", None, text_id(f"seed {n}"), n)
        for n, text in rows
    ]
    return tuple(_scored(row, scored_by) for row in (*seeds, *rewrites))


def _scored(row: Record, labels: Sequence[str]) -> Record:
    known = labels[: len(row.instruction.text) % 4]  # of some rows all, of others the first ones, of a few none
    return replace(row, scores={label: float(1 + len(row.response) % 6) for label in known})


def huge(component: Component, shape: str, characters: int) -> dict[str, Any]:
    """Return specimens that hold a huge text, or of a dataset filter as many rows as fit into it."""
    part = SHAPES[shape]
    if isinstance(component, DatasetFilter):
        count = max(1, characters * ROWS // LONGEST // 2)
        return {f"{2 * count} rows": dataset((f"{part * 20} {n}" for n in range(count)), component.scored_by())}
    return specimens(component, {f"{characters:,} characters, {shape},": (part * characters)[:characters]})
