"""Operators: the two tiers, templates in place of prompts, and what is refused when a class is defined."""

from __future__ import annotations

from typing import ClassVar

import pytest
from pydantic import ValidationError

import evolteacher as et
from evolteacher.messages import as_messages


class Simple(et.Operator, name="simple"):
    """Ask plainly."""

    def prompt(self, parent):
        return "Harder: " + parent.text


class Full(et.Operator, name="full"):
    """Ask twice."""

    async def evolve(self, parent, ask):
        return (await ask("again " + (await ask(parent.text)).text)).text


class Templated(et.Operator, name="templated"):
    """Override evolve and still use the template."""

    uses_template = True

    async def evolve(self, parent, ask):
        return "own " + await super().evolve(parent, ask)


class Mixin:
    async def evolve(self, parent, ask):
        return "mixed in"


class Echo:
    """Answer with the prompt, and remember it."""

    def __init__(self, text=None):
        self.text = text
        self.prompts = []

    async def __call__(self, prompt, *, role=None, key=None, **sampling):
        self.prompts.append("".join(message.content for message in as_messages(prompt)))
        return et.Reply(self.text if self.text is not None else self.prompts[-1])


PARENT = et.Instruction("Add {{ two }} numbers %s.")


async def test_the_simple_tier_asks_its_prompt_or_the_template():
    ask = Echo("  Subtract three numbers.  ")
    assert await Simple().evolve(PARENT, ask) == "Subtract three numbers."
    assert await Simple(template="T {{ instruction }}\n").evolve(PARENT, ask) == "Subtract three numbers."
    assert ask.prompts == ["Harder: " + PARENT.text, "T " + PARENT.text + "\n"]


async def test_whole_takes_the_answer_as_it_came_but_for_the_space_around_it():
    answer = "Certainly! Here is the rewritten task:\n\nSubtract three numbers.\n\nI hope this helps!"
    assert await Simple(extract="whole").evolve(PARENT, Echo(f"\n{answer} \n")) == answer
    assert await Simple(extract="task").evolve(PARENT, Echo(answer)) == "Subtract three numbers."


def test_who_takes_a_template():
    heirs = {
        Simple: True,
        type("A", (Simple,), {}, name="a"): True,
        Full: False,
        type("B", (Full,), {}, name="b"): False,
        type("C", (Full,), {"prompt": Simple.prompt}, name="c"): False,
        type("D", (type("Between", (Full,), {}),), {"evolve": Full.evolve}, name="d"): False,
        Templated: True,
        type("E", (Templated,), {}, name="e"): True,
        type("F", (Templated,), {"evolve": Full.evolve}, name="f"): False,
        type("G", (Templated,), {"uses_template": False}, name="g"): False,
        type("H", (type("Off", (Templated,), {"uses_template": False}),), {}, name="h"): False,
        type("I", (Mixin, Simple), {}, name="i"): False,
    }
    assert {cls.__name__: cls.uses_template for cls in heirs} == {cls.__name__: uses for cls, uses in heirs.items()}
    assert len(heirs) == 12
    for cls, uses in heirs.items():
        for option in ({"template": "{{ instruction }}"}, {"extract": "whole"}):
            if uses:
                assert cls(**option).options() == {"template": None, "extract": "task", **option}
            else:
                with pytest.raises(
                    ValidationError, match=f"asks and reads in its own way and takes no '{next(iter(option))}'"
                ):
                    cls(**option)
        assert cls(template=None, extract="task").template is None


async def test_an_operator_without_a_prompt_needs_a_template():
    class Bare(et.Operator, name="bare"):
        """Whatever the recipe says."""

    with pytest.raises(ValidationError, match="'bare' has no prompt of its own and needs a 'template'"):
        Bare()
    assert await Bare(template="{{ instruction }}!", extract="whole").evolve(et.Instruction("x"), Echo()) == "x!"


def test_markers_are_a_class_attribute_with_or_without_an_annotation():
    class Annotated(Simple, name="annotated"):
        markers: ClassVar[tuple[str, ...]] = ("one", "two")

    class Unannotated(Annotated, name="unannotated"):
        markers = ("three",)

    assert (Annotated().markers, Unannotated().markers, Simple().markers) == (("one", "two"), ("three",), ())
    assert "markers" not in Unannotated.model_fields


async def coroutine(self, *args):
    return ""


def plain(self, *args):
    return ""


BROKEN = {
    "async prompt": ({"prompt": coroutine}, r"mend prompt\(\)"),
    "async read": ({"read": coroutine}, r"mend read\(\)"),
    "plain evolve": ({"evolve": plain}, r"mend evolve\(\)"),
    "one marker": ({"markers": "given prompt"}, "markers is a tuple of texts, not 'given prompt'"),
    "no text": ({"markers": (1,)}, "markers is a tuple of texts"),
    "no name": ({"name": "Not A Name"}, "is no name: use lower-case words"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_class_that_could_not_work_is_refused_when_it_is_defined(case):
    body, message = BROKEN[case]
    name = body.get("name", "broken")
    with pytest.raises(TypeError, match=message):
        type("Broken", (et.Operator,), {key: value for key, value in body.items() if key != "name"}, name=name)
