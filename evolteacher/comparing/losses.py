"""The loss of each row: what a model finds of a response that it has not seen."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evolteacher.peak import forget_peak
from evolteacher.training.loading import broken_down, explained, load_model, quiet
from evolteacher.training.preparation import has_accelerator
from evolteacher.training.tokens import NOT_COUNTED
from evolteacher.trainsection import Train

PLACES = 1024
"""Most tokens, padding included, that are computed at once; a longer row is computed alone."""


def measure(train: Train, tuned: Path | None, rows: Sequence[dict[str, list[int]]]) -> list[float]:
    """Return each row's mean loss over the tokens that its labels count, in nats, in the order given.

    Args:
        train: which model, and how it is loaded.
        tuned: the folder of the tuned model or adapter; None for the model as it was.
        rows: ``input_ids`` and ``labels``, as the trainer makes them.

    Raises:
        BackendError: the model cannot be loaded.
    """
    import torch

    free_memory()  # what the training before it has left
    accelerated = has_accelerator(train)
    with quiet(), broken_down():
        model = _load(train, tuned, accelerated)
        model.eval()
        if accelerated and train.method != "qlora":
            model.to("cuda" if torch.cuda.is_available() else "mps")
        try:
            return row_losses(model, rows)
        finally:
            del model
            free_memory()


def _load(train: Train, tuned: Path | None, accelerated: bool) -> Any:
    if tuned is None:
        return load_model(train, accelerated=accelerated)
    if train.method == "full":
        own = {"model": str(tuned.resolve()), "revision": None}
        return load_model(train.model_copy(update=own), accelerated=accelerated)
    with explained(train):
        from peft import PeftModel
    return PeftModel.from_pretrained(load_model(train, accelerated=accelerated), str(tuned))


def row_losses(model: Any, rows: Sequence[dict[str, list[int]]]) -> list[float]:
    """Return each row's mean loss; padding stands behind, where no token before it can see it.

    Args:
        model: a causal model of transformers' kind.
        rows: each with at least one label that counts.
    """
    import torch
    from torch.nn.functional import cross_entropy

    found = [0.0] * len(rows)
    with torch.inference_mode():
        for batch in _batches([len(row["input_ids"]) for row in rows]):
            lengths = torch.tensor([len(rows[n]["input_ids"]) for n in batch], device=model.device)
            labels = _padded([rows[n]["labels"] for n in batch], NOT_COUNTED).to(model.device)
            ids = _padded([rows[n]["input_ids"] for n in batch], 0).to(model.device)
            mask = torch.arange(ids.shape[1], device=model.device) < lengths.unsqueeze(1)
            logits = model(input_ids=ids, attention_mask=mask.long(), use_cache=False).logits
            for place, n in enumerate(batch):
                expected = labels[place, 1:]
                counted = expected != NOT_COUNTED
                loss = cross_entropy(logits[place, :-1][counted].float(), expected[counted])
                found[n] = float(loss)
    return found


def _padded(lines: Sequence[list[int]], filler: int) -> Any:
    import torch

    longest = max(map(len, lines))
    return torch.tensor([line + [filler] * (longest - len(line)) for line in lines])


def _batches(lengths: Sequence[int]) -> list[list[int]]:
    """Return rows of like length together, the longest first in each batch."""
    batches: list[list[int]] = []
    for n in sorted(range(len(lengths)), key=lambda n: (-lengths[n], n)):
        if batches and (len(batches[-1]) + 1) * lengths[batches[-1][0]] <= PLACES:
            batches[-1].append(n)
        else:
            batches.append([n])
    return batches


def free_memory() -> None:
    """Give back what a model took, so that the next one's peak is its own."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def reset_peak() -> None:
    """Begin to count the peak of memory anew: of the GPU, and where Linux allows it, of the process.

    Elsewhere (macOS) the peak of a process only ever grows, and a later training's is at least an earlier one's.
    """
    import torch

    free_memory()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    forget_peak()
