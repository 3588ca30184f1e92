"""What several rounds of corrections came to: one number from the scores of all rounds.

Round 0 is the mask of the prompt alone; each further round has one correction more.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

from medsam_core.metrics.catalogue import METRICS, Better, Metric

ROUND_METRICS = ("dice", "iou", "nsd_0.5mm", "nsd_1mm", "nsd_2mm")
"""The metrics that are computed in every round, as far as a run computes them at all."""


def area_under(scores: Sequence[float]) -> float:
    """The area under the scores of the rounds with a correction, by the trapezoid rule with steps of 1.

    scores: of round 0, 1, … N. The greatest value is N − 1. NaN if N < 2, because one score has no area.
    Source: CVPR25_iter_eval.py of the CVPR 2025 challenge, whose AUC leaves out the prompt, too; there N = 5.
    """
    _, *corrected = scores
    if len(corrected) < 2:
        return math.nan
    return math.fsum((before + after) / 2 for before, after in itertools.pairwise(corrected))


def corrections_until(scores: Sequence[float], quality: float) -> float:
    """NoC: how many corrections it took until a score reached `quality`; 0 if the prompt alone was enough.

    scores: of round 0, 1, … N. N if it was never reached, as usual for NoC. NaN if a score before is NaN.
    """
    for number, score in enumerate(scores):
        if math.isnan(score):
            return math.nan
        if score >= quality:
            return float(number)
    return float(len(scores) - 1)


@dataclass(frozen=True)
class DerivedMetric:
    """A metric of all rounds; its score is in the scope `volume`."""

    name: str
    """The last part of a score's key."""
    of: str
    """The metric of METRICS that it is made from."""
    unit: str
    """"clicks", or "" for a number without a unit."""
    better: Better
    """As in `Metric`."""
    range: tuple[float, float]
    """The least and the greatest value that it can take."""
    function: Callable[[Sequence[float]], float]
    """From the scores of rounds 0 to N."""
    description: str
    """What it measures, in a few words."""


_FROM_0 = (0.0, math.inf)
_ROWS = (
    DerivedMetric("dice_auc", "dice", "", "higher", _FROM_0, area_under, "area under Dice over the corrections"),
    DerivedMetric("nsd_auc", "nsd_2mm", "", "higher", _FROM_0, area_under, "area under nsd_2mm over the corrections"),
    *(
        DerivedMetric(
            f"noc{percent}",
            "dice",
            "clicks",
            "lower",
            _FROM_0,
            partial(corrections_until, quality=percent / 100),
            f"corrections until Dice reached {percent / 100:.2f}, or all of them",
        )
        for percent in (85, 90)
    ),
)
DERIVED: Mapping[str, DerivedMetric] = MappingProxyType({row.name: row for row in _ROWS})
"""Every metric of all rounds by its name."""
KNOWN: Mapping[str, Metric | DerivedMetric] = MappingProxyType({**METRICS, **DERIVED})
"""Every metric that a record may have a score of."""


def derived(rounds: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Every metric of all rounds, by name. rounds: by metric the scores of rounds 0 to N, as far as known."""
    return {row.name: row.function(rounds[row.of]) for row in _ROWS if row.of in rounds}
