"""Components: names, options, what is reserved, and what a class that could not work is told."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, ValidationError

import evolteacher as et
from evolteacher.component import RESERVED


class Translate(et.Operator, name="translate"):
    """Ask for the same task in another language.

    In full.
    """

    language: str = Field("Spanish", description="Which one.")
    folder: Path | None = et.free(None, description="A cache.")
    tries: int = et.free(2, description="How often.", ge=1)

    def prompt(self, parent):
        return parent.text


class Politely(Translate, name="translate-politely"):
    thanks: bool = True


class TestNames:
    @pytest.mark.parametrize("name", ["a", "add-constraints", "x2", "no-gain-2", "q4"])
    def test_words_joined_by_hyphens_are_names(self, name):
        assert type("C", (et.Component,), {"__module__": __name__}, name=name).name == name

    @pytest.mark.parametrize(
        "name", ["Translate", "add_constraints", "two words", "-a", "a-", "a--b", "2x", "a/b", "ä", "a\n", "a:b", "a.b"]
    )
    def test_others_are_refused_with_the_class_and_the_rule(self, name):
        with pytest.raises(TypeError, match="is no name: use lower-case words joined by hyphens"):
            type("C", (et.Component,), {"__module__": __name__}, name=name)

    @given(st.text(min_size=1, max_size=12))
    def test_a_name_that_is_taken_survives_a_recipe(self, name):
        try:
            cls = type("C", (et.Component,), {"__module__": __name__}, name=name)
        except TypeError:
            return
        assert cls.name == name and name.isascii() and name == name.strip().lower() and "/" not in name

    def test_a_subclass_without_a_name_is_a_base_and_has_none(self):
        class Base(Translate):
            """No name."""

        assert Base.name == "" and Translate.name == "translate" and Politely.name == "translate-politely"


class TestOptions:
    def test_fields_are_options_and_are_inherited(self):
        assert set(Politely.model_fields) - set(et.Operator.model_fields) == {"language", "folder", "tries", "thanks"}

    def test_an_unknown_option_and_a_wrong_type_are_errors(self):
        with pytest.raises(ValidationError, match="langauge"):
            Translate(langauge="French")
        with pytest.raises(ValidationError, match="tries"):
            Translate(tries=0)

    def test_an_instance_cannot_be_changed(self):
        with pytest.raises(ValidationError, match="frozen"):
            Translate().language = "French"

    def test_options_are_plain_values_with_defaults(self):
        options = Translate(folder=Path("cache")).options()
        assert options == {"template": None, "extract": "task", "language": "Spanish", "folder": "cache", "tries": 2}

    def test_free_options_can_be_left_out(self):
        assert Translate.free_options() == {"folder", "tries"}
        assert set(Translate().options(with_free=False)) == {"template", "extract", "language"}

    @given(language=st.text(), tries=st.integers(min_value=1), folder=st.none() | st.just("x/y"))
    def test_options_make_the_same_component_again(self, language, tries, folder):
        component = Translate(language=language, tries=tries, folder=folder)
        assert Translate.model_validate(component.options()) == component

    def test_an_option_with_an_alias_goes_by_it(self):
        class Aliased(et.Backend, name="aliased"):
            from_language: str = Field("English", alias="from")

        component = Aliased.model_validate({"from": "French"})
        assert component.options()["from"] == "French"
        assert Aliased.model_validate(component.options()) == component

    def test_a_required_free_option(self):
        class Cached(et.Backend, name="cached"):
            cache: Path = et.free(..., description="Where.")

        with pytest.raises(ValidationError, match="cache"):
            Cached()
        assert Cached(cache=Path("x")).identity() == Cached(cache=Path("y")).identity()

    def test_documentation_is_the_classs_own(self):
        assert Translate.documentation() == "Ask for the same task in another language.\n\nIn full."
        assert Politely.documentation() == ""


class TestReserved:
    def test_the_words_are_those_of_the_recipe_language(self):
        assert RESERVED == ("weight", "as", "backend", "on")

    @pytest.mark.parametrize("word", [word for word in RESERVED if word != "as"])
    def test_an_option_cannot_have_a_reserved_name(self, word):
        with pytest.raises(TypeError, match=f"'{word}' is reserved .*rename the option"):
            type("C", (et.Component,), {"__module__": __name__, "__annotations__": {word: str}}, name="c")

    @pytest.mark.parametrize("word", RESERVED)
    @pytest.mark.parametrize("alias", ["alias", "validation_alias"])
    def test_nor_a_reserved_alias(self, word, alias):
        field = Field("x", **{alias: word})
        with pytest.raises(TypeError, match=r"'option' is reserved .*rename the option"):
            type("C", (et.Component,), {"__module__": __name__, "__annotations__": {"option": str}, "option": field})

    @pytest.mark.filterwarnings("ignore:Field name .* shadows an attribute:UserWarning")
    @pytest.mark.parametrize(
        "field", ["name", "kind", "markers", "prompt", "read", "evolve", "options", "documentation"]
    )
    def test_an_option_cannot_hide_what_its_base_has(self, field):
        with pytest.raises(TypeError, match=f"the option '{field}' hides what every operator has; rename it"):
            type("C", (et.Operator,), {"__module__": __name__, "__annotations__": {field: str}}, name="c")

    def test_a_subclass_may_give_an_option_another_default(self):
        class French(Translate, name="french"):
            language: str = "French"

        assert French().language == "French"

    def test_private_attributes_and_class_attributes_are_no_options(self):
        from typing import ClassVar

        from pydantic import PrivateAttr

        class Stateful(et.Backend, name="stateful"):
            primary: ClassVar[str] = "none"
            _client: BaseModel | None = PrivateAttr(None)

        assert Stateful.model_fields == {}
