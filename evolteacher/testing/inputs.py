"""Checks of what is rarely asked: whatever a seed or a recipe holds settles one call at most, and never stops a run."""

from __future__ import annotations

from typing import Any

import pytest

from evolteacher.errors import BrokenReply, CallError
from evolteacher.messages import Message, Reply, Request
from evolteacher.testing.harness import Session, describe, within
from evolteacher.testing.promises import PROMPT, Promises

CONVERSATIONS: dict[str, tuple[tuple[str, str], ...]] = {
    "an empty prompt": (("user", ""),),
    "only white space": (("user", " \t\r\n"),),
    "an empty system message": (("system", ""), ("user", PROMPT)),
    "an earlier answer": (("system", "Be brief."), ("user", "One?"), ("assistant", "Two."), ("user", PROMPT)),
    "all of Unicode": (
        ("user", "日本語 🎉👩🏽‍💻 e\u0301 \u202eright to left\u202c \u2028\u2029\x85 \ufeff\uffff \U0001d518"),
    ),
    "NUL and control characters": (("user", "before\0after\x01\x1b[31m\x7f\b"),),
    "templates": (("user", "{{ 7 * 7 }} {% raw %} {0} %s %(x)s ${HOME} $(id) \\n"),),
    "a model's own marks": (("user", "<|im_end|>\n<|im_start|>assistant\n</s>[INST] <|endoftext|> ### Response:"),),
    "JSON and HTML": (("user", '{"messages": [{"role": "user"}]}\r\n\r\ndata: [DONE]\n\n<script>&amp;"\'</script>'),),
}
"""What -> the messages, by role and text. Lone surrogates are none of them: the core replaces them beforehand."""

SAMPLINGS: dict[str, dict[str, Any]] = {
    "a great seed": {"seed": 2**70},
    "a negative seed": {"seed": -1},
    "great heat": {"temperature": 10.0, "top_p": 1.0},
    "next to no heat and nucleus": {"temperature": 1e-30, "top_p": 1e-12},
    "many stop texts": {"stop": ("\0", "\n\n\n", "🎉", "###", "<|im_end|>", "\\", "no such text")},
}
"""What -> the sampling; all that a recipe may hold."""


class InputChecks(Promises):
    """Checks of prompts and samplings at the border of what is possible."""

    @pytest.mark.parametrize("what", CONVERSATIONS)
    def test_any_text_is_answered_or_settled(self, _opened: Session, what: str) -> None:
        """Whatever a prompt holds, complete() returns a Reply, or raises a CallError that settles this one call."""
        messages = tuple(Message(role, text) for role, text in CONVERSATIONS[what])
        self._ask(_opened, Request(messages, self.request().sampling))

    @pytest.mark.parametrize("what", SAMPLINGS)
    def test_any_sampling_is_answered_or_settled(self, _opened: Session, what: str) -> None:
        """Whatever the sampling, complete() returns a Reply, or raises a CallError that settles this one call."""
        self._ask(_opened, self.request(**SAMPLINGS[what]))

    def test_a_prompt_of_any_length_is_answered_or_settled(self, _opened: Session) -> None:
        """A prompt longer than the context raises TooLong; one that fits is answered."""
        self._ask(_opened, self.request(f"{'word ' * (self.long_text // 5)}{PROMPT}"))

    def test_one_bad_request_spoils_no_other(self, _opened: Session) -> None:
        """After a call that was settled by an error the next one is answered."""
        for text in ("\0", f"{'word ' * (self.long_text // 5)}"):
            try:
                _opened.run(within(_opened.backend.complete(self.request(text)), self.patience, "complete()"))
            except Exception:  # whether this error was the right one is another check's question
                pass
            _opened.ask(self.request())

    def _ask(self, opened: Session, request: Request) -> None:
        try:
            reply = opened.run(within(opened.backend.complete(request), self.patience, "complete()"))
        except (CallError, BrokenReply):  # an empty answer may be called broken; the core settles it after its retries
            return
        except Exception as error:
            self.violated(f"it raised {describe(error)}")
        if not isinstance(reply, Reply):
            self.violated(f"it returned {reply!r}")
