"""Sources: from a file or a hub dataset to a stream of unique seeds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NoReturn

from pydantic import ValidationError

from evolteacher import shapes
from evolteacher.catalog import Catalog
from evolteacher.database import DATABASE
from evolteacher.errors import EvolteacherError, PluginError, SeedError
from evolteacher.record import Instruction, Seed, clean_text
from evolteacher.seeds import Row, SeedReader
from evolteacher.shapes import Example, Format

OnBadRow = Literal["skip", "fail"]
"""Whether a row that cannot be used is counted and left out, or ends the reading."""

MESSAGES_KEPT = 20
LICENCES_KEPT = 100


@dataclass(slots=True)
class SeedReport:
    """What a source held; filled in while it is read.

    Attributes:
        rows: rows read, bad ones included.
        seeds: unique seeds among them.
        answered: seeds that brought a response.
        bad: rows that could not be used.
        messages: the first 20 of these, each with file, line and reason.
        duplicates: rows whose instruction equals an earlier one's.
        surrogates: texts in which lone surrogates were replaced by U+FFFD.
        left_out: messages of conversations that no seed holds: system messages and turns after the first pair.
        licences: rows by licence, as far as rows name one (at most the first 100 names).
    """

    rows: int = 0
    seeds: int = 0
    answered: int = 0
    bad: int = 0
    messages: list[str] = field(default_factory=list)
    duplicates: int = 0
    surrogates: int = 0
    left_out: int = 0
    licences: Counter[str] = field(default_factory=Counter)

    def lines(self) -> list[str]:
        """Return the report in words, a fact a line; what is zero is left out."""
        head = f"{counted(self.rows, 'row')} read, {counted(self.seeds, 'seed')}, {self.answered:,} with a response"
        return [head, *self.notes()]

    def notes(self) -> list[str]:
        """Return what was left out or changed, in words, a fact a line."""
        lines = []
        if self.bad:
            lines.append(f"{counted(self.bad, 'bad row')} left out")
            lines += [f"  {message}" for message in self.messages]
            if self.bad > len(self.messages):
                lines.append(f"  … and {self.bad - len(self.messages):,} more")
        if self.duplicates:
            lines.append(f"{counted(self.duplicates, 'duplicate')} left out")
        if self.surrogates:
            lines.append(f"{counted(self.surrogates, 'text')} with lone surrogates, replaced by U+FFFD")
        if self.left_out:
            lines.append(f"{counted(self.left_out, 'message')} left out (system messages, turns after the first pair)")
        return lines


def counted(number: int, noun: str) -> str:
    """Return ``1 row``, ``2,000 rows``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def reader_for(
    catalog: Catalog, source: str, name: str | None = None, options: Mapping[str, Any] | None = None
) -> SeedReader:
    """Return the reader of a source.

    Args:
        catalog: where readers are looked for.
        source: a path, or a form that a reader claims, such as ``hf:owner/name``.
        name: the reader's short or qualified name; None takes the one that claims the source.
        options: the reader's options.

    Raises:
        SeedError: no reader, or more than one, claims the source; or an option is wrong.
        RecipeError: no reader has this name.
    """
    cls = _claimant(catalog, source) if name is None else catalog.find(SeedReader, name)
    try:
        return cls(**(options or {}))
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        known = ", ".join(cls.model_fields) or "none"
        raise SeedError(f"seed reader '{cls.name}': {faults} (its options: {known})") from None


def _claimant(catalog: Catalog, source: str) -> type[SeedReader]:
    entries = catalog.entries(SeedReader.kind)
    claiming = [
        entry
        for entry in entries
        if issubclass(entry.cls, SeedReader) and entry.cls.gives == "task" and entry.cls.claims(source)
    ]
    if len(claiming) == 1:
        return catalog.find(SeedReader, claiming[0].qualified)
    if claiming:
        names = " or ".join(entry.qualified for entry in claiming)
        raise SeedError(f"{source}: more than one seed reader takes this: name one (reader: {names})")
    if ":" not in source.partition("/")[0] and not Path(source).exists():
        raise SeedError(f"{source}: there is no such file")
    if (Path(source) / DATABASE).exists():
        raise SeedError(f"{source}: this is the folder of a run; its rows are in {Path(source) / 'dataset.jsonl'}")
    known = ", ".join(entry.cls.name for entry in entries) or "none"
    raise SeedError(f"{source}: no seed reader knows this kind of source: name one with `reader` (there is: {known})")


def read_examples(
    reader: SeedReader,
    source: str,
    *,
    format: Format = "auto",
    instruction: str | None = None,
    response: str | None = None,
    on_bad_row: OnBadRow = "skip",
    report: SeedReport,
) -> Generator[tuple[Row, Example], None, None]:
    """Read every usable row of a source with what it means, duplicates too, as a stream in the source's order.

    Texts hold no lone surrogates. Arguments and errors are those of :func:`read_seeds`, but that a source without a
    usable row is no error.
    """
    read = shapes.reader(format, instruction=instruction, response=response)
    with closing(_rows(reader, source)) as rows:
        before = ""
        for row in rows:
            report.rows += 1
            where = row.where if row.where != before else f"{row.where}, row {report.rows:,}"  # many rows in one line
            before = row.where
            try:
                if row.error:
                    raise SeedError(row.error)
                example = read(row.data)
            except SeedError as error:
                report.bad += 1
                message = f"{where}: {error}"
                if on_bad_row == "fail":
                    raise SeedError(
                        f"{message}. Mend the row, or leave bad rows out (on_bad_row: skip; on the command "
                        "line no --strict, or --skip-bad-rows)"
                    ) from None
                if len(report.messages) < MESSAGES_KEPT:
                    report.messages.append(message)
                continue
            example = _clean(example, report)
            report.left_out += example.left_out
            if example.licence and (example.licence in report.licences or len(report.licences) < LICENCES_KEPT):
                report.licences[example.licence] += 1
            yield row, example


@dataclass(frozen=True)
class Reading:
    """How a source is read, as often as is needed; the arguments of :func:`read_examples`."""

    reader: SeedReader
    source: str
    format: Format = "auto"
    instruction: str | None = None
    response: str | None = None
    on_bad_row: OnBadRow = "skip"

    def rows(self, report: SeedReport) -> Iterator[tuple[Row, Example]]:
        """Read it once."""
        examples = read_examples(
            self.reader,
            self.source,
            format=self.format,
            instruction=self.instruction,
            response=self.response,
            on_bad_row=self.on_bad_row,
            report=report,
        )
        with closing(examples):
            yield from examples


def read_seeds(
    reader: SeedReader,
    source: str,
    *,
    format: Format = "auto",
    instruction: str | None = None,
    response: str | None = None,
    on_bad_row: OnBadRow = "skip",
    report: SeedReport,
) -> Iterator[Seed]:
    """Read the unique seeds of a source as a stream, in its order; of equal instructions the first row is the seed.

    Memory grows by a 16-byte digest a seed, and by nothing else.

    Args:
        reader: see :func:`reader_for`.
        source: what the reader is to read.
        format: the shape of the rows; ``auto`` recognises each by itself.
        instruction: the column that holds the instruction.
        response: the column that holds the response.
        on_bad_row: ``skip`` counts a bad row and goes on; ``fail`` stops at the first.
        report: counted into while reading; complete when the stream has ended.

    Raises:
        SeedError: the source is missing or unreadable, holds no seed, or (``fail``) holds a bad row.
        UsageError: format and columns do not go together.
        MissingExtra: a package that the reader needs is not installed.
        PluginError: the reader broke its contract.
    """
    seen: set[bytes] = set()
    examples = read_examples(
        reader,
        source,
        format=format,
        instruction=instruction,
        response=response,
        on_bad_row=on_bad_row,
        report=report,
    )
    with closing(examples):
        for row, example in examples:
            task = Instruction(example.instruction)
            digest = bytes.fromhex(task.id)
            if digest in seen:
                report.duplicates += 1
                continue
            seen.add(digest)
            report.seeds += 1
            report.answered += example.response is not None
            yield Seed(task, example.response, row.where, example.licence, example.terms)
    if not seen:
        no_rows(source, report)


def no_rows(source: str, report: SeedReport) -> NoReturn:
    """Raise the SeedError of a source without a usable row."""
    if report.bad:
        raise SeedError(
            f"{source}: none of its {counted(report.rows, 'row')} can be used. The first: {report.messages[0]}"
        )
    raise SeedError(f"{source}: there is no row in it")


def _rows(reader: SeedReader, source: str) -> Generator[Row, None, None]:
    """Read the rows; whatever a reader raises against its contract becomes a PluginError that names it."""
    try:
        for row in reader.rows(source):
            if not isinstance(row, Row):
                raise PluginError(f"seed reader '{reader.name}' gave {type(row).__name__} where a Row is due")
            yield row
    except EvolteacherError:
        raise
    except Exception as error:
        raise PluginError(f"seed reader '{reader.name}' failed on {source}: {type(error).__name__}: {error}") from error


def _clean(example: Example, report: SeedReport) -> Example:
    task, in_task = clean_text(example.instruction)
    answer, in_answer = clean_text(example.response or "")
    licence, in_licence = clean_text(example.licence)
    damaged = bool(in_task) + bool(in_answer) + bool(in_licence)
    if not damaged:
        return example
    report.surrogates += damaged
    return replace(example, instruction=task, response=answer or None, licence=licence)
