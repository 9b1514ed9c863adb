"""What a training comes to, before it starts: steps, weights, and a rule of thumb for memory."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evolteacher.sources import counted

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}

ACTIVATIONS, GATED = 17, 4
"""Numbers that a layer keeps for the gradient, for a token: so many times its width (two norms in three pieces each,
the queries, keys and values before and after their rotation, attention's output, two residuals), and so many times the
width of its gated perceptron. Counted on transformers' Llama, with no fused kernels; docs/notebook.md has it beside
what was measured."""

ATTENTION = 2
"""Copies of the attention matrix that a layer keeps on a CPU; a GPU's kernels keep none."""

STEPPING = 3
"""Copies of the largest weight, the embedding, that AdamW works with on a CPU; a GPU's works in place."""

TILE = 4096, 32768
"""Places and words of the vocabulary whose loss is worked out at once (TRL >= 1.16)."""

PROCESS = 530_000_000
"""Bytes that Python, torch and TRL take by themselves, as measured with a model of next to nothing."""


@dataclass(frozen=True)
class Estimate:
    """What a training comes to.

    Attributes:
        rows: that are learnt.
        held_out: that are not, and measured.
        tokens: of the rows that are learnt, once through.
        learnt: of these, those that the loss counts.
        steps: of the optimiser, in all.
        rows_a_step: on all processes together.
        epochs: how often each row is seen.
        weights: of the model.
        trained: of these, those that are tuned; a LoRA's own count in both.
        memory: bytes at the peak, of one process.
    """

    rows: int
    held_out: int
    tokens: int
    learnt: int
    steps: int
    rows_a_step: int
    epochs: float
    weights: int
    trained: int
    memory: int

    def line(self) -> str:
        """Return all of it in a line."""
        held = f", {self.held_out:,} held out" if self.held_out else ""
        trained = f"{self.trained:,} trained ({self.trained / self.weights:.2%})"
        trained = "all trained" if self.trained == self.weights else trained
        return (
            f"{counted(self.rows, 'row')}{held}; {self.tokens:,} tokens, {self.learnt:,} of them responses; "
            f"{counted(self.steps, 'step')} of {counted(self.rows_a_step, 'row')}, {self.epochs:g} epochs; "
            f"{self.weights:,} weights, {trained}; about {self.memory / 1e9:.1f} GB of memory"
        )


def steps_of(rows: int, sft: Mapping[str, Any], processes: int) -> tuple[int, int, float]:
    """Return (steps, rows a step, epochs) as transformers' Trainer counts them.

    Args:
        rows: or packed sequences.
        sft: arguments of SFTConfig; what is missing is its default.
        processes: that train together.
    """
    batch = int(sft.get("per_device_train_batch_size", 8))
    accumulated = int(sft.get("gradient_accumulation_steps", 1))
    share = math.ceil(rows / processes)
    batches = share // batch if sft.get("dataloader_drop_last") else math.ceil(share / batch)
    a_round = max(batches // accumulated + (batches % accumulated > 0), 1)
    most = int(sft.get("max_steps", -1))
    if most > 0:
        return most, batch * accumulated * processes, most / a_round
    epochs = float(sft.get("num_train_epochs", 3))
    return math.ceil(epochs * a_round), batch * accumulated * processes, epochs


def memory_of(
    weights: int,
    trained: int,
    config: Any,
    *,
    dtype: str,
    quantised: bool,
    batch: int,
    length: int,
    checkpointing: bool,
    mixed: bool,
    on_gpu: bool,
) -> int:
    """Estimate the peak in bytes: weights, gradients and AdamW's two moments, activations, and the loss.

    Args:
        weights: of the model.
        trained: of these, those that are tuned.
        config: the model's, for its widths, layers, heads and vocabulary.
        dtype: number format of the weights.
        quantised: whether those that are not tuned are in 4 bits.
        batch: rows that are computed at once.
        length: tokens of the longest row.
        checkpointing: whether activations are computed anew for the gradient.
        mixed: whether activations are in 16 bits.
        on_gpu: whether it is the GPU's memory; else the process itself counts, too.
    """
    text = config.get_text_config()
    names = ("hidden_size", "num_hidden_layers", "vocab_size", "num_attention_heads", "intermediate_size")
    width, layers, vocabulary, heads, inner = (int(getattr(text, name, 0) or 0) for name in names)
    size = BYTES.get(dtype, 4)
    frozen = weights - trained
    held = frozen * (0.5 if quantised else size) + trained * (size + size + 2 * size)
    places = batch * length
    a_number = 2 if mixed else 4
    numbers = ACTIVATIONS * width + GATED * (inner or 4 * width) + (0 if on_gpu else ATTENTION * heads * length)
    one_layer = places * numbers * a_number
    kept = layers * places * width * a_number + one_layer if checkpointing else layers * one_layer
    loss = min(places, TILE[0]) * min(vocabulary, TILE[1]) * 4 * 3  # a piece, its softmax and its gradient
    itself = 0 if on_gpu else PROCESS + STEPPING * min(vocabulary * width, trained) * 4
    return int(held + kept + loss + itself)


def count_weights(model: Any) -> tuple[int, int]:
    """Return a model's weights and those that are tuned; one in 4 bits counts as one."""
    weights = trained = 0
    for parameter in model.parameters():
        number = parameter.numel()
        state = getattr(parameter, "quant_state", None)
        if state is not None:
            number = math.prod(state.shape)
        weights += number
        trained += number if parameter.requires_grad else 0
    return weights, trained
