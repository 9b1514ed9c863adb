"""Seed readers: where rows come from. What shape a row has is told by :mod:`evolteacher.shapes`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from evolteacher.component import Component
from evolteacher.record import MATERIALS, Material


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a source, before its shape is known.

    Attributes:
        where: file and line, or the like, for messages.
        data: what was read: a mapping, a list, or a text.
        error: why the row could not be read; then ``data`` is None.
    """

    where: str
    data: Any = None
    error: str = ""


class SeedReader(Component):
    """Base of seed readers: turns a source into a stream of rows.

    Attributes:
        gives: what a row is (class attribute). A reader of snippets is never guessed by a source's name: the recipe
            names it.
    """

    kind: ClassVar[str] = "seed reader"
    gives: ClassVar[Material] = "task"

    def __init_subclass__(cls, name: str = "", **kwargs: Any) -> None:
        """Refuse a reader of what there is not.

        Raises:
            TypeError: ``gives`` is no material.
        """
        super().__init_subclass__(name=name, **kwargs)
        if cls.gives not in MATERIALS:
            raise TypeError(f"{cls.__qualname__}: gives is {' or '.join(MATERIALS)}, not {cls.gives!r}")

    @classmethod
    def claims(cls, source: str) -> bool:
        """Whether this reader is the one for a source, by its name or form; used when the recipe names none."""
        raise NotImplementedError

    def rows(self, source: str) -> Iterator[Row]:
        """Read a source as a stream, in its own order.

        Args:
            source: an absolute path, or whatever form :meth:`claims` accepts, such as ``hf:owner/name``.

        Raises:
            SeedError: the source as a whole is missing or unreadable. A bad row is a :class:`Row` with ``error``.
            MissingExtra: a package is not installed.
        """
        raise NotImplementedError
