"""What a training tells as it goes on: metrics to a file, the prompt form into each checkpoint, progress to a caller.

The class is made inside a function, since its base is transformers', which takes seconds to import.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evolteacher.promptform import PromptForm
from evolteacher.training.folder import Folder


@dataclass
class TrainProgress:
    """Counters of a training, for whoever shows them.

    Attributes:
        doing: what goes on now, in a word or two.
        step: of the optimiser, done.
        steps: in all; 0 while unknown.
        first_step: at which this process began.
        loss: of the last training step that was logged.
        held_out: the last loss of the rows held out.
        told: called with each step's metrics as they are written; of several processes, in the one that writes.
    """

    doing: str = "reading rows"
    step: int = 0
    steps: int = 0
    first_step: int = 0
    loss: float | None = None
    held_out: float | None = None
    told: Callable[[dict[str, Any]], None] = lambda row: None


def watcher(
    folder: Folder, form: PromptForm, tokenizer: Any, progress: TrainProgress, main: bool, stop: Callable[[], bool]
) -> Any:
    """Return a callback for transformers' Trainer.

    Args:
        folder: where metrics go.
        form: written into each checkpoint.
        tokenizer: the model's.
        progress: the counters to keep.
        main: whether this is the process that writes.
        stop: asked after each step; when true, a checkpoint is written and the training ends.
    """
    from transformers import TrainerCallback

    class Watch(TrainerCallback):  # type: ignore[misc]  # transformers is Any
        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            progress.doing, progress.steps = "training", state.max_steps
            progress.step = progress.first_step = state.global_step

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            progress.step = state.global_step
            if _any_process(stop(), args.device) and state.global_step < state.max_steps:
                control.should_save = control.should_training_stop = True

        def on_prediction_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            progress.doing = "measuring"

        def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            progress.doing = "training"

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            # TRL counts tokens anew in each process, so that they would tell something else after a resume.
            plain = {name: _number(value) for name, value in (logs or {}).items() if not name.endswith("num_tokens")}
            progress.loss = plain.get("loss", progress.loss)
            progress.held_out = plain.get("eval_loss", progress.held_out)
            if main:
                row = {"step": state.global_step, **plain}
                folder.measure(row)
                progress.told(row)

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            saved = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            if main and saved.is_dir():
                form.write(saved, tokenizer)

    return Watch()


def _any_process(asked: bool, device: Any) -> bool:
    """Whether any of the processes that train together was asked to stop: all must do so after the same step."""
    import torch
    from torch import distributed

    if not (distributed.is_available() and distributed.is_initialized()):
        return asked
    flag = torch.tensor([int(asked)], device=device)
    distributed.all_reduce(flag, op=distributed.ReduceOp.MAX)
    return bool(flag.item())


def _number(value: Any) -> Any:
    """Return a value as JSON can hold it: what is not finite becomes a text."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, int | float | str | bool) or value is None else float(value)
