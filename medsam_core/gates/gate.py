"""One gate: which cases it is about, which score it looks at, and which single cases break it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from medsam_core.cases import MODALITIES, CaseRecord, score_key
from medsam_core.data.regions import REGIONS
from medsam_core.gates.baseline import Baseline
from medsam_core.gates.bounds import NO_REFERENCE, Bound, GatedCase, Reference, decide
from medsam_core.gates.subgroups import COMPONENTS, TERCILES, components
from medsam_core.gates.wording import DEFAULT_MODALITY, DEFAULT_PROTOCOL, metric_name, of_case
from medsam_core.prompts.prompt import MODES, PROTOCOLS

# None: any value, since grades and sites are the data set's own words.
FILTERS: Mapping[str, tuple[str, ...] | None] = {
    "region": REGIONS,
    "prompt": MODES,
    "protocol": PROTOCOLS,
    "modality": MODALITIES,
    "grade": None,
    "site": None,
    "volume_tercile": TERCILES,
    "components": COMPONENTS,
}
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
    """Name of FILTERS to accepted values; a filter that is left out accepts everything."""
    bounds: tuple[Bound, ...]
    """At least one."""
    same: tuple[str, ...] = ()
    """What of SAME must be the same in the run and the baseline; the gate does not apply to other runs."""

    @property
    def of_cohort(self) -> bool:
        """Whether only the whole cohort says which cases the gate is about."""
        return "volume_tercile" in self.filters

    def matches(self, record: CaseRecord, terciles: Mapping[str, str] | None = None) -> bool:
        """Whether the record is of a case that this gate is about, prompted or not.

        terciles: as `volume_terciles` gives for the cohort; without them a gate on a tercile matches nothing.
        """
        return all(_filter_value(record, name, terciles) in accepted for name, accepted in self.filters.items())

    def case(self, record: CaseRecord, profile: str | None, baseline: Baseline | None = None) -> GatedCase | None:
        """What the gate looks at in a record; None if the run did not compute the score.

        profile: the gates file's; None for the record's own, of which it must have only one.
        """
        profiles = {key.split("/", 1)[0] for key in record.scores} if profile is None else {profile}
        key = score_key(profiles.pop(), self.metric, self.scope) if len(profiles) == 1 else ""
        if key not in record.scores:
            return None
        controls = [Reference(name, scores[key]) for name, scores in sorted(record.controls.items()) if key in scores]
        return GatedCase(
            record=record,
            score=record.scores[key],
            metric=self.metric,
            baseline=Reference(baseline.name, baseline.score(record.id, key)) if baseline else NO_REFERENCE,
            control=max(controls, key=lambda control: control.score, default=NO_REFERENCE),
        )

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
    if name == "components":
        return components(record)
    value: str | None = getattr(record if name in ("grade", "site") else record.case, name)
    return value
