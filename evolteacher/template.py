"""Templates that users write in a recipe: jinja2, in a sandbox, with strict undefined.

What is filled in is data: braces, ``{{`` and ``%`` inside an instruction are never evaluated.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Template
    from jinja2.sandbox import ImmutableSandboxedEnvironment


@lru_cache(maxsize=1)
def _environment() -> ImmutableSandboxedEnvironment:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    # Prompts are plain text for a model, so nothing is escaped for HTML.
    return ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)


@lru_cache(maxsize=256)
def _compiled(source: str) -> Template:
    return _environment().from_string(source)


def check(source: str, names: frozenset[str]) -> None:
    """Check a template before anything is asked.

    Args:
        source: the template.
        names: the variables that it may use.

    Raises:
        ValueError: the syntax is broken (with the line), or an unknown variable is used.
    """
    from jinja2 import TemplateSyntaxError, meta

    try:
        tree = _environment().parse(source)
    except TemplateSyntaxError as error:
        raise ValueError(f"line {error.lineno} of the template: {error.message}") from None
    unknown = meta.find_undeclared_variables(tree) - names
    if unknown:
        raise ValueError(f"the template uses {', '.join(sorted(unknown))}; it may use {', '.join(sorted(names))}")


def render(source: str, **values: Any) -> str:
    """Fill a template in.

    Raises:
        ValueError: the template reaches for something that the sandbox or strict undefined forbids.
    """
    from jinja2 import TemplateError

    try:
        return _compiled(source).render(**values)
    except (TemplateError, TypeError, ArithmeticError, OverflowError) as error:
        raise ValueError(f"the template cannot be filled in: {error}") from None
