"""The noise floor: how far the same checkpoint, prompts and data drift apart when run again on one machine.

A limit below that floor is red for no reason, or green by luck; it is refused.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from medsam_core.decoding import read_json
from medsam_core.errors import GateError
from medsam_core.files import write_whole
from medsam_core.gates.baseline import Baseline, baseline_case, identity_of
from medsam_core.gates.bounds import mean
from medsam_core.gates.comparison import Rule
from medsam_core.gates.gates_file import Gates
from medsam_core.gates.pairing import comparability
from medsam_core.gates.wording import group_name
from medsam_core.metrics import METRICS
from medsam_core.runs import Run
from medsam_core.text import counted

SCHEMA = 1
FILE = Path("benchmarks/noise-floor.json")
FACTOR = 3.0
"""Proposed tolerances are this many times the spread seen: K repeats show less than what a year of them will."""


@dataclass(frozen=True)
class Spread:
    """Largest difference between any two repeats: of one case's score, and of a group's mean."""

    case: float
    mean: float


@dataclass(frozen=True)
class _StoredFloor:
    """A `NoiseFloor` as the file holds it, under its machine's name."""

    checkpoint: str
    repeats: int
    cases: int
    spreads: dict[str, Spread]


@dataclass(frozen=True)
class _Stored:
    """The file's content."""

    floors: dict[str, _StoredFloor]


@dataclass(frozen=True)
class NoiseFloor:
    """What the repeats on one machine showed. spreads: `"dice@volume"` → Spread, for metrics that can get better."""

    machine: str
    checkpoint: str
    repeats: int
    cases: int
    spreads: Mapping[str, Spread]

    def lines(self) -> list[str]:
        """What was seen and what tolerances follow from it, for the terminal."""
        return [
            f"{self.machine}: {self.repeats} repeats of {counted(self.cases, 'case')}, "
            f"checkpoint {self.checkpoint[:12]}",
            *(
                f"  {name}: a case moved by up to {one.case:.6f}, a mean by up to {one.mean:.6f}; "
                f"case_drop_maximum ≥ {tolerance(one.case):g}, mean_drop_maximum and --margin ≥ {tolerance(one.mean):g}"
                for name, one in sorted(self.spreads.items())
            ),
        ]


def measure(runs: Sequence[Run]) -> NoiseFloor:
    """The floor that two or more repeats show.

    Raises GateError if there are fewer, or if they are not complete runs of one checkpoint on one machine with the
    same cases, data and prompts.
    """
    if len(runs) < 2:
        raise GateError(f"repeats: got {len(runs)}, expected at least 2 runs to tell apart; give more.")
    first = runs[0]
    reference = Baseline.of(first)
    for run in runs:
        against = comparability(reference, run)
        reasons = [
            *against.unfit,
            *against.unlike,
            *(
                f"another {what}: {before} in {reference.name}, {after} now"
                for what, before, after in (
                    ("machine", identity_of(first).machine, identity_of(run).machine),
                    ("checkpoint", *(identity_of(one).sha256 for one in (first, run))),
                )
                if before != after
            ),
        ]
        if reasons:
            raise GateError(
                f"{run.directory}: is no repeat of {first.directory}: {reasons[0]}; repeat one run as it was."
            )
    scores = [{record.id: baseline_case(record).scores for record in run.records if record.prompted} for run in runs]
    groups: dict[str, list[str]] = {}
    for record in first.records:
        if record.prompted:
            groups.setdefault(group_name(record.case), []).append(record.id)
    keys = {key for case in scores[0].values() for key in case if _can_get_better(key)}
    return NoiseFloor(
        machine=identity_of(first).machine,
        checkpoint=first.header.checkpoint.sha256,
        repeats=len(runs),
        cases=len(scores[0]),
        spreads={key.split("/", 1)[1]: _spread(key, scores, groups) for key in sorted(keys)},
    )


def tolerance(spread: float) -> float:
    """FACTOR times the spread, rounded up to 3 decimals; 0 for none."""
    return math.ceil(round(FACTOR * spread * 1000, 6)) / 1000


def read_floors(path: Path = FILE) -> dict[str, NoiseFloor]:
    """Floors by machine, {} if there is no such file. Raises GateError if it is damaged."""
    if not path.exists():
        return {}
    fix = "restore the file, or delete it and calibrate again"
    stored = read_json(path, _Stored, version=SCHEMA, what="noise floors", error=GateError, fix=fix)
    return {machine: NoiseFloor(machine=machine, **vars(one)) for machine, one in stored.floors.items()}


def write_floor(floor: NoiseFloor, path: Path = FILE) -> None:
    """Write the floor beside those of other machines, whole or not at all. Raises GateError if that is impossible."""
    floors = {**read_floors(path), floor.machine: floor}
    content: dict[str, Any] = {"schema": SCHEMA, "floors": {}}
    for machine, one in floors.items():
        content["floors"][machine] = {key: value for key, value in asdict(one).items() if key != "machine"}
    text = json.dumps(content, indent=1, sort_keys=True) + "\n"
    write_whole(path, text, error=GateError, fix="choose another --output", make_folder=True)


def floor_of(run: Run, path: Path = FILE) -> NoiseFloor | None:
    """The floor of the machine that the run was made on, None if it was not calibrated."""
    return read_floors(path).get(identity_of(run).machine)


def check_gates(gates: Gates | None, floor: NoiseFloor | None) -> None:
    """Raise GateError for the first bound against a baseline that is tighter than the machine's noise, if known."""
    if gates is None or floor is None:
        return
    for gate in gates.gates:
        spread = floor.spreads.get(f"{gate.metric}@{gate.scope}")
        if spread is None:
            continue
        noise = {
            "case_drop_maximum": spread.case,
            "case_change_maximum": spread.case,
            "mean_drop_maximum": spread.mean,
        }
        for bound in gate.bounds:
            if bound.limit < noise.get(bound.name, 0.0):
                _refuse(f"{gates.path}: gate {gate.number}: {bound.name}", bound.limit, noise[bound.name], floor)


def check_rule(rule: Rule, floor: NoiseFloor | None) -> None:
    """Raise GateError if a comparison's margin or limit per case is tighter than the machine's noise, if known."""
    spread = floor.spreads.get(f"{rule.metric}@{rule.scope}") if floor is not None else None
    if spread is None or floor is None:
        return
    for name, limit, noise in (
        ("--margin", rule.margin, spread.mean),
        ("--case-drop-maximum", rule.case_drop_maximum, spread.case),
    ):
        if limit is not None and limit < noise:
            _refuse(name, limit, noise, floor)


def _refuse(what: str, limit: float, noise: float, floor: NoiseFloor) -> None:
    raise GateError(
        f"{what}: got {limit:g}, which is below the noise floor {noise:g} of {floor.machine}; "
        f"set it to {tolerance(noise):g} or more."
    )


def _can_get_better(key: str) -> bool:
    metric = METRICS.get(key.split("/", 1)[1].split("@", 1)[0])
    return metric is not None and metric.better != "neither"


def _spread(key: str, scores: Sequence[Mapping[str, Mapping[str, float]]], groups: Mapping[str, list[str]]) -> Spread:
    """NaN where every repeat has NaN is no spread; a score that is finite in some repeats only is refused."""
    moved, means = 0.0, [0.0]
    for cases in groups.values():
        values = {case: [one[case].get(key, math.nan) for one in scores] for case in cases}
        finite = {case: row for case, row in values.items() if all(map(math.isfinite, row))}
        torn = [case for case, row in values.items() if case not in finite and any(map(math.isfinite, row))]
        if torn:
            raise GateError(f"{torn[0]}: {key} is finite in some repeats only; find out why before calibrating.")
        if finite:
            moved = max(moved, *(max(row) - min(row) for row in finite.values()))
            averages = [mean(sorted(column)) for column in zip(*finite.values(), strict=True)]
            means.append(max(averages) - min(averages))
    return Spread(case=round(moved, 6), mean=round(max(means), 6))
