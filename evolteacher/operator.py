"""Operators: rules that turn one instruction into another, usually by asking an LLM."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, Self

from pydantic import Field, model_validator

from evolteacher import template
from evolteacher.component import Component
from evolteacher.messages import Prompt, Reply, Role
from evolteacher.record import MATERIALS, Instruction, Material

TEMPLATE_NAMES = frozenset({"instruction"})


class Ask(Protocol):
    """What an operator or a judge is handed to ask an LLM with.

    The call is numbered when ``ask`` is called, its reply is stored under that number, and a resumed run is
    answered from the store. Keys, retries and limits are the core's.

    What was asked is bought and stored, also where nobody awaits it any more, and the step ends only then. A fault that
    outlived its retries, and a fatal one, count whatever the plugin catches: they are no verdict.
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

    def once(self, what: Any, work: Callable[[], Awaitable[Any]]) -> Awaitable[Any]:
        """Work something out without an LLM, and remember it as a reply is remembered: in a sandbox, or the like.

        The result is stored under the step and the fingerprint of ``what``; a resumed run, a fork and a rejudge take
        it from there and call ``work`` only where it is missing. It counts as no call and costs nothing.

        Args:
            what: JSON that names all that the result depends on: the same ``what`` in the same step is the same result.
            work: works the result out, and returns JSON. What it raises stops the run, whatever the plugin catches,
                and is not stored; a :class:`~evolteacher.errors.Transient` leaves the lineage pending.

        Returns:
            The result as JSON holds it, also when it was worked out just now: tuples are lists, keys are texts.

        Raises:
            PluginError: ``what`` or the result is no JSON.
        """
        ...


class Prepared(NamedTuple):
    """What :meth:`Operator.prepare` came to.

    Attributes:
        operator: evolves in place of the one that was prepared: of its class, with other values of its options.
        notes: a line each for the user: what was tried, what was turned down, and why.
    """

    operator: Operator
    notes: tuple[str, ...] = ()


class Operator(Component):
    """Base of evolution operators.

    The simple tier is :meth:`prompt`; the full tier overrides :meth:`evolve` and asks as often as it likes. Both take
    the rewritten task out of the answer with :meth:`read`.

    Attributes:
        markers: texts of the operator's prompt that must not leak into a child (class attribute), in the prompt's
            order: those around the given task first, that of the rewritten one last; a closing one begins with ``</``
            or ``[/``. :meth:`read` and the copy filter go by them.
        takes: what the operator can be given as a parent (class attribute): tasks, snippets of code, or both. A lineage
            that starts from a snippet goes on with the task that was made of it.
    """

    kind: ClassVar[str] = "operator"
    markers: ClassVar[tuple[str, ...]] = ()
    takes: ClassVar[tuple[Material, ...]] = ("task",)
    uses_template: ClassVar[bool] = True

    template: str | None = Field(
        None, description="A jinja2 template that replaces the operator's prompt; `instruction` is the parent's text."
    )
    extract: Literal["task", "whole"] = Field(
        "task", description="task: take the rewritten task out of the answer; whole: take the answer as it came."
    )

    def __init_subclass__(cls, name: str = "", **kwargs: Any) -> None:
        """Note whether the class still builds its prompt where a template can replace it; refuse what cannot work.

        Raises:
            TypeError: ``prompt`` or ``read`` is async, ``evolve`` or ``prepare`` is not, ``markers`` is no tuple of
                texts, or ``takes`` is none of materials.
        """
        super().__init_subclass__(name=name, **kwargs)
        if "uses_template" not in cls.__dict__:
            # What overrides evolve() decides, be it this class, a mixin or a parent; it may say so itself.
            nearest = next(c for c in cls.__mro__ if "evolve" in c.__dict__ or "uses_template" in c.__dict__)
            cls.uses_template = nearest.__dict__.get("uses_template", False)
        for method in ("prompt", "read", "evolve", "prepare", "preparation"):
            if inspect.iscoroutinefunction(getattr(cls, method)) != (method in ("evolve", "prepare")):
                raise TypeError(
                    f"{cls.__qualname__}: evolve() and prepare() are async, prompt(), read() and preparation() are "
                    f"not: mend {method}()"
                )
        markers = cls.__dict__.get("markers", ())
        if not isinstance(markers, tuple | list) or not all(isinstance(marker, str) for marker in markers):
            raise TypeError(f"{cls.__qualname__}: markers is a tuple of texts, not {markers!r}")
        if not isinstance(cls.takes, tuple) or not cls.takes or not set(cls.takes) <= set(MATERIALS):
            raise TypeError(f"{cls.__qualname__}: takes is a tuple of {' and '.join(MATERIALS)}")

    @model_validator(mode="after")
    def _check_template(self) -> Self:
        if not self.uses_template:
            for option in ("template", "extract"):
                if option in self.model_fields_set and getattr(self, option) != type(self).model_fields[option].default:
                    raise ValueError(f"operator '{self.name}' asks and reads in its own way and takes no '{option}'")
        elif self.template is not None:
            template.check(self.template, TEMPLATE_NAMES)
        elif type(self).prompt is Operator.prompt and type(self).evolve is Operator.evolve:
            raise ValueError(f"operator '{self.name}' has no prompt of its own and needs a 'template'")
        return self

    def prompt(self, parent: Instruction) -> Prompt:
        """Return what to ask for this parent.

        Pure: the same parent gives the same prompt. The instruction's text is data; build the prompt by
        concatenation, the part that all prompts share first, so that prefix caches pay.
        """
        raise NotImplementedError(f"operator '{self.name}' defines neither prompt() nor evolve()")

    def markers_used(self) -> tuple[str, ...]:
        """Return the markers of this instance's prompt: ``markers``, unless its options name others."""
        return self.markers

    def read(self, reply: Reply, parent: Instruction) -> str:
        """Take the new instruction out of the model's chatter.

        Raises:
            Unreadable: there is none; the evolution is rejected with that reason.
        """
        from evolteacher.reading import read_rewritten  # its phrases take a while to compile: after the first call left

        return read_rewritten(reply.text, parent.text, self.markers_used())

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

    def preparation(self) -> Mapping[Role, int]:
        """Return how often :meth:`prepare` asks at most, by role; nothing where there is nothing to prepare.

        ``evolteacher plan`` counts these calls. Where there are none, :meth:`prepare` is not called.
        """
        return {}

    async def prepare(self, seeds: Sequence[Instruction], ask: Ask) -> Prepared:
        """Find out, once a run and before its first lineage, what this operator had best be.

        What comes of it is a fact of the run: it is stored, later runs on the folder take it from there, and the
        options found are written beside the dataset, so that a recipe can pin them. Pure, as :meth:`evolve` is: what
        is returned follows from the options, the seeds and the replies.

        Args:
            seeds: the first of the run's, 256 at most.
            ask: as in :meth:`evolve`; asks whose order depends on which reply came first pass ``key=``.

        Returns:
            The operator that evolves, ``self`` or a copy with other values of its options, and notes for the user.
        """
        return Prepared(self)
