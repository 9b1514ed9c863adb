"""One writer a folder: refused while it is held, free when its holder is gone, however it went."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from evolteacher.errors import RunError
from evolteacher.lock import locked

HOLD = """
import sys, time
from pathlib import Path
from evolteacher.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_held_folder_is_refused_and_then_free(tmp_path):
    with locked(tmp_path):
        with (
            pytest.raises(RunError, match=f"another run is writing here \\(process {os.getpid()}\\)"),
            locked(tmp_path),
        ):
            pass
        with pytest.raises(RunError), locked(tmp_path):
            pass
    with locked(tmp_path):
        pass


def test_an_error_inside_lets_go(tmp_path):
    with pytest.raises(KeyError), locked(tmp_path):
        raise KeyError
    with locked(tmp_path):
        pass


def test_a_killed_holder_leaves_no_lock_behind(tmp_path):
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            with (
                pytest.raises(RunError, match=f"process {holder.pid}\\); wait for it, stop it, or choose"),
                locked(tmp_path),
            ):
                pass
        finally:
            holder.send_signal(signal.SIGKILL)
    with locked(tmp_path):
        assert (tmp_path / "run.lock").read_text() == f"{os.getpid()}\n"


def test_folders_do_not_share_a_lock(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
    with locked(tmp_path / "a"), locked(tmp_path / "b"):
        pass


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "run.lock").mkdir()
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(RunError, match=r"cannot be written: .*choose another folder with --out"), locked(folder):
            pass
