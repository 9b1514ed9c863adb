"""The suites of operators and filters find what they look for: each check is broken by a class made for it."""

import inspect

import pytest
from broken_components import BROKEN, KINDS
from test_broken_backends import HERE, run_pytest

from evolteacher.testing import FilterConformance, JudgeConformance

CHECKS = {
    conformance: {name for name, _ in inspect.getmembers(conformance) if name.startswith("test_")}
    for conformance, _ in KINDS.values()
}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    return run_pytest(tmp_path_factory.mktemp("broken"), HERE / "broken_components.py")[1]


@pytest.mark.parametrize("good", KINDS)
def test_a_good_component_passes_every_check(outcomes, good):
    seen = outcomes[f"Test{good.__name__}"]
    assert set(seen) <= {"passed", "skipped"}
    passed = {check for check, _ in seen["passed"]}
    asked = CHECKS[KINDS[good][0]]
    # What a judge rejects hangs on its verdict; the fixture of the same name is tested with the row filter.
    assert asked - passed == ({"test_it_rejects_what_it_should"} if KINDS[good][0] is JudgeConformance else set())


@pytest.mark.parametrize("suite", BROKEN)
def test_a_broken_component_fails_what_it_breaks_and_nothing_else(outcomes, suite):
    seen = outcomes[suite]
    assert {check for check, _ in seen.get("failure", [])} == BROKEN[suite], seen.get("failure")
    assert "error" not in seen
    for _, message in seen["failure"]:
        assert message.startswith("Failed: the contract: ") and "\nseen: " in message


def test_every_check_is_broken_by_some_component():
    assert {conformance.__name__: len(checks) for conformance, checks in CHECKS.items()} == {
        "OperatorConformance": 20,
        "FilterConformance": 15,
        "JudgeConformance": 20,
        "DatasetFilterConformance": 16,
    }
    assert {check for checks in BROKEN.values() if len(checks) == 1 for check in checks} == set().union(
        *CHECKS.values()
    )


FORGOTTEN = """
import pytest
import evolteacher as et
from evolteacher.testing import DatasetFilterConformance, FilterConformance, OperatorConformance

class Mine(et.InstructionFilter, name="mine"):
    '''Ask.'''
    async def judge(self, evolution, ask):
        return None if (await ask(evolution.child.text)).text else "no"

class TestNoOperator(OperatorConformance):
    pass

class TestNoFilter(DatasetFilterConformance):
    pass

class TestWrongKind(FilterConformance):
    @pytest.fixture
    def filter(self):
        return Mine()
"""


def test_a_suite_without_its_fixture_or_for_another_kind_says_so(tmp_path):
    (tmp_path / "test_forgotten.py").write_text(FORGOTTEN)
    _, outcomes = run_pytest(tmp_path, tmp_path / "test_forgotten.py")
    for suite, words in {
        "TestNoOperator": "TestNoOperator must have a fixture `operator`",
        "TestNoFilter": "TestNoFilter must have a fixture `filter`",
        "TestWrongKind": "TestWrongKind: for 'mine' inherit from JudgeConformance",
    }.items():
        assert set(outcomes[suite]) == {"error"}
        assert all(words in message for _, message in outcomes[suite]["error"])


def test_what_a_class_made_in_a_function_does_elsewhere_is_not_covered(tmp_path):
    text = FORGOTTEN.partition("class TestNoOperator")[0] + (
        "\ndef make():\n    class Local(et.TextFilter, name='local'):\n        '''Local.'''\n"
        "        def reject(self, text):\n            return None\n    return Local()\n"
        "\nclass TestLocal(FilterConformance):\n    @pytest.fixture\n    def filter(self):\n        return make()\n"
    )
    (tmp_path / "test_local.py").write_text(text)
    _, outcomes = run_pytest(tmp_path, tmp_path / "test_local.py", code=0)
    skipped = {check for check, _ in outcomes["TestLocal"]["skipped"]}
    assert skipped == CHECKS[FilterConformance] & skipped and "test_another_process_does_the_same" in skipped
