"""A secret in what is about to leave is found however it is broken: over lines, by escapes, by folding, in code."""

import base64
import json
import random
import textwrap

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evolteacher.errors import RunError
from evolteacher.publishing.leaks import check_for_secrets
from evolteacher.publishing.parcel import in_folder
from evolteacher.secrets import HIDDEN, hide
from evolteacher.yamlfile import dump

BODY = base64.b64encode(random.Random(7).randbytes(330)).decode()
WRAPPED = "\n".join(textwrap.wrap(BODY, 64))
PEM = f"-----BEGIN PRIVATE KEY-----\n{WRAPPED}\n-----END PRIVATE KEY-----"
ONE_LINE = 'k-0123"456789\\abc\tdéf😀xyz'
WORDS = "sk-live 0123456789 abcdef " * 8 + "end"
ACCOUNT = json.dumps({"auth_uri": "https://accounts.example.com/o/oauth2/auth", "private_key": PEM}, indent=2)


def found(text, value, *, name="a.jsonl", folder=None):
    """Return what is said of a file, or a text, that holds something; empty where it is let go."""
    files = ()
    if folder is not None:
        (folder / name).write_bytes(text.encode("utf-8", "surrogatepass"))
        files = in_folder(folder)
    try:
        check_for_secrets(files, {"OTHER": "no-such-value-in-it", "MY_KEY": value}, () if files else [text])
    except RunError as error:
        assert not any(line and line in str(error) for line in value.split("\n"))
        return str(error)
    return ""


def as_json(text):
    return json.dumps({"instruction": "x", "output": text}) + "\n"


def quoted_lines(text):
    return "KEY = (\n" + "".join(f"    '{line}\\n'\n" for line in text.split("\n")) + ")\n"


SHAPES = {
    "as it is": lambda text: f"before\n{text}\nbehind\n",
    "of Windows": lambda text: text.replace("\n", "\r\n"),
    "JSON": as_json,
    "JSON, each character": lambda text: "".join(f"\\u{ord(char):04x}" for char in text if ord(char) < 0x10000),
    "JSON in JSON": lambda text: json.dumps({"prompt": json.dumps([{"content": as_json(text)}])}),
    "JSON, laid out": lambda text: json.dumps([{"output": text}], indent=2, ensure_ascii=False),
    "YAML": lambda text: dump({"a": {"description": f"Use {text} for it"}}),
    "YAML, folded": lambda text: f"a: >-\n{textwrap.indent(text, '    ')}\n",
    "YAML, quoted": lambda text: "a: \"" + json.dumps(text)[1:-1].replace(" ", "\\\n    \\ ") + "\"\n",
    "indented": lambda text: textwrap.indent(text, "        "),
    "code": quoted_lines,
}  # fmt: skip
COMMENTED = {
    "comments": lambda text: textwrap.indent(text, "# ", lambda line: True),
    "a quotation": lambda text: textwrap.indent(text, "> "),
    "a list": lambda text: json.dumps(text.split("\n"), indent=1),
    "on one line": lambda text: text.replace("\n", " "),
    "joined": lambda text: text.replace("\n", ""),
    "wrapped otherwise": lambda text: "\n".join(textwrap.wrap(text.replace("\n", ""), 50)),
    "its third line": lambda text: f"say {text.splitlines()[3]} now",
    "its last line": lambda text: f"say '{text.splitlines()[-2]}'",
}


class TestWhatIsFound:
    @pytest.mark.parametrize("shape", SHAPES)
    @pytest.mark.parametrize("value", [PEM, WORDS, ACCOUNT], ids=["pem", "words", "account"])
    def test_of_several_lines_or_words(self, shape, value, tmp_path):
        said = found(SHAPES[shape](value), value, folder=tmp_path)
        assert "a.jsonl, line " in said and "the value of MY_KEY stands there, so nothing was sent" in said

    @pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape != "JSON, each character"])
    def test_of_one_line(self, shape, tmp_path):
        assert "MY_KEY" in found(SHAPES[shape](ONE_LINE), ONE_LINE, folder=tmp_path)

    @pytest.mark.parametrize("shape", COMMENTED)
    def test_a_private_key_in_any_dress(self, shape, tmp_path):
        assert "MY_KEY" in found(COMMENTED[shape](PEM), PEM, folder=tmp_path)

    @pytest.mark.parametrize("shape", [*SHAPES, *COMMENTED])
    def test_a_variable_that_holds_line_ends_as_escapes(self, shape, tmp_path):
        made = {**SHAPES, **COMMENTED}[shape]
        assert "MY_KEY" in found(made(PEM), PEM.replace("\n", "\\n"), folder=tmp_path)

    def test_a_key_that_is_wrapped(self, tmp_path):
        assert "line 2" in found("say k-0123456\n  789abcdef now", "k-0123456789abcdef", folder=tmp_path)
        assert "line 3" in found('k = "k-01"\n"23456789"\n\'abcdef\'\nx', "k-0123456789abcdef", folder=tmp_path)
        assert found("k-0123456\\u000a789abcdef", "k-0123456789abcdef")
        assert found("k-&lt;0123456&amp;abcdef", "k-<0123456&abcdef")

    def test_texts_that_are_in_no_file(self):
        assert "the dataset, line 1: the value of MY_KEY" in found(PEM, PEM)

    def test_a_key_at_the_end_of_a_large_file_costs_no_memory_of_its_size(self, tmp_path):
        lines = "".join(as_json(f"row {n} " + "x" * 200) for n in range(20_000))
        assert "line 20,00" in found(lines + PEM, PEM, folder=tmp_path)

    @settings(max_examples=60, deadline=None)
    @given(st.data())
    def test_wherever_it_is_broken_and_however_often_it_is_escaped(self, data):
        alphabet = st.characters(categories=("L", "N", "S", "Po"), exclude_characters="\\&\"'`")
        value = text = data.draw(st.text(alphabet, min_size=20, max_size=60))
        for place in sorted(data.draw(st.sets(st.integers(1, len(value) - 1), max_size=4)), reverse=True):
            between = data.draw(st.sampled_from(["\n", "\n    ", "\r\n", '"\n"', "' '", "\\\n  "]))
            text = text[:place] + between + text[place:]
        for _ in range(data.draw(st.integers(0, 3))):
            text = json.dumps(text, ensure_ascii=data.draw(st.booleans()))
        assert found(f"some {text} text", value)


class TestWhatIsNot:
    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----", PEM), ("\n".join(PEM.split("\n")[:2]), PEM),
            ('"auth_uri": "https://accounts.example.com/o/oauth2/auth"', ACCOUNT),
            ("a dummy key for tests", "dummy-key-for-tests"), ("a b c 1 2 3", "abc123"),
            ("k-0123456789abcde", "k-0123456789abcdef"), (PEM[:120].lower(), PEM),
        ],
    )  # fmt: skip
    def test_words_that_many_texts_have_are_let_go(self, text, value, tmp_path):
        assert found(text, value, folder=tmp_path) == ""

    def test_files_that_are_no_text_are_not_read(self, tmp_path):
        assert found(PEM, PEM, name="a.parquet", folder=tmp_path) == ""


def test_line_ends_of_a_secret_are_hidden_as_json_writes_them_too():
    for text in (PEM, json.dumps(PEM), json.dumps(json.dumps(PEM))):
        assert hide(text, [PEM]).strip('"\\') == HIDDEN
