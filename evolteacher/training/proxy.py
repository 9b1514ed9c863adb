"""A small model, tuned for a few steps on the rows so far: its loss on held-out lineages says what they teach."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from typing import Any

from evolteacher.errors import BackendError, RunError, UsageError
from evolteacher.promptform import PromptForm
from evolteacher.record import Record
from evolteacher.roundsection import ProxyLoss
from evolteacher.training.loading import broken_down, explained, load_model, load_tokenizer, quiet
from evolteacher.training.rows import Row, split
from evolteacher.training.tokens import NOT_COUNTED, tokenise
from evolteacher.trainsection import Train

FIRST = 1
"""The last round whose rows are measured on: what is held out is the same after every round."""


def tune_proxy(section: ProxyLoss, records: Sequence[Record], seed: int) -> float:
    """Tune the small model from its own weights, and return its mean loss a token of the responses held out.

    The lineages held out, the order of rows and the weights depend on the rows and the seed alone; on one machine the
    same rows give the same loss.

    Args:
        section: which model, and how.
        records: the rows so far.
        seed: of the recipe.

    Raises:
        MissingExtra: what trains is not installed.
        BackendError: the model cannot be loaded, or memory runs out.
        UsageError: too few rows to hold any out, or none that fits.
        RunError: the training breaks down, or its loss is not finite.
    """
    rows = [Row(r.instruction.text, r.response, r.lineage, r.round) for r in records]
    try:
        _, held = split([row for row in rows if row.round <= FIRST], section.validation, seed)
    except UsageError:
        raise UsageError(
            "rounds.stop.proxy-loss: rows of two lineages are needed, since one is held out; take more seeds, or "
            "another signal"
        ) from None
    outside = {row.lineage for row in held}
    learnt = [row for row in rows if row.lineage not in outside]
    train = Train(model=section.model)
    try:
        with explained(train), broken_down(), quiet():
            return _Proxy(section, train, seed).loss_of(learnt, held)
    except BackendError as error:
        raise type(error)(str(error).replace("train.model", "rounds.stop.proxy-loss.model")) from error


class _Proxy:
    """The model, loaded."""

    def __init__(self, section: ProxyLoss, train: Train, seed: int) -> None:
        import torch

        torch.manual_seed(seed)
        self._section, self._seed = section, seed
        self._tokenizer = load_tokenizer(train)
        self._form = PromptForm.choose("auto", self._tokenizer, {})
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._model = load_model(train, accelerated=self._device == "cuda").to(self._device)

    def loss_of(self, learnt: list[Row], held: list[Row]) -> float:
        """Tune on some rows and measure on others."""
        import torch

        tokens, measured = self._tokens(learnt, "to learn"), self._tokens(held, "held out")
        optimizer = torch.optim.AdamW(self._model.parameters(), lr=self._section.learning_rate)
        self._model.train()
        batches = self._batches(tokens)
        for _ in range(self._section.steps):
            loss, number = self._loss(next(batches))
            (loss / number).backward()
            optimizer.step()
            optimizer.zero_grad()
        self._model.eval()
        total, count = 0.0, 0
        with torch.no_grad():
            for start in range(0, len(measured), self._section.batch):
                loss, number = self._loss(measured[start : start + self._section.batch])
                total, count = total + float(loss), count + number
        if not math.isfinite(total):
            raise RunError(
                "rounds.stop.proxy-loss: the loss on held-out rows is not finite, so the tuning ran away: lower "
                "learning_rate"
            )
        return total / count

    def _tokens(self, rows: list[Row], what: str) -> list[dict[str, list[int]]]:
        made = tokenise(rows, self._form, self._tokenizer, self._section.max_length, "truncate")
        found = [row for row in made.rows if any(label != NOT_COUNTED for label in row["labels"][1:])]
        if not found:
            raise UsageError(
                f"rounds.stop.proxy-loss: not one of {len(rows):,} rows {what} fits into {self._section.max_length:,} "
                f"tokens (the longest has {made.longest:,}): raise max_length"
            )
        return found

    def _batches(self, rows: list[dict[str, list[int]]]) -> Iterator[list[dict[str, list[int]]]]:
        """Yield batches for ever, each time through the rows in another order."""
        order, batch = random.Random(self._seed), list[dict[str, list[int]]]()
        while True:
            for row in order.sample(rows, len(rows)):
                batch.append(row)
                if len(batch) == self._section.batch:
                    yield batch
                    batch = []

    def _loss(self, batch: list[dict[str, list[int]]]) -> tuple[Any, int]:
        """Return the sum of the losses of a batch's counted tokens, and their number."""
        import torch

        longest = max(len(row["input_ids"]) for row in batch)

        def padded(key: str, filler: int) -> Any:
            return torch.tensor([row[key] + [filler] * (longest - len(row[key])) for row in batch], device=self._device)

        labels = padded("labels", NOT_COUNTED)[:, 1:]
        mask = torch.tensor(
            [[1] * len(row["input_ids"]) + [0] * (longest - len(row["input_ids"])) for row in batch],
            device=self._device,
        )
        logits = self._model(input_ids=padded("input_ids", 0), attention_mask=mask).logits[:, :-1].float()
        loss = torch.nn.functional.cross_entropy(
            logits.reshape(-1, logits.shape[-1]), labels.reshape(-1), ignore_index=NOT_COUNTED, reduction="sum"
        )
        return loss, int((labels != NOT_COUNTED).sum())
