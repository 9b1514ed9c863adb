"""The figures of a report: what is summed from a run's store for one table and one chart each. Reads only.

SQLite does the sums, so memory does not depend on the run's size.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from evolteacher.choice import trajectory
from evolteacher.history import rejections
from evolteacher.stopping import curve
from evolteacher.store import Store

BINS = 40
"""Into how many stretches the time of a run is cut."""

Row = tuple[str | float | None, ...]


@dataclass(frozen=True, slots=True)
class Figure:
    """A table, and how it is drawn.

    Attributes:
        name: tells it from the others; a word.
        title: what it shows.
        head: of the columns; the first one names the rows.
        rows: of the table; None is a gap. Where numbers name them, lines are drawn to their scale.
        kind: ``lines`` (a line a column over the rows), ``bars`` (a bar a column for each row), ``across`` (horizontal
            bars, one a row, the columns stacked), or ``intervals`` (a value and the ends of its interval, one a row).
        unit: of the values.
    """

    name: str
    title: str
    head: tuple[str, ...]
    rows: tuple[Row, ...]
    kind: str
    unit: str


def figures(store: Store) -> Iterator[Figure]:
    """Yield the figures of a run that have anything to show."""
    for figure in (
        _lengths(store),
        *_scores(store),
        _acceptance(store),
        _rejects(store),
        _latency(store),
        *_over_time(store),
        _shares(store),
        _stopping(store),
    ):
        if figure.rows and len(figure.head) > 1:
            yield figure


def _lengths(store: Store) -> Figure:
    query = (
        "SELECT round, length, number, total FROM (SELECT s.round, length(coalesce(s.child, seeds.text)) AS length, "
        "row_number() OVER (PARTITION BY s.round ORDER BY length(coalesce(s.child, seeds.text))) - 1 AS number, "
        "count(*) OVER (PARTITION BY s.round) AS total FROM steps s JOIN seeds ON seeds.ord = s.ord "
        "WHERE s.filter = '') WHERE number IN (total / 4, total / 2, total * 3 / 4) ORDER BY round, number"
    )
    found: dict[int, dict[int, int]] = {}
    for round, length, number, total in store.query(query):
        for column, place in enumerate((total // 4, total // 2, total * 3 // 4)):
            if number == place:
                found.setdefault(round, {})[column] = length
    rows = tuple((_round(round), quarters[0], quarters[1], quarters[2]) for round, quarters in found.items())
    head = ("round", "shortest quarter", "median", "longest quarter")
    return Figure("lengths", "Length of kept instructions by round", head, rows, "lines", "characters")


def _scores(store: Store) -> Iterator[Figure]:
    labels = [row[0] for row in store.query("SELECT DISTINCT key FROM steps, json_each(scores) ORDER BY key")]
    for number, label in enumerate(labels):
        rows = store.query(
            "SELECT round, avg(value), avg(CASE WHEN filter = '' THEN value END), count(*) "
            "FROM steps, json_each(scores) WHERE key = ? GROUP BY round ORDER BY round",
            (label,),
        )
        table = tuple((_round(round), every, kept) for round, every, kept, _ in rows)
        yield Figure(
            f"score-{number}", f"Mean {label} by round", ("round", "all", "kept"), table, "lines", f"score of {label}"
        )


def _acceptance(store: Store) -> Figure:
    query = (
        "SELECT s.operator, s.round, 100.0 * sum(s.filter = '' AND drops.filter IS NULL) / count(*) FROM steps s "
        "LEFT JOIN drops ON drops.ord = s.ord AND drops.round = s.round WHERE s.round > 0 GROUP BY 1, 2 ORDER BY 1, 2"
    )
    found: dict[str, dict[int, float]] = {}
    for operator, round, share in store.query(query):
        found.setdefault(operator, {})[round] = share
    rounds = sorted({round for shares in found.values() for round in shares})
    rows = tuple((name, *(shares.get(round) for round in rounds)) for name, shares in found.items())
    head = ("operator", *(f"round {round}" for round in rounds))
    return Figure("acceptance", "Kept, by operator and round", head, rows, "bars", "% of what was tried")


def _rejects(store: Store) -> Figure:
    found = rejections(store)
    rounds = sorted({round for numbers in found.values() for round in numbers})
    rows: list[Row] = [(name, *(numbers.get(round, 0) for round in rounds)) for name, numbers in found.items()]
    head = ("filter", *(_round(round) for round in rounds))
    return Figure("rejects", "Rejected, by filter and round", head, tuple(rows), "across", "rejections")


def _latency(store: Store) -> Figure:
    query = (
        "SELECT step, latency, number, total FROM (SELECT step, latency, "
        "row_number() OVER (PARTITION BY step ORDER BY latency) - 1 AS number, "
        "count(*) OVER (PARTITION BY step) AS total FROM replies WHERE NOT forked) "
        "WHERE number IN (total / 2, total * 95 / 100) ORDER BY step, number"
    )
    found: dict[str, list[float | None]] = {}
    for step, latency, number, total in store.query(query):
        at = found.setdefault(step, [None, None])
        for column, place in enumerate((total // 2, total * 95 // 100)):
            if number == place:
                at[column] = latency
    rows = tuple((step, at[0], at[1]) for step, at in found.items())
    return Figure("latency", "Latency by step", ("step", "median", "95 of 100"), rows, "bars", "seconds")


def _over_time(store: Store) -> Iterator[Figure]:
    """Cut the time from the first reply to the last into stretches: tokens a second, and what was paid by then."""
    first, last, paid = store.query("SELECT min(at), max(at), sum(cost) FROM replies WHERE NOT forked").fetchone()
    if first is None or last <= first:
        return
    width = (last - first) / BINS
    query = (
        "SELECT min(CAST((at - ?) / ? AS INTEGER), ?), sum(completion_tokens), total(cost) "
        "FROM replies WHERE NOT forked GROUP BY 1 ORDER BY 1"
    )
    found = {row[0]: row[1:] for row in store.query(query, (first, width, BINS - 1))}
    scale, unit = (60.0, "min") if last - first > 120 else (1.0, "s")
    speed: list[Row] = []
    costs: list[Row] = []
    sum_paid = 0.0
    for number in range(BINS):
        tokens, cost = found.get(number, (0, 0.0))
        sum_paid += cost
        until = (number + 1) * width / scale
        speed.append((until, tokens / width))
        costs.append((until, sum_paid))
    head = f"{unit} since the first reply"
    title = "Tokens generated a second, over time"
    yield Figure("speed", title, (head, "tokens a second"), tuple(speed), "lines", "tokens / s")
    if paid:
        yield Figure("cost", "Paid by then", (head, "paid"), tuple(costs), "lines", "US dollars")


def _shares(store: Store) -> Figure:
    blocks = trajectory(store)
    labels = tuple(blocks[0][1]["shares"]) if blocks else ()
    rows = tuple((str(block), *(100 * state["shares"][label] for label in labels)) for block, state in blocks)
    title = "Operator weights that the bandit chose, block by block"
    return Figure("shares", title, ("block", *labels), rows, "lines", "% of the draws")


def _stopping(store: Store) -> Figure:
    points = curve(store)
    words = {"continue": "", "stop": " (ends here)", "last": " (the last)"}
    rows = tuple((f"{_round(point.round)}{words[point.decision]}", point.value, point.best) for point in points)
    signal = points[0].signal if points else ""
    title = f"Evol stop: {signal} after each round"
    return Figure("stop", title, ("round", signal, "best so far"), rows, "lines", signal)


def _round(number: int) -> str:
    return "seeds" if number == 0 else f"round {number}"


def flow(store: Store) -> list[dict[str, Any]]:
    """Return a line for each round: how many were tried, and what became of them.

    Kept are the rows of the dataset, as everywhere. A seed that has no response is ``unanswered``: it evolves, and is
    no row. Those that a filter rejected, and the rows that a dataset filter dropped, are counted apart.
    """
    query = (
        "SELECT s.round, count(*), sum(s.filter = '' AND drops.filter IS NULL AND NOT unanswered), "
        "sum(s.filter != ''), sum(s.filter = '' AND drops.filter IS NOT NULL), "
        "sum(s.filter = '' AND drops.filter IS NULL AND unanswered) FROM (SELECT steps.*, "
        "respond_reply IS NULL AND NOT (round = 0 AND seeds.response IS NOT NULL) AS unanswered "
        "FROM steps JOIN seeds ON seeds.ord = steps.ord) s "
        "LEFT JOIN drops ON drops.ord = s.ord AND drops.round = s.round GROUP BY s.round ORDER BY s.round"
    )
    keys = ("round", "tried", "kept", "rejected", "dropped", "unanswered")
    return [dict(zip(keys, row, strict=True)) for row in store.query(query)]
