"""The sandbox through its public door: what it says of codes and suites, and that it leaves nothing behind."""

import asyncio
import gc
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pydantic import ValidationError

import evolteacher as et
from evolteacher.errors import SandboxError
from evolteacher.sandbox import launch
from evolteacher.sandbox.guards import NAMESPACES

ADD = "def add(a, b):\n    print('adding')\n    return a + b\n"
MODES = {
    "copy": et.Sandbox(seconds=5),
    "fresh": et.Sandbox(seconds=5, fresh=True),
    "off": et.Sandbox(seconds=5, namespaces="off"),
}


@pytest.fixture(params=MODES)
def box(request):
    return MODES[request.param]


def names():
    """Return the names that processes of this machine have given themselves."""
    found = []
    for path in Path("/proc").glob("[0-9]*/comm"):
        try:
            found.append(path.read_text().strip())
        except OSError:
            continue
    return found


def children():
    """Return the processes that this one has started."""
    return {int(pid) for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()}


def called(name):
    """Return code that lets its process call itself so."""
    return f"import ctypes, os, time\nctypes.CDLL(None).prctl(15, b'{name}', 0, 0, 0)\n"


only_linux = pytest.mark.skipif(sys.platform != "linux", reason="processes are found by their names in /proc")


async def test_suites_of_one_code_are_told_apart(box):
    suites = ["assert add(1, 2) == 3", "x = 1\nassert add(1, 2) == 4, 'four'", "add(1)", "oh no", "add('a', 1)"]
    passed, failed, called, unread, inside = await box.check(ADD, suites)
    assert passed == et.CheckResult("passed", "suite", output="adding\n")
    assert failed == et.CheckResult("raised", "suite", "AssertionError", "four", line=2, output="adding\n")
    assert failed.reason == "AssertionError: four (line 2 of the tests)"
    assert (called.error, called.line, called.code_line) == ("TypeError", 1, 0)
    assert (unread.error, unread.stage, unread.line) == ("SyntaxError", "suite", 1)
    assert (inside.error, inside.line, inside.code_line) == ("TypeError", 1, 3)
    assert inside.reason.endswith("(line 1 of the tests, line 3 of the code)")


@pytest.mark.parametrize(
    ("code", "error", "line"),
    [("x = 1\nx +", "SyntaxError", 2), ("1 / 0", "ZeroDivisionError", 1), ("\0", "Error", 0), ("\ud800", "", 0)],
)
async def test_a_code_that_cannot_be_loaded_fails_every_suite(box, code, error, line):
    first, second = await box.check(code, ["pass", "pass"])
    assert first == second
    assert first.stage == "code" and not first.passed
    assert error in first.error and (not line or first.code_line == line)


async def test_a_code_that_cannot_be_loaded_is_tried_once():
    box = et.Sandbox(seconds=0.2, wall_seconds=1)
    results = await asyncio.wait_for(box.check("while True: pass", ["pass"] * 100), 30)
    assert {(result.status, result.stage) for result in results} == {("timeout", "code")}


async def test_several_codes_with_the_same_suites(box):
    rows = await box.matrix(
        [ADD, "def add(a, b): return None", "def add(a, b): return a - b"], ["assert add(2, 0) == 2"]
    )
    assert [[result.passed for result in row] for row in rows] == [[True], [False], [True]]


async def test_nothing_to_do_starts_nothing(box):
    assert await box.check(ADD, []) == ()
    assert await box.matrix([], ["pass"]) == ()
    assert (await box.check(ADD, [""]))[0].passed


async def test_a_suite_sees_a_module_as_if_it_stood_below_it(box):
    code = (
        "from dataclasses import dataclass\nimport pickle\n@dataclass\nclass Point:\n    x: int = 0\n"
        "calls = 0\ndef count():\n    global calls\n    calls += 1\n    return calls\n"
        "if __name__ == '__main__':\n    raise RuntimeError('run as a program')\n"
    )
    suite = (
        "assert pickle.loads(pickle.dumps(Point(3))) == Point(3)\nassert count() == 1 and calls == 1\n"
        "def helper(): return count()\nassert helper() == 2"
    )
    results = await box.check(code, [suite, suite])  # the second one would see a count of 3 if they shared a process
    assert [result.reason for result in results] == ["", ""]


async def test_ways_to_run_agree_and_repeat_themselves():
    code = "def order(): return list({'a', 'b', 'c', 'd', 'e', 'f'})\nclass A: pass\n"
    suites = [
        "print(order(), object(), A())",
        "raise KeyError(A())",
        "import random; assert random",
        "assert order() == 1",
    ]
    told = [await box.check(code, suites) for box in MODES.values() for _ in range(2)]
    assert len(told) == 6 and len(set(told)) == 1
    assert "0x…" in told[0][0].output


async def test_many_at_once_each_have_their_own_result(box):
    many = await asyncio.gather(*(box.check(ADD, [f"assert add({n}, 0) == {n % 7}"]) for n in range(20)))
    assert [result.passed for (result,) in many] == [n < 7 for n in range(20)]


@only_linux
async def test_no_more_run_at_once_than_there_are_cores():
    name, cores = f"evolmany{os.getpid()}"[:15], len(os.sched_getaffinity(0))
    boxes = [et.Sandbox(), et.Sandbox(seconds=6)]
    checks = [boxes[n % 2].check(called(name) + "time.sleep(0.3)", [""]) for n in range(3 * cores)]
    running, most = asyncio.ensure_future(asyncio.gather(*checks)), 0
    while not running.done():
        most = max(most, names().count(name))
        await asyncio.sleep(0.02)
    assert 1 <= most <= cores
    assert all(result.passed for (result,) in await running)


async def test_texts_are_cut_and_large_jobs_arrive():
    box = et.Sandbox(output_bytes=10, memory_mb=1024)
    raised, printed = await box.check("", ["raise ValueError('é' * 10**8)", "print('x' * 10**7)"])
    assert raised.message == "é" * 2000
    assert printed.passed and printed.output == "x" * 10
    assert len(await box.check("x = '" + "y" * 10**6 + "'", ["assert len(x) == 10**6"] * 3)) == 3


async def test_packages_are_there_when_asked_for():
    code = "import pluggy"
    (without,) = await et.Sandbox().check(code, [""])
    (with_packages,) = await et.Sandbox(packages=True).check(code, [""])
    assert without.error == "ModuleNotFoundError"
    assert with_packages.passed, with_packages


@only_linux
async def test_a_cancelled_check_has_ended_all_its_processes(box):
    name = f"evolcancel{os.getpid()}"[:15]
    code = called(name) + "if not os.fork():\n    os.setsid()\ntime.sleep(60)\n"
    task = asyncio.create_task(box.check(code, [""]))
    while name not in names():
        assert not task.done()
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert name not in names()


async def test_checks_leave_no_descriptor_and_no_folder(box, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    await box.check(ADD, ["pass"])
    gc.collect()
    before = len(os.listdir("/dev/fd"))
    for _ in range(3):
        await box.check(ADD, ["open('left', 'w').write('x')"])
    assert len(os.listdir("/dev/fd")) == before
    assert list(tmp_path.iterdir()) == []


async def test_without_free_descriptors_it_says_so_and_leaves_none(box):
    await box.check(ADD, ["pass"])
    lowest = os.dup(0)
    os.close(lowest)
    before, most, refused = len(os.listdir("/dev/fd")), resource.getrlimit(resource.RLIMIT_NOFILE), 0
    for room in range(5):
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + room, most[1]))
        try:
            await box.check(ADD, ["pass"])
        except SandboxError as error:
            refused += 1
            assert "cannot be started: Too many open files. Free what is short" in str(error)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, most)
        assert len(os.listdir("/dev/fd")) == before
    assert refused >= 1
    assert (await box.check(ADD, ["pass"]))[0].passed


def test_one_sandbox_serves_several_event_loops(box):
    for _ in range(2):
        assert asyncio.run(box.check(ADD, ["assert add(1, 1) == 2"]))[0].passed


async def test_a_clean_interpreter_that_was_killed_is_started_anew():
    box = et.Sandbox()
    if not any(guard.name == "pid" and guard.active for guard in box.guards()):
        pytest.skip("without a PID namespace each check starts an interpreter")
    await box.check(ADD, [""])
    launch._clean[0].process.kill()
    launch._clean[0].process.wait()
    assert (await box.check(ADD, ["assert add(1, 1) == 2"]))[0].passed
    task = asyncio.create_task(box.check("import time\ntime.sleep(1)", [""]))
    await asyncio.sleep(0.3)
    launch._clean[0].process.kill()
    assert (await asyncio.wait_for(task, 10))[0].passed
    task = asyncio.create_task(box.check("import time\ntime.sleep(60)", [""]))
    for _ in range(2):
        await asyncio.sleep(0.5)
        launch._clean[0].process.kill()
    with pytest.raises(SandboxError, match="was killed"):
        await asyncio.wait_for(task, 10)


@only_linux
@pytest.mark.parametrize(("kills", "status"), [(1, "passed"), (2, "died")])
async def test_a_supervisor_that_the_machine_ended_is_no_verdict_unless_it_ends_again(kills, status):
    before, killed = children(), 0
    task = asyncio.create_task(et.Sandbox(fresh=True).check("import time\ntime.sleep(1)", [""]))
    while not task.done():
        await asyncio.sleep(0.4)
        if killed < kills and (new := children() - before):
            before |= new
            killed += 1
            os.kill(new.pop(), signal.SIGKILL)
    assert killed == kills
    assert task.result()[0].status == status


def test_guards_that_do_not_hold_are_named_before_a_run():
    box = et.Sandbox()
    lost = {guard.name for guard in box.guards() if guard.name in NAMESPACES and not guard.active}
    assert bool(box.caution()) == bool(lost)
    assert all(name in box.caution() for name in lost)
    assert not et.Sandbox(namespaces="off").caution()


FORKS = """
import asyncio, os, time
import evolteacher as et
assert asyncio.run(et.Sandbox().check("x = 1", ["assert x"]))[0].passed
if pid := os.fork():
    print(pid, flush=True)
else:
    os.close(1), os.close(2), time.sleep(60)
"""


def test_a_program_ends_though_a_fork_of_it_lives_on():
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", FORKS], capture_output=True, text=True, check=True)
    os.kill(int(done.stdout), signal.SIGKILL)
    assert time.monotonic() - began < 30


async def test_required_namespaces_are_there_or_it_says_which_is_not():
    box = et.Sandbox(namespaces="required")
    missing = [
        guard for guard in box.guards() if guard.name in ("user", "pid", "net", "ipc", "mount") and not guard.active
    ]
    if missing:
        with pytest.raises(SandboxError, match="namespace here: "):
            await box.check(ADD, [""])
    else:
        assert (await box.check(ADD, [""]))[0].passed


async def test_root_has_become_nobody_and_ipc_is_its_own():
    box = et.Sandbox()
    active = {guard.name for guard in box.guards() if guard.active}
    if "nobody" in active:
        (result,) = await box.check(
            "", ["import os\nassert os.getresuid() == (65534, 65534, 65534) and not os.getgroups()"]
        )
        assert result.passed, result
    if "ipc" in active:  # a segment of the machine's own, by its key, is not found
        import ctypes

        libc, key = ctypes.CDLL(None), 0x45564F4C
        segment = libc.shmget(key, 4096, 0o1666)
        try:
            (result,) = await box.check("import ctypes", [f"assert ctypes.CDLL(None).shmget({key}, 0, 0) == -1"])
            assert segment >= 0 and result.passed, result
        finally:
            libc.shmctl(segment, 0, None)


def test_the_reason_why_a_guard_does_not_hold_is_given():
    guards = et.Sandbox(namespaces="off").guards()
    assert len(guards) == 17
    assert all(bool(guard.why) != guard.active for guard in guards)
    assert {guard.why for guard in guards if guard.name in ("pid", "net")} <= {
        "the option `namespaces` is off",
        "only Linux has it",
    }


def test_the_identity_is_made_of_what_decides_verdicts():
    box = et.Sandbox()
    assert box.identity() == et.Sandbox(wall_seconds=20, namespaces="off", fresh=True).identity()
    others = [et.Sandbox(seconds=6), et.Sandbox(memory_mb=512), et.Sandbox(packages=True), et.Sandbox(wall_seconds=9)]
    assert len({box.identity(), *(other.identity() for other in others)}) == 5


def test_a_limit_that_makes_no_sense_is_refused():
    for wrong in ({"seconds": 0}, {"seconds": float("inf")}, {"memory_mb": 1}, {"namespaces": "maybe"}, {"secnods": 1}):
        with pytest.raises(ValidationError):
            et.Sandbox(**wrong)


async def test_a_result_is_written_as_json_and_read_back():
    results = await et.Sandbox().check("def f(): return 1", ["assert f() == 1", "assert f() == 2, 'zwei\\0é'"])
    for result in results:
        assert et.CheckResult.from_dict(json.loads(json.dumps(result.as_dict()))) == result
    for wrong in ({}, {"status": "fine", "stage": "suite"}, {"status": "passed"}, {**results[0].as_dict(), "more": 1}):
        with pytest.raises(ValueError, match="no result of a check"):
            et.CheckResult.from_dict(wrong)
