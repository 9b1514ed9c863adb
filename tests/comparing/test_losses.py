"""The loss of each row is the model's own, whatever stands beside it in a batch."""

import importlib.util
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolteacher.comparing.losses import PLACES, _batches, row_losses

pytestmark = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="the extra 'train' is not installed")


@pytest.fixture(scope="module")
def model(place):
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(place / "model").eval()


def some_rows():
    rows = []
    for number, (prompt, answer) in enumerate([(3, 5), (40, 1), (1, 200), (7, 7), (250, 30), (2, 2)]):
        ids = [(number * 31 + place * 7) % 260 for place in range(prompt + answer)]
        rows.append({"input_ids": ids, "labels": [-100] * prompt + ids[prompt:]})
    return rows


def test_it_is_what_transformers_computes_for_the_row_alone(model):
    import torch

    rows = some_rows()
    found = row_losses(model, rows)
    for row, loss in zip(rows, found, strict=True):
        with torch.no_grad():
            own = model(input_ids=torch.tensor([row["input_ids"]]), labels=torch.tensor([row["labels"]])).loss
        assert loss == pytest.approx(float(own), rel=1e-4)
    assert row_losses(model, rows[::-1]) == pytest.approx(found[::-1], rel=1e-5)


def test_only_the_answer_counts(model):
    row = some_rows()[0]
    other = {"input_ids": row["input_ids"], "labels": [-100] * 7 + row["input_ids"][7:]}
    mean, last = row_losses(model, [row, other])
    assert mean != pytest.approx(last) and all(map(math.isfinite, (mean, last)))


@given(st.lists(st.integers(1, 3000), max_size=40))
def test_every_row_is_in_one_batch_and_none_is_larger_than_it_may_be(lengths):
    batches = _batches(lengths)
    assert sorted(n for batch in batches for n in batch) == list(range(len(lengths)))
    for batch in batches:
        longest = max(lengths[n] for n in batch)
        assert lengths[batch[0]] == longest and (len(batch) == 1 or len(batch) * longest <= PLACES)
