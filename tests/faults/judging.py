"""How the run of a fault is judged: by each kind of bound apart, and once more as the run of another checkpoint."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from medsam_core.gates.baseline import Baseline
from medsam_core.gates.bounds import mean
from medsam_core.gates.gates_file import Gates, load_gates
from medsam_core.gates.proposal import AGAINST, propose_gates
from medsam_core.gates.verdict import Verdict, judge_run
from medsam_core.gates.wording import group_name
from medsam_core.outcome import Outcome
from medsam_core.runs import Run

# On one machine the healthy run repeats to the last digit, and one voxel moves a Dice or HD95 of a phantom by more.
PINNED = 0.00001
MOVED = 0.010
"""A fault that moves a group's mean Dice by as much is not to pass, whatever the checkpoint."""
OTHER = "f" * 64
"""The SHA-256 of a checkpoint that is not the baseline's."""
JUDGES = ("floors", "groups", "pin")


@dataclass(frozen=True)
class Judges:
    """The gates files of one healthy run."""

    floors: Gates
    """Absolute bounds, as `medsam-core propose` sets them."""
    groups: Gates
    """The relative bounds that it adds for any checkpoint: of each group's mean, of all cases' mean, of each case."""
    pin: Gates
    """No Dice and no HD95 may move at all."""
    everything: Gates
    """The whole file that it writes with --baseline."""
    baseline: Baseline

    @classmethod
    def of(cls, measured: Run, floors: Path, baseline: Baseline) -> Judges:
        """Write the gates files beside that of the floors."""

        def written(name: str, text: str) -> Gates:
            path = floors.with_name(name)
            path.write_text(text, encoding="utf-8")
            return load_gates(path)

        # without the first, which is for the baseline's own checkpoint
        _, _, *others = AGAINST.format(name=baseline.name).split("[[gate]]")
        pinned = (f'[[gate]]\nmetric = "{one}"\ncase_change_maximum = {PINNED:.5f}\n' for one in ("dice", "hd95"))
        head = "version = 1\n"
        return cls(
            floors=load_gates(floors),
            groups=written("groups.toml", head + "".join(f"[[gate]]{one}" for one in others)),
            pin=written("pin.toml", head + "".join(pinned)),
            everything=written("everything.toml", propose_gates(measured, baseline=baseline.name)),
            baseline=baseline,
        )


@dataclass(frozen=True)
class Judged:
    """What a run came to."""

    run: Run | None
    """None if the session refused to score anything."""
    verdicts: Mapping[str, Verdict]
    """By the name of a judge."""
    other: Verdict | None
    """As the run of another checkpoint, by the whole gates file."""
    error: str = ""
    """The first error of the session or of a case's test, "" for none."""
    objections: tuple[str, ...] = ()
    """What the session itself found, apart from the gates."""
    moved: tuple[str, float] | None = None
    """The group with the largest change of its mean Dice, and the change; None if no group was scored."""

    @property
    def outcome(self) -> str:
        """The worst of all judges: FAIL, ERROR, INCONCLUSIVE or PASS."""
        return self._worst(verdict.outcome for verdict in self.verdicts.values())

    @property
    def other_outcome(self) -> str:
        """The same as the run of another checkpoint."""
        return self._worst([] if self.other is None else [self.other.outcome])

    @property
    def far(self) -> bool:
        """Whether a group's mean moved by MOVED or more, or is no number."""
        return self.moved is not None and not abs(self.moved[1]) < MOVED

    def reasons(self, judge: str) -> list[str]:
        """Why it is no pass for the judge, the first reason first; [] for a pass."""
        lines = self.verdicts[judge].lines()[1:] if judge in self.verdicts else []
        broken = [line.strip() for line in lines if line.strip().startswith("FAIL")]
        unknown = [line.strip() for line in lines if line.strip().startswith("INCONCLUSIVE")]
        return broken + ([f"ERROR {self.error}"] if self.error else []) + [*self.objections, *unknown]

    def _worst(self, outcomes: object) -> str:
        found = {outcome.value for outcome in outcomes}  # type: ignore[attr-defined]
        found |= {"ERROR"} if self.error else set()
        found |= {Outcome.INCONCLUSIVE.value} if self.objections else set()
        return next((one for one in ("FAIL", "ERROR", "INCONCLUSIVE") if one in found), "PASS")


def judged(run: Run, verdict: Verdict, error: str, judges: Judges | None) -> Judged:
    """Judge a run that a session has ended with `verdict`."""
    if judges is None:
        return Judged(run, {"floors": verdict}, None, error)
    plain = judge_run(run, judges.floors)
    objections = tuple(f"INCONCLUSIVE {reason}" for reason in verdict.reasons if reason not in plain.reasons)
    verdicts = {
        "floors": plain,
        "groups": judge_run(run, judges.groups, baseline=judges.baseline),
        "pin": judge_run(run, judges.pin, baseline=judges.baseline),
    }
    checkpoint = dataclasses.replace(run.header.checkpoint, sha256=OTHER)
    elsewhere = Run(run.directory, dataclasses.replace(run.header, checkpoint=checkpoint), run.records)
    other = judge_run(elsewhere, judges.everything, baseline=judges.baseline)
    return Judged(run, verdicts, other, error, objections, _moved(judges.baseline, run))


def _moved(baseline: Baseline, run: Run) -> tuple[str, float] | None:
    before: dict[str, list[float]] = {}
    now: dict[str, list[float]] = {}
    for record in run.records:
        if record.prompted:
            now.setdefault(group_name(record.case), []).append(record.score("dice"))
    for name, case in baseline.cases.items():
        if case.prompted:
            _, _, region, *rest = name.split("/")
            before.setdefault("/".join([region, *rest]), []).append(baseline.score(name, "brats2019/dice@volume"))
    changes = {group: mean(now[group]) - mean(before[group]) for group in before if group in now}
    nan = next((group for group, change in changes.items() if math.isnan(change)), None)
    most = nan or max(changes, key=lambda group: abs(changes[group]), default=None)
    return None if most is None else (most, round(changes[most], 6))
