"""The scripted backend: rules, files, made-up answers, and that nothing depends on the order of calls."""

import asyncio
import json
import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import evolteacher as et
from evolteacher import errors
from evolteacher.messages import messages_to_json
from evolteacher.store import NewReply, Store
from evolteacher_backends import scripted
from evolteacher_backends.made_up import CONSTRAINTS
from evolteacher_backends.scripted import Rule, Scripted

SEED = "0" * 32


def request(text="Write a sort.", slot=f"{SEED}/1/evolve/0"):
    return et.Request((et.Message("user", text),), slot=slot)


def ask(backend, *requests):
    """Open, ask one after the other, close; errors are returned."""

    async def run():
        await backend.open(et.Workload())
        answers = []
        for each in requests:
            try:
                answers.append(await backend.complete(each))
            except errors.BackendError as error:
                answers.append(error)
        await backend.close()
        return answers

    return asyncio.run(run())


def texts(backend, *requests):
    return [reply.text for reply in ask(backend, *requests)]


def tagged_prompt(task):
    return f"Make it harder, between <x> and </x>.\n\n<given_task>\n{task}\n</given_task>\n\n<harder_task>\n"


def wizard_prompt(task):
    return f"Please rewrite the #Given Test#, a bit harder.\n\n#Given Test#:\n{task}\n#Rewritten Test#:\n"


class TestRules:
    def test_the_first_rule_that_holds_answers(self):
        backend = Scripted(
            rules=[{"contains": "sort", "reply": "A"}, {"matches": r"s[aeiou]+rt", "reply": "B"}, {"reply": "C"}]
        )
        assert texts(backend, request("sort it"), request("a suurt"), request("merge")) == ["A", "B", "C"]

    def test_contains_is_a_text_and_no_pattern(self):
        backend = Scripted(rules=[{"contains": "a.c(", "reply": "yes"}], default="no")
        assert texts(backend, request("xa.c(y"), request("abc(")) == ["yes", "no"]

    def test_all_conditions_must_hold(self):
        rule = {"contains": "sort", "step": "respond", "round": 2, "reply": "yes"}
        backend = Scripted(rules=[rule], default="no")
        asked = [
            request("sort", f"{SEED}/2/respond/0"),
            request("merge", f"{SEED}/2/respond/0"),
            request("sort", f"{SEED}/2/evolve/0"),
            request("sort", f"{SEED}/1/respond/0"),
            request("sort", ""),
        ]
        assert texts(backend, *asked) == ["yes", "no", "no", "no", "no"]

    def test_a_step_names_one_filter_or_all(self):
        backend = Scripted(
            rules=[{"step": "filter:no-gain", "reply": "one"}, {"step": "filter", "reply": "any"}], default="no"
        )
        slots = ["filter:no-gain/0", "filter:no-gain-2/0", "filter:x/y", "filters/0"]
        assert texts(backend, *(request(slot=f"{SEED}/1/{slot}") for slot in slots)) == ["one", "any", "any", "no"]

    def test_a_prompt_is_matched_whole_and_keeps_its_place(self):
        rules = [
            {"contains": "special", "reply": "first"},
            {"prompt": "a special one", "reply": "never"},
            {"prompt": "plain", "reply": "second"},
            {"contains": "plain", "reply": "third"},
        ]
        asked = [request("a special one"), request("plain"), request("plain text")]
        assert texts(Scripted(rules=rules), *asked) == ["first", "second", "third"]

    def test_each_slot_gets_one_of_several_replies_and_keeps_it(self):
        backend = Scripted(rules=[{"reply": ["a", "b", "c"]}])
        asked = [request(slot=f"{SEED}/{n}/evolve/0") for n in range(300)]
        answers = texts(backend, *asked)
        assert {answer: answers.count(answer) > 60 for answer in "abc"} == {"a": True, "b": True, "c": True}
        assert texts(Scripted(rules=[{"reply": ["a", "b", "c"]}]), *reversed(asked)) == answers[::-1]

    def test_a_share_of_slots(self):
        backend = Scripted(rules=[{"share": 0.1, "error": "refused"}], default="ok")
        asked = [request(slot=f"{n}/1/evolve/0") for n in range(1000)]
        answers = ask(backend, *asked)
        refused = sum(isinstance(answer, errors.Refused) for answer in answers)
        assert 70 < refused < 130
        assert [str(answer) for answer in ask(backend, *asked)] == [str(answer) for answer in answers]

    @pytest.mark.parametrize(
        ("name", "cls"),
        [
            ("refused", errors.Refused),
            ("too-long", errors.TooLong),
            ("bad-reply", errors.BadReply),
            ("transient", errors.Transient),
            ("rate-limited", errors.RateLimited),
            ("not-authorised", errors.NotAuthorised),
            ("no-such-model", errors.NoSuchModel),
        ],
    )
    def test_errors(self, name, cls):
        (error,) = ask(Scripted(rules=[{"error": name, "reply": "as told"}]), request())
        assert type(error) is cls
        assert str(error) == "as told"
        (error,) = ask(Scripted(rules=[{"error": name}]), request(slot="s/1/evolve/0"))
        assert name in str(error)
        assert "s/1/evolve/0" in str(error)

    def test_times_counts_each_slot_by_itself_and_anew_after_opening(self):
        backend = Scripted(
            rules=[{"times": 2, "error": "rate-limited", "retry_after": 1.5}, {"reply": "at last"}], latency=0
        )
        one, other = request(slot="a/1/evolve/0"), request(slot="b/1/evolve/0")
        for _ in range(2):
            answers = ask(backend, one, one, other, one, other, other)
            limited = [isinstance(answer, errors.RateLimited) for answer in answers]
            assert limited == [True, True, True, False, True, False]
            assert answers[0].retry_after == 1.5

    def test_finish_reason_and_usage(self):
        backend = Scripted(rules=[{"reply": "12345", "finish_reason": "length"}])
        (reply,) = ask(backend, request("123456789"))
        assert reply == et.Reply("12345", et.Usage(3, 2), "length", "scripted", 0.0)

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"rules": [{"matches": "(", "reply": ""}]}, "no regular expression"),
            ({"rules": [{"contains": "x"}]}, "'reply' or 'error'"),
            ({"rules": [{"reply": []}]}, "empty list"),
            ({"rules": [{"reply": "x", "retry_after": 3}]}, "rate-limited only"),
            ({"rules": [{"reply": "x", "when": "y"}]}, "when"),
            ({"rules": [{"reply": "x", "share": 0}]}, "greater than 0"),
            ({"rules": [{"reply": "x", "times": 0}]}, "greater than or equal to 1"),
            ({"rules": [{"error": "boom"}]}, "refused"),
            ({"latency": -1}, "seconds"),
            ({"latency": [2, 1]}, "seconds"),
            ({"latency": float("inf")}, "seconds"),
            ({"strict": True, "default": "x"}, "exclude"),
            ({"model": "x"}, "model"),
        ],
    )
    def test_wrong_options(self, options, said):
        with pytest.raises(ValidationError, match=said):
            Scripted(**options)

    def test_strict_names_the_slot(self):
        (error,) = ask(Scripted(strict=True, rules=[{"contains": "x", "reply": "y"}]), request("abc", "s/1/respond/0"))
        assert type(error) is errors.FatalError
        assert "s/1/respond/0" in str(error)
        assert "abc" in str(error)


class TestFile:
    def test_rows_are_rules(self, tmp_path):
        rows = [{"prompt": "é\n1", "reply": "one"}, {"contains": "b", "reply": ["two"]}, {"error": "refused"}]
        path = tmp_path / "script.jsonl"
        path.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n", encoding="utf-8")
        first, second, third, fourth = ask(
            Scripted(file=path, rules=[{"contains": "rule", "reply": "rules come first"}]),
            request("é\n1"),
            request("ab"),
            request("c"),
            request("rule b"),
        )
        assert (first.text, second.text, fourth.text) == ("one", "two", "rules come first")
        assert isinstance(third, errors.Refused)

    def test_a_line_separator_inside_a_text_is_no_new_row(self, tmp_path):
        path = tmp_path / "script.jsonl"
        path.write_text('{"prompt": "a\u2028b", "reply": "\x85c"}\r\n', encoding="utf-8", newline="")
        assert texts(Scripted(file=path), request("a\u2028b")) == ["\x85c"]

    @pytest.mark.parametrize("line", ['{"reply": 3}', "{", "[]", '{"contain": "x", "reply": "y"}', '{"contains": "x"}'])
    def test_a_bad_row_is_named_by_file_and_line(self, tmp_path, line):
        path = tmp_path / "script.jsonl"
        path.write_text('{"reply": "x"}\n' + line + "\n")
        with pytest.raises(errors.UsageError, match=r"script\.jsonl:2: no rule: "):
            ask(Scripted(file=path))

    def test_a_missing_or_unreadable_file(self, tmp_path):
        (tmp_path / "latin").write_bytes(b"\xff\xfe")
        for name in ("nothing", "latin", ""):
            with pytest.raises(errors.UsageError, match="cannot read its script"):
                ask(Scripted(file=tmp_path / name))

    def test_identity_follows_the_content_and_not_the_path(self, tmp_path):
        one, same, other = (tmp_path / name for name in ("one", "same", "other"))
        for path, text in ((one, "x"), (same, "x"), (other, "y")):
            path.write_text(json.dumps({"reply": text}))
        assert Scripted(file=one).identity() == Scripted(file=same).identity()
        assert Scripted(file=one).identity() != Scripted(file=other).identity()

    def test_identity_ignores_latency_alone(self):
        assert Scripted(latency=3).identity() == Scripted().identity()
        assert len({Scripted(**o).identity() for o in ({}, {"default": "x"}, {"rules": [{"reply": "x"}]})}) == 3

    def test_the_backend_option_of_the_command_line_sets_the_file(self, tmp_path):
        path = tmp_path / "script.jsonl"
        path.write_text('{"reply": "from the file"}')
        assert texts(Scripted(**{Scripted.primary: str(path)}), request()) == ["from the file"]


def store_run(path, *rows):
    """Write (slot, prompt, outcome, text) rows as a run does."""
    path.mkdir()
    with Store(path / "run.db") as store:
        for (lineage, round_, step, nth), prompt, outcome, text in rows:
            asked = request(prompt)
            slot = (round_, step, nth, asked.fingerprint("some model"))
            reply = et.Reply(text, et.Usage(7, 8), "length", "a model", 1.5, 0.25)
            store.add_reply(
                NewReply(bytes.fromhex(lineage), slot, outcome, reply, "evolve", messages_to_json(asked.messages))
            )


class TestRun:
    A, B = "a" * 32, "b" * 32

    @pytest.fixture
    def run(self, tmp_path):
        store_run(
            tmp_path / "run",
            ((self.A, 1, "evolve", "0"), "prompt 1", "reply", "A 1"),
            ((self.A, 1, "respond", "0"), "prompt 2", "refused", "no way"),
            ((self.A, 2, "filter:acme/x", "=k/1"), "prompt 3", "reply", "A 3"),
            ((self.B, 1, "evolve", "0"), "prompt 1", "reply", "B 1"),
        )
        return tmp_path / "run"

    def test_the_same_messages_get_the_same_reply_whatever_the_slot(self, run):
        first, third, unknown = ask(
            Scripted(run=run, default="not there"), request("prompt 1", "x"), request("prompt 3", ""), request("z", "")
        )
        assert first == et.Reply("A 1", et.Usage(7, 8), "length", "a model", 1.5, None)
        assert (third.text, unknown.text) == ("A 3", "not there")

    def test_equal_prompts_of_two_lineages_keep_their_own_replies(self, run):
        slots = [f"{lineage}/1/evolve/0" for lineage in (self.A, self.B)]
        assert texts(Scripted(run=run), *(request("prompt 1", slot) for slot in slots)) == ["A 1", "B 1"]

    def test_other_messages_are_answered_by_slot(self, run):
        asked = [request("changed", f"{self.B}/1/evolve/0"), request("changed", f"{self.A}/2/filter:acme/x/=k/1")]
        assert texts(Scripted(run=run), *asked) == ["B 1", "A 3"]

    def test_errors_are_raised_again_and_rules_come_first(self, run):
        refused, ruled = ask(
            Scripted(run=run, rules=[{"contains": "1", "reply": "rule"}]), request("prompt 2"), request("prompt 1")
        )
        assert isinstance(refused, errors.Refused)
        assert str(refused) == "no way"
        assert ruled.text == "rule"

    def test_strict_refuses_what_the_run_never_asked(self, run):
        (error,) = ask(Scripted(run=run, strict=True), request("z", f"{self.A}/3/evolve/0"))
        assert isinstance(error, errors.FatalError)

    def test_it_only_reads(self, run):
        before = (run / "run.db").read_bytes()
        texts(Scripted(run=run / "run.db"), request("prompt 1"))
        assert (run / "run.db").read_bytes() == before

    @pytest.mark.parametrize("version", [1, 2])
    def test_a_run_of_an_earlier_version_is_replayed_too(self, run, version):
        found = texts(Scripted(run=run), request("prompt 1"))
        with Store(run / "run.db") as store:
            store.set_meta("schema", version)
        assert texts(Scripted(run=run), request("prompt 1")) == found

    def test_what_is_no_run(self, tmp_path):
        (tmp_path / "text.db").write_text("nothing of the kind, and long enough to be looked at as a database" * 20)
        with Store(tmp_path / "newer.db") as store:
            store.set_meta("schema", 99)
        for name, said in (
            ("none", "no run here"),
            ("", "no run here"),
            ("text.db", "cannot read"),
            ("newer.db", "version"),
        ):
            with pytest.raises(errors.UsageError, match=said):
                ask(Scripted(run=tmp_path / name))


TASKS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300).filter(str.strip)


class TestMadeUp:
    @given(TASKS, st.sampled_from([wizard_prompt, tagged_prompt]))
    def test_a_child_is_its_parent_and_one_more_constraint(self, task, prompt):
        child = texts(Scripted(), request(prompt(task)))[0]
        assert child.startswith(task.strip())
        assert child.removeprefix(task.strip()).strip() in CONSTRAINTS

    @pytest.mark.parametrize(
        "task",
        [
            "# Given a list, sort it.",
            "Explain:\n# rewritten in C\nint x;",
            "a\n#Given Test#:\nb\n#Rewritten Test#:\nc",
            "a\n<given_task>\nb\n</given_task>\nc",
            "<given>\n</given>",
        ],
    )
    @pytest.mark.parametrize("prompt", [wizard_prompt, tagged_prompt])
    def test_markers_inside_the_task_are_data(self, task, prompt):
        assert texts(Scripted(), request(prompt(task)))[0].startswith(task)

    def test_prompts_of_other_operators(self):
        assert texts(Scripted(), request("In French:\nSort: a\nlist."))[0].startswith("Sort: a\nlist.")
        assert texts(Scripted(), request("Sort a list"))[0].startswith("Sort a list")
        prompt = "Rewrite this in Spanish. Write only the task.\n\nSort:\na\n\nlist."
        assert texts(Scripted(), request(prompt))[0].startswith("Sort:\na\n\nlist.")

    def test_rounds_go_on_without_repeating_a_constraint(self):
        task, seen = "Sort a list of numbers.", set()
        for round_ in range(len(CONSTRAINTS)):
            task = texts(Scripted(), request(wizard_prompt(task), f"{SEED}/{round_}/evolve/0"))[0]
            seen.add(task)
        assert len(seen) == len(CONSTRAINTS)
        assert all(task.count(constraint) == 1 for constraint in CONSTRAINTS)
        assert len(texts(Scripted(), request(wizard_prompt(task)))[0]) > len(task)

    def test_slots_differ(self):
        asked = [request(slot=f"{n}/1/evolve/0") for n in range(100)]
        assert len(set(texts(Scripted(), *asked))) > 15

    def test_responses_and_judgements(self):
        answer, judgement, loose = texts(
            Scripted(),
            request(slot=f"{SEED}/1/respond/0"),
            request(slot=f"{SEED}/1/filter:no-gain/0"),
            request("Hello", slot=""),
        )
        assert "```python\ndef solve_" in answer
        assert judgement == "Not equal."
        assert "def solve_" in loose

    def test_a_fence_at_the_end_stays_closed(self):
        child = texts(Scripted(), request(wizard_prompt("Fix this:\n```\nx\n```")))[0]
        assert "\n```\n" in child

    def test_100_kilobytes_pass(self):
        task = "x {{ y }} %s # Given\n" * 5000
        assert texts(Scripted(), request(wizard_prompt(task)))[0].startswith(task.strip())


class TestFakes:
    def test_a_subclass_answers_with_a_text_a_reply_or_an_error(self):
        class Fake(Scripted, name="fake"):
            def answer(self, request):
                if request.text == "error":
                    raise errors.Transient("no")
                if request.text == "reply":
                    return et.Reply("r", finish_reason="length")
                return super().answer(request) if request.text == "script" else request.text.upper()

        asked = [request(text) for text in ("text", "reply", "error", "script")]
        text, reply, error, script = ask(Fake(default="scripted"), *asked)
        assert (text.text, text.usage) == ("TEXT", et.Usage(1, 1))
        assert reply == et.Reply("r", finish_reason="length")
        assert isinstance(error, errors.Transient)
        assert script.text == "scripted"
        assert Fake().identity() != Scripted().identity()


class TestTiming:
    async def test_answers_do_not_depend_on_the_order_of_calls(self):
        backend = Scripted(
            rules=[{"share": 0.3, "reply": ["a", "b"]}, {"share": 0.1, "error": "refused"}], latency=(0, 0.01)
        )
        asked = [request(slot=f"{n}/1/evolve/0") for n in range(50)]
        await backend.open(et.Workload(concurrency=50))
        runs = []
        for shuffled in (asked, random.Random(1).sample(asked, 50)):
            got = await asyncio.gather(*map(backend.complete, shuffled), return_exceptions=True)
            runs.append({each.slot: repr(answer) for each, answer in zip(shuffled, got, strict=True)})
        assert runs[0] == runs[1]
        assert len(runs[0]) == 50

    async def test_latency_is_waited_and_told(self):
        backend = Scripted(latency=0.2)
        started = time.perf_counter()
        replies = await asyncio.gather(*(backend.complete(request(slot=str(n))) for n in range(20)))
        assert 0.19 < time.perf_counter() - started < 20 * 0.2
        assert {reply.latency for reply in replies} == {0.2}

    async def test_others_run_meanwhile(self):
        turns = []

        async def other():
            turns.append(1)

        task = asyncio.create_task(other())
        await Scripted().complete(request())
        assert turns == [1]
        await task


class TestWholeRuns:
    """Through the real operators, filters and engine, on tasks of every form."""

    SEEDS = (
        "Sort a list.",
        "Fix it:\n\n```python\nx = 1\n```",
        "# Given\n\n- a\n- b",
        "Greet.\n\nInput: {{ x }} {% raw %} %s",
        "1. One:\n2. Two\n\n```\nf()\n```\n\nThat is all.",
        "Übersetze 🙂\r\nzwei Zeilen",
    )

    @pytest.fixture
    def first(self, tmp_path):
        seeds = tmp_path / "seeds.jsonl"
        seeds.write_text(
            "".join(json.dumps({"instruction": text, "output": "An answer."}) + "\n" for text in self.SEEDS)
        )
        self.options = {"limit": 6, "set": [f"seeds.path={seeds}", "seeds.format=auto"]}
        result = et.run("wizardcoder", tmp_path / "first", backend="scripted", **self.options)
        assert result.calls == 3 * 3 * len(self.SEEDS)
        return tmp_path / "first"

    def test_no_filter_rejects_what_is_made_up_and_every_child_goes_beyond_its_parent(self, first):
        with Store(first / "run.db", read_only=True) as store:
            rows = store.query(
                "SELECT ord, round, filter, child FROM steps WHERE round > 0 ORDER BY ord, round"
            ).fetchall()
        assert len(rows) == 3 * len(self.SEEDS)
        text = ""
        for place, round_, filter_, child in rows:
            parent = self.SEEDS[place].strip() if round_ == 1 else text
            assert filter_ == ""
            assert child.startswith(parent)
            assert len(child) > len(parent)
            text = child

    def test_another_runs_replies_make_its_dataset_again(self, first, tmp_path):
        options = {
            **self.options,
            "set": [*self.options["set"], f"backends.evolve={{scripted: {{run: {first}, strict: true}}}}"],
        }
        et.run("wizardcoder", tmp_path / "second", **options)
        assert (tmp_path / "second" / "dataset.json").read_bytes() == (first / "dataset.json").read_bytes()


def test_the_entry_point_registers_it():
    assert scripted.register_backends() == [Scripted]
    assert Rule(reply="x").reply == "x"
