"""An operator whose prompt is written in the recipe, so that a new idea needs no package."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

import evolteacher as et

SAMPLE = """\
Turn the task below into one for a beginner. Write only the new task, between <new_task> and </new_task>.

<given_task>
{{ instruction }}
</given_task>

<new_task>
"""


class Template(et.Operator, name="template"):
    """Ask what the recipe's own template says.

    The template is jinja2 in a sandbox; `{{ instruction }}` is the parent's text, and what stands in it is data. What
    the template puts around the new instruction is named with ``start`` and ``end``, and what it puts around the given
    one with ``given``: the new instruction is read from between the two, and none of these may leak into it, which the
    filter copied-prompt checks. A second template in a recipe needs a name of its own, ``as: for-beginners``.
    """

    template: str = Field(
        description="What is asked, in jinja2; `instruction` is the parent's text.", examples=[SAMPLE]
    )
    start: str = Field(
        "", description="The text that the template puts before the new instruction, best as its last line.",
        examples=["<new_task>"],
    )  # fmt: skip
    end: str = Field(
        "", description="The text with which the model is to end the new instruction.", examples=["</new_task>"]
    )
    given: tuple[str, ...] = Field(
        (), description="Texts that the template puts around the given instruction.",
        examples=[["<given_task>", "</given_task>"]],
    )  # fmt: skip

    @model_validator(mode="after")
    def _check_marks(self) -> Self:
        if self.end and not self.start:
            raise ValueError("'end' is the end of what begins with 'start': give both")
        if self.end and not self.end.startswith(("</", "[/")):
            raise ValueError("'end' begins with </ or [/, as what closes does")
        for mark in self.markers_used():
            if not mark.strip():
                raise ValueError("a text of white space alone marks nothing")
            if mark not in self.template:
                raise ValueError(f"the template does not say {mark!r}, so that no model knows where to write it")
        return self

    def markers_used(self) -> tuple[str, ...]:
        """Return the texts that the recipe names."""
        return (*self.given, *(mark for mark in (self.start, self.end) if mark))


@et.hookimpl
def register_operators() -> list[type[et.Operator]]:
    """The one operator."""
    return [Template]
