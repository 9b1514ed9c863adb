"""What a comparison read: a model's folder, or a benchmark's file, may be replaced by another under the same name."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from evolteacher.benchmark import Problem, digest

_OF_A_MODEL = re.compile(
    r".*\.(safetensors|bin|model|py|jinja)|(generation_|adapter_|tokenizer_)?config\.json|tokenizer\.json|vocab\..*|"
    r"merges\.txt|special_tokens_map\.json|added_tokens\.json|chat_template\.json"
)
"""What loading a model may read; a card, or scores that were put beside it, may change."""

_WHOLE = 1 << 26
"""Bytes of a file that is read as a whole; of a longer one its size and blocks spread over it."""

_BLOCKS = 256
_BLOCK = 1 << 14
"""How many blocks that are, and bytes of each: 4 MB of each file of weights, which a few milliseconds suffice for."""

_NAMED = 5
"""Names in a line."""

Inputs = dict[str, dict[str, Any]]
"""``model``: file -> hash; ``problems``: benchmark -> problem -> hash."""


def inputs_of(model: str, problems: Mapping[str, Iterable[Problem]]) -> Inputs:
    """Return the hashes of a comparison's inputs.

    Args:
        model: the base model: a folder, whose files are hashed, or a name on the hub, of which none is.
        problems: of each benchmark.
    """
    files = [path for path in sorted(Path(model).glob("*")) if _OF_A_MODEL.fullmatch(path.name) and path.is_file()]
    return {
        "model": {path.name: _hash(path) for path in files},
        "problems": {name: {one.id: _short(digest([one])) for one in all} for name, all in problems.items()},
    }


def changed(old: Mapping[str, Any], new: Inputs) -> list[str]:
    """Return a line for each input that is another under the same name; what one of the two lacks is none.

    Args:
        old: as the folder holds them.
        new: as they are now.
    """
    lines = []
    if files := _differing(old.get("model"), new["model"], whole=True):
        lines.append(f"  train.model: the model's files are others than at the beginning: {files}")
    held = old.get("problems")
    for name, problems in new["problems"].items():
        if ids := _differing(held.get(name) if isinstance(held, dict) else None, problems):
            lines.append(f"  --on {name}: under the same ids there are other problems than at the beginning: {ids}")
    return lines


def merged(old: Mapping[str, Any], new: Inputs) -> Inputs:
    """Return the hashes of what was read so far, and of what is read now."""
    held = old.get("problems")
    before = held if isinstance(held, dict) else {}
    problems = {
        name: {**before.get(name, {}), **new["problems"].get(name, {})} for name in {**before, **new["problems"]}
    }
    return {"model": new["model"], "problems": problems}


def _differing(old: Any, new: Mapping[str, str], *, whole: bool = False) -> str:
    """Return the names whose hashes differ; with ``whole`` those, too, that one of the two lacks."""
    if not isinstance(old, dict) or not old:
        return ""  # an older evolteacher took none
    names = sorted(old.keys() | new.keys()) if whole else [name for name in new if name in old]
    found = [name for name in names if old.get(name) != new.get(name)]
    more = f" and {len(found) - _NAMED:,} more" if len(found) > _NAMED else ""
    return ", ".join(found[:_NAMED]) + more


def _short(whole: str) -> str:
    return whole.removeprefix("sha256:")[:16]


def _hash(path: Path) -> str:
    size = path.stat().st_size
    made = hashlib.blake2b(f"{size}:".encode(), digest_size=8)
    with path.open("rb") as file:
        if size <= _WHOLE:
            made.update(file.read())
        else:
            for number in range(_BLOCKS):
                file.seek((size - _BLOCK) * number // (_BLOCKS - 1))
                made.update(file.read(_BLOCK))
    return made.hexdigest()
