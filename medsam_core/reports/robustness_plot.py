"""The curves of `robustness` as a PNG file, drawn by matplotlib."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from medsam_core.errors import RunError
from medsam_core.files import written_whole
from medsam_core.gates.wording import metric_name
from medsam_core.reports.history_plot import DASHES, LINES
from medsam_core.reports.robustness import METRIC, SCOPE, Curve
from medsam_core.reports.robustness_chart import banded, known, label_of, limits, panels


def can_draw() -> bool:
    """Whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def robustness_png(curves: Sequence[Curve], path: Path) -> None:
    """Write the panels of `robustness_chart` as PNG, whole or not at all. Needs matplotlib. Raises RunError."""
    from matplotlib.figure import Figure

    rows, labels = panels(curves), list(dict.fromkeys(map(label_of, curves)))
    columns = max(map(len, rows))
    figure = Figure(figsize=(4.2 * columns, 3 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), columns, squeeze=False, sharey=True)
    axes[0, 0].set_ylim(*limits(curves))
    for row, line in enumerate(rows):
        for empty in axes[row, len(line) :]:
            empty.set_axis_off()
        axes[row, 0].set_ylabel(f"mean {metric_name(METRIC, SCOPE)}")
        for at, (title, axis, own) in zip(axes[row], line, strict=False):
            for curve in filter(known, own):
                place = labels.index(label_of(curve))
                colour, dash = LINES[place % len(LINES)], DASHES[place // len(LINES) % len(DASHES)]
                amounts, means = zip(*((point.amount, point.mean) for point in known(curve)), strict=True)
                at.plot(amounts, means, label=label_of(curve), color=colour, linestyle=dash, marker=".")
                band = [(point.amount, point.low, point.high) for point in banded(curve)]
                if band:
                    at.fill_between(*zip(*band, strict=True), color=colour, alpha=0.15, linewidth=0)
            at.set_title(title, fontsize=10)
            at.set_xlabel(axis)
            at.set_xticks(sorted({point.amount for curve in own for point in curve.points}))
            at.grid(alpha=0.3)
    if any(map(known, rows[0][0][2])):
        axes[0, 0].legend(fontsize=8)
    with written_whole(path, error=RunError, fix="choose another --output") as partial:
        figure.savefig(partial, dpi=120, format="png")
