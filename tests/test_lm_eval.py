"""evolteacher evaluate --benchmark lm-eval:TASK, on tasks of our own: nothing is fetched."""

import json
import sqlite3
from pathlib import Path

import pytest
from test_evaluation import evaluate
from tiny_model import write_model

from evolteacher.report.harnessed import harnessed

pytest.importorskip("lm_eval")

ROWS = [{"q": f"{n} + 1", "a": str(n + 1)} for n in range(4)]
COMMON = """dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
doc_to_text: 'Q: {{{{q}}}} A:'
"""
WORDS = """task: sums
output_type: generate_until
doc_to_target: '{{a}}'
generation_kwargs: {until: ["\\n"], max_gen_toks: 16}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
"""
LIKELY = """task: likely
output_type: multiple_choice
doc_to_choice: ["1", "2"]
doc_to_target: 0
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
"""
RULES = [{"contains": f"Q: {n} + 1", "reply": f"{n + 1 if n else 9}\nand more"} for n in range(4)]


@pytest.fixture
def tasks(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    data = tmp_path / "sums.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    folder = tmp_path / "tasks"
    folder.mkdir()
    for name, text in (("sums", WORDS), ("likely", LIKELY)):
        (folder / f"{name}.yaml").write_text(text + COMMON.format(data=json.dumps(str(data))))
    return folder


def test_a_task_in_words_is_asked_of_any_backend_once(tmp_path, tasks):
    words = ["-b", "lm-eval:sums", "--lm-eval-tasks", str(tasks), "--out", "e"]
    model = ["--model", json.dumps({"scripted": {"rules": RULES}})]
    few = evaluate(tmp_path, *words, *model, "--budget-tokens", "50", "--concurrency", "1")
    assert few.returncode == 3 and "a larger budget" in few.stderr, few.stderr
    done = evaluate(tmp_path, *words, *model)
    assert done.returncode == 0 and "exact_match" in done.stdout and "0.7500" in done.stdout, done.stderr
    found = json.loads((tmp_path / "e/lm-eval.json").read_text())
    assert found["results"]["sums"]["exact_match,none"] == 0.75
    (shown,), broken = harnessed([tmp_path / "e"])
    assert broken == [] and [row[:3] for row in shown.rows] == [("sums", "exact_match", "0.7500")]
    again = evaluate(tmp_path, *words, *model, "--json")
    assert json.loads(again.stdout)["results"] == found["results"]
    with sqlite3.connect(tmp_path / "e/run.db") as db:
        assert db.execute("SELECT count(*) FROM replies").fetchone() == (4,)


def test_a_checkpoint_does_tasks_of_likelihood_and_in_words(tmp_path, tasks):
    write_model(tmp_path / "model")
    model = ["--model", f"transformers:{tmp_path / 'model'}", "--lm-eval-tasks", str(tasks), "--max-tokens", "8"]
    done = evaluate(tmp_path, "-b", "lm-eval:likely", *model, "--out", "e", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["results"]["likely"]
    assert 0 <= found["acc,none"] <= 1 and found["acc,none"] * 4 % 1 == 0


def test_only_as_many_rows_as_the_limit_says_and_more_later(tmp_path, tasks):
    words = ["-b", "lm-eval:sums", "--lm-eval-tasks", str(tasks), "--out", "e", "--json"]
    model = ["--model", json.dumps({"scripted": {"rules": RULES}})]
    for limit, score in ((2, 0.5), (3, 2 / 3)):
        done = evaluate(tmp_path, *words, *model, "--limit", str(limit))
        found = json.loads(done.stdout)
        assert found["results"]["sums"]["exact_match,none"] == pytest.approx(score)
        assert (found["limit"], found["n-samples"]["sums"]["effective"]) == (limit, limit)
        with sqlite3.connect(tmp_path / "e/run.db") as db:
            assert db.execute("SELECT count(*) FROM replies").fetchone() == (limit,)


def test_a_task_of_ones_own_that_is_wrong_is_told_in_a_line(tmp_path, tasks):
    for name, old, new in (("syntax", "{{a}}", "{{a}"), ("runtime", "{{a}}", "{{a.b.c}}")):
        text = (tasks / "sums.yaml").read_text().replace("task: sums", f"task: {name}")
        assert old in text
        (tasks / f"{name}.yaml").write_text(text.replace(old, new))
        words = ["-b", f"lm-eval:{name}", "--lm-eval-tasks", str(tasks), "--model", "scripted", "--out", name]
        done = evaluate(tmp_path, *words)
        assert done.returncode == 2 and f"lm-eval cannot do {name}: " in done.stderr, done.stderr
        assert "is a bug in" not in done.stderr


def test_what_cannot_be_done_is_said(tmp_path, tasks):
    model = ["--model", json.dumps({"scripted": {"rules": RULES}})]
    for words, told in [
        (["-b", "lm-eval:likely", "--lm-eval-tasks", str(tasks)], "needs the model's probabilities"),
        (["-b", "lm-eval:QQQQQQQQQ", "--lm-eval-tasks", str(tasks)], "has no task 'QQQQQQQQQ'"),
        (["-b", "lm-eval:summs", "--lm-eval-tasks", str(tasks)], "Did you mean 'sums'?"),
        (["-b", "lm-eval:sums", "--lm-eval-tasks", "nowhere"], "there is no such folder"),
        (["-b", "lm-eval:"], "name a task"),
        (["-b", "lm-eval:sums", "--n", "2"], "no --samples or --n"),
        (["-b", "humaneval", "--lm-eval-tasks", str(tasks)], "goes with --benchmark lm-eval:TASK"),
    ]:
        done = evaluate(tmp_path, *words, *model)
        assert done.returncode == 2 and told in done.stderr, done.stderr
        assert len(done.stderr) < 2000
    bounded = ["-b", "lm-eval:likely", "--lm-eval-tasks", str(tasks), "--budget-tokens", "5"]
    done = evaluate(tmp_path, *bounded, "--model", f"transformers:{tmp_path}")
    assert done.returncode == 2 and "no budget, limit or price can be kept" in done.stderr, done.stderr
    assert not Path(tmp_path / "evaluations").exists()


def test_quiet_and_the_log(tmp_path, tasks):
    words = ["-b", "lm-eval:sums", "--lm-eval-tasks", str(tasks), "--model", json.dumps({"scripted": {"rules": RULES}})]
    done = evaluate(tmp_path, *words, "--out", "e", "--quiet", "--log-json", "log")
    assert (done.returncode, done.stdout) == (0, "e/lm-eval.json\n") and "error" not in done.stderr
    events = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [event["event"] for event in events] == ["evaluation_started", "evaluation_finished"]
    assert list(events[1]["scores"].values()) == ["0.7500"]
