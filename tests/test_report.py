"""Reports: what is in the file, that it stays small, and what a real browser makes of it, a hostile run included."""

import asyncio
import json
import random
import re

import pytest
from experiment import write_seeds
from reporting import HOSTILE, Scripts, carry_out, certificate, look, needs_browser, report

from evolteacher.errors import RunError, UsageError
from evolteacher.report.chunks import BYTES_EACH, CHUNK, Sample
from evolteacher.report.page import FILE, write_report
from evolteacher.report.shown import visible
from evolteacher.store import Store


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    write_seeds(folder, 12)
    rows = [json.loads(line) for line in (folder / "seeds.jsonl").read_text().splitlines()]
    return carry_out(folder, rows, filters=["shaky"])


def test_the_file_holds_every_lineage_and_the_sample_whole(small):
    page = Scripts(report(small, sample=4))
    tree = page.packed["tree-0"]
    assert len(tree) == 12
    assert tree[3]["seed"] == "task3 needs a function that doubles 3"
    rejected = [step for entry in tree for step in entry["steps"] if step.get("filter")]
    assert {(step["filter"], step["why"]) for step in rejected} == {("shaky", "unlucky")}
    assert [entry["ord"] for entry in page.packed["sample-0"]] == [0, 3, 6, 9]
    first = page.packed["sample-0"][0]
    evolving = first["calls"][0]
    assert evolving["step"] == "evolve"
    assert evolving["messages"][0]["content"].startswith("[GIVEN]\ntask0 needs")
    assert first["steps"][1]["text"] == tree[0]["steps"][1]["text"]
    assert first["given"] == "def f0(): ..."
    assert len(page.code) == 1


def test_full_holds_all_and_none_holds_none(small):
    whole = Scripts(report(small, sample=None)).packed
    assert sum(len(chunk) for name, chunk in whole.items() if name.startswith("sample-")) == 12
    assert not [name for name in Scripts(report(small, sample=0)).packed if name.startswith("sample-")]
    assert [list(Sample(n, size)) for n, size in ((0, 5), (3, 5), (10, 4), (7, None), (7, 0))] == [
        [], [0, 1, 2], [0, 3, 6, 9], [0, 1, 2, 3, 4, 5, 6], [],
    ]  # fmt: skip


def test_the_tree_stays_within_its_size_whatever_the_texts(tmp_path):
    draw = random.Random(1)
    rows = [
        {"instruction": "".join(chr(draw.randrange(0x4E00, 0x9FFF)) for _ in range(2000))} for _ in range(CHUNK + 5)
    ]
    page = report(carry_out(tmp_path, rows, rounds=1), sample=0)
    sizes = [len(found) for found in re.findall(r'id="tree-\d+">([^<]*)<', page)]
    assert len(sizes) == 2
    assert sizes[0] <= BYTES_EACH * CHUNK
    assert sizes[1] <= BYTES_EACH * 5
    assert Scripts(page).packed["tree-1"][4]["seed"].endswith("…")


def test_a_hostile_run_is_text(tmp_path):
    rows = [{"instruction": f"%{number} {text}", "output": text} for number, text in enumerate(HOSTILE)]
    folder = carry_out(
        tmp_path, rows, "".join(HOSTILE), filters=["spoiler"], name="x", description=HOSTILE[0] + HOSTILE[2]
    )
    (folder / "decontamination.json").write_text(json.dumps(certificate("".join(HOSTILE))))
    text = report(folder)
    page = Scripts(text)
    assert [tag for tag, attributes in page.tags if any(name.startswith("on") for name in attributes)] == []
    assert {tag for tag, _ in page.tags} & {"iframe", "base", "img", "object", "embed"} == set()
    assert len(page.code) == 1
    assert not re.search("[\x00-\x08\x0b-\x1f\u202a-\u202e\u2066-\u2069]", text)
    assert "⟨U+202E⟩gnp.exe" in text
    assert page.packed["tree-0"][0]["seed"] == f"%0 {HOSTILE[0]}"


def test_visible_shows_what_hides():
    assert visible("a\u202eb\0\u200b\ud800\n\tc") == "a⟨U+202E⟩b⟨U+0000⟩⟨U+200B⟩\ufffd\n\tc"


def test_certificate_and_training_are_shown_where_there_are_any(small, tmp_path):
    assert 'id="certificate"' not in report(small)
    (small / "decontamination.json").write_text(json.dumps(certificate("HumanEval/7")))
    (small / "train").mkdir()
    (small / "train" / "metrics.jsonl").write_text('{"step": 1, "loss": 2.5}\n{"step": 2, "loss": 1.5}\n')
    page = report(small)
    assert "HumanEval/7" in page
    assert "Loss over steps" in page
    (small / "train" / "metrics.jsonl").unlink()
    deep = "[" * 100_000
    wrong = json.dumps({**certificate("HumanEval/7"), "checks": 1})
    for strange in ("{broken", "[]", "7", deep, '{"pairs": {}}', wrong):
        (small / "decontamination.json").write_text(strange)
        page = report(small)
        assert '<p class="unread" dir="auto">decontamination.json: ' in page
        assert "rows were checked" not in page
        assert "Loss over steps" not in page
    odd = {**certificate("HumanEval/7"), "checks": {"decontaminate": {"n": [1, None, {}]}}}
    (small / "decontamination.json").write_text(json.dumps(odd))
    assert "n 1 + None + {}" in report(small)


def test_charts_are_drawn_in_the_colours_of_the_page_and_without_matplotlib_are_tables(small):
    plain, drawn = report(small), report(small, drawn=True)
    assert "evolteacher[report]" in plain
    assert "<svg" not in plain
    assert "evolteacher[report]" not in drawn
    assert drawn.count("<figure ") == plain.count("<figure ") == drawn.count("<svg ") >= 5
    ids = re.findall(r' id="([^"]+)"', drawn)
    assert len(ids) == len(set(ids)), "ids are unique"
    assert "#0102" not in drawn
    assert "var(--s0)" in drawn
    assert drawn == report(small, drawn=True)


def figure(page, title):
    """Return the table of a figure: rows of texts."""
    part = page[re.search(rf"<figcaption[^>]*>{re.escape(title)}", page).start() :]
    part = part[: part.index("</figure>")]
    return [re.findall(r"<t[hd][^>]*>([^<]*)<", row) for row in re.findall(r"<tr>(.*?)</tr>", part)]


def test_figures_tell_weights_of_a_bandit_drops_and_cost(tmp_path):
    write_seeds(tmp_path, 12)
    rows = [json.loads(line) for line in (tmp_path / "seeds.jsonl").read_text().splitlines()]
    folder = carry_out(
        tmp_path, rows, "Always the same.", choose={"bandit": {"block": 4}}, dataset_filters=["first-words"]
    )
    with Store(folder / "run.db") as store:
        store.write("UPDATE replies SET cost = 0.5")
        calls = store.reply_count()
    page = report(folder)
    shares = figure(page, "Operator weights that the bandit chose")
    assert shares[0] == ["block", "harder", "longer"]
    assert shares[1] == ["0", "50", "50"]
    assert len(shares) >= 4
    assert figure(page, "Paid by then")[-1][1] == f"{calls / 2:.3g}"
    rejected = {
        row[0]: [int(number) for number in row[1:]] for row in figure(page, "Rejected, by filter and round")[1:]
    }
    assert sum(rejected["first-words"]) > 0
    assert f"{sum(rejected['first-words']):,}</td>" in page
    dropped = [
        step for entry in Scripts(page).packed["tree-0"] for step in entry["steps"] if step["stage"] == "dataset"
    ]
    assert len(dropped) == sum(rejected["first-words"])
    assert {step["why"] for step in dropped} == {"'Always' was there"}


def test_what_cannot_be_reported_says_why(tmp_path, small):
    with pytest.raises(UsageError, match="there is no run here"):
        write_report(tmp_path, tmp_path / FILE)
    with pytest.raises(RunError, match="nowhere"):
        write_report(small, tmp_path / "nowhere" / FILE)


@needs_browser
def test_a_browser_searches_opens_a_lineage_and_shows_a_diff(small):
    report(small, sample=4, drawn=True)

    async def script(page):
        await page.run("form.elements.text.focus()")
        await page.send("Input.insertText", text="DOUBLES 3")
        await page.until("told.textContent === '1 of 12 lineages'")
        assert await page.run("list.textContent.includes('task3 needs')")
        await page.run("list.querySelector('a').focus()")
        await page.press("Enter", 13, "\r")
        await page.until("!article.hidden")
        assert await page.run("location.hash") == "#lineage=3"
        assert await page.run("document.activeElement.id") == "lineage"
        assert await page.run("article.querySelectorAll('.step').length") == 3
        assert await page.run("article.querySelectorAll('.diff ins').length") > 0
        assert "[GIVEN]" in await page.run("article.querySelector('.call').textContent")
        await page.run("form.reset()")
        await page.until("told.textContent === '12 lineages'")
        await page.run("form.elements.verdict.value = 'by:shaky'; search()")
        await page.until("/^[1-9] of 12/.test(told.textContent)")
        await page.run("location.hash = '#lineage=4'")
        await page.until("article.textContent.includes('--full')")
        await page.run("location.hash = '#lineage=99'")
        await page.until("told.textContent.startsWith('There is no lineage 99')")
        parts = await page.run("diff('one two  three', 'one 2  three four')")
        assert parts == [["same", "one "], ["del", "two"], ["ins", "2"], ["same", "  three"], ["ins", " four"]]
        assert await page.run("document.documentElement.scrollWidth <= innerWidth")

    asyncio.run(look(small / FILE, script))


@needs_browser
def test_a_browser_shows_a_hostile_run_unharmed(tmp_path):
    huge = "<b>" + "word " * 40_000
    rows = [{"instruction": f"%{number} {text}", "output": text} for number, text in enumerate((*HOSTILE, huge))]
    folder = carry_out(tmp_path, rows, "".join(HOSTILE), filters=["spoiler"], description="".join(HOSTILE))
    (folder / "decontamination.json").write_text(json.dumps(certificate("".join(HOSTILE))))
    report(folder)

    async def script(page):
        for order in range(len(rows)):
            await page.run(f"location.hash = '#lineage={order}'")
            await page.until(f"article.querySelector('h3')?.textContent === 'Lineage {order}'")
            await page.run("for (const each of document.querySelectorAll('details')) each.open = true")
            assert await page.run("window.owned === undefined")
            assert await page.run("article.querySelectorAll('img, script, iframe, style, base, b, svg').length") == 0
            links = "[...article.querySelectorAll('a')].every((a) => a.getAttribute('href').startsWith('#'))"
            assert await page.run(links)
        assert await page.run("article.textContent.includes('Show all 200,00')")
        await page.run("location.hash = '#lineage=2'")
        await page.until("article.textContent.includes('⟨U+202E⟩gnp.exe') && article.textContent.includes('⟨U+0000⟩')")

    asyncio.run(look(folder / FILE, script))
