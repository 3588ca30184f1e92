"""Every statistic that a gate can limit, and `decide`, which applies one limit to cases.

To add a statistic, write its reducer and add a row to STATISTICS (docs/gates.md).
"""

from __future__ import annotations

import math
import operator
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, NamedTuple

from medsam_core.cases import CaseRecord
from medsam_core.gates.inferiority import Judged, Rule, judge_groups
from medsam_core.gates.statistics import DECIMALS, direction, subject_means
from medsam_core.gates.wording import compared
from medsam_core.outcome import Outcome


class Reference(NamedTuple):
    """What a score is compared with: the baseline's of the same case, a control's, or that of the exact prompt."""

    name: str
    score: float
    """NaN if there is none."""


NO_REFERENCE = Reference("", math.nan)


@dataclass(frozen=True)
class GatedCase:
    """A prompted case as one gate sees it."""

    record: CaseRecord
    score: float
    """By the gate's metric and scope; may be NaN."""
    metric: str
    baseline: Reference = NO_REFERENCE
    control: Reference = NO_REFERENCE
    """The control that is hardest to beat."""
    exact: Reference = NO_REFERENCE
    """The same case with the exact prompt, in the same run."""

    def reference(self, needs: str | None) -> Reference | None:
        """The one that a statistic needs, None for a statistic that needs none."""
        return {"baseline": self.baseline, "controls": self.control, "exact": self.exact}.get(needs or "")


@dataclass(frozen=True)
class Statistic:
    """What a bound limits: a number from every case, and the reduction of all numbers to one."""

    name: str
    words: str
    """What a verdict calls it, with {} for the metric's name."""
    sides: tuple[str, ...]
    """Which limits it can have; keys of _HOLDS."""
    number: Callable[[GatedCase], float]
    """What it takes from one case."""
    reduce: Callable[[Sequence[float]], float]
    """The cases' numbers, the one nearest to breaking the bound first, to one number."""
    needs: Literal["baseline", "controls", "exact"] | None = None
    one_case: str | None = None
    """What is said of a case that breaks the bound alone, for `Bound.text` to fill in; None if no case can."""
    versus: Callable[[float, float, int], float] | None = None
    """From the reduced scores, the scores of what it needs reduced alike, and the metric's direction, to a number."""
    in_unit: bool = True
    """Whether the limited number has the metric's unit."""
    judged: Callable[[Sequence[GatedCase], float, int], Judged] | None = None
    """Judges the cases where a comparison with the limit is not enough; the number of groups corrects its level."""

    @property
    def of_groups(self) -> bool:
        """Whether each group is held to it, unless the gate pools them: else one may fall and the others hide it."""
        return self.needs in ("baseline", "exact") and self.one_case is None


def mean(values: Sequence[float]) -> float:
    """Of at least one number. fsum rounds only once: 30 scores of 0.9 pass a floor of 0.9."""
    return math.fsum(values) / len(values)


def _worst_decile(values: Sequence[float]) -> float:
    """The mean of the worst tenth, rounded up, so of at least one."""
    return mean(values[: math.ceil(len(values) / 10)])


def _stored(case: GatedCase) -> float:
    """Rounded as a baseline is, so that the run it was made from has a ratio of exactly 1 and no drop."""
    return round(case.score, DECIMALS)


def _drop(now: float, before: float, better: int) -> float:
    """By how much it got worse, below 0 where it got better."""
    return round(better * (before - now), DECIMALS)


def _rise(now: float, before: float, better: int) -> float:
    """By how much it got better."""
    return -_drop(now, before, better)


def _ratio(now: float, before: float, _: int) -> float:
    """1 if both are 0, infinite if only `before` is."""
    if before == 0:
        return 1.0 if now == 0 else math.copysign(math.inf, now)
    return now / before


def _case_drop(case: GatedCase) -> float:
    return _drop(_stored(case), case.baseline.score, direction(case.metric))


def _case_change(case: GatedCase) -> float:
    return abs(_case_drop(case))


def _benefit(case: GatedCase) -> float:
    return -_case_drop(case)


def _not_inferior(cases: Sequence[GatedCase], limit: float, groups: int) -> Judged:
    """As `compare` judges one of these groups."""
    rule = Rule(cases[0].metric, margin=limit)
    by_subject = subject_means((case.record.case.subject, _benefit(case)) for case in cases)
    return judge_groups([by_subject], rule, others=groups - 1, cases=[[_benefit(case) for case in cases]])[0]


def _margin(case: GatedCase) -> float:
    return case.score - case.control.score


_FELL = "{case.score:.3f} is worse than {case.baseline.score:.3f} in {case.baseline.name}: drop {reached}"
_CHANGED = "{case.score:.3f} is not {case.baseline.score:.3f} in {case.baseline.name}: change {reached}"
_UNBEATEN = "{against_control} of the control {case.control.name}"
_score, _worst = operator.attrgetter("score"), operator.itemgetter(0)
_BOTH, _MOST, _OVER, _LESS = ("minimum", "maximum"), ("maximum",), ("controls",), ("inferior",)
STATISTICS = (
    Statistic("case", "worst {}", _BOTH, _score, _worst, one_case="{reached}"),
    Statistic("mean", "mean {}", _BOTH, _score, mean),
    Statistic("median", "median {}", _BOTH, _score, statistics.median),
    Statistic("worst_decile", "worst decile {}", _BOTH, _score, _worst_decile),
    Statistic("mean_ratio", "ratio of the mean {}", _BOTH, _stored, mean, "baseline", versus=_ratio, in_unit=False),
    Statistic("mean_drop", "drop of the mean {}", _MOST, _stored, mean, "baseline", versus=_drop),
    Statistic("drop_from_exact", "drop of the mean {} from exact prompts", _MOST, _stored, mean, "exact", versus=_drop),
    Statistic("mean_rise", "rise of the mean {}", _MOST, _stored, mean, "baseline", versus=_rise),
    Statistic("not", "change of the mean {}", _LESS, _benefit, mean, "baseline", judged=_not_inferior),
    Statistic("case_drop", "largest drop of {}", _MOST, _case_drop, _worst, "baseline", _FELL),
    Statistic("case_change", "largest change of {}", _MOST, _case_change, _worst, "baseline", _CHANGED),
    Statistic("beats", "smallest margin of {} over the controls", _OVER, _margin, _worst, "controls", _UNBEATEN),
)
"""Every statistic, in the order of a gate's results."""
BOUNDS: Mapping[str, tuple[Statistic, str]] = MappingProxyType(
    {f"{one.name}_{side}": (one, side) for one in STATISTICS for side in one.sides}
)
"""Every bound by its key in a gates file, `mean_minimum`: its statistic and its side."""
_HOLDS = {
    "minimum": operator.ge,
    "maximum": operator.le,
    "controls": operator.gt,  # as good as a filled box is not good enough
    "inferior": lambda value, margin: value > -margin,  # necessary; `_not_inferior` asks for more
}


@dataclass(frozen=True)
class Bound:
    """One limit of a gate."""

    statistic: Statistic
    side: str
    """One of the statistic's sides."""
    limit: float
    """Finite; 0 for `beats_controls`, the margin for `not_inferior`."""

    @property
    def name(self) -> str:
        """The key in the gates file: `mean_minimum`."""
        return f"{self.statistic.name}_{self.side}"

    @property
    def relative(self) -> bool:
        """Whether it needs a baseline."""
        return self.statistic.needs == "baseline"

    @property
    def compares(self) -> bool:
        """Whether it limits a change and not a score: against a baseline or against exact prompts."""
        return self.statistic.needs in ("baseline", "exact")

    @property
    def per_case(self) -> bool:
        """Whether one case alone can break it, so also in a run that is not complete."""
        return self.statistic.one_case is not None

    def text(self, case: GatedCase) -> str:
        """What is said of a case that breaks a per-case bound."""
        reached = compared(self.statistic.number(case), self.limit, case.metric)
        against_control = compared(case.score, case.control.score, case.metric)
        return (self.statistic.one_case or "").format(case=case, reached=reached, against_control=against_control)

    def lacks(self, case: GatedCase) -> bool:
        """Whether the bound needs a score of the baseline, or of a control, that the case does not have."""
        needed = case.reference(self.statistic.needs)
        return needed is not None and math.isnan(needed.score)

    def holds(self, value: float) -> bool:
        """Whether `value` is on the right side of the limit. NaN never is: a gate asserts the pass."""
        return bool(_HOLDS[self.side](value, self.limit))


@dataclass(frozen=True)
class Decision:
    """What a bound says about some cases."""

    value: float
    """The limited number; NaN if a case has no number to reduce."""
    outcome: Outcome
    """INCONCLUSIVE for a statistic that can say so."""
    breaking: tuple[GatedCase, ...]
    """The cases that break a per-case bound, or those that have no number."""
    why: str = ""
    """What a statistic with a judgement of its own says."""

    @property
    def holds(self) -> bool:
        """Whether the bound is known to hold."""
        return self.outcome is Outcome.PASS


def decide(bound: Bound, cases: Sequence[GatedCase], *, groups: int = 1) -> Decision:
    """Apply a bound to one case, as a test does, or to all cases of a gate or group, in any order, as the verdict does.

    groups: how many are held to the bound; a test of significance takes it into account.
    """
    row = bound.statistic
    unknown = [case for case in cases if math.isnan(case.score)] or [case for case in cases if bound.lacks(case)]
    if unknown:
        return Decision(math.nan, Outcome.FAIL, tuple(unknown))
    downwards = bound.side == "maximum"
    numbers = [row.number(case) for case in cases]
    value = row.reduce(sorted(numbers, reverse=downwards))
    if row.versus is not None:
        references = [reference.score for case in cases if (reference := case.reference(row.needs)) is not None]
        before = row.reduce(sorted(references, reverse=downwards))
        value = row.versus(value, before, direction(cases[0].metric))
    breaking = tuple(
        case for case, number in zip(cases, numbers, strict=True) if bound.per_case and not bound.holds(number)
    )
    if row.judged is not None:
        judged = row.judged(cases, bound.limit, groups)
        return Decision(direction(cases[0].metric) * value, judged.outcome, breaking, judged.why)
    return Decision(value, Outcome.PASS if bound.holds(value) else Outcome.FAIL, breaking)
