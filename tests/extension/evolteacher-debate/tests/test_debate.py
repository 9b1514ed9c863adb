"""The suite that every operator must pass, and what the judge's word changes."""

import asyncio

import pytest
from evolteacher_debate import Debate

import evolteacher as et
from evolteacher.testing import OperatorConformance


class TestDebate(OperatorConformance):
    @pytest.fixture
    def operator(self):
        return Debate()


class TestDebateWithAStrictJudge(OperatorConformance):
    @pytest.fixture
    def operator(self):
        return Debate(critics=("its wording",), tries=3)

    def answer(self, prompt, label):
        return "No." if "Yes or no" in prompt else super().answer(prompt, label)


def prompts(verdict):
    asked = []

    async def ask(prompt, **sampling):
        asked.append(prompt)
        return et.Reply(verdict if "Yes or no" in prompt else f"Sort {len(asked)} lists.")

    child = asyncio.run(Debate().evolve(et.Instruction("Sort a list."), ask))
    return child, len(asked)


def test_a_judge_who_is_content_ends_it():
    assert prompts("Yes.") == ("Sort 3 lists.", 4)


def test_one_who_is_not_gets_another_rewrite():
    assert prompts("no, it is the same") == ("Sort 5 lists.", 5)
