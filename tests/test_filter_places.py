"""Where the engine calls each kind of filter: through whole runs, with scripted answers."""

from __future__ import annotations

import json
import sqlite3

import pytest
from experiment import catalog, write_seeds

import evolteacher as et
from evolteacher.recipe import Recipe

SEEN: list[tuple[str, str]] = []


class TextJudge(et.TextFilter, name="text-judge"):
    """Ask about a text."""

    async def judge(self, text, ask):
        return (await ask(f"Judge this: {text}")).text.removeprefix("fine") or None


class ReplyJudge(et.ReplyFilter, name="reply-judge"):
    """Ask about a reply."""

    async def judge(self, reply, ask):
        return (await ask(f"Judge this: {reply.text} {reply.finish_reason}")).text.removeprefix("fine") or None


class Watcher(et.TextFilter, name="watcher"):
    """Note what it is shown."""

    def reject(self, text):
        SEEN.append(("text", text))
        return None


class ReplyWatcher(et.ReplyFilter, name="reply-watcher"):
    """Note what it is shown."""

    def reject(self, reply):
        SEEN.append((reply.finish_reason, reply.text))
        return None


class Ends(et.Operator, name="ends"):
    """Ask for a task between markers."""

    markers = ("[GIVEN]", "[/GIVEN]", "[HARDER]", "[/HARDER]")

    def prompt(self, parent):
        return f"[GIVEN]{parent.text}[/GIVEN] [HARDER]"


class Mine:
    @et.hookimpl
    def register_operators(self):
        return [Ends]

    @et.hookimpl
    def register_filters(self):
        return [TextJudge, ReplyJudge, Watcher, ReplyWatcher]


EVOLVED = "Write a longer function that does much more than this"
ANSWER = "def longer(): return 1 + 1"


def go(tmp_path, *filters, rules=(), judge="fine", operator="harder"):
    """Run one round over one seed; the answers are those above unless a rule says otherwise."""
    answers = [
        *rules,
        {"step": "filter", "reply": judge},
        {"step": "evolve", "reply": EVOLVED},
        {"step": "respond", "reply": ANSWER},
    ]
    data = {
        "evolteacher": 1,
        "name": "places",
        "seeds": str(write_seeds(tmp_path, 1)),
        "rounds": 1,
        "operators": [operator],
        "filters": list(filters),
        "backends": {"evolve": {"scripted": {"rules": answers, "strict": True}}},
    }
    SEEN.clear()
    found = catalog(Mine())
    et.run(Recipe.from_dict(data, catalog=found), tmp_path / "run", catalog=found)
    with sqlite3.connect(tmp_path / "run" / "run.db") as database:
        steps = database.execute("SELECT stage, filter, reason FROM steps WHERE round = 1").fetchall()
        prompts = [json.loads(p)[0]["content"] for (p,) in database.execute("SELECT prompt FROM replies ORDER BY id")]
    database.close()
    return steps, [prompt for prompt in prompts if prompt.startswith("Judge this")]


@pytest.mark.parametrize("name", ["text-judge", "reply-judge"])
def test_a_judge_of_texts_or_replies_is_asked_at_both_places(name, tmp_path):
    steps, asked = go(tmp_path, name)
    assert [filter for _, filter, _ in steps] == [""]
    ending = " stop" if name == "reply-judge" else ""
    assert asked == [f"Judge this: {EVOLVED}{ending}", f"Judge this: {ANSWER}{ending}"]


@pytest.mark.parametrize("name", ["text-judge", "reply-judge"])
@pytest.mark.parametrize(("on", "stage"), [("both", "instruction"), ("response", "response")])
def test_what_the_judge_says_is_the_reason_on_record(name, on, stage, tmp_path):
    steps, asked = go(tmp_path, {name: {"on": on}}, judge="too plain")
    assert steps == [(stage, name, "too plain")]
    assert len(asked) == 1


def test_text_and_reply_filters_see_both_places_and_seeds_only_where_told(tmp_path):
    go(tmp_path, "watcher", "reply-watcher")
    assert SEEN == [("text", EVOLVED), ("stop", EVOLVED), ("text", ANSWER), ("stop", ANSWER)]
    (tmp_path / "again").mkdir()
    go(tmp_path / "again", {"watcher": {"on": "seeds"}}, {"reply-watcher": {"on": "seeds"}})
    seed = [("text", "task0 needs a function that doubles 0"), ("none", "")]
    assert [*seed, ("text", "def f0(): ..."), ("none", "")] == SEEN


@pytest.mark.parametrize(("step", "stage"), [("evolve", "instruction"), ("respond", "response")])
@pytest.mark.parametrize("on", ["instruction", "response", "both"])
def test_truncated_looks_at_the_reply_of_its_place(step, stage, on, tmp_path):
    cut = {"step": step, "reply": EVOLVED, "finish_reason": "length"}
    steps, _ = go(tmp_path, {"truncated": {"on": on}}, rules=[cut])
    reason = "the reply was cut off at max_tokens"
    assert steps == ([(stage, "truncated", reason)] if on in (stage, "both") else [(steps[0][0], "", "")])


@pytest.mark.parametrize(
    ("reply", "whole"),
    [
        ("Double a list and explain why.\n[/HARDER]\nHere is how: def", True),
        ("Double a list and explain why.\n[/harder]", True),
        ("Double a list and explain why.", False),
        ("Double a list and explain why.\n[/HARD", False),
        ("[/HARDER]\n[HARDER]\nDouble a list and expl", False),
        ("[/GIVEN]\n[HARDER]\nDouble a list and expl", False),
        ("[GIVEN]\nSort a list by its second items.\n[/HARDER]\n[HARDER]\nDouble a list and expl", False),
        ("I'm sorry, but I can't help with that.\n[/HARDER]\n[HARDER]\nDouble a list and expl", False),
    ],
)
def test_truncated_keeps_a_rewrite_that_was_ended_before_the_cut(reply, whole, tmp_path):
    cut = {"step": "evolve", "reply": reply, "finish_reason": "length"}
    steps, _ = go(tmp_path, {"truncated": {"on": "instruction"}}, operator="ends", rules=[cut])
    assert [filter for _, filter, _ in steps] == ["" if whole else "truncated"]


def test_no_gain_asks_the_judge_about_parent_and_child(tmp_path):
    steps, _ = go(tmp_path, "no-gain", judge="**Equal**")
    assert steps == [
        ("instruction", "no-gain", "the judge finds it equal to its parent in constraints, depth and breadth")
    ]
    (tmp_path / "again").mkdir()
    steps, _ = go(tmp_path / "again", "no-gain", judge="Not Equal")
    assert steps[0][1:] == ("", "")


def test_copied_prompt_reads_the_markers_that_the_operator_declares(tmp_path):
    leaky = {"step": "evolve", "reply": "[harder] Write a function that does more."}
    steps, _ = go(tmp_path, "copied-prompt", rules=[leaky])
    assert steps == [("instruction", "copied-prompt", "it copies words of the evolving prompt: '[harder]'")]
