"""One gate over the records of a run: a result for each bound, and the single cases that break it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medsam_core.cases import CaseRecord
from medsam_core.gates.baseline import Baseline
from medsam_core.gates.bounds import Bound, moves, relative_statistic, statistic
from medsam_core.gates.gate import Gate, Violation
from medsam_core.gates.gates_file import Gates
from medsam_core.gates.statistics import DECIMALS
from medsam_core.gates.wording import compared, metric_name, of_case
from medsam_core.outcome import Outcome
from medsam_core.text import counted, few


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
class Context:
    """What a gate is judged with, the same for all gates of a run.

    whole: whether exactly the planned cases were scored. terciles: of `volume_terciles`. alike: whether the baseline
    answered the same question as the run.
    """

    profile: str | None
    whole: bool
    terciles: Mapping[str, str]
    baseline: Baseline | None
    alike: bool


@dataclass(frozen=True)
class JudgedGate:
    """cases: ids of the prompted cases that the gate applied to. reasons: why it says less than it should."""

    results: tuple[GateResult, ...]
    reasons: tuple[str, ...]
    violations: tuple[Violation, ...]
    cases: tuple[str, ...]


@dataclass(frozen=True)
class _Scored:
    """A prompted case with its score, and the baseline's and the best control's, None if there is none."""

    record: CaseRecord
    value: float
    before: float | None
    control: float | None


def judge_gate(gate: Gate, scored: Sequence[CaseRecord], context: Context) -> JudgedGate:
    """Judge the gate's bounds over the records, which are sorted and of planned cases only."""
    matched = [record for record in scored if gate.matches(record, context.terciles)]
    asked = [record for record in matched if record.prompted]
    values = [(record, gate.score(record, context.profile)) for record in asked]
    missing = [record.id for record, value in values if value is None]
    reasons = []
    if not asked:
        which = f"the region is absent in {counted(len(matched), 'matching case')}" if matched else "it matches no case"
        reasons.append(f"{gate.label} evaluated nothing: {which}")
    if missing:
        name = metric_name(gate.metric, gate.scope) + (f" of profile {context.profile}" if context.profile else "")
        reasons.append(f"{gate.label}: no score {name} in {counted(len(missing), 'case')}: {few(missing)}")
    known = [
        _Scored(record, value, _before(gate, record, context), _control(gate, record, context))
        for record, value in values
        if value is not None
    ]
    whole = context.whole and not reasons
    results, violations = [], [v for record in asked for v in gate.violations(record, context.profile)]
    hole = any(math.isnan(one.value) for one in known)  # then every bound fails, whatever the baseline has
    for bound in gate.bounds:
        lacking = None
        if known and not hole:
            lacking = _lacking_controls(gate, bound, known) or _lacking_baseline(gate, bound, known, context)
        if lacking is not None:
            reasons.append(lacking)
        if lacking is not None or not known or (gate.of_cohort and not whole):
            # whose tercile a case is in depends on the cases that are missing
            text = lacking or (reasons[0] if reasons else f"{gate.label} {bound.name}: the run is not complete")
            results.append(GateResult(gate, bound.name, bound.limit, None, len(known), Outcome.INCONCLUSIVE, text))
            continue
        results.append(_judge_bound(gate, bound, known, whole, context))
        if bound.relative and bound.per_case and not hole:
            violations += _fallen(gate, bound, known, context)
    if gate.of_cohort and not whole:
        violations = []
    return JudgedGate(
        tuple(results), tuple(dict.fromkeys(reasons)), tuple(violations), tuple(record.id for record in asked)
    )


def reference_notes(baseline: Baseline | None, gates: Gates | None) -> tuple[str, ...]:
    """What a reader should know of what the bounds refer to: that no gate does, or that it is no PASS itself."""
    if baseline is None or gates is None:
        return ()
    if not gates.relative:
        return (f"baseline {baseline.name}: no gate compares with it",)
    if baseline.identity.forced:
        return (f"baseline {baseline.name}: was accepted with --force, against what its file says",)
    outcome = baseline.identity.outcome
    if outcome == Outcome.PASS.value:
        return ()
    return (f"baseline {baseline.name}: {f'ended as {outcome}' if outcome else 'has no verdict'} itself",)


def _judge_bound(gate: Gate, bound: Bound, known: Sequence[_Scored], whole: bool, context: Context) -> GateResult:
    """One bound over at least one score. If not whole, it can be seen broken by a case, but neither held nor more."""
    name, n = metric_name(gate.metric, gate.scope), len(known)
    nan = tuple(one.record.id for one in known if math.isnan(one.value))
    if nan:
        text = f"{gate.label} {bound.name}: {name} is NaN in {counted(len(nan), 'case')}: {few(nan)}"
        return GateResult(gate, bound.name, bound.limit, math.nan, n, Outcome.FAIL, text, nan)
    if bound.relative:
        before = [one.before for one in known if one.before is not None]
        # rounded, as the baseline is, so that the run it was made from stands to it as exactly 1 to 1
        value = relative_statistic(bound, [round(one.value, DECIMALS) for one in known], before, gate.sign)
        broken = _fallen(gate, bound, known, context) if bound.per_case else []
        failing = tuple(violation.case for violation in broken)
    else:
        limited = [one.value - (one.control or 0) if bound.of_controls else one.value for one in known]
        value = statistic(bound, limited)
        failing = tuple(
            one.record.id for one, own in zip(known, limited, strict=True) if bound.per_case and not bound.holds(own)
        )
    if not bound.holds(value) and (bound.per_case or whole):
        outcome = Outcome.FAIL
    else:
        outcome = Outcome.PASS if whole else Outcome.INCONCLUSIVE
    against = f" against {context.baseline.name}" if bound.relative and context.baseline is not None else ""
    text = (
        f"{gate.label} {bound.name}: {_WORDS[bound.statistic].format(name)} "
        f"{compared(value, bound.limit, '' if bound.statistic == 'mean_ratio' else gate.metric)} "
        f"over {counted(n, 'case')}{against}{f', broken by {few(failing)}' if failing else ''}"
        f"{'' if whole else ' of an incomplete run'}"
    )
    return GateResult(gate, bound.name, bound.limit, value, n, outcome, text, failing)


_WORDS = {
    "case": "worst {}",
    "mean": "mean {}",
    "median": "median {}",
    "worst_decile": "worst decile {}",
    "mean_ratio": "ratio of the mean {}",
    "mean_drop": "drop of the mean {}",
    "case_drop": "largest drop of {}",
    "case_change": "largest change of {}",
    "beats": "smallest margin of {} over the controls",
}


def _before(gate: Gate, record: CaseRecord, context: Context) -> float | None:
    key = gate.key(record, context.profile)
    case = context.baseline.cases.get(record.id) if context.baseline is not None else None
    value = case.scores.get(key) if case is not None and key is not None else None
    return value if value is not None and math.isfinite(value) else None


def _control(gate: Gate, record: CaseRecord, context: Context) -> float | None:
    best = gate.best_control(record, context.profile)
    return None if best is None else best[1]


def _lacking_controls(gate: Gate, bound: Bound, known: Sequence[_Scored]) -> str | None:
    """Why `beats_controls` cannot be judged, None if it can or is not asked for: an older run has no controls."""
    lacking = [one.record.id for one in known if one.control is None] if bound.of_controls else []
    return f"{gate.label}: no control scored in {counted(len(lacking), 'case')}: {few(lacking)}" if lacking else None


def _lacking_baseline(gate: Gate, bound: Bound, known: Sequence[_Scored], context: Context) -> str | None:
    """Why a relative bound cannot be judged, None if it can or is not relative."""
    if not bound.relative:
        return None
    if context.baseline is None:
        return f"{gate.label} needs a baseline: give --baseline NAME, or accept a run as one"
    if not context.alike:
        return f"{gate.label}: the baseline {context.baseline.name} is not of the same question"
    lacking = [one.record.id for one in known if one.before is None]
    if lacking:
        name = metric_name(gate.metric, gate.scope)
        return (
            f"{gate.label}: {context.baseline.name} has no {name} for {counted(len(lacking), 'case')}: {few(lacking)}"
        )
    return None


def _fallen(gate: Gate, bound: Bound, known: Sequence[_Scored], context: Context) -> list[Violation]:
    """The cases that dropped, or changed, by more than the bound allows."""
    pairs = [(one, one.before) for one in known if one.before is not None]
    fallen = moves(bound, [one.value for one, _ in pairs], [before for _, before in pairs], gate.sign)
    how, what = ("is not", "change") if bound.statistic == "case_change" else ("is worse than", "drop")
    name = context.baseline.name if context.baseline is not None else "the baseline"
    return [
        Violation(
            one.record.id,
            gate.number,
            bound.name,
            drop,
            bound.limit,
            f"{metric_name(gate.metric, gate.scope)} {one.value:.3f} {how} {before:.3f} in {name}: {what} "
            f"{compared(drop, bound.limit, gate.metric)} ({of_case(one.record)})",
        )
        for (one, before), drop in zip(pairs, fallen, strict=True)
        if not bound.holds(drop)
    ]


def _json_number(value: float | None) -> float | str | None:
    return value if value is None or math.isfinite(value) else str(value)
