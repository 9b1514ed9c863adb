"""YAML with lines: what is read, what is refused and where, and that what is written reads as the same."""

from __future__ import annotations

import itertools
import math
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evolteacher.errors import RecipeError
from evolteacher.yamlfile import MOST_CHARACTERS, dump, load, parse, parse_value, plain_data


def refusal(text: str) -> str:
    with pytest.raises(RecipeError) as caught:
        parse(text, "r.yaml")
    return str(caught.value)


def test_every_part_knows_its_line():
    located = parse("a: 1\nb:\n  - c\n  - d: 2\n    e:\n      f: 3\n", "r.yaml")
    assert located.data == {"a": 1, "b": ["c", {"d": 2, "e": {"f": 3}}]}
    places = [(), ("a",), ("b",), ("b", 0), ("b", 1), ("b", 1, "d"), ("b", 1, "e"), ("b", 1, "e", "f")]
    lines = [1, 1, 2, 3, 4, 4, 5, 6]
    assert [located.where(place) for place in places] == [f"r.yaml:{line}" for line in lines]
    assert located.where(("b", 1, "not there")) == "r.yaml:4"


def test_merged_and_aliased_parts_have_the_line_where_they_are_written():
    located = parse("base: &base\n  a: 1\n  b: 2\nuse:\n  <<: *base\n  b: 3\nagain: *base\n", "r.yaml")
    assert located.data == {"base": {"a": 1, "b": 2}, "use": {"a": 1, "b": 3}, "again": {"a": 1, "b": 2}}
    assert located.where(("use", "a")) == "r.yaml:2"
    assert located.where(("use", "b")) == "r.yaml:6"
    assert located.where(("again",)) == "r.yaml:7"


def test_merging_a_list_prefers_the_earlier_and_what_is_written():
    text = "x: &x {a: 1, b: 1}\ny: &y {b: 2, c: 2}\nz: {c: 3, <<: [*x, *y]}\n"
    assert parse(text, "r").data["z"] == {"a": 1, "b": 1, "c": 3}


def test_yaml_1_2_values():
    text = "a: yes\nb: on\nc: 010\nd: 0o10\ne: 0x1F\nf: 1e3\ng: ~\nh: True\ni: '3'\non: here\nj: 1_000\n"
    assert parse(text, "r").data == {
        "a": "yes", "b": "on", "c": 10, "d": 8, "e": 31, "f": 1000.0, "g": None, "h": True, "i": "3", "on": "here",
        "j": 1000,
    }  # fmt: skip


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n", "\n\n"])
def test_nothing_is_none(text):
    assert parse(text, "r").data is None


def test_windows_files_and_byte_order_marks(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_bytes("\ufeffa: 1\r\nb: |\r\n  x\r\n  y\r\nc: é😀\r\n".encode())
    assert load(path).data == {"a": 1, "b": "x\ny\n", "c": "é😀"}


def test_json_is_yaml_with_its_surrogate_pairs():
    assert parse('{"a": "\\ud83d\\ude00"}', "r").data == {"a": "😀"}


REFUSED = {
    "a:\n\tb: 1": "r.yaml:2: not valid YAML: while scanning for the next token, found character '\\t' that cannot "
    "start any token; indent with spaces",
    "a: b: c": "r.yaml:1: not valid YAML: mapping values are not allowed here",
    "a: [1,\nb: 2\n\n": "r.yaml:1: not valid YAML: while parsing a flow sequence, expected ',' or ']'",
    "a: 1\nb: 'x\n\n\n": "r.yaml:2: not valid YAML: while scanning a quoted scalar, found unexpected end of stream",
    "a: *nowhere": "r.yaml:1: not valid YAML: found undefined alias 'nowhere'",
    "a: 1\n---\nb: 2": "r.yaml:2: not valid YAML: expected a single document in the stream, but found another",
    "a: 1\nb: 2\na: 3": "r.yaml:3: 'a' is there twice, first in line 1",
    "x:\n  a: 1\n  'a': 2": "r.yaml:3: 'a' is there twice, first in line 2",
    "a:\n  1: b": "r.yaml:2: the key '1' is no text; put it in quotes",
    "a:\n  true: b": "r.yaml:2: the key 'true' is no text",
    "a:\n  ? [1, 2]\n  : b": "r.yaml:2: the key of this mapping is no text",
    "a:\n  b: 2026-01-02": "r.yaml:2: a.b: a date has no meaning in a recipe; put it in quotes",
    "a:\n- x\n- 2026-01-02 10:00:00": "r.yaml:3: a[1]: a date has no meaning",
    "a: !!python/object:os.system x": "r.yaml:1: a: the tag 'python/object:os.system' has no meaning in a recipe",
    "a: !secret {b: 1}": "r.yaml:1: a: the tag '!secret' has no meaning",
    "a: !!binary aGVsbG8=": "r.yaml:1: a: the tag 'binary' has no meaning",
    "a: !!set {b, c}": "r.yaml:1: a: the tag 'set' has no meaning",
    "a: !!int many": "r.yaml:1: a: not valid YAML: this is no int that can be read",
    "a: !!bool many": "r.yaml:1: a: not valid YAML: this is no bool that can be read",
    "a: " + "9" * 5000: "r.yaml:1: a: not valid YAML: this is no int that can be read",
    "a: .nan": "r.yaml:1: a: nan is no number to go by",
    "a: [1, -.inf]": "r.yaml:1: a[1]: -inf is no number to go by",
    "a: &a [*a]": "r.yaml:1: a[0]: an alias holds itself",
    "a: &a\n  b: *a": "r.yaml:2: a.b: an alias holds itself",
    "a: &a\n  <<: *a": "r.yaml:1: a: '<<' takes another mapping",
    "a: {<<: 3}": "r.yaml:1: a: '<<' takes another mapping",
    "a: 1\nb: x\0y": "r.yaml:2: not valid YAML: the character U+0000 is not allowed",
    'a: "\\ud83d"': "r.yaml:1: a: a text holds half a character",
    '"\\ud83d": 1': "r.yaml:1: a text holds half a character",
    "a: " + "[" * 60 + "]" * 60: "r.yaml:1: nested more than 50 levels deep",
    "\n".join(" " * level + "a:" for level in range(2000)): "r.yaml:51: nested more than 50 levels deep",
}


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: repr(text[:20]))
def test_what_is_refused_says_where_and_what(text):
    assert refusal(text).startswith(REFUSED[text])


def test_a_value_that_could_be_a_secret_is_not_repeated():
    for text in ("api_key: sk-secret\napi_key: sk-secret", "a: {api_key: sk-secret", "api_key: 'sk-secret", "k: sk: x"):
        assert "sk-secret" not in refusal(text)


def test_ten_to_the_eighth_laughs_cost_a_second_at_most():
    names = "abcdefgh"
    text = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{name}: &{name} [{', '.join(['*' + before] * 10)}]\n" for before, name in itertools.pairwise(names)
    )
    started = time.process_time()
    assert refusal(text) == "r.yaml: more than 100,000 values; a recipe is far smaller"
    assert time.process_time() - started < 5


def test_brackets_without_end_are_refused_before_they_are_all_scanned():
    started = time.process_time()
    assert "nested more than 50 levels deep" in refusal("a: " + "[" * 20_000)
    assert time.process_time() - started < 10


def test_a_long_text_is_fine_and_a_dataset_is_not():
    assert parse(f"a: {'word ' * 20_000}end", "r").data["a"].endswith("word end")
    assert refusal("a" * (MOST_CHARACTERS + 1)).endswith("Is this a dataset?")


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "latin").write_bytes(b"a: caf\xe9")
    cases = {
        tmp_path / "none.yaml": "there is no such file",
        tmp_path: "this is a folder",
        tmp_path / "latin": "not UTF-8 at byte 6",
        tmp_path / ("x" * 300): "cannot be read: File name too long",
        tmp_path / "a\0b": "no file can be called so",
    }
    for path, message in cases.items():
        with pytest.raises(RecipeError, match=message):
            load(path, "r.yaml")


def test_values_of_set():
    values = {
        "3": 3,
        "0.5": 0.5,
        "true": True,
        "": None,
        "'3'": "3",
        "[a, 1]": ["a", 1],
        "{a: 1}": {"a": 1},
        "a:b": "a:b",
    }
    assert {text: parse_value(text) for text in values} == values
    for text, message in {"a: b: c": "not valid YAML: mapping", "2026-01-02": "a date has", "@x": "not valid"}.items():
        with pytest.raises(ValueError, match=message) as caught:
            parse_value(text)
        assert not str(caught.value).startswith("value")


def test_data_made_in_python_is_copied_and_checked(tmp_path):
    data = {"a": (1, [2, {"b": tmp_path}]), "c": None, "d": "\ud83d\ude00"}
    assert plain_data(data, "recipe").data == {"a": [1, [2, {"b": str(tmp_path)}]], "c": None, "d": "😀"}
    loop: dict[str, object] = {}
    loop["a"] = loop
    cases: list[tuple[object, str]] = [
        ({1: 2}, "recipe: the key 1 is no text"),
        ({"a": {"b": {3}}}, "recipe: a.b: a set has no meaning"),
        ({"a": [math.nan]}, r"recipe: a\[0\]: nan is no number"),
        ({"a": "\ud83d"}, "recipe: a: a text holds half"),
        ({"a": b"x"}, "recipe: a: a bytes has no meaning"),
        (loop, "nested more than 50 levels deep"),
    ]
    for value, message in cases:
        with pytest.raises(RecipeError, match=message):
            plain_data(value, "recipe")


TEXTS = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(
    ["", " lead", "a: b", "{{ x }}", "{% y %}", "%s", "- a", "null", "1e5", "~", "a\nb\n", "\t", "\x85", "\0", "#c",
     "a #b", "2026-01-02", "<<", "...", "---", "\ufeff", "\u2028", "&a", "*a", "!a", "|", ">", "'", '"', "a\r\nb"]
)  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None, max_examples=300)
@given(VALUES)
def test_what_is_written_reads_as_the_same(value):
    read = parse(dump({"value": value}), "r").data
    assert read == {"value": value}
    assert repr(read) == repr({"value": value})


def test_equal_parts_are_written_out_and_keys_keep_their_order():
    shared = ["x"]
    assert dump({"b": shared, "a": shared}) == "b:\n- x\na:\n- x\n"
