"""A comparison as Markdown for a pull request, and as JUnit XML for a build server."""

from __future__ import annotations

import math
from xml.etree import ElementTree

from medsam_core.gates.comparison import GroupComparison, RunComparison
from medsam_core.gates.subgroups import table
from medsam_core.gates.wording import metric_name, unit_of
from medsam_core.outcome import Outcome
from medsam_core.reports.escaping import xml_text
from medsam_core.reports.markdown import escaped
from medsam_core.text import few, signed


def markdown(comparison: RunComparison) -> str:
    """The verdict, a table with a row per group, cases that got worse, a table by subgroup, and a line break."""
    rule = comparison.rule
    name = metric_name(rule.metric, rule.scope)
    percent = f"{rule.confidence:.0%}"
    lines = [
        f"**{comparison.outcome.value}**: {escaped(comparison.current)} against {escaped(comparison.reference)}, "
        f"{name}{unit_of(rule.metric)}, margin {rule.margin:g}",
        "",
        f"| group | subjects | reference | now | change | {percent} interval | verdict |",
        "|---|---:|---:|---:|---:|:---:|---|",
        *(_row(group) for group in comparison.groups),
    ]
    remarks = [
        *(f"INCONCLUSIVE: {reason}" for reason in comparison.reasons),
        *(
            f"{one.group}: {len(one.dropped)} {rule.verb} by more than {rule.listed_drop:g}: {few(one.dropped, 10)}"
            for one in comparison.groups
            if one.dropped
        ),
        *comparison.notes,
    ]
    if remarks:
        lines += ["", *(f"- {escaped(remark)}" for remark in remarks)]
    if comparison.subgroups:
        head, *rows = table(comparison.subgroups)
        lines.append("")
        rule_line = ("---", *("---:" for _ in head[1:]))
        cells = [(escaped(name), *figures) for name, *figures in rows]  # figures are this package's own
        lines += [f"| {' | '.join(row)} |" for row in (tuple(map(escaped, head)), rule_line, *cells)]
    return "\n".join(lines) + "\n"


def junit(comparison: RunComparison) -> str:
    """JUnit XML: a test case per group, and one for whether the two runs can be compared.

    FAIL is a failure and INCONCLUSIVE an error, because a build server shows a skipped test as green.
    """
    root = ElementTree.Element("testsuites")
    suite = ElementTree.SubElement(
        root, "testsuite", name=xml_text(f"compare {comparison.current} {comparison.reference}")
    )
    comparable = Outcome.INCONCLUSIVE if comparison.reasons else Outcome.PASS
    cases = [(group.group, group.outcome, group.text) for group in comparison.groups]
    cases.append(("comparable", comparable, "; ".join(comparison.reasons)))
    outcomes = [outcome for _, outcome, _ in cases]
    for name, outcome, text in cases:
        case = ElementTree.SubElement(suite, "testcase", classname="medsam_core.compare", name=xml_text(name), time="0")
        if outcome is not Outcome.PASS:
            kind = "failure" if outcome is Outcome.FAIL else "error"
            ElementTree.SubElement(case, kind, message=xml_text(text), type=outcome.value)
    suite.set("tests", str(len(cases)))
    suite.set("failures", str(outcomes.count(Outcome.FAIL)))
    suite.set("errors", str(outcomes.count(Outcome.INCONCLUSIVE)))
    ElementTree.indent(root)
    return f"<?xml version='1.0' encoding='utf-8'?>\n{ElementTree.tostring(root, encoding='unicode')}\n"


def _row(group: GroupComparison) -> str:
    interval = "" if math.isnan(group.low) else f"[{signed(group.low)}, {signed(group.high)}]"
    outcome = group.outcome.value
    verdict = outcome if group.outcome is Outcome.PASS else f"**{outcome}**: {escaped(group.why)}"
    return (
        f"| {escaped(group.group)} | {len(group.pairs)} | {group.reference:.3f} | {group.current:.3f} | "
        f"{signed(group.change)} | {interval} | {verdict} |"
    )
