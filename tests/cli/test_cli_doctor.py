"""`evolteacher doctor`: what an installation can do, and what is wrong with it."""

import json
import platform
from importlib.metadata import version

import evolteacher as et
from evolteacher.extras import extras, read_extras


def broken_plugin(folder):
    """Put a distribution whose plugin cannot be imported where Python finds it."""
    info = folder / "evolteacher_broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: evolteacher-broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[evolteacher]\nbroken = evolteacher_broken\n")
    (folder / "evolteacher_broken.py").write_text("import no_such_package\n")


def test_it_tells_python_extras_plugins_and_each_guard(cli):
    told = cli("doctor")
    assert told.code == 0 and told.err == ""
    assert f"{platform.python_implementation()} {platform.python_version()}" in told.out
    assert "0 failed" in told.out
    guards = et.Sandbox().guards()
    lines = [line.split() for line in told.out.splitlines()]
    states = {words[0]: words[1] for words in lines if len(words) > 1}
    assert len(guards) == 17
    assert {guard.name: "on" if guard.active else "OFF" for guard in guards}.items() <= states.items()
    for extra in extras():
        assert states[extra.name] == ("installed" if extra.installed else "no")


def test_json_holds_the_same(cli):
    told = json.loads(cli("doctor", "--json").out)
    assert told["evolteacher"] == et.__version__
    assert [(row["guard"], row["active"]) for row in told["sandbox"]] == [
        (guard.name, guard.active) for guard in et.Sandbox().guards()
    ]
    assert all((row["why_not"] is None) == row["active"] for row in told["sandbox"])
    assert {"embedded", "filters", "litellm", "train"} <= told["extras"].keys()
    assert not {"all", "docs", "test"} & told["extras"].keys()
    assert len(told["plugins"]) >= 20 and all(row["loaded"] for row in told["plugins"])


def test_a_plugin_that_failed_is_named_and_the_exit_code_says_so(cli, tmp_path, monkeypatch):
    site = tmp_path / "site"
    site.mkdir()
    broken_plugin(site)
    monkeypatch.syspath_prepend(site)
    told = cli("doctor")
    assert told.code == 1
    assert "1 failed" in told.out and "evolteacher-broken 1.0" in told.out and "no_such_package" in told.out
    (row,) = [row for row in json.loads(cli("doctor", "--json").out)["plugins"] if not row["loaded"]]
    assert row["name"] == "broken" and "no_such_package" in row["error"]
    monkeypatch.setenv("EVOLTEACHER_PLUGINS", "")
    assert cli("doctor").code == 0


def test_a_version_is_as_new_as_one_with_more_noughts():
    newest = version("pluggy")
    (extra,) = read_extras([f"pluggy>={newest}.0.0; extra == 'same'"])
    assert extra.problems == ()
    (extra,) = read_extras([f"pluggy>={newest}.0.1; extra == 'newer'"])
    assert extra.problems == (f"pluggy {newest} is too old (>={newest}.0.1)",)


def test_an_extra_is_installed_when_each_of_its_packages_is_and_is_new_enough():
    lines = [
        "aiohttp>=3.10",
        'pluggy>=0.1; extra == "good"',
        "pluggy>=999.0; extra == 'old'",
        'no-such-package>=1; extra == "missing"',
        'evolteacher[good,missing]; extra == "both"',
        'pluggy>=0.1; python_version >= "3.0" and extra == "marked"',
        'evolteacher[good]; extra == "all"',
    ]
    found = {extra.name: extra for extra in read_extras(lines)}
    assert {name: extra.installed for name, extra in found.items()} == {
        "good": True, "old": False, "missing": False, "both": False, "marked": True,
    }  # fmt: skip
    assert found["both"].problems == ("no-such-package is not installed",)
    assert "is too old (>=999.0)" in found["old"].problems[0]
    assert len(extras()) >= 8
