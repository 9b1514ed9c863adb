"""``evolteacher plugins check``: what is wrong with an installed plugin, and how to mend it."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.padding import Padding
from rich.text import Text

from evolteacher.checkup import check_package
from evolteacher.cli import values
from evolteacher.cli.terminal import count, emit, load_catalog, plain


def check(
    package: Annotated[
        str,
        typer.Argument(
            help="What was pip-installed, or one of its entry points.",
            show_default=False,
            autocompletion=values.packages,
        ),
    ],
) -> int:
    """Look an installed plugin over: entry points, hooks, names, options, and how it takes odd texts.

    The exit code is 1 where something is wrong.
    """
    report = check_package(package, load_catalog(quiet=True))
    emit(Text.assemble((plain(report.package), "bold"), ": ", _verdict(len(report.findings))))
    if report.brings:
        emit(Padding(Text(f"It brings {plain(', '.join(report.brings))}."), (0, 0, 0, 2)))
    for number, finding in enumerate(report.findings, 1):
        emit(
            Text(),
            Text(f"{number}. {plain(finding.what)}"),
            Padding(Text.assemble(("To mend it: ", "dim"), plain(finding.mend)), (0, 0, 0, 3)),
        )
    return 1 if report.findings else 0


def _verdict(findings: int) -> str:
    return f"{count(findings, 'problem')}" if findings else "nothing is wrong."
