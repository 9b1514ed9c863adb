"""The journal: one commit for what arrives together, nothing handed on before it, and nothing lost that was paid."""

import asyncio
import sqlite3
from contextlib import closing

import pytest
from test_store import new

from evolteacher.budget import Till
from evolteacher.errors import RunError
from evolteacher.gate import Gate
from evolteacher.journal import Journal
from evolteacher.ledger import Ledger
from evolteacher.limits import Limits
from evolteacher.messages import Message, Request, Sampling
from evolteacher.progress import Progress
from evolteacher.store import Store
from evolteacher_backends.scripted import Scripted


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "run.db") as made:
        yield made


def on_disk(store):
    """Return what another process would find."""
    with closing(sqlite3.connect(store.path)) as db:
        return [nth for (nth,) in db.execute("SELECT nth FROM replies ORDER BY id")]


async def test_what_arrives_together_is_on_disk_together_before_any_of_it_is_handed_on(store):
    journal, found = Journal(store), []

    async def arrive(nth):
        row = await journal.add(new(nth=str(nth)))
        found.append((row, on_disk(store)))

    await asyncio.gather(*(arrive(nth) for nth in range(8)))
    assert [row for row, _ in found] == list(range(1, 9))
    assert [len(seen) for _, seen in found] == [8] * 8


async def test_what_is_given_up_while_it_waits_is_stored_all_the_same(store):
    journal = Journal(store)
    ledger = Ledger(store)
    charge = ledger.add_charge("evolve", "slot", 10, 0.1, "in flight")
    task = asyncio.create_task(journal.add(new(), charge))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert on_disk(store) == [new().slot[2]]
    assert ledger.paid({})[1] == store.query("SELECT prompt_tokens + completion_tokens FROM replies").fetchone()[0]
    assert await journal.add(new(nth="later")) == 2


async def test_where_the_commit_fails_nothing_is_stored_and_everybody_is_told(store):
    journal = Journal(store)
    outcomes = await asyncio.gather(*(journal.add(new(nth=nth)) for nth in "aba"), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [RunError] * 3
    assert on_disk(store) == []
    assert await journal.add(new(nth="a")) == 1


async def test_a_call_is_in_flight_until_it_is_stored(store):
    told = []

    class Telling(Scripted, name="telling"):
        """Tell when a call leaves."""

        async def complete(self, request):
            told.append(("left", len(on_disk(store))))
            return await super().complete(request)

    progress, backend = Progress(), Telling()
    gate = Gate(1, Limits(), Till(Ledger(store), None, {}, {}, progress), progress)
    gate.register("evolve", backend)
    journal = Journal(store)

    async def call(nth):
        request = Request((Message("user", "hello"),), Sampling(), f"{'0' * 32}/1/evolve/{nth}")

        async def keep(bought):
            assert progress.in_flight == 1
            await journal.add(new(nth=str(nth)))

        await gate.call("evolve", backend, request, None, keep)

    await asyncio.gather(*(call(nth) for nth in range(5)))
    assert told == [("left", number) for number in range(5)]
    assert progress.in_flight == 0
