"""Repaired responses: what a filter may put in an answer's place, what sees it, and what stays on record."""

import json

import pytest
from experiment import catalog, go, recipe, write_seeds

import evolteacher as et
from evolteacher.cli.rejects import Page, show_rejected
from evolteacher.cli.show import tree
from evolteacher.cli.terminal import emit
from evolteacher.errors import PluginError
from evolteacher.history import lineage, records, summarise
from evolteacher.plan import make_plan
from evolteacher.rejudging import rejudge
from evolteacher.store import Store


class Tidy(et.ResponseFilter, name="tidy"):
    """Put a word behind the answer; asks nothing."""

    word: str = "tidied"

    def reject(self, record):
        return et.Judgement(1.0, response=f"{record.response} {self.word}")


class Mend(et.ResponseFilter, name="mend"):
    """Have an LLM repair the answer: a judge says what is wrong, and who answered mends it."""

    verdict_tokens = 7

    def judging(self):
        return {"judge": 1, "respond": 2}

    async def judge(self, record, ask):
        SEEN.append(record.response)
        fault = await ask("What is wrong? " + record.response)
        mended = await ask(f"Mend {fault.text}", role="respond")
        return et.Judgement(response=f"{record.response}, mended: {mended.text}")


class Watch(et.TextFilter, name="watch"):
    """Note each text; reject one that holds a word."""

    word: str = "?"

    def reject(self, text):
        SEEN.append(text)
        return f"it says {self.word}" if self.word in text else et.Judgement(float(len(text)))


class Wrong(et.TextFilter, name="wrong"):
    """Repair what it may not."""

    def reject(self, text):
        return et.Judgement(response="better")


class WrongLineage(et.LineageFilter, name="wrong-lineage"):
    """Likewise."""

    async def judge(self, lineage, ask):
        return {0: et.Judgement(response="better")}


class Odd(et.ResponseFilter, name="odd"):
    """Repair with something odd."""

    what: str

    def reject(self, record):
        odd = {"empty": et.Judgement(response=" \n"), "number": et.Judgement(response=3)}
        return odd.get(self.what, et.Judgement(reason="no good", response="better"))


class Cautious(et.ResponseFilter, name="cautious"):
    """A judge that cannot say what it asks."""

    def judging(self):
        return {"oracle": 1}

    async def judge(self, record, ask):
        return None


SEEN: list = []


class Mine:
    @et.hookimpl
    def register_filters(self):
        return [Tidy, Mend, Watch, Wrong, WrongLineage, Odd, Cautious]


def start(seeds, out, /, *filters, **changes):
    SEEN.clear()
    return go(seeds, out, (Mine(),), filters=list(filters), **{"rounds": 1, "operators": ["harder"], **changes})


@pytest.fixture
def seeds(tmp_path):
    return write_seeds(tmp_path, 2)


def steps_of(out, order=0):
    with Store(out / "run.db", read_only=True) as store:
        return lineage(store, order).steps


def test_the_repaired_response_is_the_row_and_the_original_stays_on_record(seeds, tmp_path):
    start(seeds, tmp_path / "plain")
    start(seeds, tmp_path / "run", "tidy")
    (_, plain), (seed, step) = steps_of(tmp_path / "plain"), steps_of(tmp_path / "run")
    assert (step.response, step.original) == (f"{plain.response} tidied", plain.response)
    assert (step.repaired_by, step.scores, step.reply.text) == ("tidy", {"tidy": 1.0}, plain.response)
    assert (seed.original, seed.repaired_by) == (None, "")
    with Store(tmp_path / "run" / "run.db", read_only=True) as store:
        assert next(record.response for record in records(store, 1)) == step.response
        assert lineage(store, 0).records()[1].response == step.response
        assert summarise(store).repaired == {"tidy": 2}
    rows = json.loads((tmp_path / "run" / "dataset.json").read_text())
    assert step.response in [row["output"] for row in rows]
    assert "2 responses of these rows were repaired by tidy." in (tmp_path / "run" / "README.md").read_text()


def test_later_filters_see_the_repair_and_so_do_earlier_ones_that_ask_nothing(seeds, tmp_path):
    start(seeds, tmp_path / "run", {"watch": {"on": "response"}}, "mend", {"mend": {"as": "again"}})
    (_, step), (_, other) = steps_of(tmp_path / "run"), steps_of(tmp_path / "run", 1)
    assert len(SEEN) == 10
    assert {step.original, step.response, other.original, other.response} <= set(SEEN)
    assert step.response.startswith(f"{step.original}, mended: ")
    assert step.repaired_by == "mend, again"
    assert step.scores == {"watch:response": len(step.response)}
    start(seeds, tmp_path / "strict", {"watch": {"on": "response", "word": "tidied"}}, "mend", "tidy", "empty")
    (_, rejected) = steps_of(tmp_path / "strict")
    assert (rejected.verdict.stage, rejected.verdict.filter) == ("response", "watch")
    assert rejected.response.endswith("tidied")


def test_show_prints_both_answers(seeds, tmp_path, capsys):
    start(seeds, tmp_path / "run", "mend", {"watch": {"on": "response"}})
    with Store(tmp_path / "run" / "run.db", read_only=True) as store:
        emit(tree(lineage(store, 1), full=True))
    shown = capsys.readouterr().out
    assert "kept, watch:response" in shown and "repaired by mend" in shown
    assert 0 < shown.index("response, before it was repaired:") < shown.rindex("response:")
    start(seeds, tmp_path / "strict", "mend", {"watch": {"on": "response", "word": ", mended: "}})
    with Store(tmp_path / "strict" / "run.db", read_only=True) as store:
        show_rejected(store, tmp_path, Page("watch", None, 10, 0, True))
    rejected = capsys.readouterr().out
    assert 0 < rejected.index("  original ") < rejected.index("  response ") < rejected.index(", mended: ")


def test_a_seed_is_repaired_only_where_the_recipe_says_so(seeds, tmp_path):
    start(seeds, tmp_path / "run", {"tidy": {"on": ["response", "seeds"]}})
    seed, _ = steps_of(tmp_path / "run")
    assert (seed.original, seed.response) == ("def f0(): ...", "def f0(): ... tidied")
    start(seeds, tmp_path / "answered", {"tidy": {"on": "seeds"}}, seeds={"path": str(seeds), "answer": "missing"})
    assert [step.repaired_by for step in steps_of(tmp_path / "answered")] == ["tidy", ""]


def test_a_replay_asks_nothing_and_gives_the_same(seeds, tmp_path):
    first = start(seeds, tmp_path / "run", "mend", "tidy")
    before = written(tmp_path / "run")
    again = start(seeds, tmp_path / "run", "mend", "tidy")
    assert (again.calls, again.replayed, written(tmp_path / "run")) == (0, first.calls, before)


def written(out):
    return (out / "dataset.json").read_bytes(), (out / "README.md").read_bytes()


def test_a_rejudge_takes_a_repair_back_and_says_that_rows_changed(seeds, tmp_path):
    start(seeds, tmp_path / "plain")
    start(seeds, tmp_path / "run", "tidy")
    made = recipe(seeds, (Mine(),), filters=[], rounds=1, operators=["harder"])
    done = rejudge(tmp_path / "run", recipe=made, catalog=catalog(Mine()))
    assert (done.changes.gained, done.changes.lost, done.changes.lineages) == (2, 2, 2)
    assert written(tmp_path / "run")[0] == written(tmp_path / "plain")[0]


@pytest.mark.parametrize(
    ("filter", "message"),
    [
        ("wrong", "'wrong' gave a response .* only a ResponseFilter"),
        ({"wrong": {"on": "instruction"}}, "'wrong' gave a response .* only a ResponseFilter"),
        ("wrong-lineage", "'wrong-lineage' gave a response .* only a ResponseFilter"),
        ({"odd": {"what": "empty"}}, "a text is needed that shows something"),
        ({"odd": {"what": "number"}}, "gave 3 for a response"),
        ({"odd": {"what": "both"}}, "both rejects and repairs"),
    ],
)
def test_what_may_not_be_repaired_is_the_plugins_fault(seeds, tmp_path, filter, message):
    with pytest.raises(PluginError, match=message):
        start(seeds, tmp_path / "run", filter)


def test_the_plan_counts_what_a_filter_says_it_asks(seeds):
    made = recipe(seeds, (Mine(),), filters=["mend"], rounds=3, backends={"evolve": "logged", "respond": "logged"})
    plain = recipe(seeds, (Mine(),), filters=[], rounds=3, backends={"evolve": "logged", "respond": "logged"})
    found = catalog(Mine())
    rows, others = ({row.role: row for row in make_plan(each, found).rows} for each in (made, plain))
    assert (rows["judge"].calls, rows["judge"].completion_tokens) == (6, 6 * 7)
    assert rows["respond"].calls == others["respond"].calls + 12 == 18
    with pytest.raises(PluginError, match="a role that there is not"):
        make_plan(recipe(seeds, (Mine(),), filters=["cautious"]), found)
