"""Templates that users write in a recipe: the part of jinja2 that cannot run away, with strict undefined.

What is filled in is data: braces, ``{{`` and ``%`` inside an instruction are never evaluated.

A recipe may come from a stranger. jinja2's sandbox keeps a template away from Python, and from nothing else: it can
still fill the memory or compute for hours. So a template is texts, variables, conditions and a few filters, without
loops, calls, assignments and arithmetic. What it costs is then bounded by its own length and that of what is filled in.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Template
    from jinja2.sandbox import ImmutableSandboxedEnvironment

FILTERS = ("capitalize", "length", "lower", "title", "trim", "upper")
"""jinja2's filters that a template may use; none makes a text longer than a few times what it was."""

MOST_CHARACTERS = 200_000
"""Longer than any prompt's own words; parsing time grows with it."""

_NODES = frozenset(
    {
        "And", "Compare", "CondExpr", "Const", "Filter", "If", "Name", "Not", "Operand", "Or", "Output", "Template",
        "TemplateData", "Test",
    }
)  # fmt: skip

_WORDS = {
    "For": "loops",
    "Call": "calls",
    "Assign": "assignments",
    "AssignBlock": "assignments",
    "Include": "other templates",
    "Import": "other templates",
    "FromImport": "other templates",
    "Extends": "other templates",
    "Getattr": "attributes",
    "Getitem": "parts of a value",
    "Macro": "macros",
    "Concat": "joined texts (~)",
    "List": "lists",
    "Tuple": "lists",
    **dict.fromkeys(("Add", "Sub", "Mul", "Div", "FloorDiv", "Mod", "Pow", "Neg", "Pos"), "arithmetic"),
}
"""What people call the nodes that they are most likely to try."""


@lru_cache(maxsize=1)
def _environment() -> ImmutableSandboxedEnvironment:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    # Prompts are plain text for a model, so nothing is escaped for HTML.
    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)
    environment.globals.clear()
    environment.filters = {name: environment.filters[name] for name in FILTERS}
    return environment


@lru_cache(maxsize=256)
def _compiled(source: str) -> Template:
    return _environment().from_string(source)


def check(source: str, names: frozenset[str]) -> None:
    """Check a template before anything is asked.

    Args:
        source: the template.
        names: the variables that it may use; it must use at least one.

    Raises:
        ValueError: the syntax is broken (with the line), an unknown variable is used or none, or something that a
            template does not need and that could run away.
    """
    from jinja2 import TemplateError, TemplateSyntaxError, nodes

    if len(source) > MOST_CHARACTERS:
        raise ValueError(f"the template has {len(source):,} characters; {MOST_CHARACTERS:,} are the most")
    try:
        tree = _environment().parse(source)
        for node in tree.find_all(nodes.Node):
            _check_node(node)
        used = {node.name for node in tree.find_all(nodes.Name)}
        _compiled(source)
    except TemplateSyntaxError as error:
        raise ValueError(f"line {error.lineno} of the template: {_hint(str(error.message))}") from None
    except (TemplateError, RecursionError, SyntaxError, MemoryError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError | MemoryError) else str(error)
        raise ValueError(f"the template cannot be read: {reason}") from None
    if used - names:
        unknown = ", ".join(sorted(used - names))
        raise ValueError(f"the template uses {unknown}; it may use {', '.join(sorted(names))}")
    if not used:
        wanted = " or ".join(f"{{{{ {name} }}}}" for name in sorted(names))
        raise ValueError(f"the template never uses {wanted}, so every prompt would be the same")


def render(source: str, **values: Any) -> str:
    """Fill a template in that was checked.

    Raises:
        ValueError: the template reaches for something that the sandbox or strict undefined forbids.
    """
    from jinja2 import TemplateError

    try:
        return _compiled(source).render(**values)
    except (TemplateError, TypeError, ArithmeticError) as error:
        raise ValueError(f"the template cannot be filled in: {error}") from None


def _check_node(node: Any) -> None:
    kind = type(node).__name__
    if kind not in _NODES:
        what = _WORDS.get(kind, f"what jinja2 calls {kind}")
        where = f"line {node.lineno} of the template" if node.lineno else "the template"
        raise ValueError(f"{where}: {what} cannot be used; there are text, variables, {{% if %}} and filters")
    if kind == "Filter" and node.name not in FILTERS:
        raise ValueError(
            f"line {node.lineno} of the template: the filter '{node.name}' cannot be used; there are "
            f"{', '.join(FILTERS)}"
        )


def _hint(message: str) -> str:
    return (
        f"{message.rstrip('.')}. To write braces or '{{%' as they are, put them between {{% raw %}} and {{% endraw %}}"
    )
