"""OSS-Instruct (Magicoder, Wei et al. 2023, arXiv 2312.02120): problems that snippets of real code inspire.

The paper's prompt asks for a problem and its solution in one answer; here the problem is evolved from the snippet and
answered like any other, so that filters look at it before its response is bought. The words are ours.
"""

from __future__ import annotations

from typing import ClassVar

import evolteacher as et
from evolteacher_plugins.snippets import Code

SNIPPET = "<code_snippet>"
SNIPPET_END = "</code_snippet>"
PROBLEM = "<new_problem>"
PROBLEM_END = "</new_problem>"

INSPIRED = (
    "Invent a good programming problem that is inspired by the random snippet of code below. Write a new problem that "
    "can be understood and solved without the snippet: it tells all that a good programmer has to know, and shows the "
    f"code and data that it needs. Write only the new problem, between {PROBLEM} and {PROBLEM_END}: no solution, no "
    "explanation."
)


class OssInstruct(et.Operator, name="oss-instruct"):
    """Invent a programming problem that a snippet of code inspires.

    Source: OSS-Instruct, of Magicoder (arXiv 2312.02120). Its parents are snippets, which the seed reader ``code``
    draws from source files; other operators evolve the problems in later rounds.
    """

    markers: ClassVar[tuple[str, ...]] = (SNIPPET, SNIPPET_END, PROBLEM, PROBLEM_END)
    takes: ClassVar[tuple[et.Material, ...]] = ("snippet",)

    def prompt(self, parent: et.Instruction) -> str:
        """Return the prompt; the snippet stands in it as it is."""
        return INSPIRED + f"\n\n{SNIPPET}\n" + parent.text + f"\n{SNIPPET_END}\n\n{PROBLEM}\n"


@et.hookimpl
def register_operators() -> list[type[et.Operator]]:
    """The one operator."""
    return [OssInstruct]


@et.hookimpl
def register_seed_readers() -> list[type[et.SeedReader]]:
    """The reader of what it starts from."""
    return [Code]
