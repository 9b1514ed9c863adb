"""The conformance suite finds what it looks for: a good backend passes, a broken one fails the check that it breaks."""

import inspect
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from broken_backends import BROKEN

from evolteacher.testing import BackendConformance

HERE = Path(__file__).parent
CHECKS = {name for name, _ in inspect.getmembers(BackendConformance) if name.startswith("test_")}


pytestmark = pytest.mark.slow


def run_pytest(folder, *words, code=1):
    """Run pytest on files of a folder, without this project's settings; return what it printed, and its outcomes.

    The outcomes are class -> kind -> (check, message) of each check that had it.
    """
    report = folder / "junit.xml"
    plugins = ("asyncio", "timeout", "hypothesispytest", "cacheprovider", "faulthandler")  # none is needed
    command = [sys.executable, "-m", "pytest", "-q", "--noconftest", *(f"-pno:{name}" for name in plugins)]
    done = subprocess.run(
        [*command, "-c", "/dev/null", "--junitxml", report, *words], capture_output=True, text=True, timeout=200
    )
    assert done.returncode == code, done.stdout + done.stderr
    found = {}
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        suite, check = case.get("classname").rpartition(".")[2], case.get("name").partition("[")[0]
        (outcome,) = [child for child in case if child.tag != "system-out"] or [None]
        kind, message = (
            ("passed", "") if outcome is None else (outcome.tag, f"{outcome.get('message')}\n{outcome.text}")
        )
        found.setdefault(suite, {}).setdefault(kind, []).append((check, message))
    return done.stdout, found


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    return run_pytest(tmp_path_factory.mktemp("broken"), HERE / "broken_backends.py")[1]


@pytest.mark.parametrize("suite", ["TestGood", "TestGoodKeptOpen"])
def test_a_good_backend_passes_every_check(outcomes, suite):
    assert set(outcomes[suite]) == {"passed", "skipped"}
    assert {check for check, _ in outcomes[suite]["passed"]} == CHECKS
    assert len(outcomes[suite]["passed"]) == 61
    assert all("not covered: the fixture `faults`" in why for _, why in outcomes[suite]["skipped"])


@pytest.mark.parametrize("suite", BROKEN)
def test_a_broken_backend_fails_what_it_breaks_and_nothing_else(outcomes, suite):
    seen = outcomes[suite]
    assert {check for check, _ in seen.get("failure", [])} == BROKEN[suite], seen.get("failure")
    assert "error" not in seen
    for _, message in seen["failure"]:
        assert message.startswith("Failed: the contract: ") and "\nseen: " in message


def test_every_check_is_broken_by_some_backend(outcomes):
    assert len(CHECKS) == 44
    assert {check for checks in BROKEN.values() if len(checks) == 1 for check in checks} == CHECKS
    assert len(BROKEN) == len(outcomes) - 2 == 89


MINIMAL = """
import pytest
import evolteacher as et
from evolteacher.testing import BackendConformance

class Mine(et.Backend, name="mine"):
    async def complete(self, request):
        words = request.text.split() or ["Nothing?"]
        return et.Reply(" ".join(words), et.Usage(len(words), len(words)))

class TestMine(BackendConformance):
    heeds_max_tokens = heeds_stop = False

    @pytest.fixture
    def backend(self):
        return Mine()

class TestForgotten(BackendConformance):
    pass

class TestManyKeptOpen(TestMine):
    keep_open = True

class TestWrongFaults(TestMine):
    @pytest.fixture
    def faults(self):
        return {"rate limited": (Mine, et.errors.Refused)}
"""


def test_the_least_that_an_author_writes_passes_and_tells_what_it_does_not_cover(tmp_path):
    (tmp_path / "test_mine.py").write_text(MINIMAL)
    printed, outcomes = run_pytest(tmp_path, "-rs", tmp_path / "test_mine.py")
    assert set(outcomes["TestMine"]) == {"passed", "skipped"}
    assert len(outcomes["TestMine"]["passed"]) == 41
    skipped = [why for _, why in outcomes["TestMine"]["skipped"]]
    assert len(skipped) == 25 and sum("TestMine: not covered: " in why for why in skipped) == 19
    assert sum("backend 'mine' knows no batches" in why for why in skipped) == 6
    for what in ("wrong key", "cut connection", "attribute `deterministic`", "fixture `secret`"):
        assert re.search(f"TestMine: not covered: .*{what}", printed)
    assert all("must have a fixture `backend`" in why for _, why in outcomes["TestForgotten"]["error"])
    assert any("that returns the same backend each time" in why for _, why in outcomes["TestManyKeptOpen"]["error"])
    assert any("names Refused, not RateLimited" in why for _, why in outcomes["TestWrongFaults"]["failure"])


def test_without_pytest_one_line_says_what_to_install():
    code = "import sys; sys.modules['pytest'] = None\ntry: import evolteacher.testing\nexcept Exception as e: print(e)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "evolteacher.testing needs pytest: pip install pytest\n"
