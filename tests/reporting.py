"""What the tests of reports share: hostile texts, small runs, a page taken apart, and a browser that looks at one."""

import base64
import gzip
import json
import sys
from html.parser import HTMLParser

import browser
import pytest
from experiment import catalog

import evolteacher as et
from evolteacher.recipe import Recipe
from evolteacher.report.page import FILE, write_report
from evolteacher.runner import run

HOSTILE = (
    "</script><script>window.owned = 1</script><img src=x onerror='window.owned = 2'>",
    "<!--<script>[click](javascript:window.owned=3) <a href='javascript:window.owned=4'>here</a>",
    "\u202egnp.exe\u2066 abc \u0000 nul \x1b[31m red {{ 7 * 7 }} {% raw %}",
    "<svg onload=window.owned=5></svg><style>body{display:none}</style><base href='http://203.0.113.1/'>",
    "<iframe srcdoc='<script>parent.owned=6</script>'></iframe><link rel=stylesheet href=http://203.0.113.1/x.css>",
)


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
