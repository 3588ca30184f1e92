"""One gate: which cases it is about, which score it looks at, and which single cases it does not let pass."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from medsam_core.cases import MODALITIES, CaseRecord, score_key
from medsam_core.data.regions import REGIONS
from medsam_core.gates.bounds import BEATS_CONTROLS, Bound
from medsam_core.gates.subgroups import COMPONENTS, TERCILES, components
from medsam_core.gates.wording import DEFAULT_MODALITY, DEFAULT_PROTOCOL, compared, metric_name, of_case
from medsam_core.metrics import METRICS
from medsam_core.prompts.prompt import MODES, PROTOCOLS

# None: whatever the cohort says, since grades and sites are the data set's own words.
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
    """A case that a gate does not let pass.

    value: the score; NaN if the score itself is NaN, None if the record has no such score.
    text: what a person reads: `Dice 0.412 < 0.700 (WT, box, key slice 95)`.
    """

    case: str
    gate: int
    bound: str
    value: float | None
    limit: float
    text: str


@dataclass(frozen=True)
class Gate:
    """One `[[gate]]` table.

    number: its place in the file, from 1. filters: name of FILTERS → accepted values; a filter left out accepts all.
    bounds: at least one. same: what of SAME the run has to share with the baseline for the gate to be about it.
    """

    number: int
    metric: str
    scope: str
    filters: Mapping[str, tuple[str, ...]]
    bounds: tuple[Bound, ...]
    same: tuple[str, ...] = ()

    @property
    def of_cohort(self) -> bool:
        """Whether it takes the whole cohort to say which cases the gate is about."""
        return "volume_tercile" in self.filters

    @property
    def sign(self) -> int:
        """1 if more is better or neither is, −1 if less is better."""
        return -1 if METRICS[self.metric].better == "lower" else 1

    def matches(self, record: CaseRecord, terciles: Mapping[str, str] | None = None) -> bool:
        """Whether the record is of a case that this gate is about, prompted or not.

        terciles: as `volume_terciles` gives for the cohort; without them a gate on a tercile matches nothing.
        """
        return all(_filter_value(record, name, terciles) in accepted for name, accepted in self.filters.items())

    def key(self, record: CaseRecord, profile: str | None) -> str | None:
        """The key of this gate's score in the record, None if the profile is not told and the record has several.

        profile: the gates file's; None takes the record's own.
        """
        profiles = {key.split("/", 1)[0] for key in record.scores} if profile is None else {profile}
        return score_key(profiles.pop(), self.metric, self.scope) if len(profiles) == 1 else None

    def score(self, record: CaseRecord, profile: str | None) -> float | None:
        """This gate's score in the record, None if the run did not compute it."""
        key = self.key(record, profile)
        return None if key is None else record.scores.get(key)

    def best_control(self, record: CaseRecord, profile: str | None) -> tuple[str, float] | None:
        """Name and score of the control that is hardest to beat, None if the run did not score any by this metric."""
        key = self.key(record, profile) or ""
        found = {name: scores[key] for name, scores in sorted(record.controls.items()) if key in scores}
        return max(found.items(), key=lambda one: one[1]) if found else None

    def violations(self, record: CaseRecord, profile: str | None) -> tuple[Violation, ...]:
        """The per-case bounds that a prompted, matching record does not pass.

        A missing or NaN score is one violation, also of a gate that bounds only a cohort statistic: there is no mean
        over a hole.
        """
        value = self.score(record, profile)
        if value is None or math.isnan(value):
            first = self.bounds[0]
            what = "has no score" if value is None else "is NaN"
            text = f"{metric_name(self.metric, self.scope)} {what} ({of_case(record)})"
            return (Violation(record.id, self.number, first.name, value, first.limit, text),)
        return tuple(
            Violation(
                record.id,
                self.number,
                bound.name,
                value,
                bound.limit,
                f"{metric_name(self.metric, self.scope)} {compared(value, bound.limit, self.metric)} "
                f"({of_case(record)})",
            )
            for bound in self.bounds
            if bound.statistic == "case" and not bound.holds(value)
        ) + self._unbeaten(record, value, profile)

    def _unbeaten(self, record: CaseRecord, value: float, profile: str | None) -> tuple[Violation, ...]:
        control = self.best_control(record, profile)
        if control is None:
            return ()
        name, score = control
        if all(bound.holds(value - score) for bound in self.bounds if bound.of_controls):
            return ()
        text = (
            f"{metric_name(self.metric, self.scope)} {compared(value, score, self.metric)} of the control {name} "
            f"({of_case(record)})"
        )
        return (Violation(record.id, self.number, BEATS_CONTROLS, value, score, text),)

    @property
    def label(self) -> str:
        """`gate 2 (Dice; WT; box)`: number, metric and filters, save those for a default alone."""
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
