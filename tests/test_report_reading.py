"""A report by keyboard, by ear and on paper: what a real browser tells a screen reader, and what it prints."""

import asyncio
import base64
import json
from itertools import pairwise

import browser
import pytest
from experiment import write_seeds
from reporting import carry_out, certificate, comparison, evaluation, ones, report, training

from evolteacher.report.page import FILE

pytestmark = pytest.mark.skipif(browser.installed() is None, reason="no Chromium is on the PATH")

ACTING = {"link", "button", "searchbox", "textbox", "combobox", "spinbutton", "DisclosureTriangle", "figure", "region"}

CONTRAST = r"""
(() => {
  const parts = (colour) => colour.match(/[\d.]+/g).map(Number);
  const light = (colour) => {
    const linear = (v) => (v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
    const [r, g, b] = parts(colour).map((v) => linear(v / 255));
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const behind = (node) => {
    for (let each = node; each; each = each.parentElement) {
      const colour = getComputedStyle(each).backgroundColor;
      if (parts(colour)[3] !== 0) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const poor = [], texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let seen = 0;
  while (texts.nextNode()) {
    const inside = texts.currentNode.parentElement, text = texts.currentNode.textContent.trim();
    if (!text || inside.closest("script, style, noscript, select, datalist") || !inside.checkVisibility()) continue;
    const drawn = inside.closest("svg"), style = getComputedStyle(inside);
    const pair = [light(drawn ? style.fill : style.color), light(behind(drawn?.parentElement ?? inside))];
    const ratio = (Math.max(...pair) + .05) / (Math.min(...pair) + .05);
    seen++;
    if (ratio < 4.5) poor.push([text.slice(0, 40), ratio.toFixed(2)]);
  }
  return { seen, poor };
})()
"""


@pytest.fixture(scope="module")
def page_of_a_run(tmp_path_factory):
    """A report with all that one can have."""
    folder = tmp_path_factory.mktemp("reading")
    write_seeds(folder, 12)
    rows = [json.loads(line) for line in (folder / "seeds.jsonl").read_text().splitlines()]
    rows[3] |= {"licence": "cc-by-nc-4.0", "terms": "openai"}
    run = carry_out(folder, rows, filters=["shaky"], licence="mit")
    (run / "decontamination.json").write_text(json.dumps(certificate("HumanEval/4")))
    (run / "stages.json").write_text(json.dumps({"evolve": {"seconds": 61.5, "peak_bytes": 900_000_000}}))
    training(run / "train")
    evaluation(run / "evaluate" / "made-base", ones(1, 0, 1, 0))
    evaluation(run / "evaluate" / "made-tuned", ones(1, 1, 1, 0))
    report(run, drawn=True, besides=comparison(folder / "two"))
    return run / FILE


def in_browser(path, script, hash=""):
    async def look():
        async with browser.tab() as page:
            await page.open(path, hash)
            await page.until("document.querySelectorAll('#list a').length")
            if hash:
                await page.until("!article.hidden")
            await script(page)
            assert page.said == []

    asyncio.run(look())


async def heard(page):
    """Return what the browser tells a screen reader: role, name and properties of each thing, in reading order."""
    await page.send("Accessibility.enable")
    nodes = (await page.send("Accessibility.getFullAXTree"))["nodes"]
    by_id = {node["nodeId"]: node for node in nodes}
    found = []

    def walk(node):
        if not node.get("ignored"):
            about = {each["name"]: each["value"].get("value") for each in node.get("properties", [])}
            found.append((node["role"]["value"], node.get("name", {}).get("value", ""), about))
        for child in node.get("childIds", []):
            if child in by_id:
                walk(by_id[child])

    walk(nodes[0])
    return found


def test_a_screen_reader_is_told_names_levels_landmarks_and_what_changed(page_of_a_run):
    async def script(page):
        await page.run("for (const each of document.querySelectorAll('details')) each.open = true")
        await page.run("article.append(diffBlock('one two three four', 'one three four five'))")
        found = await heard(page)
        assert [(role, about) for role, name, about in found if role in ACTING and not name.strip()] == []
        roles = [role for role, _, _ in found]
        assert [roles.count(role) for role in ("banner", "main", "contentinfo", "navigation", "search")] == [1] * 5
        levels = [about["level"] for role, _, about in found if role == "heading"]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(after <= before + 1 for before, after in pairwise(levels)), levels
        assert [about["live"] for role, _, about in found if role == "status"] == ["polite", "polite"]
        assert ("article", "Lineage 1") in [(role, name) for role, name, _ in found]
        texts = " ".join(name for role, name, _ in found if role == "StaticText")
        assert "[added:" in texts
        assert "[taken out:" in texts
        assert await page.run("document.title.startsWith('Lineage 1')")
        await page.run("form.elements.text.value = 'nothing is called so'; search()")
        await page.until("told.textContent === '0 of 12 lineages'")

    in_browser(page_of_a_run, script, "#lineage=1")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_text_stands_out_from_what_is_behind_it(page_of_a_run, theme):
    async def script(page):
        await page.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])
        await page.run("for (const each of document.querySelectorAll('details')) each.open = true")
        found = await page.run(CONTRAST)
        assert found["seen"] > 200
        assert found["poor"] == []

    in_browser(page_of_a_run, script, "#lineage=1")


def test_the_keyboard_reaches_everything_in_reading_order_and_comes_back(page_of_a_run):
    async def script(page):
        await page.press("Tab", 9)
        assert await page.run("document.activeElement.className") == "skip"
        await page.press("Enter", 13, "\r")
        await page.until("document.activeElement.id === 'main'")
        await page.run("window.passed = []")
        for _ in range(200):
            await page.press("Tab", 9)
            if await page.run("document.activeElement === document.body"):
                break
            await page.run("passed.push(document.activeElement)")
        wanted = "[...document.querySelectorAll('main a[href], main button, main input, main select, main summary')]"
        shown = f"{wanted}.filter((each) => each.checkVisibility())"
        assert await page.run(f"{shown}.length") > 20
        assert await page.run(f"{shown}.every((each) => passed.includes(each))")
        order = "passed[n].compareDocumentPosition(passed[n + 1]) & Node.DOCUMENT_POSITION_FOLLOWING"
        assert await page.run(f"passed.slice(0, -1).every((_, n) => {order})")
        await page.run("list.querySelectorAll('a')[2].focus()")
        await page.press("Enter", 13, "\r")
        await page.until("document.activeElement.id === 'lineage'")
        await page.press("Escape", 27)
        await page.until("article.hidden")
        assert await page.run("document.activeElement === list.querySelectorAll('a')[2]")
        await page.run("form.elements.text.focus(); location.hash = '#lineage=5'")
        await page.until("document.activeElement.id === 'lineage'")
        await page.run("form.elements.text.focus()")
        await page.press("Escape", 27)
        assert not await page.run("article.hidden"), "in a field, Escape is the field's"
        await page.run("document.getElementById('copy').click()")
        await page.until("document.getElementById('copied').textContent")

    in_browser(page_of_a_run, script)


VISIBLE = "[...document.querySelectorAll(%r)].some((each) => each.checkVisibility())"


def test_on_paper_stands_what_can_be_read_there(page_of_a_run):
    async def script(page):
        dark = [{"name": "prefers-color-scheme", "value": "dark"}]
        await page.send("Emulation.setEmulatedMedia", media="print", features=dark)
        assert await page.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        for gone in ("nav", "form", "button", "#found", "#charts details", ".turn", ".call", ".calls"):
            assert not await page.run(VISIBLE % gone), gone
        shown = (
            "#glance",
            "#charts svg",
            "#lineage .step",
            "#certificate",
            "#training svg",
            "#evaluation",
            "#comparison",
        )
        for there in (*shown, "#licences", "#recipe-text"):
            assert await page.run(VISIBLE % there), there
        await page.run("article.querySelector('.call').open = true")
        assert await page.run(VISIBLE % ".call")
        assert await page.run("document.documentElement.scrollWidth <= innerWidth")
        await page.run("location.hash = '#family'")
        await page.until("article.hidden")
        assert not await page.run(VISIBLE % "#family"), "a heading with nothing below it"
        await page.send("Emulation.setEmulatedMedia", media="")
        printed = base64.b64decode((await page.send("Page.printToPDF", preferCSSPageSize=True))["data"])
        assert printed.startswith(b"%PDF-")
        assert 2 <= printed.count(b"/Type /Page\n") <= 20

    in_browser(page_of_a_run, script, "#lineage=1")


def test_a_diff_is_no_confetti_and_code_has_letters_of_one_width(page_of_a_run):
    async def script(page):
        assert await page.run("diff('sum of a, b and c', 'mean of x, y and z')") == [
            ["del", "sum of a, b and c"],
            ["ins", "mean of x, y and z"],
        ]
        parts = await page.run("diff('Sort the given list of words now', 'Sort the long given list of names now')")
        assert parts == [
            ["same", "Sort the "], ["ins", "long "], ["same", "given list of "], ["del", "words"], ["ins", "names"],
            ["same", " now"],
        ]  # fmt: skip
        kinds = "[...answer(%s).querySelectorAll('pre')].map((each) => [each.className, each.textContent])"
        fenced = json.dumps("So:\n```python\ndef f():\n    pass\n```\nDone.")
        assert await page.run(kinds % fenced) == [
            ["text", "So:"],
            ["code", "```python\ndef f():\n    pass\n```"],
            ["text", "Done."],
        ]
        assert await page.run("answer('def f():\\n    pass').className") == "code"
        assert await page.run("answer('A plain answer: it is four.').className") == "text"
        began = "performance.now()"
        slow = f"(() => {{ const began = {began}; answer('```a\\n'.repeat(50000)); return {began} - began; }})()"
        assert await page.run(slow) < 2000

    in_browser(page_of_a_run, script)


def test_a_certificate_shows_its_pairs_side_by_side(page_of_a_run):
    text = page_of_a_run.read_text(encoding="utf-8")
    assert "31 rows were checked, something was found in 1, and 1 was removed." in text
    assert "<td>HumanEval/4 HumanEval/4</td>" in text
    assert text.count("<h4>The row</h4>") == 50
    assert "And 10 more pairs" in text
