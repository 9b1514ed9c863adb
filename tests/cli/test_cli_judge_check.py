"""judge-check: a judge's verdicts sampled, drawn and labelled."""

from pathlib import Path

import pytest
from commands import RECIPE, write_seeds

from evolteacher.cli.judge_check import read_labels, sample_verdicts, wilson, write_label
from evolteacher.errors import UsageError
from evolteacher.store import Store

RULES = """\
backends:
  evolve:
    scripted:
      rules:
        - {step: filter, share: 0.5, reply: "Score: 2"}
        - {step: filter, reply: "Score: 8"}
"""
JUDGED = RECIPE.replace("few-words]", "{difficulty: {least: 5}}]").replace("backends: {evolve: scripted}\n", RULES)


@pytest.fixture
def judged(cli, folder):
    (folder / "recipe.yaml").write_text(JUDGED)
    write_seeds(folder / "seeds.jsonl", [f"Write function number {n}, please." for n in range(12)])
    assert cli("run", "recipe.yaml").code == 0


def test_a_sample_is_balanced_repeatable_and_shows_the_judges_words(cli, judged):
    before = Path("runs/small/run.db").read_bytes()
    result = cli("judge-check", "runs/small", "--sample", "4")
    assert result.code == 0
    assert "difficulty: 4 verdicts, 2 kept and 2 rejected" in result.out
    assert result.out.count("the judge's own words:\nScore: ") == 4
    assert result.out.count("reason:\nits score is 2, lower than 5") == 2
    assert cli("judge-check", "runs/small", "--sample", "4").out == result.out
    assert Path("runs/small/run.db").read_bytes() == before


def test_what_there_is_not_is_said(cli, judged):
    cli("judge-check", "runs/small", "--judge", "dificulty").refused(2, "no judge of this run", "difficulty")
    cli("judge-check", "runs/small", "--label").refused(2, "--label asks on a terminal")
    cli("judge-check", "runs/none").refused(2, "there is no run here")


def test_labels_are_kept_and_a_broken_line_is_named(judged, tmp_path):
    with Store(Path("runs/small/run.db"), read_only=True) as store:
        found = sample_verdicts(store, "difficulty", 3, 0)
    path = tmp_path / "labels.jsonl"
    for one in found:
        write_label(path, one, one.kept)
    assert read_labels(path) == {one.key: one.kept for one in found}
    path.write_text("{}\n")
    with pytest.raises(UsageError, match=r"labels\.jsonl:1"):
        read_labels(path)


def test_wilsons_interval():
    low, high = wilson(8, 10)
    assert (round(low, 3), round(high, 3)) == (0.490, 0.943)
    assert wilson(0, 5)[0] == 0.0
    assert wilson(5, 5)[1] == 1.0
