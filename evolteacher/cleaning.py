"""Decontamination of any dataset's file, without a run."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from evolteacher.awaiting import carried_out
from evolteacher.catalog import Catalog
from evolteacher.dataset import DatasetFormat, chosen_format, left_out, loses_rights, row_of, write_rows
from evolteacher.decontamination.against import BenchmarkSpec, NamedBenchmark, read_benchmarks
from evolteacher.decontamination.certificate import Certificate, ContaminationPair
from evolteacher.decontamination.index import ContaminationIndex, ContaminationSettings
from evolteacher.decontamination.running import BenchmarkRunner
from evolteacher.errors import UsageError
from evolteacher.seeds import Row
from evolteacher.shapes import Example, Format
from evolteacher.sources import OnBadRow, Reading, SeedReport, counted, no_rows, reader_for
from evolteacher.writing import output

MOST_RUN = 5_000
"""Rows up to which the benchmark's tests are run unless that is asked for, or forbidden."""

AT_ONCE = 16
"""Answers that wait for the sandbox at once; it takes as many at a time as there are cores."""


@dataclass(slots=True)
class DecontaminationReport:
    """What came of decontaminating a dataset.

    Attributes:
        certificate: benchmarks, settings, and what was found.
        written: rows written; None where nothing was to be.
        ran: whether the benchmarks' tests were run, as far as there are any.
        unlicensed: rows whose licence or terms were left out, for which the format has no place.
        read: what the source held.
    """

    certificate: Certificate
    written: int | None = None
    ran: bool = False
    unlicensed: int = 0
    read: SeedReport = field(default_factory=SeedReport)

    @property
    def found(self) -> int:
        """Rows in which something was found."""
        return len({pair.row for pair in self.certificate.pairs})

    def lines(self) -> list[str]:
        """Return the report in words, a fact a line."""
        lines = [f"{counted(self.certificate.checked, 'row')} checked, {self.found:,} with a problem of a benchmark"]
        if self.written is not None:
            lines.append(f"{self.written:,} written")
        if not self.ran:
            lines.append("no answer was run on the benchmarks' tests (--run does that)")
        return lines + left_out(self.unlicensed) + self.read.notes()


def decontaminate(
    source: str | Path, against: Sequence[BenchmarkSpec], out: str | Path | None = None, **options: Any
) -> DecontaminationReport:
    """Find the problems of benchmarks in a dataset; see :func:`adecontaminate`, which Jupyter awaits.

    Raises:
        UsageError: an event loop is running already; all other errors are those of :func:`adecontaminate`.
    """
    return carried_out("decontaminate", adecontaminate, source, against, out, **options)


async def adecontaminate(
    source: str | Path,
    against: Sequence[BenchmarkSpec],
    out: str | Path | None = None,
    to: str | None = None,
    *,
    settings: ContaminationSettings | None = None,
    run: bool | None = None,
    certificate: str | Path | None = None,
    format: Format = "auto",
    instruction: str | None = None,
    response: str | None = None,
    on_bad_row: OnBadRow = "skip",
    reader: str | None = None,
    catalog: Catalog | None = None,
) -> DecontaminationReport:
    """Find the problems of benchmarks in a dataset, and write the rows that hold none.

    Args:
        source: whatever a seed reader takes. May be the same file as ``out``.
        against: benchmarks: ``humaneval``, ``mbpp:FILE``, or a mapping of a name to options.
        out: a file for the rows in which nothing was found, ``-`` for standard output; None writes none.
        to: the format to write; None tells it by the ending of ``out``.
        settings: what counts as found.
        run: whether the benchmarks' tests are run on the answers; None: up to :data:`MOST_RUN` rows.
        certificate: a file for the certificate (JSON).
        format: the shape of the source's rows.
        instruction: the column that holds the instruction.
        response: the column that holds the response.
        on_bad_row: ``skip`` leaves bad rows out and counts them; ``fail`` stops at the first.
        reader: the seed reader's name; None takes the one that claims the source.
        catalog: what is installed; loaded when None.

    Raises:
        SeedError: the source is missing or unreadable, or has no row.
        UsageError: a benchmark is unknown, wrong or missing, or there is no such format.
        RunError: a file cannot be written.
        MissingExtra: a package is not installed.
    """
    catalog = catalog or Catalog.load()
    kind = chosen_format(out, to) if out is not None else None
    taken = {os.path.realpath(str(path)) for path in (source, out) if path is not None}
    if certificate is not None and os.path.realpath(certificate) in taken:
        raise UsageError(f"{certificate}: the certificate needs a file of its own, beside what is read and written")
    benchmarks = read_benchmarks(against, catalog)
    settings = settings or ContaminationSettings()
    reading = Reading(reader_for(catalog, str(source), reader), str(source), format, instruction, response, on_bad_row)
    search = _Search(benchmarks, settings)
    read = SeedReport()
    for order, (row, example) in enumerate(reading.rows(read)):
        search.look(order, row, example)
    if not search.checked:
        no_rows(str(source), read)
    can_run = any(problem.runnable for benchmark in benchmarks for problem in benchmark.problems)
    ran = can_run and (search.checked <= MOST_RUN if run is None else run)
    if ran:
        await search.run(reading)
    report = DecontaminationReport(
        search.certificate(removing=kind is not None, ran=ran), ran=ran or not can_run, read=read
    )
    with ExitStack() as stack:  # the certificate first: what was found stays known where the rows replace their source
        if certificate is not None:
            file = stack.enter_context(output(certificate))
            file.write(report.certificate.as_json().encode("utf-8"))
        if kind is not None:
            report.written = write_rows(_kept(reading, search, report, kind), out, kind)
    return report


def _kept(
    reading: Reading, search: _Search, report: DecontaminationReport, kind: DatasetFormat
) -> Iterator[Mapping[str, Any]]:
    for order, (row, example) in enumerate(reading.rows(SeedReport())):
        if order not in search.pairs:
            report.unlicensed += loses_rights(example, kind)
            yield row_of(row, example)


class _Search:
    """A search through one source; what is found is kept by its row's number."""

    def __init__(self, benchmarks: tuple[NamedBenchmark, ...], settings: ContaminationSettings) -> None:
        self.benchmarks = benchmarks
        self.settings = settings
        self.checked = 0
        self.pairs: dict[int, list[ContaminationPair]] = {}
        self._index = ContaminationIndex({each.name: each.problems for each in benchmarks}, settings)
        self._runner = BenchmarkRunner({each.name: each.problems for each in benchmarks})

    def look(self, order: int, row: Row, example: Example) -> None:
        """Look at the texts of a row."""
        self.checked += 1
        for place, text in (("instruction", example.instruction), ("response", example.response or "")):
            pairs = [ContaminationPair.of_hit(row.where, place, text, hit) for hit in self._index.find(text)]
            if pairs:
                self.pairs.setdefault(order, []).extend(pairs)

    async def run(self, reading: Reading) -> None:
        """Run the benchmarks' tests on every answer; the order in which results come changes nothing."""
        found: dict[int, list[ContaminationPair]] = {}
        rows = enumerate(reading.rows(SeedReport()))

        async def work() -> None:
            for order, (row, example) in rows:
                answer = example.response or ""
                solved = await self._runner.find(answer)
                if solved:
                    found[order] = [ContaminationPair.of_solved(row.where, answer, each) for each in solved]

        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(work())
        for order, pairs in found.items():
            self.pairs.setdefault(order, []).extend(pairs)

    def certificate(self, removing: bool, ran: bool) -> Certificate:
        """Return what was looked for and found."""
        checks: dict[str, dict[str, Any]] = {"texts": {**asdict(self.settings), "methods": list(self.settings.methods)}}
        if ran:
            checks["tests"] = {"sandbox": self._runner.sandbox.identity()}
        pairs = [pair for order in sorted(self.pairs) for pair in self.pairs[order]]
        return Certificate(self.benchmarks, checks, self.checked, len(self.pairs) if removing else 0, pairs)
