"""Answers in which a model refuses, or speaks of itself as an AI."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

import evolteacher as et
from evolteacher_plugins.fenced import prose_of, quoted

_QUOTATION = re.compile(r"\"[^\"\n]*\"|\u201c[^\u201d\n]*\u201d|(?<!\w)'[^'\n]*'(?!\w)")
_START = r"(?:^|(?<=[.!?:]) |(?<=[.!?:]  ))[\W_]{0,3}"
_LEAD = (
    r"(?:(?:i'?m|i am)(?: very| so| truly)? sorry[,.]?(?: but| that)?|sorry[,.]?(?: but)?|i apologi[sz]e[,.]?(?: but)?"
    r"|apologies[,.]?(?: but)?|unfortunately[,.]?|i regret that|however[,.]?|but)? ?"
)
_CANNOT = r"(?:can ?not|can'?t|won'?t|will not|(?:am|'m) (?:not able|unable)(?: to)?|am not (?:allowed|permitted) to)"
_SERVE = (
    r"(?:help|assist|comply|fulfil|answer|provide|create|generate|write|produce|execute|run|complete"
    r"|do (?:that|this|so)|process|respond|continue|support|access|browse|perform|display|draw|show|give|understand"
    r"|(?:see|find) any)\w*"
)
_AI = (
    r"(?:as|being|(?:since |because )?(?:i am|i'm)(?: just| only)?) (?:an? )?"
    r"(?:ai|a\.i\.|artificial intelligence|(?:large )?language model|virtual assistant|text[- ]based (?:ai|model)"
    r"|(?:ai|digital|chat) ?(?:bot|assistant))\b(?! (?:engineer|researcher|developer|expert|specialist|scientist"
    r"|student|consultant|company|startup|team))"
)
_SELF = re.compile(_START + rf"(?:{_LEAD})?{_AI}", re.IGNORECASE | re.MULTILINE)
_REFUSAL = re.compile(
    rf"\A[\W_]{{0,3}}{_LEAD}(?:i|we)(?: simply| really)? ?{_CANNOT} {_SERVE}"
    rf"|\A[\W_]{{0,3}}{_LEAD}(?:i|we) (?:do not|don'?t) have (?:enough|access|the (?:ability|capability|context))"
    rf"|\A[\W_]{{0,3}}{_LEAD}(?:it|this) is (?:not possible|impossible) (?:for me )?to {_SERVE}"
    r"|\A[\W_]{0,3}(?:i must|i have to|i'll have to) (?:decline|refuse)"
    r"|\A[\W_]{0,3}(?:could|can|would) you (?:please )?(?:provide|clarify|specify|share|give)\b",
    re.IGNORECASE,
)


class Refusal(et.TextFilter, name="refusal"):
    """Reject an answer that opens with a refusal, or in which a model speaks of itself as an AI.

    A rule of our own, beside the paper's ``sorry``, which looks for that word alone. Refusals count as the text's first
    words ("Unfortunately, I cannot provide …", "Could you provide the code?"); "as an AI language model" and its like
    at the start of any sentence. Fenced code, code spans and what stands in quotation marks are left out: a program
    that prints such a sentence is no refusal, and neither is a task for somebody who is an AI engineer.
    """

    default_on: ClassVar[tuple[et.Place, ...]] = ("response",)

    phrases: tuple[str, ...] = Field(
        (), description="More openings that are refusals, in any case, such as 'Je ne peux pas'."
    )

    def reject(self, text: str) -> str | None:
        """Look at the first words, then for a sentence about itself."""
        prose = _QUOTATION.sub(" ", prose_of(text).replace("\u2019", "'")).strip()
        opening = " ".join(prose[:400].split())
        if found := _REFUSAL.match(opening):
            return f"it refuses: {quoted(opening[: found.end() + 40])}"
        for phrase in self.phrases:
            if phrase.strip() and opening.casefold().startswith(" ".join(phrase.casefold().split())):
                return f"it opens with a refusal: {quoted(opening)}"
        if found := _SELF.search(prose):
            return f"the model speaks of itself: {quoted(prose[found.start() : found.end() + 40])}"
        return None


@et.hookimpl
def register_filters() -> Sequence[type[et.Filter]]:
    """Return the family's filters."""
    return [Refusal]
