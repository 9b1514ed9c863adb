"""The catalog: what hooks may return, what is found by which name, and that a broken plugin leaves nothing behind."""

from pathlib import Path
from types import ModuleType

import pytest

import evolteacher as et
from evolteacher import hookspecs
from evolteacher.catalog import FIRST_PARTY, Catalog
from evolteacher.errors import PluginError, RecipeError


def operator(name="shout", base=et.Operator):
    return type("Shout", (base,), {"__module__": __name__, "prompt": lambda self, parent: parent.text}, name=name)


def plugin(**hooks):
    """Make a module whose hooks return what is given, or do what a given function does."""
    module = ModuleType("made_up")
    for name, what in hooks.items():
        setattr(module, name, et.hookimpl(what if callable(what) else lambda what=what: what))
    return module


def catalog(**plugins):
    made = Catalog()
    for name, hooks in plugins.items():
        made.register(plugin(**hooks), name)
    return made


class TestFirstParty:
    def test_every_entry_point_of_ours_loads(self):
        found = [plugin for plugin in Catalog.load().plugins if plugin.distribution == FIRST_PARTY]
        assert len(found) >= 7 and [plugin.error for plugin in found if plugin.error] == []

    def test_what_ships_is_found_by_short_and_qualified_name(self):
        loaded = Catalog.load()
        entries = [entry for entry in loaded.entries() if entry.plugin.distribution == FIRST_PARTY]
        assert len(entries) >= 20
        for entry in entries:
            base = next(
                b for b in (et.Operator, et.Filter, et.Backend, et.SeedReader, et.Benchmark) if issubclass(entry.cls, b)
            )
            for name in (entry.cls.name, entry.qualified, f"{FIRST_PARTY}/{entry.cls.name}"):
                assert loaded.find(base, name) is entry.cls
            assert loaded.entry(entry.cls) == entry

    def test_every_component_and_option_is_documented(self):
        entries = Catalog.load().entries()
        bare = [entry.qualified for entry in entries if not entry.cls.documentation()]
        silent = [
            f"{entry.qualified}.{name}"
            for entry in entries
            for name, field in entry.cls.model_fields.items()
            if not field.description
        ]
        assert len(entries) >= 20 and bare == [] and silent == []


class TestFind:
    def test_the_nearest_name_is_offered(self):
        made = catalog(acme={"register_operators": [operator("add-constraints"), operator("more-steps")]})
        with pytest.raises(
            RecipeError, match=r"no operator is called 'add-constraint'\. Did you mean 'add-constraints'"
        ):
            made.find(et.Operator, "add-constraint")

    def test_the_nearest_qualified_name_is_offered(self):
        made = catalog(acme={"register_operators": [operator("add-constraints")]})
        with pytest.raises(RecipeError, match="Did you mean 'acme/add-constraints'"):
            made.find(et.Operator, "acne/add-constraints")

    def test_an_empty_catalog_offers_nothing(self):
        with pytest.raises(RecipeError, match=r"^no seed reader is called 'json'\.$"):
            Catalog().find(et.SeedReader, "json")

    def test_a_short_name_of_two_plugins_is_an_error_that_names_both(self):
        first, second = operator(), operator()
        made = catalog(a={"register_operators": [first]}, b={"register_operators": [second]})
        with pytest.raises(
            RecipeError, match="more than one plugin brings an operator called 'shout': write a/shout or"
        ):
            made.find(et.Operator, "shout")
        assert made.find(et.Operator, "a/shout") is first and made.find(et.Operator, "b/shout") is second

    def test_the_same_class_from_two_plugins_is_no_question(self):
        cls = operator()
        made = catalog(a={"register_operators": [cls]}, b={"register_operators": [cls]})
        assert made.find(et.Operator, "shout") is cls

    def test_kinds_have_names_of_their_own(self):
        class Shout(et.Backend, name="shout"):
            """A backend."""

        made = catalog(a={"register_operators": [operator()], "register_backends": [Shout]})
        assert made.find(et.Backend, "shout") is Shout

    def test_a_filter_of_the_wrong_kind_is_named_with_the_kind_that_is_needed(self):
        class Base(et.TextFilter):
            """An abstract base of a plugin's own."""

        class Short(Base, name="short"):
            """A rule."""

            def reject(self, text):
                return None

        made = catalog(a={"register_filters": [Short]})
        assert made.find(et.Filter, "short") is Short
        with pytest.raises(RecipeError, match="'short' is of the kind TextFilter, and a DatasetFilter is needed here"):
            made.find(et.DatasetFilter, "short")

    def test_entries_are_sorted_by_name(self):
        made = catalog(
            a={"register_operators": [operator("b"), operator("a")]}, b={"register_operators": [operator("a")]}
        )
        assert [entry.qualified for entry in made.entries("operator")] == ["a/a", "b/a", "a/b"]

    def test_a_class_that_nobody_registered_has_no_entry(self):
        assert Catalog().entry(operator()) is None


class TestBrokenHooks:
    CASES = (
        ({"register_operators": lambda: operator()}, "a list of component classes is needed"),
        ({"register_operators": None}, r"register_operators\(\) returned None: a list of component classes is needed"),
        ({"register_operators": "shout"}, "a list of component classes is needed"),
        ({"register_operators": lambda: [operator()()]}, "a list of subclasses of evolteacher.Operator is needed"),
        ({"register_operators": [int]}, "a list of subclasses of evolteacher.Operator is needed"),
        ({"register_filters": lambda: [operator()]}, "a list of subclasses of evolteacher.Filter is needed"),
        ({"register_operators": lambda: [operator("")]}, "Shout has no name: class Shout"),
        ({"register_operators": lambda: [operator(), operator()]}, "returned two classes called 'shout'"),
        ({"register_operators": lambda: 1 / 0}, "ZeroDivisionError: division by zero"),
        ({"register_operators": lambda: exit("bye")}, "SystemExit: bye"),
        ({"register_operator": []}, "there is no hook 'register_operator'. Did you mean 'register_operators'"),
        ({"run_ended": []}, "there is no hook 'run_ended'"),
        ({"run_started": lambda evnt: None}, "evnt"),
        ({"register_recipes": ["nowhere/at-all"]}, "returned 'nowhere/at-all', which is no folder"),
        ({"register_recipes": __file__}, "a list of paths of folders is needed"),
        ({"register_recipes": [Path(__file__)]}, "which is no folder"),
        ({"register_recipes": [7]}, "TypeError"),
        ({"register_commands": lambda cli: cli.add("Models", "a:b", "")}, "'Models' is no name for a command"),
        ({"register_commands": lambda cli: cli.add("models", "a.b", "")}, "write module:attribute"),
        ({"register_commands": lambda cli: [cli.add("x", "a:b", "") for _ in range(2)]}, "'x' is added twice"),
    )

    @pytest.mark.parametrize(("hooks", "reason"), CASES)
    def test_each_is_refused_with_its_reason(self, hooks, reason):
        made = Catalog()
        with pytest.raises(PluginError, match=f"^plugin 'acme': .*{reason}"):
            made.register(plugin(**hooks), "acme")

    @pytest.mark.parametrize(("hooks", "reason"), CASES)
    def test_nothing_of_it_stays(self, hooks, reason):
        made = Catalog()
        told = []
        hooks = {"run_finished": lambda event: told.append(event), "register_filters": [], **hooks}
        with pytest.raises(PluginError):
            made.register(plugin(**hooks), "acme")
        assert (made.entries(), made.recipe_folders(), made.commands()) == ([], [], {})
        made.observe("run_finished", object())
        assert told == []

    def test_an_async_hook_would_never_be_awaited(self):
        async def run_started(event):
            raise AssertionError("never called")

        with pytest.raises(PluginError, match=r"run_started\(\) is async; hooks are plain functions"):
            Catalog().register(plugin(run_started=run_started), "acme")

    def test_a_broken_plugin_does_not_keep_the_next_from_loading(self):
        made = Catalog()
        with pytest.raises(PluginError):
            made.register(plugin(register_operator=[]), "broken")
        made.register(plugin(register_operators=[operator()]), "sound")
        assert [entry.qualified for entry in made.entries()] == ["sound/shout"]

    def test_a_recipe_that_needs_it_is_told_why_it_is_not_there(self):
        made = Catalog()
        with pytest.raises(PluginError):
            made.register(plugin(register_operator=[]), "acme")
        with pytest.raises(RecipeError, match=r"These plugins are not loaded: acme \(there is no hook"):
            made.find(et.Operator, "shout")

    def test_a_long_reason_is_cut(self):
        def register_operators():
            raise ValueError("line\n" * 10_000)

        with pytest.raises(PluginError) as caught:
            Catalog().register(plugin(register_operators=register_operators), "acme")
        assert len(str(caught.value)) < 500 and "\n" not in str(caught.value)

    def test_a_name_can_be_registered_once(self):
        made = catalog(acme={})
        with pytest.raises(PluginError, match="a plugin of that name is there already"):
            made.register(plugin(), "acme")

    def test_a_module_can_be_registered_once(self):
        module, made = plugin(register_operators=[operator()]), Catalog()
        made.register(module, "acme")
        with pytest.raises(PluginError, match="plugin 'again': this module is plugin 'acme' already"):
            made.register(module, "again")
        assert len(made.entries()) == 1

    def test_ctrl_c_while_a_plugin_loads_is_no_fault_of_the_plugin(self):
        def register_operators():
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            Catalog().register(plugin(register_operators=register_operators), "acme")


class TestForms:
    def test_an_object_with_methods_is_a_plugin_too(self):
        class Plugin:
            @et.hookimpl
            def register_operators(self):
                return (operator(),)

        made = Catalog()
        made.register(Plugin(), "mine")
        assert made.find(et.Operator, "shout").name == "shout"

    def test_a_generator_is_a_list(self):
        def register_operators():
            yield operator("a")
            yield operator("b")

        assert len(catalog(acme={"register_operators": register_operators}).entries()) == 2

    def test_a_hook_of_a_later_version_may_be_marked_optional(self):
        module = ModuleType("made_up")
        module.register_something_new = et.hookimpl(optionalhook=True)(lambda: [])
        module.register_operators = et.hookimpl(lambda: [operator()])
        made = Catalog()
        made.register(module, "acme")
        assert len(made.entries()) == 1

    def test_hooks_may_take_fewer_arguments(self):
        told = []
        made = catalog(acme={"run_started": lambda: told.append(1), "register_commands": lambda: None})
        assert made.observe("run_started", object()) == [] and told == [1]

    def test_recipe_folders_may_be_texts(self, tmp_path):
        made = catalog(a={"register_recipes": [str(tmp_path)]}, b={"register_recipes": [tmp_path]})
        assert made.recipe_folders() == [tmp_path, tmp_path]


class TestCommands:
    def test_the_first_of_two_of_one_name_wins_and_the_other_is_warned_of(self):
        made = catalog(a={"register_commands": lambda cli: cli.add("models", "a:app", "A's.")})
        with pytest.warns(UserWarning, match="the command 'models' of plugin 'b' is left out: plugin 'a' brings one"):
            made.register(plugin(register_commands=lambda cli: cli.add("models", "b:app", "B's.")), "b")
        assert made.commands() == {"models": ("a:app", "A's.")}

    @pytest.mark.parametrize("target", ["a:b", "a.b_c.d2:app", "ä.ö:ü"])
    def test_targets_that_can_be_imported(self, target):
        table = et.CommandTable()
        table.add("x", target, "")
        assert table.commands == {"x": (target, "")}

    @pytest.mark.parametrize(
        "target", ["", ":", "a", "a:", ":b", "a.:b", "a:b:c", "a b:c", "2a:b", "a/b.py:c", "a:b\n"]
    )
    def test_targets_that_cannot(self, target):
        with pytest.raises(ValueError, match="is no import path; write module:attribute"):
            et.CommandTable().add("x", target, "")


class TestObservers:
    def test_one_that_raises_is_named_and_the_others_are_told(self):
        told = []

        def fails(event):
            raise ValueError(f"not {event}")

        def leaves(event):
            raise SystemExit(3)

        made = catalog(
            a={"round_finished": fails},
            b={"round_finished": lambda event: told.append(event)},
            c={"round_finished": leaves},
        )
        complaints = made.observe("round_finished", "this")
        assert told == ["this"]
        assert sorted(complaints) == [
            "plugin 'a': round_finished: ValueError: not this",
            "plugin 'c': round_finished: SystemExit: 3",
        ]

    def test_whether_anybody_observes(self):
        made = catalog(a={"round_finished": lambda event: None})
        assert made.observed("round_finished") and not made.observed("run_started")


def test_every_hook_has_a_sentence_and_is_a_registering_or_an_observing_one():
    hooks = {name: hook for name, hook in vars(hookspecs).items() if hasattr(hook, "evolteacher_spec")}
    assert len(hooks) == 11
    for name, hook in hooks.items():
        assert hook.__doc__ and hook.__doc__.endswith(".")
        assert name.startswith(("register_", "run_", "round_", "evolution_"))
