"""The lineages of a report: packed in chunks that a browser opens one by one, the texts within a size for each.

A chunk is JSON, gzipped (with no time in it, so that the same run gives the same bytes) and written in base64, which
no text can end or escape from. The tree holds every lineage with all its verdicts; what is sampled is packed besides,
with whole texts and every prompt and reply.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from evolteacher.fences import split_fences
from evolteacher.history import lineage
from evolteacher.published import public
from evolteacher.record import Lineage, Step, clean_text
from evolteacher.store import Store

CHUNK = 200
"""Lineages of a chunk of the tree."""

SAMPLE_CHUNK = 10
"""Sampled lineages of a chunk with prompts and replies."""

BYTES_EACH = 1_000
"""Bytes that a lineage may take in the tree, compressed and in base64, on the average of its chunk."""

_CUTS = (4_000, 2_000, 1_000, 500, 250, 120, 60, 30, 10)
"""Characters that are tried in turn as the most of each text, until a chunk is small enough."""

_CALLS = """
SELECT round, step, nth, outcome, text, finish_reason, model, prompt_tokens, completion_tokens, latency, cost, backend,
    prompt, forked
FROM replies WHERE lineage = ? ORDER BY round, id
"""

_SPENT = """
SELECT round, count(*), sum(prompt_tokens), sum(completion_tokens), sum(CASE WHEN forked THEN NULL ELSE cost END)
FROM replies WHERE lineage = ? GROUP BY round
"""


@dataclass(frozen=True, slots=True)
class Sample:
    """Which lineages come with their prompts and replies: every so many-th, so that the same ones are chosen again.

    Attributes:
        lineages: of the run.
        size: how many at most; None takes all.
    """

    lineages: int
    size: int | None

    @property
    def every(self) -> int:
        """The distance from one sampled lineage to the next."""
        return 1 if self.size is None else max(1, -(-self.lineages // max(self.size, 1)))

    def __iter__(self) -> Iterator[int]:
        """Yield the places of the sampled lineages."""
        return iter(range(0, self.lineages if self.size != 0 else 0, self.every))


def tree_chunks(store: Store, lineages: int) -> Iterator[str]:
    """Yield the tree, :data:`CHUNK` lineages at a time, each chunk within :data:`BYTES_EACH` for a lineage."""
    for orders in _batches(range(lineages), CHUNK):
        entries = [_entry(store, order) for order in orders]
        for most in _CUTS:
            packed = pack([_cut(entry, most) for entry in entries])
            if len(packed) <= BYTES_EACH * len(orders):
                break
        yield packed


def sample_chunks(store: Store, sample: Sample) -> Iterator[str]:
    """Yield the sampled lineages, :data:`SAMPLE_CHUNK` at a time, with whole texts and each call."""
    for orders in _batches(sample, SAMPLE_CHUNK):
        yield pack([_whole(store, order) for order in orders])


def pack(value: Any) -> str:
    """Return a value as JSON, gzipped, in base64."""
    plain = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return base64.b64encode(gzip.compress(clean_text(plain)[0].encode("utf-8"), mtime=0)).decode("ascii")


def _batches(orders: Iterable[int], size: int) -> Iterator[list[int]]:
    rest = iter(orders)
    while batch := list(islice(rest, size)):
        yield batch


def _entry(store: Store, order: int) -> dict[str, Any]:
    found = lineage(store, order)
    spent = {row[0]: row[1:] for row in store.query(_SPENT, (bytes.fromhex(found.id),))}
    steps = [_step(found, number, spent) for number in range(len(found.steps))]
    return {"id": found.id, "seed": found.seed.instruction.text, "pending": found.pending, "steps": steps}


def _step(found: Lineage, number: int, spent: dict[int, tuple[Any, ...]]) -> dict[str, Any]:
    """Describe a step; what is empty or plain from the others is left out, since it comes 40,000 times."""
    step = found.steps[number]
    calls, prompt, completion, cost = spent.get(step.round, (0, 0, 0, None))
    text = step.evolution.child.text if step.evolution is not None else step.raw
    described = {
        "round": step.round,
        "op": step.operator,
        "from": _parent(found, number),
        "text": text if step.round else None,
        "unread": step.evolution is None,
        "stage": step.verdict.stage,
        "filter": step.verdict.filter,
        "why": step.verdict.reason,
        "scores": {label: round(score, 3) for label, score in step.scores.items()},
        "lang": _language(step),
        "row": step.verdict.kept and step.response is not None,
        "calls": calls,
        "tokens": prompt + completion,
        "cost": cost,
    }
    return {key: value for key, value in described.items() if value or key == "round"}


def _parent(found: Lineage, number: int) -> int:
    """Return the place among the steps of the one that was rewritten: the latest kept one with the parent's text."""
    wanted = found.steps[number].parent.text
    for before in range(number - 1, 0, -1):
        step = found.steps[before]
        if step.evolution is not None and step.verdict.stage != "evolve" and step.evolution.child.text == wanted:
            return before
    return 0


def _language(step: Step) -> str:
    """Return the language that the response's first fenced block names; empty where none does."""
    blocks = split_fences(step.response or "")[1]
    return next((block.language[:24] for block in blocks if block.language), "")


def _cut(entry: dict[str, Any], most: int) -> dict[str, Any]:
    steps = []
    for step in entry["steps"]:
        short = {**step, **{key: _shorter(step[key], limit) for key, limit in _limits(most) if key in step}}
        if "scores" in step and most < 60:
            del short["scores"]
        steps.append(short)
    return {**entry, "seed": _shorter(entry["seed"], most), "steps": steps}


def _limits(most: int) -> tuple[tuple[str, int], ...]:
    return ("text", most), ("why", min(most, 300))


def _shorter(text: str | None, most: int) -> str | None:
    """Cut a text, and end it with a character that tells so."""
    return text if text is None or len(text) <= most else text[:most] + "\u2026"


def _whole(store: Store, order: int) -> dict[str, Any]:
    found = lineage(store, order)
    texts = [
        {
            "text": step.evolution.child.text if step.evolution is not None else step.raw,
            "why": step.verdict.reason,
            "response": step.response,
            "original": step.original,
            "repaired": step.repaired_by,
        }
        for step in found.steps
    ]
    calls = [_call(row) for row in store.query(_CALLS, (bytes.fromhex(found.id),))]
    seed = found.seed
    about = {"source": seed.source, "licence": seed.licence, "seed": seed.instruction.text, "given": seed.response}
    return {"ord": order, **about, "steps": texts, "calls": calls}


def _call(row: tuple[Any, ...]) -> dict[str, Any]:
    keys = "round step nth outcome text finish model prompt_tokens completion_tokens latency cost backend".split()
    call = dict(zip(keys, row, strict=False))
    return {**call, "model": public(call["model"]), "messages": json.loads(row[12]), "forked": bool(row[13])}
