"""Floors for a gates file, proposed from a run: text for a person, who decides whether the scores are good enough."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from medsam_core.cases import CaseRecord, score_key
from medsam_core.errors import GateError
from medsam_core.gates.baseline import Baseline, identity_of
from medsam_core.gates.baseline_file import baseline_path
from medsam_core.gates.bounds import mean
from medsam_core.gates.gated_cohort import FINGERPRINT, exact_cases
from medsam_core.gates.gates_file import VERSION
from medsam_core.gates.pairing import comparability
from medsam_core.gates.wording import group_name, group_order, metric_name
from medsam_core.metrics import DERIVED
from medsam_core.prompts.noise import Noise
from medsam_core.runs import Run
from medsam_core.settings import Settings
from medsam_core.text import counted, few

METRICS = ("dice", "iou")
SCOPES = ("volume", "key_slice")
AGAINST = """
# against {name}: the same weights on the same kind of device give the same masks
[[gate]]
metric = "dice"
same = ["checkpoint", "device", "precision"]
case_change_maximum = 0.001

# against {name}: whatever the weights, on the same kind of device no region and prompt gets worse, and none gets better
# by as much: truth may have leaked; if you have looked at a better model and trust it, make it the baseline
[[gate]]
metric = "dice"
same = ["device", "precision"]
not_inferior = 0.010
mean_rise_maximum = 0.010

# against {name}: whatever the weights and the device, neither the mean of all cases nor a case gets worse; wider,
# because rounding differs between devices
[[gate]]
metric = "dice"
pooled = true
mean_drop_maximum = 0.02
case_drop_maximum = 0.2
"""
"""Three gates against a baseline. Between CPUs with different instructions, the same weights moved a case's Dice by up
to 0.0001."""


def propose_gates(
    run: Run,
    *,
    repeats: Sequence[Run] = (),
    margin: float = 0.05,
    mean_margin: float = 0.02,
    baseline: str | None = None,
) -> str:
    """TOML text of a gates file with floors for each modality × region × prompt × protocol × noise of the run.

    case_minimum: the worst case − margin; mean_minimum: the mean − mean_margin. Both are rounded down to 3 decimals
    and left out where they would be 0 or less, which no score is below. Cases whose region is absent do not count. For
    the area under N corrections the margins are N − 1 times as large.
    repeats: runs of the same cases elsewhere, say on a GPU or in bf16; the floors are below the lowest of all runs.
    baseline: its name adds three gates on Dice against it.
    The file also names the cohort, how many cases a run must have and how many may be absent.
    Raises GateError if a planned case has no record, a score is missing or NaN, a repeat is of another question, a
    margin is not in [0, 1), or nothing can be proposed.
    """
    for name, value in (("margin", margin), ("mean-margin", mean_margin)):
        if not 0 <= value < 1:
            raise GateError(f"--{name}: got {value}, expected a number in [0, 1); correct it.")
    runs = (run, *repeats)
    for one in runs:
        _check(one, run)
    groups: dict[str, list[CaseRecord]] = {}
    for record in sorted(run.records, key=lambda record: (group_order(record.case), record.id)):
        groups.setdefault(group_name(record.case), []).append(record)
    tables = [line for group in groups.values() for line in _tables(runs, group, margin, mean_margin)]
    if "[[gate]]" not in tables:
        raise GateError(
            f"{run.directory}: no floor above 0 can be proposed, expected at least one mean above {mean_margin:g}; "
            "take a checkpoint that finds the tumours."
        )
    lines = [*_head(run, repeats, margin, mean_margin), "", f"version = {VERSION}"]
    lines.append(f"profile = {json.dumps(run.header.settings.profile)}")
    top = len(lines)
    lines += ["", "# a run of another cohort, of a part of this one, or with fewer labels is no PASS", "[cohort]"]
    if FINGERPRINT.fullmatch(run.header.cohort.fingerprint):
        lines.append(f"fingerprint = {json.dumps(run.header.cohort.fingerprint)}")
    lines += [f"cases = {exact_cases(run)}"]
    lines.append(f"absent_maximum = {sum(not record.prompted and not record.case.noise for record in run.records)}")
    if baseline is not None:
        baseline_path(baseline)  # checks the name
        lines.insert(top, f"baseline = {json.dumps(baseline)}")
        # first, because a broken one says the most
        lines.append(AGAINST.format(name=baseline).rstrip())
    return "\n".join([*lines, *tables]) + "\n"


def _check(run: Run, first: Run) -> None:
    against = comparability(Baseline.of(first), run)
    if against.unfit:
        raise GateError(
            f"{run.directory}: {against.unfit[0]}, expected a complete and plausible run to measure on; score it again."
        )
    if against.unlike:
        raise GateError(f"{run.directory}: is no repeat of {first.directory}: {against.unlike[0]}; leave it out.")


def _head(run: Run, repeats: Sequence[Run], margin: float, mean_margin: float) -> Iterator[str]:
    header = run.header
    checkpoint, cohort, settings = header.checkpoint, header.cohort, header.settings
    root = Path(cohort.root).name  # the file is also for others
    for text in (
        f"Proposed by `medsam-core propose` from the run of {header.created}.",
        "These numbers say what this checkpoint did there; look at its worst cases before you commit them.",
        f"predictor: {header.predictor}",
        f"checkpoint: {checkpoint.name} (sha256 {checkpoint.sha256[:12]})",
        f"cohort: {root}, {counted(len(cohort.subjects), 'subject')}, labels {'/'.join(cohort.labels)}, "
        f"fingerprint {cohort.fingerprint[:12]}",
        f"device: {header.device}, precision {header.precision}; key slice {settings.key_slice}, "
        + (f"{settings.key_slices} key slices in one track, " if settings.key_slices > 1 else "")
        + (f"{settings.refine} corrections by the rule {settings.refine_rule}, " if settings.refine else "")
        + f"jitter {settings.jitter_voxels} voxels",
        *(f"and from its repeat of {one.header.created}: {identity_of(one).machine}" for one in repeats),
        f"case_minimum = worst case - {margin:g}; mean_minimum = mean - {mean_margin:g}; rounded down to 3 decimals",
    ):
        yield "# " + " ".join(text.split())  # a line break in a folder's name must not end the comment


def _tables(runs: Sequence[Run], group: Sequence[CaseRecord], margin: float, mean_margin: float) -> Iterator[str]:
    case, who = group[0].case, group_name(group[0].case)
    asked = [record.id for record in group if record.prompted]
    absent = f", absent in {len(group) - len(asked)} more" if len(asked) < len(group) else ""
    if not asked:
        yield from ("", f"# {who}: the region is absent in all {counted(len(group), 'case')}: no gate")
        return
    for metric, scope in _proposed(runs[0].header.settings):
        key = score_key(runs[0].header.settings.profile, metric, scope)
        measured = [_scores(run, asked, key) for run in runs]
        least, worst_case = min((score, name) for scores in measured for name, score in scores.items())
        average = min(mean([*scores.values()]) for scores in measured)
        yield ""
        yield (
            f"# {who} {metric_name(metric, scope)} over {counted(len(asked), 'case')}{absent}: "
            f"worst {least:.3f} ({worst_case}), mean {average:.3f}"
        )
        # an area is a sum over the steps between rounds
        steps = runs[0].header.settings.refine - 1 if metric in DERIVED else 1
        floors = {
            "case_minimum": _floor(least - margin * steps),
            "mean_minimum": _floor(average - mean_margin * steps),
        }
        if all(floor <= 0 for floor in floors.values()):
            yield "# too low for any floor above 0: no gate"
            continue
        yield "[[gate]]"
        filters = {name: getattr(case, name) for name in ("modality", "region", "prompt", "protocol")}
        for name, value in {"metric": metric, "scope": scope, **filters}.items():
            yield f"{name} = {json.dumps(value)}"
        if case.noise:
            yield f"at_{Noise.of(case.noise).kind} = {Noise.of(case.noise).amount}"
        for bound, floor in floors.items():
            yield f"{bound} = {floor:.3f}" if floor > 0 else f"# {bound}: the worst case is too low for a floor"
        if case.noise:
            exact = [record.case.exact.id for record in group if record.prompted]
            drop = max(_drop(own, _scores(run, exact, key)) for run, own in zip(runs, measured, strict=True))
            limit = math.ceil(round((drop + mean_margin) * 1000, 6)) / 1000
            if limit < 1:  # any score holds a limit of 1
                yield f"drop_from_exact_maximum = {limit:.3f}"


def _proposed(settings: Settings) -> Iterator[tuple[str, str]]:
    """(metric, scope) of every floor; with corrections also the first round and the area under all of them."""
    yield from itertools.product(METRICS, SCOPES)
    if settings.refine:
        yield "dice", settings.round_scopes[0]
    if settings.refine > 1:
        yield "dice_auc", SCOPES[0]


def _scores(run: Run, asked: Sequence[str], key: str) -> dict[str, float]:
    """The run's scores of the cases that the first run was asked."""
    own = {record.id: record.scores.get(key, math.nan) for record in run.records}
    lacking = [name for name in asked if math.isnan(own[name])]
    if lacking:
        raise GateError(
            f"{run.directory}: {counted(len(lacking), 'case')} without a score {key} ({few(lacking)}), expected a "
            "number for each; score the run with the metrics dice and iou."
        )
    return {name: own[name] for name in asked}


def _drop(noisy: Mapping[str, float], exact: Mapping[str, float]) -> float:
    """By how much the mean of noisy prompts is below that of the exact prompts of the same cases; at least 0."""
    return max(0.0, mean([exact[name.rpartition("/")[0]] - score for name, score in noisy.items()]))


def _floor(value: float) -> float:
    return math.floor(value * 1000) / 1000
