"""A run as its folder tells it: records in output order, lineages, and sums. Reads only."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from evolteacher.messages import NO_REPLY, Reply, Usage
from evolteacher.record import Evolution, Instruction, Lineage, Record, Seed, Stage, Step, Verdict
from evolteacher.rights import Authors
from evolteacher.store import REPLY, Store

_TEXTS = """
SELECT s.round, s.ord, s.operator, s.depth, s.stage, s.filter, s.reason,
    coalesce(s.child, CASE s.round WHEN 0 THEN seeds.text END) AS child,
    coalesce(parent.child, seeds.text) AS parent, seeds.id, seeds.response, seeds.source, seeds.licence,
    e.outcome, e.text, e.finish_reason, e.model, e.prompt_tokens, e.completion_tokens, e.latency, e.cost,
    r.outcome, r.text, r.finish_reason, r.model, r.prompt_tokens, r.completion_tokens, r.latency, r.cost,
    drops.filter, drops.reason, s.scores, s.response, s.repaired_by, seed_terms.terms
FROM steps s
JOIN seeds ON seeds.ord = s.ord
LEFT JOIN seed_terms ON seed_terms.ord = s.ord
LEFT JOIN steps parent ON parent.ord = s.ord AND parent.round = s.parent_round AND s.parent_round > 0
LEFT JOIN replies e ON e.id = s.evolve_reply
LEFT JOIN replies r ON r.id = s.respond_reply
LEFT JOIN drops ON drops.ord = s.ord AND drops.round = s.round
"""


def _reply(row: tuple[Any, ...]) -> Reply:
    """Build a reply from (outcome, text, finish_reason, model, prompt and completion tokens, latency, cost)."""
    if row[0] is None:
        return NO_REPLY
    return Reply(row[1], Usage(row[4], row[5]), row[2], row[3], row[6], row[7])


def _step(row: tuple[Any, ...]) -> Step:
    round, operator, depth = row[0], row[2], row[3]
    evolved, responded = _reply(row[13:21]), _reply(row[21:29])
    parent = Instruction(row[8])
    evolution = None
    if row[7] is not None:
        evolution = Evolution(parent, Instruction(row[7]), operator, round, evolved, (), depth)
    stage: Stage = row[4]
    verdict = Verdict("dataset", row[29], row[30]) if row[29] is not None and not row[5] else Verdict(stage, *row[5:7])
    response = row[22] if row[21] == REPLY else (row[10] if round == 0 and row[21] is None else None)
    raw = evolved.text if evolution is None else ""
    repair, repaired_by = row[32:34]
    response, original = (response, None) if repair is None else (repair, response)
    return Step(
        operator,
        round,
        parent,
        verdict,
        evolution,
        response,
        raw,
        responded,
        json.loads(row[31]),
        original,
        repaired_by,
    )


def records(store: Store, round: int | None = None, *, dropped: bool = False) -> Iterator[Record]:
    """Stream the training examples: round 0 first, each round in seed order.

    Args:
        store: the run's.
        round: only this round's.
        dropped: whether those that a dataset filter dropped are included.
    """
    authors = Authors(store)
    texts = _TEXTS.replace("\nFROM steps s", f", {authors.column}\nFROM steps s", 1)
    query = (
        f"{texts} WHERE s.filter = '' AND (? OR drops.filter IS NULL) {'AND s.round = ?' if round is not None else ''}"
    )
    values: tuple[Any, ...] = (dropped,) if round is None else (dropped, round)
    for row in store.query(f"{query} ORDER BY s.round, s.ord", values):
        step = _step(row)
        if step.evolution is not None and step.response is not None:
            yield Record(
                step.evolution, step.response, step.reply, row[9].hex(), row[1], row[11], row[12], step.scores,
                authors.terms(row[34], row[35]),
            )  # fmt: skip


def unanswered(store: Store) -> Iterator[Seed]:
    """Stream the seeds that evolved, or might have, and are no rows since they have no response, in seed order."""
    query = (
        "SELECT seeds.text, seeds.source, seeds.licence, coalesce(seed_terms.terms, '') "
        "FROM steps s JOIN seeds ON seeds.ord = s.ord "
        "LEFT JOIN seed_terms ON seed_terms.ord = s.ord WHERE s.round = 0 AND s.filter = '' "
        "AND seeds.response IS NULL AND s.respond_reply IS NULL ORDER BY s.ord"
    )
    for text, source, licence, terms in store.query(query):
        yield Seed(Instruction(text), None, source, licence, terms)


def rejected(
    store: Store, filter: str, round: int | None = None, *, limit: int, skip: int = 0
) -> list[tuple[int, Step]]:
    """Return what one filter (or an outcome such as ``unreadable``) rejected, in output order.

    Args:
        store: the run's.
        filter: its label; a dataset filter's too.
        round: only this round's.
        limit: how many at most.
        skip: how many to leave out at the beginning.

    Returns:
        The place of the lineage, and the step.
    """
    of_round = "AND s.round = ?" if round is not None else ""
    query = f"{_TEXTS} WHERE CASE WHEN s.filter != '' THEN s.filter ELSE drops.filter END = ? {of_round}"
    values = (filter, *((round,) if round is not None else ()), limit, skip)
    rows = store.query(f"{query} ORDER BY s.round, s.ord LIMIT ? OFFSET ?", values)
    return [(row[1], _step(row)) for row in rows]


def rejections(store: Store) -> dict[str, dict[int, int]]:
    """Return how often each filter and outcome rejected, by round; the one that rejected most comes first."""
    found: dict[str, dict[int, int]] = {}
    rows = store.query(
        "SELECT filter, round, count(*) FROM (SELECT filter, round FROM steps WHERE filter != '' "
        "UNION ALL SELECT filter, round FROM drops) GROUP BY filter, round ORDER BY filter, round"
    )
    for filter, round, number in rows:
        found.setdefault(filter, {})[round] = number
    return dict(sorted(found.items(), key=lambda item: -sum(item[1].values())))


def lineage(store: Store, order: int) -> Lineage:
    """Return one lineage with every step, kept or rejected."""
    text, *rest = store.query(
        "SELECT text, response, source, licence, coalesce(terms, '') FROM seeds "
        "LEFT JOIN seed_terms ON seed_terms.ord = seeds.ord WHERE seeds.ord = ?",
        (order,),
    ).fetchone()
    steps = tuple(_step(row) for row in store.query(f"{_TEXTS} WHERE s.ord = ? ORDER BY s.round", (order,)))
    found = store.query("SELECT pending FROM lineages WHERE ord = ?", (order,)).fetchone()
    pending = "not started" if found is None else str(found[0])
    return Lineage(Seed(Instruction(text), *rest), order, steps, pending)


@dataclass(frozen=True)
class Summary:
    """The sums of a run.

    Attributes:
        seeds: unique seeds taken in.
        answered: seeds that have a response of the source's own.
        lineages: lineages that are finished.
        kept: rows of the dataset by round, after dataset filters.
        rejected: evolutions rejected, by round.
        filters: (stage, filter) -> rejections; dataset filters have the stage ``dataset``.
        operators: operator -> (tried, kept), kept after dataset filters, too.
        calls: outcomes stored, by backend key and model -> (calls, prompt tokens, completion tokens).
        forked: outcomes that were taken from another run.
        latency: seconds that backends took for all calls together.
        cost: US dollars paid by this folder, None where no price is known.
        forked_cost: US dollars that the other run paid for what was taken from it, None where no price is known.
        round_costs: round -> US dollars paid by this folder; rounds of which no price is known are left out.
        repaired: labels of the filters that repaired responses -> rows of the dataset.
        results: that were worked out without an LLM, those of another run left out.
        results_forked: that were taken from another run.
        results_seconds: that working them out took, together.
        unknown: calls without a reply that may have been billed.
        unknown_cost: US dollars that those count for, each at its worst case.
    """

    seeds: int
    answered: int
    lineages: int
    kept: dict[int, int]
    rejected: dict[int, int]
    filters: dict[tuple[str, str], int]
    operators: dict[str, tuple[int, int]]
    calls: dict[tuple[str, str], tuple[int, int, int]] = field(default_factory=dict)
    forked: int = 0
    latency: float = 0.0
    cost: float | None = None
    forked_cost: float | None = None
    round_costs: dict[int, float] = field(default_factory=dict)
    repaired: dict[str, int] = field(default_factory=dict)
    results: int = 0
    results_forked: int = 0
    results_seconds: float = 0.0
    unknown: int = 0
    unknown_cost: float = 0.0

    @property
    def records(self) -> int:
        """Rows of the dataset."""
        return sum(self.kept.values())

    @property
    def pending(self) -> int:
        """Lineages that are not finished."""
        return self.seeds - self.lineages


def summarise(store: Store, limit: int | None = None) -> Summary:
    """Sum a run up from its store.

    Args:
        store: the run's.
        limit: how many of the stored seeds belong to the run; all when None.
    """
    held = store.seed_count()
    seeds = held if limit is None else min(limit, held)
    one = store.query
    kept = one(
        "SELECT s.round, count(*) FROM steps s JOIN seeds ON seeds.ord = s.ord "
        "LEFT JOIN drops ON drops.ord = s.ord AND drops.round = s.round "
        "WHERE s.filter = '' AND drops.filter IS NULL "
        "AND (s.respond_reply IS NOT NULL OR (s.round = 0 AND seeds.response IS NOT NULL)) "
        "GROUP BY s.round ORDER BY s.round"
    )
    rejected = one("SELECT round, count(*) FROM steps WHERE filter != '' GROUP BY round ORDER BY round")
    filters = one(
        "SELECT stage, filter, count(*) FROM steps WHERE filter != '' GROUP BY stage, filter UNION ALL "
        "SELECT 'dataset', filter, count(*) FROM drops GROUP BY filter ORDER BY 3 DESC, 1, 2"
    )
    operators = one(
        "SELECT s.operator, count(*), sum(s.filter = '' AND drops.filter IS NULL) FROM steps s "
        "LEFT JOIN drops ON drops.ord = s.ord AND drops.round = s.round "
        "WHERE s.round > 0 GROUP BY s.operator ORDER BY s.operator"
    )
    calls = one(
        "SELECT backend, model, count(*), sum(prompt_tokens), sum(completion_tokens) FROM replies WHERE NOT forked "
        "GROUP BY backend, model ORDER BY 3 DESC, 1, 2"
    )
    paid = one("SELECT total(latency), sum(cost) FROM replies WHERE NOT forked").fetchone()
    forked = one("SELECT count(*), sum(cost) FROM replies WHERE forked").fetchone()
    unknown = one("SELECT count(*), total(usd) FROM charges").fetchone()
    repaired = one(
        "SELECT s.repaired_by, count(*) FROM steps s LEFT JOIN drops ON drops.ord = s.ord AND drops.round = s.round "
        "WHERE s.filter = '' AND drops.filter IS NULL AND s.response IS NOT NULL "
        "GROUP BY s.repaired_by ORDER BY 2 DESC, 1"
    )
    results = one("SELECT total(NOT forked), total(forked), total(seconds) FROM results").fetchone()
    costs = one(
        "SELECT round, sum(cost) FROM replies WHERE NOT forked AND cost IS NOT NULL GROUP BY round ORDER BY round"
    )
    return Summary(
        seeds=seeds,
        answered=one("SELECT count(*) FROM seeds WHERE response IS NOT NULL").fetchone()[0],
        lineages=one("SELECT count(*) FROM lineages WHERE pending = ''").fetchone()[0],
        kept=dict(kept.fetchall()),
        rejected=dict(rejected.fetchall()),
        filters={(row[0], row[1]): row[2] for row in filters},
        operators={row[0]: (row[1], row[2]) for row in operators},
        calls={(row[0], row[1]): (row[2], row[3], row[4]) for row in calls},
        forked=forked[0],
        latency=paid[0],
        cost=paid[1],
        forked_cost=forked[1],
        round_costs=dict(costs.fetchall()),
        repaired=dict(repaired.fetchall()),
        results=int(results[0]),
        results_forked=int(results[1]),
        results_seconds=results[2],
        unknown=unknown[0],
        unknown_cost=unknown[1],
    )
