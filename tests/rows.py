"""What the tests of filters on the whole dataset share: rows, texts, and what is dropped of them."""

from hypothesis import strategies as st

import evolteacher as et

WORDS = [
    "sort", "list", "graph", "shortest", "path", "in", "the", "a", "of", "string", "reverse", "matrix", "prime", "file",
    "parse", "count", "integers", "python", "without", "recursion", "binary", "tree", "node", "queue", "hash", "table",
]  # fmt: skip
TEXTS = st.lists(st.sampled_from(WORDS), max_size=7).map(" ".join)
TASK = "Write a function that returns the longest word of a sentence, and the first of them if several are as long."
OTHER = "Draw a bar chart of monthly rainfall with labels on both axes, from a CSV file that the user names."


def row(text, order=0, round=0, response="def f(): ...", lineage=None, **scores):
    parent = et.Instruction(f"the parent of {text}")
    made = et.Evolution(parent, et.Instruction(text), "harder", round) if round else et.Evolution.of_seed(
        et.Instruction(text)
    )  # fmt: skip
    return et.Record(made, response, lineage=lineage or f"{order:032x}", order=order, source="a.jsonl:1", scores=scores)


def dropped(filter, rows, seeds=()):
    return dict(filter.compare(iter(rows), iter(seeds)))
