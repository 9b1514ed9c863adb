"""What reaches the terminal: texts made harmless, one line an error, and rich only where a screen is drawn."""

from __future__ import annotations

import io
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console

    from evolteacher.catalog import Catalog

WIDE = 10_000
"""Columns of what is piped or redirected: whoever reads it wraps for himself."""

_HARMFUL = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode's general categories of what steers a terminal or hides: controls, format characters (those that turn the
writing direction among them), lone surrogates, line and paragraph separators."""

_NEEDED = frozenset("\n\t\u200c\u200d")
"""Line breaks and tabs, and the joiners without which Persian and many emoji are wrong; all are harmless."""


class _Escapes(dict[int, str]):
    """What to show in place of each character; found out once for each."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        if char not in _NEEDED and unicodedata.category(char) in _HARMFUL:
            shown = f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
        else:
            shown = char
        self[code] = shown
        return shown


_ESCAPES = _Escapes()


def plain(text: object) -> str:
    r"""Return a text that is safe to show: what would steer the terminal, or deceive the eye, is escaped as ``\x1b``.

    Line breaks (CRLF as LF) and tabs stay; so do all characters that show.
    """
    return str(text).replace("\r\n", "\n").translate(_ESCAPES)


def one_line(text: object, most: int) -> str:
    """Return a text on one line, white space folded, of ``most`` characters at most."""
    # A text may be 100 kB; only its beginning can be shown.
    folded = re.sub(r"\s+", " ", plain(str(text)[: most * 8])).strip()
    longer = len(str(text)) > most * 8
    return folded if len(folded) <= most and not longer else f"{folded[: most - 1].rstrip()}…"


def shortened(text: object, lines: int, width: int = 500) -> str:
    """Return the first lines of a text, with a last one that says how much is missing; one line more is shown."""
    rows = plain(text).strip("\n").split("\n")
    rest = len(rows) - lines
    shown = [row if len(row) <= width else f"{row[: width - 1]}…" for row in (rows if rest == 1 else rows[:lines])]
    if rest > 1:
        shown.append(f"… {rest:,} more lines")
    return "\n".join(shown)


def count(number: int, noun: str) -> str:
    """Return ``1 seed`` or ``2 seeds``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def usd(dollars: float) -> str:
    """Write US dollars: to the cent, and small sums to a hundredth of one."""
    return f"${dollars:,.2f}" if dollars >= 1 else f"${dollars:,.4f}"


def duration(seconds: float) -> str:
    """Return a length of time as people write it: ``8 s``, ``3:05 min``, ``2:10 h``, ``3 d 4 h``."""
    if round(seconds) < 60:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}:{rest:02} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02} h" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def complain(kind: str, message: object) -> None:
    """Write one line (or several, where the message has them) to stderr: ``error: …``."""
    colour = {"error": "31", "warning": "33"}.get(kind)
    label = f"{kind}:"
    if colour is not None and sys.stderr.isatty() and not (os.environ.get("NO_COLOR") or bare_terminal()):
        label = f"\x1b[1;{colour}m{label}\x1b[0m"
    print(label, plain(message), file=sys.stderr, flush=True)


def bare_terminal() -> bool:
    """Whether ``TERM`` says that a terminal can only print: then no colours, pager or redrawing."""
    unset = "dumb" if os.name == "posix" else ""  # Windows sets it nowhere
    return (os.environ.get("TERM") or unset) in ("dumb", "unknown")


def note(line: str) -> None:
    """Write a line for the user to stderr, beside the results on stdout."""
    print(plain(line), file=sys.stderr, flush=True)


def load_catalog(*, quiet: bool = False) -> Catalog:
    """Load what is installed; each plugin that is left out is one ``warning:`` line, be it now or when it is needed.

    Args:
        quiet: say nothing of those, because the caller shows them; all are imported now.
    """
    import warnings

    from evolteacher.catalog import Catalog, PluginWarning

    if not quiet:
        warnings.simplefilter("always", PluginWarning)  # until the command ends: main() puts the filters back
        return Catalog.load()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PluginWarning)
        catalog = Catalog.load()
        catalog.entries()
        return catalog


def console(*, stderr: bool = False) -> Console:
    """Return a console that takes no text for markup, and does not wrap what is piped.

    Whatever it is given, only its own colours steer the terminal: see :func:`plain`.
    """
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment

    class Harmless(Console):
        def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
            for segment in super().render(renderable, options):
                yield segment if segment.control else Segment(plain(segment.text), segment.style)

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or os.environ.get("COLUMNS") else WIDE
    return Harmless(stderr=stderr, markup=False, highlight=False, emoji=False, width=width)


def emit(*renderables: Any) -> None:
    """Print to stdout; what is piped has neither colours nor blanks at line ends."""
    out = console()
    if out.is_terminal:
        for renderable in renderables:
            out.print(renderable)
        return
    with out.capture() as captured:
        for renderable in renderables:
            out.print(renderable)
    lines = (line.rstrip() for line in captured.get().splitlines())
    sys.stdout.write("".join(f"{line}\n" for line in lines))


@contextmanager
def paged(*, pager: bool = True) -> Iterator[None]:
    """Show what is emitted in the block in a pager, where stdout is a terminal and the text is longer than it.

    That is ``PAGER``, else ``less``; with neither, or ``pager`` False, the text is printed as it is.
    """
    words = _pager()
    out = console()
    if not (pager and words and out.is_terminal and not bare_terminal() and shutil.which(words[0])):
        yield
        return
    stdout, sys.stdout = sys.stdout, _Kept(sys.stdout)
    try:
        yield
    finally:
        kept, sys.stdout = sys.stdout.getvalue(), stdout
        if kept.count("\n") < out.height:
            stdout.write(kept)
        else:
            _show_in(words, kept)


def _pager() -> list[str]:
    """Return the pager's command; none where ``PAGER`` is empty or no command line."""
    try:
        words = shlex.split(os.environ.get("PAGER", "less"))
    except ValueError:
        return []
    if words and Path(words[0]).name == "less":
        words.append("-R")  # LESS may be set without it, and colours would be shown as ESC[32m
    return words


class _Kept(io.StringIO):
    """Keeps what is written to a terminal, and says of itself what the terminal would."""

    def __init__(self, terminal: TextIO) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        """As a terminal is."""
        return True

    def fileno(self) -> int:
        """Of the terminal, whose size is asked for."""
        return self._terminal.fileno()


def _show_in(words: list[str], text: str) -> None:
    """Hand a text to a pager; Ctrl-C is the pager's to answer, and leaving it early no error."""
    old = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        environment = {"LESS": "FRX", **os.environ}  # colours pass, and a text that fits is just printed
        subprocess.run(words, input=text.encode("utf-8", "backslashreplace"), env=environment, check=False)
    finally:
        signal.signal(signal.SIGINT, old)


def program() -> str:
    """Return how this program was started, so that a command line that is printed can be pasted.

    ``evolteacher`` where that name finds it, else its path, or ``python -m evolteacher``.
    """
    started = Path(sys.argv[0])
    if started.name == "__main__.py" and started.parent.name == "evolteacher":
        return f"{shlex.quote(sys.executable)} -m evolteacher"
    found = shutil.which("evolteacher")
    if started.name != "evolteacher" or (found is not None and Path(found).resolve() == started.resolve()):
        return "evolteacher"
    return shlex.quote(str(started))


def path_word(path: Path) -> str:
    """Return a path as a word of a command, which no program takes for an option."""
    return f"./{path}" if str(path).startswith("-") else str(path)


def command_line(*words: str | Path) -> str:
    """Return a command of this program, quoted for a POSIX shell."""
    return f"{program()} {shlex.join(path_word(word) if isinstance(word, Path) else word for word in words)}"
