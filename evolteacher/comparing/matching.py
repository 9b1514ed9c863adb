"""What is held out of two datasets, and what is drawn from each so that they can be compared."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from evolteacher.record import text_id
from evolteacher.training.rows import Row, place

Matching = Literal["samples", "tokens"]


@dataclass(frozen=True, slots=True)
class Item:
    """A row that can be trained on, in tokens.

    Attributes:
        row: as read.
        group: the lineage, in both datasets by the same name.
        tokens: ``input_ids`` and ``labels``, as the trainer makes them.
        number: its place in its dataset.
    """

    row: Row
    group: str
    tokens: dict[str, list[int]]
    number: int

    @property
    def length(self) -> int:
        """Its tokens."""
        return len(self.tokens["input_ids"])


def lineage_of(row: Row) -> str:
    """Return a row's lineage; of one that has none, its instruction's id."""
    return row.lineage or text_id(row.instruction)


def groups_of(rows: Iterable[Row]) -> dict[str, str]:
    """Return the group of each lineage: lineages that share an instruction are one.

    A dataset that does not tell lineages has its instructions' own ids in their place. Beside one that does, these
    would look like lineages of their own, and a version of a seed could stand on both sides of the split.

    Args:
        rows: of both datasets.
    """
    above: dict[str, str] = {}

    def top(name: str) -> str:
        while (parent := above.setdefault(name, name)) != name:
            above[name] = name = above[parent]
        return name

    lineages = set()
    for row in rows:
        lineages.add(lineage_of(row))
        first, second = sorted((top(lineage_of(row)), top(text_id(row.instruction))))
        above[second] = first
    return {lineage: top(lineage) for lineage in lineages}


def held_out(a: Iterable[Item], b: Iterable[Item], share: float, seed: int) -> set[str]:
    """Return the groups that neither training sees.

    Of the groups that both have, and of those that one alone has, the same share each, so that both datasets are
    measured on what they have in common as far as they have.

    Args:
        a: items of one dataset.
        b: of the other.
        share: of the groups.
        seed: of the recipe.
    """
    of_a, of_b = ({item.group for item in items} for items in (a, b))
    found: set[str] = set()
    for groups in (of_a & of_b, of_a - of_b, of_b - of_a):
        ranked = sorted(groups, key=lambda group: (place(group, seed), group))
        found.update(ranked[: round(share * len(ranked))])
    return found


def draw_orders(a: Sequence[Item], b: Sequence[Item], seed: int) -> tuple[list[Item], list[Item]]:
    """Return both datasets in an order to draw from: the first rows of each are of the same lineages, as far as can be.

    A lineage's turn comes once a pass, so that a short draw has many lineages rather than many versions of a few.

    Args:
        a: items of one dataset.
        b: of the other.
        seed: of the draw.
    """
    by_group = tuple(_shuffled(items, f"{seed}:{side}") for items, side in ((a, "a"), (b, "b")))
    common = sorted(by_group[0].keys() & by_group[1].keys())
    random.Random(f"{seed}:lineages").shuffle(common)
    paired = {group: min(len(by_group[0][group]), len(by_group[1][group])) for group in common}
    orders = []
    for side, groups in zip("ab", by_group, strict=True):
        first = [
            groups[group][turn]
            for turn in range(max(paired.values(), default=0))
            for group in common
            if turn < paired[group]
        ]
        others = sorted(groups)
        random.Random(f"{seed}:{side}:rest").shuffle(others)
        rest = {group: groups[group][paired.get(group, 0) :] for group in others}
        most = max(map(len, rest.values()), default=0)
        orders.append(first + [rest[g][turn] for turn in range(most) for g in others if turn < len(rest[g])])
    return orders[0], orders[1]


def _shuffled(items: Iterable[Item], seed: str) -> dict[str, list[Item]]:
    found: defaultdict[str, list[Item]] = defaultdict(list)
    for item in items:
        found[item.group].append(item)
    for group, members in found.items():
        random.Random(f"{seed}:{group}").shuffle(members)
    return dict(found)


def matched(
    a: Sequence[Item], b: Sequence[Item], by: Matching, seed: int, rows: int | None
) -> tuple[list[Item], list[Item]]:
    """Draw as much from one dataset as from the other, each in its own order.

    Args:
        a: items of one dataset that may be learnt.
        b: of the other.
        by: samples: as many rows; tokens: as many tokens, to within the shortest row that no longer fits.
        seed: of the draw.
        rows: most rows of each; None for no bound.
    """
    orders = tuple(order[:rows] for order in draw_orders(a, b, seed))
    if by == "samples":
        least = min(map(len, orders))
        drawn = [order[:least] for order in orders]
    else:
        room = min(sum(item.length for item in order) for order in orders)
        drawn = [_fitting(order, room) for order in orders]
    return _in_order(drawn[0]), _in_order(drawn[1])


def _fitting(order: Iterable[Item], room: int) -> list[Item]:
    found = []
    for item in order:
        if item.length <= room:
            found.append(item)
            room -= item.length
    return found


def _in_order(items: Iterable[Item]) -> list[Item]:
    return sorted(items, key=lambda item: item.number)


def shuffled_responses(rows: Sequence[Row], seed: int) -> list[Row]:
    """Return rows of which each has the response of another: what is left of a dataset that teaches no answers.

    Args:
        rows: at least two.
        seed: of the permutation, which leaves none in its place.
    """
    order = list(range(len(rows)))
    random.Random(f"{seed}:responses").shuffle(order)
    giver = {taker: order[n - 1] for n, taker in enumerate(order)}
    return [replace(row, response=rows[giver[n]].response) for n, row in enumerate(rows)]


def facts(items: Sequence[Item]) -> dict[str, Any]:
    """Return what a draw comes to, as JSON."""
    return {
        "rows": len(items),
        "lineages": len({item.group for item in items}),
        "tokens": sum(item.length for item in items),
    }
