"""How scores fall as prompts get worse: the mean at every level of noise with its band, as values, table and JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from medsam_core.cases import CaseRecord, score_key
from medsam_core.errors import RunError
from medsam_core.gates.statistics import bootstrap_interval, subject_means
from medsam_core.gates.wording import group_name, group_order, metric_name
from medsam_core.prompts.noise import KINDS, Noise
from medsam_core.runs import Run
from medsam_core.text import aligned, counted, signed

SCHEMA = 1
METRIC, SCOPE, CONFIDENCE = "dice", "volume", 0.90
UNITS = {"jitter": "voxels", "side": "% of the side", "expand": "voxels outward"}
"""Of the amount of each kind of noise."""


@dataclass(frozen=True)
class Point:
    """One group of cases at one level of noise."""

    amount: int
    """0 for exact prompts."""
    subjects: int
    cases: int
    """Prompted cases with a score, under all seeds."""
    undefined: int
    """Cases whose score is NaN; no figure counts them."""
    mean: float
    """Over the subjects, each by the mean of its seeds; NaN without a case."""
    low: float
    """Lower end of the bootstrap interval of the mean by subject; NaN for one subject."""
    high: float
    drop: float
    """By how much the mean is below that of the exact prompts of the same cases; NaN if there are none."""
    worst: float
    """The lowest score of a case."""


@dataclass(frozen=True)
class Curve:
    """The points of one group under one kind of noise, by amount, exact prompts first."""

    group: str
    """As `wording.group_name` of the exact cases: `WT/box`."""
    modality: str
    region: str
    prompt: str
    protocol: str
    kind: str
    """One of `prompts.noise.KINDS`."""
    points: tuple[Point, ...]


def curves(records: Sequence[CaseRecord], profile: str) -> tuple[Curve, ...]:
    """A curve for each modality × region × prompt × protocol and kind of noise that the records have, in that order.

    Absent regions are left out: nothing was prompted there. () if no record has noise.
    """
    key = score_key(profile, METRIC, SCOPE)
    asked = sorted((one for one in records if one.prompted), key=lambda one: (group_order(one.case), one.id))
    scores = {record.case: record.scores.get(key, math.nan) for record in asked}
    groups: dict[str, list[CaseRecord]] = {}
    for record in asked:
        groups.setdefault(group_name(record.case.exact), []).append(record)
    found = []
    for group, members in groups.items():
        levels: dict[tuple[str, int], list[CaseRecord]] = {}
        for record in members:
            noise = Noise.of(record.case.noise) if record.case.noise else None
            levels.setdefault((noise.kind, noise.amount) if noise else ("", 0), []).append(record)
        for kind in KINDS:
            amounts = [amount for one, amount in levels if one == kind]
            if amounts:
                # beside the noise of this group only
                rows = [(0, levels.get(("", 0), [])), *((amount, levels[kind, amount]) for amount in sorted(amounts))]
                case = members[0].case
                parts = case.modality, case.region, case.prompt, case.protocol
                points = tuple(_point(amount, own, scores) for amount, own in rows)
                found.append(Curve(group, *parts, kind, points))
    return tuple(found)


def _point(amount: int, records: Sequence[CaseRecord], scores: dict[Any, float]) -> Point:
    known = [record for record in records if math.isfinite(scores[record.case])]
    means = subject_means((record.case.subject, scores[record.case]) for record in known)
    values = np.sort(np.array(means))
    low = high = math.nan
    if len(values) > 1:
        equal = values[0] == values[-1]
        low, high = (values[0], values[0]) if equal else bootstrap_interval(values, confidence=CONFIDENCE)
    pairs = [
        (record.case.subject, exact - scores[record.case])
        for record in known
        if math.isfinite(exact := scores.get(record.case.exact, math.nan))
    ]
    return Point(
        amount=amount,
        subjects=len(means),
        cases=len(known),
        undefined=len(records) - len(known),
        mean=_mean(means),
        low=float(low),
        high=float(high),
        drop=_mean(subject_means(pairs)),
        worst=min((scores[record.case] for record in known), default=math.nan),
    )


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan


def curves_of(run: Run) -> tuple[Curve, ...]:
    """The curves of a run. Raises RunError if it has no prompted case with noise."""
    found = curves(run.records, run.header.settings.profile)
    if not found:
        raise RunError(
            f"{run.directory}: has no prompted case with noise, expected some; score them with "
            "`medsam-core robustness`."
        )
    return found


def table_lines(found: Sequence[Curve]) -> list[str]:
    """For the terminal: a row for each group and level, exact prompts once."""
    titles = ["group", "noise", "subjects", "cases", f"mean {metric_name(METRIC, SCOPE)}"]
    titles += [f"{CONFIDENCE:.0%} band".replace("%", " %"), "drop from exact", "worst"]
    rows: list[list[str]] = []
    undefined = 0
    seen: set[str] = set()
    for curve in found:
        for point in curve.points:
            if not point.amount and curve.group in seen:
                continue
            seen.add(curve.group)
            undefined += point.undefined
            rows.append(list(_cells(curve, point)))
    lines = aligned([titles, ["-" * len(title) for title in titles], *rows], right=range(2, len(titles)))
    return [*lines, *([f"{counted(undefined, 'case')} with an undefined score left out"] if undefined else [])]


def _cells(curve: Curve, point: Point) -> Iterator[str]:
    yield from (curve.group, f"{curve.kind} {point.amount}" if point.amount else "exact")
    yield from (str(point.subjects), str(point.cases), _figure(point.mean))
    yield "–" if math.isnan(point.low) else f"{point.low:.3f} to {point.high:.3f}"
    yield "–" if math.isnan(point.drop) or not point.amount else signed(point.drop)
    yield _figure(point.worst)


def _figure(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"


def json_of(run: Run, found: Sequence[Curve]) -> str:
    """`robustness.json`: what was scored by what, and the curves; a figure that is not known is null."""
    header = run.header
    tree = {
        "schema": SCHEMA,
        "run": run.directory.resolve().name,
        "created": header.created,
        "predictor": str(header.predictor),
        "checkpoint": {"name": header.checkpoint.name, "sha256": header.checkpoint.sha256},
        "cohort": {"subjects": len(header.cohort.subjects), "fingerprint": header.cohort.fingerprint},
        "profile": header.settings.profile,
        "metric": METRIC,
        "scope": SCOPE,
        "confidence": CONFIDENCE,
        "units": {kind: UNITS[kind] for kind in KINDS if any(curve.kind == kind for curve in found)},
        "curves": [{**asdict(curve), "points": [_known(asdict(point)) for point in curve.points]} for curve in found],
    }
    return json.dumps(tree, indent=1, allow_nan=False) + "\n"


def _known(tree: dict[str, Any]) -> dict[str, Any]:
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in tree.items()}
