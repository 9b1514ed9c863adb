"""The documentation site: it builds strictly without a network, and its reference leaves nothing out."""

import html
import os
import re
import shutil
import subprocess
import sys
import threading
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import browser
import pytest
from test_docs import keys, table

import evolteacher as et
from evolteacher import errors, hookspecs, testing
from evolteacher.catalog import FIRST_PARTY, Catalog
from evolteacher.recipe import Recipe

ROOT = Path(__file__).parents[1]
pytest.importorskip("mkdocs", reason="needs the extra docs")


def build(source, out):
    """Build a site strictly, in a process of its own whose network is a proxy that nobody answers at.

    Not with --quiet: warnings that are not said are not counted either.
    """
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)],
        cwd=source,
        env={**os.environ, **nowhere, "NO_MKDOCS_2_WARNING": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=250,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Return the folder of the built site."""
    out = tmp_path_factory.mktemp("site")
    done = build(ROOT, out)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stderr
    return out


class Page(HTMLParser):
    """What a page says, the ids in it, and what it loads."""

    def __init__(self, path):
        super().__init__()
        self.ids, self.loads, self.links = set(), [], []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.ids.add(given.get("id"))
        self.loads += [given["src"]] if given.get("src") else []
        if tag == "link" and given.get("rel") in ("stylesheet", "icon", "preload"):
            self.loads.append(given["href"])
        elif tag == "a" and given.get("href"):
            self.links.append(given["href"])

    @property
    def text(self):
        return " ".join(html.unescape(re.sub(r"<[^>]+>", "", self.source)).split())


def page(site, name):
    return Page(site / f"{name}.html")


@pytest.fixture
def copy(tmp_path):
    """Return a copy of what the site is built of, to be spoilt."""
    for name in ("docs", "evolteacher"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("place", "text", "complaint"),
    [
        ("docs/loose.md", "# A page that no navigation lists\n", "loose.md"),
        ("docs/faults.md", "# Faults\n\n[a page](nowhere.md)\n", "nowhere.md"),
        ("docs/faults.md", "# Faults\n\n[a heading](recipes.md#nowhere)\n", "#nowhere"),
    ],
    ids=["not in the navigation", "a link to no page", "a link to no heading"],
)
def test_a_fault_in_a_page_fails_the_build(copy, place, text, complaint):
    (copy / place).write_text(text, encoding="utf-8")
    done = build(copy, copy / "out")
    assert done.returncode != 0
    assert complaint in done.stdout + done.stderr


def test_nothing_is_loaded_from_elsewhere(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) >= 40
    for path in pages:
        assert [each for each in Page(path).loads if urlsplit(each).netloc] == [], path.name
    for path in site.rglob("*.css"):
        assert re.findall(r"url\([\"']?(?:https?:)?//[^)]*|@import[^;]*", path.read_text(encoding="utf-8")) == [], path


def test_no_link_leads_nowhere(site):
    known = {path.resolve(): Page(path) for path in site.rglob("*.html")}
    seen = 0
    for path, each in known.items():
        if path.name == "404.html":  # its links begin at the site's own address
            continue
        for target in each.links:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            file = (path.parent / parts.path).resolve() if parts.path else path
            file = file / "index.html" if file.is_dir() else file
            assert file.exists(), f"{path.name}: {target}"
            if parts.fragment and file in known:
                assert parts.fragment in known[file].ids or parts.fragment == "__skip", f"{path.name}: {target}"
            seen += 1
    assert seen >= 1000


def test_nothing_is_left_of_restructured_text_or_of_an_object(site):
    for path in (site / "reference").rglob("*.html"):
        text = Page(path).text
        assert re.findall(r":(?:meth|class|func|mod|data|attr):", text) == [], path.name
        assert re.findall(r"<(?:function|class|object)[^>]*at 0x|PydanticUndefined", text) == [], path.name


class TestReference:
    def test_every_public_name_is_there_and_in_the_index(self, site):
        ids = set().union(*(Page(path).ids for path in (site / "reference/python").glob("*.html")))
        names = [name for name in et.__all__ if not name.startswith("_")]
        assert len(names) >= 90
        assert [name for name in names if f"evolteacher.{name}" not in ids] == []
        index = page(site, "reference/index").source
        rows = dict(re.findall(r"<code>et\.(\w+)</code></a></td>\s*<td>(.*?)</td>", index, re.DOTALL))
        assert sorted(rows) == sorted(names)
        assert [name for name, words in rows.items() if not words] == []

    def test_every_suite_and_every_error(self, site):
        ids = page(site, "reference/python/testing").ids | page(site, "reference/python/errors").ids
        assert [name for name in testing.__all__ if f"evolteacher.testing.{name}" not in ids] == []
        found = [
            each for each in vars(errors).values() if isinstance(each, type) and each.__module__ == errors.__name__
        ]
        assert len(found) >= 20
        assert [each.__name__ for each in found if f"evolteacher.errors.{each.__name__}" not in ids] == []

    def test_every_hook(self, site):
        ids = page(site, "reference/hooks").ids
        hooks = [name for name, hook in vars(hookspecs).items() if hasattr(hook, "evolteacher_spec")]
        assert len(hooks) >= 11
        assert set(hooks) <= ids

    def test_every_key_of_a_recipe_with_type_default_and_description(self, site):
        source = page(site, "reference/recipe").source
        rows = {}
        for row in re.findall(r"<tr>\s*<td>(.*?)</tr>", source, re.DOTALL):
            key, *cells = [html.unescape(re.sub(r"<[^>]+>", "", cell)).strip() for cell in re.split(r"<td>", row)]
            rows[key] = cells
        assert len(keys(Recipe)) >= 60
        assert [key for key in keys(Recipe) if key not in rows] == []
        assert [key for key, cells in rows.items() if len(cells) != 3 or not all(cells[1:])] == []
        silent = {key for key, cells in rows.items() if not cells[0]}
        assert {key for key in silent if not re.match(r"sampling\.\w+\.", key)} == set()

    def test_every_command_with_every_option(self, site):
        found = page(site, "reference/cli")
        assert len(table()) >= 20
        for words, command in table().items():
            assert "-".join(words) in found.ids
            for option in [option for each in command.params for option in each.opts if option.startswith("--")]:
                assert option in found.text, (words, option)

    def test_every_component_with_every_option_and_its_documentation(self, site):
        seen = 0
        for entry in Catalog.load().entries():
            if entry.plugin.distribution != FIRST_PARTY:
                continue
            cls = entry.cls
            found = page(site, f"reference/{cls.kind.replace(' ', '-')}s")
            assert cls.name in found.ids
            for name, field in cls.model_fields.items():
                assert f"<code>{field.alias or name}</code>" in found.source, (cls.name, name)
            first = re.sub(r"[`*]|:\w+:", "", cls.documentation().partition("\n\n")[0])
            assert " ".join(first.split())[:60] in found.text.replace("`", ""), cls.name
            seen += 1
        assert seen >= 55


class Quiet(SimpleHTTPRequestHandler):
    """A file server that writes no log."""

    def log_message(self, *_):
        pass


@pytest.fixture
def served(site):
    """Return the address of the site on this machine: from disk, browsers run no search."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.mark.slow
@pytest.mark.skipif(browser.installed() is None, reason="no Chromium is installed")
async def test_in_a_browser_the_site_asks_no_other_machine_fits_a_phone_and_is_searched(served):
    async with browser.tab() as tab:
        for name in ("index", "tutorial", "reference/recipe", "reference/python/runs", "from-evol-teacher"):
            await tab.open(f"{served}/{name}.html")
            await tab.look(os.devnull, width=390)
            wide = await tab.run("document.documentElement.scrollWidth")
            assert wide <= 390, f"{name} is {wide} pixels wide"
        await tab.run("document.querySelector('.md-search__input').focus()")
        await tab.send("Input.insertText", text="near-duplicates")
        found = await tab.until("[...document.querySelectorAll('.md-search-result__link')].map(a => a.href).join(' ')")
        assert "filters.html" in found
        assert [url for url in tab.requests if not url.startswith((served, "data:", "blob:"))] == []
        assert [each for each in tab.said if "exceptionDetails" in each] == []
