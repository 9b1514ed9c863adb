"""Tokens a second of the vllm backend beside vLLM's own ``LLM.generate``, on the same prompts in one run.

    python tests/benchmarks/vllm_tokens.py --model path/to/a/checkpoint --dtype float32 --enforce-eager

Each measurement is a process of its own, which loads the model, answers all prompts once to get warm, and then so many
times as ``--repeats`` says; the two take turns, the backend first in one pair and last in the next. Both are handed all
prompts at once. ``LLM.generate`` gets them as tokens; the backend gets messages, as in a run, and puts them into the
chat template itself. Every answer is as long as ``--tokens`` says, unless the model ends one, which is told.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from typing import Any

TASK = "Write a very long story about the numbers from {n} to one million, and count each of them in words."
SYSTEM = "You are a novelist who never ends. You write one chapter after another, and each is longer than the last."
RESULT = "result: "
"""Begins the line that a process tells its figures on, among what vLLM prints."""


def conversations(count: int) -> list[list[dict[str, str]]]:
    """Return so many different prompts that begin alike."""
    return [
        [{"role": "system", "content": SYSTEM}, {"role": "user", "content": TASK.format(n=n)}] for n in range(count)
    ]


def options(given: argparse.Namespace) -> dict[str, Any]:
    """Return what both engines are given."""
    found: dict[str, Any] = {"model": given.model, "dtype": given.dtype, "enforce_eager": given.enforce_eager}
    if given.kv_cache_memory_bytes:
        found["kv_cache_memory_bytes"] = given.kv_cache_memory_bytes
    return found


def measure_llm(given: argparse.Namespace) -> list[tuple[int, float]]:
    """Return tokens and seconds of each repeat through ``LLM.generate``."""
    from vllm import LLM, SamplingParams

    llm = LLM(**options(given), max_model_len=-1, max_num_seqs=given.at_once)
    tokenizer = llm.get_tokenizer()
    prompts = [
        {"prompt_token_ids": tokenizer.apply_chat_template(each, add_generation_prompt=True, return_dict=False)}
        for each in conversations(given.prompts)
    ]
    sampling = SamplingParams(temperature=given.temperature, top_p=0.9, max_tokens=given.tokens)
    found = []
    for _ in range(given.repeats + 1):
        started = time.perf_counter()
        answers = llm.generate(prompts, sampling, use_tqdm=False)
        seconds = time.perf_counter() - started
        found.append((sum(len(answer.outputs[0].token_ids) for answer in answers), seconds))
    return found[1:]


def measure_backend(given: argparse.Namespace) -> list[tuple[int, float]]:
    """Return tokens and seconds of each repeat through the backend."""
    import evolteacher as et

    backend = et.Catalog.load().find(et.Backend, "vllm")(**options(given))
    sampling = et.Sampling(given.temperature, 0.9, given.tokens)
    requests = [
        et.Request(tuple(et.Message(each["role"], each["content"]) for each in conversation), sampling)
        for conversation in conversations(given.prompts)
    ]

    async def ask() -> list[tuple[int, float]]:
        await backend.open(et.Workload(given.at_once, given.tokens, 200))
        found = []
        for _ in range(given.repeats + 1):
            started = time.perf_counter()
            replies = await asyncio.gather(*map(backend.complete, requests))
            seconds = time.perf_counter() - started
            found.append((sum(reply.usage.completion_tokens for reply in replies), seconds))
        print(f"prefix cache: {backend.prefix_cache_hit_rate:.2f} of the prompts' tokens", file=sys.stderr)
        await backend.close()
        return found[1:]

    return asyncio.run(ask())


def take_turns(given: argparse.Namespace) -> None:
    """Run both in turn and print figures."""
    rates: dict[str, list[float]] = {"backend": [], "llm": []}
    order = ["backend", "llm", "llm", "backend"] * (given.pairs // 2) + ["backend", "llm"] * (given.pairs % 2)
    for which in order:
        done = subprocess.run(
            [sys.executable, *sys.argv, "--only", which], stdout=subprocess.PIPE, text=True, check=True
        )
        found = json.loads(next(line for line in done.stdout.splitlines() if line.startswith(RESULT))[len(RESULT) :])
        rates[which] += [tokens / seconds for tokens, seconds in found]
        short = "" if found[0][0] == given.prompts * given.tokens else f" (of {given.prompts * given.tokens} possible)"
        shown = ", ".join(f"{tokens / seconds:.1f}" for tokens, seconds in found)
        print(f"{which:8} {shown} tokens/s; {found[0][0]} tokens{short}", flush=True)
    medians = {which: statistics.median(each) for which, each in rates.items()}
    bests = {which: max(each) for which, each in rates.items()}
    print(
        f"{given.prompts} prompts, {given.at_once} at once, {given.tokens} tokens each: median "
        f"{medians['backend']:.1f} to {medians['llm']:.1f} tokens/s, ratio {medians['backend'] / medians['llm']:.3f}; "
        f"best {bests['backend']:.1f} to {bests['llm']:.1f}, ratio {bests['backend'] / bests['llm']:.3f}"
    )


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="a checkpoint's folder, or a name on the hub")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--enforce-eager", action="store_true")
    parser.add_argument("--kv-cache-memory-bytes", type=int, help="of both engines; needed on a CPU")
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument("--at-once", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=64, help="of each answer")
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--repeats", type=int, default=3, help="in each process, after one to get warm")
    parser.add_argument("--pairs", type=int, default=2, help="of processes")
    parser.add_argument("--only", choices=["backend", "llm"], help="measure one of the two, in this process")
    given = parser.parse_args()
    if given.only is None:
        take_turns(given)
        return
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    found = measure_llm(given) if given.only == "llm" else measure_backend(given)
    print(f"\n{RESULT}{json.dumps(found)}", flush=True)


if __name__ == "__main__":
    main()
