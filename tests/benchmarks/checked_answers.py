"""What passes-its-tests made of a run's answers, and how many of those it kept are truly right.

    python tests/benchmarks/checked_answers.py RUN
    python tests/benchmarks/checked_answers.py RUN --to-label answers.jsonl
    python tests/benchmarks/checked_answers.py RUN --labels labels.jsonl

RUN is a run folder whose recipe uses the filter, with ``on: [response, seeds]`` where seeds count. It is only read.
``--to-label`` writes one line an answer: lineage, round, what it is (``answer``, or the ``repair`` of one), task and
text. A label is such a line with ``right``: whether the code does all that its task asks, for every input that the task
allows, as somebody found who read it and ran it where that was in doubt. What the task leaves open is right either way.

With labels the other rules are tried, too: copies of the folder are judged anew with each, without repairs, so that
nothing is asked, and the answers as they came are kept or rejected.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from evolteacher.database import DATABASE
from evolteacher.history import lineage
from evolteacher.passk import wilson
from evolteacher.record import Step
from evolteacher.rejudging import rejudge
from evolteacher.store import Store

FILTER = "passes-its-tests"
RULES = [(agree, least) for agree in ("most", "all") for least in (1, 2, 3)]

Key = tuple[str, int, str]
"""Of an answer: lineage, round, ``answer`` or ``repair``."""


@dataclass(frozen=True)
class Answer:
    """One response that the filter looked at.

    Attributes:
        lineage: the seed's id.
        step: with its verdict.
    """

    lineage: str
    step: Step

    @property
    def kept(self) -> bool:
        """Whether it is a row."""
        return self.step.verdict.kept

    @property
    def outcome(self) -> str:
        """What became of it, in a word or two."""
        reason = self.step.verdict.reason
        if self.kept:
            return "kept, repaired" if self.step.repaired_by else "kept as it came"
        for part, word in (("vacuous", "vacuous"), ("holds no Python", "no Python"), ("no function", "no function")):
            if part in reason:
                return f"rejected: {word}"
        return "rejected: too few tests count" if " where " in reason else "rejected: tests fail"

    def texts(self) -> Iterator[tuple[Key, str]]:
        """Yield the answer as it came, and as it was repaired."""
        first = self.step.original if self.step.original is not None else self.step.response
        yield (self.lineage, self.step.round, "answer"), first or ""
        if self.step.original is not None:
            yield (self.lineage, self.step.round, "repair"), self.step.response or ""


def answers_of(folder: Path) -> list[Answer]:
    """Return what the filter judged: its own rejections, and what it gave a score."""
    with Store(folder / DATABASE, read_only=True) as store:
        found = [lineage(store, order) for order in range(store.seed_count())]
    return [
        Answer(each.id, step)
        for each in found
        for step in each.steps
        if step.verdict.filter == FILTER or FILTER in step.scores
    ]


def share(hits: int, number: int) -> str:
    """Return a share with its 95 % interval (Wilson)."""
    if not number:
        return "0 of 0"
    low, high = wilson(hits, number)
    return f"{hits} of {number}, {hits / number:.2f} [{low:.2f}, {high:.2f}]"


def read_labels(path: Path) -> dict[Key, bool]:
    """Return the labels by answer."""
    rows = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    return {(row["lineage"], row["round"], row["what"]): row["right"] for row in rows}


def report(answers: Iterable[Answer], labels: dict[Key, bool]) -> None:
    """Print what became of the answers, and of how many that was just."""
    answers = list(answers)
    right: dict[str, list[bool]] = {}
    for answer in answers:
        (key, _) = list(answer.texts())[-1]
        right.setdefault(answer.outcome, []).extend([labels[key]] if key in labels else [])
    counts = Counter(answer.outcome for answer in answers)
    for outcome, number in sorted(counts.items(), key=lambda item: -item[1]):
        told = f"; truly right {share(sum(right[outcome]), len(right[outcome]))} labelled" if labels else ""
        print(f"{number:5}  {outcome}{told}")
    kept = [good for outcome, found in right.items() if outcome.startswith("kept") for good in found]
    print(f"{len(answers):5}  together{f'; of the kept, truly right {share(sum(kept), len(kept))}' if labels else ''}")


def try_rules(folder: Path, labels: dict[Key, bool]) -> None:
    """Judge copies of the run by other rules, and print how many of the answers as they came each keeps."""
    print("\nWithout repairs, the answers as they came:")
    for agree, least in RULES:
        with tempfile.TemporaryDirectory() as scratch:
            copy = Path(scratch) / "run"
            shutil.copytree(folder, copy)
            options = {"agree": agree, "least": least, "repairs": 0}
            changes = [f"filters.{FILTER}.{name}={value}" for name, value in options.items()]
            rejudge(copy, set=changes)
            answers = answers_of(copy)
        known = [(a.kept, labels[key]) for a in answers for key, _ in a.texts() if key in labels]
        kept = [good for keeps, good in known if keeps]
        lost = sum(good for keeps, good in known if not keeps)
        number = sum(answer.kept for answer in answers)
        print(f"agree: {agree}, least: {least}: {number} kept; truly right {share(sum(kept), len(kept))}; {lost} lost")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--to-label", type=Path)
    options = parser.parse_args()
    answers = answers_of(options.run)
    if options.to_label is not None:
        with options.to_label.open("w", encoding="utf-8") as file:
            for answer in answers:
                for (id, round, what), text in answer.texts():
                    row = {"lineage": id, "round": round, "what": what, "outcome": answer.outcome}
                    task = answer.step.evolution.child.text if answer.step.evolution is not None else ""
                    file.write(json.dumps({**row, "task": task, "text": text}, ensure_ascii=False) + "\n")
    labels = read_labels(options.labels) if options.labels is not None else {}
    report(answers, labels)
    if labels:
        try_rules(options.run, labels)


if __name__ == "__main__":
    main()
