"""What stands in a repository already: what a push replaces, what it takes away, and what stays.

Each push puts a list of its files, with their hashes, beside them. What an earlier list names, what is on the hub as it
was pushed, and what is no longer made is stale and taken away by the next push. Nothing else ever is: a file of
somebody else's, or one that was changed there, stays.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evolteacher.publishing.parcel import LIST, ParcelFile

_NOT_SHOWN = (LIST, ".gitattributes")
"""The list itself, and what a hub makes by itself."""

_MOST_LISTED = 1 << 20
"""Bytes of a list that is read; ours have some hundred."""

_NAMED = 20
"""Files that a line names."""


@dataclass(frozen=True)
class Standing:
    """What becomes of the files that a repository holds.

    Attributes:
        replaced: of another content than what is pushed under their names, and as an earlier push left them.
        foreign: the same, but not evolteacher's, or changed there.
        removed: stale ones, as an earlier push left them.
        stays: those that a push does not touch.
        public: whether everybody may see them.
    """

    replaced: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    stays: tuple[str, ...] = ()
    public: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "replaced": [*self.replaced, *self.foreign], "not_ours": list(self.foreign), "removed": list(self.removed),
            "stays": list(self.stays),
        }  # fmt: skip

    def lines(self, *, sent: bool) -> Iterator[str]:
        """Yield what a user should know of it, a fact a line.

        Args:
            sent: whether it is done, or would be.
        """
        would = "is" if sent else "would be"
        if self.replaced and not sent:
            yield f"on the hub, {would} replaced: {_named(self.replaced)}"
        if self.foreign:
            yield f"on the hub, {would} replaced although no push made it as it is there: {_named(self.foreign)}"
        if self.removed:
            yield f"on the hub, {would} removed since an earlier push made it and this one does not: " + _named(
                self.removed
            )
        if self.stays:
            yield f"on the hub, {'stays' if sent else 'would stay'}: {_named(self.stays)}"


def standing(api: Any, name: str, kind: str, revision: str, going: Iterable[ParcelFile], *, public: bool) -> Standing:
    """Compare what a repository holds with what goes there.

    Args:
        api: huggingface_hub's.
        name: of the repository.
        kind: dataset or model.
        revision: the commit that is looked at.
        going: what is pushed, its list among it.
        public: whether everybody may see the repository.
    """
    there = {
        entry.path: entry
        for entry in api.list_repo_tree(name, repo_type=kind, revision=revision, recursive=True)
        if hasattr(entry, "blob_id")
    }
    ours = _ours(api, name, kind, revision, there)
    new: Mapping[str, Any] = next((_listed(file.path) for file in going if file.name == LIST), {})
    found: dict[str, list[str]] = {"replaced": [], "foreign": [], "removed": [], "stays": []}
    for path, entry in sorted(there.items()):
        if path in _NOT_SHOWN:
            continue
        as_pushed = _is(entry, ours.get(path))
        if path not in new:
            found["removed" if as_pushed else "stays"].append(path)
        elif not _is(entry, new[path]):
            found["replaced" if as_pushed else "foreign"].append(path)
    return Standing(**{key: tuple(names) for key, names in found.items()}, public=public)


def _ours(api: Any, name: str, kind: str, revision: str, there: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what the last push left, by the list that it put there."""
    if LIST not in there or there[LIST].size > _MOST_LISTED:
        return {}
    with tempfile.TemporaryDirectory(prefix="evolteacher-hub-") as folder:
        path = api.hf_hub_download(name, LIST, repo_type=kind, revision=revision, local_dir=folder)
        return _listed(Path(path))


def _listed(path: Path) -> Mapping[str, Any]:
    """Return file -> hashes of a list; nothing where it is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["pushed by evolteacher"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _is(entry: Any, hashes: Any) -> bool:
    """Whether a file on the hub has the content that these hashes are of."""
    if not isinstance(hashes, dict):
        return False
    if entry.lfs is not None:
        return bool(entry.lfs.sha256 == hashes.get("sha256"))
    return bool(entry.blob_id == hashes.get("git"))


def _named(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
