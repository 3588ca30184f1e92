"""Lines over runs as SVG inside of a page: no script, no request."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _LEFT, _RIGHT, _TOP, _BOTTOM = 900, 60, 130, 10, 8
_LETTER = 7
"""Width in pixels of a letter of the labels, about."""
STYLE = """
:root { --c0: #0072b2; --c1: #8a5fbf; --c2: #4a4a4a; --c3: #3a94c9; --c4: #11806f; --c5: #7a7ab0;
  --pass: #2a7f3f; --fail: #c0392b; --open: #946b00; --none: #777; }
@media (prefers-color-scheme: dark) { :root {
  --c0: #5cb3ff; --c1: #b794f4; --c2: #cfcfcf; --c3: #86d0f5; --c4: #4fd1c5; --c5: #a9a9de;
  --pass: #5fc27e; --fail: #ff7b6b; --open: #e0b040; --none: #999; } }
.lines { width: 100%; height: auto; display: block; font-size: 12px; }
.lines text { fill: var(--soft); } .grid { stroke: var(--rule); } .tick { text-anchor: end; }
.date, .mark { text-anchor: middle; } .mark { font-size: 14px; }
.lines polyline { fill: none; stroke-width: 1.6; } .dash1 { stroke-dasharray: 6 3; } .dash2 { stroke-dasharray: 2 3; }
.c0 { --own: var(--c0); } .c1 { --own: var(--c1); } .c2 { --own: var(--c2); } .c3 { --own: var(--c3); }
.c4 { --own: var(--c4); } .c5 { --own: var(--c5); }
.lines polyline { stroke: var(--own); } .lines circle, .lines text.end { fill: var(--own); }
.lines text.pass { fill: var(--pass); } .lines text.fail { fill: var(--fail); } .lines text.open { fill: var(--open); }
.lines text.none { fill: var(--none); }
"""
"""The style of the charts; the page says what --soft and --rule are: the colours of labels and of thin lines."""


@dataclass(frozen=True)
class Line:
    """One line of a chart."""

    label: str
    """At its end."""
    values: tuple[float, ...]
    """One for each place of the axis; NaN where there is none, and the line goes on behind it."""
    notes: tuple[str, ...]
    """What is shown when the pointer is on a point, one for each place."""
    style: str
    """The class of its colour and dashes."""


def line_chart(lines: Sequence[Line], *, title: str, height: int, from_zero: bool = False) -> str:
    """An `<svg>` of lines whose points are at equal distances.

    title: what is drawn, with its unit; also for screen readers. height: pixels.
    """
    finite = [value for line in lines for value in line.values if math.isfinite(value)]
    low, high = _range(finite, from_zero)
    ticks = _ticks(low, high)
    digits = max(0, -math.floor(math.log10(ticks[1] - ticks[0]))) if len(ticks) > 1 else 3
    bottom = height - _BOTTOM

    def y_of(value: float) -> float:
        return bottom - (value - low) / (high - low) * (bottom - _TOP)

    parts = [
        f'<svg class="lines" viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(title)}">',
        f"<title>{escape(title)}</title>",
        *(
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y_of(tick):.1f}" y2="{y_of(tick):.1f}"/>'
            f'<text class="tick" x="{_LEFT - 6}" y="{y_of(tick) + 4:.1f}">{tick:.{digits}f}</text>'
            for tick in ticks
        ),
    ]
    labels = []
    for line in lines:
        points = [
            (x, y_of(value), note)
            for x, value, note in zip(places(len(line.values)), line.values, line.notes, strict=True)
            if math.isfinite(value)
        ]
        if not points:
            continue
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in points)
        parts.append(f'<polyline class="{line.style}" points="{path}"/>')
        parts += [
            f'<circle class="{line.style}" cx="{x:.1f}" cy="{y:.1f}" r="3"><title>{escape(note)}</title></circle>'
            for x, y, note in points
        ]
        labels.append((points[-1][1], line))
    room = (_RIGHT - 12) // _LETTER
    for y, line in _apart(labels, bottom):
        label = line.label if len(line.label) <= room else f"{line.label[: room - 1]}…"
        parts.append(f'<text class="end {line.style}" x="{_WIDTH - _RIGHT + 8}" y="{y + 4:.1f}">{escape(label)}</text>')
    return "".join([*parts, "</svg>"])


def places(count: int) -> list[float]:
    """The x of each of `count` places, in pixels of the chart, at equal distances; a single one is in the middle."""
    span = _WIDTH - _LEFT - _RIGHT
    if count == 1:
        return [_LEFT + span / 2]
    return [_LEFT + 10 + (span - 20) * place / (count - 1) for place in range(count)]


def verdict_strip(marks: Sequence[tuple[str, str, str]], dates: Sequence[str]) -> str:
    """An `<svg>` below the charts: a mark for each run and dates where there is room.

    marks: letter, note and class of each run. dates: of each run.
    """
    xs = places(len(marks))
    shown: list[int] = []
    for place, x in enumerate(xs):
        if not shown or x - xs[shown[-1]] >= 12 * _LETTER:
            shown.append(place)
    parts = [f'<svg class="lines" viewBox="0 0 {_WIDTH} 46" role="img" aria-label="verdicts and dates">']
    parts += [
        f'<text class="mark {style}" x="{x:.1f}" y="16">{escape(letter)}<title>{escape(note)}</title></text>'
        for x, (letter, note, style) in zip(xs, marks, strict=True)
    ]
    parts += [f'<text class="date" x="{xs[place]:.1f}" y="38">{escape(dates[place])}</text>' for place in shown]
    return "".join([*parts, "</svg>"])


def _range(values: Sequence[float], from_zero: bool) -> tuple[float, float]:
    """What the axis shows: the values with a margin, never of no height."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if from_zero:
        low = min(0.0, low)
    margin = 0.08 * (high - low) or max(0.01, 0.05 * abs(high))
    return (low if from_zero else low - margin), high + margin


def _ticks(low: float, high: float) -> list[float]:
    """Three to six round numbers in the range."""
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    first = math.ceil(low / step - 1e-9)
    return [place * step for place in range(first, math.floor(high / step + 1e-9) + 1)]


def _apart(labels: Sequence[tuple[float, Line]], bottom: float) -> list[tuple[float, Line]]:
    """The labels, moved so that none covers another."""
    placed: list[tuple[float, Line]] = []
    for y, line in sorted(labels, key=lambda one: one[0]):
        placed.append((max(y, placed[-1][0] + 14) if placed else y, line))
    over = max(0.0, placed[-1][0] - bottom) if placed else 0.0
    return [(y - over, line) for y, line in placed]
