"""``evolteacher judge-check``: a judge's verdicts side by side with what they are about, to be read and labelled."""

from __future__ import annotations

import json
import random
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.text import Text

from evolteacher.cli import values
from evolteacher.cli.options import RunFolder
from evolteacher.cli.terminal import count, emit, note, plain, shortened
from evolteacher.database import DATABASE
from evolteacher.errors import UsageError, did_you_mean
from evolteacher.history import lineage
from evolteacher.passk import wilson
from evolteacher.record import Step
from evolteacher.store import Store

_JUDGES = "SELECT DISTINCT step FROM replies WHERE step LIKE 'filter:%' ORDER BY step"
_WORDS = """
SELECT replies.text FROM replies JOIN seeds ON seeds.id = replies.lineage
WHERE seeds.ord = ? AND ((replies.round = ? AND replies.step IN (?, ?)) OR replies.step = ?) ORDER BY replies.id
"""


@dataclass(frozen=True)
class Judged:
    """One verdict of a judge.

    Attributes:
        judge: its label.
        order: the lineage's place.
        id: the lineage's id.
        step: what was judged, with scores and verdict.
        words: the judge's own answers, in the order in which they came.
    """

    judge: str
    order: int
    id: str
    step: Step
    words: tuple[str, ...]

    @property
    def kept(self) -> bool:
        """Whether this judge let it pass."""
        return self.step.verdict.filter != self.judge

    @property
    def key(self) -> tuple[Any, ...]:
        """Tells the verdict from all others; a verdict that changed is another."""
        return self.judge, self.id, self.step.round, self.kept, self.step.scores.get(self.judge)


def judge_check(
    run: RunFolder,
    judge: Annotated[
        str | None,
        typer.Option(
            "--judge",
            metavar="LABEL",
            help="Which judge, where the run has several.",
            autocompletion=values.components("filter"),
        ),
    ] = None,
    sample: Annotated[int, typer.Option("--sample", "-n", min=1, help="How many verdicts.")] = 10,
    seed: Annotated[int, typer.Option("--seed", help="Of the random choice.")] = 0,
    label: Annotated[
        bool, typer.Option("--label", help="Ask of each whether you agree, and keep the answers beside the run.")
    ] = False,
) -> None:
    """Sample a judge's verdicts, kept and rejected alike, to be read side by side. The run is only read."""
    if label and not sys.stdin.isatty():
        raise UsageError("--label asks on a terminal, and there is none; without it the sample is printed")
    with Store(run / DATABASE, read_only=True) as store:
        chosen = _choose(store, run, judge)
        found = sample_verdicts(store, chosen, sample, seed)
    if not found:
        raise UsageError(f"{run}: '{chosen}' has judged nothing that has settled")
    kept = sum(one.kept for one in found)
    emit(
        Text(f"{chosen}: {count(len(found), 'verdict')}, {kept} kept and {len(found) - kept} rejected", "bold"), Text()
    )
    if label:
        _label(found, run.parent / f"{run.resolve().name}.judge-labels.jsonl")
        return
    for one in found:
        emit(drawn(one))


def _choose(store: Store, run: Path, judge: str | None) -> str:
    judges = list(dict.fromkeys(row[0].split(":")[1] for row in store.query(_JUDGES)))
    if not judges:
        raise UsageError(f"{run}: no filter of this run asked an LLM, so there is no judge to check")
    if judge is None and len(judges) > 1:
        raise UsageError(f"{run}: it has several judges: {', '.join(judges)}; choose one with --judge")
    if judge is not None and judge not in judges:
        hint = did_you_mean(judge, judges)
        raise UsageError(f"{run}: no judge of this run is called '{judge}'.{hint} It has: {', '.join(judges)}")
    return judge or judges[0]


def sample_verdicts(store: Store, judge: str, number: int, seed: int) -> list[Judged]:
    """Choose verdicts at random, half of them rejections as far as there are so many; in the run's order.

    Args:
        store: the run's.
        judge: its label.
        number: how many.
        seed: of the choice; the same run and seed give the same verdicts.
    """
    # What was judged has the judge's replies in its slots; a lineage filter's lie in round 0.
    joint = f"filter:{judge}:lineage"
    rows = store.query(
        "SELECT DISTINCT s.ord, s.round, s.filter = ? FROM steps s JOIN seeds ON seeds.ord = s.ord "
        "JOIN replies r ON r.lineage = seeds.id AND ((r.round = s.round AND r.step IN (?, ?)) OR (r.step = ? AND "
        "(s.filter = ? OR json_extract(s.scores, '$.\"' || ? || '\"') IS NOT NULL))) ORDER BY s.ord, s.round",
        (judge, f"filter:{judge}", f"filter:{judge}:response", joint, judge, judge),
    ).fetchall()
    rejected, kept = [row for row in rows if row[2]], [row for row in rows if not row[2]]
    pick = random.Random(seed)
    bad = min(len(rejected), max(number // 2, number - len(kept)))
    chosen = pick.sample(rejected, bad) + pick.sample(kept, min(len(kept), number - bad))
    found = []
    for order, round, _ in sorted(chosen):
        whole = lineage(store, order)
        step = next(step for step in whole.steps if step.round == round)
        slots = (order, round, f"filter:{judge}", f"filter:{judge}:response", joint)
        words = tuple(row[0] for row in store.query(_WORDS, slots))
        found.append(Judged(judge, order, whole.id, step, words))
    return found


def drawn(one: Judged) -> Group:
    """Draw a verdict with the texts that it is about."""
    step = one.step
    title = Text(f"lineage {one.order}, round {step.round}, {plain(step.operator)}: ", "bold")
    title.append("kept" if one.kept else "rejected", "green" if one.kept else "red")
    scores = {name: score for name, score in step.scores.items() if name.split(":")[0] == one.judge}
    for name, score in scores.items():
        title.append(f", {plain(name)} {score:g}", "cyan")
    parts = [("parent", step.parent.text)] if step.round else []
    parts += [("child", step.evolution.child.text)] if step.evolution is not None else []
    parts += [("response", step.response)] if step.response is not None else []
    parts += [] if one.kept else [("reason", step.verdict.reason)]
    parts += [("the judge's own words", word) for word in one.words]
    lines = [title]
    for name, text in parts:
        lines += [Text(f"{name}:", "dim"), Text(shortened(text, 12))]
    return Group(*lines, Text())


def _label(found: list[Judged], path: Path) -> None:
    """Ask of each verdict whether the reader agrees; what was answered earlier is not asked again."""
    labels = read_labels(path)
    for number, one in enumerate(found, 1):
        if one.key in labels:
            continue
        emit(drawn(one))
        try:
            answer = _answer(f"{number} of {len(found)}: do you agree? [y]es, [n]o, [s]kip, [q]uit: ")
        except KeyboardInterrupt:
            emit(Text())
            note(f"what was labelled is in {path}; the same command goes on from there")
            raise
        if answer == "q":
            break
        if answer != "s":
            labels[one.key] = answer == "y"
            write_label(path, one, labels[one.key])
    given = [labels[one.key] for one in found if one.key in labels]
    if not given:
        note("nothing is labelled yet")
        return
    low, high = wilson(sum(given), len(given))
    agree = f"{sum(given)} of {len(given)}, {sum(given) / len(given):.0%} (95 %: {low:.0%} to {high:.0%})"
    emit(Text(f"you agree with {agree}; labels are in {path}"))


def _answer(question: str) -> str:
    while True:
        try:
            answer = input(question).strip().lower()[:1]
        except EOFError:
            emit(Text())
            return "q"
        except UnicodeDecodeError:  # a key of another encoding than the terminal's
            continue
        if answer in tuple("ynsq"):
            return answer


def read_labels(path: Path) -> dict[tuple[Any, ...], bool]:
    """Return the labels given earlier: what tells a verdict -> whether the reader agreed.

    Raises:
        UsageError: a line is not one of ours.
    """
    labels = {}
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            key = (row["judge"], row["lineage"], row["round"], row["kept"], row["score"])
            labels[key] = bool(row["agree"])
        except (ValueError, KeyError, TypeError):
            raise UsageError(f"{path}:{number}: this is no label of judge-check; mend or delete the line") from None
    return labels


def write_label(path: Path, one: Judged, agree: bool) -> None:
    """Append a label."""
    names = ("judge", "lineage", "round", "kept", "score")
    row = {**dict(zip(names, one.key, strict=True)), "agree": agree}
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
