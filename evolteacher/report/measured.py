"""A report's evaluations: scores with their intervals, what differs between models, and how samples failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, model_validator

from evolteacher.evaluation.harness import RESULTS as HARNESS
from evolteacher.evaluation.score import RESULTS, SAMPLES, STAGE
from evolteacher.report.figures import Figure
from evolteacher.report.files import Held, Name, component, cut, given, held, label, lines
from evolteacher.stages.measuring import difference
from evolteacher.stages.summary import verdicts
from evolteacher.training.card import public_path

PROBLEMS = 500
"""Problems of a benchmark that are listed one by one; scores and differences are of all."""

FAILURES = 8
"""Samples that failed, of each evaluation, whose answers are shown: spread evenly over all that failed."""

ANSWER = 1_500
"""Characters of such an answer."""

_NAME, _REASON, _KIND, _KINDS = 80, 120, 40, 8
_LISTED = 6
"""Problems that are named of those which one model solves and another does not."""

Share = Annotated[float, Field(ge=0, le=1)]


class Score(Held):
    """pass@k and the ends of its interval."""

    score: Share
    low: Share
    high: Share


class Tally(Held):
    """Samples of a problem, and how many of them passed."""

    samples: int = Field(ge=1, le=10**6)
    passed: int = Field(ge=0)

    @model_validator(mode="after")
    def _fits(self) -> Tally:
        if self.passed > self.samples:
            raise ValueError(f"{self.passed} of {self.samples} samples passed")
        return self


class Results(Held):
    """What a report needs of ``evaluation.json``."""

    benchmark: Name
    model: Name | None = None
    samples_file: str = ""
    sampling: dict[str, Any] = Field({})
    digest: str = ""
    scores: dict[Annotated[int, Field(ge=1, le=10**6)], Score] = Field(alias="pass")
    problems: int = Field(ge=0, le=10**9)
    by_problem: dict[str, Tally]

    @property
    def tallies(self) -> dict[str, tuple[int, int]]:
        """Problem -> samples, and how many of them passed."""
        return {id: (tally.samples, tally.passed) for id, tally in self.by_problem.items()}


class Row(Held):
    """A line of ``samples.jsonl``."""

    task_id: str
    sample: int = Field(0, ge=0, le=10**9)
    passed: bool
    reason: str = ""
    ending: str = ""
    solution: str = ""
    reply: str = ""

    @property
    def kind(self) -> str:
        """How it ended, in a word or two: ``passed``, an exception's name, what cut it off."""
        if self.passed:
            return "passed"
        if self.ending not in ("", "stop"):
            return "cut at the most tokens" if self.ending == "length" else cut(self.ending.partition(":")[0], _KIND)
        if not self.solution.strip():
            return "no code"
        what = self.reason.partition(":")[0].partition(" (")[0].strip()
        known = {"took too long": "timed out", "AssertionError": "failed a test", "": "failed"}
        return known.get(what, cut(what, _KIND))


@dataclass(frozen=True)
class Failure:
    """A sample that failed: its problem and number, why, and the answer, cut."""

    title: str
    why: str
    answer: str


@dataclass(frozen=True)
class Evaluated:
    """A model on a benchmark.

    Attributes:
        label: what it is called in the report: ``base``, ``tuned``, or its folder's name.
        benchmark: with its file, where it has one.
        model: which one it is, without places of this machine.
        results: of it.
        kinds: how its samples ended -> how many did; empty where they are not there.
        reasons: problem -> why its first sample that failed did.
        failures: some of its samples that failed.
        failed: how many did.
        unread: lines of its samples that could not be read.
    """

    label: str
    benchmark: str
    model: str
    results: Results
    kinds: Mapping[str, int]
    reasons: Mapping[str, str]
    failures: Sequence[Failure]
    failed: int
    unread: int

    @property
    def about(self) -> str:
        """The model, and how its answers were drawn."""
        drawn = {"temperature": "temperature {}", "max_tokens": "at most {} tokens"}
        given = self.results.sampling
        told = (say.format(cut(str(given[key]), _KIND)) for key, say in drawn.items() if key in given)
        return ", ".join([self.model, *told])


@dataclass(frozen=True)
class Benchmarked:
    """All that was measured on the same problems.

    Attributes:
        title: the benchmark's name and how many of its problems were asked; another one than any other group's.
        evaluated: models, the one first that the others are compared against.
        figure: their scores.
        said: what they differ by, and what the scores cannot tell.
        problems: the first of them: its name, and of each model (samples, passed, why not), None where not asked.
        more: problems besides.
    """

    title: str
    evaluated: Sequence[Evaluated]
    figure: Figure
    said: Sequence[str]
    problems: Sequence[tuple[str, Sequence[tuple[int, int, str] | None]]]
    more: int

    @property
    def kinds(self) -> Sequence[tuple[str, Sequence[int]]]:
        """How samples ended, most first, by model; rare ways together."""
        sums: Counter[str] = Counter()
        for one in self.evaluated:
            sums.update(one.kinds)
        order = [kind for kind, _ in sums.most_common()]
        rows = [(kind, [one.kinds.get(kind, 0) for one in self.evaluated]) for kind in order[:_KINDS]]
        if rest := order[_KINDS:]:
            others = [sum(one.kinds.get(kind, 0) for kind in rest) for one in self.evaluated]
            rows.append((f"{len(rest):,} other kinds", others))
        return rows


def evaluations(run: Path, trainings: Sequence[Path], more: Sequence[Path]) -> tuple[list[Benchmarked], list[str]]:
    """Read evaluations; return them by benchmark, and a line for each that cannot be read.

    Args:
        run: the run's folder, whose own come first.
        trainings: folders of trainings that may have their own.
        more: folders of evaluations.

    Raises:
        UsageError: one of the last is none.
    """
    found, broken = [], []
    for name, folder in _places(run, trainings, more):
        try:
            found.append(_evaluated(name, folder))
        except ValueError as error:
            broken.append(f"{label(folder)}/{error}")
    groups: dict[tuple[str, str], list[Evaluated]] = {}
    for one in found:
        group = groups.setdefault((one.benchmark, one.results.digest), [])
        alike = sum(other.label == one.label or other.label.startswith(f"{one.label} (") for other in group)
        group.append(replace(one, label=f"{one.label} ({alike + 1})") if alike else one)
    return [_benchmarked(number, group) for number, group in enumerate(groups.values(), 1)], broken


def _places(run: Path, trainings: Sequence[Path], more: Sequence[Path]) -> Iterator[tuple[str, Path]]:
    """Yield what each evaluation is called, and its folder."""
    for folder in sorted(path.parent for path in (run / STAGE).glob(f"*/{RESULTS}")):
        yield _model(folder), folder
    for training in trainings:
        for folder in sorted(path.parent for path in (training / STAGE).glob(f"*/{RESULTS}")):
            yield f"{label(training)} {_model(folder)}", folder
    for folder in more:
        given(folder, [RESULTS, HARNESS], "--evaluation", "evaluate")
        if (folder / RESULTS).exists():
            yield label(folder), folder


def _model(folder: Path) -> str:
    """Return which model a stage's folder, BENCHMARK-MODEL, is of."""
    return folder.name.rpartition("-")[2]


def _evaluated(name: str, folder: Path) -> Evaluated:
    results = held(folder / RESULTS, Results)
    failing = sum(tally.samples - tally.passed for tally in results.by_problem.values())
    every = max(1, -(-failing // FAILURES))
    kinds: Counter[str] = Counter()
    reasons: dict[str, str] = {}
    failures: list[Failure] = []
    failed = unread = 0
    for line in lines(folder / SAMPLES):
        try:
            row = Row.model_validate(line)
        except ValidationError:
            unread += 1
            continue
        kinds[row.kind] += 1
        if row.passed:
            continue
        reasons.setdefault(row.task_id, cut(row.reason or row.kind, _REASON))
        if failed % every == 0 and len(failures) < FAILURES:
            title = f"{cut(row.task_id, _NAME)}, sample {row.sample}"
            failures.append(Failure(title, cut(row.reason or row.kind, 2 * _REASON), cut(row.reply, ANSWER)))
        failed += 1
    model = component(results.model) if results.model is not None else public_path(results.samples_file)
    return Evaluated(
        name, component(results.benchmark), cut(model, _NAME), results, kinds, reasons, failures, failed, unread
    )


def _benchmarked(number: int, group: list[Evaluated]) -> Benchmarked:
    first, *others = sorted(group, key=lambda one: one.label != "base")
    evaluated = [first, *others]
    rows = tuple(
        (f"{one.label}, pass@{k}", 100 * score.score, 100 * score.low, 100 * score.high)
        for one in evaluated
        for k, score in sorted(one.results.scores.items())
    )
    ids = list(dict.fromkeys(id for one in evaluated for id in one.results.by_problem))
    title = f"{first.benchmark}, {len(ids):,} problem{'' if len(ids) == 1 else 's'}"
    head, told = ("", "score", "low", "high"), f"Solved of {title}, with 95 % intervals"
    figure = Figure(f"measured-{number}", told, head, rows, "intervals", "% of problems")
    problems = [(cut(id, _NAME), [_of(one, id) for one in evaluated]) for id in ids[:PROBLEMS]]
    return Benchmarked(title, evaluated, figure, list(_said(evaluated)), problems, max(0, len(ids) - PROBLEMS))


def _of(one: Evaluated, id: str) -> tuple[int, int, str] | None:
    tally = one.results.by_problem.get(id)
    if tally is None:
        return None
    return tally.samples, tally.passed, "" if tally.passed == tally.samples else one.reasons.get(id, "")


def _said(evaluated: Sequence[Evaluated]) -> Iterator[str]:
    first, *others = evaluated
    words, solved = [], []
    for other in others:
        old, new = first.results.tallies, other.results.tallies
        if old.keys() != new.keys() or not old:
            words.append(f"{other.label} and {first.label} were not asked the same problems, so they are not compared")
            continue
        fewest = min(samples for tallies in (old, new) for samples, _ in tallies.values())
        for k in sorted(first.results.scores.keys() & other.results.scores.keys()):
            if k <= fewest:
                words.append(difference(first.benchmark, k, old, new, first.label, other.label).words())
        solved += _apart(other, first)
    scores = [
        {"benchmark": one.benchmark, "low": score.low} for one in evaluated for score in one.results.scores.values()
    ]
    yield from verdicts({"differences": [{"words": each} for each in words], "scores": scores})
    yield from solved


def _apart(one: Evaluated, other: Evaluated) -> list[str]:
    """Say which problems only one of two models solved, at least once."""
    mine, others = _solved(one), _solved(other)
    if mine == others:
        return [f"{one.label} and {other.label} solve the same problems."]
    return [_only(one, mine, other, others), _only(other, others, one, mine)]


def _solved(one: Evaluated) -> dict[str, None]:
    return {id: None for id, tally in one.results.by_problem.items() if tally.passed}


def _only(one: Evaluated, mine: dict[str, None], other: Evaluated, others: dict[str, None]) -> str:
    ids = [id for id in mine if id not in others]
    named = ", ".join(cut(id, _NAME) for id in ids[:_LISTED]) + (", \u2026" if len(ids) > _LISTED else "")
    return f"{one.label} solves {len(ids):,} that {other.label} does not{f': {named}' if ids else ''}."
