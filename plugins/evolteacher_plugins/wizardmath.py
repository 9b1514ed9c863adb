"""WizardMath's two operators (Luo et al. 2023, arXiv 2308.09583): problems of mathematics become harder, or easier.

Evolving downward gives a dataset easy problems beside the hard ones, which the paper found to help. The paper names
the ways in which either goes; the words are ours.
"""

from __future__ import annotations

import re
from typing import ClassVar, Literal, get_args

from pydantic import Field

import evolteacher as et
from evolteacher.errors import Unreadable

GIVEN = "<given_problem>"
GIVEN_END = "</given_problem>"
HARDER = "<harder_problem>"
HARDER_END = "</harder_problem>"
EASIER = "<easier_problem>"
EASIER_END = "</easier_problem>"

Harder = Literal["constraints", "concretize", "reasoning"]
Easier = Literal["simplify", "other-topic"]

HARDER_BY: dict[Harder, str] = {
    "constraints": "The harder problem keeps all of the given problem and adds one or two conditions to it.",
    "concretize": "The harder problem is the given problem with its general things replaced by more specific ones, "
    "with numbers of their own.",
    "reasoning": "The harder problem takes several more steps of reasoning to solve than the given problem.",
}
EASIER_BY: dict[Easier, str] = {
    "simplify": "The easier problem is like the given problem, with smaller numbers, fewer conditions or fewer steps.",
    "other-topic": "The easier problem is about another topic than the given problem.",
}

_SOLVED = re.compile(r"\\boxed\b|(?:^|[.!?\n])[\s*]*(?:therefore|thus|hence)\b", re.I)
"""What a solution of a problem says, and a problem does not."""


class WizardMathOperator(et.Operator):
    """Base of the two: reads a problem, and tells a solution by its words."""

    def read(self, reply: et.Reply, parent: et.Instruction) -> str:
        """Take the new problem out of the answer.

        Raises:
            Unreadable: there is none, or it is solved.
        """
        text = super().read(reply, parent)
        if _SOLVED.search(text) and not _SOLVED.search(parent.text):
            raise Unreadable("it solves a problem instead of stating one")
        return text


class WizardMathUpward(WizardMathOperator, name="wizardmath-upward"):
    """Make a problem of mathematics harder: more constraints, more concrete, or more steps of reasoning.

    Source: WizardMath (arXiv 2308.09583), upward evolution.
    """

    markers: ClassVar[tuple[str, ...]] = (GIVEN, GIVEN_END, HARDER, HARDER_END)

    way: Harder | None = Field(
        None, description="How it becomes harder; where it is not given, each problem draws a way by its own text."
    )

    def prompt(self, parent: et.Instruction) -> str:
        """Return the prompt; the parent's text stands in it as it is."""
        ways: tuple[Harder, ...] = get_args(Harder)
        way = self.way or ways[int(parent.id, 16) % len(ways)]
        return _asked("harder", HARDER, HARDER_END, HARDER_BY[way], parent)


class WizardMathDownward(WizardMathOperator, name="wizardmath-downward"):
    """Make a problem of mathematics easier, or invent an easier one about another topic.

    Source: WizardMath (arXiv 2308.09583), downward evolution.
    """

    markers: ClassVar[tuple[str, ...]] = (GIVEN, GIVEN_END, EASIER, EASIER_END)

    way: Easier | None = Field(
        None, description="How it becomes easier; where it is not given, each problem draws a way by its own text."
    )

    def prompt(self, parent: et.Instruction) -> str:
        """Return the prompt; the parent's text stands in it as it is."""
        ways: tuple[Easier, ...] = get_args(Easier)
        way = self.way or ways[int(parent.id, 16) % len(ways)]
        return _asked("easier", EASIER, EASIER_END, EASIER_BY[way], parent)


def _asked(what: str, opening: str, closing: str, method: str, parent: et.Instruction) -> str:
    shared = (
        f"Make the mathematics problem below a little {what}. Write a new problem that is {what} than the given one, "
        f"is clear on its own, and has one right answer. Write only the new problem, between {opening} and {closing}: "
        "no solution, no explanation."
    )
    return shared + "\n\n" + method + f"\n\n{GIVEN}\n" + parent.text + f"\n{GIVEN_END}\n\n{opening}\n"


@et.hookimpl
def register_operators() -> list[type[et.Operator]]:
    """The two operators."""
    return [WizardMathUpward, WizardMathDownward]
