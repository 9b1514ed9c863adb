"""``evolteacher push``: a run's dataset, or a tuned model, to a hub."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from evolteacher.cli import values
from evolteacher.cli.options import Despite
from evolteacher.cli.terminal import complain, count, load_catalog, note, plain
from evolteacher.errors import EvolteacherError, LicenceRefused, UsageError
from evolteacher.publishing.hub import Target, look, shown_endpoint
from evolteacher.publishing.parcel import Parcel
from evolteacher.publishing.standing import Standing


def push(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="[RUN] OWNER/NAME",
            help="A run's folder, and the repository; with --model the latter alone.",
            autocompletion=values.runs,
        ),
    ],
    model: Annotated[
        Path | None,
        typer.Option("--model", metavar="CHECKPOINT", help="Push a tuned model: a training's folder, or a model's."),
    ] = None,
    scores: Annotated[
        list[Path] | None,
        typer.Option("--scores", metavar="FILE", help="With --model: an evaluation.json; else those beside it."),
    ] = None,
    public: Annotated[bool, typer.Option("--public", help="Let everybody see it; else a new one is private.")] = False,
    branch: Annotated[
        str, typer.Option("--branch", "--revision", metavar="NAME", help="The branch; made where it is not there.")
    ] = "",
    message: Annotated[str, typer.Option("--message", "-m", metavar="TEXT", help="Of the commit.")] = "",
    partial: Annotated[bool, typer.Option("--partial", help="Push what there is of an unfinished run.")] = False,
    replies: Annotated[
        bool, typer.Option("--replies", help="Push all prompts and replies, too, as replies.jsonl.")
    ] = False,
    despite: Despite = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and send nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Upload a run's dataset, card, certificate and locked recipe, or a tuned model with its card and scores.

    The token is HF_TOKEN's. Rows that the recipe's licence does not allow are refused.
    """
    if len(words) != (2 if model is None else 1):
        form = "evolteacher push RUN owner/name" if model is None else "evolteacher push --model CHECKPOINT owner/name"
        raise UsageError(f"{count(len(words), 'word')} where {2 if model is None else 1} are due: {form}")
    if model is None and scores:
        raise UsageError("--scores goes with --model: a dataset has none")
    if model is not None and (replies or despite is not None):
        raise UsageError("--replies and --despite go with a run, and not with --model")
    target = Target(words[-1], public, branch, message)
    with tempfile.TemporaryDirectory(prefix="evolteacher-push-") as draft:
        if model is not None:
            from evolteacher.publishing.modelparcel import model_parcel

            parcel = model_parcel(model, Path(draft), scores=scores or (), partial=partial)
        else:
            parcel = _dataset(Path(words[0]), Path(draft), despite, partial, replies, dry_run, as_json)
        if parcel.partial:
            complain("warning", f"this is not all of it: {parcel.partial}")
        if dry_run:
            _show(parcel, target, as_json)
        else:
            _push(parcel, target, as_json)


def _dataset(
    run: Path, draft: Path, despite: str | None, partial: bool, replies: bool, dry_run: bool, as_json: bool
) -> Parcel:
    from evolteacher.publishing.parcel import dataset_parcel
    from evolteacher.publishing.permission import cleared

    catalog = load_catalog()
    try:
        with cleared(run, despite=despite, catalog=catalog, dry_run=dry_run) as (store, rights):
            return dataset_parcel(store, draft, rights, partial=partial, replies=replies, catalog=catalog)
    except LicenceRefused as error:
        if as_json:
            print(json.dumps({"refused": error.found}, indent=2))
        raise


def _show(parcel: Parcel, target: Target, as_json: bool) -> None:
    seen = "public" if target.public else "private"
    known, there = _there(parcel, target)
    if as_json:
        told: dict[str, Any] = {
            "repository": target.name,
            "hub": shown_endpoint(),
            "visibility": seen,
            "branch": target.branch or None,
        }
        told |= {"on_hub": there.as_dict() if there is not None else None, "on_hub_known": known}
        print(json.dumps({"dry_run": True, **told, **parcel.as_dict()}, indent=2))
        return
    onto = f", branch {target.branch}" if target.branch else ""
    print(plain(f"{parcel.kind} {target.name} at {shown_endpoint()}{onto}, {seen} where it is new"))
    print(plain(f"licence: {parcel.licence or 'none named'}"))
    width = max(len(file.name) for file in parcel.files)
    for file in parcel.files:
        print(plain(f"  {file.name:{width}}  {file.size:>15,} bytes"))
    print(f"{count(len(parcel.files), 'file')}, {sum(file.size for file in parcel.files):,} bytes; nothing was sent")
    for line in there.lines(sent=False) if there is not None else ():
        note(line)
    if parcel.stays:
        note(f"stays here: {', '.join(parcel.stays)}")


def _there(parcel: Parcel, target: Target) -> tuple[bool, Standing | None]:
    """Return whether the hub could be looked at, and what a push would do to what is there; None where it is new."""
    try:
        found = look(parcel, target)
    except EvolteacherError as error:
        note(f"what is on the hub already is not known: {error}")
        return False, None
    if found is not None and found.public and not target.public:
        complain("warning", f"{target.name} is there and public: a push would be refused without --public")
    return True, found


def _push(parcel: Parcel, target: Target, as_json: bool) -> None:
    from evolteacher.publishing.hub import push as send

    done = send(parcel, target, note=note)
    if as_json:
        told = {"url": done.url, "commit": done.commit, "new": done.made, "changed": done.changed}
        print(
            json.dumps(
                {**told, "private": done.private, "on_hub": done.standing.as_dict(), **parcel.as_dict()}, indent=2
            )
        )
        return
    what = f"{count(len(parcel.files), 'file')} pushed" if done.changed else "nothing has changed, nothing was sent"
    print(plain(f"{done.url}: {what} ({'private' if done.private else 'public'}, commit {done.commit[:12]})"))
