"""What the tests of reports share: hostile texts, small runs, what followed on them, a page taken apart, a browser."""

import base64
import gzip
import json
import sys
from html.parser import HTMLParser

import browser
import pytest
from experiment import catalog

import evolteacher as et
from evolteacher.benchmark import Problem, digest
from evolteacher.evaluation.programs import Sample
from evolteacher.evaluation.score import Evaluation, Scored
from evolteacher.recipe import Recipe
from evolteacher.report.files import Besides
from evolteacher.report.page import FILE, write_report
from evolteacher.runner import run
from evolteacher.sandbox import CheckResult

HOSTILE = (
    "</script><script>window.owned = 1</script><img src=x onerror='window.owned = 2'>",
    "<!--<script>[click](javascript:window.owned=3) <a href='javascript:window.owned=4'>here</a>",
    "\u202egnp.exe\u2066 abc \u0000 nul \x1b[31m red {{ 7 * 7 }} {% raw %}",
    "<svg onload=window.owned=5></svg><style>body{display:none}</style><base href='http://203.0.113.1/'>",
    "<iframe srcdoc='<script>parent.owned=6</script>'></iframe><link rel=stylesheet href=http://203.0.113.1/x.css>",
)


PASSED = CheckResult("passed", "suite")
FAILED = CheckResult("raised", "suite", "AssertionError", "", 3)
LATE = CheckResult("timeout", "suite", message="3 seconds")


class Spoiler(et.InstructionFilter, name="spoiler"):
    """Reject some, for a reason that a judge might have written, and score all."""

    def reject(self, evolution):
        bad = "%2" in evolution.child.text
        return et.Judgement(score=float(len(evolution.child.text) % 10), reason=HOSTILE[0] if bad else None)


class Plugin:
    @et.hookimpl
    def register_filters(self):
        return [Spoiler]


def carry_out(folder, rows, answer=None, **changes):
    """Run a small recipe over rows; ``answer`` is what evolving and responding calls are given."""
    seeds = folder / "in.jsonl"
    seeds.write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = {
        "evolteacher": 1,
        "name": "of-a-test",
        "seeds": str(seeds),
        "rounds": 2,
        "operators": ["harder", "longer"],
        "filters": [],
        "backends": {"evolve": {"scripted": {} if answer is None else {"default": answer}}},
        "export": ["jsonl"],
        **changes,
    }
    found = catalog(Plugin())
    run(Recipe.from_dict(recipe, catalog=found), folder / "run", catalog=found)
    return folder / "run"


class Scripts(HTMLParser):
    """Finds what a page has packed, and its elements that could run or fetch."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.packed, self.code, self.tags, self._open = {}, [], [], None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self._open = dict(attributes).get("id", "") if tag == "script" else None

    def handle_endtag(self, tag):
        self._open = None

    def handle_data(self, data):
        if self._open:
            self.packed[self._open] = json.loads(gzip.decompress(base64.b64decode(data)))
        elif self._open == "":
            self.code.append(data)


def report(run_folder, *, drawn=False, **options):
    """Write the report and return its text; without charts, which take a second, unless ``drawn``."""
    with pytest.MonkeyPatch.context() as patch:
        if not drawn:
            patch.setitem(sys.modules, "matplotlib", None)
        write_report(run_folder, run_folder / FILE, **options)
    return (run_folder / FILE).read_text(encoding="utf-8")


def certificate(text):
    """Return one in the form that a run writes, the text in each of its places."""
    keys = ("row", "place", "benchmark", "problem", "part", "reason", "row_text", "problem_text")
    return {
        "benchmarks": [{"name": text, "problems": 164, "hash": text}],
        "checks": {text: {text: [text]}},
        "rows_checked": 31,
        "rows_found": 1,
        "rows_removed": 1,
        "pairs": [dict.fromkeys(keys, text)] * 60,
    }


def evaluation(folder, outcomes, *, ks=(1,), reply="def f(): ...", names="Made/", model="small", ending="stop"):
    """Write an evaluation as the stage does: of each problem, what came of each of its samples."""
    problems = [Problem(f"{names}{number}", "p", "f", tests="t") for number in range(len(outcomes))]
    scored = tuple(
        Scored(Sample(problem, number, reply, reply, ending), result)
        for problem, results in zip(problems, outcomes, strict=True)
        for number, result in enumerate(results)
    )
    about = {"model": {"scripted": {"model": model}}, "benchmark": {"made": {}}, "digest": digest(problems)}
    found = Evaluation({**about, "sampling": {"temperature": 0.0, "max_tokens": 99}}, scored, len(problems))
    folder.mkdir(parents=True, exist_ok=True)
    found.write(folder, ks)
    return found


def ones(*passed):
    return [[PASSED if each else FAILED] for each in passed]


def training(folder, **changes):
    folder.mkdir(parents=True)
    results = {"rows": 14, "held_out": 8, "dropped": 2, "steps": 4, "tokens": 3280, "first_loss": 0.92, "loss": 0.79}
    results |= {"first_eval_loss": 1.39, "eval_loss": 1.28, "peak_bytes": 5_030_000_000}
    experiment = {"seed": 1, "train": {"model": str(folder / "a-model"), "method": "lora"}}
    state = {"experiment": experiment, "finished": True, "results": results, "seconds": 93.86, **changes}
    (folder / "training.json").write_text(json.dumps(state))
    (folder / "metrics.jsonl").write_text('{"step": 1, "loss": 2.5}\n{"step": 2, "loss": 1.5}\n')


SIDE = {"learnt": {"rows": 9, "lineages": 8}, "held_out": {"rows": 3, "lineages": 2}}


def comparison(folder, **changes):
    """Write what a comparison writes, as far as a report reads it."""
    apart = {"a": 0.5, "b": 0.75, "difference": {"mean": 0.25, "low": -0.125, "high": 0.5}}
    figures = {
        "a": {"source": "/there/one.jsonl", **SIDE},
        "b": {"source": "two.jsonl", **SIDE},
        "model": "/there/small",
        "seeds": 3,
        "level": 0.975,
        "base": {"loss": {"a": 1.5, "b": 2.5}, "benchmarks": {"made": 0.5}},
        "comparisons": [{"matched": "samples", "loss": {"a": apart, "b": apart}, "benchmarks": {"made": apart}}],
        "controls": [{"passed": False, "text": "it is not measurably worse"}],
        "verdict": ["Neither teaches more."],
        "notes": ["/there/one.jsonl: 3 rows cut off"],
        **changes,
    }
    folder.mkdir(exist_ok=True)
    (folder / "compare.json").write_text(json.dumps(figures))
    return Besides(comparisons=(folder,))


async def look(path, script):
    async with browser.tab() as page:
        await page.open(path)
        await page.until("document.querySelectorAll('#list a').length")
        try:
            return await script(page)
        finally:
            assert page.said == []
            assert [url for url in page.requests if not url.startswith(("file:", "data:"))] == []


needs_browser = pytest.mark.skipif(browser.installed() is None, reason="no Chromium is on the PATH")
