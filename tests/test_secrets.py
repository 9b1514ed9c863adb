"""Secrets: how a recipe names them, where they are looked up, and that they are hidden."""

import json
import os
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

import evolteacher as et
from evolteacher import errors
from evolteacher.secrets import HIDDEN, SHORTEST

KEY = "sk-a-very-secret-key-1234567890"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory without a .env, and no variable MY_KEY."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MY_KEY", raising=False)
    return tmp_path


class TestReferences:
    @pytest.mark.parametrize("text", ["env:MY_KEY", "env:_x9", "env:a"])
    def test_what_is_one(self, text):
        assert et.secret_name(text) == text.removeprefix("env:")
        assert et.check_reference(text) == text

    @pytest.mark.parametrize(
        "text",
        [KEY, "", "env:", "env:1X", "env:A B", "env:A-B", "ENV:X", "env: X", " env:X", "env:X ", "env:X\n", "env:Ä",
         "$MY_KEY", "${MY_KEY}", "Bearer env:X", "env:X,env:Y"],
    )  # fmt: skip
    def test_what_is_none(self, text):
        assert et.secret_name(text) is None
        with pytest.raises(ValueError, match="write env:NAME") as caught:
            et.check_reference(text)
        assert KEY not in str(caught.value)

    @pytest.mark.parametrize("value", [None, 5, ["env:X"], {"env:X": 1}, b"env:X", True])
    def test_other_values_name_nothing(self, value):
        assert et.secret_name(value) is None

    def test_no_key_at_all_is_fine(self):
        assert et.check_reference(None) is None


class TestLookingUp:
    def test_in_the_environment(self, folder, monkeypatch):
        monkeypatch.setenv("MY_KEY", f"  {KEY}\n")
        assert et.read_secret("env:MY_KEY", "here") == KEY

    @pytest.mark.parametrize(
        "line", [f"MY_KEY={KEY}", f"export MY_KEY='{KEY}'", f'MY_KEY = "{KEY}"  # mine', f"OTHER=1\r\nMY_KEY={KEY}\r\n"]
    )
    def test_in_a_dotenv(self, folder, line):
        (folder / ".env").write_text(f"{line}\n")
        assert et.read_secret("env:MY_KEY", "here") == KEY
        assert "MY_KEY" not in os.environ

    def test_the_environment_comes_first(self, folder, monkeypatch):
        (folder / ".env").write_text("MY_KEY=from-the-file\n")
        monkeypatch.setenv("MY_KEY", KEY)
        assert et.read_secret("env:MY_KEY", "here") == KEY

    def test_a_dollar_is_part_of_a_key(self, folder, monkeypatch):
        monkeypatch.setenv("HOME_OF_X", "expanded")
        (folder / ".env").write_text("MY_KEY=sk-$HOME_OF_X-${HOME_OF_X}\n")
        assert et.read_secret("env:MY_KEY", "here") == "sk-$HOME_OF_X-${HOME_OF_X}"

    def test_a_dotenv_of_another_folder(self, folder, tmp_path_factory):
        other = tmp_path_factory.mktemp("other")
        (other / ".env").write_text(f"MY_KEY={KEY}\nBARE\n")
        assert et.environment(other)["MY_KEY"] == KEY
        assert "BARE" not in et.environment(other)
        assert "MY_KEY" not in et.environment()

    def test_a_folder_called_dotenv(self, folder):
        (folder / ".env").mkdir()
        assert et.environment() == dict(os.environ)

    @pytest.mark.parametrize("value", [None, "", " \t\n"])
    @pytest.mark.parametrize("file", [None, "", "MY_KEY=\n", "MY_KEY\n", "MY_KEY='  '\n"])
    def test_one_that_is_not_set(self, folder, monkeypatch, value, file):
        if value is not None:
            monkeypatch.setenv("MY_KEY", value)
        if file is not None:
            (folder / ".env").write_text(file)
        with pytest.raises(
            errors.NotAuthorised, match=r"^backend 'x': api_key names .* MY_KEY, which is not set: export"
        ):
            et.read_secret("env:MY_KEY", "backend 'x': api_key")

    def test_a_key_in_place_of_a_reference_is_not_repeated(self, folder):
        with pytest.raises(errors.NotAuthorised, match="no reference: write env:NAME") as caught:
            et.read_secret(KEY, "here")
        assert KEY not in str(caught.value)

    def test_a_dotenv_that_is_no_text(self, folder):
        (folder / ".env").write_bytes(b"MY_KEY=\xff\xfe\x00\n")
        with pytest.raises(errors.NotAuthorised, match=r"\.env cannot be read \(it is no text in UTF-8\)"):
            et.read_secret("env:MY_KEY", "here")

    def test_a_broken_dotenv_matters_only_where_it_is_needed(self, folder, monkeypatch):
        (folder / ".env").write_bytes(b"\xff\xfe")
        monkeypatch.setenv("MY_KEY", KEY)
        assert et.read_secret("env:MY_KEY", "here") == KEY


class TestHiding:
    def test_each_place_is_hidden(self):
        assert et.hide(f"{KEY} and {KEY}.", [KEY]) == f"{HIDDEN} and {HIDDEN}."

    def test_nothing_to_hide(self):
        assert et.hide("A text.", []) == "A text."
        assert et.hide("A text.", [KEY]) == "A text."
        assert et.hide("", [KEY]) == ""

    def test_one_that_holds_another(self):
        longer = f"Bearer {KEY}"
        for secrets in ([KEY, longer], [longer, KEY]):
            assert et.hide(f"<{longer}> <{KEY}>", secrets) == f"<{HIDDEN}> <{HIDDEN}>"

    def test_short_ones_are_words(self):
        short = "x" * (SHORTEST - 1)
        assert et.hide(f"{short}!", [short, ""]) == f"{short}!"
        assert et.hide("x" * SHORTEST, ["x" * SHORTEST]) == HIDDEN

    @given(st.text(), st.lists(st.text(alphabet="abc123", min_size=SHORTEST, max_size=9), max_size=4), st.data())
    def test_none_is_left(self, text, secrets, data):
        for secret in secrets:
            at = data.draw(st.integers(0, len(text)))
            text = text[:at] + secret + text[at:]
        hidden = et.hide(text, secrets)
        assert not any(secret in hidden for secret in secrets)
        assert et.hide(hidden, secrets) == hidden

    def test_any_iterable_will_do(self):
        assert et.hide(f"{KEY}", (secret for secret in {KEY})) == HIDDEN

    def test_a_secret_in_escapes_of_json_is_found_wherever_it_is_cut(self):
        cases = [
            "\\u0073" + KEY[1:],
            KEY[:4] + "\\u" + f"{ord(KEY[4]):04X}" + KEY[5:],
            "".join(f"\\u{ord(char):04x}" for char in KEY),
            json.dumps(json.dumps("".join(f"\\u{ord(char):04x}" for char in KEY)))[3:-3],
            KEY[:3] + "\\" + KEY[3:],
        ]
        for case in cases:
            assert et.hide(f"<{case}>", [KEY]).count(HIDDEN) == 1 and KEY[-5:] not in et.hide(case, [KEY]), case
        assert len(cases) == 5

    def test_a_text_of_backslashes_takes_no_time(self):
        text = "\\" * 200_000 + KEY[:-1]
        started = time.process_time()
        assert et.hide(text, [KEY]) == text
        assert time.process_time() - started < 2
