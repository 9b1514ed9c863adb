"""What a training is said to come to, beside what was measured."""

import pytest

from evolteacher.training.estimate import memory_of

LlamaConfig = pytest.importorskip("transformers").LlamaConfig


SMOLLM2 = LlamaConfig(
    hidden_size=576, num_hidden_layers=30, vocab_size=49152, num_attention_heads=9, intermediate_size=1536
)


@pytest.mark.parametrize(
    ("batch", "length", "checkpointing", "measured"),
    [(4, 128, False, 3.74), (4, 256, False, 5.16), (8, 256, False, 8.17), (4, 256, True, 3.85)],
)
def test_the_estimate_of_memory_is_within_a_fifth_of_what_was_measured(batch, length, checkpointing, measured):
    """SmolLM2-135M on a CPU, all weights in fp32: docs/notebook.md."""
    weights = 134_515_008
    shape = {"batch": batch, "length": length, "checkpointing": checkpointing}
    found = memory_of(weights, weights, SMOLLM2, dtype="float32", quantised=False, mixed=False, on_gpu=False, **shape)
    assert 0.9 * measured < found / 1e9 < 1.2 * measured
