"""Made-up answers of the ``scripted`` backend: plausible enough to go through operators and filters."""

from __future__ import annotations

import re

JUDGEMENT = "Not equal."
"""The answer to a filter: WizardLM's judge is asked whether child and parent are equal (arXiv 2304.12244)."""

_OPENING = re.compile(r"\n(#[^\n]*given[^\n]*|<[^\n/>]*given[^\n>]*>)\n", re.IGNORECASE)
"""The line before the given task: ``<given_task>``, or ``#Given Test#:`` and its like in the papers' prompts."""

_CLOSING = re.compile(r"\n#[^\n]*rewritten[^\n]*", re.IGNORECASE)
"""The line after a task that was opened with ``#``; a tag is closed by its own name."""

_HEAD = re.compile(r":\n|\n[ \t]*\n")
"""The end of what a prompt without such lines says before the task."""

CONSTRAINTS = (
    "Do not use any imported library; built-in types and functions are enough.",
    "An empty input is valid and must lead to an empty result.",
    "Leave the arguments unchanged and return a new object each time.",
    "Reject arguments of a wrong type with an exception that names the argument.",
    "Process the input as a stream, without ever holding all of it in memory.",
    "Run in linear time and use only a constant amount of extra space.",
    "Return the results in a stable order, ties in the order of their appearance.",
    "Negative numbers and zero can occur and need the same care as others.",
    "Write it without recursion, so that very deep inputs cannot overflow the stack.",
    "Add type annotations and a docstring that shows two example calls.",
    "Several threads may call it at once, so keep no shared state.",
    "Texts can hold any Unicode characters; compare them without regard to case.",
    "Count duplicates separately and report how often each of them occurred.",
    "Make the limit configurable by an optional keyword argument with a sensible value.",
    "Log every step that changes the result, at the level of debugging messages.",
    "Round numbers to two decimals, halves to the nearest even digit.",
    "Dates and times are in UTC and written as in ISO 8601.",
    "Missing values appear as None and must be skipped without an exception.",
    "Offer a command-line interface that reads standard input and writes standard output.",
    "Stop early as soon as the answer can no longer change.",
    "Cache repeated intermediate results, at most one thousand of them.",
    "Split the solution into three small functions that can be checked one by one.",
    "The input can be a hundred times larger than the available memory.",
    "Explain in a comment why the worst case is not worse than O(n log n).",
)
"""What made-up rewrites add, about ten words each as in WizardCoder's first operator (arXiv 2306.08568)."""

_OPENINGS = ("One way to do it:", "This solves the task:", "Here is a compact solution:", "A direct implementation:")
_BODIES = (
    "    return sorted(set(values))",
    "    return [value for value in values if value is not None]",
    "    result = {}\n    for value in values:\n        result[value] = result.get(value, 0) + 1\n    return result",
    "    total = 0\n    for position, value in enumerate(values):\n        total += position * value\n    return total",
    "    stack = []\n    for value in values:\n        stack.append(value)\n    return stack[::-1]",
)


def rewrite(prompt: str, draw: int) -> str:
    """Rewrite the task that an evolving prompt gives: the task itself and one more constraint.

    Args:
        prompt: the whole prompt.
        draw: a number from 0 on, which chooses.
    """
    return add_constraint(given_task(prompt), draw)


def respond(draw: int) -> str:
    """Write a few lines of code under a sentence; ``draw``, from 0 on, chooses which."""
    opening, body = _OPENINGS[draw % len(_OPENINGS)], _BODIES[draw // len(_OPENINGS) % len(_BODIES)]
    return f"{opening}\n\n```python\ndef solve_{draw % 10_000:04}(values):\n{body}\n```"


def given_task(prompt: str) -> str:
    """Find the task that an evolving prompt asks to rewrite.

    It stands between the first tag line that says "given" and the last that closes it, or between the first heading
    that says "given" and the last that says "rewritten", as in the papers' prompts; without these, after the first
    line that ends in a colon, or the first blank line; else it is the whole prompt.
    """
    prompt = f"\n{prompt}"
    opening = _OPENING.search(prompt)
    if opening is not None:
        start = opening.end()
        if opening[1].startswith("<"):
            end = prompt.rfind(f"\n</{opening[1][1:]}")
        else:
            end = max((closing.start() for closing in _CLOSING.finditer(prompt, start - 1)), default=-1)
        if task := prompt[start : max(start, end)].strip():
            return task
    head = _HEAD.search(prompt.strip())
    return prompt.strip()[head.end() :].strip() if head is not None else prompt.strip()


def add_constraint(task: str, draw: int) -> str:
    """Append one of the constraints that the task does not have yet; an arbitrary one when it has them all."""
    start = draw % len(CONSTRAINTS)
    turns = CONSTRAINTS[start:] + CONSTRAINTS[:start]
    constraint = next((text for text in turns if text not in task), turns[0])
    glue = "\n" if task.endswith("```") or "\n" in task[-200:] else " "
    return f"{task}{glue}{constraint}"
