"""From records and gates to a verdict: PASS, FAIL or INCONCLUSIVE.

The verdict is computed from stored records alone, so a run can be judged again, by other gates, without inference.
PASS needs everything: every planned case scored once, every gate applied to at least one prompted case, no NaN, every
bound held. FAIL needs one broken bound. Everything else is INCONCLUSIVE, with the reason.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from medsam_core.cases import CaseRecord
from medsam_core.gates.baseline import Baseline, identity_of
from medsam_core.gates.baseline_file import FOLDER
from medsam_core.gates.bounds import mean
from medsam_core.gates.gate import Context, Gate, GateResult, Violation, judge_gate
from medsam_core.gates.gates_file import Gates
from medsam_core.gates.pairing import Comparability, attendance, comparability
from medsam_core.gates.subgroups import volume_terciles
from medsam_core.gates.wording import group_name, group_order, metric_name
from medsam_core.header import Shard
from medsam_core.outcome import Outcome, worst
from medsam_core.plausibility import implausible
from medsam_core.runs import VERDICT, Run
from medsam_core.text import counted, few

MOST_LINES = 12
"""Broken bounds that the terminal shows: a damaged model breaks all of them."""
SUSPICIOUS_METRIC, SUSPICIOUS_RISE = "dice", 0.03
"""A group whose mean rises by more is named in the verdict."""
NO_GATES = (
    "no gates for this cohort: give --gates FILE (in pytest --medsam-gates), or make one with `medsam-core propose RUN`"
)


AWAITS_MERGE = 11
"""The exit code of a shard that nothing is wrong with: no verdict, and no reason to look at it."""


@dataclass(frozen=True)
class CaseVerdict:
    """The verdict on one planned case by itself."""

    id: str
    outcome: Outcome
    texts: tuple[str, ...] = ()
    """Why it is not a PASS."""


@dataclass(frozen=True)
class Verdict:
    """The verdict on a run."""

    outcome: Outcome
    results: tuple[GateResult, ...] = ()
    reasons: tuple[str, ...] = ()
    """Why it is no PASS, apart from broken bounds."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Of cases: planned, scored, prompted, missing, gated, ungated, failing. Of bounds: bounds, broken."""
    cases: tuple[CaseVerdict, ...] = ()
    notes: tuple[str, ...] = ()
    """What else a reader should know."""
    ungated: tuple[str, ...] = ()
    """The groups with prompted cases that no gate is about."""
    predictor: str = ""
    """Name and version of what was judged; "" where only records were judged, which do not say."""
    shard: Shard | None = None
    """Which part of a cohort was judged; None for all of it."""

    @property
    def awaits_merge(self) -> bool:
        """Whether it is of a shard that nothing is wrong with: every case was scored, and none breaks a bound."""
        if self.shard is None or self.outcome is not Outcome.INCONCLUSIVE:
            return False
        return self.reasons == (part_reason(self.shard),)

    @property
    def exit_code(self) -> int:
        """0, 1 or 10 as the outcome's; AWAITS_MERGE if it awaits a merge."""
        return AWAITS_MERGE if self.awaits_merge else self.outcome.exit_code

    def to_json(self) -> dict[str, Any]:
        """Built-in types only, for `verdict.json`."""
        return {
            "outcome": self.outcome.value,
            "predictor": self.predictor,
            "exit_code": self.exit_code,
            "reasons": list(self.reasons),
            "notes": list(self.notes),
            "ungated": list(self.ungated),
            "counts": dict(self.counts),
            "results": [result.to_json() for result in self.results],
            "cases": {
                case.id: {"outcome": case.outcome.value, "texts": list(case.texts)}
                for case in self.cases
                if case.outcome is not Outcome.PASS
            },
        }

    def lines(self) -> list[str]:
        """For the terminal: the verdict, then each bound that does not hold, each reason and each note."""
        counts = self.counts
        head = f"{self.outcome.value}: {counts.get('scored', 0)} of {counted(counts.get('planned', 0), 'case')} scored"
        if self.results:
            held = sum(result.outcome is Outcome.PASS for result in self.results)
            head += f", {held} of {counted(len(self.results), 'bound')} held"
        if self.ungated:
            head += f", {counted(counts['ungated'], 'case')} under no gate: {few(self.ungated, 6)}"
        if self.predictor:
            head += f"; predictor {self.predictor}"
        broken = [f"  FAIL {result.text}" for result in self.results if result.outcome is Outcome.FAIL]
        unknown = [result.text for result in self.results if result.outcome is Outcome.INCONCLUSIVE and result.group]
        if len(broken) > MOST_LINES:
            left = len(broken) - MOST_LINES
            broken = [*broken[:MOST_LINES], f"  FAIL {counted(left, 'bound')} more, see {VERDICT} or judge --json"]
        return [
            head,
            *broken,
            *(f"  INCONCLUSIVE {text}" for text in dict.fromkeys((*self.reasons, *unknown))),
            *(f"  note: {note}" for note in self.notes),
        ]


def judge(
    plan: Sequence[str],
    records: Sequence[CaseRecord],
    gates: Gates | None,
    *,
    baseline: Baseline | None = None,
    against: Comparability | None = None,
    objections: Sequence[str] = (),
) -> Verdict:
    """Judge records against the plan and the gates; the order of neither matters.

    plan: every case id that the run was asked to score. gates: None if there are none, which is INCONCLUSIVE.
    baseline: what relative bounds refer to. against: how far it can be compared with the run; None for entirely.
    objections: further reasons why the run is no PASS.
    """
    planned = set(plan)
    # sorted, so that sums and texts do not depend on which worker was first
    scored = sorted((r for r in records if r.id in planned), key=lambda r: (r.id, repr(sorted(r.scores.items()))))
    ids = {record.id for record in scored}
    prompted = {record.id for record in scored if record.prompted}
    reasons = attendance(plan, records)
    whole = not reasons
    reasons += objections
    unlike = (*(against.unlike if against else ()), *(_unfit(baseline) if baseline else ()))
    exact = {record.case: record for record in scored if not record.case.noise}
    context = Context(gates.profile if gates else None, whole, volume_terciles(scored), baseline, not unlike, exact)
    every = gates.gates if gates else ()
    aside = {gate.number: why for gate in every if against and (why := _set_aside(gate, against))}
    judged = [judge_gate(gate, scored, context) for gate in every if gate.number not in aside]
    if gates is None:
        reasons.append(NO_GATES)
    elif not judged:
        reasons.append("no gate is about this run")
    elif gates.relative:
        reasons += unlike
    reasons += dict.fromkeys(reason for one in judged for reason in one.reasons)
    reasons += implausible(scored)
    results = tuple(result for one in judged for result in one.results)
    cases = _judge_cases(planned, ids, [violation for one in judged for violation in one.violations], gates is not None)
    gated = {case for one in judged for case in one.cases}
    ungated = [record.case for record in scored if gates and record.id in prompted - gated]
    risen = _risen(against) if against and not unlike else []
    return Verdict(
        outcome=worst([*(result.outcome for result in results), Outcome.INCONCLUSIVE if reasons else Outcome.PASS]),
        results=results,
        reasons=tuple(reasons),
        counts={
            "planned": len(planned),
            "scored": len(ids),
            "prompted": len(prompted),
            "missing": len(planned - ids),
            "gated": len(gated),
            "ungated": len(ungated),
            "failing": sum(case.outcome is Outcome.FAIL for case in cases),
            "bounds": len(results),
            "broken": sum(result.outcome is Outcome.FAIL for result in results),
        },
        cases=cases,
        notes=(*risen, *aside.values()),
        ungated=tuple(dict.fromkeys(map(group_name, sorted(ungated, key=group_order)))),
    )


def judge_run(run: Run, gates: Gates | None, *, baseline: Baseline | None = None, folder: Path = FOLDER) -> Verdict:
    """Judge a run, stored or just finished. A shard is no PASS: it can only FAIL, by a case's own score.

    baseline: what relative bounds refer to; None for the one that the gates file names, if it is in `folder`.
    Raises GateError if that is damaged.
    """
    if run.header.shard is not None:
        return _judge_shard(run, run.header.shard, gates)
    kind = identity_of(run).kind
    if baseline is None and gates is not None:
        baseline = gates.reference(folder, kind)
    against = None if baseline is None else comparability(baseline, run, SUSPICIOUS_METRIC)
    objections = [*run.uncounted, *(gates.cohort.objections(run) if gates is not None else ())]
    verdict = judge(run.plan, run.records, gates, baseline=baseline, against=against, objections=objections)
    notes = (*verdict.notes, *_reference_notes(baseline, gates, kind))
    return replace(verdict, notes=notes, predictor=str(run.header.predictor))


def part_reason(shard: Shard) -> str:
    """Why a shard is no PASS, whatever it scored."""
    return (
        f"this is shard {shard} of a run, and only the whole run has a verdict: merge all {shard.of} with "
        "`medsam-core merge RUN… -o RUN`"
    )


def _judge_shard(run: Run, shard: Shard, gates: Gates | None) -> Verdict:
    """Only what a part can show: a case that is missing, that cannot be believed, or that breaks a bound by itself.

    What the whole run decides (means, terciles, baselines, gates that match no case here) is left to it.
    """
    if gates is not None:  # the terciles of a part are not those of the cohort
        gates = replace(gates, gates=tuple(gate for gate in gates.gates if not gate.of_cohort))
    part = judge(run.plan, run.records, gates)
    broken = [
        result
        for result in part.results
        if result.outcome is Outcome.FAIL and (result.bound.per_case or math.isnan(result.value or 0.0))
    ]
    reasons = [*attendance(run.plan, run.records), *run.uncounted, *implausible(run.records)]
    scored = {record.id for record in run.records}
    unscored = [one for one in part.cases if gates and one.outcome is Outcome.INCONCLUSIVE and one.id in scored]
    reasons += [f"{one.id}: {', '.join(one.texts)}" for one in unscored]
    return replace(
        part,
        outcome=Outcome.FAIL if broken else Outcome.INCONCLUSIVE,
        results=tuple(broken),
        reasons=(*reasons, part_reason(shard)),
        counts={**part.counts, "bounds": len(broken), "broken": len(broken)},
        notes=(),
        predictor=str(run.header.predictor),
        shard=shard,
    )


def _risen(against: Comparability) -> list[str]:
    """A note for each group with a rise that is more often a fault than a better model."""
    rises = {group: mean([pair.benefit for pair in pairs]) for group, pairs in against.groups.items() if pairs}
    name = metric_name(SUSPICIOUS_METRIC)
    return [
        f"suspicious: the mean {name} of {group} rose by {rise:.3f} against {against.reference}, more than "
        f"{SUSPICIOUS_RISE:g}: truth that leaks into the prediction looks like this, too; look at its overlays"
        for group, rise in rises.items()
        if rise > SUSPICIOUS_RISE
    ]


def _unfit(baseline: Baseline) -> tuple[str, ...]:
    return tuple(f"{baseline.name} {why}, so nothing is compared with it" for why in baseline.unfit)


def _reference_notes(baseline: Baseline | None, gates: Gates | None, kind: str) -> tuple[str, ...]:
    """What a reader should know of the baseline of a run of that kind."""
    if baseline is None or gates is None:
        return ()
    notes = []
    if not gates.relative:
        notes.append("no gate compares with it")
    else:
        if baseline.identity.forced:
            notes.append("was accepted with --force, against what its file says")
        if baseline.kinds and kind not in baseline.kinds:
            own = baseline.identity.kind
            notes.append(f"has no scores of {kind}; those of {own} are used, without the bounds for the same kind")
    return tuple(f"baseline {baseline.name}: {note}" for note in notes)


def _set_aside(gate: Gate, against: Comparability) -> str:
    """Why a gate does not apply to a run that differs from the baseline, "" if it applies."""
    differing = ", ".join(against.differing(gate.same))
    return f"{gate.label} is for the baseline's own {', '.join(gate.same)}: here {differing}" if differing else ""


def _judge_cases(
    planned: set[str], scored: set[str], violations: Sequence[Violation], gates: bool
) -> tuple[CaseVerdict, ...]:
    """Each planned case by itself, sorted by id; statistics of all cases do not count."""
    found: dict[str, list[Violation]] = {case: [] for case in sorted(planned)}
    for violation in violations:
        found[violation.case].append(violation)
    cases = []
    for case, own in found.items():
        if case not in scored or not gates:
            outcome, texts = Outcome.INCONCLUSIVE, [NO_GATES if case in scored else "planned but not scored"]
        else:
            seen = any(violation.value is not None for violation in own)
            outcome = Outcome.FAIL if seen else Outcome.INCONCLUSIVE if own else Outcome.PASS
            texts = [violation.text for violation in own]
        cases.append(CaseVerdict(case, outcome, tuple(dict.fromkeys(texts))))
    return tuple(cases)
