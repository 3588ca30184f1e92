"""Floors for a gates file, proposed from what a run measured.

A proposal is text for a person to look at and commit, not a gate by itself: it says what the checkpoint did, and only
a person can say whether that is good enough to hold others to.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from medsam_core.cases import CaseRecord, score_key
from medsam_core.errors import GateError
from medsam_core.gates.baseline import Baseline, baseline_path, identity_of
from medsam_core.gates.gates_file import VERSION
from medsam_core.gates.pairing import comparability
from medsam_core.gates.wording import group_name, group_order, metric_name
from medsam_core.runs import Run
from medsam_core.text import counted, few

METRICS = ("dice", "iou")
SCOPES = ("volume", "key_slice")
CASE_CHANGE = 0.001
"""How far Dice of a case may move with the same weights, device and precision. On CPUs with other instructions it moved
by up to 0.0001."""
MEAN_DROP, CASE_DROP = 0.02, 0.20
"""What is tolerated of a mean and of a case, whatever the weights, device and precision."""


def propose_gates(
    run: Run,
    *,
    repeats: Sequence[Run] = (),
    margin: float = 0.05,
    mean_margin: float = 0.02,
    baseline: str | None = None,
) -> str:
    """TOML text of a gates file with floors for each modality × region × prompt × protocol of the run.

    case_minimum: the worst case − margin; mean_minimum: the mean − mean_margin; both rounded down to 3 decimals and
    left out where they would be 0 or less and so hold nothing back. Cases whose region is absent do not count.
    repeats: runs of the same cases elsewhere, say on a GPU or in bf16; the floors are under the lowest of them all.
    baseline: with a name, two gates on Dice against it are added, one for the same weights and device, one for all.
    Raises GateError if a planned case has no record, a score is missing or NaN, a repeat is of another question, a
    margin is not in [0, 1), or nothing can be proposed.
    """
    for name, value in (("margin", margin), ("mean margin", mean_margin)):
        if not 0 <= value < 1:
            raise GateError(f"{name}: got {value}, expected a number in [0, 1); mend --{name.replace(' ', '-')}.")
    for one in (run, *repeats):
        _check(one, run)
    profile = run.header.settings.profile
    groups: dict[tuple[str, str, str, str], list[CaseRecord]] = {}
    for record in sorted(run.records, key=lambda record: (group_order(record.case), record.id)):
        case = record.case
        groups.setdefault((case.modality, case.region, case.prompt, case.protocol), []).append(record)
    lines = [*_head(run, repeats, margin, mean_margin), "", f"version = {VERSION}", f"profile = {json.dumps(profile)}"]
    runs = (run, *repeats)
    tables = [line for group in groups.values() for line in _tables(runs, group, profile, margin, mean_margin)]
    if "[[gate]]" not in tables:
        raise GateError(
            f"{run.directory}: no floor above 0 can be proposed, expected at least one mean above {mean_margin:g}; "
            "take a checkpoint that finds the tumours."
        )
    if baseline is not None:
        baseline_path(baseline)  # that it is a name
        lines.append(f"baseline = {json.dumps(baseline)}")
        tables = [*_against(baseline), *tables]  # first, as a broken one says the most
    return "\n".join([*lines, *tables]) + "\n"


def _check(run: Run, first: Run) -> None:
    against = comparability(Baseline.of(first), run)
    if against.unfit:
        raise GateError(
            f"{run.directory}: {against.unfit[0]}, expected a complete and plausible run to measure on; score it again."
        )
    if against.unlike:
        raise GateError(f"{run.directory}: is no repeat of {first.directory}: {against.unlike[0]}; leave it out.")


def _against(baseline: str) -> Iterator[str]:
    yield from (
        "",
        f"# against {baseline}: the same weights on the same kind of device give the same masks",
        "[[gate]]",
        'metric = "dice"',
        'same = ["checkpoint", "device", "precision"]',
        f"case_change_maximum = {CASE_CHANGE}",
        "",
        f"# against {baseline}: whatever the weights and the device, neither the cohort nor a case gets worse",
        "[[gate]]",
        'metric = "dice"',
        f"mean_drop_maximum = {MEAN_DROP}",
        f"case_drop_maximum = {CASE_DROP}",
    )


def _head(run: Run, repeats: Sequence[Run], margin: float, mean_margin: float) -> Iterator[str]:
    header = run.header
    checkpoint, cohort, settings = header.checkpoint, header.cohort, header.settings
    root = Path(cohort.root).name  # the file is for others, too
    for text in (
        f"Proposed by `medsam-core propose` from the run of {header.created}.",
        "These numbers say what this checkpoint did there; look at its worst cases before you commit them.",
        f"checkpoint: {checkpoint.name} (sha256 {checkpoint.sha256[:12]})",
        f"cohort: {root}, {counted(len(cohort.subjects), 'subject')}, labels {'/'.join(cohort.labels)}, "
        f"fingerprint {cohort.fingerprint[:12]}",
        f"device: {header.device}, precision {header.precision}; key slice {settings.key_slice}, "
        f"jitter {settings.jitter_voxels} voxels",
        *(f"and from its repeat of {one.header.created}: {identity_of(one).machine}" for one in repeats),
        f"case_minimum = worst case - {margin:g}; mean_minimum = mean - {mean_margin:g}; rounded down to 3 decimals",
    ):
        yield "# " + " ".join(text.split())  # a line break in a folder's name must not end the comment


def _tables(
    runs: Sequence[Run], group: Sequence[CaseRecord], profile: str, margin: float, mean_margin: float
) -> Iterator[str]:
    case = group[0].case
    asked = [record for record in group if record.prompted]
    absent = f", absent in {len(group) - len(asked)} more" if len(asked) < len(group) else ""
    if not asked:
        yield from ("", f"# {group_name(case)}: the region is absent in all {counted(len(group), 'case')}: no gate")
        return
    for metric in METRICS:
        for scope in SCOPES:
            measured = [_scores(run, asked, score_key(profile, metric, scope)) for run in runs]
            least, worst_case = min(min(scores) for scores in measured)
            mean = min(math.fsum(score for score, _ in scores) / len(scores) for scores in measured)
            name = metric_name(metric, scope)
            yield ""
            yield (
                f"# {group_name(case)} {name} over {counted(len(asked), 'case')}{absent}: "
                f"worst {least:.3f} ({worst_case}), mean {mean:.3f}"
            )
            floors = {"case_minimum": _floor(least - margin), "mean_minimum": _floor(mean - mean_margin)}
            if all(floor <= 0 for floor in floors.values()):
                yield "# too low for any floor above 0: no gate"
                continue
            yield "[[gate]]"
            yield f"metric = {json.dumps(metric)}"
            yield f"scope = {json.dumps(scope)}"
            for key in ("modality", "region", "prompt", "protocol"):
                yield f"{key} = {json.dumps(getattr(case, key))}"
            for bound, floor in floors.items():
                yield f"{bound} = {floor:.3f}" if floor > 0 else f"# {bound}: the worst case is too low for a floor"


def _scores(run: Run, asked: Sequence[CaseRecord], key: str) -> list[tuple[float, str]]:
    """The run's own scores of the cases that the first run was asked."""
    own = {record.id: record for record in run.records}
    records = [own[record.id] for record in asked]
    lacking = [record.id for record in records if math.isnan(record.scores.get(key, math.nan))]
    if lacking:
        raise GateError(
            f"{run.directory}: {counted(len(lacking), 'case')} without a score {key} ({few(lacking)}), expected a "
            "number for each; score the run with the metrics dice and iou."
        )
    return [(record.scores[key], record.id) for record in records]


def _floor(value: float) -> float:
    return math.floor(value * 1000) / 1000
