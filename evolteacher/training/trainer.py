"""Instruction tuning with TRL's SFTTrainer: one training into one folder, always resumable."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from evolteacher.catalog import Catalog
from evolteacher.lock import locked
from evolteacher.peak import process_peak
from evolteacher.training.card import model_card
from evolteacher.training.curve import loss_curve
from evolteacher.training.estimate import count_weights
from evolteacher.training.folder import CURVE, MERGED, Folder, State
from evolteacher.training.job import Training
from evolteacher.training.loading import broken_down, load_model, quiet
from evolteacher.training.mask import Shown, check_mask
from evolteacher.training.preparation import Prepared, estimate, lora_config, prepare, sft_config
from evolteacher.training.rows import Rows, read_rows
from evolteacher.training.watch import TrainProgress, watcher
from evolteacher.trainsection import FREE_ARGUMENTS
from evolteacher.writing import atomic

ROWS_SHOWN = 2
"""Rows whose label mask is shown before the first step."""


@dataclass(frozen=True)
class TrainResult:
    """What came of a training.

    Attributes:
        folder: the training's folder.
        model: the folder of the finished model.
        finished: whether it is there; false where a signal stopped the training, which then goes on from there.
        ran: whether this process trained, and did not find all done.
        results: figures by name: rows, held_out, tokens, steps, loss, first_loss, eval_loss, weights, trained,
            seconds, peak_bytes.
    """

    folder: Path
    model: Path
    finished: bool
    ran: bool
    results: dict[str, Any] = field(default_factory=dict)


def train(
    recipe: Training | str | Path,
    out: str | Path | None = None,
    *,
    set: Iterable[str] = (),
    catalog: Catalog | None = None,
    progress: TrainProgress | None = None,
    note: Callable[[str], None] = lambda line: None,
    show: Callable[[Shown], None] = lambda row: None,
    stop: Callable[[], bool] = lambda: False,
) -> TrainResult:
    """Train as a recipe says, or go on with a training; a finished one is left as it is.

    Args:
        recipe: a recipe's path, the name of a shipped one, or what :meth:`Training.load` gave.
        out: the folder; the recipe's ``runs/NAME`` (``runs/NAME/train`` of one that evolves) by default.
        set: ``dotted.key=value`` changes to the recipe; only with a path or a name.
        catalog: what is installed; loaded when None.
        progress: counters to keep, for whoever shows them.
        note: told what a user should know, a line at a time.
        show: told of the first rows' label mask.
        stop: asked after each step; when true, a checkpoint is written and the training ends.

    Raises:
        RecipeError: the recipe does not validate.
        UsageError: the data cannot be used, or the folder holds another training.
        MissingExtra: what trains is not installed.
        RunError: the folder is locked or unreadable, or the label mask is wrong.
        BackendError: the model cannot be loaded.
    """
    catalog = catalog or Catalog.load()
    training = recipe if isinstance(recipe, Training) else Training.load(recipe, set=set, catalog=catalog)
    training.check_extra()
    progress = progress or TrainProgress()
    main = int(os.environ.get("RANK", "0")) == 0
    note = note if main else lambda line: None
    folder = Folder(Path(out) if out is not None else training.folder)
    with ExitStack() as stack:
        if main:
            folder.make()
            stack.enter_context(locked(folder.path))
        rows = read_rows(training.data, training.train.source, catalog)
        for line in rows.notes:
            note(line)
        state = folder.check(_experiment(training, rows))
        if state.finished and folder.model.is_dir():
            return TrainResult(folder.path, folder.model, True, False, state.results)
        stack.enter_context(broken_down())
        args = sft_config(training, folder.checkpoints)
        progress.doing = "tokenising"
        prepared = prepare(training, rows, note)
        if main:
            folder.save(state)
        return _Session(training, folder, state, prepared, progress, main).run(args, note, show, stop)


def _experiment(training: Training, rows: Rows) -> dict[str, Any]:
    """Return what a training that goes on must have in common with its folder's."""
    section = training.train.model_dump(mode="json", exclude={"data", "licence"})
    section["sft"] = {name: value for name, value in section["sft"].items() if name not in FREE_ARGUMENTS}
    return {"seed": training.seed, "train": section, "rows": len(rows.rows), "data": rows.digest}


class _Session:
    """One process's part of a training."""

    def __init__(
        self,
        training: Training,
        folder: Folder,
        state: State,
        prepared: Prepared,
        progress: TrainProgress,
        main: bool,
    ) -> None:
        self._training, self._folder, self._state = training, folder, state
        self._prepared, self._progress, self._main = prepared, progress, main

    def run(
        self, args: Any, note: Callable[[str], None], show: Callable[[Shown], None], stop: Callable[[], bool]
    ) -> TrainResult:
        section, folder, started = self._training.train, self._folder, time.monotonic()
        self._progress.doing = "loading the model"
        with quiet():
            trainer = self._trainer(args, stop)
            self._look(trainer, show)
            accelerated = args.device.type != "cpu"
            weights = count_weights(trainer.model)
            rows = len(trainer.train_dataset)
            config = trainer.model.config
            made = estimate(section, self._prepared, config, weights, rows, accelerated=accelerated)
            note(f"{self._training.name}: {made.line()}")
            checkpoint = folder.checkpoint()
            if checkpoint is not None:
                note(f"going on after {checkpoint.name.removeprefix('checkpoint-')} steps, from {checkpoint}")
            if self._main:
                folder.rewind(int(checkpoint.name.rpartition("-")[2]) if checkpoint is not None else -1)
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint is not None else None)
            stopped = trainer.state.global_step < trainer.state.max_steps
            self._state.seconds += time.monotonic() - started
            if not stopped:
                self._progress.doing = "writing the model"
                self._finish(trainer, asdict(made))
        if self._main:
            folder.save(self._state)
        return TrainResult(folder.path, folder.model, not stopped, True, self._state.results)

    def _trainer(self, args: Any, stop: Callable[[], bool]) -> Any:
        from datasets import Dataset
        from transformers import PrinterCallback, set_seed
        from trl import SFTTrainer

        prepared, section = self._prepared, self._training.train
        set_seed(self._training.seed)
        trainer = SFTTrainer(
            model=load_model(section, accelerated=args.device.type != "cpu"),
            args=args,
            train_dataset=Dataset.from_list(prepared.learnt.rows),
            eval_dataset=Dataset.from_list(prepared.held.rows) if prepared.held.rows else None,
            processing_class=prepared.tokenizer,
            peft_config=lora_config(section),
        )
        trainer.remove_callback(PrinterCallback)
        watch = watcher(self._folder, prepared.form, prepared.tokenizer, self._progress, self._main, stop)
        trainer.add_callback(watch)
        return trainer

    def _look(self, trainer: Any, show: Callable[[Shown], None]) -> None:
        """Check the label mask of the first rows as the trainer's own loader batches them."""
        loader = trainer.get_train_dataloader()
        dataset = loader.dataset
        batch = loader.collate_fn([dataset[index] for index in range(min(len(dataset), 8))])
        found = check_mask(batch, self._prepared.tokenizer)
        if self._main:
            for row in found[:ROWS_SHOWN]:
                show(row)

    def _finish(self, trainer: Any, made: dict[str, Any]) -> None:
        """Measure what is held out, write the model with its form and card, and the loss curve."""
        folder, prepared, section = self._folder, self._prepared, self._training.train
        # Asked of the trainer and not of the file, since all processes must measure, or none.
        measured = {line["step"] for line in trainer.state.log_history if "eval_loss" in line}
        if prepared.held.rows and trainer.state.global_step not in measured:
            trainer.evaluate()
        draft = folder.path / ".model.tmp"
        if self._main:
            shutil.rmtree(draft, ignore_errors=True)
        trainer.save_model(str(draft))
        if not self._main:
            return
        metrics = list(folder.metrics())
        # A training of fewer steps than are logged has the mean of all of them and nothing else.
        losses = [line["loss"] for line in metrics if "loss" in line]
        losses = losses or [line["train_loss"] for line in metrics if "train_loss" in line]
        held = [line["eval_loss"] for line in metrics if "eval_loss" in line]
        figures = {
            **{name: made[name] for name in ("rows", "held_out", "tokens", "learnt", "weights", "trained")},
            "lineages": prepared.lineages[0],
            "steps": trainer.state.global_step,
            "first_loss": losses[0] if losses else None,
            "loss": losses[-1] if losses else None,
            "first_eval_loss": held[0] if len(held) > 1 else None,
            "eval_loss": held[-1] if held else None,
            "dropped": prepared.learnt.dropped + prepared.held.dropped,
            "cut": prepared.learnt.cut + prepared.held.cut,
            "seconds": round(self._state.seconds, 3),
            "peak_bytes": peak_bytes(),
            "estimated_bytes": made["memory"],
        }
        prepared.form.write(draft, prepared.tokenizer)
        card = model_card(self._training, prepared.rows, prepared.form, prepared.tokenizer, figures)
        (draft / "README.md").write_text(card, encoding="utf-8")
        with atomic(folder.path / CURVE) as out:
            out.write(loss_curve(metrics, f"{self._training.name}: loss").encode("utf-8"))
        shutil.rmtree(folder.model, ignore_errors=True)
        draft.rename(folder.model)
        if section.merge:
            self._merge(trainer)
        self._state.finished, self._state.results = True, figures

    def _merge(self, trainer: Any) -> None:
        """Write the whole model, the adapter's weights merged into it."""
        target = self._folder.path / MERGED
        trainer.accelerator.unwrap_model(trainer.model).merge_and_unload().save_pretrained(str(target))
        self._prepared.tokenizer.save_pretrained(str(target))
        self._prepared.form.write(target, self._prepared.tokenizer)


def peak_bytes() -> int:
    """Return the most bytes that this process has held: of the GPU where one is used, else of the machine."""
    import torch

    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return int(torch.cuda.max_memory_allocated())
    return process_peak()
