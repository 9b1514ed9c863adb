"""What a call through LiteLLM costs: a bare loop of ``litellm.acompletion`` against our backend, in one sitting.

    python tests/benchmarks/litellm_cpu.py [--calls 3000] [--at-once 64] [--latency 0.2]
    python tests/benchmarks/litellm_cpu.py --profile       where the time of the bare loop goes, by its parts

Every row is a fresh process against the same loopback provider, itself a process of its own: ``bare`` is
``litellm.acompletion`` in a loop, ``public`` our backend over LiteLLM's connections (``direct: false``), ``direct`` our
backend as it comes, and ``run`` a whole run with it: engine, store, limits and files. CPU is given for the calls alone
and for the whole process, the import of LiteLLM included. On a machine that others use too, ratios are the steadier
figures.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import json
import os
import pstats
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from loopback import Provider

MODEL = "openai/gpt-4.1-mini"
KEY = "sk-the-benchmarks-own-key"
TASK = "Write a function that merges overlapping intervals, and explain how it works. " * 8

FUNCTIONS = (
    ("litellm.acompletion, all of it", "rust_bridge/dispatch.py", "arun"),
    ("  metadata of the answer, mostly its cost", "response_metadata.py", "update_response_metadata"),
    ("  set-up of what is reported", "litellm/utils.py", "function_setup"),
    ("  LiteLLM's own form of the answer", "convert_dict_to_response.py", "convert_to_model_response_object"),
    ("  the OpenAI client, all of it", "openai/_legacy_response.py", "wrapped"),
    ("    a walk over the request's types", "openai/_utils/_transform.py", "async_maybe_transform"),
    ("    building the HTTP request", "openai/_base_client.py", "_build_request"),
    ("    httpx, all of it", "httpx/_client.py", "send"),
    ("      aiohttp in it", "custom_httpx/aiohttp_transport.py", "_make_aiohttp_request"),
    ("    building the answer's types", "openai/_legacy_response.py", "parse"),
    ("reports after the answer, in tasks of their own", "litellm_logging.py", "async_success_handler"),
)
"""Parts of a call: what they are, and the file and function whose time with all below it is taken."""


async def _many(ask: Callable[[int], Awaitable[object]], calls: int, at_once: int) -> dict[str, float]:
    await ask(-1)
    numbers = iter(range(calls))

    async def worker() -> None:
        for number in numbers:
            await ask(number)

    started, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(worker() for _ in range(at_once)))
    return {"seconds": time.perf_counter() - started, "cpu": time.process_time() - cpu}


async def bare(url: str, calls: int, at_once: int, profile: bool) -> dict[str, float]:
    """Ask with LiteLLM as it comes."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    import litellm

    litellm.suppress_debug_info = True
    fixed = {"model": MODEL, "api_base": url, "api_key": KEY, "num_retries": 0, "max_retries": 0}

    async def ask(number: int) -> object:
        messages = [{"role": "user", "content": f"{number} {TASK}"}]
        return await litellm.acompletion(**fixed, messages=messages, temperature=1.0, top_p=0.9, max_tokens=512)

    if not profile:
        return await _many(ask, calls, at_once)
    profiler = cProfile.Profile()
    await ask(-1)
    profiler.enable()
    spent = await _many(ask, calls, at_once)
    profiler.disable()
    stats = pstats.Stats(profiler).stats
    whole = sum(own for (_, _, name), (_, _, own, _, _) in stats.items() if "poll" not in name)
    for part, file, function in FUNCTIONS:
        found = [row[3] for (path, _, name), row in stats.items() if path.endswith(file) and name == function]
        print(f"{max(found, default=0) / whole:6.1%}  {part}", file=sys.stderr)
    return spent


async def backend(url: str, calls: int, at_once: int, direct: bool) -> dict[str, float]:
    """Ask with our backend."""
    import evolteacher as et
    from evolteacher_backends.litellm import LiteLLM

    asked = LiteLLM(model=MODEL, api_base=url, api_key="env:BENCHMARK_KEY", direct=direct)
    await asked.open(et.Workload(concurrency=at_once))

    async def ask(number: int) -> object:
        message = et.Message("user", f"{number} {TASK}")
        return await asked.complete(et.Request((message,), et.Sampling(max_tokens=512)))

    try:
        return await _many(ask, calls, at_once)
    finally:
        await asked.close()


def run(url: str, calls: int, at_once: int) -> dict[str, float]:
    """Carry out a whole run of so many calls: half rewrite, half answer."""
    import evolteacher as et

    with tempfile.TemporaryDirectory() as folder:
        seeds = Path(folder) / "seeds.jsonl"
        rows = ({"instruction": f"{number} {TASK}"} for number in range(calls // 6))
        seeds.write_text("".join(json.dumps(row) + "\n" for row in rows))
        options = {"model": MODEL, "api_base": url, "api_key": "env:BENCHMARK_KEY"}
        recipe = et.Recipe.from_dict(
            {
                "evolteacher": 1,
                "name": "litellm-cpu",
                "seeds": str(seeds),
                "rounds": 3,
                "operators": ["add-constraints"],
                "backends": {"evolve": {"litellm": options}},
                "concurrency": at_once,
            }
        )
        started, cpu = time.perf_counter(), time.process_time()
        result = et.run(recipe, Path(folder) / "out")
        spent = {"seconds": time.perf_counter() - started, "cpu": time.process_time() - cpu}
    assert result.calls == calls // 6 * 6, f"{result.calls} calls"
    return spent


def measure(way: str, url: str, calls: int, at_once: int, profile: bool) -> None:
    """Measure one way in this process, and print a line of JSON."""
    os.environ["BENCHMARK_KEY"] = KEY
    if way == "bare":
        spent = asyncio.run(bare(url, calls, at_once, profile))
    elif way == "run":
        spent = run(url, calls, at_once)
    else:
        spent = asyncio.run(backend(url, calls, at_once, way == "direct"))
    usage = resource.getrusage(resource.RUSAGE_SELF)
    memory = usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    print(json.dumps({**spent, "process": usage.ru_utime + usage.ru_stime, "memory": memory}))


def main() -> None:
    """Measure all ways and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=3000)
    parser.add_argument("--at-once", type=int, default=64)
    parser.add_argument("--latency", type=float, default=0.2, help="seconds until the provider answers")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--way", help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.way:
        measure(given.way, given.url, given.calls, given.at_once, given.profile)
        return
    with Provider(key=KEY, latency=given.latency) as provider:
        first = 0.0
        print("way      CPU ms a call (calls)  (process)  of bare  calls/s  MB")
        for way in ("bare",) if given.profile else ("bare", "public", "direct", "run"):
            words = ["--way", way, "--url", provider.url, "--calls", str(given.calls), "--at-once", str(given.at_once)]
            words += ["--profile"] if given.profile else []
            done = subprocess.run([sys.executable, __file__, *words], stdout=subprocess.PIPE, text=True, check=True)
            spent = json.loads(done.stdout.splitlines()[-1])
            each, process = spent["cpu"] / given.calls * 1000, spent["process"] / given.calls * 1000
            first = first or process
            speed = given.calls / spent["seconds"]
            print(f"{way:8} {each:21.2f}  {process:9.2f}  {process / first:7.2f}  {speed:7.0f}  {spent['memory']:.0f}")


if __name__ == "__main__":
    main()
