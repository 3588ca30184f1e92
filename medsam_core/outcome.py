"""PASS, FAIL or INCONCLUSIVE."""

from __future__ import annotations

import enum
from collections.abc import Iterable


class Outcome(enum.Enum):
    """What a run, a gate or a case came to."""

    PASS = "PASS"
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"

    @property
    def exit_code(self) -> int:
        """0, 1 or 10: only PASS is a success, and a pipeline can tell the other two apart."""
        return {"PASS": 0, "FAIL": 1, "INCONCLUSIVE": 10}[self.value]


def worst(outcomes: Iterable[Outcome]) -> Outcome:
    """FAIL if any is, else INCONCLUSIVE if any is, else PASS (also for none)."""
    found = set(outcomes)
    return next((one for one in (Outcome.FAIL, Outcome.INCONCLUSIVE) if one in found), Outcome.PASS)
