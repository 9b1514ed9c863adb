"""``evolteacher watch``: the live display of a run that goes on in another process."""

from __future__ import annotations

import json
import sys
import time
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Annotated

import typer

from evolteacher.cli.display import Display
from evolteacher.cli.options import RunFolder
from evolteacher.cli.terminal import command_line, complain, count, duration, note, plain
from evolteacher.database import DATABASE
from evolteacher.errors import RunError, UsageError
from evolteacher.heartbeat import Beat, read_beat
from evolteacher.history import summarise
from evolteacher.progress import Progress
from evolteacher.store import Store

LOOK = 0.5
"""Seconds between two looks at the run."""

GO_ON = "give the command that began it once more: what was answered is stored, and not asked again"


def watch(
    run: RunFolder,
    once: Annotated[bool, typer.Option("--once", help="Print one line on how the run stands, and end.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --once: one JSON object instead of the line.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Where no run goes on, wait until one begins there.")] = False,
) -> None:
    """Show how a run goes that another process carries out; ends when the run ends. Ctrl-C ends the watching only.

    The exit code is 1 where the run stopped before its end, or its process died or is suspended.
    """
    if as_json and not once:
        raise UsageError("--json goes with --once")
    if wait and once:
        raise UsageError("--wait and --once do not go together; give one of them")
    if wait:
        _await(run)
    elif not (run / DATABASE).exists():
        begin, wait_for = (
            command_line(*words) for words in (("run", "RECIPE", "--out", run), ("watch", run, "--wait"))
        )
        raise UsageError(
            f"{run}: there is no run here (no {DATABASE}); begin it with `{begin}`, or wait for it with `{wait_for}`"
        )
    with Store(run / DATABASE, read_only=True) as store:
        beat = read_beat(store)
        if once and as_json:
            print(json.dumps(beat.to_plain() if beat is not None else {"state": "unknown"}))
        elif once:
            print(plain(_line(beat, store)))
        elif beat is not None and _goes_on(beat):
            beat = _follow(store, beat)
        if not once:
            _end(run, beat, store)
    if beat is None or beat.stale or beat.state == "stopped":
        raise typer.Exit(1)


def _await(run: Path) -> None:
    """Return when a run goes on in a folder, or one has given a sign since this was called."""
    first = found = _last_sign(run)
    if first is None or not _goes_on(first):
        note(f"{run}: no run goes on here yet; waiting for one (Ctrl-C ends the waiting)")
    while found is None or not (_goes_on(found) or first is None or found.at != first.at):
        time.sleep(LOOK)
        found = _last_sign(run)


def _last_sign(run: Path) -> Beat | None:
    """Return a run's last sign of life; None where there is no run yet, or its file is only just being made."""
    with suppress(UsageError, RunError), Store(run / DATABASE, read_only=True) as store:
        return read_beat(store)
    return None


def _goes_on(beat: Beat) -> bool:
    return beat.state == "running" and not beat.stale


def _follow(store: Store, beat: Beat) -> Beat:
    """Show the run until it ends or falls silent; return its last sign."""
    progress = beat.progress
    with Display(progress, alone=True):
        while _goes_on(beat):
            time.sleep(LOOK)
            beat = read_beat(store) or beat
            _take_over(progress, beat.progress)
    return beat


def _take_over(shown: Progress, found: Progress) -> None:
    """Let the display see new counters."""
    for each in fields(shown):
        setattr(shown, each.name, getattr(found, each.name))


def _line(beat: Beat | None, store: Store) -> str:
    if beat is None:
        return f"no heartbeat; {_sums(store)}"
    silent = f" (no sign of life for {duration(beat.age)})" if beat.stale else ""
    return f"{beat.to_plain()['state']}{silent}  {Display(beat.progress).line()}"


def _end(run: Path, beat: Beat | None, store: Store) -> None:
    if beat is None:
        complain("error", f"{run}: nothing is to be watched: no heartbeat is here; {_sums(store)}")
    elif beat.stale:
        complain(
            "error",
            f"{run}: no sign of life for {duration(beat.age)}: process {beat.pid} died, or is suspended; "
            f"{_sums(store)}. If it died, {GO_ON}",
        )
    elif beat.state == "stopped":
        ago = f"the run stopped {duration(beat.age)} ago, before its end"
        complain("error", f"{run}: {ago}; {_sums(store)}. To finish it, {GO_ON}")
    else:
        sys.stdout.flush()
        note(f"{run}: the run finished {duration(beat.age)} ago; {_sums(store)}")


def _sums(store: Store) -> str:
    summary = summarise(store)
    left = f"{count(summary.pending, 'lineage')} not finished" if summary.pending else "all lineages finished"
    return f"{count(summary.records, 'row')}, {left}"
