"""What a run scored, in a table: fixed width for the terminal, Markdown for a pull request.

One row per modality × region × prompt mode (× protocol, if the run had several). Every case counts: a region that is
absent by its profile's rule, and a score that is undefined (NaN) is never dropped in silence: it is counted in a
column of its own and ranks below every number.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from medsam_core.cases import CaseRecord, score_key
from medsam_core.errors import OptionError
from medsam_core.gates.wording import metric_name, of_case
from medsam_core.metrics import METRICS
from medsam_core.text import counted, few

_NONE = "–"
_SHORTEST_CASE = 16
WORDS = ("modality", "region", "prompt", "protocol", "worst case")
"""Titles of the columns that hold words; the others hold figures."""


@dataclass(frozen=True)
class Row:
    """One group of cases.

    n: cases; absent: those whose region is absent; undefined: those with a NaN score. mean, median: of the scores
    that are defined, NaN if none is. worst: the worst case's id, worst_score its score (NaN if it is undefined).
    key_slice_mean: mean of the defined scores on the prompted slices of the cases that were prompted, NaN if none.
    """

    modality: str
    region: str
    prompt: str
    protocol: str
    n: int
    absent: int
    undefined: int
    mean: float
    median: float
    worst_score: float
    worst: str
    key_slice_mean: float


def rows(records: Sequence[CaseRecord], *, profile: str, metric: str = "dice") -> tuple[Row, ...]:
    """The groups of a run in the order of their first records; () for no record.

    Raises OptionError if a record lacks the metric under that profile.
    """
    groups: dict[tuple[str, ...], list[CaseRecord]] = {}
    for record in records:
        case = record.case
        groups.setdefault((case.modality, case.region, case.prompt, case.protocol), []).append(record)
    return tuple(_row(group, profile, metric) for group in groups.values())


def _row(group: Sequence[CaseRecord], profile: str, metric: str) -> Row:
    worst = ranked(group, profile=profile, metric=metric)[0]
    scores = [record.score(metric, "volume", profile) for record in group]
    defined = [score for score in scores if not math.isnan(score)]
    key = score_key(profile, metric, "key_slice")
    on_key_slice = [record.scores[key] for record in group if record.prompted and key in record.scores]
    on_key_slice = [score for score in on_key_slice if not math.isnan(score)]
    case = group[0].case
    return Row(
        modality=case.modality,
        region=case.region,
        prompt=case.prompt,
        protocol=case.protocol,
        n=len(group),
        absent=sum(not record.prompted for record in group),
        undefined=len(scores) - len(defined),
        mean=statistics.fmean(defined) if defined else math.nan,
        median=statistics.median(defined) if defined else math.nan,
        worst_score=worst.score(metric, "volume", profile),
        worst=worst.id,
        key_slice_mean=statistics.fmean(on_key_slice) if on_key_slice else math.nan,
    )


def ranked(records: Sequence[CaseRecord], *, profile: str, metric: str = "dice") -> list[CaseRecord]:
    """Worst first by the metric over the volume: undefined scores, then by its `better` direction; ties by id.

    Volumes and other quantities that are neither better high nor low are ranked by size, the smallest first.
    Raises OptionError if a record lacks the metric under that profile, or if no such metric exists.
    """
    if metric not in METRICS:
        raise OptionError(f"unknown metric {metric!r}: expected one of {', '.join(METRICS)}; mend the spelling")
    sign = -1.0 if METRICS[metric].better == "lower" else 1.0

    def place(record: CaseRecord) -> tuple[bool, float, str]:
        score = record.score(metric, "volume", profile)
        return not math.isnan(score), 0.0 if math.isnan(score) else sign * score, record.id

    return sorted(records, key=place)


def summary_lines(records: Sequence[CaseRecord], *, profile: str, metric: str = "dice", width: int = 120) -> list[str]:
    """A table for a terminal `width` characters wide; one line of text if there is no record.

    Where the table would be wider, the worst case is named by its subject alone (the row says the rest of its id), and
    that is shortened in the middle, down to 16 characters; figures never are.
    Raises OptionError as `rows` does.
    """
    found = rows(records, profile=profile, metric=metric)
    if not found:
        return ["no case was scored"]
    table = cells(found, metric)
    room = width - sum(_widths(table)[:-1]) - 2 * (len(table[0]) - 1)
    if _widths(table)[-1] > room:
        room = max(_SHORTEST_CASE, room)
        table = [[*line[:-1], shortened(line[-1].partition("/")[0], room)] for line in table]
    return _fixed_width(table)


def markdown_table(records: Sequence[CaseRecord], *, profile: str, metric: str = "dice") -> str:
    """The table of `summary_lines` in GitHub's Markdown, without a trailing newline."""
    found = rows(records, profile=profile, metric=metric)
    if not found:
        return "No case was scored."
    table = [[cell.replace("|", "\\|") for cell in line] for line in cells(found, metric)]
    rule = ["---" if title in WORDS else "---:" for title in table[0]]
    return "\n".join("| " + " | ".join(line) + " |" for line in (table[0], rule, *table[1:]))


def case_lines(records: Sequence[CaseRecord], *, profile: str, metric: str = "dice", worst: int = 5) -> list[str]:
    """The worst cases, worst first, a line each: score, id, where it was prompted, why it is red, its overlay.

    worst: how many at most. Absent regions are left out: nothing was asked there. Lines are not cut. [] if there is
    none. Raises OptionError as `ranked` does.
    """
    chosen = [record for record in ranked(records, profile=profile, metric=metric) if record.prompted][:worst]
    lines = []
    for record in chosen:
        score = record.score(metric, "volume", profile)
        parts = [f"{metric_name(metric)} {_figure(score)}", record.id, f"({of_case(record)})"]
        parts += [text for text in (record.diagnosis, record.overlay) if text]
        lines.append("  ".join(parts))
    return lines


def control_lines(records: Sequence[CaseRecord], *, profile: str, metric: str = "dice") -> list[str]:
    """A line that names the cases in which the model does not beat every control over the volume; [] without controls.

    metric: `dice` or `iou`.
    """
    compared = sorted((record for record in records if record.controls), key=lambda record: record.id)
    if not compared:
        return []
    unbeaten = {record.id: record.unbeaten_controls(metric, profile=profile) for record in compared}
    named = [f"{case} ({', '.join(controls)})" for case, controls in unbeaten.items() if controls]
    if not named:
        return [f"controls: beaten in {metric_name(metric)} in all {counted(len(compared), 'case')}"]
    where = f"{len(named)} of {counted(len(compared), 'case')}: {few(named, 5)}"
    return [f"controls: not beaten in {metric_name(metric)} in {where}"]


def shortened(text: str, room: int) -> str:
    """The text in at most `room` ≥ 3 characters, with an ellipsis in its middle if it is longer."""
    if len(text) <= room:
        return text
    tail = (room - 1) // 2
    return text[: room - 1 - tail] + "…" + text[-tail:]


def cells(found: Sequence[Row], metric: str = "dice") -> list[list[str]]:
    """A line of titles and one for each row, the worst case last; columns that say nothing in any row are left out."""
    columns: list[tuple[str, Callable[[Row], str]]] = [
        ("modality", lambda row: row.modality),
        ("region", lambda row: row.region),
        ("prompt", lambda row: row.prompt),
        ("protocol", lambda row: row.protocol),
        ("n", lambda row: str(row.n)),
        ("absent", lambda row: str(row.absent)),
        ("undefined", lambda row: str(row.undefined)),
        (f"mean {metric_name(metric)}", lambda row: _figure(row.mean)),
        ("median", lambda row: _figure(row.median)),
        ("key slice", lambda row: _figure(row.key_slice_mean)),
        ("worst", lambda row: _figure(row.worst_score)),
        ("worst case", lambda row: row.worst),
    ]
    left_out = set()
    if len({row.protocol for row in found}) == 1:
        left_out.add("protocol")
    if not any(row.undefined for row in found):
        left_out.add("undefined")
    columns = [(title, cell) for title, cell in columns if title not in left_out]
    return [[title for title, _ in columns], *([cell(row) for _, cell in columns] for row in found)]


def _widths(table: Sequence[Sequence[str]]) -> list[int]:
    return [max(len(line[column]) for line in table) for column in range(len(table[0]))]


def _fixed_width(table: Sequence[Sequence[str]]) -> list[str]:
    titles, widths = table[0], _widths(table)
    lines = [
        "  ".join(
            cell.ljust(wide) if title in WORDS else cell.rjust(wide)
            for title, cell, wide in zip(titles, line, widths, strict=True)
        ).rstrip()
        for line in table
    ]
    return [lines[0], "  ".join("-" * wide for wide in widths), *lines[1:]]


def _figure(value: float) -> str:
    return _NONE if math.isnan(value) else f"{value:.3f}"
