"""Runs over time, as a table and as a plot. Each is judged again: a stored verdict says nothing about records that were
lost or changed since."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from medsam_core.cases import CaseRecord, score_key
from medsam_core.errors import MedsamError, OptionError, RunError
from medsam_core.files import written_whole
from medsam_core.gates.bounds import mean
from medsam_core.gates.gates_file import gates_of
from medsam_core.gates.pairing import attendance
from medsam_core.gates.reference import reference_of
from medsam_core.gates.verdict import judge_run
from medsam_core.gates.wording import group_name, group_order, metric_name, unit_of
from medsam_core.outcome import Outcome, worst
from medsam_core.runs import HEADER, Run, read_run, stored_outcome
from medsam_core.text import aligned

NOT_JUDGED = "not judged"
_MARKS = {
    "PASS": ("#2a7f3f", "o"),
    "FAIL": ("#c0392b", "X"),
    "INCONCLUSIVE": ("#b8860b", "D"),
    NOT_JUDGED: ("#777777", "s"),
}
"""Colour and marker of an outcome in the plot."""


@dataclass(frozen=True)
class Entry:
    """What is shown of one run."""

    name: str
    """Its directory, relative to the folder that was searched."""
    created: str = ""
    commit: str = ""
    checkpoint: str = ""
    cohort: str = ""
    fingerprint: str = ""
    device: str = ""
    outcome: str = NOT_JUDGED
    """The worse of the stored verdict and of that on the records as they are now, or NOT_JUDGED."""
    remark: str = ""
    """Why it is not judged, or that its session came to another outcome."""
    finished: bool = False
    """Whether its session left a verdict and every planned case was scored."""
    cases: int = 0
    means: Mapping[str, float] | None = None
    """Group → mean of the metric over the prompted cases."""
    seconds: float = math.nan
    """Mean wall time per subject, NaN if it is not recorded."""
    doubt: str | None = None
    """Why the scores are implausible; then there are no means."""
    error: str | None = None
    """Why the run cannot be read; then only the name is known."""

    def to_json(self) -> dict[str, Any]:
        """Built-in types; NaN is None."""
        return {**asdict(self), "seconds": None if math.isnan(self.seconds) else self.seconds}


def history(folder: Path | str, *, metric: str = "dice", scope: str = "volume") -> tuple[Entry, ...]:
    """Every run under a folder, oldest first; a damaged one is an entry with its error.

    Raises RunError if the folder does not exist or has no run.
    """
    folder = Path(folder)
    found = sorted(path.parent for path in folder.rglob(HEADER)) if folder.is_dir() else []
    if not found:
        raise RunError(
            f"{folder}: holds no run, expected folders with a {HEADER}; name the folder of your --medsam-run-dir."
        )
    entries = []
    for directory in found:
        name = str(directory.relative_to(folder)) if directory != folder else directory.resolve().name
        try:
            entries.append(entry(read_run(directory), name, metric=metric, scope=scope))
        except RunError as error:
            entries.append(Entry(name=name, error=str(error)))
    return tuple(sorted(entries, key=lambda one: (one.created, one.name)))


def entry(run: Run, name: str | None = None, *, metric: str = "dice", scope: str = "volume") -> Entry:
    """The entry of one run. name: None for the name of its directory."""
    header = run.header
    key = score_key(header.settings.profile, metric, scope)
    # the engine is what nearly every run has
    predictor = "" if header.predictor.name == "engine" else f"{header.predictor.name}: "
    groups: dict[str, list[float]] = {}
    for record in sorted(run.records, key=lambda record: (group_order(record.case), record.id)):
        value = record.scores.get(key, math.nan)
        if record.prompted and math.isfinite(value):
            groups.setdefault(group_name(record.case), []).append(value)
    stored = stored_outcome(run.directory)
    outcome, remark = _judged_again(run, stored)
    return Entry(
        name=name or run.directory.name,
        created=header.created,
        commit=(header.environment.commit or "")[:9],
        checkpoint=f"{predictor}{header.checkpoint.name} {header.checkpoint.sha256[:8]}",
        cohort=f"{Path(header.cohort.root).name} ({len(header.cohort.subjects)})",
        fingerprint=header.cohort.fingerprint[:12],
        device=f"{header.device} {header.precision}",
        outcome=outcome,
        remark=remark,
        finished=stored is not None and not attendance(run.plan, run.records),
        cases=len(run.records),
        means=None if run.doubts else {group: mean(values) for group, values in groups.items()},
        doubt=next(iter(run.doubts), None),
        seconds=_seconds_per_subject(run.records),
    )


def _judged_again(run: Run, stored: Outcome | None) -> tuple[str, str]:
    """Outcome and remark of an entry."""
    try:
        gates = gates_of(run)
        reference = reference_of(run, gates)
        judged = judge_run(run, gates, baseline=reference)
    except MedsamError as error:
        return NOT_JUDGED, str(error)
    if gates is not None and gates.relative and reference is None:
        return NOT_JUDGED, f"the baseline {gates.baseline} is not here"
    outcome = worst([judged.outcome, stored or Outcome.INCONCLUSIVE])
    said = f"its session said {stored.value}" if stored is not None and stored is not outcome else ""
    return outcome.value, said


def table(entries: Sequence[Entry]) -> list[str]:
    """Lines for the terminal: a header, then a line per run."""
    rows: list[Sequence[str]] = [("date", "run", "verdict", "commit", "checkpoint", "cohort", "s/subject", "means")]
    for one in entries:
        if one.error is not None:
            rows.append(("", one.name, "unreadable", *[""] * 4, one.error))
            continue
        means = "  ".join(f"{group} {value:.3f}" for group, value in (one.means or {}).items())
        if one.doubt is not None:
            means = f"not believed: {one.doubt}"
        means += f"  ({one.remark})" if one.remark else ""
        verdict = one.outcome if one.finished else f"{one.outcome}, unfinished"
        seconds = "" if math.isnan(one.seconds) else f"{one.seconds:.1f}"
        date = one.created[:16].replace("T", " ")
        rows.append((date, one.name, verdict, one.commit, one.checkpoint, one.cohort, seconds, means))
    return aligned(rows)


def plot(entries: Sequence[Entry], path: Path | str, *, metric: str = "dice", scope: str = "volume") -> int:
    """Draw the means and the time per subject over the runs' dates, as PNG, SVG or PDF by the path's ending.

    Scores of different cohorts are not comparable, so only runs with the newest run's fingerprint are drawn. Returns
    how many these are. Lines join finished runs alone: the mean of a part of the cases is not that of all.
    Raises RunError if no run has a date, or the file cannot be written; OptionError without matplotlib.
    """
    try:
        from matplotlib.figure import Figure  # not needed to list runs
    except ImportError:
        fix = 'pip install "medsam-core[suite]"'
        raise OptionError(f"--plot: matplotlib is not installed, expected it to draw the plot; {fix}.") from None

    path = Path(path)
    dated = [(when, one) for one in entries if one.means and (when := _date(one.created)) is not None]
    if not dated:
        raise RunError(f"{path}: no run with a date and a score of {metric}, expected at least one; choose a --metric.")
    newest = max(dated, key=lambda pair: pair[0])[1]
    drawn = [(when, one) for when, one in dated if one.fingerprint == newest.fingerprint]
    figure = Figure(figsize=(9, 6), layout="constrained")
    scores, seconds = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    for group in dict.fromkeys(group for _, one in drawn for group in one.means or {}):
        points = [(when, one.means[group]) for when, one in drawn if one.finished and one.means and group in one.means]
        if points:
            scores.plot(*zip(*points, strict=True), label=group, linewidth=1.2, marker=".", markersize=3)
    for (outcome, (colour, marker)), finished in itertools.product(_MARKS.items(), (True, False)):
        runs = [(when, one) for when, one in drawn if (one.outcome, one.finished) == (outcome, finished)]
        marks = [(when, value) for when, one in runs for value in (one.means or {}).values()]
        if marks:
            label = outcome if finished else f"{outcome}, unfinished"
            face = colour if finished else "none"
            style = {"facecolors": face, "edgecolors": colour, "marker": marker, "s": 36, "zorder": 3, "label": label}
            scores.scatter(*zip(*marks, strict=True), **style)
    scores.set_ylabel(f"mean {metric_name(metric, scope)}{unit_of(metric)}")
    scores.set_title(f"{newest.cohort}, fingerprint {newest.fingerprint}", fontsize=10)
    figure.legend(*scores.get_legend_handles_labels(), loc="outside right upper", fontsize=8)
    timed = [(when, one.seconds) for when, one in drawn if one.finished and not math.isnan(one.seconds)]
    if timed:
        seconds.plot(*zip(*timed, strict=True), color="#555555", marker=".")
        seconds.set_ylim(0, 1.15 * max(value for _, value in timed) or 1)
    seconds.set_ylabel("s per subject")
    for axes in (scores, seconds):
        axes.grid(alpha=0.3)
    figure.autofmt_xdate()
    fix = "choose a place and an ending .png or .svg"
    try:
        with written_whole(path, error=RunError, fix=fix) as partial:
            figure.savefig(partial, dpi=120)
    except ValueError as error:  # an ending that matplotlib does not know
        raise RunError(f"{path}: cannot be written ({error}); {fix}.") from None
    return len(drawn)


def _seconds_per_subject(records: Sequence[CaseRecord]) -> float:
    subjects = {record.case.subject for record in records}
    times = [record.seconds for record in records if record.seconds is not None and math.isfinite(record.seconds)]
    return math.fsum(times) / len(subjects) if records and len(times) == len(records) else math.nan


def _date(text: str) -> datetime | None:
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return None
    return when if when.tzinfo is not None else when.astimezone()
