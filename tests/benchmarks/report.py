"""How large a report gets, how long it takes to build, and to open and search in a real Chromium.

    python tests/benchmarks/report.py                    10,000 lineages over three rounds, made once: some minutes
    python tests/benchmarks/report.py --seeds 1000       a smaller run
    python tests/benchmarks/report.py --full             with all prompts and replies

The run is scripted, and no text of it comes twice: seeds and rewrites are drawn word by word from a list, by a
generator that the slot seeds, as long as those of real runs (a rewrite adds about 25 words).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import resource
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from browser import tab

import evolteacher as et
from evolteacher.catalog import Catalog
from evolteacher.recipe import Recipe
from evolteacher.runner import run
from evolteacher_backends.scripted import Scripted

SYLLABLES = [first + vowel for first in "bcdfghjklmnprstvwz" for vowel in ("a", "e", "i", "o", "u", "en", "or")]
WORDS = random.Random(1).sample(
    [a + b + c for a in SYLLABLES[:40] for b in SYLLABLES[40:80] for c in SYLLABLES[80:]], 4000
)


def words(seed: str, count: int) -> str:
    """Draw words."""
    draw = random.Random(seed)
    return " ".join(draw.choices(WORDS, k=count))


class Talkative(Scripted, name="talkative"):
    """Answers that do not repeat."""

    def answer(self, request: et.Request) -> et.Reply:
        """Lengthen the task, or answer it."""
        if "/evolve/" in request.slot:
            given = request.text.rsplit("#given_task#", 1)[-1].strip()
            return et.Reply(f"{given} {words(request.slot, 25)}", et.Usage(200, 60), "stop", "talkative")
        text = f"{words(request.slot, 60)}\n```python\ndef f(): return '{words(request.slot, 20)}'\n```"
        return et.Reply(text, et.Usage(60, 120), "stop", "talkative")


class Plain(et.Operator, name="plain"):
    """Asks with the task at the end."""

    def prompt(self, parent: et.Instruction) -> str:
        """Ask."""
        return f"{'Make the task a little harder, as a teacher would. ' * 12}#given_task#\n{parent.text}"

    def read(self, reply: et.Reply, parent: et.Instruction) -> str:
        """Take all."""
        return reply.text


class Unlucky(et.InstructionFilter, name="unlucky"):
    """Rejects an eighth."""

    def reject(self, evolution: et.Evolution) -> str | None:
        """Go by the id."""
        return f"its id begins with {evolution.child.id[:2]}" if int(evolution.child.id, 16) % 8 == 0 else None


class Plugin:
    """Brings what stands above."""

    @et.hookimpl
    def register_operators(self) -> list[type[et.Operator]]:
        """Return the operator."""
        return [Plain]

    @et.hookimpl
    def register_filters(self) -> list[type[et.Filter]]:
        """Return the filter."""
        return [Unlucky]

    @et.hookimpl
    def register_backends(self) -> list[type[et.Backend]]:
        """Return the backend."""
        return [Talkative]


def make(folder: Path, seeds: int) -> None:
    """Carry the run out, unless it is there."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = folder / "seeds.jsonl"
    if not rows.exists():
        with open(rows, "w", encoding="utf-8") as file:
            for number in range(seeds):
                task = f"Write task {number}: {words(f'seed {number}', 15)}"
                file.write(json.dumps({"instruction": task, "output": words(f"answer {number}", 40)}) + "\n")
    catalog = Catalog.load()
    catalog.register(Plugin(), "report-benchmark")
    recipe = {
        "evolteacher": 1, "name": "report-benchmark", "seeds": str(rows), "rounds": 3, "operators": ["plain"],
        "on_pruned": "retry", "filters": ["unlucky"], "backends": {"evolve": "talkative"}, "export": ["jsonl"],
    }  # fmt: skip
    run(Recipe.from_dict(recipe, catalog=catalog), folder / "run", catalog=catalog)


async def browse(path: Path) -> None:
    """Open the report, search it and open a lineage, and say how long each took."""
    async with tab() as page:
        began = time.monotonic()
        await page.open(path)
        listed = "document.querySelectorAll('#list a').length > 0"
        await page.until(listed, 60)
        print(f"open, until the first lineages are listed: {time.monotonic() - began:.2f} s")
        await page.until("told.textContent", 60)
        print(f"until all are counted: {time.monotonic() - began:.2f} s")
        for text in (WORDS[7], "task 123:", "nothing has this"):
            script = (
                "(async () => {form.elements.text.value = %s; const began = performance.now(); await search();"
                "return [told.textContent, performance.now() - began]})()"
            )
            found, took = await page.run(script % json.dumps(text))
            print(f"search {text!r}: {found}, {took:.0f} ms")
        began = time.monotonic()
        await page.run("location.hash = '#lineage=' + (known.lineages - 1)")
        await page.until("!article.hidden", 60)
        print(
            f"open a lineage: {time.monotonic() - began:.2f} s; "
            f"console: {len(page.said)}, requests: {len(page.requests)}"
        )


def main() -> None:
    """Make, build, browse."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10_000)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--folder", type=Path, default=None, help="where the run is, or is made")
    options = parser.parse_args()
    folder = options.folder or Path(os.environ.get("TMPDIR", "/tmp")) / f"report-benchmark-{options.seeds}"
    began = time.monotonic()
    make(folder, options.seeds)
    print(f"{options.seeds:,} lineages, run or replayed in {time.monotonic() - began:.0f} s")
    out = folder / "report.html"
    began = time.monotonic()
    command = ["evolteacher", "report", str(folder / "run"), "--out", str(out), *(["--full"] if options.full else [])]
    subprocess.run(command, check=True)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"built in {time.monotonic() - began:.1f} s, at most {peak:.0f} MB of memory")
    tree = sum(len(line) for line in open(out, encoding="utf-8") if 'id="tree-' in line)
    database = (folder / "run" / "run.db").stat().st_size
    print(
        f"{out.stat().st_size / 1e6:.1f} MB, the tree {tree / options.seeds:.0f} bytes a lineage; "
        f"run.db {database / 1e6:.0f} MB"
    )
    asyncio.run(browse(out))


if __name__ == "__main__":
    main()
