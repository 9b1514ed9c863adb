"""``evolteacher train``: tune a model as a recipe says."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import nullcontext
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from evolteacher.cli import INTERRUPTED, values
from evolteacher.cli.hubwords import say_once
from evolteacher.cli.options import Changes, RecipeName
from evolteacher.cli.stages import follow, planned
from evolteacher.cli.telling import ALOUD, LogJson, Quiet, Telling, Verbose, Voice
from evolteacher.cli.terminal import command_line, count, duration, load_catalog, note, plain
from evolteacher.errors import UsageError
from evolteacher.stages.clock import Spent, timed
from evolteacher.training.job import STAGE, Training
from evolteacher.training.trainer import TrainResult


def train(
    recipe: RecipeName,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="The folder; runs/<name> by default, runs/<name>/train after a run."),
    ] = None,
    changes: Changes = None,
    launch: Annotated[
        str | None,
        typer.Option(
            "--launch",
            metavar="NAME",
            help="Start several processes with `accelerate launch`: ddp, fsdp, zero2, zero3, or a configuration file.",
            show_default=False,
            autocompletion=values.one_of(("ddp", "fsdp", "zero2", "zero3")),
        ),
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option("--processes", min=1, metavar="N", help="With --launch: how many; one a GPU by default."),
    ] = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
    log_json: LogJson = None,
) -> None:
    """Tune a model as a recipe's `train:` says, or go on with a training.

    The same command goes on from the last checkpoint. Ctrl-C stops after the step with a checkpoint.
    """
    telling = Telling.of(quiet, verbose, log_json)
    say_once(quiet=telling.quiet)
    words = ["train", recipe, *(["--out", str(out)] if out is not None else [])]
    for change in changes or []:
        words += ["--set", change]
    words += telling.words()
    catalog = load_catalog()
    training = Training.load(recipe, set=changes or [], catalog=catalog)
    training.check_extra()
    if processes is not None and launch is None:
        raise UsageError("--processes goes with --launch, which starts them: --launch ddp, for one")
    if launch is not None:
        from evolteacher.training.launching import launch_command

        command = launch_command(launch, processes, words)
        os.execv(command[0], command)
    if out is not None:
        training = training.model_copy(update={"folder": out})
    ahead = planned(training, training.folder, catalog)
    trained = carry_out(training, training.folder, catalog, command_line(*words), telling)
    if trained is None:
        return
    telling.result(trained.model)
    if training.evaluate is not None:
        follow(training, ahead, trained, training.folder, command_line(*words), telling)


def carry_out(
    training: Training, home: Path, catalog: Any, resume: str, telling: Telling = ALOUD
) -> TrainResult | None:
    """Train with a display, and say what came of it.

    Returns:
        What came of it; None in the further processes of several, which have nothing to say.

    Args:
        training: what, and where to.
        home: the folder of all stages: the run's, or the training's own.
        catalog: what is installed.
        resume: the command that goes on where it stopped.
        telling: how much of it is told.
    """
    from evolteacher.cli.trainshow import TrainDisplay, show_row, tell_step
    from evolteacher.training.trainer import train
    from evolteacher.training.watch import TrainProgress

    main, folder = int(os.environ.get("RANK", "0")) == 0, training.folder
    telling = telling if main else Telling(quiet=True)
    progress = TrainProgress()
    display = TrainDisplay(progress, on=not telling.quiet)
    clock = timed(home, STAGE) if main else nullcontext(Spent())
    with telling.begun(display.note) as voice, Stopping(resume, quiet=telling.quiet) as stopping:
        voice.event("training_started", **_about(training))
        _announce(training, voice)
        progress.told = tell_step(voice)
        with clock as spent, display:
            result = train(
                training,
                folder,
                catalog=catalog,
                progress=progress,
                note=voice.note,
                show=lambda row: show_row(row, display),
                stop=stopping.asked,
            )
            spent.counts = result.ran
        if not main:
            return None
        if not result.finished:
            note(f"stopped after {progress.step:,} of {count(progress.steps, 'step')}; go on with:\n  {resume}")
            raise typer.Exit(INTERRUPTED)
        figures = {name: result.results.get(name) for name in ("steps", "loss", "eval_loss")}
        voice.event("training_finished", folder=folder, model=result.model, **figures)
    if not telling.quiet:
        _say(result.results, result.model, ran=result.ran)
    return result


def _about(training: Training) -> dict[str, Any]:
    return {"name": training.name, "model": training.train.model, "data": training.data, "folder": training.folder}


def _announce(training: Training, voice: Voice) -> None:
    section = training.train
    voice.note(f"{training.name}: {section.model}, {section.method}, on {training.data}, into {training.folder}")
    if section.trust_remote_code is not None:
        voice.note(f"the model's own code is run, because: {section.trust_remote_code}")


def _say(figures: dict[str, Any], model: Path, *, ran: bool) -> None:
    if not ran:
        note("this training is finished; nothing was done")
    loss = f"loss {figures['first_loss']:.3f} to {figures['loss']:.3f}"
    measured = [figures[name] for name in ("first_eval_loss", "eval_loss") if figures.get(name) is not None]
    held = f", held out {' to '.join(f'{value:.3f}' for value in measured)}" if measured else ""
    memory = f"{figures['peak_bytes'] / 1e9:.1f} GB at the peak"
    print(
        plain(
            f"{count(figures['steps'], 'step')} in {duration(figures['seconds'])}: {loss}{held}; {memory}. "
            f"The model is in {model}"
        )
    )


class Stopping:
    """Turns the first Ctrl-C or SIGTERM into a stop after the step that goes on, and the second into the end.

    Args:
        resume: printed at a second one.
        quiet: says nothing at the first one.
    """

    def __init__(self, resume: str, *, quiet: bool = False) -> None:
        self._resume, self._quiet = resume, quiet
        self._asked = False
        self._old: dict[int, Any] = {}

    def asked(self) -> bool:
        """Whether a signal has come."""
        return self._asked

    def __enter__(self) -> Stopping:
        """Take the signals."""
        for number in (signal.SIGINT, signal.SIGTERM):
            self._old[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        """Give the signals back."""
        for number, handler in self._old.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        # A handler runs between any two instructions: it may set flags and write to a descriptor, and no more.
        if self._asked:
            shown = "\x1b[?25h" if sys.stderr.isatty() else ""
            words = f"{shown}\nended at once; the last checkpoint is there. Go on with:\n  {self._resume}\n"
            os.write(2, words.encode("utf-8", "backslashreplace"))
            os._exit(INTERRUPTED)
        self._asked = True
        if not self._quiet:
            os.write(2, b"\nstopping after this step, with a checkpoint; Ctrl-C again ends at once\n")
