"""Tokens a second of the embedded backend, by the number of calls at once.

    python tests/benchmarks/embedded.py --model qwen2.5-coder-0.5b-instruct --at-once 1 8 --tokens 48

OMP_WAIT_POLICY=ACTIVE in the environment lets llama.cpp's threads spin while they wait.
"""

from __future__ import annotations

import argparse
import asyncio
import time

import evolteacher as et

TASK = (
    "Write a Python function number {n} that sorts a list of words by their length and then by the alphabet, with a "
    "docstring, type hints and three tests. Mind empty lists, words of equal length, capital letters, and words that "
    "are no words at all; be quick, and explain the complexity of what you wrote in detail."
)


async def measure(model: str, at_once: int, tokens: int) -> None:
    """Open the backend, ask as many questions at once, print one line."""
    backend = et.Catalog.load().find(et.Backend, "embedded")(model=model)
    started = time.perf_counter()
    await backend.open(et.Workload(at_once, tokens, len(TASK)))
    loaded = time.perf_counter() - started
    requests = [
        et.Request((et.Message("user", TASK.format(n=n)),), et.Sampling(max_tokens=tokens)) for n in range(at_once)
    ]
    started = time.perf_counter()
    replies = await asyncio.gather(*(backend.complete(request) for request in requests))
    seconds = time.perf_counter() - started
    await backend.close()
    generated = sum(reply.usage.completion_tokens for reply in replies)
    print(
        f"{at_once} at once: {generated / seconds:.1f} tokens/s ({generated} in {seconds:.1f} s; prompts of "
        f"{replies[0].usage.prompt_tokens} tokens; loaded in {loaded:.1f} s)"
    )


def main() -> None:
    """Read the command line and print figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="qwen2.5-coder-0.5b-instruct", help="a known name, a hub file or a path")
    parser.add_argument("--at-once", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--tokens", type=int, default=48, help="new tokens a call, at most")
    given = parser.parse_args()
    for at_once in given.at_once:
        asyncio.run(measure(given.model, at_once, given.tokens))


if __name__ == "__main__":
    main()
