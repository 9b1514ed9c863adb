"""The six evolution operators of WizardLM (Xu et al. 2023, arXiv 2304.12244), in words of our own.

Five go in depth and make an instruction harder; one goes in breadth and writes a new instruction of the same domain.
The paper draws all six with equal probability, and lets a rewrite grow by 10 to 20 words. They are for instructions of
any kind; :mod:`evolteacher_plugins.wizardcoder` is what the method became for programming. The prompts were tried on
small models (see the lab notebook); ``template:`` takes other words.
"""

from __future__ import annotations

import re
from typing import ClassVar, get_args

from pydantic import Field

import evolteacher as et
from evolteacher.errors import Unreadable
from evolteacher_plugins.demonstrations import DEMONSTRATIONS, Form, Pair
from evolteacher_plugins.likeness import common_words

GIVEN = "<given_instruction>"
GIVEN_END = "</given_instruction>"
HARDER = "<harder_instruction>"
HARDER_END = "</harder_instruction>"
NEW = "<new_instruction>"
NEW_END = "</new_instruction>"

IN_DEPTH = (
    "Make the instruction below a little harder for an AI assistant. Write a new instruction that asks for more than "
    "the given one, makes sense on its own, and can be understood and answered by people. Repeat the code, tables and "
    f"other input that it needs. Write only the new instruction, between {HARDER} and {HARDER_END}, without an answer "
    "or an explanation."
)
"""What the five prompts in depth begin with, so that a server that caches prefixes reads it once."""

IN_BREADTH = (
    "Write a brand-new instruction for an AI assistant, inspired by the one below. It makes sense on its own, and can "
    f"be understood and answered by people. Write only the new instruction, between {NEW} and {NEW_END}, without an "
    "answer or an explanation.\n\n"
    "The new instruction asks for something else than the given instruction: it is of the same domain but rarer, and "
    "about as long and as hard."
)


COPY = 0.65
"""Likeness to a demonstration from which on a rewrite is a copy of it (docs/notebook.md has what was read)."""

_WORD = re.compile(r"\w+")
_COMPARED = 5_000
"""Words of a rewrite that are compared: more take too long."""


class InDepth(et.Operator):
    """Base of the five in depth: the shared part, the method, the given instruction, the marker of the harder one."""

    markers: ClassVar[tuple[str, ...]] = (GIVEN, GIVEN_END, HARDER, HARDER_END)
    method: ClassVar[str] = ""

    def prompt(self, parent: et.Instruction) -> str:
        """Return the prompt; the parent's text stands in it as it is."""
        return IN_DEPTH + "\n\n" + self.method + "\n\n" + _given(parent.text) + f"\n\n{HARDER}\n"


class WizardLMAddConstraints(InDepth, name="wizardlm-add-constraints"):
    """Add one more constraint or requirement, in 10 to 20 more words.

    Source: WizardLM (arXiv 2304.12244), in-depth evolving, "add constraints".
    """

    method: ClassVar[str] = (
        "The harder instruction keeps all that the given instruction asks for and adds one more constraint or "
        "requirement to it, in 10 to 20 more words."
    )


class WizardLMDeepen(InDepth, name="wizardlm-deepen"):
    """Ask about the same matter in more depth and breadth, in 10 to 20 more words.

    Source: WizardLM (arXiv 2304.12244), in-depth evolving, "deepening".
    """

    method: ClassVar[str] = (
        "The harder instruction asks about the same matter as the given instruction, and goes deeper and wider into "
        "it, in 10 to 20 more words."
    )


class WizardLMConcretize(InDepth, name="wizardlm-concretize"):
    """Replace general concepts by more specific ones, in 10 to 20 more words.

    Source: WizardLM (arXiv 2304.12244), in-depth evolving, "concretizing".
    """

    method: ClassVar[str] = (
        "The harder instruction is the given instruction with its general concepts replaced by more specific ones, in "
        "10 to 20 more words."
    )


class WizardLMReasoning(InDepth, name="wizardlm-reasoning"):
    """Ask explicitly for several steps of reasoning where a few simple thoughts suffice, in 10 to 20 more words.

    Source: WizardLM (arXiv 2304.12244), in-depth evolving, "increase reasoning steps".
    """

    method: ClassVar[str] = (
        "The harder instruction is about the same matter as the given instruction and explicitly asks for several "
        "steps of reasoning, in 10 to 20 more words, where the given one takes a few simple thoughts."
    )


class WizardLMComplicateInput(InDepth, name="wizardlm-complicate-input"):
    """Have the instruction work on input data: XML, a SQL table, Python, HTML, a shell session, or JSON.

    Source: WizardLM (arXiv 2304.12244), in-depth evolving, "complicate input", the only one of its prompts with
    demonstrations. Two are shown, of the form that is asked for; they are ours.
    """

    method: ClassVar[str] = (
        "Each harder instruction is about the same matter as the instruction given before it, and asks to work on "
        "{data}, which stands at its end in a code block."
    )

    form: Form | None = Field(
        None, description="What the input is; where it is not given, each instruction draws one by its own text."
    )

    def _shown(self, parent: et.Instruction) -> tuple[str, tuple[Pair, Pair]]:
        """Return what the data of one form are called, and the demonstrations."""
        forms: tuple[Form, ...] = get_args(Form)
        return DEMONSTRATIONS[self.form or forms[int(parent.id, 16) % len(forms)]]

    def read(self, reply: et.Reply, parent: et.Instruction) -> str:
        """Take the new instruction out of the answer; one that only hands a demonstration back is none.

        Raises:
            Unreadable: there is none, or it is a demonstration's.
        """
        child = super().read(reply, parent)
        for shown in (text for pair in self._shown(parent)[1] for text in pair):
            if _likeness(child, shown) >= COPY > _likeness(parent.text, shown):
                raise Unreadable("it repeats a demonstration of the prompt")
        return child

    def prompt(self, parent: et.Instruction) -> str:
        """Return the prompt with the demonstrations of one form."""
        data, shown = self._shown(parent)
        method = self.method.replace("{data}", data)
        examples = [f"{_given(given)}\n\n{HARDER}\n{harder}\n{HARDER_END}" for given, harder in shown]
        return "\n\n".join([IN_DEPTH, method, *examples, _given(parent.text), HARDER]) + "\n"


class WizardLMBreadth(et.Operator, name="wizardlm-breadth"):
    """Write a brand-new instruction of the same domain, rarer, about as long and as hard.

    Source: WizardLM (arXiv 2304.12244), in-breadth evolving. The child shares no task with its parent, so the no-gain
    filter, which compares the two, is of little use behind it.
    """

    markers: ClassVar[tuple[str, ...]] = (GIVEN, GIVEN_END, NEW, NEW_END)

    def prompt(self, parent: et.Instruction) -> str:
        """Return the prompt; the parent's text stands in it as it is."""
        return IN_BREADTH + "\n\n" + _given(parent.text) + f"\n\n{NEW}\n"


def _likeness(text: str, other: str) -> float:
    """Return how alike two texts are before their code blocks: 1 for the same words in the same order, 0 for none."""
    ours, theirs = (_WORD.findall(each.partition("```")[0].casefold()) for each in (text, other))
    if not ours or not theirs:
        return 0.0
    common = common_words(ours[:_COMPARED], theirs)
    return 2 * common / (len(ours) + len(theirs))


def _given(text: str) -> str:
    return f"{GIVEN}\n{text}\n{GIVEN_END}"


@et.hookimpl
def register_operators() -> list[type[et.Operator]]:
    """The six operators, in the paper's order."""
    return [
        WizardLMAddConstraints,
        WizardLMDeepen,
        WizardLMConcretize,
        WizardLMReasoning,
        WizardLMComplicateInput,
        WizardLMBreadth,
    ]
