"""Scores that follow from counted voxels, computed once more and by other code than `metrics`.

A fault in a metric would otherwise confirm itself: the formulas here are written out from the definitions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from medsam_core.metrics import PROFILES
from medsam_core.metrics.lesionwise import LesionRule
from medsam_core.metrics.overlap import Counts

TOLERANCE = 1e-6
"""Relative, and absolute below 1."""


def recounted(counts: Counts, spacing_mm: tuple[float, float, float], profile: str, region: str) -> dict[str, float]:
    """Every score that the counts decide, by metric; NaN where the profile leaves it undefined.

    profile: {} for one that is not in PROFILES. Where it removes small lesions from the prediction before it scores,
    overlaps do not follow from the counts of the whole masks: then only volumes are given.
    """
    if profile not in PROFILES:
        return {}
    tp, fp, fn, tn = counts.tp, counts.fp, counts.fn, counts.tn
    dz, dy, dx = spacing_mm
    ml = dz * dy * dx / 1000
    found = {
        "volume_ml": (tp + fp) * ml,
        "truth_volume_ml": (tp + fn) * ml,
        "volume_difference_ml": (fp - fn) * ml,
        "absolute_volume_difference_ml": abs(fp - fn) * ml,
        "overspill_ml": fp * ml,
        "underspill_ml": fn * ml,
    }
    rule = PROFILES[profile].lesion_rule(region)
    if isinstance(rule, LesionRule) and rule.prediction_too:
        return found
    ruled = {
        "dice": _share(2 * tp, 2 * tp + fp + fn),
        "iou": _share(tp, tp + fp + fn),
        "sensitivity": _share(tp, tp + fn),
        "precision": _share(tp, tp + fp),
        "volumetric_similarity": _share(2 * tp + fp + fn - abs(fp - fn), 2 * tp + fp + fn),
    }
    empty = PROFILES[profile].overlap
    fixed: float | str | None = None
    if not tp + fp:
        fixed = empty.prediction if tp + fn else empty.both
    elif not tp + fn:
        fixed = empty.truth
    elif not tp:
        fixed = empty.disjoint
    if isinstance(fixed, int | float):
        ruled = dict.fromkeys(ruled, float(fixed))
    ruled["specificity"] = _share(tn, tn + fp)
    ruled["relative_volume_difference"] = _share(fp - fn, tp + fn)
    return found | ruled


def differing(
    scores: Mapping[str, float], counts: Counts, spacing_mm: tuple[float, float, float], scope: str, region: str
) -> list[str]:
    """The metrics of one scope whose score is not what the counts say, sorted.

    scores: by score key, as in `CaseRecord.scores`; of all scopes.
    """
    found = []
    for profile in {key.split("/", 1)[0] for key in scores}:
        for metric, expected in recounted(counts, spacing_mm, profile, region).items():
            given = scores.get(f"{profile}/{metric}@{scope}")
            if given is not None and not _equal(given, expected):
                found.append(metric)
    return sorted(found)


def _equal(given: float, expected: float) -> bool:
    if math.isnan(expected) or math.isnan(given):
        return math.isnan(expected) and math.isnan(given)
    return abs(given - expected) <= TOLERANCE * max(1.0, abs(expected))


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan
