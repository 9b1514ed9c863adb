"""How fast calls go through the backends, beside a bare aiohttp loop that is the floor, all in one run.

    python tests/benchmarks/throughput.py                      the table but for the long rows: about three minutes
    python tests/benchmarks/throughput.py --rows latency kill  only these rows
    python tests/benchmarks/throughput.py --through floor litellm bare-litellm   LiteLLM's table: about ten minutes
    python tests/benchmarks/throughput.py --rows limit         1,200 requests a minute, four minutes
    python tests/benchmarks/throughput.py --rows whole         the original's whole job: 120,000 calls, 12 minutes

The job is 500 seeds over three rounds, each evolved and answered: 3,000 calls, 64 at once, through a loopback server
that is a process of its own. Each measurement is a fresh process, so that its start, its processor time and its peak
memory are its own; floor and backends take turns, ``--repeat`` times, and the median is printed. The floor sends as
many prompts of the same length from 64 workers, with one aiohttp session, and reads the text of each answer.

Python's caches of compiled modules are on, in a folder of the benchmark's, and filled before anything is measured: so
it is where packages are installed, whatever the shell says. Lognormal latencies are drawn in turn: the nth call of each
subject meets the same one, since the slowest few of 3,000 make a tenth of the time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import resource
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from loopback import Provider

SEEDS, ROUNDS, CONCURRENCY = 500, 3, 64
CALLS = SEEDS * ROUNDS * 2
OPERATORS = ["add-constraints", "rare-requirement", "more-steps", "misdirection", "complexity"]
PROMPT = "Rewrite the programming task below into one that is a little harder. " * 14
"""As long as an operator's prompt: about a thousand characters."""

SUBJECTS = ("floor", "openai-compatible", "litellm", "bare-litellm")
USUAL = SUBJECTS[:2]


def backend(subject: str, url: str) -> dict[str, Any]:
    """Return a recipe's backend that asks the loopback server."""
    if subject == "litellm":
        return {"litellm": {"model": "openai/loopback", "api_base": url, "api_key": "env:LOOPBACK_KEY"}}
    return {"openai-compatible": {"model": "loopback", "base_url": url}}


def recipe(subject: str, url: str, seeds: str, **changes: Any) -> dict[str, Any]:
    """Return the recipe of the job: operators that never fail to be read, and no filter."""
    return {
        "evolteacher": 1,
        "name": "throughput",
        "seeds": {"path": seeds},
        "rounds": ROUNDS,
        "operators": OPERATORS,
        "backends": {"evolve": backend(subject, url)},
        "concurrency": CONCURRENCY,
        "export": ["jsonl"],
        **changes,
    }


# what a child process does


def ours(job: dict[str, Any]) -> dict[str, Any]:
    """Run a recipe as ``evolteacher run`` does."""
    from evolteacher.recipe import Recipe
    from evolteacher.runner import run

    result = run(Recipe.from_dict(job["recipe"]), job["out"])
    return {"answers": result.calls, "records": result.records, "pending": result.pending}


async def floor(job: dict[str, Any]) -> dict[str, Any]:
    """Ask in a loop, again after a fault, and do nothing with the answers."""
    import aiohttp

    left = iter(range(job["calls"]))
    records = 0

    async def work(session: aiohttp.ClientSession) -> None:
        nonlocal records
        for number in left:
            body = {"model": "loopback", "messages": [{"role": "user", "content": f"{PROMPT}{number}"}],
                    "temperature": 1.0, "top_p": 0.9, "max_tokens": 2048}  # fmt: skip
            for attempt in range(9):
                try:
                    async with session.post(f"{job['url']}/chat/completions", json=body) as response:
                        if response.status == 200:
                            answer = await response.json()
                            records += bool(answer["choices"][0]["message"]["content"])
                            break
                except (aiohttp.ClientError, ValueError):
                    pass
                await asyncio.sleep(min(60, 2**attempt) * 0.75)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await asyncio.gather(*(work(session) for _ in range(CONCURRENCY)))
    return {"answers": records}


async def bare_litellm(job: dict[str, Any]) -> dict[str, Any]:
    """Ask with ``litellm.acompletion`` as it comes."""
    import litellm

    left = iter(range(job["calls"]))
    records = 0

    async def work() -> None:
        nonlocal records
        for number in left:
            messages = [{"role": "user", "content": f"{PROMPT}{number}"}]
            answer = await litellm.acompletion(
                model="openai/loopback", api_base=job["url"], api_key="sk-loopback", messages=messages,
                temperature=1.0, top_p=0.9, max_tokens=2048, num_retries=0,
            )  # fmt: skip
            records += bool(answer.choices[0].message.content)

    await asyncio.gather(*(work() for _ in range(CONCURRENCY)))
    return {"answers": records}


def child(job: dict[str, Any]) -> None:
    """Do a job in this process and print what it took, as one line of JSON."""
    subject = job["subject"]
    found = (
        asyncio.run(floor(job)) if subject == "floor"
        else asyncio.run(bare_litellm(job)) if subject == "bare-litellm"
        else ours(job)
    )  # fmt: skip
    used = resource.getrusage(resource.RUSAGE_SELF)
    found["cpu"] = used.ru_utime + used.ru_stime
    found["peak_mb"] = used.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    print(json.dumps(found))


# what the parent measures


class Bench:
    """Starts servers and clients, and gathers figures.

    Args:
        folder: for seeds and runs.
        repeat: how often each measurement is made.
    """

    def __init__(self, folder: Path, repeat: int) -> None:
        self.folder = folder
        self.repeat = repeat
        self._runs = 0

    def warm(self, subjects: list[str]) -> None:
        """Run each subject once, so that what it imports is compiled."""
        for subject in subjects:
            self.once(subject, seeds=10)

    def seeds(self, count: int) -> str:
        """Return a file of so many seeds."""
        path = self.folder / f"{count}.jsonl"
        if not path.exists():
            rows = (
                {"instruction": f"Write a function that doubles the number {n}.", "output": "…"} for n in range(count)
            )
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return str(path)

    def start(self, subject: str, provider: Provider, seeds: int = SEEDS, out: str = "", **changes: Any) -> Any:
        """Start a client; return its process."""
        self._runs += 1
        job = {
            "subject": subject,
            "url": provider.url,
            "calls": seeds * ROUNDS * 2,
            "out": out or str(self.folder / f"run-{self._runs}"),
            "recipe": recipe(subject, provider.url, self.seeds(seeds), **changes),
        }
        environment = {
            **{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
            "PYTHONPYCACHEPREFIX": str(self.folder / "compiled"),
            "LOOPBACK_KEY": "sk-loopback",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        }
        return subprocess.Popen(
            [sys.executable, __file__, "--child", json.dumps(job)], stdout=subprocess.PIPE, text=True, env=environment
        )

    def once(
        self, subject: str, seeds: int = SEEDS, settings: dict[str, Any] | None = None, **changes: Any
    ) -> dict[str, Any]:
        """Measure one run of the job; times are the server's own."""
        with Provider(settings or {}) as provider:
            started = time.monotonic()
            process = self.start(subject, provider, seeds, **changes)
            output, _ = process.communicate()
            if process.returncode:
                sys.exit(f"{subject} failed with exit code {process.returncode}")
            found = json.loads(output)
            counters = provider.wait_idle()
        found["seconds"] = counters["last_answer"] - counters["first_request"]
        found["start"] = counters["first_request"] - started
        found["counters"] = counters
        return found

    def medians(self, subjects: list[str], measure: Callable[[str], dict[str, Any]]) -> dict[str, dict[str, float]]:
        """Measure subjects in turns; return the median of each figure."""
        found: dict[str, list[dict[str, Any]]] = {subject: [] for subject in subjects}
        for _ in range(self.repeat):
            for subject in subjects:
                found[subject].append(measure(subject))
        return {
            subject: {
                name: statistics.median(row[name] for row in rows)
                for name, value in rows[0].items()
                if isinstance(value, int | float)
            }
            for subject, rows in found.items()
        }


def say(*cells: object) -> None:
    """Print one row of the table."""
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


def compare(
    what: str, unit: str, found: dict[str, dict[str, float]], value: Callable[[dict[str, float]], float]
) -> None:
    """Print a figure of each subject, and its ratio to the floor's."""
    base = value(found["floor"]) if "floor" in found else None
    for subject, figures in found.items():
        number = value(figures)
        say(what, subject, f"{number:,.3g} {unit}".strip(), "" if base is None else f"{number / base:.3f} x floor")


def latency(bench: Bench, subjects: list[str]) -> None:
    """200 ms an answer: efficiency, and with it processor time, memory and start."""
    found = bench.medians(subjects, lambda subject: bench.once(subject, settings={"latency": 0.2}))
    compare("efficiency at 200 ms", "", found, lambda row: CALLS / CONCURRENCY * 0.2 / row["seconds"])
    compare("CPU a call, whole process", "ms", found, lambda row: row["cpu"] / CALLS * 1000)
    compare("peak memory", "MB", found, lambda row: row["peak_mb"])
    compare("start to first request", "s", found, lambda row: row["start"])


def no_latency(bench: Bench, subjects: list[str]) -> None:
    """Answers at once: calls a second."""
    found = bench.medians(subjects, lambda subject: bench.once(subject))
    compare("calls/s at no latency", "", found, lambda row: CALLS / row["seconds"])


def lognormal(bench: Bench, subjects: list[str]) -> None:
    """Answers that take 200 ms in the mean, with a long tail."""
    settings = {"latency": 0.2, "latency_sigma": 1.0, "latency_in_turn": True}
    found = bench.medians(subjects, lambda subject: bench.once(subject, settings=settings))
    compare("efficiency, lognormal", "", found, lambda row: CALLS / CONCURRENCY * 0.2 / row["seconds"])


def faults(bench: Bench, subjects: list[str]) -> None:
    """5 % 500s, 2 % cut connections, 1 % broken bodies: 600 records."""
    settings = {"latency": 0.2, "faults": {"500": 0.05, "cut": 0.02, "not-json": 0.01}}
    subjects = [subject for subject in subjects if subject != "bare-litellm"]
    found = bench.medians(subjects, lambda subject: bench.once(subject, seeds=100, settings=settings))
    compare("5 % 500s, 2 % cuts, 1 % broken: time", "s", found, lambda row: row["seconds"])
    for subject, row in found.items():
        say("5 % 500s, 2 % cuts, 1 % broken: answers of 600", subject, f"{row['answers']:.0f}", "")


def kill(bench: Bench, subjects: list[str]) -> None:
    """kill -9 at half of 1,200 calls, and a restart: calls asked twice.

    What was in flight is no look at a moment: of all calls that had reached the provider when the process was gone,
    it is those of which the run's file holds no reply. These, and no others, may be asked again.
    """
    for subject in subjects:
        if subject in ("floor", "bare-litellm"):
            continue
        with Provider(latency=0.2) as provider:
            out = str(bench.folder / f"killed-{subject}")
            process = bench.start(subject, provider, 200, out)
            while provider.counters()["sent"].get("ok", 0) < 600:
                time.sleep(0.01)
            process.send_signal(signal.SIGKILL)
            process.communicate()
            arrived, stored = provider.wait_idle()["chats"], replies(out)
            output, _ = bench.start(subject, provider, 200, out).communicate()
            twice = sum(row["asked"] - 1 for row in provider.requests())
            assert json.loads(output)["pending"] == 0
            assert twice <= arrived - stored <= CONCURRENCY, (twice, arrived, stored)
            say("kill -9 at half of 1,200: asked twice", subject, twice,
                f"{arrived - stored} in flight: {arrived} had arrived, {stored} were stored")  # fmt: skip


def replies(out: str) -> int:
    """Return how many replies a run's file holds."""
    with closing(sqlite3.connect(Path(out) / "run.db")) as db:
        return int(db.execute("SELECT count(*) FROM replies").fetchone()[0])


def limit(bench: Bench, subjects: list[str]) -> None:
    """1,200 requests a minute over a sliding window, told and untold, side by side for four windows."""
    subject = "openai-compatible" if "openai-compatible" in subjects else "litellm"
    cases = {
        "given in the recipe": ({"retry_after": "seconds"}, {"limits": {"requests_per_minute": 1200}}),
        "told by headers": ({"tell": True, "retry_after": "seconds"}, {}),
        "untold, with Retry-After": ({"retry_after": "seconds"}, {}),
        "untold": ({"retry_after": "none"}, {}),
    }
    running = []
    for name, (settings, changes) in cases.items():
        provider = Provider(requests_per_minute=1200, latency=0.2, **settings)
        provider.__enter__()
        running.append((name, provider, bench.start(subject, provider, 2000, **changes)))
    time.sleep(4 * 60 + 5)
    for name, provider, process in running:
        counters = provider.counters()
        process.kill()
        process.communicate()
        provider.stop()
        windows = counters["accepted_by_window"]
        shares = ", ".join(f"{number / 1200:.3f}" for number in windows[1:4])
        say(f"1,200 a minute, {name}", subject, f"{sum(windows[1:4]) / 3600:.4f} of the limit", f"windows {shares}")
        say(f"1,200 a minute, {name}", subject, f"{counters['outcomes'].get('limited', 0)} 429s", "")


def whole(bench: Bench, subjects: list[str]) -> None:
    """The original's whole job: 20,000 seeds, 120,000 calls, 10,000 a minute."""
    subject = "openai-compatible" if "openai-compatible" in subjects else "litellm"
    settings = {"requests_per_minute": 10_000, "latency": 0.2}
    row = bench.once(subject, 20_000, settings, limits={"requests_per_minute": 10_000})
    say("120,000 calls at 10,000 a minute", subject, f"{row['seconds'] / 60:.2f} min", f"{row['peak_mb']:.0f} MB")
    say("120,000 calls at 10,000 a minute", subject, f"{row['cpu'] / 120:.2f} ms CPU a call",
        f"{row['counters']['outcomes'].get('limited', 0)} 429s, {row['records']} records")  # fmt: skip


ROWS = {
    "latency": latency,
    "no-latency": no_latency,
    "lognormal": lognormal,
    "faults": faults,
    "kill": kill,
    "limit": limit,
    "whole": whole,
}


def main() -> None:
    """Read the command line and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--rows", nargs="+", choices=ROWS, default=[name for name in ROWS if name not in ("limit", "whole")]
    )
    parser.add_argument("--through", nargs="+", choices=SUBJECTS, default=list(USUAL))
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(json.loads(given.child))
        return
    print(f"{date.today()}, {os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()}\n")
    say("figure", "through", "measured", "")
    say("---", "---", "---", "---")
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), given.repeat)
        bench.warm(given.through)
        for name in given.rows:
            ROWS[name](bench, given.through)


if __name__ == "__main__":
    main()
