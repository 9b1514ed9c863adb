"""Datasets out: records, or the rows of other datasets, in the formats that trainers read.

========  ====================================================================================================
format    what is written
========  ====================================================================================================
evol      a JSON list of ``instruction`` and ``output`` (Evol-Teacher), laid out as ``json.dumps(…, indent=2)``
alpaca    the same, with an empty ``input`` between the two
sharegpt  a JSON list of ``conversations`` of human and gpt
chat      ``messages`` of user and assistant, an object a line, as TRL reads them
jsonl     an object a line with where the row came from: :data:`PROVENANCE`
parquet   the columns of jsonl (needs the extra ``parquet``)
========  ====================================================================================================

All are UTF-8 without lone surrogates. All but Parquet are the same bytes for the same rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from evolteacher.catalog import Catalog
from evolteacher.errors import SeedError, UsageError, did_you_mean
from evolteacher.record import SEED_OPERATOR, Record, text_id
from evolteacher.seeds import Row
from evolteacher.shapes import RESPONSE_FIELDS, Example, Format, Shape, to_shape
from evolteacher.sources import OnBadRow, SeedReport, counted, no_rows, read_examples, reader_for
from evolteacher.writing import output, write_lines, write_list, write_parquet

DatasetFormat = Literal["evol", "jsonl", "alpaca", "chat", "sharegpt", "parquet"]

DATASET_FORMATS: tuple[DatasetFormat, ...] = get_args(DatasetFormat)

PROVENANCE: dict[str, type] = {
    "instruction": str,
    "output": str,
    "id": str,
    "lineage": str,
    "round": int,
    "depth": int,
    "operator": str,
    "parent_id": str,
    "model": str,
    "evolve_model": str,
    "source": str,
    "licence": str,
    "terms": str,
}
"""The fields of a jsonl row and the columns of Parquet, in order.

``id`` and ``parent_id`` are hashes of the instruction's and its parent's text, ``lineage`` is the seed's id; ``model``
wrote the output and ``evolve_model`` the instruction; ``licence`` is the seed's, ``terms`` those of the models that
wrote the row (:attr:`Record.terms`). What is not known, or does not apply to a seed, is null.
"""

WITH_RIGHTS: tuple[DatasetFormat, ...] = ("jsonl", "parquet")
"""The formats that have a place for a row's licence and terms."""

_ENDINGS: dict[str, DatasetFormat] = {".json": "evol", ".jsonl": "jsonl", ".parquet": "parquet"}


@dataclass(slots=True)
class ConvertReport:
    """What a conversion read and wrote.

    Attributes:
        written: rows written.
        unanswered: rows without a response.
        kept_unanswered: whether those were written too, with an empty output.
        unlicensed: rows whose licence or terms were left out, for which the format has no place.
        read: what the source held.
    """

    written: int = 0
    unanswered: int = 0
    kept_unanswered: bool = False
    unlicensed: int = 0
    read: SeedReport = field(default_factory=SeedReport)

    def lines(self) -> list[str]:
        """Return the report in words, a fact a line; what is zero is left out."""
        lines = [f"{counted(self.read.rows, 'row')} read, {self.written:,} written"]
        if self.unanswered:
            fate = "written with an empty output" if self.kept_unanswered else "left out"
            lines.append(f"{counted(self.unanswered, 'row')} without a response {fate}")
        return lines + left_out(self.unlicensed) + self.read.notes()


@dataclass(slots=True)
class MergeReport:
    """What a merge read and wrote.

    Attributes:
        written: rows written.
        sources: the usable rows of each source, in the order given.
        duplicates: rows left out because an earlier one has the same instruction and response.
        unlicensed: rows whose licence or terms were left out, for which the format has no place.
        read: what the sources held, together.
    """

    written: int = 0
    sources: list[tuple[str, int]] = field(default_factory=list)
    duplicates: int = 0
    unlicensed: int = 0
    read: SeedReport = field(default_factory=SeedReport)

    def lines(self) -> list[str]:
        """Return the report in words, a fact a line; what is zero is left out."""
        lines = [f"{source}: {counted(rows, 'row')}" for source, rows in self.sources]
        lines.append(f"{counted(self.read.rows, 'row')} read, {self.written:,} written")
        if self.duplicates:
            lines.append(f"{counted(self.duplicates, 'equal row')} left out")
        return lines + left_out(self.unlicensed) + self.read.notes()


def write_dataset(records: Iterable[Record], path: str | Path, format: str) -> int:
    """Write records as a stream, in the order given, and return how many.

    The file appears, or is replaced, only when it is whole; on any error nothing changes.

    Raises:
        UsageError: there is no such format.
        RunError: the file cannot be written (no folder, no permission, full disk).
        MissingExtra: Parquet without pyarrow.
    """
    return write_rows((_of_record(record) for record in records), path, _check(format))


def convert(
    source: str | Path,
    out: str | Path | None,
    to: str | None = None,
    *,
    format: Format = "auto",
    instruction: str | None = None,
    response: str | None = None,
    on_bad_row: OnBadRow = "skip",
    keep_unanswered: bool = False,
    reader: str | None = None,
    catalog: Catalog | None = None,
) -> ConvertReport:
    """Write the rows of a source, duplicates too, in another format; as a stream, and whole or not at all.

    Rows that are evolteacher's own jsonl or Parquet keep their provenance in those two formats.

    Args:
        source: whatever a seed reader takes. May be the same file as ``out``.
        out: a file; None or ``-`` is standard output.
        to: the format to write, one of :data:`DATASET_FORMATS`; None tells it by the ending of ``out`` (.json is evol).
        format: the shape of the source's rows.
        instruction: the column that holds the instruction.
        response: the column that holds the response.
        on_bad_row: ``skip`` leaves bad rows out and counts them; ``fail`` stops at the first.
        keep_unanswered: whether rows without a response are written (output empty, null in jsonl and Parquet; in a
            conversation without the answer's turn) or, as they are of no use to a trainer, left out and counted.
        reader: the seed reader's name; None takes the one that claims the source.
        catalog: where readers are looked for; None is what is installed.

    Raises:
        SeedError: the source is missing or unreadable, or has no row that can be written.
        UsageError: there is no such format.
        RunError: ``out`` cannot be written.
        MissingExtra: a package is not installed.
    """
    kind = chosen_format(out, to)
    report = ConvertReport(kept_unanswered=keep_unanswered)
    source = str(source)
    examples = read_examples(
        reader_for(catalog or Catalog.load(), source, reader),
        source,
        format=format,
        instruction=instruction,
        response=response,
        on_bad_row=on_bad_row,
        report=report.read,
    )

    def rows() -> Iterator[Mapping[str, Any]]:
        answered = 0
        for row, example in examples:
            if example.response is None:
                report.unanswered += 1
            else:
                answered += 1
            if example.response is not None or keep_unanswered:
                report.unlicensed += loses_rights(example, kind)
                yield row_of(row, example)
        if not answered + report.unanswered:
            no_rows(source, report.read)
        if not answered and not keep_unanswered:
            raise SeedError(
                f"{source}: not one of its rows has a response: none has a text under {', '.join(RESPONSE_FIELDS)}. "
                "Name the response's column (response, --response), or write rows without (keep_unanswered, "
                "--keep-unanswered)"
            )

    report.written = write_rows(rows(), out, kind)
    return report


def merge(
    paths: Sequence[str | Path],
    out: str | Path | None,
    to: str | None = None,
    *,
    unique: bool = False,
    format: Format = "auto",
    on_bad_row: OnBadRow = "fail",
    catalog: Catalog | None = None,
) -> MergeReport:
    """Write the rows of several datasets into one, in the order given, as merge_evolutions of Evol-Teacher does.

    Every row is kept, also one without a response, and an empty dataset adds none. A stream; the file appears, or is
    replaced, only when it is whole, so ``out`` may be one of the sources.

    Args:
        paths: whatever seed readers take, one at least.
        out: a file; None or ``-`` is standard output.
        to: the format to write, one of :data:`DATASET_FORMATS`; None tells it by the ending of ``out`` (.json is evol).
        unique: whether the first of rows with equal instruction and response is the only one kept.
        format: the shape of the sources' rows.
        on_bad_row: ``fail`` stops at the first bad row; ``skip`` leaves them out and counts them.
        catalog: where readers are looked for; None is what is installed.

    Raises:
        SeedError: a source is missing or unreadable, or (``fail``) holds a bad row.
        UsageError: there is nothing to merge, or no such format.
        RunError: ``out`` cannot be written.
        MissingExtra: a package is not installed.
    """
    if not paths:
        raise UsageError("there is nothing to merge: name one dataset or more")
    kind = chosen_format(out, to)
    catalog = catalog or Catalog.load()
    readers = [(str(path), reader_for(catalog, str(path))) for path in paths]
    report = MergeReport()
    seen: set[bytes] = set()

    def rows() -> Iterator[Mapping[str, Any]]:
        for source, reader in readers:
            usable = 0
            for row, example in read_examples(reader, source, format=format, on_bad_row=on_bad_row, report=report.read):
                usable += 1
                if unique:
                    digest = _digest(example)
                    if digest in seen:
                        report.duplicates += 1
                        continue
                    seen.add(digest)
                report.unlicensed += loses_rights(example, kind)
                yield row_of(row, example)
            report.sources.append((source, usable))

    report.written = write_rows(rows(), out, kind)
    return report


def _check(format: str) -> DatasetFormat:
    for known in DATASET_FORMATS:
        if format == known:
            return known
    raise UsageError(f"no dataset format is called '{format}'.{did_you_mean(format, DATASET_FORMATS)}")


def chosen_format(out: str | Path | None, to: str | None) -> DatasetFormat:
    """Return the format that is asked for, or that the ending of ``out`` tells.

    Raises:
        UsageError: there is none of that name, or the ending tells none.
    """
    return _check(to if to is not None else _by_ending(out))


def _by_ending(out: str | Path | None) -> DatasetFormat:
    ending = "" if out is None else Path(out).suffix.lower()
    if ending not in _ENDINGS:
        raise UsageError(
            f"{out or '-'}: the name does not tell the format: say which ({', '.join(DATASET_FORMATS)}), "
            f"or let it end in {', '.join(_ENDINGS)}"
        )
    return _ENDINGS[ending]


def write_rows(rows: Iterable[Mapping[str, Any]], path: str | Path | None, format: DatasetFormat) -> int:
    """Write rows that hold every field of :data:`PROVENANCE`, and return how many; None is standard output."""
    with output(path) as out:
        if format == "parquet":
            return write_parquet(rows, out, PROVENANCE)
        if format == "jsonl":
            return write_lines(rows, out)
        shaped = (_shaped(row, format) for row in rows)
        return write_lines(shaped, out) if format == "chat" else write_list(shaped, out)


def _shaped(row: Mapping[str, Any], shape: Shape) -> dict[str, Any]:
    return to_shape(row["instruction"], row["output"], shape)


def _of_record(record: Record) -> dict[str, Any]:
    evolution = record.evolution
    return {
        "instruction": record.instruction.text,
        "output": record.response,
        "id": record.instruction.id,
        "lineage": record.lineage or None,
        "round": record.round,
        "depth": evolution.depth,
        "operator": evolution.operator,
        "parent_id": None if evolution.is_seed else evolution.parent.id,
        "model": record.reply.model or None,
        "evolve_model": evolution.reply.model or None,
        "source": record.source or None,
        "licence": record.licence or None,
        "terms": record.terms or None,
    }


def row_of(row: Row, example: Example) -> dict[str, Any]:
    """Return a row as read: with its own provenance if it is evolteacher's, else as a seed's."""
    identity = text_id(example.instruction)
    fields: dict[str, Any] = {
        "instruction": example.instruction,
        "output": example.response,
        "id": identity,
        "lineage": identity,
        "round": 0,
        "depth": 0,
        "operator": SEED_OPERATOR,
        "parent_id": None,
        "model": None,
        "evolve_model": None,
        "source": row.where,
        "licence": example.licence or None,
        "terms": example.terms or None,
    }
    if isinstance(row.data, Mapping) and PROVENANCE.keys() - {"terms"} <= row.data.keys():  # older rows have none
        carried = {name: row.data.get(name) for name in PROVENANCE if name not in ("instruction", "output", "id")}
        if all(_fits(value, PROVENANCE[name]) for name, value in carried.items()):
            fields.update(carried)
    return fields


def loses_rights(example: Example, format: DatasetFormat) -> bool:
    """Whether a row names a licence or terms for which a format has no place."""
    return format not in WITH_RIGHTS and bool(example.licence or example.terms)


def left_out(rows: int) -> list[str]:
    """Return what a report says of rows whose licence or terms were left out; nothing where there are none."""
    where = " and ".join(WITH_RIGHTS)
    return [f"licence or terms of {counted(rows, 'row')} left out: only {where} have a place for them"] if rows else []


def _fits(value: Any, kind: type) -> bool:
    if kind is int:
        return type(value) is int and 0 <= value < 2**31
    return value is None or isinstance(value, kind)


def _digest(example: Example) -> bytes:
    parts = hashlib.blake2b(digest_size=16)
    for text in (example.instruction, example.response or ""):
        data = text.encode("utf-8")
        parts.update(len(data).to_bytes(8, "big") + data)
    return parts.digest()
