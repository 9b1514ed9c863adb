"""The loss curve as SVG, by hand: two lines and two axes need no plotting library."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

WIDTH, HEIGHT = 720, 360
LEFT, RIGHT, TOP, BOTTOM = 56, 16, 36, 44

_LINES = (("loss", "training", "#1f77b4"), ("eval_loss", "held out", "#d62728"))

Points = Sequence[tuple[float, float]]


def loss_curve(metrics: Iterable[Mapping[str, Any]], title: str) -> str:
    """Draw training and held-out loss over steps; the same metrics give the same bytes.

    Args:
        metrics: lines of a training's metrics.
        title: above the curve.
    """
    lines = list(metrics)
    series = [(label, colour, _points(lines, key)) for key, label, colour in _LINES]
    points = [point for _, _, found in series for point in found]
    body = [f'<text x="{LEFT}" y="20" font-size="14">{escape(title)}</text>']
    if not points:
        body.append(f'<text x="{LEFT}" y="{HEIGHT // 2}">Nothing was measured.</text>')
    else:
        steps = max(step for step, _ in points) or 1
        low, high = min(loss for _, loss in points), max(loss for _, loss in points)
        ticks = _ticks(min(low, 0.9 * high), high)
        scale = _Scale(steps, ticks[0], ticks[-1])
        body += [line for tick in ticks for line in _across(scale, tick)]
        body += [line for tick in _ticks(0, steps) if tick <= steps for line in _below(scale, tick)]
        for number, (label, colour, found) in enumerate(entry for entry in series if entry[2]):
            body += _line(scale, found, colour)
            x = WIDTH - RIGHT - 180 + 100 * number
            body.append(f'<text x="{x}" y="20" fill="{colour}">{label}</text>')
        body.append(f'<text x="{(LEFT + WIDTH - RIGHT) // 2}" y="{HEIGHT - 8}" text-anchor="middle">step</text>')
    style = 'font-family="sans-serif" font-size="11" fill="#333"'
    inner = "\n  ".join(body)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'role="img" {style}>\n  <title>{escape(title)}</title>\n  <rect width="{WIDTH}" height="{HEIGHT}" '
        f'fill="white"/>\n  {inner}\n</svg>\n'
    )


class _Scale:
    """Steps and losses to places in the picture."""

    def __init__(self, steps: float, low: float, high: float) -> None:
        self._steps, self._low, self._span = steps, low, (high - low) or 1.0

    def x(self, step: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * step / self._steps

    def y(self, loss: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (loss - self._low) / self._span


def _points(lines: Iterable[Mapping[str, Any]], key: str) -> Points:
    found = ((line.get("step"), line.get(key)) for line in lines)
    return [
        (float(step), float(loss))
        for step, loss in found
        if isinstance(step, int | float) and isinstance(loss, int | float) and math.isfinite(loss)
    ]


def _ticks(low: float, high: float) -> list[float]:
    """Return round numbers, about five of them, from one at or below ``low`` to one at or above ``high``."""
    span = (high - low) or abs(high) or 1.0
    rough = span / 5
    power = 10.0 ** math.floor(math.log10(rough))
    gap = next(gap for factor in (1, 2, 5, 10) if (gap := factor * power) >= rough * 0.999)
    first, last = math.floor(low / gap + 1e-9), math.ceil(high / gap - 1e-9)
    return [round(gap * number, 10) for number in range(first, last + 1)]


def _across(scale: _Scale, loss: float) -> list[str]:
    y = scale.y(loss)
    return [
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>',
        f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{loss:g}</text>',
    ]


def _below(scale: _Scale, step: float) -> list[str]:
    return [f'<text x="{scale.x(step):.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{step:g}</text>']


def _line(scale: _Scale, points: Points, colour: str) -> list[str]:
    places = [(scale.x(step), scale.y(loss)) for step, loss in points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    drawn = [f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>'] if len(places) > 1 else []
    few = places if len(places) <= 20 else []
    return drawn + [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{colour}"/>' for x, y in few]
