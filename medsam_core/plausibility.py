"""Scores that cannot all be true: a sign that the pipeline is broken, even if every bound holds.

A record holds more than the gates use: two overlaps of one pair of masks, their volumes, the same truth over two
scopes. Arithmetic ties them together, so a score that a fault made too good seldom fits the others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from medsam_core.cases import SCOPES, CaseRecord, score_key
from medsam_core.metrics import KNOWN, ROUND_METRICS
from medsam_core.metrics.rounds import derived
from medsam_core.recount import differing
from medsam_core.text import counted, few

TOLERANCE = 1e-6
MINIMUM_PERFECT = 3
"""If all cases, at least so many, are right in every voxel, the truth was scored against itself."""


def implausible(records: Sequence[CaseRecord]) -> list[str]:
    """Why the records cannot be believed, a sentence for each kind of contradiction; [] if there is none.

    Only the scores that a record has are looked at; NaN is left to the gates.
    """
    found: dict[str, list[str]] = {}
    for record in sorted(records, key=lambda record: record.id):
        for what in (*contradictions(record.scores), *_miscounted(record)):
            found.setdefault(what, []).append(record.id)
    reasons = in_cases(found)
    asked = sorted((record for record in records if record.prompted), key=lambda record: record.id)
    # a drawn mask on every slice is the truth itself
    drawn = [record for record in asked if record.case.prompt != "mask"]
    overlaps = [value for record in drawn for key, value in record.scores.items() if key.endswith("/dice@volume")]
    if len(drawn) >= MINIMUM_PERFECT and len(overlaps) == len(drawn) and all(value == 1 for value in overlaps):
        reasons.append(f"Dice is exactly 1 in all {len(drawn)} prompted cases: the truth was scored against itself")
    copied = _copied(asked)
    if copied:
        reasons.append(
            f"the same scores to the last digit in {counted(len(copied), 'case')} of other images: {few(copied)}"
        )
    reasons += [
        f"the same image and labels under the names of {counted(len(names), 'subject')}: {few(names)}"
        for names in _same_subject(records)
    ]
    return reasons


def uncounted(records: Sequence[CaseRecord]) -> list[str]:
    """A sentence on the records without counts or spacing, as an older run has them; [] for none."""
    without = sorted(record.id for record in records if not record.counts or record.spacing_mm is None)
    return in_cases({"no counted voxels to compare the scores with": without}) if without else []


def _miscounted(record: CaseRecord) -> list[str]:
    """What of a record does not follow from its counts, and a mask or a truth where nothing was prompted."""
    found = []
    if record.spacing_mm is not None:
        for scope, counts in record.counts.items():
            for metric in differing(record.scores, counts, record.spacing_mm, scope, record.case.region):
                found.append(f"{metric} over {scope} is not what the counted voxels give")
    found += _rounds_disagree(record)
    if record.prompted:
        return found
    volumes = [value for key, value in record.scores.items() if key.endswith("/volume_ml@volume")]
    whole = record.counts.get("volume")
    if any(value > 0 for value in volumes) or (whole and whole.prediction):
        found.append("the mask is not empty although nothing was prompted")
    if whole and whole.truth:
        found.append("nothing was prompted although the truth has the region")
    return found


def _rounds_disagree(record: CaseRecord) -> list[str]:
    """What does not follow from the scores of the rounds: the last mask's scores, and those of all rounds together."""
    found = []
    for profile in sorted({key.split("/", 1)[0] for key in record.scores}):
        rounds = {metric: own for metric in ROUND_METRICS if (own := record.rounds(metric, profile))}
        if any(len(own) != len(record.corrections) + 1 for own in rounds.values()):
            found.append("the rounds are not one more than the corrections")
        expected = {metric: own[-1] for metric, own in rounds.items()} | derived(rounds)
        for metric, value in expected.items():
            given = record.scores.get(score_key(profile, metric, "volume"), math.nan)
            if not (abs(given - value) <= TOLERANCE or (math.isnan(given) and math.isnan(value))):
                found.append(f"{metric} over volume is not what the rounds give")
    return found


def _same_subject(records: Sequence[CaseRecord]) -> list[tuple[str, ...]]:
    """Names of one and the same subject: the same voxels were read for a modality. It would count twice in a mean."""
    read: dict[tuple[str, str], set[str]] = {}
    for record in records:
        if record.data:  # an older version did not record it
            read.setdefault((record.case.modality, record.data), set()).add(record.case.subject)
    return sorted({tuple(sorted(names)) for names in read.values() if len(names) > 1})


def _copied(asked: Sequence[CaseRecord]) -> list[str]:
    """Cases with exactly the scores of a case on other voxels: two volumes and an overlap are never all equal."""
    alike: dict[tuple[tuple[str, float], ...], list[CaseRecord]] = {}
    for record in asked:
        if record.data:  # without this hash it is not known which images differ
            alike.setdefault(tuple(sorted(record.scores.items())), []).append(record)
    return sorted(one.id for same in alike.values() if len({other.data for other in same}) > 1 for one in same)


def contradictions(scores: Mapping[str, float], tolerance: float = TOLERANCE) -> list[str]:
    """What the scores of one case cannot be: outside a metric's range, or not true together. [] if nothing.

    scores: by score key, as in `CaseRecord.scores`; NaN is left to others. tolerance: for sums, of rounded scores more.
    """
    found = []
    for key, value in scores.items():
        metric = KNOWN.get(key.split("/", 1)[-1].split("@", 1)[0])
        if metric is None or math.isnan(value):
            continue
        if not metric.range[0] - tolerance <= value <= metric.range[1] + tolerance:
            found.append(f"{key.split('/', 1)[-1]} is outside {metric.range[0]:g} to {metric.range[1]:g}")
    scopes = (*SCOPES, *sorted({key.rpartition("@")[2] for key in scores}.difference(SCOPES)))
    for profile in sorted({key.split("/", 1)[0] for key in scores}):
        own = {
            (metric, scope): scores.get(score_key(profile, metric, scope), math.nan)
            for metric in ("dice", "iou", "volume_ml", "truth_volume_ml")
            for scope in scopes
        }
        for scope in scopes:
            dice, iou = own["dice", scope], own["iou", scope]
            volume, truth = own["volume_ml", scope], own["truth_volume_ml", scope]
            if iou > -1 and abs(dice - 2 * iou / (1 + iou)) > tolerance:
                found.append(f"Dice and IoU over {scope} contradict each other")
            if volume + truth > 0 and dice > 2 * min(volume, truth) / (volume + truth) + tolerance:
                found.append(f"Dice over {scope} is more than the two volumes allow")
        whole, on_slices = own["truth_volume_ml", "volume"], own["truth_volume_ml", "region_slices"]
        if abs(whole - on_slices) > tolerance * max(whole, on_slices):
            found.append("the truth over the volume is not that on the region's slices")
    return list(dict.fromkeys(found))


def in_cases(found: Mapping[str, Sequence[str]]) -> list[str]:
    """A sentence for each contradiction with the ids of its cases: `dice@volume is outside 0 to 1 in 2 cases: …`."""
    return [f"{what} in {counted(len(cases), 'case')}: {few(cases)}" for what, cases in found.items()]
