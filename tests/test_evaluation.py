"""evolteacher evaluate: pass@k, samples files, a model's answers, and what a kill -9 costs."""

import asyncio
import contextlib
import io
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from fractions import Fraction
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import evolteacher as et
from evolteacher.benchmark import Problem
from evolteacher.cli import main
from evolteacher.cli.scores import Bar
from evolteacher.cli.telling import Telling, Voice
from evolteacher.errors import RecipeError, UsageError
from evolteacher.evaluation.programs import Sample, answered, continued, is_code, question
from evolteacher.evaluation.score import Scored
from evolteacher.evaluation.spending import Spending
from evolteacher.passk import interval, pass_at_k, wilson
from evolteacher.sandbox import CheckResult
from evolteacher_plugins.benchmarks import HumanEval

sys.path.append(str(Path(__file__).parent / "cli"))
from commands import SCRIPT, read_terminal

TASKS = [
    {"task_id": f"T/{n}", "prompt": f'def add{n}(a, b):\n    """Return the sum."""\n', "entry_point": f"add{n}",
     "canonical_solution": "    return a + b\n", "test": "def check(f):\n    assert f(2, 3) == 5\n"}
    for n in range(6)
]  # fmt: skip


def written(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def evaluate(folder, *words):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(["evaluate", *words])
    assert "Traceback" not in err.getvalue() and "bug in evolteacher" not in err.getvalue(), err.getvalue()
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())


def test_an_interval_of_none_or_all_ends_at_none_or_all_exactly():
    for number in range(1, 500):
        assert wilson(0, number)[0] == 0.0 and wilson(number, number)[1] == 1.0


@given(st.integers(1, 7).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
@settings(deadline=None, max_examples=60)
def test_pass_at_k_is_the_share_of_all_choices_of_k_samples_that_hold_one_that_passes(case):
    samples, passed, k = case
    choices = list(combinations(range(samples), k))
    share = Fraction(sum(min(choice) < passed for choice in choices), len(choices))
    assert pass_at_k(samples, passed, k) == pytest.approx(float(share))


def test_more_is_asked_of_pass_at_k_than_there_is():
    for samples, passed, k in [(2, 1, 3), (2, 3, 1), (2, 1, 0)]:
        with pytest.raises(ValueError, match=f"pass@{k}"):
            pass_at_k(samples, passed, k)


def test_the_interval_holds_the_mean_and_shrinks_with_the_number_of_problems():
    low, high = wilson(100, 164)
    assert (round(low, 3), round(high, 3)) == (0.533, 0.681)  # by the formula, worked out by hand
    few, many = ([0.5, 0.25, 1.0] * number for number in (5, 50))
    assert interval(few)[0] < interval(many)[0] < 7 / 12 < interval(many)[1] < interval(few)[1]
    assert interval([1.0, 0.0]) == wilson(1, 2)


def test_every_humaneval_answer_in_the_dress_of_a_chat_is_the_solution_again():
    problems = HumanEval().problems()
    assert len(problems) == 164 and all(is_code(each) for each in problems)
    for each in problems:
        chat = (
            f"Here it is:\n\n```python\n{each.solution}\n\nassert {each.entry_point}() == 'wrong'\n\n"
            "if __name__ == '__main__':\n    print(input())\n```\nIt works as asked."
        )
        program = answered(each, chat)
        assert "'wrong'" not in program and "__main__" not in program and "input()" not in program
        assert f"def {each.entry_point}(" in program
        assert each.prompt.rstrip() in question(each)


def test_a_completion_is_joined_to_the_prompt_as_it_is_and_one_that_repeats_it_stands_alone():
    problem = HumanEval().problems()[0]
    assert continued(problem, "    return 1\n") == problem.prompt + "    return 1\n"
    assert continued(problem, problem.prompt + "    return 1\n") == problem.prompt + "    return 1\n"


def test_canonical_solutions_pass_and_broken_ones_do_not(tmp_path):
    problems = HumanEval().problems()
    written(tmp_path / "right.jsonl", [{"task_id": p.id, "solution": p.solution} for p in problems])
    written(tmp_path / "wrong.jsonl", [{"task_id": p.id, "completion": "    raise SystemExit(0)\n"} for p in problems])
    for name, passed in (("right", 164), ("wrong", 0)):
        done = evaluate(tmp_path, "--samples", f"{name}.jsonl", "--json", "--out", name)
        found = json.loads(done.stdout)
        assert sum(one["passed"] for one in found["by_problem"].values()) == passed and found["samples"] == 164
        assert found == json.loads((tmp_path / name / "evaluation.json").read_text())


def test_several_samples_a_problem(tmp_path):
    written(tmp_path / "p.jsonl", TASKS)
    rows = [{"task_id": t["task_id"], "completion": f"    return a {sign} b\n"} for t in TASKS for sign in "+-"]
    rows[0]["completion"] = "    return 0\n"
    written(tmp_path / "s.jsonl", rows)
    words = ("-b", "problems:p.jsonl", "--samples", "s.jsonl")
    done = evaluate(tmp_path, *words, "--k", "1", "--k", "2", "--json")
    found = json.loads(done.stdout)["pass"]
    assert found["1"]["score"] == pytest.approx(5 / 12) and found["2"]["score"] == pytest.approx(5 / 6)
    shown = evaluate(tmp_path, *words, "--show-failures", "1").stdout
    assert "pass@1" in shown and "AssertionError 7" in shown and "T/0, sample 0: AssertionError" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_what_a_user_gets_wrong_is_told_with_exit_code_2(tmp_path):
    problems = f"problems:{written(tmp_path / 'p.jsonl', TASKS)}"
    good = [{"task_id": t["task_id"], "completion": "    return 1\n"} for t in TASKS]
    cases = [
        ([*good, {"task_id": "T/9", "completion": ""}], [], "s.jsonl:7: the benchmark has no problem 'T/9'. Did you"),
        ([*good, {"task_id": "T/1", "text": ""}], [], "s.jsonl:7: 'completion' (or 'solution') must be a text"),
        ([*good, ["T/1"]], [], "s.jsonl:7: a row needs 'task_id'"),
        (good[:4], [], "2 of 6 problems without a sample, 'T/4' first; --partial"),
        (good, ["--k", "2"], "pass@2 needs 2 samples a problem, and 'T/0' has 1"),
        (good, ["--model", "scripted"], "give one of --model and --samples"),
        (good, ["--seconds", "0"], "--seconds 0"),
        ([], [], "there is no sample in it"),
    ]
    for rows, words, told in cases:
        samples = written(tmp_path / "s.jsonl", rows)
        done = evaluate(tmp_path, "-b", problems, "--samples", samples, *words)
        assert done.returncode == 2 and told in done.stderr, done.stderr
    written(tmp_path / "s.jsonl", good)
    for words, told in [
        (["--model", "embeded:x"], "Did you mean 'embedded'?"),
        (["--model", "embedded:" + "x" * 400], "--model"),
        (["-b", "humanevil", "--model", "scripted"], "Did you mean 'humaneval'?"),
        (["-b", "mbpp: {", "--model", "scripted"], "--benchmark mbpp: {"),
        (["-b", problems, "--samples", "s.jsonl", "--out", "p.jsonl"], "p.jsonl: this is a file"),
        (["-b", problems, "--model", "scripted", "--out", "p.jsonl"], "p.jsonl: this is a file"),
        (["--model", "scripted", "--k", "5"], "--n 5"),
        (["--model", "scripted", "--n", "2", "--temperature", "0"], "--temperature 0"),
    ]:
        done = evaluate(tmp_path, *words)
        assert done.returncode == 2 and told in done.stderr, done.stderr
    assert not (tmp_path / "evaluations").exists()


ANSWERS = [{"contains": f"add{n}(", "reply": f"Sure!\n```python\ndef add{n}(a, b):\n    return a {sign} b\n```"}
           for n, sign in enumerate("+-+-++")]  # fmt: skip


def scripted(latency=0.0):
    return json.dumps({"scripted": {"rules": ANSWERS, "latency": latency}})


def slots(folder):
    with sqlite3.connect(folder / "run.db") as db:
        return db.execute("SELECT lower(hex(lineage)), nth FROM replies ORDER BY id").fetchall()


def test_a_model_is_asked_once_and_killed_at_any_moment_goes_on_where_it_was(tmp_path):
    words = ["-b", f"problems:{written(tmp_path / 'p.jsonl', TASKS)}", "--n", "5", "--out"]
    whole = evaluate(tmp_path, *words, "whole", "--model", scripted())
    assert whole.returncode == 0, whole.stderr
    found = json.loads((tmp_path / "whole/evaluation.json").read_text())
    assert found["pass"]["1"]["score"] == pytest.approx(4 / 6) and len(slots(tmp_path / "whole")) == 30
    command = [str(SCRIPT), "evaluate", *words, "killed", "--concurrency", "2", "--model", scripted(0.2)]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, env=os.environ)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not _some(tmp_path / "killed"):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = slots(tmp_path / "killed")
    assert 0 < len(before) < 30
    assert evaluate(tmp_path, *words, "killed", "--model", scripted(0.2)).returncode == 0
    after = slots(tmp_path / "killed")
    assert after[: len(before)] == before and len(after) == len(set(after)) == 30
    same = [(tmp_path / name / "samples.jsonl").read_bytes() for name in ("whole", "killed")]
    assert same[0] == same[1]
    other = evaluate(tmp_path, *words, "killed", "--model", scripted(0.2), "--max-tokens", "7")
    assert other.returncode == 2 and "sampling.max_tokens: the folder has 1024, the recipe 7" in other.stderr


def _some(folder):
    try:
        return len(slots(folder)) >= 3
    except sqlite3.OperationalError:
        return False


def test_ctrl_c_says_how_to_go_on(tmp_path):
    words = ["-b", f"problems:{written(tmp_path / 'p.jsonl', TASKS)}", "--n", "5", "--out", "out"]
    process = subprocess.Popen(
        [str(SCRIPT), "evaluate", *words, "--concurrency", "1", "--model", scripted(0.3)], cwd=tmp_path, text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not _some(tmp_path / "out"):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "stopped; what was answered is kept. Go on with:" in err and "evaluate" in err and "Traceback" not in err
    assert 0 < len(slots(tmp_path / "out")) < 30


def paid(folder):
    with sqlite3.connect(folder / "run.db") as db:
        sql = "SELECT coalesce(sum(prompt_tokens + completion_tokens), 0) FROM replies"
        return db.execute(sql).fetchone()[0], db.execute("SELECT count(*) FROM charges").fetchone()[0]


def test_a_budget_is_never_overspent_and_a_larger_one_goes_on(tmp_path):
    words = ["-b", f"problems:{written(tmp_path / 'p.jsonl', TASKS)}", "--model", scripted(), "--max-tokens", "60"]
    few = evaluate(tmp_path, *words, "--out", "e", "--budget-tokens", "400")
    assert few.returncode == 3 and "the budget is spent" in few.stderr and "a larger budget" in few.stderr
    tokens, charges = paid(tmp_path / "e")
    first = slots(tmp_path / "e")
    assert 0 < len(first) < 6 and 0 < tokens <= 400 and charges == 0
    assert not (tmp_path / "e/evaluation.json").exists()
    more = evaluate(tmp_path, *words, "--out", "e", "--budget-tokens", "100000")
    assert more.returncode == 0, more.stderr
    assert slots(tmp_path / "e")[: len(first)] == first and len(slots(tmp_path / "e")) == 6
    dollars = evaluate(tmp_path, *words, "--out", "d", "--budget-usd", "0.0006", "--price", "1,4")
    assert dollars.returncode == 3 and "of $0.0006" in dollars.stderr
    with sqlite3.connect(tmp_path / "d/run.db") as db:
        cost, number = db.execute("SELECT sum(prompt_tokens + 4 * completion_tokens), count(*) FROM replies").fetchone()
    assert 0 < number < 6 and cost / 1e6 <= 0.0006


def test_calls_leave_no_faster_than_the_limit_says(tmp_path):
    words = ["-b", f"problems:{written(tmp_path / 'p.jsonl', TASKS)}", "--model", scripted(), "--limit", "3"]
    done = evaluate(tmp_path, *words, "--requests-per-second", "1", "--out", "e")
    assert done.returncode == 0, done.stderr
    with sqlite3.connect(tmp_path / "e/run.db") as db:
        ((first, last, number),) = db.execute("SELECT min(at), max(at), count(*) FROM replies")
    assert number == 3 and last - first >= 1.9


def test_a_price_that_is_given_wins_over_the_backends_own():
    given = Spending.of({"usd": 1}, price={"input": 1, "output": 2})
    for name, options in (("scripted", {}), ("openai-compatible", {"base_url": "http://localhost:1/v1", "model": "m"})):
        backend = et.Catalog.load().find(et.Backend, name)(**options)
        assert given.known(backend) == et.Price(input=1, output=2), name


def test_bounds_that_are_wrong_cost_nothing(tmp_path):
    problems = f"problems:{written(tmp_path / 'p.jsonl', TASKS)}"
    unpriced = json.dumps({"openai-compatible": {"base_url": "https://api.example.org/v1", "model": "m"}})
    cases = [
        (scripted(), ["--budget-usd", "0"], "budget.usd: Input should be greater than 0"),
        (scripted(), ["--budget-usd", "nan"], "budget.usd"),
        (scripted(), ["--budget-tokens", "-5"], "budget.tokens"),
        (scripted(), ["--requests-per-minute", "inf"], "limits.requests_per_minute"),
        (scripted(), ["--retries", "-1"], "limits.retries"),
        (scripted(), ["--price", "1"], "--price 1: two numbers"),
        (scripted(), ["--price", "1,-2"], "price.output"),
        (unpriced, ["--budget-usd", "5"], "no price is known for the backend 'openai-compatible'"),
    ]
    for model, words, told in cases:
        done = evaluate(tmp_path, "-b", problems, "--model", model, *words)
        assert done.returncode == 2 and told in done.stderr, done.stderr
    samples = written(tmp_path / "s.jsonl", [{"task_id": "T/0", "completion": ""}])
    done = evaluate(tmp_path, "-b", problems, "--samples", samples, "--partial", "--budget-tokens", "5")
    assert done.returncode == 2 and "asks nothing" in done.stderr
    assert not (tmp_path / "evaluations").exists()


def test_a_model_is_measured_from_python_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    problems = f"problems:{written(tmp_path / 'p.jsonl', TASKS)}"
    script = json.loads(scripted())
    found = et.evaluate(script, problems, "e", samples=2, k=[1, 2])
    assert found.scores([1])[1][0] == pytest.approx(4 / 6)
    assert json.loads(Path("e/evaluation.json").read_text()) == json.loads(json.dumps(found.as_dict([1, 2])))

    async def in_a_loop():
        with pytest.raises(UsageError, match=r"await et\.aevaluate"):
            et.evaluate(script, problems)
        return await et.aevaluate(script, problems, limit=2, budget={"tokens": 100_000}, limits={"retries": 0})

    assert len(asyncio.run(in_a_loop()).tallies) == 2
    for options, told in [
        ({"k": [2]}, "must be from 1 to `samples`"),
        ({"samples": 2, "temperature": 0}, "same sample each time"),
        ({"seconds": 0}, "seconds: "),
        ({"budget": {"euro": 1}}, "budget.euro"),
        ({"limits": {"backends": {}}}, "limits.backends"),
        ({"price": {"input": 1}}, "price.output"),
    ]:
        with pytest.raises(UsageError, match=told):
            et.evaluate(script, problems, "wrong", **options)
    assert not Path("wrong").exists()
    with pytest.raises(RecipeError, match="Did you mean 'scripted'"):
        et.evaluate("scriptde", problems)


class TestHowMuchIsTold:
    MODEL = '{scripted: {rules: [{contains: add1, reply: "def add1(a, b):\\n    return a + b"}, {reply: "no"}]}}'

    @pytest.fixture
    def words(self, tmp_path):
        return ["-b", f"problems:{written(tmp_path / 'p.jsonl', TASKS)}", "--model", self.MODEL, "--out", "e"]

    def test_quiet_says_where_the_results_are_and_nothing_else(self, tmp_path, words):
        done = evaluate(tmp_path, *words, "--quiet")
        assert (done.returncode, done.stdout, done.stderr) == (0, "e/evaluation.json\n", "")
        written(tmp_path / "s.jsonl", [{"task_id": t["task_id"], "completion": "    return a + b\n"} for t in TASKS])
        done = evaluate(tmp_path, *words[:2], "--samples", "s.jsonl", "--quiet")
        assert (done.stdout, done.stderr) == ("pass@1 1.0000\n", "")
        for more in ("--verbose", "--show-failures=1"):
            done = evaluate(tmp_path, *words, "--quiet", more)
            assert done.returncode == 2 and "do not go together" in done.stderr

    def test_a_terminal_is_shown_a_bar_and_one_that_can_only_print_lines(self, tmp_path, words):
        code, seen, _ = read_terminal(["evaluate", *words], tmp_path)
        assert code == 0 and "\x1b[?25l" in seen and "6/6 samples" in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen)
        assert seen.rindex("\x1b[?25h") > seen.rindex("\x1b[?25l")
        code, seen, _ = read_terminal(["evaluate", *words, "--verbose"], tmp_path, term="dumb")
        assert code == 0 and "\x1b" not in seen and "T/1, sample 0: passed" in seen

    @pytest.mark.parametrize("terminal", ["0", "1"])
    def test_a_pipe_and_a_terminal_that_can_only_print_get_a_line_now_and_then(self, capsys, monkeypatch, terminal):
        monkeypatch.setenv("TTY_COMPATIBLE", terminal)  # by which rich takes any stream for a terminal
        monkeypatch.setenv("TERM", "dumb")
        times = iter([0.0, 3.0, 10.5, 11.0, 21.0])
        with Bar(5, clock=lambda: next(times)) as bar:
            done = bar.telling(Voice(Telling(), bar.note, None))
            for result in [CheckResult("passed", "suite")] * 4:
                done(Scored(Sample(Problem("T/0", "p", "f", tests="t"), 0, "", "", "stop"), result))
        assert capsys.readouterr().err.splitlines() == ["2 of 5 samples", "4 of 5 samples"]

    def test_verbose_says_what_became_of_each_sample(self, tmp_path, words):
        lines = evaluate(tmp_path, *words, "--verbose").stderr.splitlines()
        assert len(lines) == 6 and "T/1, sample 0: passed" in lines
        assert sum(", sample 0: " in line and not line.endswith("passed") for line in lines) == 5

    def test_the_log_has_an_event_for_each_sample(self, tmp_path, words):
        for log in ("log", "-"):
            done = evaluate(tmp_path, *words, "--log-json", log)
            text = (tmp_path / "log").read_text() if log == "log" else done.stderr
            events = [json.loads(line) for line in text.splitlines()]
            assert [event["event"] for event in events] == [
                "evaluation_started", *["sample_scored"] * 6, "evaluation_finished"
            ]  # fmt: skip
            assert events[0]["problems"] == 6 and events[0]["model"] == "scripted" and events[0]["folder"] == "e"
            assert [event["problem"] for event in events[1:-1] if event["passed"]] == ["T/1"]
            assert events[-1]["scores"] == {"pass@1": pytest.approx(1 / 6)}
            assert (done.stdout == "e/evaluation.json\n") == (log == "-")
        wrong = evaluate(tmp_path, *words, "--seed", "7", "--log-json", "log")
        last = json.loads((tmp_path / "log").read_text().splitlines()[-1])
        assert wrong.returncode == 2 and last["event"] == "error" and "another kind" in last["text"]


def test_a_folder_that_is_not_there_is_said_to_be_none_and_the_backends_are_named(tmp_path):
    for model in ("runs/none/train/model", "./model", "model"):
        done = evaluate(tmp_path, "--model", model)
        assert done.returncode == 2 and f"--model {model}: there is no such folder" in done.stderr
        assert "Backends: embedded, litellm, " in done.stderr
    done = evaluate(tmp_path, "--model", "embeded:x")
    assert "no such folder" not in done.stderr and "Did you mean 'embedded'?" in done.stderr


@pytest.mark.parametrize(
    "words", [["--k", "1"], ["--seconds", "3"], ["--packages"], ["--show-failures", "2"], ["--packages", "--k", "1"]]
)
def test_what_a_task_of_lm_eval_does_not_take_is_refused_before_anything_is_loaded(tmp_path, words):
    done = evaluate(tmp_path, "-b", "lm-eval:gsm8k", "--model", "no-such-backend", *words)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr
    assert "takes no " in done.stderr and all(word in done.stderr for word in words if word.startswith("--"))
    assert "no-such-backend" not in done.stderr


@pytest.mark.parametrize("words", [["--samples", "s.jsonl"], ["--model", "no-such-backend", "--n", "2"]])
def test_a_task_of_lm_eval_takes_a_model_and_one_sample(tmp_path, words):
    done = evaluate(tmp_path, "-b", "lm-eval:gsm8k", *words)
    assert done.returncode == 2 and "takes --model, and no --samples or --n" in done.stderr
