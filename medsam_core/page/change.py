"""What changed against the baseline: the mean of each group with its interval, and the cases that fell most."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from medsam_core.gates.baseline import Baseline
from medsam_core.gates.comparison import GroupComparison, compare
from medsam_core.gates.inferiority import Rule
from medsam_core.runs import Run
from medsam_core.text import counted, signed

VISIBLE = 0.0005
"""A change of a score below it is none: three digits are shown."""
_TICKS = 60
"""Cases that are drawn one by one in a group; of more, as many in equal steps of rank."""
_NARROWEST = 0.01


@dataclass(frozen=True)
class GroupChange:
    """One line of the chart. Places are percentages of its width."""

    group: str
    n: int
    kind: str
    """`fell` or `rose` if the interval says so, else `unclear`."""
    text: str
    """The change and its interval in figures."""
    means: str
    """The mean before and now."""
    place: float
    """Of the mean change; NaN without one."""
    interval: tuple[float, float] | None
    """Places of its ends."""
    cases: tuple[float, ...]
    """Places of single cases."""


@dataclass(frozen=True)
class Change:
    """A run against its baseline."""

    reference: str
    """The baseline's name; "" if there is none."""
    sentences: tuple[str, ...]
    """What there is to say of the comparison as a whole."""
    groups: tuple[GroupChange, ...] = ()
    zero: float = 0.0
    """The place of no change."""
    ends: tuple[str, str] = ("", "")
    """The changes at both ends of the chart."""
    by_case: Mapping[str, float] | None = None
    """Case id → change of Dice, for every case with a score in both."""
    confidence: str = ""
    """Of the intervals: `90 %`."""

    @property
    def fallen(self) -> list[str]:
        """Ids of the cases that fell, the largest fall first."""
        fell = [(value, case) for case, value in (self.by_case or {}).items() if value <= -VISIBLE]
        return [case for _, case in sorted(fell)]


def change_against(baseline: Baseline | None, run: Run) -> Change:
    """Compare the run's Dice over the volume with the baseline's, for a reader; the gates judge it, not this."""
    if baseline is None:
        return Change("", ("There is no baseline, so no change is shown. --medsam-baseline names one.",))
    rule = Rule()
    compared = compare(baseline, run, rule)
    by_case = {
        pair.case: pair.current - pair.reference
        for group in compared.groups
        for pair in group.pairs
        if math.isfinite(pair.current)
    }
    sentences = list(compared.reasons)
    moved = [case for case, value in by_case.items() if abs(value) >= VISIBLE]
    if by_case and not moved:
        many = counted(len(by_case), "case")
        sentences.insert(0, f"No Dice moved: in all {many} it is as in {baseline.name} to three digits.")
    elif by_case:
        fell = sum(by_case[case] < 0 for case in moved)
        sentences.insert(
            0,
            f"Of {counted(len(by_case), 'case')} in both, Dice fell in {fell}, rose in {len(moved) - fell} and "
            f"stayed in {len(by_case) - len(moved)}.",
        )
    groups, zero, ends = _lines(compared.groups) if moved else ((), 0.0, ("", ""))
    percent = f"{100 * rule.confidence:.0f} %"
    return Change(baseline.name, tuple(sentences), groups, zero, ends, by_case, percent)


def _lines(groups: Sequence[GroupComparison]) -> tuple[tuple[GroupChange, ...], float, tuple[str, str]]:
    """The lines of the chart on one scale, the place of zero, and what the ends of the scale are."""
    cases = [_sample([pair.current - pair.reference for pair in one.pairs]) for one in groups]
    ends = [value for one in groups for value in (one.change, one.low, one.high)]
    finite = [value for value in (*ends, *(value for own in cases for value in own)) if math.isfinite(value)]
    low, high = min(-_NARROWEST, *finite), max(_NARROWEST, *finite)
    margin = 0.03 * (high - low)
    low, high = low - margin, high + margin

    def place(value: float) -> float:
        return round(100 * (value - low) / (high - low), 2)

    lines = []
    for one, own in zip(groups, cases, strict=True):
        known = math.isfinite(one.low)
        kind = "unclear" if not known else "fell" if one.high < 0 else "rose" if one.low > 0 else "unclear"
        interval = f" [{signed(one.low)}, {signed(one.high)}]" if known else ""
        lines.append(
            GroupChange(
                group=one.group,
                n=len(one.pairs),
                kind=kind,
                text=f"{signed(one.change)}{interval}",
                means=f"{one.reference:.3f} → {one.current:.3f}",
                place=place(one.change) if math.isfinite(one.change) else math.nan,
                interval=(place(one.low), place(one.high)) if known else None,
                cases=tuple(map(place, own)),
            )
        )
    return tuple(lines), place(0.0), (signed(low), signed(high))


def _sample(values: Sequence[float]) -> list[float]:
    """The finite values, or some of them in equal steps of rank, the least and the greatest among them."""
    ordered = sorted(value for value in values if math.isfinite(value))
    if len(ordered) <= _TICKS:
        return ordered
    return [ordered[round(step * (len(ordered) - 1) / (_TICKS - 1))] for step in range(_TICKS)]
