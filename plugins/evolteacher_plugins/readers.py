"""Seed readers: JSON, JSON Lines, Parquet, CSV, plain text, and datasets of the Hugging Face hub.

Files may be gzipped. Rows are named by file name and line, never by folder, so that a dataset's provenance is the same
on every machine.
"""

from __future__ import annotations

import codecs
import csv
import difflib
import gzip
import io
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Any, ClassVar, cast

from pydantic import Field

from evolteacher import Row, SeedReader, hookimpl
from evolteacher.errors import MissingExtra, SeedError
from evolteacher_plugins.json_stream import json_rows, line_rows, lines_of, parsed, undecoded

_GZIP = b"\x1f\x8b"
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)
_HUB = re.compile(
    r"hf:(?P<name>(?:[\w.-]+/)?[\w.-]+)(?:/(?P<subset>[\w.-]+))?"
    r"(?::(?P<split>[\w.\[\]%-]+))?(?:@(?P<revision>[\w./-]+))?"
)


class FileReader(SeedReader):
    """Base of the readers of one file, claimed by the ending of its name.

    Attributes:
        endings: what such files' names end in, in lower case (class attribute).
    """

    endings: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def claims(cls, source: str) -> bool:
        """Whether the name ends as this kind of file does; ``.gz`` may follow."""
        return not source.startswith("hf:") and source.lower().removesuffix(".gz").endswith(cls.endings)


class Json(FileReader, name="json"):
    """A JSON file: a list of rows, or an object that holds the list.

    Read as a stream. JSON Lines in a file called .json are taken too.
    """

    endings: ClassVar[tuple[str, ...]] = (".json",)

    key: str | None = Field(
        None, description="The key of the list of rows, where the file holds an object; data, rows and train are tried."
    )

    def rows(self, source: str) -> Iterator[Row]:
        """Read a row a list element, named by the line in which it begins."""
        with _opened(source) as (file, name):
            yield from json_rows(file, name, self.key)


class Jsonl(FileReader, name="jsonl"):
    """A JSON Lines file: a row a line. Blank lines are passed over; a JSON list in such a file is taken too."""

    endings: ClassVar[tuple[str, ...]] = (".jsonl", ".ndjson", ".jl")

    def rows(self, source: str) -> Iterator[Row]:
        """Read a row a line."""
        with _opened(source) as (file, name):
            yield from line_rows(file, name)


class Text(FileReader, name="text"):
    """A text file: a prompt a line. Blank lines are passed over."""

    endings: ClassVar[tuple[str, ...]] = (".txt",)

    def rows(self, source: str) -> Iterator[Row]:
        """Read a row a line, without white space around it."""
        with _opened(source) as (file, name):
            for number, line in lines_of(file, name):
                if line := line.strip():
                    yield parsed(line, f"{name}:{number}", str)


class Csv(FileReader, name="csv"):
    """A table of comma- or tab-separated values, with the columns' names in its first row."""

    endings: ClassVar[tuple[str, ...]] = (".csv", ".tsv")

    def rows(self, source: str) -> Iterator[Row]:
        """Read a row a record, named by the line in which it begins."""
        # The module's limit on a field, 128 KiB, is the process's; texts may be longer.
        csv.field_size_limit(max(csv.field_size_limit(), 2**31 - 1))
        delimiter = "\t" if source.lower().removesuffix(".gz").endswith(".tsv") else ","
        with _opened(source) as (file, name):
            lines = io.TextIOWrapper(file, "utf-8-sig", "surrogateescape", newline="")
            yield from _records(csv.reader(lines, delimiter=delimiter, strict=True), name)


class Parquet(FileReader, name="parquet"):
    """A Parquet file, read a batch of rows at a time (needs the extra ``parquet``)."""

    endings: ClassVar[tuple[str, ...]] = (".parquet", ".pq")

    batch_rows: int = Field(1000, ge=1, description="Rows held in memory at once.", json_schema_extra={"x-free": True})

    def rows(self, source: str) -> Iterator[Row]:
        """Read the rows in order, each named by its number."""
        try:
            import pyarrow as pa
            import pyarrow.parquet as pq
        except ImportError:
            raise MissingExtra("reading Parquet", "parquet") from None
        name = Path(source).name
        number = 0
        try:
            _check_file(source)
            with pq.ParquetFile(source) as table:
                for batch in table.iter_batches(self.batch_rows):
                    for data in _batch_rows(batch):
                        number += 1
                        where = f"{name}: row {number}"
                        yield Row(where, error=data) if isinstance(data, str) else Row(where, data)
        except (pa.ArrowException, OSError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise SeedError(f"{source}: cannot be read as Parquet after {number} rows: {reason}") from None


class Hub(SeedReader, name="hf"):
    """A dataset of the Hugging Face hub: ``hf:owner/name/subset:split@revision``, all but the name optional.

    Needs the extra ``hub``. Streamed: rows are fetched as they are read. No code of the dataset's is run. As
    ``datasets`` does, a folder ``owner/name`` below the working directory is read instead of the hub.
    """

    split: str = Field("train", description="The split, where the source names none.")
    subset: str | None = Field(
        None, description="The dataset's configuration, where it has several and the source names none."
    )
    revision: str | None = Field(None, description="A commit, branch or tag; pin one to read the same rows again.")

    @classmethod
    def claims(cls, source: str) -> bool:
        """Whether the source begins with ``hf:``."""
        return source.startswith("hf:")

    def rows(self, source: str) -> Iterator[Row]:
        """Read the split's rows in order, each named by its number."""
        match = _HUB.fullmatch(source)
        if match is None:
            raise SeedError(f"{source}: write hf:owner/name, or in full hf:owner/name/subset:split@revision")
        try:
            import datasets
        except ImportError:
            raise MissingExtra("reading a dataset of the Hugging Face hub", "hub") from None
        split, subset = match["split"] or self.split, match["subset"] or self.subset
        where = f"hf:{match['name']}{f'/{subset}' if subset else ''}:{split}"
        number = 0
        try:
            for data in datasets.load_dataset(
                match["name"], subset, split=split, revision=match["revision"] or self.revision, streaming=True
            ):
                number += 1
                yield Row(f"{where}: row {number}", data)
        except Exception as error:  # the hub's client raises what its many transports and formats raise
            lines = [*str(error).strip().splitlines(), type(error).__name__]
            reason = lines[0]
            if reason.startswith("Config name is missing") and len(lines) > 2:
                reason = f"it has several subsets: {lines[1].strip()}; write hf:{match['name']}/SUBSET"
            raise SeedError(f"{where}: cannot be read after {number} rows: {reason}") from None


@hookimpl
def register_seed_readers() -> list[type[SeedReader]]:
    """Return the readers above."""
    return [Json, Jsonl, Text, Csv, Parquet, Hub]


def _check_file(source: str) -> None:
    path = Path(source)
    if path.is_dir():
        raise SeedError(f"{source}: this is a folder: name a file in it")
    if not path.exists():
        names = [entry.name for entry in islice(path.parent.iterdir(), 1000)] if path.parent.is_dir() else []
        near = difflib.get_close_matches(path.name, names, n=1)
        raise SeedError(f"{source}: there is no such file" + (f". Did you mean '{near[0]}'?" if near else ""))


@contextmanager
def _opened(source: str) -> Iterator[tuple[IO[bytes], str]]:
    """Open a file, unpacked where it is gzipped; what goes wrong with it as a whole is a SeedError."""
    try:
        _check_file(source)
        with open(source, "rb") as file:
            packed = file.read(2) == _GZIP
            file.seek(0)
            text = cast(IO[bytes], gzip.open(file)) if packed else file
            if text.read(4).startswith(_UTF_16):
                raise SeedError(f"{source}: this is UTF-16 or UTF-32: save it as UTF-8")
            text.seek(0)
            yield text, Path(source).name
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise SeedError(f"{source}: the gzip file is damaged or cut off: {error}") from None
    except OSError as error:
        raise SeedError(f"{source}: cannot be read: {error.strerror or error}") from None


def _records(table: Any, name: str) -> Iterator[Row]:
    """Turn a csv reader's lists into rows by the names in the first of them."""
    columns: list[str] = []
    while True:
        where = f"{name}:{table.line_num + 1}"
        try:
            values = next(table)
        except StopIteration:
            return
        except csv.Error as error:
            yield Row(where, error=f"not CSV: {error}")
            continue
        if not values:
            continue
        if not columns:
            columns = [value.strip() for value in values]
        elif len(values) > len(columns):
            yield Row(where, error=f"{len(values)} fields, and there are {len(columns)} columns")
        else:
            fields = dict(zip(columns, values, strict=False))
            damaged = [column for column, value in fields.items() if undecoded(value)]
            yield Row(where, error=f"{damaged[0]}: not UTF-8") if damaged else Row(where, fields)


def _batch_rows(batch: Any) -> list[dict[str, Any] | str]:
    """Turn an Arrow batch into rows; one that holds bytes that are not UTF-8 becomes the text of its error."""
    try:
        return cast(list[dict[str, Any] | str], batch.to_pylist())
    except UnicodeDecodeError:
        rows: list[dict[str, Any] | str] = []
        for index in range(batch.num_rows):
            try:
                rows += batch.slice(index, 1).to_pylist()
            except UnicodeDecodeError as error:
                rows.append(f"a text that is not UTF-8: {error.reason}")
        return rows
