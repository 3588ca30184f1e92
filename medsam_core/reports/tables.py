"""What a run scored, in a table: fixed width for the terminal, Markdown for a pull request.

One row per modality × region × prompt mode (× protocol and × level of noise, if the run had several). An absent region
is counted in a column and not in a mean: nothing was prompted, and the profile's rule for two empty masks is no merit
of the model. An undefined score (NaN) is counted in a column, too, and ranks below every number.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from medsam_core.cases import CaseRecord, score_key
from medsam_core.gates.wording import of_case
from medsam_core.reports.markdown import code, escaped
from medsam_core.text import aligned, counted, few

_NONE = "–"
_SHORTEST_CASE = 16
WORDS = ("modality", "region", "prompt", "protocol", "noise", "worst case")
"""Titles of the columns that hold words; the others hold figures."""


def rows(records: Sequence[CaseRecord], *, profile: str) -> list[list[str]]:
    """The titles, then a row per group in the order of its first records, the worst case last; [] for no record.

    A column that says nothing in any row is left out. Raises OptionError if a record lacks Dice under that profile.
    """
    groups: dict[tuple[str, ...], list[CaseRecord]] = {}
    for record in records:
        case = record.case
        groups.setdefault((case.modality, case.region, case.prompt, case.protocol, case.noise_level), []).append(record)
    found = [_row(group, profile) for group in groups.values()]
    if not found:
        return []
    titles = list(found[0])
    if len({row["protocol"] for row in found}) == 1:
        titles.remove("protocol")
    if len({row["noise"] for row in found}) == 1:
        titles.remove("noise")
    if all(row["undefined"] == "0" for row in found):
        titles.remove("undefined")
    titles = [title for title in titles if any(row[title] for row in found)]
    return [titles, *([row[title] for title in titles] for row in found)]


def _row(group: Sequence[CaseRecord], profile: str) -> dict[str, str]:
    case = group[0].case
    asked = [record for record in group if record.prompted]
    worst = next(iter(ranked(asked, profile=profile)), None)
    scores = [record.score("dice", "volume", profile) for record in asked]
    defined = [score for score in scores if not math.isnan(score)]
    key = score_key(profile, "dice", "key_slice")
    on_key_slice = [record.scores.get(key, math.nan) for record in asked]
    on_key_slice = [score for score in on_key_slice if not math.isnan(score)]
    return {
        "modality": case.modality,
        "region": case.region,
        "prompt": case.prompt,
        "protocol": case.protocol,
        "noise": case.noise_level or "exact",
        "n": str(len(group)),
        "absent": str(len(group) - len(asked)),
        "undefined": str(len(scores) - len(defined)),
        "mean Dice": _figure(statistics.fmean(defined) if defined else math.nan),
        "median": _figure(statistics.median(defined) if defined else math.nan),
        "round 0": _mean_of(group, score_key(profile, "dice", "round0")),
        "Dice AUC": _mean_of(group, score_key(profile, "dice_auc", "volume")),
        "key slice": _figure(statistics.fmean(on_key_slice) if on_key_slice else math.nan),
        "worst": _figure(worst.score("dice", "volume", profile) if worst else math.nan),
        "worst case": worst.id if worst else _NONE,
    }


def _mean_of(group: Sequence[CaseRecord], key: str) -> str:
    """The mean of a score over the prompted cases, "" if no record has it."""
    if not any(key in record.scores for record in group):
        return ""
    scores = [record.scores.get(key, math.nan) for record in group if record.prompted]
    return _figure(statistics.fmean(scores) if scores else math.nan)


def ranked(records: Sequence[CaseRecord], *, profile: str) -> list[CaseRecord]:
    """Worst first by Dice over the volume: undefined scores, then the lowest; ties by id.

    Raises OptionError if a record lacks Dice under that profile.
    """

    def place(record: CaseRecord) -> tuple[float, str]:
        score = record.score("dice", "volume", profile)
        return -math.inf if math.isnan(score) else score, record.id

    return sorted(records, key=place)


def summary_lines(records: Sequence[CaseRecord], *, profile: str, width: int = 120) -> list[str]:
    """A table for a terminal `width` characters wide; one line of text if there is no record.

    Where the table would be wider, the worst case is named by its subject alone (the row says the rest of its id), and
    that is shortened in the middle, down to 16 characters; figures never are.
    Raises OptionError as `rows` does.
    """
    table = rows(records, profile=profile)
    if not table:
        return ["no case was scored"]
    widths = _widths(table)
    room = width - sum(widths[:-1]) - 2 * (len(widths) - 1)
    if widths[-1] > room:
        room = max(_SHORTEST_CASE, room)
        table = [[*line[:-1], shortened(line[-1].partition("/")[0], room)] for line in table]
    titles, *lines = table
    rule = ["-" * wide for wide in _widths(table)]
    return aligned([titles, rule, *lines], right=[place for place, title in enumerate(titles) if title not in WORDS])


def markdown_table(records: Sequence[CaseRecord], *, profile: str) -> str:
    """The table of `summary_lines` in GitHub's Markdown, its names escaped, without a trailing newline."""
    table = rows(records, profile=profile)
    if not table:
        return "No case was scored."
    titles, *lines = table
    lines = [[*map(escaped, line[:-1]), line[-1] if line[-1] == _NONE else code(line[-1])] for line in lines]
    rule = ["---" if title in WORDS else "---:" for title in titles]
    return "\n".join(f"| {' | '.join(line)} |" for line in (titles, rule, *lines))


def case_lines(records: Sequence[CaseRecord], *, profile: str, worst: int = 5) -> list[str]:
    """The worst cases, worst first, a line each: score, id, where it was prompted, why it failed, its overlay.

    worst: how many at most. Absent regions are left out: nothing was prompted there. Lines are not cut. [] if there is
    none. Raises OptionError as `ranked` does.
    """
    chosen = [record for record in ranked(records, profile=profile) if record.prompted][:worst]
    lines = []
    for record in chosen:
        score = record.score("dice", "volume", profile)
        parts = [f"Dice {_figure(score)}", record.id, f"({of_case(record)})", record.diagnosis, record.overlay]
        lines.append("  ".join(text for text in parts if text))
    return lines


def control_lines(records: Sequence[CaseRecord], *, profile: str) -> list[str]:
    """A line naming the cases in which the model does not beat every control in Dice; [] if there are no controls."""
    compared = sorted((record for record in records if record.controls), key=lambda record: record.id)
    if not compared:
        return []
    unbeaten = {record.id: record.unbeaten_controls("dice", profile=profile) for record in compared}
    named = [f"{case} ({', '.join(controls)})" for case, controls in unbeaten.items() if controls]
    cases = counted(len(compared), "case")
    if not named:
        return [f"controls: beaten in Dice in all {cases}"]
    return [f"controls: not beaten in Dice in {len(named)} of {cases}: {few(named, 5)}"]


def shortened(text: str, room: int) -> str:
    """The text in at most `room` ≥ 3 characters, with an ellipsis in its middle if it is longer."""
    if len(text) <= room:
        return text
    tail = (room - 1) // 2
    return text[: room - 1 - tail] + "…" + text[-tail:]


def _widths(table: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(*table, strict=True)]


def _figure(value: float) -> str:
    return _NONE if math.isnan(value) else f"{value:.3f}"
