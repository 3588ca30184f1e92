"""Every metric by its name, and `score`, which computes the ones asked for.

To add a metric, write its reducer and add a row here (docs/metrics.md).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medsam_core.errors import OptionError
from medsam_core.metrics import overlap, surface
from medsam_core.metrics.iou_calibration import IouCalibration
from medsam_core.metrics.lesionwise import LesionScores, count_components
from medsam_core.metrics.mask_pair import Comparison, RegionComparison
from medsam_core.metrics.masks import Mask, bounding_box
from medsam_core.metrics.overlap import Counts, check_label_maps, count_regions
from medsam_core.metrics.profiles import Profile, find_profile
from medsam_core.metrics.propagation import half_life

Better = Literal["higher", "lower", "neither"]


@dataclass(frozen=True)
class Metric:
    """What a metric is called, measures and prefers.

    unit: "" for a number without one, otherwise for instance "mm" or "ml".
    better: which way is better, "neither" for plain facts such as a volume.
    function: Comparison -> float, NaN where the profile leaves the metric undefined.
    """

    name: str
    unit: str
    better: Better
    description: str
    function: Callable[[Comparison], float]


CHEAP = (
    "dice",
    "iou",
    "sensitivity",
    "specificity",
    "precision",
    "volumetric_similarity",
    "volume_ml",
    "truth_volume_ml",
    "volume_difference_ml",
)
"""What `score` computes unless told otherwise: everything that needs counts alone."""


def score(
    prediction: Mask,
    truth: Mask,
    spacing_mm: Sequence[float],
    *,
    profile: str | Profile = "brats2019",
    metrics: Sequence[str] = CHEAP,
    key_slices: Sequence[int] = (),
    predicted_iou: ArrayLike | None = None,
) -> dict[str, float]:
    """Score a prediction against a truth.

    prediction, truth: (D, H, W) or (H, W) bool, same shape; either may be empty (the profile says what then).
    spacing_mm: millimetres along each axis of the masks, (dz, dy, dx).
    profile: a name from PROFILES, or a Profile of your own.
    metrics: names from METRICS.
    key_slices: the prompted slices, which half_life needs. predicted_iou: (D,) float, the model's own estimates,
        which the predicted_iou metrics need. Without them these metrics are NaN.
    Returns {"<profile>/<metric>": value} in the order asked for, plain floats. NaN means that the profile leaves
    the metric undefined for this pair; a gate has to treat it as not passed.
    Raises OptionError for an unknown metric or profile, MaskError or ShapeMismatch for unusable masks or spacing.
    """
    pair = Comparison(
        prediction, truth, spacing_mm, find_profile(profile), key_slices=key_slices, predicted_iou=predicted_iou
    )
    return score_comparison(pair, metrics)


def score_regions(
    prediction: NDArray[np.uint8],
    truth: NDArray[np.uint8],
    spacing_mm: Sequence[float],
    regions: Mapping[str, Collection[int]],
    *,
    profile: str | Profile = "brats2019",
    metrics: Sequence[str] = CHEAP,
) -> dict[str, dict[str, float]]:
    """Score every region of two label maps: {region: scores as from `score`}.

    prediction, truth: (D, H, W) or (H, W) uint8 label maps, same shape. Both follow one label convention.
    regions: name -> label values, for instance {"WT": {1, 2, 4}, "TC": {1, 4}, "ET": {4}}.
    The voxels of all regions are counted at once, and the rest looks only at the box around the labels.
    Raises as `score`, and MaskError for another dtype.
    """
    check_label_maps(prediction, truth)
    voxels = prediction.size
    box = bounding_box(prediction, truth) or (slice(0, 1),) * prediction.ndim
    prediction, truth = np.ascontiguousarray(prediction[box]), np.ascontiguousarray(truth[box])
    counts = count_regions(prediction, truth, regions)
    chosen = find_profile(profile)
    found = {}
    for name, values in regions.items():
        everywhere = replace(counts[name], tn=counts[name].tn + voxels - prediction.size)
        pair = RegionComparison(prediction, truth, values, everywhere, spacing_mm, chosen)
        found[name] = score_comparison(pair, metrics)
    return found


def score_comparison(pair: Comparison, metrics: Sequence[str]) -> dict[str, float]:
    """As `score`, of a pair that is already at hand, so that distances found for one metric serve the next."""
    found = {}
    for name in metrics:
        if name not in METRICS:
            raise OptionError(f"metric: got {name!r}, expected one of {', '.join(METRICS)}; choose among these.")
        found[f"{pair.profile.name}/{name}"] = float(METRICS[name].function(pair))
    return found


def _overlap(reducer: Callable[[Counts], float]) -> Callable[[Comparison], float]:
    def measure(pair: Comparison) -> float:
        settled = pair.settled(pair.profile.overlap)
        return reducer(pair.counts) if settled is None else settled

    return measure


def _volume(voxels: Callable[[Counts], int]) -> Callable[[Comparison], float]:
    return lambda pair: pair.millilitres(voxels(pair.counts))


def _distance(reducer: Callable[[Comparison], float]) -> Callable[[Comparison], float]:
    def measure(pair: Comparison) -> float:
        settled = pair.settled(pair.profile.distance_mm)
        return reducer(pair) if settled is None else settled

    return measure


def _surface_dice(tolerance_mm: float) -> Callable[[Comparison], float]:
    def measure(pair: Comparison) -> float:
        settled = pair.settled(pair.profile.surface_overlap)
        return surface.nsd(pair.distances, tolerance_mm) if settled is None else settled

    return measure


def _lesions(reducer: Callable[[LesionScores], float]) -> Callable[[Comparison], float]:
    return lambda pair: math.nan if pair.lesions is None else reducer(pair.lesions)


def _calibration(reducer: Callable[[IouCalibration], float]) -> Callable[[Comparison], float]:
    return lambda pair: math.nan if pair.calibration is None else reducer(pair.calibration)


def _half_life(pair: Comparison) -> float:
    if not pair.key_slices:
        return math.nan
    found = half_life(pair.prediction, pair.truth, pair.key_slices)
    return math.nan if found is None else found.slices


def _row(
    name: str, unit: str, better: Better, description: str, function: Callable[[Comparison], float]
) -> tuple[str, Metric]:
    return name, Metric(name, unit, better, description, function)


def _hd(percentile: float) -> Callable[[Comparison], float]:
    return _distance(
        lambda pair: surface.hausdorff(pair.distances, percentile, directed=pair.profile.directed),
    )


METRICS: Mapping[str, Metric] = MappingProxyType(
    dict(
        (
            _row("dice", "", "higher", "2|P∩T| / (|P|+|T|)", _overlap(overlap.dice)),
            _row("iou", "", "higher", "|P∩T| / |P∪T|", _overlap(overlap.iou)),
            _row("sensitivity", "", "higher", "|P∩T| / |T|", _overlap(overlap.sensitivity)),
            _row(
                "specificity",
                "",
                "higher",
                "true negatives / negatives; NaN where the truth fills the array",
                lambda pair: overlap.specificity(pair.counts),
            ),
            _row("precision", "", "higher", "|P∩T| / |P|", _overlap(overlap.precision)),
            _row(
                "volumetric_similarity",
                "",
                "higher",
                "1 − ||P|−|T|| / (|P|+|T|)",
                _overlap(overlap.volumetric_similarity),
            ),
            _row("volume_ml", "ml", "neither", "volume of the prediction", _volume(lambda n: n.prediction)),
            _row("truth_volume_ml", "ml", "neither", "volume of the truth", _volume(lambda n: n.truth)),
            _row(
                "volume_difference_ml",
                "ml",
                "neither",
                "prediction minus truth, below 0 for too little",
                _volume(lambda n: n.prediction - n.truth),
            ),
            _row(
                "absolute_volume_difference_ml",
                "ml",
                "lower",
                "size of the volume difference",
                _volume(lambda n: abs(n.prediction - n.truth)),
            ),
            _row(
                "relative_volume_difference",
                "",
                "neither",
                "(|P|−|T|) / |T|; NaN where the truth is empty",
                lambda pair: overlap.relative_volume_difference(pair.counts),
            ),
            _row("overspill_ml", "ml", "lower", "predicted outside the truth", _volume(lambda n: n.fp)),
            _row("underspill_ml", "ml", "lower", "truth that was not predicted", _volume(lambda n: n.fn)),
            _row("hd", "mm", "lower", "Hausdorff distance", _hd(100)),
            _row("hd95", "mm", "lower", "95th percentile of the Hausdorff distance", _hd(95)),
            _row(
                "assd",
                "mm",
                "lower",
                "average distance over both surfaces together",
                _distance(lambda pair: surface.assd(pair.distances)),
            ),
            _row(
                "masd",
                "mm",
                "lower",
                "mean of the two surfaces' average distances",
                _distance(lambda pair: surface.masd(pair.distances)),
            ),
            _row("nsd_1mm", "", "higher", "surface within 1 mm of the other's", _surface_dice(1)),
            _row("nsd_2mm", "", "higher", "surface within 2 mm of the other's", _surface_dice(2)),
            _row("lesion_dice", "", "higher", "lesion-wise Dice", _lesions(lambda found: found.dice)),
            _row("lesion_hd95", "mm", "lower", "lesion-wise HD95", _lesions(lambda found: found.hd95_mm)),
            _row("lesion_tp", "", "higher", "lesions found", _lesions(lambda found: found.tp)),
            _row("lesion_fp", "", "lower", "components that touch no lesion", _lesions(lambda found: found.fp)),
            _row("lesion_fn", "", "lower", "lesions missed", _lesions(lambda found: found.fn)),
            _row(
                "components",
                "",
                "neither",
                "connected components of the prediction (26 neighbours)",
                lambda pair: count_components(pair.prediction),
            ),
            _row(
                "truth_components",
                "",
                "neither",
                "connected components of the truth (26 neighbours)",
                lambda pair: count_components(pair.truth),
            ),
            _row(
                "half_life",
                "slices",
                "higher",
                "slices from the prompt until Dice < 0.5; NaN without key slices or truth",
                _half_life,
            ),
            _row(
                "predicted_iou_bias",
                "",
                "neither",
                "predicted minus real IoU, mean over slices; NaN without predicted IoU",
                _calibration(lambda found: found.bias),
            ),
            _row(
                "predicted_iou_error",
                "",
                "lower",
                "|predicted − real IoU|, mean over slices; NaN without predicted IoU",
                _calibration(lambda found: found.mean_absolute_error),
            ),
        )
    )
)
"""Every metric by its name, in the order of a table."""
