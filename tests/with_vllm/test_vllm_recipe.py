"""The recipe wizardcoder-vllm on vLLM itself, with a tiny checkpoint in the place of its model."""

import sqlite3
from contextlib import closing

import pytest

import evolteacher as et
from evolteacher.recipe import Recipe
from evolteacher.shipped import shipped_folder

pytest.importorskip("vllm", reason="vllm is not installed")

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.timeout(900),
    # torch announces to vLLM's authors what will change for them.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def test_wizardcoder_vllm_runs_to_its_end_on_a_small_checkpoint(checkpoint, tmp_path):
    """One engine answers all three roles, resumes without a call, and is gone at the end."""
    small = {"dtype": "float32", "enforce_eager": True, "kv_cache_memory_bytes": 1 << 28}
    changes = [
        f"backends.evolve.vllm.model={checkpoint}",
        *(f"backends.evolve.vllm.{name}={value}" for name, value in small.items()),
        f"seeds.path={shipped_folder() / 'seeds' / 'quickstart.jsonl'}",
        "rounds=1",
        "concurrency=4",
        "sampling.max_tokens=24",
    ]
    recipe = Recipe.load("wizardcoder-vllm", set=changes)
    result = et.run(recipe, tmp_path / "run", limit=3)
    assert (result.pending, result.summary.seeds, result.summary.kept[0]) == (0, 3, 3)
    with closing(sqlite3.connect(tmp_path / "run" / "run.db")) as db:
        steps = dict(db.execute("SELECT step, count(*) FROM replies GROUP BY step"))
        (tokens,) = db.execute("SELECT min(completion_tokens) FROM replies WHERE outcome = 'reply'").fetchone()
    assert steps["evolve"] == 3 and tokens > 0
    assert et.run(recipe, tmp_path / "run", limit=3).calls == 0
