"""The base of everything pluggable: named, frozen, and its fields are its options."""

from __future__ import annotations

import inspect
import re
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

RESERVED = ("weight", "as", "backend", "on")
"""Words that a recipe may write beside any component's own options; no field may be called so."""

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


class Component(BaseModel):
    """Something that a recipe names: an operator, a filter, a backend, a seed reader, a benchmark.

    A subclass is given its name as a class keyword, ``class Translate(Operator, name="translate")``; a subclass
    without one is an abstract base. Its pydantic fields are its options: validated, documented, part of the recipe's
    JSON schema. Instances are frozen; what a component opens it keeps in private attributes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    kind: ClassVar[str] = "component"
    name: ClassVar[str] = ""

    def __init_subclass__(cls, name: str = "", **kwargs: Any) -> None:
        """Take the name; refuse one that a recipe could not write."""
        super().__init_subclass__(**kwargs)
        if name and not _NAME.fullmatch(name):
            raise TypeError(f"{cls.__qualname__}: '{name}' is no name: use lower-case words joined by hyphens")
        cls.name = name

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Refuse options that a recipe could not reach."""
        super().__pydantic_init_subclass__(**kwargs)
        for field, info in cls.model_fields.items():
            if any(word in RESERVED for word in (field, info.alias, info.validation_alias)):
                raise TypeError(f"{cls.__qualname__}: '{field}' is reserved ({', '.join(RESERVED)}); rename the option")
            if any(field in vars(base) for base in cls.__mro__):
                raise TypeError(f"{cls.__qualname__}: the option '{field}' hides what every {cls.kind} has; rename it")

    @classmethod
    def documentation(cls) -> str:
        """Return the class's own docstring, dedented; empty where it has none."""
        return inspect.cleandoc(cls.__dict__.get("__doc__") or "")

    @classmethod
    def free_options(cls) -> frozenset[str]:
        """Names of the options that change how a run is carried out and never what it yields."""
        extras = ((name, info.json_schema_extra) for name, info in cls.model_fields.items())
        return frozenset(name for name, extra in extras if isinstance(extra, dict) and extra.get("x-free"))

    def require(self) -> None:
        """Raise where this cannot work here, because of what is not installed; nothing by default.

        Called of operators and filters by ``evolteacher validate``, and before the first call of a run, that would else
        be paid and then stopped. Quick: it looks for what it needs
        (:meth:`~evolteacher.errors.MissingExtra.unless`), and imports nothing heavy.

        Raises:
            MissingExtra: or another UsageError, which says what to install.
        """

    def caution(self) -> str:
        """Return what a user should know before this works here, such as guards that do not hold; nothing by default.

        Asked of operators and filters at the start of a run, which goes on: what it says is a note.
        """
        return ""

    def options(self, *, with_free: bool = True) -> dict[str, Any]:
        """Return the options as plain JSON values, defaults included.

        Args:
            with_free: whether options that may change on resume are included.
        """
        return self.model_dump(mode="json", by_alias=True, exclude=None if with_free else set(self.free_options()))


def free(default: Any, *, description: str, **constraints: Any) -> Any:
    """Declare an option that may change when a run is resumed (threads, paths to caches, time-outs).

    Args:
        default: the default value; ``...`` makes the option required.
        description: shown by ``evolteacher plugins show``.
        constraints: pydantic's own, such as ``ge=1``.
    """
    return Field(default, description=description, json_schema_extra={"x-free": True}, **constraints)
