"""What a plan says beforehand, held against what a run then asks."""

import json
import math

import pytest

import evolteacher as et
from evolteacher.catalog import Catalog
from evolteacher.errors import PluginError, SeedError
from evolteacher.expected import GROWTH, RESPONSE_TOKENS, SEEDS_ASSUMED
from evolteacher.plan import make_plan
from evolteacher.recipe import Recipe
from evolteacher.runner import run
from evolteacher.store import Store

TASK = "Write a function that adds up the numbers of a list, number {}."


class Judge(et.ResponseFilter, name="judge-it"):
    """Ask, and keep."""

    async def judge(self, record, ask):
        await ask(f"Is this good? {record.response}")


class JudgeTask(et.InstructionFilter, name="judge-task"):
    """Ask, and keep."""

    async def judge(self, evolution, ask):
        await ask(f"Is this good? {evolution.child.text}")


class JudgeText(et.TextFilter, name="judge-text"):
    """Ask, and keep."""

    async def judge(self, text, ask):
        await ask(f"Is this good? {text}")


class Twice(et.Operator, name="twice"):
    """Ask twice."""

    async def evolve(self, parent, ask):
        await ask("Think.")
        return (await ask(f"Harder:\n{parent.text}")).text


class Plugin:
    @staticmethod
    @et.hookimpl
    def register_operators():
        return [Twice]

    @staticmethod
    @et.hookimpl
    def register_filters():
        return [Judge, JudgeTask, JudgeText]


@pytest.fixture
def catalog():
    loaded = Catalog.load()
    loaded.register(Plugin, "planning")
    return loaded


@pytest.fixture
def build(tmp_path, catalog):
    def make(seeds=6, answers=400, **changes):
        rows = [{"instruction": TASK.format(n), **({"output": "x" * answers} if answers else {})} for n in range(seeds)]
        (tmp_path / "seeds.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        data = {
            "evolteacher": 1,
            "name": "planned",
            "seeds": {"path": str(tmp_path / "seeds.jsonl")},
            "rounds": 3,
            "operators": ["add-constraints", "more-steps"],
            "backends": {"evolve": "scripted"},
        }
        return Recipe.from_dict({**data, **changes}, catalog=catalog)

    return make


def by_role(plan):
    return {row.role: row for row in plan.rows}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {"evolve": 18, "respond": 18}),
        ({"rounds": 1}, {"evolve": 6, "respond": 6}),
        ({"filters": ["judge-task"]}, {"evolve": 18, "respond": 18, "judge": 18}),
        ({"filters": ["judge-task", "judge-it"]}, {"evolve": 18, "respond": 18, "judge": 36}),
        ({"filters": [{"judge-it": {"on": ["response", "seeds"]}}]}, {"evolve": 18, "respond": 18, "judge": 24}),
        ({"filters": [{"judge-task": {"on": "seeds"}}]}, {"evolve": 18, "respond": 18, "judge": 6}),
        ({"filters": [{"judge-text": {"on": "seeds"}}]}, {"evolve": 18, "respond": 18, "judge": 12}),
        ({"filters": ["judge-text"]}, {"evolve": 18, "respond": 18, "judge": 36}),
    ],
)
def test_a_run_that_keeps_everything_makes_exactly_the_calls_of_the_plan(build, catalog, tmp_path, changes, expected):
    recipe = build(**changes)
    plan = make_plan(recipe, catalog)
    assert {role: row.calls for role, row in by_role(plan).items()} == expected
    assert plan.calls == sum(expected.values())
    assert run(recipe, tmp_path / "run", catalog=catalog).calls == plan.calls


@pytest.mark.parametrize(
    ("filters", "first"),
    [(["difficulty"], 18), ([{"quality": {"tries": 4, "on": ["response", "seeds"]}}], 24), (["deita-quality"], 6)],
)
def test_verdicts_that_cannot_be_read_are_among_the_most_and_not_among_the_likely(
    build, catalog, tmp_path, filters, first
):
    unread = {"scripted": {"rules": [{"step": "filter", "reply": "hard to say"}]}}
    recipe = build(filters=filters, backends={"evolve": unread}, prices={"evolve": {"input": 1, "output": 2}})
    tries = recipe.filters[0].component.tries
    row = by_role(make_plan(recipe, catalog))["judge"]
    assert (row.calls, row.again) == (first * tries, first * (tries - 1)) and row.again > 0
    assert row.dollars.likely * tries < row.dollars.high and row.dollars.low < row.dollars.likely
    result = run(recipe, tmp_path / "run", catalog=catalog)
    with Store(result.folder / "run.db", read_only=True) as store:
        asked = store.query("SELECT count(*) FROM replies WHERE step LIKE 'filter:%'").fetchone()[0]
        measured = by_role(make_plan(recipe, catalog, store))["judge"]
    assert asked == row.calls
    assert measured.likely == row.calls if first >= 10 else row.calls - row.again


def test_a_folder_tells_how_often_verdicts_are_asked_for_again(build, catalog, tmp_path):
    clear = {"scripted": {"rules": [{"step": "filter", "reply": "Score: 7"}]}}
    recipe = build(filters=["difficulty"], backends={"evolve": clear})
    result = run(recipe, tmp_path / "run", catalog=catalog)
    with Store(result.folder / "run.db", read_only=True) as store:
        row = by_role(make_plan(recipe, catalog, store))["judge"]
    assert (row.calls, row.likely, row.again) == (36, 18, 18)


def test_seeds_without_a_response_are_answered_where_the_recipe_says_so(build, catalog, tmp_path):
    recipe = build(answers=False)
    assert by_role(make_plan(recipe, catalog))["respond"].calls == 18
    answering = recipe.changed(set=["seeds.answer=missing"], catalog=catalog)
    plan = make_plan(answering, catalog)
    assert by_role(plan)["respond"].calls == 24
    assert run(answering, tmp_path / "run", catalog=catalog).calls == plan.calls


def test_the_limit_counts(build, catalog):
    recipe = build(seeds=9).changed(set=["seeds.limit=4"], catalog=catalog)
    assert make_plan(recipe, catalog).seeds == 4


def test_the_estimate_follows_its_rule(build, catalog):
    operators = ["add-constraints", {"misdirection": {"weight": 3}}]
    rows = by_role(make_plan(build(rounds=1, operators=operators), catalog))
    length = len(TASK.format(0))
    assert rows["respond"].prompt_tokens == pytest.approx(6 * (length + GROWTH) / 4, abs=1)
    assert rows["respond"].completion_tokens == 6 * RESPONSE_TOKENS, "the seeds' own are shorter, as bare code is"
    long = by_role(make_plan(build(rounds=1, operators=operators, answers=2000), catalog))
    assert long["respond"].completion_tokens == 6 * 500
    assert rows["evolve"].completion_tokens == pytest.approx(6 * (length + GROWTH) / 4, abs=1)
    one, three = (
        len(catalog.find(et.Operator, name)().prompt(et.Instruction(TASK.format(0))))
        for name in ("add-constraints", "misdirection")
    )
    assert one != three
    assert rows["evolve"].prompt_tokens == pytest.approx(6 * (one + 3 * three) / 4 / 4, abs=1)
    assert rows["respond"].most_tokens == 6 * 2048


def test_no_response_is_estimated_above_max_tokens(build, catalog):
    rows = by_role(make_plan(build(answers=False), catalog))
    assert rows["respond"].completion_tokens == 18 * RESPONSE_TOKENS
    short = build(answers=False, sampling={"respond": {"max_tokens": 50}})
    rows = by_role(make_plan(short, catalog))
    assert rows["respond"].completion_tokens == rows["respond"].most_tokens == 18 * 50
    assert rows["evolve"].most_tokens == 18 * 2048


def test_the_estimate_is_near_what_a_run_then_uses(build, catalog, tmp_path):
    """The scripted backend counts four characters a token, too: what is left is growth and the responses' length."""
    recipe = build(seeds=40)
    plan = by_role(make_plan(recipe, catalog))
    result = run(recipe, tmp_path / "run", catalog=catalog)
    used = {}
    with Store(result.folder / "run.db", read_only=True) as store:
        for step, tokens in store.query("SELECT step, sum(prompt_tokens) FROM replies GROUP BY step"):
            used[step] = tokens
    assert plan["evolve"].prompt_tokens == pytest.approx(used["evolve"], rel=0.1)
    assert plan["respond"].prompt_tokens == pytest.approx(used["respond"], rel=0.25)


def test_a_folders_own_figures_replace_the_rule(build, catalog, tmp_path):
    recipe = build(seeds=40, filters=[{"few-words": {"words": 24, "on": "instruction"}}])
    result = run(recipe, tmp_path / "run", catalog=catalog)
    with Store(result.folder / "run.db", read_only=True) as store:
        plan = make_plan(recipe, catalog, store)
        tried, kept = store.query("SELECT count(*), sum(filter = '') FROM steps WHERE round > 0").fetchone()
        tokens = store.query("SELECT sum(completion_tokens), count(*) FROM replies WHERE step = 'respond'").fetchone()
    assert plan.measured
    rows = by_role(plan)
    assert 0 < kept < tried
    assert sum(row.stored for row in plan.rows) == result.calls
    assert rows["respond"].completion_tokens == round(120 * tokens[0] / tokens[1])
    assert rows["evolve"].likely < rows["evolve"].calls
    assert rows["respond"].likely < rows["evolve"].likely
    share = kept / tried
    assert rows["evolve"].likely == round(40 * (1 + share + share**2))


def test_retry_goes_on_after_a_reject(build, catalog, tmp_path):
    recipe = build(seeds=40, filters=[{"few-words": {"words": 24, "on": "instruction"}}], on_pruned="retry")
    result = run(recipe, tmp_path / "run", catalog=catalog)
    with Store(result.folder / "run.db", read_only=True) as store:
        rows = by_role(make_plan(recipe, catalog, store))
    assert rows["evolve"].likely == rows["evolve"].calls == 120
    assert rows["respond"].likely < 120


def test_too_few_replies_measure_nothing(build, catalog, tmp_path):
    recipe = build(seeds=2)
    result = run(recipe.changed(set=["seeds.limit=1"], catalog=catalog), tmp_path / "run", catalog=catalog)
    with Store(result.folder / "run.db", read_only=True) as store:
        plan = make_plan(recipe, catalog, store)
    assert not plan.measured
    assert all(row.likely is None for row in plan.rows)
    assert sum(row.stored for row in plan.rows) == 6


def test_roles_and_components_with_backends_of_their_own_have_rows_of_their_own(build, catalog):
    backends = {
        "evolve": "scripted",
        "respond": {"scripted": {"default": "x"}},
        "strong": {"scripted": {"default": "y"}},
    }
    operators = ["add-constraints", {"more-steps": {"backend": "strong", "weight": 2}}]
    plan = make_plan(build(backends=backends, operators=operators, filters=["judge-task"]), catalog)
    calls = {(row.role, row.backend): row.calls for row in plan.rows}
    assert calls == {
        ("evolve", "evolve"): 6,
        ("evolve", "strong"): 12,
        ("respond", "respond"): 18,
        ("judge", "evolve"): 18,
    }


def test_operators_that_ask_in_a_way_of_their_own_are_named(build, catalog):
    plan = make_plan(build(operators=["twice", {"add-constraints": {"template": "More: {{ instruction }}"}}]), catalog)
    assert plan.own_way == ("twice",)
    assert plan.calls == 36


def test_seeds_that_cannot_be_read_are_assumed(build, catalog):
    recipe = build().changed(set=["seeds={path: 'hf:nobody/nothing'}"], catalog=catalog)
    plan = make_plan(recipe, catalog)
    assert plan.seeds == SEEDS_ASSUMED
    assert "hf:nobody/nothing is not on this machine" in plan.unread
    assert make_plan(recipe.changed(set=["seeds.limit=7"], catalog=catalog), catalog).calls == 42
    gone = build().changed(set=["seeds.path=nope.jsonl"], catalog=catalog)
    assert "there is no such file" in make_plan(gone, catalog).unread


def test_seeds_that_are_wrong_are_an_error(build, catalog, tmp_path):
    recipe = build()
    (tmp_path / "seeds.jsonl").write_text("")
    with pytest.raises(SeedError, match="there is no row in it"):
        make_plan(recipe, catalog)


def test_a_limit_of_requests_is_a_least_time(build, catalog):
    plan = make_plan(build(limits={"requests_per_minute": 12}), catalog)
    assert math.isclose(plan.minutes, 3.0)
    assert make_plan(build(), catalog).minutes is None


PRICES = {"evolve": {"input": 10.0, "output": 40.0}}


def test_dollars_are_tokens_by_price_and_stand_in_order(build, catalog):
    plan = make_plan(build(prices=PRICES), catalog)
    dollars = plan.dollars
    tokens_in, tokens_out = (
        sum(getattr(row, name) for row in plan.rows) for name in ("prompt_tokens", "completion_tokens")
    )
    assert dollars.likely == pytest.approx((tokens_in * 10 + tokens_out * 40) / 1e6)
    assert dollars.low == pytest.approx((tokens_in * 10 + tokens_out * 20) / 1e6)
    assert dollars.high == pytest.approx((tokens_in * 10 + tokens_out * 80) / 1e6)
    assert dollars.most == pytest.approx((tokens_in * 10 + plan.calls * 2048 * 40) / 1e6)
    short = make_plan(build(prices=PRICES, sampling={"max_tokens": 20}), catalog).dollars
    assert 0 < short.low < short.likely <= short.high == pytest.approx(short.most)


def test_measured_replies_narrow_the_range_and_what_was_paid_is_told(build, catalog, tmp_path):
    recipe = build(seeds=20, prices=PRICES)
    guess = make_plan(recipe, catalog).dollars
    paid = run(recipe, tmp_path / "run", catalog=catalog).cost
    with Store(tmp_path / "run" / "run.db", read_only=True) as store:
        plan = make_plan(recipe, catalog, store)
    assert plan.paid[0] == pytest.approx(paid)
    assert plan.dollars.low <= paid <= plan.dollars.high
    assert plan.dollars.likely == pytest.approx(paid, rel=0.02)
    assert (plan.dollars.high - plan.dollars.low) / plan.dollars.likely < (guess.high - guess.low) / guess.likely


class Dear(et.Backend, name="dear"):
    """Tell an account, and no price."""

    key: str = "A"

    def account(self):
        return self.key


class Dears:
    @staticmethod
    @et.hookimpl
    def register_backends():
        return [Dear]


def test_no_sum_where_a_price_is_not_known(build, catalog):
    catalog.register(Dears, "dears")
    plan = make_plan(build(backends={"evolve": "scripted", "respond": "dear"}), catalog)
    assert plan.dollars is None
    assert by_role(plan)["evolve"].dollars.most == 0
    assert by_role(plan)["respond"].dollars is None


@pytest.mark.parametrize(
    ("limits", "backends", "minutes"),
    [
        ({"requests_per_minute": 6}, {"evolve": "dear", "respond": "evolve"}, 6.0),
        ({"requests_per_minute": 6}, {"evolve": "dear", "respond": {"dear": {"key": "A"}}}, 6.0),
        ({"requests_per_minute": 6}, {"evolve": "dear", "respond": {"dear": {"key": "B"}}}, 3.0),
        ({"requests_per_second": 0.1}, {"evolve": "dear", "respond": "evolve"}, 6.0),
        ({"backends": {"respond": {"requests_per_minute": 9}}}, {"evolve": "scripted", "respond": "dear"}, 2.0),
    ],
)
def test_the_least_time_is_that_of_the_provider_that_takes_longest(build, catalog, limits, backends, minutes):
    catalog.register(Dears, "dears")
    assert make_plan(build(limits=limits, backends=backends), catalog).minutes == pytest.approx(minutes)


def test_a_limit_of_tokens_counts_prompts_and_answers(build, catalog):
    plan = make_plan(build(limits={"tokens_per_minute": 100}), catalog)
    assert plan.minutes == pytest.approx(sum(row.prompt_tokens + row.completion_tokens for row in plan.rows) / 100)


@pytest.mark.parametrize(
    ("options", "written"),
    [
        ({"model": "openai/gpt-4.1-mini"}, {"model": "gpt-4.1-mini", "api_key": "env:OPENAI_API_KEY"}),
        (
            {"model": "openai/mine", "api_base": "http://127.0.0.1:1/v1", "api_key": "env:MINE"},
            {"model": "mine", "base_url": "http://127.0.0.1:1/v1", "api_key": "env:MINE"},
        ),
        (
            {"model": "hosted_vllm/Qwen/Q", "api_base": "http://127.0.0.1:1/v1"},
            {"model": "Qwen/Q", "base_url": "http://127.0.0.1:1/v1"},
        ),
        ({"model": "openai/gpt-4.1-mini", "mode": "batch"}, None),
        ({"model": "openai/o3", "extra": {"reasoning_effort": "low"}}, None),
        ({"model": "openai/responses/o3"}, None),
        ({"model": "hosted_vllm/m"}, None),
        ({"model": "anthropic/claude-haiku-4-5", "api_base": "http://127.0.0.1:1"}, None),
    ],
)
def test_a_recipe_whose_litellm_only_passes_calls_on_is_pointed_to_the_lean_backend(build, catalog, options, written):
    """The line that it says to write is a recipe's, and validates."""
    advice = make_plan(build(backends={"evolve": {"litellm": options}}), catalog).advice
    if written is None:
        assert advice == ()
        return
    (line,) = advice
    assert line.startswith("Backend 'evolve': ")
    found = json.loads(line[line.index("{") : line.index("}") + 1])
    assert found == written
    lean = build(backends={"evolve": {"openai-compatible": found}})
    assert lean.backends["evolve"].component.model == written["model"]
    assert make_plan(lean, catalog).advice == ()


class Confused(et.Backend, name="confused"):
    """Fail to advise."""

    def advice(self):
        raise KeyError("oops")


def test_a_backend_that_fails_to_advise_is_named(build, catalog):
    class Brings:
        @et.hookimpl
        def register_backends(self):
            return [Confused]

    catalog.register(Brings(), "confused")
    with pytest.raises(PluginError, match="backend 'evolve', giving advice, raised KeyError"):
        make_plan(build(backends={"evolve": "confused"}), catalog)
