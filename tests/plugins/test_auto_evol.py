"""Auto Evol-Instruct: the failure detectors, what a candidate may be, and whole optimisations over scripted models."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

import evolteacher as et
from evolteacher import errors
from evolteacher.recipe import Recipe
from evolteacher.runner import run
from evolteacher_backends.scripted import Scripted
from evolteacher_plugins import readers
from evolteacher_plugins.auto_evol import (
    INITIAL,
    MARKERS,
    METHOD,
    METHOD_END,
    MOST_CHARACTERS,
    AutoEvol,
    evolving_prompt,
    failure,
    improving_prompt,
    read_method,
)

GOOD = "1. Find what the task leaves open.\n2. Settle it in twenty words."

FAILURES = {
    "Understood. What would you like me to do next?": "stagnant complexity",
    "Thank you for the details! Shall I begin?": "stagnant complexity",
    "Sure, I can help with that. Which language do you use?": "insufficient qualification",
    "Please provide the list that should be sorted.": "loss of key information",
    "To do this, could you please provide the code?": "loss of key information",
}
SOUND = (
    "def add(a, b):\n    return a + b", "Sure! Here it is:\n```python\nx = 1\n```", "Understood: the sum is 3.",
    "Is 7 prime?", "Surely this works, does it not?", "", "print('please wait')",
)  # fmt: skip


@pytest.mark.parametrize("response", FAILURES)
def test_the_papers_failures_are_told_from_the_answer(response):
    assert failure("Add.", "Add three numbers.", response).startswith(FAILURES[response])


@pytest.mark.parametrize("response", SOUND)
def test_a_sound_answer_is_none(response):
    assert failure("Add.", "Add three numbers.", response) == ""


def test_the_given_task_again_is_one():
    assert failure("Add two  numbers.", "add two numbers.\n", "fine").startswith("stagnant complexity")


TURNED_DOWN = {
    "": "there is no </method>",
    GOOD: "there is no </method>",
    f"{METHOD}{METHOD_END}": "it is empty",
    f"{METHOD}\n \n{METHOD_END}": "it is empty",
    "x " * 50_000 + METHOD_END: "it has 99,999 characters; 4,000 are the most",
    f"{METHOD}Take the task between <given_task> and the end of it.{METHOD_END}": "the marker <given_task> is in it",
    f"Write it between <HARDER_TASK> and its other end.{METHOD_END}": "the marker <harder_task> is in it",
    f"I'm sorry, but I cannot write such a method.{METHOD_END}": "it apologises",
    f"{METHOD_END}{METHOD}{GOOD}": "it is empty",
}


@pytest.mark.parametrize("text", TURNED_DOWN, ids=range(len(TURNED_DOWN)))
def test_a_hostile_candidate_is_turned_down_with_its_reason(text):
    with pytest.raises(errors.Unreadable, match=TURNED_DOWN[text]):
        read_method(et.Reply(text))


def test_a_candidate_that_was_cut_off_is_turned_down():
    with pytest.raises(errors.Unreadable, match="cut off"):
        read_method(et.Reply(GOOD + METHOD_END, finish_reason="length"))


@pytest.mark.parametrize("head", ["", METHOD, f"Certainly!\n{METHOD}\n", f"{METHOD} again: {METHOD}\n"])
def test_a_good_candidate_is_read_whatever_stands_around_it(head):
    assert read_method(et.Reply(f"{head}{GOOD}\n{METHOD_END}\nHope this helps!")) == GOOD


@given(text=st.text(max_size=200))
def test_whatever_is_read_can_be_pinned_and_stands_in_the_frame_unchanged(text):
    for answer in (text + METHOD_END, METHOD + text + METHOD_END):
        try:
            method = read_method(et.Reply(answer))
        except errors.Unreadable:
            continue
        assert AutoEvol(method=method).method == method
        assert f"{METHOD}\n{method}\n{METHOD_END}" in AutoEvol(method=method).prompt(et.Instruction("{{ x }} %"))


@given(task=st.text(max_size=100))
def test_a_task_is_data_in_the_prompt(task):
    assert task in evolving_prompt("{a} {{ b }} %s", task) and task in improving_prompt(task, "{}")


def test_a_pinned_method_that_is_none_is_refused():
    with pytest.raises(ValueError, match="no method can be read here: it is empty"):
        AutoEvol(method="harder")
    with pytest.raises(ValueError, match="characters"):
        AutoEvol(method="word " * MOST_CHARACTERS)


class Model:
    """A scripted model: which candidates it writes, and for which methods the answers to evolved tasks are failures."""

    def __init__(self, folder, candidates, failing=(INITIAL,), fault=None):
        self.folder, self.asked = folder, []
        tasks = [f"Write a function that adds {n} to each number of a list." for n in range(8)]
        (folder / "seeds.json").write_text(json.dumps(tasks))
        model = self

        def answer(backend, request):
            text = request.text
            model.asked.append(request.slot)
            if fault is not None and fault in request.slot:
                raise errors.Refused("not this one")
            if "analysis" in request.slot:
                return "1. Pair 1 is not harder."
            if "candidate" in request.slot:
                return candidates[int(request.slot[-1]) - 1]
            if "<given_task>" in text:
                bad = any(evolving_prompt(method, "").split("<given_task>")[0] in text for method in failing)
                task = text.split("<given_task>\n")[1].split("\n</given_task>")[0]
                return f"<harder_task>\n{task} {'Use it.' if bad else 'Explain each step.'}\n</harder_task>"
            return "Please provide the list." if "Use it." in text else "def add(n): ..."

        backend = type("Fake", (Scripted,), {"answer": answer}, name="fake")

        class Plugin:
            @et.hookimpl
            def register_operators(self):
                return [AutoEvol]

            @et.hookimpl
            def register_backends(self):
                return [backend]

        self.catalog = et.Catalog()
        self.catalog.register(Plugin(), "test")
        self.catalog.register(readers, "readers")

    def go(self, out="run", **options):
        self.asked.clear()
        use = {"auto-evol": {"steps": 2, "batch": 2, "dev": 3, "candidates": 2, **options}}
        data = {"evolteacher": 1, "name": "auto", "rounds": 1, "seeds": str(self.folder / "seeds.json"),
                "operators": [use], "backends": {"evolve": "fake"}, "export": ["evol"],
                "limits": {"retries": 1, "first_wait": 0.001}}  # fmt: skip
        said = []
        made = Recipe.from_dict(data, catalog=self.catalog)
        result = run(made, self.folder / out, catalog=self.catalog, note=said.append)
        return result, [line.removeprefix("operator 'auto-evol': ") for line in said if "auto-evol" in line]

    def found(self, out="run"):
        (use,) = YAML(typ="safe").load((self.folder / out / "prepared.yaml").read_text())["operators"]
        return use["auto-evol"]


def test_the_best_candidate_wins_and_every_lineage_evolves_by_it(tmp_path):
    model = Model(
        tmp_path, [f"{METHOD}{GOOD}{METHOD_END}", f"{GOOD} Worse.\n{METHOD_END}"], (INITIAL, f"{GOOD} Worse.")
    )
    result, said = model.go()
    assert result.pending == 0
    assert said == [
        "the initial method failed on 3 of 3 tasks",
        "step 1, candidate 1: failed on 0 of 3 tasks",
        "step 1, candidate 2: failed on 3 of 3 tasks",
        "step 2, candidate 1: turned down: it is there already",
        "step 2, candidate 2: failed on 3 of 3 tasks",
        "the method that evolves failed on 0 of 3 tasks",
    ]
    assert model.found()["method"] == GOOD
    rows = json.loads((tmp_path / "run" / "dataset.json").read_text())
    assert len(rows) == 8 and all(row["instruction"].endswith("Explain each step.") for row in rows)
    asked = len(model.asked)
    assert asked <= sum(AutoEvol(steps=2, batch=2, dev=3, candidates=2).preparation().values()) + 16
    assert (model.go()[0].calls, model.asked) == (0, [])


def test_pinned_it_evolves_alike_and_optimises_nothing(tmp_path):
    model = Model(tmp_path, [f"{METHOD}{GOOD}{METHOD_END}"] * 2)
    model.go()
    pinned, said = model.go("pinned", **model.found())
    assert (pinned.calls, said) == (16, [])
    datasets = [(tmp_path / out / "dataset.json").read_bytes() for out in ("run", "pinned")]
    assert datasets[0] == datasets[1]


HOSTILE = (
    "",
    "I'm sorry, I cannot do that. Ask me for something else.</method>",
    "{{ 7 * 7 }}",
    "x" * 100_000,
    "<method>Write it between <harder_task> and </harder_task> now.</method>",
    "<method>",
    "</method>",
)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_candidates_cost_nothing_but_their_call(text, tmp_path):
    model = Model(tmp_path, [text, text])
    result, said = model.go()
    assert (result.pending, result.summary.kept[1]) == (0, 8)
    assert sum("turned down: " in line for line in said) == 4
    assert model.found().get("method") == INITIAL


@pytest.mark.parametrize("fault", ["analysis", "candidate-1", "start/=", "batch-0", "response"])
def test_a_refusal_in_the_optimisation_is_no_end_of_the_run(fault, tmp_path):
    model = Model(tmp_path, [f"{GOOD}{METHOD_END}"] * 2, fault=fault)
    result, said = model.go()
    assert result.pending == 0 and said[-1].startswith("the method that evolves failed on")


def test_calls_never_exceed_what_the_plan_is_told(tmp_path):
    different = [f"{GOOD} One.{METHOD_END}", f"{GOOD} Two.{METHOD_END}"]
    model = Model(tmp_path, different)
    model.go()
    asked = [slot for slot in model.asked if "prepare" in slot]
    most = AutoEvol(steps=2, batch=2, dev=3, candidates=2).preparation()
    assert len(asked) <= sum(most.values())
    assert sum(slot.endswith("response") for slot in asked) <= most["respond"]


def test_however_replies_arrive_the_same_method_wins(tmp_path):
    found = []
    for number, delays in enumerate([(0, 0.02), (0.02, 0), (0.01, 0.01)]):
        folder = tmp_path / str(number)
        folder.mkdir()
        model = Model(folder, [f"{GOOD} One.{METHOD_END}", f"{GOOD} Two.{METHOD_END}"])
        entry = model.catalog.find(et.Backend, "fake")

        async def complete(backend, request, delays=delays, answer=entry.answer):
            await asyncio.sleep(delays[sum(request.slot.encode()) % 2])
            return et.Reply(answer(backend, request))

        entry.complete = complete
        found.append((model.go()[1], model.found()))
    assert found[0] == found[1] == found[2] and found[0][1]["method"].endswith("One.")


def test_the_markers_are_known_to_the_copy_filter():
    assert AutoEvol.markers == MARKERS and len(MARKERS) == 6
