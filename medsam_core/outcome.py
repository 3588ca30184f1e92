"""PASS, FAIL or INCONCLUSIVE."""

from __future__ import annotations

import enum
from collections.abc import Iterable


class Outcome(enum.Enum):
    """The result of a run, a gate or a case."""

    PASS = "PASS"
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"

    @property
    def exit_code(self) -> int:
        """0, 1 or 10: only PASS is a success, and a pipeline can distinguish the other two."""
        return {"PASS": 0, "FAIL": 1, "INCONCLUSIVE": 10}[self.value]


def worst(outcomes: Iterable[Outcome]) -> Outcome:
    """FAIL if there is one, else INCONCLUSIVE if there is one, else PASS; PASS for no outcome."""
    found = set(outcomes)
    return next((one for one in (Outcome.FAIL, Outcome.INCONCLUSIVE) if one in found), Outcome.PASS)
