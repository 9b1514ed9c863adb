"""Asking with a memory, through whole runs on a real store: slots, roles, samplings, and what backends do wrong."""

from __future__ import annotations

import asyncio
import gc
import json
import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import evolteacher as et
from evolteacher import errors
from evolteacher.catalog import Catalog
from evolteacher.recipe import Recipe
from evolteacher.runner import run
from evolteacher_backends.scripted import Scripted
from evolteacher_plugins import readers


class Whole(et.Operator, name="whole"):
    """Take the answer as it came."""

    def prompt(self, parent):
        return "Harder: " + parent.text

    def read(self, reply, parent):
        return reply.text


class Fits(et.TextFilter, name="fits"):
    """Keep what is short."""

    most: int = 1000

    def reject(self, text):
        return "too long" if len(text) > self.most else None


def operator(evolve):
    """Make an operator of a coroutine function (parent, ask)."""

    async def method(self, parent, ask):
        return await evolve(parent, ask)

    return type("Made", (et.Operator,), {"evolve": method}, name="made")


def backend(answer, **methods):
    """Make a backend, called 'fake', that answers by a function of the request."""

    async def complete(self, request):
        await asyncio.sleep(0)
        found = answer(request)
        return et.Reply(found, finish_reason="stop") if isinstance(found, str) else found

    return type("Fake", (et.Backend,), {"complete": complete, **methods}, name="fake")


def catalog_of(evolve=None, answers=None):
    """Return a catalog of the readers, scripted, and what a test made."""
    made = [Whole, *([operator(evolve)] if evolve else [])]
    brought = [Scripted, *([answers] if answers else [])]

    class Plugin:
        @et.hookimpl
        def register_operators(self):
            return made

        @et.hookimpl
        def register_filters(self):
            return [Fits]

        @et.hookimpl
        def register_backends(self):
            return brought

    catalog = Catalog()
    catalog.register(Plugin(), "test")
    catalog.register(readers, "readers")
    return catalog


def execute(folder, evolve=None, answers=None, **changes):
    """Run one seed for one round; return the result."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "seeds.json").write_text('[{"instruction": "Add two numbers.", "output": "a + b"}]')
    data = {
        "evolteacher": 1, "name": "asking", "rounds": 1, "seeds": str(folder / "seeds.json"),
        "operators": ["made" if evolve else "whole"], "backends": {"evolve": "fake" if answers else "scripted"},
        "limits": {"retries": 1, "first_wait": 0.001}, "export": ["evol"], **changes,
    }  # fmt: skip
    catalog = catalog_of(evolve, answers)
    return run(Recipe.from_dict(data, catalog=catalog), folder / "run", catalog=catalog)


def rows(folder, columns="step, nth, outcome, text", where="step != 'respond'"):
    with sqlite3.connect(folder / "run" / "run.db") as db:
        found = db.execute(f"SELECT {columns} FROM replies WHERE {where} ORDER BY round, step, nth").fetchall()
    db.close()
    return found


def steps(folder):
    with sqlite3.connect(folder / "run" / "run.db") as db:
        found = db.execute("SELECT child, filter, reason FROM steps WHERE round = 1").fetchall()
    db.close()
    return found


@settings(deadline=None, max_examples=15)
@given(order=st.permutations(range(4)))
def test_asks_are_numbered_when_they_are_called_whatever_comes_first(order, tmp_path_factory):
    folder = tmp_path_factory.mktemp("asks")

    async def evolve(parent, ask):
        asked = [ask(f"ask {number}") for number in range(3)]
        asked.append(ask("ask 3", key="named"))
        gates = [asyncio.Event() for _ in asked]

        async def later(number):
            await gates[number].wait()
            return await asked[number]

        tasks = [asyncio.create_task(later(number)) for number in range(4)]
        for number in order:
            gates[number].set()
            await tasks[number]
        return " ".join(task.result().text for task in tasks)

    answers = backend(lambda request: "A" + request.text)
    execute(folder, evolve, answers)
    assert rows(folder) == [("evolve", nth, "reply", f"Aask {n}") for n, nth in enumerate(["0", "1", "2", "=named"])]
    last = rows(folder, "nth", "id = (SELECT evolve_reply FROM steps WHERE round = 1)")
    assert last == [("=named",)]


def test_two_asks_of_one_key_are_the_plugins_fault_and_nothing_is_lost(tmp_path):
    async def evolve(parent, ask):
        await ask("first", key="a")
        return (await ask("second", key="a")).text

    with pytest.raises(errors.PluginError, match="operator 'made': two asks have the key 'a'; give each its own"):
        execute(tmp_path, evolve)
    assert [row[:3] for row in rows(tmp_path)] == [("evolve", "=a", "reply")]


WRONG_ASKS = {
    "no role is called 'judg'. Did you mean 'judge'?": lambda ask: ask("x", role="judg"),
    "unexpected keyword argument 'temprature'": lambda ask: ask("x", temprature=1),
    "temperature must be a number from 0 to 10, not 'hot'": lambda ask: ask("x", temperature="hot"),
    "stop must be a tuple of texts, not 'end'": lambda ask: ask("x", stop="end"),
    "a text or a list of evolteacher.Message is needed, not None: is a `return` missing?": lambda ask: ask(None),
    "the prompt is empty": lambda ask: ask(" \n"),
    "is needed, not list of dict": lambda ask: ask([{"role": "user", "content": "x"}]),
    "a key is a text in Unicode, not 3": lambda ask: ask("x", key=3),
}


@pytest.mark.parametrize("message", WRONG_ASKS)
def test_a_wrong_ask_is_told_before_anything_is_paid(message, tmp_path):
    async def evolve(parent, ask):
        return (await WRONG_ASKS[message](ask)).text

    with pytest.raises(errors.PluginError) as caught:
        execute(tmp_path, evolve)
    assert message in str(caught.value)
    assert str(caught.value).startswith("operator 'made': ask()")
    assert rows(tmp_path) == []


def test_sampling_and_roles_of_an_ask(tmp_path):
    seen = []

    def answer(request):
        seen.append(request)
        return f"answer {len(seen)}"

    async def evolve(parent, ask):
        await ask("one")
        await ask([et.Message("system", "short"), et.Message("user", "two")], temperature=0, stop=["x"], seed=7)
        return (await ask("three", role="judge")).text

    execute(
        tmp_path, evolve, backend(answer), sampling={"max_tokens": 9, "judge": {"temperature": 0.5}},
        backends={"evolve": "fake", "judge": {"scripted": {"default": "a judge"}}},
    )  # fmt: skip
    assert [request.text for request in seen] == ["one", "short\n\ntwo", "a judge"]
    assert [(r.sampling.temperature, r.sampling.stop, r.sampling.seed, r.sampling.max_tokens) for r in seen] == [
        (1.0, (), None, 9), (0.0, ("x",), 7, 9), (1.0, (), None, 9)
    ]  # fmt: skip
    assert rows(tmp_path, "nth, backend") == [("0", "evolve"), ("1", "evolve"), ("2", "judge")]


def test_a_components_own_backend_wins_over_every_role(tmp_path):
    async def evolve(parent, ask):
        return (await ask("one")).text + (await ask("two", role="judge")).text

    execute(
        tmp_path, evolve, operators=[{"made": {"backend": "mini"}}],
        backends={"evolve": "scripted", "mini": {"scripted": {"default": "from mini"}}},
    )  # fmt: skip
    assert rows(tmp_path, "nth, backend, text") == [("0", "mini", "from mini"), ("1", "mini", "from mini")]


@pytest.mark.parametrize("outcome", [errors.Refused, errors.TooLong, errors.BadReply])
def test_a_last_word_is_stored_and_replayed_and_never_asked_again(outcome, tmp_path):
    calls = []

    def answer(request):
        calls.append(request.slot)
        raise outcome("because of \ud83d")

    first = execute(tmp_path, None, backend(answer))
    assert steps(tmp_path) == [(None, outcome.outcome, "because of \ufffd")]
    second = execute(tmp_path, None, backend(answer))
    assert (len(calls), first.calls, second.calls, second.replayed) == (1, 1, 0, 1)
    assert steps(tmp_path) == [(None, outcome.outcome, "because of \ufffd")]


def test_a_call_error_of_a_backends_own_settles_and_replays_as_a_bad_reply(tmp_path):
    class Odd(errors.CallError):
        outcome = "odd"

    def answer(request):
        raise Odd("strange")

    for _ in range(2):
        execute(tmp_path, None, backend(answer))
        assert steps(tmp_path) == [(None, "bad-reply", "strange")]


def test_an_operator_may_go_on_after_a_refusal(tmp_path):
    def answer(request):
        if request.text == "daring":
            raise errors.Refused("no")
        return f"reply to {request.text[:20]}"

    async def evolve(parent, ask):
        tame = await ask("tame")
        try:
            return (await ask("daring")).text
        except errors.CallError:
            return tame.text

    for calls in (3, 0):
        assert execute(tmp_path, evolve, backend(answer)).calls == calls
        assert steps(tmp_path) == [("reply to tame", "", "")]
        last = rows(tmp_path, "nth, outcome", "id = (SELECT evolve_reply FROM steps WHERE round = 1)")
        assert last == [("0", "reply")]


def test_empty_answers_become_a_bad_reply(tmp_path):
    execute(tmp_path, None, backend(lambda request: " \n"))
    assert steps(tmp_path) == [(None, "bad-reply", "the answer was empty (2 attempts)")]


def test_retries_that_run_out_leave_the_lineage_pending(tmp_path):
    def answer(request):
        raise errors.Transient("reset")

    result = execute(tmp_path, None, backend(answer))
    assert (result.pending, result.reason) == (1, "Transient: reset")
    assert rows(tmp_path) == []
    assert execute(tmp_path, None, backend(lambda request: "a harder task")).pending == 0


def test_surrogates_in_a_reply_and_in_a_prompt_are_replaced(tmp_path):
    async def evolve(parent, ask):
        return (await ask("prompt \ud800")).text + "\udc00"

    execute(tmp_path, evolve, backend(lambda request: f"\ud83d {request.text}"))
    assert steps(tmp_path) == [("\ufffd prompt \ufffd\ufffd", "", "")]


WRONG_REPLIES = {
    "backend 'evolve' returned no Reply: NoneType": lambda: None,
    "backend 'evolve' gave a Reply whose text is None": lambda: et.Reply(None),
    "gave a Reply whose model is None": lambda: et.Reply("x", model=None),
    "gave a Reply whose finish_reason is None": lambda: et.Reply("x", finish_reason=None),
    "gave a Reply whose usage is {'prompt': 1}": lambda: et.Reply("x", usage={"prompt": 1}),
    "gave a Reply whose usage is Usage(prompt_tokens=None": lambda: et.Reply("x", et.Usage(None)),
    "gave a Reply whose latency is nan": lambda: et.Reply("x", latency=float("nan")),
    "gave a Reply whose cost is '1'": lambda: et.Reply("x", cost="1"),
    "backend 'evolve' raised ZeroDivisionError: division by zero (test_asking.py:": lambda: 1 / 0,
}


@pytest.mark.parametrize("message", WRONG_REPLIES)
def test_what_a_backend_does_wrong_is_named_and_costs_nothing_that_was_stored(message, tmp_path):
    def answer(request):
        return "a stored reply" if request.text == "first" else WRONG_REPLIES[message]()

    async def evolve(parent, ask):
        await ask("first")
        return (await ask("second")).text

    with pytest.raises(errors.PluginError) as caught:
        execute(tmp_path, evolve, backend(answer))
    assert message in str(caught.value)
    assert [row[1:] for row in rows(tmp_path)] == [("0", "reply", "a stored reply")]
    assert execute(tmp_path, evolve, backend(lambda request: f"good {request.text}")).replayed == 1


@pytest.mark.parametrize("method", ["identity", "open", "close"])
def test_a_backend_that_breaks_around_the_calls_is_named(method, tmp_path):
    def broken(self, *args):
        raise KeyError("oops")

    async def coroutine(self, *args):
        raise KeyError("oops")

    answers = backend(lambda request: "fine", **{method: broken if method == "identity" else coroutine})
    with pytest.raises(errors.PluginError, match=r"backend 'evolve'.* raised KeyError: 'oops' \(test_asking.py:"):
        execute(tmp_path, None, answers)


def test_what_cannot_be_opened_is_tried_once_and_closed(tmp_path):
    log = []

    async def opening(self, workload):
        log.append("open")
        await asyncio.sleep(0.01)
        raise errors.NotAuthorised("no key")

    async def closing(self):
        log.append("close")

    async def evolve(parent, ask):
        await asyncio.gather(*(ask(f"ask {number}") for number in range(9)))
        return "never"

    with pytest.raises(errors.NotAuthorised, match="no key"):
        execute(tmp_path, evolve, backend(lambda request: "fine", open=opening, close=closing))
    assert log == ["open", "close"]


@pytest.mark.parametrize("method", ["open", "complete"])
def test_an_error_that_many_calls_meet_at_once_is_told_once(method, tmp_path, caplog):
    async def fail(self, given):
        await asyncio.sleep(0.05)
        raise errors.FatalError("no such thing")

    seeds = tmp_path / "many.json"
    seeds.write_text(json.dumps([{"instruction": f"Add {number} numbers."} for number in range(8)]))
    many = {"seeds": {"path": str(seeds), "answer": "missing"}, "concurrency": 16}
    with pytest.raises(errors.FatalError, match="no such thing"):
        execute(tmp_path, answers=backend(lambda request: "x", **{method: fail}), **many)
    gc.collect()
    assert caplog.text == ""  # asyncio logs the exception of a task that nobody looked at, with its traceback


def test_a_run_that_is_all_replay_opens_nothing(tmp_path):
    async def opening(self, workload):
        raise errors.NotAuthorised("no key")

    execute(tmp_path, None, backend(lambda request: "a task"))
    result = execute(tmp_path, None, backend(lambda request: "another", open=opening))
    assert (result.calls, result.replayed) == (0, 2)


def test_the_locked_recipe_of_a_run_is_the_same_experiment(tmp_path):
    execute(
        tmp_path, None,
        operators=[{"whole": {"as": "first", "weight": 2, "template": "{% raw %}{{{% endraw %}: {{ instruction }}"}},
                   {"test/whole": {"backend": "mini", "as": "second"}}, "whole"],
        filters=[{"fits": {"on": ["seeds", "response"]}}, {"fits": {"as": "again", "most": 5000}}],
        backends={"evolve": "mini", "respond": {"scripted": {"default": "é: {{ x }}"}}, "mini": {"test/scripted": {}}},
        sampling={"temperature": 1, "stop": [" #", "\n20"], "judge": {"temperature": 0}},
    )  # fmt: skip
    catalog = catalog_of()
    locked = Recipe.load(tmp_path / "run" / "recipe.lock.yaml", catalog=catalog)
    with sqlite3.connect(tmp_path / "run" / "run.db") as db:
        stored = json.loads(db.execute("SELECT value FROM meta WHERE key = 'experiment'").fetchone()[0])
    db.close()
    assert json.loads(json.dumps(locked.experiment())) == stored
    again = run(locked, tmp_path / "run", catalog=catalog)
    assert (again.calls, again.pending) == (0, 0)
    assert again.replayed > 0
