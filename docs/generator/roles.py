"""An extension of griffe: docstrings lose reStructuredText's marks before mkdocstrings renders them as Markdown."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import griffe

sys.path.insert(0, str(Path(__file__).parent))
from words import without_roles

sys.path.pop(0)


class WithoutRoles(griffe.Extension):
    """Take roles and ``::`` out of every docstring."""

    def on_instance(self, *, node: Any, obj: griffe.Object, agent: Any, **kwargs: Any) -> None:
        """Rewrite one docstring when its object was read."""
        if obj.docstring is not None:
            obj.docstring.value = without_roles(obj.docstring.value)
