"""The runs beside this one that answer the same question: the means of their groups, oldest first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from markupsafe import Markup

from medsam_core.errors import MedsamError
from medsam_core.gates.verdict import Verdict
from medsam_core.reports.history import Entry, entry
from medsam_core.reports.history_page import charts_of
from medsam_core.reports.history_steps import series
from medsam_core.runs import CASES, HEADER, VERDICT, Run, read_run

_MOST_RUNS, _MOST_BYTES = 30, 32 * 1024**2
"""How many earlier runs are read, the newest ones, and how large their records may be in all."""


def trend(run: Run, verdict: Verdict) -> Markup:
    """Charts of Dice, time and verdict over the runs in the same folder; "" if there is no earlier one to draw."""
    before = [one for one in _earlier(run) if one.counts]
    if not before or run.header.shard is not None:
        return Markup("")
    now = replace(entry(run), outcome=verdict.outcome.value, finished=True, remark="")
    runs = next((one for one in series([*before, now]) if now in one), [])
    return Markup("".join(charts_of(runs, "mean Dice"))) if len(runs) > 1 else Markup("")


def _earlier(run: Run) -> Iterator[Entry]:
    """The entries of the runs next to this one that were created before it."""
    here = run.directory.resolve()
    found: list[tuple[float, Path]] = []
    try:
        for folder in here.parent.iterdir():
            if folder != here and all((folder / name).is_file() for name in (HEADER, CASES, VERDICT)):
                found.append(((folder / HEADER).stat().st_mtime, folder))
    except OSError:
        return
    size = 0
    for _, folder in sorted(found, reverse=True)[:_MOST_RUNS]:
        try:
            size += (folder / CASES).stat().st_size
            if size > _MOST_BYTES:
                return
            other = read_run(folder)
            same = other.header.cohort.fingerprint == run.header.cohort.fingerprint
            if same and other.header.created < run.header.created:
                yield entry(other)
        except (MedsamError, OSError):
            continue
