"""Packages, built with hatchling and installed for real: all that are wanted together, and without any download.

What pip makes of a package is in test_new.py and in the guide's story; it needs half a second of processor time for
each, of which these need a tenth.
"""

import subprocess
import sys

BUILD = """
import os, sys
from hatchling.build import build_wheel

wheels, *folders = sys.argv[1:]
for folder in folders:
    os.chdir(folder)
    build_wheel(wheels)
"""


def install(site, *folders):
    """Build the packages that lie in some folders, and install them into another."""
    wheels = site.with_name(f"{site.name}-wheels")
    wheels.mkdir()
    _run("-c", BUILD, wheels, *folders)
    made = sorted(wheels.glob("*.whl"))
    assert len(made) == len(folders)
    words = ["--no-cache", "--no-index", "--no-deps", "--quiet", "--python", sys.executable, "--target", site]
    _run("-m", "uv", "pip", "install", *words, *made)


def _run(*words):
    done = subprocess.run([sys.executable, *map(str, words)], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
