"""A history as one HTML file that loads nothing: what moved, a chart for each cohort and machine, every run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape

from medsam_core.gates.wording import metric_name, unit_of
from medsam_core.outcome import Outcome
from medsam_core.reports.history import NOT_JUDGED, Entry
from medsam_core.reports.history_steps import groups_of, noise_lines, series, step_lines, steps
from medsam_core.reports.history_table import heading, remarks
from medsam_core.reports.line_chart import STYLE, Line, line_chart, verdict_strip
from medsam_core.text import counted, shown

_LETTERS = {
    Outcome.PASS.value: ("●", "pass"),
    Outcome.FAIL.value: ("✖", "fail"),
    Outcome.INCONCLUSIVE.value: ("◆", "open"),
    NOT_JUDGED: ("■", "none"),
}
"""Mark and class of an outcome: the form differs, too, not the colour alone."""
_COLOURS, _GROUPS = 6, 12
"""Colours, and groups of one chart: more would look alike."""
_NONE = "–"

_STYLE = (
    STYLE
    + """
:root { color-scheme: light dark; --text: #1c1c1c; --soft: #5c5c5c; --rule: #d8d8d8; --back: #fff; }
@media (prefers-color-scheme: dark) { :root { --text: #e8e8e8; --soft: #a8a8a8; --rule: #444; --back: #181818; } }
body { font: 15px/1.45 system-ui, sans-serif; color: var(--text); background: var(--back); margin: 0 auto;
  max-width: 980px; padding: 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .3rem; } h3 { font-size: .95rem; margin: .8rem 0 0; }
td.pass { color: var(--pass); } td.fail { color: var(--fail); } td.open { color: var(--open); }
td.none { color: var(--none); }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: 13px; margin: .5rem 0; }
th, td { text-align: left; padding: .2rem .6rem .2rem 0; border-bottom: 1px solid var(--rule); white-space: nowrap; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
.note { color: var(--soft); font-size: 13px; }
"""
)


def history_page(entries: Sequence[Entry], *, metric: str = "dice", scope: str = "volume") -> str:
    """The whole page. Names from outside are escaped; there is no script in it."""
    charts = series(entries)[::-1]
    drawn = {one.name for runs in charts for one in runs}
    apart = [one for one in entries if one.name not in drawn and one.error is None]
    unfinished = [one for one in apart if not one.finished]
    others = [one for one in apart if one.finished]
    name = f"mean {metric_name(metric, scope)}{unit_of(metric)}"
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8"><title>MedSAM-2 gate: history</title>',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<style>{_STYLE}</style></head><body>",
        f"<h1>MedSAM-2 gate: {counted(len(entries), 'run')}</h1>",
        *_moves(entries, metric, scope),
    ]
    for runs in charts:
        parts += [
            f"<h2>{_text(heading(runs, entries))}</h2>",
            *charts_of(runs, name),
            _run_table(runs, groups_of(runs)),
        ]
    if unfinished:
        parts.append("<h2>Unfinished</h2>")
        parts.append('<p class="note">Without a verdict, or without a score of every planned case; in no chart.</p>')
        parts.append(_run_table(unfinished))
    if others:
        parts += ["<h2>Without means that can be compared</h2>", _run_table(others)]
    noted = remarks(entries)
    if noted:
        parts += ["<h2>Remarks</h2>", _list(noted)]
    return "\n".join([*parts, "</body></html>", ""])


def _moves(entries: Sequence[Entry], metric: str, scope: str) -> list[str]:
    moved = step_lines(steps(entries), metric, scope)
    text = _list(moved) if moved else "<p>No group's mean moved by more than its noise.</p>"
    return ["<h2>What moved</h2>", text, *(f'<p class="note">{_text(line)}.</p>' for line in noise_lines(entries))]


def charts_of(runs: Sequence[Entry], name: str) -> list[str]:
    """HTML of accuracy, latency and verdicts of comparable runs; their points are below each other.

    name: of what the means are of. The page that they are put into needs `line_chart.STYLE`.
    """
    labels = tuple(f"{one.date} {shown(one.name)}, {one.revision}" for one in runs)
    lines = []
    for place, group in enumerate(groups_of(runs)):
        place %= _GROUPS
        values = tuple((one.means or {}).get(group, math.nan) for one in runs)
        notes = tuple(f"{shown(group)} {value:.3f}: {label}" for value, label in zip(values, labels, strict=True))
        lines.append(Line(shown(group), values, notes, f"c{place % _COLOURS} dash{place // _COLOURS % 3}"))
    seconds = tuple(one.seconds for one in runs)
    notes = tuple(f"{value:.1f} s: {label}" for value, label in zip(seconds, labels, strict=True))
    marks = [
        (letter, f"{one.outcome}: {label}", style)
        for one, label in zip(runs, labels, strict=True)
        for letter, style in [_LETTERS[one.outcome]]
    ]
    parts = [lines[first : first + _GROUPS] for first in range(0, len(lines), _GROUPS)]
    found = [f"<h3>{_text(name)}</h3>", *(line_chart(part, title=name, height=300) for part in parts)]
    if not all(map(math.isnan, seconds)):
        title = "seconds per subject"
        chart = line_chart([Line("", seconds, notes, "c2 dash0")], title=title, height=120, from_zero=True)
        found += [f"<h3>{title}</h3>", chart]
    legend = ", ".join(f"{letter} {outcome}" for outcome, (letter, _) in _LETTERS.items())
    strip = verdict_strip(marks, [one.date[:10] for one in runs])
    return [*found, "<h3>verdict</h3>", strip, f'<p class="note">{legend}. Runs are in the order of their dates.</p>']


def _run_table(runs: Sequence[Entry], groups: Sequence[str] = ()) -> str:
    """A line per run. groups: of a chart's runs, whose heading names the cohort; () for runs of any cohort."""
    titles = ["date (UTC)", "run", "verdict", "commit", "checkpoint", *([] if groups else ["cohort"])]
    numbers = ["cases", "s/subject", *groups]
    lines = [
        f"<tr>{''.join(f'<th>{_text(title)}</th>' for title in titles)}"
        f"{''.join(f'<th class=number>{_text(title)}</th>' for title in numbers)}</tr>"
    ]
    for one in runs:
        words = [one.date or _NONE, one.name, one.outcome, one.revision, one.checkpoint]
        words += [] if groups else [one.cohort]
        means = one.means or {}
        figures = [
            str(one.cases),
            _figure(one.seconds, 1),
            *(_figure(means.get(group, math.nan), 3) for group in groups),
        ]
        style = _LETTERS[one.outcome][1]
        cells = [f"<td{f' class={style}' if place == 2 else ''}>{_text(word)}</td>" for place, word in enumerate(words)]
        cells += [f"<td class=number>{figure}</td>" for figure in figures]
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return f'<div class="wide"><table>{"".join(lines)}</table></div>'


def _figure(value: float, digits: int) -> str:
    return _NONE if math.isnan(value) else f"{value:.{digits}f}"


def _list(lines: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{_text(line)}</li>' for line in lines)}</ul>"


def _text(text: str) -> str:
    return escape(shown(text))
