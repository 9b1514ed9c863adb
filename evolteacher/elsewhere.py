"""Has a component work in another process, whose sets and dictionaries of hashes have another order.

It stands outside ``evolteacher.testing``, since that process needs no pytest, and would take twice as long with it.
"""

from __future__ import annotations

import importlib
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from evolteacher.component import Component
from evolteacher.specimens import Script, attempt

_PROGRAM = "from evolteacher.elsewhere import main; main()"

_LONGEST_WAIT = 120
"""Seconds until another process is given up."""


class NotImportable(Exception):
    """Another process cannot make this component."""


def carry_out_elsewhere(
    component: Component, specimens: Sequence[Any], answers: Sequence[Mapping[str, str]]
) -> list[str]:
    """Return what came of each specimen in another process, as text.

    Args:
        component: of a class that can be imported by name.
        specimens: what it is given.
        answers: for each specimen, label of an ask -> what the model says.

    Raises:
        NotImportable: the class lies inside a function, or in a module that another process does not find.
    """
    cls = type(component)
    if "<locals>" in cls.__qualname__:
        raise NotImportable(f"{cls.__qualname__} is made inside a function, where no other process finds it")
    job = (cls.__module__, cls.__qualname__, json.dumps(component.options()), list(specimens), list(map(dict, answers)))
    seed = "1" if os.environ.get("PYTHONHASHSEED") == "0" else "0"
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        input=pickle.dumps(job),
        env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        timeout=_LONGEST_WAIT,
        check=False,
    )
    if done.returncode != 0:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"]
        raise NotImportable(f"another process cannot import {cls.__module__}: {lines[-1]}")
    return [str(text) for text in json.loads(done.stdout.splitlines()[-1])]


def main() -> None:
    """Carry out the job on stdin, and write what came of it, as one line of JSON, to stdout."""
    module, qualname, options, specimens, answers = pickle.load(sys.stdin.buffer)
    found: Any = importlib.import_module(module)
    for name in qualname.split("."):
        found = getattr(found, name)
    component = found.model_validate_json(options, strict=True)
    came = []
    for specimen, said in zip(specimens, answers, strict=True):
        trial = attempt(component, specimen, Script(lambda asked, said=said: said.get(asked.label, "")))  # type: ignore[misc]
        came.append(str(trial))
    print(json.dumps(came))
