"""What goes to a hub: a dataset out of a run, or a tuned model; nothing that is not named here ever does.

A dataset is written anew from the run's store, so that neither what lies beside it in the folder by accident nor a
stale file can go. Of a model's folder only names that a model consists of are taken.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from evolteacher.card import public_recipe
from evolteacher.catalog import Catalog
from evolteacher.certifying import certificate_of
from evolteacher.dataset import write_dataset
from evolteacher.decontamination import certificate as certificates
from evolteacher.errors import RunError, UsageError
from evolteacher.history import records, summarise
from evolteacher.outputs import FILES, exports, lock_recipe, write_card
from evolteacher.published import public
from evolteacher.publishing.leaks import check_for_secrets, secrets_of
from evolteacher.publishing.permission import held_recipe, partial_because
from evolteacher.recipe import Recipe
from evolteacher.record import Record
from evolteacher.rights import Clearance
from evolteacher.runner import STOPPED, stop_of
from evolteacher.store import Store
from evolteacher.writing import atomic, write_lines

REPLIES = "replies.jsonl"

LIST = ".evolteacher.json"
"""Names a parcel's files, with their hashes, in the repository."""

_BLOCK = 1 << 20
"""Bytes of a file that are read at a time."""


@dataclass(frozen=True, slots=True)
class ParcelFile:
    """One file that goes: its name in the repository, and where it lies here."""

    name: str
    path: Path

    @property
    def size(self) -> int:
        """Bytes."""
        return self.path.stat().st_size


@dataclass(frozen=True)
class Parcel:
    """What goes to one repository.

    Attributes:
        kind: of the repository.
        title: what it is, for the commit's message.
        files: that go, in the order of their names.
        licence: that the card names; empty where it names none.
        stays: names in the folder that stay here.
        partial: why it is not all of it; empty when it is.
    """

    kind: Literal["dataset", "model"]
    title: str
    files: tuple[ParcelFile, ...]
    licence: str = ""
    stays: tuple[str, ...] = ()
    partial: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "kind": self.kind, "licence": self.licence or None, "partial": self.partial or None,
            "files": [{"name": file.name, "bytes": file.size} for file in self.files], "stays": list(self.stays),
        }  # fmt: skip


def in_folder(folder: Path) -> tuple[ParcelFile, ...]:
    """Return all files of a folder that was written for a parcel."""
    return tuple(ParcelFile(path.name, path) for path in sorted(folder.iterdir()))


def dataset_parcel(
    store: Store, draft: Path, rights: Clearance, *, partial: bool, replies: bool, catalog: Catalog
) -> Parcel:
    """Write a run's dataset, card, certificate and locked recipe for a hub.

    Args:
        store: the run's, as :func:`~evolteacher.publishing.permission.cleared` gives it; only read.
        draft: an empty folder, which is written into.
        rights: what the licence says of the rows that the store shows.
        partial: whether a run that is not finished may go.
        replies: whether all prompts and replies go along.
        catalog: what is installed.

    Raises:
        UsageError: the run never began, or it has no row.
        RunError: it is not finished, or a text holds a secret.
        RecipeError: a plugin of the recipe is not installed.
    """
    run, recipe = store.path.parent, held_recipe(store, catalog)
    because = partial_because(store)
    if because and not partial:
        stop = stop_of(store)
        first = f" {stop} Mend that first." if stop.startswith(STOPPED) else ""
        raise RunError(
            f"{run}: {because}{first} Run the same command again to finish it, or push what there is with --partial"
        )
    if not summarise(store).records:
        raise UsageError(f"{run}: its dataset has no row, so there is nothing to push")
    _write(store, draft, recipe, because, catalog, rights)
    if replies:
        with atomic(draft / REPLIES) as out:
            write_lines(_replies(store), out)
    texts = (text for record in records(store) for text in (record.instruction.text, record.response))
    check_for_secrets(in_folder(draft), secrets_of(recipe.to_plain()), texts)
    write_list(in_folder(draft), draft)
    files = in_folder(draft)
    going = {file.name for file in files}
    stays = tuple(sorted(path.name for path in run.iterdir() if path.name not in going))
    return Parcel("dataset", recipe.name, files, licence_in(draft / "README.md"), stays, because)


def _write(store: Store, draft: Path, recipe: Recipe, because: str, catalog: Catalog, rights: Clearance) -> None:
    for name in exports(recipe, lambda line: None):
        if name in FILES:
            format, file = FILES[name]
            write_dataset(map(_public, records(store)), draft / file, format)
    if not any(draft.iterdir()):  # a recipe that exports rounds alone
        write_dataset(map(_public, records(store)), draft / FILES["jsonl"][1], "jsonl")
    certificate = certificate_of(store, recipe)
    if certificate is not None:
        with atomic(draft / certificates.FILE) as out:
            out.write(certificate.as_json().encode("utf-8"))
    lock_recipe(draft, recipe, catalog, plain=public_recipe(recipe))
    write_card(store, draft, recipe, because, certificate, rights)


def _public(record: Record) -> Record:
    """Return a row whose models are named without this machine's folders: a local one is called by its own."""
    evolution = record.evolution
    return replace(
        record,
        reply=replace(record.reply, model=public(record.reply.model)),
        evolution=replace(evolution, reply=replace(evolution.reply, model=public(evolution.reply.model))),
    )


def write_list(files: Iterable[ParcelFile], draft: Path) -> ParcelFile:
    """Write the list of a parcel's files into its draft, by which the next push knows them again."""
    with atomic(draft / LIST) as out:
        out.write(as_json({"pushed by evolteacher": {file.name: _hashes(file.path) for file in files}}))
    return ParcelFile(LIST, draft / LIST)


def _hashes(path: Path) -> dict[str, str]:
    """Return by what a hub tells a file: small ones by git's id, large ones by their SHA-256."""
    git = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    sha256 = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            git.update(block)
            sha256.update(block)
    return {"git": git.hexdigest(), "sha256": sha256.hexdigest()}


def _replies(store: Store) -> Iterator[Mapping[str, Any]]:
    query = (
        "SELECT lower(hex(lineage)), round, step, nth, backend, model, outcome, finish_reason, prompt_tokens, "
        "completion_tokens, prompt, text FROM replies ORDER BY round, lineage, step, nth, fingerprint"
    )
    names = (
        "lineage", "round", "step", "nth", "backend", "model", "outcome", "finish_reason", "prompt_tokens",
        "completion_tokens", "prompt", "reply",
    )  # fmt: skip
    for row in store.query(query):
        told = dict(zip(names, row, strict=True))
        yield {**told, "model": public(told["model"])}


def licence_in(card: Path) -> str:
    """Return the licence that a card's front matter names; empty where it names none."""
    return str(front_matter(card.read_text(encoding="utf-8"))[0].get("license") or "")


def front_matter(card: str) -> tuple[dict[str, Any], str]:
    """Split a card into its front matter and the rest; one without any has an empty one."""
    from evolteacher.yamlfile import parse_value

    if not card.startswith("---\n") or "\n---\n" not in card:
        return {}, card
    head, _, rest = card.removeprefix("---\n").partition("\n---\n")
    try:
        found = parse_value(head)
    except ValueError:
        return {}, card
    return (found, rest) if isinstance(found, dict) else ({}, card)


def as_json(value: Any) -> bytes:
    """Return plain data as a file of JSON."""
    return (json.dumps(value, ensure_ascii=False, indent=2) + "\n").encode("utf-8")
