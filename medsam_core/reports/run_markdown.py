"""A stored run as Markdown: its verdict with reasons and its groups, then every case."""

from __future__ import annotations

import math
from collections.abc import Iterable

from medsam_core.gates.verdict import CaseVerdict, Verdict
from medsam_core.outcome import Outcome
from medsam_core.reports.markdown import code, escaped
from medsam_core.reports.tables import WORDS, rows
from medsam_core.runs import Run

_NONE = "–"


def markdown(run: Run, verdict: Verdict) -> str:
    """The verdict, what was judged, why it is not a PASS, a table by group and a table by case."""
    return "\n".join(
        [
            *head_lines(run, verdict.outcome),
            "",
            *reason_lines(
                [one.text for one in verdict.results if one.outcome is Outcome.FAIL], verdict.reasons, verdict.notes
            ),
            *group_lines(run),
            "",
            *_case_table(run, verdict.cases),
            "",
        ]
    )


def head_lines(run: Run, outcome: Outcome) -> list[str]:
    """The outcome as a heading, and what was judged."""
    header = run.header
    return [
        f"### MedSAM-2 gate: {outcome.value}",
        "",
        f"{len(run.records)} of {len(run.plan)} cases scored on {code(header.device)}, "
        f"predictor {code(header.predictor.name)}, checkpoint {code(header.checkpoint.name)} "
        f"({header.checkpoint.sha256[:12]}).",
    ]


def reason_lines(broken: Iterable[str], reasons: Iterable[str], notes: Iterable[str] = ()) -> list[str]:
    """A list of the broken bounds, the reasons and the notes, with an empty line after it; [] if there are none."""
    lines = [f"- {escaped(text)}" for text in (*broken, *reasons)]
    lines += [f"- note: {escaped(text)}" for text in notes]
    return [*lines, ""] if lines else []


def group_lines(run: Run) -> list[str]:
    """The table of `tables.rows`. Raises OptionError if a record lacks Dice under the run's profile."""
    table = rows(run.records, profile=run.header.settings.profile)
    if not table:
        return ["No case was scored."]
    titles, *lines = table
    cells = [[*map(escaped, line[:-1]), code(line[-1])] for line in lines]
    return table_lines(titles, cells, words=WORDS)


def _case_table(run: Run, cases: Iterable[CaseVerdict]) -> list[str]:
    profile = run.header.settings.profile
    records = {record.id: record for record in run.records}
    found = []
    for case in cases:
        record = records.get(case.id)
        if record is None:
            dice = "missing"
        elif not record.prompted:
            dice = "absent"
        else:
            value = record.score("dice", "volume", profile)
            dice = "undefined" if math.isnan(value) else f"{value:.3f}"
        words = [*case.texts, *([record.diagnosis] if record and record.diagnosis else [])]
        found.append([code(case.id), dice, case.outcome.value, escaped("; ".join(words)) or _NONE])
    return table_lines(["case", "Dice", "outcome", "why"], found, words=("case", "outcome", "why"))


def table_lines(titles: list[str], lines: Iterable[list[str]], *, words: Iterable[str]) -> list[str]:
    """A table of cells that are escaped already; columns whose title is not in `words` are aligned right."""
    rule = ["---" if title in words else "---:" for title in titles]
    return [f"| {' | '.join(line)} |" for line in (titles, rule, *lines)]
