"""The limits that a gate can set, and the number that each of them limits."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from medsam_core.gates.statistics import DECIMALS

_SIDES = ("minimum", "maximum")
ABSOLUTE = tuple(f"{name}_{side}" for name in ("case", "mean", "median", "worst_decile") for side in _SIDES)
RELATIVE = ("mean_ratio_minimum", "mean_ratio_maximum", "mean_drop_maximum", "case_drop_maximum", "case_change_maximum")
"""Against a baseline: the ratio of the means, the drop of the mean, the drop of every case, its change either way."""
BEATS_CONTROLS = "beats_controls"
BOUNDS = ABSOLUTE + RELATIVE


@dataclass(frozen=True)
class Bound:
    """One limit of a gate: `statistic` as in BOUNDS without the side, `side` "minimum" or "maximum", `limit` finite.

    `beats_controls` is the bound with statistic "beats" and side "controls": it limits how far each case's score is
    above the better control, which has to be more than 0.
    """

    statistic: str
    side: str
    limit: float

    @property
    def name(self) -> str:
        """The key in the gates file: `mean_minimum`."""
        return f"{self.statistic}_{self.side}"

    @property
    def relative(self) -> bool:
        """Whether it needs a baseline."""
        return self.name in RELATIVE

    @property
    def per_case(self) -> bool:
        """Whether it can be seen broken by one case alone, so also in a run that is not complete."""
        return self.statistic in ("case", "case_drop", "case_change", "beats")

    @property
    def of_controls(self) -> bool:
        """Whether it is about the margin over the controls and not about the score itself."""
        return self.name == BEATS_CONTROLS

    def holds(self, value: float) -> bool:
        """Whether `value` is on the right side of the limit or on it. NaN never is: a gate asserts the pass."""
        if self.of_controls:  # as good as a filled box is not good enough
            return value > self.limit
        return value >= self.limit if self.side == "minimum" else value <= self.limit


def statistic(bound: Bound, values: Sequence[float]) -> float:
    """The number that an absolute bound limits, of at least one score, none of them NaN.

    case: the score nearest to breaking the bound. worst_decile: the mean of the tenth of the cases (rounded up, so at
    least one) that is nearest to breaking it. mean and median: of all. Independent of the order of the values.
    """
    ordered = sorted(values, reverse=bound.side == "maximum")
    if bound.per_case:
        return ordered[0]
    if bound.statistic == "median":
        return statistics.median(ordered)
    if bound.statistic == "worst_decile":
        ordered = ordered[: math.ceil(len(ordered) / 10)]
    return mean(ordered)


def mean(values: Sequence[float]) -> float:
    """Of at least one number. fsum is exact before its one rounding: 30 scores of 0.9 pass a floor of 0.9."""
    return math.fsum(values) / len(values)


def drops(current: Sequence[float], reference: Sequence[float], sign: int) -> list[float]:
    """By how much each case got worse, below 0 where it got better. sign: 1 if more is better, −1 if less is."""
    return [round(sign * (before - now), DECIMALS) for now, before in zip(current, reference, strict=True)]


def moves(bound: Bound, current: Sequence[float], reference: Sequence[float], sign: int) -> list[float]:
    """What a relative per-case bound limits of each case: the drop, or for `case_change` the change whichever way."""
    found = drops(current, reference, sign)
    return [abs(move) for move in found] if bound.statistic == "case_change" else found


def relative_statistic(bound: Bound, current: Sequence[float], reference: Sequence[float], sign: int) -> float:
    """The number that a relative bound limits; the two sequences hold the same cases, none of them NaN.

    mean_ratio: mean of the current scores / mean of the reference's; 1 if both are 0, infinite if only the latter is.
    """
    if bound.per_case:
        return statistic(bound, moves(bound, current, reference, sign))
    now, before = mean(sorted(current)), mean(sorted(reference))
    if bound.statistic == "mean_drop":
        return round(sign * (before - now), DECIMALS)
    if before == 0:
        return 1.0 if now == 0 else math.copysign(math.inf, now)
    return now / before
