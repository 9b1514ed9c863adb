"""A report's charts: drawn by matplotlib as SVG when the report is built, in the colours of the page.

matplotlib is in the extra ``report``. It draws without a display, a browser or a network, its SVG keeps text as text,
and it is as well kept as a library can be; those that draw in the browser are megabytes in every report. Without it a
report shows the same figures as tables.
"""

from __future__ import annotations

import io
import re
from typing import Any

from evolteacher.report.figures import Figure

INK = "#010203"
"""The colour that stands for the page's own, which differs by theme."""

SERIES = tuple(f"#0102{16 + number:02x}" for number in range(8))
"""Those that stand for the page's colours of series."""

_COLOURS = {INK: "var(--ink)", **{colour: f"var(--s{number})" for number, colour in enumerate(SERIES)}}

_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "evolteacher",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.usetex": False,
    "text.parse_math": False,
}

LONGEST = 28
"""Characters of a name in a chart; the table beside it has the whole."""


def installed() -> bool:
    """Say whether charts can be drawn."""
    from importlib.util import find_spec

    return find_spec("matplotlib") is not None


def draw(figure: Figure) -> str:
    """Return a figure as an SVG element that can stand in HTML."""
    import matplotlib
    from matplotlib.figure import Figure as Canvas

    with matplotlib.rc_context(_STYLE):
        least = {"across": 3.0, "intervals": 1.8}.get(figure.kind)
        tall = 3.2 if least is None else max(least, 1.2 + 0.28 * len(figure.rows))
        canvas = Canvas(figsize=(6.4, tall), layout="constrained")
        canvas.patch.set_visible(False)
        axes = canvas.add_subplot()
        axes.patch.set_visible(False)
        {"lines": _lines, "bars": _bars, "across": _across, "intervals": _intervals}[figure.kind](axes, figure)
        if len(figure.head) > 2 and figure.kind != "intervals":
            canvas.legend(loc="outside lower center", ncols=3, frameon=False)
        out = io.StringIO()
        canvas.savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return _inline(out.getvalue(), figure)


def _colour(number: int) -> str:
    return SERIES[number % len(SERIES)]


def _lines(axes: Any, figure: Figure) -> None:
    count = len(figure.rows)
    measured = [row[0] for row in figure.rows if isinstance(row[0], int | float)]
    places = measured if len(measured) == count else range(count)
    for number, name in enumerate(figure.head[1:]):
        values = [float("nan") if row[number + 1] is None else row[number + 1] for row in figure.rows]
        few = len(figure.rows) <= 12
        axes.plot(places, values, color=_colour(number), label=_short(name), marker="o" if few else "", markersize=4)
    if places is not measured:
        shown = range(0, count, max(1, -(-count // 8)))
        axes.set_xticks(shown, [_short(figure.rows[place][0]) for place in shown])
    axes.set_ylim(bottom=0)
    axes.set_xlabel(figure.head[0])
    axes.set_ylabel(_short(figure.unit))


def _bars(axes: Any, figure: Figure) -> None:
    """Draw a row's bars side by side, across, so that long names have room."""
    columns = len(figure.head) - 1
    for number, name in enumerate(figure.head[1:]):
        places = [row + (number - (columns - 1) / 2) * 0.8 / columns for row in range(len(figure.rows))]
        values = [row[number + 1] or 0 for row in figure.rows]
        axes.barh(places, values, height=0.75 / columns, color=_colour(number), label=_short(name))
    _named(axes, figure)


def _across(axes: Any, figure: Figure) -> None:
    left = [0.0] * len(figure.rows)
    for number, name in enumerate(figure.head[1:]):
        values = [float(row[number + 1] or 0) for row in figure.rows]
        axes.barh(range(len(figure.rows)), values, left=left, height=0.7, color=_colour(number), label=_short(name))
        left = [before + value for before, value in zip(left, values, strict=True)]
    axes.xaxis.get_major_locator().set_params(integer=True)
    _named(axes, figure)


def _intervals(axes: Any, figure: Figure) -> None:
    """Draw each row as a point, and a line from the end of its interval to the other."""
    for place, (_, value, low, high) in enumerate(figure.rows):
        assert isinstance(value, float) and isinstance(low, float) and isinstance(high, float)
        axes.plot([low, high], [place, place], color=_colour(0), linewidth=2.5, alpha=0.6)
        axes.plot([value], [place], color=_colour(0), marker="o", markersize=7, clip_on=False)
    axes.set_xlim(left=0)
    axes.set_ylim(-0.6, len(figure.rows) - 0.4)
    _named(axes, figure)


def _named(axes: Any, figure: Figure) -> None:
    axes.set_yticks(range(len(figure.rows)), [_short(row[0]) for row in figure.rows])
    axes.invert_yaxis()
    axes.set_xlabel(_short(figure.unit))


def _short(name: object) -> str:
    text = "".join(char if char.isprintable() else "\ufffd" for char in str(name))
    # An underscore at the beginning would take an entry out of the legend.
    text = f" {text}" if text.startswith("_") else text
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _inline(document: str, figure: Figure) -> str:
    """Take the SVG element out of a document, give its ids a name of their own, and the page's colours."""
    svg = document[document.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{figure.name}-", svg)
    for placeholder, colour in _COLOURS.items():
        svg = svg.replace(placeholder, colour)
    return svg.replace("<svg ", '<svg role="img" aria-hidden="true" ', 1)
