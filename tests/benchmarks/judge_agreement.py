"""How far the LLM judges agree with a person: 40 pairs of tasks, labelled by hand, in both orders, beside a constant.

    python tests/benchmarks/judge_agreement.py FOLDER --model qwen2.5-coder-0.5b-instruct
    python tests/benchmarks/judge_agreement.py FOLDER --read
    python tests/benchmarks/judge_agreement.py FOLDER --judges no-gain --set 'backends.judge={litellm: {model: …}}'

Each judge is a run of its own in FOLDER, whose seeds are the first texts of the pairs and whose operator gives back the
second: a judge is asked as in any run, nothing is asked twice, and ``evolteacher judge-check FOLDER/as-made/no-gain``
shows its words. ``--read`` asks nothing and reports what is there.

The pairs are in tests/data/judge_pairs.jsonl: a task of our own and what Qwen2.5-Coder 0.5B or 1.5B made of it with an
operator of ours. One reader labelled them by hand before any judge was asked, by this rule:

gain: whether the child is a new task that asks for more than its parent, so that one would keep it as an evolution. A
    requirement that every solution meets anyway is none; a wrong attempt that the task warns of is something more.
harder: which of the two is harder to solve. A changed word or number leaves them the same unless the work changes. A
    child that is broken is no harder than its parent, and easier where nothing is left to solve.
kind: what became of the parent: ``more`` (it and more), ``copy`` (the same in other words), ``other`` (a changed or
    another task), ``broken`` (it contradicts itself, answers itself, lacks what it speaks of, or holds the prompt).

They were picked to be varied and about even in ``gain``, so the shares say nothing about how often an operator works.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import evolteacher as et
from evolteacher.database import DATABASE
from evolteacher.history import lineage
from evolteacher.passk import wilson
from evolteacher.store import Store

PAIRS = Path(__file__).parent.parent / "data" / "judge_pairs.jsonl"
JUDGES: dict[str, dict[str, Any]] = {
    "no-gain": {"unclear": "reject"},  # asked as shipped; this only tells an unreadable verdict from "Not Equal"
    "difficulty": {"on": ["instruction", "seeds"]},
    "deita-complexity": {},
}
ORDERS = ("as-made", "swapped")
ONE_BY_ONE = ("difficulty",)
"""Judges that see one text at a time, for which the order of a pair is nothing."""

Said = Literal["child", "same", "parent", "gain", "no gain", "unreadable"]


@dataclass(frozen=True)
class Pair:
    """One row of the file; the module's docstring says what the labels mean."""

    id: str
    parent: str
    child: str
    operator: str
    model: str
    kind: Literal["more", "copy", "other", "broken"]
    gain: bool
    harder: Literal["child", "same", "parent"]


def load_pairs() -> list[Pair]:
    """Read the labelled pairs."""
    return [Pair(**json.loads(line)) for line in PAIRS.read_text(encoding="utf-8").splitlines()]


def ask_judge(folder: Path, judge: str, order: str, pairs: Sequence[Pair], model: str, changes: Sequence[str]) -> None:
    """Run one judge over all pairs in one order, or go on with such a run."""
    place = folder / order
    place.mkdir(parents=True, exist_ok=True)
    texts = [(pair.parent, pair.child) if order == "as-made" else (pair.child, pair.parent) for pair in pairs]
    seeds = [{"instruction": first, "output": "-"} for first, _ in texts]
    rules = [{"step": "evolve", "prompt": first, "reply": second} for first, second in texts]
    for name, rows in (("seeds.jsonl", seeds), ("evolve.jsonl", rules)):
        (place / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    recipe = {
        "evolteacher": 1,
        "name": f"judge-agreement-{judge}",
        "seeds": {"path": str(place / "seeds.jsonl"), "answer": "source"},
        "rounds": 1,
        "operators": [{"template": {"template": "{{ instruction }}", "extract": "whole"}}],
        "filters": [{judge: JUDGES[judge]}],
        "backends": {
            "evolve": {"scripted": {"file": str(place / "evolve.jsonl"), "strict": True}},
            "respond": {"scripted": {"default": "-"}},
            "judge": {"embedded": {"model": model}},
        },
        "concurrency": 4,
    }
    et.run(et.Recipe.from_dict(recipe, set=changes), place / judge, note=print)


def read_verdicts(folder: Path, judge: str, order: str, pairs: Sequence[Pair]) -> dict[str, Said]:
    """Return pair -> what the judge said of it, in the words of the pair as it was made; only pairs that it judged."""
    if not (database := folder / order / judge / DATABASE).exists():
        return {}
    with Store(database, read_only=True) as store:
        chains = [lineage(store, number) for number in range(store.seed_count())]
    read = _read_gain if judge == "no-gain" else _read_harder
    found: dict[str, Said] = {}
    for pair, chain in zip(pairs, chains, strict=True):
        if len(chain.steps) == 2:
            first, second = (step.evolution.child.text for step in chain.steps if step.evolution is not None)
            assert {first, second} == {pair.parent, pair.child}, f"{folder} was made of other pairs than {pair.id}"
            found[pair.id] = read(chain.steps, judge, order == "swapped")
    return found


def _read_gain(steps: Sequence[et.Step], judge: str, swapped: bool) -> Said:
    verdict = steps[1].verdict
    if verdict.kept:
        return "gain"
    assert verdict.filter == judge, verdict
    return "unreadable" if "cannot be read" in verdict.reason else "no gain"


def _read_harder(steps: Sequence[et.Step], judge: str, swapped: bool) -> Said:
    assert all(step.verdict.kept for step in steps), steps
    first, second = (step.scores.get(judge) for step in steps)
    if first is None or second is None:
        return "unreadable"
    if first == second:
        return "same"
    return "child" if (second > first) != swapped else "parent"


def says_gain(said: Said) -> bool:
    """Whether that speaks for keeping the child: a judge that scores says so by a higher score."""
    return said in ("gain", "child")


def report(judge: str, verdicts: dict[str, dict[str, Said]], pairs: Sequence[Pair]) -> None:
    """Print how one judge agrees with the labels, in each order; an unreadable verdict agrees with none."""
    for order, said in verdicts.items():
        judged = [pair for pair in pairs if pair.id in said]
        if not judged:
            continue
        unreadable = sum(found == "unreadable" for found in said.values())
        print(f"\n{judge}, {order}: {len(judged)} of {len(pairs)} pairs judged, {unreadable} unreadable")
        read = {pair.id: said[pair.id] != "unreadable" for pair in judged}
        agreed = [read[pair.id] and says_gain(said[pair.id]) == pair.gain for pair in judged]
        gains = sum(pair.gain for pair in judged)
        _against("gain", sum(agreed), len(judged), {"gain": gains, "no gain": len(judged) - gains})
        wrong = [pair for pair, right in zip(judged, agreed, strict=True) if not right and read[pair.id]]
        for what, missed in (("gain called none", True), ("none called gain", False)):
            print(f"  {what}: {' '.join(pair.id for pair in wrong if pair.gain == missed) or '-'}")
        kinds = Counter(pair.kind for pair in judged)
        said_gain = Counter(pair.kind for pair in judged if says_gain(said[pair.id]))
        print("  called gain, by kind:", ", ".join(f"{kind} {said_gain[kind]}/{n}" for kind, n in kinds.items()))
        if judge != "no-gain":
            _report_harder(said, judged)
    both = set.intersection(*(set(said) for said in verdicts.values()))
    if len(verdicts) == 2 and both:
        first, second = verdicts.values()
        same = sum(first[pair] == second[pair] for pair in both)
        print(f"\n{judge}: the same in both orders: {_share(same, len(both))}")


def _report_harder(said: dict[str, Said], judged: Sequence[Pair]) -> None:
    labels = Counter(pair.harder for pair in judged)
    agreed = sum(said[pair.id] == pair.harder for pair in judged)
    _against("harder", agreed, len(judged), dict(labels))
    table = Counter((pair.harder, said[pair.id]) for pair in judged)
    for label in labels:
        row = ", ".join(f"{found} {n}" for (real, found), n in sorted(table.items()) if real == label)
        print(f"  harder by label, {label}: it says {row}")


def _against(what: str, agreed: int, number: int, constants: dict[str, int]) -> None:
    print(f"  {what}: agrees with the label in {_share(agreed, number)}")
    for always, hits in constants.items():
        print(f"    a judge that always says '{always}': {_share(hits, number)}")
    best = max(constants.values()) / number
    print(f"    better than these: {'yes' if wilson(agreed, number)[0] > best else 'not shown'}")


def _share(hits: int, number: int) -> str:
    low, high = wilson(hits, number)
    return f"{hits}/{number} = {hits / number:.2f} [{low:.2f}, {high:.2f}]"


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, ask what is still to be asked, and print figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="for the runs; one folder a model")
    parser.add_argument("--model", default="qwen2.5-coder-0.5b-instruct", help="of the embedded backend")
    parser.add_argument("--judges", nargs="+", choices=JUDGES, default=list(JUDGES))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="changes the judges' recipe")
    parser.add_argument("--read", action="store_true", help="ask nothing, report what the folder holds")
    given = parser.parse_args(arguments)
    pairs = load_pairs()
    for judge in given.judges:
        orders = ORDERS[:1] if judge in ONE_BY_ONE else ORDERS
        for order in () if given.read else orders:
            ask_judge(given.folder, judge, order, pairs, given.model, given.set)
        report(judge, {order: read_verdicts(given.folder, judge, order, pairs) for order in orders}, pairs)


if __name__ == "__main__":
    main()
