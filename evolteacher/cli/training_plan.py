"""What ``evolteacher plan`` says of a training."""

from __future__ import annotations

from rich.text import Text

from evolteacher.catalog import Catalog
from evolteacher.cli.terminal import complain, count, emit, plain
from evolteacher.database import DATABASE
from evolteacher.errors import BackendError
from evolteacher.stages.measuring import read_benchmarks
from evolteacher.training.job import Training


def show_training(training: Training, catalog: Catalog) -> None:
    """Print what a training comes to; of a run that has no dataset yet, only that it will follow."""
    section = training.train
    head = f"{training.name}: {section.model} is tuned ({section.method})"
    if section.data is None and not (training.folder.parent / DATABASE).exists():
        emit(
            Text(),
            Text(plain(f"{head} on the dataset, once there is one; then `evolteacher plan` says on how much."), "bold"),
        )
        return
    from evolteacher.training.plan import plan_training

    try:
        made = plan_training(training, catalog, lambda line: complain("note", line))
    except BackendError as error:
        complain("warning", f"the model's part of the plan is missing, since nothing is fetched for a plan. {error}")
        emit(Text(plain(f"{head} on {training.data}"), "bold"))
        return
    emit(Text(plain(f"{head} on {training.data}, into {training.folder}"), "bold"), Text(plain(f"  {made.line()}")))
    emit(Text("  Memory is a rule of thumb: weights, gradients, AdamW's moments, activations and the loss."))


def show_measuring(training: Training, catalog: Catalog) -> None:
    """Print what is measured at the end; nothing where a recipe measures nothing."""
    section = training.evaluate
    if section is None:
        return
    named = [f"{count(len(problems), 'problem')} of {name}" for name, _, problems in read_benchmarks(section, catalog)]
    are = "is" if len(section.models) == 1 else "are"
    models = f"the {' and the '.join(section.models)} model {are} measured"
    each = f", {count(section.samples, 'sample')} each" if section.samples > 1 else ""
    emit(Text(), Text(plain(f"Then {models} on {' and '.join(named)}{each}."), "bold"))
