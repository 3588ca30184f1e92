"""A comparison as Markdown for a pull request, and as JUnit XML for a build server."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

from medsam_core.gates.comparison import GroupComparison, RunComparison
from medsam_core.gates.subgroups import table
from medsam_core.gates.wording import metric_name, unit_of
from medsam_core.outcome import Outcome
from medsam_core.text import few, signed

# XML 1.0 has no way to write these at all
_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def markdown(comparison: RunComparison) -> str:
    """The verdict, a table with a row per group, what fell, and a table by subgroup; ends with a line break."""
    rule = comparison.rule
    name = metric_name(rule.metric, rule.scope)
    percent = f"{rule.confidence:.0%}"
    lines = [
        f"**{comparison.outcome.value}**: {_cell(comparison.current)} against {_cell(comparison.reference)}, "
        f"{name}{unit_of(rule.metric)}, margin {rule.margin:g}",
        "",
        f"| group | subjects | reference | now | change | {percent} interval | verdict |",
        "|---|---:|---:|---:|---:|:---:|---|",
        *(_row(group) for group in comparison.groups),
    ]
    remarks = [
        *(f"INCONCLUSIVE: {reason}" for reason in comparison.reasons),
        *(
            f"{group.group}: {len(group.dropped)} {rule.verb} by more than "
            f"{rule.listed_drop:g}: {few(group.dropped, 10)}"
            for group in comparison.groups
            if group.dropped
        ),
        *comparison.notes,
    ]
    if remarks:
        lines += ["", *(f"- {_cell(remark)}" for remark in remarks)]
    if comparison.subgroups:
        head, *rows = table(comparison.subgroups)
        lines.append("")
        lines += [f"| {' | '.join(map(_cell, row))} |" for row in (head, ("---", *("---:" for _ in head[1:])), *rows)]
    return "\n".join(lines) + "\n"


def junit(comparison: RunComparison) -> str:
    """JUnit XML: a test case per group and one for whether the two could be compared.

    FAIL is a failure and INCONCLUSIVE an error, because a build server shows a skipped test as green.
    """
    suite = ElementTree.Element("testsuite", name=_xml(f"compare {comparison.current} {comparison.reference}"))
    counts = dict.fromkeys(Outcome, 0)
    for name, outcome, text in (
        *((group.group, group.outcome, group.text) for group in comparison.groups),
        (
            "comparable",
            Outcome.INCONCLUSIVE if comparison.reasons else Outcome.PASS,
            "; ".join(comparison.reasons),
        ),
    ):
        counts[outcome] += 1
        case = ElementTree.SubElement(suite, "testcase", classname="medsam_core.compare", name=_xml(name), time="0")
        if outcome is not Outcome.PASS:
            kind = "failure" if outcome is Outcome.FAIL else "error"
            ElementTree.SubElement(case, kind, message=_xml(text), type=outcome.value)
    suite.set("tests", str(sum(counts.values())))
    suite.set("failures", str(counts[Outcome.FAIL]))
    suite.set("errors", str(counts[Outcome.INCONCLUSIVE]))
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    return "<?xml version='1.0' encoding='utf-8'?>\n" + ElementTree.tostring(root, encoding="unicode") + "\n"


def _row(group: GroupComparison) -> str:
    interval = "" if math.isnan(group.low) else f"[{signed(group.low)}, {signed(group.high)}]"
    verdict = group.outcome.value if group.outcome is Outcome.PASS else f"**{group.outcome.value}**: {_cell(group.why)}"
    return (
        f"| {group.group} | {len(group.pairs)} | {group.reference:.3f} | {group.current:.3f} | "
        f"{signed(group.change)} | {interval} | {verdict} |"
    )


def _cell(text: str) -> str:
    """Text that neither ends a table's cell nor starts HTML in it."""
    return " ".join(text.replace("|", "\\|").replace("<", "&lt;").split())


def _xml(text: str) -> str:
    return _NOT_XML.sub("�", text)
