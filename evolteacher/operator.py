"""Operators: rules that turn one instruction into another, usually by asking an LLM."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, ClassVar, Literal, Protocol, Self

from pydantic import Field, model_validator

from evolteacher import template
from evolteacher.component import Component
from evolteacher.messages import Prompt, Reply, Role
from evolteacher.reading import read_rewritten
from evolteacher.record import Instruction

TEMPLATE_NAMES = frozenset({"instruction"})


class Ask(Protocol):
    """What an operator or a judge is handed to ask an LLM with.

    The call is numbered when ``ask`` is called, its reply is stored under that number, and a resumed run is
    answered from the store. Keys, retries and limits are the core's.
    """

    def __call__(
        self, prompt: Prompt, *, role: Role | None = None, key: str | None = None, **sampling: Any
    ) -> Awaitable[Reply]:
        """Ask.

        Args:
            prompt: a text, or a list of messages.
            role: whose backend answers: ``evolve`` in operators and ``judge`` in filters unless said otherwise. A
                component's ``backend:`` in the recipe overrides both.
            key: names the call instead of its number, for asks whose order depends on which reply came first.
            sampling: fields of :class:`~evolteacher.messages.Sampling` that differ from the recipe's.

        Raises:
            CallError: this one request cannot be answered; leave it to the core, which settles the evolution.
        """
        ...


class Operator(Component):
    """Base of evolution operators.

    The simple tier is :meth:`prompt`; the full tier overrides :meth:`evolve` and asks as often as it likes. Both take
    the rewritten task out of the answer with :meth:`read`.

    Attributes:
        markers: texts of the operator's prompt that must not leak into a child (class attribute); the copy filter
            reads it.
    """

    kind: ClassVar[str] = "operator"
    markers: ClassVar[tuple[str, ...]] = ()
    uses_template: ClassVar[bool] = True

    template: str | None = Field(
        None, description="A jinja2 template that replaces the operator's prompt; `instruction` is the parent's text."
    )
    extract: Literal["task", "whole"] = Field(
        "task", description="task: take the rewritten task out of the answer; whole: take the answer as it came."
    )

    def __init_subclass__(cls, name: str = "", **kwargs: Any) -> None:
        """Note whether the class still builds its prompt where a template can replace it."""
        super().__init_subclass__(name=name, **kwargs)
        if "evolve" in cls.__dict__ and "uses_template" not in cls.__dict__:
            cls.uses_template = False

    @model_validator(mode="after")
    def _check_template(self) -> Self:
        if self.template is not None:
            if not self.uses_template:
                raise ValueError(f"operator '{self.name}' builds its prompts itself and takes no template")
            template.check(self.template, TEMPLATE_NAMES)
        return self

    def prompt(self, parent: Instruction) -> Prompt:
        """Return what to ask for this parent.

        Pure: the same parent gives the same prompt. The instruction's text is data; build the prompt by
        concatenation, the part that all prompts share first, so that prefix caches pay.
        """
        raise NotImplementedError(f"operator '{self.name}' defines neither prompt() nor evolve()")

    def read(self, reply: Reply, parent: Instruction) -> str:
        """Take the new instruction out of the model's chatter.

        Raises:
            Unreadable: there is none; the evolution is rejected with that reason.
        """
        return read_rewritten(reply.text, parent.text, self.markers)

    async def evolve(self, parent: Instruction, ask: Ask) -> str:
        """Turn the parent's text into the child's.

        Raises:
            Unreadable: no child came out; the evolution is rejected with that reason.
        """
        if self.template is None:
            reply = await ask(self.prompt(parent))
        else:
            reply = await ask(template.render(self.template, instruction=parent.text))
        return reply.text.strip() if self.extract == "whole" else self.read(reply, parent)
