"""``--quiet``, ``--verbose`` and ``--log-json``: how much a command tells, the same for all that take their time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from evolteacher.cli.eventlog import STANDARD_ERROR, EventLog
from evolteacher.cli.terminal import note, plain
from evolteacher.errors import UsageError

Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Show nothing but errors, and at the end where the result is.")
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say what became of each one as it is done.")]
LogJson = Annotated[
    str | None,
    typer.Option("--log-json", metavar="FILE", help="Append events as JSON Lines; - is stderr, and quiet."),
]


@dataclass(frozen=True)
class Telling:
    """How much is told.

    Attributes:
        quiet: nothing but errors, and at the end where the result is.
        verbose: what became of each evolution, step or sample, too.
        log: where events go as JSON Lines; ``-`` is stderr.
    """

    quiet: bool = False
    verbose: bool = False
    log: str | None = None

    @classmethod
    def of(cls, quiet: bool, verbose: bool, log_json: str | None) -> Telling:
        """Return what the three options ask for; events on stderr stand there alone.

        Raises:
            UsageError: two of them do not go together.
        """
        if quiet and verbose:
            raise UsageError("--quiet and --verbose do not go together; give one of them")
        return cls(quiet or log_json == STANDARD_ERROR, verbose, log_json)

    @contextmanager
    def begun(self, say: Callable[[str], None] = note) -> Iterator[Voice]:
        """Tell as was asked for while the block lasts; each block appends to the log, and says there how it ended.

        Args:
            say: shows a line; not called where all is quiet.

        Raises:
            RunError: the log cannot be written.
        """
        with ExitStack() as stack:
            log = stack.enter_context(EventLog(self.log)) if self.log is not None else None
            yield Voice(self, say, log)

    def words(self) -> list[str]:
        """Return the options that ask for this, to be typed again."""
        loud = ["--quiet"] if self.quiet and self.log != STANDARD_ERROR else ["--verbose"] if self.verbose else []
        return [*loud, *(["--log-json", self.log] if self.log is not None else [])]

    def result(self, path: Path | str) -> None:
        """Print where the result is, where that is all that is printed."""
        if self.quiet:
            print(plain(path))


ALOUD = Telling()
"""What is told unless something else is asked for."""


@dataclass(frozen=True)
class Voice:
    """What a command tells with.

    Attributes:
        telling: how much is told.
        say: shows a line.
        log: takes events; None where there is no log.
    """

    telling: Telling
    say: Callable[[str], None]
    log: EventLog | None

    def note(self, line: str) -> None:
        """Tell what a user should know."""
        if not self.telling.quiet:
            self.say(line)
        if self.log is not None:
            self.log.note(line)

    def detail(self, line: str) -> None:
        """Tell what became of one of many."""
        if self.telling.verbose and not self.telling.quiet:
            self.say(line)

    def event(self, name: str, /, **fields: Any) -> None:
        """Write an event into the log, if there is one."""
        if self.log is not None:
            self.log.write(name, **fields)
