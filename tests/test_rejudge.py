"""rejudge: changed filters over what a folder holds.

Run as a script, it judges a folder anew and kills itself on the way, as it is told to.
"""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from itertools import count
from pathlib import Path

import pytest
from experiment import catalog, dataset_bytes, go, recipe, write_seeds
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import evolteacher as et
from evolteacher.errors import RunError, UsageError
from evolteacher.lock import locked
from evolteacher.rejudging import rejudge
from evolteacher.store import Store

SEEDS = 12
KILL_AT_TEXT = int(os.environ.get("KILL_AT_TEXT", "0"))
texts, renames = count(1), count(1)


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


class Remainder(et.TextFilter, name="remainder"):
    """Reject a text by what its length leaves."""

    part: int = 5
    left: int = 0

    def reject(self, text):
        if KILL_AT_TEXT and next(texts) == KILL_AT_TEXT:
            kill()
        return f"{len(text)} is bad" if len(text) % self.part == self.left else None


class Scored(et.InstructionFilter, name="scored"):
    """A judge whose threshold decides."""

    least: int = 0
    words: str = "Score"

    async def judge(self, evolution, ask):
        reply = await ask(f"{self.words}: {evolution.child.text}")
        score = sum(f"{evolution.child.text}{reply.text}".encode()) % 10
        return f"{score} is under {self.least}" if score < self.least else None


class Mended(et.ResponseFilter, name="mended"):
    """Repair a response of a length that it does not like, as a judge says."""

    async def judge(self, record, ask):
        if len(record.response) % 2:
            return None
        return et.Judgement(response=f"{record.response} {(await ask('Mend: ' + record.response)).text}")


class More:
    @et.hookimpl
    def register_filters(self):
        return [Remainder, Scored, Mended]


def made(seeds, /, **changes):
    return recipe(seeds, (More(),), **changes)


def judge_anew(seeds, out, /, *, dry_run=False, **changes):
    return rejudge(out, recipe=made(seeds, **changes), dry_run=dry_run, catalog=catalog(More()))


def start(seeds, out, /, **changes):
    return go(seeds, out, (More(),), **changes)


def stored_replies(out):
    with Store(Path(out) / "run.db", read_only=True) as store:
        return store.query("SELECT * FROM replies ORDER BY id").fetchall()


def derived(out):
    with Store(Path(out) / "run.db", read_only=True) as store:
        tables = ("steps", "lineages", "drops")
        facts = [store.meta("experiment"), store.meta("recipe")]
        return [*facts, *(store.query(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall() for table in tables)]


@pytest.fixture
def seeds(tmp_path):
    return write_seeds(tmp_path, SEEDS)


@pytest.fixture
def finished(seeds, tmp_path):
    """A run of the judge, and of two filters that ask nothing."""
    out = tmp_path / "run"
    start(seeds, out, filters=["judged", "shaky"])
    return out


def test_tighter_filters_ask_nothing_and_give_what_a_fresh_run_gives(seeds, finished, tmp_path):
    before = stored_replies(finished)
    done = judge_anew(seeds, finished, filters=["judged", "shaky", {"remainder": {"part": 3}}])
    assert (done.pending, done.calls, done.reason) == (0, 0, "")
    assert stored_replies(finished) == before
    start(seeds, tmp_path / "fresh", filters=["judged", "shaky", {"remainder": {"part": 3}}])
    assert dataset_bytes(finished) == dataset_bytes(tmp_path / "fresh")
    assert done.changes.lost > 0
    assert sum(after for (name, _), (_, after) in done.changes.rejected.items() if name == "remainder") > 0


def test_what_changed_adds_up(seeds, finished):
    old = et.run(made(seeds, filters=["judged", "shaky"]), finished, catalog=catalog(More()))
    done = judge_anew(seeds, finished, filters=["judged", {"remainder": {"part": 3}}])
    changes = done.changes
    assert sum(before for before, _ in changes.kept.values()) == old.records
    assert (
        sum(after for _, after in changes.kept.values()) == done.records == old.records + changes.gained - changes.lost
    )
    before = {name: 0 for name, _ in changes.rejected}
    for (name, _), (number, _) in changes.rejected.items():
        before[name] += number
    assert {name: n for name, n in before.items() if n} == {name: n for (_, name), n in old.summary.filters.items()}
    assert 0 < changes.lineages <= SEEDS
    assert {example.filter for example in changes.examples_lost} <= {"remainder", ""}
    assert len(changes.examples_lost) == min(3, changes.lost) > 0
    assert all("is bad" in example.reason for example in changes.examples_lost if example.filter == "remainder")


def test_the_same_filters_change_nothing(seeds, finished):
    before, files = derived(finished), dataset_bytes(finished)
    done = judge_anew(seeds, finished, filters=["judged", "shaky"])
    assert done.differs == ()
    assert (done.changes.gained, done.changes.lost, done.changes.lineages) == (0, 0, 0)
    assert (derived(finished), dataset_bytes(finished)) == (before, files)


def test_a_dropped_filter_leaves_pending_what_was_never_asked_and_a_run_completes_it(seeds, finished, tmp_path):
    before = stored_replies(finished)
    done = judge_anew(seeds, finished, filters=["judged"])
    assert stored_replies(finished) == before
    assert 0 < done.pending <= SEEDS
    assert done.reason.startswith("a reply is needed that is not stored: ")
    assert "not finished" in (finished / "README.md").read_text()
    fresh = start(seeds, tmp_path / "fresh", filters=["judged"])
    missing = fresh.calls - len(before)
    assert 0 < missing <= done.calls
    assert done.likely <= done.calls
    completed = start(seeds, finished, filters=["judged"])
    assert (completed.calls, completed.pending) == (missing, 0)
    assert dataset_bytes(finished) == dataset_bytes(tmp_path / "fresh")


def test_an_unfinished_run_is_judged_too(seeds, tmp_path):
    out = tmp_path / "run"
    half = {"budget": {"tokens": 4000}, "sampling": {"max_tokens": 100}}
    assert start(seeds, out, filters=["shaky"], **half).pending > 0
    before = stored_replies(out)
    done = judge_anew(seeds, out, filters=["judged", "shaky"], **half)
    assert done.pending > 0
    assert stored_replies(out) == before
    changed = {"filters": ["judged", "shaky"], "sampling": half["sampling"]}
    assert start(seeds, out, **changed).pending == 0
    start(seeds, tmp_path / "fresh", **changed)
    assert dataset_bytes(out) == dataset_bytes(tmp_path / "fresh")


def test_the_old_recipe_is_refused_afterwards_and_the_new_one_goes_on(seeds, finished):
    judge_anew(seeds, finished, filters=["judged", "shaky", "remainder"])
    with pytest.raises(UsageError, match=r"another experiment[\s\S]*filters\[2\]: the folder has remainder"):
        start(seeds, finished, filters=["judged", "shaky"])
    assert start(seeds, finished, filters=["judged", "shaky", "remainder"]).calls == 0
    assert "remainder" in (finished / "recipe.lock.yaml").read_text()


OTHERS = {
    "operators": {"operators": ["harder"]},
    "sampling": {"sampling": {"temperature": 0.5}},
    "backends": {"backends": {"evolve": {"logged": {"default": "five"}}}},
    "rounds": {"rounds": 2},
    "seed": {"seed": 1},
    "seeds": {"answer": "missing"},
}


@pytest.mark.parametrize("part", OTHERS)
def test_what_is_another_experiment_is_refused_and_nothing_is_touched(seeds, finished, part):
    before, files = derived(finished), dataset_bytes(finished)
    change = {"seeds": {"path": str(seeds), "answer": "missing"}} if part == "seeds" else OTHERS[part]
    with pytest.raises(UsageError, match=rf"  {part}[\s\S]*the folder has [\s\S]*--fork"):
        judge_anew(seeds, finished, filters=["judged"], **change)
    assert (derived(finished), dataset_bytes(finished)) == (before, files)


def test_another_backend_of_an_operator_is_another_experiment_also_where_it_is_the_judges(seeds, tmp_path):
    operators = ["harder", {"longer": {"backend": "judge"}}]
    backends = {"evolve": "logged", "judge": {"logged": {"default": "three"}}}
    start(seeds, tmp_path / "run", operators=operators, backends=backends, filters=["judged"])
    with pytest.raises(UsageError, match=r"backends\.judge"):
        judge_anew(seeds, tmp_path / "run", operators=operators, filters=["judged"],
                   backends={"evolve": "logged", "judge": {"logged": {"default": "four"}}})  # fmt: skip


def test_another_judge_is_asked_and_counted(seeds, tmp_path):
    out, filters = tmp_path / "run", [{"scored": {"least": 3}}]
    start(seeds, out, filters=filters)
    done = judge_anew(seeds, out, filters=[{"scored": {"least": 3, "words": "Mark"}}])
    assert done.pending == SEEDS
    judging = {row.role: row for row in done.rest}
    assert judging["judge"].calls >= judging["judge"].likely >= SEEDS
    other = {"evolve": "logged", "judge": {"logged": {"default": "nine"}}}
    assert judge_anew(seeds, out, filters=filters, backends=other).pending == SEEDS
    colder = {"judge": {"temperature": 0}}
    assert judge_anew(seeds, out, filters=filters, sampling=colder).pending == SEEDS
    assert judge_anew(seeds, out, filters=filters).pending == 0


def test_a_threshold_is_moved_without_asking(seeds, tmp_path):
    out = tmp_path / "run"
    start(seeds, out, filters=[{"scored": {"least": 3}}])
    done = judge_anew(seeds, out, filters=[{"scored": {"least": 6}}])
    assert (done.pending, done.calls) == (0, 0)
    assert done.changes.lost > 0
    start(seeds, tmp_path / "fresh", filters=[{"scored": {"least": 6}}])
    assert dataset_bytes(out) == dataset_bytes(tmp_path / "fresh")


def test_dataset_filters_alone(seeds, finished, tmp_path):
    kept = dataset_bytes(finished)
    done = judge_anew(seeds, finished, filters=["judged", "shaky"], dataset_filters=["first-words"])
    assert done.pending == 0
    assert {name for (name, _), (old, new) in done.changes.rejected.items() if old != new} == {"first-words"}
    start(seeds, tmp_path / "fresh", filters=["judged", "shaky"], dataset_filters=["first-words"])
    assert dataset_bytes(finished) == dataset_bytes(tmp_path / "fresh") != kept
    judge_anew(seeds, finished, filters=["judged", "shaky"])
    assert dataset_bytes(finished) == kept


def test_on_pruned_may_change(seeds, finished, tmp_path):
    kept = dataset_bytes(finished)
    done = judge_anew(seeds, finished, filters=["judged", "shaky"], on_pruned="retry")
    assert done.pending > 0
    start(seeds, finished, filters=["judged", "shaky"], on_pruned="retry")
    start(seeds, tmp_path / "fresh", filters=["judged", "shaky"], on_pruned="retry")
    assert dataset_bytes(finished) == dataset_bytes(tmp_path / "fresh")
    assert judge_anew(seeds, finished, filters=["judged", "shaky"]).pending == 0
    assert dataset_bytes(finished) == kept


def test_a_dry_run_says_the_same_and_writes_nothing(seeds, finished):
    files = {path.name: path.read_bytes() for path in finished.iterdir() if not path.name.startswith("run.db-")}
    before = derived(finished)
    tried = judge_anew(seeds, finished, dry_run=True, filters=["judged"])
    assert derived(finished) == before
    assert {path.name: path.read_bytes() for path in finished.iterdir() if path.name in files} == files
    done = judge_anew(seeds, finished, filters=["judged"])
    assert (tried.changes, tried.pending, tried.rest) == (done.changes, done.pending, done.rest)
    assert (tried.dry_run, done.dry_run) == (True, False)


def test_the_folders_own_recipe_is_changed_by_set(finished):
    done = rejudge(finished, set=["filters=[judged, shaky, {remainder: {part: 3}}]"], catalog=catalog(More()))
    assert done.differs == ("  filters[2]: the folder has nothing, the recipe remainder",)
    assert done.changes.lost > 0


def test_prices_tell_what_the_rest_costs(seeds, finished):
    done = judge_anew(seeds, finished, filters=["judged"], prices={"evolve": {"input": 1.0, "output": 2.0}})
    assert done.dollars is not None
    assert done.dollars > 0


def test_where_there_is_no_run_or_it_is_in_use(seeds, finished, tmp_path):
    with pytest.raises(UsageError, match="there is no run here"):
        rejudge(tmp_path / "none", catalog=catalog(More()))
    with locked(finished), pytest.raises(RunError, match="another run"):
        judge_anew(seeds, finished, filters=["judged"])


def test_inside_a_running_loop_the_coroutine_is_named(finished):
    async def inside():
        with pytest.raises(UsageError, match=r"await et\.arejudge"):
            rejudge(finished)
        return await et.arejudge(finished, catalog=catalog(More()))

    assert asyncio.run(inside()).pending == 0


FILTERS = st.lists(
    st.sampled_from(
        [
            "judged",
            "shaky",
            {"shaky": {"share": 2, "as": "shakier"}},
            {"remainder": {"part": 4}},
            {"remainder": {"part": 3, "left": 1, "on": ["instruction", "response"], "as": "both"}},
            {"scored": {"least": 4}},
            "mended",
            {"remainder": {"part": 7, "on": "seeds", "as": "seedy"}},
        ]
    ),
    unique_by=str,
    max_size=4,
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(FILTERS, FILTERS, st.booleans())
def test_there_and_back_is_the_same_and_what_is_not_pending_is_as_a_fresh_run(tmp_path_factory, a, b, dropping):
    folder = tmp_path_factory.mktemp("law")
    seeds, last = write_seeds(folder, 6), ["first-words"] if dropping else []
    start(seeds, folder / "run", filters=a)
    files, facts, replies = dataset_bytes(folder / "run"), derived(folder / "run"), stored_replies(folder / "run")
    done = judge_anew(seeds, folder / "run", filters=b, dataset_filters=last)
    fresh = start(seeds, folder / "fresh", filters=b, dataset_filters=last)
    if not done.pending:
        assert dataset_bytes(folder / "run") == dataset_bytes(folder / "fresh")
    assert fresh.calls <= done.calls + len(replies)
    if set(map(str, a)) <= set(map(str, b)) and not any(
        any(asks in str(f) for asks in ("scored", "judged", "mended")) for f in b if f not in a
    ):
        assert not done.pending
    back = judge_anew(seeds, folder / "run", filters=a)
    assert not back.pending
    assert (dataset_bytes(folder / "run"), derived(folder / "run")) == (files, facts)
    assert stored_replies(folder / "run") == replies


def judge_and_die(seeds, out, **kill_at):
    """Judge anew in a process that kills itself; return whether it was killed before its end."""
    environment = {**os.environ, **{name: str(number) for name, number in kill_at.items()}}
    command = [sys.executable, __file__, str(seeds), str(out)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode != 0


NEW = ["judged", {"remainder": {"part": 3}}]


@pytest.mark.parametrize("goes_on", ["rejudge", "run"])
def test_killed_at_any_point_the_same_rejudge_or_a_run_ends_it(seeds, finished, tmp_path, goes_on):
    start(seeds, tmp_path / "fresh", filters=NEW)
    expected, old, killed = dataset_bytes(tmp_path / "fresh"), derived(finished), {"text": 0, "file": 0}
    points = [("text", "KILL_AT_TEXT", n) for n in (1, 9)] + [("file", "KILL_AT_RENAME", n) for n in (1, 2, 7)]
    for kind, name, number in points:
        out = tmp_path / f"{kind}-{number}"
        shutil.copytree(finished, out)
        killed[kind] += judge_and_die(seeds, out, **{name: number})
        assert (derived(out) == old) == (kind == "text")
        if goes_on == "rejudge":
            assert judge_anew(seeds, out, filters=NEW).pending > 0
        elif kind == "text":
            assert start(seeds, out, filters=["judged", "shaky"]).calls == 0
            assert dataset_bytes(out) == dataset_bytes(finished)
            continue
        assert start(seeds, out, filters=NEW).pending == 0
        assert dataset_bytes(out) == expected
    assert killed == {"text": 2, "file": 3}


def die_at_rename(event, arguments):
    if event == "os.rename" and next(renames) == int(os.environ.get("KILL_AT_RENAME", "0")):
        kill()


if __name__ == "__main__":
    sys.addaudithook(die_at_rename)
    judge_anew(sys.argv[1], sys.argv[2], filters=NEW)
