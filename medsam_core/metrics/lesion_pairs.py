"""The lesion-wise scores of BraTS 2025 and 2026: lesions of prediction and truth matched one to one.

1. Lesions are the components (26 neighbours) of either mask, whatever their size.
2. They are matched one to one such that the sum of the pairs' Dice is largest. What has no match is missed or false.
3. Each pair is compared: Dice, HD95 (border voxels, both directions pooled) and NSD.
4. Without a minimum volume, the means are over the pairs alone; misses and false positives show in precision, recall
   and F1. Where nothing is matched, Dice and NSD are 0 and HD95 is infinite; NaN if both masks are empty.
5. With a minimum volume, the means are over the lesions of at least that volume and all false positives, each miss and
   false positive with Dice 0, NSD 0 and the penalty; NaN without such a lesion. Large and small lesions then have
   precision, recall and F1 of their own: a lesion is detected if its pair has enough Dice, and all false positives
   count against both.

Source: brats-evaluation 0.0.10 (MaxBipartiteMatching of panoptica 2.1.7), read and run, not copied.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medsam_core.errors import MaskError
from medsam_core.metrics.boxes import around
from medsam_core.metrics.lesionwise import Lesion, LesionScores
from medsam_core.metrics.masks import Mask, Spacing, bounding_box, check_pair, check_spacing
from medsam_core.metrics.numbering import label_components
from medsam_core.metrics.profiles import PairRule
from medsam_core.metrics.surface import hausdorff, surface_distances

_LEAST_DICE = 1e-6
"""Lesions with less Dice are no pair."""


@dataclass(frozen=True)
class Detection:
    """How well the lesions of one size were detected; NaN where there is no such lesion."""

    precision: float
    """tp / (tp + fp), 0 without any."""
    recall: float
    """tp / (tp + fn)."""
    f1: float
    """2·tp / (2·tp + fp + fn)."""


@dataclass(frozen=True)
class PairScores(LesionScores):
    """Every lesion with its one match, every false positive, and the score of the case."""

    rule: PairRule = field(kw_only=True)
    """Which lesions the means are over, and when a lesion counts as detected."""

    @property
    def tp(self) -> int:
        """Lesions with a match, of any size."""
        return sum(bool(lesion.matches) for lesion in self.lesions)

    @property
    def fn(self) -> int:
        """Lesions without a match, of any size."""
        return sum(not lesion.matches for lesion in self.lesions)

    @property
    def large(self) -> Detection:
        """Of lesions of at least the minimum volume."""
        return self._detection(large=True)

    @property
    def small(self) -> Detection:
        """Of lesions below the minimum volume."""
        return self._detection(large=False)

    def _detection(self, *, large: bool) -> Detection:
        lesions = [lesion for lesion in self.lesions if lesion.scored is large]
        if self.rule.minimum_mm3 is None or not lesions:
            return Detection(math.nan, math.nan, math.nan)
        tp = sum(bool(lesion.matches) and lesion.dice >= self.rule.detection_dice for lesion in lesions)
        missed = len(lesions) - tp
        precision = tp / (tp + self.fp) if tp + self.fp else 0.0
        return Detection(precision, tp / len(lesions), 2 * tp / (2 * tp + self.fp + missed))

    def _mean(self, value: Callable[[Lesion], float], *, worst: float, nothing: float) -> float:  # noqa: ARG002, NaN here
        if self.rule.minimum_mm3 is None:
            values = [value(lesion) for lesion in self.lesions if lesion.matches]
            return sum(values) / len(values) if values else worst if self.fn + self.fp else math.nan
        values = [value(lesion) for lesion in self.lesions if lesion.scored]
        return (sum(values) + self.fp * worst) / (len(values) + self.fp) if values else math.nan


def pair_scores(prediction: Mask, truth: Mask, spacing_mm: Sequence[float], rule: PairRule) -> PairScores:
    """Match the lesions of two masks one to one and score each pair.

    prediction, truth: (D, H, W) bool, same shape; either may be empty.
    spacing_mm: (dz, dy, dx).
    rule: for instance PROFILES["brats2025-mets"].lesions.
    Raises MaskError for masks that are not 3-D or otherwise unusable, ShapeMismatch for different shapes.
    """
    check_pair(prediction, truth)
    spacing = check_spacing(spacing_mm, prediction.ndim)
    if prediction.ndim != 3:
        raise MaskError(f"prediction: shape {prediction.shape}, expected (D, H, W); leave lesions out in 2-D.")
    box = bounding_box(prediction, truth)
    if box is None:
        return PairScores((), (), rule.penalty_mm, spacing, rule=rule)
    parts, part_count = label_components(prediction[box])
    wholes, whole_count = label_components(truth[box])
    matches = _best_pairs(_dice_table(parts, wholes, part_count, whole_count))
    part_boxes, whole_boxes = ndimage.find_objects(parts), ndimage.find_objects(wholes)
    lesions = []
    for number in range(1, whole_count + 1):
        match = matches.get(number)
        whole_box = whole_boxes[number - 1]
        window = around(whole_box, part_boxes[match - 1]) if match else whole_box
        found = parts[window] == match if match else None
        lesions.append(_judge(match, found, wholes[window] == number, spacing, rule))
    alone = tuple(sorted(set(range(1, part_count + 1)) - set(matches.values())))
    return PairScores(tuple(lesions), alone, rule.penalty_mm, spacing, rule=rule)


def _dice_table(
    parts: NDArray[np.int32], wholes: NDArray[np.int32], part_count: int, whole_count: int
) -> NDArray[np.float64]:
    """The Dice of every lesion of the truth (rows) with every one of the prediction (columns)."""
    both = wholes.astype(np.int64) * (part_count + 1) + parts
    table = np.bincount(both.reshape(-1), minlength=(whole_count + 1) * (part_count + 1))
    table = table.reshape(whole_count + 1, part_count + 1)
    sizes = table.sum(axis=1)[1:, None] + table.sum(axis=0)[None, 1:]
    return 2 * table[1:, 1:] / sizes


def _best_pairs(table: NDArray[np.float64]) -> dict[int, int]:
    """Lesion of the truth -> lesion of the prediction, numbered from 1; the pairs whose Dice adds up to the most."""
    if not table.size:
        return {}
    from scipy.optimize import linear_sum_assignment  # slow to import

    # no pair costs a little more than a pair without overlap, as in panoptica
    costs = np.where(table >= _LEAST_DICE, 1 - table, 1 + _LEAST_DICE)
    rows, columns = linear_sum_assignment(costs)
    return {int(row) + 1: int(column) + 1 for row, column in zip(rows, columns, strict=True) if costs[row, column] < 1}


def _judge(match: int | None, found: Mask | None, lesion: Mask, spacing: Spacing, rule: PairRule) -> Lesion:
    voxels = int(np.count_nonzero(lesion))
    volume = voxels * math.prod(spacing)
    scored = volume >= (rule.minimum_mm3 or 0)
    if match is None or found is None:
        return Lesion(volume, (), 0.0, rule.penalty_mm, scored)
    overlap = 2 * int(np.count_nonzero(found & lesion)) / (voxels + int(np.count_nonzero(found)))
    distances = surface_distances(found, lesion, spacing, definition="voxel")
    hd95_mm = hausdorff(distances, 95, directed="pooled")
    return Lesion(volume, (match,), overlap, hd95_mm, scored, (found, lesion), {"voxel": distances})
