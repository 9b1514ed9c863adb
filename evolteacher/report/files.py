"""Files that a report reads besides the run's store: any of them may be missing, broken, of another kind or hostile."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeGuard, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from evolteacher.errors import UsageError
from evolteacher.training.card import public_path

_NAMED = 60
"""Characters of a key that a line about a broken file repeats."""


MOST = 1e15
"""What no figure of ours comes near: a larger one is taken for none."""

_SHOWN = 80
"""Characters of a model's name that are shown."""

Name = Annotated[dict[str, dict[str, Any]], Field(min_length=1, max_length=1)]
"""A component, as its name and its options."""


class Held(BaseModel):
    """What a report needs of a file; what else is in it is let be."""

    model_config = ConfigDict(extra="ignore", frozen=True)


H = TypeVar("H", bound=BaseModel)


@dataclass(frozen=True)
class Besides:
    """Folders that a report shows besides what is in the run's.

    Attributes:
        evaluations: that ``evolteacher evaluate`` wrote.
        trainings: that ``evolteacher train`` wrote.
        comparisons: that ``evolteacher compare`` wrote.
    """

    evaluations: tuple[Path, ...] = ()
    trainings: tuple[Path, ...] = ()
    comparisons: tuple[Path, ...] = ()


NOTHING = Besides()


def held(path: Path, kind: type[H]) -> H:
    """Return what a JSON file holds.

    Raises:
        ValueError: the file cannot be read, or is no such file; the message is a line about it.
    """
    try:
        found = json.loads(path.read_bytes())
    except OSError as error:
        raise ValueError(f"{path.name}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise ValueError(f"{path.name}: this is no JSON, or it was cut short") from None
    try:
        return kind.model_validate(found)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part)[:_NAMED] for part in first["loc"])
        what = f"{where}{': ' if where else ''}{first['msg']}"
        raise ValueError(f"{path.name}: not what evolteacher writes: {what}") from None


def lines(path: Path) -> Iterator[Mapping[str, Any] | None]:
    """Yield the objects of a file of JSON Lines, None for a line that is none; nothing where there is no file."""
    try:
        with path.open("rb") as file:
            for line in file:
                try:
                    found = json.loads(line)
                except (ValueError, RecursionError):
                    found = None
                yield found if isinstance(found, dict) else None
    except OSError:
        return


def given(folder: Path, files: Sequence[str], option: str, command: str) -> Path:
    """Return a folder that was named on the command line.

    Args:
        folder: it.
        files: of which it must hold one.
        option: that named it.
        command: that writes such folders.

    Raises:
        UsageError: it is not there, or another folder.
    """
    where = f"{option} {folder}"
    if not folder.is_dir():
        raise UsageError(f"{where}: there is no such folder; give one that `evolteacher {command}` wrote")
    if any((folder / file).exists() for file in files):
        return folder
    inside = sorted(path.parent for file in files for path in (*folder.glob(f"*/{file}"), *folder.glob(f"*/*/{file}")))
    hint = f"did you mean {inside[0]}?" if inside else f"give a folder that `evolteacher {command}` wrote"
    raise UsageError(f"{where}: there is no {files[0]} in it; {hint}")


def is_figure(value: Any) -> TypeGuard[int | float]:
    """Whether a value is a number that something evolteacher measures may come to, and can be written."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < MOST


def component(found: dict[str, dict[str, Any]]) -> str:
    """Return ``name: model`` of a component that is given as its name and its options, without places of here."""
    ((name, options),) = found.items()
    value = options.get("model") or options.get("path")
    return cut(f"{name}: {public_path(str(value))}" if value else name, _SHOWN)


def label(folder: Path) -> str:
    """Return a folder's name without where it is: reports are sent round."""
    return os.path.basename(os.path.abspath(folder))


def cut(text: str, most: int) -> str:
    """Return a text, cut at so many characters, with a character that tells so."""
    return text if len(text) <= most else text[:most] + "\u2026"
