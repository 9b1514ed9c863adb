"""What a report shows of what followed on a run: evaluations, trainings, stages; also of broken and hostile files."""

import asyncio
import json
import re
from html import unescape

import pytest
from experiment import write_seeds
from reporting import (
    FAILED,
    HOSTILE,
    LATE,
    PASSED,
    SIDE,
    Scripts,
    carry_out,
    comparison,
    evaluation,
    look,
    needs_browser,
    ones,
    report,
    training,
)

from evolteacher.cli import main
from evolteacher.errors import UsageError
from evolteacher.report.files import Besides
from evolteacher.report.measured import ANSWER, FAILURES, PROBLEMS
from evolteacher.report.page import FILE
from evolteacher.sandbox import CheckResult
from evolteacher.stages.measuring import Measurement, differences


@pytest.fixture
def run_folder(tmp_path):
    write_seeds(tmp_path, 3)
    rows = [json.loads(line) for line in (tmp_path / "seeds.jsonl").read_text().splitlines()]
    return carry_out(tmp_path, rows)


def section(page, id):
    part = page[page.index(f'<section id="{id}"') :]
    return part[: part.index("\n</section>")]


def words(page):
    return re.findall(r"<li dir=\"auto\">([^<]*)<", section(page, "evaluation"))


def rows_of(part, label):
    """Return the table in a region: rows of texts."""
    table = part[part.index(f'aria-label="{label}"') :]
    table = table[: table.index("</table>")]
    found = re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL)
    return [
        [unescape(re.sub("<[^>]*>", "", cell)) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)]
        for row in found
    ]


def test_base_and_tuned_are_compared_in_the_words_of_the_stages(run_folder):
    base = evaluation(run_folder / "evaluate" / "made-base", ones(*[0] * 12, 1, 1))
    tuned = evaluation(run_folder / "evaluate" / "made-tuned", [*ones(*[1] * 10), [LATE], *ones(0, 1, 0)])
    page = report(run_folder)
    measured = [Measurement("made", name, run_folder, one) for name, one in (("base", base), ("tuned", tuned))]
    (wanted,) = differences(measured, (1,))
    assert "the tuned model is better" in wanted.words()
    named = "Made/0, Made/1, Made/2, Made/3, Made/4, Made/5, …"
    assert words(page) == [
        f"{wanted.words()}.",
        f"tuned solves 10 that base does not: {named}.",
        "base solves 1 that tuned does not: Made/13.",
    ]
    part = section(page, "evaluation")
    scores = rows_of(part, "Scores on made, 14 problems")
    model = "scripted: small, temperature 0.0, at most 99 tokens"
    low, high = base.scores((1,))[1][1:]
    assert scores[1] == ["base", "pass@1", "14.3%", f"{low:.1%} to {high:.1%}", "14", "14", model]
    assert scores[2][:3] == ["tuned", "pass@1", "78.6%"]
    endings = rows_of(part, "How samples of made, 14 problems ended")
    assert endings[1:] == [["failed a test", "12", "2"], ["passed", "2", "11"], ["timed out", "0", "1"]]
    problems = rows_of(part, "Problems of made, 14 problems")
    assert problems[1] == ["Made/0", "0 of 1 · AssertionError (line 3 of the tests)", "1 of 1"]
    assert problems[11][2] == "0 of 1 · took too long: 3 seconds"
    assert f"({6} of 12)" in part
    assert '<a href="#evaluation">' in page


def test_noise_is_called_that_and_a_chart_is_drawn_of_the_intervals(run_folder):
    evaluation(run_folder / "evaluate" / "made-base", ones(1, 0, 1, 0))
    evaluation(run_folder / "evaluate" / "made-tuned", ones(1, 1, 1, 0))
    whole = report(run_folder, drawn=True)
    assert words(whole)[0].endswith("within noise, no difference is shown.")
    assert words(whole)[-2:] == ["tuned solves 1 that base does not: Made/1.", "base solves 0 that tuned does not."]
    page = section(whole, "evaluation")
    assert page.count("<svg ") == 1
    assert "tuned, pass@1" in page
    assert "#0102" not in page
    assert "<svg" not in section(report(run_folder), "evaluation")


def test_several_samples_several_k_and_a_folder_besides(run_folder, tmp_path):
    outcomes = [[PASSED, FAILED], [FAILED, FAILED], [LATE, PASSED]]
    evaluation(run_folder / "evaluate" / "made-base", outcomes, ks=(1, 2))
    evaluation(tmp_path / "other", [[PASSED, PASSED], *outcomes[1:]], ks=(1, 2))
    evaluation(tmp_path / "more", ones(1, 1, 1, 1), names="Else/")
    page = report(run_folder, besides=Besides((tmp_path / "other", tmp_path / "more")))
    part = section(page, "evaluation")
    scores = rows_of(part, "Scores on made, 3 problems")
    assert [row[:2] for row in scores[1:]] == [
        ["base", "pass@1"], ["base", "pass@2"], ["other", "pass@1"], ["other", "pass@2"],
    ]  # fmt: skip
    assert rows_of(part, "Problems of made, 3 problems")[1][1:] == [
        "1 of 2 · AssertionError (line 3 of the tests)",
        "2 of 2",
    ]
    assert sum("other minus base" in line for line in words(page)) == 2
    assert "other and base solve the same problems." in words(page)
    assert rows_of(part, "Scores on made, 4 problems")[1][0] == "more"


def test_models_that_were_asked_different_problems_are_not_compared(run_folder, tmp_path):
    evaluation(run_folder / "evaluate" / "made-base", ones(1, 0))
    evaluation(tmp_path / "part", ones(1, 0))
    path = tmp_path / "part" / "evaluation.json"
    found = json.loads(path.read_text())
    del found["by_problem"]["Made/1"]
    path.write_text(json.dumps(found))
    page = report(run_folder, besides=Besides((tmp_path / "part",)))
    assert words(page)[0] == "part and base were not asked the same problems, so they are not compared."
    assert ["Made/1", "0 of 1 · AssertionError (line 3 of the tests)", "\u2013"] in rows_of(
        page, "Problems of made, 2 problems"
    )


def test_an_evaluation_stays_small_whatever_the_answers(run_folder, tmp_path):
    before = len(report(run_folder))
    for model in ("base", "tuned"):
        evaluation(run_folder / "evaluate" / f"made-{model}", ones(*[0] * 164), reply="x = 1\n" * 20_000)
    assert len(report(run_folder)) - before < 80_000
    part = section(report(run_folder), "evaluation")
    shown = re.findall(r'<pre class="code" dir="auto">([^<]*)</pre>', part)
    assert {len(text) for text in shown} == {ANSWER + 1}
    assert FAILURES < len(shown) <= 2 * FAILURES
    evaluation(tmp_path / "many", ones(*[1] * (PROBLEMS + 7)))
    part = section(report(run_folder, besides=Besides((tmp_path / "many",))), "evaluation")
    assert len(rows_of(part, f"Problems of made, {PROBLEMS + 7} problems")) == PROBLEMS + 1
    assert "and 7 more in the folder" in part


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{broken", "evaluation.json: this is no JSON"),
        ("[" * 100_000, "evaluation.json: this is no JSON"),
        ("[1, 2]", "evaluation.json: not what evolteacher writes"),
        ('{"benchmark": {"made": {}}}', "evaluation.json: not what evolteacher writes: pass: Field required"),
        ('{"model": "x", "pass": 1}', "evaluation.json: not what evolteacher writes: benchmark: Field required"),
        ({"pass": {"1": {"score": float("nan"), "low": 0, "high": 1}}}, "pass.1.score"),
        ({"pass": {"1": {"score": 7, "low": 0, "high": 1}}}, "pass.1.score"),
        ({"by_problem": {"a": {"samples": 1, "passed": 2}}}, "2 of 1 samples passed"),
        ({"problems": 10**400}, "problems"),
    ],
)  # fmt: skip
def test_a_broken_evaluation_costs_a_line(run_folder, text, told):
    evaluation(run_folder / "evaluate" / "made-tuned", ones(1))
    evaluation(run_folder / "evaluate" / "made-base", ones(1))
    path = run_folder / "evaluate" / "made-base" / "evaluation.json"
    path.write_text(text if isinstance(text, str) else json.dumps({**json.loads(path.read_text()), **text}))
    part = section(report(run_folder), "evaluation")
    (line,) = re.findall(r'<p class="unread" dir="auto">([^<]*)</p>', part)
    assert line.startswith("made-base/evaluation.json")
    assert told in line
    assert [row[0] for row in rows_of(part, "Scores on made, 1 problem")] == ["measured", "tuned"]


def test_samples_that_are_broken_or_missing_cost_no_more_than_themselves(run_folder):
    folder = run_folder / "evaluate" / "made-base"
    evaluation(folder, ones(0, 1))
    with (folder / "samples.jsonl").open("ab") as out:
        out.write(b'{"task_id": 7}\n[]\n\xff\xfe\n' + b"[" * 100_000 + b"\n")
    part = section(report(run_folder), "evaluation")
    assert "base: 4 of the lines of its samples.jsonl cannot be read" in part
    assert "AssertionError (line 3 of the tests)" in part
    (folder / "samples.jsonl").unlink()
    part = section(report(run_folder), "evaluation")
    assert "How samples" not in part
    assert rows_of(part, "Problems of made, 2 problems")[1:] == [["Made/0", "0 of 1"], ["Made/1", "1 of 1"]]


def test_folders_of_the_same_name_are_told_apart(run_folder, tmp_path):
    for number in range(3):
        evaluation(tmp_path / str(number) / "same", ones(1, 0))
    folders = tuple(tmp_path / str(number) / "same" for number in range(3))
    part = section(report(run_folder, besides=Besides(folders)), "evaluation")
    assert rows_of(part, "Problems of made, 2 problems")[0] == ["problem", "same", "same (2)", "same (3)"]


def test_a_file_of_samples_is_named_without_its_place(run_folder, tmp_path):
    evaluation(tmp_path / "filed", ones(1, 0))
    path = tmp_path / "filed" / "evaluation.json"
    found = json.loads(path.read_text())
    del found["model"], found["sampling"]
    path.write_text(json.dumps({**found, "samples_file": str(tmp_path / "mine.jsonl")}))
    part = section(report(run_folder, besides=Besides((tmp_path / "filed",))), "evaluation")
    assert rows_of(part, "Scores on made, 2 problems")[1][-1] == "mine.jsonl"


def harness(folder, results, **changes):
    folder.mkdir()
    found = {"model": {"scripted": {"model": "small"}}, "limit": 20, "results": results, **changes}
    (folder / "lm-eval.json").write_text(json.dumps(found))
    return Besides((folder,))


def test_tasks_of_lm_eval_are_a_table(run_folder, tmp_path):
    metrics = {"exact_match,none": 0.75, "exact_match_stderr,none": 0.25, "alias": "sums", "n,none": 10**400}
    part = section(report(run_folder, besides=harness(tmp_path / "tasks", {"sums": metrics})), "evaluation")
    assert rows_of(part, "Tasks of tasks")[1:] == [["sums", "exact_match", "0.7500", "± 0.2500"]]
    assert "asked of scripted: small, the first 20 rows of each task" in part
    many = {f"{HOSTILE[0]}{n}": {f"{HOSTILE[2] * 100},none": 1} for n in range(300)}
    part = section(report(run_folder, besides=harness(tmp_path / "many", many)), "evaluation")
    assert "and 200 more in the folder's file" in part
    assert {tag for tag, _ in Scripts(part).tags} & {"script", "img", "style", "svg"} == set()
    assert not re.search("[\x00-\x08\x0b-\x1f\u202a-\u202e\u2066-\u2069]", part)
    assert len(part) < 60_000
    for number, results in enumerate(([], {"sums": 7})):
        part = section(report(run_folder, besides=harness(tmp_path / f"broken{number}", results)), "evaluation")
        assert f"broken{number}/lm-eval.json: not what evolteacher writes: results" in part


def test_trainings_here_and_elsewhere_are_shown_with_their_figures(run_folder, tmp_path):
    training(run_folder / "train")
    training(tmp_path / "away", finished=False, results={}, seconds=4000)
    evaluation(tmp_path / "away" / "evaluate" / "made-tuned", ones(1))
    page = report(run_folder, besides=Besides(trainings=(tmp_path / "away",)))
    part = section(page, "training")
    assert rows_of(part, "Figures of the training") == [
        ["model", "a-model"], ["trained", "LoRA"], ["rows learnt", "14"], ["rows held out", "8"],
        ["rows dropped as too long", "2"], ["steps", "4"], ["tokens an epoch", "3,280"],
        ["loss at the beginning", "0.9200"], ["loss at the end", "0.7900"],
        ["loss of the rows held out, before", "1.3900"], ["loss of the rows held out, after", "1.2800"],
        ["time", "93.9 s"], ["peak memory", "5.03 GB"],
    ]  # fmt: skip
    assert rows_of(part, "Figures of the training away")[2:] == [["state", "not finished"], ["time", "66.7 min"]]
    assert part.count("<polyline") == 2
    assert str(tmp_path) not in part
    assert rows_of(page, "Scores on made, 1 problem")[1][0] == "away tuned"


def test_what_no_training_writes_is_left_out(run_folder):
    training(
        run_folder / "train", results={"rows": 10**400, "loss": float("inf"), "steps": True, "tokens": "<b>", "cut": 1}
    )
    steps = ("1e999", "9" * 400, "true", '"4"', "-1e300", "NaN")
    losses = ("1e400", "1e300", "Infinity", "null", "[1]")
    lines = [f'{{"step": {step}, "loss": 1}}' for step in steps] + [f'{{"step": 3, "loss": {loss}}}' for loss in losses]
    lines += ["7", "{x", '{"step": 4, "loss": 5e-324}']
    (run_folder / "train" / "metrics.jsonl").write_text("\n".join(lines))
    part = section(report(run_folder), "training")
    assert [name for name, _ in rows_of(part, "Figures of the training")] == [
        "model",
        "trained",
        "responses cut off",
        "time",
    ]
    assert part.count("<circle") == 1
    (run_folder / "train" / "training.json").write_text('{"finished": 1}')
    assert "train/training.json: not what evolteacher writes: experiment: Field required" in report(run_folder)


def test_stages_are_told_and_a_broken_file_costs_a_line(run_folder):
    assert "<h3>Stages</h3>" not in report(run_folder)
    (run_folder / "stages.json").write_text('{"evolve": {"seconds": 560.6, "peak_bytes": 1055080448}}')
    wanted = ["evolve", "9.3 min", "", "1.06 GB"]
    assert rows_of(report(run_folder), "Stages")[1] == wanted
    (run_folder / "summary.json").write_text((run_folder / "stages.json").read_text().join(('{"stages": ', "}")))
    for broken in ("{", '{"evolve": 1}', '{"evolve": {"seconds": 1e999, "peak_bytes": 1}}', "[]"):
        (run_folder / "stages.json").write_text(broken)
        page = report(run_folder)
        assert '<p class="unread" dir="auto">stages.json: ' in page
        assert rows_of(page, "Stages")[1] == wanted


def test_a_wrong_folder_is_told_in_a_line(run_folder, tmp_path, capsys):
    evaluation(tmp_path / "evaluations" / "made-base", ones(1))
    wrong = {
        ("evaluations", tmp_path / "nowhere"): "there is no such folder",
        ("evaluations", tmp_path / "evaluations"): f"did you mean {tmp_path / 'evaluations' / 'made-base'}?",
        (
            "evaluations",
            run_folder,
        ): "there is no evaluation.json in it; give a folder that `evolteacher evaluate` wrote",
        ("trainings", run_folder): "there is no training.json in it; give a folder that `evolteacher train` wrote",
    }
    for (kind, folder), told in wrong.items():
        with pytest.raises(UsageError) as error:
            report(run_folder, besides=Besides(**{kind: (folder,)}))
        assert str(error.value).startswith(f"--{kind[:-1]} {folder}: ")
        assert told in str(error.value)
        assert "\n" not in str(error.value)
    assert main(["report", str(run_folder), "--evaluation", str(tmp_path / "nowhere")]) == 2
    assert "--evaluation" in capsys.readouterr().err


def mixed(folder, **changes):
    """Carry out a run over seeds of three licences, by a model of OpenAI's."""
    given = [{"licence": "mit"}, {"licence": "cc-by-nc-4.0"}, {"licence": "mit", "terms": "gemma"}, {}]
    rows = [{"instruction": f"task{n} doubles {n}", "output": "x = 1"} | given[n % 4] for n in range(8)]
    return carry_out(folder, rows, rounds=1, operators=["add-constraints"], terms={"evolve": "openai"}, **changes)


def test_licences_and_terms_are_summed_and_what_restricts_use_is_told(tmp_path):
    page = report(mixed(tmp_path))
    part = section(page, "licences")
    assert rows_of(part, "Rows by licence of the seed")[1:] == [
        ["mit", "8", "its notice to be kept"],
        ["unknown", "4", "not in evolteacher's tables"],
        ["cc-by-nc-4.0", "4", "no commercial use"],
    ]
    terms = rows_of(part, "Rows by terms of the models")[1:]
    assert [row[:3] for row in terms] == [
        ["openai", "8", "purposes that it names to be left alone"],
        ["gemma", "4", "purposes that it names to be left alone"],
    ]
    assert terms[0][3].startswith("Understood to forbid using output to develop models")
    assert part.count('<b class="restricts">') == 4
    assert "does not say what the dataset is to be published under" in part
    assert '<a href="#licences">' in page


def test_what_the_licence_does_not_allow_is_told_and_why_it_goes_all_the_same(tmp_path):
    folder = mixed(tmp_path, licence="mit")
    part = section(report(folder), "licences")
    assert "<b>Not to be published as it is.</b> The recipe's licence, mit, is not allowed by 14 of 16 rows" in part
    refused = rows_of(part, "Rows that the licence does not allow")
    assert [
        "cc-by-nc-4.0",
        "none",
        "2",
        "the licence: it allows no commercial use, which this licence would",
    ] in refused
    assert main(["export", str(folder), "--out", str(tmp_path / "o.json"), "--despite", "asked <them>"]) == 0
    assert "The reason given: asked &lt;them&gt;</p>" in section(report(folder), "licences")
    (tmp_path / "allowed").mkdir()
    allowed = carry_out(
        tmp_path / "allowed", [{"instruction": "double", "output": "2", "licence": "mit"}], licence="mit"
    )
    part = section(report(allowed), "licences")
    assert "To be published under mit, which the licences and terms below allow." in part
    assert "restricts" not in part


def test_a_hostile_licence_is_text(tmp_path):
    names = ("\u202e\0" + HOSTILE[0], *HOSTILE, HOSTILE[2] * 9_000)
    rows = [{"instruction": f"task{n}", "output": "1", "licence": name, "terms": name} for n, name in enumerate(names)]
    part = section(report(carry_out(tmp_path, rows, licence="mit")), "licences")
    assert {tag for tag, _ in Scripts(part).tags} & {"script", "img", "iframe", "base", "svg", "a", "link"} == set()
    assert not re.search("[\x00-\x08\x0b-\x1f\u202a-\u202e\u2066-\u2069]", part)
    assert "⟨U+202E⟩" in part
    assert len(part) < 20_000


def test_a_comparison_is_shown_with_its_words_and_its_controls(run_folder, tmp_path):
    part = section(report(run_folder, besides=comparison(tmp_path / "two")), "comparison")
    assert '<li dir="auto">Neither teaches more.</li>' in part
    assert rows_of(part, "Datasets of two")[1] == ["A", "one.jsonl", "9", "8", "3", "2"]
    losses = rows_of(part, "Loss on held-out rows, two")
    assert losses[2] == ["samples", "held-out rows of B", "2.500", "0.500", "0.750", "+0.250 (-0.125 to +0.500)"]
    assert rows_of(part, "Benchmarks, two")[1][:5] == ["samples", "made", "50.0%", "50.0%", "75.0%"]
    assert '<b class="restricts">FAILED:</b> it is not measurably worse' in part
    assert ">one.jsonl: 3 rows cut off<" in part
    assert "/there" not in part
    part = section(report(run_folder, besides=comparison(tmp_path / "two", controls=None)), "comparison")
    assert "None: they were left out." in part
    with pytest.raises(UsageError, match=r"--comparison .* there is no compare\.json in it"):
        report(run_folder, besides=Besides(comparisons=(run_folder,)))


def test_the_command_takes_each_kind_of_folder_as_often_as_is_wanted(run_folder, tmp_path, capsys):
    words = ["report", str(run_folder), "--sample", "0"]
    for name in ("one", "two"):
        evaluation(tmp_path / f"eval-{name}", ones(1, 0))
        training(tmp_path / f"train-{name}")
        comparison(tmp_path / f"compare-{name}")
        for option, folder in (("evaluation", "eval"), ("training", "train"), ("comparison", "compare")):
            words += [f"--{option}", str(tmp_path / f"{folder}-{name}")]
    assert main(words) == 0
    assert "report.html" in capsys.readouterr().err
    page = (run_folder / FILE).read_text(encoding="utf-8")
    for id, folder in (("evaluation", "eval"), ("training", "train"), ("comparison", "compare")):
        assert all(f"{folder}-{name}" in section(page, id) for name in ("one", "two"))


@pytest.mark.parametrize(
    "changes",
    [
        {"base": {"loss": {"a": 1, "b": 2}}},
        {"level": 1},
        {"comparisons": [{}]},
        {"comparisons": [{"matched": "samples", "loss": {"a": 1}}]},
        {"seeds": 10**400},
        {"base": {"loss": {"a": float("inf"), "b": 2}}},
        {"a": []},
        {"verdict": [[]]},
        {"controls": 7},
    ],
)
def test_a_broken_comparison_costs_a_line(run_folder, tmp_path, changes):
    part = section(report(run_folder, besides=comparison(tmp_path / "two", **changes)), "comparison")
    assert len(re.findall(r'<p class="unread" dir="auto">two/compare.json: not what evolteacher writes', part)) == 1
    assert "<table" not in part


def hostile(run_folder):
    """Put hostile texts wherever a file beside a run may hold one; return what the report is to show besides."""
    dirty = "\u202e\0" + "".join(HOSTILE)
    huge = dirty + "<b>" + "word " * 40_000
    bad = CheckResult("raised", "suite", HOSTILE[0], huge)
    for name in ("made-base", "made-tuned"):
        folder = run_folder / "evaluate" / name
        evaluation(folder, [[bad], [PASSED], [FAILED]], names=dirty, reply=huge, model=dirty, ending=dirty)
        path = folder / "evaluation.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "benchmark": {huge: {"path": huge}}}))
    folder = run_folder / "evaluate" / "broken-\u202ename"
    folder.mkdir()
    (folder / "evaluation.json").write_text(json.dumps({"benchmark": {"x": {}}, "pass": {dirty: 1}}))
    away = run_folder.parent / "<img src=x onerror='window.owned = 7'>\u202e"
    training(away, experiment={"train": {"model": huge, "method": dirty}})
    training(run_folder / "train", finished=False, results={"rows": dirty})
    (run_folder / "stages.json").write_text(json.dumps({huge: {"seconds": 1, "peak_bytes": 1}}))
    two = comparison(run_folder.parent / dirty[2:30].replace("/", ""), verdict=[dirty, huge], notes=[huge], model=dirty,
                     a={"source": dirty, **SIDE}, controls=[{"passed": True, "text": dirty}])  # fmt: skip
    return Besides((run_folder / "evaluate" / "made-base",), (away,), two.comparisons)


def test_hostile_files_beside_a_run_are_text(run_folder):
    plain = Scripts(report(run_folder))
    text = report(run_folder, besides=hostile(run_folder), drawn=True)
    page = Scripts(text)
    assert [tag for tag, attributes in page.tags if any(name.startswith("on") for name in attributes)] == []
    assert {tag for tag, _ in page.tags} & {"iframe", "base", "img", "object", "embed"} == set()
    assert len(page.code) == len(plain.code) == 1
    assert not re.search("[\x00-\x08\x0b-\x1f\u202a-\u202e\u2066-\u2069]", text)
    assert "⟨U+202E⟩gnp.exe" in section(text, "evaluation")
    assert len(section(text, "evaluation")) < 120_000
    assert len(section(text, "comparison")) < 20_000


@needs_browser
def test_a_browser_shows_hostile_files_beside_a_run_unharmed(run_folder):
    report(run_folder, besides=hostile(run_folder), drawn=True)

    async def script(page):
        await page.run("for (const each of document.querySelectorAll('details')) each.open = true")
        for id in ("evaluation", "training", "glance", "comparison"):
            inside = f"document.querySelector('#{id}')"
            bad = f"{inside}.querySelectorAll('img, script, iframe, base, link, foreignObject').length"
            assert await page.run(bad) == 0
            assert await page.run(f"{inside}.querySelectorAll('a').length") == 0
        assert await page.run("window.owned === undefined")
        assert await page.run("document.querySelector('#evaluation').textContent.includes('⟨U+202E⟩gnp.exe')")
        assert await page.run("document.querySelector('#evaluation').textContent.includes('window.owned = 2')")
        assert await page.run("document.documentElement.scrollWidth <= innerWidth")

    asyncio.run(look(run_folder / FILE, script))


@needs_browser
def test_a_browser_shows_an_evaluation(run_folder):
    evaluation(run_folder / "evaluate" / "made-base", ones(1, 0, 1, 0))
    evaluation(run_folder / "evaluate" / "made-tuned", ones(1, 1, 1, 0))
    training(run_folder / "train")
    report(run_folder, drawn=True)

    async def script(page):
        await page.run("document.querySelector('nav a[href=\"#evaluation\"]').click()")
        assert await page.run("document.querySelector('#evaluation h2').getBoundingClientRect().top < innerHeight")
        await page.run("document.querySelector('#evaluation details summary').click()")
        assert await page.run("document.querySelector('#evaluation .tall').innerText.includes('Made/3')")
        pictures = "[...document.querySelectorAll('#evaluation svg, #training svg')]"
        drawn = f"{pictures}.map((svg) => svg.getBoundingClientRect().height)"
        assert all(height > 50 for height in await page.run(drawn))
        await page.look(run_folder / "phone.png", width=390)
        assert await page.run("document.documentElement.scrollWidth <= innerWidth")

    asyncio.run(look(run_folder / FILE, script))
