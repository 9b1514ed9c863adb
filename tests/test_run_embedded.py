"""A whole run on a real model: quickstart, with SmolLM2 (98 MB, fetched once into the user's cache) in its place.

SmolLM2 is too small to rewrite tasks well, so nothing here depends on what is kept.
"""

import asyncio
import json
import sqlite3
from contextlib import closing

import pytest

from evolteacher.progress import Progress
from evolteacher.recipe import Recipe
from evolteacher.runner import arun

MODEL = "smollm2-135m-instruct"
CHANGES = ["seeds.limit=3", "sampling.evolve.max_tokens=48", "sampling.respond.max_tokens=32", "concurrency=3"]


def read(folder, query):
    with closing(sqlite3.connect(folder / "run.db")) as db:
        return db.execute(query).fetchall()


async def test_quickstart_on_smollm2_is_interrupted_and_goes_on(tmp_path):
    recipe = Recipe.load("quickstart", set=CHANGES, backend=f"embedded:{MODEL}")
    progress = Progress()
    cut = asyncio.create_task(arun(recipe, tmp_path, progress=progress))
    while not progress.calls:
        await asyncio.sleep(0.01)
    cut.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cut
    stored = read(tmp_path, "SELECT text FROM replies ORDER BY id")
    assert 1 <= len(stored) < 6  # each of three lineages evolves twice

    result = await arun(recipe, tmp_path)
    assert (result.pending, result.replayed) == (0, len(stored))
    replies = read(
        tmp_path, "SELECT text, model, outcome, finish_reason, prompt_tokens, completion_tokens FROM replies"
    )
    assert [row[:1] for row in replies][: len(stored)] == stored
    assert len(replies) == result.replayed + result.calls >= 6
    for text, model, outcome, finish_reason, prompt, completion in replies:
        assert text.strip()
        assert (model, outcome) == (MODEL, "reply")
        assert finish_reason in ("stop", "length")
        assert prompt > 10
        assert 1 <= completion <= 48

    steps = read(tmp_path, "SELECT round, stage, filter, reason, child, respond_reply FROM steps ORDER BY ord, round")
    assert [step[0] for step in steps] == [0, 1, 2] * 3
    for round, stage, rejected_by, reason, child, answer in steps:
        assert bool(rejected_by) == bool(reason)
        assert rejected_by or stage == ("response" if round else "seed")
        assert rejected_by or not round or (child and answer)
    rows = json.loads((tmp_path / "dataset.json").read_text())
    assert len(rows) == result.records == sum(not step[2] for step in steps) >= 3
    assert all(set(row) == {"instruction", "output"} and all(row.values()) for row in rows)

    before = (tmp_path / "dataset.jsonl").read_bytes()
    again = await arun(recipe, tmp_path)
    assert (again.calls, again.replayed) == (0, len(replies))
    assert (tmp_path / "dataset.jsonl").read_bytes() == before
