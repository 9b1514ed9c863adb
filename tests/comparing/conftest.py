"""A tiny model, and datasets that it can learn: the answer is one letter, which hangs on the first word of the task."""

import json

import pytest
from tiny_model import write_model, write_recipe

from evolteacher.dataset import PROVENANCE
from evolteacher.record import text_id

WORDS = {"aaaa": "x", "bbbb": "y"}


def row(number, answers, version=0):
    """Return a row of lineage `number`; its task names it, and each version is longer by a word."""
    word = sorted(WORDS)[number % 2]
    seed = f"{word} {number:03}"
    return {
        **dict.fromkeys(PROVENANCE), "depth": version, "round": version, "lineage": text_id(seed),
        "instruction": seed + " more" * version, "output": answers[word],
    }  # fmt: skip


def write(path, rows):
    path.write_text("".join(json.dumps(one) + "\n" for one in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="package")
def place(tmp_path_factory):
    """A folder with a recipe, and with datasets of 40 lineages.

    seeds.jsonl; turned.jsonl, the same rows in another order; evolved.jsonl, two longer versions of each; wrong.jsonl,
    the same tasks with the other answer; apart.jsonl, other lineages.
    """
    folder = tmp_path_factory.mktemp("compare")
    swapped = {"aaaa": "y", "bbbb": "x"}
    seeds = [row(number, WORDS) for number in range(40)]
    write(folder / "seeds.jsonl", seeds)
    write(folder / "turned.jsonl", seeds[::-1])
    write(folder / "evolved.jsonl", [row(number, WORDS, version) for number in range(40) for version in (1, 2)])
    write(folder / "wrong.jsonl", [row(number, swapped) for number in range(40)])
    write(folder / "apart.jsonl", [row(number, WORDS) for number in range(100, 140)])
    arguments = {"learning_rate": 0.01, "num_train_epochs": 12, "logging_steps": 50}
    write_recipe(folder / "tiny.yaml", write_model(folder / "model"), "seeds.jsonl", arguments)
    return folder
