"""Whether groups of paired benefits got worse: the rule of `compare` and of the bound `not_inferior`.

docs/comparing-runs.md describes the rule and how often it is wrong.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from scipy import special

from medsam_core.errors import GateError
from medsam_core.gates.statistics import (
    MINIMUM_N,
    Excess,
    Paired,
    can_get_worse,
    direction,
    excess_of_falls,
    holm,
    paired,
)
from medsam_core.metrics import KNOWN
from medsam_core.outcome import Outcome
from medsam_core.text import counted

POWER = 0.8
"""The chance to settle a group that `why` promises for the number of subjects that it names."""
MOST_SUBJECTS = 10_000
"""A group that needs more is not settled by subjects."""


@dataclass(frozen=True)
class Rule:
    """When a difference counts; drops are positive numbers in the metric's unit."""

    metric: str = "dice"
    scope: str = "volume"
    margin: float = 0.010
    """The mean drop that is tolerated."""
    alpha: float = 0.05
    """Level of the non-inferiority test that a PASS needs, and of the excess of collapses that prevents one."""
    alpha_worse: float = 0.005
    """Level of each of the two tests for a FAIL, a drop of the mean and an excess of collapses, over all groups."""
    listed_drop: float = 0.05
    """Cases that fell further are named."""
    collapse: float = 0.05
    """Falls beyond it, and beyond the margin, are counted against rises as large."""
    case_drop_maximum: float | None = 0.20
    """One case that fell further is a FAIL; None for no such limit."""
    confidence: float = 0.90
    """Of the bootstrap interval of the mean."""
    resamples: int = 4999

    def __post_init__(self) -> None:
        if not can_get_worse(self.metric):
            known = ", ".join(filter(can_get_worse, KNOWN))
            raise GateError(
                f"metric {self.metric!r}: expected one that can get worse: {known}; choose one of these with --metric."
            )
        for name in ("margin", "listed_drop", "collapse", "case_drop_maximum"):
            value = getattr(self, name)
            if value is not None and not (0 <= value < math.inf):
                raise GateError(f"{name}: got {value}, expected a finite number ≥ 0; set one.")
        for name in ("alpha", "alpha_worse", "confidence"):
            if not 0 < getattr(self, name) < 1:
                raise GateError(f"{name}: got {getattr(self, name)}, expected a number between 0 and 1; set one.")

    @property
    def sign(self) -> int:
        """1 if more is better, −1 if less is."""
        return direction(self.metric)

    @property
    def verb(self) -> str:
        """What a score that got worse did."""
        return "fell" if self.sign > 0 else "rose"

    @property
    def far(self) -> float:
        """A fall beyond it is a collapse; one that the margin tolerates is none."""
        return max(self.collapse, self.margin)

    @property
    def minimum_subjects(self) -> float:
        """With fewer subjects nothing is inferred from their mean; infinite if no number is enough.

        The mean can fall by the margin although hardly a subject falls: a share of margin / largest drop falls by the
        largest drop that is no FAIL by itself. n subjects hold none of these with the chance (1 − share)ⁿ, and then
        look unharmed to every test. The chance has to be alpha at most: 59 subjects for the default rule.
        """
        lowest, highest = KNOWN[self.metric].range
        largest = min(highest - lowest, math.inf if self.case_drop_maximum is None else self.case_drop_maximum)
        if self.margin >= largest:
            return MINIMUM_N
        share = self.margin / largest
        return max(MINIMUM_N, math.ceil(math.log(self.alpha) / math.log1p(-share))) if share > 0 else math.inf


@dataclass(frozen=True)
class Judged:
    """What the rule says of one group."""

    measured: Paired
    """Its `p_worse` is corrected for the number of groups; a mean of NaN if a benefit is."""
    outcome: Outcome
    why: str
    by_case: bool = False
    """Whether a single case decided it, so that missing cases would change nothing."""


def judge_groups(
    groups: Sequence[Sequence[float]],
    rule: Rule,
    *,
    others: int = 0,
    cases: Sequence[Sequence[float]] | None = None,
) -> list[Judged]:
    """Judge each group of at least one benefit, NaN where the score is not finite. The order inside changes nothing.

    groups: a benefit for each subject. cases: the benefits of the single cases, if a subject has several.
    others: how many more groups are judged elsewhere by the same rule; then Bonferroni stands in for Holm.
    """
    measured = [_measured(benefits, rule) for benefits in groups]
    excess = [excess_of_falls(benefits, rule.far) for benefits in groups]
    p_worse = _corrected([one.p_worse for one in measured], others)
    p_excess = _corrected([one.p for one in excess], others)
    return [
        _by_case(single, replace(one, p_worse=p), rule)
        or Judged(replace(one, p_worse=p), *_by_all(benefits, replace(one, p_worse=p), own, p_own, rule))
        for benefits, single, one, own, p, p_own in zip(
            groups, cases or groups, measured, excess, p_worse, p_excess, strict=True
        )
    ]


def _corrected(p_values: Sequence[float], others: int) -> list[float]:
    return [min(1.0, (len(p_values) + others) * p) for p in p_values] if others else holm(p_values)


def _measured(benefits: Sequence[float], rule: Rule) -> Paired:
    if not all(map(math.isfinite, benefits)):
        return Paired(len(benefits), math.nan)
    return paired(benefits, rule.margin, confidence=rule.confidence, resamples=rule.resamples)


def _by_case(benefits: Sequence[float], measured: Paired, rule: Rule) -> Judged | None:
    """FAIL if a single case is enough for it, else None."""
    unknown = sum(not math.isfinite(one) for one in benefits)
    limit = rule.case_drop_maximum
    fell = 0 if limit is None else sum(one < -limit for one in benefits)
    if unknown:
        why = f"the score is not finite in {counted(unknown, 'case')}"
    elif fell:
        why = f"{counted(fell, 'case')} {rule.verb} by more than the limit {limit:g}"
    return Judged(measured, Outcome.FAIL, why, True) if unknown or fell else None


def _by_all(
    benefits: Sequence[float], measured: Paired, excess: Excess, p_excess: float, rule: Rule
) -> tuple[Outcome, str]:
    """Outcome of complete, finite benefits of which none is a FAIL by itself, and why."""
    n, minimum, strict = measured.n, rule.minimum_subjects, f"{100 * rule.alpha_worse:g} %"
    subjects, beyond = counted(n, "subject"), sum(one < -rule.margin for one in benefits)
    falls = (
        f"{counted(excess.falls, 'subject')} {rule.verb} by more than {rule.collapse:g}, {excess.rises} the other way"
    )
    if p_excess <= rule.alpha_worse:
        return Outcome.FAIL, f"{falls}, p {p_excess:.2g} over all groups"
    # benefits that are all at −margin are a mean drop as large as the margin
    none_fell = not beyond and (measured.mean > -rule.margin or measured.mean >= 0)
    excluded = measured.p_not_inferior <= rule.alpha and measured.low > -rule.margin
    if excluded and not none_fell and excess.p <= rule.alpha:
        return Outcome.INCONCLUSIVE, f"{falls}: likely an excess, not certain at {strict}; look at these subjects"
    if none_fell:
        return Outcome.PASS, f"{'' if n >= minimum else 'on these subjects: '}none {rule.verb} by more"
    if n < MINIMUM_N:
        if max(benefits) < 0 and measured.mean < -rule.margin:
            return Outcome.FAIL, f"all {n} {rule.verb}, on average by more than the margin"
        return Outcome.INCONCLUSIVE, f"{n} are too few to tell: add subjects"
    if excluded and n >= minimum:
        return Outcome.PASS, f"a drop as large as the margin is excluded at {100 * rule.alpha:g} %"
    if excluded:
        enough = "no number is" if math.isinf(minimum) else f"{minimum} are"
        why = f"{beyond} {rule.verb} by more; {subjects} are too few to infer a mean from, {enough} enough"
        return Outcome.INCONCLUSIVE, why
    if measured.p_worse <= rule.alpha_worse and measured.high < 0:
        return Outcome.FAIL, f"a drop is shown, p {measured.p_worse:.2g} over all groups"
    if measured.high < 0:
        settle = _settling(-measured.mean, measured.sd, rule.alpha_worse, n + 1)
        return Outcome.INCONCLUSIVE, f"likely a drop, not certain at {strict} with {subjects}; {settle}"
    distance, level = max((measured.mean + rule.margin, rule.alpha), (-measured.mean, rule.alpha_worse))
    settle = _settling(distance, measured.sd, level, max(n + 1, minimum))
    why = f"a drop as large as the margin is not excluded at {100 * rule.alpha:g} % with {subjects}; {settle}"
    return Outcome.INCONCLUSIVE, why


def _settling(distance: float, sd: float, level: float, least: float) -> str:
    """How many such subjects would show a mean at that distance from its limit at that level, to two digits."""
    needed = least
    if distance > 0:
        needed = max(least, ((special.ndtri(1 - level) + special.ndtri(POWER)) * sd / distance) ** 2)
    if distance <= 0 or needed > MOST_SUBJECTS:
        return "a wider margin would settle it"
    step = 10 ** max(0, math.floor(math.log10(needed)) - 1)
    return f"about {step * math.ceil(needed / step)} would settle it"
