"""Where two experiments differ, in lines for people."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import zip_longest
from typing import Any


def differences(
    old: Any, new: Any, path: str = "", names: tuple[str, str] = ("the folder", "the recipe")
) -> Iterator[str]:
    """Yield a line for each place where two experiments differ.

    Another component in a place is one line, and not one for each of both components' options.
    """
    if isinstance(old, dict) and isinstance(new, dict) and (not (path and old and new) or old.keys() & new.keys()):
        for key in sorted(old.keys() | new.keys()):
            yield from differences(old.get(key), new.get(key), f"{path}.{key}" if path else key, names)
    elif isinstance(old, list) and isinstance(new, list) and any(isinstance(item, dict) for item in (*old, *new)):
        for index, (one, other) in enumerate(zip_longest(old, new)):
            yield from differences(one, other, f"{path}[{index}]", names)
    elif old != new:
        yield f"  {path}: {names[0]} has {_shown(old)}, {names[1]} {_shown(new)}"


def _shown(value: Any) -> str:
    if isinstance(value, dict) and len(value) == 1 and all(isinstance(options, dict) for options in value.values()):
        return str(next(iter(value)))  # a component: its name says enough beside another's
    return "nothing" if value is None else json.dumps(value, ensure_ascii=False)
