"""Evol stop: after each round a signal is measured on what the store holds, and decides whether another one begins.

The signal and the decision are stored before the next round starts, and what is stored holds: a replay, a resume, a
larger limit and a rejudge end where the run ended. A decision that is not stored yet follows from stored steps alone,
as they stood when their lineages left the round, so a process that was killed before it comes to the same one.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict
from hashlib import blake2b
from math import fsum

from evolteacher.history import records
from evolteacher.recipe import Recipe
from evolteacher.record import Record
from evolteacher.roundsection import Acceptance, Difficulty, Novelty, Point, ProxyLoss, Stop, decide
from evolteacher.store import Store

CURVE = "stop/"
"""Beginning of the keys, in the store's ``meta``, of what was decided after each round; its number follows."""

WAITS = "the next round has not begun"
"""Why a lineage is pending that has left a round before the others."""

SAMPLED_FROM = 20_000
"""Rows from which on only a share of the runs of words is looked at, so that memory has a bound."""

Proxy = Callable[[ProxyLoss, list[Record], int], float]
"""Tunes the small model: (what the recipe says, the rows so far, the recipe's seed) -> loss on what is held out."""

_KEPT = "(s.filter = '' OR s.stage = 'lineage')"
"""A filter of whole lineages rejects once all rounds are over, so that no decision can know of it."""

_WORD = re.compile(r"\w+")


class Curve:
    """A run's signal, round by round.

    Args:
        recipe: the experiment, which has a stop.
        store: of the run.
        proxy: tunes a small model; None where that is not to be done, and then nothing is decided by one.
    """

    def __init__(self, recipe: Recipe, store: Store, proxy: Proxy | None = None) -> None:
        assert recipe.stop is not None
        self._recipe, self._stop, self._store, self._proxy = recipe, recipe.stop, store, proxy
        self.points = curve(store)

    @property
    def ended(self) -> bool:
        """Whether no further round begins."""
        return bool(self.points) and self.points[-1].decision != "continue"

    async def add(self) -> Point | None:
        """Measure the round after those that are decided, decide, and store that; None where it cannot be measured.

        Raises:
            EvolteacherError: the small model cannot be tuned.
        """
        round, stop = len(self.points) + 1, self._stop
        if isinstance(stop, ProxyLoss):
            if self._proxy is None:
                return None
            rows = list(_rows_until(self._store, round))
            # In a thread, so that the display goes on; nothing else of the run is going on between rounds.
            value: float | None = await asyncio.to_thread(self._proxy, stop, rows, self._recipe.seed) if rows else None
        else:
            value = measure(stop, self._store, round)
        point = decide(stop, self.points, value, self._recipe.rounds)
        self._store.set_meta(f"{CURVE}{round}", asdict(point))
        self.points.append(point)
        return point


def curve(store: Store) -> list[Point]:
    """Return what was measured and decided after each round; nothing for a run without a stop."""
    return sorted((Point(**found) for found in store.metas(CURVE).values()), key=lambda point: point.round)


def rounds_of(recipe: Recipe, store: Store) -> int:
    """Return the rounds that a run has: M, or those after which it was stopped."""
    points = curve(store) if recipe.stop is not None else []
    return points[-1].round if points and points[-1].decision == "stop" else recipe.rounds


def measure(stop: Stop, store: Store, round: int) -> float | None:
    """Return a signal's value after a round; None where there is nothing to measure."""
    if isinstance(stop, Acceptance):
        return acceptance(store, round)
    if isinstance(stop, Difficulty):
        return difficulty(store, round, stop.filter)
    assert isinstance(stop, Novelty)
    return novelty(store, round, stop.words)


def acceptance(store: Store, round: int) -> float | None:
    """Return the share of the round's evolutions that were kept."""
    query = f"SELECT count(*), total({_KEPT}) FROM steps s WHERE s.round = ?"
    tried, kept = store.query(query, (round,)).fetchone()
    return kept / tried if tried else None


def difficulty(store: Store, round: int, label: str) -> float | None:
    """Return by how much a filter scores kept evolutions above their parents, in the mean of those with both scores."""
    query = (
        "SELECT s.scores, parent.scores FROM steps s JOIN steps parent ON parent.ord = s.ord "
        f"AND parent.round = s.parent_round WHERE s.round = ? AND {_KEPT}"
    )
    pairs = ((json.loads(child), json.loads(parent)) for child, parent in store.query(query, (round,)))
    gains = [child[label] - parent[label] for child, parent in pairs if label in child and label in parent]
    return fsum(gains) / len(gains) if gains else None


def novelty(store: Store, round: int, words: int, sampled_from: int = SAMPLED_FROM) -> float | None:
    """Return the share of a row's runs of words that no earlier row has, in the mean of the round's rows.

    Of a large run every n-th run of words is looked at, by its hash, which estimates the same share (A. Broder, "On the
    resemblance and containment of documents", 1997); 8 bytes stand for each.
    """
    query = (
        "SELECT s.round, coalesce(s.child, seeds.text) FROM steps s JOIN seeds ON seeds.ord = s.ord "
        f"WHERE s.round <= ? AND {_KEPT} ORDER BY s.round, s.ord"
    )
    (rows,) = store.query(f"SELECT count(*) FROM steps s WHERE s.round <= ? AND {_KEPT}", (round,)).fetchone()
    every, known, shares = 1 + rows // sampled_from, set[int](), []
    for of, text in store.query(query, (round,)):
        runs = {found for found in _runs(text, words) if found % every == 0}
        if of == round and runs:
            shares.append(len(runs - known) / len(runs))
        known |= runs
    return fsum(shares) / len(shares) if shares else None


def _runs(text: str, size: int) -> Iterator[int]:
    words = _WORD.findall(text.casefold())
    for start in range(max(1, len(words) - size + 1)):
        run = " ".join(words[start : start + size]) or " ".join(text.split())
        yield int.from_bytes(blake2b(run.encode("utf-8"), digest_size=8).digest(), "big")


def _rows_until(store: Store, round: int) -> Iterator[Record]:
    return (record for record in records(store, dropped=True) if record.round <= round)
