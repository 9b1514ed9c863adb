"""Three ways to count one run: what the provider sent, what the store holds, and the rows of the dataset.

The provider is a process of its own. It fails at random and cuts sockets at random byte offsets, and the run is killed
in the middle and started again: nothing is lost, nothing counted twice, and no key is found in anything written.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from experiment import write_seeds
from loopback import Provider, digest

INSTALLED = importlib.util.find_spec("litellm") is not None
LITELLM = pytest.param("litellm", marks=pytest.mark.skipif(not INSTALLED, reason="the extra 'litellm' is needed"))
KEY = "sk-loopback-4b8e11d09c7a"
SEEDS, ROUNDS = 40, 2
CALLS = SEEDS * ROUNDS * 2

RECIPE = """\
evolteacher: 1
name: counted
seeds: seeds.jsonl
rounds: {rounds}
operators: [add-constraints, more-steps]
backends: {{evolve: {backend}}}
concurrency: 8
limits: {{retries: 30, first_wait: 0.01, longest_wait: 0.1}}
export: [evol, jsonl]
"""


def backend(name, url):
    """Return a recipe's backend as YAML, with the key's reference."""
    options = {"api_key": "env:LOOPBACK_KEY", "timeout": 2}
    if name == "litellm":
        return json.dumps({name: {"model": "openai/loopback", "api_base": url, **options}})
    return json.dumps({name: {"model": "loopback", "base_url": url, **options}})


@pytest.fixture(params=["openai-compatible", LITELLM])
def folder(request, tmp_path):
    """Return a folder with seeds, and a function that starts the command line there."""
    write_seeds(tmp_path, SEEDS)

    def start(provider):
        recipe = RECIPE.format(rounds=ROUNDS, backend=backend(request.param, provider.url))
        (tmp_path / "recipe.yaml").write_text(recipe)
        command = [str(Path(sys.executable).with_name("evolteacher")), "run", "recipe.yaml", "--out", "run"]
        environment = {**os.environ, "LOOPBACK_KEY": KEY, "EVOLTEACHER_PLUGINS": ""}
        return subprocess.Popen(
            command, cwd=tmp_path, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    return tmp_path, start


def stored(folder):
    """Return the messages of every stored reply."""
    with closing(sqlite3.connect(folder / "run" / "run.db")) as db:
        return [json.loads(row[0]) for row in db.execute("SELECT prompt FROM replies WHERE outcome = 'reply'")]


def check_counts(folder, provider, most_twice=0):
    """Hold provider, store and dataset against each other."""
    counters = provider.wait_idle()
    endings = sum(sum(counters[name].values()) for name in ("sent", "cut", "lost"))
    assert counters["requests"] == sum(counters["outcomes"].values()) == endings
    rows = {row["digest"]: row for row in provider.requests()}
    prompts = [digest(messages).hex() for messages in stored(folder)]
    assert len(prompts) == len(set(prompts)) == len(rows) == CALLS
    assert set(prompts) == set(rows)
    assert all(row["answered"] >= 1 for row in rows.values())
    answered_twice = sum(row["answered"] - 1 for row in rows.values())
    assert answered_twice <= most_twice
    dataset = json.loads((folder / "run" / "dataset.json").read_text(encoding="utf-8"))
    assert len(dataset) == SEEDS + CALLS // 2
    assert len({row["instruction"] for row in dataset}) == len(dataset)
    with closing(sqlite3.connect(folder / "run" / "run.db")) as db:
        assert db.execute("SELECT count(*) FROM lineages WHERE pending = ''").fetchone()[0] == SEEDS
    return counters


@pytest.mark.parametrize("seed", [1, 2])
def test_provider_store_and_records_agree_under_faults(folder, seed):
    path, start = folder
    faults = {"500": 0.06, "cut": 0.06, "reset": 0.03, "not-json": 0.03, "429": 0.02, "hang": 0.01}
    with Provider(key=KEY, faults=faults, seed=seed, latency=0.01) as provider:
        process = start(provider)
        out, err = process.communicate(timeout=100)
        assert process.returncode == 0, err
        counters = check_counts(path, provider)
        assert len([name for name in faults if counters["outcomes"].get(name)]) >= 4
    assert "Traceback" not in out + err


def test_and_when_it_is_killed_in_the_middle(folder):
    path, start = folder
    with Provider(key=KEY, faults={"500": 0.05, "cut": 0.05}, latency=0.05) as provider:
        process = start(provider)
        deadline = time.monotonic() + 60
        while provider.counters()["sent"].get("ok", 0) < CALLS // 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert 0 < len(stored(path)) < CALLS
        process = start(provider)
        _, err = process.communicate(timeout=100)
        assert process.returncode == 0, err
        check_counts(path, provider, most_twice=8)


def look_at_wal(path, process):
    """Look for the key in what SQLite writes first, as long as the run goes on; return how often it was there."""
    looked = 0
    while process.poll() is None:
        if (wal := path / "run" / "run.db-wal").exists() and (written := wal.read_bytes()):
            assert KEY.encode() not in read_escapes(written)
            looked += 1
        time.sleep(0.02)
    return looked


def shown(path):
    """Return what ``show`` prints of a run: the whole, what was rejected, and one lineage in full."""
    texts = ()
    for words in ((), ("--rejected",), ("1", "--full")):
        command = [str(Path(sys.executable).with_name("evolteacher")), "show", "run", *words]
        done = subprocess.run(command, cwd=path, text=True, capture_output=True, timeout=60)
        assert done.returncode == 0 and len(done.stdout) > 20, done.stderr
        texts += (done.stdout, done.stderr)
    return texts


def read_escapes(data):
    """Read what JSON would read, however often it was written."""
    return re.sub(rb"\\+u00([0-9a-fA-F]{2})", lambda found: bytes.fromhex(found[1].decode()), data)


@pytest.mark.parametrize("echo", ["answer", "error", "escaped"])
def test_a_key_that_the_provider_sends_back_is_in_nothing_written(folder, echo):
    path, start = folder
    script = [
        {"fault": "policy", "containing": "task1 needs"},
        {"fault": "500", "containing": "task2 needs", "first": 2},
    ]
    with Provider(key=KEY, echo_key=echo, script=script, keep=1000, latency=0.05) as provider:
        process = start(provider)
        assert look_at_wal(path, process) > 3
        texts = process.communicate(timeout=100)
        assert process.returncode == 0, texts[1]
        texts += shown(path)
        provider.configure(script=[{"fault": "403"}])
        (path / "run").rename(path / "first")
        process = start(provider)
        texts += process.communicate(timeout=100)
        assert process.returncode == 1
        echoed = [entry for entry in provider.log() if KEY in str(entry["headers"])]
        assert len(echoed) > 10
    assert "[secret]" in "".join(texts) + (path / "first" / "run.db").read_bytes().decode("utf-8", "replace")
    looked_at = 0
    for file in path.rglob("*"):
        if file.is_file():
            looked_at += 1
            assert KEY.encode() not in read_escapes(file.read_bytes()), file.name
    assert looked_at >= 6
    assert not [text for text in texts if KEY.encode() in read_escapes(text.encode())]
