"""Runs over time. Each is judged again: a stored verdict says nothing about records that were lost or changed since."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from medsam_core.cases import CaseRecord, score_key
from medsam_core.errors import MedsamError, RunError
from medsam_core.gates.baseline import identity_of
from medsam_core.gates.bounds import mean
from medsam_core.gates.gates_file import gates_of
from medsam_core.gates.noise import NoiseFloor, read_floors
from medsam_core.gates.pairing import attendance
from medsam_core.gates.reference import reference_of
from medsam_core.gates.verdict import judge_run
from medsam_core.gates.wording import group_name, group_order
from medsam_core.outcome import Outcome, worst
from medsam_core.runs import HEADER, Run, read_run, stored_outcome

NOT_JUDGED = "not judged"


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
    dirty: bool = False
    """Whether a tracked file differed from the commit."""
    versions: str = ""
    """Of torch and sam2."""
    series: str = ""
    """Digest of cohort, machine, profile and settings: only runs with the same one are comparable."""
    build: str = ""
    """Digest of code, versions, predictor and weights: runs with the same one are repeats; "" if unknown."""
    noise: float | None = None
    """How far a mean of the metric moved between calibrated repeats on this machine; None if it is not calibrated."""
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

    @property
    def when(self) -> datetime | None:
        """The date in UTC, None if it cannot be read."""
        return _date(self.created)

    @property
    def date(self) -> str:
        """`2026-01-31 12:00`, in UTC."""
        return "" if self.when is None else f"{self.when:%Y-%m-%d %H:%M}"

    @property
    def revision(self) -> str:
        """The commit, with a star where a file differed from it; "no commit" without."""
        return f"{self.commit}{'*' if self.dirty else ''}" if self.commit else "no commit"

    @property
    def counts(self) -> bool:
        """Whether its means belong into a chart: it is finished, dated and believed, and has some."""
        return self.finished and self.when is not None and bool(self.means)

    def to_json(self) -> dict[str, Any]:
        """Built-in types; NaN is None."""
        return {**asdict(self), "seconds": None if math.isnan(self.seconds) else self.seconds}


def history(
    folder: Path | str,
    *,
    metric: str = "dice",
    scope: str = "volume",
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Entry, ...]:
    """Every run under a folder, oldest first; a damaged one is an entry with its error.

    progress: called as progress(done, runs) after each run.
    Raises RunError if the folder does not exist or has no run.
    """
    folder = Path(folder)
    found = sorted(path.parent for path in folder.rglob(HEADER)) if folder.is_dir() else []
    if not found:
        raise RunError(
            f"{folder}: holds no run, expected folders with a {HEADER}; name the folder of your --medsam-run-dir."
        )
    entries: list[Entry] = []
    floors = read_floors()
    for directory in found:
        name = str(directory.relative_to(folder)) if directory != folder else directory.resolve().name
        try:
            entries.append(entry(read_run(directory), name, metric=metric, scope=scope, floors=floors))
        except RunError as error:
            entries.append(Entry(name=name, error=str(error)))
        if progress is not None:
            progress(len(entries), len(found))
    return tuple(sorted(entries, key=lambda one: (one.date, one.created, one.name)))


def entry(
    run: Run,
    name: str | None = None,
    *,
    metric: str = "dice",
    scope: str = "volume",
    floors: Mapping[str, NoiseFloor] | None = None,
) -> Entry:
    """The entry of one run. name: None for the name of its directory. floors: the noise of machines, if known."""
    header, seen = run.header, run.header.environment
    key = score_key(header.settings.profile, metric, scope)
    # the engine is what nearly every run has
    predictor = "" if header.predictor.name == "engine" else f"{header.predictor.name}: "
    groups: dict[str, list[float]] = {}
    for record in sorted(run.records, key=lambda record: (group_order(record.case), record.id)):
        value = record.scores.get(key, math.nan)
        if record.prompted and math.isfinite(value):
            groups.setdefault(group_name(record.case), []).append(value)
    floor = (floors or {}).get(identity_of(run).machine)
    spread = floor.spreads.get(f"{metric}@{scope}") if floor else None
    stored = stored_outcome(run.directory)
    outcome, remark = _judged_again(run, stored)
    return Entry(
        name=name or run.directory.name,
        created=header.created,
        commit=(seen.commit or "")[:9],
        checkpoint=f"{predictor}{header.checkpoint.name} {header.checkpoint.sha256[:8]}",
        cohort=f"{Path(header.cohort.root).name} ({len(header.cohort.subjects)})",
        fingerprint=header.cohort.fingerprint[:12],
        device=identity_of(run).machine,
        dirty=bool(seen.dirty),
        versions=f"torch {seen.torch}, sam2 {seen.sam2}",
        series=_series(run),
        build=_build(run),
        noise=None if spread is None else spread.mean,
        outcome=outcome,
        remark=remark,
        finished=stored is not None and not attendance(run.plan, run.records),
        cases=len(run.records),
        means=None if run.doubts else {group: mean(values) for group, values in groups.items()},
        doubt=next(iter(run.doubts), None),
        seconds=_seconds_per_subject(run.records),
    )


def _series(run: Run) -> str:
    header = run.header
    # which groups there are is no matter of the others' scores
    chosen = {"modalities", "regions", "prompts", "protocols", "metrics", "noises"}
    settings = {name: value for name, value in header.settings.to_json().items() if name not in chosen}
    return _digest([header.cohort.fingerprint, identity_of(run).machine, settings, header.prompts_from])


def _build(run: Run) -> str:
    header, seen = run.header, run.header.environment
    code = seen.source or (None if seen.dirty else seen.commit)
    if code is None:
        return ""
    versions = [seen.torch, seen.sam2, seen.numpy, seen.scipy, seen.predictor_source]
    return _digest([code, versions, str(header.predictor), header.checkpoint.sha256])


def _digest(what: list[Any]) -> str:
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:12]


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


def _seconds_per_subject(records: Sequence[CaseRecord]) -> float:
    subjects = {record.case.subject for record in records}
    times = [record.seconds for record in records if record.seconds is not None and math.isfinite(record.seconds)]
    return math.fsum(times) / len(subjects) if records and len(times) == len(records) else math.nan


def _date(text: str) -> datetime | None:
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return None
    return when.astimezone(UTC)
