"""What the engine's tests share: small recipes over the scripted backend, and operators of their own.

Run as a script, it carries out one recipe and logs each call that the backend gets, for tests that kill it.
"""

import asyncio
import json
import os
import sqlite3
import sys
from contextlib import closing, suppress
from pathlib import Path

import evolteacher as et
from evolteacher.catalog import Catalog
from evolteacher.recipe import Recipe
from evolteacher.runner import arun, run
from evolteacher_backends.scripted import Scripted

LOG = os.environ.get("CALL_LOG")


class Harder(et.Operator, name="harder"):
    """Ask for more, plainly."""

    markers = ("[GIVEN]", "[HARDER]")

    def prompt(self, parent):
        return "[GIVEN]\n" + parent.text + "\n[HARDER]\n"

    def read(self, reply, parent):
        return reply.text


class Longer(Harder, name="longer"):
    """Ask for more, too."""


class TwoSteps(et.Operator, name="two-steps"):
    """Ask twice at once, then once more."""

    async def evolve(self, parent, ask):
        first, second = await asyncio.gather(ask("A " + parent.text), ask("B " + parent.text))
        last = await ask(f"C {first.text} {second.text}")
        return last.text


class Shaky(et.InstructionFilter, name="shaky"):
    """Reject a third, by the text."""

    share: int = 3

    def reject(self, evolution):
        return "unlucky" if int(evolution.child.id, 16) % self.share == 0 else None


class Judged(et.ResponseFilter, name="judged"):
    """Reject a quarter, by a judge."""

    async def judge(self, record, ask):
        reply = await ask("Judge: " + record.response)
        return "the judge says so" if sum(f"{record.instruction.text}{reply.text}".encode()) % 4 == 0 else None


class FirstWords(et.DatasetFilter, name="first-words"):
    """Keep one row for each first word."""

    def select(self, records):
        seen = set()
        for record in records:
            word = record.instruction.text.split()[0]
            if word in seen:
                yield record.id, f"'{word}' was there"
            seen.add(word)


class Logged(Scripted, name="logged"):
    """Scripted, with a log of the slots that are asked."""

    def answer(self, request):
        if LOG:
            with open(LOG, "a") as log:
                log.write(request.slot + "\n")
        return super().answer(request)


class Plugin:
    """Brings what stands above."""

    @et.hookimpl
    def register_operators(self):
        return [Harder, Longer, TwoSteps]

    @et.hookimpl
    def register_filters(self):
        return [Shaky, Judged, FirstWords]

    @et.hookimpl
    def register_backends(self):
        return [Logged]


def catalog(*plugins):
    """Return what is installed, and the above."""
    found = Catalog.load()
    for number, plugin in enumerate([Plugin(), *plugins]):
        found.register(plugin, f"test-{number}")
    return found


def write_seeds(folder, count, answered=True):
    """Write Evol rows; every fifth has no response unless all have."""
    path = Path(folder) / "seeds.jsonl"
    rows = [
        {"instruction": f"task{n} needs a function that doubles {n}", "output": f"def f{n}(): ..."}
        for n in range(count)
    ]
    for row in rows[::5] if not answered else []:
        row["output"] = ""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def recipe(seed_file, plugins=(), /, **changes):
    """Return a recipe of three rounds over a seed file."""
    data = {
        "evolteacher": 1,
        "name": "test",
        "seeds": {"path": str(seed_file)},
        "operators": ["harder", {"longer": {"weight": 2}}, "two-steps"],
        "filters": ["judged", "shaky"],
        "backends": {"evolve": "logged"},
        "concurrency": 8,
        "limits": {"retries": 2, "first_wait": 0.001},
        "export": ["evol", "rounds", "jsonl", "chat"],
    }
    data.update(changes)
    return Recipe.from_dict(data, catalog=catalog(*plugins))


def go(seed_file, out, plugins=(), /, *, limit=None, fork=None, note=print, progress=None, **changes):
    """Run such a recipe."""
    made = recipe(seed_file, plugins, **changes)
    return run(made, out, catalog=catalog(*plugins), limit=limit, fork=fork, note=note, progress=progress)


def dataset_bytes(folder):
    """Return the bytes of all that must be alike from run to run."""
    names = ["dataset.json", "dataset.jsonl", "dataset.chat.jsonl", *(f"round-{n}.json" for n in range(4))]
    return {name: (Path(folder) / name).read_bytes() for name in names}


def replies(out):
    """Return how many replies a run has stored, also while another process writes them."""
    if not (out / "run.db").exists():
        return 0
    with closing(sqlite3.connect(out / "run.db")) as db, suppress(sqlite3.OperationalError):
        return db.execute("SELECT count(*) FROM replies").fetchone()[0]
    return 0


if __name__ == "__main__":
    seeds, out, latency, *changes = sys.argv[1:]
    changed = json.loads(changes[0]) if changes else {}
    script = {"latency": [0, float(latency)], "rules": changed.pop("rules", [])}
    asyncio.run(arun(recipe(seeds, backends={"evolve": {"logged": script}}, **changed), out, catalog=catalog()))
