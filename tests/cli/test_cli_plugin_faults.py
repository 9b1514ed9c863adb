"""What a plugin's mistakes come to on the command line: told where, without a traceback, and with nothing lost."""

import pytest

BROKEN = """
import sys
import evolteacher as et


class Broken(et.Backend, name="broken"):
    how: str = ""

    async def complete(self, request):
        if self.how == "exits":
            sys.exit(7)
        if self.how == "no-reply":
            return "text"
        return et.Reply("Write a function that does something else, and explain it.")


class Silent(et.Operator, name="silent"):
    prompt_is: str | None = None

    def prompt(self, parent):
        return self.prompt_is


@et.hookimpl
def register_operators():
    return [Silent]


@et.hookimpl
def register_backends():
    return [Broken]
"""


@pytest.fixture
def installed(folder, monkeypatch):
    """A distribution in a folder of the path, with one broken plugin."""
    site = folder / "site"
    (site / "broken-1.0.dist-info").mkdir(parents=True)
    (site / "broken_plugin.py").write_text(BROKEN)
    (site / "broken-1.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (site / "broken-1.0.dist-info/entry_points.txt").write_text("[evolteacher]\nbroken = broken_plugin\n")
    monkeypatch.setenv("PYTHONPATH", str(site))
    monkeypatch.setenv("EVOLTEACHER_PLUGINS", "broken")


FAULTS = {
    "a backend ends the process": (["backends.evolve={broken: {how: exits}}"], ("sys.exit(7)", "broken_plugin.py:11")),
    "a backend gives no reply": (
        ["backends.evolve={broken: {how: no-reply}}"],
        ("backend 'evolve' returned no Reply: str", "complete()", "evolteacher run recipe.yaml"),
    ),
    "a prompt is None": (["operators=[silent]"], ("operator 'silent'", "not None: is a `return` missing?")),
    "a prompt is empty": (["operators=[{silent: {prompt_is: ''}}]"], ("operator 'silent'", "the prompt is empty")),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_plugins_fault_is_told_with_its_place(script, installed, fault):
    changes, words = FAULTS[fault]
    result = script("run", "recipe.yaml", *(word for change in changes for word in ("--set", change)))
    result.refused(1, *words)
    assert script("show", "runs/small").code == 0
