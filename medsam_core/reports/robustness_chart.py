"""The curves of `robustness` as an SVG file: a panel for each kind of noise and region, a line for each prompt mode."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape

from medsam_core.gates.wording import metric_name
from medsam_core.reports.history_plot import LINES
from medsam_core.reports.robustness import CONFIDENCE, METRIC, SCOPE, UNITS, Curve, Point
from medsam_core.text import counted

_WIDTH, _HEIGHT = 420, 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 34, 44
_LINE = 16
"""Height in pixels of a line of the legend."""

Panel = tuple[str, str, tuple[Curve, ...]]
"""Title, label of the horizontal axis, and the curves."""


def panels(curves: Sequence[Curve]) -> list[list[Panel]]:
    """A row of panels for each kind of noise, a panel for each modality and region."""
    rows: dict[str, dict[str, list[Curve]]] = {}
    for curve in curves:
        place = rows.setdefault(curve.kind, {})
        place.setdefault(f"{curve.region} on {curve.modality}", []).append(curve)
    return [
        [(f"{kind}, {where}", f"{kind}, {UNITS[kind]}", tuple(found)) for where, found in row.items()]
        for kind, row in rows.items()
    ]


def label_of(curve: Curve) -> str:
    """The prompt mode, and the protocol unless bidirectional."""
    return curve.prompt if curve.protocol == "bidirectional" else f"{curve.prompt}, {curve.protocol}"


def known(curve: Curve) -> list[Point]:
    """The points that have a mean."""
    return [point for point in curve.points if math.isfinite(point.mean)]


def banded(curve: Curve) -> list[Point]:
    """The points that have a band."""
    return [point for point in known(curve) if math.isfinite(point.low)]


def limits(curves: Sequence[Curve]) -> tuple[float, float]:
    """The range of the vertical axis, the same in every panel: all means and bands, in tenths, never of no height."""
    values = [value for curve in curves for point in known(curve) for value in (point.mean, point.low, point.high)]
    finite = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = math.floor(min(finite) * 10) / 10, math.ceil(max(finite) * 10) / 10
    return (low, high) if low < high else (low - 0.1, high)


def robustness_svg(curves: Sequence[Curve]) -> str:
    """An SVG document that needs nothing else."""
    rows, styles = panels(curves), _styles(curves)
    width = _WIDTH * max(map(len, rows), default=1)
    legend = _LINE * (len(styles) + 1) + 8
    height = _HEIGHT * len(rows) + legend
    name, band = metric_name(METRIC, SCOPE), f"{CONFIDENCE:.0%}".replace("%", " %")
    title = f"mean {name} against the noise of the prompt; bands: {band} bootstrap interval by subject"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="sans-serif" font-size="12" role="img" aria-label="{escape(title)}">',
        f'<title>{escape(title)}</title><rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    span = limits(curves)
    for row, line in enumerate(rows):
        for column, panel in enumerate(line):
            parts.append(f'<g transform="translate({column * _WIDTH} {row * _HEIGHT})">')
            parts += [*_panel(panel, span, styles), "</g>"]
    top = _HEIGHT * len(rows) + _LINE
    for place, (label, (colour, dash)) in enumerate(styles.items()):
        y = top + place * _LINE
        parts.append(f'<path d="M{_LEFT} {y - 4}h28" stroke="{colour}" stroke-width="2"{dash}/>')
        parts.append(f'<text x="{_LEFT + 36}" y="{y}">{escape(label)}</text>')
    parts.append(f'<text x="{_LEFT}" y="{top + len(styles) * _LINE}" fill="#555555">{escape(title)}</text></svg>')
    return "\n".join(parts) + "\n"


def _styles(curves: Sequence[Curve]) -> dict[str, tuple[str, str]]:
    """Colour and dashes by label."""
    labels = dict.fromkeys(map(label_of, curves))
    dashes = ("", ' stroke-dasharray="6 3"', ' stroke-dasharray="2 3"')
    return {
        label: (LINES[place % len(LINES)], dashes[place // len(LINES) % len(dashes)])
        for place, label in enumerate(labels)
    }


def _panel(panel: Panel, span: tuple[float, float], styles: dict[str, tuple[str, str]]) -> Iterator[str]:
    title, axis, curves = panel
    amounts = sorted({point.amount for curve in curves for point in curve.points})
    low, high = span

    def x_of(amount: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * amount / max(*amounts, 1)

    def y_of(value: float) -> float:
        return _HEIGHT - _BOTTOM - (_HEIGHT - _BOTTOM - _TOP) * (value - low) / (high - low)

    yield f'<text x="{_LEFT}" y="20" font-weight="bold">{escape(title)}</text>'
    for tick in range(round(low * 10), round(high * 10) + 1):
        y = y_of(tick / 10)
        yield f'<path d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}" stroke="#dddddd"/>'
        yield f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick / 10:.1f}</text>'
    for amount in amounts:
        yield f'<text x="{x_of(amount):.1f}" y="{_HEIGHT - _BOTTOM + 16}" text-anchor="middle">{amount}</text>'
    yield f'<text x="{(_LEFT + _WIDTH - _RIGHT) / 2}" y="{_HEIGHT - 10}" text-anchor="middle">{escape(axis)}</text>'
    for curve in curves:
        colour, dash = styles[label_of(curve)]
        band = [f"{x_of(point.amount):.1f},{y_of(point.low):.1f}" for point in banded(curve)]
        band += [f"{x_of(point.amount):.1f},{y_of(point.high):.1f}" for point in reversed(banded(curve))]
        if band:
            yield f'<polygon points="{" ".join(band)}" fill="{colour}" fill-opacity="0.15"/>'
    for curve in curves:
        colour, dash = styles[label_of(curve)]
        line = " ".join(f"{x_of(point.amount):.1f},{y_of(point.mean):.1f}" for point in known(curve))
        yield f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>'
        for point in known(curve):
            note = (
                f"{curve.group} {curve.kind} {point.amount}: {point.mean:.3f} over {counted(point.subjects, 'subject')}"
            )
            yield (
                f'<circle cx="{x_of(point.amount):.1f}" cy="{y_of(point.mean):.1f}" r="3" fill="{colour}">'
                f"<title>{escape(note)}</title></circle>"
            )
