"""One gate over the records of a run: a result for each bound, and the single cases that break it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medsam_core.cases import CaseRecord
from medsam_core.decoding import finite_or_text
from medsam_core.gates.baseline import Baseline
from medsam_core.gates.bounds import Bound, Decision, GatedCase, decide
from medsam_core.gates.gate import Gate, Violation
from medsam_core.gates.gates_file import Gates
from medsam_core.gates.wording import compared, metric_name
from medsam_core.outcome import Outcome
from medsam_core.text import counted, few


@dataclass(frozen=True)
class GateResult:
    """The result of one bound of one gate."""

    gate: Gate
    bound: Bound
    value: float | None
    """The statistic (for a per-case bound that of the worst case), None if nothing could be evaluated."""
    n: int
    """Prompted cases that the gate applied to."""
    outcome: Outcome
    text: str
    failing: tuple[str, ...] = ()
    """Ids of the cases that break a per-case bound or have a NaN score, sorted."""

    def to_json(self) -> dict[str, Any]:
        """Built-in types; a value that is not finite is written as text."""
        return {
            "gate": self.gate.number,
            "metric": self.gate.metric,
            "scope": self.gate.scope,
            "filters": {name: list(values) for name, values in self.gate.filters.items()},
            "bound": self.bound.name,
            "limit": self.bound.limit,
            "value": None if self.value is None else finite_or_text(self.value),
            "n": self.n,
            "outcome": self.outcome.value,
            "text": self.text,
            "failing": list(self.failing),
        }


@dataclass(frozen=True)
class Context:
    """What a gate is judged with, the same for all gates of a run."""

    profile: str | None
    whole: bool
    """Whether exactly the planned cases were scored."""
    terciles: Mapping[str, str]
    """As `volume_terciles` gives."""
    baseline: Baseline | None
    alike: bool
    """Whether the baseline answered the same question as the run."""


@dataclass(frozen=True)
class JudgedGate:
    """What one gate says about a run."""

    results: tuple[GateResult, ...]
    reasons: tuple[str, ...]
    """Why the gate, or a bound of it, could not be judged."""
    violations: tuple[Violation, ...]
    cases: tuple[str, ...]
    """Ids of the prompted cases that the gate applied to."""


def judge_gate(gate: Gate, scored: Sequence[CaseRecord], context: Context) -> JudgedGate:
    """Judge the gate's bounds over the records, which are sorted and of planned cases only."""
    matched = [record for record in scored if gate.matches(record, context.terciles)]
    asked = [record for record in matched if record.prompted]
    found = [gate.case(record, context.profile, context.baseline) for record in asked]
    known = [case for case in found if case is not None]
    missing = [record.id for record, case in zip(asked, found, strict=True) if case is None]
    reasons = []
    if not asked:
        which = f"the region is absent in {counted(len(matched), 'matching case')}" if matched else "it matches no case"
        reasons.append(f"{gate.label} evaluated nothing: {which}")
    if missing:
        name = metric_name(gate.metric, gate.scope) + (f" of profile {context.profile}" if context.profile else "")
        reasons.append(f"{gate.label}: no score {name} in {counted(len(missing), 'case')}: {few(missing)}")
    whole = context.whole and not reasons
    # in an incomplete run, the missing cases may move another one into the next tercile
    judgeable = bool(known) and (whole or not gate.of_cohort)
    nan = any(math.isnan(case.score) for case in known)  # then every bound fails, with or without a baseline
    results, violations = [], [one for record in asked for one in gate.violations(record, context.profile)]
    for bound in gate.bounds:
        lacking = _lacking(gate, bound, known, context) if known and not nan else None
        reasons += [] if lacking is None else [lacking]
        if lacking is None and judgeable:
            decision = decide(bound, known)
            results.append(_result(gate, bound, decision, len(known), whole, context))
            if bound.relative and not nan:  # the tests of single cases have no baseline
                violations += gate.broken(bound, decision.breaking)
        else:
            text = lacking or (reasons[0] if reasons else f"{gate.label} {bound.name}: the run is not complete")
            results.append(GateResult(gate, bound, None, len(known), Outcome.INCONCLUSIVE, text))
    return JudgedGate(
        results=tuple(results),
        reasons=tuple(dict.fromkeys(reasons)),
        violations=tuple(violations) if whole or not gate.of_cohort else (),
        cases=tuple(record.id for record in asked),
    )


def reference_notes(baseline: Baseline | None, gates: Gates | None) -> tuple[str, ...]:
    """What a reader should know of the baseline: that no gate refers to it, or that it is no PASS itself."""
    if baseline is None or gates is None:
        return ()
    outcome, note = baseline.identity.outcome, ""
    if not gates.relative:
        note = "no gate compares with it"
    elif baseline.identity.forced:
        note = "was accepted with --force, against what its file says"
    elif outcome != Outcome.PASS.value:
        note = f"{f'ended as {outcome}' if outcome else 'has no verdict'} itself"
    return (f"baseline {baseline.name}: {note}",) if note else ()


def _result(gate: Gate, bound: Bound, decision: Decision, n: int, whole: bool, context: Context) -> GateResult:
    """In an incomplete run, a case alone can break a per-case bound; nothing else is decided."""
    failing = tuple(case.record.id for case in decision.breaking)
    name, head = metric_name(gate.metric, gate.scope), f"{gate.label} {bound.name}"
    if any(math.isnan(case.score) for case in decision.breaking):
        text = f"{head}: {name} is NaN in {counted(len(failing), 'case')}: {few(failing)}"
        return GateResult(gate, bound, math.nan, n, Outcome.FAIL, text, failing)
    if not decision.holds and (bound.per_case or whole):
        outcome = Outcome.FAIL
    else:
        outcome = Outcome.PASS if whole else Outcome.INCONCLUSIVE
    against = f" against {context.baseline.name}" if bound.relative and context.baseline is not None else ""
    text = (
        f"{head}: {bound.statistic.words.format(name)} "
        f"{compared(decision.value, bound.limit, gate.metric if bound.statistic.in_unit else '')} "
        f"over {counted(n, 'case')}{against}{f', broken by {few(failing)}' if failing else ''}"
        f"{'' if whole else ' of an incomplete run'}"
    )
    return GateResult(gate, bound, decision.value, n, outcome, text, failing)


def _lacking(gate: Gate, bound: Bound, known: Sequence[GatedCase], context: Context) -> str | None:
    """Why the bound cannot be judged, None if it can: a run of an older version has no controls, for example."""
    baseline = context.baseline if bound.relative else None
    if bound.relative and baseline is None:
        return f"{gate.label} needs a baseline: give --baseline NAME, or accept a run as one"
    if baseline is not None and not context.alike:
        return f"{gate.label}: the baseline {baseline.name} is not of the same question"
    lacking = [case.record.id for case in known if bound.lacks(case)]
    if not lacking:
        return None
    what = f"{baseline.name} has no {metric_name(gate.metric, gate.scope)} for" if baseline else "no control scored in"
    return f"{gate.label}: {what} {counted(len(lacking), 'case')}: {few(lacking)}"
