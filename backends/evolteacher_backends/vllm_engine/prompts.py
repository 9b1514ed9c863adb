"""Messages as the tokens of a prompt, in the model's chat template or in the Alpaca form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import evolteacher as et
from evolteacher import errors
from evolteacher_backends.transformers import ALPACA_INSTRUCTION, alpaca_prompt


def read_template(given: str | None) -> str | None:
    """Return a chat template: the text itself, or what the file of that name holds.

    Raises:
        UsageError: it is neither.
    """
    if given is None or "{{" in given or "{%" in given:
        return given
    try:
        return Path(given).expanduser().read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise errors.UsageError(
            f"backend 'vllm': chat_template: '{given}' is no Jinja text, and no file that can be read ({error}): give "
            "one of the two"
        ) from None


class PromptWriter:
    """Turns messages into tokens.

    Attributes:
        stop: texts that end an answer in this form.

    Args:
        tokenizer: the engine's.
        form: ``auto``, ``chat`` or ``alpaca``.
        template: in place of the tokenizer's own.
        options: handed to the template.

    Raises:
        FatalError: ``chat`` without a template.
    """

    def __init__(self, tokenizer: Any, form: str, template: str | None, options: dict[str, Any]) -> None:
        self._tokenizer = tokenizer
        self._options = {**options, "chat_template": template} if template else options
        self._chat = form != "alpaca" and self._has_template()
        self.stop = () if self._chat else (f"\n{ALPACA_INSTRUCTION}",)
        if form == "chat" and not self._chat:
            raise errors.FatalError(
                "backend 'vllm': the model has no chat template: set form: alpaca, or give a chat_template"
            )

    def tokens(self, messages: tuple[et.Message, ...]) -> list[int]:
        """Return the prompt's tokens, special ones included.

        Raises:
            BadReply: the template does not take such messages.
        """
        if not self._chat:
            return list(self._tokenizer.encode(alpaca_prompt(messages)))
        try:
            return self._in_template(messages)
        except Exception as error:
            raise errors.BadReply(
                f"the chat template does not take such messages: {type(error).__name__}: {error}"
            ) from error

    def _in_template(self, messages: tuple[et.Message, ...]) -> list[int]:
        conversation = [{"role": message.role, "content": message.content} for message in messages]
        tokens = self._tokenizer.apply_chat_template(
            conversation, add_generation_prompt=True, tokenize=True, return_dict=False, **self._options
        )
        return list(tokens)

    def _has_template(self) -> bool:
        """Ask the tokenizer itself, since some bring their form as code and not as a template."""
        try:
            self._in_template((et.Message("user", "?"),))
        except ValueError as error:
            return "tokenizer.chat_template is not set" not in str(error)
        except Exception:
            return True  # there is one, and it did not like the question
        return True
