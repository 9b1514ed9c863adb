"""The trainings of a comparison: which rows, which random seed, and what each is for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from evolteacher.comparing.matching import Item, Matching, matched, shuffled_responses
from evolteacher.errors import UsageError
from evolteacher.training.estimate import steps_of
from evolteacher.training.rows import Row, Rows
from evolteacher.trainsection import Train

LEAST_HELD = 5
"""Fewest lineages that are held out of each dataset: fewer tell nothing of others."""

OVERFIT_ROWS = 8
OVERFIT_STEPS = 200
OVERFIT_LOSS = 0.1
"""Of the control that must learn eight rows by heart: the loss, in nats a token, at which it has."""

AGAIN = 1000
"""Added to a random seed for the control that trains on the same rows once more."""

Part = Literal["a", "b", "shuffled", "again", "overfit"]


@dataclass(frozen=True)
class Arm:
    """One training.

    Attributes:
        name: of its folder; of what it trains on and with which random seed, so that equal ones are done once.
        part: what it trains on.
        number: of the random seed, from 1.
        seed: of the training.
        rows: that are learnt.
        tokens: of these, once through.
    """

    name: str
    part: Part
    number: int
    seed: int
    rows: tuple[Row, ...]
    tokens: int


@dataclass
class Design:
    """All trainings, and what is compared with what.

    Attributes:
        arms: name -> training, in the order in which they are done.
        main: how the two were matched -> pairs of names (of A, of B), a random seed each.
        drawn: how the two were matched -> the draws of A and of B, a random seed each.
        shuffled: pairs of names: A, and A with its responses shuffled.
        again: pairs of names: A, and A once more with another random seed.
        overfit: name of the training on eight rows; None where controls are left out.
    """

    arms: dict[str, Arm] = field(default_factory=dict)
    main: dict[Matching, list[tuple[str, str]]] = field(default_factory=dict)
    drawn: dict[Matching, list[tuple[list[Item], list[Item]]]] = field(default_factory=dict)
    shuffled: list[tuple[str, str]] = field(default_factory=list)
    again: list[tuple[str, str]] = field(default_factory=list)
    overfit: str | None = None

    def add(self, part: Part, number: int, seed: int, items: Sequence[Item], rows: Iterable[Row] | None = None) -> str:
        """Add a training, unless there is an equal one; return its name."""
        found = tuple(rows) if rows is not None else tuple(item.row for item in items)
        name = f"{part}-{number}-{Rows(found, '').digest[:8]}"
        self.arms.setdefault(name, Arm(name, part, number, seed, found, sum(item.length for item in items)))
        return name


def design(
    a: Sequence[Item],
    b: Sequence[Item],
    *,
    seed: int,
    seeds: int,
    by: Sequence[Matching],
    rows: int | None,
    controls: bool,
    shuffled: int,
) -> Design:
    """Decide on all trainings.

    Args:
        a: items of one dataset that may be learnt.
        b: of the other.
        seed: of the recipe.
        seeds: random seeds of each training.
        by: how the two are matched.
        rows: most rows of each; None for no bound.
        controls: whether those are trained, too.
        shuffled: random seeds of the control with shuffled responses.

    Raises:
        UsageError: there are too few rows.
    """
    made = Design()
    if controls:
        shortest = sorted(a, key=lambda item: (item.length, item.number))[:OVERFIT_ROWS]
        made.overfit = made.add("overfit", 1, seed, sorted(shortest, key=lambda item: item.number))
    for way in by:
        pairs: list[tuple[str, str]] = []
        made.main[way], made.drawn[way] = pairs, []
        for number in range(1, seeds + 1):
            own = seed + number - 1
            drawn = matched(a, b, way, own, rows)
            if min(map(len, drawn)) < OVERFIT_ROWS:
                raise UsageError(
                    f"only {min(map(len, drawn))} rows of each are left to learn once the two are matched by {way}, "
                    f"and {OVERFIT_ROWS} are needed: name larger datasets, hold out less (--set train.validation=0.1), "
                    "or raise --rows"
                )
            pairs.append((made.add("a", number, own, drawn[0]), made.add("b", number, own, drawn[1])))
            made.drawn[way].append(drawn)
    if controls:
        first = by[0]
        for number, ((name, _), (items, _)) in enumerate(zip(made.main[first], made.drawn[first], strict=True), 1):
            own = seed + number - 1
            if number <= shuffled:
                rows_shuffled = shuffled_responses([item.row for item in items], own)
                made.shuffled.append((name, made.add("shuffled", number, own, items, rows_shuffled)))
            made.again.append((name, made.add("again", number, own + AGAIN, items)))
    return made


def section_of(train: Train, part: Part) -> Train:
    """Return how a training is done: as the recipe says, but that nothing is held out of what it is given.

    The control that learns eight rows by heart takes all of them in each step, at the recipe's own rate throughout.
    """
    sft = {name: value for name, value in train.sft.items() if not _of_held_out(name)}
    if part == "overfit":
        for name in ("num_train_epochs", "lr_scheduler_kwargs", "packing", "save_steps"):
            sft.pop(name, None)
        sft |= {
            "max_steps": OVERFIT_STEPS,
            "per_device_train_batch_size": OVERFIT_ROWS,
            "gradient_accumulation_steps": 1,
            "lr_scheduler_type": "constant",
            "warmup_steps": 0,
            "logging_steps": 1,
            "save_strategy": "no",
        }
    # A shuffled row may be longer than any was, and none may be missing for that.
    long = "truncate" if part == "shuffled" else train.too_long
    return train.model_copy(update={"validation": 0.0, "data": None, "merge": False, "too_long": long, "sft": sft})


def _of_held_out(name: str) -> bool:
    best = ("load_best_model_at_end", "metric_for_best_model", "greater_is_better", "do_eval")
    return name.startswith("eval_") or name in best


def training_tokens(train: Train, arm: Arm) -> int:
    """Return the tokens that a training sees, all epochs together; of the control on eight rows, at most."""
    _, _, epochs = steps_of(len(arm.rows), section_of(train, arm.part).sft, 1)
    return round(arm.tokens * epochs)


def as_data(rows: Iterable[Row]) -> Iterable[dict[str, Any]]:
    """Return rows as a dataset's file holds them, from which lineages are read again."""
    from evolteacher.dataset import PROVENANCE

    for row in rows:
        known = {"instruction": row.instruction, "output": row.response, "lineage": row.lineage, "round": row.round}
        rights = {"licence": row.licence or None, "terms": row.terms or None}
        yield {**dict.fromkeys(PROVENANCE), "depth": 0, **known, **rights}
