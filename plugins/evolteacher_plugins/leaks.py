"""Instructions that give their own answer away."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pydantic import Field

import evolteacher as et
from evolteacher_plugins.fenced import quoted

_TOKEN = re.compile(r"\w+|[^\w\s]")
_MOST = 20_000
"""Tokens of each text that are compared."""

_REWORK = re.compile(
    r"(?:^|[.!?:]\s|\b(?:please|and|then|to)\s)\s*(?:adapt|add|annotate|change|clean|comment|complete|condense|convert"
    r"|correct|debug|edit|enhance|expand|extend|fill|find|fix|format|identify|improve|insert|mend|modify|optimi[sz]e|parse"
    r"|port|proofread|re-?arrange|refactor|remove|rename|re-?order|repair|replace|re-?write|simplify|sort|translate"
    r"|troubleshoot|turn|update)\b|\b(?:bugs?|errors?|issues?|mistakes?|wrong|(?:does not|doesn't) work|fails?)\b",
    re.IGNORECASE | re.MULTILINE,
)
"""Words of a task that hands over code or text to be worked on: there the answer rightly holds most of it. Verbs count
where they give the order, so "fix this" is such a task and "write a function that sorts" is none."""


class AnswerLeaked(et.ResponseFilter, name="answer-leaked"):
    """Reject an example whose instruction already holds the answer.

    A rule of our own; sharing runs of words is how contamination is measured too (Brown et al., arXiv 2005.14165, take
    13 words). The answer is the response's fenced code where there is any, else the response; words and signs are its
    tokens. It is leaked where the instruction holds all of it, in one piece, or where so large a share of its runs of
    tokens stand in the instruction. The share alone says nothing where the task is to work on what it quotes (fix,
    complete, translate, sort …): such an answer must be the instruction's own text, whole, to be rejected. Short
    answers pass: a task may well name the word or the line that it wants.
    """

    share: float = Field(
        0.8, gt=0, le=1, description="Rejected if this share of the answer's runs of tokens is in the instruction."
    )
    run: int = Field(8, ge=2, description="Length of the runs, in tokens.")
    tokens: int = Field(16, ge=2, description="An answer of fewer tokens than this passes.")

    def reject(self, record: et.Record) -> str | None:
        """Look for the answer's runs of tokens in the instruction."""
        prose, blocks = et.split_fences(record.response)
        answer = _TOKEN.findall("\n".join(block.code for block in blocks)) or _TOKEN.findall(prose)
        answer = answer[:_MOST]
        if len(answer) < max(self.tokens, self.run):
            return None
        task = record.instruction.text
        given = _TOKEN.findall(task)[:_MOST]
        if f" {' '.join(answer)} " in f" {' '.join(given)} ":
            return f"its instruction holds the whole answer, {len(answer):,} tokens: {quoted(' '.join(answer))}"
        if _REWORK.search(task):
            return None
        runs, known = _runs(answer, self.run), set(_runs(given, self.run))
        found = [run for run in runs if run in known]
        share = len(found) / len(runs)
        if share < self.share:
            return None
        return (
            f"its instruction holds {share:.0%} of the answer's runs of {self.run} tokens: {quoted(' '.join(found[0]))}"
        )


def _runs(tokens: Sequence[str], length: int) -> list[tuple[str, ...]]:
    return [tuple(tokens[start : start + length]) for start in range(len(tokens) - length + 1)]


@et.hookimpl
def register_filters() -> Sequence[type[et.Filter]]:
    """Return the family's filters."""
    return [AnswerLeaked]
