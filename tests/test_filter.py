"""The bases of filters: where they look, whether they ask, and what is refused when a class is defined."""

from __future__ import annotations

from typing import ClassVar

import pytest

import evolteacher as et
from evolteacher.messages import NO_REPLY

SEED = et.Evolution.of_seed(et.Instruction("Add two numbers."))
SUBJECTS = {
    et.InstructionFilter: SEED,
    et.ResponseFilter: et.Record(SEED, "a + b"),
    et.TextFilter: "a + b",
    et.ReplyFilter: NO_REPLY,
}


def define(*bases: type, name: str = "made-up", **body: object) -> type[et.Filter]:
    return type("MadeUp", bases, {**body, "__module__": __name__, "__qualname__": "MadeUp"}, name=name)


def plain(self, subject):
    return f"no good: {type(subject).__name__}"


async def asking(self, subject, ask):
    return (await ask("good?")).text


async def never(prompt, **options):
    raise AssertionError("a plain filter asked")


async def always_no(prompt, **options):
    return et.Reply("no")


@pytest.mark.parametrize("base", SUBJECTS, ids=lambda base: base.__name__)
async def test_a_plain_rule_is_also_reached_through_judge(base):
    cls = define(base, reject=plain)
    subject = SUBJECTS[base]
    assert not cls.asks()
    assert cls().reject(subject) == await cls().judge(subject, never) == f"no good: {type(subject).__name__}"


@pytest.mark.parametrize("base", SUBJECTS, ids=lambda base: base.__name__)
async def test_a_judge_asks_and_so_does_a_subclass_of_one(base):
    cls = define(base, judge=asking)
    assert cls.asks()
    assert await cls().judge(SUBJECTS[base], always_no) == "no"
    assert define(cls, name="heir").asks()
    assert define(cls, name="thrifty-heir", reject=plain).asks()


def test_a_rule_may_come_from_a_mixin():
    class Mixin:
        def reject(self, text):
            return "mixed in"

    assert define(Mixin, et.TextFilter)().reject("x") == "mixed in"


def test_bases_and_dataset_filters_do_not_ask():
    bases = [et.Filter, et.DatasetFilter, et.LineageFilter, *SUBJECTS]
    assert [base.asks() for base in bases] == [False] * 7
    helper = define(et.DatasetFilter, select=lambda self, records: [], judge=asking)
    assert not helper.asks()


def test_where_each_base_looks():
    looks = {base: (base.default_on, base.allowed_on) for base in SUBJECTS}
    everywhere = ("instruction", "response", "seeds")
    assert looks == {
        et.InstructionFilter: (("instruction",), ("instruction", "seeds")),
        et.ResponseFilter: (("response",), ("response", "seeds")),
        et.TextFilter: (("instruction", "response"), everywhere),
        et.ReplyFilter: (("instruction", "response"), everywhere),
    }


def test_a_subclass_may_look_elsewhere():
    class OnlyResponses(et.TextFilter, name="only-responses"):
        default_on: ClassVar[tuple[et.Place, ...]] = ("response",)
        allowed_on: ClassVar[tuple[et.Place, ...]] = ("response",)

        def reject(self, text):
            return None

    assert OnlyResponses.default_on == ("response",)


def test_an_unnamed_subclass_is_an_abstract_base_and_may_be_unfinished():
    base = define(et.TextFilter, name="")
    assert define(base, reject=plain)().reject("x") == "no good: str"
    with pytest.raises(NotImplementedError, match="neither reject"):
        base().reject("x")


BROKEN = {
    "no base": ((et.Filter,), {"reject": plain}, "exactly one of InstructionFilter, ResponseFilter, TextFilter, Rep"),
    "two bases": ((et.TextFilter, et.ReplyFilter), {"reject": plain}, "exactly one of"),
    "no rule": ((et.InstructionFilter,), {}, r"define reject\(\) or judge\(\)"),
    "no rule for replies": ((et.ReplyFilter,), {}, r"define reject\(\) or judge\(\)"),
    "misspelt rule": ((et.TextFilter,), {"rejects": plain}, r"define reject\(\) or judge\(\)"),
    "no joint rule": ((et.LineageFilter,), {"reject": plain}, r"define judge\(\)"),
    "plain joint judge": ((et.LineageFilter,), {"judge": plain}, r"mend judge\(\)"),
    "no selection": ((et.DatasetFilter,), {"reject": plain}, r"define select\(\)"),
    "async reject": ((et.TextFilter,), {"reject": asking}, r"mend reject\(\)"),
    "async select": ((et.DatasetFilter,), {"select": asking}, r"mend select\(\)"),
    "plain judge": ((et.ResponseFilter,), {"judge": plain}, r"mend judge\(\)"),
    "no tuple": ((et.TextFilter,), {"reject": plain, "default_on": "response"}, "default_on is a tuple of instruction"),
    "no place": ((et.TextFilter,), {"reject": plain, "allowed_on": ("responses",)}, "allowed_on is a tuple of"),
    "not allowed": ((et.TextFilter,), {"reject": plain, "allowed_on": ("seeds",)}, "allowed_on does not"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_class_that_could_not_work_is_refused_when_it_is_defined(case):
    bases, body, message = BROKEN[case]
    with pytest.raises(TypeError, match=message) as caught:
        define(*bases, **body)
    assert str(caught.value).startswith("MadeUp: ")


def test_no_option_may_take_a_reserved_word():
    with pytest.raises(TypeError, match="'on' is reserved"):
        define(et.TextFilter, reject=plain, on="both", __annotations__={"on": str})


def test_an_unknown_option_is_an_error():
    with pytest.raises(ValueError, match="speed"):
        define(et.TextFilter, reject=plain)(speed=3)
