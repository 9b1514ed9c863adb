"""``evolteacher export``: a run's dataset again, in any format."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from evolteacher.cli import values
from evolteacher.cli.options import Despite, RunFolder
from evolteacher.cli.terminal import complain, count, load_catalog, note
from evolteacher.dataset import DATASET_FORMATS, WITH_RIGHTS, left_out, write_dataset
from evolteacher.errors import RunError, UsageError, did_you_mean
from evolteacher.history import records, summarise
from evolteacher.outputs import FILES, round_file
from evolteacher.publishing.permission import cleared
from evolteacher.rights import Clearance
from evolteacher.store import Store

ROUNDS = "rounds"
"""The format that is a folder of one Evol file a round."""

_ENDINGS = {"chat": "chat.jsonl", "jsonl": "jsonl", "parquet": "parquet"}


def export(
    run: RunFolder,
    format: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help=f"{', '.join(DATASET_FORMATS)}, or {ROUNDS} (a file a round).",
            autocompletion=values.one_of((*DATASET_FORMATS, ROUNDS)),
        ),
    ] = "evol",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="Where to write it (rounds: a folder); - is stdout. Else into the run's folder.",
        ),
    ] = None,
    round: Annotated[
        int | None, typer.Option("--round", min=0, help="Only this round's rows; 0 are the seeds.")
    ] = None,
    despite: Despite = None,
) -> None:
    """Write a run's dataset in another format. The run may be going on: what has settled is written.

    Where the recipe has a licence, rows that it does not allow are refused.
    """
    formats = (*DATASET_FORMATS, ROUNDS)
    if format not in formats:
        raise UsageError(f"--format {format}: there is no such format.{did_you_mean(format, formats)}")
    if format == ROUNDS and str(out) == "-":
        raise UsageError("--out -: rounds are several files; name a folder, or pick one with --format evol --round N")
    with cleared(run, despite=despite, catalog=load_catalog()) as (store, rights):
        summary = summarise(store)
        if summary.pending:
            complain("warning", f"{count(summary.pending, 'lineage')} not finished; what has settled is written")
        if round is not None and round > (last := _rounds_at_most(store)):
            raise UsageError(f"--round {round}: {run} has rounds 0 to {last}")
        if format == ROUNDS:
            rounds = range(max(summary.kept, default=0) + 1) if round is None else [round]
            _rounds(store, out if out is not None else run, rounds)
            return
        target = out if out is not None else run / _file(format, round)
        rows = write_dataset(records(store, round), target, format)
        losing = 0 if format in WITH_RIGHTS else _rows_with_rights(store, rights, round)
    for line in left_out(losing):
        note(line)
    if str(target) != "-":
        note(f"{count(rows, 'row')} written to {target}")


def _rows_with_rights(store: Store, rights: Clearance, round: int | None) -> int:
    """Return how many of the rows that are written name a licence or terms."""
    if round is None:
        return sum(rows for names, rows in rights.mix.items() if any(names))
    return sum(1 for record in records(store, round) if record.licence or record.terms)


def _rounds_at_most(store: Store) -> int:
    rounds = store.meta("recipe")["rounds"]
    return int(rounds["max"] if isinstance(rounds, dict) else rounds)


def _file(format: str, round: int | None) -> str:
    name = "dataset" if round is None else f"round-{round}"
    if round is None and format in FILES:
        return FILES[format][1]
    return f"{name}.{_ENDINGS.get(format, 'json' if format == 'evol' else f'{format}.json')}"


def _rounds(store: Store, folder: Path, rounds: Iterable[int]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{folder}: no folder can be made here: {error.strerror}; choose another with --out") from None
    for round in rounds:
        path = folder / round_file(round)
        note(f"{count(write_dataset(records(store, round), path, 'evol'), 'row')} written to {path}")
