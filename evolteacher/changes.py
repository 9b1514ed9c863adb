"""What a rewriting of a run's derived rows changed: two snapshots of all verdicts, compared in SQL."""

from __future__ import annotations

from dataclasses import dataclass

from evolteacher.store import Store

_VERDICTS = """
SELECT s.round, s.ord, s.operator, coalesce(s.child, CASE s.round WHEN 0 THEN seeds.text END) AS child,
    s.evolve_reply, s.respond_reply, s.response,
    CASE WHEN s.filter != '' THEN s.filter ELSE coalesce(drops.filter, '') END AS filter,
    CASE WHEN s.filter != '' THEN s.reason ELSE coalesce(drops.reason, '') END AS reason,
    s.filter = '' AND drops.filter IS NULL
        AND (s.respond_reply IS NOT NULL OR (s.round = 0 AND seeds.response IS NOT NULL)) AS row
FROM steps s JOIN seeds ON seeds.ord = s.ord LEFT JOIN drops ON drops.ord = s.ord AND drops.round = s.round
"""

_GAINED = """
FROM temp.{new} AS new LEFT JOIN temp.{old} AS old ON old.ord = new.ord AND old.round = new.round
WHERE new.row AND NOT (
    coalesce(old.row, 0) AND old.child IS new.child AND old.respond_reply IS new.respond_reply
    AND old.response IS new.response)
"""


@dataclass(frozen=True)
class Change:
    """A row that the dataset has gained or lost.

    Attributes:
        round: in which it was made.
        order: of its lineage.
        operator: that made it.
        instruction: its text.
        filter: that rejects it now (of a lost row), or did before (of a gained one); empty where none does: its lineage
            ends before, or is pending, or has another text there.
        reason: of that filter; empty where none.
    """

    round: int
    order: int
    operator: str
    instruction: str
    filter: str
    reason: str


@dataclass(frozen=True)
class Changes:
    """What is different, before and after.

    Attributes:
        kept: round -> rows of the dataset.
        rejected: (filter, round) -> rejections; dataset filters and outcomes such as ``unreadable`` included.
        lineages: that have another step or verdict than before.
        gained: rows that are new in the dataset.
        lost: rows that are no longer in it.
        examples_gained: the first of them, in output order.
        examples_lost: the first of those.
    """

    kept: dict[int, tuple[int, int]]
    rejected: dict[tuple[str, int], tuple[int, int]]
    lineages: int
    gained: int
    lost: int
    examples_gained: tuple[Change, ...] = ()
    examples_lost: tuple[Change, ...] = ()


def snapshot(store: Store, name: str) -> None:
    """Keep all verdicts as they are now in a temporary table, which is gone with the connection."""
    store.write(f"DROP TABLE IF EXISTS temp.{name}")
    store.write(f"CREATE TEMP TABLE {name} AS {_VERDICTS}")
    store.write(f"CREATE INDEX temp.{name}_place ON {name} (ord, round)")


def compare(store: Store, before: str, after: str, examples: int) -> Changes:
    """Compare two snapshots.

    Args:
        store: in which they were taken.
        before: the name of the first.
        after: the name of the second.
        examples: most rows gained, and most rows lost, to give as examples.
    """
    rejected = "SELECT filter, round, count(*) FROM temp.{} WHERE filter != '' GROUP BY filter, round"
    kept = "SELECT round, sum(row) FROM temp.{} GROUP BY round"
    old_kept, new_kept = (dict(store.query(kept.format(name)).fetchall()) for name in (before, after))
    old, new = ({(row[0], row[1]): row[2] for row in store.query(rejected.format(name))} for name in (before, after))
    differ = (
        "SELECT count(DISTINCT ord) FROM (SELECT * FROM (SELECT * FROM temp.{0} EXCEPT SELECT * FROM temp.{1}) "
        "UNION ALL SELECT * FROM (SELECT * FROM temp.{1} EXCEPT SELECT * FROM temp.{0}))"
    )
    gained, lost = _GAINED.format(new=after, old=before), _GAINED.format(new=before, old=after)
    return Changes(
        kept={n: (old_kept.get(n, 0), new_kept.get(n, 0)) for n in sorted({*old_kept, *new_kept})},
        rejected={key: (old.get(key, 0), new.get(key, 0)) for key in sorted({*old, *new})},
        lineages=store.query(differ.format(before, after)).fetchone()[0],
        gained=store.query(f"SELECT count(*) {gained}").fetchone()[0],
        lost=store.query(f"SELECT count(*) {lost}").fetchone()[0],
        examples_gained=_examples(store, gained, examples),
        examples_lost=_examples(store, lost, examples),
    )


def _examples(store: Store, rows: str, most: int) -> tuple[Change, ...]:
    columns = "new.round, new.ord, new.operator, new.child, coalesce(old.filter, ''), coalesce(old.reason, '')"
    found = store.query(f"SELECT {columns} {rows} ORDER BY new.round, new.ord LIMIT ?", (most,))
    return tuple(Change(*row) for row in found)
