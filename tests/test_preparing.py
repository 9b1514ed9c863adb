"""What operators find out before the first lineage: asks of the run itself, stored, counted, resumable, and a fact."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import replace

import pytest
from pydantic import Field
from ruamel.yaml import YAML

import evolteacher as et
from evolteacher import errors
from evolteacher.catalog import Catalog
from evolteacher.plan import make_plan
from evolteacher.preparing import preparation_of
from evolteacher.recipe import Recipe
from evolteacher.runner import run
from evolteacher.store import Store
from evolteacher_plugins import readers


class Tuned(et.Operator, name="tuned"):
    """Find a word first, and put it before every task."""

    word: str = Field("", max_length=100)
    asks: int = 2

    def preparation(self):
        return {} if self.word else {"evolve": self.asks, "respond": 1}

    async def prepare(self, seeds, ask):
        first = await asyncio.gather(*(ask(f"word {n}? {seeds[0].text}") for n in range(self.asks)))
        last = await ask("which? " + " ".join(reply.text for reply in first), role="respond", key="last")
        return et.Prepared(self.model_copy(update={"word": last.text}), (f"{len(seeds)} seeds gave {last.text}",))

    def prompt(self, parent):
        return f"{self.word}: {parent.text}"

    def read(self, reply, parent):
        return reply.text


class World:
    """One recipe over a backend that a test may break, and what it was asked."""

    def __init__(self, folder, prepare=None):
        self.folder, self.asked, self.broken = folder, [], None
        (folder / "seeds.json").write_text('["Add two numbers.", "Sort a list.", "Reverse a text."]')
        world = self

        async def complete(backend, request):
            await asyncio.sleep(0)
            if world.broken is not None and (fault := world.broken(request)) is not None:
                raise fault
            world.asked.append(request.slot)
            return et.Reply(f"magic{len(request.text)}", et.Usage(3, 4))

        operator = Tuned if prepare is None else type("Made", (Tuned,), {"prepare": prepare}, name="tuned")
        backend = type("Fake", (et.Backend,), {"complete": complete}, name="fake")

        class Plugin:
            @et.hookimpl
            def register_operators(self):
                return [operator]

            @et.hookimpl
            def register_backends(self):
                return [backend]

        self.catalog = Catalog()
        self.catalog.register(Plugin(), "test")
        self.catalog.register(readers, "readers")

    def recipe(self, **changes):
        data = {
            "evolteacher": 1, "name": "tuned", "rounds": 1, "seeds": str(self.folder / "seeds.json"),
            "operators": ["tuned"], "backends": {"evolve": "fake"}, "export": ["evol"],
            "limits": {"retries": 1, "first_wait": 0.001}, **changes,
        }  # fmt: skip
        return Recipe.from_dict(data, catalog=self.catalog)

    def go(self, out="run", fork=None, note=print, limit=None, **changes):
        self.asked.clear()
        made = self.recipe(**changes)
        return run(made, self.folder / out, catalog=self.catalog, fork=fork, note=note, limit=limit)


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def prompts(out):
    with sqlite3.connect(out / "run.db") as db:
        found = [row[0] for row in db.execute("SELECT prompt FROM replies WHERE step = 'evolve'")]
    db.close()
    return found


def test_it_is_asked_once_under_the_run_and_every_lineage_evolves_by_it(world):
    said = []
    result = world.go(note=said.append)
    assert result.pending == 0
    slots = ["/0/prepare:tuned/0", "/0/prepare:tuned/1", "/0/prepare:tuned/=last"]
    assert world.asked[:3] == slots and len(world.asked) == 3 + 6
    found = prompts(world.folder / "run")
    assert len(found) == 3 and all('"content": "magic' in prompt for prompt in found)
    assert [line for line in said if "seeds gave magic" in line] == ["operator 'tuned': 3 seeds gave magic22"]
    assert result.summary.calls["evolve", ""][0] == 9


def test_a_second_run_asks_nothing_and_so_does_a_fork(world):
    first = world.go()
    dataset = (world.folder / "run" / "dataset.json").read_bytes()
    assert (world.go().calls, world.asked) == (0, [])
    assert world.go("fork", fork=world.folder / "run").calls == 0
    assert (world.folder / "fork" / "dataset.json").read_bytes() == dataset
    assert first.calls == 9


def test_cut_off_within_it_a_resume_asks_only_what_is_missing(world):
    world.broken = lambda request: errors.Transient("reset") if request.text.startswith("which") else None
    first = world.go()
    assert (first.calls, first.pending, first.reason) == (2, 3, "Transient: reset")
    assert first.summary.records == 0
    world.broken = None
    second = world.go()
    assert (second.calls, second.replayed, second.pending) == (7, 2, 0)


def test_a_budget_may_end_within_it(world):
    first = world.go(budget={"tokens": 145}, sampling={"max_tokens": 100})
    assert first.pending == 3 and "the budget is spent" in first.budget and first.calls == 1
    second = world.go(budget={"tokens": 100_000}, sampling={"max_tokens": 100})
    assert second.pending == 0 and first.calls + second.calls == 9


def test_a_larger_limit_keeps_what_was_found(world):
    world.go(limit=1)
    assert world.go(limit=3).pending == 0
    assert not any("prepare" in slot for slot in world.asked)
    words = {prompt.partition('"content": "')[2].partition(":")[0] for prompt in prompts(world.folder / "run")}
    assert len(words) == 1


def test_it_is_written_beside_the_run_and_pinned_nothing_is_asked(world):
    world.go()
    text = (world.folder / "run" / "prepared.yaml").read_text()
    assert "\n# 3 seeds gave magic22\n" in text
    operators = YAML(typ="safe").load(text)["operators"]
    assert operators == [{"tuned": {"word": "magic22"}}]
    assert world.go("pinned", operators=operators).calls == 6
    assert not (world.folder / "pinned" / "prepared.yaml").exists()
    assert prompts(world.folder / "pinned") == prompts(world.folder / "run")


def test_the_plan_counts_its_calls_and_what_of_them_is_stored(world):
    plan = make_plan(world.recipe(), world.catalog)
    assert {row.role: row.calls for row in plan.rows} == {"evolve": 3 + 2, "respond": 3 + 1}
    pinned = make_plan(world.recipe(operators=[{"tuned": {"word": "x"}}]), world.catalog)
    assert pinned.calls == 6
    world.go()
    with Store(world.folder / "run" / "run.db", read_only=True) as store:
        assert sum(row.stored for row in make_plan(world.recipe(), world.catalog, store).rows) == 9


def test_an_operator_that_is_never_drawn_is_not_prepared(world):
    result = world.go(operators=[{"tuned": {"weight": 0}}, {"tuned": {"as": "other", "word": "given"}}])
    assert result.calls == 6


async def nothing(self, seeds, ask):
    return None


async def another(self, seeds, ask):
    class Other(et.Operator, name="other"):
        """Another class."""

        def prompt(self, parent):
            return parent.text

    return et.Prepared(Other())


async def too_long(self, seeds, ask):
    return et.Prepared(self.model_copy(update={"word": "x" * 101}))


async def raising(self, seeds, ask):
    raise KeyError("oops")


async def unread(self, seeds, ask):
    raise errors.Unreadable("nothing came")


WRONG = {
    nothing: r"operator 'tuned': prepare\(\) returned None; a Prepared with the same operator is needed",
    another: r"operator 'tuned': prepare\(\) returned Prepared",
    too_long: r"operator 'tuned', being prepared, raised ValidationError",
    raising: r"operator 'tuned', being prepared, raised KeyError",
    unread: r"operator 'tuned' could not be prepared: nothing came",
}


@pytest.mark.parametrize("prepare", WRONG, ids=lambda prepare: prepare.__name__)
def test_what_a_plugin_does_wrong_is_named_and_nothing_is_stored_of_it(prepare, tmp_path):
    world = World(tmp_path, prepare)
    with pytest.raises(errors.PluginError, match=WRONG[prepare]):
        world.go()
    with Store(tmp_path / "run" / "run.db", read_only=True) as store:
        assert store.metas("prepared/") == {}


def test_a_role_that_there_is_not_is_named(tmp_path):
    class Lost(Tuned, name="lost"):
        """Asks nobody knows whom."""

        def preparation(self):
            return {"evolv": 1}

    use = World(tmp_path).recipe().operators[0]
    with pytest.raises(errors.PluginError, match="names a role that there is not"):
        preparation_of(replace(use, component=Lost()))


def test_a_prepare_that_is_not_async_is_refused():
    with pytest.raises(TypeError, match=r"mend prepare\(\)"):
        type("Sync", (et.Operator,), {"prepare": lambda self, seeds, ask: None}, name="sync")


def test_the_runs_own_memory_is_apart_from_every_lineages(world):
    world.go()
    with Store(world.folder / "run" / "run.db", read_only=True) as store:
        assert len(store.replies(b"")) == 3
        assert store.reply_count() == 9
