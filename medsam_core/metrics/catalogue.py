"""The table of all metrics, and `score`, which computes some of them for a prediction and its truth.

To add a metric, write its reducer and add a row to METRICS (docs/metrics.md).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from medsam_core.errors import OptionError
from medsam_core.metrics import overlap, surface
from medsam_core.metrics.iou_calibration import IouCalibration
from medsam_core.metrics.joined_lesions import LabelMaps
from medsam_core.metrics.lesion_pairs import PairScores
from medsam_core.metrics.lesionwise import LesionScores
from medsam_core.metrics.mask_pair import MaskPair, RegionPair
from medsam_core.metrics.masks import Labels, Mask, bounding_box, check_spacing, diagonal_mm
from medsam_core.metrics.numbering import TruthLesions, count_components
from medsam_core.metrics.overlap import Counts, check_label_maps, count_regions
from medsam_core.metrics.profiles import IMAGE_DIAGONAL, EmptyRule, Profile, find_profile
from medsam_core.metrics.propagation import half_life
from medsam_core.metrics.surface import SurfaceDistances

Better = Literal["higher", "lower", "neither"]
Measure = Callable[[MaskPair], float]


@dataclass(frozen=True)
class Metric:
    """What a metric is called, what it measures, and whether more of it is better."""

    name: str
    """Its key in METRICS and the last part of a score's key."""
    unit: str
    """"mm", "ml", "slices", or "" for a number without a unit."""
    better: Better
    """Whether higher or lower values are better; "neither" for plain facts such as a volume."""
    range: tuple[float, float]
    """The least and the greatest value that it can take."""
    function: Measure
    """Computes the metric; NaN where the profile leaves it undefined."""
    description: str
    """What it measures, in a few words."""


_VOLUMES = ("volume_ml", "truth_volume_ml", "volume_difference_ml")
CHEAP = ("dice", "iou", "sensitivity", "specificity", "precision", "volumetric_similarity", *_VOLUMES)
"""What `score` computes by default: the metrics that need only voxel counts."""


def score(
    prediction: Mask,
    truth: Mask,
    spacing_mm: Sequence[float],
    *,
    profile: str | Profile = "brats2019",
    metrics: Sequence[str] = CHEAP,
    key_slices: Sequence[int] = (),
    predicted_iou: ArrayLike | None = None,
    region: str | None = None,
    image_shape: Sequence[int] | None = None,
    truth_lesions: TruthLesions | None = None,
) -> dict[str, float]:
    """Score a prediction against a truth.

    prediction, truth: (D, H, W) or (H, W) bool, same shape; either may be empty (the profile defines the score then).
    spacing_mm: millimetres along each axis of the masks, (dz, dy, dx).
    profile: a name from PROFILES, or a Profile of your own.
    metrics: names from METRICS.
    key_slices: the prompted slices; half_life needs them and is NaN without.
    predicted_iou: (D,) float, the model's own estimate for each slice; the predicted_iou metrics need it and are NaN
        without.
    region: the region's name, such as "ET": in some profiles the rule for lesions depends on it.
    image_shape: of the image, if the masks are cut out of it and both are empty outside; None for whole masks.
    truth_lesions: kept from earlier predictions on the same truth, to number its lesions once; None if there are none.
    Returns {"<profile>/<metric>": value} in the order of `metrics`, plain floats. NaN means that the profile leaves
    the metric undefined for this pair; a gate has to treat it as not passed.
    Raises OptionError for an unknown metric or profile, MaskError or ShapeMismatch for unusable masks or spacing.
    """
    found = find_profile(profile)
    pair = MaskPair(prediction, truth, spacing_mm, found, key_slices, predicted_iou, region, image_shape, truth_lesions)
    return score_pair(pair, metrics)


def score_regions(
    prediction: Labels,
    truth: Labels,
    spacing_mm: Sequence[float],
    regions: Mapping[str, Collection[int]],
    *,
    profile: str | Profile = "brats2019",
    metrics: Sequence[str] = CHEAP,
    scored: Collection[str] | None = None,
) -> dict[str, dict[str, float]]:
    """Score every region of two label maps: {region: scores as from `score`}.

    prediction, truth: (D, H, W) or (H, W) uint8 label maps, same shape, both in the same label convention.
    regions: name -> label values, for instance {"WT": {1, 2, 4}, "TC": {1, 4}, "ET": {4}}.
    scored: the regions to score; None for all. The others may be needed: in some profiles they join lesions.
    The voxels of all regions are counted in one pass; all other metrics look only at the box around the labels.
    Raises the errors of `score`, MaskError for another dtype, and OptionError without a region that joins lesions.
    """
    check_label_maps(prediction, truth)
    voxels, shape = prediction.size, prediction.shape
    box = bounding_box(prediction, truth) or (slice(0, 1),) * prediction.ndim
    prediction, truth = np.ascontiguousarray(prediction[box]), np.ascontiguousarray(truth[box])
    counts = count_regions(prediction, truth, regions)
    spacing = check_spacing(spacing_mm, prediction.ndim)
    maps = LabelMaps(prediction, truth, regions, spacing, find_profile(profile))
    found = {}
    for name in regions if scored is None else scored:
        everywhere = replace(counts[name], tn=counts[name].tn + voxels - prediction.size)
        found[name] = score_pair(RegionPair(maps, name, everywhere, shape), metrics)
    return found


def score_pair(pair: MaskPair, metrics: Sequence[str]) -> dict[str, float]:
    """As `score`, for a pair that exists already: distances computed for one metric serve the next."""
    found = {}
    for name in metrics:
        if name not in METRICS:
            raise OptionError(f"metric: got {name!r}, expected one of {', '.join(METRICS)}; choose among these.")
        found[f"{pair.profile.name}/{name}"] = float(METRICS[name].function(pair))
    return found


def scores_of_missing(
    scores: Mapping[str, float], profile: Profile, shape: Sequence[int], spacing_mm: Sequence[float]
) -> dict[str, float]:
    """What a missing prediction scores, as on the platform of BraTS 2025: 0 where more is better, the penalty in mm.

    scores: those of an empty prediction, as from `score`; what is neither is left as it is.
    shape, spacing_mm: of the image, for a penalty that is its diagonal.
    """
    penalty = profile.distance_mm.prediction
    if penalty == IMAGE_DIAGONAL:
        penalty = diagonal_mm(shape, tuple(spacing_mm))
    found = dict(scores)
    for key in scores:
        metric = METRICS[key.partition("/")[2]]
        if metric.better == "higher":
            found[key] = 0.0
        elif metric.unit == "mm":
            found[key] = math.nan if penalty is None else penalty
    return found


def _ruled(rule: Callable[[Profile], EmptyRule], formula: Measure) -> Measure:
    """The score that the profile's rule fixes because a mask is empty, otherwise that of the formula."""

    def measure(pair: MaskPair) -> float:
        fixed = pair.fixed_score(rule(pair.profile))
        return formula(pair) if fixed is None else fixed

    return measure


def _overlap(reducer: Callable[[Counts], float]) -> Measure:
    return _ruled(lambda profile: profile.overlap, lambda pair: reducer(pair.kept_counts))


def _counted(reducer: Callable[[Counts], float]) -> Measure:
    """From counts alone: no profile has a rule for its empty masks."""
    return lambda pair: reducer(pair.kept_counts)


def _volume(voxels: Callable[[Counts], int]) -> Measure:
    return lambda pair: pair.millilitres(voxels(pair.counts))


def _distance(reducer: Callable[[SurfaceDistances], float]) -> Measure:
    return _ruled(lambda profile: profile.distance_mm, lambda pair: reducer(pair.distances))


def _hausdorff(percentile: float) -> Measure:
    def formula(pair: MaskPair) -> float:
        return surface.hausdorff(pair.distances, percentile, directed=pair.profile.directed)

    return _ruled(lambda profile: profile.distance_mm, formula)


def _surface_dice(tolerance_mm: float) -> Measure:
    def formula(pair: MaskPair) -> float:
        return surface.nsd(pair.nsd_distances, tolerance_mm, directed=pair.profile.nsd_directed)

    return _ruled(lambda profile: profile.surface_overlap, formula)


def _lesions(reducer: Callable[[LesionScores], float]) -> Measure:
    """NaN under a profile without a lesion rule."""
    return lambda pair: math.nan if pair.lesions is None else reducer(pair.lesions)


def _lesion_nsd(tolerance_mm: float | None) -> Measure:
    """None: the smallest spacing. NaN under a profile without a lesion rule."""

    def measure(pair: MaskPair) -> float:
        if pair.lesions is None:
            return math.nan
        return pair.lesions.nsd(tolerance_mm, pair.profile.nsd_surface, pair.profile.nsd_directed)

    return measure


def _detection(reducer: Callable[[PairScores], float]) -> Measure:
    """NaN under a profile that does not tell large lesions from small ones."""
    return lambda pair: math.nan if pair.pairs is None else reducer(pair.pairs)


def _calibration(reducer: Callable[[IouCalibration], float]) -> Measure:
    """NaN without predicted IoU."""
    return lambda pair: math.nan if pair.calibration is None else reducer(pair.calibration)


def _half_life(pair: MaskPair) -> float:
    """NaN without key slices or where the truth is empty."""
    return half_life(pair.prediction, pair.truth, pair.key_slices) if pair.key_slices else math.nan


_SHARE, _FROM_0, _ANY = (0.0, 1.0), (0.0, math.inf), (-math.inf, math.inf)
# one metric, one line: a table that is read down its columns
# fmt: off
# ruff: disable[E501]
_ROWS: tuple[tuple[str, str, Better, tuple[float, float], Measure, str], ...] = (
    ("dice",                          "",       "higher",  _SHARE,  _overlap(overlap.dice),                         "2|P∩T| / (|P|+|T|)"),
    ("iou",                           "",       "higher",  _SHARE,  _overlap(overlap.iou),                          "|P∩T| / |P∪T|"),
    ("sensitivity",                   "",       "higher",  _SHARE,  _overlap(overlap.sensitivity),                  "|P∩T| / |T|"),
    ("specificity",                   "",       "higher",  _SHARE,  _counted(overlap.specificity),                  "true negatives / negatives"),
    ("precision",                     "",       "higher",  _SHARE,  _overlap(overlap.precision),                    "|P∩T| / |P|"),
    ("volumetric_similarity",         "",       "higher",  _SHARE,  _overlap(overlap.volumetric_similarity),        "1 − ||P|−|T|| / (|P|+|T|)"),
    ("volume_ml",                     "ml",     "neither", _FROM_0, _volume(lambda n: n.prediction),                "volume of the prediction"),
    ("truth_volume_ml",               "ml",     "neither", _FROM_0, _volume(lambda n: n.truth),                     "volume of the truth"),
    ("volume_difference_ml",          "ml",     "neither", _ANY,    _volume(lambda n: n.prediction - n.truth),      "prediction − truth: below 0 for too little"),
    ("absolute_volume_difference_ml", "ml",     "lower",   _FROM_0, _volume(lambda n: abs(n.prediction - n.truth)), "size of the volume difference"),
    ("relative_volume_difference",    "",       "neither", _ANY,    _counted(overlap.relative_volume_difference),   "(|P|−|T|) / |T|"),
    ("overspill_ml",                  "ml",     "lower",   _FROM_0, _volume(lambda n: n.fp),                        "predicted outside the truth"),
    ("underspill_ml",                 "ml",     "lower",   _FROM_0, _volume(lambda n: n.fn),                        "truth that was not predicted"),
    ("hd",                            "mm",     "lower",   _FROM_0, _hausdorff(100),                                "Hausdorff distance"),
    ("hd95",                          "mm",     "lower",   _FROM_0, _hausdorff(95),                                 "95th percentile of the Hausdorff distance"),
    ("assd",                          "mm",     "lower",   _FROM_0, _distance(surface.assd),                        "mean distance, both surfaces pooled"),
    ("masd",                          "mm",     "lower",   _FROM_0, _distance(surface.masd),                        "mean of the two surfaces' mean distances"),
    ("nsd_0.5mm",                     "",       "higher",  _SHARE,  _surface_dice(0.5),                             "share of both surfaces within 0.5 mm"),
    ("nsd_1mm",                       "",       "higher",  _SHARE,  _surface_dice(1),                               "share of both surfaces within 1 mm"),
    ("nsd_2mm",                       "",       "higher",  _SHARE,  _surface_dice(2),                               "share of both surfaces within 2 mm"),
    ("lesion_dice",                   "",       "higher",  _SHARE,  _lesions(lambda s: s.dice),                     "lesion-wise Dice"),
    ("lesion_hd95",                   "mm",     "lower",   _FROM_0, _lesions(lambda s: s.hd95_mm),                  "lesion-wise HD95"),
    ("lesion_nsd_0.5mm",              "",       "higher",  _SHARE,  _lesion_nsd(0.5),                               "lesion-wise NSD within 0.5 mm"),
    ("lesion_nsd_1mm",                "",       "higher",  _SHARE,  _lesion_nsd(1),                                 "lesion-wise NSD within 1 mm"),
    ("lesion_nsd_voxel",              "",       "higher",  _SHARE,  _lesion_nsd(None),                              "lesion-wise NSD within the smallest spacing"),
    ("lesion_tp",                     "",       "higher",  _FROM_0, _lesions(lambda s: s.tp),                       "lesions found"),
    ("lesion_fp",                     "",       "lower",   _FROM_0, _lesions(lambda s: s.fp),                       "components that touch no lesion"),
    ("lesion_fn",                     "",       "lower",   _FROM_0, _lesions(lambda s: s.fn),                       "lesions missed"),
    ("lesion_precision",              "",       "higher",  _SHARE,  _lesions(lambda s: s.precision),                "share of predicted lesions that are real"),
    ("lesion_recall",                 "",       "higher",  _SHARE,  _lesions(lambda s: s.recall),                   "share of lesions that were found"),
    ("lesion_f1",                     "",       "higher",  _SHARE,  _lesions(lambda s: s.f1),                       "2·tp / (2·tp + fp + fn), of lesions"),
    ("large_lesion_precision",        "",       "higher",  _SHARE,  _detection(lambda s: s.large.precision),        "lesion_precision of large lesions"),
    ("large_lesion_recall",           "",       "higher",  _SHARE,  _detection(lambda s: s.large.recall),           "lesion_recall of large lesions"),
    ("large_lesion_f1",               "",       "higher",  _SHARE,  _detection(lambda s: s.large.f1),               "lesion_f1 of large lesions"),
    ("small_lesion_precision",        "",       "higher",  _SHARE,  _detection(lambda s: s.small.precision),        "lesion_precision of small lesions"),
    ("small_lesion_recall",           "",       "higher",  _SHARE,  _detection(lambda s: s.small.recall),           "lesion_recall of small lesions"),
    ("small_lesion_f1",               "",       "higher",  _SHARE,  _detection(lambda s: s.small.f1),               "lesion_f1 of small lesions"),
    ("components",                    "",       "neither", _FROM_0, lambda pair: count_components(pair.prediction), "connected components (26) of the prediction"),
    ("truth_components",              "",       "neither", _FROM_0, lambda pair: count_components(pair.truth),      "connected components (26) of the truth"),
    ("half_life",                     "slices", "higher",  _FROM_0, _half_life,                                     "slices from the prompt until Dice < 0.5"),
    ("predicted_iou_bias",            "",       "neither", _ANY,    _calibration(lambda c: c.bias),                 "predicted − real IoU, mean over slices"),
    ("predicted_iou_error",           "",       "lower",   _SHARE,  _calibration(lambda c: c.mean_absolute_error),  "|predicted − real IoU|, mean over slices"),
)
# ruff: enable[E501]
# fmt: on

METRICS: Mapping[str, Metric] = MappingProxyType({row[0]: Metric(*row) for row in _ROWS})
"""Every metric by its name, in the order of the table. P is the prediction, T the truth."""
