"""The accuracy gate: one test per subject × modality × region × prompt mode × protocol.

A test fails if its case breaks a case bound of the gates; the cohort's bounds are judged when all cases are scored,
and the exit code is 0 only if the whole run is a PASS. `-m gpu` scores the cases on CUDA.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medsam_core.cases import Case, CaseRecord


def test_case(
    medsam_case: Case, medsam_evaluate: Callable[[Case], CaseRecord], medsam_check: Callable[[CaseRecord], None]
) -> None:
    """The case holds its bounds."""
    medsam_check(medsam_evaluate(medsam_case))
