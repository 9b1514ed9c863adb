"""Three packages of different kinds pass the conformance suites where they are installed, and run in one recipe."""

import json
import re
import shutil
from pathlib import Path

import pytest

HERE = Path(__file__).parent

RECIPE = """
evolteacher: 1
name: together
seeds: seeds.jsonl
rounds: 1
operators: [{debate: {critics: [its inputs, its loops, its names]}}]
filters: [empty, {monotonous: {on: [instruction, response]}}]
backends:
  evolve:
    scripted:
      rules:
        - {contains: what in its, reply: It is short.}
        - {contains: Yes or no, reply: 'Yes.'}
        - {step: evolve, contains: reverses, reply: "no no no no no no no no no no no no no no no no no no"}
        - {step: evolve, reply: Write a program that adds a million numbers and tells how long that took.}
        - {step: respond, reply: "def add(numbers): return sum(numbers), time.perf_counter() - BEGAN"}
"""


@pytest.mark.parametrize(("package", "passed"), [("evolteacher-debate", 88), ("evolteacher-entropy", 23)])
def test_it_passes_its_own_tests_where_it_is_installed(python, tmp_path, package, passed):
    shutil.copytree(HERE / package / "tests", tmp_path / "tests")
    assert (HERE / package / "README.md").read_text(encoding="utf-8").startswith(f"# {package}\n")
    done = python("-m", "pytest", "-q", "-rs", "-p", "no:asyncio", "-p", "no:cacheprovider", "tests")
    assert re.search(rf"^{passed} passed in ", done.stdout, re.MULTILINE), done.stdout


def test_they_run_in_one_recipe(evolteacher, tmp_path):
    (tmp_path / "together.yaml").write_text(RECIPE)
    tasks = ("Add two numbers.", "Write a function that reverses a list.")
    (tmp_path / "seeds.jsonl").write_text("".join(json.dumps({"instruction": task}) + "\n" for task in tasks))
    evolteacher("run", "together.yaml", "--out", "out", plugins="debate,entropy")
    rows = [json.loads(line) for line in (tmp_path / "out/dataset.jsonl").read_text().splitlines()]
    assert [(row["operator"], row["instruction"][:24]) for row in rows] == [("debate", "Write a program that add")]
    shown = evolteacher("show", "out", "1", plugins="debate,entropy").stdout
    assert "monotonous" in shown and "bits; 2.5 are the least" in shown
    card = (tmp_path / "out/README.md").read_text()
    assert "evolteacher-debate 0.4" in card and "evolteacher-entropy 2.1" in card


@pytest.mark.parametrize("package", ["evolteacher-debate", "evolteacher-entropy"])
def test_plugins_check_finds_nothing_wrong_with_it(evolteacher, package):
    assert "nothing is wrong." in evolteacher("plugins", "check", package).stdout
