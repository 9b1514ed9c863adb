"""Each thing that the sandbox claims to stop is tried, with namespaces and without; what it cannot stop is, too."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from attacks import ATTACKS

import evolteacher as et

MODES = {
    "with": et.Sandbox(seconds=1, wall_seconds=3, memory_mb=256, processes=8),
    "without": et.Sandbox(seconds=1, wall_seconds=3, memory_mb=256, processes=8, namespaces="off"),
}
NAME = f"evil{os.getpid()}"[:15]
AFTER = "import os\nassert os.listdir() == []"


def processes(name):
    """Return the processes of this machine that call themselves so, zombies included."""
    if sys.platform != "linux":
        return []
    found = []
    for path in Path("/proc").glob("[0-9]*/comm"):
        try:
            found += [path.parent.name] if path.read_text().strip() == name else []
        except OSError:
            continue
    return found


@pytest.fixture
def world(tmp_path, monkeypatch):
    """What an attack may find: a file, a secret in the environment, a process, a port, an open descriptor."""
    canary = tmp_path / "canary"
    canary.write_text("still here")
    tmp_path.chmod(0o755)
    monkeypatch.setenv("EVOLTEACHER_CANARY", "swordfish")
    victim = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], env={"SECRET": "swordfish"})
    descriptor = os.open(canary, os.O_RDONLY)
    os.set_inheritable(descriptor, True)
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield {
            "canary": canary,
            "secret": "swordfish",
            "victim": victim,
            "port": server.getsockname()[1],
            "server": server,
            "name": NAME,
        }
    os.close(descriptor)
    victim.kill()
    victim.wait()


def filled(text, world):
    for word in ("canary", "secret", "port", "name"):
        text = text.replace(f"{{{word}}}", str(world[word]))
    return text.replace("{victim}", str(world["victim"].pid))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
async def test_an_attack_comes_to_what_the_table_says(attack, mode, world):
    box = MODES[mode]
    active = {guard.name for guard in box.guards() if guard.active}
    held = attack.guard in active or attack.open is None
    if not held and attack.harmful:
        return
    (first, _), (_, after) = await box.matrix([filled(attack.code, world), ""], [attack.suite, AFTER])
    assert f"{first.status} {first.error}".startswith(attack.stopped if held else attack.open), first
    assert first.passed == (attack.stopped == "passed")
    assert len(first.message) <= 2000 and len(first.output) <= 4096
    assert "swordfish" not in first.message + first.output
    assert processes(NAME) == []
    if held:
        assert after.passed, after
    if held and attack.guard in ("mount", "pid", "net"):
        assert world["canary"].read_text() == "still here"
        assert "still here" not in first.output
        assert world["victim"].poll() is None
        world["server"].setblocking(False)
        with pytest.raises(BlockingIOError):
            world["server"].accept()


def test_the_page_holds_exactly_these_attacks_and_every_guard_is_attacked():
    page = (Path(__file__).parents[1] / "docs" / "sandbox.md").read_text("utf-8")
    assert len(ATTACKS) == 46
    table = page.partition("| guard | attack | with namespaces | without |\n|---|---|---|---|\n")[2].partition("\n\n")[
        0
    ]
    assert table.splitlines() == [attack.row for attack in ATTACKS]
    guards = {guard.name for guard in et.Sandbox().guards()}
    assert guards - {attack.guard for attack in ATTACKS} == {"nobody", "ipc"}  # test_sandbox.py looks at these two
    assert [name for name in guards if f"`{name}`" not in page.partition("## How a verdict")[0]] == []
