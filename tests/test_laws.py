"""The run's laws under attack: a run and its replay agree, and what was paid for is stored, whatever a plugin does."""

from __future__ import annotations

import asyncio
import sqlite3

import pytest
from test_asking import backend, catalog_of, execute, rows, steps

import evolteacher as et
from evolteacher import errors
from evolteacher.recipe import Recipe
from evolteacher.runner import arun, run


def slow_backend(answers, log=None, **methods):
    """Answer by a text of the request: (seconds, reply or error)."""

    async def complete(self, request):
        if log is not None:
            log.append(request.text)
        seconds, found = answers.get(request.text, (0, "fine"))
        await asyncio.sleep(seconds)
        if isinstance(found, Exception):
            raise found
        return et.Reply(found)

    return type("Fake", (et.Backend,), {"complete": complete, **methods}, name="fake")


async def gathered(parent, ask):
    first, second = await asyncio.gather(ask("A"), ask("B"))
    return first.text + second.text


async def grouped(parent, ask):
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(ask(text)) for text in "AB"]
    return "".join(task.result().text for task in tasks)


@pytest.mark.parametrize("evolve", [gathered, grouped])
def test_an_ask_beside_one_that_fails_is_awaited_and_stored(evolve, tmp_path):
    log = []
    answers = slow_backend({"A": (0, errors.Refused("no")), "B": (0.05, "paid for")}, log)
    execute(tmp_path, evolve, answers)
    assert rows(tmp_path) == [("evolve", "0", "refused", "no"), ("evolve", "1", "reply", "paid for")]
    assert steps(tmp_path) == [(None, "refused", "no")]
    again = execute(tmp_path, evolve, answers)
    assert (again.calls, again.replayed, log) == (0, 2, ["A", "B"])
    assert steps(tmp_path) == [(None, "refused", "no")]


@pytest.mark.parametrize("evolve", [gathered, grouped])
@pytest.mark.parametrize("first", ["A", "B"])
def test_of_two_refusals_the_verdict_is_the_same_whichever_came_first(evolve, first, tmp_path):
    seconds = {"A": 0.03, "B": 0.03, first: 0}
    answers = slow_backend({
        "A": (seconds["A"], errors.Refused("A says no")), "B": (seconds["B"], errors.TooLong("B is too long"))
    })  # fmt: skip
    execute(tmp_path, evolve, answers)
    verdict = steps(tmp_path)
    assert execute(tmp_path, evolve, answers).calls == 0
    assert steps(tmp_path) == verdict == [(None, "too-long", "B is too long")]


@pytest.mark.parametrize("evolve", [gathered, grouped])
def test_an_ask_whose_retries_ran_out_beside_a_refusal_is_asked_again_by_a_resume_only(evolve, tmp_path):
    answers = {"A": (0, errors.Refused("no")), "B": (0.02, errors.Transient("reset"))}
    first = execute(tmp_path, evolve, slow_backend(answers))
    assert (first.pending, first.reason) == (1, "Transient: reset")
    assert steps(tmp_path) == []
    answers["B"] = (0, "at last")
    again = execute(tmp_path, evolve, slow_backend(answers))
    assert (again.calls, again.replayed, again.pending) == (1, 1, 0)
    assert steps(tmp_path) == [(None, "refused", "no")]


def test_an_operator_that_catches_everything_does_not_make_a_passing_fault_a_verdict(tmp_path):
    async def evolve(parent, ask):
        try:
            return (await ask("A")).text
        except Exception:
            return "a way out"

    first = execute(tmp_path, evolve, slow_backend({"A": (0, errors.Transient("reset"))}))
    assert first.pending == 1
    execute(tmp_path, evolve, slow_backend({"A": (0, "the answer")}))
    assert steps(tmp_path) == [("the answer", "", "")]
    with pytest.raises(errors.NotAuthorised):
        execute(tmp_path / "other", evolve, slow_backend({"A": (0, errors.NotAuthorised("no key"))}))


def test_an_ask_that_the_operator_gave_up_is_stored_all_the_same(tmp_path):
    async def evolve(parent, ask):
        task = asyncio.create_task(ask("A"))
        await asyncio.sleep(0.01)
        task.cancel()
        return "without it"

    log = []
    for _ in range(2):
        execute(tmp_path, evolve, slow_backend({"A": (0.05, "paid for")}, log))
    assert rows(tmp_path) == [("evolve", "0", "reply", "paid for")]
    assert log.count("A") == 1


def test_an_operator_that_raises_beside_an_ask_loses_no_answer(tmp_path):
    async def evolve(parent, ask):
        waiting = asyncio.create_task(ask("B"))
        await ask("A")
        raise KeyError(waiting)

    with pytest.raises(errors.PluginError, match="operator 'made' raised KeyError"):
        execute(tmp_path, evolve, slow_backend({"B": (0.05, "paid for")}))
    assert [row[1:] for row in rows(tmp_path)] == [("0", "reply", "paid for"), ("1", "reply", "fine")]


def test_nothing_of_a_stopped_run_goes_on_behind_its_back(tmp_path):
    begun, cut = [], []

    async def complete(self, request):
        begun.append(request.text)
        try:
            await asyncio.sleep(5)
        except asyncio.CancelledError:
            cut.append(request.text)
            raise
        return et.Reply("late")

    slow = type("Fake", (et.Backend,), {"complete": complete}, name="fake")

    async def stopped():
        (tmp_path / "seeds.json").write_text('[{"instruction": "Add two numbers.", "output": "a + b"}]')
        catalog = catalog_of(gathered, slow)
        recipe = Recipe.from_dict(
            {"evolteacher": 1, "name": "x", "seeds": str(tmp_path / "seeds.json"), "operators": ["made"],
             "backends": {"evolve": "fake"}, "export": ["evol"]}, catalog=catalog,
        )  # fmt: skip
        running = asyncio.create_task(arun(recipe, tmp_path / "run", catalog=catalog))
        while len(begun) < 2:
            await asyncio.sleep(0.01)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        return [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]

    assert asyncio.run(stopped()) == []
    assert sorted(cut) == ["A", "B"]


ODD = {
    "model": lambda: et.Reply("paid for", model="gpt\ud800"),
    "finish_reason": lambda: et.Reply("paid for", finish_reason="st\ud800op"),
}


@pytest.mark.parametrize("field", ODD)
def test_lone_surrogates_beside_a_replys_text_lose_nothing(field, tmp_path):
    execute(tmp_path, None, backend(lambda request: ODD[field]()))
    (found,) = rows(tmp_path, field)
    assert "\ufffd" in found[0]


def test_a_count_of_tokens_that_no_integer_column_holds_is_named(tmp_path):
    with pytest.raises(errors.PluginError, match="gave a Reply whose usage is"):
        execute(tmp_path, None, backend(lambda request: et.Reply("x", et.Usage(2**63, 1))))


def test_a_lone_surrogate_in_a_messages_role_is_replaced_before_it_is_paid(tmp_path):
    async def evolve(parent, ask):
        return (await ask([et.Message("us\ud800er", "hello")])).text

    execute(tmp_path, evolve, backend(lambda request: "fine"))
    assert "us\ufffder" in rows(tmp_path, "prompt")[0][0]


@pytest.mark.parametrize("kind", ["unreadable", "transient"])
def test_lone_surrogates_in_a_reason_reach_the_store_as_others_do(kind, tmp_path):
    def answer(request):
        if kind == "transient":
            raise errors.Transient("\ud800 reset")
        return "fine"

    async def evolve(parent, ask):
        await ask("A")
        raise errors.Unreadable("no \ud800 task")

    result = execute(tmp_path, evolve, backend(answer))
    if kind == "transient":
        assert result.reason == "Transient: \ufffd reset"
    else:
        assert steps(tmp_path) == [(None, "unreadable", "no \ufffd task")]


def test_when_closing_fails_too_the_error_that_stopped_the_run_is_seen(tmp_path):
    async def close(self):
        raise KeyError("cannot close")

    with pytest.raises(errors.NotAuthorised, match="no key"):
        execute(tmp_path, None, slow_backend({"Harder: Add two numbers.": (0, errors.NotAuthorised("no key"))},
                                             close=close))  # fmt: skip


def test_a_damaged_store_is_named_and_gives_no_traceback(tmp_path):
    execute(tmp_path, None, backend(lambda request: "fine " * 2000))
    path = tmp_path / "run" / "run.db"
    with sqlite3.connect(path) as db:
        pages = db.execute("PRAGMA page_count").fetchone()[0]
        size = db.execute("PRAGMA page_size").fetchone()[0]
    db.close()
    whole = path.read_bytes()
    damaged = 0
    for page in range(1, pages):
        path.write_bytes(whole[: page * size] + b"\xa5" * size + whole[(page + 1) * size :])
        try:
            execute(tmp_path, None, backend(lambda request: "fine"))
        except errors.RunError as error:
            damaged += 1
            assert "run.db" in str(error)
        except errors.EvolteacherError:
            pass
        for rest in (tmp_path / "run").glob("run.db-*"):
            rest.unlink()
    assert damaged >= 3


def test_an_operator_that_cancels_itself_is_the_plugins_fault_and_no_interruption(tmp_path):
    async def evolve(parent, ask):
        raise asyncio.CancelledError

    with pytest.raises(errors.PluginError, match=r"operator 'made' raised RuntimeError: it let an asyncio\.Can"):
        execute(tmp_path, evolve)


@pytest.mark.parametrize("delay", [0, 0.02])
def test_an_ask_begun_and_left_is_in_the_run_what_it_is_in_the_replay(delay, tmp_path):
    left = []

    async def evolve(parent, ask):
        first = ask("A")
        left.append(asyncio.create_task(ask("B")))
        return (await first).text

    for calls in (3, 0):
        result = execute(tmp_path, evolve, slow_backend({"A": (delay, "a"), "B": (0.02 - delay, "b")}))
        assert (result.calls, result.replayed) == (calls, 3 - calls)
        last = rows(tmp_path, "nth, text", "id = (SELECT evolve_reply FROM steps WHERE round = 1)")
        assert last == [("1", "b")]
    assert len(left) == 2


def filtered(folder, made, **changes):
    """Run one seed for one round with a filter class."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "seeds.json").write_text('[{"instruction": "Add two numbers.", "output": "a + b"}]')

    class Plugin:
        @et.hookimpl
        def register_filters(self):
            return [made]

    catalog = catalog_of()
    catalog.register(Plugin(), "filters")
    data = {
        "evolteacher": 1, "name": "laws", "rounds": 1, "seeds": str(folder / "seeds.json"), "operators": ["whole"],
        "backends": {"evolve": "scripted"}, "export": ["evol"], **changes,
    }  # fmt: skip
    return run(Recipe.from_dict(data, catalog=catalog), folder / "run", catalog=catalog)


@pytest.mark.parametrize("answer", [False, True, 0, ["why"]])
@pytest.mark.parametrize("asks", [False, True])
def test_a_filter_whose_answer_is_no_reason_is_named_and_rejects_nothing(answer, asks, tmp_path):
    def reject(self, text):
        return answer

    async def judge(self, text, ask):
        return answer

    made = type("Bad", (et.TextFilter,), {"judge": judge} if asks else {"reject": reject}, name="bad")
    with pytest.raises(errors.PluginError, match=r"filter 'bad' returned .*, and a reason or None is needed"):
        filtered(tmp_path, made, filters=["bad"])
    assert steps(tmp_path) == []


def test_a_filter_that_lets_unreadable_through_is_named(tmp_path):
    class Bad(et.TextFilter, name="bad"):
        def reject(self, text):
            raise errors.Unreadable("no task here")

    with pytest.raises(errors.PluginError, match="filter 'bad' raised Unreadable: no task here"):
        filtered(tmp_path, Bad, filters=["bad"])


DROPS = {
    "odd": ("{id}", "a \ud800 reason", None),
    "no text": ("{id}", 3, "dataset filter 'bad' gives 3 for a reason; a text is needed"),
    "none": ("{id}", None, "dataset filter 'bad' gives None for a reason; a text is needed"),
    "unknown": ("0/7", "because", "dataset filter 'bad' drops '0/7', which is the id of no record"),
    "no id": (7, "because", "dataset filter 'bad' drops 7, which is the id of no record"),
}


@pytest.mark.parametrize("case", DROPS)
def test_what_a_dataset_filter_gives_is_checked_before_it_is_stored(case, tmp_path):
    drop, reason, message = DROPS[case]

    class Bad(et.DatasetFilter, name="bad"):
        def select(self, found):
            return [(record.id if drop == "{id}" else drop, reason) for record in found if record.round]

    if message is None:
        assert filtered(tmp_path, Bad, dataset_filters=["bad"]).records == 1
        with sqlite3.connect(tmp_path / "run" / "run.db") as db:
            assert db.execute("SELECT round, ord, filter, reason FROM drops").fetchall() == [
                (1, 0, "bad", "a \ufffd reason")
            ]
        db.close()
    else:
        with pytest.raises(errors.PluginError) as caught:
            filtered(tmp_path, Bad, dataset_filters=["bad"])
        assert message in str(caught.value)


def test_an_ask_after_the_step_has_ended_is_refused_and_not_bought(tmp_path):
    late = []

    async def evolve(parent, ask):
        async def later():
            await asyncio.sleep(0.02)
            try:
                await ask("B")
            except errors.PluginError as error:
                late.append(str(error))

        late.append(asyncio.create_task(later()))
        return (await ask("A")).text

    answers = {"Add two numbers.": (0, "sum"), "fine": (0.1, "the response")}
    execute(tmp_path, evolve, slow_backend(answers))
    assert late[1:] == ["operator 'made': ask(): the step has ended, so what comes of it now could change nothing"]
    assert [row[1:] for row in rows(tmp_path)] == [("0", "reply", "fine")]


def test_what_a_fork_took_over_is_told_apart_from_what_was_paid(tmp_path):
    priced = backend(lambda request: et.Reply(f"reply to {request.text}"[:50], cost=0.25))
    old = execute(tmp_path / "old", None, priced)
    assert (old.summary.cost, old.summary.forked_cost) == (0.5, None)
    (tmp_path / "new").mkdir()
    catalog = catalog_of(None, priced)
    data = {
        "evolteacher": 1, "name": "fork", "rounds": 2, "seeds": str(tmp_path / "old" / "seeds.json"),
        "operators": ["whole"], "backends": {"evolve": "fake"}, "export": ["evol"],
    }  # fmt: skip
    new = run(
        Recipe.from_dict(data, catalog=catalog),
        tmp_path / "new" / "run",
        fork=tmp_path / "old" / "run",
        catalog=catalog,
    )
    assert (new.forked, new.calls) == (2, 2)
    assert (new.summary.cost, new.summary.forked_cost) == (0.5, 0.5)
    assert (
        "came from another run and cost $0.5000 there and nothing here"
        in (tmp_path / "new" / "run" / "README.md").read_text()
    )
