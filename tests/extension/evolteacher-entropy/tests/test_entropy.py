"""The suite that every row filter must pass, and what is said where the library is missing."""

import subprocess
import sys

import pytest
from evolteacher_entropy import Monotonous

from evolteacher.testing import FilterConformance


class TestMonotonous(FilterConformance):
    @pytest.fixture
    def filter(self):
        return Monotonous()

    @pytest.fixture
    def rejects(self):
        return ["ab" * 40, "\n" * 100]

    @pytest.fixture
    def keeps(self):
        return ["Write a function that adds two numbers and tells of an overflow.", "ababab", ""]


def python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60).stdout


def test_the_library_is_imported_only_when_a_text_is_looked_at():
    code = "import sys, evolteacher_entropy; print('numpy' in sys.modules); {}; print('numpy' in sys.modules)"
    look = "evolteacher_entropy.Monotonous().reject('ab' * 40)"
    assert python(code.format(look)).split() == ["False", "True"]


def test_without_it_one_line_says_what_to_install():
    code = (
        "import sys; sys.modules['numpy'] = None; from evolteacher_entropy import Monotonous\n"
        "try: Monotonous().require()\nexcept Exception as error: print(type(error).__name__, error)"
    )
    assert python(code) == (
        "MissingExtra filter 'monotonous' needs the extra 'numpy': pip install 'evolteacher-entropy[numpy]'\n"
    )
