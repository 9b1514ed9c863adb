"""Whether a recipe's operators go with what its seeds are: tasks, or snippets of code that tasks are made of."""

from __future__ import annotations

from collections.abc import Sequence

from evolteacher.catalog import Catalog
from evolteacher.component import Component
from evolteacher.operator import Operator
from evolteacher.problems import Problems
from evolteacher.record import Material
from evolteacher.seeds import SeedReader
from evolteacher.use import Use


def check_material(
    material: Material, rounds: int, operators: Sequence[Use[Operator]], catalog: Catalog, problems: Problems
) -> None:
    """Find operators that could never be given a parent, and parents that there is no operator for.

    Args:
        material: what lineages start from; from the first kept evolution on, parents are tasks.
        rounds: of the recipe.
        operators: of the recipe.
        catalog: what is installed, to say what could be used instead.
        problems: where what is wrong goes.
    """
    if material == "task":
        for index, use in enumerate(operators):
            if "task" not in use.component.takes:
                readers = [e.cls.name for e in catalog.entries(SeedReader.kind) if _gives_snippets(e.cls)]
                advice = " or ".join([*(f"'reader: {name}'" for name in readers), "'material: snippet'"])
                message = f"'{use.label}' starts from a snippet of code, and the seeds are tasks"
                problems.add(("operators", index), f"{message}; write {advice} under seeds, or leave it out")
        return
    drawn = [use for use in operators if use.weight]
    if drawn and not any("snippet" in use.component.takes for use in drawn):
        able = [e.cls.name for e in catalog.entries(Operator.kind) if _takes_snippets(e.cls)]
        known = ", ".join(able) or "none that is installed"
        problems.add(
            ("operators",), f"the seeds are snippets of code, and no operator here starts from one (such are: {known})"
        )
    if rounds > 1 and drawn and not any("task" in use.component.takes for use in drawn):
        message = "from round 2 on parents are tasks, and no operator here takes one; add one, or write 'rounds: 1'"
        problems.add(("rounds",), message)


def _gives_snippets(cls: type[Component]) -> bool:
    return issubclass(cls, SeedReader) and cls.gives == "snippet"


def _takes_snippets(cls: type[Component]) -> bool:
    return issubclass(cls, Operator) and "snippet" in cls.takes
