"""The five evolution operators of WizardCoder (Luo et al. 2023, arXiv 2306.08568), in words of our own.

The paper gives one prompt for all: make the given programming test a bit more difficult, by one of five methods. Here
each method is an operator, so that a recipe can choose, weigh and compare them. The prompts say what the paper's say
and were tried on small models (see the lab notebook); ``template:`` takes other words.
"""

from __future__ import annotations

from typing import ClassVar

import evolteacher as et

GIVEN = "<given_task>"
GIVEN_END = "</given_task>"
HARDER = "<harder_task>"
HARDER_END = "</harder_task>"

SHARED = (
    "Make the programming task below a little harder. Write a new task that asks for more than the given one, is clear "
    "on its own, and can be solved by a good programmer. Repeat the code and data that it needs. Write only the new "
    f"task, between {HARDER} and {HARDER_END}: no solution, no explanation."
)
"""What all five prompts begin with, so that a server that caches prefixes reads it once."""


class WizardCoderOperator(et.Operator):
    """Base of the five: the shared part, the method, the given task, and the marker that opens the rewritten one."""

    markers: ClassVar[tuple[str, ...]] = (GIVEN, GIVEN_END, HARDER, HARDER_END)
    method: ClassVar[str] = ""

    def prompt(self, parent: et.Instruction) -> str:
        """Return the prompt; the parent's text stands in it as it is."""
        return SHARED + "\n\n" + self.method + f"\n\n{GIVEN}\n" + parent.text + f"\n{GIVEN_END}\n\n{HARDER}\n"


class AddConstraints(WizardCoderOperator, name="add-constraints"):
    """Add one or two constraints or requirements, in about ten more words.

    Source: WizardCoder (arXiv 2306.08568), the first of its five methods.
    """

    method: ClassVar[str] = (
        "The harder task keeps all of the given task and adds one or two constraints or requirements, in about ten "
        "more words."
    )


class RareRequirement(WizardCoderOperator, name="rare-requirement"):
    """Replace a common requirement by a less common and more specific one.

    Source: WizardCoder (arXiv 2306.08568), the second of its five methods.
    """

    method: ClassVar[str] = (
        "The harder task replaces one common requirement of the given task by a less common, more specific one."
    )


class MoreSteps(WizardCoderOperator, name="more-steps"):
    """Ask for more steps of reasoning where a few suffice.

    Source: WizardCoder (arXiv 2306.08568), the third of its five methods.
    """

    method: ClassVar[str] = (
        "The harder task takes several more steps of reasoning to solve, where the given task takes only one or two."
    )


class Misdirection(WizardCoderOperator, name="misdirection"):
    """Show a piece of erroneous code that misleads.

    Source: WizardCoder (arXiv 2306.08568), the fourth of its five methods. The prompt has the code announced as an
    attempt, so that it can be told from a solution which a model appends unasked.
    """

    method: ClassVar[str] = (
        'The harder task is the given task, then "This attempt may be wrong:" and a short code block with a mistake '
        "in it, as a misleading reference."
    )


class Complexity(WizardCoderOperator, name="complexity"):
    """Set a stricter limit on the time or memory complexity, sparingly.

    Source: WizardCoder (arXiv 2306.08568), the last of its five methods, which it asks not to use often: the prompt
    says "only where it makes sense", and a recipe can lower the operator's ``weight``.
    """

    method: ClassVar[str] = (
        "The harder task keeps all of the given task and, only where it makes sense, sets a stricter limit on the time "
        "or memory complexity of the solution."
    )


@et.hookimpl
def register_operators() -> list[type[et.Operator]]:
    """The five operators, in the paper's order."""
    return [AddConstraints, RareRequirement, MoreSteps, Misdirection, Complexity]
