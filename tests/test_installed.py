"""Plugins whose packages declare what they bring: imported when something of theirs is needed, and what then holds."""

import sys
import warnings
from importlib.metadata import distribution

import pytest

import evolteacher as et
from evolteacher.catalog import Catalog, PluginWarning
from evolteacher.checkup import check_package
from evolteacher.errors import PluginError, RecipeError
from evolteacher.installed import DECLARING, FIRST_PARTY, declarations

OPERATOR = """
import evolteacher as et

class {cls}(et.Operator, name="{name}"):
    '''A made-up operator.'''
    def prompt(self, parent):
        return parent.text

@et.hookimpl
def register_operators():
    return [{cls}]
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Put packages of one module on the path, with the metadata that pip writes."""
    monkeypatch.syspath_prepend(str(tmp_path))
    modules = []

    def put(name, code, declares="", version="1.0"):
        module = f"made_up_{name}"
        modules.append(module)
        (tmp_path / f"{module}.py").write_text(code)
        info = tmp_path / f"{module}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: made-up-{name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(
            f"[evolteacher]\n{name} = {module}\n\n{declares.format(module=module)}\n"
        )
        return module

    yield put
    for module in modules:
        sys.modules.pop(module, None)


DECLARES = "[evolteacher.operators]\n{name} = {{module}}"


def declaring(name):
    return DECLARES.format(name=name)


def operator(name, cls="Made"):
    return OPERATOR.format(cls=cls, name=name)


class TestFirstParty:
    def test_what_is_declared_is_what_the_hooks_bring(self):
        ours = distribution(FIRST_PARTY)
        declared = declarations(ours)
        modules = {point.value for point in ours.entry_points.select(group="evolteacher")}
        brought = {}
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            loaded = Catalog.load()
            names = {point.name: point.value for point in ours.entry_points.select(group="evolteacher")}
            for entry in loaded.entries():
                if entry.plugin.distribution == FIRST_PARTY:
                    brought.setdefault(names[entry.plugin.name], set()).add((entry.cls.kind, entry.cls.name))
        assert declared.keys() == modules and len(modules) >= 24
        assert {module: set(components) for module, components in declared.items()} == brought
        assert sum(map(len, brought.values())) >= 50

    def test_a_recipe_imports_what_it_names_and_no_more(self, tmp_path):
        code = (
            "import sys, evolteacher as et\n"
            "et.Recipe.from_dict({'evolteacher': 1, 'name': 'x', 'seeds': {'path': 'x.jsonl'},\n"
            "  'operators': ['add-constraints'], 'filters': ['empty'], 'backends': {'evolve': 'scripted'}})\n"
            "print(*sorted(m for m in sys.modules if m.startswith(('evolteacher_plugins.', 'evolteacher_backends.'))))"
        )
        import subprocess

        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
        found = set(done.stdout.split())
        assert {"evolteacher_plugins.wizardcoder", "evolteacher_plugins.pruning"} <= found
        strangers = ("wizardlm", "judges", "privacy", "code", "language", "litellm", "openai_compatible", "embedded")
        assert not [module for module in found if module.rpartition(".")[2] in strangers]


class TestWaiting:
    def test_one_is_imported_when_it_is_named_and_its_neighbour_is_not(self, install):
        one, other = install("one", operator("one"), declaring("one")), install("two", "1 / 0", declaring("two"))
        catalog = Catalog.load()
        assert one not in sys.modules
        assert catalog.find(et.Operator, "one").name == "one"
        assert catalog.find(et.Operator, "one/one") is catalog.find(et.Operator, "made-up-one/one")
        assert one in sys.modules and other not in sys.modules

    def test_one_that_declares_nothing_is_imported_at_once(self, install):
        module = install("one", operator("one"))
        Catalog.load()
        assert module in sys.modules

    def test_one_that_cannot_be_imported_is_warned_of_and_named_where_it_is_needed(self, install):
        install("one", "1 / 0", declaring("one"))
        catalog = Catalog.load()
        with (
            pytest.warns(PluginWarning, match=r"plugin 'one' \(made-up-one 1.0\) is left out: ZeroDivisionError"),
            pytest.raises(RecipeError, match=r"no operator is called 'one'.*not loaded: one \(ZeroDivisionError"),
        ):
            catalog.find(et.Operator, "one")

    def test_a_misspelt_name_is_compared_with_what_waits(self, install):
        install("one", operator("translate"), declaring("translate"))
        with pytest.raises(RecipeError, match=r"no operator is called 'transalte'\. Did you mean 'translate'"):
            Catalog.load().find(et.Operator, "transalte")

    def test_a_name_that_two_bring_is_an_error_that_names_both(self, install):
        install("one", operator("same"), declaring("same"))
        install("two", operator("same"), declaring("same"))
        catalog = Catalog.load()
        with pytest.raises(RecipeError, match="more than one plugin brings an operator called 'same': write one/same"):
            catalog.find(et.Operator, "same")
        assert catalog.find(et.Operator, "two/same").__module__ == "made_up_two"

    def test_the_order_in_which_they_are_imported_changes_nothing(self, install):
        for name in ("one", "two", "three"):
            install(name, operator("same"), declaring("same") if name != "two" else "")
        catalog = Catalog.load()
        named = [entry.plugin.name for entry in catalog.entries("operator") if entry.cls.name == "same"]
        assert named == ["one", "three", "two"]
        assert [plugin.name for plugin in catalog.plugins][-3:] == ["one", "three", "two"]

    def test_a_command_of_one_that_waits_wins_over_a_later_plugin(self, install):
        command = (
            "import evolteacher as et\n@et.hookimpl\ndef register_commands(cli):\n    cli.add('models', 'a:b', 'x')\n"
        )
        install("later", command)
        catalog = Catalog.load()
        with pytest.warns(
            PluginWarning, match="the command 'models' of plugin 'later'.* is left out: plugin 'embedded'"
        ):
            commands = catalog.commands()
        assert commands["models"][0] == "evolteacher_backends.models_cli:app"

    def test_the_variable_leaves_it_out(self, install, monkeypatch):
        module = install("one", operator("one"), declaring("one"))
        monkeypatch.setenv("EVOLTEACHER_PLUGINS", "")
        with pytest.raises(RecipeError, match=r"not loaded: one \(EVOLTEACHER_PLUGINS leaves it out\)"):
            Catalog.load().find(et.Operator, "one")
        assert module not in sys.modules
        monkeypatch.setenv("EVOLTEACHER_PLUGINS", "onne")
        with pytest.warns(PluginWarning, match="no installed plugin is called 'onne'. Did you mean 'one'"):
            Catalog.load()


class TestWrongDeclarations:
    def test_more_than_is_declared_is_warned_of_and_can_be_used(self, install):
        install("one", operator("new"), declaring("old"))
        catalog = Catalog.load()
        differ = r"what its package declares is not what it brings \(operator 'new', operator 'old'\); install"
        with pytest.warns(PluginWarning, match=differ):
            assert catalog.find(et.Operator, "new").name == "new"
        with pytest.raises(RecipeError, match="no operator is called 'old'"):
            catalog.find(et.Operator, "old")

    def test_an_observer_must_not_wait(self, install):
        observer = "@et.hookimpl\ndef run_finished(event):\n    pass\n"
        install("one", operator("one") + observer, declaring("one"))
        catalog = Catalog.load()
        with (
            pytest.warns(PluginWarning, match=r"run_finished\(\) would go untold where none of the declared"),
            pytest.raises(RecipeError, match="no operator is called 'one'"),
        ):
            catalog.find(et.Operator, "one")

    def test_plugins_check_names_each(self, install):
        declares = f"{declaring('one')}\nold = {{module}}\n[evolteacher.filters]\nx = nowhere"
        observer = "@et.hookimpl\ndef run_finished(event):\n    pass\n"
        filter = (
            operator("new", "New")
            .replace('Operator, name="new"', 'TextFilter, name="new"')
            .replace("def prompt(self, parent)", "def reject(self, text)")
            .replace("parent.text", "None")
            .replace("register_operators", "register_filters")
        )
        install("one", operator("one") + observer + filter, declares)
        found = {finding.what: finding.mend for finding in check_package("made-up-one", Catalog()).findings}
        expected = {
            "brings filter 'new', which its entry points do not declare": 'add new = "made_up_one" in the group',
            "does not bring operator 'old', which its entry points declare": 'remove old = "made_up_one" in the group',
            "observes runs (run_finished), and its components": "remove what is declared of it",
            "its entry points say what 'nowhere' brings, and that is no plugin": 'write NAME = "nowhere"',
        }
        for what, mend in expected.items():
            assert [each for each in found if what in each and mend in found[each]], (what, found)
        assert len(expected) == 4

    def test_each_kind_has_its_group(self):
        assert sorted(DECLARING.values()) == sorted(
            base.kind for base in (et.Operator, et.Filter, et.Backend, et.SeedReader, et.Benchmark)
        )

    def test_one_registered_in_python_comes_last(self, install):
        install("one", operator("same"), declaring("same"))
        catalog = Catalog.load()
        catalog.register(sys.modules[__name__], "mine")
        assert catalog.plugins[-1].name == "mine"
        with pytest.raises(PluginError, match="already"):
            catalog.register(sys.modules[__name__], "mine")
