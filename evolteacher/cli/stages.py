"""What follows on a training in ``evolteacher run`` and ``evolteacher train``: measuring, and one summary."""

from __future__ import annotations

import asyncio
from pathlib import Path

import typer
from rich.text import Text

from evolteacher.catalog import Catalog
from evolteacher.cli import INTERRUPTED
from evolteacher.cli.scores import Bar, show_scores, tell_end, tell_start
from evolteacher.cli.telling import ALOUD, Telling
from evolteacher.cli.terminal import count, duration, emit, note, plain
from evolteacher.evaluation.score import STAGE
from evolteacher.progress import Progress
from evolteacher.stages import summary
from evolteacher.stages.clock import timed
from evolteacher.stages.measuring import Job, Measurement, jobs, measure
from evolteacher.training.job import Training
from evolteacher.training.trainer import TrainResult


def planned(training: Training, folder: Path, catalog: Catalog) -> list[Job]:
    """Return what will be measured, before anything is paid for or trained; see :func:`measuring.jobs`."""
    return jobs(training.evaluate, training, folder, catalog) if training.evaluate is not None else []


def follow(
    training: Training,
    planned: list[Job],
    trained: TrainResult,
    folder: Path,
    resume: str,
    telling: Telling = ALOUD,
) -> None:
    """Measure what a recipe measures, write the summary of all stages, and say what it says.

    Args:
        training: what was trained, and how it is measured.
        planned: what :func:`planned` returned.
        trained: what came of it.
        folder: the run's, or the training's where nothing evolved.
        resume: the command that goes on where it stopped.
        telling: how much of it is told; where all is quiet, only where the summary is.
    """
    measured = _measure(planned, folder, resume, telling) if planned else []
    ks = tuple(sorted(set(training.evaluate.k))) if training.evaluate is not None else (1,)
    for one in measured:
        one.found.write(one.folder, ks)
        if not telling.quiet:
            show_scores(one.found, list(ks), one.folder)
    found = summary.summary(training.name, folder, trained, measured, ks)
    summary.write(found, folder)
    if telling.quiet:
        telling.result(folder / summary.MARKDOWN)
        return
    for words in summary.verdicts(found):
        emit(Text(plain(words)))
    for stage, row in found["stages"].items():
        emit(Text(plain(f"{stage}: {duration(row['seconds'])}, {row['peak_bytes'] / 1e9:.1f} GB at the peak")))
    emit(Text(plain(f"summary: {folder / summary.MARKDOWN}, {folder / summary.JSON}")))


def _measure(planned: list[Job], folder: Path, resume: str, telling: Telling) -> list[Measurement]:
    progress = Progress()
    total = sum(len(job.asking.problems) * job.asking.samples for job in planned)
    with Bar(total, on=not telling.quiet) as bar, telling.begun(bar.note) as voice:

        def begin(job: Job) -> None:
            problems = count(len(job.asking.problems), "problem")
            voice.note(f"measuring the {job.model} model on {problems} of {job.benchmark}, into {job.folder}")
            tell_start(voice, job.benchmark, job.model, len(job.asking.problems), job.asking.samples, job.folder)

        try:
            with timed(folder, STAGE) as spent:
                found = asyncio.run(measure(planned, progress, begin, bar.telling(voice)))
                spent.counts = progress.calls > 0
        except KeyboardInterrupt:
            note(f"stopped; what was answered is kept. Go on with:\n  {resume}")
            raise typer.Exit(INTERRUPTED) from None
        for one in found:
            tell_end(voice, one.found, one.folder)
    return found
