"""A history as a picture: accuracy, latency and verdicts by date, a chart for each cohort and machine."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medsam_core.errors import OptionError, RunError
from medsam_core.files import written_whole
from medsam_core.gates.wording import metric_name, unit_of
from medsam_core.outcome import Outcome
from medsam_core.reports.history import NOT_JUDGED, Entry
from medsam_core.reports.history_steps import groups_of, series
from medsam_core.reports.history_table import heading

MARKS = {
    Outcome.PASS.value: ("#2a7f3f", "o"),
    Outcome.FAIL.value: ("#c0392b", "X"),
    Outcome.INCONCLUSIVE.value: ("#b8860b", "D"),
    NOT_JUDGED: ("#777777", "s"),
}
"""Colour and marker of an outcome; no group is drawn in one of these colours."""
LINES = ("#0072b2", "#8a5fbf", "#4a4a4a", "#56b4e9", "#1b998b", "#a0a0c8")
DASHES = ("-", "--", ":")
"""Colours of the groups; the seventh group has the first colour again, with dashes."""
_LEGEND = 16
"""Groups in a column of the legend."""


def plot(entries: Sequence[Entry], path: Path | str, *, metric: str = "dice", scope: str = "volume") -> int:
    """Draw means, time per subject and verdicts over the runs' dates, as PNG, SVG or PDF by the path's ending.

    Only finished runs are drawn: the mean of a part of the cases is not that of all. Returns how many these are.
    Raises RunError if there is none, or the file cannot be written; OptionError without matplotlib.
    """
    try:
        from matplotlib.figure import Figure  # not needed to list runs
    except ImportError:
        fix = 'pip install "medsam-core[suite]"'
        raise OptionError(f"--plot: matplotlib is not installed, expected it to draw the plot; {fix}.") from None

    path = Path(path)
    charts = charts_of(entries, path, metric)
    figure = Figure(figsize=(9, 6 * len(charts)), layout="constrained")
    rows = figure.subplots(3 * len(charts), 1, squeeze=False, height_ratios=[6, 2, 1] * len(charts))[:, 0]
    for place, runs in enumerate(charts):
        scores, seconds, verdicts = rows[3 * place : 3 * place + 3]
        _draw(runs, scores, seconds, verdicts)
        scores.set_title(heading(runs, entries), fontsize=10)
        scores.set_ylabel(f"mean {metric_name(metric, scope)}{unit_of(metric)}")
    fix = "choose a place and an ending .png or .svg"
    try:
        with written_whole(path, error=RunError, fix=fix) as partial:
            figure.savefig(partial, dpi=120)
    except ValueError as error:  # an ending that matplotlib does not know
        raise RunError(f"{path}: cannot be written ({error}); {fix}.") from None
    return sum(map(len, charts))


def charts_of(entries: Sequence[Entry], path: Path, metric: str) -> list[list[Entry]]:
    """The series to draw, the newest first. Raises RunError if there is none."""
    charts = series(entries)[::-1]
    if not charts:
        raise RunError(
            f"{path}: got no finished run with a date and a score of {metric}, expected at least one; choose a "
            "--metric."
        )
    return charts


def _draw(runs: Sequence[Entry], scores: Any, seconds: Any, verdicts: Any) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    dates = [when for one in runs if (when := one.when) is not None]
    for place, group in enumerate(groups_of(runs)):
        points = [(one.when, one.means[group]) for one in runs if one.means and group in one.means]
        style = {"color": LINES[place % len(LINES)], "linestyle": DASHES[place // len(LINES) % len(DASHES)]}
        scores.plot(*zip(*points, strict=True), label=group, linewidth=1.2, marker=".", markersize=5, **style)
    columns = math.ceil(len(groups_of(runs)) / _LEGEND)
    scores.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8 if columns == 1 else 6, ncols=columns)
    timed = [(one.when, one.seconds) for one in runs if not math.isnan(one.seconds)]
    if timed:
        seconds.plot(*zip(*timed, strict=True), color=LINES[2], marker=".", markersize=5)
        seconds.set_ylim(0, 1.15 * max(value for _, value in timed) or 1)
    seconds.set_ylabel("s per subject")
    for outcome, (colour, marker) in MARKS.items():
        marked = [one.when for one in runs if one.outcome == outcome]
        if marked:
            verdicts.scatter(marked, [0] * len(marked), c=colour, marker=marker, s=36, label=outcome)
    verdicts.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8)
    verdicts.set_yticks([])
    verdicts.set_ylabel("verdict")
    locator = AutoDateLocator(minticks=2, maxticks=8)
    for axes in (scores, seconds, verdicts):
        axes.grid(alpha=0.3)
        if len(set(dates)) > 1:
            margin = 0.03 * (max(dates) - min(dates))
            axes.set_xlim(min(dates) - margin, max(dates) + margin)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
        axes.tick_params(labelbottom=axes is verdicts)
    verdicts.set_xlabel("date (UTC)")
