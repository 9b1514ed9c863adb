"""A hub that is not reached: said in one line, with the ways out, and not in two for each try."""

import pytest

from evolteacher.cli import main

client = pytest.importorskip("huggingface_hub.utils")
httpx = pytest.importorskip("httpx")

COMMANDS = {
    "run": ["nowhere.yaml"],
    "train": ["nowhere.yaml"],
    "evaluate": ["--benchmark", "nothing", "--model", "scripted"],
    "compare": ["a.jsonl", "b.jsonl", "--train", "nowhere.yaml"],
}


def tries_in_vain():
    """Ask where nobody answers, as the hub's client does: it tries again, and says so each time."""
    with pytest.raises(httpx.ConnectError):
        client.http_backoff("HEAD", "http://127.0.0.1:9/x", max_retries=3, base_wait_time=0.001, max_wait_time=0.001)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("quiet", [False, True])
def test_tries_of_the_hubs_client_are_one_line(command, quiet, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    assert main([command, *COMMANDS[command], *(["--quiet"] if quiet else [])]) == 2
    capfd.readouterr()
    tries_in_vain()
    tries_in_vain()
    said = capfd.readouterr().err.splitlines()
    assert len(said) == (0 if quiet else 1), said
    assert all("the hub is not reached" in line and "HF_HUB_OFFLINE=1" in line for line in said)
    assert all("--set train.model=FOLDER" in line for line in said)
