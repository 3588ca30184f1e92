"""Every metric by its name, and `score`, which computes the ones asked for.

To add a metric, write its reducer and add a row here (docs/metrics.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from medsam_core.errors import OptionError
from medsam_core.metrics import overlap
from medsam_core.metrics.comparison import Comparison
from medsam_core.metrics.masks import Mask
from medsam_core.metrics.overlap import Counts
from medsam_core.metrics.profiles import Profile, find_profile

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
) -> dict[str, float]:
    """Score a prediction against a truth.

    prediction, truth: (D, H, W) or (H, W) bool, same shape; either may be empty (the profile says what then).
    spacing_mm: millimetres along each axis of the masks, (dz, dy, dx).
    profile: a name from PROFILES, or a Profile of your own.
    metrics: names from METRICS.
    Returns {"<profile>/<metric>": value} in the order asked for, plain floats. NaN means that the profile leaves
    the metric undefined for this pair; a gate has to treat it as not passed.
    Raises OptionError for an unknown metric or profile, MaskError or ShapeMismatch for unusable masks or spacing.
    """
    return score_comparison(Comparison(prediction, truth, spacing_mm, find_profile(profile)), metrics)


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


_ROWS = (
    Metric("dice", "", "higher", "2|P∩T| / (|P|+|T|)", _overlap(overlap.dice)),
    Metric("iou", "", "higher", "|P∩T| / |P∪T|", _overlap(overlap.iou)),
    Metric("sensitivity", "", "higher", "|P∩T| / |T|", _overlap(overlap.sensitivity)),
    Metric(
        "specificity",
        "",
        "higher",
        "true negatives / negatives; NaN where the truth fills the array",
        lambda pair: overlap.specificity(pair.counts),
    ),
    Metric("precision", "", "higher", "|P∩T| / |P|", _overlap(overlap.precision)),
    Metric(
        "volumetric_similarity", "", "higher", "1 − ||P|−|T|| / (|P|+|T|)", _overlap(overlap.volumetric_similarity)
    ),
    Metric(
        "volume_ml", "ml", "neither", "volume of the prediction", lambda pair: pair.millilitres(pair.counts.prediction)
    ),
    Metric("truth_volume_ml", "ml", "neither", "volume of the truth", lambda pair: pair.millilitres(pair.counts.truth)),
    Metric(
        "volume_difference_ml",
        "ml",
        "neither",
        "prediction minus truth, below 0 for too little",
        lambda pair: pair.millilitres(pair.counts.prediction - pair.counts.truth),
    ),
    Metric(
        "absolute_volume_difference_ml",
        "ml",
        "lower",
        "size of the volume difference",
        lambda pair: pair.millilitres(abs(pair.counts.prediction - pair.counts.truth)),
    ),
    Metric(
        "relative_volume_difference",
        "",
        "neither",
        "(|P|−|T|) / |T|; NaN where the truth is empty",
        lambda pair: overlap.relative_volume_difference(pair.counts),
    ),
    Metric(
        "overspill_ml", "ml", "lower", "predicted outside the truth", lambda pair: pair.millilitres(pair.counts.fp)
    ),
    Metric("underspill_ml", "ml", "lower", "truth not predicted", lambda pair: pair.millilitres(pair.counts.fn)),
)

METRICS: Mapping[str, Metric] = MappingProxyType({row.name: row for row in _ROWS})
"""Every metric by its name, in the order of a table."""
