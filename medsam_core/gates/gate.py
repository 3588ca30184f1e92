"""One gate: which cases it is about, which score it looks at, and what it says of one record and of all of a run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from medsam_core.cases import Case, CaseRecord, score_key
from medsam_core.data.regions import REGIONS
from medsam_core.decoding import finite_or_text
from medsam_core.gates.baseline import Baseline
from medsam_core.gates.bounds import NO_REFERENCE, Bound, Decision, GatedCase, Reference, decide
from medsam_core.gates.subgroups import COMPONENTS, TERCILES, components
from medsam_core.gates.wording import (
    DEFAULT_MODALITY,
    DEFAULT_PROTOCOL,
    compared,
    group_name,
    group_order,
    metric_name,
    of_case,
)
from medsam_core.modalities import IMAGES
from medsam_core.outcome import Outcome
from medsam_core.prompts.noise import KINDS
from medsam_core.prompts.prompt import MODES, PROTOCOLS
from medsam_core.text import counted, few, signed

# None: any value, since grades and sites are the data set's own words.
FILTERS: Mapping[str, tuple[str, ...] | None] = {
    "region": REGIONS,
    "prompt": MODES,
    "protocol": PROTOCOLS,
    "modality": IMAGES,
    "grade": None,
    "site": None,
    "volume_tercile": TERCILES,
    "components": COMPONENTS,
}
NOISES: Mapping[str, str] = {f"at_{kind}": kind for kind in KINDS}
"""The filters that choose noisy prompts, by their key in a gates file; a gate without one is about exact prompts."""
SAME = ("checkpoint", "device", "precision")
_DEFAULTS = ((DEFAULT_MODALITY,), (DEFAULT_PROTOCOL,))


@dataclass(frozen=True)
class Violation:
    """A case that breaks a gate."""

    case: str
    value: float | None
    """The case's score; None if the record has no such score."""
    text: str
    """What a person reads: `Dice 0.412 < 0.700 (WT, box, key slice 95)`."""


@dataclass(frozen=True)
class Gate:
    """One `[[gate]]` table."""

    number: int
    """Its place in the file, from 1."""
    metric: str
    scope: str
    filters: Mapping[str, tuple[str, ...]]
    """Name of FILTERS or NOISES to accepted values; without one of NOISES exact prompts alone are accepted.

    A filter of FILTERS that is left out accepts everything."""
    bounds: tuple[Bound, ...]
    """At least one."""
    same: tuple[str, ...] = ()
    """What of SAME must be the same in the run and the baseline; the gate does not apply to other runs."""
    pooled: bool = False
    """Whether bounds on a mean against a baseline are held over all cases and not for each group."""

    @property
    def of_cohort(self) -> bool:
        """Whether only the whole cohort says which cases the gate is about."""
        return "volume_tercile" in self.filters

    def matches(self, record: CaseRecord, terciles: Mapping[str, str] | None = None) -> bool:
        """Whether the gate is about the case. Without `volume_terciles`, one on a tercile matches no case."""
        if record.case.noise and not self.filters.keys() & NOISES.keys():
            return False
        return all(_filter_value(record, name, terciles) in accepted for name, accepted in self.filters.items())

    def case(
        self,
        record: CaseRecord,
        profile: str | None,
        baseline: Baseline | None = None,
        exact: Mapping[Case, CaseRecord] | None = None,
    ) -> GatedCase | None:
        """What the gate looks at in a record, None without the score. profile: None for the record's, if it has one.

        exact: the records of exact prompts, for a record with noise.
        """
        profiles = {key.split("/", 1)[0] for key in record.scores} if profile is None else {profile}
        key = score_key(profiles.pop(), self.metric, self.scope) if len(profiles) == 1 else ""
        if key not in record.scores:
            return None
        before = Reference(baseline.name, baseline.score(record.id, key)) if baseline else NO_REFERENCE
        controls = [Reference(name, scores[key]) for name, scores in sorted(record.controls.items()) if key in scores]
        # a control whose score is unknown may be the hardest to beat
        best = max(controls, key=lambda control: (math.isnan(control.score), control.score), default=NO_REFERENCE)
        unmoved = (exact or {}).get(record.case.exact) if record.case.noise else None
        beside = Reference(unmoved.id, unmoved.scores.get(key, math.nan)) if unmoved else NO_REFERENCE
        return GatedCase(record, record.scores[key], self.metric, before, best, beside)

    def violations(self, record: CaseRecord, profile: str | None) -> tuple[Violation, ...]:
        """The bounds that a prompted, matching record breaks by itself, without a baseline.

        A missing or NaN score is one violation, even if only a statistic of all cases is limited: it has no mean then.
        """
        case = self.case(record, profile)
        if case is None:
            return (self._violation(record, None, "has no score"),)
        if math.isnan(case.score):
            return (self._violation(record, case.score, "is NaN"),)
        judged = [bound for bound in self.bounds if not bound.lacks(case)]
        return tuple(one for bound in judged for one in self.broken(bound, decide(bound, (case,)).breaking))

    def broken(self, bound: Bound, breaking: Iterable[GatedCase]) -> list[Violation]:
        """The violations of a per-case bound by the cases that break it."""
        return [self._violation(case.record, case.score, bound.text(case)) for case in breaking if bound.per_case]

    def _violation(self, record: CaseRecord, value: float | None, what: str) -> Violation:
        name = metric_name(self.metric, self.scope)
        return Violation(record.id, value, f"{name} {what} ({of_case(record)})")

    @property
    def label(self) -> str:
        """`gate 2 (Dice; WT; box)`: number, metric and filters, except filters for the default alone."""
        filters = [values for values in self.filters.values() if values not in _DEFAULTS]
        parts = [metric_name(self.metric, self.scope), *("/".join(values) for values in filters)]
        return f"gate {self.number} ({'; '.join(parts)})"


def _filter_value(record: CaseRecord, name: str, terciles: Mapping[str, str] | None) -> str | None:
    if name == "volume_tercile":
        return (terciles or {}).get(record.id)
    if name in NOISES:
        return record.case.noise_level
    if name == "components":
        return components(record)
    value: str | None = getattr(record if name in ("grade", "site") else record.case, name)
    return value


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
    group: str = ""
    """As `group_name`; "" for a bound that is held over all cases."""

    def to_json(self) -> dict[str, Any]:
        """Built-in types; a value that is not finite is written as text."""
        return {
            "gate": self.gate.number,
            "metric": self.gate.metric,
            "scope": self.gate.scope,
            "filters": {name: list(values) for name, values in self.gate.filters.items()},
            "bound": self.bound.name,
            "group": self.group,
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
    """Whether the baseline answered the same question as the run, and may be referred to."""
    exact: Mapping[Case, CaseRecord] = field(default_factory=dict)
    """The records of exact prompts, by case."""


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
    found = [gate.case(record, context.profile, context.baseline, context.exact) for record in asked]
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
        if lacking is not None:
            reasons.append(lacking)
        if lacking is None and judgeable:
            groups = _groups(known) if bound.statistic.of_groups and not gate.pooled else {"": known}
            for group, cases in groups.items():
                decision = decide(bound, cases, groups=len(groups))
                results.append(_result(gate, bound, group, decision, len(cases), whole, context))
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


def _groups(cases: Sequence[GatedCase]) -> dict[str, list[GatedCase]]:
    """The cases by modality, region, prompt, protocol and level of noise, in a reader's order."""
    groups: dict[str, list[GatedCase]] = {}
    for case in sorted(cases, key=lambda case: (group_order(case.record.case), case.record.id)):
        groups.setdefault(group_name(case.record.case), []).append(case)
    return groups


def _result(
    gate: Gate, bound: Bound, group: str, decision: Decision, n: int, whole: bool, context: Context
) -> GateResult:
    """In an incomplete run, a case alone can break a per-case bound; nothing else is decided."""
    failing = tuple(case.record.id for case in decision.breaking)
    name, head = metric_name(gate.metric, gate.scope), f"{gate.label} {bound.name}:{f' {group}' if group else ''}"
    if any(math.isnan(case.score) for case in decision.breaking):
        text = f"{head} {name} is NaN in {counted(len(failing), 'case')}: {few(failing)}"
        return GateResult(gate, bound, math.nan, n, Outcome.FAIL, text, failing, group)
    outcome = decision.outcome if whole else Outcome.INCONCLUSIVE
    if decision.outcome is Outcome.FAIL and bound.per_case:
        outcome = Outcome.FAIL
    against = f" against {context.baseline.name}" if bound.relative and context.baseline is not None else ""
    words = bound.statistic.words.format(name)
    if decision.why:
        reached = f"{words} {signed(decision.value)}, margin {bound.limit:g},"
    else:
        reached = f"{words} {compared(decision.value, bound.limit, gate.metric if bound.statistic.in_unit else '')}"
    text = (
        f"{head} {reached} over {counted(n, 'case')}{against}{f', broken by {few(failing)}' if failing else ''}"
        f"{f': {decision.why}' if decision.why else ''}{'' if whole else ' of an incomplete run'}"
    )
    return GateResult(gate, bound, decision.value, n, outcome, text, failing, group)


def _lacking(gate: Gate, bound: Bound, known: Sequence[GatedCase], context: Context) -> str | None:
    """Why the bound cannot be judged, None if it can: a run of an older version has no controls, for example."""
    baseline = context.baseline if bound.relative else None
    if bound.relative and baseline is None:
        return (
            f"{gate.label} needs a baseline: give --baseline NAME (in pytest --medsam-baseline), or accept a run as one"
        )
    if baseline is not None and not context.alike:
        return f"{gate.label}: the baseline {baseline.name} cannot be used"
    lacking = [case.record.id for case in known if bound.lacks(case)]
    if not lacking:
        return None
    name = metric_name(gate.metric, gate.scope)
    what = f"{baseline.name} has no {name} for" if baseline else "no control scored in"
    if bound.statistic.needs == "exact":
        what = f"{bound.name} needs {name} of the exact prompt in the same run, and there is none for"
    return f"{gate.label}: {what} {counted(len(lacking), 'case')}: {few(lacking)}"
