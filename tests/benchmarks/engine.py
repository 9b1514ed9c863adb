"""How fast the engine and its replay are, and how much memory they take, over the scripted backend.

    python tests/benchmarks/engine.py --seeds FILE        calls/s of a run and of its replay, all filters on
    python tests/benchmarks/engine.py --memory            peak memory at 2,000 and at 200,000 synthetic seeds

Each measurement is a fresh process, so that peak memory is its own. The first form prints, from the same machine and
moment, how many rows a second a bare indexed read of the same replies yields. On a machine that others use too, the
calls a second of processor time are the steadier figure.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

OPERATORS = ["add-constraints", "rare-requirement", "more-steps", "misdirection", "complexity"]
FILTERS = [
    "empty",
    "few-words",
    "long-instruction",
    "long-response",
    "sorry",
    "no-content",
    "copied-prompt",
    "truncated",
]


def recipe(seeds: str, rounds: int) -> dict:
    """Return the recipe that is measured: five operators, every filter that asks nothing."""
    return {
        "evolteacher": 1,
        "name": "benchmark",
        "seeds": {"path": seeds},
        "rounds": rounds,
        "operators": OPERATORS,
        "filters": FILTERS,
        "backends": {"evolve": "scripted"},
        "export": ["evol", "rounds", "jsonl", "chat"],
    }


def measure(seeds: str, out: str, rounds: int) -> None:
    """Run once and print one line of JSON."""
    from evolteacher.engine import Engine
    from evolteacher.recipe import Recipe
    from evolteacher.runner import run

    spent = {}
    original = Engine.run

    async def timed(self: Engine) -> None:
        started, cpu = time.perf_counter(), time.process_time()
        await original(self)
        spent["engine"] = time.perf_counter() - started
        spent["cpu"] = time.process_time() - cpu

    Engine.run = timed
    started = time.perf_counter()
    result = run(Recipe.from_dict(recipe(seeds, rounds)), out)
    spent["all"] = time.perf_counter() - started
    calls = result.calls + result.replayed
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    print(
        json.dumps(
            {
                "calls": calls,
                "asked": result.calls,
                "records": result.records,
                "engine_s": round(spent["engine"], 2),
                "all_s": round(spent["all"], 2),
                "calls_per_s": round(calls / spent["engine"]),
                "calls_per_cpu_s": round(calls / spent["cpu"]),
                "peak_mib": round(peak, 1),
            }
        )
    )


def child(seeds: str, out: str, rounds: int) -> dict:
    """Measure in a fresh process."""
    command = [sys.executable, __file__, "--measure", seeds, out, str(rounds)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def bare_read(database: Path) -> int:
    """Return the rows a second of reading each lineage's replies by the index, and nothing else."""
    db = sqlite3.connect(database)
    lineages = [row[0] for row in db.execute("SELECT id FROM seeds ORDER BY ord")]
    query = "SELECT round, step, nth, fingerprint, outcome, text FROM replies WHERE lineage = ?"
    started = time.perf_counter()
    count = sum(len(db.execute(query, (lineage,)).fetchall()) for lineage in lineages)
    return round(count / (time.perf_counter() - started))


def speed(seeds: str, folder: Path) -> None:
    """Print the figures of a run and of three replays, and the bare read between them."""
    out = folder / "run"
    print("run   ", child(seeds, str(out), 3))
    for _ in range(3):
        print("replay", child(seeds, str(out), 3))
        print("bare indexed read of the same rows, rows/s:", bare_read(out / "run.db"))


def memory(folder: Path) -> None:
    """Print peak memory, run and replay, at 2,000 and at 200,000 seeds of one round."""
    for count in (2_000, 200_000):
        path = folder / f"{count}.jsonl"
        with path.open("w") as file:
            for n in range(count):
                row = {"instruction": f"Write function number {n}, which doubles {n}.", "output": f"def f{n}(): ..."}
                file.write(json.dumps(row) + "\n")
        out = folder / f"run-{count}"
        print(count, "seeds, run   ", child(str(path), str(out), 1))
        print(count, "seeds, replay", child(str(path), str(out), 1))
        shutil.rmtree(out)


def main() -> None:
    """Read the command line and print figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", help="a seed file of any shape")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--measure", nargs=3, metavar=("SEEDS", "OUT", "ROUNDS"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        measure(given.measure[0], given.measure[1], int(given.measure[2]))
        return
    with tempfile.TemporaryDirectory() as folder:
        if given.seeds:
            speed(str(Path(given.seeds).resolve()), Path(folder))
        if given.memory:
            memory(Path(folder))


if __name__ == "__main__":
    main()
