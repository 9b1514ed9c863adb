"""``evolteacher decontaminate``: a benchmark's problems in a dataset, without a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, get_args

import typer
from rich.table import Table
from rich.text import Text

from evolteacher.cleaning import MOST_RUN
from evolteacher.cleaning import decontaminate as decontaminate_dataset
from evolteacher.cli import values
from evolteacher.cli.convert import shape
from evolteacher.cli.options import (
    DatasetFile,
    InstructionColumn,
    ReaderName,
    ResponseColumn,
    Shape,
    Strict,
    benchmark_spec,
)
from evolteacher.cli.summary import fact_table
from evolteacher.cli.terminal import count, emit, load_catalog, note, plain, shortened
from evolteacher.dataset import DATASET_FORMATS
from evolteacher.decontamination.certificate import ContaminationPair
from evolteacher.decontamination.index import METHODS, ContaminationMethod, ContaminationSettings
from evolteacher.errors import UsageError, did_you_mean

FOUND = 1
"""The exit code where something was found and stays, so that a script can stop there."""

_DEFAULT = ContaminationSettings()


def decontaminate(
    source: DatasetFile,
    against: Annotated[
        list[str],
        typer.Option(
            "--against",
            metavar="BENCHMARK",
            help="humaneval, mbpp:FILE.jsonl, problems:FILE; or 'mbpp: {split: test}'. May be repeated.",
            show_default=False,
            autocompletion=values.components("benchmark"),
        ),
    ],
    out: Annotated[
        str | None, typer.Option("--out", metavar="FILE", help="Where to write the rows without; - is stdout.")
    ] = None,
    certificate: Annotated[
        Path | None, typer.Option("--certificate", metavar="FILE", help="Where to write what was found (JSON).")
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            "--method",
            metavar="METHOD",
            help=f"{', '.join(METHODS)}; by default the first three. May be repeated.",
            autocompletion=values.one_of(METHODS),
        ),
    ] = None,
    n: Annotated[int, typer.Option("--n", min=2, max=50, help="Words of an n-gram.")] = _DEFAULT.n,
    overlap: Annotated[
        float, typer.Option("--overlap", min=0.01, max=1, help="Share of a problem's n-grams that is too much.")
    ] = _DEFAULT.overlap,
    similarity: Annotated[
        float, typer.Option("--similarity", min=0.01, max=1, help="Similarity that is too much for minhash.")
    ] = _DEFAULT.similarity,
    run: Annotated[
        bool | None,
        typer.Option(
            "--run/--no-run",
            help=f"Run the benchmark's tests on the answers; by default up to {MOST_RUN:,} rows.",
            show_default=False,
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the certificate in place of the report.")] = False,
    most: Annotated[int, typer.Option("--show", min=0, help="Findings that are printed at most.")] = 20,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="FORMAT",
            help=f"{', '.join(DATASET_FORMATS)}; else as --out ends.",
            autocompletion=values.one_of(DATASET_FORMATS),
        ),
    ] = None,
    format: Shape = "auto",
    instruction: InstructionColumn = None,
    response: ResponseColumn = None,
    reader: ReaderName = None,
    strict: Strict = False,
) -> int:
    """Find a benchmark's problems in a dataset, side by side, and write the rows that hold none.

    The exit code is 0 where nothing was found or --out leaves it out, and 1 where something was found and stays.
    """
    if json and out == "-":
        raise UsageError("--json and --out - both write to standard output: give --out a file")
    report = decontaminate_dataset(
        source,
        [benchmark_spec(text, "--against") for text in against],
        out,
        to=to,
        settings=ContaminationSettings(_methods(method), n, overlap, similarity),
        run=run,
        certificate=certificate,
        format=shape(format),
        instruction=instruction,
        response=response,
        on_bad_row="fail" if strict else "skip",
        reader=reader,
        catalog=load_catalog(),
    )
    if json:
        print(report.certificate.as_json(), end="")
    elif out != "-":
        for pair in report.certificate.pairs[:most]:
            emit(_side_by_side(pair), Text())
        if (rest := len(report.certificate.pairs) - most) > 0:
            emit(Text(f" {count(rest, 'more finding')}: --show {most + rest} shows all, --certificate keeps them"))
    for line in report.lines():
        note(line)
    return FOUND if report.found and out is None else 0


def _methods(names: list[str] | None) -> tuple[ContaminationMethod, ...]:
    for name in names or ():
        if name not in METHODS:
            raise UsageError(f"--method {name}: there is no such method.{did_you_mean(name, METHODS)}")
    chosen = tuple(method for method in get_args(ContaminationMethod) if method in (names or ()))
    return chosen or _DEFAULT.methods


def _side_by_side(pair: ContaminationPair) -> Table:
    """Show a row and the problem that it holds, one beside the other."""
    whole = fact_table()
    whole.add_row(Text(f" {plain(pair.row)}, {pair.place}", "bold"))
    whole.add_row(Text(f" {plain(pair.reason)}", "red"))
    texts = Table(box=None, padding=(0, 2, 0, 1), pad_edge=False, header_style="dim", expand=True)
    texts.add_column(" the row", ratio=1, overflow="fold")
    texts.add_column(f" {plain(pair.problem)}, {pair.part}", ratio=1, overflow="fold")
    texts.add_row(Text(shortened(pair.text, 8, 200)), Text(shortened(pair.beside, 8, 200)))
    whole.add_row(texts)
    return whole
