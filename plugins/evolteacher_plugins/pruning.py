"""Pruning rules that look at form and length: those of nickrosh/Evol-Teacher, and replies that were cut short.

Evol-Teacher (``generate_evol.py`` on GitHub) applies one check to every new instruction and to every response:
nothing there, three words or fewer, or a first character that is not ASCII; and it throws away replies above a number
of tokens. Here each rule is a filter of its own. What the WizardLM paper eliminates is in
:mod:`evolteacher_plugins.elimination`; this plugin registers both.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

import evolteacher as et
from evolteacher_plugins.elimination import CopiedPrompt, NoContent, NoGain, Sorry

_INVISIBLE = frozenset({"Cc", "Cf", "Zl", "Zp", "Zs"})
"""Unicode's general categories of what shows nothing: controls, format characters, separators."""


class Empty(et.TextFilter, name="empty"):
    r"""Reject a text that shows nothing: no character at all, or only white space and invisible ones.

    Source: nickrosh/Evol-Teacher, ``generate_evol.py``, which tests for the empty string. Counted as nothing besides:
    white space, control characters such as NUL, and format characters such as a zero-width space or a byte order mark.
    """

    def reject(self, text: str) -> str | None:
        """Look for one character that shows."""
        if any(unicodedata.category(char) not in _INVISIBLE for char in text):
            return None
        return "it is empty" if not text else "it holds nothing but white space and invisible characters"


class FewWords(et.TextFilter, name="few-words"):
    """Reject a text of three words or fewer.

    Source: nickrosh/Evol-Teacher, ``generate_evol.py``: ``len(text.split()) <= 3``, on instructions and responses. A
    word is what stands between white space, so ``x=1`` is one word, and so is a whole sentence of a language written
    without spaces. Where short answers are good ones (``return x * x`` passes, ``print(x)`` does not), say
    ``on: instruction``.
    """

    words: int = Field(3, ge=0, description="A text of this many words or fewer is rejected.")

    def reject(self, text: str) -> str | None:
        """Count the words, no further than needed."""
        count = len(text.split(maxsplit=self.words))
        if count > self.words:
            return None
        return f"it has {_counted(count, 'word')}; {self.words} or fewer are too few"


class NonAsciiStart(et.TextFilter, name="non-ascii-start"):
    """Reject a text whose first character is not ASCII.

    Source: nickrosh/Evol-Teacher, ``generate_evol.py``. It throws away good text: whatever opens with a typographic
    quotation mark, an accent or an emoji, and every text in most of the world's scripts. No shipped recipe but
    ``evol-teacher`` uses it. An empty text passes: that is for ``empty`` to say.
    """

    def reject(self, text: str) -> str | None:
        """Look at the first character."""
        if text[:1].isascii():
            return None
        return f"its first character, U+{ord(text[0]):04X}, is not ASCII"


class LongInstruction(et.InstructionFilter, name="long-instruction"):
    """Reject an instruction whose reply took 1,000 or more completion tokens.

    Source: nickrosh/Evol-Teacher, ``generate_evol.py``, which reads the provider's own count. It is the count of the
    operator's last reply, with whatever chatter stood around the instruction. Where the backend reports no usage there
    is no count, and the instruction passes: it is never rejected by a guess at its length.
    """

    allowed_on: ClassVar[tuple[et.Place, ...]] = ("instruction",)
    tokens: int = Field(1000, ge=1, description="A reply of this many completion tokens or more is rejected.")

    def reject(self, evolution: et.Evolution) -> str | None:
        """Compare the backend's count; 0 where there is none."""
        count = evolution.reply.usage.completion_tokens
        if count < self.tokens:
            return None
        return f"its reply took {_counted(count, 'completion token')}; {self.tokens:,} or more are too many"


class LongResponse(et.ResponseFilter, name="long-response"):
    """Reject a response whose call took 2,000 or more tokens, the prompt's and the answer's together.

    Source: nickrosh/Evol-Teacher, ``generate_evol.py``, which reads the provider's own total. Where the backend
    reports no usage, and where the response is the source's own, there is no count and the response passes: it is
    never rejected by a guess at its length. Where it reports one half of its usage, that half counts.
    """

    tokens: int = Field(2000, ge=1, description="A call of this many tokens or more, in total, is rejected.")

    def reject(self, record: et.Record) -> str | None:
        """Compare the backend's count; 0 where there is none."""
        count = record.reply.usage.total_tokens
        if count < self.tokens:
            return None
        return f"its call took {_counted(count, 'token')} in total; {self.tokens:,} or more are too many"


class Truncated(et.ReplyFilter, name="truncated"):
    """Reject what was cut off at ``max_tokens``: a reply whose finish reason is ``length``.

    A rule of our own. Half an instruction asks for something else than was meant, and half a response teaches a
    model to stop in the middle. A rewrite that the model itself had ended, with the end marker of the operator's
    prompt, is whole, whatever was cut off behind it; without that marker nothing tells a whole task from half of one.
    Where a backend names no finish reason, the reply passes.
    """

    def reject(self, reply: et.Reply) -> str | None:
        """Look at why the reply ended."""
        return "the reply was cut off at max_tokens" if reply.finish_reason == "length" else None


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


@et.hookimpl
def register_filters() -> Sequence[type[et.Filter]]:
    """Return the filters of both families."""
    return [
        Empty,
        FewWords,
        NonAsciiStart,
        LongInstruction,
        LongResponse,
        Truncated,
        Sorry,
        NoContent,
        CopiedPrompt,
        NoGain,
    ]
