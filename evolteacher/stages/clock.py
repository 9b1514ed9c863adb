"""Wall time and peak memory of each stage, over all processes that worked on it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from evolteacher.peak import forget_peak, process_peak
from evolteacher.writing import atomic

FILE = "stages.json"


@dataclass
class Spent:
    """What a stage took.

    Attributes:
        seconds: by the clock, of all processes that did something for it.
        peak_bytes: the most memory that one of these held while it did.
        counts: whether this process did something; a stage that was found done takes nothing.
    """

    seconds: float = 0.0
    peak_bytes: int = 0
    counts: bool = True


@contextmanager
def timed(folder: Path, stage: str) -> Iterator[Spent]:
    """Add what the block takes to a stage's sums in the folder's ``stages.json``, also where it is stopped.

    Args:
        folder: the run's, or the training's; nothing is written where it does not come to be.
        stage: its name.
    """
    forget_peak()
    here, began = Spent(), time.monotonic()
    try:
        yield here
    finally:
        here.seconds, here.peak_bytes = time.monotonic() - began, process_peak()
        if here.counts and folder.is_dir():
            before = read_times(folder)
            old = before.get(stage, Spent())
            before[stage] = Spent(old.seconds + here.seconds, max(old.peak_bytes, here.peak_bytes))
            rows = {name: {k: v for k, v in asdict(spent).items() if k != "counts"} for name, spent in before.items()}
            with suppress(OSError), atomic(folder / FILE) as out:
                out.write((json.dumps(rows, indent=2) + "\n").encode())


def read_times(folder: Path) -> dict[str, Spent]:
    """Return what each stage took, by its name; empty where the file is missing or not ours."""
    try:
        rows = json.loads((folder / FILE).read_bytes())
        return {name: Spent(float(row["seconds"]), int(row["peak_bytes"])) for name, row in rows.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}
