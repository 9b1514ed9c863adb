"""The folder of a training: what it is of, its checkpoints, its metrics, and what came of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from evolteacher.database import DATABASE
from evolteacher.differences import differences
from evolteacher.errors import RunError, UsageError
from evolteacher.writing import atomic, make_folder

STATE = "training.json"
METRICS = "metrics.jsonl"
CURVE = "loss.svg"
MODEL = "model"
MERGED = "merged"
CHECKPOINTS = "checkpoints"

_WHOLE = "trainer_state.json"
"""The file that the trainer writes last of a checkpoint: one without it was cut short."""


@dataclass
class State:
    """What a training folder says of itself.

    Attributes:
        experiment: what a training that goes on must have in common with it.
        finished: whether the model is there.
        results: what came of it, by name; filled in at the end.
        seconds: that it took, in all processes so far.
    """

    experiment: dict[str, Any]
    finished: bool = False
    results: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0


class Folder:
    """A training's folder.

    Args:
        path: where; made where it is not there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def checkpoints(self) -> Path:
        """The folder that the trainer writes checkpoints into."""
        return self.path / CHECKPOINTS

    @property
    def model(self) -> Path:
        """The folder of the finished model."""
        return self.path / MODEL

    def make(self) -> None:
        """Make the folder.

        Raises:
            UsageError: a file is there, or the folder holds something else.
        """
        make_folder(self.path)
        if (self.path / DATABASE).exists():
            raise UsageError(
                f"{self.path}: this is the folder of a run; choose one inside it: --out {self.path / 'train'}"
            )

    def state(self) -> State | None:
        """Return what the folder says of itself; None where nothing was trained in it.

        Raises:
            RunError: the file cannot be understood.
        """
        path = self.path / STATE
        try:
            return State(**json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            raise RunError(
                f"{path}: cannot be read ({error}); delete the folder, or choose another with --out"
            ) from None

    def save(self, state: State) -> None:
        """Write what the folder says of itself."""
        with atomic(self.path / STATE) as out:
            out.write((json.dumps(asdict(state), ensure_ascii=False, indent=2) + "\n").encode("utf-8"))

    def check(self, experiment: Mapping[str, Any]) -> State:
        """Return the folder's state, a new one where there is none.

        Raises:
            UsageError: the folder holds another training, with a line for each difference.
        """
        wanted = json.loads(json.dumps(experiment))
        state = self.state()
        if state is None:
            return State(wanted)
        different = list(differences(state.experiment, wanted))
        if different:
            lines = [f"{self.path}: this folder holds another training. What differs:", *different]
            raise UsageError("\n".join([*lines, "Put these back, or train into another folder: --out NEW"]))
        return state

    def checkpoint(self) -> Path | None:
        """Return the last checkpoint that is whole; None where there is none."""
        found = [
            (int(match[1]), path)
            for path in self.checkpoints.glob("checkpoint-*")
            if (match := re.fullmatch(r"checkpoint-(\d+)", path.name)) and _is_json(path / _WHOLE)
        ]
        return max(found)[1] if found else None

    def metrics(self) -> Iterator[dict[str, Any]]:
        """Yield what was measured, a mapping a line of the metrics; a last line that was cut short is left out."""
        try:
            text = (self.path / METRICS).read_text(encoding="utf-8")
        except OSError:
            return
        for line in text.splitlines():
            try:
                found = json.loads(line)
            except ValueError:
                continue
            if isinstance(found, dict):
                yield found

    def rewind(self, step: int) -> None:
        """Drop what was measured after a step, which is done again."""
        kept = [line for line in self.metrics() if line.get("step", 0) <= step]
        with atomic(self.path / METRICS) as out:
            out.write("".join(json.dumps(line) + "\n" for line in kept).encode("utf-8"))

    def measure(self, line: Mapping[str, Any]) -> None:
        """Add a line to the metrics."""
        with (self.path / METRICS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True
