"""The engine on its real store, through the public door: what a run yields, and what it never asks again."""

import asyncio
import json
import sqlite3
import sys

import pytest
from experiment import catalog, dataset_bytes, go, recipe, write_seeds
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import evolteacher as et
from evolteacher.errors import MissingExtra, NotAuthorised, PluginError, RunError, UsageError
from evolteacher.history import lineage, records
from evolteacher.progress import Progress
from evolteacher.runner import arun, run
from evolteacher.store import Store


def rows(folder, query, *values):
    with sqlite3.connect(folder / "run.db") as db:
        return db.execute(query, values).fetchall()


def asked(folder):
    return rows(folder, "SELECT count(*) FROM replies")[0][0]


@pytest.fixture
def seeds(tmp_path):
    return write_seeds(tmp_path, 40)


def test_a_second_run_asks_nothing_and_gives_the_same_bytes(seeds, tmp_path):
    first = go(seeds, tmp_path / "run")
    before = dataset_bytes(tmp_path / "run")
    second = go(seeds, tmp_path / "run")
    assert first.calls > 150
    assert (second.calls, second.replayed) == (0, first.calls)
    assert dataset_bytes(tmp_path / "run") == before
    assert second.summary == first.summary


def test_another_folder_gives_the_same_bytes_whatever_order_replies_come_in(seeds, tmp_path):
    go(seeds, tmp_path / "one", concurrency=1)
    go(seeds, tmp_path / "many", concurrency=64, backends={"evolve": {"logged": {"latency": [0, 0.02]}}})
    assert dataset_bytes(tmp_path / "one") == dataset_bytes(tmp_path / "many")


def test_every_evolution_is_on_record_with_its_verdict(seeds, tmp_path):
    result = go(seeds, tmp_path / "run")
    rejected = rows(tmp_path / "run", "SELECT filter, reason, child FROM steps WHERE filter != ''")
    assert {name for name, _, _ in rejected} == {"judged", "shaky"}
    assert all(reason and child for _, reason, child in rejected)
    assert sum(result.summary.filters.values()) == len(rejected) == sum(result.summary.rejected.values())
    assert result.records == len(json.loads((tmp_path / "run" / "dataset.json").read_bytes()))


def test_filters_that_ask_nothing_run_first_and_no_response_is_bought_for_what_they_reject(seeds, tmp_path):
    go(seeds, tmp_path / "run")
    assert rows(tmp_path / "run", "SELECT count(*) FROM steps WHERE filter = 'shaky'")[0][0] > 5
    assert rows(tmp_path / "run", "SELECT count(*) FROM steps WHERE filter = 'shaky' AND respond_reply")[0][0] == 0


def test_retire_ends_a_lineage_and_retry_evolves_the_parent_again_as_a_new_call(seeds, tmp_path):
    retired = go(seeds, tmp_path / "retire")
    retried = go(seeds, tmp_path / "retry", on_pruned="retry")
    with Store(tmp_path / "retire" / "run.db", read_only=True) as store:
        for order in range(40):
            steps = lineage(store, order).steps
            assert all(step.verdict.kept for step in steps[:-1])
    depths = 0
    with Store(tmp_path / "retry" / "run.db", read_only=True) as store:
        for order in range(40):
            steps = lineage(store, order).steps
            assert [step.round for step in steps] == [0, 1, 2, 3]
            parent, depth = steps[0].parent, 0
            for step in steps[1:]:
                assert step.parent == parent
                if step.verdict.kept:
                    parent, depth = step.evolution.child, depth + 1
                    assert step.evolution.depth == depth
                depths += step.evolution.depth != step.round
    assert depths > 10
    assert retried.records > retired.records


def test_round_0_is_the_seeds_with_a_response_once_each_in_seed_order(tmp_path):
    path = write_seeds(tmp_path, 20, answered=False)
    path.write_text(path.read_text() + path.read_text())
    result = go(path, tmp_path / "run")
    first = json.loads((tmp_path / "run" / "round-0.json").read_bytes())
    assert [row["instruction"].split()[0] for row in first] == [f"task{n}" for n in range(20) if n % 5]
    assert result.summary.seeds == 20
    assert result.summary.kept[0] == 16


def test_seeds_without_a_response_are_answered_where_the_recipe_says_so(tmp_path):
    path = write_seeds(tmp_path, 20, answered=False)
    result = go(path, tmp_path / "run", seeds={"path": str(path), "answer": "missing"})
    assert result.summary.kept[0] == 20
    assert rows(tmp_path / "run", "SELECT count(*) FROM replies WHERE round = 0 AND step = 'respond'")[0][0] == 4


def test_a_filter_on_seeds_keeps_the_seed_from_evolving(seeds, tmp_path):
    result = go(seeds, tmp_path / "run", filters=[{"shaky": {"on": "seeds"}}])
    assert result.summary.rejected == {0: result.summary.filters[("seed", "shaky")]}
    gone = rows(tmp_path / "run", "SELECT ord FROM steps WHERE round = 0 AND filter = 'shaky'")
    assert len(gone) > 5
    for (order,) in gone:
        assert rows(tmp_path / "run", "SELECT count(*) FROM steps WHERE ord = ?", order) == [(1,)]


def test_the_dataset_filter_drops_rows_of_the_whole_and_never_decides_what_evolves(seeds, tmp_path):
    plain = go(seeds, tmp_path / "plain")
    result = go(seeds, tmp_path / "run", dataset_filters=["first-words"])
    assert result.calls == plain.calls
    assert result.records < plain.records
    assert result.summary.filters[("dataset", "first-words")] == plain.records - result.records
    words = [row["instruction"].split()[0] for row in json.loads((tmp_path / "run" / "dataset.json").read_bytes())]
    assert len(words) == len(set(words))
    assert go(seeds, tmp_path / "run", dataset_filters=["first-words"]).calls == 0


def test_a_call_error_is_a_verdict_that_replays(seeds, tmp_path):
    rules = [
        {"step": "evolve", "share": 0.2, "error": "refused", "reply": "against policy"},
        {"step": "respond", "share": 0.2, "error": "too-long", "reply": "8 tokens too many"},
    ]
    backends = {"evolve": {"logged": {"rules": rules}}}
    first = go(seeds, tmp_path / "run", backends=backends)
    assert first.pending == 0
    assert first.summary.filters[("evolve", "refused")] > 3
    assert first.summary.filters[("response", "too-long")] > 3
    assert go(seeds, tmp_path / "run", backends=backends).calls == 0
    with Store(tmp_path / "run" / "run.db", read_only=True) as store:
        reasons = {step.verdict.reason for order in range(40) for step in lineage(store, order).steps}
    assert {"against policy", "8 tokens too many"} <= reasons


def test_passing_faults_are_asked_again_and_leave_no_trace_in_the_dataset(seeds, tmp_path):
    go(seeds, tmp_path / "calm")
    rules = [{"share": 0.5, "times": 2, "error": "transient", "reply": "503"}]
    result = go(seeds, tmp_path / "rough", backends={"evolve": {"logged": {"rules": rules}}})
    assert result.pending == 0
    assert dataset_bytes(tmp_path / "calm") == dataset_bytes(tmp_path / "rough")


def test_retries_that_run_out_leave_the_lineage_pending_and_a_resume_asks_again(seeds, tmp_path):
    rules = [{"share": 0.1, "times": 3, "error": "rate-limited", "reply": "slow down"}]
    changes = {"backends": {"evolve": {"logged": {"rules": rules}}}}
    first = go(seeds, tmp_path / "run", **changes)
    assert first.pending > 3
    assert "slow down" in first.reason
    assert "**Partial.**" in (tmp_path / "run" / "README.md").read_text()
    assert not rows(tmp_path / "run", "SELECT 1 FROM steps WHERE filter LIKE 'rate%'")
    stored = asked(tmp_path / "run")
    go(seeds, tmp_path / "run", limits={"retries": 5, "first_wait": 0.001}, **changes)
    assert asked(tmp_path / "run") > stored
    go(seeds, tmp_path / "calm")
    assert dataset_bytes(tmp_path / "run") == dataset_bytes(tmp_path / "calm")
    assert "**Partial.**" not in (tmp_path / "run" / "README.md").read_text()


def test_a_fatal_error_stops_at_once_and_what_settled_is_written(seeds, tmp_path):
    rules = [{"round": 2, "share": 0.1, "error": "not-authorised", "reply": "wrong key"}]
    with pytest.raises(NotAuthorised, match="wrong key"):
        go(seeds, tmp_path / "run", concurrency=2, backends={"evolve": {"logged": {"rules": rules}}})
    assert 0 < asked(tmp_path / "run") < 300
    assert json.loads((tmp_path / "run" / "dataset.json").read_bytes())
    assert "wrong key" in (tmp_path / "run" / "README.md").read_text()


def test_cancelling_writes_what_settled_and_a_resume_finishes(seeds, tmp_path):
    slow = {"backends": {"evolve": {"logged": {"latency": 0.05}}}}

    async def cancelled():
        progress = Progress()
        task = asyncio.create_task(arun(recipe(seeds, **slow), tmp_path / "run", catalog=catalog(), progress=progress))
        while progress.calls < 20:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    stored = asked(tmp_path / "run")
    assert 20 <= stored < 100
    assert "interrupted" in (tmp_path / "run" / "README.md").read_text()
    result = go(seeds, tmp_path / "run", **slow)
    assert result.replayed == stored
    go(seeds, tmp_path / "calm")
    assert dataset_bytes(tmp_path / "run") == dataset_bytes(tmp_path / "calm")


def test_a_plugin_that_raises_is_named_and_nothing_is_lost(seeds, tmp_path):
    class Broken:
        @et.hookimpl
        def register_filters(self):
            class Crash(et.InstructionFilter, name="crash"):
                def reject(self, evolution):
                    return None if evolution.round == 1 else 1 / 0

            return [Crash]

    with pytest.raises(PluginError, match=r"filter 'crash' raised ZeroDivisionError: .*test_run\.py:\d+"):
        go(seeds, tmp_path / "run", (Broken(),), filters=["crash"])
    assert asked(tmp_path / "run") > 0


def test_another_experiment_in_the_folder_stops_with_what_differs(seeds, tmp_path):
    go(seeds, tmp_path / "run")
    with pytest.raises(UsageError) as caught:
        go(seeds, tmp_path / "run", rounds=2, filters=["judged", {"shaky": {"share": 4}}])
    lines = str(caught.value).splitlines()
    assert "  rounds: the folder has 3, the recipe 2" in lines
    assert "  filters[1].shaky.share: the folder has 3, the recipe 4" in lines
    assert "--fork" in lines[-1]


def test_another_component_in_a_place_is_one_line(seeds, tmp_path):
    go(seeds, tmp_path / "run", filters=["judged"])
    with pytest.raises(UsageError) as caught:
        go(seeds, tmp_path / "run", filters=[{"shaky": {"share": 4}}, "judged"])
    assert str(caught.value).splitlines()[1:-1] == [
        "  filters[0]: the folder has judged, the recipe shaky",
        "  filters[1]: the folder has nothing, the recipe judged",
    ]


def test_what_is_free_may_change_on_resume(seeds, tmp_path):
    go(seeds, tmp_path / "run", limit=10)
    result = go(
        seeds, tmp_path / "run", limit=30, name="other", concurrency=3, export=["evol", "rounds", "jsonl", "chat"],
        backends={"evolve": {"logged": {"latency": 0.001}}}, limits={"retries": 9},
    )  # fmt: skip
    assert result.summary.seeds == 30
    assert result.replayed > 30
    go(seeds, tmp_path / "at-once", limit=30)
    assert dataset_bytes(tmp_path / "run") == dataset_bytes(tmp_path / "at-once")


def test_a_format_no_longer_asked_for_leaves_no_old_dataset(seeds, tmp_path):
    go(seeds, tmp_path / "run", limit=10)
    go(seeds, tmp_path / "run", limit=30, export=["chat"])
    go(seeds, tmp_path / "fresh", limit=30)
    assert dataset_bytes(tmp_path / "run") == dataset_bytes(tmp_path / "fresh")
    go(seeds, tmp_path / "one", limit=10, export=["chat"])
    assert not [path.name for path in (tmp_path / "one").iterdir() if path.suffix == ".json"]


def test_a_changed_seed_file_stops_with_the_numbers(seeds, tmp_path):
    go(seeds, tmp_path / "run")
    lines = seeds.read_text().splitlines(keepends=True)
    extra = json.dumps({"instruction": "something new to do", "output": "x"}) + "\n"
    cases = {
        "1 added, 0 missing": [*lines, extra],
        "0 added, 2 missing": lines[:-2],
        "1 added, 1 missing": [*lines[:5], extra, *lines[6:]],
        "another order": [lines[1], lines[0], *lines[2:]],
        "other responses": [lines[0].replace("def f0", "def g0"), *lines[1:]],
    }
    for expected, changed in cases.items():
        seeds.write_text("".join(changed))
        with pytest.raises(UsageError, match=expected):
            go(seeds, tmp_path / "run")
    seeds.write_text("".join(lines))
    assert go(seeds, tmp_path / "run").calls == 0
    assert len(cases) == 5


def test_more_seeds_than_there_were_are_a_change_unless_the_limit_kept_them_out(seeds, tmp_path):
    lines = seeds.read_text().splitlines(keepends=True)
    seeds.write_text("".join(lines[:20]))
    go(seeds, tmp_path / "ended", limit=25)
    go(seeds, tmp_path / "cut", limit=15)
    seeds.write_text("".join(lines[:30]))
    for limit in (25, 28, None):
        with pytest.raises(UsageError, match="added, 0 missing"):
            go(seeds, tmp_path / "ended", limit=limit)
    assert go(seeds, tmp_path / "cut", limit=28).summary.seeds == 28


def test_a_smaller_limit_stops(seeds, tmp_path):
    go(seeds, tmp_path / "run", limit=10)
    with pytest.raises(UsageError, match="--limit 10 or more"):
        go(seeds, tmp_path / "run", limit=9)


def test_a_fork_reuses_what_still_fits_and_only_reads_the_old_run(seeds, tmp_path):
    old = go(seeds, tmp_path / "old")
    before = (tmp_path / "old" / "run.db").read_bytes()
    stricter = {"filters": ["judged", {"shaky": {"share": 2}}]}
    new = go(seeds, tmp_path / "new", fork=tmp_path / "old", **stricter)
    assert new.forked > 100
    assert new.summary.forked == new.forked
    assert new.calls < old.calls / 2
    assert (tmp_path / "old" / "run.db").read_bytes() == before
    fresh = go(seeds, tmp_path / "fresh", **stricter)
    assert dataset_bytes(tmp_path / "new") == dataset_bytes(tmp_path / "fresh")
    assert fresh.calls == new.calls + new.forked


def test_a_fork_with_another_sampling_reuses_nothing_that_was_sampled_otherwise(seeds, tmp_path):
    go(seeds, tmp_path / "old")
    new = go(seeds, tmp_path / "new", fork=tmp_path / "old", sampling={"temperature": 0.5})
    assert new.forked == 0


def test_a_locked_folder_is_refused(seeds, tmp_path):
    async def twice():
        slow = recipe(seeds, backends={"evolve": {"logged": {"latency": 0.05}}})
        first = asyncio.create_task(arun(slow, tmp_path / "run", catalog=catalog()))
        await asyncio.sleep(0.3)
        with pytest.raises(RunError, match="another run is writing here"):
            await arun(slow, tmp_path / "run", catalog=catalog())
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)

    asyncio.run(twice())


def test_run_inside_a_loop_says_what_to_write_instead(seeds, tmp_path):
    async def inside():
        with pytest.raises(UsageError, match=r"await et\.arun"):
            run(recipe(seeds), tmp_path / "run")
        await arun(recipe(seeds, rounds=1), tmp_path / "run", catalog=catalog())

    asyncio.run(inside())


def test_observers_are_told_in_order_and_a_raising_one_costs_nothing(seeds, tmp_path):
    told, notes = [], []

    class Observer:
        @et.hookimpl
        def run_started(self, event):
            told.append(event)

        @et.hookimpl
        def evolution_settled(self, event):
            told.append(event)

        @et.hookimpl
        def round_finished(self, event):
            told.append(event)
            raise ValueError("observer is broken")

        @et.hookimpl
        def run_finished(self, event):
            told.append(event)

    for replayed in (False, True):
        told.clear()
        result = go(seeds, tmp_path / "run", (Observer(),), note=notes.append)
        names = [type(event).__name__ for event in told]
        assert names[0] == "RunStarted"
        assert names[-1] == "RunFinished"
        rounds = [event for event in told if type(event).__name__ == "RoundFinished"]
        assert [event.round for event in rounds] == [1, 2, 3]
        assert all(event.replayed is replayed for event in rounds)
        settled = [event for event in told if type(event).__name__ == "EvolutionSettled"]
        tried = sum(count for count, _ in result.summary.operators.values())
        assert len(settled) == tried + 40
        assert told[-1].records == result.records
    assert any("observer is broken" in note and "test-1" in note for note in notes)


ODD = [
    "{braces} and {{ template }} and {% raw %} %s %d %(x)s", "quotes \" ' ` \\ back", "emoji 🦜 und Umlaute äöü",
    "CR\r\nLF\rlines\n", "NUL \x00 inside", "\u202eright to left\u202c", "x" * 100_000, "</s><|im_end|>", "  spaces  ",
]  # fmt: skip


def test_odd_texts_go_through_unharmed(tmp_path):
    path = tmp_path / "odd.json"
    path.write_text(json.dumps([{"instruction": f"do {text}", "output": text or "x"} for text in ODD]))
    operators = ["add-constraints", "harder", {"longer": {"template": "T {{ instruction }} T"}}]
    result = go(path, tmp_path / "run", operators=operators, filters=[], rounds=2, on_pruned="retry")
    assert result.pending == 0
    found = json.loads((tmp_path / "run" / "round-0.json").read_bytes())
    assert [row["output"] for row in found] == ODD
    assert len(found) == len(ODD) == 9
    prompts = [
        json.loads(row[0])[0]["content"]
        for row in rows(tmp_path / "run", "SELECT prompt FROM replies WHERE round = 1 AND step = 'evolve'")
    ]
    assert all(any(f"do {text}" in prompt for prompt in prompts) for text in ODD)
    assert go(path, tmp_path / "run", operators=operators, filters=[], rounds=2, on_pruned="retry").calls == 0


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(st.text(min_size=1, max_size=40), min_size=1, max_size=12, unique=True),
    rounds=st.integers(1, 3),
    on_pruned=st.sampled_from(["retire", "retry"]),
    share=st.integers(1, 4),
)
def test_replay_equals_run(tmp_path_factory, texts, rounds, on_pruned, share):
    folder = tmp_path_factory.mktemp("law")
    (folder / "s.json").write_text(json.dumps([{"instruction": "t " + text, "output": text} for text in texts]))
    changes = {"rounds": rounds, "on_pruned": on_pruned, "filters": ["judged", {"shaky": {"share": share}}]}
    first = go(folder / "s.json", folder / "run", **changes)
    before = [(folder / "run" / name).read_bytes() for name in ("dataset.json", "dataset.jsonl")]
    again = go(folder / "s.json", folder / "run", **changes)
    assert again.calls == 0
    assert again.summary == first.summary
    assert [(folder / "run" / name).read_bytes() for name in ("dataset.json", "dataset.jsonl")] == before
    with Store(folder / "run" / "run.db", read_only=True) as store:
        assert sum(1 for _ in records(store)) == first.records


def test_a_filter_that_judges_both_places_has_slots_of_its_own_in_each(tmp_path):
    class Both:
        @et.hookimpl
        def register_filters(self):
            class Picky(et.TextFilter, name="picky"):
                async def judge(self, text, ask):
                    await ask("the same question of both")

            return [Picky]

    go(write_seeds(tmp_path, 3), tmp_path / "run", (Both(),), filters=["picky"], operators=["harder"], rounds=1)
    steps = rows(tmp_path / "run", "SELECT step, count(*) FROM replies WHERE step LIKE 'filter%' GROUP BY step")
    assert steps == [("filter:picky", 3), ("filter:picky:response", 3)]


class Needy(et.TextFilter, name="needy"):
    """Need what is not there."""

    def require(self):
        MissingExtra.unless(["json", "a_library_that_nobody_installed"], "filter 'needy'", "more", "evolteacher-needy")

    def reject(self, text):
        import a_library_that_nobody_installed  # noqa: F401


class Faulty(et.TextFilter, name="faulty"):
    """Fail at saying what it needs."""

    def require(self):
        raise KeyError("json")

    def reject(self, text):
        return None


class Wary(et.TextFilter, name="wary"):
    """Say something before it works, or fail at that."""

    fails: bool = False

    def caution(self):
        if self.fails:
            raise KeyError("json")
        return "it works here without its guards"

    def reject(self, text):
        return None


class NeedyPlugin:
    @et.hookimpl
    def register_filters(self):
        return [Needy, Faulty, Wary]


def test_what_a_filter_needs_is_said_before_anything_is_asked_or_written(seeds, tmp_path):
    wanted = r"filters\[1\]: filter 'needy' needs the extra 'more': pip install 'evolteacher-needy\[more\]'"
    with pytest.raises(UsageError, match=f"^{wanted}$"):
        go(seeds, tmp_path / "run", [NeedyPlugin()], filters=["shaky", "needy"])
    with pytest.raises(PluginError, match="filter 'faulty', saying what it needs, raised KeyError"):
        go(seeds, tmp_path / "run", [NeedyPlugin()], filters=["faulty"])
    assert not (tmp_path / "run").exists()


def test_what_a_filter_warns_of_is_noted_once_at_the_start(seeds, tmp_path):
    notes = []
    go(seeds, tmp_path / "run", [NeedyPlugin()], filters=["wary", {"wary": {"as": "again"}}], note=notes.append)
    assert [note for note in notes if "guards" in note] == ["wary, again: it works here without its guards"]
    with pytest.raises(PluginError, match="filter 'wary', warning of something, raised KeyError"):
        go(seeds, tmp_path / "other", [NeedyPlugin()], filters=[{"wary": {"fails": True}}])


def test_parquet_without_its_extra_is_said_before_anything_is_asked(seeds, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    notes = []
    go(seeds, tmp_path / "auto", note=notes.append, export=None, rounds=1)
    assert any("evolteacher[parquet]" in note for note in notes)
    assert not (tmp_path / "auto" / "dataset.parquet").exists()
    notes.clear()
    go(seeds, tmp_path / "auto", note=notes.append, export=None, rounds=1)
    assert not any("parquet" in note for note in notes)
    with pytest.raises(MissingExtra, match=r"evolteacher\[parquet\]"):
        go(seeds, tmp_path / "run", export=["parquet"])
    assert not (tmp_path / "run").exists()
