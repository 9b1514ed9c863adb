"""The prompt form: how an instruction and its response are laid out for a model, in training and afterwards.

A model that was trained with one form and is asked in another does worse than it can. So the form is a noun of its own:
it is a chat template, it is saved with the model, and whoever asks the model reads it from there. Two kinds:

======  ============================================================================================================
chat    the chat template that the model brings
alpaca  Stanford Alpaca's, which WizardCoder and nickrosh/Evol-Teacher train with: preface, ``### Instruction:`` and
        ``### Response:``, behind which the response follows at once
======  ============================================================================================================
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast, get_args

from evolteacher.errors import RunError, UsageError

Kind = Literal["alpaca", "chat"]

FILE = "prompt_form.json"
"""The file beside a model's weights that holds its form."""

ALPACA_PREFACE = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request."
)

_ALPACA = (
    "{%- if messages[0]['role'] == 'system' -%}{{- messages[0]['content'] -}}{%- else -%}{{- '"
    + ALPACA_PREFACE
    + "' -}}{%- endif -%}"
    "{%- for message in messages -%}"
    "{%- if message['role'] == 'assistant' -%}{{- '\\n\\n### Response:' + message['content'] + eos_token -}}"
    "{%- elif message['role'] != 'system' -%}{{- '\\n\\n### Instruction:\\n' + message['content'] -}}{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '\\n\\n### Response:' -}}{%- endif -%}"
)
"""As a chat template, which any tool that knows chat templates renders rightly; a system message is the preface."""


@dataclass(frozen=True)
class PromptForm:
    """How an instruction is put to a model.

    Texts are rendered by a tokenizer's ``apply_chat_template``, which fills in special tokens; they are to be tokenised
    without adding any.

    Attributes:
        kind: alpaca or chat.
        template: the whole chat template.
        options: handed to the template, such as ``enable_thinking: false``.
    """

    kind: Kind
    template: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def alpaca(cls, *, begins: bool = False) -> PromptForm:
        """Return the Alpaca form.

        Args:
            begins: whether the tokenizer puts a token at the beginning of each text, which then belongs to the form.
        """
        return cls("alpaca", ("{{- bos_token -}}" if begins else "") + _ALPACA)

    @classmethod
    def choose(
        cls, wanted: Literal["auto", "alpaca", "chat"], tokenizer: Any, options: Mapping[str, Any] | None = None
    ) -> PromptForm:
        """Return the form for a tokenizer; ``auto`` is its chat template where it has one, else Alpaca.

        Raises:
            UsageError: ``chat``, and the tokenizer has no chat template (or several).
        """
        template = tokenizer.chat_template
        if wanted == "alpaca" or (wanted == "auto" and not template):
            begins = tokenizer.bos_token_id is not None and tokenizer("")["input_ids"][:1] == [tokenizer.bos_token_id]
            return cls.alpaca(begins=begins)
        if not isinstance(template, str) or not template:
            raise UsageError("form: chat: the model's tokenizer has no chat template: write form: alpaca")
        return cls("chat", template, dict(options or {}))

    def prompt(self, tokenizer: Any, instruction: str) -> str:
        """Return the text that a model is to go on from."""
        return self._render(tokenizer, [{"role": "user", "content": instruction}], add_generation_prompt=True)

    def split(self, tokenizer: Any, instruction: str, response: str) -> tuple[str, str]:
        """Return a training example's two parts: the prompt, as :meth:`prompt` gives it, and what is to be learnt.

        The second part is the response and the token that ends it; what a template writes behind that is left out,
        since no model is asked for it.

        Raises:
            UsageError: the template writes a prompt that is not how the whole example begins, or the tokenizer has no
                token that ends an answer.
        """
        if not tokenizer.eos_token:
            raise UsageError(
                "the model's tokenizer has no token that ends an answer (eos_token), so none can be learnt"
            )
        prompt = self.prompt(tokenizer, instruction)
        turns = [{"role": "user", "content": instruction}, {"role": "assistant", "content": response}]
        whole = self._render(tokenizer, turns, add_generation_prompt=False)
        if not whole.startswith(prompt):
            raise UsageError(
                "form: chat: the model's chat template does not begin an answered conversation with the prompt it asks "
                "by, so the two cannot be told apart: write form: alpaca, or template_options that make them agree"
            )
        answer = whole[len(prompt) :]
        before, end, _ = answer.rpartition(tokenizer.eos_token)
        if end and len(before) >= len(response.strip()):
            return prompt, before + end
        return prompt, answer + tokenizer.eos_token

    def _render(self, tokenizer: Any, turns: list[dict[str, str]], *, add_generation_prompt: bool) -> str:
        text = tokenizer.apply_chat_template(
            turns,
            chat_template=self.template,
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
            **self.options,
        )
        return cast(str, text)

    def write(self, folder: Path, tokenizer: Any) -> None:
        """Write the form into a model's folder, with an example for people and tools that read no template."""
        prompt, answer = self.split(tokenizer, "{instruction}", "{response}")
        data = {
            "form": self.kind,
            "template": self.template,
            "template_options": dict(self.options),
            "example": {"prompt": prompt, "completion": answer},
        }
        (folder / FILE).write_text(json.dumps(data, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> PromptForm | None:
        """Return the form that a model's folder holds; None where it holds none.

        Raises:
            RunError: the file is there and cannot be understood.
        """
        path = folder / FILE
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            kind, template, options = data["form"], data["template"], data["template_options"]
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"{path}: is no prompt form ({error}); delete it, or train again") from None
        if kind not in get_args(Kind) or not isinstance(template, str) or not isinstance(options, dict):
            raise RunError(f"{path}: is no prompt form that this evolteacher knows; delete it, or train again")
        return cls(kind, template, options)
