"""Which cases a run keeps for its viewer."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

CHOICES = ("worst", "all", "none")
"""What `--medsam-viewer` may say."""

SMALLEST_FALL = 1e-3
"""Of the Dice; less is rounding, or the noise of another machine."""


class Selection:
    """The cases with the lowest Dice, and those that fell most below the reference, as far as they have been seen.

    A case that is among them in a part of a cohort may not be in the whole, but not the other way round. So every
    process can leave out what its own selection leaves out.
    """

    def __init__(self, keep: int | None, reference: Mapping[str, float]) -> None:
        """keep: how many of either; None for every case. reference: case id -> Dice, of the cases that have one."""
        self.keep, self.reference = keep, reference
        self._worst: dict[str, float] = {}
        self._fallen: dict[str, float] = {}

    def of_cases(self, cases: Iterable[str]) -> Selection:
        """A new selection, for these cases alone; it has seen none."""
        return Selection(self.keep, {case: self.reference[case] for case in cases if case in self.reference})

    def offer(self, case: str, dice: float) -> set[str]:
        """The cases that are not selected any more, or not at all, now that there is this one. NaN counts as worst."""
        if self.keep is None:
            return set()
        change = dice - self.reference.get(case, math.nan)
        candidates = {case} | self._put(self._worst, case, -math.inf if math.isnan(dice) else dice)
        if change < -SMALLEST_FALL:
            candidates |= self._put(self._fallen, case, change)
        return {one for one in candidates if one not in self._worst and one not in self._fallen}

    def _put(self, kept: dict[str, float], case: str, value: float) -> set[str]:
        kept[case] = value
        if len(kept) <= (self.keep or 0):
            return set()
        best = max(kept, key=lambda one: (kept[one], one))
        del kept[best]
        return {best}
