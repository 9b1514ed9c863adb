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
NAME = "evolvictim"


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
    after = "import os\nassert os.listdir() == []"
    first, *_ = await box.check(filled(attack.code, world), [attack.suite])
    assert f"{first.status} {first.error}".startswith(attack.stopped if held else attack.open), first
    assert first.passed == (attack.stopped == "passed")
    assert len(first.message) <= 2000 and len(first.output) <= 4096
    assert "swordfish" not in first.reason
    assert processes(NAME) == []
    if held and attack.guard in ("mount", "pid", "net"):
        assert world["canary"].read_text() == "still here"
        assert "still here" not in first.output
        assert world["victim"].poll() is None
        world["server"].setblocking(False)
        with pytest.raises(BlockingIOError):
            world["server"].accept()
    (clean,) = await box.check("", [after])
    assert clean.passed, clean
