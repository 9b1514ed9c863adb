"""Files that are either whole or not there: rows are written beside the target, which is replaced at the end."""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from evolteacher.errors import MissingExtra, RunError, UsageError
from evolteacher.record import clean_text

GROUP_ROWS = 10_000
GROUP_CHARACTERS = 1 << 24
"""A Parquet row group ends with whichever comes first, so that memory is bounded however long the texts are."""

STANDARD_OUTPUT = "standard output"

Row = Mapping[str, Any]


class Output:
    """Where bytes go: a file as far as pyarrow needs one, whose failing writes are RunErrors that say what to do."""

    closed = False

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._file = file
        self._name = name
        self._written = 0

    def write(self, data: bytes) -> int:
        """Write all of the bytes.

        Raises:
            RunError: the disk is full, or the like.
        """
        try:
            self._file.write(data)
        except OSError as error:
            raise cannot_write(self._name, error) from None
        self._written += len(data)
        return len(data)

    def tell(self) -> int:
        """Return how many bytes were written."""
        return self._written

    def flush(self) -> None:
        """Do nothing: what matters is the flush at the end."""

    def close(self) -> None:
        """Do nothing: who opened the file closes it."""


def cannot_write(name: str, error: OSError) -> RunError:
    """Return the RunError for a file that cannot be written."""
    advice = "Nothing was changed; check the folder, its permissions and the free space, and try again"
    return RunError(
        f"{name}: cannot be written: {error.strerror or error}" + (f". {advice}" if name != STANDARD_OUTPUT else "")
    )


def make_folder(path: Path) -> None:
    """Make a folder, and those above it; one that is there stays as it is.

    Raises:
        UsageError: a file is there.
        RunError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise UsageError(f"{path}: this is a file; choose a folder with --out") from None
    except OSError as error:
        raise RunError(f"{path}: cannot be made: {error.strerror}; choose another with --out") from None


@contextmanager
def atomic(path: Path) -> Iterator[Output]:
    """Write a file that replaces ``path`` only when it is whole and on disk.

    A reader of ``path`` sees the old file or the new one, also after a crash. On any exception nothing changes and
    nothing is left behind.

    Raises:
        RunError: the file cannot be written.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        raise RunError(f"{path}: this is no file that can be replaced: name another")
    draft = target.with_name(f".evolteacher-{secrets.token_hex(8)}.tmp")
    try:
        file = open(draft, "xb")
    except OSError as error:
        raise cannot_write(str(path), error) from None
    try:
        yield Output(file, str(path))
        try:
            file.flush()
            os.fsync(file.fileno())
            file.close()
            os.replace(draft, target)
        except OSError as error:
            raise cannot_write(str(path), error) from None
    except BaseException:
        with suppress(OSError):  # closing flushes, which fails again where the disk is full
            file.close()
        draft.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


@contextmanager
def output(path: str | Path | None) -> Iterator[Output]:
    """Open a file as :func:`atomic` does, or standard output where the path is None or ``-``."""
    if path is not None and str(path) != "-":
        with atomic(Path(path)) as out:
            yield out
        return
    out = Output(sys.stdout.buffer, STANDARD_OUTPUT)
    yield out
    try:
        sys.stdout.flush()
    except OSError as error:
        raise cannot_write(STANDARD_OUTPUT, error) from None


def write_list(rows: Iterable[Row], out: Output) -> int:
    """Write a JSON list, laid out as ``json.dumps(list(rows), indent=2, ensure_ascii=False)`` does, and a newline."""
    count = 0
    for row in rows:
        text = json.dumps(row, ensure_ascii=False, indent=2).replace("\n", "\n  ")
        out.write(_encoded(f"{',' if count else '['}\n  {text}"))
        count += 1
    out.write(b"\n]\n" if count else b"[]\n")
    return count


def write_lines(rows: Iterable[Row], out: Output) -> int:
    """Write JSON Lines."""
    count = 0
    for row in rows:
        out.write(_encoded(json.dumps(row, ensure_ascii=False) + "\n"))
        count += 1
    return count


def write_parquet(rows: Iterable[Row], out: Output, columns: Mapping[str, type]) -> int:
    """Write Parquet, a row group at a time.

    Args:
        rows: mappings that hold every column; None is null.
        out: where to.
        columns: the type of each column, str or int.

    Raises:
        MissingExtra: pyarrow is not installed.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise MissingExtra("writing Parquet", "parquet") from None
    types = {str: pa.string(), int: pa.int64()}
    schema = pa.schema([(name, types[kind]) for name, kind in columns.items()])
    count = 0
    with pq.ParquetWriter(out, schema) as writer:
        for group in _groups(rows):
            writer.write_table(pa.Table.from_pylist(group, schema=schema))
            count += len(group)
    return count


def _groups(rows: Iterable[Row]) -> Iterator[list[dict[str, Any]]]:
    group: list[dict[str, Any]] = []
    characters = 0
    for row in rows:
        fields = {name: clean_text(value)[0] if isinstance(value, str) else value for name, value in row.items()}
        group.append(fields)
        characters += sum(len(value) for value in fields.values() if isinstance(value, str))
        if len(group) >= GROUP_ROWS or characters >= GROUP_CHARACTERS:
            yield group
            group, characters = [], 0
    if group:
        yield group


def _encoded(text: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        return clean_text(text)[0].encode("utf-8")


def _sync_folder(folder: Path) -> None:
    """Put the new name on disk too; a file system that cannot is left to its own."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        return
    finally:
        os.close(descriptor)
