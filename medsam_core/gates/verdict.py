"""From records and gates to a verdict: PASS, FAIL or INCONCLUSIVE.

The verdict is computed from stored records alone, so a run can be judged again, by other gates, without inference.
PASS needs everything: every planned case scored once, every gate applied to a case the model was asked about, no NaN,
every bound held. FAIL needs one bound seen broken. What is neither is INCONCLUSIVE, with the reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from medsam_core.cases import CaseRecord
from medsam_core.gates.baseline import FOLDER, Baseline, baseline_case, find_baseline, read_baseline
from medsam_core.gates.gate import Gate, Violation
from medsam_core.gates.gates_file import Gates
from medsam_core.gates.judging import Context, GateResult, judge_gate, reference_notes
from medsam_core.gates.pairing import differences, others, strangers
from medsam_core.gates.plausibility import implausible
from medsam_core.gates.subgroups import volume_terciles
from medsam_core.outcome import Outcome, worst
from medsam_core.runs import VERDICT, Run
from medsam_core.text import counted, few

MOST_LINES = 12
"""Broken bounds that the terminal shows: a damaged model breaks all of them."""
NO_GATES = "no gates for this cohort: give --gates FILE or make one with `medsam-core propose RUN`"


@dataclass(frozen=True)
class CaseResult:
    """What one planned case came to by itself; `texts` says why it is not a PASS."""

    id: str
    outcome: Outcome
    texts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """The verdict on a run.

    reasons: why the run is not a PASS, apart from broken bounds. notes: what a reader should know beside.
    counts: planned, scored, prompted, missing, gated, failing (cases), bounds, broken (bounds).
    """

    outcome: Outcome
    results: tuple[GateResult, ...] = ()
    reasons: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    cases: tuple[CaseResult, ...] = ()
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Built-in types only, for `verdict.json`."""
        return {
            "outcome": self.outcome.value,
            "exit_code": self.outcome.exit_code,
            "reasons": list(self.reasons),
            "notes": list(self.notes),
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
        broken = [f"  FAIL {result.text}" for result in self.results if result.outcome is Outcome.FAIL]
        if len(broken) > MOST_LINES:
            left = len(broken) - MOST_LINES
            broken = [*broken[:MOST_LINES], f"  FAIL {counted(left, 'bound')} more, see {VERDICT} or judge --json"]
        return [
            head,
            *broken,
            *(f"  INCONCLUSIVE {reason}" for reason in self.reasons),
            *(f"  note: {note}" for note in self.notes),
        ]


def judge(
    plan: Sequence[str],
    records: Sequence[CaseRecord],
    gates: Gates | None,
    *,
    baseline: Baseline | None = None,
    unlike: Sequence[str] = (),
    other: Mapping[str, str] | None = None,
) -> Verdict:
    """Judge records against the plan and the gates; the order of neither matters.

    plan: every case id that the run was asked to score. gates: None if there are none, which is INCONCLUSIVE.
    baseline: what relative bounds refer to; unlike: why it cannot be compared with this run; other: what of `gate.SAME`
    differs from it, and how (`judge_run` finds all three).
    """
    planned = set(plan)
    # sorted, so that sums and texts do not depend on which worker was first
    scored = sorted((r for r in records if r.id in planned), key=lambda r: (r.id, repr(sorted(r.scores.items()))))
    reasons = attendance(plan, records)
    context = Context(
        profile=gates.profile if gates else None,
        whole=not reasons,
        terciles=volume_terciles(scored),
        baseline=baseline,
        alike=not unlike,
    )
    aside = [one for gate in (gates.gates if gates else ()) if (one := _set_aside(gate, other or {}))]
    judged = [
        judge_gate(gate, scored, context)
        for gate in (gates.gates if gates else ())
        if not _set_aside(gate, other or {})
    ]
    if gates is None:
        reasons.append(NO_GATES)
    elif not judged:
        reasons.append("no gate is about this run")
    elif gates.relative:
        reasons += unlike
    reasons += dict.fromkeys(reason for one in judged for reason in one.reasons)
    reasons += implausible(scored)
    results = tuple(result for one in judged for result in one.results)
    violations = [violation for one in judged for violation in one.violations]
    cases = _judge_cases(planned, {record.id for record in scored}, violations, gates is not None)
    gated = {case for one in judged for case in one.cases}
    prompted = {record.id for record in scored if record.prompted}
    ungated = sorted(prompted - gated)
    return Verdict(
        outcome=worst([*(result.outcome for result in results), Outcome.INCONCLUSIVE if reasons else Outcome.PASS]),
        results=results,
        reasons=tuple(reasons),
        counts={
            "planned": len(planned),
            "scored": len({record.id for record in scored}),
            "prompted": len(prompted),
            "missing": len(planned - {record.id for record in scored}),
            "gated": len(gated),
            "failing": sum(case.outcome is Outcome.FAIL for case in cases),
            "bounds": len(results),
            "broken": sum(result.outcome is Outcome.FAIL for result in results),
        },
        cases=cases,
        notes=(
            *aside,
            *([f"{counted(len(ungated), 'case')} under no gate: {few(ungated)}"] if gates and ungated else []),
        ),
    )


def judge_run(run: Run, gates: Gates | None, *, baseline: Baseline | None = None, folder: Path = FOLDER) -> Verdict:
    """Judge a run, stored or just finished.

    baseline: what relative bounds refer to; None takes the one that the gates file names, if `folder` has it.
    Raises GateError if that is damaged.
    """
    if baseline is None and gates is not None and gates.relative and gates.baseline is not None:
        path = find_baseline(gates.baseline, folder)
        baseline = None if path is None else read_baseline(path)
    unlike: list[str] = []
    other: dict[str, str] = {}
    if baseline is not None:
        other = others(baseline, run)
        cases = {record.id: baseline_case(record) for record in run.records}
        unlike = [*differences(baseline, run, cases), *strangers(baseline, run, cases)]
    verdict = judge(run.plan, run.records, gates, baseline=baseline, unlike=unlike, other=other)
    return replace(verdict, notes=(*verdict.notes, *reference_notes(baseline, gates)))


def _set_aside(gate: Gate, other: Mapping[str, str]) -> str:
    """Why a gate is not about a run that differs from the baseline in `other`, "" if it is."""
    differing = ", ".join(f"{key} {other[key]}" for key in gate.same if key in other)
    return f"{gate.label} is for the baseline's own {', '.join(gate.same)}: here {differing}" if differing else ""


def attendance(plan: Sequence[str], records: Sequence[CaseRecord]) -> list[str]:
    """Why the records are not exactly the plan's; [] if they are."""
    planned, scored = Counter(plan), Counter(record.id for record in records)
    reasons = []
    if not planned:
        reasons.append("no case was planned: give --brats-root a folder with subjects")
    for cases, what in (
        (planned.keys() - scored.keys(), "planned but not scored"),
        (scored.keys() - planned.keys(), "scored but not planned"),
        ({case for case, times in planned.items() if times > 1}, "planned more than once"),
        ({case for case, times in scored.items() if times > 1}, "scored more than once"),
    ):
        if cases:
            reasons.append(f"{counted(len(cases), 'case')} {what}: {few(sorted(cases))}")
    return reasons


def _judge_cases(
    planned: set[str], scored: set[str], violations: Sequence[Violation], gates: bool
) -> tuple[CaseResult, ...]:
    """Each planned case by itself, sorted by id; cohort statistics play no part."""
    found: dict[str, list[Violation]] = {}
    for violation in violations:
        found.setdefault(violation.case, []).append(violation)
    cases = []
    for case in sorted(planned):
        if case not in scored or not gates:
            why = NO_GATES if case in scored else "planned but not scored"
            cases.append(CaseResult(case, Outcome.INCONCLUSIVE, (why,)))
            continue
        own = found.get(case, [])
        seen = any(violation.value is not None for violation in own)
        outcome = Outcome.FAIL if seen else Outcome.INCONCLUSIVE if own else Outcome.PASS
        cases.append(CaseResult(case, outcome, tuple(dict.fromkeys(violation.text for violation in own))))
    return tuple(cases)
