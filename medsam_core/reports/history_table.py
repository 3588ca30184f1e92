"""The runs of a history for the terminal, in lines of at most 100 characters."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Sequence

from medsam_core.gates.wording import metric_name, unit_of
from medsam_core.reports.history import Entry
from medsam_core.reports.history_steps import groups_of, noise_lines, series, step_lines, steps
from medsam_core.reports.tables import shortened
from medsam_core.text import aligned, counted, shown

WIDTH = 100
_NAME, _CHECKPOINT, _GROUP = 22, 21, 24
"""The longest that is shown of a run's name, a checkpoint and a group: the columns then fit in WIDTH."""
_NONE = "–"


def table(entries: Sequence[Entry], *, metric: str = "dice", scope: str = "volume") -> list[str]:
    """Finished runs by cohort and machine with their means, unfinished runs, remarks, and what moved between runs."""
    blocks = [list(block) for block in _blocks(entries, metric, scope)]
    lines = [line for block in blocks if block for line in ("", *block)][1:]
    return [part for line in lines for part in (_wrapped(line) if len(line) > WIDTH else [line])]


def heading(runs: Sequence[Entry], every: Sequence[Entry]) -> str:
    """The cohort and machine of a series. every: all runs; a second series with the same words gets its digest."""
    first = runs[0]
    text = f"{first.cohort}, fingerprint {first.fingerprint}, {first.device}"
    alike = {one.series for one in every if (one.cohort, one.fingerprint, one.device) == _same(first)}
    return shown(text if len(alike) == 1 else f"{text}, settings {first.series[:6]}")


def remarks(entries: Sequence[Entry]) -> list[str]:
    """What a reader should know of single runs, a line each."""
    lines = [f"{one.name}: cannot be read: {one.error}" for one in entries if one.error is not None]
    lines += [f"{one.name}: not believed: {one.doubt}" for one in entries if one.doubt is not None]
    return [shown(line) for line in (*lines, *(f"{one.name}: {one.remark}" for one in entries if one.remark))]


def _same(one: Entry) -> tuple[str, str, str]:
    return one.cohort, one.fingerprint, one.device


def _blocks(entries: Sequence[Entry], metric: str, scope: str) -> Iterator[Sequence[str]]:
    readable = [one for one in entries if one.error is None]
    charted = series(entries)
    for runs in charted:
        yield [heading(runs, entries), *_run_lines(runs)]
        yield _mean_lines(runs, metric, scope)
    drawn = {one.name for runs in charted for one in runs}
    apart = [one for one in readable if one.name not in drawn]
    unfinished = [one for one in apart if not one.finished]
    if unfinished:
        yield ["unfinished: without a verdict, or without a score of every planned case", *_run_lines(unfinished)]
    others = [one for one in apart if one.finished]
    if others:
        yield ["finished, but without means that can be compared", *_run_lines(others)]
    if any(one.dirty for one in readable):
        yield ["* files differed from the commit"]
    yield remarks(entries)
    moved = step_lines(steps(entries), metric, scope)
    if moved:
        yield ["moved by more than the noise:", *(f"  {line}" for line in map(shown, moved)), *noise_lines(entries)]
    elif any(len(runs) > 1 for runs in charted):
        yield ["no group's mean moved by more than its noise", *noise_lines(entries)]


def _run_lines(runs: Sequence[Entry]) -> list[str]:
    rows: list[Sequence[str]] = [("date (UTC)", "run", "verdict", "commit", "s/subject", "checkpoint")]
    for one in runs:
        seconds = _NONE if math.isnan(one.seconds) else f"{one.seconds:.1f}"
        checkpoint = shortened(shown(one.checkpoint), _CHECKPOINT)
        rows.append((one.date or _NONE, _name(one), one.outcome, one.revision, seconds, checkpoint))
    return aligned(rows, right=(4,))


def _mean_lines(runs: Sequence[Entry], metric: str, scope: str) -> list[str]:
    """The means, a column per group; below each other where they are too wide."""
    title = f"mean {metric_name(metric, scope)}{unit_of(metric)}"
    lines: list[str] = []
    left = groups_of(runs)
    while left:
        room = WIDTH - max(len(title), _NAME)
        taken: list[str] = []
        while left and (not taken or room >= _column(left[0])):
            room -= _column(left[0])
            taken.append(left.pop(0))
        rows = [[title, *(shortened(group, _GROUP) for group in taken)]]
        for one in runs:
            means = one.means or {}
            rows.append([_name(one), *(f"{means[group]:.3f}" if group in means else _NONE for group in taken)])
        lines += [*([""] if lines else []), *aligned(rows, right=range(1, len(taken) + 1))]
    return lines


def _column(group: str) -> int:
    return 2 + max(9, min(len(group), _GROUP))


def _name(one: Entry) -> str:
    return shortened(shown(one.name), _NAME)


def _wrapped(line: str) -> list[str]:
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    return textwrap.wrap(line.lstrip(), WIDTH, initial_indent=indent[2:], subsequent_indent=indent) or [""]


def charted(entries: Sequence[Entry]) -> str:
    """`3 of 4 runs in 2 charts`."""
    found = series(entries)
    return f"{sum(map(len, found))} of {counted(len(entries), 'run')} in {counted(len(found), 'chart')}"
