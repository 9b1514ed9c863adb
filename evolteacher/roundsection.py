"""What a recipe says about rounds: how many, and by which signal evolving ends sooner."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import Field, ValidationError

from evolteacher.benchmark import Benchmark
from evolteacher.catalog import Catalog
from evolteacher.errors import did_you_mean
from evolteacher.problems import Problems, shown
from evolteacher.sections import Section
from evolteacher.yamlfile import Key

MOST = 100
"""Rounds that a recipe may have."""

_REPORTED = re.compile(r"(?i)pass@|human-?eval|mbpp|gsm8?k|mt-?bench|alpaca-?eval|test[ _-]?set")
"""Names of results that are reported, whether or not a plugin brings the benchmark."""


class Rounds(Section):
    """``rounds:`` written out."""

    max: int = Field(ge=1, le=MOST, description="M: the most rounds that there are.")


class Stop(Section):
    """When evolving ends before the last round: a signal has not improved for some rounds.

    A value improves on the best so far when it is better by more than ``min_delta``. The first one that can be
    measured is where it starts from; a later round that cannot be measured has not improved.
    """

    signal: ClassVar[str] = ""
    falls: ClassVar[bool] = False
    """Whether a lower value is the better one."""

    patience: int = Field(1, ge=1, le=MOST, description="Rounds in a row without improvement after which it ends.")
    min_delta: float = Field(
        0.0,
        ge=-100,
        le=100,
        description="How much better than the best so far is an improvement; a negative one lets it get so much worse.",
    )
    min_rounds: int = Field(1, ge=1, le=MOST, description="Rounds that there are at the least.")


class Acceptance(Stop):
    """The share of the round's evolutions that were kept, from 0 to 1."""

    signal = "acceptance"


class Difficulty(Stop):
    """By how much a judge scores the round's kept evolutions above their parents, in the mean."""

    signal = "difficulty"

    filter: str = Field(
        "difficulty",
        min_length=1,
        description="Label of the filter that scores instructions; `on` seeds, too, so that the first round has a "
        "value.",
    )


class Novelty(Stop):
    """How unlike earlier rows the round's are: the share of their runs of words that no earlier row has, in the mean.

    Of instructions, from 0 to 1. Earlier are the rows of earlier rounds, and those of the round that come first.
    """

    signal = "novelty"

    words: int = Field(3, ge=1, le=20, description="Words of a run.")


class ProxyLoss(Stop):
    """The loss of a small model, tuned for a few steps on the rows so far, on the rows of held-out lineages.

    What is held out is the same after every round: those lineages' rows of rounds 0 and 1. Extra `train`.
    """

    signal = "proxy-loss"
    falls = True

    model: str = Field(min_length=1, description="A checkpoint's folder, or a name on the Hugging Face hub.")
    steps: int = Field(20, ge=1, le=100_000, description="Steps that it is tuned for, from its own weights each time.")
    batch: int = Field(4, ge=1, le=4096, description="Rows of a step.")
    learning_rate: float = Field(1e-4, gt=0, le=1, description="Of AdamW; constant.")
    max_length: int = Field(512, ge=8, le=1_000_000, description="Most tokens of a row; longer ones are cut off.")
    validation: float = Field(0.2, gt=0, lt=1, description="Share of the lineages held out.")


STOPS: dict[str, type[Stop]] = {cls.signal: cls for cls in (Acceptance, Difficulty, Novelty, ProxyLoss)}
"""By signal."""


def read_rounds(section: Any, catalog: Catalog, problems: Problems) -> tuple[Any, Stop | None]:
    """Read ``rounds:``: a number, or ``{max: …, stop: …}``.

    Returns:
        M as it is written (1 where that is a problem already), and when evolving ends sooner.
    """
    if not isinstance(section, dict):
        return section, None
    for key in section:
        if key not in ("max", "stop"):
            problems.add(("rounds", key), f"'rounds' has no '{key}'.{did_you_mean(str(key), ['max', 'stop'])}")
    most = None
    if "max" in section:
        try:
            most = Rounds.model_validate({"max": section["max"]}).max
        except ValidationError as error:
            problems.add_invalid(("rounds",), error, Rounds, "rounds", section)
    else:
        message = "'rounds' needs 'max': the most rounds that there may be, such as {max: 5, stop: acceptance}"
        problems.add(("rounds",), message)
    stop = _read_stop(section.get("stop"), catalog, problems)
    if stop is not None and most is not None and stop.min_rounds > most:
        path = ("rounds", "stop", stop.signal, "min_rounds")
        problems.add(path, f"there are {most} rounds at the most, so it cannot be {stop.min_rounds}")
    return most or 1, stop


def _read_stop(spec: Any, catalog: Catalog, problems: Problems) -> Stop | None:
    path: Key = ("rounds", "stop")
    if spec is None:
        return None
    options: Any = {}
    if isinstance(spec, str):
        name = spec
    elif isinstance(spec, dict) and len(spec) == 1:
        ((name, options),) = spec.items()
        path, options = (*path, name), {} if options is None else options
    else:
        problems.add(path, f"one signal is needed, such as acceptance or {{acceptance: {{patience: 2}}}}; {_known()}")
        return None
    cls = STOPS.get(name)
    if cls is None:
        problems.add(path, _unknown(str(name), catalog))
        return None
    if not isinstance(options, dict):
        problems.add(path, f"options are needed, such as {{patience: 2}}, not {shown(options)}")
        return None
    try:
        return cls.model_validate(options)
    except ValidationError as error:
        problems.add_invalid(path, error, cls, f"signal '{name}'", options)
        return None


def _unknown(name: str, catalog: Catalog) -> str:
    benchmarks = {entry.cls.name for entry in catalog.entries(Benchmark.kind)}
    if name in benchmarks or _REPORTED.search(name):
        return (
            f"'{name}' is what results are reported on, and a run that ends when it says so has been fitted to it, so "
            f"that the result would mean nothing. {_known()}"
        )
    return f"no signal is called '{name}'.{did_you_mean(name, STOPS)} {_known()}"


def _known() -> str:
    names = list(STOPS)
    return f"The signals are {', '.join(names[:-1])} and {names[-1]}"


def plain_rounds(most: int, stop: Stop | None) -> Any:
    """Return ``rounds:`` as a recipe writes it, every default written out."""
    return most if stop is None else {"max": most, "stop": {stop.signal: stop.model_dump(mode="json")}}


@dataclass(frozen=True, slots=True)
class Point:
    """A signal after a round, and what was decided by it.

    Attributes:
        round: 1 to M.
        signal: its name.
        value: None where there was nothing to measure.
        best: the best value so far, this one included; None while there is none.
        stale: rounds in a row, up to this one, that have not improved.
        decision: ``continue``, ``stop``, or ``last``: there is no further round.
    """

    round: int
    signal: str
    value: float | None
    best: float | None
    stale: int
    decision: str

    def line(self) -> str:
        """Say what was measured and decided, in a line."""
        found = "nothing to measure" if self.value is None else f"{self.signal} {self.value:.4g}"
        since = "" if self.best is None else f" (best so far {self.best:.4g})"
        words = {"continue": "evolving goes on", "stop": "evolving ends here", "last": "that was the last round"}
        return f"evol stop, round {self.round}: {found}{since}: {words[self.decision]}"


def decide(stop: Stop, before: Sequence[Point], value: float | None, most: int) -> Point:
    """Decide after a round.

    Args:
        stop: the rule.
        before: the points of all earlier rounds.
        value: of the signal after this one.
        most: M.
    """
    round = len(before) + 1
    best, stale = (before[-1].best, before[-1].stale) if before else (None, 0)
    if value is not None and best is None:
        best = value
    elif best is not None:
        gain = None if value is None else (best - value if stop.falls else value - best)
        stale = 0 if gain is not None and gain > stop.min_delta else stale + 1
        if value is not None:
            best = min(best, value) if stop.falls else max(best, value)
    ends = stale >= stop.patience and round >= stop.min_rounds
    decision = "last" if round >= most else "stop" if ends else "continue"
    return Point(round, stop.signal, value, best, stale, decision)
