"""Filters of duplicates on made-up texts: time, memory, what of the planted is found, and what is wrongly accused.

    python tests/benchmarks/duplicates.py                   near-duplicates and datasketch, 20,000 and 200,000 texts
    python tests/benchmarks/duplicates.py --methods semantic-duplicates --rows 20000
    python tests/benchmarks/duplicates.py --pairs tests/data/paraphrases.jsonl

Texts are some 30 words long, of a vocabulary of 5,000 made-up words in Zipf's proportions; every tenth is an earlier
one with its last word changed: as similar as 0.92 or more by shingles of three words. Each measurement has a process of
its own, and all of one size follow each other, so that their ratios hold on a busy machine, too. Seconds are of the
clock, and of the process on all cores (CPU); memory is the peak above what the texts themselves take. datasketch is
left out where it is not installed.

--pairs measures the likeness of pairs of tasks: at each threshold, how many of those with one meaning reach it, and how
many of those with another.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import time
from collections.abc import Iterable
from itertools import accumulate
from pathlib import Path

import evolteacher as et
from evolteacher_plugins.alike import Item, Likeness
from evolteacher_plugins.duplicates import NearDuplicates, SemanticDuplicates
from evolteacher_plugins.meaning import ByMeaning
from evolteacher_plugins.shingles import PERMUTATIONS, ByWords, shingles_of

THRESHOLD = 0.8
STEPS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95)


def texts_of(count: int) -> tuple[list[str], set[int]]:
    """Return texts, and the places of those that were planted."""
    rng = random.Random(1)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(3, 9))) for _ in range(5_000)]
    weights = list(accumulate(1 / rank for rank in range(1, len(words) + 1)))
    texts: list[str] = []
    planted: set[int] = set()
    for place in range(count):
        if place % 10 == 9:
            changed = texts[rng.randrange(place - 9, place) if place > 9 else 0].split()
            changed[-1] = rng.choice(words)
            planted.add(place)
            texts.append(" ".join(changed))
        else:
            texts.append(" ".join(rng.choices(words, cum_weights=weights, k=rng.randint(25, 35))))
    return texts, planted


def records_of(texts: Iterable[str]) -> list[et.Record]:
    """Return rows with these instructions."""
    return [
        et.Record(et.Evolution.of_seed(et.Instruction(text)), "", lineage=f"{place:032x}", order=place)
        for place, text in enumerate(texts)
    ]


def by_filter(filter: et.DatasetFilter, records: list[et.Record]) -> set[int]:
    """Return the places of what a filter drops."""
    return {int(id.partition("/")[0], 16) for id, _ in filter.compare(records, ())}


def by_datasketch(records: list[et.Record]) -> set[int]:
    """Do as near-duplicates does, with datasketch."""
    from datasketch import MinHash, MinHashLSH

    index, kept, dropped = MinHashLSH(threshold=THRESHOLD, num_perm=PERMUTATIONS), {}, set()
    for place, record in enumerate(records):
        sketch = MinHash(num_perm=PERMUTATIONS)
        sketch.update_batch([shingle.encode() for shingle in shingles_of(record.instruction.text, 3)])
        if any(sketch.jaccard(kept[other]) >= THRESHOLD for other in index.query(sketch)):
            dropped.add(place)
            continue
        index.insert(place, sketch)
        kept[place] = sketch
    return dropped


METHODS = {
    "near-duplicates": lambda records: by_filter(NearDuplicates(threshold=THRESHOLD), records),
    "semantic-duplicates": lambda records: by_filter(SemanticDuplicates(), records),
    "datasketch": by_datasketch,
}


def measure(method: str, count: int) -> str:
    """Measure in this process; return a line of the table."""
    METHODS[method](records_of(["warm up", "the imports"]))
    texts, planted = texts_of(count)
    records = records_of(texts)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    clock, processor = time.perf_counter(), time.process_time()
    dropped = METHODS[method](records)
    processor, clock = time.process_time() - processor, time.perf_counter() - clock
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / (1024 if sys.platform == "linux" else 1e6)
    return (
        f"{method:20} {count:8,} {clock:8.2f} {processor:8.2f} {memory:8.0f} "
        f"{len(dropped & planted):7,} of {len(planted):,} {len(dropped - planted):7,}"
    )


def likeness_of_pairs(path: Path) -> None:
    """Print what each measure says of labelled pairs."""
    pairs = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    labels = [pair["same"] for pair in pairs]
    print(f"{sum(labels)} pairs of one meaning, {len(labels) - sum(labels)} of another that differ in a word or two")
    print(f"{'at least':20} " + " ".join(f"{step:>7}" for step in STEPS))
    measures: dict[str, Likeness] = {
        "words, shingle 1": ByWords(1e-9, 1),
        "words, shingle 3": ByWords(1e-9, 3),
        "meaning": ByMeaning(1e-9, "this benchmark"),
    }
    for name, blank in measures.items():
        found = []
        for pair in pairs:
            fresh = type(blank)(1e-9, {"words, shingle 1": 1, "words, shingle 3": 3}.get(name, "this benchmark"))
            (_, match) = list(fresh.walk([Item("", "", pair["one"], known=True), Item("", "", pair["other"])]))[1]
            found.append(match.likeness if match is not None else 0.0)
        cells = []
        for step in STEPS:
            hits = [one >= step for one in found]
            same = sum(hit for hit, label in zip(hits, labels, strict=True) if label)
            cells.append(f"{f'{same}/{sum(hits) - same}':>7}")
        print(f"{name:20} " + " ".join(cells))


def main() -> None:
    """Measure what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[20_000, 200_000])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=["near-duplicates", "datasketch"])
    parser.add_argument("--pairs", type=Path)
    parser.add_argument("--here", action="store_true", help="measure in this process")
    options = parser.parse_args()
    if options.pairs is not None:
        likeness_of_pairs(options.pairs)
        return
    if options.here:
        print(measure(options.methods[0], options.rows[0]))
        return
    print(f"{'method':20} {'rows':>8} {'clock s':>8} {'CPU s':>8} {'MB':>8} {'planted, found':>14} {'other':>7}")
    for count in options.rows:
        for method in options.methods:
            words = [sys.executable, __file__, "--here", "--methods", method, "--rows", str(count)]
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            print(done.stdout.rstrip() or f"{method:20} {count:8,} {done.stderr.strip().splitlines()[-1]}", flush=True)


if __name__ == "__main__":
    main()
