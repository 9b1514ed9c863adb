"""What is to be compared, read and made ready: both datasets in tokens, what is held out, and every training."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evolteacher.catalog import Catalog
from evolteacher.comparing.matching import Item, Matching, groups_of, held_out, lineage_of
from evolteacher.comparing.sides import Side, read_sides
from evolteacher.comparing.trainings import LEAST_HELD, Design, design, training_tokens
from evolteacher.comparing.verdict import SHOWN, Measured
from evolteacher.errors import UsageError
from evolteacher.promptform import PromptForm
from evolteacher.sources import counted
from evolteacher.training.job import Training
from evolteacher.training.loading import load_tokenizer
from evolteacher.training.tokens import Tokens, tokenise
from evolteacher.trainsection import FREE_ARGUMENTS, Train


@dataclass(frozen=True)
class CompareOptions:
    """How two datasets are compared.

    Attributes:
        seeds: random seeds of each training.
        matched: how much is drawn from each: as many rows, as many tokens, or one after the other.
        rows: most rows that are learnt of each; None for no bound.
        controls: whether they are trained, too.
        shuffled: random seeds of the control with shuffled responses; None for all.
        on: benchmarks, as ``humaneval`` or ``mbpp:FILE``.
        problems: only the first of each benchmark; None for all.
        max_tokens: of an answer to a benchmark's problem.
        keep_models: whether weights stay once they are measured.
    """

    seeds: int = 3
    matched: tuple[Matching, ...] = ("samples", "tokens")
    rows: int | None = None
    controls: bool = True
    shuffled: int | None = None
    on: tuple[Any, ...] = ()
    problems: int | None = None
    max_tokens: int = 512
    keep_models: bool = False

    def check(self) -> None:
        """Find what cannot be meant.

        Raises:
            UsageError: it cannot.
        """
        if self.seeds < 2:
            raise UsageError(f"--seeds {self.seeds}: one random seed says nothing of others; at least 2, better 3")
        if not self.matched:
            raise UsageError("--matched: name samples, tokens or both")
        if self.shuffled is not None and not 1 <= self.shuffled <= self.seeds:
            raise UsageError(f"--shuffled {self.shuffled}: from 1 to --seeds, which is {self.seeds}")


@dataclass(frozen=True)
class Plan:
    """A comparison before it starts.

    Attributes:
        training: the recipe.
        sides: both datasets.
        held: whose -> held-out items.
        learnt: whose -> those that may be learnt.
        common: lineages that both have.
        design: the trainings.
        notes: what was done about rows, a fact a line.
    """

    training: Training
    sides: dict[Measured, Side]
    held: dict[Measured, list[Item]]
    learnt: dict[Measured, list[Item]]
    common: int
    design: Design
    notes: tuple[str, ...]

    def tokens(self, *, overfit: bool) -> int:
        """Return the tokens of all trainings, all epochs: of the control on eight rows (at most), or of all others."""
        arms = [arm for arm in self.design.arms.values() if (arm.part == "overfit") == overfit]
        return sum(training_tokens(self.training.train, arm) for arm in arms)

    @property
    def measured_tokens(self) -> int:
        """Tokens that each model is measured on."""
        return sum(item.length for items in self.held.values() for item in items)

    def lines(self) -> list[str]:
        """Return what it comes to, a fact a line."""
        lines = []
        for side, name in SHOWN.items():
            held, learnt = self.held[side], self.learnt[side]
            lines.append(
                f"{name} = {self.sides[side].source}: {counted(len(learnt), 'row')} to learn from "
                f"({counted(_groups(learnt), 'lineage')}, {sum(item.length for item in learnt):,} tokens), "
                f"{len(held):,} held out ({counted(_groups(held), 'lineage')})"
            )
        lines.append(f"{counted(self.common, 'lineage')} in both; what is held out is in no training")
        for way, drawn in self.design.drawn.items():
            told = ", ".join(
                f"{name} {_span([len(pair[n]) for pair in drawn], 'row')} of "
                f"{_span([sum(item.length for item in pair[n]) for pair in drawn], 'token')}"
                for n, name in enumerate(SHOWN.values())
            )
            lines.append(f"matched by {way}: {told}")
        kinds: dict[str, int] = {}
        for arm in self.design.arms.values():
            kinds[_KINDS[arm.part]] = kinds.get(_KINDS[arm.part], 0) + 1
        told = ", ".join(f"{number} {kind}" for kind, number in kinds.items())
        by_heart = f", at most {self.tokens(overfit=True):,} on eight rows" if self.design.overfit else ""
        lines.append(
            f"{counted(len(self.design.arms), 'training')} of {self.training.train.model} ({told}): "
            f"{self.tokens(overfit=False):,} tokens to learn{by_heart}, {self.measured_tokens:,} to measure each on"
        )
        return lines

    def experiment(self, options: CompareOptions) -> dict[str, Any]:
        """Return what a comparison that goes on must have in common with its folder's."""
        train = self.training.train.model_dump(mode="json", exclude={"data", "licence"})
        train["sft"] = {name: value for name, value in train["sft"].items() if name not in FREE_ARGUMENTS}
        found = {
            "a": self.sides["a"].rows.digest,
            "b": self.sides["b"].rows.digest,
            "seed": self.training.seed,
            "rows": options.rows,
            "max_tokens": options.max_tokens,
            "train": train,
        }
        return dict(json.loads(json.dumps(found)))


_KINDS = {
    "a": "on A",
    "b": "on B",
    "shuffled": "on A with shuffled responses",
    "again": "on A again",
    "overfit": "on eight rows",
}


def make_plan(
    a: str, b: str | None, recipe: str | Path, changes: Iterable[str], options: CompareOptions, catalog: Catalog
) -> Plan:
    """Read everything and decide on the trainings; no weights are loaded.

    Raises:
        UsageError: the datasets cannot be compared, or the options cannot be meant.
        RecipeError: the recipe does not validate.
        MissingExtra: what trains is not installed.
        BackendError: the tokenizer cannot be loaded.
    """
    options.check()
    sides = dict(zip(SHOWN, read_sides(a, b, catalog), strict=True))
    # A recipe must name data where it only trains; what it names is not what is trained on here.
    training = Training.load(recipe, set=[f"train.data={json.dumps(a)}", *changes], catalog=catalog)
    training.check_extra()
    if not training.train.validation:
        raise UsageError("train.validation is 0, and a comparison needs rows held out: --set train.validation=0.2")
    groups = groups_of(row for side in sides.values() for row in side.rows.rows)
    notes: list[str] = []
    items, long = _items(sides, groups, training.train, notes)
    held = held_out(items["a"], items["b"], training.train.validation, training.seed)
    parts = {
        side: ([i for i in found if i.group in held], [i for i in found if i.group not in held])
        for side, found in items.items()
    }
    for side, (kept, _) in parts.items():
        if _groups(kept) < LEAST_HELD:
            raise UsageError(_too_few(sides[side], kept, long[side], training.train, _enough(items.values())))
    made = design(
        parts["a"][1],
        parts["b"][1],
        seed=training.seed,
        seeds=options.seeds,
        by=options.matched,
        rows=options.rows,
        controls=options.controls,
        shuffled=options.seeds if options.shuffled is None else options.shuffled,
    )
    common = {item.group for item in items["a"]} & {item.group for item in items["b"]}
    if not common:
        notes.append("the two share no lineage: a difference may be one of their tasks, and not of how they evolved")
    return Plan(
        training,
        sides,
        {side: kept for side, (kept, _) in parts.items()},
        {side: rest for side, (_, rest) in parts.items()},
        len(common),
        made,
        tuple(notes),
    )


def _too_few(side: Side, held: Sequence[Item], long: Tokens, train: Train, share: float) -> str:
    """Say that too few lineages of a side are held out, and why: its rows are too long, or it has too few."""
    more = f"hold out more (--set train.validation={share}), or name a larger dataset"
    if long.dropped:
        more = (
            f"{long.dropped:,} of its {counted(len(side.rows.rows), 'row')} have more than sft.max_length, "
            f"{train.max_length:,} tokens (the longest has {long.longest:,}), and were left out: raise it (--set "
            "train.sft.max_length=…), or cut them (--set train.too_long=truncate)"
        )
    return (
        f"{side.source}: only {counted(_groups(held), 'lineage')} held out, and {LEAST_HELD} are needed to tell "
        f"anything: {more}"
    )


def _items(
    sides: dict[Measured, Side], groups: dict[str, str], train: Train, notes: list[str]
) -> tuple[dict[Measured, list[Item]], dict[Measured, Tokens]]:
    """Return each side's rows in tokens, and what was done about its long rows."""
    tokenizer = load_tokenizer(train)
    form = PromptForm.choose(train.form, tokenizer, train.template_options)
    found: dict[Measured, list[Item]] = {}
    long: dict[Measured, Tokens] = {}
    for side, one in sides.items():
        notes += [f"{one.source}: {line}" for line in one.rows.notes]
        whole, items = Tokens(), []
        for number, row in enumerate(one.rows.rows):
            made = tokenise([row], form, tokenizer, train.max_length, train.too_long)
            whole.dropped, whole.cut = whole.dropped + made.dropped, whole.cut + made.cut
            whole.longest = max(whole.longest, made.longest)
            items += [Item(row, groups[lineage_of(row)], tokens, number) for tokens in made.rows]
        notes += [f"{one.source}: {line}" for line in whole.notes(train.max_length)]
        found[side], long[side] = items, whole
    return found, long


def _groups(items: Iterable[Item]) -> int:
    return len({item.group for item in items})


def _enough(sides: Iterable[Sequence[Item]]) -> float:
    """Return a share that holds out enough lineages of each, to a hundredth."""
    least = min(max(_groups(items), 1) for items in sides)
    return min(round(LEAST_HELD / least + 0.005, 2), 0.5)


def _span(numbers: Sequence[int], noun: str) -> str:
    """Return ``80 rows``, or ``70 to 80 rows`` where draws differ."""
    least, most = min(numbers), max(numbers)
    return counted(most, noun) if least == most else f"{least:,} to {counted(most, noun)}"


def default_folder(a: str, b: str | None) -> Path:
    """Return where a comparison goes unless somebody says otherwise."""
    names = [os.path.basename(os.path.abspath(text)).replace(":", "-") for text in (a, b) if text]
    return Path("comparisons") / "-and-".join(names)[:100]


Note = Callable[[str], None]
