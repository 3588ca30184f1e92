"""From records and gates to a verdict: PASS, FAIL or INCONCLUSIVE.

The verdict is computed from stored records alone, so a run can be judged again, by other gates, without inference.
PASS needs everything: every planned case scored once, every gate applied to a case the model was asked about, no NaN,
every bound held. FAIL needs one bound seen broken. What is neither is INCONCLUSIVE, with the reason.
"""

from __future__ import annotations

import enum
import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from medsam_core.evaluation import CaseRecord
from medsam_core.gates.thresholds import Bound, Gate, Gates, Violation
from medsam_core.gates.wording import compared, counted, few, metric_name

NO_GATES = "no gates for this cohort: give --gates FILE or make one with `medsam-core propose RUN`"


class Outcome(enum.Enum):
    """What a run, a gate or a case came to."""

    PASS = "PASS"
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"

    @property
    def exit_code(self) -> int:
        """0, 1 or 10: only PASS is a success, and a pipeline can tell the other two apart."""
        return {"PASS": 0, "FAIL": 1, "INCONCLUSIVE": 10}[self.value]


def worst(outcomes: Iterable[Outcome]) -> Outcome:
    """FAIL if any is, else INCONCLUSIVE if any is, else PASS (also for none)."""
    found = set(outcomes)
    return next((one for one in (Outcome.FAIL, Outcome.INCONCLUSIVE) if one in found), Outcome.PASS)


@dataclass(frozen=True)
class GateResult:
    """What one bound of one gate came to.

    value: the statistic (for a per-case bound the worst case's score), None if nothing could be evaluated.
    n: prompted cases that the gate applied to. failing: ids of the cases that break a per-case bound or whose score is
    missing or NaN, sorted.
    """

    gate: Gate
    bound: str
    limit: float
    value: float | None
    n: int
    outcome: Outcome
    text: str
    failing: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Built-in types; a value that is not finite is written as text."""
        return {
            "gate": self.gate.number,
            "metric": self.gate.metric,
            "scope": self.gate.scope,
            "filters": {name: list(values) for name, values in self.gate.filters.items()},
            "bound": self.bound,
            "limit": self.limit,
            "value": _json_number(self.value),
            "n": self.n,
            "outcome": self.outcome.value,
            "text": self.text,
            "failing": list(self.failing),
        }


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
        return [
            head,
            *(f"  {one.outcome.value} {one.text}" for one in self.results if one.outcome is Outcome.FAIL),
            *(f"  INCONCLUSIVE {reason}" for reason in self.reasons),
            *(f"  note: {note}" for note in self.notes),
        ]


def judge(plan: Sequence[str], records: Sequence[CaseRecord], gates: Gates | None) -> Verdict:
    """Judge records against the plan and the gates; the order of neither matters.

    plan: every case id that the run was asked to score. gates: None if there are none, which is INCONCLUSIVE.
    """
    planned = set(plan)
    # sorted, so that sums and texts do not depend on which worker was first
    scored = sorted((r for r in records if r.id in planned), key=lambda r: (r.id, repr(sorted(r.scores.items()))))
    reasons = attendance(plan, records)
    whole = not reasons
    if gates is None:
        reasons.append(NO_GATES)
    results: list[GateResult] = []
    for gate in gates.gates if gates else ():
        of_gate, why = _judge_gate(gate, scored, gates.profile if gates else None, whole)
        results += of_gate
        reasons += why
    cases = _judge_cases(planned, scored, gates)
    outcome = worst([*(result.outcome for result in results), Outcome.INCONCLUSIVE if reasons else Outcome.PASS])
    prompted = [record for record in scored if record.prompted]
    gated = [r for r in prompted if gates and any(gate.matches(r) for gate in gates.gates)]
    ungated = sorted({r.id for r in prompted} - {r.id for r in gated})
    return Verdict(
        outcome=outcome,
        results=tuple(results),
        reasons=tuple(reasons),
        counts={
            "planned": len(planned),
            "scored": len({record.id for record in scored}),
            "prompted": len({record.id for record in prompted}),
            "missing": len(planned - {record.id for record in scored}),
            "gated": len({record.id for record in gated}),
            "failing": sum(case.outcome is Outcome.FAIL for case in cases),
            "bounds": len(results),
            "broken": sum(result.outcome is Outcome.FAIL for result in results),
        },
        cases=cases,
        notes=(f"{counted(len(ungated), 'case')} under no gate: {few(ungated)}",) if gates and ungated else (),
    )


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


def _judge_gate(
    gate: Gate, scored: Sequence[CaseRecord], profile: str | None, whole: bool
) -> tuple[list[GateResult], list[str]]:
    """One result for each bound of the gate, and the reasons for which the gate says less than it should."""
    matched = [record for record in scored if gate.matches(record)]
    asked = [(record, gate.score(record, profile)) for record in matched if record.prompted]
    missing = [record.id for record, value in asked if value is None]
    reasons = []
    if not asked:
        which = f"the region is absent in {counted(len(matched), 'matching case')}" if matched else "it matches no case"
        reasons.append(f"{gate.label} evaluated nothing: {which}")
    if missing:
        name = f"{metric_name(gate.metric, gate.scope)}{f' of profile {profile}' if profile else ''}"
        reasons.append(f"{gate.label}: no score {name} in {counted(len(missing), 'case')}: {few(missing)}")
    known = [(record, value) for record, value in asked if value is not None]
    results = []
    for bound in gate.bounds:
        outcome, value, text, failing = _judge_bound(gate, bound, known, whole and not reasons)
        if outcome is not Outcome.FAIL and reasons:
            text = reasons[-1]
        results.append(GateResult(gate, bound.name, bound.limit, value, len(known), outcome, text, failing))
    return results, reasons


def _judge_bound(
    gate: Gate, bound: Bound, known: Sequence[tuple[CaseRecord, float]], whole: bool
) -> tuple[Outcome, float | None, str, tuple[str, ...]]:
    """Outcome, value of the statistic, text and failing cases of one bound over the scores there are.

    whole: whether these are all the scores that were planned; if not, a bound can be seen broken but not held.
    """
    if not known:
        return Outcome.INCONCLUSIVE, None, f"{gate.label} evaluated nothing", ()
    nan = tuple(record.id for record, value in known if math.isnan(value))
    name = metric_name(gate.metric, gate.scope)
    if nan:
        text = f"{gate.label} {bound.name}: {name} is NaN in {counted(len(nan), 'case')}: {few(nan)}"
        return Outcome.FAIL, math.nan, text, nan
    value = statistic(bound, [value for _, value in known])
    holds = bound.holds(value)
    failing: tuple[str, ...] = ()
    if bound.statistic == "case":
        broken = [(record, score) for record, score in known if not bound.holds(score)]
        failing = tuple(record.id for record, _ in broken)
        outcome = Outcome.FAIL if broken else Outcome.PASS if whole else Outcome.INCONCLUSIVE
        what = f"worst {name}"
    else:
        outcome = Outcome.INCONCLUSIVE if not whole else Outcome.PASS if holds else Outcome.FAIL
        what = f"{bound.statistic.replace('_', ' ')} {name}"
    text = (
        f"{gate.label} {bound.name}: {what} {compared(value, bound.limit, gate.metric)} "
        f"over {counted(len(known), 'case')}{f', broken by {few(failing)}' if failing else ''}"
        f"{'' if whole else ' of an incomplete run'}"
    )
    return outcome, value, text, failing


def statistic(bound: Bound, values: Sequence[float]) -> float:
    """The number that a bound limits, of at least one score, none of them NaN.

    case: the score nearest to breaking the bound. worst_decile: the mean of the tenth of the cases (rounded up, so at
    least one) that is nearest to breaking it. mean and median: of all. Independent of the order of the values.
    """
    ordered = sorted(values, reverse=bound.side == "maximum")
    if bound.statistic == "case":
        return ordered[0]
    if bound.statistic == "median":
        return statistics.median(ordered)
    if bound.statistic == "worst_decile":
        ordered = ordered[: math.ceil(len(ordered) / 10)]
    # fsum is exact before its one rounding: 30 scores of 0.9 have the mean 0.9 and pass a floor of 0.9
    return math.fsum(ordered) / len(ordered)


def _judge_cases(planned: Iterable[str], scored: Sequence[CaseRecord], gates: Gates | None) -> tuple[CaseResult, ...]:
    """Each planned case by itself, sorted by id; cohort statistics play no part."""
    found: dict[str, tuple[Violation, ...]] = {}
    for record in scored:
        found[record.id] = found.get(record.id, ()) + (gates.violations(record) if gates else ())
    cases = []
    for case in sorted(planned):
        violations = found.get(case)
        if violations is None:
            cases.append(CaseResult(case, Outcome.INCONCLUSIVE, ("planned but not scored",)))
        elif gates is None:
            cases.append(CaseResult(case, Outcome.INCONCLUSIVE, (NO_GATES,)))
        else:
            seen = any(violation.value is not None for violation in violations)
            outcome = Outcome.FAIL if seen else Outcome.INCONCLUSIVE if violations else Outcome.PASS
            cases.append(CaseResult(case, outcome, tuple(dict.fromkeys(v.text for v in violations))))
    return tuple(cases)


def _json_number(value: float | None) -> float | str | None:
    return value if value is None or math.isfinite(value) else str(value)
