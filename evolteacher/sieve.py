"""Filters over any dataset's file, without a run: what is kept in one file, what is not in another, with its reason."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from evolteacher.catalog import Catalog
from evolteacher.dataset import DatasetFormat, chosen_format, left_out, loses_rights, row_of, write_rows
from evolteacher.errors import RecipeError, UsageError
from evolteacher.filter import DatasetFilter, Filter, ResponseFilter
from evolteacher.messages import NO_REPLY
from evolteacher.pipeline import Check, Pipeline, filter_fault, read_finding
from evolteacher.problems import Problems
from evolteacher.record import Evolution, Instruction, Record, clean_text
from evolteacher.requirements import missing
from evolteacher.seeds import Row
from evolteacher.selecting import selected
from evolteacher.shapes import Example, Format
from evolteacher.sources import OnBadRow, Reading, SeedReport, counted, no_rows, reader_for
from evolteacher.use import Use, UseReader
from evolteacher.writing import output, write_lines
from evolteacher.yamlfile import plain_data


@dataclass(slots=True)
class PruneReport:
    """What came of pruning a dataset.

    Attributes:
        written: rows written.
        rejected: filter's label -> rows that it rejected.
        unlicensed: rows whose licence or terms were left out, for which the format has no place.
        read: what the source held.
    """

    written: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    unlicensed: int = 0
    read: SeedReport = field(default_factory=SeedReport)

    def lines(self) -> list[str]:
        """Return the report in words, a fact a line."""
        lines = [f"{counted(self.read.rows, 'row')} read, {self.written:,} written"]
        lines += [f"{label}: {counted(number, 'row')} rejected" for label, number in self.rejected.items()]
        return lines + left_out(self.unlicensed) + self.read.notes()


def prune(
    source: str | Path,
    filters: Sequence[str | Mapping[str, Any]],
    out: str | Path | None,
    to: str | None = None,
    *,
    rejects: str | Path | None = None,
    format: Format = "auto",
    instruction: str | None = None,
    response: str | None = None,
    on_bad_row: OnBadRow = "skip",
    reader: str | None = None,
    catalog: Catalog | None = None,
) -> PruneReport:
    """Apply filters to the rows of a source, and write those that are kept, in their order.

    Row filters see each row as they see a seed, where they look by default or by ``on:``; then dataset filters run in
    the order given, each on what is left. A row without a response is judged by its instruction, and stays in the file.
    The source is read again for each step, so that memory does not grow with it, but for what a filter keeps.

    Args:
        source: whatever a seed reader takes, as often as it is asked. May be the same file as ``out``.
        filters: as a recipe lists them: names, or mappings of a name to options.
        out: a file; None or ``-`` is standard output.
        to: the format to write; None tells it by the ending of ``out``.
        rejects: a file for what was rejected: JSON Lines of ``order`` (its place among the usable rows, from 0:
            the number of the lineage that a reason names), ``source`` (file:line), ``filter``, ``reason``,
            ``instruction`` and ``output``.
        format: the shape of the source's rows.
        instruction: the column that holds the instruction.
        response: the column that holds the response.
        on_bad_row: ``skip`` leaves bad rows out and counts them; ``fail`` stops at the first.
        reader: the seed reader's name; None takes the one that claims the source.
        catalog: what is installed; loaded when None.

    Raises:
        SeedError: the source is missing or unreadable, or has no row.
        RecipeError: a filter is wrong, or can do nothing without a run.
        UsageError: there is no filter, or no such format; or a filter repairs a response, which only a run can keep.
        RunError: a file cannot be written.
        MissingExtra: a package is not installed.
    """
    catalog = catalog or Catalog.load()
    kind = chosen_format(out, to)
    rows, wholes = read_filters(filters, catalog)
    if lines := missing("filters", (*rows, *wholes)):
        raise UsageError("\n".join(lines))
    if rejects is not None and os.path.realpath(rejects) in {os.path.realpath(str(path)) for path in (source, out)}:
        raise UsageError(f"{rejects}: the rejects need a file of their own, beside what is read and written")
    reading = Reading(reader_for(catalog, str(source), reader), str(source), format, instruction, response, on_bad_row)
    return _Sieve(reading, rows, wholes).write(out, kind, rejects)


Uses = tuple[tuple[Use[Filter], ...], tuple[Use[DatasetFilter], ...]]
"""Row filters, and dataset filters."""


def read_filters(specs: Sequence[Any], catalog: Catalog) -> Uses:
    """Read filters as a recipe lists them, but row filters and dataset filters in one list.

    Raises:
        RecipeError: one is wrong, or can do nothing without a run; a line each.
        UsageError: there is none.
    """
    if not specs:
        raise UsageError("there is no filter: name one or more; `evolteacher plugins` lists what is installed")
    problems = Problems(plain_data({"filters": list(specs)}, "prune"))
    reader = UseReader(catalog, problems, ())
    rows: list[Use[Filter]] = []
    wholes: list[Use[DatasetFilter]] = []
    for place, spec in enumerate(problems.located.data["filters"]):
        name = next(iter(spec), None) if isinstance(spec, dict) else spec
        path = ("filters", place)
        if isinstance(name, str) and _is_whole(catalog, name):
            whole = reader.one(spec, DatasetFilter, path)
            wholes += [whole] if whole is not None else []
        elif (row := reader.one(spec, Filter, path)) is not None:
            if row.component.asks():
                what = "asks an LLM" if row.component.judging() else "runs code and stores what came of it"
                problems.add(path, f"'{row.label}' {what}, which only a run does: list it in a recipe")
            elif "seeds" not in row.component.allowed_on:
                problems.add(path, f"'{row.label}' judges a rewrite beside its parent, which only a run has")
            rows.append(row)
    labels = [*(use.label for use in rows), *(use.label for use in wholes)]
    for label in dict.fromkeys(label for label in labels if labels.count(label) > 1):
        problems.add(("filters",), f"'{label}' is there twice; tell them apart with 'as: other-name'")
    problems.raise_any()
    return tuple(rows), tuple(wholes)


def _is_whole(catalog: Catalog, name: str) -> bool:
    try:
        return issubclass(catalog.find(Filter, name), DatasetFilter)
    except RecipeError:
        return False


class _Sieve:
    """The filters over one source; what is rejected is kept by its row's number."""

    def __init__(self, reading: Reading, rows: tuple[Use[Filter], ...], wholes: tuple[Use[DatasetFilter], ...]) -> None:
        self._reading = reading
        self._pipeline = Pipeline.of(rows)
        self._wholes = wholes
        self._rejected: dict[int, tuple[str, str]] = {}

    def write(self, out: str | Path | None, kind: DatasetFormat, rejects: str | Path | None) -> PruneReport:
        """Run all filters, and write both files, whole or not at all."""
        for record in self._records() if self._pipeline.instruction or self._pipeline.response else ():
            found = self._row(record)
            if found is not None:
                self._rejected[record.order] = found
        for use in self._wholes:
            dropped = [(record.order, (use.label, reason)) for record, reason in selected(use, self._records, ())]
            self._rejected.update(dropped)
        report = PruneReport()
        with ExitStack() as stack:
            if rejects is not None:
                write_lines(self._rejects(), stack.enter_context(output(rejects)))
            report.written = write_rows(self._kept(report, kind), out, kind)
        report.rejected.update(label for label, _ in self._rejected.values())
        return report

    def _records(self) -> Iterator[Record]:
        """Read the rows that are left, as records; each with an id of its own, whatever their texts."""
        seen: Counter[str] = Counter()
        for order, (row, example) in enumerate(self._reading.rows(SeedReport())):
            record = _record(order, row, example, seen)
            if order not in self._rejected:
                yield record

    def _row(self, record: Record) -> tuple[str, str] | None:
        """Return the label and the reason of the first row filter that rejects."""
        checks: list[tuple[Check, Any]] = [(check, record.evolution) for check in self._pipeline.instruction]
        if record.response:
            checks += [(check, record) for check in self._pipeline.response]
        for check, subject in checks:
            assert check.quick is not None
            label, may_repair = check.use.label, isinstance(check.use.component, ResponseFilter)
            try:
                found = read_finding(label, check.quick(subject), may_repair=may_repair)
            except Exception as error:
                raise filter_fault(label, error) from error
            if found.response is not None:
                raise UsageError(f"prune: '{label}' repairs responses, which only a run keeps: list it in a recipe")
            if found.reason is not None:
                return label, clean_text(found.reason)[0]
        return None

    def _kept(self, report: PruneReport, kind: DatasetFormat) -> Iterator[Mapping[str, Any]]:
        for order, (row, example) in enumerate(self._reading.rows(report.read)):
            if order not in self._rejected:
                report.unlicensed += loses_rights(example, kind)
                yield row_of(row, example)
        if report.read.rows == report.read.bad:
            no_rows(self._reading.source, report.read)

    def _rejects(self) -> Iterator[Mapping[str, Any]]:
        for order, (row, example) in enumerate(self._reading.rows(SeedReport())):
            if order in self._rejected:
                label, reason = self._rejected[order]
                yield {
                    "order": order,
                    "source": row.where,
                    "filter": label,
                    "reason": reason,
                    "instruction": example.instruction,
                    "output": example.response,
                }


def _record(order: int, row: Row, example: Example, seen: Counter[str]) -> Record:
    """Return a row as a record, with its own provenance if it is evolteacher's; see :func:`row_of`."""
    fields = row_of(row, example)
    task = Instruction(example.instruction)
    made = Evolution(task, task, fields["operator"] or "", fields["round"], NO_REPLY, (), fields["depth"])
    lineage = fields["lineage"] or task.id
    key = f"{lineage}/{made.round}"
    seen[key] += 1
    if seen[key] > 1:  # the same text again, or the lineage of another run over the same seeds
        lineage = f"{lineage}#{seen[key]}"
    given = row.data.get("scores") if isinstance(row.data, Mapping) else None
    return Record(
        made, example.response or "", lineage=lineage, order=order, source=row.where, licence=example.licence,
        scores=_scores(given), terms=example.terms,
    )  # fmt: skip


def _scores(given: object) -> dict[str, float]:
    """Return a row's scores, without what is no finite number."""
    scores = {}
    for label, score in given.items() if isinstance(given, Mapping) else ():
        if isinstance(score, int | float) and not isinstance(score, bool):
            with suppress(OverflowError):  # a whole number of hundreds of digits
                scores[str(label)] = float(score)
    return {label: score for label, score in scores.items() if isfinite(score)}
