"""The cohort that a gates file was made for: floors of one cohort say nothing about another, or about a part of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from medsam_core.cases import Case
from medsam_core.errors import GateError
from medsam_core.runs import Run
from medsam_core.text import counted, few

KEYS = ("fingerprint", "cases", "absent_maximum")
FINGERPRINT = re.compile(r"[0-9a-f]{12,64}")


@dataclass(frozen=True)
class GatedCohort:
    """The `[cohort]` table of a gates file; None for what it does not say."""

    fingerprint: str | None = None
    """The first 12 or more digits of the cohort's."""
    cases: int | None = None
    """How many cases with exact prompts a run must plan at least."""
    absent_maximum: int | None = None
    """In how many cases the region may be absent from the truth."""

    def objections(self, run: Run) -> list[str]:
        """Why the run is not of this cohort, or lacks a part of it, a sentence each; [] if nothing."""
        found, own = [], run.header.cohort.fingerprint
        if self.fingerprint is not None and not own.startswith(self.fingerprint):
            found.append(f"another cohort: the gates are for fingerprint {self.fingerprint[:12]}, this is {own[:12]}")
        planned = exact_cases(run)
        if self.cases is not None and planned < self.cases:
            found.append(f"{counted(planned, 'case')} planned, the gates are for {self.cases}")
        absent = sorted(record.id for record in run.records if not record.prompted and not record.case.noise)
        if self.absent_maximum is not None and len(absent) > self.absent_maximum:
            found.append(
                f"the region is absent in {counted(len(absent), 'case')}, the gates expect at most "
                f"{self.absent_maximum}: {few(absent)}; look whether their labels were read"
            )
        return found


def exact_cases(run: Run) -> int:
    """How many cases with exact prompts the run planned; an id that no case has counts as one."""
    found = [Case.from_id(one) for one in set(run.plan)]
    return sum(case is None or not case.noise for case in found)


NO_COHORT = GatedCohort()
"""Of a file that names none."""


def read_cohort(where: str, table: Any) -> GatedCohort:
    """The `[cohort]` table, {} if the file has none. Raises GateError in one sentence."""
    if not isinstance(table, Mapping) or not table.keys() <= set(KEYS):
        raise GateError(f"{where}: cohort: got {table!r}, expected a table with {', '.join(KEYS)}; correct it.")
    fingerprint = table.get("fingerprint")
    if fingerprint is not None and not (isinstance(fingerprint, str) and FINGERPRINT.fullmatch(fingerprint)):
        raise GateError(
            f"{where}: cohort: fingerprint: got {fingerprint!r}, expected 12 to 64 hex digits in lower case; take them "
            "from the run's header."
        )
    for name, least in (("cases", 1), ("absent_maximum", 0)):
        value = table.get(name)
        if value is not None and not (type(value) is int and value >= least):
            raise GateError(f"{where}: cohort: {name}: got {value!r}, expected a whole number ≥ {least}; set one.")
    return GatedCohort(fingerprint, table.get("cases"), table.get("absent_maximum"))
