"""A stored run as JUnit XML for a build server: red where the verdict is not a PASS."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree import ElementTree

from medsam_core.cases import CaseRecord
from medsam_core.gates.verdict import Verdict
from medsam_core.gates.wording import of_case
from medsam_core.outcome import Outcome
from medsam_core.reports.escaping import xml_text
from medsam_core.runs import Run


@dataclass(frozen=True)
class _Test:
    """One `testcase` element."""

    group: str
    """Its `classname`."""
    name: str
    outcome: Outcome
    text: str
    """Why it is not a PASS."""
    seconds: float = 0.0
    shown: str = ""
    """Its output."""


def junit(run: Run, verdict: Verdict) -> str:
    """JUnit XML: a test case per planned case, per bound over several cases, and one for the verdict.

    FAIL is a failure and INCONCLUSIVE an error, because a build server shows a skipped test as green.
    """
    tests = [*_cases(run, verdict), *_bounds(verdict)]
    lines = verdict.lines()
    tests.append(_Test("medsam_core.verdict", "verdict", verdict.outcome, "\n".join(lines), shown="\n".join(lines)))
    outcomes = [test.outcome for test in tests]
    root = ElementTree.Element("testsuites")
    suite = ElementTree.SubElement(root, "testsuite", name=xml_text(f"medsam-core {run.directory.resolve().name}"))
    suite.set("timestamp", xml_text(run.header.created))
    suite.set("tests", str(len(tests)))
    suite.set("failures", str(outcomes.count(Outcome.FAIL)))
    suite.set("errors", str(outcomes.count(Outcome.INCONCLUSIVE)))
    suite.set("skipped", "0")
    suite.set("time", f"{sum(test.seconds for test in tests):.3f}")
    for test in tests:
        element = ElementTree.SubElement(
            suite, "testcase", classname=test.group, name=xml_text(test.name), time=f"{test.seconds:.3f}"
        )
        if test.outcome is not Outcome.PASS:
            kind = "failure" if test.outcome is Outcome.FAIL else "error"
            ElementTree.SubElement(element, kind, message=xml_text(test.text), type=test.outcome.value)
        if test.shown:
            ElementTree.SubElement(element, "system-out").text = xml_text(test.shown)
    ElementTree.indent(root)
    return f"<?xml version='1.0' encoding='utf-8'?>\n{ElementTree.tostring(root, encoding='unicode')}\n"


def _cases(run: Run, verdict: Verdict) -> Iterator[_Test]:
    records = {record.id: record for record in run.records}
    for case in verdict.cases:
        record = records.get(case.id)
        words = [*case.texts, *([record.diagnosis] if record and record.diagnosis else [])]
        seconds = record.seconds if record and record.seconds and math.isfinite(record.seconds) else 0.0
        output = _scores(record, run.header.settings.profile) if record else "planned but not scored"
        yield _Test("medsam_core.cases", case.id, case.outcome, "; ".join(words), seconds, output)


def _bounds(verdict: Verdict) -> Iterator[_Test]:
    for result in verdict.results:
        if not result.bound.per_case:
            name = " ".join(filter(None, [result.gate.label, result.bound.name, result.group]))
            yield _Test("medsam_core.gates", name, result.outcome, result.text, shown=result.text)


def _scores(record: CaseRecord, profile: str) -> str:
    if not record.prompted:
        return "the region is absent: nothing was prompted, and the profile's rule for two empty masks gives the scores"
    own = {key.removeprefix(f"{profile}/"): value for key, value in record.scores.items()}
    return "\n".join([of_case(record), *(f"{key} {value:.6g}" for key, value in own.items())])
