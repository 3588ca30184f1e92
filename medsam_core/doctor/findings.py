"""A `Finding`: one thing in a cohort that would make a verdict wrong, or that someone should look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from medsam_core.outcome import Outcome, worst

WRONG, LOOK = Outcome.FAIL, Outcome.INCONCLUSIVE
"""WRONG: the gate refuses it, or would give a wrong verdict. LOOK: it may be meant, but someone should look."""
NAMES = {WRONG: "wrong", LOOK: "look"}


@dataclass(frozen=True)
class Finding:
    """One fault of one subject, or of the cohort."""

    severity: Outcome
    """WRONG or LOOK."""
    kind: str
    """In one word, such as "grid" or "duplicate"."""
    text: str
    """What is the matter and what to do, in words that fit every subject with this fault."""
    subject: str = ""
    """The subject's id; "" for the whole cohort."""
    detail: str = ""
    """What is particular to the subject; "" for nothing."""


def grouped(findings: Sequence[Finding]) -> list[tuple[Finding, ...]]:
    """Findings with the same text together: what is wrong first, else in the order in which they were found."""
    groups: dict[tuple[bool, str, str], list[Finding]] = {}
    for one in findings:
        groups.setdefault((one.severity is not WRONG, one.kind, one.text), []).append(one)
    return [tuple(groups[key]) for key in sorted(groups, key=lambda key: key[0])]


def exit_code(findings: Sequence[Finding]) -> int:
    """0 for no finding, 1 if something is wrong, 10 if there is only something to look at."""
    return worst(one.severity for one in findings).exit_code
