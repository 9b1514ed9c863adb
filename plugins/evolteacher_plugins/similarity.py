"""Rewrites that are too much like their parent."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

import evolteacher as et
from evolteacher_plugins.elimination import STOP_WORDS
from evolteacher_plugins.likeness import common_words

_WORD = re.compile(r"\w+|[^\w\s]")
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
_PUNCTUATION = frozenset(".,:;!?\"'`*_#-()")
"""What may be changed without changing the task; operators and brackets of code are none of it."""

_COMPARED = 5_000
"""Words of each text that are compared: more take too long."""

_FILLER = STOP_WORDS | frozenset(
    """
    accordingly answer appropriate appropriately carefully challenge clean clear clearly code complete completely
    concise correct correctly detailed efficient efficiently ensure example exactly expected explain explanation follow
    following function given good help here instructions kindly make must necessary need needed note output please
    problem program proper properly provide provided question readable remember required requirements response result
    runs should show solution solve step sure task thank thanks understand understandable well work works write your
    """.split()
)
"""Words of which a sentence may be made that asks for nothing: "Please make sure that your code works correctly."."""


class TooSimilar(et.InstructionFilter, name="too-similar"):
    """Reject a rewrite whose words are nearly its parent's.

    A rule of our own, against what small models do most: they hand the task back with a few words swapped, or with
    "Please make sure that your code is correct." behind it. Compared are words, in order, without regard to case and
    punctuation, once sentences that ask for nothing have been left out of the child (polite ones, and those made of
    words such as "code", "works" and "correctly"). Their likeness is twice the longest common subsequence over the sum
    of both lengths: 1 for equal texts, 0 for texts that share no word. A real condition of a few words leaves a task
    much like its parent, so a child that has grown by ``added`` words passes, however alike; one that adds no word at
    all is rejected, however unlike.
    """

    allowed_on: ClassVar[tuple[et.Place, ...]] = ("instruction",)
    ratio: float = Field(
        0.75, gt=0, le=1, description="A child is rejected if its likeness to its parent is this much or more."
    )
    added: int = Field(
        3, ge=1, description="A child that is longer than its parent by this many words or more passes all the same."
    )

    def reject(self, evolution: et.Evolution) -> str | None:
        """Compare the words."""
        parent = _words(evolution.parent.text)
        child = _words(_without_filler(evolution.child.text, frozenset(parent)))
        if not child:
            return "it says nothing but words that ask for nothing"
        common = common_words(parent, child)
        if common == len(child):
            return "it repeats its parent" if common == len(parent) else "it adds no word to its parent"
        likeness = 2 * common / (len(parent) + len(child))
        grown = len(child) - len(parent)
        if likeness < self.ratio or grown >= self.added:
            return None
        new = len(child) - common
        told = f"only {new} of its {len(child)} words {'is' if new == 1 else 'are'} new"
        return f"its likeness to its parent is {likeness:.2f}, {self.ratio:g} or more, and {told}"


def _words(text: str) -> list[str]:
    return [word for word in _WORD.findall(text.casefold()) if word not in _PUNCTUATION][:_COMPARED]


def _without_filler(text: str, parent: frozenset[str]) -> str:
    """Leave out the sentences that ask for nothing; those that the parent's words alone make up stay."""
    kept = []
    for sentence in _SENTENCE.split(text):
        words = set(_words(sentence))
        if not words <= _FILLER or words <= parent:
            kept.append(sentence)
    return "\n".join(kept)


@et.hookimpl
def register_filters() -> Sequence[type[et.Filter]]:
    """Return the family's filters."""
    return [TooSimilar]
