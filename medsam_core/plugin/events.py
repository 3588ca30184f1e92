"""What happened to the tests of a session's cases, beyond their scores: it may keep a run from a PASS."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import pytest

from medsam_core.plugin.collecting import CASE_PROPERTY, SKIPPED_GPU, case_id

RERUN = "medsam_rerun"
"""The attribute of a report whose test ran before in this session."""


@dataclass
class SessionEvents:
    """Gathered from the reports of all tests, in whichever process they ran."""

    seen: set[str] = field(default_factory=set)
    """Cases with a report."""
    skipped: set[str] = field(default_factory=set)
    """Cases of which a test was skipped."""
    failed: set[str] = field(default_factory=set)
    """Cases of which a test failed."""
    expected: set[str] = field(default_factory=set)
    """Cases of which a test was marked xfail: it may fail unseen."""
    rerun: set[str] = field(default_factory=set)
    """Cases of which a test ran more than once."""
    gpu_missing: set[str] = field(default_factory=set)
    """Those of the skipped ones that wait for a GPU, on request."""
    other_failures: bool = False
    """Whether anything else failed: another test, or a file that could not be collected."""

    def note(self, report: pytest.TestReport, plan: Collection[str]) -> None:
        """Take in a report. plan: the run's cases; a report that xdist wrote for a dead worker names one in its id."""
        case = dict(report.user_properties).get(CASE_PROPERTY)
        if case is None and case_id(report.nodeid) in plan:
            case = case_id(report.nodeid)
        if case is None:
            self.other_failures |= report.failed
            return
        case = str(case)
        self.seen.add(case)
        if hasattr(report, "wasxfail"):
            self.expected.add(case)
        elif report.skipped:
            self.skipped.add(case)
            if SKIPPED_GPU in str(report.longrepr):
                self.gpu_missing.add(case)
        if report.failed:
            self.failed.add(case)
        if report.outcome == "rerun" or getattr(report, RERUN, False):
            self.rerun.add(case)

    def objections(self) -> dict[str, set[str]]:
        """Why the scored cases may not pass although no bound is broken: what was done to a test, and the cases."""
        return {
            "a test was skipped": self.skipped - self.gpu_missing,
            "a test was marked xfail, so a failure does not show": self.expected,
            "a test was run more than once, so a failure may have been replaced": self.rerun,
        }
