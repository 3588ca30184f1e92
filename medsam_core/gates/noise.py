"""The noise floor: how much scores differ when a run is repeated on one machine. A limit below it is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from medsam_core.decoding import read_json
from medsam_core.errors import GateError
from medsam_core.files import write_whole
from medsam_core.gates.baseline import Baseline, identity_of
from medsam_core.gates.bounds import mean
from medsam_core.gates.gates_file import Gates
from medsam_core.gates.inferiority import Rule
from medsam_core.gates.pairing import comparability
from medsam_core.gates.wording import group_name
from medsam_core.runs import Run
from medsam_core.text import counted

SCHEMA = 1
FILE = Path("benchmarks/noise-floor.json")
FACTOR = 3.0
"""Proposed tolerances are this many times the spread seen, because a few repeats show less than many would."""


@dataclass(frozen=True)
class Spread:
    """Largest difference between any two repeats: of one case's score, and of a group's mean."""

    case: float
    mean: float


NO_SPREAD = Spread(0.0, 0.0)


@dataclass(frozen=True)
class NoiseFloor:
    """What the repeats on one machine showed."""

    checkpoint: str
    """SHA-256 of the weights."""
    repeats: int
    cases: int
    """Prompted cases of one repeat."""
    spreads: Mapping[str, Spread]
    """By score without its profile, `dice@volume`, for metrics that can get worse."""
    machine: str = ""
    """As `Identity.machine`; in the file it is the floor's key."""

    def lines(self) -> list[str]:
        """What was seen and which tolerances follow from it, for the terminal."""
        head = f"{self.machine}: {self.repeats} repeats of {counted(self.cases, 'case')}"
        return [
            f"{head}, checkpoint {self.checkpoint[:12]}",
            *(
                f"  {name}: a case moved by up to {one.case:.6f}, a mean by up to {one.mean:.6f}; "
                f"case_drop_maximum ≥ {tolerance(one.case):g}, mean_drop_maximum and --margin ≥ {tolerance(one.mean):g}"
                for name, one in sorted(self.spreads.items())
            ),
        ]


@dataclass(frozen=True)
class _Stored:
    floors: dict[str, NoiseFloor]
    """By machine."""


def measure(runs: Sequence[Run]) -> NoiseFloor:
    """The floor that two or more repeats show.

    Raises GateError if there are fewer, or if they are not complete runs of one checkpoint on one machine with the
    same cases, data and prompts.
    """
    if len(runs) < 2:
        raise GateError(f"repeats: got {len(runs)}, expected at least 2 runs; give more.")
    sides = [Baseline.of(run) for run in runs]
    first = sides[0]
    for run, side in zip(runs, sides, strict=True):
        against = comparability(first, run)
        reasons = [*against.unfit, *against.unlike]
        for what, before, now in (
            ("machine", first.identity.machine, side.identity.machine),
            ("predictor", first.identity.predictor.name, side.identity.predictor.name),
            ("checkpoint", first.identity.sha256, side.identity.sha256),
        ):
            if before != now:
                reasons.append(f"another {what}: {before} in {first.name}, {now} now")
        if reasons:
            raise GateError(
                f"{run.directory}: is no repeat of {runs[0].directory}: {reasons[0]}; repeat the run unchanged."
            )
    scores = [{case: one.scores for case, one in side.cases.items() if one.prompted} for side in sides]
    groups: dict[str, list[str]] = {}
    for record in runs[0].records:
        if record.prompted:
            groups.setdefault(group_name(record.case), []).append(record.id)
    # a baseline also has the truth's volume, which gets neither better nor worse
    keys = {key for case in scores[0].values() for key in case if not key.endswith("/truth_volume_ml@volume")}
    return NoiseFloor(
        checkpoint=runs[0].header.checkpoint.sha256,
        repeats=len(runs),
        cases=len(scores[0]),
        spreads={key.split("/", 1)[1]: _spread(key, scores, groups) for key in sorted(keys)},
        machine=first.identity.machine,
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
    return {machine: replace(floor, machine=machine) for machine, floor in stored.floors.items()}


def write_floor(floor: NoiseFloor, path: Path = FILE) -> None:
    """Add the floor to those of other machines, whole or not at all. Raises GateError if that is impossible."""
    floors = {machine: asdict(one) for machine, one in {**read_floors(path), floor.machine: floor}.items()}
    for one in floors.values():
        del one["machine"]
    text = json.dumps({"schema": SCHEMA, "floors": floors}, indent=1, sort_keys=True) + "\n"
    write_whole(path, text, error=GateError, fix="choose another --output", make_folder=True)


def floor_of(run: Run, path: Path = FILE) -> NoiseFloor | None:
    """The floor of the machine that the run was made on, None if it was not calibrated."""
    return read_floors(path).get(identity_of(run).machine)


def check_gates(gates: Gates | None, floor: NoiseFloor | None) -> None:
    """Raise GateError for the first bound against a baseline that is tighter than the machine's noise, if known."""
    if gates is None or floor is None:
        return
    for gate in gates.gates:
        spread = floor.spreads.get(f"{gate.metric}@{gate.scope}", NO_SPREAD)
        noise = dict.fromkeys(("case_drop_maximum", "case_change_maximum"), spread.case)
        noise |= dict.fromkeys(("mean_drop_maximum", "mean_rise_maximum", "not_inferior"), spread.mean)
        for bound in gate.bounds:
            if bound.name in noise:
                _check(f"{gates.path}: gate {gate.number}: {bound.name}", bound.limit, noise[bound.name], floor)


def check_rule(rule: Rule, floor: NoiseFloor | None) -> None:
    """Raise GateError if a comparison's margin or limit per case is tighter than the machine's noise, if known."""
    if floor is None:
        return
    spread = floor.spreads.get(f"{rule.metric}@{rule.scope}", NO_SPREAD)
    _check("--margin", rule.margin, spread.mean, floor)
    if rule.case_drop_maximum is not None:
        _check("--case-drop-maximum", rule.case_drop_maximum, spread.case, floor)


def _check(what: str, limit: float, noise: float, floor: NoiseFloor) -> None:
    if limit < noise:
        raise GateError(
            f"{what}: got {limit:g}, which is below the noise floor {noise:g} of {floor.machine}; "
            f"set it to {tolerance(noise):g} or more."
        )


def _spread(key: str, scores: Sequence[Mapping[str, Mapping[str, float]]], groups: Mapping[str, list[str]]) -> Spread:
    """A case that is NaN in all repeats has no spread. Raises GateError for one that is finite in some of them only."""
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
